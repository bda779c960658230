//! What a client knows of a packed BFV program. No weight is in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::encoding::BatchEncoder;
use crate::error::{Error, Result};
use crate::plan::envelope::Identity;
use crate::ring::{Crt, Modulus};
use crate::scheme::{Context, Parameters, Plaintext};

/// What a client knows of a packed BFV program: no weight is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct ExactInterface {
    /// polynomial degree, primes, and the first plaintext modulus
    pub parameters: Parameters,
    /// the plaintext moduli: an image has one ciphertext for each
    pub plain_moduli: Vec<u64>,
    /// bits of security that the parameters were chosen for
    pub security: u32,
    /// the shape of one image
    pub input_shape: Vec<usize>,
    /// the shape of one answer
    pub output_shape: Vec<usize>,
    /// images in one run, in both rows; image i has the slots from `i * N / images`
    pub images: usize,
    /// the slots of each value of an image
    pub input: Vec<Vec<u32>>,
    /// the slot of each value of an answer
    pub output: Vec<u32>,
    /// images are multiplied by this and rounded
    pub input_scale: f64,
    /// answers are divided by this
    pub output_scale: f64,
    /// the primes of an answer
    pub reply: usize,
    /// how many primes a Galois key must serve, by rotation
    pub rotations: BTreeMap<usize, usize>,
    /// how many primes the relinearization key must serve, where one is needed
    pub relinearization: Option<usize>,
    /// what tells this program from others: BLAKE2b-256 of its steps and of all the above
    pub program: Identity,
}

impl ExactInterface {
    /// A context for each plaintext modulus, the first that of the keys; they share their tables.
    ///
    /// # Errors
    /// Those of the parameters.
    pub fn contexts(&self) -> Result<Vec<Arc<Context>>> {
        let first = Context::new(self.parameters.clone())?;
        let others =
            self.plain_moduli.iter().skip(1).map(|&t| first.with_plain_modulus(t)).collect::<Result<Vec<_>>>()?;
        Ok([vec![first], others].concat())
    }

    /// The integers that stand for up to [`images`](Self::images) images, flattened, in the N slots, modulo each plaintext
    /// modulus.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where the number of values is not one to `images` images'; [`Error::Unencodable`] for
    /// values that are no numbers, or outgrow 62 bits.
    pub fn slots_of(&self, images: &[f64]) -> Result<Vec<Vec<u64>>> {
        let inputs = self.input.len();
        if images.is_empty() || !images.len().is_multiple_of(inputs) || images.len() > inputs * self.images {
            return Err(Error::ShapeMismatch {
                operation: "encrypting",
                expected: format!("1 to {} images of {inputs} values", self.images),
                got: vec![images.len()],
            });
        }
        let integers = images.iter().map(|x| (x * self.input_scale).round()).collect::<Vec<f64>>();
        if let Some(index) = integers.iter().position(|x| x.is_nan() || x.abs() >= 2f64.powi(62)) {
            let reason = "it is no number, or too large; clean the data first".into();
            return Err(Error::Unencodable { value: images[index], index, reason });
        }
        let n = self.parameters.degree();
        let modulo = |&t: &u64| {
            let mut slots = vec![0; n];
            for (i, image) in integers.chunks_exact(inputs).enumerate() {
                for (&value, positions) in image.iter().zip(&self.input) {
                    let residue = (value as i64).rem_euclid(t as i64) as u64;
                    positions.iter().for_each(|&at| slots[i * n / self.images + at as usize] = residue);
                }
            }
            slots
        };
        Ok(self.plain_moduli.iter().map(modulo).collect())
    }

    /// The answers to the first `count` images in decoded slots, one vector for each plaintext modulus.
    ///
    /// # Errors
    /// [`Error::ScaleOutOfRange`] for answers that came near to wrapping: images must lie far outside of those that the
    /// program was compiled for.
    pub fn answers_in(&self, slots: &[Vec<u64>], count: usize) -> Result<Vec<f64>> {
        let moduli = self.plain_moduli.iter().map(|&t| Modulus::new(t)).collect::<Result<Vec<_>>>()?;
        let crt = Crt::new(&moduli);
        let quarter = as_double(crt.product()) / 4.0;
        let own = self.parameters.degree() / self.images;
        let places = (0..count).flat_map(|image| self.output.iter().map(move |&at| image * own + at as usize));
        let mut limbs = vec![0; crt.limbs()];
        places
            .map(|at| {
                let negative = crt.compose_centered(|j| slots[j][at], &mut limbs);
                let magnitude = as_double(&limbs);
                if magnitude >= quarter {
                    return Err(Error::ScaleOutOfRange {
                        operation: "decode",
                        reason:
                            "an answer has outgrown the plaintext moduli; compile with calibration images like those \
                                 that are encrypted"
                                .into(),
                    });
                }
                Ok(if negative { -magnitude } else { magnitude } / self.output_scale)
            })
            .collect()
    }
}

fn as_double(limbs: &[u64]) -> f64 {
    limbs.iter().rev().fold(0.0, |value, &limb| value * 2f64.powi(64) + limb as f64)
}

/// Slots to plaintexts and back, for each plaintext modulus.
#[derive(Debug)]
pub struct ExactEncoder {
    encoders: Vec<BatchEncoder>,
}

impl ExactEncoder {
    /// Encoders for the contexts of an interface.
    ///
    /// # Errors
    /// [`Error::InvalidModulus`] for a plaintext modulus without slots.
    pub fn new(contexts: &[Arc<Context>]) -> Result<Self> {
        let encoders = contexts.iter().map(|context| BatchEncoder::new(context)).collect::<Result<_>>()?;
        Ok(Self { encoders })
    }

    /// One plaintext for each plaintext modulus.
    ///
    /// # Errors
    /// As [`ExactInterface::slots_of`].
    pub fn encode(&self, interface: &ExactInterface, images: &[f64]) -> Result<Vec<Plaintext>> {
        let slots = interface.slots_of(images)?;
        self.encoders.iter().zip(&slots).map(|(encoder, slots)| encoder.encode_unsigned(slots)).collect()
    }

    /// The answers to the first `count` images.
    ///
    /// # Errors
    /// As [`ExactInterface::answers_in`], and [`Error::ParametersMismatch`] for plaintexts of other parameters.
    pub fn decode(&self, interface: &ExactInterface, plaintexts: &[Plaintext], count: usize) -> Result<Vec<f64>> {
        let decode = |(encoder, plaintext): (&BatchEncoder, &Plaintext)| encoder.decode_unsigned(plaintext);
        let slots = self.encoders.iter().zip(plaintexts).map(decode).collect::<Result<Vec<_>>>()?;
        interface.answers_in(&slots, count)
    }
}
