//! From values to coefficients; what lies between stays in `[0, 2q)`.

use std::arch::x86_64::*;

use super::{CACHED, Constants, Leaf, exchange_pairs, halves, quarters, splat, spread_four, spread_two};
use crate::ring::backend::ifma::{Arithmetic, load, store, subtract_once};

/// (x, y) to (x + y, w (x - y)).
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn inverse_butterfly(m: &Arithmetic, x: &mut __m512i, y: &mut __m512i, w: (__m512i, __m512i)) {
    let (sum, difference) = (_mm512_add_epi64(*x, *y), _mm512_sub_epi64(_mm512_add_epi64(*x, m.twice_q), *y));
    *x = subtract_once(sum, m.twice_q);
    *y = m.mul_constant_lazy(difference, w);
}

impl Constants {
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
    pub(in crate::ring::ntt) fn inverse(&self, x: &mut [u64]) {
        let m = Arithmetic::new(&self.modulus);
        // The last two levels divide by N too, so they are left to the end.
        let quarter = x.len() / 4;
        if quarter >= 16 {
            for (i, part) in x.chunks_exact_mut(quarter).enumerate() {
                self.inverse_node(&m, part, 4 + i);
            }
            self.inverse_last_two_levels(&m, x);
        } else {
            let half = x.len() / 2;
            for (i, part) in x.chunks_exact_mut(half).enumerate() {
                self.inverse_node(&m, part, 2 + i);
            }
            self.inverse_last_level(&m, x);
        }
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
    fn inverse_node(&self, m: &Arithmetic, x: &mut [u64], node: usize) {
        if x.len() > CACHED {
            let quarter = x.len() / 4;
            for (i, part) in x.chunks_exact_mut(quarter).enumerate() {
                self.inverse_node(m, part, 4 * node + i);
            }
            self.inverse_two_levels(m, x, node);
            return;
        }
        let first = (node * (x.len() / 16)) - self.inverse.leaves.len();
        let (blocks, _) = x.as_chunks_mut::<16>();
        for (block, leaf) in blocks.iter_mut().zip(&self.inverse.leaves[first..]) {
            inverse_leaf(m, block, leaf);
        }
        let mut size = 64;
        while size <= x.len() {
            let first = node * (x.len() / size);
            for (i, block) in x.chunks_exact_mut(size).enumerate() {
                self.inverse_two_levels(m, block, first + i);
            }
            size *= 4;
        }
        if x.len().trailing_zeros() % 2 == 1 {
            self.inverse_level(m, x, node);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
    fn inverse_level(&self, m: &Arithmetic, block: &mut [u64], node: usize) {
        let w = self.inverse.node(node);
        let (low, high) = halves(block);
        for (low, high) in low.iter_mut().zip(high) {
            let (mut a, mut b) = (load(low), load(high));
            inverse_butterfly(m, &mut a, &mut b, w);
            store(low, a);
            store(high, b);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
    fn inverse_two_levels(&self, m: &Arithmetic, block: &mut [u64], node: usize) {
        let (w, left, right) = (self.inverse.node(node), self.inverse.node(2 * node), self.inverse.node(2 * node + 1));
        for [p0, p1, p2, p3] in quarters(block) {
            let (mut a, mut b, mut c, mut d) = (load(p0), load(p1), load(p2), load(p3));
            inverse_butterfly(m, &mut a, &mut b, left);
            inverse_butterfly(m, &mut c, &mut d, right);
            inverse_butterfly(m, &mut a, &mut c, w);
            inverse_butterfly(m, &mut b, &mut d, w);
            store(p0, a);
            store(p1, b);
            store(p2, c);
            store(p3, d);
        }
    }

    /// The root's children and the root, dividing by N and reducing fully.
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
    fn inverse_last_two_levels(&self, m: &Arithmetic, x: &mut [u64]) {
        let (left, right) = (self.inverse.node(2), self.inverse.node(3));
        let (scale, last) = (splat(self.degree_inverse), splat(self.last_inverse));
        for [p0, p1, p2, p3] in quarters(x) {
            let (mut a, mut b, mut c, mut d) = (load(p0), load(p1), load(p2), load(p3));
            inverse_butterfly(m, &mut a, &mut b, left);
            inverse_butterfly(m, &mut c, &mut d, right);
            let (a, c) = last_butterfly(m, a, c, scale, last);
            let (b, d) = last_butterfly(m, b, d, scale, last);
            store(p0, a);
            store(p1, b);
            store(p2, c);
            store(p3, d);
        }
    }

    /// The root alone, dividing by N and reducing fully.
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
    fn inverse_last_level(&self, m: &Arithmetic, x: &mut [u64]) {
        let (scale, last) = (splat(self.degree_inverse), splat(self.last_inverse));
        let (low, high) = halves(x);
        for (low, high) in low.iter_mut().zip(high) {
            let (a, b) = last_butterfly(m, load(low), load(high), scale, last);
            store(low, a);
            store(high, b);
        }
    }
}

/// (x, y) to ((x + y) / N, w (x - y) / N) in `[0, q)`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn last_butterfly(
    m: &Arithmetic,
    x: __m512i,
    y: __m512i,
    scale: (__m512i, __m512i),
    last: (__m512i, __m512i),
) -> (__m512i, __m512i) {
    let (sum, difference) = (_mm512_add_epi64(x, y), _mm512_sub_epi64(_mm512_add_epi64(x, m.twice_q), y));
    (m.mul_constant(sum, scale), m.mul_constant(difference, last))
}

/// The first four levels of the inverse transform on one block.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn inverse_leaf(m: &Arithmetic, block: &mut [u64; 16], leaf: &Leaf) {
    let ([p, q], _) = block.as_chunks_mut::<8>() else { return };
    let (low, high) = (load(p), load(q));
    let mut c = _mm512_permutex2var_epi64(low, _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), high); // even
    let mut d = _mm512_permutex2var_epi64(low, _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15), high); // odd
    inverse_butterfly(m, &mut c, &mut d, (load(&leaf.eight[0]), load(&leaf.eight[1])));
    let (mut a, mut b) = (_mm512_unpacklo_epi64(c, d), _mm512_unpackhi_epi64(c, d)); // 0 1 4 5 .., 2 3 6 7 ..
    inverse_butterfly(m, &mut a, &mut b, spread_four(&leaf.four));
    let (mut c, mut d) = exchange_pairs(a, b); // 0..4 8..12, 4..8 12..16
    inverse_butterfly(m, &mut c, &mut d, spread_two(&leaf.two));
    let (mut a, mut b) = (_mm512_shuffle_i64x2::<0x44>(c, d), _mm512_shuffle_i64x2::<0xee>(c, d)); // 0..8, 8..16
    inverse_butterfly(m, &mut a, &mut b, splat(leaf.one.into()));
    store(p, a);
    store(q, b);
}
