//! AVX-512 kernels (F, DQ): sums in double precision or of 64-bit low products, with quotients in double precision.

use std::arch::x86_64::*;

use super::accumulate::{Prime, Products};
use super::kernel::{Spans, TILE, Tile};
use super::matrix::Block;
use super::reduction::Reduction;

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
fn write(tile: &mut Tile, vectors: &Vectors) {
    for (x, &vector) in vectors.iter().enumerate() {
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
pub fn load(prime: &Prime, residues: &[u64], panels: &mut [Tile], columns: usize) {
    let (q, half) = (_mm512_set1_epi64(prime.value), _mm512_set1_epi64(prime.value / 2));
    for (residues, tile) in residues.as_chunks::<TILE>().0.iter().zip(panels.iter_mut().step_by(columns)) {
        for x in 0..VECTORS {
            // SAFETY: the array holds TILE words; the load needs no alignment.
            let residue = unsafe { _mm512_loadu_si512(residues.as_ptr().add(x * LANES).cast()) };
            let large = _mm512_cmpgt_epi64_mask(residue, half);
            write_vector(tile, x, _mm512_mask_sub_epi64(residue, large, residue, q));
        }
    }
}

/// Calls a function of a block's height, its number of rows.
macro_rules! by_height {
    ($function:ident, $rows:expr, $($argument:expr),*) => {
        match $rows.len() {
            1 => $function::<1>($($argument),*),
            2 => $function::<2>($($argument),*),
            3 => $function::<3>($($argument),*),
            4 => $function::<4>($($argument),*),
            _ => $function::<5>($($argument),*),
        }
    };
}

/// See [`kernel::affine`](super::kernel::affine).
#[target_feature(enable = "avx512f,avx512dq")]
pub fn affine(
    prime: &Prime,
    block: Block<'_>,
    products: &Products,
    panel: &[Tile],
    bias: &[i64],
    out: &mut [Tile],
    at: &[u32],
) {
    by_height!(kept, block.rows, prime, block, products, panel, bias, out, at)
}

#[target_feature(enable = "avx512f,avx512dq")]
fn kept<const R: usize>(
    prime: &Prime,
    block: Block<'_>,
    products: &Products,
    panel: &[Tile],
    bias: &[i64],
    out: &mut [Tile],
    at: &[u32],
) {
    sums::<R>(prime, block, products, panel, 1, bias, |_, row, sums| write(&mut out[at[row] as usize], sums));
}

/// See [`kernel::affine_stored`](super::kernel::affine_stored): from the registers to memory, since what waits for a
/// store past the cache waits long.
#[target_feature(enable = "avx512f,avx512dq")]
pub fn affine_stored(
    prime: &Prime,
    block: Block<'_>,
    products: &Products,
    panels: &[Tile],
    bias: &[i64],
    spans: &mut Spans<'_, '_>,
) {
    by_height!(stored, block.rows, prime, block, products, panels, bias, spans)
}

#[target_feature(enable = "avx512f,avx512dq")]
fn stored<const R: usize>(
    prime: &Prime,
    block: Block<'_>,
    products: &Products,
    panels: &[Tile],
    bias: &[i64],
    spans: &mut Spans<'_, '_>,
) {
    let q = _mm512_set1_epi64(prime.value);
    let (tiles, offset) = (spans.tiles, spans.offset);
    let mut rows = spans.rows::<R>(block.rows);
    sums::<R>(prime, block, products, panels, tiles, bias, |tile, row, sums| {
        let place = &mut rows[row][offset + tile * TILE..][..TILE];
        for (lanes, &sum) in place.chunks_exact_mut(LANES).zip(sums) {
            store_vector(q, sum, lanes);
        }
    });
}

/// The balanced sums of a block of R rows from each of some panels, handed to `put` as the panel's number, the row's
/// in the block, and a tile.
#[target_feature(enable = "avx512f,avx512dq")]
#[inline]
fn sums<const R: usize>(
    prime: &Prime,
    block: Block<'_>,
    products: &Products,
    panels: &[Tile],
    tiles: usize,
    bias: &[i64],
    mut put: impl FnMut(usize, usize, &Vectors),
) {
    let reduction = Reduction::new(prime);
    let bias: [i64; R] = bias.try_into().expect("a bias for each row");
    let columns = panels.len() / tiles;
    for tile in 0..tiles {
        let panel = &panels[tile * columns..(tile + 1) * columns];
        let sums = match products {
            Products::Doubles(ends, weights) => {
                let begin = |bias| _mm512_set1_pd(bias as f64);
                let load = |x| _mm512_cvtepi64_pd(x);
                let multiply_add = |sum, x, weight| _mm512_fmadd_pd(x, _mm512_set1_pd(weight), sum);
                let reduce = |sum| reduction.reduce_double(sum);
                let end = |sum| _mm512_cvtpd_epi64(sum);
                walk(block.taps, weights, ends, panel, bias, begin, load, multiply_add, reduce, end)
            }
            Products::Whole(ends) => {
                let begin = |bias| _mm512_set1_epi64(bias);
                let multiply_add =
                    |sum, x, weight| _mm512_add_epi64(sum, _mm512_mullo_epi64(x, _mm512_set1_epi64(weight)));
                let reduce = |sum| reduction.reduce(sum);
                walk(block.taps, block.weights, ends, panel, bias, begin, |x| x, multiply_add, reduce, |sum| sum)
            }
            Products::Halves(ends) => halves(reduction, block, ends, panel, bias),
        };
        for (row, sums) in sums.iter().enumerate() {
            put(tile, row, sums);
        }
    }
}

/// The reduced sums of R rows over `taps`, `begin`ning with biases: what is read from a tile goes through `load`, and
/// there is one `multiply_add` for each weight, `[tap][row]`, and vector.
#[target_feature(enable = "avx512f")]
#[inline]
#[allow(clippy::too_many_arguments)]
fn walk<const R: usize, W: Copy, V: Copy>(
    taps: &[u32],
    weights: &[W],
    ends: &[u32],
    panel: &[Tile],
    bias: [i64; R],
    begin: impl Fn(i64) -> V,
    load: impl Fn(__m512i) -> V,
    multiply_add: impl Fn(V, V, W) -> V,
    reduce: impl Fn(V) -> V,
    end: impl Fn(V) -> __m512i,
) -> [Vectors; R] {
    let (weights, rest) = weights.as_chunks::<R>();
    assert!(weights.len() == taps.len() && rest.is_empty());
    // `from_fn` and not `map`, which is not compiled for these registers.
    let mut sums: [[V; VECTORS]; R] = std::array::from_fn(|o| [begin(bias[o]); VECTORS]);
    let mut start = 0;
    for &stop in ends {
        let stop = stop as usize;
        for (&tap, weights) in taps[start..stop].iter().zip(&weights[start..stop]) {
            let tile: [V; VECTORS] = std::array::from_fn(|x| load(read_vector(&panel[tap as usize], x)));
            for (sums, &weight) in sums.iter_mut().zip(weights) {
                for (sum, x) in sums.iter_mut().zip(tile) {
                    *sum = multiply_add(*sum, x, weight);
                }
            }
        }
        for sum in sums.as_flattened_mut() {
            *sum = reduce(*sum);
        }
        start = stop;
    }
    std::array::from_fn(|o| std::array::from_fn(|x| end(sums[o][x])))
}

/// Two 32-bit products for each weight and residue, two vectors of a tile at a time.
#[target_feature(enable = "avx512f,avx512dq")]
#[inline]
fn halves<const R: usize>(
    reduction: Reduction,
    block: Block<'_>,
    ends: &[u32],
    panel: &[Tile],
    bias: [i64; R],
) -> [Vectors; R] {
    const WIDTH: usize = 2;
    let (weights, rest) = block.weights.as_chunks::<R>();
    assert!(weights.len() == block.taps.len() && rest.is_empty());
    // x = high 2^32 + low with low signed: adding 2^31 first makes the shift round to nearest.
    let round = _mm512_set1_epi64(1 << 31);
    let mut sums = [[_mm512_setzero_si512(); VECTORS]; R];
    for x in (0..VECTORS).step_by(WIDTH) {
        let mut low: [[__m512i; WIDTH]; R] = std::array::from_fn(|o| [_mm512_set1_epi64(bias[o]); WIDTH]);
        let mut high = [[_mm512_setzero_si512(); WIDTH]; R];
        let mut start = 0;
        for (i, &end) in ends.iter().enumerate() {
            let end = end as usize;
            for (&tap, weights) in block.taps[start..end].iter().zip(&weights[start..end]) {
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
        for ((sums, low), high) in sums.iter_mut().zip(low).zip(high) {
            for i in 0..WIDTH {
                sums[x + i] = reduction.join(low[i], high[i]);
            }
        }
    }
    sums
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
        write(&mut output[k * output_stride], &sum.map(|x| reduction.reduce(x)));
    }
}
