//! Zero padding.

use super::rows::Rows;
use super::{AffineMap, values};
use crate::error::{Error, Result};

impl AffineMap {
    /// Puts zeros around an image `[channels, height, width]`: `[[above, below], [left, right]]`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for an empty image; [`Error::InvalidArgument`] or [`Error::TooLarge`] where the padded
    /// one is out of bounds.
    pub fn pad2d(input_shape: [usize; 3], padding: [[usize; 2]; 2]) -> Result<Self> {
        let [channels, height, width] = input_shape;
        let [vertical, horizontal] = padding;
        let output_shape = [channels, padded(height, vertical)?, padded(width, horizontal)?];
        pad("pad2d", input_shape, output_shape, [vertical[0], horizontal[0]])
    }

    /// Puts zeros around a signal `[channels, length]`: `[before, after]`.
    ///
    /// # Errors
    /// As [`pad2d`](Self::pad2d).
    pub fn pad1d(input_shape: [usize; 2], padding: [usize; 2]) -> Result<Self> {
        let [channels, length] = input_shape;
        let padded = padded(length, padding)?;
        let mut map = pad("pad1d", [channels, 1, length], [channels, 1, padded], [0, padding[0]])?;
        map.input_shape = input_shape.to_vec();
        map.output_shape = vec![channels, padded];
        Ok(map)
    }
}

fn padded(length: usize, [before, after]: [usize; 2]) -> Result<usize> {
    before
        .checked_add(after)
        .and_then(|both| both.checked_add(length))
        .ok_or_else(|| Error::InvalidArgument { name: "padding", reason: format!("{before} + {after} is too large") })
}

fn pad(operation: &'static str, input: [usize; 3], output: [usize; 3], before: [usize; 2]) -> Result<AffineMap> {
    let [_, height, width] = input;
    let [channels, rows_out, columns_out] = output;
    let mut rows = Rows::new(operation, &input, &output, values(operation, &input)?)?;
    for channel in 0..channels {
        for y in 0..rows_out {
            let source = y.checked_sub(before[0]).filter(|&y| y < height);
            for x in 0..columns_out {
                if let (Some(y), Some(x)) = (source, x.checked_sub(before[1]).filter(|&x| x < width)) {
                    rows.push((channel * height + y) * width + x, 1.0);
                }
                rows.end_row(0.0);
            }
        }
    }
    Ok(rows.finish())
}
