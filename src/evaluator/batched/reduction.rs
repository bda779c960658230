//! Reductions of sums with AVX-512 (F, DQ): quotients in double precision.

use std::arch::x86_64::*;

use super::accumulate::Prime;

/// A prime in all lanes.
#[derive(Clone, Copy)]
pub(super) struct Reduction {
    q: __m512i,
    q_double: __m512d,
    pub inverse: __m512d,
}

impl Reduction {
    #[target_feature(enable = "avx512f,avx512dq")]
    #[inline]
    pub fn new(prime: &Prime) -> Self {
        Self {
            q: _mm512_set1_epi64(prime.value),
            q_double: _mm512_set1_pd(prime.value as f64),
            inverse: _mm512_set1_pd(prime.inverse),
        }
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

    /// A whole number up to 2^53 to [-0.51 q, 0.51 q]: the quotient is below 2^33, and the difference is exact.
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub fn reduce_double(self, x: __m512d) -> __m512d {
        let quotient =
            _mm512_roundscale_pd::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(_mm512_mul_pd(x, self.inverse));
        _mm512_fnmadd_pd(quotient, self.q_double, x)
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
