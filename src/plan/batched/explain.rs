//! What a batched program takes, before anything is encrypted.

use super::BatchedProgram;
use crate::encryption::transport::{polynomial_bytes, public_key_bytes};
use crate::error::Result;
use crate::evaluator::Evaluator;
use crate::evaluator::batched::Step;
use crate::plan::rehearsal;
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, Form, Parameters};

/// One affine map or square.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// `square`, or `linear` with the shape of the matrix
    pub kind: String,
    /// the layers that a matrix computes, by name
    pub layers: String,
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
    /// bytes that a server takes at the most during a run
    pub memory: usize,
    /// seconds of a run on one core
    pub seconds: f64,
}

impl BatchedProgram {
    /// Counts what a run takes, and rehearses it: once for a program, in less than a second but for large networks. Run it
    /// on one thread.
    ///
    /// # Errors
    /// Those of a run.
    pub fn explain(&self) -> Result<Explanation> {
        let parameters = &self.interface.parameters;
        let (degree, mut primes) = (parameters.degree(), parameters.data_moduli().len());
        let inputs: usize = self.interface.input_shape.iter().product();
        let outputs: usize = self.interface.output_shape.iter().product();
        let bytes_up = inputs * polynomial_bytes(parameters, primes);
        let mut polynomials = 2;
        // The images, as they came, as they were read, and what is made of them, stage by stage.
        let (mut values, mut held) = (2 * inputs * primes * degree, 3 * inputs * primes * degree);
        let (mut steps, mut names) = (Vec::new(), self.source.layers().iter());
        for stage in &self.stages {
            for step in stage.segment.steps() {
                steps.push(match step {
                    Step::Affine(affine) => {
                        let matrix = affine.matrix();
                        let kind = format!("linear {} x {}", matrix.rows(), matrix.columns());
                        let layers = names.next().cloned().unwrap_or_default();
                        StepReport { kind, layers, primes, weights: matrix.nonzeros() }
                    }
                    Step::Square => {
                        polynomials = 2 * polynomials - 1;
                        StepReport { kind: "square".into(), layers: String::new(), primes, weights: 0 }
                    }
                });
            }
            let made = stage.segment.outputs() * polynomials * primes * degree;
            held = held.max(values + made);
            values = made;
            primes -= stage.divisions;
        }
        let seconds = match self.seconds.get() {
            Some(&seconds) => seconds,
            None => {
                let messages = rehearsal::receiving(self.context(), inputs)?
                    + rehearsal::sending(self.context(), Form::Ntt, [outputs, polynomials, primes])?;
                let arithmetic = rehearsal::in_a_smaller_ring(degree, |degree| self.rehearse(degree))?;
                *self.seconds.get_or_init(|| messages + arithmetic)
            }
        };
        Ok(Explanation {
            steps,
            key_bytes: public_key_bytes(parameters),
            bytes_up,
            bytes_down: outputs * polynomials * polynomial_bytes(parameters, primes),
            memory: 2 * bytes_up + 8 * held,
            seconds,
        })
    }

    /// Seconds of a run in a ring of degree `degree`.
    fn rehearse(&self, degree: usize) -> Result<f64> {
        let parameters = Parameters::ckks(degree, self.interface.parameters.moduli().to_vec(), false)?;
        let evaluator = Evaluator::new(Context::new(parameters)?);
        let context = evaluator.context();
        let image = Ciphertext::zero(context, 2, context.data_primes(), Form::Ntt, self.interface.input_scale);
        let inputs: usize = self.interface.input_shape.iter().product();
        let batch = vec![image; inputs];
        let batch: Vec<&Ciphertext> = batch.iter().collect();
        rehearsal::fastest(|| self.run_in(&evaluator, &batch, &Cancellation::new()).map(drop))
    }
}
