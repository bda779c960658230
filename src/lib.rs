//! Convolutional neural networks on encrypted images.
//!
//! A client encrypts NumPy images, a server that holds no secret key evaluates a network on the
//! ciphertexts, the client decrypts the answer. The crate is a stack of layers, each using only
//! those above it in this list (`tests/layering.rs` enforces the order):
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`error`] | one error type, every variant with its data and a stable code |
//! | [`runtime`] | threads, cancellation, forks |
//! | [`ring`] | arithmetic in Z_Q\[X\]/(X^N + 1) |
//! | [`scheme`] | parameters, security tables, plaintexts, ciphertexts, keys |
//! | [`seal`] | Microsoft SEAL and its binary format |
//! | [`encoding`] | numbers to plaintexts and back |
//! | [`encryption`] | encryption, decryption, noise budget |
//! | [`evaluator`] | kernels on ciphertexts; knows no neural network |
//! | [`network`] | affine maps, activations, networks, fusion |
//! | [`plan`] | layouts, parameters, programs |
//! | [`protocol`] | what travels between client and server |
//! | [`client`] | the client's side of a program: keys, encryption, decryption |
//! | [`program`] | the server's side: evaluation, re-randomisation |

pub mod client;
pub mod encoding;
pub mod encryption;
pub mod error;
pub mod evaluator;
pub mod network;
pub mod plan;
pub mod program;
pub mod protocol;
pub mod ring;
pub mod runtime;
pub mod scheme;
pub mod seal;

#[cfg(feature = "python")]
mod python;

pub use error::{Error, Result};
