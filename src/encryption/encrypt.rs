//! Encryption under the public key and under the secret key.
//!
//! BFV ciphertexts come in coefficient form, CKKS ciphertexts in NTT form, as SEAL's do. The
//! distributions and the noise are SEAL's; the randomness is ChaCha20's (see [`sampling`](super::sampling)).

use std::sync::Arc;

use rayon::prelude::*;
use zeroize::Zeroizing;

use super::operand::Operand;
use super::sampling::{Sampler, fresh_seed};
use super::scaling::PlainScaling;
use super::seeded::SeededCiphertexts;
use super::small::Small;
use super::switch::divide_by_last;
use crate::error::{Error, Result};
use crate::ring::Residues;
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, Form, Plaintext, PublicKey, Scheme, SecretKey};

/// What both ways to encrypt share: the context, and for BFV the scaling of each level.
struct Messages {
    context: Arc<Context>,
    /// by number of primes less one; empty for CKKS
    scalings: Vec<PlainScaling>,
}

impl Messages {
    fn new(context: Arc<Context>) -> Self {
        let scalings = (1..=context.data_primes()).map_while(|primes| PlainScaling::new(&context, primes)).collect();
        Self { context, scalings }
    }

    /// The form of fresh ciphertexts.
    fn form(&self) -> Form {
        match self.context.parameters().scheme() {
            Scheme::Bfv => Form::Coefficient,
            Scheme::Ckks => Form::Ntt,
        }
    }

    /// The level at which a plaintext is encrypted: the one asked for, else its own, else the highest.
    fn primes(&self, plaintext: &Plaintext, asked: Option<usize>) -> Result<usize> {
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
    fn add(&self, plaintext: &Plaintext, primes: usize, c0: &mut [u64]) {
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

    /// An encryption of zero, to be filled in.
    fn blank(&self, plaintext: &Plaintext, primes: usize) -> Ciphertext {
        Ciphertext::zero(&self.context, 2, primes, self.form(), scale_of(plaintext))
    }

    /// Encrypts all plaintexts on the current rayon pool, each with its own stream of one fresh seed.
    fn all<T: Send>(
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

fn scale_of(plaintext: &Plaintext) -> f64 {
    match *plaintext {
        Plaintext::Bfv(_) => 1.0,
        Plaintext::Ckks { scale, .. } => scale,
    }
}

/// Encrypts under the public key: for whoever may encrypt but not decrypt.
pub struct PublicEncryptor {
    messages: Messages,
    key: [Operand; 2],
}

impl PublicEncryptor {
    /// Prepares a public key.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] where the key belongs to other parameters.
    pub fn new(context: Arc<Context>, key: &PublicKey) -> Result<Self> {
        let key = Operand::public(&context, key)?;
        Ok(Self { messages: Messages::new(context), key })
    }

    /// Encrypts at the level of `primes` primes; `None`: a CKKS plaintext's own level, BFV's highest.
    ///
    /// The ciphertext is made with one prime more, where there is one, and divided by it, as in SEAL:
    /// with a key-switching prime a fresh ciphertext has hardly more noise than a symmetric one.
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
        let context = &self.messages.context;
        let (degree, form) = (context.degree(), self.messages.form());
        let working = (primes + 1).min(context.key_primes());
        let mut ciphertext = self.messages.blank(plaintext, primes);

        let u = Small::ternary(degree, sampler);
        let mut polynomials = [Residues::zeros(working * degree), Residues::zeros(working * degree)];
        for j in 0..working {
            let u = u.residues(context, j, Form::Ntt);
            for (polynomial, key) in polynomials.iter_mut().zip(&self.key) {
                let row = &mut polynomial[j * degree..(j + 1) * degree];
                row.copy_from_slice(&u);
                key.multiply(context, j, row);
                if form == Form::Coefficient {
                    context.tables()[j].inverse(row);
                }
            }
        }
        for (i, polynomial) in polynomials.iter_mut().enumerate() {
            let error = Small::error(degree, sampler);
            for (j, row) in polynomial.chunks_exact_mut(degree).enumerate() {
                error.add_to(context, j, form, row);
            }
            if working > primes {
                divide_by_last(context, primes, form, polynomial);
            }
            ciphertext.poly_mut(i).copy_from_slice(&polynomial[..primes * degree]);
        }
        self.messages.add(plaintext, primes, ciphertext.poly_mut(0));
        Ok(ciphertext)
    }
}

/// Encrypts under the secret key: faster, with less noise, and in half the bytes (see
/// [`SeededCiphertexts`]).
pub struct SymmetricEncryptor {
    messages: Messages,
    secret: Operand,
}

impl SymmetricEncryptor {
    /// Prepares a secret key.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] where the key belongs to other parameters.
    pub fn new(context: Arc<Context>, key: &SecretKey) -> Result<Self> {
        let secret = Operand::secret(&context, key)?;
        Ok(Self { messages: Messages::new(context), secret })
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

    /// Encrypts plaintexts of one level and scale so that the second polynomials come from one fresh
    /// seed: half the bytes to store or send.
    ///
    /// # Errors
    /// As [`encrypt_all`](Self::encrypt_all), and [`Error::OperandMismatch`] where the plaintexts' scales
    /// or levels differ.
    pub fn encrypt_seeded(
        &self,
        plaintexts: &[Plaintext],
        primes: Option<usize>,
        cancellation: &Cancellation,
    ) -> Result<SeededCiphertexts> {
        let context = &self.messages.context;
        let (mut scale, mut level) = (1.0, primes.unwrap_or(context.data_primes()));
        if let Some(first) = plaintexts.first() {
            (scale, level) = (scale_of(first), self.messages.primes(first, primes)?);
        }
        if let Some(other) = plaintexts.iter().find(|p| scale_of(p) != scale) {
            return Err(Error::OperandMismatch {
                operation: "encrypt",
                what: "scales",
                left: scale.to_string(),
                right: scale_of(other).to_string(),
                remedy: "encode all values of one tensor with the same scale",
            });
        }
        let seed = fresh_seed()?;
        let degree = context.degree();
        let first_polynomials = self.messages.all(plaintexts, cancellation, |i, plaintext, sampler| {
            let primes = self.messages.primes(plaintext, Some(level))?;
            let mut c0 = Residues::zeros(level * degree);
            let mut public = Sampler::from_seed(&seed, i as u64);
            for (j, row) in c0.chunks_exact_mut(degree).enumerate() {
                public.uniform(context.modulus(j), row);
            }
            self.encrypt_zero(&mut c0, sampler);
            self.messages.add(plaintext, primes, &mut c0);
            Ok(c0)
        })?;
        Ok(SeededCiphertexts::new(context, level, self.messages.form(), scale, seed, first_polynomials))
    }

    fn encrypt_with(&self, plaintext: &Plaintext, primes: Option<usize>, sampler: &mut Sampler) -> Result<Ciphertext> {
        let primes = self.messages.primes(plaintext, primes)?;
        let context = &self.messages.context;
        let degree = context.degree();
        let mut ciphertext = self.messages.blank(plaintext, primes);
        let (c0, c1) = ciphertext.data_mut().split_at_mut(primes * degree);
        // The uniform polynomial will be public, the errors must stay secret: two independent streams.
        let mut public = Sampler::from_os()?;
        for (j, (c0, c1)) in c0.chunks_exact_mut(degree).zip(c1.chunks_exact_mut(degree)).enumerate() {
            public.uniform(context.modulus(j), c0);
            c1.copy_from_slice(c0);
            if self.messages.form() == Form::Coefficient {
                context.tables()[j].inverse(c1);
            }
        }
        self.encrypt_zero(c0, sampler);
        self.messages.add(plaintext, primes, c0);
        Ok(ciphertext)
    }

    /// From a in NTT form to -(a s + e) in the form of fresh ciphertexts, in place.
    fn encrypt_zero(&self, a: &mut [u64], sampler: &mut Sampler) {
        let context = &self.messages.context;
        let form = self.messages.form();
        let error = Small::error(context.degree(), sampler);
        for (j, row) in a.chunks_exact_mut(context.degree()).enumerate() {
            self.secret.multiply(context, j, row);
            if form == Form::Coefficient {
                context.tables()[j].inverse(row);
            }
            error.add_to(context, j, form, row);
            context.tables()[j].kernels().negate_assign(row);
        }
    }
}
