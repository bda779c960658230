//! What hides the digits of an answer in the per-value layout.
//!
//! A fractional plaintext is a polynomial whose value at x = b is the number. Its coefficients are sums of products of digits,
//! which say more about the weights than the number does. The server therefore adds r(x) (x - b), which stands for zero,
//! with multipliers uniform in [-R, R]. Two polynomials of digits up to D that stand for the same number differ by
//! s(x) (x - b), and as s_k = (s_(k-1) - d_k) / b, what s has is at most 2 D / (b - 1): so the distributions of the two answers
//! are within the statistical distance D / ((b - 1) R) for each digit that they have. That is 2^-h; h are the
//! [bits](DigitMask::bits) of the mask.
//!
//! A client takes a digit of t/4 for one that has wrapped around t. The mask fills at most half of that, and leaves at
//! least twice as much as the digits of examples needed.

use crate::encoding::FractionalEncoder;
use crate::encryption::sampling::Sampler;
use crate::error::Result;
use crate::ring::Modulus;
use crate::scheme::Plaintext;

/// Draws plaintexts that stand for zero.
#[derive(Debug, Clone)]
pub struct DigitMask {
    encoder: FractionalEncoder,
    /// R: the largest multiplier; 0 where there is no room
    bound: u64,
    /// D: the largest digit of some answers
    largest: u64,
}

impl DigitMask {
    /// The largest mask beside digits of which those of examples were at most `largest_digit`.
    pub fn new(encoder: FractionalEncoder, largest_digit: u64) -> Self {
        let (t, largest) = (encoder.plain_modulus(), largest_digit.max(1));
        let room = (t / 8).min((t / 4).saturating_sub(largest.saturating_mul(2)));
        Self { bound: room / (encoder.base() + 1), encoder, largest }
    }

    /// The bits by which a digit is hidden: 0 where the mask is no larger than what it covers.
    pub fn bits(&self) -> f64 {
        let multipliers = (self.encoder.base() - 1) as f64 * self.bound as f64;
        (multipliers / self.largest as f64).log2().max(0.0)
    }

    /// A plaintext to be added, of its own for each answer; none where there is no room.
    ///
    /// # Errors
    /// None in practice: those of a modulus of 2 R + 1.
    pub fn draw(&self, sampler: &mut Sampler) -> Result<Option<Plaintext>> {
        if self.bound == 0 {
            return Ok(None);
        }
        let mut uniform = vec![0; self.encoder.zero_len()];
        sampler.uniform(Modulus::new(2 * self.bound + 1)?, &mut uniform);
        let multipliers: Vec<i64> = uniform.into_iter().map(|r| r as i64 - self.bound as i64).collect();
        self.encoder.zero(&multipliers).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(base: u64, t: u64, largest: u64) -> DigitMask {
        DigitMask::new(FractionalEncoder::new(1024, t, base, 64, 32).unwrap(), largest)
    }

    #[test]
    fn a_mask_leaves_room_for_twice_the_digits_and_half_of_what_there_is() {
        for base in [2, 3, 10] {
            for (t, largest) in [(100_000_007, 1 << 20), (100_000_007, 10_000_000), (1 << 40, 5), (257, 3)] {
                let (mask, encoder) = (mask(base, t, largest), FractionalEncoder::new(1024, t, base, 64, 32).unwrap());
                let most = mask.bound * (base + 1);
                assert!(4 * (most + 2 * largest) <= t && 8 * most <= t, "{base} {t} {largest}");
                let Some(Plaintext::Bfv(mut drawn)) = mask.draw(&mut Sampler::from_seed(&[1; 32], 0)).unwrap() else {
                    assert_eq!(mask.bound, 0);
                    continue;
                };
                let reached = drawn.iter().map(|&c| c.min(t - c)).max().unwrap();
                assert!(reached <= most && 2 * reached >= most, "{base} {t} {largest}: {reached} {most}");
                drawn[0] = (drawn[0] + largest) % t;
                assert_eq!(encoder.decode_checked(&Plaintext::Bfv(drawn)).unwrap(), largest as f64);
            }
        }
    }

    #[test]
    fn what_has_no_room_is_hidden_by_no_bits() {
        assert_eq!((mask(2, 1 << 20, 1 << 18).bound, mask(2, 1 << 20, 1 << 18).bits()), (0, 0.0));
        assert_eq!(mask(2, 1 << 20, u64::MAX).draw(&mut Sampler::from_seed(&[1; 32], 0)), Ok(None));
        assert!((mask(2, 3 << 40, 1 << 10).bits() - 27.0).abs() < 1e-9);
        assert!(mask(2, 1 << 40, 0).bits() > 35.0);
    }
}
