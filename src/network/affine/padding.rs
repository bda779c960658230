//! Zero padding.

use super::rows::Rows;
use super::{AffineMap, values};
use crate::error::{Error, Result};

impl AffineMap {
    /// Puts `padding` (`[y, x]`) zeros on both sides of an image `[channels, height, width]`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for an empty image; [`Error::InvalidArgument`] or [`Error::TooLarge`] where the padded
    /// one is out of bounds.
    pub fn pad2d(input_shape: [usize; 3], padding: [usize; 2]) -> Result<Self> {
        let [channels, height, width] = input_shape;
        pad("pad2d", input_shape, [channels, padded(height, padding[0])?, padded(width, padding[1])?], padding)
    }

    /// Puts `padding` zeros on both sides of a signal `[channels, length]`.
    ///
    /// # Errors
    /// As [`pad2d`](Self::pad2d).
    pub fn pad1d(input_shape: [usize; 2], padding: usize) -> Result<Self> {
        let [channels, length] = input_shape;
        let padded = padded(length, padding)?;
        let mut map = pad("pad1d", [channels, 1, length], [channels, 1, padded], [0, padding])?;
        map.input_shape = input_shape.to_vec();
        map.output_shape = vec![channels, padded];
        Ok(map)
    }
}

fn padded(length: usize, padding: usize) -> Result<usize> {
    padding
        .checked_mul(2)
        .and_then(|both| both.checked_add(length))
        .ok_or_else(|| Error::InvalidArgument { name: "padding", reason: format!("{padding} is too large") })
}

fn pad(operation: &'static str, input: [usize; 3], output: [usize; 3], padding: [usize; 2]) -> Result<AffineMap> {
    let [_, height, width] = input;
    let [channels, rows_out, columns_out] = output;
    let mut rows = Rows::new(operation, &input, &output, values(operation, &input)?)?;
    for channel in 0..channels {
        for y in 0..rows_out {
            let source = y.checked_sub(padding[0]).filter(|&y| y < height);
            for x in 0..columns_out {
                if let (Some(y), Some(x)) = (source, x.checked_sub(padding[1]).filter(|&x| x < width)) {
                    rows.push((channel * height + y) * width + x, 1.0);
                }
                rows.end_row(0.0);
            }
        }
    }
    Ok(rows.finish())
}
