//! The evaluator against Microsoft SEAL's on the same ciphertexts.

mod bfv;
mod ckks;
mod fixture;
mod misuse;
mod products;
