//! Pointwise kernels with AVX2 and FMA, for moduli below 2^50.

use std::arch::x86_64::*;

use super::vector::{STRETCH, vector_kernels};
use crate::ring::backend::avx2::{Arithmetic, Modulus50, load, store, to_double};
use crate::ring::rows::Word;

/// How many digits, each with two key rows, an inner product reads side by side.
fn most_rows(_: usize) -> usize {
    3
}

vector_kernels!("avx2,fma", Modulus50, __m256i, 4);

/// How many products in (-q, q) are added to a centred sum: it stays below 2^53.
const LAZY_PRODUCTS: usize = 7;

/// The inner products of the 8 residues from index `at` on, added to what `out0` and `out1` hold where they `resume`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn inner_product_pair<D: Word, K: Word>(
    q: &Modulus50,
    [out0, out1]: [&mut [u64; 8]; 2],
    digits: &[&[D]],
    keys: &[[&[K]; 2]],
    at: usize,
    resume: bool,
) {
    let m = Arithmetic::new(q);
    let zero = _mm256_setzero_pd();
    let (mut a0, mut b0, mut a1, mut b1) = (zero, zero, zero, zero);
    if resume {
        let centered = |(a, b)| (m.center(to_double(a)), m.center(to_double(b)));
        ((a0, b0), (a1, b1)) = (centered(load_pair(out0, 0)), centered(load_pair(out1, 0)));
    }
    let add_product = |sum, d, k| _mm256_add_pd(sum, m.mul_double(to_double(d), to_double(k)));
    for (digits, keys) in digits.chunks(LAZY_PRODUCTS).zip(keys.chunks(LAZY_PRODUCTS)) {
        for (d, [k0, k1]) in digits.iter().zip(keys) {
            let (da, db) = load_pair(d, at);
            let (k0a, k0b) = load_pair(k0, at);
            let (k1a, k1b) = load_pair(k1, at);
            a0 = add_product(a0, da, k0a);
            b0 = add_product(b0, db, k0b);
            a1 = add_product(a1, da, k1a);
            b1 = add_product(b1, db, k1b);
        }
        (a0, b0, a1, b1) = (m.center(a0), m.center(b0), m.center(a1), m.center(b1));
    }
    store_pair(out0, m.residue(a0), m.residue(b0));
    store_pair(out1, m.residue(a1), m.residue(b1));
}
