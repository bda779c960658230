//! What encryption would give, without encryption.
//!
//! BFV computes in the plaintext ring Z_t\[X\]/(X^N + 1), exactly, as long as its noise budget lasts. The [`Simulator`]
//! computes there too, on the same encodings of the same weights, and so predicts the decrypted answer digit for digit:
//! rounding of the encoding, overflow of coefficients modulo t, and fractional digits that meet the integer ones.

mod encoders;
mod polynomial;

use std::collections::HashMap;

use rayon::prelude::*;

pub use polynomial::{Digit, PlainPolynomial, PlainRing};

use super::activation::Activation;
use super::affine::AffineMap;
use super::model::{Network, Operation};
use crate::error::{Error, Result};
use crate::scheme::Plaintext;

/// How a number becomes a polynomial: the fractional and the integer encoders are such.
pub trait DigitEncoder {
    /// The terms of the encoded polynomial, in any order; X^-i may be written so or as -X^(N - i).
    ///
    /// # Errors
    /// [`Error::Unencodable`] for a number that the encoding cannot hold.
    fn digits(&self, value: f64) -> Result<Vec<Digit>>;
}

impl<F: Fn(f64) -> Result<Vec<Digit>>> DigitEncoder for F {
    fn digits(&self, value: f64) -> Result<Vec<Digit>> {
        self(value)
    }
}

/// A network whose weights are encoded, ready to run on encoded images.
#[derive(Debug, Clone)]
pub struct Simulator<E> {
    encoder: E,
    ring: PlainRing,
    inputs: usize,
    stages: Vec<Stage>,
}

#[derive(Debug, Clone)]
enum Stage {
    Affine(EncodedAffine),
    Square,
    /// constant first
    Polynomial(Vec<Vec<Digit>>),
}

/// An affine map over encoded weights; each different number is encoded once.
#[derive(Debug, Clone)]
struct EncodedAffine {
    offsets: Vec<usize>,
    columns: Vec<u32>,
    /// for each entry the place of its weight in `numbers`
    weights: Vec<u32>,
    /// for each output the place of its bias in `numbers`
    bias: Vec<u32>,
    numbers: Vec<Vec<Digit>>,
}

/// Rows of one affine map that a thread takes at a time.
const ROWS_PER_TASK: usize = 32;

impl<E: DigitEncoder + Sync> Simulator<E> {
    /// Encodes the weights of a network.
    ///
    /// # Errors
    /// [`Error::Unencodable`] with the flat index of the first weight, bias or coefficient that the encoding cannot hold;
    /// [`Error::Unsupported`] for residual blocks.
    pub fn new(network: &Network, ring: PlainRing, encoder: E) -> Result<Self> {
        let stages = network
            .layers()
            .iter()
            .map(|layer| match &layer.operation {
                Operation::Affine(map) => Ok(Stage::Affine(EncodedAffine::new(map, &ring, &encoder)?)),
                Operation::Activation(Activation::Square) => Ok(Stage::Square),
                Operation::Activation(Activation::Polynomial(coefficients)) => {
                    Ok(Stage::Polynomial(encode_digits(coefficients, &ring, &encoder)?))
                }
                Operation::Residual { .. } => Err(Error::Unsupported {
                    operation: "simulating",
                    reason: format!("layer {} is a residual block, and BFV runs chains of layers only", layer.name),
                }),
            })
            .collect::<Result<_>>()?;
        Ok(Self { encoder, ring, inputs: network.inputs(), stages })
    }

    /// The plaintext ring.
    pub fn ring(&self) -> &PlainRing {
        &self.ring
    }

    /// Encodes the values of one or more images.
    ///
    /// # Errors
    /// [`Error::Unencodable`] with the flat index of the first value that the encoding cannot hold.
    pub fn encode(&self, values: &[f64]) -> Result<Vec<PlainPolynomial>> {
        let encode = |(index, &value): (usize, &f64)| {
            self.encoder.digits(value).map(|digits| self.ring.element(&digits)).map_err(|error| at_index(error, index))
        };
        values.iter().enumerate().map(encode).collect()
    }

    /// The output of every layer for one encoded image.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where the image has another number of values than the network takes.
    pub fn trace(&self, image: &[PlainPolynomial]) -> Result<Vec<Vec<PlainPolynomial>>> {
        self.check_length(image.len(), self.inputs)?;
        let mut outputs: Vec<Vec<PlainPolynomial>> = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            let output = self.run(stage, outputs.last().map_or(image, |output| output));
            outputs.push(output);
        }
        Ok(outputs)
    }

    /// The answer for one encoded image; outputs in parallel on the current rayon pool.
    ///
    /// # Errors
    /// As [`trace`](Self::trace).
    pub fn evaluate(&self, image: Vec<PlainPolynomial>) -> Result<Vec<PlainPolynomial>> {
        self.check_length(image.len(), self.inputs)?;
        Ok(self.stages.iter().fold(image, |values, stage| self.run(stage, &values)))
    }

    /// The decoded answers for images, one after the other; images in parallel on the current rayon pool.
    ///
    /// `decode` gets what decryption would give.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where the length is not a multiple of an image's; [`Error::Unencodable`]; those of
    /// `decode`.
    pub fn predict(&self, images: &[f64], decode: impl Fn(&Plaintext) -> Result<f64> + Sync) -> Result<Vec<f64>> {
        self.check_length(images.len() % self.inputs, 0)?;
        let answers: Result<Vec<Vec<f64>>> = images
            .par_chunks(self.inputs)
            .enumerate()
            .map(|(image, values)| {
                let encoded = self.encode(values).map_err(|error| at_index(error, image * self.inputs))?;
                self.evaluate(encoded)?.iter().map(|value| decode(&self.ring.plaintext(value))).collect()
            })
            .collect();
        Ok(answers?.concat())
    }

    fn run(&self, stage: &Stage, values: &[PlainPolynomial]) -> Vec<PlainPolynomial> {
        match stage {
            Stage::Affine(map) => (0..map.bias.len())
                .into_par_iter()
                .with_min_len(ROWS_PER_TASK)
                .map_init(Vec::new, |scratch, row| {
                    let entries = map.offsets[row]..map.offsets[row + 1];
                    let terms = map.columns[entries.clone()].iter().zip(&map.weights[entries]);
                    let terms =
                        terms.map(|(&column, &weight)| (&map.numbers[weight as usize][..], &values[column as usize]));
                    self.ring.combine(terms, &map.numbers[map.bias[row] as usize], scratch)
                })
                .collect(),
            Stage::Square => {
                let values = values.par_iter().with_min_len(ROWS_PER_TASK);
                values.map(|value| self.ring.square(value)).collect()
            }
            Stage::Polynomial(coefficients) => {
                let values = values.par_iter().with_min_len(ROWS_PER_TASK);
                values.map(|value| self.polynomial(coefficients, value)).collect()
            }
        }
    }

    /// Horner's rule.
    fn polynomial(&self, coefficients: &[Vec<Digit>], value: &PlainPolynomial) -> PlainPolynomial {
        coefficients.iter().rev().fold(PlainPolynomial::default(), |sum, coefficient| {
            self.ring.add_constant(&self.ring.multiply(&sum, value), coefficient)
        })
    }

    fn check_length(&self, got: usize, expected: usize) -> Result<()> {
        if got != expected {
            return Err(Error::ShapeMismatch {
                operation: "simulate",
                expected: format!("{} values an image", self.inputs),
                got: vec![got],
            });
        }
        Ok(())
    }
}

impl EncodedAffine {
    fn new(map: &AffineMap, ring: &PlainRing, encoder: &impl DigitEncoder) -> Result<Self> {
        let (distinct, weights) = map.distinct_weights();
        let mut numbers = encode_digits(&distinct, ring, encoder)?;
        let mut seen = HashMap::new();
        let mut bias = Vec::with_capacity(map.outputs());
        for (index, value) in map.bias().iter().enumerate() {
            bias.push(match seen.get(&value.to_bits()) {
                Some(&place) => place,
                None => {
                    // Fits: there are fewer than 2^32 weights and biases that differ, at 8 bytes each.
                    let place = numbers.len() as u32;
                    let digits = encoder.digits(*value).map_err(|error| at_index(error, index))?;
                    numbers.push(ring.reduce_digits(&digits));
                    seen.insert(value.to_bits(), place);
                    place
                }
            });
        }
        Ok(Self { offsets: map.offsets().to_vec(), columns: map.columns().to_vec(), weights, bias, numbers })
    }
}

fn encode_digits(values: &[f64], ring: &PlainRing, encoder: &impl DigitEncoder) -> Result<Vec<Vec<Digit>>> {
    let encode = |(index, &value): (usize, &f64)| {
        encoder.digits(value).map(|digits| ring.reduce_digits(&digits)).map_err(|error| at_index(error, index))
    };
    values.iter().enumerate().map(encode).collect()
}

/// The encoder sees one number and says index 0; the caller knows where it stood.
fn at_index(error: Error, offset: usize) -> Error {
    match error {
        Error::Unencodable { value, index, reason } => Error::Unencodable { value, index: index + offset, reason },
        other => other,
    }
}

#[cfg(test)]
mod tests;
