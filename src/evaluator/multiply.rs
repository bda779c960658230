//! Products of ciphertexts. CKKS multiplies values in NTT form; BFV goes through the [extended
//! base](super::extended).

use super::{Evaluator, tensor};
use crate::error::{Error, Result};
use crate::scheme::{Ciphertext, Form, Scheme};

impl Evaluator {
    /// a^2, of size 2 size_a - 1. CKKS's scale is squared.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`], [`Error::OperandMismatch`] for the wrong form,
    /// [`Error::Unsupported`] where the result would have more than 16 polynomials,
    /// [`Error::ScaleOutOfRange`] where the scale outgrows the modulus.
    pub fn square(&self, a: &Ciphertext) -> Result<Ciphertext> {
        const OPERATION: &str = "squaring";
        self.check(OPERATION, a)?;
        self.check_form(OPERATION, a)?;
        if self.scheme() == Scheme::Bfv {
            return self.scale_down(self.tensor_square(&self.lift(a)?)?, Form::Coefficient);
        }
        let mut square = self.ckks_product(OPERATION, a, a)?;
        tensor::square(&self.context.tables()[..a.primes()], square.data_mut(), a.data());
        Ok(square)
    }

    /// a b, of size size_a + size_b - 1. CKKS's scales are multiplied.
    ///
    /// # Errors
    /// As [`square`](Evaluator::square); also [`Error::OperandMismatch`] where levels or forms differ.
    pub fn multiply(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        const OPERATION: &str = "multiplication";
        self.check_pair(OPERATION, a, b)?;
        self.check_form(OPERATION, a)?;
        if self.scheme() == Scheme::Bfv {
            return self.scale_down(self.tensor_product(&self.lift(a)?, &self.lift(b)?)?, Form::Coefficient);
        }
        let mut product = self.ckks_product(OPERATION, a, b)?;
        tensor::multiply(&self.context.tables()[..a.primes()], product.data_mut(), a.data(), b.data());
        Ok(product)
    }

    /// Zeros of the size and scale of a b.
    fn ckks_product(&self, operation: &'static str, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        let size = product_size(operation, a.size(), b.size())?;
        let scale = a.scale() * b.scale();
        self.check_scale(operation, scale, a.primes())?;
        Ok(Ciphertext::zero(&self.context, size, a.primes(), Form::Ntt, scale))
    }
}

/// size_a + size_b - 1, within the sizes that ciphertexts may have.
pub(super) fn product_size(operation: &'static str, a: usize, b: usize) -> Result<usize> {
    let size = a + b - 1;
    if Ciphertext::SIZES.contains(&size) {
        return Ok(size);
    }
    let reason = format!(
        "the product of sizes {a} and {b} would have {size} polynomials, more than {}; relinearize first",
        Ciphertext::SIZES.end()
    );
    Err(Error::Unsupported { operation, reason })
}
