//! SEAL 4.0's binary format, read and written in safe Rust.
//!
//! Every object starts with a 16-byte header, little-endian as everything else:
//!
//! | bytes | field |
//! | --- | --- |
//! | 0-1 | magic number 0xA15E |
//! | 2 | size of the header, 16 |
//! | 3-4 | version of SEAL, major and minor |
//! | 5 | compression of what follows: 0 none, 1 zlib, 2 zstd |
//! | 6-7 | zero |
//! | 8-15 | size of the object with its header |
//!
//! and continues with its members; members that are objects themselves are stored with their own
//! header, uncompressed:
//!
//! | object | members |
//! | --- | --- |
//! | array | count (8), words |
//! | ciphertext | parms_id (32), NTT form (1), size, N, primes, scale, correction factor (8 each), array |
//! | seeded ciphertext | the same, but the array has the first polynomial only; then the seed: type (1), seed (64) |
//! | plaintext | parms_id (32, zero for BFV), coefficients, scale (8 each), array |
//! | secret key | as a plaintext in NTT form at the key level |
//! | public key | as a ciphertext of two polynomials at the key level |
//! | key-switching keys | parms_id (32), rows (8), for each row: entries (8), then as many public keys |
//! | parameters | scheme (1), N, primes (8 each), each prime and t as an object of one word |
//!
//! Readers take bytes from anybody. They check every field against the [`Context`] before they
//! allocate, every residue against its prime, and refuse trailing bytes. They decompress as they
//! parse, no further than the object goes and [`Limits`] allow. Without compression the writers'
//! output is SEAL's, byte for byte.

mod ciphertext;
mod envelope;
mod keys;
mod parameters;
mod plaintext;
mod reader;
mod seeded;
mod source;

pub use ciphertext::{read_ciphertext, write_ciphertext};
pub use envelope::{Compression, Limits};
pub use keys::{
    read_galois_keys, read_public_key, read_relinearization_key, read_secret_key, write_galois_keys, write_public_key,
    write_relinearization_key, write_secret_key,
};
pub use parameters::{read_parameters, write_parameters};
pub use plaintext::{read_plaintext, write_plaintext};
pub use seeded::{Seed, SeededCiphertext, read_seeded_ciphertext, write_seeded_ciphertext};

#[cfg(doc)]
use crate::scheme::Context;
