//! Going down the modulus chain: modulus switching (BFV scales, CKKS drops) and CKKS's rescaling.

use std::sync::Arc;

use super::Evaluator;
use crate::error::{Error, Result};
use crate::ring::{NttTable, Residues};
use crate::scheme::{Ciphertext, Context, Form, Scheme};

/// Division by one prime d with rounding, of residues modulo d and other primes:
/// round(x / d) = (x - r) / d with r = ((x + floor(d/2)) mod d) - floor(d/2).
#[derive(Debug)]
pub(super) struct DivideByPrime {
    divisor: Arc<NttTable>,
    /// for each remaining prime: -1/d and -floor(d/2)
    factors: Vec<DivisionFactor>,
}

#[derive(Debug)]
struct DivisionFactor {
    table: Arc<NttTable>,
    minus_inverse: u64,
    minus_half: u64,
}

impl DivideByPrime {
    /// Division of residues modulo the first `primes` primes by prime number `divisor`.
    pub(super) fn new(context: &Context, divisor: usize, primes: usize) -> Self {
        let d = context.modulus(divisor).value();
        let factors = context.tables()[..primes]
            .iter()
            .map(|table| {
                let q = table.modulus();
                DivisionFactor {
                    table: table.clone(),
                    minus_inverse: q.neg(q.pow(q.reduce(d), q.value() - 2)),
                    minus_half: q.neg(q.reduce(d / 2)),
                }
            })
            .collect();
        Self { divisor: context.tables()[divisor].clone(), factors }
    }

    /// x + floor(d/2) for the residues x modulo d, in coefficient form, in place.
    pub(super) fn round(&self, last: &mut [u64], form: Form) {
        if form == Form::Ntt {
            self.divisor.inverse(last);
        }
        self.divisor.kernels().add_scalar_assign(last, self.divisor.modulus().value() / 2);
    }

    /// out = (x - r) / d + addend modulo prime number j, in the form asked for, for a [rounded](Self::round) `last`.
    pub(super) fn divide(
        &self,
        j: usize,
        form: Form,
        out: &mut [u64],
        x: &[u64],
        last: &[u64],
        addend: Option<&[u64]>,
    ) {
        let DivisionFactor { table, minus_inverse, minus_half } = &self.factors[j];
        let kernels = table.kernels();
        // r is made where the result goes: (r - x) (-1/d)
        if form == Form::Coefficient {
            kernels.reduce(out, last);
            kernels.add_scalar_assign(out, *minus_half);
            kernels.sub_mul_scalar_assign(out, x, *minus_inverse);
            if let Some(addend) = addend {
                kernels.add_assign(out, addend);
            }
            return;
        }
        table.begin_forward(out, last, self.divisor.modulus(), *minus_half);
        let len = table.block_len();
        for (i, (out, x)) in out.chunks_exact_mut(len).zip(x.chunks_exact(len)).enumerate() {
            let addend = addend.map(|addend| &addend[i * len..(i + 1) * len]);
            table.finish_forward(i, out, [x, addend.unwrap_or_default()]);
            kernels.sub_mul_scalar_assign(out, x, *minus_inverse);
            if let Some(addend) = addend {
                kernels.add_assign(out, addend);
            }
        }
    }
}

impl Evaluator {
    /// Drops the last prime: BFV divides the ciphertext by it and rounds, CKKS keeps value and scale.
    ///
    /// # Errors
    /// [`Error::LevelExhausted`] at the last level, [`Error::ParametersMismatch`],
    /// [`Error::OperandMismatch`] for the wrong form, [`Error::ScaleOutOfRange`] where CKKS's scale does
    /// not fit the smaller modulus.
    pub fn mod_switch_to_next(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.mod_switch_to(a, a.primes().saturating_sub(1))
    }

    /// Drops primes until `primes` are left.
    ///
    /// # Errors
    /// As [`mod_switch_to_next`](Evaluator::mod_switch_to_next); [`Error::LevelExhausted`] where `primes`
    /// is more than the ciphertext has, or less than BFV's plaintext modulus needs.
    pub fn mod_switch_to(&self, a: &Ciphertext, primes: usize) -> Result<Ciphertext> {
        const OPERATION: &str = "modulus switching";
        self.check_descent(OPERATION, a, primes)?;
        match self.scheme() {
            Scheme::Bfv => {
                let mut switched = a.clone();
                while switched.primes() > primes {
                    switched = self.divide_by_last(&switched)?;
                }
                Ok(switched)
            }
            Scheme::Ckks => {
                if primes < a.primes() {
                    self.check_scale(OPERATION, a.scale(), primes)?;
                }
                let mut dropped = Ciphertext::zero(&self.context, a.size(), primes, a.form(), a.scale());
                let len = primes * self.context.degree();
                for i in 0..a.size() {
                    dropped.poly_mut(i).copy_from_slice(&a.poly(i)[..len]);
                }
                Ok(dropped)
            }
        }
    }

    /// CKKS: divides value and scale by the last prime and drops it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for BFV, [`Error::LevelExhausted`] at the last level,
    /// [`Error::ParametersMismatch`], [`Error::OperandMismatch`] in coefficient form.
    pub fn rescale_to_next(&self, a: &Ciphertext) -> Result<Ciphertext> {
        const OPERATION: &str = "rescaling";
        if self.scheme() != Scheme::Ckks {
            let reason = "BFV has no scale; use modulus switching".into();
            return Err(Error::Unsupported { operation: OPERATION, reason });
        }
        self.check_descent(OPERATION, a, a.primes().saturating_sub(1))?;
        self.divide_by_last(a)
    }

    fn check_descent(&self, operation: &'static str, a: &Ciphertext, primes: usize) -> Result<()> {
        self.check(operation, a)?;
        self.check_form(operation, a)?;
        if (self.last_primes..=a.primes()).contains(&primes) {
            return Ok(());
        }
        let available = a.primes().saturating_sub(self.last_primes);
        Err(Error::LevelExhausted { operation, needed: a.primes().abs_diff(primes).max(1), available })
    }

    fn divide_by_last(&self, a: &Ciphertext) -> Result<Ciphertext> {
        let left = a.primes() - 1;
        let Some(division) = &self.level(a.primes()).last else {
            return Err(Error::LevelExhausted { operation: "modulus switching", needed: 1, available: 0 });
        };
        let scale = match self.scheme() {
            Scheme::Bfv => a.scale(),
            Scheme::Ckks => a.scale() / self.context.modulus(left).value() as f64,
        };
        let mut quotient = Ciphertext::stale(&self.context, a.size(), left, a.form(), scale);
        for i in 0..a.size() {
            let mut last = Residues::from_slice(a.residues(i, left));
            division.round(&mut last, a.form());
            for j in 0..left {
                division.divide(j, a.form(), quotient.residues_mut(i, j), a.residues(i, j), &last, None);
            }
        }
        Ok(quotient)
    }
}
