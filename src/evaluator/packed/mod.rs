//! What a packed CKKS program is made of: matrices by diagonals, sums of rotations, squares.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`keys`] | evaluation keys made ready for hoisting |
//! | [`linear`] | a matrix times the slots, rescaled |
//! | [`exact`] | matrices and squares on BFV ciphertexts |
//! | `extended` | digits, inner products and divisions in between |
//! | `division` | the division that ends a product and rescales it |
//!
//! Rotations are hoisted: the digits of a ciphertext are computed once for all rotations of it. Results decrypt to the same
//! as those of SEAL's operations one by one, with less noise, since fewer divisions round.

use rayon::prelude::*;

use super::Evaluator;
use crate::error::{Error, Result};
use crate::ring::Residues;
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Form, Scheme};
use extended::{Digits, Extended, pair};

pub(super) mod division;
pub mod exact;
mod extended;
pub mod keys;
pub mod linear;
#[cfg(test)]
mod tests;

pub use exact::{Descent, ExactTransform};
pub use keys::PackedKeys;
pub use linear::{Group, LinearTransform};

impl Evaluator {
    /// The sum of the rotations of `x` by `steps` (0: `x` itself): copies of values, or partial sums added up.
    ///
    /// # Errors
    /// [`Error::MissingKey`], [`Error::ParametersMismatch`], [`Error::OperandMismatch`], [`Error::Interrupted`].
    pub fn sum_rotations(
        &self,
        x: &Ciphertext,
        steps: &[usize],
        keys: &PackedKeys,
        cancellation: &Cancellation,
    ) -> Result<Ciphertext> {
        const OPERATION: &str = "sum of rotations";
        self.check_packed(OPERATION, x)?;
        let primes = x.primes();
        let Some(division) = &self.special else { return Err(no_key_switching(OPERATION)) };
        let rotations = steps.iter().filter(|&&step| step != 0);
        let rotations = rotations.map(|&step| keys.rotation(OPERATION, step, primes)).collect::<Result<Vec<_>>>()?;
        let still = steps.len() - rotations.len();
        let degree = self.context.degree();
        let digits = Digits::new(self, x.poly(1));
        let mut sum = Extended::stale(primes, degree);
        sum.par_rows().try_for_each(|(i, [out0, out1])| {
            cancellation.check()?;
            let table = self.extended_table(i, primes);
            let kernels = table.kernels();
            let digits = digits.modulo(i, table);
            out0.fill(0);
            out1.fill(0);
            for _ in 0..still {
                self.add_lifted(i, out0, x, 0);
                self.add_lifted(i, out1, x, 1);
            }
            let (mut scratch, mut image) = (Residues::stale(2 * degree), Residues::stale(degree));
            let [first, second] = pair(&mut scratch);
            for rotation in &rotations {
                self.inner_product(i, &digits, &rotation.key, [&mut *first, &mut *second]);
                self.add_lifted(i, first, x, 0);
                for (out, row) in [(&mut *out0, &*first), (&mut *out1, &*second)] {
                    rotation.automorphism.apply_ntt(&mut image, row);
                    kernels.add_assign(out, &image);
                }
            }
            Ok(())
        })?;
        Ok(self.divide_by_special(division, &sum, x.scale()))
    }

    /// The square of `x`, relinearized and rescaled.
    ///
    /// # Errors
    /// [`Error::MissingKey`], [`Error::LevelExhausted`], [`Error::ParametersMismatch`], [`Error::OperandMismatch`],
    /// [`Error::Interrupted`].
    pub fn square_rescaled(
        &self,
        x: &Ciphertext,
        keys: &PackedKeys,
        cancellation: &Cancellation,
    ) -> Result<Ciphertext> {
        const OPERATION: &str = "square";
        self.check_packed(OPERATION, x)?;
        if self.scheme() != Scheme::Ckks {
            let reason = "BFV has no scale; take exact_square".into();
            return Err(Error::Unsupported { operation: OPERATION, reason });
        }
        let primes = x.primes();
        let division = self.pair_division(OPERATION, primes)?;
        let key = keys.relinearization(OPERATION, primes)?;
        let degree = self.context.degree();
        let mut product = Ciphertext::stale(&self.context, 3, primes, Form::Ntt, x.scale() * x.scale());
        let (low, high) = product.data_mut().split_at_mut(2 * primes * degree);
        let (zeroth, first) = low.split_at_mut(primes * degree);
        let rows = zeroth.par_chunks_exact_mut(degree).zip(first.par_chunks_exact_mut(degree));
        rows.zip(high.par_chunks_exact_mut(degree)).enumerate().for_each(|(j, ((out0, out1), out2))| {
            self.context.tables()[j].kernels().square([out0, out1, out2], [x.residues(0, j), x.residues(1, j)]);
        });
        cancellation.check()?;
        let digits = Digits::new(self, product.poly(2));
        let mut sum = Extended::stale(primes, degree);
        sum.par_rows().for_each(|(i, [out0, out1])| {
            let digits = digits.modulo(i, self.extended_table(i, primes));
            self.inner_product(i, &digits, key, [&mut *out0, &mut *out1]);
            self.add_lifted(i, out0, &product, 0);
            self.add_lifted(i, out1, &product, 1);
        });
        let last = self.context.modulus(primes - 1).value() as f64;
        Ok(self.divide_by_pair(division, &sum, product.scale() / last))
    }

    /// A ciphertext of two polynomials in NTT form, with a prime for key switching.
    fn check_packed(&self, operation: &'static str, x: &Ciphertext) -> Result<()> {
        self.check(operation, x)?;
        if self.special.is_none() {
            return Err(no_key_switching(operation));
        }
        if x.form() != Form::Ntt {
            return Err(Error::OperandMismatch {
                operation,
                what: "representations",
                left: format!("{:?}", x.form()),
                right: format!("{:?}", Form::Ntt),
                remedy: "packed operations work on NTT form: transform the ciphertext first",
            });
        }
        if x.size() != 2 {
            let reason = format!("the ciphertext has size {}; relinearize it first", x.size());
            return Err(Error::Unsupported { operation, reason });
        }
        Ok(())
    }
}

fn no_key_switching(operation: &'static str) -> Error {
    let reason = "the parameters set no prime aside for key switching; make them with one".into();
    Error::Unsupported { operation, reason }
}
