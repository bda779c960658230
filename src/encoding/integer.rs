//! Integers in base b (SEAL 2.3.1's `IntegerEncoder`), and integers as constants modulo t.

use super::base::Base;
use crate::error::{Error, Result};
use crate::ring::Modulus;
use crate::scheme::Plaintext;

/// Encodes an integer by its digits in base b: coefficient i is the digit of b^i modulo t.
///
/// The coefficients stay small, so a small t bears long computations. Base 2 has digits of the number's own
/// sign, larger bases balanced ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntegerEncoder {
    degree: usize,
    base: Base,
}

impl IntegerEncoder {
    /// An encoder for polynomials of `degree` coefficients (at least 64) modulo `plain_modulus`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a base below 2 or above the plaintext modulus or 2^31, and for a degree
    /// below 64; [`Error::InvalidModulus`].
    pub fn new(degree: usize, plain_modulus: u64, base: u64) -> Result<Self> {
        if degree < 64 {
            return Err(Error::InvalidArgument { name: "degree", reason: format!("{degree}; at least 64 is needed") });
        }
        Ok(Self { degree, base: Base::new(base, plain_modulus)? })
    }

    /// The nonzero digits as (exponent, digit), by ascending exponent.
    pub fn digits(&self, value: i64) -> Vec<(usize, i64)> {
        self.base.integer_digits(value.into()).into_iter().enumerate().filter(|&(_, digit)| digit != 0).collect()
    }

    /// Encodes one integer.
    pub fn encode(&self, value: i64) -> Plaintext {
        let digits = self.base.integer_digits(value.into());
        Plaintext::Bfv(digits.into_iter().map(|digit| self.base.store(digit)).collect())
    }

    /// Decodes: the polynomial, its coefficients centred, at X = b.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] for a plaintext that is not one of this degree and plaintext modulus,
    /// [`Error::ScaleOutOfRange`] for a result beyond 64 bits.
    pub fn decode(&self, plaintext: &Plaintext) -> Result<i64> {
        let coefficients = super::bfv_coefficients(plaintext, self.degree, self.base.plain_modulus())?;
        self.base.evaluate_integer(coefficients).and_then(|value| value.try_into().ok()).ok_or_else(|| {
            Error::ScaleOutOfRange {
                operation: "decode",
                reason: "the integer does not fit 64 bits: the computation has outgrown its encoding".into(),
            }
        })
    }
}

/// Encodes an integer as a constant polynomial, modulo t.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConstantEncoder {
    plain_modulus: Modulus,
}

impl ConstantEncoder {
    /// # Errors
    /// [`Error::InvalidModulus`] for an unusable plaintext modulus.
    pub fn new(plain_modulus: u64) -> Result<Self> {
        Ok(Self { plain_modulus: Modulus::new(plain_modulus)? })
    }

    /// Encodes an integer in [-t/2, t/2].
    ///
    /// # Errors
    /// [`Error::Unencodable`] (with index 0) for any other.
    pub fn encode(&self, value: i64) -> Result<Plaintext> {
        super::check_centered(value, 0, self.plain_modulus)?;
        Ok(Plaintext::Bfv(vec![self.plain_modulus.reduce_signed(value)]))
    }

    /// The constant coefficient, in (-t/2, t/2].
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] for a plaintext of another scheme or plaintext modulus.
    pub fn decode(&self, plaintext: &Plaintext) -> Result<i64> {
        let coefficients = super::bfv_coefficients(plaintext, usize::MAX, self.plain_modulus.value())?;
        Ok(self.plain_modulus.center(coefficients.first().copied().unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn integers_round_trip(value: i64, base in 2u64..50, odd in any::<bool>()) {
            let encoder = IntegerEncoder::new(1024, 100 + u64::from(odd), base).unwrap();
            prop_assert_eq!(encoder.decode(&encoder.encode(value)).unwrap(), value);
            let half = base as i64 / 2;
            prop_assert!(encoder.digits(value).iter().all(|&(_, digit)| (-half.max(1)..=half.max(1)).contains(&digit)));
        }

        #[test]
        fn constants_round_trip(value in -50i64..=50) {
            let encoder = ConstantEncoder::new(101).unwrap();
            prop_assert_eq!(encoder.decode(&encoder.encode(value).unwrap()).unwrap(), value);
        }
    }

    #[test]
    fn digits_are_those_of_seal() {
        let digits = |base, value| IntegerEncoder::new(1024, 101, base).unwrap().digits(value);
        assert_eq!(digits(2, -6), [(1, -1), (2, -1)]);
        assert_eq!(digits(3, 5), [(0, -1), (1, -1), (2, 1)]);
        // An even base has -b/2 and not +b/2, for either sign.
        assert_eq!(digits(4, 2), [(0, -2), (1, 1)]);
        assert_eq!(digits(4, -2), [(0, -2)]);
        assert_eq!(digits(4, 0), []);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let encoder = IntegerEncoder::new(1024, 101, 2).unwrap();
        let mut coefficients = vec![0; 64];
        coefficients[63] = 1;
        assert!(matches!(encoder.decode(&Plaintext::Bfv(coefficients.clone())), Err(Error::ScaleOutOfRange { .. })));
        coefficients[63] = 100;
        assert_eq!(encoder.decode(&Plaintext::Bfv(coefficients)).unwrap(), i64::MIN);
        assert!(matches!(encoder.decode(&Plaintext::Bfv(vec![101])), Err(Error::ParametersMismatch { .. })));
        assert!(matches!(IntegerEncoder::new(32, 101, 2), Err(Error::InvalidArgument { name: "degree", .. })));
        assert!(matches!(ConstantEncoder::new(101).unwrap().encode(51), Err(Error::Unencodable { .. })));
    }
}
