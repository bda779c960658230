//! The choice of a batched program's parameters: degree, scales, primes, divisions.

use super::BatchedOptions;
use crate::error::{Error, Result};
use crate::network::AffineMap;
use crate::scheme::{Ciphertext, security};

/// What the choice of parameters decides.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    /// N
    pub degree: usize,
    /// the scale of images, as a power of two
    pub input_bits: u32,
    /// the scale of each map's weights
    pub weight_scales: Vec<f64>,
    /// sizes of the primes, those that stay to the end first
    pub primes: Vec<u32>,
    /// for each map but the first: primes to divide by after it
    pub divisions: Vec<usize>,
}

impl Choice {
    pub fn modulus_bits(&self) -> u32 {
        self.primes.iter().sum()
    }
}

/// Standard deviation of a fresh ciphertext's noise coefficients.
pub(super) const FRESH_NOISE: f64 = 3.2;

/// Deviations that count as the largest of many.
const DEVIATIONS: f64 = 6.0;

/// The power of the secret up to which those deviations are enough in every slot.
const EVEN_POWERS: f64 = 2.0;

/// The largest prime, in bits: the widest that every backend's fastest kernels take.
const PRIME_BITS: u32 = 50;

/// Bits of precision beyond those asked for, at most: they cost bytes.
const SPARE_BITS: u32 = 2;

/// Bits of precision that can be asked for: kernels take weights of up to 30 bits and a sign.
const MOST_PRECISION: u32 = 30 - SPARE_BITS;

/// Bits by which results may exceed the ranges seen in calibration.
const HEADROOM_BITS: f64 = 2.0;

fn unsupported(reason: String) -> Error {
    Error::Unsupported { operation: "compiling for the batched layout", reason }
}

/// The refusal of a network whose integers would be too long before a modulus is.
pub(super) fn no_integers(map: usize, maps: usize, options: BatchedOptions) -> Error {
    unsupported(format!(
        "at {} bits of precision the biases of affine map {} of {maps} need integers of more than 126 bits; ask for less precision or use a network with fewer activations",
        options.precision,
        map + 1,
    ))
}

/// The smallest degree whose modulus has room for the network at the precision asked for.
pub(super) fn choose(maps: &[AffineMap], ranges: &[f64], options: BatchedOptions) -> Result<Choice> {
    let squares = maps.len() - 1;
    if options.precision > MOST_PRECISION {
        let reason = format!("{} bits; the batched layout has at most {MOST_PRECISION}", options.precision);
        return Err(Error::InvalidArgument { name: "precision", reason });
    }
    if ranges.iter().any(|range| !range.is_finite()) {
        let reason = "the network's values outgrow double precision; scale the images or the weights down";
        return Err(unsupported(reason.into()));
    }
    // A square turns k polynomials into 2 k - 1: n squares turn 2 into 2^n + 1.
    let most = (Ciphertext::SIZES.end() - 1).ilog2() as usize;
    if squares > most {
        return Err(unsupported(format!(
            "{squares} squares, unrelinearised, need ciphertexts of more than {} polynomials; use a network with at most {most}: an activation of degree d takes ceil(log2 d)",
            Ciphertext::SIZES.end()
        )));
    }
    let mut needed = 0;
    for degree in [2048, 4096, 8192, 16384, 32768] {
        let limit = security::limit(degree, options.security).ok_or_else(|| Error::InvalidArgument {
            name: "security",
            reason: format!("{} bits; choose 128, 192 or 256", options.security),
        })?;
        // Every prime costs time, so a division may keep a larger scale to do with fewer.
        let drafts = |precision| {
            let choices = (0..1u32 << squares).map(|whole| draft(maps, ranges, degree, precision, whole));
            choices.collect::<Result<Vec<Choice>>>()
        };
        let best = |choices: Vec<Choice>| {
            let fits = |choice: &Choice| {
                choice.modulus_bits() <= limit && choice.primes.iter().all(|&bits| bits > degree.ilog2() + 2)
            };
            choices.into_iter().filter(fits).min_by_key(|choice| (choice.primes.len(), choice.modulus_bits()))
        };
        let choices = drafts(options.precision)?;
        needed = choices.iter().map(Choice::modulus_bits).min().unwrap_or(0);
        if let Some(choice) = best(choices) {
            // Bits to spare make it more precise, where no further prime is needed for them.
            for spare in (1..=SPARE_BITS).rev() {
                let finer = best(drafts(options.precision + spare)?);
                if let Some(finer) = finer.filter(|finer| finer.primes.len() == choice.primes.len()) {
                    return Ok(finer);
                }
            }
            return Ok(choice);
        }
    }
    Err(unsupported(format!(
        "{squares} squares at {} bits of precision need a modulus of {needed} bits, more than N = 32768 allows at {}-bit security; ask for less precision or use a network with fewer activations",
        options.precision, options.security
    )))
}

/// Scales and primes for one degree. Division i divides by all the bits that the scale can spare, or, where bit i of
/// `whole` is set, by as many of them as primes of full size make up.
fn draft(maps: &[AffineMap], ranges: &[f64], degree: usize, precision: u32, whole: u32) -> Result<Choice> {
    let n = degree as f64;
    // Noise per slot: a polynomial with coefficients of deviation d has values of deviation d sqrt(N).
    let fresh = (DEVIATIONS * FRESH_NOISE * n.sqrt()).log2();
    let input_bits = (f64::from(precision) + fresh).ceil();
    let weight_scales = maps.iter().map(|map| map.weight_scale(precision + 1)).collect::<Result<Vec<f64>>>()?;
    let mut scale = input_bits + weight_scales[0].log2();
    let (mut drops, mut polynomials) = (Vec::new(), 2.0);
    for i in 1..maps.len() {
        polynomials = 2.0 * polynomials - 1.0;
        scale = 2.0 * scale + weight_scales[i].log2();
        // Division rounds every polynomial; the last is multiplied by s^(size - 1), |s| ~ sqrt(2N/3) a slot, and ln(N/2) times the
        // square of that in one of them. Higher powers than the second would make such slots err more than the rest of an answer.
        let largest = (n / 2.0).ln().powf((polynomials - 1.0 - EVEN_POWERS).max(0.0) / 2.0);
        let rounding = DEVIATIONS * (n / 12.0).sqrt() * (2.0 * n / 3.0).sqrt().powf(polynomials - 1.0) * largest;
        let target = f64::from(precision) + (rounding / ranges[i].max(f64::MIN_POSITIVE)).log2().max(fresh);
        let drop = (scale - target).floor();
        let last = i + 1 == maps.len();
        let drop = if last || drop < f64::from(degree.ilog2() + 6) { 0.0 } else { drop };
        let full = f64::from(PRIME_BITS);
        let drop = if whole >> (i - 1) & 1 == 1 { (drop / full).floor() * full } else { drop };
        scale -= drop;
        drops.push(drop as u32);
    }
    let range = ranges.last().map_or(0.0, |range| range.max(1.0).log2());
    let base = (scale + range + HEADROOM_BITS + 1.0).ceil() as u32;
    let mut primes = split(base);
    let mut divisions = vec![0; drops.len()];
    // The primes of the first division stand last.
    for (i, &drop) in drops.iter().enumerate().rev() {
        let own = split(drop);
        divisions[i] = own.len();
        primes.extend(own);
    }
    Ok(Choice { degree, input_bits: input_bits as u32, weight_scales, primes, divisions })
}

/// Prime sizes of at most `PRIME_BITS` that add up to `bits`, as even as can be.
fn split(bits: u32) -> Vec<u32> {
    let count = bits.div_ceil(PRIME_BITS);
    (0..count).map(|i| bits / count + u32::from(i < bits % count)).collect()
}
