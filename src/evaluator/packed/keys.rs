//! Evaluation keys, made ready for hoisted rotations.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use crate::encryption::{Purpose, ReceivedKeySet};
use crate::error::{Error, Result};
use crate::ring::{Automorphism, Modulus, Residues, Rows, Word};
use crate::runtime::Cancellation;
use crate::scheme::{Context, EvaluationKeys, KeySwitchKey};

/// Evaluation keys whose Galois keys are permuted by the inverse of their automorphism.
///
/// The automorphism of a rotation permutes digits; with the key permuted the other way, the digits of a ciphertext serve
/// all rotations as they are, and only the two polynomials of each result are permuted.
#[derive(Debug)]
pub struct PackedKeys {
    relinearization: Option<ReadyKey>,
    rotations: BTreeMap<usize, RotationKey>,
}

/// The key of one rotation.
#[derive(Debug)]
pub(super) struct RotationKey {
    pub automorphism: Automorphism,
    pub key: ReadyKey,
}

/// A [`KeySwitchKey`] as inner products read it.
#[derive(Debug)]
pub(super) struct ReadyKey {
    /// the most data primes that a ciphertext may have
    primes: usize,
    /// `[primes][2]` blocks
    rows: Rows,
}

impl ReadyKey {
    /// A key for so many primes whose digits, `[2][primes + 1][N]`, `digit` writes; its rows are kept as `keep` writes them.
    fn new(
        context: &Context,
        primes: usize,
        digit: impl Fn(usize, &mut [u64]) -> Result<()>,
        keep: impl Fn(&mut [u64], &[u64]),
    ) -> Result<Self> {
        let (degree, count) = (context.degree(), 2 * (primes + 1));
        let mut both = Residues::stale(count * degree);
        let rows = Rows::new(degree, extended_moduli(context, primes), 2 * primes, |row, out| {
            let within = row % count;
            if within == 0 {
                digit(row / count, &mut both)?;
            }
            keep(out, &both[within * degree..(within + 1) * degree]);
            Ok(())
        })?;
        Ok(Self { primes, rows })
    }

    /// Whether the rows of a prime of a ciphertext with `primes` primes are half words; the key-switching prime comes after
    /// them.
    pub fn is_narrow(&self, prime: usize, primes: usize) -> bool {
        self.rows.is_narrow(self.prime(prime, primes))
    }

    /// Both rows of one digit for such a prime.
    pub fn pair<W: Word>(&self, digit: usize, prime: usize, primes: usize) -> [&[W]; 2] {
        let prime = self.prime(prime, primes);
        [self.rows.row(2 * digit, prime), self.rows.row(2 * digit + 1, prime)]
    }

    /// The number that a prime has here: a key for more primes has its key-switching row further down.
    fn prime(&self, prime: usize, primes: usize) -> usize {
        if prime < primes { prime } else { self.primes }
    }
}

/// The first `primes` primes and the key-switching prime.
pub(super) fn extended_moduli(context: &Context, primes: usize) -> impl Iterator<Item = Modulus> {
    let tables = context.tables();
    tables[..primes].iter().chain(tables.last()).map(|table| table.modulus())
}

impl PackedKeys {
    /// Takes the keys of rotations; others (conjugation) are dropped.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] for keys of other parameters.
    pub fn new(context: &Arc<Context>, keys: EvaluationKeys) -> Result<Self> {
        let known = keys.parms_id == context.key_parms_id() && context.parameters().key_switching();
        if !known || !keys.relinearization.iter().chain(keys.galois.values()).all(|key| key.is_sound(context)) {
            return Err(Error::ParametersMismatch { operation: "preparing evaluation keys", object: "evaluation key" });
        }
        let steps = steps_by_element(context.degree());
        let relinearization = keys.relinearization.into_iter().map(|key| (Purpose::Relinearization, key));
        let galois = keys.galois.into_iter().map(|(element, key)| (Purpose::Galois(element), key));
        let all: Vec<(Purpose, KeySwitchKey)> = relinearization.chain(galois).collect();
        let ready = all.into_par_iter().map(|(purpose, key)| {
            let digit = |digit: usize, out: &mut [u64]| {
                out.copy_from_slice(&key.data[digit * out.len()..(digit + 1) * out.len()]);
                Ok(())
            };
            Ready::new(context, &steps, purpose, key.primes, digit)
        });
        Ok(ready.collect::<Result<Vec<_>>>()?.into_iter().collect())
    }

    /// The keys of a set as it came, each made ready as it is unpacked.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a residue that is not below its prime, [`Error::Interrupted`].
    pub fn received(set: &ReceivedKeySet, cancellation: &Cancellation) -> Result<Self> {
        let context = set.context();
        let steps = steps_by_element(context.degree());
        let ready = set.each(cancellation, |key| {
            Ready::new(context, &steps, key.purpose(), key.primes(), |digit, out| key.write(digit, out))
        })?;
        Ok(ready.into_iter().collect())
    }

    /// The rotations that there are keys for.
    pub fn steps(&self) -> impl Iterator<Item = usize> {
        self.rotations.keys().copied()
    }

    /// Bytes that the keys take.
    pub fn bytes(&self) -> usize {
        let rotations = self.rotations.values().map(|rotation| &rotation.key);
        rotations.chain(&self.relinearization).map(|key| key.rows.bytes()).sum()
    }

    /// The key of the rotation by `step`, for ciphertexts with `primes` primes.
    pub(super) fn rotation(&self, operation: &'static str, step: usize, primes: usize) -> Result<&RotationKey> {
        let found = self.rotations.get(&step).filter(|rotation| rotation.key.primes >= primes);
        found.ok_or_else(|| missing(operation, format!("the Galois key of the rotation by {step} slots"), primes))
    }

    /// The relinearization key, for ciphertexts with `primes` primes.
    pub(super) fn relinearization(&self, operation: &'static str, primes: usize) -> Result<&ReadyKey> {
        let found = self.relinearization.as_ref().filter(|key| key.primes >= primes);
        found.ok_or_else(|| missing(operation, "the relinearization key".into(), primes))
    }
}

fn missing(operation: &'static str, key: String, primes: usize) -> Error {
    Error::MissingKey {
        operation,
        key: format!("{key} for {primes} primes"),
        remedy: "generate the evaluation keys that the program asks for, with the same version of the program",
    }
}

/// A key made ready.
enum Ready {
    Relinearization(ReadyKey),
    /// with the step of its rotation
    Rotation(usize, RotationKey),
    /// of another automorphism
    Needless,
}

impl Ready {
    /// A key whose digits `digit` writes; rotations by the steps of their Galois elements.
    fn new(
        context: &Context,
        steps: &BTreeMap<u32, usize>,
        purpose: Purpose,
        primes: usize,
        digit: impl Fn(usize, &mut [u64]) -> Result<()>,
    ) -> Result<Self> {
        let element = match purpose {
            Purpose::Relinearization => {
                let key = ReadyKey::new(context, primes, digit, |out, row| out.copy_from_slice(row))?;
                return Ok(Self::Relinearization(key));
            }
            Purpose::Galois(element) => element,
        };
        let Some(&step) = steps.get(&element) else { return Ok(Self::Needless) };
        let degree = context.degree();
        let back = Automorphism::new(degree, inverse(degree, element.into()))?;
        let key = ReadyKey::new(context, primes, digit, |out, row| back.apply_ntt(out, row))?;
        Ok(Self::Rotation(step, RotationKey { automorphism: Automorphism::new(degree, element.into())?, key }))
    }
}

impl FromIterator<Ready> for PackedKeys {
    fn from_iter<I: IntoIterator<Item = Ready>>(ready: I) -> Self {
        let mut keys = Self { relinearization: None, rotations: BTreeMap::new() };
        for ready in ready {
            match ready {
                Ready::Relinearization(key) => keys.relinearization = Some(key),
                Ready::Rotation(step, key) => drop(keys.rotations.insert(step, key)),
                Ready::Needless => {}
            }
        }
        keys
    }
}

/// The steps of all rotations, by Galois element.
fn steps_by_element(degree: usize) -> BTreeMap<u32, usize> {
    let generator = crate::ring::automorphism::rotation_element(degree, 1);
    let powers = std::iter::successors(Some(1u64), |element| Some(element * generator % (2 * degree as u64)));
    powers.take(degree / 2).enumerate().map(|(step, element)| (element as u32, step)).collect()
}

/// The element of the inverse automorphism: the group of odd numbers modulo 2N has exponent N / 2.
fn inverse(degree: usize, element: u64) -> u64 {
    let modulus = 2 * degree as u64;
    let power = |mut exponent: usize| {
        let (mut base, mut power) = (element, 1);
        while exponent > 0 {
            if exponent & 1 == 1 {
                power = power * base % modulus;
            }
            base = base * base % modulus;
            exponent >>= 1;
        }
        power
    };
    power(degree / 2 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverses_are_inverse() {
        for element in (1..2048).step_by(2) {
            assert_eq!(element * inverse(1024, element) % 2048, 1);
        }
    }
}
