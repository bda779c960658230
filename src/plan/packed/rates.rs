//! How fast this machine does what packed programs consist of.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::cost::Rates;
use super::trial;
use crate::error::Result;
use crate::ring::automorphism::rotation_element;
use crate::ring::{Automorphism, Kernels, Modulus, NttTable};
use crate::scheme::Parameters;

/// The most words of keys and weights that are read to find how fast memory gives them.
const MOST_WORDS: usize = 1 << 23;

/// Polynomials that a sum has: digits of a key, or diagonals of a group.
const TERMS: usize = 5;

/// Rates of this machine in a ring, where a program's keys and weights take `words` words: what fits a cache is quicker.
/// Measured once for a process, in some tenths of a second.
///
/// # Errors
/// [`Error::InvalidModulus`](crate::Error::InvalidModulus), [`Error::InvalidDegree`](crate::Error::InvalidDegree).
pub fn measured(parameters: &Parameters, words: usize) -> Result<Rates> {
    static KNOWN: Mutex<BTreeMap<[usize; 3], Rates>> = Mutex::new(BTreeMap::new());
    let degree = parameters.degree();
    let words = words.next_power_of_two().clamp(4 * TERMS * degree, MOST_WORDS);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let kind = [degree, parameters.moduli().len(), words];
    if let Some(&rates) = known.get(&kind) {
        return Ok(rates);
    }
    let parts = measure(degree, Modulus::new(parameters.moduli()[0])?, words)?;
    let rates = parts.times(trial::factor(parameters, words, parts)?);
    known.insert(kind, rates);
    Ok(rates)
}

/// Rates of the parts alone, at which no step was tried out.
///
/// # Errors
/// As [`measured`].
pub fn of_parts(parameters: &Parameters) -> Result<Rates> {
    static KNOWN: Mutex<BTreeMap<usize, Rates>> = Mutex::new(BTreeMap::new());
    let degree = parameters.degree();
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(&rates) = known.get(&degree) {
        return Ok(rates);
    }
    let rates = measure(degree, Modulus::new(parameters.moduli()[0])?, MOST_WORDS)?;
    known.insert(degree, rates);
    Ok(rates)
}

fn measure(degree: usize, modulus: Modulus, words: usize) -> Result<Rates> {
    let table = NttTable::new(degree, modulus)?;
    let automorphism = Automorphism::new(degree, rotation_element(degree, 1))?;
    let kernels = table.kernels();
    let row = |start: u64| (start..start + degree as u64).collect::<Vec<u64>>();
    let (mut a, b, mut out) = (row(0), row(1), row(2));
    let transform = fastest(8, || {
        table.forward(&mut a);
        table.inverse(&mut a);
    }) / 2.0;
    let passes = fastest(8, || {
        kernels.reduce(&mut out, &b);
        kernels.mul_scalar_add(&mut out, &b, 3);
        kernels.add_assign(&mut out, &b);
        automorphism.apply_ntt(&mut out, &a);
    }) / 4.0;
    let memory: Vec<u64> = (0..words as u64).map(|word| word % (1 << 20)).collect();
    let inputs: Vec<Vec<u64>> = (0..2 * TERMS as u64).map(row).collect();
    Ok(Rates { transform, row: passes, ..cold(kernels, &memory, &inputs) })
}

/// Rates of the two inner products that read what is not in the nearest caches.
fn cold(kernels: &Kernels, memory: &[u64], inputs: &[Vec<u64>]) -> Rates {
    let degree = inputs[0].len();
    let (mut first, mut second) = (vec![0; degree], vec![0; degree]);
    let digits: Vec<&[u64]> = inputs[..TERMS].iter().map(Vec::as_slice).collect();
    let pairs: Vec<[&[u64]; 2]> = inputs.chunks_exact(2).map(|pair| [&pair[0][..], &pair[1][..]]).collect();
    let key = fastest(1, || {
        for keys in memory.chunks_exact(2 * TERMS * degree) {
            let keys: Vec<[&[u64]; 2]> =
                keys.chunks_exact(2 * degree).map(|rows| [&rows[..degree], &rows[degree..]]).collect();
            kernels.inner_products([&mut first, &mut second], &digits, &keys);
        }
    });
    let weight = fastest(1, || {
        for weights in memory.chunks_exact(TERMS * degree) {
            let weights: Vec<&[u64]> = weights.chunks_exact(degree).collect();
            kernels.inner_products([&mut first, &mut second], &weights, &pairs);
        }
    });
    let rows = |each: usize| (memory.len() / (each * TERMS * degree) * TERMS) as f64;
    Rates { key: key / rows(2), weight: weight / rows(1), ..Rates::default() }
}

/// Seconds of one run, the least of several of `count`.
fn fastest(count: u32, mut work: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        (0..count).for_each(|_| work());
        start.elapsed().as_secs_f64() / f64::from(count)
    };
    (0..4).map(time).fold(f64::INFINITY, f64::min)
}
