//! What a client knows of a packed BFV program. No weight is in it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::encoding::BatchEncoder;
use crate::error::{Error, Result};
use crate::plan::envelope::ensure;
use crate::plan::packed::arrangement::Arrangement;
use crate::ring::primes::is_prime;
use crate::ring::{Crt, Modulus};
use crate::scheme::{Context, Plaintext, Scheme};

/// The most plaintext moduli that a program may have.
const MOST_PLAIN_MODULI: usize = 64;

/// What a client knows of a packed BFV program: no weight is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExactInterface {
    /// ring, slots, keys; images lie in both rows of slots
    pub arrangement: Arrangement,
    /// the plaintext moduli: an image has one ciphertext for each
    pub plain_moduli: Vec<u64>,
    /// images are multiplied by this and rounded
    pub input_scale: f64,
    /// answers are divided by this
    pub output_scale: f64,
    /// the primes of an answer
    pub reply: usize,
}

impl ExactInterface {
    /// A context for each plaintext modulus, the first that of the keys; they share their tables.
    ///
    /// # Errors
    /// Those of the parameters.
    pub fn contexts(&self) -> Result<Vec<Arc<Context>>> {
        let first = Context::new(self.arrangement.parameters.clone())?;
        let others =
            self.plain_moduli.iter().skip(1).map(|&t| first.with_plain_modulus(t)).collect::<Result<Vec<_>>>()?;
        Ok([vec![first], others].concat())
    }

    /// The integers that stand for as many images as a run takes, flattened, or fewer, in the N slots, modulo each plaintext
    /// modulus.
    ///
    /// # Errors
    /// Those of [`Arrangement::place`]; [`Error::Unencodable`] for values that are no numbers, or outgrow 62 bits.
    pub fn slots_of(&self, images: &[f64]) -> Result<Vec<Vec<u64>>> {
        let integers = images.iter().map(|x| (x * self.input_scale).round()).collect::<Vec<f64>>();
        if let Some(index) = integers.iter().position(|x| x.is_nan() || x.abs() >= 2f64.powi(62)) {
            let reason = "it is no number, or too large; clean the data first".into();
            return Err(Error::Unencodable { value: images[index], index, reason });
        }
        let modulo = |&t: &u64| {
            let residues: Vec<u64> = integers.iter().map(|&x| (x as i64).rem_euclid(t as i64) as u64).collect();
            self.arrangement.place(&residues)
        };
        self.plain_moduli.iter().map(modulo).collect()
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
        let mut limbs = vec![0; crt.limbs()];
        self.arrangement
            .answers(count)
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
    /// Refuses what was read from a file and cannot be.
    ///
    /// # Errors
    /// Those of [`Arrangement`]; [`Error::Malformed`].
    pub(super) fn check(&self) -> Result<()> {
        self.arrangement.check(Scheme::Bfv)?;
        let parameters = &self.arrangement.parameters;
        let n = parameters.degree() as u64;
        let slots = |&t: &u64| t % (2 * n) == 1 && is_prime(t) && !parameters.moduli().contains(&t);
        let distinct = self.plain_moduli.iter().enumerate().all(|(i, t)| !self.plain_moduli[..i].contains(t));
        let known = self.plain_moduli.len() <= MOST_PLAIN_MODULI && distinct && self.plain_moduli.iter().all(slots);
        ensure(known, "a plaintext modulus has no slots, or stands there twice")?;
        let first = self.plain_moduli.first() == Some(&parameters.plain_modulus());
        ensure(first, "its first plaintext modulus is not that of its keys")?;
        ensure(self.arrangement.images >= 2, "it does not use both rows of slots")?;
        let positive = |x: f64| x.is_finite() && x > 0.0;
        ensure(positive(self.input_scale) && positive(self.output_scale), "a scale is not positive")?;
        ensure((1..=parameters.data_moduli().len()).contains(&self.reply), "the answer's level does not exist")
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
