//! The kernels with AVX-512 IFMA, for primes below 2^50.

use std::arch::x86_64::*;

use super::{TILE, Terms, Tile};
use crate::ring::Modulus;
use crate::ring::backend::Backend;

/// Vectors in a tile.
const VECTORS: usize = TILE / 8;

/// The largest number of low halves (each below 2^52) that fit a word.
const LAZY: usize = 1 << 11;

#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel {
    q: u64,
    /// 1 / q
    inverse: f64,
    /// 2^52 mod q and its companion floor(2^104 / q) mod 2^52
    fold: u64,
    fold_companion: u64,
    /// floor(2^52 / q)
    ratio: u64,
}

/// The constants of a prime, one in every lane.
#[derive(Clone, Copy)]
struct Lanes {
    q: __m512i,
    twice_q: __m512i,
    /// 2^52 - q
    minus_q: __m512i,
    mask: __m512i,
    inverse: __m512d,
    fold: __m512i,
    fold_companion: __m512i,
    ratio: __m512i,
}

impl Kernel {
    /// `None` where the machine, the backend chosen or the prime rules the kernel out.
    pub(super) fn new(backend: Backend, modulus: Modulus) -> Option<Self> {
        let q = modulus.value();
        let usable = backend == Backend::Avx512Ifma && modulus.bits() <= 50 && Backend::available().contains(&backend);
        usable.then(|| {
            let fold = ((1u128 << 52) % u128::from(q)) as u64;
            Self {
                q,
                inverse: 1.0 / q as f64,
                fold,
                fold_companion: ((u128::from(fold) << 52) / u128::from(q)) as u64,
                ratio: ((1u128 << 52) / u128::from(q)) as u64,
            }
        })
    }

    pub(super) fn expand(&self, terms: &Terms, monomials: &[Tile]) -> Tile {
        // SAFETY: `new` made this kernel only where the machine has AVX-512 F, DQ and IFMA.
        unsafe { self.expand_vectors(terms, monomials) }
    }

    pub(super) fn accumulate<'a>(
        &self,
        products: impl Iterator<Item = (&'a Tile, &'a Tile)>,
        start: Option<&Tile>,
        out: &mut Tile,
    ) {
        // SAFETY: as in `expand`.
        unsafe { self.accumulate_vectors(products, start, out) }
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn lanes(&self) -> Lanes {
        let all = |x: u64| _mm512_set1_epi64(x as i64);
        Lanes {
            q: all(self.q),
            twice_q: all(2 * self.q),
            minus_q: all((1 << 52) - self.q),
            mask: all((1 << 52) - 1),
            inverse: _mm512_set1_pd(self.inverse),
            fold: all(self.fold),
            fold_companion: all(self.fold_companion),
            ratio: all(self.ratio),
        }
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn expand_vectors(&self, terms: &Terms, monomials: &[Tile]) -> Tile {
        let lanes = self.lanes();
        let mut sums = [_mm512_setzero_si512(); VECTORS];
        for &m in &terms.plus {
            let monomial = load(&monomials[m as usize]);
            for v in 0..VECTORS {
                sums[v] = _mm512_add_epi64(sums[v], monomial[v]);
            }
        }
        for &m in &terms.minus {
            let monomial = load(&monomials[m as usize]);
            for v in 0..VECTORS {
                sums[v] = _mm512_sub_epi64(sums[v], monomial[v]);
            }
        }
        // |sum| < 2^11 q < 2^61 so far (a weight has at most `SparsePolynomial::UNIT_TERMS` of them).
        for v in &mut sums {
            *v = reduce_signed(*v, &lanes);
        }
        for &(m, coefficient) in &terms.other {
            let monomial = load(&monomials[m as usize]);
            let factor = _mm512_set1_epi64(coefficient);
            for v in 0..VECTORS {
                // |coefficient| < 2^11: the product stays below 2^61.
                let product = reduce_signed(_mm512_mullo_epi64(monomial[v], factor), &lanes);
                sums[v] = subtract_once(_mm512_add_epi64(sums[v], product), lanes.q);
            }
        }
        let mut out = [0; TILE];
        store(sums, &mut out);
        out
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn accumulate_vectors<'a>(
        &self,
        mut products: impl Iterator<Item = (&'a Tile, &'a Tile)>,
        start: Option<&Tile>,
        out: &mut Tile,
    ) {
        let lanes = self.lanes();
        let mut sums = match start {
            Some(start) => load(start),
            None => [_mm512_setzero_si512(); VECTORS],
        };
        loop {
            let (mut low, mut high) = (sums, [_mm512_setzero_si512(); VECTORS]);
            let mut done = 0;
            for (weight, input) in products.by_ref().take(LAZY) {
                let (w, x) = (load(weight), load(input));
                for v in 0..VECTORS {
                    low[v] = _mm512_madd52lo_epu64(low[v], w[v], x[v]);
                    high[v] = _mm512_madd52hi_epu64(high[v], w[v], x[v]);
                }
                done += 1;
            }
            for v in 0..VECTORS {
                sums[v] = reduce_halves(low[v], high[v], &lanes);
            }
            if done < LAZY {
                break;
            }
        }
        store(sums, out);
    }
}

#[target_feature(enable = "avx512f")]
fn load(tile: &Tile) -> [__m512i; VECTORS] {
    // SAFETY: each load reads eight words of the tile's 8 * VECTORS.
    std::array::from_fn(|v| unsafe { _mm512_loadu_si512(tile.as_ptr().add(8 * v).cast()) })
}

#[target_feature(enable = "avx512f")]
fn store(vectors: [__m512i; VECTORS], tile: &mut Tile) {
    for (v, vector) in vectors.into_iter().enumerate() {
        // SAFETY: each store writes eight words of the tile's 8 * VECTORS.
        unsafe { _mm512_storeu_si512(tile.as_mut_ptr().add(8 * v).cast(), vector) }
    }
}

/// x - m where that is not negative, for x < 2 m.
#[target_feature(enable = "avx512f")]
fn subtract_once(x: __m512i, m: __m512i) -> __m512i {
    _mm512_min_epu64(x, _mm512_sub_epi64(x, m))
}

/// A signed word of magnitude below 2^61 to [0, q): the quotient, rounded in double precision, is
/// right to within one.
#[target_feature(enable = "avx512f,avx512dq")]
fn reduce_signed(x: __m512i, lanes: &Lanes) -> __m512i {
    let quotient = _mm512_cvtpd_epi64(_mm512_mul_pd(_mm512_cvtepi64_pd(x), lanes.inverse));
    let r = _mm512_sub_epi64(x, _mm512_mullo_epi64(quotient, lanes.q));
    // r in (-q, q): the smaller of r and r + q, read as unsigned words
    _mm512_min_epu64(r, _mm512_add_epi64(r, lanes.q))
}

/// `high 2^52 + low` to [0, q), low < 2^64 and high < 2^61.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn reduce_halves(low: __m512i, high: __m512i, lanes: &Lanes) -> __m512i {
    let zero = _mm512_setzero_si512();
    let high = reduce_signed(_mm512_add_epi64(high, _mm512_srli_epi64::<52>(low)), lanes);
    let low = _mm512_and_si512(low, lanes.mask);
    // high * (2^52 mod q), Shoup: in [0, 2q)
    let quotient = _mm512_madd52hi_epu64(zero, high, lanes.fold_companion);
    let upper = _mm512_madd52lo_epu64(_mm512_madd52lo_epu64(zero, high, lanes.fold), quotient, lanes.minus_q);
    let upper = _mm512_and_si512(upper, lanes.mask);
    // low mod q, Barrett: in [0, 2q)
    let quotient = _mm512_madd52hi_epu64(zero, low, lanes.ratio);
    let lower = _mm512_and_si512(_mm512_madd52lo_epu64(low, quotient, lanes.minus_q), lanes.mask);
    subtract_once(subtract_once(_mm512_add_epi64(upper, lower), lanes.twice_q), lanes.q)
}
