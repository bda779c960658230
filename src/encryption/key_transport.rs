//! Key sets as they are sent: a public key and evaluation keys, no secret one. All numbers are little-endian:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | magic `pyckeys` and the version, 2 |
//! | 8 | 4 | polynomial degree N |
//! | 12 | 4 | number of evaluation keys |
//! | 16 | 32 | parms_id of the key level, as SEAL computes it |
//! | 48 | 32 | seed |
//! | 80 | | public key: for each prime of the parameters, N residues of bits(q) bits, without padding |
//! | | 4 | for each evaluation key: Galois element, 0 for relinearization |
//! | | 4 | primes l that it serves |
//! | | | for each of l digits and each of l + 1 primes: N residues |
//! | | 4 | CRC-32 of all before |
//!
//! The second polynomials are expanded as [`SeededKeySet`] says. Secret keys are kept in SEAL's format.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::bits;
use super::checksum::{opened, sealed};
use super::keygen::{KeyGenerator, Purpose, SeededKey, SeededKeySet};
use super::sampling::{Seed, fresh_seed};
use crate::error::{Error, Result};
use crate::ring::{Modulus, Residues};
use crate::runtime::Cancellation;
use crate::scheme::{Context, PublicKey};

const KEYS: [u8; 8] = *b"pyckeys\x02";
const OBJECT: &str = "key set";
const FIXED: usize = 80;

fn malformed(offset: usize, reason: impl Into<String>) -> Error {
    Error::Malformed { object: OBJECT, offset, reason: reason.into() }
}

/// The primes of a key's rows.
fn row_moduli(context: &Context, primes: usize) -> impl Iterator<Item = Modulus> {
    (0..primes).chain([context.key_primes() - 1]).map(|j| context.modulus(j))
}

/// The primes of the public key.
fn all_moduli(context: &Context) -> impl Iterator<Item = Modulus> {
    (0..context.key_primes()).map(|j| context.modulus(j))
}

/// Packed bytes of an evaluation key.
fn payload(context: &Context, primes: usize) -> usize {
    primes * row_moduli(context, primes).map(|q| bits::packed_len(q, context.degree())).sum::<usize>()
}

/// The bytes of a key set, written as its keys come: a device makes keys of more bytes than it could hold unpacked.
struct Packing<'a> {
    context: &'a Context,
    bytes: Vec<u8>,
}

impl<'a> Packing<'a> {
    /// The header and the public key of a set of keys for so many primes each.
    fn begin(context: &'a Context, seed: &Seed, public: &[u64], primes: impl ExactSizeIterator<Item = usize>) -> Self {
        let (degree, count) = (context.degree(), primes.len());
        let evaluation: usize = primes.map(|primes| 8 + payload(context, primes)).sum();
        let public = pack(public, degree, all_moduli(context));
        let mut bytes = Vec::with_capacity(FIXED + public.len() + evaluation + 4);
        bytes.extend(KEYS);
        bytes.extend((degree as u32).to_le_bytes());
        bytes.extend((count as u32).to_le_bytes());
        bytes.extend(context.key_parms_id().iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(seed);
        bytes.extend(public);
        Self { context, bytes }
    }

    /// The next keys, made one by one on the rayon pool of the caller.
    fn add<K: Send>(&mut self, keys: Vec<K>, make: impl Fn(K) -> Result<SeededKey> + Sync) -> Result<()> {
        let context = self.context;
        let packed = keys.into_par_iter().map(|key| {
            let key = make(key)?;
            let rows = (0..key.primes).flat_map(|_| row_moduli(context, key.primes));
            Ok((key.purpose, key.primes, pack(&key.data, context.degree(), rows)))
        });
        for (purpose, primes, packed) in packed.collect::<Result<Vec<_>>>()? {
            let element = match purpose {
                Purpose::Relinearization => 0,
                Purpose::Galois(element) => element,
            };
            self.bytes.extend(element.to_le_bytes());
            self.bytes.extend((primes as u32).to_le_bytes());
            self.bytes.extend(packed);
        }
        Ok(())
    }

    /// As many keys at a time as there are threads.
    fn add_all<K: Send>(
        mut self,
        keys: impl IntoIterator<Item = K>,
        make: impl Fn(K) -> Result<SeededKey> + Sync,
    ) -> Result<Vec<u8>> {
        let mut keys = keys.into_iter();
        loop {
            let batch: Vec<K> = keys.by_ref().take(rayon::current_num_threads()).collect();
            if batch.is_empty() {
                return Ok(sealed(self.bytes));
            }
            self.add(batch, &make)?;
        }
    }
}

impl KeyGenerator<'_> {
    /// As [`key_set`](Self::key_set), as it is sent: each key is packed as it is made. The public key is given besides.
    ///
    /// # Errors
    /// Those of [`key_set`](Self::key_set).
    pub fn packed_key_set(
        &self,
        relinearization: Option<usize>,
        rotations: &BTreeMap<usize, usize>,
        cancellation: &Cancellation,
    ) -> Result<(PublicKey, Vec<u8>)> {
        let wanted = self.wanted(relinearization, rotations)?;
        let seed = fresh_seed()?;
        let context = &self.context;
        let set =
            SeededKeySet { parms_id: context.key_parms_id(), seed, public: self.public(&seed)?, keys: Vec::new() };
        let packing = Packing::begin(context, &seed, &set.public, wanted.iter().map(|&(_, primes)| primes));
        let bytes = packing.add_all(wanted.into_iter().enumerate(), |(i, (purpose, primes))| {
            cancellation.check()?;
            self.key(&seed, i, purpose, primes)
        })?;
        Ok((set.public_key(context)?, bytes))
    }
}

impl SeededKeySet {
    /// The keys as they are sent. They are dropped as they are packed.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] for another context.
    pub fn into_bytes(self, context: &Context) -> Result<Vec<u8>> {
        if self.parms_id != context.key_parms_id() {
            return Err(Error::ParametersMismatch { operation: "pack", object: "key set" });
        }
        Packing::begin(context, &self.seed, &self.public, self.keys.iter().map(|key| key.primes)).add_all(self.keys, Ok)
    }

    /// A key set from bytes from anywhere: memory is bounded by a small multiple of the bytes given, and every residue is reduced.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above `limit` bytes, [`Error::Malformed`] for anything but a whole key set,
    /// [`Error::ParametersMismatch`] for one of other parameters.
    pub fn from_bytes(context: &Context, bytes: &[u8], limit: u64) -> Result<Self> {
        if bytes.len() as u64 > limit {
            return Err(Error::TooLarge { object: OBJECT, size: bytes.len() as u64, limit });
        }
        let (count, seed, bytes) = read_header(context, bytes)?;
        let public_len: usize = all_moduli(context).map(|q| bits::packed_len(q, context.degree())).sum();
        let public =
            bytes.get(FIXED..FIXED + public_len).ok_or_else(|| malformed(bytes.len(), "the bytes end early"))?;
        let public = unpack(context, context.key_primes(), all_moduli(context), public)
            .ok_or_else(|| malformed(FIXED, "a residue of the public key is not below its prime"))?;
        if count > 0 && !context.parameters().key_switching() {
            return Err(malformed(12, "these parameters have no key-switching prime, and so no evaluation keys"));
        }
        let mut at = FIXED + public_len;
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
            let moduli = (0..primes).flat_map(|_| row_moduli(context, primes));
            let data = unpack(context, primes * (primes + 1), moduli, bytes)
                .ok_or_else(|| malformed(at, "a residue is not below its prime"))?;
            Ok(SeededKey { purpose, primes, data })
        });
        Ok(Self { parms_id: context.key_parms_id(), seed, public, keys: keys.collect::<Result<_>>()? })
    }
}

fn read_header<'a>(context: &Context, bytes: &'a [u8]) -> Result<(u32, Seed, &'a [u8])> {
    if bytes.len() < FIXED + 4 || bytes[..7] != KEYS[..7] {
        return Err(malformed(0, "this is no key set"));
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
    Err(Error::ParametersMismatch { operation: "unpack", object: "key set" })
}

/// A little-endian word of at most four bytes.
fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte))
}

/// Rows of N residues, each at the width of its prime.
fn pack(data: &[u64], degree: usize, moduli: impl Iterator<Item = Modulus>) -> Vec<u8> {
    let mut out = Vec::new();
    for (row, q) in data.chunks_exact(degree).zip(moduli) {
        let start = out.len();
        out.resize(start + bits::packed_len(q, degree), 0);
        bits::pack(q, row, &mut out[start..]);
    }
    out
}

/// What [`pack`] wrote: `None` where bytes are missing or a residue is not reduced.
fn unpack(context: &Context, rows: usize, moduli: impl Iterator<Item = Modulus>, mut bytes: &[u8]) -> Option<Residues> {
    let degree = context.degree();
    let mut data = Residues::stale(rows * degree);
    for (row, q) in data.chunks_exact_mut(degree).zip(moduli) {
        let (own, behind) = bytes.split_at_checked(bits::packed_len(q, degree))?;
        bits::unpack(q, own, row).then_some(())?;
        bytes = behind;
    }
    Some(data)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::encryption::keygen::secret_key;
    use crate::ring::primes;
    use crate::scheme::Parameters;

    const LIMIT: u64 = 1 << 30;

    fn context(last: u32) -> Arc<Context> {
        let moduli = primes::create(1024, &[40, 30, 30, last]).unwrap();
        Context::new(Parameters::ckks(1024, moduli, true).unwrap()).unwrap()
    }

    fn keys(context: &Arc<Context>) -> SeededKeySet {
        let secret = secret_key(context).unwrap();
        let generator = KeyGenerator::new(context.clone(), &secret).unwrap();
        generator.key_set(Some(2), &BTreeMap::from([(1, 1), (5, 3)]), &Cancellation::new()).unwrap()
    }

    #[test]
    fn keys_that_are_packed_as_they_are_made_are_the_same_set() {
        let context = context(45);
        let secret = secret_key(&context).unwrap();
        let generator = KeyGenerator::new(context.clone(), &secret).unwrap();
        let rotations = BTreeMap::from([(1, 1), (5, 3)]);
        let (public, bytes) = generator.packed_key_set(Some(2), &rotations, &Cancellation::new()).unwrap();
        let set = SeededKeySet::from_bytes(&context, &bytes, LIMIT).unwrap();
        assert_eq!(set.public_key(&context).unwrap().data, public.data);
        let kinds = |set: &SeededKeySet| set.keys.iter().map(|key| (key.purpose, key.primes)).collect::<Vec<_>>();
        assert_eq!(kinds(&set), kinds(&keys(&context)));
        assert_eq!(set.into_bytes(&context).unwrap(), bytes);
        let cancelled = Cancellation::new();
        cancelled.cancel();
        let error = generator.packed_key_set(Some(2), &rotations, &cancelled).unwrap_err();
        assert_eq!(error, Error::Interrupted);
    }

    #[test]
    fn keys_round_trip() {
        let context = context(45);
        let keys = keys(&context);
        let bytes = keys.clone().into_bytes(&context).unwrap();
        let public = 40 + 30 + 30 + 45;
        let bits = public + 2 * (40 + 30 + 45) + (40 + 45) + 3 * (40 + 30 + 30 + 45);
        assert_eq!(bytes.len(), FIXED + 3 * 8 + bits * 128 + 4);
        assert_eq!(SeededKeySet::from_bytes(&context, &bytes, LIMIT).unwrap(), keys);
        let error = SeededKeySet::from_bytes(&context, &bytes, 1000).unwrap_err();
        assert_eq!(error.code(), "too-large");
        let error = SeededKeySet::from_bytes(&self::context(44), &bytes, LIMIT).unwrap_err();
        assert_eq!(error.code(), "parameters-mismatch");
    }

    #[test]
    fn a_key_that_stands_there_twice_is_refused() {
        let context = context(45);
        let mut keys = keys(&context);
        keys.keys.push(keys.keys[1].clone());
        let error = SeededKeySet::from_bytes(&context, &keys.into_bytes(&context).unwrap(), LIMIT).unwrap_err();
        assert!(error.to_string().contains("twice"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn damage_is_seen(at: prop::sample::Index, bit in 0u8..8, cut: prop::sample::Index) {
            let context = context(45);
            let bytes = keys(&context).into_bytes(&context).unwrap();
            let mut damaged = bytes.clone();
            damaged[at.index(bytes.len())] ^= 1 << bit;
            prop_assert!(SeededKeySet::from_bytes(&context, &damaged, LIMIT).is_err());
            prop_assert!(SeededKeySet::from_bytes(&context, &bytes[..cut.index(bytes.len())], LIMIT).is_err());
        }

        #[test]
        fn forged_headers_are_refused_or_sound(at in 8usize..120, byte: u8) {
            let context = context(45);
            let bytes = keys(&context).into_bytes(&context).unwrap();
            let mut forged = bytes[..bytes.len() - 4].to_vec();
            forged[at] = byte;
            if let Ok(keys) = SeededKeySet::from_bytes(&context, &sealed(forged), LIMIT) {
                prop_assert!(keys.expand(&context, &Cancellation::new()).is_ok());
            }
        }
    }
}
