//! Division by the key-switching prime and the last data prime at once: the end of a product, with its rescaling.

use std::sync::Arc;

use crate::ring::{Modulus, NttTable, Residues};
use crate::scheme::Context;

/// Division of residues modulo the first `l` primes and the key-switching prime P by P and prime number l, rounded:
/// (x - r) / (P q) with r = ((x + h) mod P q) - h and h = floor(P q / 2).
#[derive(Debug)]
pub(in crate::evaluator) struct DivideByPair {
    special: Arc<NttTable>,
    last: Arc<NttTable>,
    /// h modulo P and modulo q
    half: [u64; 2],
    /// 1 / P modulo q
    special_inverse: u64,
    /// for each remaining prime
    factors: Vec<Factor>,
}

#[derive(Debug)]
struct Factor {
    table: Arc<NttTable>,
    /// P
    special: u64,
    /// -h
    minus_half: u64,
    /// -1 / (P q)
    minus_inverse: u64,
}

impl DivideByPair {
    /// For ciphertexts with `primes` primes, at least two.
    pub(in crate::evaluator) fn new(context: &Context, primes: usize) -> Self {
        let special = context.tables()[context.key_primes() - 1].clone();
        let last = context.tables()[primes - 1].clone();
        let (p, q) = (special.modulus(), last.modulus());
        let half = u128::from(p.value()) * u128::from(q.value()) / 2;
        let inverse = |x: Modulus, modulus: Modulus| modulus.pow(modulus.reduce(x.value()), modulus.value() - 2);
        let factors = context.tables()[..primes - 1].iter().map(|table| {
            let modulus = table.modulus();
            Factor {
                table: table.clone(),
                special: modulus.reduce(p.value()),
                minus_half: modulus.neg(modulus.reduce_wide(half)),
                minus_inverse: modulus.neg(modulus.mul(inverse(p, modulus), inverse(q, modulus))),
            }
        });
        Self {
            half: [p.reduce_wide(half), q.reduce_wide(half)],
            special_inverse: inverse(p, q),
            factors: factors.collect(),
            special,
            last,
        }
    }

    /// Prepares the remainder of one polynomial from its rows modulo P and q, in NTT form: x + h modulo P q as
    /// `by_special + P by_last`.
    pub(super) fn remainder(&self, by_special: &mut [u64], by_last: &mut [u64]) {
        self.special.inverse(by_special);
        self.special.kernels().add_scalar_assign(by_special, self.half[0]);
        self.last.inverse(by_last);
        let kernels = self.last.kernels();
        kernels.add_scalar_assign(by_last, self.half[1]);
        let mut reduced = Residues::stale(by_special.len());
        kernels.reduce(&mut reduced, by_special);
        kernels.sub_mul_scalar_assign(by_last, &reduced, self.special_inverse);
    }

    /// out = (x - r) / (P q) modulo prime number j, in NTT form, for a prepared remainder.
    pub(super) fn divide(&self, j: usize, out: &mut [u64], x: &[u64], by_special: &[u64], by_last: &[u64]) {
        let factor = &self.factors[j];
        let kernels = factor.table.kernels();
        let mut remainder = Residues::stale(out.len());
        let mut digit = Residues::stale(out.len());
        kernels.reduce(&mut remainder, by_special);
        kernels.reduce(&mut digit, by_last);
        kernels.mul_scalar_add(&mut remainder, &digit, factor.special);
        // The remainder r is made where the result goes: (r - x) (-1 / (P q)).
        let len = factor.table.block_len();
        factor.table.begin_forward(out, &remainder, kernels.modulus(), factor.minus_half);
        for (i, (out, x)) in out.chunks_exact_mut(len).zip(x.chunks_exact(len)).enumerate() {
            factor.table.finish_forward(i, out, [x, &[]]);
            kernels.sub_mul_scalar_assign(out, x, factor.minus_inverse);
        }
    }
}
