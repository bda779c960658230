//! Convolutions (cross-correlations, as every deep learning framework calls convolution).

use super::rows::Rows;
use super::window::Axis;
use super::{AffineMap, all_finite, checked_bias};
use crate::error::{Error, Result};

/// A two-dimensional convolution; [`Conv2d::new`] sets what `torch.nn.Conv2d` would.
#[derive(Debug, Clone, Copy)]
pub struct Conv2d<'a> {
    /// the filters, flat, of shape [`shape`](Self::shape)
    pub weights: &'a [f64],
    /// `[filters, channels / groups, kernel height, kernel width]`
    pub shape: [usize; 4],
    /// one value a filter
    pub bias: Option<&'a [f64]>,
    /// steps of the window, `[y, x]`
    pub stride: [usize; 2],
    /// zeros on both sides of each axis, `[y, x]`
    pub padding: [usize; 2],
    /// distance between taps of the kernel, `[y, x]`
    pub dilation: [usize; 2],
    /// filters and channels are cut into this many groups that do not see each other
    pub groups: usize,
}

impl<'a> Conv2d<'a> {
    /// A convolution of stride 1 without bias, padding, dilation or groups.
    pub fn new(weights: &'a [f64], shape: [usize; 4]) -> Self {
        Self { weights, shape, bias: None, stride: [1; 2], padding: [0; 2], dilation: [1; 2], groups: 1 }
    }
}

/// A one-dimensional convolution; [`Conv1d::new`] sets what `torch.nn.Conv1d` would.
#[derive(Debug, Clone, Copy)]
pub struct Conv1d<'a> {
    /// the filters, flat, of shape [`shape`](Self::shape)
    pub weights: &'a [f64],
    /// `[filters, channels / groups, kernel length]`
    pub shape: [usize; 3],
    /// one value a filter
    pub bias: Option<&'a [f64]>,
    /// step of the window
    pub stride: usize,
    /// zeros on both sides
    pub padding: usize,
    /// distance between taps of the kernel
    pub dilation: usize,
    /// filters and channels are cut into this many groups that do not see each other
    pub groups: usize,
}

impl<'a> Conv1d<'a> {
    /// A convolution of stride 1 without bias, padding, dilation or groups.
    pub fn new(weights: &'a [f64], shape: [usize; 3]) -> Self {
        Self { weights, shape, bias: None, stride: 1, padding: 0, dilation: 1, groups: 1 }
    }
}

impl AffineMap {
    /// A convolution of an image `[channels, height, width]`, giving `[filters, height', width']`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where the weights, their shape, the bias and the image do not fit together or the
    /// kernel is larger than the padded image; [`Error::InvalidArgument`] for a stride, dilation, kernel or number of
    /// groups of 0, or a weight that is not finite; [`Error::TooLarge`].
    pub fn conv2d(input_shape: [usize; 3], convolution: &Conv2d) -> Result<Self> {
        convolve("conv2d", input_shape, convolution, |[filters, height, width]| vec![filters, height, width])
    }

    /// A convolution of a signal `[channels, length]`, giving `[filters, length']`.
    ///
    /// # Errors
    /// As [`conv2d`](Self::conv2d).
    pub fn conv1d(input_shape: [usize; 2], convolution: &Conv1d) -> Result<Self> {
        let [channels, length] = input_shape;
        let [filters, group_channels, kernel] = convolution.shape;
        let row = Conv2d {
            weights: convolution.weights,
            shape: [filters, group_channels, 1, kernel],
            bias: convolution.bias,
            stride: [1, convolution.stride],
            padding: [0, convolution.padding],
            dilation: [1, convolution.dilation],
            groups: convolution.groups,
        };
        let mut map = convolve("conv1d", [channels, 1, length], &row, |[filters, _, length]| vec![filters, length])?;
        map.input_shape = input_shape.to_vec();
        Ok(map)
    }
}

fn convolve(
    operation: &'static str,
    input_shape: [usize; 3],
    convolution: &Conv2d,
    output_shape: impl Fn([usize; 3]) -> Vec<usize>,
) -> Result<AffineMap> {
    let [channels, height, width] = input_shape;
    let [filters, group_channels, kernel_height, kernel_width] = convolution.shape;
    let Conv2d { weights, bias, stride, padding, dilation, groups, .. } = *convolution;
    let mismatch = |expected: String, got: Vec<usize>| Error::ShapeMismatch { operation, expected, got };

    if groups == 0 || !filters.is_multiple_of(groups) || !channels.is_multiple_of(groups) {
        return Err(Error::InvalidArgument {
            name: "groups",
            reason: format!("{groups} does not divide {channels} channels and {filters} filters"),
        });
    }
    if group_channels.checked_mul(groups) != Some(channels) {
        let expected = format!("{group_channels} channels for each of {groups} group(s), as the weights have");
        return Err(mismatch(expected, input_shape.to_vec()));
    }
    let vertical =
        Axis { input: height, kernel: kernel_height, stride: stride[0], padding: padding[0], dilation: dilation[0] };
    let horizontal =
        Axis { input: width, kernel: kernel_width, stride: stride[1], padding: padding[1], dilation: dilation[1] };
    let (rows_out, columns_out) = (vertical.positions(operation)?, horizontal.positions(operation)?);
    let filter_len = [group_channels, kernel_height, kernel_width].iter().try_fold(1usize, |n, &x| n.checked_mul(x));
    if filter_len.and_then(|len| len.checked_mul(filters)) != Some(weights.len()) {
        return Err(mismatch(format!("weights of shape {:?}", convolution.shape), vec![weights.len()]));
    }
    all_finite("weights", weights)?;
    let bias = checked_bias(operation, bias, filters)?;

    let taps = group_channels.saturating_mul(vertical.max_taps()).saturating_mul(horizontal.max_taps());
    let positions = filters.saturating_mul(rows_out).saturating_mul(columns_out);
    let output_shape = output_shape([filters, rows_out, columns_out]);
    let mut rows = Rows::new(operation, &input_shape, &output_shape, positions.saturating_mul(taps))?;
    for filter in 0..filters {
        let first_channel = filter / (filters / groups) * group_channels;
        for (y, x) in (0..rows_out).flat_map(|y| (0..columns_out).map(move |x| (y, x))) {
            for channel in 0..group_channels {
                let plane = (first_channel + channel) * height;
                for (tap_y, input_y) in vertical.taps(y) {
                    let weights =
                        &weights[((filter * group_channels + channel) * kernel_height + tap_y) * kernel_width..];
                    for (tap_x, input_x) in horizontal.taps(x) {
                        rows.push((plane + input_y) * width + input_x, weights[tap_x]);
                    }
                }
            }
            rows.end_row(bias[filter]);
        }
    }
    Ok(rows.finish())
}
