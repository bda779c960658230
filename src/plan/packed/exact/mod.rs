//! The packed layout on BFV: integers modulo t in the slots, computed exactly.
//!
//! Weights and images are rounded to integers once, when a network is compiled and when an image is encrypted; from there on
//! nothing is rounded, and the decrypted answer is the integer network's, digit for digit. BFV has no rescaling, so scales
//! multiply from map to map and double at every square, and the answers need a plaintext modulus of dozens of bits. One
//! that long would cost its length in noise budget at every product; so the answers are computed modulo several short primes
//! instead, each in a ciphertext of its own, and the client puts them together by the Chinese remainder theorem (Gilad-Bachrach
//! et al., "CryptoNets", ICML 2016, section 3). Keys do not depend on the plaintext modulus and serve all of them.
//!
//! The slots of BFV are two rows of N/2; placements are found for one row, as in CKKS, and the second row holds further images.
//!
//! | module | what it decides or does |
//! | --- | --- |
//! | [`quantised`] | the network over integers |
//! | [`noise`] | the noise budget after each step, foretold |
//! | [`modulus`] | ring, primes and plaintext moduli |
//! | [`interface`] | the client's part |
//! | [`plan`] | all of it together, as data |
//! | `reach` | why no ring will do, and what would fit |
//! | [`program`] | the plan with its weights encoded: what runs |
//! | [`simulate`] | the plan in clear |
//! | [`explain`] | what the plan will take |
//! | [`file`] | plans as bytes |

pub mod explain;
pub mod file;
pub mod interface;
pub mod modulus;
pub mod noise;
pub mod plan;
pub mod program;
pub mod quantised;
mod reach;
pub mod simulate;
#[cfg(test)]
mod tests;

pub use interface::ExactInterface;
pub use plan::{ExactOptions, ExactPlan};
pub use program::ExactProgram;
