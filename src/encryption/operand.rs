//! Keys, checked against a context once and used for many products.

use zeroize::Zeroize;

use crate::error::{Error, Result};
use crate::ring::Residues;
use crate::scheme::{Context, PublicKey, SecretKey};

/// A polynomial in NTT form over all primes of a context.
///
/// It may be the secret key: the memory is wiped when it is dropped.
pub(super) struct Operand(Residues);

impl Operand {
    /// The secret key as an operand.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] where the key belongs to other parameters.
    pub fn secret(context: &Context, key: &SecretKey) -> Result<Self> {
        if key.parms_id() != context.key_parms_id() {
            return Err(Error::ParametersMismatch { operation: "prepare", object: "secret key" });
        }
        Self::new(context, key.data()).ok_or(Error::ParametersMismatch { operation: "prepare", object: "secret key" })
    }

    /// Both polynomials of the public key as operands.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] where the key belongs to other parameters.
    pub fn public(context: &Context, key: &PublicKey) -> Result<[Self; 2]> {
        let mismatch = Error::ParametersMismatch { operation: "prepare", object: "public key" };
        let len = context.key_primes() * context.degree();
        if key.parms_id != context.key_parms_id() || key.data.len() != 2 * len {
            return Err(mismatch);
        }
        let (first, second) = key.data.split_at(len);
        Self::new(context, first).zip(Self::new(context, second)).map(|(a, b)| [a, b]).ok_or(mismatch)
    }

    /// `None` unless there are N reduced residues for each prime.
    fn new(context: &Context, residues: &[u64]) -> Option<Self> {
        let degree = context.degree();
        let mut rows = residues.chunks_exact(degree).zip(context.tables());
        let reduced = rows.all(|(row, table)| row.iter().all(|&r| r < table.modulus().value()));
        if residues.len() != context.key_primes() * degree || !reduced {
            return None;
        }
        Some(Self(Residues::from_slice(residues)))
    }

    /// x times the operand modulo prime number j, in NTT form.
    pub fn multiply(&self, context: &Context, j: usize, x: &mut [u64]) {
        let degree = context.degree();
        context.tables()[j].kernels().mul_assign(x, &self.0[j * degree..(j + 1) * degree]);
    }
}

impl Drop for Operand {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
