//! Affine maps over integers.

use crate::error::{Error, Result};
use crate::network::AffineMap;

/// An affine map with integer weights: `y = W x + b` over integers, rows compressed as in [`AffineMap`].
#[derive(Debug, Clone, PartialEq)]
pub struct IntegerAffine {
    input_shape: Vec<usize>,
    output_shape: Vec<usize>,
    offsets: Vec<usize>,
    columns: Vec<u32>,
    weights: Vec<i64>,
    bias: Vec<i128>,
    weight_scale: f64,
    output_scale: f64,
}

impl IntegerAffine {
    /// The shape of the tensor that the map takes.
    pub fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }

    /// The shape of the tensor that the map gives.
    pub fn output_shape(&self) -> &[usize] {
        &self.output_shape
    }

    /// The number of rows.
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// Where each row starts in columns and weights; one more than outputs.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// The flat input position of each entry, strictly ascending within a row.
    pub fn columns(&self) -> &[u32] {
        &self.columns
    }

    /// The weight of each entry, never 0.
    pub fn weights(&self) -> &[i64] {
        &self.weights
    }

    /// The bias of each output, at the [`output_scale`](Self::output_scale).
    pub fn bias(&self) -> &[i128] {
        &self.bias
    }

    /// What the weights were multiplied by before rounding.
    pub fn weight_scale(&self) -> f64 {
        self.weight_scale
    }

    /// The scale of the outputs: the input's times that of the weights.
    pub fn output_scale(&self) -> f64 {
        self.output_scale
    }

    /// The largest |weight|; 0 for a map without weights.
    pub fn max_weight(&self) -> u64 {
        self.weights.iter().map(|weight| weight.unsigned_abs()).max().unwrap_or(0)
    }

    /// Columns, weights and bias of each row, in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = (&[u32], &[i64], i128)> {
        let entries = |bounds: &[usize]| bounds[0]..bounds[1];
        self.offsets
            .windows(2)
            .zip(&self.bias)
            .map(move |(bounds, &bias)| (&self.columns[entries(bounds)], &self.weights[entries(bounds)], bias))
    }

    /// The largest |value| that each output can take for inputs of at most these magnitudes.
    pub(super) fn worst_case(&self, inputs: &[f64]) -> Vec<f64> {
        self.rows()
            .map(|(columns, weights, bias)| {
                let products = columns.iter().zip(weights).map(|(&c, &w)| w.unsigned_abs() as f64 * inputs[c as usize]);
                products.sum::<f64>() + bias.unsigned_abs() as f64
            })
            .collect()
    }
}

impl AffineMap {
    /// The map over integers: weights at `weight_scale`, biases at `input_scale * weight_scale`, rounded to the nearest.
    /// Weights that round to 0 are dropped.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where a scale is not positive or a weight at its scale outgrows 63 bits;
    /// [`Error::ScaleOutOfRange`] where a bias outgrows 126 bits.
    pub fn quantize(&self, weight_scale: f64, input_scale: f64) -> Result<IntegerAffine> {
        check_scale("weight_scale", weight_scale)?;
        check_scale("input_scale", input_scale)?;
        let output_scale = weight_scale * input_scale;
        let mut offsets = Vec::with_capacity(self.outputs() + 1);
        let mut columns = Vec::with_capacity(self.nonzeros());
        let mut integers = Vec::with_capacity(self.nonzeros());
        offsets.push(0);
        for (row_columns, weights) in self.rows() {
            for (&column, weight) in row_columns.iter().zip(weights) {
                let scaled = (weight * weight_scale).round();
                if scaled.abs() >= 2f64.powi(63) {
                    return Err(Error::InvalidArgument {
                        name: "weight_scale",
                        reason: format!("{weight_scale} makes the weight {weight} outgrow 63 bits"),
                    });
                }
                if scaled != 0.0 {
                    columns.push(column);
                    integers.push(scaled as i64);
                }
            }
            offsets.push(integers.len());
        }
        let bias = self.bias().iter().map(|bias| round_wide(bias * output_scale));
        let bias = bias.collect::<Option<Vec<i128>>>().ok_or_else(|| Error::ScaleOutOfRange {
            operation: "quantize",
            reason: format!("a bias at the scale {output_scale:e} outgrows 126 bits; use smaller scales"),
        })?;
        Ok(IntegerAffine {
            input_shape: self.input_shape().to_vec(),
            output_shape: self.output_shape().to_vec(),
            offsets,
            columns,
            weights: integers,
            bias,
            weight_scale,
            output_scale,
        })
    }

    /// A scale that makes the weights integers of at most `bits` bits, sign included.
    ///
    /// Where all weights are equal it makes them 1 (or -1), exactly. Otherwise it is the largest power of two that
    /// keeps within the bits, or the smallest that makes every weight an integer where that is less.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for bits outside 2..=62.
    pub fn weight_scale(&self, bits: u32) -> Result<f64> {
        let uniform = self.weights().first().filter(|first| self.weights().iter().all(|weight| weight == *first));
        match uniform.map(|weight| weight.abs().recip()).filter(|scale| scale.is_finite() && *scale > 0.0) {
            Some(scale) => check_bits(bits).map(|()| scale),
            None => scale_for_bits(self.weights(), bits),
        }
    }
}

/// The largest power of two that keeps numbers within `bits` bits, sign included, or the smallest that makes all of them
/// integers where that is less.
///
/// # Errors
/// [`Error::InvalidArgument`] for bits outside 2..=62.
pub fn scale_for_bits(numbers: &[f64], bits: u32) -> Result<f64> {
    check_bits(bits)?;
    let largest = numbers.iter().fold(0.0, |largest: f64, number| largest.max(number.abs()));
    if largest == 0.0 {
        return Ok(1.0);
    }
    // Halving is exact, so this stays clear of the ends of the range of f64.
    let limit = ((1u64 << (bits - 1)) - 1) as f64;
    let exponent = (limit.log2() - largest.log2()).floor().clamp(-1000.0, 1000.0) as i32;
    let mut scale = 2f64.powi(exponent);
    while (largest * scale).round() > limit {
        scale /= 2.0;
    }
    let all_integers = |scale: f64| numbers.iter().all(|number| (number * scale).fract() == 0.0);
    while scale > 2f64.powi(-1000) && all_integers(scale / 2.0) {
        scale /= 2.0;
    }
    Ok(scale)
}

/// The nearest integer, where it has at most 126 bits.
pub(super) fn round_wide(value: f64) -> Option<i128> {
    let rounded = value.round();
    (rounded.abs() < 2f64.powi(126)).then_some(rounded as i128)
}

pub(super) fn check_scale(name: &'static str, scale: f64) -> Result<()> {
    if scale.is_finite() && scale > 0.0 {
        return Ok(());
    }
    Err(Error::InvalidArgument { name, reason: format!("{scale} is not a positive finite number") })
}

fn check_bits(bits: u32) -> Result<()> {
    if (2..=62).contains(&bits) {
        return Ok(());
    }
    Err(Error::InvalidArgument { name: "weight_bits", reason: format!("{bits} is not between 2 and 62") })
}
