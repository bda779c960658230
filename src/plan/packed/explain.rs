//! What a packed program will take: keys, bytes, seconds, memory, before anything is encrypted.

use std::collections::BTreeSet;

use super::arrangement::KeySizes;
use super::cost::Work;
use super::plan::{Plan, Step, Tensor};
use super::rates;
use crate::encryption::transport::polynomial_bytes;
use crate::error::Result;
use crate::plan::rehearsal;
use crate::scheme::{Context, Form};

/// Seconds until a call is on its threads and back.
const CALL: f64 = 1e-4;

/// What one step does, and what it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// `sum`, `square`, or `linear` with the shape of the matrix
    pub kind: String,
    /// the layers that a matrix computes, by name
    pub layers: String,
    /// where values lie after it
    pub layout: String,
    /// primes of its input
    pub primes: usize,
    /// bits of the scale of its output
    pub scale_bits: f64,
    /// weights that are not zero, over all slots
    pub weights: usize,
    /// plaintext products
    pub diagonals: usize,
    /// rotations of one ciphertext that share its digits
    pub hoisted: usize,
    /// rotations each of a ciphertext of its own
    pub giants: usize,
    /// seconds on one core
    pub seconds: f64,
}

/// What a program takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// step by step
    pub steps: Vec<StepReport>,
    /// evaluation keys
    pub keys: usize,
    /// bytes of the evaluation keys and the public key, as sent
    pub key_bytes: usize,
    /// bytes of an encrypted image
    pub bytes_up: usize,
    /// bytes of an encrypted answer
    pub bytes_down: usize,
    /// bytes that a server takes at the most: keys and weights, while keys are made ready
    pub memory: usize,
    /// seconds of one evaluation on one core
    pub seconds: f64,
}

impl Plan {
    /// Predicts from counts and from the rates of this machine, which it measures once for a process (some tenths of a
    /// second). Run it on one thread.
    ///
    /// # Errors
    /// [`Error::InvalidModulus`](crate::Error::InvalidModulus) and other errors of parameters that no plan has.
    pub fn explain(&self) -> Result<Explanation> {
        let interface = &self.interface;
        let parameters = &interface.arrangement.parameters;
        let bytes = |primes: usize| polynomial_bytes(parameters, primes);
        let keys = interface.arrangement.key_sizes();
        let levels = self.levels();
        let mut steps: Vec<StepReport> = self
            .steps
            .iter()
            .zip(&levels)
            .zip(self.scales())
            .map(|((step, &l), scale)| counted(step, l, scale))
            .collect();
        let weights: usize =
            steps.iter().map(|step| interface.arrangement.row_bytes(step.primes, step.diagonals)).sum();
        let rates = rates::measured(parameters, (keys.ready + weights) / size_of::<u64>())?;
        steps.iter_mut().for_each(|step| step.seconds = step.work().seconds(rates));
        name_tensors(&self.tensors, &mut steps);
        let left = levels.last().map_or(1, |&primes| match self.steps.last() {
            Some(Step::Sum { .. }) => primes,
            _ => primes - 1,
        });
        let context = Context::new(parameters.clone())?;
        let messages = rehearsal::receiving(&context, 1)? + rehearsal::sending(&context, Form::Ntt, [1, 2, left])?;
        Ok(Explanation {
            keys: keys.count,
            key_bytes: keys.bytes,
            bytes_up: bytes(parameters.data_moduli().len()),
            bytes_down: 2 * bytes(left),
            memory: memory(keys, weights),
            seconds: CALL + messages + steps.iter().map(|step| step.seconds).sum::<f64>(),
            steps,
        })
    }
}

/// Bytes that a server takes at the most. While keys are made ready, they are there as they came and whole; a fifth more for
/// buffers, keys that are just being unpacked, and the plan itself; and what any program takes.
pub(super) fn memory(keys: KeySizes, weights: usize) -> usize {
    (keys.bytes + keys.ready + weights) * 6 / 5 + (11 << 20)
}

/// Says of each matrix how large it is, and after each affine map where values lie.
pub(super) fn name_tensors(tensors: &[Tensor], steps: &mut [StepReport]) {
    let mut tensors = tensors.windows(2);
    for part in steps.split_mut(|step| step.kind == "square") {
        let Some([input, output]) = tensors.next() else { return };
        for step in part.iter_mut().filter(|step| step.kind == "linear") {
            step.kind = format!("linear {} x {}", output.values, input.values);
            step.layers.clone_from(&output.layers);
        }
        if let Some(last) = part.last_mut() {
            last.layout.clone_from(&output.layout);
        }
    }
}

impl StepReport {
    /// What it consists of.
    pub(super) fn work(&self) -> Work {
        match self.kind.as_str() {
            "square" => Work::square(self.primes),
            "sum" => Work::sum(self.primes, self.hoisted),
            _ => Work::linear(self.primes, self.diagonals, self.hoisted, self.giants),
        }
    }
}

pub(super) fn counted(step: &Step, primes: usize, scale: f64) -> StepReport {
    let mut report = StepReport {
        kind: "square".into(),
        layers: String::new(),
        layout: String::new(),
        primes,
        scale_bits: scale.log2(),
        weights: 0,
        diagonals: 0,
        hoisted: 0,
        giants: 0,
        seconds: 0.0,
    };
    match step {
        Step::Square => {}
        Step::Sum { rotations } => {
            report.kind = "sum".into();
            report.hoisted = rotations.iter().filter(|&&rotation| rotation != 0).count();
        }
        Step::Linear { groups, .. } => {
            report.kind = "linear".into();
            report.diagonals = groups.iter().map(|group| group.diagonals.len()).sum();
            let diagonals = || groups.iter().flat_map(|group| &group.diagonals);
            report.weights = diagonals().map(|(_, entries)| entries.len()).sum();
            let babies: BTreeSet<usize> = diagonals().map(|(baby, _)| *baby).collect();
            report.hoisted = babies.iter().filter(|&&baby| baby != 0).count();
            report.giants = groups.iter().filter(|group| group.giant != 0).count();
        }
    }
    report
}
