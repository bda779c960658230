//! Microsoft SEAL: its binary format in safe Rust, and the library itself as source of keys and as oracle.
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`wire`] | the bytes that SEAL 4.0 saves and loads, read and written without SEAL |
//! | [`blake2xb`] | the generator that expands SEAL's seeds |
//! | [`keys`] | the keys that SEAL makes, and the Galois elements of rotations |
//! | [`bridge`] | [`SealSession`](bridge::SealSession): SEAL's keys, encryption, decryption and evaluator on this crate's types |
//!
//! Bytes from outside pass through [`wire`] alone. SEAL's own loader, which was not written for hostile
//! input, only ever gets bytes that [`wire`] has written.

pub mod blake2xb;
pub mod bridge;
mod evaluator;
mod ffi;
pub mod keys;
mod oracle;
pub mod wire;

pub use bridge::SealSession;
pub use evaluator::{Evaluator, Keys, Loaded, LoadedPlaintext};
pub use oracle::Object;
