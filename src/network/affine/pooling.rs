//! Average pooling.

use super::AffineMap;
use super::rows::Rows;
use super::window::Axis;
use crate::error::{Error, Result};

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

/// What one output of a pooling sees along one axis: the inputs `start..end`, and their share of the divisor.
///
/// An output is the sum of the inputs in its vertical and its horizontal span over the product of their divisors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// the first input
    pub start: usize,
    /// one past the last input; an empty span gives 0
    pub end: usize,
    /// what the sum is divided by, at least 1: `end - start`, or more where padded zeros count in the mean
    pub divisor: usize,
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

    /// Averages of an image `[channels, height, width]` over windows that need not be alike, one span an output row and
    /// one an output column: adaptive pooling, windows that reach over the edge, padding that does not count.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for a span that reaches outside, or a divisor of 0;
    /// [`Error::ShapeMismatch`](crate::Error::ShapeMismatch) where there is no span;
    /// [`Error::TooLarge`](crate::Error::TooLarge).
    pub fn average_spans(input_shape: [usize; 3], vertical: &[Span], horizontal: &[Span]) -> Result<Self> {
        let [channels, height, width] = input_shape;
        for (spans, length) in [(vertical, height), (horizontal, width)] {
            if let Some(span) = spans.iter().find(|s| s.start > s.end || s.end > length || s.divisor == 0) {
                return Err(Error::InvalidArgument {
                    name: "spans",
                    reason: format!("{span:?} does not lie within 0..{length}, or divides by 0"),
                });
            }
        }
        let output_shape = [channels, vertical.len(), horizontal.len()];
        let taps = |spans: &[Span]| spans.iter().fold(0usize, |sum, span| sum.saturating_add(span.end - span.start));
        let entries = channels.saturating_mul(taps(vertical)).saturating_mul(taps(horizontal));
        let rows = Rows::new("average_spans", &input_shape, &output_shape, entries)?;
        Ok(fill(rows, input_shape, vertical, horizontal))
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
    let taps = vertical.max_taps().saturating_mul(horizontal.max_taps());
    let positions = channels.saturating_mul(rows_out).saturating_mul(columns_out);
    let output_shape = output_shape([channels, rows_out, columns_out]);
    // Before the spans: it refuses what would not fit into memory.
    let rows = Rows::new(operation, &input_shape, &output_shape, positions.saturating_mul(taps))?;
    Ok(fill(rows, input_shape, &vertical.spans(rows_out), &horizontal.spans(columns_out)))
}

fn fill(mut rows: Rows, [channels, height, width]: [usize; 3], vertical: &[Span], horizontal: &[Span]) -> AffineMap {
    for channel in 0..channels {
        for (y, x) in vertical.iter().flat_map(|y| horizontal.iter().map(move |x| (y, x))) {
            let weight = 1.0 / (y.divisor as f64 * x.divisor as f64);
            for row in (y.start..y.end).map(|y| (channel * height + y) * width) {
                (x.start..x.end).for_each(|x| rows.push(row + x, weight));
            }
            rows.end_row(0.0);
        }
    }
    rows.finish()
}
