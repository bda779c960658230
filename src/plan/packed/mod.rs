//! The packed layout.
pub mod baby_giant;
pub mod cost;
pub mod matching;
pub mod placement;
pub mod search;
pub mod modulus;
pub mod plan;
pub mod simulate;
