//! Encryption under the public key.

use super::encrypt::{EncryptionKey, Encryptor};
use super::operand::Operand;
use super::sampling::Sampler;
use super::small::Small;
use super::switch::divide_by_last;
use crate::error::Result;
use crate::ring::Residues;
use crate::scheme::{Ciphertext, Context, Form, PublicKey};

/// Encrypts under the public key: for whoever may encrypt but not decrypt.
///
/// A ciphertext is made with one prime more than its level has, where there is one, and divided by it, as in SEAL:
/// with a key-switching prime a fresh ciphertext has hardly more noise than a symmetric one.
pub type PublicEncryptor = Encryptor<UnderPublicKey>;

/// A public key, prepared.
pub struct UnderPublicKey([Operand; 2]);

impl EncryptionKey for UnderPublicKey {
    type Key = PublicKey;

    fn prepare(context: &Context, key: &PublicKey) -> Result<Self> {
        Operand::public(context, key).map(Self)
    }

    fn encrypt_zero(&self, context: &Context, zeros: &mut Ciphertext, sampler: &mut Sampler) -> Result<()> {
        let (degree, form, primes) = (context.degree(), zeros.form(), zeros.primes());
        let working = (primes + 1).min(context.key_primes());
        let u = Small::ternary(degree, sampler);
        let mut polynomials = [Residues::zeros(working * degree), Residues::zeros(working * degree)];
        for j in 0..working {
            let u = u.residues(context, j, Form::Ntt);
            for (polynomial, key) in polynomials.iter_mut().zip(&self.0) {
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
            zeros.poly_mut(i).copy_from_slice(&polynomial[..primes * degree]);
        }
        Ok(())
    }
}
