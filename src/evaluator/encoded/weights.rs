//! Encoded weights as sums of monomials.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::scheme::Context;

/// A polynomial with few nonzero coefficients, small and signed: an encoded weight.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SparsePolynomial {
    /// (exponent below N, nonzero coefficient below 2^11 in magnitude)
    pub terms: Vec<(u32, i64)>,
}

impl SparsePolynomial {
    /// The largest magnitude of a coefficient, exclusive: its product with a residue below 2^50 stays below 2^61.
    pub const COEFFICIENT_BOUND: i64 = 1 << 11;

    /// The most terms of coefficient 1 or -1 that a weight may have: sums of so many residues below 2^50 stay within
    /// 2^61.
    pub const UNIT_TERMS: usize = 1 << 11;

    /// # Errors
    /// [`Error::InvalidArgument`] for exponents from N up, zero or too large coefficients.
    pub(super) fn check(&self, degree: usize) -> Result<()> {
        for &(exponent, coefficient) in &self.terms {
            if exponent as usize >= degree || coefficient == 0 || coefficient.abs() >= Self::COEFFICIENT_BOUND {
                return Err(Error::InvalidArgument {
                    name: "weights",
                    reason: format!(
                        "term {coefficient} X^{exponent}: exponents lie below {degree}, coefficients are nonzero and below {}",
                        Self::COEFFICIENT_BOUND
                    ),
                });
            }
        }
        Ok(())
    }
}

/// A weight as positions in the list of monomials that its map uses.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Terms {
    /// monomials with coefficient 1
    pub plus: Vec<u32>,
    /// monomials with coefficient -1
    pub minus: Vec<u32>,
    /// any other coefficient
    pub other: Vec<(u32, i64)>,
}

/// The distinct weights of a map.
#[derive(Debug)]
pub(super) struct Table {
    pub weights: Vec<Terms>,
    /// residues of the monomials that occur, `[monomial][prime][N]`, NTT form
    pub monomials: Vec<Vec<u64>>,
}

impl Table {
    /// # Errors
    /// [`Error::InvalidArgument`] for a weight that no kernel takes.
    pub fn new(context: &Context, weights: &[SparsePolynomial]) -> Result<Self> {
        weights.iter().try_for_each(|weight| weight.check(context.degree()))?;
        let mut positions = BTreeMap::new();
        for &(exponent, _) in weights.iter().flat_map(|p| &p.terms) {
            let next = positions.len() as u32;
            positions.entry(exponent).or_insert(next);
        }
        let mut monomials = vec![Vec::new(); positions.len()];
        for (&exponent, &position) in &positions {
            monomials[position as usize] = monomial(context, exponent as usize);
        }
        let weights = weights.iter().map(|weight| terms(weight, &positions)).collect::<Result<_>>()?;
        Ok(Self { weights, monomials })
    }
}

/// X^exponent in NTT form modulo every prime.
fn monomial(context: &Context, exponent: usize) -> Vec<u64> {
    let mut data = vec![0; context.degree() * context.key_primes()];
    for (residues, table) in data.chunks_exact_mut(context.degree()).zip(context.tables()) {
        residues[exponent] = 1;
        table.forward(residues);
    }
    data
}

fn terms(weight: &SparsePolynomial, positions: &BTreeMap<u32, u32>) -> Result<Terms> {
    let mut terms = Terms::default();
    for &(exponent, coefficient) in &weight.terms {
        let position = positions[&exponent];
        match coefficient {
            1 => terms.plus.push(position),
            -1 => terms.minus.push(position),
            other => terms.other.push((position, other)),
        }
    }
    let units = terms.plus.len() + terms.minus.len();
    if units > SparsePolynomial::UNIT_TERMS {
        return Err(Error::InvalidArgument {
            name: "weights",
            reason: format!(
                "a weight of {units} terms 1 and -1: at most {} fit; encode with fewer fraction digits",
                SparsePolynomial::UNIT_TERMS
            ),
        });
    }
    Ok(terms)
}
