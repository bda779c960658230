//! A ciphertext with a plaintext: sums, differences, products.
//!
//! A BFV plaintext coefficient c from (t + 1) / 2 up stands for the negative number c - t, and that is
//! what a ciphertext is multiplied by: the noise grows with |c - t|, not with c. SEAL does the same
//! except for a plaintext with a single non-zero coefficient and t below every prime, where it
//! multiplies by c itself and loses about log2 t bits of noise budget.

use super::Evaluator;
use crate::error::{Error, Result};
use crate::ring::{Kernels, Residues};
use crate::scheme::{Ciphertext, Form, Plaintext};

impl Evaluator {
    /// a + p.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`], [`Error::OperandMismatch`] where levels, forms or scales differ.
    pub fn add_plain(&self, a: &Ciphertext, p: &Plaintext) -> Result<Ciphertext> {
        let mut sum = a.clone();
        self.combine_plain("add a plaintext", &mut sum, p, Kernels::add_assign)?;
        Ok(sum)
    }

    /// a - p.
    ///
    /// # Errors
    /// As [`add_plain`](Evaluator::add_plain).
    pub fn sub_plain(&self, a: &Ciphertext, p: &Plaintext) -> Result<Ciphertext> {
        let mut difference = a.clone();
        self.combine_plain("subtract a plaintext", &mut difference, p, Kernels::sub_assign)?;
        Ok(difference)
    }

    fn combine_plain(
        &self,
        operation: &'static str,
        a: &mut Ciphertext,
        p: &Plaintext,
        row: impl Fn(&Kernels, &mut [u64], &[u64]),
    ) -> Result<()> {
        self.check_plain(operation, a, p)?;
        self.check_form(operation, a)?;
        let scaled;
        let addend: &[u64] = match (p, &self.level(a.primes()).scaling) {
            (Plaintext::Ckks { scale, data, .. }, _) => {
                self.check_scales(operation, a.scale(), *scale)?;
                data
            }
            (Plaintext::Bfv(coefficients), Some(scaling)) => {
                let mut polynomial = Residues::zeros(a.primes() * self.context.degree());
                scaling.add(coefficients, &mut polynomial);
                scaled = polynomial;
                &scaled
            }
            (Plaintext::Bfv(_), None) => return Err(Error::ParametersMismatch { operation, object: "plaintext" }),
        };
        for (j, y) in addend.chunks_exact(self.context.degree()).enumerate() {
            row(self.context.tables()[j].kernels(), a.residues_mut(0, j), y);
        }
        Ok(())
    }

    /// a p, in the form of a. Multiplying by zero gives zeros: a valid, transparent ciphertext.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`], [`Error::OperandMismatch`] where the levels differ,
    /// [`Error::ScaleOutOfRange`] where CKKS's scale outgrows the modulus.
    pub fn multiply_plain(&self, a: &Ciphertext, p: &Plaintext) -> Result<Ciphertext> {
        const OPERATION: &str = "multiply by a plaintext";
        self.check_plain(OPERATION, a, p)?;
        let mut product = a.clone();
        if let Plaintext::Ckks { scale, .. } = p {
            self.check_form(OPERATION, a)?;
            product.set_scale(a.scale() * scale);
            self.check_scale(OPERATION, product.scale(), a.primes())?;
        }
        let factor = self.plain_to_ntt(p, a.primes())?;
        let degree = self.context.degree();
        for i in 0..a.size() {
            for (j, y) in factor.chunks_exact(degree).enumerate() {
                let table = &self.context.tables()[j];
                let x = product.residues_mut(i, j);
                if a.form() == Form::Coefficient {
                    table.forward(x);
                }
                table.kernels().mul_assign(x, y);
                if a.form() == Form::Coefficient {
                    table.inverse(x);
                }
            }
        }
        Ok(product)
    }

    /// The residues `[primes][N]`, in NTT form, by which [`multiply_plain`](Evaluator::multiply_plain)
    /// multiplies at the level with `primes` primes: what to keep of a weight that is used often.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`]; [`Error::OperandMismatch`] for a CKKS plaintext of another level.
    pub fn plain_to_ntt(&self, p: &Plaintext, primes: usize) -> Result<Residues> {
        const OPERATION: &str = "transform a plaintext to NTT form";
        if !p.is_valid_for(&self.context) || !(1..=self.context.data_primes()).contains(&primes) {
            return Err(Error::ParametersMismatch { operation: OPERATION, object: "plaintext" });
        }
        match p {
            Plaintext::Ckks { primes: own, data, .. } => {
                check_levels(OPERATION, primes, *own)?;
                Ok(data.clone())
            }
            Plaintext::Bfv(coefficients) => {
                let degree = self.context.degree();
                let t = self.context.parameters().plain_modulus();
                let mut lifted = Residues::zeros(primes * degree);
                for (x, table) in lifted.chunks_exact_mut(degree).zip(self.context.tables()) {
                    let q = table.modulus();
                    for (x, &c) in x.iter_mut().zip(coefficients) {
                        *x = if c >= t.div_ceil(2) { q.neg(q.reduce(t - c)) } else { q.reduce(c) };
                    }
                    table.forward(x);
                }
                Ok(lifted)
            }
        }
    }

    fn check_plain(&self, operation: &'static str, a: &Ciphertext, p: &Plaintext) -> Result<()> {
        self.check(operation, a)?;
        if !p.is_valid_for(&self.context) {
            return Err(Error::ParametersMismatch { operation, object: "plaintext" });
        }
        match p {
            Plaintext::Ckks { primes, .. } => check_levels(operation, a.primes(), *primes),
            Plaintext::Bfv(_) => Ok(()),
        }
    }
}

fn check_levels(operation: &'static str, ciphertext: usize, plaintext: usize) -> Result<()> {
    if ciphertext == plaintext {
        return Ok(());
    }
    Err(Error::OperandMismatch {
        operation,
        what: "levels",
        left: format!("ciphertext: {ciphertext} primes"),
        right: format!("plaintext: {plaintext} primes"),
        remedy: "encode the plaintext at the ciphertext's level",
    })
}
