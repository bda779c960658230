//! Key generation without SEAL: secret keys, and key sets for servers.
//!
//! A key set is a public key, with which a server encrypts zero to hide what a reply's noise would tell, and evaluation keys
//! for no more primes than they will meet. A key that is used at a low level needs digits and rows for the primes of that level only, a fraction of the bytes of
//! SEAL's keys, which serve every level. Distributions are SEAL's.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use zeroize::Zeroize;

use super::operand::Operand;
use super::sampling::{Sampler, Seed, fresh_seed};
use super::small::Small;
use crate::error::{Error, Result};
use crate::ring::automorphism::rotation_element;
use crate::ring::{Automorphism, Residues};
use crate::runtime::Cancellation;
use crate::scheme::{Context, EvaluationKeys, Form, KeySwitchKey, ParmsId, PublicKey, SecretKey};

/// A fresh secret key: uniform in {-1, 0, 1}.
///
/// # Errors
/// [`Error::Entropy`].
pub fn secret_key(context: &Context) -> Result<SecretKey> {
    let secret = Small::ternary(context.degree(), &mut Sampler::from_os()?);
    let degree = context.degree();
    let mut data = Residues::stale(context.key_primes() * degree);
    for (j, row) in data.chunks_exact_mut(degree).enumerate() {
        row.copy_from_slice(&secret.residues(context, j, Form::Ntt));
    }
    Ok(SecretKey::from_data(context.key_parms_id(), data))
}

/// What an evaluation key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// from s^2 to s
    Relinearization,
    /// from s(X^g) to s, for the Galois element g
    Galois(u32),
}

/// A public key and evaluation keys, all under one secret, whose second polynomials are given by a seed: half the bytes.
///
/// The polynomial a of digit j of evaluation key number i is, in NTT form, the output of [`Sampler::uniform`] on stream
/// `64 i + j` of the seed, for one prime after another, the key-switching prime last; that of the public key, over all
/// primes, is on stream 2^64 - 1. The seed is public. Whoever makes the set cannot choose a polynomial a, so that even a
/// forged public key masks what is added to it.
#[derive(Debug, Clone, PartialEq)]
pub struct SeededKeySet {
    pub(super) parms_id: ParmsId,
    pub(super) seed: Seed,
    /// the first polynomial of the public key, -(a s + e): `[all primes][N]` residues
    pub(super) public: Residues,
    pub(super) keys: Vec<SeededKey>,
}

/// One key: the first polynomials of its digits, `[primes][primes + 1][N]` residues.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SeededKey {
    pub purpose: Purpose,
    pub primes: usize,
    pub data: Residues,
}

/// Streams that each key has: more than there can be digits.
const STREAMS: u64 = 64;

/// The stream of the public key.
const PUBLIC_STREAM: u64 = u64::MAX;

/// Makes the key set of a secret key.
pub struct KeyGenerator<'a> {
    pub(super) context: Arc<Context>,
    secret: &'a SecretKey,
    operand: Operand,
}

impl<'a> KeyGenerator<'a> {
    /// Prepares a secret key.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] where the key belongs to other parameters.
    pub fn new(context: Arc<Context>, secret: &'a SecretKey) -> Result<Self> {
        let operand = Operand::secret(&context, secret)?;
        Ok(Self { context, secret, operand })
    }

    /// A public key, and keys for relinearization and for rotations (by s slots to the left: slot i + s goes to slot i), each
    /// of these for ciphertexts with at most the number of primes given; in parallel on the rayon pool of the caller.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a level or rotation that does not exist, [`Error::Unsupported`] for evaluation keys
    /// where the parameters set no prime aside for key switching, [`Error::Entropy`], [`Error::Interrupted`].
    pub fn key_set(
        &self,
        relinearization: Option<usize>,
        rotations: &BTreeMap<usize, usize>,
        cancellation: &Cancellation,
    ) -> Result<SeededKeySet> {
        let wanted = wanted(&self.context, relinearization, rotations)?;
        let seed = fresh_seed()?;
        let keys = wanted
            .into_par_iter()
            .enumerate()
            .map(|(i, (purpose, primes))| {
                cancellation.check()?;
                self.key(&seed, i, purpose, primes)
            })
            .collect::<Result<_>>()?;
        Ok(SeededKeySet { parms_id: self.context.key_parms_id(), seed, public: self.public(&seed)?, keys })
    }

    /// -(a s + e) over all primes.
    pub(super) fn public(&self, seed: &Seed) -> Result<Residues> {
        let context = &self.context;
        let degree = context.degree();
        let error = Small::error(degree, &mut Sampler::from_os()?);
        let mut uniform = Sampler::from_seed(seed, PUBLIC_STREAM);
        let mut data = Residues::stale(context.key_primes() * degree);
        for (j, row) in data.chunks_exact_mut(degree).enumerate() {
            uniform.uniform(context.modulus(j), row);
            self.operand.multiply(context, j, row);
            error.add_to(context, j, Form::Ntt, row);
            context.tables()[j].kernels().negate_assign(row);
        }
        Ok(data)
    }

    /// For each digit j: -(a s + e) + P s' modulo prime j, -(a s + e) modulo the others.
    pub(super) fn key(&self, seed: &Seed, index: usize, purpose: Purpose, primes: usize) -> Result<SeededKey> {
        let context = &self.context;
        let degree = context.degree();
        let special = context.key_primes() - 1;
        let mut sampler = Sampler::from_os()?;
        let mut data = Residues::stale(primes * (primes + 1) * degree);
        for (digit, rows) in data.chunks_exact_mut((primes + 1) * degree).enumerate() {
            let error = Small::error(degree, &mut sampler);
            let mut uniform = Sampler::from_seed(seed, index as u64 * STREAMS + digit as u64);
            for (i, row) in rows.chunks_exact_mut(degree).enumerate() {
                let prime = if i < primes { i } else { special };
                uniform.uniform(context.modulus(prime), row);
                self.operand.multiply(context, prime, row);
                error.add_to(context, prime, Form::Ntt, row);
                context.tables()[prime].kernels().negate_assign(row);
            }
            let row = &mut rows[digit * degree..(digit + 1) * degree];
            let mut target = self.target(purpose, digit)?;
            let q = context.modulus(digit);
            context.tables()[digit].kernels().mul_scalar_add(row, &target, q.reduce(context.modulus(special).value()));
            target.zeroize();
        }
        Ok(SeededKey { purpose, primes, data })
    }

    /// The secret that a key starts from, modulo prime number j.
    fn target(&self, purpose: Purpose, j: usize) -> Result<Residues> {
        let degree = self.context.degree();
        let secret = &self.secret.data()[j * degree..(j + 1) * degree];
        let mut target = Residues::from_slice(secret);
        match purpose {
            Purpose::Relinearization => self.operand.multiply(&self.context, j, &mut target),
            Purpose::Galois(element) => Automorphism::new(degree, element.into())?.apply_ntt(&mut target, secret),
        }
        Ok(target)
    }
}

/// What the keys of a set are for, and the primes of each, in order.
pub(super) fn wanted(
    context: &Context,
    relinearization: Option<usize>,
    rotations: &BTreeMap<usize, usize>,
) -> Result<Vec<(Purpose, usize)>> {
    if !context.parameters().key_switching() && (relinearization.is_some() || !rotations.is_empty()) {
        let reason = "the parameters set no prime aside for key switching; make them with one".into();
        return Err(Error::Unsupported { operation: "generating evaluation keys", reason });
    }
    let (degree, data) = (context.degree(), context.data_primes());
    if let Some(step) = rotations.keys().find(|&&step| step == 0 || step >= degree / 2) {
        let reason = format!("a rotation by {step}; choose 1 to {}", degree / 2 - 1);
        return Err(Error::InvalidArgument { name: "rotations", reason });
    }
    if let Some(primes) = rotations.values().chain(&relinearization).find(|primes| !(1..=data).contains(*primes)) {
        let reason = format!("a key for {primes} primes; the parameters have 1 to {data}");
        return Err(Error::InvalidArgument { name: "primes", reason });
    }
    let galois = rotations
        .iter()
        .map(|(&step, &primes)| (Purpose::Galois(rotation_element(degree, step as i64) as u32), primes));
    Ok(relinearization.map(|primes| (Purpose::Relinearization, primes)).into_iter().chain(galois).collect())
}

impl SeededKeySet {
    /// The public key with its second polynomial written out.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] for another context.
    pub fn public_key(&self, context: &Context) -> Result<PublicKey> {
        self.check(context)?;
        let mut data = Residues::stale(2 * self.public.len());
        let (first, second) = data.split_at_mut(self.public.len());
        first.copy_from_slice(&self.public);
        let mut uniform = Sampler::from_seed(&self.seed, PUBLIC_STREAM);
        for (j, row) in second.chunks_exact_mut(context.degree()).enumerate() {
            uniform.uniform(context.modulus(j), row);
        }
        Ok(PublicKey { parms_id: self.parms_id, data })
    }

    fn check(&self, context: &Context) -> Result<()> {
        if self.parms_id == context.key_parms_id() {
            return Ok(());
        }
        Err(Error::ParametersMismatch { operation: "expand", object: "key set" })
    }

    /// The evaluation keys with their second polynomials written out; in parallel on the rayon pool of the caller.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] for another context, [`Error::Interrupted`].
    pub fn expand(&self, context: &Context, cancellation: &Cancellation) -> Result<EvaluationKeys> {
        self.check(context)?;
        let expanded: Vec<(Purpose, KeySwitchKey)> = self
            .keys
            .par_iter()
            .enumerate()
            .map(|(i, key)| {
                cancellation.check()?;
                Ok((key.purpose, self.expand_key(context, i, key)))
            })
            .collect::<Result<_>>()?;
        let mut keys = EvaluationKeys { parms_id: self.parms_id, ..Default::default() };
        for (purpose, key) in expanded {
            match purpose {
                Purpose::Relinearization => keys.relinearization = Some(key),
                Purpose::Galois(element) => drop(keys.galois.insert(element, key)),
            }
        }
        Ok(keys)
    }

    fn expand_key(&self, context: &Context, index: usize, key: &SeededKey) -> KeySwitchKey {
        let half = (key.primes + 1) * context.degree();
        let mut data = Residues::stale(key.primes * 2 * half);
        for (digit, (both, first)) in data.chunks_exact_mut(2 * half).zip(key.data.chunks_exact(half)).enumerate() {
            let (b, a) = both.split_at_mut(half);
            b.copy_from_slice(first);
            self.expand_digit(context, index, digit, a);
        }
        KeySwitchKey { primes: key.primes, data }
    }

    /// Writes the second polynomial of a digit of key number `index`, `[primes + 1][N]`.
    pub(super) fn expand_digit(&self, context: &Context, index: usize, digit: usize, out: &mut [u64]) {
        let degree = context.degree();
        let primes = out.len() / degree - 1;
        let mut uniform = Sampler::from_seed(&self.seed, index as u64 * STREAMS + digit as u64);
        for (i, row) in out.chunks_exact_mut(degree).enumerate() {
            let prime = if i < primes { i } else { context.key_primes() - 1 };
            uniform.uniform(context.modulus(prime), row);
        }
    }

    /// How many evaluation keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no evaluation key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::CkksEncoder;
    use crate::encryption::{Decryptor, PublicEncryptor, SymmetricEncryptor};
    use crate::ring::primes;
    use crate::scheme::Parameters;
    use crate::seal::SealSession;
    use crate::seal::wire::{self, Compression};

    const SCALE: f64 = (1u64 << 30) as f64;

    fn context() -> Arc<Context> {
        let moduli = primes::create(1024, &[40, 30, 30, 45]).unwrap();
        Context::new(Parameters::ckks(1024, moduli, true).unwrap()).unwrap()
    }

    fn values() -> Vec<f64> {
        (0..512).map(|i| f64::from(i) / 256.0 - 1.0).collect()
    }

    fn close(context: &Arc<Context>, secret: &SecretKey, ciphertext: &crate::scheme::Ciphertext, expected: &[f64]) {
        let plaintext = Decryptor::new(context.clone(), secret).unwrap().decrypt(ciphertext).unwrap();
        let decoded = CkksEncoder::new(context.clone()).unwrap().decode(&plaintext).unwrap();
        for (value, expected) in decoded.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-4, "{value} {expected}");
        }
    }

    #[test]
    fn seal_takes_the_keys_of_the_highest_level() {
        let context = context();
        let secret = secret_key(&context).unwrap();
        let generator = KeyGenerator::new(context.clone(), &secret).unwrap();
        let rotations = BTreeMap::from([(1, 3)]);
        let keys = generator.key_set(Some(3), &rotations, &Cancellation::new()).unwrap();
        let keys = keys.expand(&context, &Cancellation::new()).unwrap();
        let bytes = wire::write_galois_keys(&context, &keys.galois, Compression::None).unwrap();
        assert_eq!(wire::read_galois_keys(&context, &bytes, wire::Limits::CONTEXT).unwrap(), keys.galois);
        let session = SealSession::new(&context).unwrap();
        let plaintext = CkksEncoder::new(context.clone()).unwrap().encode(&values(), SCALE, 3).unwrap();
        let fresh = SymmetricEncryptor::new(context.clone(), &secret).unwrap().encrypt(&plaintext, None).unwrap();
        // SEAL computes with the keys, and decrypts with the secret.
        let rotated = session.rotate(&fresh, 1, &keys.galois).unwrap();
        let mut expected = values();
        expected.rotate_left(1);
        close(&context, &secret, &rotated, &expected);
        assert_eq!(
            session.decrypt(&secret, &fresh).unwrap(),
            Decryptor::new(context.clone(), &secret).unwrap().decrypt(&fresh).unwrap()
        );
    }

    #[test]
    fn what_a_public_key_encrypts_the_secret_key_decrypts() {
        let context = context();
        let secret = secret_key(&context).unwrap();
        let generator = KeyGenerator::new(context.clone(), &secret).unwrap();
        let set = generator.key_set(None, &BTreeMap::new(), &Cancellation::new()).unwrap();
        let public = set.public_key(&context).unwrap();
        let bytes = wire::write_public_key(&context, &public, Compression::None).unwrap();
        assert_eq!(wire::read_public_key(&context, &bytes, wire::Limits::CONTEXT).unwrap(), public);
        let plaintext = CkksEncoder::new(context.clone()).unwrap().encode(&values(), SCALE, 3).unwrap();
        let encrypted = PublicEncryptor::new(context.clone(), &public).unwrap().encrypt(&plaintext, None).unwrap();
        close(&context, &secret, &encrypted, &values());
        let session = SealSession::new(&context).unwrap();
        assert_eq!(
            session.decrypt(&secret, &encrypted).unwrap(),
            Decryptor::new(context.clone(), &secret).unwrap().decrypt(&encrypted).unwrap()
        );
    }

    #[test]
    fn wrong_levels_and_rotations_are_refused() {
        let context = context();
        let secret = secret_key(&context).unwrap();
        let generator = KeyGenerator::new(context, &secret).unwrap();
        let make = |relinearization, rotations: &[(usize, usize)]| {
            let rotations = rotations.iter().copied().collect();
            generator.key_set(relinearization, &rotations, &Cancellation::new()).unwrap_err().to_string()
        };
        assert!(make(Some(4), &[]).contains("4 primes"));
        assert!(make(None, &[(1, 0)]).contains("0 primes"));
        assert!(make(None, &[(512, 1)]).contains("rotation by 512"));
    }
}
