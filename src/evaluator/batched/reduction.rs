//! Reductions of sums with AVX-512: quotients in double precision (F, DQ), or by multiply-adds of 52 bits (IFMA).

use std::arch::x86_64::*;

use super::accumulate::{Prime, Products};

/// A prime in all lanes.
#[derive(Clone, Copy)]
pub(super) struct Reduction {
    q: __m512i,
    pub inverse: __m512d,
}

impl Reduction {
    #[target_feature(enable = "avx512f,avx512dq")]
    #[inline]
    pub fn new(prime: &Prime) -> Self {
        Self { q: _mm512_set1_epi64(prime.value), inverse: _mm512_set1_pd(prime.inverse) }
    }

    /// x - k q for a quotient k given in double precision.
    #[target_feature(enable = "avx512f,avx512dq")]
    #[inline]
    pub fn subtract(self, x: __m512i, quotient: __m512d) -> __m512i {
        _mm512_sub_epi64(x, _mm512_mullo_epi64(_mm512_cvtpd_epi64(quotient), self.q))
    }

    /// Any integer to [-0.51 q, 0.51 q]: the quotient is below 2^43, so its error is below 1/100.
    #[target_feature(enable = "avx512f,avx512dq")]
    #[inline]
    pub fn reduce(self, x: __m512i) -> __m512i {
        self.subtract(x, _mm512_mul_pd(_mm512_cvtepi64_pd(x), self.inverse))
    }

    /// high 2^32 + low to [-0.51 q, 0.51 q].
    #[target_feature(enable = "avx512f,avx512dq")]
    #[inline]
    pub fn join(self, low: __m512i, high: __m512i) -> __m512i {
        let high = self.reduce(high);
        let value = _mm512_fmadd_pd(_mm512_cvtepi64_pd(high), _mm512_set1_pd(4_294_967_296.0), _mm512_cvtepi64_pd(low));
        // The 64-bit difference is right although high 2^32 wraps: the true result is below q.
        self.subtract(_mm512_add_epi64(_mm512_slli_epi64::<32>(high), low), _mm512_mul_pd(value, self.inverse))
    }
}

/// Reduction of sums of at most [`Products::WORD`] in absolute value, known modulo 2^52.
#[derive(Clone, Copy)]
pub(super) struct WordReduction {
    q: __m512i,
    /// 2^52 - q: adding a multiple of it subtracts that multiple of q modulo 2^52
    minus_q: __m512i,
    /// floor(2^52 / q)
    quotient: __m512i,
    mask: __m512i,
    half: __m512i,
    /// a multiple of q that no sum is below, and half of q: what a sum is moved up by
    pub shift: __m512i,
}

impl WordReduction {
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub fn new(prime: &Prime) -> Self {
        const WORD: i64 = 1 << 52;
        let q = prime.value;
        let multiple = (Products::WORD as i64 / q + 1) * q;
        Self {
            q: _mm512_set1_epi64(q),
            minus_q: _mm512_set1_epi64(WORD - q),
            quotient: _mm512_set1_epi64(WORD / q),
            mask: _mm512_set1_epi64(WORD - 1),
            half: _mm512_set1_epi64(q / 2),
            shift: _mm512_set1_epi64(multiple + q / 2),
        }
    }

    /// A sum that was moved up by `shift`, to [-q/2, q/2]. The estimated quotient is right or 1 too small.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub fn reduce(self, x: __m512i) -> __m512i {
        let quotient = _mm512_madd52hi_epu64(_mm512_setzero_si512(), x, self.quotient);
        let remainder = _mm512_and_si512(_mm512_madd52lo_epu64(x, quotient, self.minus_q), self.mask);
        _mm512_sub_epi64(_mm512_min_epu64(remainder, _mm512_sub_epi64(remainder, self.q)), self.half)
    }
}
