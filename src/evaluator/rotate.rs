//! Automorphisms X -> X^g: they permute the slots of a ciphertext.
//!
//! The slots of BFV form a matrix of 2 rows and N/2 columns; CKKS has a vector of N/2. Rotations by k to
//! the left use g = 3^k mod 2N; g = 2N - 1 swaps BFV's rows and conjugates CKKS's slots.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::Evaluator;
use crate::error::{Error, Result};
use crate::ring::automorphism::{conjugation_element, rotation_element};
use crate::ring::{Automorphism, Residues, primes};
use crate::scheme::{Ciphertext, EvaluationKeys, Form, Scheme};

/// Automorphisms that were used, by Galois element: each has tables of N entries.
#[derive(Debug, Default)]
pub(super) struct Automorphisms(RwLock<BTreeMap<u32, Arc<Automorphism>>>);

impl Automorphisms {
    fn get(&self, degree: usize, element: u32) -> Result<Arc<Automorphism>> {
        if let Some(found) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&element) {
            return Ok(found.clone());
        }
        let automorphism = Arc::new(Automorphism::new(degree, element.into())?);
        Ok(self.0.write().unwrap_or_else(PoisonError::into_inner).entry(element).or_insert(automorphism).clone())
    }
}

/// The signed powers of two of the non-adjacent form of `steps`, smallest first.
fn non_adjacent_form(steps: i32) -> Vec<i32> {
    let mut terms = Vec::new();
    let (mut left, mut power) = (i64::from(steps), 1i64);
    while left != 0 {
        if left & 1 != 0 {
            let digit = 2 - left.rem_euclid(4);
            terms.push((digit * power) as i32);
            left -= digit;
        }
        left /= 2;
        power *= 2;
    }
    terms
}

impl Evaluator {
    /// BFV: rotates both rows of slots by `steps`, positive to the left. Without a key for the step
    /// itself, it is composed of powers of two as SEAL does.
    ///
    /// # Errors
    /// [`Error::MissingKey`]; [`Error::InvalidArgument`] where |steps| is not below N/2;
    /// [`Error::Unsupported`] for CKKS, for a plaintext modulus without slots, for a size above 2, or
    /// without a key-switching prime; [`Error::ParametersMismatch`]; [`Error::OperandMismatch`] for the
    /// wrong form.
    pub fn rotate_rows(&self, a: &Ciphertext, steps: i32, keys: &EvaluationKeys) -> Result<Ciphertext> {
        const OPERATION: &str = "row rotation";
        self.check_slots(OPERATION, Scheme::Bfv)?;
        self.rotate_steps(OPERATION, a, steps, keys)
    }

    /// BFV: swaps the two rows of slots.
    ///
    /// # Errors
    /// As [`rotate_rows`](Evaluator::rotate_rows).
    pub fn rotate_columns(&self, a: &Ciphertext, keys: &EvaluationKeys) -> Result<Ciphertext> {
        const OPERATION: &str = "column rotation";
        self.check_slots(OPERATION, Scheme::Bfv)?;
        self.apply_galois(OPERATION, a, conjugation_element(self.context.degree()) as u32, keys)
    }

    /// CKKS: rotates the slots by `steps`, positive to the left; keys as for
    /// [`rotate_rows`](Evaluator::rotate_rows).
    ///
    /// # Errors
    /// As [`rotate_rows`](Evaluator::rotate_rows), with [`Error::Unsupported`] for BFV.
    pub fn rotate_vector(&self, a: &Ciphertext, steps: i32, keys: &EvaluationKeys) -> Result<Ciphertext> {
        const OPERATION: &str = "vector rotation";
        self.check_slots(OPERATION, Scheme::Ckks)?;
        self.rotate_steps(OPERATION, a, steps, keys)
    }

    /// CKKS: the complex conjugate of every slot.
    ///
    /// # Errors
    /// As [`rotate_vector`](Evaluator::rotate_vector).
    pub fn conjugate(&self, a: &Ciphertext, keys: &EvaluationKeys) -> Result<Ciphertext> {
        const OPERATION: &str = "conjugation";
        self.check_slots(OPERATION, Scheme::Ckks)?;
        self.apply_galois(OPERATION, a, conjugation_element(self.context.degree()) as u32, keys)
    }

    fn check_slots(&self, operation: &'static str, scheme: Scheme) -> Result<()> {
        if self.scheme() != scheme {
            let reason = format!("it is an operation of {scheme:?}");
            return Err(Error::Unsupported { operation, reason });
        }
        let t = self.context.parameters().plain_modulus();
        let order = 2 * self.context.degree() as u64;
        if scheme == Scheme::Bfv && !(t % order == 1 && primes::is_prime(t)) {
            let reason =
                format!("the plaintext modulus {t} gives no slots; choose a prime congruent to 1 modulo {order}");
            return Err(Error::Unsupported { operation, reason });
        }
        Ok(())
    }

    fn rotate_steps(
        &self,
        operation: &'static str,
        a: &Ciphertext,
        steps: i32,
        keys: &EvaluationKeys,
    ) -> Result<Ciphertext> {
        let degree = self.context.degree();
        if steps.unsigned_abs() as usize >= degree / 2 {
            let reason = format!("{steps} is not between -{0} and {0}", degree / 2 - 1);
            return Err(Error::InvalidArgument { name: "steps", reason });
        }
        if steps == 0 {
            self.check(operation, a)?;
            return Ok(a.clone());
        }
        let element = rotation_element(degree, steps.into()) as u32;
        let terms = non_adjacent_form(steps);
        if keys.galois.contains_key(&element) || terms.len() == 1 {
            return self.apply_galois(operation, a, element, keys);
        }
        let mut rotated = a.clone();
        for term in terms {
            // A rotation by all N/2 slots is none.
            if term.unsigned_abs() as usize != degree / 2 {
                rotated = self.rotate_steps(operation, &rotated, term, keys)?;
            }
        }
        Ok(rotated)
    }

    fn apply_galois(
        &self,
        operation: &'static str,
        a: &Ciphertext,
        element: u32,
        keys: &EvaluationKeys,
    ) -> Result<Ciphertext> {
        self.check(operation, a)?;
        self.check_form(operation, a)?;
        if a.size() != 2 {
            let reason = format!("the ciphertext has size {}; relinearize it first", a.size());
            return Err(Error::Unsupported { operation, reason });
        }
        self.check_keys(operation, keys)?;
        let key = keys.galois.get(&element).ok_or_else(|| Error::MissingKey {
            operation,
            key: format!("the Galois key of element {element}"),
            remedy: "generate Galois keys for the rotations that are used",
        })?;
        let automorphism = self.automorphisms.get(self.context.degree(), element)?;
        let [image0, image1] = [0, 1].map(|part| self.image(a, part, &automorphism));
        self.switch_key(operation, [Some(&image0), None], &image1, key, a.scale())
    }

    /// Polynomial `part` of a at X^g.
    fn image(&self, a: &Ciphertext, part: usize, automorphism: &Automorphism) -> Residues {
        let degree = self.context.degree();
        let mut image = Residues::stale(a.primes() * degree);
        for (j, out) in image.chunks_exact_mut(degree).enumerate() {
            match a.form() {
                Form::Ntt => automorphism.apply_ntt(out, a.residues(part, j)),
                Form::Coefficient => automorphism.apply_coefficients(self.context.modulus(j), out, a.residues(part, j)),
            }
        }
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn non_adjacent_forms_sum_to_the_steps_without_neighbours() {
        for steps in -300..300 {
            let terms = non_adjacent_form(steps);
            assert_eq!(terms.iter().sum::<i32>(), steps);
            assert!(terms.windows(2).all(|w| w[1].unsigned_abs() > 2 * w[0].unsigned_abs()));
        }
    }
}
