//! Evaluation keys as they are sent. All numbers are little-endian:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | magic `pyckeys` and the version, 1 |
//! | 8 | 4 | polynomial degree N |
//! | 12 | 4 | number of keys |
//! | 16 | 32 | parms_id of the key level, as SEAL computes it |
//! | 48 | 32 | seed |
//! | | 4 | for each key: Galois element, 0 for relinearization |
//! | | 4 | primes l that it serves |
//! | | | for each of l digits and each of l + 1 primes: N residues of bits(q) bits, without padding |
//! | | 4 | CRC-32 of all before |
//!
//! The second polynomials are expanded as [`SeededEvaluationKeys`] says. Secret keys are kept in SEAL's format.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::bits;
use super::checksum::{opened, sealed};
use super::keygen::{Purpose, SeededEvaluationKeys, SeededKey};
use super::sampling::Seed;
use crate::error::{Error, Result};
use crate::ring::{Modulus, Residues};
use crate::scheme::Context;

const KEYS: [u8; 8] = *b"pyckeys\x01";
const OBJECT: &str = "evaluation keys";
const FIXED: usize = 80;

fn malformed(offset: usize, reason: impl Into<String>) -> Error {
    Error::Malformed { object: OBJECT, offset, reason: reason.into() }
}

/// The primes of a key's rows.
fn row_moduli(context: &Context, primes: usize) -> impl Iterator<Item = Modulus> {
    (0..primes).chain([context.key_primes() - 1]).map(|j| context.modulus(j))
}

/// Packed bytes of a key.
fn payload(context: &Context, primes: usize) -> usize {
    primes * row_moduli(context, primes).map(|q| bits::packed_len(q, context.degree())).sum::<usize>()
}

impl SeededEvaluationKeys {
    /// The keys as they are sent.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] for another context.
    pub fn to_bytes(&self, context: &Context) -> Result<Vec<u8>> {
        if self.parms_id != context.key_parms_id() {
            return Err(Error::ParametersMismatch { operation: "pack", object: "evaluation key" });
        }
        let degree = context.degree();
        let mut bytes = KEYS.to_vec();
        bytes.extend((degree as u32).to_le_bytes());
        bytes.extend((self.keys.len() as u32).to_le_bytes());
        bytes.extend(self.parms_id.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(self.seed);
        let packed: Vec<Vec<u8>> = self
            .keys
            .par_iter()
            .map(|key| {
                let mut out = vec![0; payload(context, key.primes)];
                let mut rest = &mut out[..];
                for (k, row) in key.data.chunks_exact(degree).enumerate() {
                    let i = k % (key.primes + 1);
                    let q = context.modulus(if i < key.primes { i } else { context.key_primes() - 1 });
                    let (own, behind) = rest.split_at_mut(bits::packed_len(q, degree));
                    bits::pack(q, row, own);
                    rest = behind;
                }
                out
            })
            .collect();
        for (key, packed) in self.keys.iter().zip(packed) {
            let element = match key.purpose {
                Purpose::Relinearization => 0,
                Purpose::Galois(element) => element,
            };
            bytes.extend(element.to_le_bytes());
            bytes.extend((key.primes as u32).to_le_bytes());
            bytes.extend(packed);
        }
        Ok(sealed(bytes))
    }

    /// Keys from bytes from anywhere: memory is bounded by a small multiple of the bytes given, and every residue is reduced.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above `limit` bytes, [`Error::Malformed`] for anything but whole keys,
    /// [`Error::ParametersMismatch`] for keys of other parameters.
    pub fn from_bytes(context: &Context, bytes: &[u8], limit: u64) -> Result<Self> {
        if bytes.len() as u64 > limit {
            return Err(Error::TooLarge { object: OBJECT, size: bytes.len() as u64, limit });
        }
        let (count, seed, bytes) = read_header(context, bytes)?;
        let mut at = FIXED;
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for _ in 0..count {
            let head = bytes.get(at..at + 8).ok_or_else(|| malformed(at, "the bytes end early"))?;
            let [element, primes] = [word(&head[..4]), word(&head[4..])];
            let possible = element == 0 || (element % 2 == 1 && (element as usize) < 2 * context.degree());
            if !possible || !(1..=context.data_primes()).contains(&(primes as usize)) {
                return Err(malformed(at, format!("element {element} for {primes} primes does not exist")));
            }
            let purpose = if element == 0 { Purpose::Relinearization } else { Purpose::Galois(element) };
            if !seen.insert(purpose) {
                return Err(malformed(at, format!("element {element} stands there twice")));
            }
            at += 8;
            let own = bytes.get(at..at + payload(context, primes as usize));
            let own = own.ok_or_else(|| malformed(bytes.len(), "the bytes end early"))?;
            found.push((purpose, primes as usize, at, own));
            at += own.len();
        }
        if at != bytes.len() {
            return Err(malformed(at, "there are bytes behind the last key"));
        }
        let keys = found.into_par_iter().map(|(purpose, primes, at, bytes)| {
            let data =
                unpack(context, primes, bytes).ok_or_else(|| malformed(at, "a residue is not below its prime"))?;
            Ok(SeededKey { purpose, primes, data })
        });
        Ok(Self { parms_id: context.key_parms_id(), seed, keys: keys.collect::<Result<_>>()? })
    }
}

fn read_header<'a>(context: &Context, bytes: &'a [u8]) -> Result<(u32, Seed, &'a [u8])> {
    if bytes.len() < FIXED + 4 || bytes[..7] != KEYS[..7] {
        return Err(malformed(0, "these are no evaluation keys"));
    }
    if bytes[7] != KEYS[7] {
        return Err(malformed(7, "the version is unknown; update the package, or generate the keys again"));
    }
    let bytes = opened(OBJECT, bytes)?;
    check_parameters(context, &bytes[8..12], &bytes[16..48])?;
    let mut seed = Seed::default();
    seed.copy_from_slice(&bytes[48..FIXED]);
    Ok((word(&bytes[12..16]), seed, bytes))
}

fn check_parameters(context: &Context, degree: &[u8], parms_id: &[u8]) -> Result<()> {
    let own = context.key_parms_id();
    let own = own.iter().flat_map(|word| word.to_le_bytes());
    if word(degree) as usize == context.degree() && own.eq(parms_id.iter().copied()) {
        return Ok(());
    }
    Err(Error::ParametersMismatch { operation: "unpack", object: "evaluation key" })
}

/// A little-endian word of at most four bytes.
fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte))
}

fn unpack(context: &Context, primes: usize, mut bytes: &[u8]) -> Option<Residues> {
    let degree = context.degree();
    let mut data = Residues::stale(primes * (primes + 1) * degree);
    for (row, q) in data.chunks_exact_mut(degree).zip((0..primes).flat_map(|_| row_moduli(context, primes))) {
        let (own, behind) = bytes.split_at_checked(bits::packed_len(q, degree))?;
        bits::unpack(q, own, row).then_some(())?;
        bytes = behind;
    }
    Some(data)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::encryption::keygen::{KeyGenerator, secret_key};
    use crate::ring::primes;
    use crate::runtime::Cancellation;
    use crate::scheme::Parameters;

    const LIMIT: u64 = 1 << 30;

    fn context(last: u32) -> Arc<Context> {
        let moduli = primes::create(1024, &[40, 30, 30, last]).unwrap();
        Context::new(Parameters::ckks(1024, moduli, true).unwrap()).unwrap()
    }

    fn keys(context: &Arc<Context>) -> SeededEvaluationKeys {
        let secret = secret_key(context).unwrap();
        let generator = KeyGenerator::new(context.clone(), &secret).unwrap();
        generator.evaluation_keys(Some(2), &BTreeMap::from([(1, 1), (5, 3)]), &Cancellation::new()).unwrap()
    }

    #[test]
    fn keys_round_trip() {
        let context = context(45);
        let keys = keys(&context);
        let bytes = keys.to_bytes(&context).unwrap();
        let bits = 2 * (40 + 30 + 45) + (40 + 45) + 3 * (40 + 30 + 30 + 45);
        assert_eq!(bytes.len(), FIXED + 3 * 8 + bits * 128 + 4);
        assert_eq!(SeededEvaluationKeys::from_bytes(&context, &bytes, LIMIT).unwrap(), keys);
        let error = SeededEvaluationKeys::from_bytes(&context, &bytes, 1000).unwrap_err();
        assert_eq!(error.code(), "too-large");
        let error = SeededEvaluationKeys::from_bytes(&self::context(44), &bytes, LIMIT).unwrap_err();
        assert_eq!(error.code(), "parameters-mismatch");
    }

    #[test]
    fn a_key_that_stands_there_twice_is_refused() {
        let context = context(45);
        let mut keys = keys(&context);
        keys.keys.push(keys.keys[1].clone());
        let error = SeededEvaluationKeys::from_bytes(&context, &keys.to_bytes(&context).unwrap(), LIMIT).unwrap_err();
        assert!(error.to_string().contains("twice"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn damage_is_seen(at: prop::sample::Index, bit in 0u8..8, cut: prop::sample::Index) {
            let context = context(45);
            let bytes = keys(&context).to_bytes(&context).unwrap();
            let mut damaged = bytes.clone();
            damaged[at.index(bytes.len())] ^= 1 << bit;
            prop_assert!(SeededEvaluationKeys::from_bytes(&context, &damaged, LIMIT).is_err());
            prop_assert!(SeededEvaluationKeys::from_bytes(&context, &bytes[..cut.index(bytes.len())], LIMIT).is_err());
        }

        #[test]
        fn forged_headers_are_refused_or_sound(at in 8usize..120, byte: u8) {
            let context = context(45);
            let bytes = keys(&context).to_bytes(&context).unwrap();
            let mut forged = bytes[..bytes.len() - 4].to_vec();
            forged[at] = byte;
            if let Ok(keys) = SeededEvaluationKeys::from_bytes(&context, &sealed(forged), LIMIT) {
                prop_assert!(keys.expand(&context, &Cancellation::new()).is_ok());
            }
        }
    }
}
