//! Where images and answers lie in the slots, in which ring, and which keys are needed: what the client's parts of packed
//! programs have in common, whatever the scheme.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::search::Chain;
use crate::encryption::transport::{polynomial_bytes, public_key_bytes};
use crate::error::{Error, Result};
use crate::plan::NormalForm;
use crate::plan::envelope::{Identity, ensure};
use crate::plan::normal_form::values;
use crate::ring::Rows;
use crate::scheme::{Parameters, Scheme};

/// What clients of a packed program know of slots and keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Arrangement {
    /// polynomial degree and primes; for BFV, the first plaintext modulus
    pub parameters: Parameters,
    /// bits of security that the parameters were chosen for
    pub security: u32,
    /// the shape of one image
    pub input_shape: Vec<usize>,
    /// the shape of one answer
    pub output_shape: Vec<usize>,
    /// images in one run; image i has the slots from `i * slots / images`
    pub images: usize,
    /// the slots of each value of an image
    pub input: Vec<Vec<u32>>,
    /// the slot of each value of an answer
    pub output: Vec<u32>,
    /// how many primes a Galois key must serve, by rotation
    pub rotations: BTreeMap<usize, usize>,
    /// how many primes the relinearization key must serve, where one is needed
    pub relinearization: Option<usize>,
    /// what tells the program from others: BLAKE2b-256 of its steps and of all that its client knows
    pub program: Identity,
}

/// What the keys of a program take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySizes {
    /// evaluation keys
    pub count: usize,
    /// bytes of the key set, which holds them and the public key, as it is sent
    pub bytes: usize,
    /// bytes of the evaluation keys, ready for use
    pub ready: usize,
}

impl Arrangement {
    /// The arrangement at both ends of a chain of placements, for a program that has no identity yet and no keys.
    pub(super) fn new(
        network: &NormalForm,
        chain: &Chain,
        parameters: Parameters,
        security: u32,
        images: usize,
    ) -> Self {
        let last = chain.passages.last();
        Self {
            parameters,
            security,
            input_shape: network.input_shape().to_vec(),
            output_shape: network.output_shape().to_vec(),
            images,
            input: chain.input.positions.clone(),
            output: last.map_or(Vec::new(), |passage| passage.output.positions.iter().map(|slots| slots[0]).collect()),
            rotations: BTreeMap::new(),
            relinearization: None,
            program: Identity::default(),
        }
    }

    /// The shapes of one image and of one answer.
    pub fn shapes(&self) -> [&[usize]; 2] {
        [&self.input_shape, &self.output_shape]
    }

    /// The level of the relinearization key, where one is needed, and the rotations with theirs.
    pub fn keys(&self) -> (Option<usize>, &BTreeMap<usize, usize>) {
        (self.relinearization, &self.rotations)
    }

    /// What these keys take.
    pub fn key_sizes(&self) -> KeySizes {
        let (parameters, degree) = (&self.parameters, self.parameters.degree());
        let bits = |q: &u64| (u64::BITS - q.leading_zeros()) as usize;
        let special = parameters.moduli().last().map_or(0, bits) * degree / 8;
        let served = || self.rotations.values().copied().chain(self.relinearization);
        let evaluation: usize = served().map(|primes| primes * (polynomial_bytes(parameters, primes) + special)).sum();
        KeySizes {
            count: served().count(),
            bytes: evaluation + public_key_bytes(parameters),
            ready: served().map(|primes| self.row_bytes(primes, 2 * primes)).sum(),
        }
    }

    /// Bytes of so many blocks of rows modulo the first `primes` primes and the key-switching prime.
    pub(super) fn row_bytes(&self, primes: usize, blocks: usize) -> usize {
        let moduli = self.parameters.moduli();
        let chosen = moduli[..primes].iter().chain(moduli.last()).copied();
        Rows::bytes_of(self.parameters.degree(), chosen, blocks)
    }

    /// The slots that hold values: one to a coefficient (BFV) or to two (CKKS).
    pub fn slots(&self) -> usize {
        match self.parameters.scheme() {
            Scheme::Bfv => self.parameters.degree(),
            Scheme::Ckks => self.parameters.degree() / 2,
        }
    }

    /// Values in all the slots for up to [`images`](Self::images) flattened images; zero elsewhere.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where the number of values is not one to `images` images'.
    pub fn place<T: Copy + Default>(&self, values: &[T]) -> Result<Vec<T>> {
        let inputs = self.input.len();
        if values.is_empty() || !values.len().is_multiple_of(inputs) || values.len() > inputs * self.images {
            return Err(Error::ShapeMismatch {
                operation: "encrypting",
                expected: format!("1 to {} images of {inputs} values", self.images),
                got: vec![values.len()],
            });
        }
        let own = self.slots() / self.images;
        let mut slots = vec![T::default(); self.slots()];
        for (i, image) in values.chunks_exact(inputs).enumerate() {
            for (&value, positions) in image.iter().zip(&self.input) {
                positions.iter().for_each(|&at| slots[i * own + at as usize] = value);
            }
        }
        Ok(slots)
    }

    /// The slots of the answers to the first `count` images, one after the other.
    pub fn answers(&self, count: usize) -> impl Iterator<Item = usize> {
        let own = self.slots() / self.images;
        (0..count).flat_map(move |image| self.output.iter().map(move |&at| image * own + at as usize))
    }

    /// Whether a slot holds a value of an answer.
    pub fn answers_at(&self, slot: usize) -> bool {
        self.output.contains(&((slot % (self.slots() / self.images)) as u32))
    }

    /// Refuses an arrangement read from a file whose parts do not fit together, or to programs of `scheme`.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::Insecure`].
    pub(super) fn check(&self, scheme: Scheme) -> Result<()> {
        let parameters = &self.parameters;
        ensure(parameters.scheme() == scheme && parameters.key_switching(), "its parameters are of another kind")?;
        parameters.check_security(self.security)?;
        let (slots, data) = (self.slots(), parameters.data_moduli().len());
        ensure(!self.input.is_empty() && !self.output.is_empty(), "it has no input or no output")?;
        ensure(values(&self.input_shape) == Some(self.input.len()), "the input's shape does not fit its slots")?;
        ensure(values(&self.output_shape) == Some(self.output.len()), "the output's shape does not fit its slots")?;
        let images = self.images;
        ensure(images.is_power_of_two() && images <= slots, "the number of images is no power of two that fits")?;
        let inside = |&slot: &u32| (slot as usize) < slots / images;
        ensure(self.input.iter().flatten().chain(&self.output).all(inside), "a slot lies outside its image's")?;
        let served = |primes: usize| (1..=data).contains(&primes);
        let row = parameters.degree() / 2;
        let rotation = |(&rotation, &primes): (&usize, &usize)| (1..row).contains(&rotation) && served(primes);
        ensure(self.rotations.iter().all(rotation), "a rotation or its level does not exist")?;
        ensure(self.relinearization.is_none_or(served), "the relinearization key's level does not exist")
    }
}
