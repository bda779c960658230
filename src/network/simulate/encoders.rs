//! The encoders of [`encoding`](crate::encoding) that put a number's digits into a polynomial.

use super::{Digit, DigitEncoder};
use crate::encoding::{FractionalEncoder, IntegerEncoder};
use crate::error::{Error, Result};

impl DigitEncoder for FractionalEncoder {
    fn digits(&self, value: f64) -> Result<Vec<Digit>> {
        Ok(signed(FractionalEncoder::digits(self, value)?))
    }
}

/// For networks of integers, see [`IntegerNetwork::to_network`](crate::network::IntegerNetwork::to_network).
impl DigitEncoder for IntegerEncoder {
    fn digits(&self, value: f64) -> Result<Vec<Digit>> {
        if value.fract() != 0.0 || value.abs() >= 2f64.powi(63) {
            let reason = "it is no integer of 63 bits; quantize the network and its images first".into();
            return Err(Error::Unencodable { value, index: 0, reason });
        }
        Ok(signed(IntegerEncoder::digits(self, value as i64)))
    }
}

fn signed(digits: Vec<(usize, i64)>) -> Vec<Digit> {
    digits.into_iter().map(|(exponent, digit)| (exponent as i64, digit)).collect()
}
