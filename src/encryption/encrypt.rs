//! Encryption: what is the same under the public key and under the secret key.
//!
//! BFV ciphertexts come in coefficient form, CKKS ciphertexts in NTT form, as SEAL's do. The
//! distributions and the noise are SEAL's; the randomness is ChaCha20's (see [`sampling`](super::sampling)).

use std::sync::Arc;

use rayon::prelude::*;
use zeroize::Zeroizing;

use super::sampling::{Sampler, fresh_seed};
use super::scaling::PlainScaling;
use crate::error::{Error, Result};
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, Form, Plaintext, Scheme};

/// Messages to be added to encryptions of zero: the context, and for BFV the scaling of each level.
pub(super) struct Messages {
    pub context: Arc<Context>,
    /// by number of primes less one; empty for CKKS
    scalings: Vec<PlainScaling>,
}

impl Messages {
    fn new(context: Arc<Context>) -> Self {
        let scalings = (1..=context.data_primes()).map_while(|primes| PlainScaling::new(&context, primes)).collect();
        Self { context, scalings }
    }

    /// The form of fresh ciphertexts.
    pub fn form(&self) -> Form {
        match self.context.parameters().scheme() {
            Scheme::Bfv => Form::Coefficient,
            Scheme::Ckks => Form::Ntt,
        }
    }

    /// The level at which a plaintext is encrypted: the one asked for, else its own, else the highest.
    pub fn primes(&self, plaintext: &Plaintext, asked: Option<usize>) -> Result<usize> {
        if !plaintext.is_valid_for(&self.context) {
            return Err(Error::ParametersMismatch { operation: "encrypt", object: "plaintext" });
        }
        let most = match *plaintext {
            Plaintext::Bfv(_) => self.context.data_primes(),
            Plaintext::Ckks { primes, .. } => primes.min(self.context.data_primes()),
        };
        let primes = asked.unwrap_or(most);
        if !(1..=most).contains(&primes) {
            return Err(Error::InvalidArgument { name: "primes", reason: format!("{primes}; choose 1 to {most}") });
        }
        Ok(primes)
    }

    /// Adds the message to the first polynomial of an encryption of zero.
    pub fn add(&self, plaintext: &Plaintext, primes: usize, c0: &mut [u64]) {
        match plaintext {
            Plaintext::Bfv(message) => self.scalings[primes - 1].add(message, c0),
            Plaintext::Ckks { data, .. } => {
                let degree = self.context.degree();
                for (j, (row, m)) in c0.chunks_exact_mut(degree).zip(data.chunks_exact(degree)).enumerate() {
                    self.context.tables()[j].kernels().add_assign(row, m);
                }
            }
        }
    }

    /// Encrypts all plaintexts on the current rayon pool, each with its own stream of one fresh seed.
    pub fn all<T: Send>(
        &self,
        plaintexts: &[Plaintext],
        cancellation: &Cancellation,
        encrypt: impl Fn(usize, &Plaintext, &mut Sampler) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let seed = Zeroizing::new(fresh_seed()?);
        plaintexts
            .par_iter()
            .enumerate()
            .map(|(i, plaintext)| {
                cancellation.check()?;
                encrypt(i, plaintext, &mut Sampler::from_seed(&seed, i as u64))
            })
            .collect()
    }
}

pub(super) fn scale_of(plaintext: &Plaintext) -> f64 {
    match *plaintext {
        Plaintext::Bfv(_) => 1.0,
        Plaintext::Ckks { scale, .. } => scale,
    }
}

/// A key that encryptions of zero are made with.
pub trait EncryptionKey: Sized + Sync {
    /// The key as it is kept and sent.
    type Key;

    /// The key, ready for use.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] where it belongs to other parameters.
    fn prepare(context: &Context, key: &Self::Key) -> Result<Self>;

    /// Makes zeros, of two polynomials, an encryption of zero, in the form that they say.
    ///
    /// # Errors
    /// [`Error::Entropy`].
    fn encrypt_zero(&self, context: &Context, zeros: &mut Ciphertext, sampler: &mut Sampler) -> Result<()>;
}

/// Encrypts under a key: see [`PublicEncryptor`](super::PublicEncryptor) and
/// [`SymmetricEncryptor`](super::SymmetricEncryptor).
pub struct Encryptor<K> {
    pub(super) messages: Messages,
    pub(super) key: K,
}

impl<K: EncryptionKey> Encryptor<K> {
    /// Prepares a key.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] where the key belongs to other parameters.
    pub fn new(context: Arc<Context>, key: &K::Key) -> Result<Self> {
        let key = K::prepare(&context, key)?;
        Ok(Self { messages: Messages::new(context), key })
    }

    /// Encrypts at the level of `primes` primes; `None`: a CKKS plaintext's own level, BFV's highest.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] for a plaintext of other parameters, [`Error::InvalidArgument`] for a
    /// level that the plaintext or the context does not have, [`Error::Entropy`].
    pub fn encrypt(&self, plaintext: &Plaintext, primes: Option<usize>) -> Result<Ciphertext> {
        self.encrypt_with(plaintext, primes, &mut Sampler::from_os()?)
    }

    /// Encrypts many plaintexts, on the current rayon pool. See [`encrypt`](Self::encrypt).
    ///
    /// # Errors
    /// As [`encrypt`](Self::encrypt), and [`Error::Interrupted`].
    pub fn encrypt_all(
        &self,
        plaintexts: &[Plaintext],
        primes: Option<usize>,
        cancellation: &Cancellation,
    ) -> Result<Vec<Ciphertext>> {
        self.messages
            .all(plaintexts, cancellation, |_, plaintext, sampler| self.encrypt_with(plaintext, primes, sampler))
    }

    fn encrypt_with(&self, plaintext: &Plaintext, primes: Option<usize>, sampler: &mut Sampler) -> Result<Ciphertext> {
        let primes = self.messages.primes(plaintext, primes)?;
        let mut ciphertext = self.zero(primes, sampler)?;
        ciphertext.set_scale(scale_of(plaintext));
        self.messages.add(plaintext, primes, ciphertext.poly_mut(0));
        Ok(ciphertext)
    }

    /// An encryption of zero at the level of `primes` primes, with scale 1.
    pub(super) fn zero(&self, primes: usize, sampler: &mut Sampler) -> Result<Ciphertext> {
        let context = &self.messages.context;
        let mut ciphertext = Ciphertext::zero(context, 2, primes, self.messages.form(), 1.0);
        self.key.encrypt_zero(context, &mut ciphertext, sampler)?;
        Ok(ciphertext)
    }

    /// The context.
    pub(super) fn context(&self) -> &Arc<Context> {
        &self.messages.context
    }
}
