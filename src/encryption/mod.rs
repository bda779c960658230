//! Encryption, decryption and noise budgets on residues, with Microsoft SEAL's distributions.
//!
//! SEAL sets the last prime of a modulus aside for key switching; here a context may use all of them
//! for data, and what SEAL can compute it computes alike (the tests take it as the oracle).
//!
//! [`SymmetricEncryptor`] and [`Decryptor`] hold the secret key, [`PublicEncryptor`] does not;
//! [`transport`] is the compact form in which ciphertexts travel, [`key_transport`] that of the key sets that
//! [`KeyGenerator`] makes.

mod bits;
pub mod checksum;
mod decrypt;
mod encrypt;
pub mod key_transport;
pub mod keygen;
mod operand;
pub mod passphrase;
mod public;
mod rerandomize;
pub mod sampling;
mod scaling;
mod seeded;
mod small;
mod switch;
mod symmetric;
pub mod transport;

pub use decrypt::Decryptor;
pub use encrypt::{EncryptionKey, Encryptor};
pub use key_transport::ReceivedKeySet;
pub use keygen::{KeyGenerator, Purpose, SeededKeySet};
pub use public::PublicEncryptor;
pub use rerandomize::flooding;
pub use scaling::PlainScaling;
pub use seeded::SeededCiphertexts;
pub use symmetric::SymmetricEncryptor;

#[cfg(test)]
mod tests;
