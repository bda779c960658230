//! Packed BFV programs, ready to run.

use std::sync::Arc;

use rayon::prelude::*;

use super::plan::ExactPlan;
use crate::encoding::BatchEncoder;
use crate::error::{Error, Result};
use crate::evaluator::Evaluator;
use crate::evaluator::packed::{Descent, ExactTransform, Group, PackedKeys};
use crate::plan::packed::matching::Entry;
use crate::plan::packed::plan::{DiagonalGroup, Step};
use crate::plan::reply::Rerandomizer;
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, Form};

/// A packed BFV program with its weights encoded: what a server runs. It holds no key.
#[derive(Debug)]
pub struct ExactProgram {
    plan: ExactPlan,
    contexts: Vec<Arc<Context>>,
    residues: Vec<Residue>,
}

/// The program modulo one plaintext modulus.
#[derive(Debug)]
struct Residue {
    evaluator: Evaluator,
    steps: Vec<EncodedStep>,
}

/// A step with its weights encoded.
#[derive(Debug)]
enum EncodedStep {
    Sum(Vec<usize>),
    Linear(ExactTransform),
    Square(Descent),
}

impl ExactProgram {
    /// Encodes a plan's weights, in parallel on the rayon pool of the caller.
    ///
    /// # Errors
    /// Those of the parameters and of the encoding for plans that were not made by [`ExactPlan::new`],
    /// [`Error::Interrupted`].
    pub fn new(plan: ExactPlan, cancellation: &Cancellation) -> Result<Self> {
        let contexts = plan.interface.contexts()?;
        let residues =
            contexts.iter().map(|context| Residue::new(&plan, context, cancellation)).collect::<Result<_>>()?;
        Ok(Self { plan, contexts, residues })
    }

    /// The plan.
    pub fn plan(&self) -> &ExactPlan {
        &self.plan
    }

    /// The contexts of the plaintext moduli, the first that of the keys.
    pub fn contexts(&self) -> &[Arc<Context>] {
        &self.contexts
    }

    /// Answers that tell little of the weights but what they answer, with a rerandomizer for each plaintext modulus: flooded
    /// with all the noise budget that they have. See [`reply`](crate::plan::reply).
    ///
    /// # Errors
    /// Those of [`Rerandomizer::bfv`], [`Error::ShapeMismatch`] for another number of answers.
    pub fn rerandomize(
        &self,
        answers: &[Ciphertext],
        keys: &[Rerandomizer],
        cancellation: &Cancellation,
    ) -> Result<Vec<Ciphertext>> {
        self.check_count(answers.len().min(keys.len()))?;
        let one = |((residue, answer), key): ((&Residue, &Ciphertext), &Rerandomizer)| {
            let mut hidden = key.bfv(&residue.evaluator, std::slice::from_ref(answer), None, cancellation)?;
            Ok(hidden.remove(0))
        };
        self.residues.par_iter().zip(answers).zip(keys).map(one).collect()
    }

    fn check_count(&self, got: usize) -> Result<()> {
        if got == self.residues.len() {
            return Ok(());
        }
        Err(Error::ShapeMismatch {
            operation: "packed program",
            expected: format!("{} ciphertexts, one for each plaintext modulus", self.residues.len()),
            got: vec![got],
        })
    }

    /// Evaluates the network on one ciphertext for each plaintext modulus, on the rayon pool of the caller.
    ///
    /// # Errors
    /// [`Error::MissingKey`], [`Error::ParametersMismatch`], [`Error::ShapeMismatch`] for another number of ciphertexts,
    /// [`Error::OperandMismatch`] for ciphertexts of another level, [`Error::Interrupted`].
    pub fn run(&self, image: &[Ciphertext], keys: &PackedKeys, cancellation: &Cancellation) -> Result<Vec<Ciphertext>> {
        self.run_observed(image, keys, cancellation, |_, _, _| {})
    }

    /// [`run`](Self::run), showing what the steps give: the index of the plaintext modulus, that of the step, the ciphertext.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_observed(
        &self,
        image: &[Ciphertext],
        keys: &PackedKeys,
        cancellation: &Cancellation,
        observe: impl Fn(usize, usize, &Ciphertext) + Sync,
    ) -> Result<Vec<Ciphertext>> {
        self.check_count(image.len())?;
        let reply = self.plan.interface.reply;
        let run = |(residue, (at, image)): (&Residue, (usize, &Ciphertext))| {
            let answer = residue.run(image, keys, cancellation, |step, value| observe(at, step, value))?;
            let evaluator = &residue.evaluator;
            evaluator.mod_switch_to(&evaluator.to_coefficients(&answer)?, reply)
        };
        self.residues.par_iter().zip(image.par_iter().enumerate()).map(run).collect()
    }
}

impl Residue {
    fn new(plan: &ExactPlan, context: &Arc<Context>, cancellation: &Cancellation) -> Result<Self> {
        let encoder = BatchEncoder::new(context)?;
        let mut steps = Vec::with_capacity(plan.steps.len());
        for ((step, &descent), primes) in plan.steps.iter().zip(&plan.descents).zip(plan.levels()) {
            cancellation.check()?;
            steps.push(match step {
                Step::Sum { rotations } => EncodedStep::Sum(rotations.clone()),
                Step::Square => EncodedStep::Square(descent),
                Step::Linear { groups, bias } => {
                    let t = encoder.plain_modulus();
                    let group = |group: &DiagonalGroup| Group {
                        giant: group.giant,
                        diagonals: group
                            .diagonals
                            .iter()
                            .map(|(b, entries)| (*b, slots(entries, context, t)))
                            .collect(),
                    };
                    let groups: Vec<Group<u64>> = groups.iter().map(group).collect();
                    let bias = (!bias.is_empty()).then(|| slots(bias, context, t));
                    let transform = ExactTransform::new(context, &encoder, primes, descent, &groups, bias.as_deref())?;
                    EncodedStep::Linear(transform)
                }
            });
        }
        Ok(Self { evaluator: Evaluator::new(context.clone()), steps })
    }

    fn run(
        &self,
        image: &Ciphertext,
        keys: &PackedKeys,
        cancellation: &Cancellation,
        observe: impl Fn(usize, &Ciphertext),
    ) -> Result<Ciphertext> {
        let data = self.evaluator.context().data_primes();
        if image.primes() != data {
            return Err(Error::OperandMismatch {
                operation: "packed program",
                what: "levels",
                left: format!("{data} primes"),
                right: format!("{} primes", image.primes()),
                remedy: "encrypt images with this program's keys",
            });
        }
        let mut value = match image.form() {
            Form::Ntt => image.clone(),
            Form::Coefficient => self.evaluator.to_ntt(image)?,
        };
        for (at, step) in self.steps.iter().enumerate() {
            cancellation.check()?;
            value = match step {
                EncodedStep::Sum(rotations) => self.evaluator.sum_rotations(&value, rotations, keys, cancellation)?,
                EncodedStep::Linear(transform) => {
                    self.evaluator.exact_transform(&value, transform, keys, cancellation)?
                }
                EncodedStep::Square(descent) => self.evaluator.exact_square(&value, *descent, keys, cancellation)?,
            };
            observe(at, &value);
        }
        Ok(value)
    }
}

/// Integers at their slots in both rows, modulo t.
fn slots(entries: &[Entry], context: &Context, t: u64) -> Vec<u64> {
    let mut slots = vec![0; context.degree()];
    let row = context.degree() / 2;
    for entry in entries {
        let residue = residue(entry.weight, t);
        slots[entry.slot as usize] = residue;
        slots[row + entry.slot as usize] = residue;
    }
    slots
}

/// An integer, given as a double, modulo t.
pub(super) fn residue(integer: f64, t: u64) -> u64 {
    (integer as i128).rem_euclid(t.into()) as u64
}
