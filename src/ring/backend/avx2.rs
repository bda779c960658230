//! Modular arithmetic on four lanes with AVX2 and FMA, for moduli below 2^50.
//!
//! AVX2 has no 64-bit multiplication; doubles hold integers up to 2^53 exactly, and a fused
//! multiply-add gives the low half of a product of two of them. (van der Hoeven, Lecerf, Quintin,
//! "Modular SIMD arithmetic in Mathemagix", 2016, section 3.) Doubles here are integers that may
//! be negative; integer lanes are residues in `[0, q)`.

use std::arch::x86_64::*;

use crate::ring::modulus::Modulus;

/// Four residues, as they lie in memory.
pub(crate) type Lanes = [u64; 4];

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

/// The bits of 2^52: a double in `[2^52, 2^53)` holds an integer in its low 52 bits.
const MAGIC: i64 = 0x4330_0000_0000_0000;

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn load(x: &Lanes) -> __m256i {
    // SAFETY: the reference covers the 32 bytes that are read, and no alignment is asked for.
    unsafe { _mm256_loadu_si256(x.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn store(x: &mut Lanes, v: __m256i) {
    // SAFETY: the reference covers the 32 bytes that are written, and no alignment is asked for.
    unsafe { _mm256_storeu_si256(x.as_mut_ptr().cast(), v) }
}

/// Integers below 2^52 as doubles.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn to_double(x: __m256i) -> __m256d {
    let magic = _mm256_set1_epi64x(MAGIC);
    _mm256_sub_pd(_mm256_castsi256_pd(_mm256_or_si256(x, magic)), _mm256_castsi256_pd(magic))
}

/// Doubles in `[0, 2^52)` as integers.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn to_integer(x: __m256d) -> __m256i {
    let magic = _mm256_set1_epi64x(MAGIC);
    _mm256_xor_si256(_mm256_castpd_si256(_mm256_add_pd(x, _mm256_castsi256_pd(magic))), magic)
}

/// The nearest integers, ties to even.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn round(x: __m256d) -> __m256d {
    _mm256_round_pd::<NEAREST>(x)
}

/// A constant factor in (-q/2, q/2] and the factor over q: what one lane of a constant holds.
pub(crate) fn constant(w: u64, q: Modulus) -> (f64, f64) {
    let centered = q.center(w) as f64;
    (centered, centered / q.value() as f64)
}

/// The constants of one modulus.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Modulus50 {
    modulus: Modulus,
}

impl Modulus50 {
    /// `None` from 2^50 on.
    pub(crate) fn new(modulus: Modulus) -> Option<Self> {
        (modulus.bits() <= 50).then_some(Self { modulus })
    }

    /// The modulus.
    pub(crate) fn modulus(&self) -> Modulus {
        self.modulus
    }
}

/// The same constants in all lanes.
#[derive(Clone, Copy)]
pub(crate) struct Arithmetic {
    integer: __m256i,
    pub(crate) q: __m256d,
    reciprocal: __m256d,
    /// 2^32 mod q
    half_word: __m256d,
}

impl Arithmetic {
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn new(m: &Modulus50) -> Self {
        let q = m.modulus.value();
        Self {
            integer: _mm256_set1_epi64x(q as i64),
            q: _mm256_set1_pd(q as f64),
            reciprocal: _mm256_set1_pd(1.0 / q as f64),
            half_word: _mm256_set1_pd(m.modulus.reduce(1 << 32) as f64),
        }
    }

    /// x + q where x < 0, otherwise x.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn add_if_negative(&self, x: __m256i) -> __m256i {
        let negative = _mm256_cmpgt_epi64(_mm256_setzero_si256(), x);
        _mm256_add_epi64(x, _mm256_and_si256(negative, self.integer))
    }

    /// a + b, residues.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn add(&self, a: __m256i, b: __m256i) -> __m256i {
        self.add_if_negative(_mm256_sub_epi64(_mm256_add_epi64(a, b), self.integer))
    }

    /// a - b, residues.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn sub(&self, a: __m256i, b: __m256i) -> __m256i {
        self.add_if_negative(_mm256_sub_epi64(a, b))
    }

    /// -a, a residue.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn negate(&self, a: __m256i) -> __m256i {
        self.sub(_mm256_setzero_si256(), a)
    }

    /// Integers up to 2^53 in magnitude to the nearest of their class: |result| <= q/2 and a little.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn center(&self, x: __m256d) -> __m256d {
        _mm256_fnmadd_pd(round(_mm256_mul_pd(x, self.reciprocal)), self.q, x)
    }

    /// Doubles in (-q, q) to residues.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn residue(&self, x: __m256d) -> __m256i {
        let negative = _mm256_cmp_pd::<_CMP_LT_OQ>(x, _mm256_setzero_pd());
        to_integer(_mm256_add_pd(x, _mm256_and_pd(negative, self.q)))
    }

    /// a b - c q for an estimate c of a b / q that is less than 1 away: exact, because the remainder
    /// of the rounded product and its rounding error are integers below 2^53.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn remainder(&self, a: __m256d, b: __m256d, high: __m256d, quotient: __m256d) -> __m256d {
        let low = _mm256_fmsub_pd(a, b, high);
        _mm256_add_pd(_mm256_fnmadd_pd(quotient, self.q, high), low)
    }

    /// a b for integers whose product is below 2^50 q, in (-q, q): three roundings of a quotient below
    /// 2^50 put it at most 3/8 off before it is rounded to an integer.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn mul_double(&self, a: __m256d, b: __m256d) -> __m256d {
        let high = _mm256_mul_pd(a, b);
        self.remainder(a, b, high, round(_mm256_mul_pd(high, self.reciprocal)))
    }

    /// x w for |x| <= 2^52 and a [`constant`] w: at most 3/4 q in magnitude, since w/q is at most 1/2
    /// and rounded to within 2^-55, and the product with x, below 2^51, to within 1/8.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn mul_constant_double(&self, x: __m256d, (w, over_q): (__m256d, __m256d)) -> __m256d {
        self.remainder(x, w, _mm256_mul_pd(x, w), round(_mm256_mul_pd(x, over_q)))
    }

    /// a b, residues.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn mul(&self, a: __m256i, b: __m256i) -> __m256i {
        self.residue(self.mul_double(to_double(a), to_double(b)))
    }

    /// a b + c, residues.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn mul_add(&self, a: __m256i, b: __m256i, c: __m256i) -> __m256i {
        self.add(self.mul(a, b), c)
    }

    /// The factor of [`mul_constant`](Arithmetic::mul_constant).
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn constant(&self, m: &Modulus50, w: u64) -> (__m256d, __m256d) {
        let (w, over_q) = constant(w, m.modulus);
        (_mm256_set1_pd(w), _mm256_set1_pd(over_q))
    }

    /// x w, residues.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn mul_constant(&self, x: __m256i, w: (__m256d, __m256d)) -> __m256i {
        self.residue(self.mul_constant_double(to_double(x), w))
    }

    /// Any words below 2^61, as two half words.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn reduce(&self, x: __m256i) -> __m256i {
        let high = to_double(_mm256_srli_epi64::<32>(x));
        let low = to_double(_mm256_and_si256(x, _mm256_set1_epi64x(0xffff_ffff)));
        self.residue(self.center(_mm256_add_pd(self.mul_double(high, self.half_word), low)))
    }
}
