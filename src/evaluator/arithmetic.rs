//! Addition, subtraction, negation, and changes of representation.

use super::Evaluator;
use crate::error::{Error, Result};
use crate::ring::{Kernels, NttTable};
use crate::scheme::{Ciphertext, Context, Form, Scheme};

impl Evaluator {
    /// a + b. Ciphertexts of different sizes add as polynomials in the secret key: the result has the
    /// larger size.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`], [`Error::OperandMismatch`] where levels, forms or scales differ.
    pub fn add(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        let (longer, shorter) = if a.size() >= b.size() { (a, b) } else { (b, a) };
        let mut sum = longer.clone();
        sum.set_scale(a.scale());
        self.add_assign(&mut sum, shorter)?;
        Ok(sum)
    }

    /// a += b for a ciphertext b of at most a's size.
    ///
    /// # Errors
    /// As [`add`](Evaluator::add); also [`Error::OperandMismatch`] where b is larger.
    pub fn add_assign(&self, a: &mut Ciphertext, b: &Ciphertext) -> Result<()> {
        self.check_summands("add", a, b)?;
        if b.size() > a.size() {
            return Err(Error::OperandMismatch {
                operation: "add",
                what: "sizes",
                left: a.size().to_string(),
                right: b.size().to_string(),
                remedy: "add in place to the ciphertext of the larger size",
            });
        }
        self.for_each_row(a, b, Kernels::add_assign);
        Ok(())
    }

    /// a - b; sizes as for [`add`](Evaluator::add).
    ///
    /// # Errors
    /// As [`add`](Evaluator::add).
    pub fn sub(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        self.check_summands("subtract", a, b)?;
        if a.size() >= b.size() {
            let mut difference = a.clone();
            self.for_each_row(&mut difference, b, Kernels::sub_assign);
            return Ok(difference);
        }
        let mut difference = self.negate(b)?;
        difference.set_scale(a.scale());
        self.for_each_row(&mut difference, a, Kernels::add_assign);
        Ok(difference)
    }

    /// -a.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`].
    pub fn negate(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.check("negate", a)?;
        let mut negative = a.clone();
        for_each_row_mut(&self.context, &mut negative, |table, x| table.kernels().negate_assign(x));
        Ok(negative)
    }

    /// The same ciphertext by its values at the roots of unity.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`], [`Error::OperandMismatch`] where it is in NTT form already.
    pub fn to_ntt(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.transform("transform to NTT form", a, Form::Ntt)
    }

    /// The same ciphertext by its coefficients.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`], [`Error::OperandMismatch`] where it is in coefficient form already.
    pub fn to_coefficients(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.transform("transform to coefficient form", a, Form::Coefficient)
    }

    fn transform(&self, operation: &'static str, a: &Ciphertext, form: Form) -> Result<Ciphertext> {
        self.check(operation, a)?;
        if a.form() == form {
            return Err(Error::OperandMismatch {
                operation,
                what: "representations",
                left: format!("{:?}", a.form()),
                right: "the other one".into(),
                remedy: "the ciphertext is in that form already: leave the call out",
            });
        }
        Ok(transformed(&self.context, a, form))
    }

    fn check_summands(&self, operation: &'static str, a: &Ciphertext, b: &Ciphertext) -> Result<()> {
        self.check_pair(operation, a, b)?;
        if self.scheme() == Scheme::Ckks {
            self.check_scales(operation, a.scale(), b.scale())?;
        }
        Ok(())
    }

    /// Calls `f` with the kernels of a prime and the residues of a and b modulo it, for each polynomial of b.
    fn for_each_row(&self, a: &mut Ciphertext, b: &Ciphertext, f: impl Fn(&Kernels, &mut [u64], &[u64])) {
        for i in 0..b.size() {
            for j in 0..b.primes() {
                f(self.context.tables()[j].kernels(), a.residues_mut(i, j), b.residues(i, j));
            }
        }
    }
}

/// A copy of a ciphertext of this context in the form that it is not in.
pub(super) fn transformed(context: &Context, a: &Ciphertext, form: Form) -> Ciphertext {
    let mut transformed = a.clone();
    transformed.set_form(form);
    for_each_row_mut(context, &mut transformed, |table, x| match form {
        Form::Ntt => table.forward(x),
        Form::Coefficient => table.inverse(x),
    });
    transformed
}

/// Calls `f` with a table and the residues of a modulo its prime, for each polynomial.
fn for_each_row_mut(context: &Context, a: &mut Ciphertext, f: impl Fn(&NttTable, &mut [u64])) {
    for i in 0..a.size() {
        for j in 0..a.primes() {
            f(&context.tables()[j], a.residues_mut(i, j));
        }
    }
}
