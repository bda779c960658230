//! Affine maps with integer weights: a step of a segment.

use super::accumulate::Prime;
use super::matrix::ScalarMatrix;
use super::segment::OPERATION;
use crate::error::{Error, Result};

/// An affine map with integer weights.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalarAffine {
    matrix: ScalarMatrix,
    bias: Vec<u64>,
}

impl ScalarAffine {
    /// A linear map.
    pub fn linear(matrix: ScalarMatrix) -> Self {
        Self { matrix, bias: Vec::new() }
    }

    /// A map that adds a constant to each output: the constant polynomial with residues
    /// `bias[output][prime]`, for every prime of the ciphertexts that the map will be given.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where `bias` is not `[matrix.rows()][primes]` with at least one prime.
    pub fn new(matrix: ScalarMatrix, bias: Vec<u64>) -> Result<Self> {
        let rows = matrix.rows();
        if rows > 0 && (bias.is_empty() || !bias.len().is_multiple_of(rows)) {
            return Err(Error::ShapeMismatch {
                operation: "affine map",
                expected: format!("a residue of each prime for each of {rows} biases"),
                got: vec![bias.len()],
            });
        }
        Ok(Self { matrix, bias })
    }

    /// The weights.
    pub fn matrix(&self) -> &ScalarMatrix {
        &self.matrix
    }

    /// The balanced biases of one of `primes` primes, one for each row.
    pub(super) fn balanced_bias(&self, prime: &Prime, j: usize, primes: usize) -> Result<Vec<i64>> {
        let rows = self.matrix.rows();
        if self.bias.is_empty() {
            return Ok(vec![0; rows]);
        }
        if self.bias.len() != rows * primes {
            return Err(Error::ShapeMismatch {
                operation: OPERATION,
                expected: format!("biases of shape {:?}", [rows, primes]),
                got: vec![self.bias.len()],
            });
        }
        let column = self.bias.iter().skip(j).step_by(primes);
        column
            .map(|&residue| {
                if residue < prime.modulus.value() {
                    Ok(prime.balance(residue))
                } else {
                    Err(Error::InvalidArgument {
                        name: "bias",
                        reason: format!("{residue} is not a residue modulo {}", prime.modulus.value()),
                    })
                }
            })
            .collect()
    }
}
