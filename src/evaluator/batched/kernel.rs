//! The four kernels on tiles, for each backend.
//!
//! Tiles hold *balanced* residues (see [`accumulate`](super::accumulate)). Backends need not choose the same
//! representatives; what [`store`] writes is the same for all.

use super::accumulate::{Prime, Products};
use super::matrix::{BLOCK_ROWS, Block};
use super::portable;
use crate::ring::backend::Backend;

#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// Residues in a tile: four AVX-512 vectors.
pub(super) const TILE: usize = 32;

/// Neighbouring residues of one polynomial modulo one prime, balanced.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Tile(pub [i64; TILE]);

impl Tile {
    pub const ZERO: Self = Self([0; TILE]);
}

/// The places of a block's sums in a buffer of their own.
pub(super) const OWN_PLACES: [u32; BLOCK_ROWS] = [0, 1, 2, 3, 4];

/// The backend that serves a prime: vector kernels need primes of some size.
pub(super) fn serving(backend: Backend, prime: &Prime) -> Backend {
    if prime.value < Prime::VECTOR_MIN { Backend::Portable } else { backend }
}

/// How the affine kernel of a backend forms the products of a block: the quickest way that need not be interrupted by
/// reductions too often. With AVX-512, products of 64 bits are nearly as quick as those in double precision.
pub(super) fn products(backend: Backend, block: Block<'_>, prime: &Prime) -> Products {
    match backend {
        Backend::Avx512Ifma => Products::doubles(block, prime, 16).or_else(|| Products::whole(block, prime, 4)),
        Backend::Avx2 => Products::doubles(block, prime, 4),
        Backend::Portable => None,
    }
    .unwrap_or_else(|| Products::halves(block, prime))
}

/// Balances residues in `[0, q)`, whole tiles of one column: the first of these goes to the first of `panels`, each
/// other one `columns` further.
pub(super) fn load(backend: Backend, prime: &Prime, residues: &[u64], panels: &mut [Tile], columns: usize) {
    match backend {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this backend exists only where the CPU has the instructions.
        Backend::Avx512Ifma => unsafe { avx512::load(prime, residues, panels, columns) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Backend::Avx2 => unsafe { avx2::load(prime, residues, panels, columns) },
        _ => portable::load(prime, residues, panels, columns),
    }
}

/// Asks for the `len` residues after `offset` to be brought near the core, which may be past the
/// end of the slice: the next tiles of the polynomial, or whatever follows.
#[cfg(target_arch = "x86_64")]
pub(super) fn prefetch(residues: &[u64], offset: usize, len: usize) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    for line in (0..len).step_by(8) {
        // SAFETY: a prefetch reads nothing and cannot fault, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(residues.as_ptr().wrapping_add(offset + line).cast()) };
    }
}

/// A hint that other machines do without.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn prefetch(_residues: &[u64], _offset: usize, _len: usize) {}

/// Makes what [`store`] has written visible to other threads: to be called at the end of a task.
pub(super) fn finish_stores() {
    #[cfg(target_arch = "x86_64")]
    avx512::finish_stores();
}

/// Brings balanced residues to `[0, q)`. Call [`finish_stores`] before another thread reads them.
pub(super) fn store(backend: Backend, prime: &Prime, tile: &Tile, residues: &mut [u64]) {
    match backend {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this backend exists only where the CPU has the instructions.
        Backend::Avx512Ifma => unsafe { avx512::store(prime, tile, residues) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Backend::Avx2 => unsafe { avx2::store(prime, tile, residues) },
        _ => portable::store(prime, tile, residues),
    }
}

/// One block of an affine map: for each row o of the block,
/// `out[at[o]] = bias[o] + sum_t weights[t][o] panel[taps[t]]`.
///
/// `panel` has a tile for each column of the matrix; biases are below q in absolute value.
#[allow(clippy::too_many_arguments)]
pub(super) fn affine(
    backend: Backend,
    prime: &Prime,
    block: Block<'_>,
    products: &Products,
    panel: &[Tile],
    bias: &[i64],
    out: &mut [Tile],
    at: &[u32],
) {
    match backend {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this backend exists only where the CPU has the instructions.
        Backend::Avx512Ifma => unsafe { avx512::affine(prime, block, products, panel, bias, out, at) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Backend::Avx2 => unsafe { avx2::affine(prime, block, products, panel, bias, out, at) },
        _ => portable::affine(prime, block, products.ends(), panel, bias, out, at),
    }
}

/// A few neighbouring tiles of each output, of one polynomial.
pub(super) struct Spans<'a, 'b> {
    /// spans of the outputs, `[row][size]`
    pub outputs: &'a mut [&'b mut [u64]],
    pub size: usize,
    pub poly: usize,
    /// where in a span the first tile begins
    pub offset: usize,
    /// how many there are
    pub tiles: usize,
}

impl<'b> Spans<'_, 'b> {
    /// The place of a row's sums.
    pub fn row(&mut self, row: u32) -> &mut [u64] {
        &mut self.outputs[row as usize * self.size + self.poly][self.offset..][..self.tiles * TILE]
    }

    /// The spans of R rows, all different.
    pub fn rows<const R: usize>(&mut self, rows: &[u32]) -> [&mut &'b mut [u64]; R] {
        let places = std::array::from_fn(|o| rows[o] as usize * self.size + self.poly);
        self.outputs.get_disjoint_mut(places).expect("an output for each row of a block")
    }
}

/// [`affine`] and [`store`] in one, for the tiles of `spans`: the block's rows, in `[0, q)`, to their places.
/// `panels` holds a panel for each of these tiles.
pub(super) fn affine_stored(
    backend: Backend,
    prime: &Prime,
    block: Block<'_>,
    products: &Products,
    panels: &[Tile],
    bias: &[i64],
    spans: &mut Spans<'_, '_>,
) {
    #[cfg(target_arch = "x86_64")]
    if backend == Backend::Avx512Ifma {
        // SAFETY: this backend exists only where the CPU has the instructions.
        return unsafe { avx512::affine_stored(prime, block, products, panels, bias, spans) };
    }
    let columns = panels.len() / spans.tiles;
    let mut sums = [Tile::ZERO; BLOCK_ROWS];
    for tile in 0..spans.tiles {
        let panel = &panels[tile * columns..(tile + 1) * columns];
        affine(backend, prime, block, products, panel, bias, &mut sums, &OWN_PLACES[..bias.len()]);
        for (sum, &row) in sums.iter().zip(block.rows) {
            store(backend, prime, sum, &mut spans.row(row)[tile * TILE..(tile + 1) * TILE]);
        }
    }
}

/// The square of a value of `size` polynomials, without relinearisation: output polynomial k is the
/// sum of the products of input polynomials i and k - i, residue by residue.
///
/// Input polynomial i is `input[i * input_stride]`, output polynomial k `output[k * output_stride]`.
pub(super) fn square(
    backend: Backend,
    prime: &Prime,
    size: usize,
    input: &[Tile],
    input_stride: usize,
    output: &mut [Tile],
    output_stride: usize,
) {
    match backend {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this backend exists only where the CPU has the instructions.
        Backend::Avx512Ifma if prime.value < Prime::SQUARE_LIMIT => unsafe {
            avx512::square(prime, size, input, input_stride, output, output_stride)
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Backend::Avx2 if prime.value < Prime::SQUARE_LIMIT => unsafe {
            avx2::square(prime, size, input, input_stride, output, output_stride)
        },
        _ => portable::square(prime, size, input, input_stride, output, output_stride),
    }
}
