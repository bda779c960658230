//! A trial of packed steps with keys and weights of no meaning: how much longer they take than their parts.

use std::collections::BTreeMap;
use std::time::Instant;

use super::cost::{Rates, Work};
use crate::encoding::CkksEncoder;
use crate::error::Result;
use crate::evaluator::Evaluator;
use crate::evaluator::packed::{Group, LinearTransform, PackedKeys};
use crate::ring::Residues;
use crate::ring::automorphism::rotation_element;
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, EvaluationKeys, Form, KeySwitchKey, Parameters};

/// Rotations within the matrix of the trial: its giants, among them none, and its babies.
const GIANTS: [usize; 3] = [0, 4, 5];
const BABIES: [usize; 4] = [0, 1, 2, 3];

/// Seconds of a matrix, a sum of rotations and a square on ciphertexts of all primes, over what `rates` say of them. Keys
/// take about `words` words, so that they come from where a program's keys come from.
///
/// # Errors
/// Those of the steps, which parameters for packed programs do not give.
pub fn factor(parameters: &Parameters, words: usize, rates: Rates) -> Result<f64> {
    let context = Context::new(parameters.clone())?;
    let (degree, primes) = (context.degree(), context.data_primes());
    let key_words = primes * 2 * (primes + 1) * degree;
    let rotations: Vec<usize> = (0..=(words / key_words).clamp(5, 128)).collect();
    let key = || {
        let mut data = Residues::stale(key_words);
        data.fill(1);
        KeySwitchKey { primes, data }
    };
    let element = |&step: &usize| rotation_element(degree, step as i64) as u32;
    let galois: BTreeMap<u32, KeySwitchKey> = rotations[1..].iter().map(|step| (element(step), key())).collect();
    let keys = EvaluationKeys { parms_id: context.key_parms_id(), relinearization: Some(key()), galois };
    let keys = PackedKeys::new(&context, keys)?;
    let encoder = CkksEncoder::new(context.clone())?;
    let scale = context.modulus(primes - 1).value() as f64;
    let weights = vec![0.5; encoder.slots()];
    let groups = GIANTS.map(|giant| Group { giant, diagonals: BABIES.map(|baby| (baby, weights.clone())).to_vec() });
    let matrix = LinearTransform::new(&encoder, primes, scale, scale, &groups, None)?;
    let evaluator = Evaluator::new(context.clone());
    let x = Ciphertext::zero(&context, 2, primes, Form::Ntt, scale);
    let run = || {
        let (start, go_on) = (Instant::now(), Cancellation::new());
        evaluator.sum_rotations(&x, &rotations, &keys, &go_on)?;
        evaluator.linear_transform(&x, &matrix, &keys, &go_on)?;
        evaluator.square_rescaled(&x, &keys, &go_on)?;
        Ok(start.elapsed().as_secs_f64())
    };
    // The first run is the first to use much of its memory.
    run()?;
    let seconds = (run()? + run()? + run()?) / 3.0;
    let diagonals = GIANTS.len() * BABIES.len();
    let work = Work::sum(primes, rotations.len() - 1)
        + Work::linear(primes, diagonals, BABIES.len() - 1, GIANTS.len() - 1)
        + Work::square(primes);
    Ok(seconds / work.seconds(rates))
}
