//! What a packed BFV program will take: noise budgets, keys, bytes, seconds, memory, before anything is encrypted.

use super::plan::ExactPlan;
use crate::encryption::transport::polynomial_bytes;
use crate::error::Result;
use crate::plan::packed::cost::{Rates, Work};
use crate::plan::packed::explain::{StepReport, counted, memory, name_tensors};
use crate::plan::packed::plan::Step;
use crate::plan::packed::rates;

/// What a program takes.
#[derive(Debug, Clone, PartialEq)]
pub struct ExactExplanation {
    /// step by step, for all plaintext moduli together
    pub steps: Vec<StepReport>,
    /// bits of noise budget after each step, at the least
    pub budgets: Vec<i32>,
    /// bits of noise budget of a fresh ciphertext and of the reply, at the least
    pub ends: [i32; 2],
    /// evaluation keys
    pub keys: usize,
    /// bytes of the evaluation keys, as sent
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

impl ExactPlan {
    /// Predicts from counts and from the rates of this machine, which it measures (milliseconds).
    ///
    /// # Errors
    /// [`Error::InvalidModulus`](crate::Error::InvalidModulus).
    pub fn explain(&self) -> Result<ExactExplanation> {
        let interface = &self.interface;
        let parameters = &interface.arrangement.parameters;
        let (rates, count) = (rates::of_parts(parameters)?, interface.plain_moduli.len());
        let levels = self.levels();
        let mut steps: Vec<StepReport> = self
            .steps
            .iter()
            .zip(&levels)
            .map(|(step, &primes)| StepReport {
                seconds: seconds(step, primes, rates) * count as f64,
                ..counted(step, primes, 1.0)
            })
            .collect();
        name_tensors(&self.tensors, &mut steps);
        let forecast = self.forecast();
        let (fresh, budgets) = forecast.budgets.split_first().map_or((0, &[][..]), |(first, rest)| (*first, rest));
        let bytes = |primes: usize| polynomial_bytes(parameters, primes);
        let keys = interface.arrangement.key_sizes();
        let weights: usize =
            steps.iter().map(|step| interface.arrangement.row_bytes(step.primes, step.diagonals)).sum();
        Ok(ExactExplanation {
            budgets: budgets.to_vec(),
            ends: [fresh, forecast.reply_budget],
            keys: keys.count,
            key_bytes: keys.bytes,
            bytes_up: count * bytes(parameters.data_moduli().len()),
            bytes_down: count * 2 * bytes(interface.reply),
            memory: memory(keys, count * weights),
            seconds: steps.iter().map(|step| step.seconds).sum(),
            steps,
        })
    }
}

/// Seconds of a step modulo one plaintext modulus.
pub(super) fn seconds(step: &Step, primes: usize, rates: Rates) -> f64 {
    let scaling = match step {
        Step::Square => product(primes).seconds(rates),
        Step::Sum { .. } | Step::Linear { .. } => 0.0,
    };
    scaling + counted(step, primes, 1.0).work().seconds(rates)
}

/// What a product of BFV takes beyond one of CKKS: lifting two polynomials to an auxiliary modulus somewhat longer than the
/// modulus, and scaling three down.
fn product(primes: usize) -> Work {
    // Auxiliary primes have 50 bits and those of the modulus hardly fewer; N and room for sums take one more.
    let auxiliary = primes + 1;
    let all = primes + auxiliary;
    let (lift, scale) = (2 * (primes + auxiliary), 3 * all + 3 * primes);
    let conversions = 2 * primes * auxiliary + 3 * all * primes;
    Work { transforms: lift + scale, rows: conversions + 3 * auxiliary, ..Work::default() }
}
