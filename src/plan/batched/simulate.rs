//! The batched layout in clear: weights rounded as they are, the noise that encryption and divisions would add.

use rayon::prelude::*;

use super::BatchedProgram;
use super::choice::FRESH_NOISE;
use crate::error::{Error, Result};
use crate::network::AffineMap;
use crate::plan::noise::Gaussian;

impl BatchedProgram {
    /// Answers to images (`[n][inputs]`, flattened) as decryption would give them, with noise from a seed. A simulation:
    /// nothing is encrypted.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where there is no whole image.
    pub fn simulate(&self, images: &[f64], seed: u64) -> Result<Vec<f64>> {
        let context = self.context();
        let degree = context.degree() as f64;
        let slot = (degree / 2.0).sqrt();
        let (mut scale, mut primes, mut polynomials) = (self.interface.input_scale, context.data_primes(), 2);
        // Each map as it is computed, and before it the deviation of the noise, in units of values, with the power of |s| that it
        // is multiplied by.
        let mut maps = Vec::new();
        let mut before = (slot * FRESH_NOISE / scale, 0);
        for (i, map) in self.source.maps().iter().enumerate() {
            if i > 0 {
                scale *= scale;
                polynomials = 2 * polynomials - 1;
            }
            let integers = map.quantize(self.choice.weight_scales[i], scale)?;
            let weights: Vec<f64> = integers.weights().iter().map(|&w| w as f64 / integers.weight_scale()).collect();
            let bias: Vec<f64> = integers.bias().iter().map(|&b| b as f64 / integers.output_scale()).collect();
            let rounded = AffineMap::new(
                map.input_shape(),
                map.output_shape(),
                integers.offsets(),
                integers.columns(),
                &weights,
                &bias,
            )?;
            maps.push((rounded, before));
            scale = integers.output_scale();
            let divisions = if i == 0 { 0 } else { self.choice.divisions[i - 1] };
            for prime in primes - divisions..primes {
                scale /= context.modulus(prime).value() as f64;
            }
            primes -= divisions;
            // A division rounds every polynomial; the last is multiplied by the largest power of the secret.
            let rounding = (degree / 24.0).sqrt() * (2.0 * degree / 3.0).sqrt().powi(polynomials - 1) / scale;
            before = (if divisions > 0 { rounding } else { 0.0 }, polynomials - 1);
        }
        let answers = self.images(images)?.enumerate().collect::<Vec<_>>().into_par_iter().map(|(index, image)| {
            let mut noise = Gaussian::new(seed ^ ((index as u64) << 32));
            let size = noise.secret_square().sqrt();
            let mut values = image.to_vec();
            for (i, (map, (deviation, power))) in maps.iter().enumerate() {
                noise.add(&mut values, deviation * size.powi(*power));
                if i > 0 {
                    values.iter_mut().for_each(|x| *x *= *x);
                }
                values = map.apply(&values)?;
            }
            noise.add(&mut values, before.0 * size.powi(before.1));
            Ok(values)
        });
        Ok(answers.collect::<Result<Vec<Vec<f64>>>>()?.concat())
    }

    fn images<'a>(&self, images: &'a [f64]) -> Result<std::slice::ChunksExact<'a, f64>> {
        let inputs = self.source.maps()[0].inputs();
        if images.is_empty() || !images.len().is_multiple_of(inputs) {
            return Err(Error::ShapeMismatch {
                operation: "simulation",
                expected: format!("whole images of {inputs} values"),
                got: vec![images.len()],
            });
        }
        Ok(images.chunks_exact(inputs))
    }
}
