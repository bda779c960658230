//! The batched layout: one value of up to N/2 images in a ciphertext, CKKS with integer weights.
//!
//! A weight multiplies a whole ciphertext by one integer, so a network costs no rotation, no encoding
//! and no key: squares are left unrelinearised. Between two squares lies one affine map and, where the
//! scale has grown enough, a division by primes that brings it back down.

mod choice;
mod explain;
mod interface;
mod simulate;

use std::sync::{Arc, OnceLock};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::NormalForm;
use super::envelope::{self, Kind};
use super::reply::Rerandomizer;
use crate::error::{Error, Result};
use crate::evaluator::Evaluator;
use crate::evaluator::batched::{ScalarAffine, ScalarMatrix, Segment, Step};
use crate::network::IntegerAffine;
use crate::ring::{Modulus, primes};
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, Parameters};

use choice::{Choice, choose};

pub use explain::{Explanation, StepReport};
pub use interface::Interface;

/// What to aim for when parameters are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BatchedOptions {
    /// bits of security: 128, 192 or 256
    pub security: u32,
    /// bits of precision of every value, relative to the largest of its layer
    pub precision: u32,
}

impl Default for BatchedOptions {
    fn default() -> Self {
        Self { security: 128, precision: 12 }
    }
}

/// A network compiled for the batched layout.
#[derive(Debug)]
pub struct BatchedProgram {
    evaluator: Arc<Evaluator>,
    interface: Interface,
    source: NormalForm,
    choice: Choice,
    options: BatchedOptions,
    stages: Vec<Stage>,
    /// seconds of a run on one core, once they were asked for
    seconds: OnceLock<f64>,
}

/// Steps without a division between them, and the division that follows.
#[derive(Debug)]
struct Stage {
    segment: Segment,
    /// the scale of the segment's outputs
    scale: f64,
    /// primes to divide by afterwards
    divisions: usize,
}

impl BatchedProgram {
    /// Compiles a network, choosing the smallest parameters.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for unusable options, [`Error::Unsupported`] for networks with more than 3 squares one after the other (a polynomial of degree d
    /// takes ceil(log2 d)), or whose modulus exceeds what the largest degree allows.
    pub fn compile(network: NormalForm, options: BatchedOptions) -> Result<Self> {
        let maps = network.maps();
        let choice = choose(maps, network.ranges(), options)?;
        let moduli = primes::create(choice.degree, &choice.primes)?;
        let parameters = Parameters::ckks(choice.degree, moduli, false)?;
        parameters.check_security(options.security)?;
        let context = Context::new(parameters)?;
        let input_scale = 2f64.powi(choice.input_bits as i32);
        let mut stages = Vec::new();
        let (mut scale, mut primes, mut values, mut steps) =
            (input_scale, context.data_primes(), maps[0].inputs(), Vec::new());
        for (i, map) in maps.iter().enumerate() {
            if i > 0 {
                steps.push(Step::Square);
                scale *= scale;
            }
            let integers = map.quantize(choice.weight_scales[i], scale).map_err(|error| match error {
                Error::ScaleOutOfRange { .. } => choice::no_integers(i, maps.len(), options),
                other => other,
            })?;
            scale = integers.output_scale();
            steps.push(Step::Affine(scalar_affine(&integers, &context, primes)?));
            let divisions = if i == 0 { 0 } else { choice.divisions[i - 1] };
            if divisions > 0 || i + 1 == maps.len() {
                let segment = Segment::new(values, std::mem::take(&mut steps))?;
                values = segment.outputs();
                stages.push(Stage { segment, scale, divisions });
                for prime in primes - divisions..primes {
                    scale /= context.modulus(prime).value() as f64;
                }
                primes -= divisions;
            }
        }
        let interface = Interface {
            parameters: context.parameters().clone(),
            security: options.security,
            input_shape: network.input_shape().to_vec(),
            output_shape: network.output_shape().to_vec(),
            input_scale,
            program: envelope::identity(&(&network, options)),
        };
        Ok(Self {
            evaluator: Arc::new(Evaluator::new(context)),
            interface,
            source: network,
            choice,
            options,
            stages,
            seconds: OnceLock::new(),
        })
    }

    /// Squares one after the other.
    pub fn squares(&self) -> usize {
        self.source.maps().len() - 1
    }

    /// The program as a file, weights included.
    pub fn to_bytes(&self) -> Vec<u8> {
        envelope::seal(Kind::BatchedProgram, &(&self.source, self.options))
    }

    /// A program from its bytes, of which there may be `limit` once they are expanded.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::TooLarge`], and those of [`compile`](Self::compile).
    pub fn from_bytes(bytes: &[u8], limit: u64) -> Result<Self> {
        let (network, options): (NormalForm, BatchedOptions) = envelope::open(Kind::BatchedProgram, bytes, limit)?;
        network.check()?;
        Self::compile(network, options)
    }

    /// The client's part.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// The context that images are encrypted in.
    pub fn context(&self) -> &Arc<Context> {
        self.evaluator.context()
    }

    /// How many images one run takes: the slots of a ciphertext.
    pub fn capacity(&self) -> usize {
        self.interface.capacity()
    }

    /// Answers that tell nothing of the weights but what they answer, their values flooded with a normal variable of the
    /// deviation given; on the rayon pool of the caller. See [`reply`](crate::plan::reply).
    ///
    /// # Errors
    /// Those of [`Rerandomizer::ckks`].
    pub fn rerandomize(
        &self,
        answers: &[Ciphertext],
        key: &Rerandomizer,
        deviation: f64,
        cancellation: &Cancellation,
    ) -> Result<Vec<Ciphertext>> {
        key.ckks(&self.evaluator, answers, |_| true, deviation, cancellation)
    }

    /// Evaluates a batch on the rayon pool of the caller: ciphertext i holds value i of every image, one
    /// image a slot, and so does the answer.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for another number of ciphertexts than an image has values, errors for
    /// ciphertexts that do not belong together or to this program, [`Error::Interrupted`].
    pub fn run(&self, batch: &[&Ciphertext], cancellation: &Cancellation) -> Result<Vec<Ciphertext>> {
        self.run_in(&self.evaluator, batch, cancellation)
    }

    /// [`run`](Self::run) in a ring of another degree with the same primes.
    fn run_in(
        &self,
        evaluator: &Evaluator,
        batch: &[&Ciphertext],
        cancellation: &Cancellation,
    ) -> Result<Vec<Ciphertext>> {
        let scale = self.interface.input_scale;
        if let Some(wrong) = batch.iter().find(|value| value.scale() != scale) {
            return Err(Error::OperandMismatch {
                operation: "batched program",
                what: "scales",
                left: scale.to_string(),
                right: wrong.scale().to_string(),
                remedy: "encode images with the program's scale",
            });
        }
        let mut values: Vec<Ciphertext> = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            let inputs: Vec<&Ciphertext> = if i == 0 { batch.to_vec() } else { values.iter().collect() };
            let outputs = stage.segment.run(evaluator.context(), &inputs, stage.scale, cancellation)?;
            values = outputs
                .into_par_iter()
                .map(|mut value| {
                    cancellation.check()?;
                    for _ in 0..stage.divisions {
                        value = evaluator.rescale_to_next(&value)?;
                    }
                    Ok(value)
                })
                .collect::<Result<_>>()?;
        }
        Ok(values)
    }
}

/// The map with integer weights, its biases as residues.
fn scalar_affine(map: &IntegerAffine, context: &Context, primes: usize) -> Result<ScalarAffine> {
    let columns = map.columns();
    let matrix = ScalarMatrix::new(map.input_shape().iter().product(), map.offsets(), columns, map.weights())?;
    let residue = |bias: i128, q: Modulus| {
        let residue = q.reduce_wide(bias.unsigned_abs());
        if bias < 0 { q.neg(residue) } else { residue }
    };
    let bias = map.bias().iter().flat_map(|&b| (0..primes).map(move |j| residue(b, context.modulus(j)))).collect();
    ScalarAffine::new(matrix, bias)
}

#[cfg(test)]
mod tests;
