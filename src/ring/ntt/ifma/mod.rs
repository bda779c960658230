//! The transform with AVX-512 IFMA, for primes below 2^50 and N >= 32.
//!
//! Levels run two at a time on vectors of eight, down to blocks of 16, whose last four levels run in
//! registers. Large transforms go depth first, so that the lower levels find their data in cache.

mod forward;
mod inverse;

use std::arch::x86_64::*;

use super::Powers;
use crate::ring::backend::ifma::{Lanes, Modulus52, broadcast, companion};

/// Transforms up to this size (16 KiB) run level by level, larger ones depth first.
const CACHED: usize = 2048;

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

impl Constants {
    fn degree(&self) -> usize {
        16 * self.forward.leaves.len()
    }

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
