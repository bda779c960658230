//! Key switching: from a polynomial under another secret to a ciphertext under s, and relinearization.
//!
//! A polynomial c modulo q_1 ... q_l is taken as its l residues, each a digit with small coefficients;
//! the inner product with the key's l pairs, modulo q_1 ... q_l and the special prime, is divided by the
//! special prime and rounded. Special-prime variant of RNS decomposition, as in SEAL and in Han and Ki,
//! "Better bootstrapping for approximate homomorphic encryption" (ePrint 2019/688), section 3.

use super::Evaluator;
use crate::error::{Error, Result};
use crate::ring::Residues;
use crate::scheme::{Ciphertext, EvaluationKeys, Form, KeySwitchKey};

impl Evaluator {
    /// A ciphertext of size 3 brought back to size 2. One of size 2 is returned as it is.
    ///
    /// # Errors
    /// [`Error::MissingKey`] without a relinearization key, [`Error::Unsupported`] for a larger size or
    /// a context without a key-switching prime, [`Error::ParametersMismatch`],
    /// [`Error::OperandMismatch`] for the wrong form.
    pub fn relinearize(&self, a: &Ciphertext, keys: &EvaluationKeys) -> Result<Ciphertext> {
        const OPERATION: &str = "relinearization";
        self.check(OPERATION, a)?;
        self.check_form(OPERATION, a)?;
        match a.size() {
            2 => return Ok(a.clone()),
            3 => {}
            size => {
                return Err(Error::Unsupported {
                    operation: OPERATION,
                    reason: format!(
                        "a ciphertext of size {size} needs keys for higher powers of the secret; relinearize after every product"
                    ),
                });
            }
        }
        self.check_keys(OPERATION, keys)?;
        let key = keys.relinearization.as_ref().ok_or_else(|| Error::MissingKey {
            operation: OPERATION,
            key: "the relinearization key".into(),
            remedy: "generate it with the other evaluation keys and hand it to the evaluator",
        })?;
        self.switch_key(OPERATION, [a.poly(0), a.poly(1)].map(Some), a.poly(2), key, a.scale())
    }

    /// Whether keys can be switched at all, and whether these keys belong to this context.
    pub(super) fn check_keys(&self, operation: &'static str, keys: &EvaluationKeys) -> Result<()> {
        if self.special.is_none() {
            let reason = "the parameters set no prime aside for key switching; make them with one".into();
            return Err(Error::Unsupported { operation, reason });
        }
        if keys.parms_id != self.context.key_parms_id() {
            return Err(Error::ParametersMismatch { operation, object: "evaluation key" });
        }
        Ok(())
    }

    /// A ciphertext of size 2 that decrypts to `addends` plus `target` times the secret that `key` is
    /// for. All polynomials are `[primes][N]`, in the scheme's form.
    pub(super) fn switch_key(
        &self,
        operation: &'static str,
        addends: [Option<&[u64]>; 2],
        target: &[u64],
        key: &KeySwitchKey,
        scale: f64,
    ) -> Result<Ciphertext> {
        let form = self.working_form();
        let degree = self.context.degree();
        let primes = target.len() / degree;
        let key_primes = self.context.key_primes();
        let Some(division) = &self.special else {
            return Err(Error::ParametersMismatch { operation, object: "evaluation key" });
        };
        if !key.is_sound(&self.context) {
            return Err(Error::ParametersMismatch { operation, object: "evaluation key" });
        }
        if key.primes < primes {
            return Err(Error::MissingKey {
                operation,
                key: format!("a key for {primes} primes (this one serves {})", key.primes),
                remedy: "generate the key for this level, or switch the ciphertext down to the key's",
            });
        }

        let mut coefficients = Residues::from_slice(target);
        if form == Form::Ntt {
            for (x, table) in coefficients.chunks_exact_mut(degree).zip(self.context.tables()) {
                table.inverse(x);
            }
        }
        // One modulus at a time, so that the digits stay in the cache.
        let mut products = [Residues::stale((primes + 1) * degree), Residues::stale((primes + 1) * degree)];
        let [first, second] = &mut products;
        let mut digits = Residues::stale(primes * degree);
        for (i, (out0, out1)) in first.chunks_exact_mut(degree).zip(second.chunks_exact_mut(degree)).enumerate() {
            let prime = if i == primes { key_primes - 1 } else { i };
            let table = &self.context.tables()[prime];
            // Modulo its own prime, and transformed already, a digit is the target's row.
            let own = (form == Form::Ntt && i < primes).then_some(i);
            let rows = digits.chunks_exact_mut(degree).zip(coefficients.chunks_exact(degree));
            for (_, (digit, coefficients)) in rows.enumerate().filter(|&(j, _)| Some(j) != own) {
                table.kernels().reduce(digit, coefficients);
                table.forward(digit);
            }
            let mut digits: Vec<&[u64]> = digits.chunks_exact(degree).collect();
            if let Some(j) = own {
                digits[j] = &target[j * degree..(j + 1) * degree];
            }
            let keys: Vec<[&[u64]; 2]> =
                (0..primes).map(|j| [0, 1].map(|part| key.row(j, part, i, primes, degree))).collect();
            table.kernels().inner_products([out0, out1], &digits, &keys);
        }

        let mut switched = Ciphertext::stale(&self.context, 2, primes, form, scale);
        let mut remainder = Residues::stale(degree);
        for (part, (product, addend)) in products.iter_mut().zip(addends).enumerate() {
            let (product, last) = product.split_at_mut(primes * degree);
            division.round(last, Form::Ntt);
            for (j, x) in product.chunks_exact_mut(degree).enumerate() {
                division.remainder(j, last, form, &mut remainder);
                if form == Form::Coefficient {
                    self.context.tables()[j].inverse(x);
                }
                let addend = addend.map(|addend| &addend[j * degree..(j + 1) * degree]);
                division.divide(j, switched.residues_mut(part, j), x, &remainder, addend);
            }
        }
        Ok(switched)
    }
}
