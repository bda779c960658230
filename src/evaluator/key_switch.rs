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

        // Each row is a buffer of its own: rows one at the end of the other would share their places in the caches.
        let rows = target.chunks_exact(degree).zip(self.context.tables());
        let coefficients: Vec<Residues> = rows
            .map(|(row, table)| {
                let mut row = Residues::from_slice(row);
                if form == Form::Ntt {
                    table.inverse(&mut row);
                }
                row
            })
            .collect();
        let mut digits: Vec<Residues> = (0..primes).map(|_| Residues::stale(degree)).collect();
        let mut inner_products = |i: usize, [out0, out1]: [&mut [u64]; 2]| {
            let table = &self.context.tables()[if i == primes { key_primes - 1 } else { i }];
            // Modulo its own prime, and transformed already, a digit is the target's row.
            let own = (form == Form::Ntt && i < primes).then_some(i);
            for (j, (digit, row)) in digits.iter_mut().zip(&coefficients).enumerate() {
                if Some(j) != own {
                    table.begin_forward(digit, row, self.context.modulus(j), 0);
                }
            }
            // A block of all digits stays in the cache; the key's rows, which do not, are fetched while it is transformed.
            let len = table.block_len();
            for (block, (out0, out1)) in out0.chunks_exact_mut(len).zip(out1.chunks_exact_mut(len)).enumerate() {
                let place = block * len..(block + 1) * len;
                let key_rows = |j| [0, 1].map(|part| &key.row(j, part, i, primes, degree)[place.clone()]);
                let keys: Vec<[&[u64]; 2]> = (0..primes).map(key_rows).collect();
                let finished = digits.iter_mut().zip(&keys).enumerate().map(|(j, (digit, &keys))| {
                    if Some(j) == own {
                        return &target[j * degree..(j + 1) * degree][place.clone()];
                    }
                    let digit = &mut digit[place.clone()];
                    table.finish_forward(block, digit, keys);
                    digit
                });
                let digits: Vec<&[u64]> = finished.collect();
                table.kernels().inner_products([out0, out1], &digits, &keys);
            }
        };

        // The special prime first: so the other products are divided by it while they are in the cache.
        let mut last = [Residues::stale(degree), Residues::stale(degree)];
        inner_products(primes, last.each_mut().map(|x| &mut x[..]));
        last.iter_mut().for_each(|last| division.round(last, Form::Ntt));
        let mut switched = Ciphertext::stale(&self.context, 2, primes, form, scale);
        let mut products = [Residues::stale(degree), Residues::stale(degree)];
        for (j, table) in self.context.tables()[..primes].iter().enumerate() {
            inner_products(j, products.each_mut().map(|x| &mut x[..]));
            for (part, ((x, addend), last)) in products.iter_mut().zip(addends).zip(&last).enumerate() {
                if form == Form::Coefficient {
                    table.inverse(x);
                }
                let addend = addend.map(|addend| &addend[j * degree..(j + 1) * degree]);
                division.divide(j, form, switched.residues_mut(part, j), x, last, addend);
            }
        }
        Ok(switched)
    }
}
