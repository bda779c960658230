//! Affine maps between tensors, as one sparse matrix and a bias.
//!
//! | file | constructors |
//! | --- | --- |
//! | `convolution` | [`AffineMap::conv2d`], [`AffineMap::conv1d`] |
//! | `pooling` | [`AffineMap::avg_pool2d`], [`AffineMap::avg_pool1d`], [`AffineMap::average_spans`] |
//! | `linear` | [`AffineMap::linear`] |
//! | `diagonal` | [`AffineMap::identity`], [`AffineMap::scale`], [`AffineMap::elementwise`], [`AffineMap::flatten`], |
//! | | [`AffineMap::batch_norm`] |
//! | `padding` | [`AffineMap::pad2d`], [`AffineMap::pad1d`] |
//!
//! `fuse` multiplies maps, `sum` adds them, `structure` finds what repeats in them.

mod convolution;
mod diagonal;
mod fuse;
mod linear;
mod padding;
mod pooling;
mod rows;
mod structure;
mod sum;
mod window;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use convolution::{Conv1d, Conv2d};
pub use pooling::{Pool1d, Pool2d, Span};

use super::written::WrittenMap;
use crate::error::{Error, Result};
use rows::Rows;

/// The affine map `y = W x + b` between the values of two tensors, without a batch dimension.
///
/// `W` is stored by rows in compressed form: row `r` (one flat output position) holds the entries
/// `offsets[r]..offsets[r + 1]` of `columns` (flat input positions, strictly ascending) and `weights` (finite, never
/// zero). Tensors are flattened in row-major (C) order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "WrittenMap")]
pub struct AffineMap {
    input_shape: Vec<usize>,
    output_shape: Vec<usize>,
    offsets: Vec<usize>,
    columns: Vec<u32>,
    weights: Vec<f64>,
    bias: Vec<f64>,
}

/// What one affine map may take in memory, in bytes.
const MEMORY_LIMIT: u64 = 1 << 33;

impl AffineMap {
    /// A map from its compressed rows; zero weights are dropped.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where the number of rows or of biases is not that of the output's values, or a shape
    /// is empty; [`Error::InvalidArgument`] where offsets or columns are not ascending or point outside, or a number is
    /// not finite; [`Error::TooLarge`].
    pub fn new(
        input_shape: &[usize],
        output_shape: &[usize],
        offsets: &[usize],
        columns: &[u32],
        weights: &[f64],
        bias: &[f64],
    ) -> Result<Self> {
        const OPERATION: &str = "affine map";
        let outputs = values(OPERATION, output_shape)?;
        if offsets.len() != outputs + 1 {
            return Err(Error::ShapeMismatch {
                operation: OPERATION,
                expected: format!("{} offsets, one more than outputs", outputs + 1),
                got: vec![offsets.len()],
            });
        }
        if columns.len() != weights.len() {
            return Err(Error::ShapeMismatch {
                operation: OPERATION,
                expected: format!("{} columns, one for each weight", weights.len()),
                got: vec![columns.len()],
            });
        }
        if offsets[0] != 0 || offsets[outputs] != weights.len() || offsets.windows(2).any(|pair| pair[0] > pair[1]) {
            return Err(Error::InvalidArgument {
                name: "offsets",
                reason: format!("they must ascend from 0 to the number of weights, {}", weights.len()),
            });
        }
        let bias = checked_bias(OPERATION, Some(bias), outputs)?;
        all_finite("weights", weights)?;
        let mut rows = Rows::new(OPERATION, input_shape, output_shape, weights.len())?;
        for (row, bounds) in offsets.windows(2).enumerate() {
            let columns = &columns[bounds[0]..bounds[1]];
            let inside = columns.last().is_none_or(|&last| (last as usize) < rows.inputs());
            if !inside || columns.windows(2).any(|pair| pair[0] >= pair[1]) {
                return Err(Error::InvalidArgument {
                    name: "columns",
                    reason: format!("row {row} must ascend strictly and stay below {}", rows.inputs()),
                });
            }
            for (&column, &weight) in columns.iter().zip(&weights[bounds[0]..bounds[1]]) {
                rows.push(column as usize, weight);
            }
            rows.end_row(bias[row]);
        }
        Ok(rows.finish())
    }

    /// The shape of the tensor that the map takes.
    pub fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }

    /// The shape of the tensor that the map gives.
    pub fn output_shape(&self) -> &[usize] {
        &self.output_shape
    }

    /// The number of input values: columns of the matrix.
    pub fn inputs(&self) -> usize {
        self.input_shape.iter().product()
    }

    /// The number of output values: rows of the matrix.
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// The number of weights that are not zero.
    pub fn nonzeros(&self) -> usize {
        self.weights.len()
    }

    /// Where each row starts in [`columns`](Self::columns) and [`weights`](Self::weights); one more than outputs.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// The flat input position of each entry, row after row, strictly ascending within a row.
    pub fn columns(&self) -> &[u32] {
        &self.columns
    }

    /// The weight of each entry, row after row.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The bias of each output.
    pub fn bias(&self) -> &[f64] {
        &self.bias
    }

    /// Columns and weights of each row, in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = (&[u32], &[f64])> {
        self.offsets.windows(2).map(|bounds| (&self.columns[bounds[0]..bounds[1]], &self.weights[bounds[0]..bounds[1]]))
    }

    /// The same map with its values seen under other shapes, as flattening does.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where a shape holds another number of values.
    pub fn reshaped(mut self, input_shape: &[usize], output_shape: &[usize]) -> Result<Self> {
        for (shape, count) in [(input_shape, self.inputs()), (output_shape, self.outputs())] {
            if values("reshape", shape)? != count {
                return Err(Error::ShapeMismatch {
                    operation: "reshape",
                    expected: format!("a shape of {count} values"),
                    got: shape.to_vec(),
                });
            }
        }
        self.input_shape = input_shape.to_vec();
        self.output_shape = output_shape.to_vec();
        Ok(self)
    }

    /// `W x + b` in double precision.
    ///
    /// `input` holds one tensor, or several one after the other; they are mapped in parallel on the current rayon
    /// pool. The answer holds as many outputs, one after the other.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where the length is not a multiple of the number of inputs.
    pub fn apply(&self, input: &[f64]) -> Result<Vec<f64>> {
        let inputs = self.inputs();
        if !input.len().is_multiple_of(inputs) {
            return Err(Error::ShapeMismatch {
                operation: "affine map",
                expected: format!("tensors of shape {:?}, {inputs} values each", self.input_shape),
                got: vec![input.len()],
            });
        }
        let mut output = vec![0.0; input.len() / inputs * self.outputs()];
        output.par_chunks_mut(self.outputs()).zip(input.par_chunks(inputs)).for_each(|(y, x)| self.apply_one(x, y));
        Ok(output)
    }

    fn apply_one(&self, input: &[f64], output: &mut [f64]) {
        for ((y, (columns, weights)), bias) in output.iter_mut().zip(self.rows()).zip(&self.bias) {
            let sum: f64 = columns.iter().zip(weights).map(|(&column, weight)| weight * input[column as usize]).sum();
            *y = sum + bias;
        }
    }
}

/// The number of values of a tensor.
fn values(operation: &'static str, shape: &[usize]) -> Result<usize> {
    match shape.iter().try_fold(1usize, |product, &length| product.checked_mul(length)) {
        Some(0) => Err(Error::ShapeMismatch { operation, expected: "no axis of length 0".into(), got: shape.to_vec() }),
        Some(count) if count <= u32::MAX as usize => Ok(count),
        count => Err(Error::TooLarge {
            object: operation,
            size: count.map_or(u64::MAX, |count| (count as u64).saturating_mul(size_of::<f64>() as u64)),
            limit: MEMORY_LIMIT,
        }),
    }
}

/// The bias given, or zeros; as many as there are outputs, all finite.
fn checked_bias(operation: &'static str, bias: Option<&[f64]>, count: usize) -> Result<Vec<f64>> {
    let Some(bias) = bias else { return Ok(vec![0.0; count]) };
    if bias.len() != count {
        return Err(Error::ShapeMismatch {
            operation,
            expected: format!("a bias of {count} values"),
            got: vec![bias.len()],
        });
    }
    all_finite("bias", bias)?;
    Ok(bias.to_vec())
}

fn all_finite(name: &'static str, values: &[f64]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Error::InvalidArgument {
            name,
            reason: format!("{} at flat index {index} is not a finite number", values[index]),
        }),
    }
}

#[cfg(test)]
mod tests;
