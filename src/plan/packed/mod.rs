//! The packed layout: a whole image, or several, in the slots of one ciphertext; CKKS here, BFV in [`exact`].
//!
//! | module | what it decides or does |
//! | --- | --- |
//! | [`placement`] | where the values of a tensor lie |
//! | [`matching`] | an affine map as diagonals over slots, between two placements |
//! | [`baby_giant`] | which rotations to take |
//! | [`search`] | the cheapest chain of placements through a network |
//! | [`cost`] | what steps cost |
//! | [`rates`] | how fast this machine is |
//! | [`modulus`] | ring, scale and primes |
//! | [`arrangement`] | where images and answers lie, in which ring, with which keys |
//! | [`interface`] | the client's part |
//! | [`plan`] | all of it together, as data |
//! | `reach` | why no ring will do, and what would fit |
//! | [`program`] | the plan with its weights encoded: what runs |
//! | `noise` | the noise that each step adds |
//! | [`simulate`] | the plan in clear, with the noise of encryption |
//! | `trial` | steps tried out, to know what they take |
//! | [`explain`] | what the plan will take |
//! | [`file`] | plans as bytes |
//! | [`exact`] | the same on BFV |

pub mod arrangement;
pub mod baby_giant;
pub mod cost;
pub mod exact;
pub mod explain;
pub mod file;
pub mod interface;
pub mod matching;
pub mod modulus;
mod noise;
pub mod placement;
pub mod plan;
pub mod program;
pub mod rates;
mod reach;
pub mod search;
pub mod simulate;
mod trial;

pub use arrangement::Arrangement;
pub use interface::Interface;
pub use plan::{PackedOptions, Plan};
pub use program::PackedProgram;
