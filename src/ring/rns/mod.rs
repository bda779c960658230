//! Residue number systems: integers given by their residues modulo pairwise coprime moduli.
//!
//! [`RnsBasis`] works with big integers and is meant for constants; [`Crt`](super::Crt) composes many
//! integers, and [`BaseConverter`] does without big integers altogether.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod basis;
mod converter;
#[cfg(target_arch = "x86_64")]
mod ifma;
#[cfg(test)]
mod tests;

pub use basis::RnsBasis;
pub use converter::BaseConverter;
