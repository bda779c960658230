//! From coefficients to values.
//!
//! Each level adds at most 2q to a value. From 2^49 on it is reduced at every level, so that it stays in `[0, 4q)`. Below
//! 2^49 two levels take it from `[0, 4q)` to `[0, 8q)`, within 52 bits, and it is reduced at every second level only. Below
//! 2^46 it is not reduced at all: at most 17 levels keep it below 2^52. Where not every level reduces, only the low 52 bits
//! of a lane count.

use std::arch::x86_64::*;

use super::{CACHED, Constants, Leaf, exchange_pairs, halves, quarters, splat, spread_four, spread_two};
use crate::ring::backend::ifma::{Arithmetic, broadcast, load, store, subtract_once};

/// At which forward levels values are reduced (see above).
type Reduction = u8;
const EVERY_LEVEL: Reduction = 0;
const EVERY_SECOND_LEVEL: Reduction = 1;
const NO_LEVEL: Reduction = 2;

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

/// Two levels: each word of the first half with that of the second, then within the halves.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn forward_two<const R: Reduction>(
    m: &Arithmetic,
    [mut a, mut b, mut c, mut d]: [__m512i; 4],
    [w, left, right]: [(__m512i, __m512i); 3],
) -> [__m512i; 4] {
    settle::<R>(m, &mut a);
    settle::<R>(m, &mut b);
    forward_butterfly::<R>(m, &mut a, &mut c, w);
    forward_butterfly::<R>(m, &mut b, &mut d, w);
    forward_butterfly::<R>(m, &mut a, &mut b, left);
    forward_butterfly::<R>(m, &mut c, &mut d, right);
    [a, b, c, d]
}

/// Asks for 16 words of each row, from word `at` on, as far as there are some.
#[inline(always)]
fn fetch(rows: [&[u64]; 2], at: usize) {
    for row in rows {
        for line in [at, at + 8] {
            if let Some(word) = row.get(line) {
                // SAFETY: a prefetch reads nothing and cannot fault, and the address is that of a word.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(word).cast()) };
            }
        }
    }
}

impl Constants {
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
    pub(in crate::ring::ntt) fn forward(&self, x: &mut [u64]) {
        let m = Arithmetic::new(&self.modulus);
        match self.modulus.value() {
            q if q < 1 << 46 => self.forward_node::<NO_LEVEL>(&m, x, 1),
            q if q < 1 << 49 => self.forward_node::<EVERY_SECOND_LEVEL>(&m, x, 1),
            _ => self.forward_node::<EVERY_LEVEL>(&m, x, 1),
        }
    }

    /// The length of the blocks that [`begin_forward`](Self::begin_forward) leaves.
    pub(in crate::ring::ntt) fn block_len(&self) -> usize {
        let mut len = self.degree() / 4;
        while len > CACHED {
            len /= 4;
        }
        len
    }

    /// The levels above the blocks, on `words` below `bound`, at most 2^61, plus `offset`, a residue; for N >= 64.
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
    pub(in crate::ring::ntt) fn begin_forward(&self, out: &mut [u64], words: &[u64], bound: u64, offset: u64) {
        let m = Arithmetic::new(&self.modulus);
        match self.modulus.value() {
            q if q < 1 << 46 => self.begin::<NO_LEVEL>(&m, out, words, bound <= (1 << 52) - 35 * q, offset),
            q if q < 1 << 49 => self.begin::<EVERY_SECOND_LEVEL>(&m, out, words, bound <= 7 * q, offset),
            q => self.begin::<EVERY_LEVEL>(&m, out, words, bound <= 3 * q, offset),
        }
    }

    /// The first level has room for some multiples of q: words that are `small` need no reduction.
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
    fn begin<const R: Reduction>(&self, m: &Arithmetic, out: &mut [u64], words: &[u64], small: bool, offset: u64) {
        let offset = broadcast(offset);
        if small {
            self.first_two_levels::<R>(m, out, words, |x| _mm512_add_epi64(x, offset));
        } else {
            self.first_two_levels::<R>(m, out, words, |x| _mm512_add_epi64(m.reduce(x), offset));
        }
        let (mut size, len) = (out.len() / 4, self.block_len());
        while size > len {
            let first = out.len() / size;
            for (i, block) in out.chunks_exact_mut(size).enumerate() {
                self.forward_two_levels::<R>(m, block, first + i);
            }
            size /= 4;
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
    fn first_two_levels<const R: Reduction>(
        &self,
        m: &Arithmetic,
        out: &mut [u64],
        words: &[u64],
        prepared: impl Fn(__m512i) -> __m512i,
    ) {
        let nodes = self.two_levels(1);
        let (words, _) = words.as_chunks();
        let quarter = words.len() / 4;
        for (i, [p0, p1, p2, p3]) in quarters(out).enumerate() {
            let words = [0, 1, 2, 3].map(|part| prepared(load(&words[part * quarter + i])));
            let [a, b, c, d] = forward_two::<R>(m, words, nodes);
            store(p0, a);
            store(p1, b);
            store(p2, c);
            store(p3, d);
        }
    }

    /// The levels within block number `i`; `upcoming` is fetched from memory meanwhile.
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
    pub(in crate::ring::ntt) fn finish_forward(&self, i: usize, block: &mut [u64], upcoming: [&[u64]; 2]) {
        let (m, node) = (Arithmetic::new(&self.modulus), self.degree() / block.len() + i);
        match self.modulus.value() {
            q if q < 1 << 46 => self.forward_block::<NO_LEVEL>(&m, block, node, upcoming),
            q if q < 1 << 49 => self.forward_block::<EVERY_SECOND_LEVEL>(&m, block, node, upcoming),
            _ => self.forward_block::<EVERY_LEVEL>(&m, block, node, upcoming),
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
        self.forward_block::<R>(m, x, node, [&[]; 2]);
    }

    /// All levels of a block that the cache holds; `upcoming` is fetched from memory meanwhile.
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
    fn forward_block<const R: Reduction>(&self, m: &Arithmetic, x: &mut [u64], node: usize, upcoming: [&[u64]; 2]) {
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
        for (i, (block, leaf)) in blocks.iter_mut().zip(&self.forward.leaves[first..]).enumerate() {
            fetch(upcoming, 16 * i);
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
        let nodes = self.two_levels(node);
        for [p0, p1, p2, p3] in quarters(block) {
            let [a, b, c, d] = forward_two::<R>(m, [load(p0), load(p1), load(p2), load(p3)], nodes);
            store(p0, a);
            store(p1, b);
            store(p2, c);
            store(p3, d);
        }
    }

    /// The constants of a node and its children.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn two_levels(&self, node: usize) -> [(__m512i, __m512i); 3] {
        [self.forward.node(node), self.forward.node(2 * node), self.forward.node(2 * node + 1)]
    }
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
