//! AVX2 kernels: 32-bit products, quotients and squares in double precision (FMA).

use std::arch::x86_64::*;

use super::accumulate::{Prime, Products};
use super::kernel::{TILE, Tile};
use super::matrix::Block;

/// 64-bit lanes of a vector.
const LANES: usize = 4;
/// Vectors of a tile.
const VECTORS: usize = TILE / LANES;

/// 2^52 + 2^51: the double whose low bits hold a small integer added to it.
const MAGIC: f64 = 6_755_399_441_055_744.0;

/// A prime in all lanes.
#[derive(Clone, Copy)]
struct Reduction {
    q: __m256i,
    q_double: __m256d,
    inverse: __m256d,
}

impl Reduction {
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn new(prime: &Prime) -> Self {
        Self {
            q: _mm256_set1_epi64x(prime.value),
            q_double: _mm256_set1_pd(prime.value as f64),
            inverse: _mm256_set1_pd(prime.inverse),
        }
    }

    /// x - k q for the integer k nearest to a quotient below 2^51, given in double precision.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn subtract(self, x: __m256i, quotient: __m256d) -> __m256i {
        _mm256_sub_epi64(x, multiply_low(small_to_integer(quotient), self.q))
    }

    /// Any integer to [-0.51 q, 0.51 q]: the quotient is below 2^43, so its error is below 1/100.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn reduce(self, x: __m256i) -> __m256i {
        self.subtract(x, _mm256_mul_pd(to_double(x), self.inverse))
    }

    /// A whole number up to 2^53 to [-0.51 q, 0.51 q]: the quotient is below 2^33, and the difference is exact.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn reduce_double(self, x: __m256d) -> __m256d {
        let quotient =
            _mm256_round_pd::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(_mm256_mul_pd(x, self.inverse));
        _mm256_fnmadd_pd(quotient, self.q_double, x)
    }

    /// high 2^32 + low to [-0.51 q, 0.51 q].
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn join(self, low: __m256i, high: __m256i) -> __m256i {
        let high = self.reduce(high);
        let value = _mm256_fmadd_pd(to_double(high), _mm256_set1_pd(4_294_967_296.0), to_double(low));
        // The 64-bit difference is right although high 2^32 wraps: the true result is below q.
        self.subtract(_mm256_add_epi64(_mm256_slli_epi64::<32>(high), low), _mm256_mul_pd(value, self.inverse))
    }

    /// a b mod q in [-0.76 q, 0.76 q] for integers |a|, |b| <= 3q/4 < 2^50, all in double precision.
    ///
    /// The FMA makes the product exact as h + l; h - k q is exact because it is an integer below 2^52
    /// (van der Hoeven, Lecerf, Quintin, "Modular SIMD arithmetic in Mathemagix", section 3).
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn multiply(self, a: __m256d, b: __m256d) -> __m256d {
        let h = _mm256_mul_pd(a, b);
        let l = _mm256_fmsub_pd(a, b, h);
        let k = _mm256_round_pd::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(_mm256_mul_pd(h, self.inverse));
        _mm256_add_pd(_mm256_fnmadd_pd(k, self.q_double, h), l)
    }
}

/// Any signed integer, rounded.
#[target_feature(enable = "avx2")]
#[inline]
fn to_double(x: __m256i) -> __m256d {
    // The high half is put into the mantissa of 2^84 with its sign bit flipped, the low one into that of
    // 2^52; then 2^84, 2^52 and the flipped bit, 2^63, are taken away.
    let high = _mm256_xor_si256(_mm256_srli_epi64::<32>(x), _mm256_set1_epi64x(0x4530_0000_8000_0000));
    let low = _mm256_blend_epi32::<0b1010_1010>(x, _mm256_set1_epi64x(0x4330_0000_0000_0000));
    let offset = _mm256_castsi256_pd(_mm256_set1_epi64x(0x4530_0000_8010_0000));
    _mm256_add_pd(_mm256_sub_pd(_mm256_castsi256_pd(high), offset), _mm256_castsi256_pd(low))
}

/// An integer below 2^51 in absolute value, exactly.
#[target_feature(enable = "avx2")]
#[inline]
fn small_to_double(x: __m256i) -> __m256d {
    let magic = _mm256_set1_pd(MAGIC);
    _mm256_sub_pd(_mm256_castsi256_pd(_mm256_add_epi64(x, _mm256_castpd_si256(magic))), magic)
}

/// The nearest integer to a number below 2^51 in absolute value.
#[target_feature(enable = "avx2")]
#[inline]
fn small_to_integer(x: __m256d) -> __m256i {
    let magic = _mm256_set1_pd(MAGIC);
    _mm256_sub_epi64(_mm256_castpd_si256(_mm256_add_pd(x, magic)), _mm256_castpd_si256(magic))
}

/// The low 64 bits of the products.
#[target_feature(enable = "avx2")]
#[inline]
fn multiply_low(a: __m256i, b: __m256i) -> __m256i {
    let cross = _mm256_mullo_epi32(a, _mm256_shuffle_epi32::<0b10_11_00_01>(b));
    let cross = _mm256_add_epi32(cross, _mm256_srli_epi64::<32>(cross));
    _mm256_add_epi64(_mm256_mul_epu32(a, b), _mm256_slli_epi64::<32>(cross))
}

#[target_feature(enable = "avx2")]
#[inline]
fn read(tile: &Tile, x: usize) -> __m256i {
    debug_assert!(x < VECTORS);
    let lanes = &tile.0[x * LANES..(x + 1) * LANES];
    // SAFETY: the slice holds LANES words; the load needs no alignment.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn write(tile: &mut Tile, x: usize, vector: __m256i) {
    let lanes = &mut tile.0[x * LANES..(x + 1) * LANES];
    // SAFETY: the slice holds LANES words; the store needs no alignment.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), vector) }
}

/// See [`kernel::load`](super::kernel::load).
#[target_feature(enable = "avx2")]
pub fn load(prime: &Prime, residues: &[u64], panels: &mut [Tile], columns: usize) {
    let (q, half) = (_mm256_set1_epi64x(prime.value), _mm256_set1_epi64x(prime.value / 2));
    for (residues, tile) in residues.as_chunks::<TILE>().0.iter().zip(panels.iter_mut().step_by(columns)) {
        for (x, residues) in residues.as_chunks::<LANES>().0.iter().enumerate() {
            // SAFETY: the array holds LANES words; the load needs no alignment.
            let residue = unsafe { _mm256_loadu_si256(residues.as_ptr().cast()) };
            write(tile, x, _mm256_sub_epi64(residue, _mm256_and_si256(_mm256_cmpgt_epi64(residue, half), q)));
        }
    }
}

/// See [`kernel::store`](super::kernel::store), and the AVX-512 version for why results go past the cache.
#[target_feature(enable = "avx2")]
pub fn store(prime: &Prime, tile: &Tile, residues: &mut [u64]) {
    assert_eq!(residues.len(), TILE);
    let (q, zero) = (_mm256_set1_epi64x(prime.value), _mm256_setzero_si256());
    let aligned = residues.as_ptr().cast::<__m256i>().is_aligned();
    for (x, lanes) in residues.chunks_exact_mut(LANES).enumerate() {
        let balanced = read(tile, x);
        let negative = _mm256_cmpgt_epi64(zero, balanced);
        let reduced = _mm256_add_epi64(balanced, _mm256_and_si256(negative, q));
        let place = lanes.as_mut_ptr().cast();
        if aligned {
            // SAFETY: the chunk holds LANES words and is aligned, as the first one is and each is 32 bytes long.
            unsafe { _mm256_stream_si256(place, reduced) };
        } else {
            // SAFETY: the chunk holds LANES words; the store needs no alignment.
            unsafe { _mm256_storeu_si256(place, reduced) };
        }
    }
}

/// See [`kernel::affine`](super::kernel::affine).
#[target_feature(enable = "avx2,fma")]
pub fn affine(
    prime: &Prime,
    block: Block<'_>,
    products: &Products,
    panel: &[Tile],
    bias: &[i64],
    out: &mut [Tile],
    at: &[u32],
) {
    if let Products::Doubles(ends, weights) = products {
        return match block.rows.len() {
            1 => doubles::<1, 8>(prime, block.taps, weights, ends, panel, bias, out, at),
            2 => doubles::<2, 4>(prime, block.taps, weights, ends, panel, bias, out, at),
            3 => doubles::<3, 2>(prime, block.taps, weights, ends, panel, bias, out, at),
            4 => doubles::<4, 2>(prime, block.taps, weights, ends, panel, bias, out, at),
            _ => doubles::<5, 2>(prime, block.taps, weights, ends, panel, bias, out, at),
        };
    }
    let ends = products.ends();
    match block.rows.len() {
        1 => halves::<1, 2>(prime, block, ends, panel, bias, out, at),
        2 => halves::<2, 2>(prime, block, ends, panel, bias, out, at),
        3 => halves::<3, 1>(prime, block, ends, panel, bias, out, at),
        4 => halves::<4, 1>(prime, block, ends, panel, bias, out, at),
        _ => halves::<5, 1>(prime, block, ends, panel, bias, out, at),
    }
}

/// One multiply-add for each weight and residue, in double precision: R rows, W vectors of the tile at a time.
#[target_feature(enable = "avx2,fma")]
#[allow(clippy::too_many_arguments)]
fn doubles<const R: usize, const W: usize>(
    prime: &Prime,
    taps: &[u32],
    weights: &[f64],
    ends: &[u32],
    panel: &[Tile],
    bias: &[i64],
    out: &mut [Tile],
    at: &[u32],
) {
    let (weights, rest) = weights.as_chunks::<R>();
    assert!(weights.len() == taps.len() && rest.is_empty() && bias.len() == R && at.len() == R);
    let reduction = Reduction::new(prime);
    for x in (0..VECTORS).step_by(W) {
        let mut sums: [[__m256d; W]; R] = std::array::from_fn(|o| [_mm256_set1_pd(bias[o] as f64); W]);
        let mut start = 0;
        for &end in ends {
            let end = end as usize;
            for (&tap, weights) in taps[start..end].iter().zip(&weights[start..end]) {
                let tile = &panel[tap as usize];
                let values: [__m256d; W] = std::array::from_fn(|i| small_to_double(read(tile, x + i)));
                for (sums, &weight) in sums.iter_mut().zip(weights) {
                    let weight = _mm256_set1_pd(weight);
                    for (sum, value) in sums.iter_mut().zip(values) {
                        *sum = _mm256_fmadd_pd(value, weight, *sum);
                    }
                }
            }
            for sum in sums.as_flattened_mut() {
                *sum = reduction.reduce_double(*sum);
            }
            start = end;
        }
        for (sums, &at) in sums.into_iter().zip(at) {
            for (i, sum) in sums.into_iter().enumerate() {
                write(&mut out[at as usize], x + i, small_to_integer(sum));
            }
        }
    }
}

/// Two 32-bit products for each weight and residue: R rows, W vectors of the tile at a time, as many as the 16 registers
/// hold.
#[target_feature(enable = "avx2,fma")]
fn halves<const R: usize, const W: usize>(
    prime: &Prime,
    block: Block<'_>,
    ends: &[u32],
    panel: &[Tile],
    bias: &[i64],
    out: &mut [Tile],
    at: &[u32],
) {
    let (weights, rest) = block.weights.as_chunks::<R>();
    assert!(weights.len() == block.taps.len() && rest.is_empty() && bias.len() == R && at.len() == R);
    let reduction = Reduction::new(prime);
    // x = high 2^32 + low with low signed: adding 2^31 first makes the shift round to nearest.
    let round = _mm256_set1_epi64x(1 << 31);
    for x in (0..VECTORS).step_by(W) {
        let mut low: [[__m256i; W]; R] = std::array::from_fn(|o| [_mm256_set1_epi64x(bias[o]); W]);
        let mut high = [[_mm256_setzero_si256(); W]; R];
        let mut start = 0;
        for (i, &end) in ends.iter().enumerate() {
            let end = end as usize;
            for (&tap, weights) in block.taps[start..end].iter().zip(&weights[start..end]) {
                let tile = &panel[tap as usize];
                let lows: [__m256i; W] = std::array::from_fn(|i| read(tile, x + i));
                let highs = lows.map(|v| _mm256_srli_epi64::<32>(_mm256_add_epi64(v, round)));
                for ((low, high), &weight) in low.iter_mut().zip(&mut high).zip(weights) {
                    // Only the low half of each lane counts; set1_epi64x would sign-extend in vain.
                    let weight = _mm256_set1_epi32(weight as i32);
                    for i in 0..W {
                        low[i] = _mm256_add_epi64(low[i], _mm256_mul_epi32(lows[i], weight));
                        high[i] = _mm256_add_epi64(high[i], _mm256_mul_epi32(highs[i], weight));
                    }
                }
            }
            if i + 1 < ends.len() {
                for sum in low.as_flattened_mut().iter_mut().chain(high.as_flattened_mut()) {
                    *sum = reduction.reduce(*sum);
                }
            }
            start = end;
        }
        for (o, &at) in at.iter().enumerate() {
            for i in 0..W {
                write(&mut out[at as usize], x + i, reduction.join(low[o][i], high[o][i]));
            }
        }
    }
}

/// See [`kernel::square`](super::kernel::square); for primes below [`Prime::SQUARE_LIMIT`].
#[target_feature(enable = "avx2,fma")]
pub fn square(
    prime: &Prime,
    size: usize,
    input: &[Tile],
    input_stride: usize,
    output: &mut [Tile],
    output_stride: usize,
) {
    let reduction = Reduction::new(prime);
    for k in 0..2 * size - 1 {
        for x in 0..VECTORS {
            let mut sum = _mm256_setzero_pd();
            for i in (k + 1).saturating_sub(size)..=k / 2 {
                let j = k - i;
                let a = small_to_double(read(&input[i * input_stride], x));
                let b = small_to_double(read(&input[j * input_stride], x));
                let product = reduction.multiply(a, b);
                sum = _mm256_add_pd(sum, if i == j { product } else { _mm256_add_pd(product, product) });
            }
            // Up to eight products: a whole number below 2^53.
            write(&mut output[k * output_stride], x, small_to_integer(reduction.reduce_double(sum)));
        }
    }
}
