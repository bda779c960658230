//! The transform with AVX2 and FMA, for primes below 2^50 and N >= 16: in doubles, which take the
//! place of the residues from the first level to the last.
//!
//! Write values as multiples of q; factors must not exceed 2^52 > 4q, and products are at most 3/4.
//! Forward: two levels add at most 3/2, so centring two of every four values, which are not
//! multiplied before anything is added to them, keeps all at most 2. Below 2^48 nothing is centred: at
//! most 17 levels after a residue make less than 1 + 17 * 3/4 < 16 and 16 q <= 2^52. Inverse: of
//! four values at most 1, the sums of two levels come to 4 and 3/2 and are centred, the products
//! to 3/4.

use std::arch::x86_64::*;

use super::Powers;
use crate::ring::backend::avx2::{Arithmetic, Lanes, Modulus50, constant, load, store, to_double};
use crate::ring::modulus::Modulus;

/// Transforms up to this size (16 KiB) run level by level, larger ones depth first.
const CACHED: usize = 2048;

/// A constant in (-q/2, q/2] and the constant over q.
type Factor = (f64, f64);

/// The constants of the lowest three levels of one block of 8, as in the IFMA version. 128 bytes.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Leaf {
    four: [[f64; 4]; 2],
    two: [[f64; 2]; 2],
    one: Factor,
}

/// One direction's constants.
#[derive(Debug, Clone)]
struct Tree {
    /// nodes 0 to N/8 - 1
    nodes: Vec<Factor>,
    /// the nodes N/8 to N/4 - 1 with all below them
    leaves: Vec<Leaf>,
}

impl Tree {
    fn new(powers: &[u64], q: Modulus) -> Self {
        let leaves = powers.len() / 8;
        fn split<const K: usize>(powers: &[u64], q: Modulus) -> [[f64; K]; 2] {
            [std::array::from_fn(|i| constant(powers[i], q).0), std::array::from_fn(|i| constant(powers[i], q).1)]
        }
        Self {
            nodes: powers[..leaves].iter().map(|&w| constant(w, q)).collect(),
            leaves: (leaves..2 * leaves)
                .map(|node| Leaf {
                    one: constant(powers[node], q),
                    two: split(&powers[2 * node..], q),
                    four: split(&powers[4 * node..], q),
                })
                .collect(),
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn node(&self, node: usize) -> (__m256d, __m256d) {
        splat(self.nodes[node])
    }
}

#[derive(Debug, Clone)]
pub(super) struct Constants {
    modulus: Modulus50,
    forward: Tree,
    inverse: Tree,
    degree_inverse: Factor,
    last_inverse: Factor,
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn splat((w, over_q): Factor) -> (__m256d, __m256d) {
    (_mm256_set1_pd(w), _mm256_set1_pd(over_q))
}

/// Two constants, each in two lanes.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn spread_two([w, over_q]: &[[f64; 2]; 2]) -> (__m256d, __m256d) {
    (_mm256_setr_pd(w[0], w[0], w[1], w[1]), _mm256_setr_pd(over_q[0], over_q[0], over_q[1], over_q[1]))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn load_double(x: &Lanes) -> __m256d {
    _mm256_castsi256_pd(load(x))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn store_double(x: &mut Lanes, v: __m256d) {
    store(x, _mm256_castpd_si256(v));
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn load_constants([w, over_q]: &[[f64; 4]; 2]) -> (__m256d, __m256d) {
    let load = |x: &[f64; 4]| {
        // SAFETY: the reference covers the 32 bytes that are read.
        unsafe { _mm256_loadu_pd(x.as_ptr()) }
    };
    (load(w), load(over_q))
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
#[target_feature(enable = "avx2,fma")]
fn forward_butterfly(m: &Arithmetic, x: &mut __m256d, y: &mut __m256d, w: (__m256d, __m256d)) {
    let (u, v) = (*x, m.mul_constant_double(*y, w));
    *x = _mm256_add_pd(u, v);
    *y = _mm256_sub_pd(u, v);
}

/// (x, y) to (x + y, w (x - y)).
#[inline]
#[target_feature(enable = "avx2,fma")]
fn inverse_butterfly(m: &Arithmetic, x: &mut __m256d, y: &mut __m256d, w: (__m256d, __m256d)) {
    let (u, v) = (*x, *y);
    *x = _mm256_add_pd(u, v);
    *y = m.mul_constant_double(_mm256_sub_pd(u, v), w);
}

impl Constants {
    /// `None` where the prime or the degree does not fit.
    pub(super) fn new(powers: &Powers) -> Option<Self> {
        let q = powers.modulus;
        let modulus = Modulus50::new(q)?;
        (powers.forward.len() >= 16).then(|| Self {
            modulus,
            forward: Tree::new(&powers.forward, q),
            inverse: Tree::new(&powers.inverse, q),
            degree_inverse: constant(powers.degree_inverse, q),
            last_inverse: constant(powers.last_inverse(), q),
        })
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn forward(&self, x: &mut [u64]) {
        let m = Arithmetic::new(&self.modulus);
        for lanes in x.as_chunks_mut::<4>().0 {
            let double = to_double(load(lanes));
            store_double(lanes, double);
        }
        if self.modulus.modulus().bits() <= 48 {
            self.forward_node::<false>(&m, x, 1);
        } else {
            self.forward_node::<true>(&m, x, 1);
        }
    }

    #[target_feature(enable = "avx2,fma")]
    fn forward_node<const CENTER: bool>(&self, m: &Arithmetic, x: &mut [u64], node: usize) {
        if x.len() > CACHED {
            self.forward_two_levels::<CENTER>(m, x, node);
            let quarter = x.len() / 4;
            for (i, part) in x.chunks_exact_mut(quarter).enumerate() {
                self.forward_node::<CENTER>(m, part, 4 * node + i);
            }
            return;
        }
        let mut size = x.len();
        while size > 16 {
            let first = node * (x.len() / size);
            for (i, block) in x.chunks_exact_mut(size).enumerate() {
                self.forward_two_levels::<CENTER>(m, block, first + i);
            }
            size /= 4;
        }
        if size == 16 {
            let first = node * (x.len() / size);
            for (i, block) in x.chunks_exact_mut(size).enumerate() {
                self.forward_level::<CENTER>(m, block, first + i);
            }
        }
        let first = (node * (x.len() / 8)) - self.forward.leaves.len();
        let (blocks, _) = x.as_chunks_mut::<8>();
        for (block, leaf) in blocks.iter_mut().zip(&self.forward.leaves[first..]) {
            forward_leaf::<CENTER>(m, block, leaf);
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn forward_level<const CENTER: bool>(&self, m: &Arithmetic, block: &mut [u64], node: usize) {
        let w = self.forward.node(node);
        let (low, high) = halves(block);
        for (low, high) in low.iter_mut().zip(high) {
            let (mut a, mut b) = (load_double(low), load_double(high));
            if CENTER {
                a = m.center(a);
            }
            forward_butterfly(m, &mut a, &mut b, w);
            store_double(low, a);
            store_double(high, b);
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn forward_two_levels<const CENTER: bool>(&self, m: &Arithmetic, block: &mut [u64], node: usize) {
        let (w, left, right) = (self.forward.node(node), self.forward.node(2 * node), self.forward.node(2 * node + 1));
        for [p0, p1, p2, p3] in quarters(block) {
            let (mut a, mut b) = (load_double(p0), load_double(p1));
            let (mut c, mut d) = (load_double(p2), load_double(p3));
            if CENTER {
                (a, b) = (m.center(a), m.center(b));
            }
            forward_butterfly(m, &mut a, &mut c, w);
            forward_butterfly(m, &mut b, &mut d, w);
            forward_butterfly(m, &mut a, &mut b, left);
            forward_butterfly(m, &mut c, &mut d, right);
            store_double(p0, a);
            store_double(p1, b);
            store_double(p2, c);
            store_double(p3, d);
        }
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn inverse(&self, x: &mut [u64]) {
        let m = Arithmetic::new(&self.modulus);
        let half = x.len() / 2;
        for (i, part) in x.chunks_exact_mut(half).enumerate() {
            self.inverse_node(&m, part, 2 + i);
        }
        let (scale, last) = (splat(self.degree_inverse), splat(self.last_inverse));
        let (low, high) = halves(x);
        for (low, high) in low.iter_mut().zip(high) {
            let (a, b) = (load_double(low), load_double(high));
            store(low, m.residue(m.mul_constant_double(_mm256_add_pd(a, b), scale)));
            store(high, m.residue(m.mul_constant_double(_mm256_sub_pd(a, b), last)));
        }
    }

    #[target_feature(enable = "avx2,fma")]
    fn inverse_node(&self, m: &Arithmetic, x: &mut [u64], node: usize) {
        if x.len() > CACHED {
            let quarter = x.len() / 4;
            for (i, part) in x.chunks_exact_mut(quarter).enumerate() {
                self.inverse_node(m, part, 4 * node + i);
            }
            self.inverse_two_levels(m, x, node);
            return;
        }
        let first = (node * (x.len() / 8)) - self.inverse.leaves.len();
        let (blocks, _) = x.as_chunks_mut::<8>();
        for (block, leaf) in blocks.iter_mut().zip(&self.inverse.leaves[first..]) {
            inverse_leaf(m, block, leaf);
        }
        let mut size = 32;
        while size <= x.len() {
            let first = node * (x.len() / size);
            for (i, block) in x.chunks_exact_mut(size).enumerate() {
                self.inverse_two_levels(m, block, first + i);
            }
            size *= 4;
        }
        if size == 2 * x.len() {
            self.inverse_level(m, x, node);
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn inverse_level(&self, m: &Arithmetic, block: &mut [u64], node: usize) {
        let w = self.inverse.node(node);
        let (low, high) = halves(block);
        for (low, high) in low.iter_mut().zip(high) {
            let (mut a, mut b) = (load_double(low), load_double(high));
            inverse_butterfly(m, &mut a, &mut b, w);
            store_double(low, m.center(a));
            store_double(high, b);
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn inverse_two_levels(&self, m: &Arithmetic, block: &mut [u64], node: usize) {
        let (w, left, right) = (self.inverse.node(node), self.inverse.node(2 * node), self.inverse.node(2 * node + 1));
        for [p0, p1, p2, p3] in quarters(block) {
            let (mut a, mut b) = (load_double(p0), load_double(p1));
            let (mut c, mut d) = (load_double(p2), load_double(p3));
            inverse_butterfly(m, &mut a, &mut b, left);
            inverse_butterfly(m, &mut c, &mut d, right);
            inverse_butterfly(m, &mut a, &mut c, w);
            inverse_butterfly(m, &mut b, &mut d, w);
            store_double(p0, m.center(a));
            store_double(p1, m.center(b));
            store_double(p2, c);
            store_double(p3, d);
        }
    }
}

/// 0..4, 4..8 to 0 1 4 5, 2 3 6 7; its own inverse.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn exchange_pairs(a: __m256d, b: __m256d) -> (__m256d, __m256d) {
    (_mm256_permute2f128_pd::<0x20>(a, b), _mm256_permute2f128_pd::<0x31>(a, b))
}

/// 0 1 4 5, 2 3 6 7 to 0 2 4 6, 1 3 5 7; its own inverse.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn exchange_neighbours(a: __m256d, b: __m256d) -> (__m256d, __m256d) {
    (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b))
}

/// The last three levels of the forward transform on one block, with the final reduction.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn forward_leaf<const CENTER: bool>(m: &Arithmetic, block: &mut [u64; 8], leaf: &Leaf) {
    let ([p, q], _) = block.as_chunks_mut::<4>() else { return };
    let (mut a, mut b) = (load_double(p), load_double(q));
    if CENTER {
        a = m.center(a);
    }
    forward_butterfly(m, &mut a, &mut b, splat(leaf.one));
    let (mut a, mut b) = exchange_pairs(a, b);
    forward_butterfly(m, &mut a, &mut b, spread_two(&leaf.two));
    let (mut a, mut b) = exchange_neighbours(a, b);
    forward_butterfly(m, &mut a, &mut b, load_constants(&leaf.four));
    let (a, b) = exchange_neighbours(m.center(a), m.center(b));
    let (a, b) = exchange_pairs(a, b);
    store(p, m.residue(a));
    store(q, m.residue(b));
}

/// The first three levels of the inverse transform on one block.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn inverse_leaf(m: &Arithmetic, block: &mut [u64; 8], leaf: &Leaf) {
    let ([p, q], _) = block.as_chunks_mut::<4>() else { return };
    let (a, b) = exchange_pairs(to_double(load(p)), to_double(load(q)));
    let (mut a, mut b) = exchange_neighbours(a, b);
    inverse_butterfly(m, &mut a, &mut b, load_constants(&leaf.four));
    let (mut a, mut b) = exchange_neighbours(m.center(a), b);
    inverse_butterfly(m, &mut a, &mut b, spread_two(&leaf.two));
    let (mut a, mut b) = exchange_pairs(m.center(a), b);
    inverse_butterfly(m, &mut a, &mut b, splat(leaf.one));
    store_double(p, m.center(a));
    store_double(q, b);
}
