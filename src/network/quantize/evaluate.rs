//! Integer networks, exactly and modulo a plaintext modulus.

use rayon::prelude::*;

use super::{IntegerAffine, IntegerNetwork, IntegerOperation};
use crate::error::{Error, Result};

impl IntegerNetwork {
    /// The exact integer answers for quantized images, one after the other; images in parallel on the current rayon
    /// pool.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where the length is not a multiple of an image's; [`Error::ScaleOutOfRange`] where a
    /// value outgrows 127 bits.
    pub fn evaluate(&self, images: &[i64]) -> Result<Vec<i128>> {
        self.evaluate_in(Integers { modulus: None }, images)
    }

    /// The answers modulo t, in (-t/2, t/2]: what BFV with the plaintext modulus t decrypts to, one value in a
    /// coefficient or a slot.
    ///
    /// They are those of [`evaluate`](Self::evaluate) as long as these stay below t/2.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where the length is not a multiple of an image's; [`Error::InvalidArgument`] for a
    /// modulus outside 2..2^61.
    pub fn evaluate_modulo(&self, images: &[i64], modulus: u64) -> Result<Vec<i128>> {
        if !(2..1 << 61).contains(&modulus) {
            let reason = format!("{modulus} is not between 2 and 2^61");
            return Err(Error::InvalidArgument { name: "plaintext modulus", reason });
        }
        self.evaluate_in(Integers { modulus: Some(modulus.into()) }, images)
    }

    /// Bits that hold every |value| after each layer, whatever the images, as long as their integers are at most
    /// `max_input` in magnitude. A plaintext modulus needs one bit more, for the sign. `u32::MAX` stands for bounds
    /// that outgrow double precision.
    pub fn worst_case_bits(&self, max_input: f64) -> Vec<u32> {
        let mut bounds = vec![max_input.abs(); self.inputs()];
        self.layers
            .iter()
            .map(|layer| {
                match &layer.operation {
                    IntegerOperation::Affine(map) => bounds = map.worst_case(&bounds),
                    IntegerOperation::Square => bounds.iter_mut().for_each(|bound| *bound *= *bound),
                    IntegerOperation::Polynomial(coefficients) => {
                        let value =
                            |x: f64| coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c.unsigned_abs() as f64);
                        bounds.iter_mut().for_each(|bound| *bound = value(*bound));
                    }
                }
                // Bounds beyond double precision may come out as NaN: they bound nothing.
                let largest = bounds.iter().fold(0.0, |m: f64, b| if b.is_nan() { f64::INFINITY } else { m.max(*b) });
                // The margin covers the rounding of sums in double precision.
                if largest < 1.0 { 0 } else { ((largest * (1.0 + 1e-9)).log2().floor() as u32).saturating_add(1) }
            })
            .collect()
    }

    /// Bits that hold every |value| after each layer for some images, found by running them.
    ///
    /// # Errors
    /// As [`quantize`](Self::quantize) and [`evaluate`](Self::evaluate).
    pub fn calibrated_bits(&self, images: &[f64]) -> Result<Vec<u32>> {
        let images = self.quantize(images)?;
        self.check_length(&images)?;
        let exact = Integers { modulus: None };
        let none = || vec![0; self.layers.len()];
        images
            .par_chunks(self.inputs())
            .map(|image| {
                let mut bits = Vec::with_capacity(self.layers.len());
                self.run(exact, image, |values| {
                    let largest = values.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0);
                    bits.push(u128::BITS - largest.leading_zeros());
                })?;
                Ok(bits)
            })
            .try_reduce(none, |left, right| Ok(left.into_iter().zip(right).map(|(a, b)| a.max(b)).collect()))
    }

    fn evaluate_in(&self, integers: Integers, images: &[i64]) -> Result<Vec<i128>> {
        self.check_length(images)?;
        let answers: Result<Vec<Vec<i128>>> =
            images.par_chunks(self.inputs()).map(|image| self.run(integers, image, |_| {})).collect();
        Ok(answers?.concat())
    }

    fn run(&self, integers: Integers, image: &[i64], mut observe: impl FnMut(&[i128])) -> Result<Vec<i128>> {
        let mut values: Vec<i128> = image.iter().map(|&value| integers.reduce(value.into())).collect();
        for layer in &self.layers {
            let output: Option<Vec<i128>> = match &layer.operation {
                IntegerOperation::Affine(map) => integers.affine(map, &values),
                IntegerOperation::Square => values.iter().map(|&x| integers.multiply_add(x, x, 0)).collect(),
                IntegerOperation::Polynomial(coefficients) => {
                    values.iter().map(|&x| integers.polynomial(coefficients, x)).collect()
                }
            };
            values = output.ok_or_else(|| Error::ScaleOutOfRange {
                operation: "integer evaluation",
                reason: format!("a value of layer {} outgrows 127 bits; use fewer weight bits", layer.name),
            })?;
            observe(&values);
        }
        Ok(values)
    }

    fn check_length(&self, images: &[i64]) -> Result<()> {
        if images.len().is_multiple_of(self.inputs()) {
            return Ok(());
        }
        Err(Error::ShapeMismatch {
            operation: "integer evaluation",
            expected: format!("images of shape {:?}, {} values each", self.input_shape, self.inputs()),
            got: vec![images.len()],
        })
    }
}

/// Integers of 127 bits (`None` where they overflow), or centred residues modulo a number below 2^61.
#[derive(Debug, Clone, Copy)]
struct Integers {
    modulus: Option<i128>,
}

impl Integers {
    fn reduce(self, value: i128) -> i128 {
        let Some(modulus) = self.modulus else { return value };
        let residue = value.rem_euclid(modulus);
        if residue > modulus / 2 { residue - modulus } else { residue }
    }

    /// `a x + b` for reduced `a`, `x` and `b`.
    fn multiply_add(self, a: i128, x: i128, b: i128) -> Option<i128> {
        Some(self.reduce(a.checked_mul(x)?.checked_add(b)?))
    }

    fn polynomial(self, coefficients: &[i128], x: i128) -> Option<i128> {
        coefficients.iter().rev().try_fold(0, |sum, &c| self.multiply_add(sum, x, self.reduce(c)))
    }

    fn affine(self, map: &IntegerAffine, values: &[i128]) -> Option<Vec<i128>> {
        map.rows()
            .map(|(columns, weights, bias)| {
                let mut sum = self.reduce(bias);
                for (&column, &weight) in columns.iter().zip(weights) {
                    // Residues have at most 60 bits, so that only exact integers overflow here.
                    let product = i128::from(weight).checked_mul(values[column as usize])?;
                    sum = match (sum.checked_add(product), self.modulus) {
                        (Some(sum), _) => sum,
                        (None, Some(modulus)) => sum % modulus + product,
                        (None, None) => return None,
                    };
                }
                Some(self.reduce(sum))
            })
            .collect()
    }
}
