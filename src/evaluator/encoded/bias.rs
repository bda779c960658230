//! Encoded biases, scaled and transformed once for each level that a map is used at.

use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::SparsePolynomial;
use crate::encryption::PlainScaling;
use crate::error::Result;
use crate::ring::Modulus;
use crate::scheme::Context;

/// The biases of a map.
#[derive(Debug)]
pub(super) struct Biases {
    context: Arc<Context>,
    /// plaintext coefficients of each distinct bias
    distinct: Vec<SparsePolynomial>,
    /// which of them each output has
    of_output: Vec<u32>,
    /// by number of primes less one: the scaled biases, `[prime][N]` in NTT form, nothing for zero
    levels: Vec<OnceLock<Vec<Vec<u64>>>>,
}

impl Biases {
    /// `of_output[o]` is a position in `distinct`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for terms beyond those of a weight.
    pub fn new(context: &Arc<Context>, distinct: Vec<SparsePolynomial>, of_output: Vec<u32>) -> Result<Self> {
        distinct.iter().try_for_each(|bias| bias.check(context.degree()))?;
        let levels = (0..context.key_primes()).map(|_| OnceLock::new()).collect();
        Ok(Self { context: context.clone(), distinct, of_output, levels })
    }

    /// The biases at the level of `primes` primes.
    pub fn at(&self, primes: usize) -> LevelBiases<'_> {
        let level = &self.levels[primes - 1];
        // Made before the lock is taken: a thread that waits for rayon's others may be handed work that comes here again.
        let scaled = level.get().unwrap_or_else(|| {
            let scaled = self.distinct.par_iter().map(|bias| scaled(&self.context, bias, primes)).collect();
            level.get_or_init(|| scaled)
        });
        LevelBiases { scaled, of_output: &self.of_output }
    }
}

/// The biases of a map at one level.
#[derive(Debug, Clone, Copy)]
pub(super) struct LevelBiases<'a> {
    scaled: &'a [Vec<u64>],
    of_output: &'a [u32],
}

impl LevelBiases<'_> {
    /// The residues of an output's bias, `[prime][N]`; empty for zero.
    pub fn of(&self, output: usize) -> &[u64] {
        &self.scaled[self.of_output[output] as usize]
    }
}

/// round(q m / t) for a sparse plaintext m, in NTT form modulo the first `primes` primes; nothing for zero.
fn scaled(context: &Context, plaintext: &SparsePolynomial, primes: usize) -> Vec<u64> {
    let (Ok(t), Some(scaling)) =
        (Modulus::new(context.parameters().plain_modulus()), PlainScaling::new(context, primes))
    else {
        return Vec::new();
    };
    if plaintext.terms.is_empty() {
        return Vec::new();
    }
    let degree = context.degree();
    let mut message = vec![0; degree];
    for &(exponent, coefficient) in &plaintext.terms {
        let slot = &mut message[exponent as usize];
        *slot = t.add(*slot, t.reduce_signed(coefficient));
    }
    let mut data = vec![0; degree * primes];
    scaling.add(&message, &mut data);
    for (residues, table) in data.chunks_exact_mut(degree).zip(context.tables()) {
        table.forward(residues);
    }
    data
}
