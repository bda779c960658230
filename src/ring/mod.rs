//! Arithmetic in Z_Q\[X\]/(X^N + 1), Q a product of NTT-friendly primes.

use aligned_vec::{AVec, ConstAlign};

pub mod automorphism;
pub mod backend;
pub mod crt;
pub mod kernels;
pub mod modulus;
pub mod ntt;
pub mod primes;
pub mod rns;

pub use automorphism::Automorphism;
pub use backend::Backend;
pub use crt::Crt;
pub use kernels::Kernels;
pub use modulus::Modulus;
pub use ntt::NttTable;
pub use rns::{BaseConverter, RnsBasis};

/// A buffer of residues, aligned to a cache line so that vector loads never straddle two.
pub type Residues = AVec<u64, ConstAlign<64>>;

/// A buffer of `len` zeros.
pub fn zeros(len: usize) -> Residues {
    AVec::from_iter(64, std::iter::repeat_n(0, len))
}

/// An aligned copy of `values`.
pub fn residues_from(values: &[u64]) -> Residues {
    AVec::from_slice(64, values)
}
