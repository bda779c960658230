//! Randomness: the distributions that Microsoft SEAL 4 samples from, drawn from ChaCha20.
//!
//! - secrets and the `u` of public-key encryption: uniform in {-1, 0, 1};
//! - errors: a normal variable with standard deviation 3.2, redrawn beyond 19.2 and *truncated
//!   towards zero* to an integer, as `sample_poly_normal` in SEAL's `util/rlwe.cpp` does (the integers
//!   have standard deviation 2.83);
//! - uniform residues: 64-bit words reduced modulo q, words from the incomplete last interval redrawn.
//!
//! # Timing
//!
//! Sampling secrets and errors uses no branch and no table index that depends on a value that is
//! kept: an error is the number of thresholds that a random word reaches, and rejected bytes are
//! overwritten, not branched around. The number of *rejected* words shows in the time taken, and says
//! nothing about those kept. The compiler is trusted, not forced, to keep it so; arithmetic on the
//! results elsewhere in the crate (conditional subtractions) is written in the same style without a proof.

use rand_chacha::ChaCha20Rng;
use rand_core::{OsRng, RngCore, SeedableRng, TryRngCore};
use rayon::prelude::*;
use zeroize::Zeroize;

use crate::error::{Error, Result};
use crate::ring::Modulus;

/// A seed of ChaCha20.
pub type Seed = [u8; 32];

/// P(|e| < k) 2^63 for k = 1..=19, where e is the error variable described above:
/// erf(k / (3.2 sqrt 2)) / erf(6 / sqrt 2), rounded down.
const NORMAL_THRESHOLDS: [u64; 19] = [
    0x1f67485e1414e40b,
    0x3be85f558281040d,
    0x53644e2dedd216e6,
    0x64f422f09cf1bed6,
    0x70dfcc250f890b9b,
    0x7837f1b047d3fde0,
    0x7c535c45b5071616,
    0x7e690b1eb1011599,
    0x7f5eeb470d61094a,
    0x7fc5bca5a5143daa,
    0x7fecc2f990af385c,
    0x7ffa349ee365e98f,
    0x7ffe68c004b14a14,
    0x7fff9a26cfa9533c,
    0x7fffe8d1193b7479,
    0x7ffffb3514070e96,
    0x7fffff1c06e24c9f,
    0x7fffffdc665b1646,
    0x7ffffffe05c3f8ad,
];

/// Bytes drawn from the generator at a time.
const CHUNK: usize = 2048;

/// A stream of samples. Its state is overwritten when it is dropped.
pub struct Sampler {
    generator: ChaCha20Rng,
}

impl Sampler {
    /// A sampler seeded by the operating system.
    ///
    /// # Errors
    /// [`Error::Entropy`] where the operating system gives no randomness.
    pub fn from_os() -> Result<Self> {
        let mut seed = fresh_seed()?;
        let sampler = Self::from_seed(&seed, 0);
        seed.zeroize();
        Ok(sampler)
    }

    /// Stream number `stream` of a seed. The same arguments give the same samples.
    pub fn from_seed(seed: &Seed, stream: u64) -> Self {
        let mut generator = ChaCha20Rng::from_seed(*seed);
        generator.set_stream(stream);
        Self { generator }
    }

    /// Fills `out` with values uniform in {-1, 0, 1}.
    pub fn ternary(&mut self, out: &mut [i8]) {
        let mut bytes = [0; CHUNK];
        let mut filled = 0;
        while filled < out.len() {
            let wanted = (out.len() - filled).min(CHUNK);
            self.generator.fill_bytes(&mut bytes[..wanted]);
            for &byte in &bytes[..wanted] {
                // 255 = 3 * 85: the one byte beyond the last whole interval is overwritten by the next.
                out[filled] = (byte % 3) as i8 - 1;
                filled += usize::from(byte != 255);
            }
        }
        bytes.zeroize();
    }

    /// Fills `out` with errors.
    pub fn normal(&mut self, out: &mut [i8]) {
        let mut bytes = [0; CHUNK];
        for part in out.chunks_mut(CHUNK / 8) {
            let bytes = &mut bytes[..8 * part.len()];
            self.generator.fill_bytes(bytes);
            for (error, word) in part.iter_mut().zip(words(bytes)) {
                let uniform = word >> 1;
                // The top bit of T - 1 - u is set exactly where u >= T, both being below 2^63.
                let reached = |&threshold: &u64| (threshold - 1).wrapping_sub(uniform) >> 63;
                let magnitude = NORMAL_THRESHOLDS.iter().map(reached).sum::<u64>() as i8;
                let sign = -((word & 1) as i8);
                *error = (magnitude ^ sign) - sign;
            }
        }
        bytes.zeroize();
    }

    /// A standard normal number (Box and Muller, 1958), for flooding. Its time may depend on its value.
    pub fn gaussian(&mut self) -> f64 {
        let mut uniform = || ((self.generator.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        let (radius, angle) = ((-2.0 * uniform().ln()).sqrt(), std::f64::consts::TAU * uniform());
        radius * angle.cos()
    }

    /// A number uniform in `[0, 2^bits)`: 64-bit words, the most significant first.
    pub fn bits(&mut self, bits: u32) -> impl Iterator<Item = u64> {
        let (words, rest) = (bits.div_ceil(64), bits % 64);
        (0..words).map(move |i| {
            let word = self.generator.next_u64();
            if i == 0 && rest != 0 { word >> (64 - rest) } else { word }
        })
    }

    /// Fills `out` with residues uniform in `[0, q)`.
    ///
    /// The stream is read as little-endian 64-bit words, in order; a word w below the largest multiple
    /// of q that is at most 2^64 - 1 gives w mod q, any other is skipped. Formats that carry a seed depend
    /// on this.
    pub fn uniform(&mut self, q: Modulus, out: &mut [u64]) {
        self.uniform_skipping(q, out);
    }

    /// As [`uniform`](Self::uniform); the number of words that were skipped.
    fn uniform_skipping(&mut self, q: Modulus, out: &mut [u64]) -> usize {
        let bound = u64::MAX - q.reduce(u64::MAX);
        let mut bytes = [0; CHUNK];
        let (mut filled, mut read) = (0, 0);
        while filled < out.len() {
            let bytes = &mut bytes[..(8 * (out.len() - filled)).min(CHUNK)];
            self.generator.fill_bytes(bytes);
            read += bytes.len() / 8;
            for word in words(bytes) {
                out[filled] = q.reduce(word);
                filled += usize::from(word < bound);
            }
        }
        read - out.len()
    }

    /// What [`uniform`](Self::uniform) gives for the rows of a polynomial, `[primes][N]`, one after the other from one stream;
    /// in parallel on the rayon pool of the caller.
    pub fn uniform_rows(seed: &Seed, stream: u64, moduli: &[Modulus], out: &mut [u64]) {
        let degree = out.len() / moduli.len().max(1);
        // A word is skipped once in 2^64 / q: nearly always a row begins where all before it have read a word a residue.
        let row = |(j, (row, &q)): (usize, (&mut [u64], &Modulus))| {
            let mut sampler = Self::from_seed(seed, stream);
            sampler.generator.set_word_pos((2 * j * degree) as u128);
            sampler.uniform_skipping(q, row)
        };
        let rows = out.par_chunks_exact_mut(degree.max(1)).zip(moduli).enumerate();
        if rows.map(row).sum::<usize>() > 0 {
            let mut sampler = Self::from_seed(seed, stream);
            out.chunks_exact_mut(degree).zip(moduli).for_each(|(row, &q)| sampler.uniform(q, row));
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.generator = ChaCha20Rng::from_seed([0; 32]);
        // Without a use of the new state the assignment could be optimised away.
        std::hint::black_box(&mut self.generator);
    }
}

/// A seed from the operating system.
///
/// # Errors
/// [`Error::Entropy`] where the operating system gives no randomness.
pub fn fresh_seed() -> Result<Seed> {
    let mut seed = Seed::default();
    OsRng.try_fill_bytes(&mut seed).map_err(|e| Error::Entropy(e.to_string()))?;
    Ok(seed)
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.as_chunks().0.iter().map(|&word| u64::from_le_bytes(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(values: &[i8], bound: i8) -> Vec<f64> {
        (-bound..=bound).map(|v| values.iter().filter(|&&x| x == v).count() as f64).collect()
    }

    /// Pearson's statistic; its mean is the number of classes less one.
    fn chi_squared(observed: &[f64], expected: &[f64]) -> f64 {
        observed.iter().zip(expected).map(|(o, e)| (o - e).powi(2) / e).sum()
    }

    #[test]
    fn ternary_values_are_uniform() {
        let mut values = vec![0; 300_000];
        Sampler::from_os().unwrap().ternary(&mut values);
        let observed = counts(&values, 1);
        assert_eq!(observed.iter().sum::<f64>(), 300_000.0);
        // Two degrees of freedom: above 40 once in 5 * 10^8 runs.
        assert!(chi_squared(&observed, &[100_000.0; 3]) < 40.0, "{observed:?}");
    }

    #[test]
    fn errors_follow_the_truncated_normal_distribution() {
        let samples = 1_000_000;
        let mut values = vec![0; samples];
        Sampler::from_os().unwrap().normal(&mut values);
        assert!(values.iter().all(|v| v.unsigned_abs() <= 19));
        // Simpson's rule over the density, not the table that the sampler uses.
        let density = |x: f64| (-x * x / (2.0 * 3.2 * 3.2)).exp() / (3.2 * (2.0 * std::f64::consts::PI).sqrt());
        let mass = |a: f64| (density(a) + 4.0 * density(a + 0.5) + density(a + 1.0)) / 6.0;
        let expected: Vec<f64> = (-11..=11i32)
            .map(|v| samples as f64 * if v == 0 { 2.0 * mass(0.0) } else { mass(f64::from(v.abs())) })
            .collect();
        // 22 degrees of freedom: above 90 once in 3 * 10^9 runs.
        let statistic = chi_squared(&counts(&values, 11), &expected);
        assert!(statistic < 90.0, "{statistic}");
    }

    #[test]
    fn residues_are_uniform_and_follow_their_documented_stream() {
        let q = Modulus::new(0xffffee001).unwrap();
        let seed = [7; 32];
        let mut residues = vec![0; 10_000];
        Sampler::from_seed(&seed, 3).uniform(q, &mut residues);
        let mut generator = ChaCha20Rng::from_seed(seed);
        generator.set_stream(3);
        let limit = u64::MAX / q.value() * q.value();
        let expected = std::iter::repeat_with(|| generator.next_u64()).filter(|&w| w < limit).map(|w| w % q.value());
        assert!(residues.iter().copied().eq(expected.take(10_000)));
        let mut bins = [0.0; 16];
        residues.iter().for_each(|&r| bins[(r * 16 / q.value()) as usize] += 1.0);
        assert!(chi_squared(&bins, &[625.0; 16]) < 80.0, "{bins:?}");
    }

    #[test]
    fn rows_side_by_side_are_those_of_one_stream() {
        // Narrow primes skip nothing, wide ones dozens of words.
        for moduli in [[12289, 40961, 65537], [(1 << 60) + 33, 12289, (1 << 60) + 33]] {
            let moduli = moduli.map(|q| Modulus::new(q).unwrap());
            let (mut rows, mut expected) = (vec![0; 3 * 1000], vec![1; 3 * 1000]);
            Sampler::uniform_rows(&[9; 32], 5, &moduli, &mut rows);
            let mut sampler = Sampler::from_seed(&[9; 32], 5);
            expected.chunks_exact_mut(1000).zip(moduli).for_each(|(row, q)| sampler.uniform(q, row));
            assert_eq!(rows, expected);
        }
    }

    #[test]
    fn a_modulus_that_rejects_often_stays_uniform() {
        // Just above 2^60, so that 15 of 16 intervals fit and the last one rejects.
        let q = Modulus::new((1 << 60) + 33).unwrap();
        let mut residues = vec![0; 20_000];
        Sampler::from_os().unwrap().uniform(q, &mut residues);
        assert!(residues.iter().all(|&r| r < q.value()));
        let low = residues.iter().filter(|&&r| r < q.value() / 2).count();
        assert!((9_400..10_600).contains(&low), "{low}");
    }

    #[test]
    fn streams_differ_and_repeat() {
        let draw = |stream| {
            let mut values = [0; 64];
            Sampler::from_seed(&[1; 32], stream).normal(&mut values);
            values
        };
        assert_eq!(draw(0), draw(0));
        assert_ne!(draw(0), draw(1));
        assert_ne!(fresh_seed().unwrap(), fresh_seed().unwrap());
    }
}
