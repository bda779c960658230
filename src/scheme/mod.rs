//! What the two schemes, BFV and CKKS, are made of: parameters, plaintexts, ciphertexts, keys.

pub mod ciphertext;
pub mod context;
pub mod keys;
pub mod parameters;
pub mod plaintext;
pub mod security;

pub use ciphertext::{Ciphertext, Form};
pub use context::Context;
pub use keys::{EvaluationKeys, KeySwitchKey, PublicKey, SecretKey};
pub use parameters::{Parameters, ParmsId, Scheme};
pub use plaintext::Plaintext;
