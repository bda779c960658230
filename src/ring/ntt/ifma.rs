//! The transform with AVX-512 IFMA, for primes below 2^50 and N >= 32.
//!
//! Levels run two at a time on vectors of eight, down to blocks of 16, whose last four levels run in
//! registers. Large transforms go depth first, so that the lower levels find their data in cache.
//!
//! Each forward level adds at most 2q to a value. From 2^49 on it is reduced at every level, so that it stays in
//! `[0, 4q)`. Below 2^49 two levels take it from `[0, 4q)` to `[0, 8q)`, within 52 bits, and it is reduced at every
//! second level only. Below 2^46 it is not reduced at all: at most 17 levels keep it below 2^52. Where not every level
//! reduces, only the low 52 bits of a lane count. Inverse values stay in `[0, 2q)`.

use std::arch::x86_64::*;

use super::Powers;
use crate::ring::backend::ifma::{Arithmetic, Lanes, Modulus52, broadcast, companion, load, store, subtract_once};

/// Transforms up to this size (16 KiB) run level by level, larger ones depth first.
const CACHED: usize = 2048;

/// At which forward levels values are reduced (see above).
type Reduction = u8;
const EVERY_LEVEL: Reduction = 0;
const EVERY_SECOND_LEVEL: Reduction = 1;
const NO_LEVEL: Reduction = 2;

/// A constant with its companion.
type Factor = (u64, u64);

/// The constants of the lowest four levels of one block of 16: those of one node, its two
/// children, and so on, with their companions. 256 bytes, read in sequence.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Leaf {
    eight: [Lanes; 2],
    four: [[u64; 4]; 2],
    two: [[u64; 2]; 2],
    one: [u64; 2],
}

/// One direction's constants.
#[derive(Debug, Clone)]
struct Tree {
    /// nodes 0 to N/16 - 1
    nodes: Vec<Factor>,
    /// the nodes N/16 to N/8 - 1 with all below them
    leaves: Vec<Leaf>,
}

impl Tree {
    fn new(powers: &[u64], q: u64) -> Self {
        let leaves = powers.len() / 16;
        let pair = |w: u64| (w, companion(w, q));
        fn split<const K: usize>(powers: &[u64], q: u64) -> [[u64; K]; 2] {
            let w = std::array::from_fn(|i| powers[i]);
            [w, w.map(|w| companion(w, q))]
        }
        Self {
            nodes: powers[..leaves].iter().copied().map(pair).collect(),
            leaves: (leaves..2 * leaves)
                .map(|node| Leaf {
                    one: <[u64; 2]>::from(pair(powers[node])),
                    two: split(&powers[2 * node..], q),
                    four: split(&powers[4 * node..], q),
                    eight: split(&powers[8 * node..], q),
                })
                .collect(),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn node(&self, node: usize) -> (__m512i, __m512i) {
        splat(self.nodes[node])
    }
}

#[derive(Debug, Clone)]
pub(super) struct Constants {
    modulus: Modulus52,
    forward: Tree,
    inverse: Tree,
    degree_inverse: Factor,
    last_inverse: Factor,
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn splat((w, companion): Factor) -> (__m512i, __m512i) {
    (broadcast(w), broadcast(companion))
}

/// Two constants, each in four lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl")]
fn spread_two([w, companions]: &[[u64; 2]; 2]) -> (__m512i, __m512i) {
    let index = _mm512_setr_epi64(0, 0, 0, 0, 1, 1, 1, 1);
    let spread = |x: &[u64; 2]| {
        // SAFETY: the reference covers the 16 bytes that are read.
        let two = unsafe { _mm_loadu_si128(x.as_ptr().cast()) };
        _mm512_permutexvar_epi64(index, _mm512_castsi128_si512(two))
    };
    (spread(w), spread(companions))
}

/// Four constants, each in two lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl")]
fn spread_four([w, companions]: &[[u64; 4]; 2]) -> (__m512i, __m512i) {
    let index = _mm512_setr_epi64(0, 0, 1, 1, 2, 2, 3, 3);
    let spread = |x: &[u64; 4]| {
        // SAFETY: the reference covers the 32 bytes that are read.
        let four = unsafe { _mm256_loadu_si256(x.as_ptr().cast()) };
        _mm512_permutexvar_epi64(index, _mm512_castsi256_si512(four))
    };
    (spread(w), spread(companions))
}

/// A block as its halves, in vectors.
#[inline(always)]
fn halves(block: &mut [u64]) -> (&mut [Lanes], &mut [Lanes]) {
    let (low, high) = block.split_at_mut(block.len() / 2);
    (low.as_chunks_mut().0, high.as_chunks_mut().0)
}

/// A block as its quarters, in vectors.
#[inline(always)]
fn quarters(block: &mut [u64]) -> impl Iterator<Item = [&mut Lanes; 4]> {
    let (low, high) = block.split_at_mut(block.len() / 2);
    let ((a, b), (c, d)) = (halves(low), halves(high));
    a.iter_mut().zip(b).zip(c.iter_mut().zip(d)).map(|((a, b), (c, d))| [a, b, c, d])
}

/// (x, y) to (x + w y, x - w y).
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn forward_butterfly<const R: Reduction>(m: &Arithmetic, x: &mut __m512i, y: &mut __m512i, w: (__m512i, __m512i)) {
    let (u, v) = if R == EVERY_LEVEL {
        (subtract_once(*x, m.twice_q), m.mul_constant_lazy(*y, w))
    } else {
        (*x, m.mul_constant_unmasked(*y, w))
    };
    *x = _mm512_add_epi64(u, v);
    *y = _mm512_sub_epi64(_mm512_add_epi64(u, m.twice_q), v);
}

/// What is not multiplied at the first of two levels, from `[0, 8q)` modulo 2^52 to `[0, 4q)`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn settle<const R: Reduction>(m: &Arithmetic, x: &mut __m512i) {
    if R == EVERY_SECOND_LEVEL {
        *x = subtract_once(_mm512_and_si512(*x, m.mask), _mm512_slli_epi64::<1>(m.twice_q));
    }
}

/// (x, y) to (x + y, w (x - y)).
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn inverse_butterfly(m: &Arithmetic, x: &mut __m512i, y: &mut __m512i, w: (__m512i, __m512i)) {
    let (sum, difference) = (_mm512_add_epi64(*x, *y), _mm512_sub_epi64(_mm512_add_epi64(*x, m.twice_q), *y));
    *x = subtract_once(sum, m.twice_q);
    *y = m.mul_constant_lazy(difference, w);
}

impl Constants {
    /// `None` where the prime or the degree does not fit.
    pub(super) fn new(powers: &Powers) -> Option<Self> {
        let q = powers.modulus.value();
        let modulus = Modulus52::new(powers.modulus)?;
        (powers.forward.len() >= 32).then(|| Self {
            modulus,
            forward: Tree::new(&powers.forward, q),
            inverse: Tree::new(&powers.inverse, q),
            degree_inverse: (powers.degree_inverse, companion(powers.degree_inverse, q)),
            last_inverse: (powers.last_inverse(), companion(powers.last_inverse(), q)),
        })
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
    pub(super) fn forward(&self, x: &mut [u64]) {
        let m = Arithmetic::new(&self.modulus);
        match self.modulus.value() {
            q if q < 1 << 46 => self.forward_node::<NO_LEVEL>(&m, x, 1),
            q if q < 1 << 49 => self.forward_node::<EVERY_SECOND_LEVEL>(&m, x, 1),
            _ => self.forward_node::<EVERY_LEVEL>(&m, x, 1),
        }
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
    fn forward_node<const R: Reduction>(&self, m: &Arithmetic, x: &mut [u64], node: usize) {
        if x.len() > CACHED {
            self.forward_two_levels::<R>(m, x, node);
            let quarter = x.len() / 4;
            for (i, part) in x.chunks_exact_mut(quarter).enumerate() {
                self.forward_node::<R>(m, part, 4 * node + i);
            }
            return;
        }
        let mut size = x.len();
        if size.trailing_zeros() % 2 == 1 {
            self.forward_level::<R>(m, x, node);
            size /= 2;
        }
        while size > 16 {
            let first = node * (x.len() / size);
            for (i, block) in x.chunks_exact_mut(size).enumerate() {
                self.forward_two_levels::<R>(m, block, first + i);
            }
            size /= 4;
        }
        let first = (node * (x.len() / 16)) - self.forward.leaves.len();
        let (blocks, _) = x.as_chunks_mut::<16>();
        for (block, leaf) in blocks.iter_mut().zip(&self.forward.leaves[first..]) {
            forward_leaf::<R>(m, block, leaf);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
    fn forward_level<const R: Reduction>(&self, m: &Arithmetic, block: &mut [u64], node: usize) {
        let w = self.forward.node(node);
        let (low, high) = halves(block);
        for (low, high) in low.iter_mut().zip(high) {
            let (mut a, mut b) = (load(low), load(high));
            settle::<R>(m, &mut a);
            forward_butterfly::<R>(m, &mut a, &mut b, w);
            store(low, a);
            store(high, b);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
    fn forward_two_levels<const R: Reduction>(&self, m: &Arithmetic, block: &mut [u64], node: usize) {
        let (w, left, right) = (self.forward.node(node), self.forward.node(2 * node), self.forward.node(2 * node + 1));
        for [p0, p1, p2, p3] in quarters(block) {
            let (mut a, mut b, mut c, mut d) = (load(p0), load(p1), load(p2), load(p3));
            settle::<R>(m, &mut a);
            settle::<R>(m, &mut b);
            forward_butterfly::<R>(m, &mut a, &mut c, w);
            forward_butterfly::<R>(m, &mut b, &mut d, w);
            forward_butterfly::<R>(m, &mut a, &mut b, left);
            forward_butterfly::<R>(m, &mut c, &mut d, right);
            store(p0, a);
            store(p1, b);
            store(p2, c);
            store(p3, d);
        }
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
    pub(super) fn inverse(&self, x: &mut [u64]) {
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

/// The last four levels of the forward transform on one block, with the final reduction.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn forward_leaf<const R: Reduction>(m: &Arithmetic, block: &mut [u64; 16], leaf: &Leaf) {
    let ([p, q], _) = block.as_chunks_mut::<8>() else { return };
    let (mut a, mut b) = (load(p), load(q)); // 0..8, 8..16
    settle::<R>(m, &mut a);
    forward_butterfly::<R>(m, &mut a, &mut b, splat(leaf.one.into()));
    let (mut c, mut d) = (_mm512_shuffle_i64x2::<0x44>(a, b), _mm512_shuffle_i64x2::<0xee>(a, b)); // 0..4 8..12, 4..8 12..16
    forward_butterfly::<R>(m, &mut c, &mut d, spread_two(&leaf.two));
    let (mut a, mut b) = exchange_pairs(c, d); // 0 1 4 5 8 9 12 13, 2 3 6 7 10 11 14 15
    settle::<R>(m, &mut a);
    forward_butterfly::<R>(m, &mut a, &mut b, spread_four(&leaf.four));
    let (mut c, mut d) = (_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b)); // even, odd
    forward_butterfly::<R>(m, &mut c, &mut d, (load(&leaf.eight[0]), load(&leaf.eight[1])));
    let reduced = |x| if R == EVERY_LEVEL { m.finish(x) } else { subtract_once(m.reduce_word_lazy(x), m.q) };
    let (even, odd) = (reduced(c), reduced(d));
    store(p, _mm512_permutex2var_epi64(even, _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), odd));
    store(q, _mm512_permutex2var_epi64(even, _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15), odd));
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

/// Swaps the second pair of lanes of each half of a with the first of b; its own inverse.
#[inline]
#[target_feature(enable = "avx512f")]
fn exchange_pairs(a: __m512i, b: __m512i) -> (__m512i, __m512i) {
    (
        _mm512_permutex2var_epi64(a, _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), b),
        _mm512_permutex2var_epi64(a, _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15), b),
    )
}
