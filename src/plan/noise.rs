//! Gaussian noise for simulations: reproducible by its seed, and not for encryption.

use std::f64::consts::TAU;

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

/// A source of normal numbers.
#[derive(Debug)]
pub struct Gaussian {
    uniform: ChaCha12Rng,
    /// they are made in pairs
    spare: Option<f64>,
}

impl Gaussian {
    /// The source that a seed stands for.
    pub fn new(seed: u64) -> Self {
        Self { uniform: ChaCha12Rng::seed_from_u64(seed), spare: None }
    }

    /// Adds noise of a standard deviation to every value.
    pub fn add(&mut self, values: &mut [f64], deviation: f64) {
        values.iter_mut().for_each(|value| *value += deviation * self.normal());
    }

    /// |s|^2 in a slot, over its mean, for a ternary secret s: an exponential number. Divisions round every polynomial, and
    /// the errors of all but the first are multiplied by powers of s, so that some slots are noisier than others, by the key.
    pub fn secret_square(&mut self) -> f64 {
        (self.normal().powi(2) + self.normal().powi(2)) / 2.0
    }

    /// A standard normal number (Box and Muller, 1958).
    fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let mut uniform = || ((self.uniform.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        let (radius, (sine, cosine)) = ((-2.0 * uniform().ln()).sqrt(), (TAU * uniform()).sin_cos());
        self.spare = Some(radius * sine);
        radius * cosine
    }
}
