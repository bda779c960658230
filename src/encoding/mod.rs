//! Numbers to plaintexts and back.
//!
//! | encoder | numbers | scheme |
//! | --- | --- | --- |
//! | [`FractionalEncoder`] | one real number, in digits (the paper's) | BFV, any t |
//! | [`IntegerEncoder`], [`ConstantEncoder`] | one integer, in digits or as a constant | BFV, any t |
//! | [`BatchEncoder`] | N integers modulo t, one a slot | BFV, t a prime congruent to 1 modulo 2N |
//! | [`CkksEncoder`] | N/2 real or complex numbers, one a slot | CKKS |

mod base;
mod batch;
mod ckks;
mod fft;
mod fractional;
mod integer;

pub use batch::BatchEncoder;
pub use ckks::CkksEncoder;
pub use fractional::FractionalEncoder;
pub use integer::{ConstantEncoder, IntegerEncoder};

use crate::error::{Error, Result};
use crate::ring::Modulus;
use crate::scheme::Plaintext;

/// Encodes each value; an error names its index.
fn each<T, U>(values: &[T], encode: impl Fn(&T) -> Result<U>) -> Result<Vec<U>> {
    values
        .iter()
        .enumerate()
        .map(|(at, value)| {
            encode(value).map_err(|error| match error {
                Error::Unencodable { value, reason, .. } => Error::Unencodable { value, index: at, reason },
                other => other,
            })
        })
        .collect()
}

/// The coefficients of a BFV plaintext of at most `degree` coefficients in [0, t).
fn bfv_coefficients(plaintext: &Plaintext, degree: usize, t: u64) -> Result<&[u64]> {
    match plaintext {
        Plaintext::Bfv(coefficients) if coefficients.len() <= degree && coefficients.iter().all(|&c| c < t) => {
            Ok(coefficients)
        }
        _ => Err(Error::ParametersMismatch { operation: "decode", object: "plaintext" }),
    }
}

/// Refuses an integer outside [-t/2, t/2].
fn check_centered(value: i64, index: usize, t: Modulus) -> Result<()> {
    let half = t.value() / 2;
    if value.unsigned_abs() <= half { Ok(()) } else { Err(outside(value as f64, index, format!("[-{half}, {half}]"))) }
}

/// The error for a value outside the range of a plaintext modulus.
fn outside(value: f64, index: usize, range: String) -> Error {
    let reason = format!("it is outside {range}; choose a larger plaintext modulus or scale the data down");
    Error::Unencodable { value, index, reason }
}

/// Refuses more values than there are slots.
fn check_slots(values: usize, slots: usize) -> Result<()> {
    if values <= slots {
        return Ok(());
    }
    Err(Error::ShapeMismatch {
        operation: "encode",
        expected: format!("at most {slots} values, one a slot"),
        got: vec![values],
    })
}

/// SEAL's slot order: where slot i of row 0, then of row 1, stands among the values of the transform.
///
/// Slot i of row 0 is the root to the power 3^i, of row 1 its inverse; the transform has odd power
/// 2 k + 1 at the reversal of the bits of k.
fn slot_positions(degree: usize) -> Vec<usize> {
    let reversed = |k: usize| k.reverse_bits() >> (usize::BITS - degree.trailing_zeros());
    let order = 2 * degree;
    let powers: Vec<usize> =
        std::iter::successors(Some(1), |&power| Some(power * 3 % order)).take(degree / 2).collect();
    let row = |power: fn(usize, usize) -> usize| {
        powers.iter().map(move |&p| reversed((power(p, order) - 1) / 2)).collect::<Vec<_>>()
    };
    [row(|p, _| p), row(|p, order| order - p)].concat()
}
