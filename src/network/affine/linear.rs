//! Fully connected layers.

use super::rows::Rows;
use super::{AffineMap, all_finite, checked_bias};
use crate::error::{Error, Result};

impl AffineMap {
    /// A fully connected layer from `[inputs]` to `[outputs]`; `weights` is flat, of `shape` `[outputs, inputs]`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where weights, shape and bias do not fit together or are empty;
    /// [`Error::InvalidArgument`] for a weight that is not finite; [`Error::TooLarge`].
    pub fn linear(weights: &[f64], shape: [usize; 2], bias: Option<&[f64]>) -> Result<Self> {
        let [outputs, inputs] = shape;
        if outputs.checked_mul(inputs) != Some(weights.len()) {
            return Err(Error::ShapeMismatch {
                operation: "linear",
                expected: format!("weights of shape {shape:?}"),
                got: vec![weights.len()],
            });
        }
        all_finite("weights", weights)?;
        let mut rows = Rows::new("linear", &[inputs], &[outputs], weights.len())?;
        let bias = checked_bias("linear", bias, outputs)?;
        for (row, bias) in weights.chunks_exact(inputs).zip(bias) {
            for (column, &weight) in row.iter().enumerate() {
                rows.push(column, weight);
            }
            rows.end_row(bias);
        }
        Ok(rows.finish())
    }
}
