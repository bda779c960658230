//! What a batched program takes, before anything is encrypted.

use super::BatchedProgram;
use crate::encryption::transport::{polynomial_bytes, public_key_bytes};
use crate::evaluator::batched::Step;

/// One affine map or square.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// `square`, or `linear` with the shape of the matrix
    pub kind: String,
    /// primes of its input
    pub primes: usize,
    /// weights that are not zero
    pub weights: usize,
}

/// What a program takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// step by step
    pub steps: Vec<StepReport>,
    /// bytes of the public key, as sent
    pub key_bytes: usize,
    /// bytes of a batch of encrypted images
    pub bytes_up: usize,
    /// bytes of the encrypted answers
    pub bytes_down: usize,
    /// products of residues and integers that a run computes
    pub multiplications: u64,
}

impl BatchedProgram {
    /// Counts what a run takes.
    pub fn explain(&self) -> Explanation {
        let parameters = &self.interface.parameters;
        let (mut primes, mut polynomials, mut multiplications) = (parameters.data_moduli().len(), 2usize, 0u64);
        let inputs: usize = self.interface.input_shape.iter().product();
        let outputs: usize = self.interface.output_shape.iter().product();
        let mut steps = Vec::new();
        for stage in &self.stages {
            for step in stage.segment.steps() {
                steps.push(match step {
                    Step::Affine(affine) => {
                        let matrix = affine.matrix();
                        let products = matrix.nonzeros() * primes * polynomials * parameters.degree();
                        multiplications += products as u64;
                        let kind = format!("linear {} x {}", matrix.rows(), matrix.columns());
                        StepReport { kind, primes, weights: matrix.nonzeros() }
                    }
                    Step::Square => {
                        polynomials = 2 * polynomials - 1;
                        StepReport { kind: "square".into(), primes, weights: 0 }
                    }
                });
            }
            primes -= stage.divisions;
        }
        Explanation {
            steps,
            key_bytes: public_key_bytes(parameters),
            bytes_up: inputs * polynomial_bytes(parameters, parameters.data_moduli().len()),
            bytes_down: outputs * polynomials * polynomial_bytes(parameters, primes),
            multiplications,
        }
    }
}
