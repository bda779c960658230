//! Maps that keep every value in its place: identity, scaling, flattening, batch normalisation.

use super::rows::Rows;
use super::{AffineMap, all_finite, checked_bias, values};
use crate::error::{Error, Result};

impl AffineMap {
    /// The map that changes nothing.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for an empty tensor, [`Error::TooLarge`].
    pub fn identity(shape: &[usize]) -> Result<Self> {
        diagonal("identity", shape, shape, |_| (1.0, 0.0))
    }

    /// Multiplies every value by `factor`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the factor is not finite, [`Error::ShapeMismatch`] for an empty tensor,
    /// [`Error::TooLarge`].
    pub fn scale(shape: &[usize], factor: f64) -> Result<Self> {
        all_finite("factor", &[factor])?;
        diagonal("scale", shape, shape, |_| (factor, 0.0))
    }

    /// Multiplies every value by a weight of its own, and adds a bias of its own; both flat, in the order of the values.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where there is not one weight and one bias a value, or the tensor is empty;
    /// [`Error::InvalidArgument`] for a number that is not finite; [`Error::TooLarge`].
    pub fn elementwise(shape: &[usize], weights: &[f64], bias: &[f64]) -> Result<Self> {
        let bias = checked_bias("elementwise", Some(bias), values("elementwise", shape)?)?;
        if weights.len() != bias.len() {
            return Err(Error::ShapeMismatch {
                operation: "elementwise",
                expected: format!("{} weights, one a value", bias.len()),
                got: vec![weights.len()],
            });
        }
        all_finite("weights", weights)?;
        diagonal("elementwise", shape, shape, |index| (weights[index], bias[index]))
    }

    /// The same values as a tensor of one axis.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for an empty tensor, [`Error::TooLarge`].
    pub fn flatten(shape: &[usize]) -> Result<Self> {
        diagonal("flatten", shape, &[values("flatten", shape)?], |_| (1.0, 0.0))
    }

    /// Batch normalisation with frozen statistics, `gamma (x - mean) / sqrt(variance + epsilon) + beta`, by channel:
    /// the first axis of `shape`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where a parameter has not one value a channel; [`Error::InvalidArgument`] where one is
    /// not finite or `variance + epsilon` is not positive; [`Error::TooLarge`].
    pub fn batch_norm(
        shape: &[usize],
        gamma: &[f64],
        beta: &[f64],
        mean: &[f64],
        variance: &[f64],
        epsilon: f64,
    ) -> Result<Self> {
        let count = values("batch_norm", shape)?;
        let channels = shape.first().copied().unwrap_or(1);
        for (name, parameter) in [("gamma", gamma), ("beta", beta), ("mean", mean), ("variance", variance)] {
            if parameter.len() != channels {
                return Err(Error::ShapeMismatch {
                    operation: "batch_norm",
                    expected: format!("{channels} values of {name}, one a channel"),
                    got: vec![parameter.len()],
                });
            }
            all_finite(name, parameter)?;
        }
        all_finite("epsilon", &[epsilon])?;
        if let Some(channel) = variance.iter().position(|variance| variance + epsilon <= 0.0) {
            return Err(Error::InvalidArgument {
                name: "variance",
                reason: format!(
                    "variance + epsilon of channel {channel} is {}, not positive",
                    variance[channel] + epsilon
                ),
            });
        }
        let per_channel: Vec<(f64, f64)> = (0..channels)
            .map(|c| {
                let weight = gamma[c] / (variance[c] + epsilon).sqrt();
                (weight, beta[c] - mean[c] * weight)
            })
            .collect();
        diagonal("batch_norm", shape, shape, |index| per_channel[index / (count / channels)])
    }
}

fn diagonal(
    operation: &'static str,
    input_shape: &[usize],
    output_shape: &[usize],
    weight_and_bias: impl Fn(usize) -> (f64, f64),
) -> Result<AffineMap> {
    let count = values(operation, input_shape)?;
    let mut rows = Rows::new(operation, input_shape, output_shape, count)?;
    for index in 0..count {
        let (weight, bias) = weight_and_bias(index);
        rows.push(index, weight);
        rows.end_row(bias);
    }
    Ok(rows.finish())
}
