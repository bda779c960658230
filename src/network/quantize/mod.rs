//! Networks over integers, for encodings that hold no fractions.
//!
//! Weights are multiplied by a scale and rounded; every value then carries a scale, the product of those before it: the
//! number that an integer stands for is `integer / scale`. Maps whose weights are all equal, such as average pooling,
//! become sums with weight 1, and their factor goes into the scale, so that nothing of it is rounded.

mod affine;
mod evaluate;

pub use affine::{IntegerAffine, scale_for_bits};

use super::activation::Activation;
use super::affine::AffineMap;
use super::model::{Layer, Network, Operation};
use crate::error::{Error, Result};

/// A network with integer weights.
#[derive(Debug, Clone, PartialEq)]
pub struct IntegerNetwork {
    input_shape: Vec<usize>,
    input_scale: f64,
    layers: Vec<IntegerLayer>,
}

/// A layer over integers.
#[derive(Debug, Clone, PartialEq)]
pub struct IntegerLayer {
    name: String,
    operation: IntegerOperation,
    scale: f64,
}

/// What a layer does with integers.
#[derive(Debug, Clone, PartialEq)]
pub enum IntegerOperation {
    /// a sparse matrix and a bias
    Affine(IntegerAffine),
    /// x^2
    Square,
    /// coefficients from the constant upwards, each at the scale that its power of the input lacks
    Polynomial(Vec<i128>),
}

impl IntegerLayer {
    /// The layer's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the layer does.
    pub fn operation(&self) -> &IntegerOperation {
        &self.operation
    }

    /// The scale of the layer's output: an integer `v` stands for `v / scale`.
    pub fn scale(&self) -> f64 {
        self.scale
    }
}

impl IntegerNetwork {
    /// Rounds the weights of each layer to integers of `weight_bits` bits, sign included, at a scale of their own.
    ///
    /// `input_scale` is what the client multiplies its images by before rounding. See
    /// [`AffineMap::weight_scale`](super::AffineMap::weight_scale) for how scales are chosen.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for scales that are not positive or bits outside 2..=62; [`Error::ScaleOutOfRange`]
    /// with the layer's name where a bias or coefficient at the accumulated scale outgrows 126 bits;
    /// [`Error::Unsupported`] for residual blocks, whose branches have different scales.
    pub fn new(network: &Network, input_scale: f64, weight_bits: u32) -> Result<Self> {
        let scales = network.layers().iter().map(|layer| match &layer.operation {
            Operation::Affine(map) => map.weight_scale(weight_bits),
            Operation::Activation(Activation::Square) => Ok(1.0),
            Operation::Activation(Activation::Polynomial(coefficients)) => {
                affine::scale_for_bits(coefficients, weight_bits)
            }
            Operation::Residual { .. } => Err(residual(&layer.name)),
        });
        Self::with_weight_scales(network, input_scale, &scales.collect::<Result<Vec<f64>>>()?)
    }

    /// As [`new`](Self::new), with the scale of each layer's weights given; that of a square is not used.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`Error::ShapeMismatch`] where there is not one scale a layer;
    /// [`Error::InvalidArgument`] where a weight at its scale outgrows 63 bits.
    pub fn with_weight_scales(network: &Network, input_scale: f64, weight_scales: &[f64]) -> Result<Self> {
        affine::check_scale("input_scale", input_scale)?;
        if weight_scales.len() != network.layers().len() {
            return Err(Error::ShapeMismatch {
                operation: "quantize",
                expected: format!("{} scales, one a layer", network.layers().len()),
                got: vec![weight_scales.len()],
            });
        }
        let mut scale = input_scale;
        let mut layers = Vec::with_capacity(weight_scales.len());
        for (layer, &weight_scale) in network.layers().iter().zip(weight_scales) {
            affine::check_scale("weight_scale", weight_scale)?;
            let operation = match &layer.operation {
                Operation::Affine(map) => {
                    let map = map.quantize(weight_scale, scale).map_err(|error| in_layer(error, &layer.name))?;
                    scale = map.output_scale();
                    IntegerOperation::Affine(map)
                }
                Operation::Activation(Activation::Square) => {
                    scale *= scale;
                    IntegerOperation::Square
                }
                Operation::Activation(Activation::Polynomial(coefficients)) => {
                    let (integers, output_scale) = quantize_polynomial(coefficients, weight_scale, scale)
                        .ok_or_else(|| too_large(&layer.name, "a coefficient at the accumulated scale"))?;
                    scale = output_scale;
                    IntegerOperation::Polynomial(integers)
                }
                Operation::Residual { .. } => return Err(residual(&layer.name)),
            };
            if !scale.is_finite() {
                return Err(too_large(&layer.name, "the accumulated scale"));
            }
            layers.push(IntegerLayer { name: layer.name.clone(), operation, scale });
        }
        Ok(Self { input_shape: network.input_shape().to_vec(), input_scale, layers })
    }

    /// The shape of one image.
    pub fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }

    /// The number of values of one image.
    pub fn inputs(&self) -> usize {
        self.input_shape.iter().product()
    }

    /// What images are multiplied by before rounding.
    pub fn input_scale(&self) -> f64 {
        self.input_scale
    }

    /// What answers are divided by.
    pub fn output_scale(&self) -> f64 {
        self.layers.last().map_or(self.input_scale, |layer| layer.scale)
    }

    /// The layers, first to last.
    pub fn layers(&self) -> &[IntegerLayer] {
        &self.layers
    }

    /// The same integers as a network of double-precision numbers, for the simulator and for comparison.
    ///
    /// # Errors
    /// [`Error::ScaleOutOfRange`] where a weight, bias or coefficient has more bits than a double holds.
    pub fn to_network(&self) -> Result<Network> {
        let layers = self.layers.iter().map(|layer| {
            let exact = |integers: &mut dyn Iterator<Item = i128>| -> Result<Vec<f64>> {
                integers
                    .map(|integer| {
                        let number = integer as f64;
                        if number as i128 == integer { Ok(number) } else { Err(too_large(&layer.name, "an integer")) }
                    })
                    .collect()
            };
            Ok(match &layer.operation {
                IntegerOperation::Affine(map) => {
                    let weights = exact(&mut map.weights().iter().map(|&weight| weight.into()))?;
                    let bias = exact(&mut map.bias().iter().copied())?;
                    let (input, output) = (map.input_shape(), map.output_shape());
                    let map = AffineMap::new(input, output, map.offsets(), map.columns(), &weights, &bias)?;
                    Layer::affine(&layer.name, map)
                }
                IntegerOperation::Square => Layer::activation(&layer.name, Activation::Square),
                IntegerOperation::Polynomial(coefficients) => {
                    let coefficients = exact(&mut coefficients.iter().copied())?;
                    Layer::activation(&layer.name, Activation::polynomial(&coefficients)?)
                }
            })
        });
        Network::new(&self.input_shape, layers.collect::<Result<_>>()?)
    }

    /// Images at the input scale, rounded.
    ///
    /// # Errors
    /// [`Error::Unencodable`] for a value that is not finite or outgrows 63 bits.
    pub fn quantize(&self, images: &[f64]) -> Result<Vec<i64>> {
        let round = |(index, &value): (usize, &f64)| {
            let scaled = (value * self.input_scale).round();
            if scaled.abs() < 2f64.powi(63) {
                return Ok(scaled as i64);
            }
            let reason = format!("at the scale {} it is no integer of 63 bits", self.input_scale);
            Err(Error::Unencodable { value, index, reason })
        };
        images.iter().enumerate().map(round).collect()
    }

    /// The numbers that integer answers stand for.
    pub fn dequantize(&self, answers: &[i128]) -> Vec<f64> {
        answers.iter().map(|&answer| answer as f64 / self.output_scale()).collect()
    }
}

/// Coefficient k is rounded at `weight_scale * scale^(degree - k)`, so that every term ends at one scale.
fn quantize_polynomial(coefficients: &[f64], weight_scale: f64, scale: f64) -> Option<(Vec<i128>, f64)> {
    let mut at_scale = weight_scale;
    let mut integers = Vec::with_capacity(coefficients.len());
    for (power, coefficient) in coefficients.iter().enumerate().rev() {
        integers.push(affine::round_wide(coefficient * at_scale)?);
        if power > 0 {
            at_scale *= scale;
        }
    }
    integers.reverse();
    Some((integers, at_scale))
}

fn residual(layer: &str) -> Error {
    Error::Unsupported {
        operation: "rounding weights to integers",
        reason: format!("layer {layer} is a residual block, whose branches have different scales; use CKKS"),
    }
}

fn too_large(layer: &str, what: &str) -> Error {
    Error::ScaleOutOfRange {
        operation: "quantize",
        reason: format!("{what} of layer {layer} has too many bits; use fewer weight bits or a smaller input scale"),
    }
}

fn in_layer(error: Error, layer: &str) -> Error {
    match error {
        Error::ScaleOutOfRange { .. } => too_large(layer, "a bias at the accumulated scale"),
        other => other,
    }
}

#[cfg(test)]
mod tests;
