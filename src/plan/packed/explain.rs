//! What a packed program will take: keys, bytes, seconds, memory, error, before anything is encrypted.

use std::time::Instant;

use super::cost::{Rates, Work};
use super::plan::{Plan, Step, Tensor};
use crate::encryption::transport::{polynomial_bytes, public_key_bytes};
use crate::error::Result;
use crate::ring::{Modulus, NttTable};
use crate::scheme::Parameters;

/// What one step does, and what it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// `sum`, `square`, or `linear` with the shape of the matrix
    pub kind: String,
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
    /// bytes that the server holds: keys and weights, ready for use
    pub memory: usize,
    /// seconds of one evaluation on one core
    pub seconds: f64,
}

impl Plan {
    /// Predicts from counts and from the rates of this machine, which it measures (milliseconds).
    ///
    /// # Errors
    /// [`Error::InvalidModulus`](crate::Error::InvalidModulus).
    pub fn explain(&self) -> Result<Explanation> {
        let rates = measure(&self.interface.parameters)?;
        let mut steps: Vec<StepReport> = self
            .steps
            .iter()
            .zip(self.levels())
            .zip(self.scales())
            .map(|((step, primes), scale)| report(step, primes, scale, rates))
            .collect();
        name_tensors(&self.tensors, &mut steps);
        let interface = &self.interface;
        let moduli = interface.parameters.moduli();
        let degree = interface.parameters.degree();
        let bits = |q: &u64| (u64::BITS - q.leading_zeros()) as usize;
        let bytes = |primes: usize| polynomial_bytes(&interface.parameters, primes);
        let special = moduli.last().map_or(0, bits) * degree / 8;
        let served: Vec<usize> = interface.rotations.values().copied().chain(interface.relinearization).collect();
        let evaluation: usize = served.iter().map(|&primes| primes * (bytes(primes) + special)).sum();
        let key_memory: usize = served.iter().map(|&primes| primes * 2 * (primes + 1) * degree * 8).sum();
        let weights =
            steps.iter().map(|s| s.diagonals * (s.primes + usize::from(s.hoisted + s.giants > 0)) * degree * 8);
        Ok(Explanation {
            keys: served.len(),
            key_bytes: evaluation + public_key_bytes(&interface.parameters),
            bytes_up: bytes(interface.parameters.data_moduli().len()),
            bytes_down: 2 * bytes(self.levels().last().map_or(1, |&primes| match self.steps.last() {
                Some(Step::Sum { .. }) => primes,
                _ => primes - 1,
            })),
            memory: key_memory + weights.sum::<usize>(),
            seconds: steps.iter().map(|step| step.seconds).sum(),
            steps,
        })
    }
}

/// Says of each matrix how large it is, and after each affine map where values lie.
pub(super) fn name_tensors(tensors: &[Tensor], steps: &mut [StepReport]) {
    let mut tensors = tensors.windows(2);
    for part in steps.split_mut(|step| step.kind == "square") {
        let Some([input, output]) = tensors.next() else { return };
        for step in part.iter_mut().filter(|step| step.kind == "linear") {
            step.kind = format!("linear {} x {}", output.values, input.values);
        }
        if let Some(last) = part.last_mut() {
            last.layout.clone_from(&output.layout);
        }
    }
}

impl Plan {
    /// The largest error of an answer that is to be expected for images like these: three times the largest that simulated noise
    /// made in at least `samples` simulated answers.
    ///
    /// Three times, because the noise of key switching falls into some slots more than into others, by the key.
    ///
    /// # Errors
    /// As [`simulate`](Self::simulate).
    pub fn expected_error(&self, images: &[f64], samples: usize) -> Result<f64> {
        let inputs = self.interface.input.len();
        let mut exact = Vec::new();
        for group in images.chunks(inputs * self.interface.images) {
            let trace = self.trace_slots(self.interface.slots_of(group)?, None);
            exact.extend(self.interface.answers_in(trace.last().map_or(&[][..], Vec::as_slice), group.len() / inputs));
        }
        let mut largest = 0.0f64;
        let rounds = samples.div_ceil((images.len() / inputs).max(1));
        for seed in 0..rounds as u64 {
            for (noisy, exact) in self.simulate(images, seed)?.iter().zip(&exact) {
                largest = largest.max((noisy - exact).abs());
            }
        }
        Ok(3.0 * largest)
    }
}

pub(super) fn report(step: &Step, primes: usize, scale: f64, rates: Rates) -> StepReport {
    let mut report = StepReport {
        kind: "square".into(),
        layout: String::new(),
        primes,
        scale_bits: scale.log2(),
        weights: 0,
        diagonals: 0,
        hoisted: 0,
        giants: 0,
        seconds: Work::square(primes).seconds(rates),
    };
    match step {
        Step::Square => {}
        Step::Sum { rotations } => {
            report.kind = "sum".into();
            report.hoisted = rotations.iter().filter(|&&rotation| rotation != 0).count();
            report.seconds = Work::sum(primes, report.hoisted).seconds(rates);
        }
        Step::Linear { groups, .. } => {
            report.kind = "linear".into();
            report.diagonals = groups.iter().map(|group| group.diagonals.len()).sum();
            let diagonals = || groups.iter().flat_map(|group| &group.diagonals);
            report.weights = diagonals().map(|(_, entries)| entries.len()).sum();
            let babies: std::collections::BTreeSet<usize> = diagonals().map(|(baby, _)| *baby).collect();
            report.hoisted = babies.iter().filter(|&&baby| baby != 0).count();
            report.giants = groups.iter().filter(|group| group.giant != 0).count();
            report.seconds = Work::linear(primes, report.diagonals, report.hoisted, report.giants).seconds(rates);
        }
    }
    report
}

/// Times of a transform and of a multiplication and addition of rows, the smallest of several.
pub(super) fn measure(parameters: &Parameters) -> Result<Rates> {
    let table = NttTable::new(parameters.degree(), Modulus::new(parameters.moduli()[0])?)?;
    let mut rows: Vec<Vec<u64>> = (0..3).map(|i| (i..parameters.degree() as u64 + i).collect()).collect();
    let [a, b, sum] = rows.as_mut_slice() else { return Ok(super::plan::typical(parameters.degree())) };
    let fastest = |work: &mut dyn FnMut()| {
        let time = |_| {
            let start = Instant::now();
            (0..8).for_each(|_| work());
            start.elapsed().as_secs_f64() / 8.0
        };
        (0..12).map(time).fold(f64::INFINITY, f64::min)
    };
    let transform = fastest(&mut || table.forward(a));
    let row = fastest(&mut || table.kernels().mul_add(sum, a, b));
    Ok(Rates { transform, row })
}
