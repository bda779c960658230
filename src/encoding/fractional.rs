//! The paper's encoding of real numbers: SEAL 2.3.1's `FractionalEncoder`.
//!
//! A number's integer part goes to the low coefficients, digit i of the fraction (b^-i) with its sign
//! turned to the coefficient of X^(N-i): modulo X^N + 1 that is the digit times X^-i. So sums and
//! products of polynomials are sums and products of numbers, as long as no coefficient leaves
//! [-t/2, t/2) and integers and fractions do not grow into each other.

use super::base::Base;
use crate::error::{Error, Result};
use crate::scheme::Plaintext;

/// Encodes real numbers in base b, for BFV with any plaintext modulus t >= b.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FractionalEncoder {
    degree: usize,
    base: Base,
    integer_digits: usize,
    fraction_digits: usize,
}

impl FractionalEncoder {
    /// The base that upstream uses by default.
    pub const BASE: u64 = 2;
    /// The number of integer digits that upstream uses by default.
    pub const INTEGER_DIGITS: usize = 64;
    /// The number of fraction digits that upstream uses by default.
    pub const FRACTION_DIGITS: usize = 32;

    /// An encoder for polynomials of `degree` coefficients modulo `plain_modulus`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a base below 2 or above the plaintext modulus or 2^31, and for numbers
    /// of digits that are zero or do not fit the degree; [`Error::InvalidModulus`].
    pub fn new(
        degree: usize,
        plain_modulus: u64,
        base: u64,
        integer_digits: usize,
        fraction_digits: usize,
    ) -> Result<Self> {
        let base = Base::new(base, plain_modulus)?;
        for (name, digits) in [("integer_digits", integer_digits), ("fraction_digits", fraction_digits)] {
            if digits == 0 {
                return Err(Error::InvalidArgument { name, reason: "0; at least 1 is needed".into() });
            }
        }
        if integer_digits.checked_add(fraction_digits).is_none_or(|digits| digits > degree) {
            return Err(Error::InvalidArgument {
                name: "fraction_digits",
                reason: format!(
                    "{integer_digits} integer and {fraction_digits} fraction digits do not fit {degree} coefficients"
                ),
            });
        }
        Ok(Self { degree, base, integer_digits, fraction_digits })
    }

    /// The base b.
    pub fn base(&self) -> u64 {
        self.base.base()
    }

    /// The plaintext modulus t.
    pub fn plain_modulus(&self) -> u64 {
        self.base.plain_modulus()
    }

    /// The signed digits of a number as the nonzero coefficients of a polynomial modulo X^N + 1, by
    /// ascending exponent: integer digits as they are, digit i of the fraction as -digit at N - i.
    ///
    /// # Errors
    /// [`Error::Unencodable`] (with index 0) for NaN, infinities and integer parts that need more than the
    /// integer digits or 63 bits.
    pub fn digits(&self, value: f64) -> Result<Vec<(usize, i64)>> {
        let unencodable = |reason: String| Error::Unencodable { value, index: 0, reason };
        if !value.is_finite() {
            return Err(unencodable("only finite numbers can be; clean the data first".into()));
        }
        if value.abs() >= 2f64.powi(63) {
            return Err(unencodable("its integer part has more than 63 bits; scale the data down".into()));
        }
        let (integer, fraction) = self.base.split(value, self.fraction_digits);
        let integer = self.base.integer_digits(integer);
        if integer.len() > self.integer_digits {
            return Err(unencodable(format!(
                "its integer part has {} digits and {} are kept; scale the data down or keep more integer digits",
                integer.len(),
                self.integer_digits
            )));
        }
        let first = self.degree - self.fraction_digits;
        let fraction = fraction.into_iter().rev().enumerate().map(|(i, digit)| (first + i, -digit));
        Ok(integer.into_iter().enumerate().chain(fraction).filter(|&(_, digit)| digit != 0).collect())
    }

    /// Encodes one number.
    ///
    /// # Errors
    /// As [`digits`](Self::digits).
    pub fn encode(&self, value: f64) -> Result<Plaintext> {
        let digits = self.digits(value)?;
        let mut coefficients = vec![0; digits.last().map_or(0, |&(exponent, _)| exponent + 1)];
        for (exponent, digit) in digits {
            coefficients[exponent] = self.base.store(digit);
        }
        Ok(Plaintext::Bfv(coefficients))
    }

    /// Encodes every number of a flattened array.
    ///
    /// # Errors
    /// As [`digits`](Self::digits), with the index of the first number at fault.
    pub fn encode_all(&self, values: &[f64]) -> Result<Vec<Plaintext>> {
        super::each(values, |&value| self.encode(value))
    }

    /// Decodes as SEAL 2.3.1 does: the low `integer_digits` coefficients are the integer part, the top
    /// `fraction_digits` the fraction, and what products have put in between is left out. Each product adds
    /// fraction digits, so after a few of them the omission shows in the third or fourth decimal.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] for a plaintext that is not one of this degree and plaintext modulus.
    pub fn decode(&self, plaintext: &Plaintext) -> Result<f64> {
        self.evaluate(plaintext, self.integer_digits, self.degree - self.fraction_digits)
    }

    /// Decodes with every coefficient: those between the integer and the fraction digits count half
    /// to the one and half to the other. Exact where [`decode`](Self::decode) leaves out digits.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_all_digits(&self, plaintext: &Plaintext) -> Result<f64> {
        self.evaluate(plaintext, self.middle(), self.middle())
    }

    /// [`decode_all_digits`](Self::decode_all_digits) for answers that must not be wrong.
    ///
    /// A computation whose coefficients have outgrown the plaintext modulus t wraps around it, and they then lie
    /// anywhere: a coefficient in the outer half of the range (at least t/4 from zero) is taken for that. One wrapped
    /// coefficient goes unseen half of the time, many are as good as certain to be seen.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), and [`Error::ScaleOutOfRange`] for digits that have outgrown t.
    pub fn decode_checked(&self, plaintext: &Plaintext) -> Result<f64> {
        let value = self.decode_all_digits(plaintext)?;
        let t = self.plain_modulus();
        let outer = |coefficient: u64| 4 * u128::from(coefficient.min(t - coefficient)) >= u128::from(t);
        // A modulus hardly larger than the base has even the digits of one number in its outer half.
        let wrapped =
            t / self.base.base() >= 8 && super::bfv_coefficients(plaintext, self.degree, t)?.iter().any(|&c| outer(c));
        if wrapped || !value.is_finite() {
            return Err(Error::ScaleOutOfRange {
                operation: "decode",
                reason: format!(
                    "the digits of the result have outgrown the plaintext modulus {t}; choose a larger one, or weights \
                     and images of fewer digits"
                ),
            });
        }
        Ok(value)
    }

    /// How many multipliers [`zero`](Self::zero) takes.
    pub fn zero_len(&self) -> usize {
        self.degree - 1
    }

    /// r(x) (x - b), whose number is zero whatever r is, as [`decode_all_digits`](Self::decode_all_digits) has it: added to a
    /// plaintext it changes digits and not the number. The multipliers r stand by ascending exponents, the lowest being
    /// that of the last fraction digit; there is none at the highest exponent, so that nothing reaches the border between
    /// integer and fraction digits. Coefficients are at most (b + 1) times the largest multiplier in magnitude, which the
    /// plaintext modulus must have room for.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for another number of multipliers than [`zero_len`](Self::zero_len).
    pub fn zero(&self, multipliers: &[i64]) -> Result<Plaintext> {
        if multipliers.len() != self.zero_len() {
            let expected = format!("{} multipliers", self.zero_len());
            return Err(Error::ShapeMismatch { operation: "encode zero", expected, got: vec![multipliers.len()] });
        }
        let (base, integer_end) = (self.base.base() as i64, self.middle());
        let mut coefficients = vec![0; self.degree];
        let (mut below, lowest) = (0, integer_end as isize - self.degree as isize);
        for (i, &multiplier) in multipliers.iter().chain(&[0]).enumerate() {
            let digit = below - base * multiplier;
            let exponent = lowest + i as isize;
            match usize::try_from(exponent) {
                Ok(exponent) => coefficients[exponent] = self.base.store(digit),
                Err(_) => coefficients[self.degree - exponent.unsigned_abs()] = self.base.store(-digit),
            }
            below = multiplier;
        }
        Ok(Plaintext::Bfv(coefficients))
    }

    /// The exponent at which fraction digits begin, counted from the top.
    fn middle(&self) -> usize {
        (self.integer_digits + self.degree - self.fraction_digits) / 2
    }

    /// Integer digits below exponent `integer_end`, fraction digits from `fraction_start`.
    fn evaluate(&self, plaintext: &Plaintext, integer_end: usize, fraction_start: usize) -> Result<f64> {
        let coefficients = super::bfv_coefficients(plaintext, self.degree, self.base.plain_modulus())?;
        let digit = |exponent: usize| coefficients.get(exponent).map_or(0, |&c| self.base.load(c));
        let fraction = (fraction_start..self.degree).map(|exponent| -digit(exponent));
        let digits = fraction.chain((0..integer_end).map(digit)).collect();
        Ok(self.base.number(digits, self.degree - fraction_start))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEGREE: usize = 4096;

    fn encoder(base: u64, t: u64) -> FractionalEncoder {
        FractionalEncoder::new(DEGREE, t, base, 64, 32).unwrap()
    }

    /// Schoolbook product modulo X^N + 1 and t, of polynomials with few coefficients.
    fn product(encoder: &FractionalEncoder, a: f64, b: f64) -> Plaintext {
        let t = i128::from(encoder.plain_modulus());
        let mut sum = vec![0i128; DEGREE];
        for (i, x) in encoder.digits(a).unwrap() {
            for (j, y) in encoder.digits(b).unwrap() {
                let sign = if i + j < DEGREE { 1 } else { -1 };
                sum[(i + j) % DEGREE] += sign * i128::from(x) * i128::from(y);
            }
        }
        Plaintext::Bfv(sum.into_iter().map(|c| c.rem_euclid(t) as u64).collect())
    }

    #[test]
    fn binary_digits_carry_the_sign_and_fractions_wrap_negated() {
        let encoder = encoder(2, 101);
        // 5.375 = 101.011
        assert_eq!(encoder.digits(5.375).unwrap(), [(0, 1), (2, 1), (DEGREE - 3, -1), (DEGREE - 2, -1)]);
        assert_eq!(encoder.digits(-5.375).unwrap(), [(0, -1), (2, -1), (DEGREE - 3, 1), (DEGREE - 2, 1)]);
        let Plaintext::Bfv(coefficients) = encoder.encode(5.375).unwrap() else { unreachable!() };
        assert_eq!(coefficients.len(), DEGREE - 1);
        assert_eq!((coefficients[0], coefficients[1], coefficients[DEGREE - 2]), (1, 0, 100));
        // Whole numbers are as short as SEAL makes them.
        assert_eq!(encoder.encode(6.0).unwrap(), Plaintext::Bfv(vec![0, 1, 1]));
        assert_eq!(encoder.encode(0.0).unwrap(), Plaintext::Bfv(vec![]));
    }

    #[test]
    fn larger_bases_have_balanced_digits() {
        // 5 = 9 - 3 - 1
        assert_eq!(encoder(3, 101).digits(5.0).unwrap(), [(0, -1), (1, -1), (2, 1)]);
        let halves = encoder(3, 101).digits(0.5).unwrap();
        // 0.5 rounds to 1, and -0.5 = -0.111... in base 3.
        assert_eq!((halves[0], halves[1], halves.len()), ((0, 1), (DEGREE - 32, 1), 33));
        // Base 10: 0.75 = 1 - 0.25; -0.25 is -2.5 tenths, cut to -2, then -5 hundredths.
        assert_eq!(encoder(10, 101).digits(0.75).unwrap(), [(0, 1), (DEGREE - 2, 5), (DEGREE - 1, 2)]);
        // +5 is not a digit of base 10: 0.25 = 0.3 - 0.05.
        assert_eq!(encoder(10, 101).digits(0.25).unwrap(), [(DEGREE - 2, 5), (DEGREE - 1, -3)]);
        // Nor +2 of base 4, and a carry may reach the integer: 7/16 = 2/4 - 1/16 = 1 - 2/4 - 1/16.
        assert_eq!(encoder(4, 101).digits(0.4375).unwrap(), [(0, 1), (DEGREE - 2, 1), (DEGREE - 1, 2)]);
    }

    #[test]
    fn what_cannot_be_encoded_is_named() {
        let small = FractionalEncoder::new(DEGREE, 101, 2, 4, 8).unwrap();
        assert_eq!(small.decode(&small.encode(-15.5).unwrap()).unwrap(), -15.5);
        for value in [16.0, -16.0, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let Err(Error::Unencodable { index: 2, value: reported, .. }) = small.encode_all(&[1.0, 2.0, value]) else {
                panic!("{value}")
            };
            assert!(reported == value || value.is_nan());
        }
        for (base, t, integer, fraction) in
            [(1, 101, 4, 4), (102, 101, 4, 4), (2, 101, 0, 4), (2, 101, 4, 0), (2, 101, 4093, 4)]
        {
            let made = FractionalEncoder::new(DEGREE, t, base, integer, fraction);
            assert!(matches!(made, Err(Error::InvalidArgument { .. })), "{base} {t} {integer} {fraction}");
        }
        assert!(FractionalEncoder::new(DEGREE, 101, 2, usize::MAX, usize::MAX).is_err());
        for unfit in [Plaintext::Bfv(vec![101]), Plaintext::Bfv(vec![0; DEGREE + 1])] {
            assert!(matches!(small.decode(&unfit), Err(Error::ParametersMismatch { .. })));
        }
    }

    #[test]
    fn decoding_leaves_out_what_seal_left_out() {
        let encoder = encoder(2, 1 << 20);
        let mut coefficients = vec![0; DEGREE];
        coefficients[DEGREE - 33] = 1 << 10;
        assert_eq!(encoder.decode(&Plaintext::Bfv(coefficients.clone())).unwrap(), 0.0);
        let wide = encoder.decode_all_digits(&Plaintext::Bfv(coefficients)).unwrap();
        assert_eq!(wide, -(2f64.powi(10 - 33)));
    }

    #[test]
    fn what_cancels_leaves_no_rounding_error() {
        let encoder = encoder(2, 1 << 60);
        let t = 1u64 << 60;
        // 2^56 (x - 2) / x beside 1 + 1/4.
        let mut coefficients = vec![0; DEGREE];
        coefficients[0] = 1 + (1 << 56);
        coefficients[DEGREE - 1] = 2 << 56;
        coefficients[DEGREE - 2] = t - 1;
        assert_eq!(encoder.decode_checked(&Plaintext::Bfv(coefficients)).unwrap(), 1.25);
        assert_eq!(encoder.zero(&[1]).unwrap_err().code(), "shape-mismatch");
    }

    #[test]
    fn digits_that_outgrow_the_plaintext_modulus_are_an_error() {
        let encoder = encoder(2, 101);
        for (coefficient, fits) in [(25, true), (26, false), (50, false), (75, false), (76, true)] {
            let decoded = encoder.decode_checked(&Plaintext::Bfv(vec![1, coefficient]));
            assert_eq!(decoded.is_ok(), fits, "{coefficient}: {decoded:?}");
        }
        // X^2000 is 2^2000.
        for coefficients in [vec![26], [vec![0; 2000], vec![1]].concat()] {
            let error = encoder.decode_checked(&Plaintext::Bfv(coefficients)).unwrap_err();
            assert_eq!(error.code(), "scale-out-of-range");
        }
    }

    proptest! {
        #[test]
        fn numbers_round_trip(value in -1e6..1e6f64, base in 2u64..40) {
            let encoder = encoder(base, 100_000_007);
            let decoded = encoder.decode(&encoder.encode(value).unwrap()).unwrap();
            prop_assert!((decoded - value).abs() <= 2.5e-10, "{} {}", value, decoded);
        }

        #[test]
        fn digits_that_stand_for_zero_do_not_change_a_number(
            a in -100.0..100.0f64,
            b in -100.0..100.0f64,
            base in prop_oneof![Just(2u64), Just(3), Just(10)],
            t in prop_oneof![Just(100_000_007u64), Just((1 << 60) - 93)],
            seed in any::<u64>(),
        ) {
            let encoder = encoder(base, t);
            // Uniform as far as t / 4 leaves room for them beside the digits.
            let bound = (t / 8 / (base + 1)) as i64;
            let mut state = seed | 1;
            let multipliers: Vec<i64> = (0..encoder.zero_len()).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 1) as i64) % (bound + 1) * if state >> 63 == 0 { 1 } else { -1 }
            }).collect();
            let Plaintext::Bfv(zero) = encoder.zero(&multipliers).unwrap() else { unreachable!() };
            for plaintext in [encoder.encode(a).unwrap(), product(&encoder, a, b), Plaintext::Bfv(vec![])] {
                let Plaintext::Bfv(mut sum) = plaintext.clone() else { unreachable!() };
                sum.resize(DEGREE, 0);
                sum.iter_mut().zip(&zero).for_each(|(c, z)| *c = (*c + z) % t);
                prop_assert_eq!(
                    encoder.decode_checked(&Plaintext::Bfv(sum)).unwrap(),
                    encoder.decode_checked(&plaintext).unwrap()
                );
            }
        }

        #[test]
        fn products_of_encodings_are_products(a in -100.0..100.0f64, b in -100.0..100.0f64, base in 2u64..8) {
            let encoder = encoder(base, 100_000_007);
            let product = product(&encoder, a, b);
            let exact = encoder.decode_all_digits(&product).unwrap();
            prop_assert!((exact - a * b).abs() < 1e-6, "{} {}", exact, a * b);
            let as_seal = encoder.decode(&product).unwrap();
            prop_assert!((as_seal - a * b).abs() < 1e-4, "{} {}", as_seal, a * b);
        }
    }
}
