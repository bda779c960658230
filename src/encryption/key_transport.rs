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
use super::checksum::{checksum, opened};
use super::keygen::{KeyGenerator, Purpose, SeededKey, SeededKeySet, wanted};
use super::sampling::{Seed, fresh_seed};
use crate::error::{Error, Result};
use crate::ring::{Modulus, Residues};
use crate::runtime::Cancellation;
use crate::scheme::{Context, PublicKey};

const KEYS: [u8; 8] = *b"pyckeys\x02";
const OBJECT: &str = "key set";
const FIXED: usize = 80;
const NOT_REDUCED: &str = "a residue is not below its prime";

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

/// Bytes of a key set with evaluation keys for so many primes each.
fn packed_len(context: &Context, primes: impl Iterator<Item = usize>) -> usize {
    let public: usize = all_moduli(context).map(|q| bits::packed_len(q, context.degree())).sum();
    FIXED + public + primes.map(|primes| 8 + payload(context, primes)).sum::<usize>() + 4
}

/// A key set, written as its keys come: a device makes keys of more bytes than it could hold unpacked.
struct Packing<'a> {
    context: &'a Context,
    out: &'a mut [u8],
    at: usize,
}

impl<'a> Packing<'a> {
    /// Writes the header and the public key of a set of `count` keys.
    fn begin(context: &'a Context, seed: &Seed, public: &[u64], count: usize, out: &'a mut [u8]) -> Self {
        let degree = context.degree();
        let mut packing = Self { context, out, at: 0 };
        packing.put(&KEYS);
        packing.put(&(degree as u32).to_le_bytes());
        packing.put(&(count as u32).to_le_bytes());
        context.key_parms_id().iter().for_each(|word| packing.put(&word.to_le_bytes()));
        packing.put(seed);
        packing.put(&pack(public, degree, all_moduli(context)));
        packing
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
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
            self.put(&element.to_le_bytes());
            self.put(&(primes as u32).to_le_bytes());
            self.put(&packed);
        }
        Ok(())
    }

    /// As many keys at a time as there are threads, and the checksum of all.
    fn add_all<K: Send>(
        mut self,
        keys: impl IntoIterator<Item = K>,
        make: impl Fn(K) -> Result<SeededKey> + Sync,
    ) -> Result<()> {
        let mut keys = keys.into_iter();
        loop {
            let batch: Vec<K> = keys.by_ref().take(rayon::current_num_threads()).collect();
            if batch.is_empty() {
                let sum = checksum(&self.out[..self.at]);
                self.put(&sum.to_le_bytes());
                return Ok(());
            }
            self.add(batch, &make)?;
        }
    }
}

impl KeyGenerator<'_> {
    /// Bytes of what [`write_key_set`](Self::write_key_set) writes.
    ///
    /// # Errors
    /// Those of [`key_set`](Self::key_set) for keys that there cannot be.
    pub fn packed_len(
        context: &Context,
        relinearization: Option<usize>,
        rotations: &BTreeMap<usize, usize>,
    ) -> Result<usize> {
        let wanted = wanted(context, relinearization, rotations)?;
        Ok(packed_len(context, wanted.into_iter().map(|(_, primes)| primes)))
    }

    /// As [`key_set`](Self::key_set), as it is sent: each key is packed as it is made. Gives the public key.
    ///
    /// # Errors
    /// Those of [`key_set`](Self::key_set), [`Error::ShapeMismatch`] for another number of bytes than
    /// [`packed_len`](Self::packed_len).
    pub fn write_key_set(
        &self,
        relinearization: Option<usize>,
        rotations: &BTreeMap<usize, usize>,
        out: &mut [u8],
        cancellation: &Cancellation,
    ) -> Result<PublicKey> {
        let context = &self.context;
        let wanted = wanted(context, relinearization, rotations)?;
        let len = packed_len(context, wanted.iter().map(|&(_, primes)| primes));
        if out.len() != len {
            let expected = format!("{len} bytes");
            return Err(Error::ShapeMismatch { operation: "writing a key set", expected, got: vec![out.len()] });
        }
        let seed = fresh_seed()?;
        let set =
            SeededKeySet { parms_id: context.key_parms_id(), seed, public: self.public(&seed)?, keys: Vec::new() };
        let packing = Packing::begin(context, &seed, &set.public, wanted.len(), out);
        packing.add_all(wanted.into_iter().enumerate(), |(i, (purpose, primes))| {
            cancellation.check()?;
            self.key(&seed, i, purpose, primes)
        })?;
        set.public_key(context)
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
        let mut bytes = vec![0; packed_len(context, self.keys.iter().map(|key| key.primes))];
        Packing::begin(context, &self.seed, &self.public, self.keys.len(), &mut bytes).add_all(self.keys, Ok)?;
        Ok(bytes)
    }

    /// A key set from bytes from anywhere: memory is bounded by a small multiple of the bytes given, and every residue is reduced.
    ///
    /// # Errors
    /// As [`ReceivedKeySet::read`], and [`Error::Malformed`] for a residue that is not below its prime.
    pub fn from_bytes(context: &Context, bytes: &[u8], limit: u64) -> Result<Self> {
        let received = ReceivedKeySet::read(context, bytes, limit)?;
        let keys = received.keys.par_iter().map(|key| key.unpack(context)).collect::<Result<_>>()?;
        Ok(Self { keys, ..received.set })
    }
}

/// A key set as it came. Its keys are unpacked one by one, as they are made use of: all of them at a time would take as much
/// memory again as a server that has made them ready.
#[derive(Debug)]
pub struct ReceivedKeySet<'a> {
    context: &'a Context,
    /// all but the evaluation keys
    set: SeededKeySet,
    keys: Vec<ReceivedKey<'a>>,
}

/// An evaluation key as it came.
#[derive(Debug)]
struct ReceivedKey<'a> {
    purpose: Purpose,
    primes: usize,
    /// where it stands in the key set
    offset: usize,
    bytes: &'a [u8],
}

/// An evaluation key as it came, of which one digit at a time is written out: a whole one would be of a length of its own for
/// each level, and memory that is kept for the next of its length.
#[derive(Debug)]
pub struct KeyDigits<'a> {
    context: &'a Context,
    set: &'a SeededKeySet,
    index: usize,
    key: &'a ReceivedKey<'a>,
}

impl KeyDigits<'_> {
    /// What the key is for.
    pub fn purpose(&self) -> Purpose {
        self.key.purpose
    }

    /// The most data primes that a ciphertext may have; so many digits there are.
    pub fn primes(&self) -> usize {
        self.key.primes
    }

    /// Writes both polynomials of a digit, `[2][primes + 1][N]`.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a residue that is not below its prime.
    pub fn write(&self, digit: usize, out: &mut [u64]) -> Result<()> {
        let (first, second) = out.split_at_mut(out.len() / 2);
        let len = self.key.bytes.len() / self.key.primes;
        let bytes = &self.key.bytes[digit * len..(digit + 1) * len];
        unpack_rows(row_moduli(self.context, self.key.primes), bytes, self.context.degree(), first)
            .ok_or_else(|| malformed(self.key.offset, NOT_REDUCED))?;
        self.set.expand_digit(self.context, self.index, digit, second);
        Ok(())
    }
}

impl ReceivedKey<'_> {
    fn unpack(&self, context: &Context) -> Result<SeededKey> {
        let moduli = (0..self.primes).flat_map(|_| row_moduli(context, self.primes));
        let data = unpack(context, self.primes * (self.primes + 1), moduli, self.bytes)
            .ok_or_else(|| malformed(self.offset, NOT_REDUCED))?;
        Ok(SeededKey { purpose: self.purpose, primes: self.primes, data })
    }
}

impl<'a> ReceivedKeySet<'a> {
    /// A key set from bytes from anywhere, checked but for the residues of its evaluation keys.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above `limit` bytes, [`Error::Malformed`] for anything but a whole key set,
    /// [`Error::ParametersMismatch`] for one of other parameters.
    pub fn read(context: &'a Context, bytes: &'a [u8], limit: u64) -> Result<Self> {
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
        let mut keys = Vec::new();
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
            keys.push(ReceivedKey { purpose, primes: primes as usize, offset: at, bytes: own });
            at += own.len();
        }
        if at != bytes.len() {
            return Err(malformed(at, "there are bytes behind the last key"));
        }
        let set = SeededKeySet { parms_id: context.key_parms_id(), seed, public, keys: Vec::new() };
        Ok(Self { context, set, keys })
    }

    /// The context whose keys they are.
    pub fn context(&self) -> &'a Context {
        self.context
    }

    /// The public key with its second polynomial written out.
    ///
    /// # Errors
    /// None: [`read`](Self::read) has checked the parameters.
    pub fn public_key(&self) -> Result<PublicKey> {
        self.set.public_key(self.context)
    }

    /// What `keep` makes of every evaluation key; in parallel on the rayon pool of the caller.
    ///
    /// # Errors
    /// [`Error::Interrupted`], those of `keep`.
    pub fn each<T: Send>(
        &self,
        cancellation: &Cancellation,
        keep: impl Fn(&KeyDigits<'_>) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let kept = self.keys.par_iter().enumerate().map(|(index, key)| {
            cancellation.check()?;
            keep(&KeyDigits { context: self.context, set: &self.set, index, key })
        });
        kept.collect()
    }

    /// Checks the residues of evaluation keys that nobody will use.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a residue that is not below its prime, [`Error::Interrupted`].
    pub fn check(&self, cancellation: &Cancellation) -> Result<()> {
        self.keys.par_iter().try_for_each(|key| {
            cancellation.check()?;
            key.unpack(self.context).map(drop)
        })
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
fn unpack(context: &Context, rows: usize, moduli: impl Iterator<Item = Modulus>, bytes: &[u8]) -> Option<Residues> {
    let mut data = Residues::stale(rows * context.degree());
    unpack_rows(moduli, bytes, context.degree(), &mut data)?;
    Some(data)
}

fn unpack_rows(moduli: impl Iterator<Item = Modulus>, mut bytes: &[u8], degree: usize, out: &mut [u64]) -> Option<()> {
    for (row, q) in out.chunks_exact_mut(degree).zip(moduli) {
        let (own, behind) = bytes.split_at_checked(bits::packed_len(q, degree))?;
        bits::unpack(q, own, row).then_some(())?;
        bytes = behind;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::encryption::checksum::sealed;
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
        let mut bytes = vec![0; KeyGenerator::packed_len(&context, Some(2), &rotations).unwrap()];
        let public = generator.write_key_set(Some(2), &rotations, &mut bytes, &Cancellation::new()).unwrap();
        let set = SeededKeySet::from_bytes(&context, &bytes, LIMIT).unwrap();
        assert_eq!(set.public_key(&context).unwrap().data, public.data);
        let kinds = |set: &SeededKeySet| set.keys.iter().map(|key| (key.purpose, key.primes)).collect::<Vec<_>>();
        assert_eq!(kinds(&set), kinds(&keys(&context)));
        assert_eq!(set.into_bytes(&context).unwrap(), bytes);
        let cancelled = Cancellation::new();
        cancelled.cancel();
        let error = generator.write_key_set(Some(2), &rotations, &mut bytes, &cancelled).unwrap_err();
        assert_eq!(error, Error::Interrupted);
        let error = generator.write_key_set(Some(2), &rotations, &mut bytes[1..], &Cancellation::new()).unwrap_err();
        assert_eq!(error.code(), "shape-mismatch");
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
