//! Arithmetic in Z_Q\[X\]/(X^N + 1), Q a product of NTT-friendly primes.

mod arena;
pub mod automorphism;
pub mod backend;
pub mod crt;
pub mod kernels;
pub mod modulus;
pub mod ntt;
pub mod primes;
pub mod residues;
pub mod rns;
pub mod rows;

pub use automorphism::Automorphism;
pub use backend::Backend;
pub use crt::Crt;
pub use kernels::Kernels;
pub use modulus::Modulus;
pub use ntt::NttTable;
pub use residues::Residues;
pub use rns::{BaseConverter, RnsBasis};
pub use rows::{Rows, Word};
