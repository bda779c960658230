//! Residue number systems: integers given by their residues modulo pairwise coprime moduli.

mod basis;
mod converter;
#[cfg(target_arch = "x86_64")]
mod ifma;
#[cfg(test)]
mod tests;

pub use basis::RnsBasis;
pub use converter::BaseConverter;
