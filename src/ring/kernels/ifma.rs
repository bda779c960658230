//! Pointwise kernels with AVX-512 IFMA, for moduli of 12 to 50 bits.

use std::arch::x86_64::*;

use super::vector::{STRETCH, vector_kernels};
use crate::ring::backend::ifma::{Accumulator, Arithmetic, Modulus52, load, store};
use crate::ring::rows::Word;

/// How many digits, each with two key rows, an inner product of rows of a length reads side by side: blocks are in the
/// cache already, whole rows come from memory.
fn most_rows(len: usize) -> usize {
    if len <= 2 * STRETCH { 8 } else { 3 }
}

vector_kernels!("avx512f,avx512ifma", Modulus52, __m512i, 8);

/// The inner products of the 16 residues from index `at` on, added to what `out0` and `out1` hold where they `resume`:
/// two vectors, so that the multiply-adds
/// form eight independent chains.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn inner_product_pair<D: Word, K: Word>(
    q: &Modulus52,
    [out0, out1]: [&mut [u64; 16]; 2],
    digits: &[&[D]],
    keys: &[[&[K]; 2]],
    at: usize,
    resume: bool,
) {
    let (m, group) = (Arithmetic::new(q), q.lazy_products());
    let zero = _mm512_setzero_si512();
    let (mut a0, mut b0, mut a1, mut b1) = (zero, zero, zero, zero);
    if resume {
        ((a0, b0), (a1, b1)) = (load_pair(out0, 0), load_pair(out1, 0));
    }
    for (digits, keys) in digits.chunks(group).zip(keys.chunks(group)) {
        let (mut wide_a0, mut wide_b0) = (Accumulator::new(a0), Accumulator::new(b0));
        let (mut wide_a1, mut wide_b1) = (Accumulator::new(a1), Accumulator::new(b1));
        for (d, [k0, k1]) in digits.iter().zip(keys) {
            let (da, db) = load_pair(d, at);
            let (k0a, k0b) = load_pair(k0, at);
            let (k1a, k1b) = load_pair(k1, at);
            wide_a0.add_product(da, k0a);
            wide_b0.add_product(db, k0b);
            wide_a1.add_product(da, k1a);
            wide_b1.add_product(db, k1b);
        }
        (a0, b0) = (wide_a0.reduce(&m), wide_b0.reduce(&m));
        (a1, b1) = (wide_a1.reduce(&m), wide_b1.reduce(&m));
    }
    store_pair(out0, a0, b0);
    store_pair(out1, a1, b1);
}
