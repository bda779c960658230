//! Networks on the batched layout: one ciphertext holds one value of many images, one a slot.
//!
//! There a weight multiplies a whole ciphertext by one integer, so an affine map, and in NTT form a
//! square too, acts on every residue alone. A [`Segment`] of such steps, with no rescaling between
//! them, is therefore evaluated residue by residue: a tile of neighbouring residues of all inputs is
//! taken through all steps within the cache, and intermediate ciphertexts are never made. Squares are
//! not relinearised: an affine map acts on three polynomials as on two, and fewer ciphertexts are
//! left to relinearise after it.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `matrix` | sparse integer matrices and their blocks of rows |
//! | `group` | which rows are computed together |
//! | `affine` | an affine map: a matrix and biases |
//! | `segment` | steps, their checks, their evaluation span by span |
//! | `pass` | all steps on one tile |
//! | `accumulate` | how many products a 64-bit sum may hold |
//! | `kernel` | the kernels and their choice by backend |
//! | `portable`, `avx2`, `avx512` | one backend each |
//! | `reduction` | how AVX-512 reduces sums |

mod accumulate;
mod affine;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod group;
mod kernel;
mod matrix;
mod pass;
mod portable;
#[cfg(target_arch = "x86_64")]
mod reduction;
mod segment;

pub use affine::ScalarAffine;
pub use matrix::ScalarMatrix;
pub use segment::{Segment, Step};

#[cfg(test)]
mod tests;
