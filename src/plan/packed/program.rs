//! Packed programs, ready to run.

use std::sync::Arc;

use super::plan::{Plan, Step};
use crate::encoding::CkksEncoder;
use crate::error::{Error, Result};
use crate::evaluator::Evaluator;
use crate::evaluator::packed::{Group, LinearTransform, PackedKeys};
use crate::plan::reply::Rerandomizer;
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context};

/// A packed program with its weights encoded: what a server runs. It holds no key.
#[derive(Debug)]
pub struct PackedProgram {
    plan: Plan,
    evaluator: Evaluator,
    steps: Vec<EncodedStep>,
}

/// A step with its weights encoded.
#[derive(Debug)]
enum EncodedStep {
    Sum(Vec<usize>),
    Linear(LinearTransform),
    Square,
}

impl PackedProgram {
    /// Encodes a plan's weights, in parallel on the rayon pool of the caller.
    ///
    /// # Errors
    /// [`Error::InvalidModulus`], [`Error::Unencodable`] and [`Error::ScaleOutOfRange`] for plans that were not made by
    /// [`Plan::new`], [`Error::Interrupted`].
    pub fn new(plan: Plan, cancellation: &Cancellation) -> Result<Self> {
        let context = Context::new(plan.interface.arrangement.parameters.clone())?;
        let encoder = CkksEncoder::new(context.clone())?;
        let n = encoder.slots();
        let (levels, scales) = (plan.levels(), plan.scales());
        let input_scales = [plan.interface.input_scale].into_iter().chain(scales.iter().copied());
        let mut steps = Vec::with_capacity(plan.steps.len());
        for (((step, &primes), scale), &next) in plan.steps.iter().zip(&levels).zip(input_scales).zip(&scales) {
            cancellation.check()?;
            steps.push(match step {
                Step::Sum { rotations } => EncodedStep::Sum(rotations.clone()),
                Step::Square => EncodedStep::Square,
                Step::Linear { groups, bias } => {
                    let spread = |entries: &[super::matching::Entry]| {
                        let mut slots = vec![0.0; n];
                        entries.iter().for_each(|entry| slots[entry.slot as usize] = entry.weight);
                        slots
                    };
                    let group = |group: &super::plan::DiagonalGroup| Group {
                        giant: group.giant,
                        diagonals: group.diagonals.iter().map(|(baby, entries)| (*baby, spread(entries))).collect(),
                    };
                    let groups: Vec<Group> = groups.iter().map(group).collect();
                    let bias = (!bias.is_empty()).then(|| spread(bias));
                    let transform = LinearTransform::new(&encoder, primes, scale, next, &groups, bias.as_deref())?;
                    EncodedStep::Linear(transform)
                }
            });
        }
        Ok(Self { plan, evaluator: Evaluator::new(context), steps })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The context that images are encrypted in.
    pub fn context(&self) -> &Arc<Context> {
        self.evaluator.context()
    }

    /// An answer that tells nothing of the weights but what it answers, its values flooded with a normal variable of the
    /// deviation given; on the rayon pool of the caller. See [`reply`](crate::plan::reply).
    ///
    /// # Errors
    /// Those of [`Rerandomizer::ckks`].
    pub fn rerandomize(
        &self,
        answer: &Ciphertext,
        key: &Rerandomizer,
        deviation: f64,
        cancellation: &Cancellation,
    ) -> Result<Ciphertext> {
        let interface = &self.plan.interface;
        let holds = |slot: usize| interface.arrangement.answers_at(slot);
        let deviation = deviation / interface.output_factor;
        let answers = std::slice::from_ref(answer);
        let mut hidden = key.ckks(&self.evaluator, answers, holds, deviation, cancellation)?;
        Ok(hidden.remove(0))
    }

    /// Evaluates the network on one ciphertext, on the rayon pool of the caller.
    ///
    /// # Errors
    /// [`Error::MissingKey`], [`Error::ParametersMismatch`], [`Error::OperandMismatch`] for a ciphertext of another level
    /// or scale, [`Error::Interrupted`].
    pub fn run(&self, image: &Ciphertext, keys: &PackedKeys, cancellation: &Cancellation) -> Result<Ciphertext> {
        let scale = self.plan.interface.input_scale;
        if image.scale() != scale || image.primes() != self.context().data_primes() {
            return Err(Error::OperandMismatch {
                operation: "packed program",
                what: "scales or levels",
                left: format!("scale {scale}, {} primes", self.context().data_primes()),
                right: format!("scale {}, {} primes", image.scale(), image.primes()),
                remedy: "encrypt images with this program's keys",
            });
        }
        let mut value: Option<Ciphertext> = None;
        for step in &self.steps {
            cancellation.check()?;
            let input = value.as_ref().unwrap_or(image);
            value = Some(match step {
                EncodedStep::Sum(rotations) => self.evaluator.sum_rotations(input, rotations, keys, cancellation)?,
                EncodedStep::Linear(transform) => {
                    self.evaluator.linear_transform(input, transform, keys, cancellation)?
                }
                EncodedStep::Square => self.evaluator.square_rescaled(input, keys, cancellation)?,
            });
        }
        Ok(value.unwrap_or_else(|| image.clone()))
    }
}
