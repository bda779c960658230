//! What a client knows of a program: where values lie, at which scale, which keys are needed. No weight is in it.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::plan::envelope::Identity;
use crate::scheme::Parameters;

/// What a client knows of a program: no weight is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Interface {
    /// polynomial degree and primes
    pub parameters: Parameters,
    /// bits of security that the parameters were chosen for
    pub security: u32,
    /// the shape of one image
    pub input_shape: Vec<usize>,
    /// the shape of one answer
    pub output_shape: Vec<usize>,
    /// images in one ciphertext; image i has the slots from `i * n / images`
    pub images: usize,
    /// the slots of each value of an image
    pub input: Vec<Vec<u32>>,
    /// the slot of each value of an answer
    pub output: Vec<u32>,
    /// images are multiplied by this before they are encoded
    pub input_factor: f64,
    /// answers are multiplied by this after they are decoded
    pub output_factor: f64,
    /// the scale at which images are encoded
    pub input_scale: f64,
    /// the scale of answers
    pub output_scale: f64,
    /// how many primes a Galois key must serve, by rotation
    pub rotations: BTreeMap<usize, usize>,
    /// how many primes the relinearization key must serve, where one is needed
    pub relinearization: Option<usize>,
    /// what tells this program from others: BLAKE2b-256 of its steps and of all the above
    pub program: Identity,
}

impl Interface {
    /// The slots that a client encrypts for up to [`images`](Self::images) images, flattened.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where the number of values is not one to `images` images'; [`Error::Unencodable`] for
    /// values that are not finite.
    pub fn slots_of(&self, images: &[f64]) -> Result<Vec<f64>> {
        let inputs = self.input.len();
        if images.is_empty() || !images.len().is_multiple_of(inputs) || images.len() > inputs * self.images {
            return Err(Error::ShapeMismatch {
                operation: "encrypting",
                expected: format!("1 to {} images of {inputs} values", self.images),
                got: vec![images.len()],
            });
        }
        if let Some(index) = images.iter().position(|x| !x.is_finite()) {
            let reason = "it is not finite; clean the data first".into();
            return Err(Error::Unencodable { value: images[index], index, reason });
        }
        let n = self.parameters.degree() / 2;
        let mut slots = vec![0.0; n];
        for (i, image) in images.chunks_exact(inputs).enumerate() {
            for (value, positions) in image.iter().zip(&self.input) {
                positions.iter().for_each(|&at| slots[i * n / self.images + at as usize] = value * self.input_factor);
            }
        }
        Ok(slots)
    }

    /// The answers to the first `count` images in decoded slots, flattened.
    pub fn answers_in(&self, slots: &[f64], count: usize) -> Vec<f64> {
        let own = slots.len() / self.images;
        let answer = |image: usize| self.output.iter().map(move |&at| slots[image * own + at as usize]);
        (0..count).flat_map(answer).map(|value| value * self.output_factor).collect()
    }
}
