//! The noise of packed BFV ciphertexts, foretold.
//!
//! A ciphertext is c0 + c1 s = q m / t + e modulo q, and what is followed is the standard deviation of the coefficients of e:
//! products with diagonals and with the ciphertext itself mix so many coefficients that each is normal. What is counted errs
//! upwards: diagonals have coefficients of at most t/2 and are taken to have just that, partial sums of one value add up as
//! if they were equal, and the largest coefficient is taken to be [`DEVIATIONS`] deviations. The average case is that of Biasioli,
//! Marcolla, Calderini and Mono, "Improving and automating BFV parameters selection" (ePrint 2023/600).

use crate::evaluator::packed::Descent;
use crate::plan::packed::plan::Step;

/// Deviations at which the largest coefficient is taken to lie: 2^-38 of normal numbers lie beyond.
const DEVIATIONS: f64 = 7.0;

/// Deviation of a coefficient of fresh noise: SEAL's clipped normal.
const FRESH: f64 = 3.2;

/// Noise must exceed what a division rounds off by this factor for a prime to be dropped: a loss of 1/20 of a bit.
const ABOVE_ROUNDING: f64 = 4.0;

/// Bits of noise budget that a reply needs to decrypt once it is flooded.
const FLOODED: i32 = 2;

/// What noise depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Ring {
    /// the polynomial degree N
    pub degree: usize,
    /// the largest plaintext modulus
    pub plain_modulus: f64,
    /// the data primes
    pub moduli: Vec<f64>,
    /// the key-switching prime
    pub special: f64,
}

/// What a step adds up.
#[derive(Debug, Clone, PartialEq)]
pub enum Terms {
    /// a sum of ciphertexts: how many, and how many of them are rotated
    Sum {
        /// all of them
        terms: usize,
        /// those that are rotated
        rotated: usize,
    },
    /// products with diagonals
    Linear {
        /// of the ciphertext as it is
        still: usize,
        /// of its rotations
        rotated: usize,
        /// sums that are rotated
        giants: usize,
    },
    /// a square
    Square,
}

impl From<&Step> for Terms {
    fn from(step: &Step) -> Self {
        match step {
            Step::Sum { rotations } => Self::Sum {
                terms: rotations.len(),
                rotated: rotations.iter().filter(|&&rotation| rotation != 0).count(),
            },
            Step::Square => Self::Square,
            Step::Linear { groups, .. } => {
                let diagonals = || groups.iter().flat_map(|group| &group.diagonals);
                let rotated = diagonals().filter(|(baby, _)| *baby != 0).count();
                let giants = groups.iter().filter(|group| group.giant != 0).count();
                Self::Linear { still: diagonals().count() - rotated, rotated, giants }
            }
        }
    }
}

/// How a program's noise grows, and where primes are dropped.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// whether each step drops a prime
    pub descents: Vec<Descent>,
    /// bits of noise budget of a fresh ciphertext and after each step, as SEAL counts them, at the least; negative where
    /// there is none
    pub budgets: Vec<i32>,
    /// primes of the reply: the fewest that it still decrypts with
    pub reply: usize,
    /// bits of noise budget of the reply
    pub reply_budget: i32,
}

impl Forecast {
    /// Whether every ciphertext can be decrypted.
    pub fn decrypts(&self) -> bool {
        self.budgets.iter().all(|&budget| budget > 0) && self.reply_budget >= FLOODED
    }
}

/// The noise of one ciphertext.
#[derive(Debug, Clone, Copy)]
struct Noise {
    /// deviation of a coefficient
    deviation: f64,
    /// how many factors s(X) the noise has: the values of s^k vary more than those of s
    secrets: u32,
    primes: usize,
}

impl Ring {
    /// The noise of a program's steps.
    pub fn forecast(&self, steps: &[Terms]) -> Forecast {
        let fresh = (FRESH.powi(2) + self.rounding().powi(2) + 0.25).sqrt();
        let mut noise = Noise { deviation: fresh, secrets: 1, primes: self.moduli.len() };
        let mut budgets = vec![self.budget(noise)];
        let mut descents = Vec::with_capacity(steps.len());
        for step in steps {
            let descent;
            (noise, descent) = self.after(step, noise);
            descents.push(descent);
            budgets.push(self.budget(noise));
        }
        // A server may add an encryption of zero to a reply, and flood it with q / 16, so that its noise says little of the
        // weights: two bits leave room for both.
        let randomised = |x: Noise| self.budget(Noise { deviation: x.deviation.hypot(fresh), ..x });
        let mut reply = noise;
        while reply.primes > 1 {
            let switched = self.divided(reply);
            if randomised(switched) < FLOODED {
                break;
            }
            reply = switched;
        }
        Forecast { descents, budgets, reply: reply.primes, reply_budget: randomised(reply) }
    }

    fn after(&self, step: &Terms, x: Noise) -> (Noise, Descent) {
        let (n, t) = (self.degree as f64, self.plain_modulus);
        let (switching, rounding) = (self.switching(x.primes), self.rounding());
        match *step {
            Terms::Sum { terms, rotated } => {
                let sum = terms as f64 * x.deviation;
                let deviation = (sum.powi(2) + rotated as f64 * switching.powi(2) + rounding.powi(2)).sqrt();
                (Noise { deviation, ..x }, Descent::Stay)
            }
            Terms::Linear { still, rotated, giants } => {
                let turned = x.deviation.powi(2) + switching.powi(2);
                let products = still as f64 * x.deviation.powi(2) + rotated as f64 * turned;
                let giants = giants as f64 * (switching.powi(2) + rounding.powi(2));
                self.descended(Noise { deviation: (n * t * t / 4.0 * products + giants).sqrt(), ..x })
            }
            Terms::Square => {
                // e' = 2 e (m + t k) + t/q e^2 with m + t k = t/q (c0 + c1 s), whose coefficients have this deviation.
                let factor = t * (1.0 / 12.0 + n / 18.0).sqrt();
                let secrets = x.secrets + 1;
                let cross = 2.0 * n.sqrt() * factor * x.deviation * f64::from(secrets).sqrt();
                let own = t * n.sqrt() * x.deviation.powi(2) * 2f64.powf(-self.bits(x.primes));
                // Three polynomials are rounded, and come with 1, s and s^2.
                let weight = 2.0 * n / 3.0;
                let scaled = (1.0 + weight + 2.0 * weight * weight) / 12.0;
                let deviation = (cross.powi(2) + own.powi(2) + scaled + switching.powi(2)).sqrt();
                self.descended(Noise { deviation, secrets, ..x })
            }
        }
    }

    /// Drops a prime where the noise hides what that rounds.
    fn descended(&self, x: Noise) -> (Noise, Descent) {
        let dropped = x.deviation / self.moduli[x.primes - 1];
        if x.primes > 1 && dropped >= ABOVE_ROUNDING * self.rounding() {
            (self.divided(x), Descent::Drop)
        } else {
            let deviation = (x.deviation.powi(2) + self.rounding().powi(2)).sqrt();
            (Noise { deviation, ..x }, Descent::Stay)
        }
    }

    fn divided(&self, x: Noise) -> Noise {
        let primes = x.primes - 1;
        let deviation = ((x.deviation / self.moduli[primes]).powi(2) + self.rounding().powi(2)).sqrt();
        Noise { deviation, primes, ..x }
    }

    /// Deviation of what rounding two polynomials leaves: r0 + r1 s.
    fn rounding(&self) -> f64 {
        ((1.0 + 2.0 * self.degree as f64 / 3.0) / 12.0).sqrt()
    }

    /// Deviation of the noise of a key switch: balanced digits of their primes times fresh noise, divided by the special
    /// prime.
    fn switching(&self, primes: usize) -> f64 {
        let squares: f64 = self.moduli[..primes].iter().map(|q| q * q).sum();
        (squares * self.degree as f64 / 12.0).sqrt() * FRESH / self.special
    }

    fn bits(&self, primes: usize) -> f64 {
        self.moduli[..primes].iter().map(|q| q.log2()).sum()
    }

    /// bits(q) - bits(max |t e|) - 1, at the least.
    fn budget(&self, x: Noise) -> i32 {
        let largest = DEVIATIONS * x.deviation * self.plain_modulus;
        (self.bits(x.primes) - largest.log2()).floor() as i32 - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(moduli: usize) -> Ring {
        Ring { degree: 8192, plain_modulus: 2f64.powi(20), moduli: vec![2f64.powi(36); moduli], special: 2f64.powi(36) }
    }

    const STEPS: [Terms; 4] = [
        Terms::Linear { still: 1, rotated: 24, giants: 4 },
        Terms::Square,
        Terms::Linear { still: 1, rotated: 15, giants: 3 },
        Terms::Sum { terms: 4, rotated: 3 },
    ];

    #[test]
    fn budgets_fall_and_primes_with_them() {
        let forecast = ring(5).forecast(&STEPS);
        assert!(forecast.decrypts(), "{forecast:?}");
        assert!(forecast.budgets.windows(2).all(|pair| pair[0] > pair[1]), "{forecast:?}");
        assert!(forecast.descents.contains(&Descent::Drop));
        assert_eq!(forecast.reply, 1);
    }

    #[test]
    fn too_short_a_modulus_decrypts_nothing() {
        assert!(!ring(2).forecast(&STEPS).decrypts());
    }
}
