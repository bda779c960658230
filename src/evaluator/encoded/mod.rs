//! Affine maps by encoded weights: the arithmetic of PyCrCNN's layers.
//!
//! In the per-value layout one ciphertext holds one number, and a weight is a polynomial too: the
//! fractional or integer encoding of a number, a sparse polynomial with small signed coefficients.
//! An output is a sum of products of such polynomials and ciphertexts.
//!
//! All of it happens on values in NTT form. There a weight `sum c_e X^e` is `sum c_e NTT(X^e)`, so the
//! weights of a layer are expanded tile by tile from the few monomials that occur, in the cache, right
//! where they are multiplied: no weight is ever transformed, and a layer of 10,000 weights needs no
//! memory for them.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod bias;
mod map;
mod portable;
#[cfg(test)]
mod tests;
mod weights;

pub use map::EncodedMap;
pub use weights::SparsePolynomial;

use weights::Terms;

/// Residues that are processed together: four 512-bit vectors.
const TILE: usize = 32;

/// Residues that one task works on: a small table of weights, expanded, stays in the second-level cache.
const SPAN: usize = 128;

/// Tiles in a span.
const TILES: usize = SPAN / TILE;

/// One tile of residues.
type Tile = [u64; TILE];

/// The two kernels, bound to one prime and to the best instruction set for it.
#[derive(Debug, Clone, Copy)]
enum Kernel {
    Portable(portable::Kernel),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Kernel),
}

impl Kernel {
    fn new(backend: crate::ring::backend::Backend, modulus: crate::ring::Modulus) -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(kernel) = avx512::Kernel::new(backend, modulus) {
            return Kernel::Avx512(kernel);
        }
        let _ = backend;
        Kernel::Portable(portable::Kernel::new(modulus))
    }

    /// The residues of a weight: the signed sum of its monomials, reduced.
    fn expand(&self, terms: &Terms, monomials: &[Tile]) -> Tile {
        match self {
            Kernel::Portable(kernel) => kernel.expand(terms, monomials),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512(kernel) => kernel.expand(terms, monomials),
        }
    }

    /// `out = start + sum of the products`, reduced; start is zero where there is none.
    fn accumulate<'a>(
        &self,
        products: impl Iterator<Item = (&'a Tile, &'a Tile)>,
        start: Option<&Tile>,
        out: &mut Tile,
    ) {
        match self {
            Kernel::Portable(kernel) => kernel.accumulate(products, start, out),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512(kernel) => kernel.accumulate(products, start, out),
        }
    }
}
