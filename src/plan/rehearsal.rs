//! Seconds that a server's work will take, found by doing a part of it with ciphertexts of zeros: what arithmetic costs does
//! not depend on the numbers.

use std::time::Instant;

use crate::encryption::checksum::{opened, sealed};
use crate::encryption::{SeededCiphertexts, transport};
use crate::error::Result;
use crate::scheme::{Ciphertext, Context, Form, Parameters, Scheme};

/// Seconds that a rehearsal may take.
const BUDGET: f64 = 0.35;

/// Ciphertexts that are read or written to find what many take.
const MESSAGES: usize = 16;

/// The seconds of the quicker of some runs: one more where one run is short.
///
/// # Errors
/// Those of `work`.
pub fn fastest(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut time = || {
        let start = Instant::now();
        work()?;
        Ok(start.elapsed().as_secs_f64())
    };
    let first = time()?;
    if first > BUDGET / 2.0 { Ok(first) } else { Ok(first.min(time()?).min(time()?)) }
}

/// Seconds in a ring of degree `degree`, by `run` in a smaller one: as large as the budget of time allows.
///
/// # Errors
/// Those of `run`.
pub fn in_a_smaller_ring(degree: usize, mut run: impl FnMut(usize) -> Result<f64>) -> Result<f64> {
    let least = Parameters::MIN_DEGREE.min(degree);
    let seconds = run(least)?;
    let each = seconds / least as f64;
    let mut larger = degree;
    while larger > least && each * larger as f64 > BUDGET {
        larger /= 2;
    }
    let (seconds, at) = if larger > least { (run(larger)?, larger) } else { (seconds, least) };
    Ok(seconds * degree as f64 / at as f64)
}

/// Seconds to read `count` ciphertexts as a client encrypts them.
///
/// # Errors
/// Those of [`transport`].
pub fn receiving(context: &Context, count: usize) -> Result<f64> {
    let some = count.clamp(1, MESSAGES);
    let form = match context.parameters().scheme() {
        Scheme::Bfv => Form::Coefficient,
        Scheme::Ckks => Form::Ntt,
    };
    let fresh = SeededCiphertexts::zeros(context, context.data_primes(), form, 1.0, some);
    let bytes = sealed(transport::pack_seeded(context, &fresh, &[some])?);
    let seconds = fastest(|| {
        transport::unpack(context, opened("rehearsal", &bytes)?, None, u64::MAX)?;
        Ok(())
    })?;
    Ok(seconds * count as f64 / some as f64)
}

/// Seconds to write `count` ciphertexts of `size` polynomials over `primes` primes.
///
/// # Errors
/// Those of [`transport`].
pub fn sending(context: &Context, form: Form, [count, size, primes]: [usize; 3]) -> Result<f64> {
    let some = count.clamp(1, MESSAGES);
    let answers = vec![Ciphertext::zero(context, size, primes, form, 1.0); some];
    let seconds = fastest(|| {
        sealed(transport::pack(context, &answers, &[some])?);
        Ok(())
    })?;
    Ok(seconds * count as f64 / some as f64)
}
