//! AVX-512 kernels: 64-bit low products (F, DQ) with quotients in double precision, and multiply-adds of 52 bits (IFMA).

use std::arch::x86_64::*;

use super::accumulate::{Prime, Products};
use super::kernel::{Spans, TILE, Tile};
use super::matrix::Block;
use super::reduction::{Reduction, WordReduction};

/// 64-bit lanes of a vector.
const LANES: usize = 8;
/// Vectors of a tile.
const VECTORS: usize = TILE / LANES;

type Vectors = [__m512i; VECTORS];

#[target_feature(enable = "avx512f")]
#[inline]
fn read_vector(tile: &Tile, x: usize) -> __m512i {
    let lanes = &tile.0[x * LANES..(x + 1) * LANES];
    // SAFETY: the slice holds LANES words; the load needs no alignment.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn read(tile: &Tile) -> Vectors {
    std::array::from_fn(|x| read_vector(tile, x))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn write_vector(tile: &mut Tile, x: usize, vector: __m512i) {
    let lanes = &mut tile.0[x * LANES..(x + 1) * LANES];
    // SAFETY: the slice holds LANES words; the store needs no alignment.
    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), vector) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn write(tile: &mut Tile, vectors: Vectors) {
    for (x, vector) in vectors.into_iter().enumerate() {
        write_vector(tile, x, vector);
    }
}

/// See [`kernel::store`](super::kernel::store). Results go past the cache: they are spread over more pages than it
/// keeps, and nothing reads them before all are written (convolutions: 2.5 times as fast).
#[target_feature(enable = "avx512f")]
pub fn store(prime: &Prime, tile: &Tile, residues: &mut [u64]) {
    assert_eq!(residues.len(), TILE);
    let q = _mm512_set1_epi64(prime.value);
    for (x, lanes) in residues.chunks_exact_mut(LANES).enumerate() {
        store_vector(q, read_vector(tile, x), lanes);
    }
}

/// Eight balanced residues, brought to `[0, q)`.
#[target_feature(enable = "avx512f")]
#[inline]
fn store_vector(q: __m512i, balanced: __m512i, lanes: &mut [u64]) {
    let lanes: &mut [u64; LANES] = lanes.try_into().expect("a vector of residues");
    let negative = _mm512_cmplt_epi64_mask(balanced, _mm512_setzero_si512());
    let reduced = _mm512_mask_add_epi64(balanced, negative, balanced, q);
    let place: *mut __m512i = lanes.as_mut_ptr().cast();
    if place.is_aligned() {
        // SAFETY: the array holds LANES words and is aligned.
        unsafe { _mm512_stream_si512(place, reduced) };
    } else {
        // SAFETY: the array holds LANES words; the store needs no alignment.
        unsafe { _mm512_storeu_si512(place, reduced) };
    }
}

/// Makes what [`store`] has written visible to other threads.
pub fn finish_stores() {
    // SAFETY: a fence has no precondition on a CPU with SSE, which x86-64 includes.
    unsafe { _mm_sfence() };
}

/// See [`kernel::load`](super::kernel::load).
#[target_feature(enable = "avx512f")]
pub fn load(prime: &Prime, residues: &[u64], tile: &mut Tile) {
    assert_eq!(residues.len(), TILE);
    let (q, half) = (_mm512_set1_epi64(prime.value), _mm512_set1_epi64(prime.value / 2));
    write(
        tile,
        std::array::from_fn(|x| {
            // SAFETY: the slice holds TILE words; the load needs no alignment.
            let residue = unsafe { _mm512_loadu_si512(residues.as_ptr().add(x * LANES).cast()) };
            _mm512_mask_sub_epi64(residue, _mm512_cmpgt_epi64_mask(residue, half), residue, q)
        }),
    );
}

/// See [`kernel::affine`](super::kernel::affine).
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub fn affine(
    prime: &Prime,
    block: Block<'_>,
    products: &Products,
    panel: &[Tile],
    bias: &[i64],
    out: &mut [Tile],
    at: &[u32],
) {
    let put = |row: usize, first: usize, sums: &[__m512i]| {
        let tile = &mut out[at[row] as usize];
        for (x, &sum) in sums.iter().enumerate() {
            write_vector(tile, first + x, sum);
        }
    };
    sums(prime, block, products, panel, bias, put);
}

/// See [`kernel::affine_stored`](super::kernel::affine_stored): from the registers to memory, since what waits for a
/// store past the cache waits long.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub fn affine_stored(
    prime: &Prime,
    block: Block<'_>,
    products: &Products,
    panel: &[Tile],
    bias: &[i64],
    spans: &mut Spans<'_, '_>,
) {
    let q = _mm512_set1_epi64(prime.value);
    let put = |row: usize, first: usize, sums: &[__m512i]| {
        let place = &mut spans.tile(block.rows[row])[first * LANES..][..sums.len() * LANES];
        for (&sum, lanes) in sums.iter().zip(place.chunks_exact_mut(LANES)) {
            store_vector(q, sum, lanes);
        }
    };
    sums(prime, block, products, panel, bias, put);
}

/// The balanced sums of a block, handed to `put` as the row, the first of some vectors of its tile, and these.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
#[inline]
fn sums(
    prime: &Prime,
    block: Block<'_>,
    products: &Products,
    panel: &[Tile],
    bias: &[i64],
    put: impl FnMut(usize, usize, &[__m512i]),
) {
    match block.rows.len() {
        1 => rows::<1>(prime, block, products, panel, bias, put),
        2 => rows::<2>(prime, block, products, panel, bias, put),
        3 => rows::<3>(prime, block, products, panel, bias, put),
        4 => rows::<4>(prime, block, products, panel, bias, put),
        _ => rows::<5>(prime, block, products, panel, bias, put),
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn rows<const R: usize>(
    prime: &Prime,
    block: Block<'_>,
    products: &Products,
    panel: &[Tile],
    bias: &[i64],
    put: impl FnMut(usize, usize, &[__m512i]),
) {
    let (weights, rest) = block.weights.as_chunks::<R>();
    assert!(weights.len() == block.taps.len() && rest.is_empty() && bias.len() == R);
    match products {
        Products::Words(ends) => words::<R>(prime, block.taps, weights, ends, panel, bias, put),
        Products::Whole(ends) => whole::<R>(prime, block.taps, weights, ends, panel, bias, put),
        Products::Halves(ends) | Products::Doubles(ends, _) => {
            halves::<R>(prime, block.taps, weights, ends, panel, bias, put)
        }
    }
}

/// One multiply-add modulo 2^52 for each weight and residue: of signed words only the low 52 bits count.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
#[inline]
fn words<const R: usize>(
    prime: &Prime,
    taps: &[u32],
    weights: &[[i64; R]],
    ends: &[u32],
    panel: &[Tile],
    bias: &[i64],
    mut put: impl FnMut(usize, usize, &[__m512i]),
) {
    let reduction = WordReduction::new(prime);
    let mut sums: [Vectors; R] = std::array::from_fn(|o| [_mm512_set1_epi64(bias[o]); VECTORS]);
    let mut start = 0;
    for &end in ends {
        let end = end as usize;
        for sum in sums.as_flattened_mut() {
            *sum = _mm512_add_epi64(*sum, reduction.shift);
        }
        for (&tap, weights) in taps[start..end].iter().zip(&weights[start..end]) {
            let tile = read(&panel[tap as usize]);
            for (sum, &weight) in sums.iter_mut().zip(weights) {
                let weight = _mm512_set1_epi64(weight);
                for (sum, x) in sum.iter_mut().zip(tile) {
                    *sum = _mm512_madd52lo_epu64(*sum, x, weight);
                }
            }
        }
        for sum in sums.as_flattened_mut() {
            *sum = reduction.reduce(*sum);
        }
        start = end;
    }
    for (row, sum) in sums.iter().enumerate() {
        put(row, 0, sum);
    }
}

/// One 64-bit product for each weight and residue.
#[target_feature(enable = "avx512f,avx512dq")]
#[inline]
fn whole<const R: usize>(
    prime: &Prime,
    taps: &[u32],
    weights: &[[i64; R]],
    ends: &[u32],
    panel: &[Tile],
    bias: &[i64],
    mut put: impl FnMut(usize, usize, &[__m512i]),
) {
    let reduction = Reduction::new(prime);
    let mut sums: [Vectors; R] = std::array::from_fn(|o| [_mm512_set1_epi64(bias[o]); VECTORS]);
    let mut start = 0;
    for &end in ends {
        let end = end as usize;
        for (&tap, weights) in taps[start..end].iter().zip(&weights[start..end]) {
            let tile = read(&panel[tap as usize]);
            for (sum, &weight) in sums.iter_mut().zip(weights) {
                let weight = _mm512_set1_epi64(weight);
                for (sum, x) in sum.iter_mut().zip(tile) {
                    *sum = _mm512_add_epi64(*sum, _mm512_mullo_epi64(x, weight));
                }
            }
        }
        for sum in sums.as_flattened_mut() {
            *sum = reduction.reduce(*sum);
        }
        start = end;
    }
    for (row, sum) in sums.iter().enumerate() {
        put(row, 0, sum);
    }
}

/// Two 32-bit products for each weight and residue, two vectors of a tile at a time.
#[target_feature(enable = "avx512f,avx512dq")]
#[inline]
fn halves<const R: usize>(
    prime: &Prime,
    taps: &[u32],
    weights: &[[i64; R]],
    ends: &[u32],
    panel: &[Tile],
    bias: &[i64],
    mut put: impl FnMut(usize, usize, &[__m512i]),
) {
    const WIDTH: usize = 2;
    let reduction = Reduction::new(prime);
    // x = high 2^32 + low with low signed: adding 2^31 first makes the shift round to nearest.
    let round = _mm512_set1_epi64(1 << 31);
    for x in (0..VECTORS).step_by(WIDTH) {
        let mut low: [[__m512i; WIDTH]; R] = std::array::from_fn(|o| [_mm512_set1_epi64(bias[o]); WIDTH]);
        let mut high = [[_mm512_setzero_si512(); WIDTH]; R];
        let mut start = 0;
        for (i, &end) in ends.iter().enumerate() {
            let end = end as usize;
            for (&tap, weights) in taps[start..end].iter().zip(&weights[start..end]) {
                let tile = &panel[tap as usize];
                let lows: [__m512i; WIDTH] = std::array::from_fn(|i| read_vector(tile, x + i));
                let highs = lows.map(|v| _mm512_srli_epi64::<32>(_mm512_add_epi64(v, round)));
                for ((low, high), &weight) in low.iter_mut().zip(&mut high).zip(weights) {
                    // Only the low half of each lane counts; set1_epi64 would sign-extend in vain.
                    let weight = _mm512_set1_epi32(weight as i32);
                    for i in 0..WIDTH {
                        low[i] = _mm512_add_epi64(low[i], _mm512_mul_epi32(lows[i], weight));
                        high[i] = _mm512_add_epi64(high[i], _mm512_mul_epi32(highs[i], weight));
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
        for (row, (low, high)) in low.iter().zip(&high).enumerate() {
            let sums: [__m512i; WIDTH] = std::array::from_fn(|i| reduction.join(low[i], high[i]));
            put(row, x, &sums);
        }
    }
}

/// See [`kernel::square`](super::kernel::square); for primes below [`Prime::SQUARE_LIMIT`].
#[target_feature(enable = "avx512f,avx512dq")]
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
        let mut sum = [_mm512_setzero_si512(); VECTORS];
        for i in (k + 1).saturating_sub(size)..=k / 2 {
            let j = k - i;
            let (a, b) = (read(&input[i * input_stride]), read(&input[j * input_stride]));
            for x in 0..VECTORS {
                // |a|, |b| <= 3q/4: the quotient of a b is below 2^50, its error below 1/4.
                let quotient =
                    _mm512_mul_pd(_mm512_mul_pd(_mm512_cvtepi64_pd(a[x]), reduction.inverse), _mm512_cvtepi64_pd(b[x]));
                let product = reduction.subtract(_mm512_mullo_epi64(a[x], b[x]), quotient);
                sum[x] = _mm512_add_epi64(sum[x], if i == j { product } else { _mm512_slli_epi64::<1>(product) });
            }
        }
        write(&mut output[k * output_stride], sum.map(|x| reduction.reduce(x)));
    }
}
