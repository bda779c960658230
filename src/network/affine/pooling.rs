//! Average pooling. Padded zeros count in the mean.

use super::AffineMap;
use super::rows::Rows;
use super::window::Axis;
use crate::error::Result;

/// Two-dimensional average pooling, as `torch.nn.AvgPool2d` with `count_include_pad=True`.
#[derive(Debug, Clone, Copy)]
pub struct Pool2d {
    /// size of the window, `[y, x]`
    pub kernel: [usize; 2],
    /// steps of the window, `[y, x]`
    pub stride: [usize; 2],
    /// zeros on both sides of each axis, `[y, x]`
    pub padding: [usize; 2],
}

/// One-dimensional average pooling, as `torch.nn.AvgPool1d` with `count_include_pad=True`.
#[derive(Debug, Clone, Copy)]
pub struct Pool1d {
    /// size of the window
    pub kernel: usize,
    /// step of the window
    pub stride: usize,
    /// zeros on both sides
    pub padding: usize,
}

impl AffineMap {
    /// Average pooling of an image `[channels, height, width]`, giving `[channels, height', width']`.
    ///
    /// Every weight is `1 / (kernel height * kernel width)`;
    /// [`into_sum_and_factor`](Self::into_sum_and_factor) takes that out.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`](crate::Error::ShapeMismatch) where the window is larger than the padded image;
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for a kernel or stride of 0;
    /// [`Error::TooLarge`](crate::Error::TooLarge).
    pub fn avg_pool2d(input_shape: [usize; 3], pool: &Pool2d) -> Result<Self> {
        average("avg_pool2d", input_shape, pool, |[channels, height, width]| vec![channels, height, width])
    }

    /// Average pooling of a signal `[channels, length]`, giving `[channels, length']`.
    ///
    /// # Errors
    /// As [`avg_pool2d`](Self::avg_pool2d).
    pub fn avg_pool1d(input_shape: [usize; 2], pool: &Pool1d) -> Result<Self> {
        let [channels, length] = input_shape;
        let row = Pool2d { kernel: [1, pool.kernel], stride: [1, pool.stride], padding: [0, pool.padding] };
        let mut map =
            average("avg_pool1d", [channels, 1, length], &row, |[channels, _, length]| vec![channels, length])?;
        map.input_shape = input_shape.to_vec();
        Ok(map)
    }

    /// Writes the map as one whose weights are all 1, and the factor to multiply its outputs by.
    ///
    /// That is what encodings without fractions need of average pooling: sums, and a factor that somebody else keeps.
    /// Maps whose weights differ among themselves, or that have a bias, come back as they are, with factor 1.
    pub fn into_sum_and_factor(mut self) -> (Self, f64) {
        let Some(&factor) = self.weights.first() else { return (self, 1.0) };
        if self.weights.iter().any(|&weight| weight != factor) || self.bias.iter().any(|&bias| bias != 0.0) {
            return (self, 1.0);
        }
        self.weights.fill(1.0);
        (self, factor)
    }
}

fn average(
    operation: &'static str,
    input_shape: [usize; 3],
    pool: &Pool2d,
    output_shape: impl Fn([usize; 3]) -> Vec<usize>,
) -> Result<AffineMap> {
    let [channels, height, width] = input_shape;
    let axis = |input, i: usize| Axis {
        input,
        kernel: pool.kernel[i],
        stride: pool.stride[i],
        padding: pool.padding[i],
        dilation: 1,
    };
    let (vertical, horizontal) = (axis(height, 0), axis(width, 1));
    let (rows_out, columns_out) = (vertical.positions(operation)?, horizontal.positions(operation)?);
    let weight = 1.0 / (pool.kernel[0] as f64 * pool.kernel[1] as f64);

    let taps = vertical.max_taps().saturating_mul(horizontal.max_taps());
    let positions = channels.saturating_mul(rows_out).saturating_mul(columns_out);
    let output_shape = output_shape([channels, rows_out, columns_out]);
    let mut rows = Rows::new(operation, &input_shape, &output_shape, positions.saturating_mul(taps))?;
    for channel in 0..channels {
        for (y, x) in (0..rows_out).flat_map(|y| (0..columns_out).map(move |x| (y, x))) {
            for (_, input_y) in vertical.taps(y) {
                for (_, input_x) in horizontal.taps(x) {
                    rows.push((channel * height + input_y) * width + input_x, weight);
                }
            }
            rows.end_row(0.0);
        }
    }
    Ok(rows.finish())
}
