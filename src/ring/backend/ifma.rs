//! Modular arithmetic on eight lanes with AVX-512 IFMA, for moduli of 12 to 50 bits.
//!
//! IFMA multiplies the low 52 bits of two lanes and adds the low or the high 52 bits of the product
//! to a 64-bit lane. Moduli below 2^50 leave two bits for lazy values in `[0, 4q)`.

use std::arch::x86_64::*;

use crate::ring::modulus::Modulus;

/// Eight residues, as they lie in memory.
pub(crate) type Lanes = [u64; 8];

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn load(x: &Lanes) -> __m512i {
    // SAFETY: the reference covers the 64 bytes that are read, and no alignment is asked for.
    unsafe { _mm512_loadu_si512(x.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn store(x: &mut Lanes, v: __m512i) {
    // SAFETY: the reference covers the 64 bytes that are written, and no alignment is asked for.
    unsafe { _mm512_storeu_si512(x.as_mut_ptr().cast(), v) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn broadcast(x: u64) -> __m512i {
    _mm512_set1_epi64(x as i64)
}

/// x - m where x >= m, otherwise x: from `[0, 2m)` to `[0, m)`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn subtract_once(x: __m512i, m: __m512i) -> __m512i {
    _mm512_min_epu64(x, _mm512_sub_epi64(x, m))
}

/// out_i = values_(index_i), where each aligned block of eight comes from one such block.
///
/// # Panics
/// Where an index lies outside `values`.
#[target_feature(enable = "avx512f,avx512vl")]
pub(crate) fn permute_blocks(out: &mut [u64], values: &[u64], indices: &[u32]) {
    let (blocks, _) = values.as_chunks::<8>();
    for (out, indices) in out.as_chunks_mut::<8>().0.iter_mut().zip(indices.as_chunks::<8>().0) {
        let block = load(&blocks[indices[0] as usize / 8]);
        // SAFETY: the reference covers the 32 bytes that are read.
        let eight = unsafe { _mm256_loadu_si256(indices.as_ptr().cast()) };
        // The instruction takes the indices modulo 8.
        store(out, _mm512_permutexvar_epi64(_mm512_cvtepu32_epi64(eight), block));
    }
}

/// floor(w 2^52 / q): Shoup's companion of a constant factor w < q < 2^52.
pub(crate) const fn companion(w: u64, q: u64) -> u64 {
    (((w as u128) << 52) / q as u128) as u64
}

/// The constants of one modulus.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Modulus52 {
    q: u64,
    bits: u32,
    /// floor(2^(50 + bits) / q), below 2^52
    barrett: u64,
    /// floor(2^52 / q)
    word_quotient: u64,
    /// 2^52 mod q and its companion
    word: (u64, u64),
}

impl Modulus52 {
    /// `None` outside 12 to 50 bits.
    pub(crate) fn new(modulus: Modulus) -> Option<Self> {
        let (q, bits) = (modulus.value(), modulus.bits());
        let word = modulus.reduce(1 << 52);
        (12..=50).contains(&bits).then(|| Self {
            q,
            bits,
            barrett: ((1u128 << (50 + bits)) / u128::from(q)) as u64,
            word_quotient: (1 << 52) / q,
            word: (word, companion(word, q)),
        })
    }

    /// The modulus.
    pub(crate) fn value(&self) -> u64 {
        self.q
    }

    /// How many products of words below 2^50 with residues an [`Accumulator`] holds: the sum of
    /// their high halves, with all carries, must stay below 2^52.
    pub(crate) fn lazy_products(&self) -> usize {
        (1 << 54u32.saturating_sub(self.bits).min(12)) - 1
    }
}

/// The same constants in all lanes.
#[derive(Clone, Copy)]
pub(crate) struct Arithmetic {
    pub(crate) q: __m512i,
    pub(crate) twice_q: __m512i,
    pub(crate) mask: __m512i,
    /// 2^52 - q: adding a multiple of it subtracts that multiple of q modulo 2^52
    minus_q: __m512i,
    zero: __m512i,
    barrett: __m512i,
    word_quotient: __m512i,
    word: (__m512i, __m512i),
    /// shifts by 52 - bits and by bits - 2
    normalise: __m128i,
    top: __m128i,
}

impl Arithmetic {
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn new(m: &Modulus52) -> Self {
        Self {
            q: broadcast(m.q),
            twice_q: broadcast(2 * m.q),
            mask: broadcast((1 << 52) - 1),
            minus_q: broadcast((1 << 52) - m.q),
            zero: _mm512_setzero_si512(),
            barrett: broadcast(m.barrett),
            word_quotient: broadcast(m.word_quotient),
            word: (broadcast(m.word.0), broadcast(m.word.1)),
            normalise: _mm_cvtsi32_si128(52 - m.bits as i32),
            top: _mm_cvtsi32_si128(m.bits as i32 - 2),
        }
    }

    /// a + b, residues.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn add(&self, a: __m512i, b: __m512i) -> __m512i {
        subtract_once(_mm512_add_epi64(a, b), self.q)
    }

    /// a - b, residues.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn sub(&self, a: __m512i, b: __m512i) -> __m512i {
        let difference = _mm512_sub_epi64(a, b);
        _mm512_min_epu64(difference, _mm512_add_epi64(difference, self.q))
    }

    /// -a, a residue.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn negate(&self, a: __m512i) -> __m512i {
        subtract_once(_mm512_sub_epi64(self.q, a), self.q)
    }

    /// From `[0, 4q)` to `[0, q)`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn finish(&self, x: __m512i) -> __m512i {
        subtract_once(subtract_once(x, self.twice_q), self.q)
    }

    /// x w for the low 52 bits of x and a constant w with its [`companion`] (Shoup): in `[0, 2q)`
    /// modulo 2^52; the bits above are arbitrary.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn mul_constant_unmasked(&self, x: __m512i, (w, companion): (__m512i, __m512i)) -> __m512i {
        let quotient = _mm512_madd52hi_epu64(self.zero, x, companion);
        _mm512_madd52lo_epu64(_mm512_madd52lo_epu64(self.zero, x, w), quotient, self.minus_q)
    }

    /// x w for x < 2^52, in `[0, 2q)`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn mul_constant_lazy(&self, x: __m512i, constant: (__m512i, __m512i)) -> __m512i {
        _mm512_and_si512(self.mul_constant_unmasked(x, constant), self.mask)
    }

    /// The factor of [`mul_constant`](Arithmetic::mul_constant) and its like.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn constant(&self, m: &Modulus52, w: u64) -> (__m512i, __m512i) {
        (broadcast(w), broadcast(companion(w, m.q)))
    }

    /// x w for x < 2^52.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn mul_constant(&self, x: __m512i, constant: (__m512i, __m512i)) -> __m512i {
        subtract_once(self.mul_constant_lazy(x, constant), self.q)
    }

    /// Barrett's reduction of a number given by its low part and by `top` = floor(number / 2^(bits - 2)),
    /// below 2^52. The quotient is exact up to 3, so the remainder is below 4q <= 2^52.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn reduce_top(&self, low: __m512i, top: __m512i) -> __m512i {
        let quotient = _mm512_madd52hi_epu64(self.zero, top, self.barrett);
        self.finish(_mm512_and_si512(_mm512_madd52lo_epu64(low, quotient, self.minus_q), self.mask))
    }

    /// a b + c, residues.
    ///
    /// The estimate of the quotient leaves c < q out, and is 2 too small at most without it.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn mul_add(&self, a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        let low = _mm512_madd52lo_epu64(c, a, b);
        // (4a) (2^(52 - bits) b) / 2^52 = a b / 2^(bits - 2)
        let top = _mm512_madd52hi_epu64(self.zero, _mm512_slli_epi64::<2>(a), _mm512_sll_epi64(b, self.normalise));
        self.reduce_top(low, top)
    }

    /// a b, residues.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn mul(&self, a: __m512i, b: __m512i) -> __m512i {
        self.mul_add(a, b, self.zero)
    }

    /// Any words below 2^61 (12 bits of q make their top part fit).
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn reduce(&self, x: __m512i) -> __m512i {
        self.reduce_top(x, _mm512_srl_epi64(x, self.top))
    }

    /// Words below 2^52, modulo 2^52, to `[0, 2q)`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn reduce_word_lazy(&self, x: __m512i) -> __m512i {
        let quotient = _mm512_madd52hi_epu64(self.zero, x, self.word_quotient);
        _mm512_and_si512(_mm512_madd52lo_epu64(x, quotient, self.minus_q), self.mask)
    }
}

/// A sum of products, high and low halves apart.
#[derive(Clone, Copy)]
pub(crate) struct Accumulator {
    low: __m512i,
    high: __m512i,
}

impl Accumulator {
    /// A sum that begins with a word.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn new(word: __m512i) -> Self {
        Self { low: word, high: _mm512_setzero_si512() }
    }

    /// Adds a b; see [`Modulus52::lazy_products`] for how often.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn add_product(&mut self, a: __m512i, b: __m512i) {
        self.low = _mm512_madd52lo_epu64(self.low, a, b);
        self.high = _mm512_madd52hi_epu64(self.high, a, b);
    }

    /// floor(sum / 2^52), for at most 2^11 products.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn high_word(self) -> __m512i {
        _mm512_add_epi64(self.high, _mm512_srli_epi64::<52>(self.low))
    }

    /// The sum modulo q, if its [`high_word`](Accumulator::high_word) is below 2^52.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn reduce(self, m: &Arithmetic) -> __m512i {
        let from_high = m.mul_constant_lazy(self.high_word(), m.word);
        m.finish(_mm512_add_epi64(from_high, m.reduce_word_lazy(self.low)))
    }
}
