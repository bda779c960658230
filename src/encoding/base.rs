//! Numbers in base b with signed digits, as SEAL 2.3.1's encoders expand them.

use crate::error::{Error, Result};
use crate::ring::Modulus;

/// A base together with the plaintext modulus that its digits are stored in.
///
/// Base 2 has digits of the number's own sign. A larger base has balanced digits: from -(b-1)/2 to
/// (b-1)/2 where b is odd, from -b/2 to b/2 - 1 where it is even.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Base {
    base: i64,
    plain_modulus: Modulus,
}

impl Base {
    /// The largest base: digits and their products with it stay exact in `f64` and `i64`.
    const MAX: u64 = 1 << 31;

    /// # Errors
    /// [`Error::InvalidArgument`] for a base below 2 or above 2^31 or the plaintext modulus,
    /// [`Error::InvalidModulus`] for an unusable plaintext modulus.
    pub fn new(base: u64, plain_modulus: u64) -> Result<Self> {
        let modulus = Modulus::new(plain_modulus)?;
        let most = Self::MAX.min(plain_modulus);
        if !(2..=most).contains(&base) {
            let reason = format!("{base}; choose 2 to {most}, at most the plaintext modulus");
            return Err(Error::InvalidArgument { name: "base", reason });
        }
        Ok(Self { base: base as i64, plain_modulus: modulus })
    }

    /// The base b.
    pub fn base(self) -> u64 {
        self.base as u64
    }

    /// The plaintext modulus t.
    pub fn plain_modulus(self) -> u64 {
        self.plain_modulus.value()
    }

    /// The digits of an integer, least significant first, without leading zeros.
    pub fn integer_digits(self, value: i128) -> Vec<i64> {
        let base = i128::from(self.base);
        let mut digits = Vec::new();
        let mut rest = value;
        while rest != 0 {
            let digit = if self.base == 2 {
                rest % 2
            } else {
                let digit = rest.rem_euclid(base);
                if digit > (base - 1) / 2 { digit - base } else { digit }
            };
            digits.push(digit as i64);
            rest = (rest - digit) / base;
        }
        digits
    }

    /// A number as an integer and `count` digits of what remains, most significant (b^-1) first.
    /// The number must be finite and below 2^63 in magnitude.
    pub fn split(self, value: f64, count: usize) -> (i128, Vec<i64>) {
        let base = self.base as f64;
        let nearest_towards_zero = |x: f64| (x.abs() - 0.5).ceil().copysign(x);
        let integer = if self.base == 2 { value.trunc() } else { value.round() };
        let mut rest = value - integer;
        let mut digits: Vec<i64> = (0..count)
            .map(|_| {
                rest *= base;
                let digit = if self.base == 2 { rest.trunc() } else { nearest_towards_zero(rest) };
                rest -= digit;
                digit as i64
            })
            .collect();
        let mut carry = 0;
        if self.base > 2 && self.base % 2 == 0 {
            // Rounding leaves digits up to +b/2, which an even base does not have.
            for digit in digits.iter_mut().rev() {
                *digit += carry;
                carry = i64::from(*digit >= self.base / 2);
                *digit -= carry * self.base;
            }
        }
        (integer as i128 + i128::from(carry), digits)
    }

    /// A digit modulo t.
    pub fn store(self, digit: i64) -> u64 {
        self.plain_modulus.reduce_signed(digit)
    }

    /// The digit that a coefficient stands for, in [-t/2, t/2): t/2 itself counts as negative.
    pub fn load(self, coefficient: u64) -> i64 {
        let t = self.plain_modulus.value();
        if coefficient >= t.div_ceil(2) { coefficient as i64 - t as i64 } else { coefficient as i64 }
    }

    /// The integer with the given coefficients, least significant first; `None` where it does not fit.
    pub fn evaluate_integer(self, coefficients: &[u64]) -> Option<i128> {
        coefficients.iter().rev().try_fold(0i128, |value, &c| {
            value.checked_mul(i128::from(self.base))?.checked_add(i128::from(self.load(c)))
        })
    }

    /// The number with the given digits of any size, by ascending exponents, the digit at `point` counting 1.
    ///
    /// Carries make digits from 0 to b - 1 of them first, in integers: digits that cancel leave no rounding error, and
    /// whatever stands for a number decodes to the same double.
    pub fn number(self, mut digits: Vec<i64>, point: usize) -> f64 {
        let mut above = self.carry(&mut digits);
        let sign = if above < 0 {
            digits.iter_mut().for_each(|digit| *digit = -*digit);
            above = self.carry(&mut digits) - above;
            -1.0
        } else {
            1.0
        };
        digits.push(above);
        let base = self.base as f64;
        let integer = &digits[point.min(digits.len())..];
        let exact = integer
            .iter()
            .rev()
            .try_fold(0i128, |value, &digit| value.checked_mul(i128::from(self.base))?.checked_add(i128::from(digit)));
        let rounded = || integer.iter().rev().fold(0.0, |value, &digit| value * base + digit as f64);
        let fraction = digits[..point].iter().fold(0.0, |value, &digit| (value + digit as f64) / base);
        sign * (exact.map_or_else(rounded, |value| value as f64) + fraction)
    }

    /// Reduces digits to 0..b, from the lowest to the highest; what is left over counts b times the highest.
    fn carry(self, digits: &mut [i64]) -> i64 {
        let mut carry = 0;
        for digit in digits {
            // At most 2^61 in magnitude: digits and carries are at most 2^60, half of the largest plaintext modulus.
            let sum = *digit + carry;
            (carry, *digit) = (sum.div_euclid(self.base), sum.rem_euclid(self.base));
        }
        carry
    }
}
