//! Encryption under the secret key.

use super::encrypt::{EncryptionKey, Encryptor, scale_of};
use super::operand::Operand;
use super::sampling::{Sampler, fresh_seed};
use super::seeded::SeededCiphertexts;
use super::small::Small;
use crate::error::{Error, Result};
use crate::ring::Residues;
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, Form, Plaintext, SecretKey};

/// Encrypts under the secret key: faster, with less noise, and in half the bytes (see
/// [`SeededCiphertexts`]).
pub type SymmetricEncryptor = Encryptor<UnderSecretKey>;

/// A secret key, prepared.
pub struct UnderSecretKey(Operand);

impl EncryptionKey for UnderSecretKey {
    type Key = SecretKey;

    fn prepare(context: &Context, key: &SecretKey) -> Result<Self> {
        Operand::secret(context, key).map(Self)
    }

    fn encrypt_zero(&self, context: &Context, zeros: &mut Ciphertext, sampler: &mut Sampler) -> Result<()> {
        let (degree, form, primes) = (context.degree(), zeros.form(), zeros.primes());
        let (c0, c1) = zeros.data_mut().split_at_mut(primes * degree);
        // The uniform polynomial will be public, the errors must stay secret: two independent streams.
        let mut public = Sampler::from_os()?;
        for (j, (c0, c1)) in c0.chunks_exact_mut(degree).zip(c1.chunks_exact_mut(degree)).enumerate() {
            public.uniform(context.modulus(j), c0);
            c1.copy_from_slice(c0);
            if form == Form::Coefficient {
                context.tables()[j].inverse(c1);
            }
        }
        self.finish(context, form, c0, sampler);
        Ok(())
    }
}

impl UnderSecretKey {
    /// From a in NTT form to -(a s + e) in the form of fresh ciphertexts, in place.
    fn finish(&self, context: &Context, form: Form, a: &mut [u64], sampler: &mut Sampler) {
        let error = Small::error(context.degree(), sampler);
        for (j, row) in a.chunks_exact_mut(context.degree()).enumerate() {
            self.0.multiply(context, j, row);
            if form == Form::Coefficient {
                context.tables()[j].inverse(row);
            }
            error.add_to(context, j, form, row);
            context.tables()[j].kernels().negate_assign(row);
        }
    }
}

impl SymmetricEncryptor {
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
        let (degree, form) = (context.degree(), self.messages.form());
        let first_polynomials = self.messages.all(plaintexts, cancellation, |i, plaintext, sampler| {
            let primes = self.messages.primes(plaintext, Some(level))?;
            let mut c0 = Residues::zeros(level * degree);
            let mut public = Sampler::from_seed(&seed, i as u64);
            for (j, row) in c0.chunks_exact_mut(degree).enumerate() {
                public.uniform(context.modulus(j), row);
            }
            self.key.finish(context, form, &mut c0, sampler);
            self.messages.add(plaintext, primes, &mut c0);
            Ok(c0)
        })?;
        Ok(SeededCiphertexts::new(context, level, form, scale, seed, first_polynomials))
    }
}
