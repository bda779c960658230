//! What a program runs, for each layout.

use std::sync::{Arc, OnceLock};

use crate::error::{Error, Result};
use crate::evaluator::packed::PackedKeys;
use crate::network::{PlainRing, Simulator};
use crate::plan::batched::BatchedProgram;
use crate::plan::envelope::Identity;
use crate::plan::packed::PackedProgram;
use crate::plan::packed::exact::ExactProgram;
use crate::plan::per_value::{Interface, PerValueProgram, Recipe};
use crate::plan::reply::Rerandomizer;
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context};

/// A compiled network by its layout.
#[derive(Debug)]
pub enum Layout {
    /// whole images in the slots of a ciphertext
    Packed(PackedProgram),
    /// the same on integers: BFV, a ciphertext for each plaintext modulus
    Exact(ExactProgram),
    /// one value of many images in a ciphertext
    Batched(BatchedProgram),
    /// one value of one image in a ciphertext
    PerValue(Box<PerValue>),
}

/// A per-value program with what it was compiled from.
#[derive(Debug)]
pub struct PerValue {
    /// what runs
    pub program: PerValueProgram,
    /// what is written to a file
    pub recipe: Recipe,
    /// what a client knows of it
    pub interface: Interface,
    /// of a run on one core, once they were asked for
    seconds: OnceLock<f64>,
}

impl PerValue {
    pub(super) fn new(recipe: Recipe) -> Result<Self> {
        let (program, interface) = recipe.compile()?;
        Ok(Self { program, recipe, interface, seconds: OnceLock::new() })
    }

    /// Seconds of a run on one core, rehearsed once, on the rayon pool of the caller: one of one thread.
    ///
    /// # Errors
    /// Those of [`Recipe::seconds`].
    pub fn seconds(&self) -> Result<f64> {
        if let Some(&seconds) = self.seconds.get() {
            return Ok(seconds);
        }
        let seconds = self.recipe.seconds(&self.program)?;
        Ok(*self.seconds.get_or_init(|| seconds))
    }

    /// Answers to flattened images, computed exactly in the plaintext ring: digit for digit what decryption gives, on the rayon
    /// pool of the caller. Digits that have outgrown the plaintext modulus are an error, or, unchecked, decoded as they are.
    ///
    /// # Errors
    /// Those of [`Simulator::predict`], [`Error::ScaleOutOfRange`] for outgrown digits.
    pub fn simulate(&self, images: &[f64], checked: bool) -> Result<Vec<f64>> {
        let encoder = self.interface.encoder()?;
        let parameters = &self.interface.parameters;
        let ring = PlainRing::new(parameters.degree(), parameters.plain_modulus())?;
        let simulator = Simulator::new(self.program.computed_network(), ring, encoder.clone())?;
        if checked {
            simulator.predict(images, |plaintext| encoder.decode_checked(plaintext))
        } else {
            simulator.predict(images, |plaintext| encoder.decode_all_digits(plaintext))
        }
    }
}

impl Layout {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Packed(program) => program.plan().to_bytes(),
            Self::Exact(program) => program.plan().to_bytes(),
            Self::Batched(program) => program.to_bytes(),
            Self::PerValue(own) => own.recipe.to_bytes(),
        }
    }

    pub(super) fn identity(&self) -> &Identity {
        match self {
            Self::Packed(program) => &program.plan().interface.arrangement.program,
            Self::Exact(program) => &program.plan().interface.arrangement.program,
            Self::Batched(program) => &program.interface().program,
            Self::PerValue(own) => &own.interface.program,
        }
    }

    /// One for each plaintext modulus, where there are several; the first is that of the keys.
    pub(super) fn contexts(&self) -> &[Arc<Context>] {
        match self {
            Self::Packed(program) => std::slice::from_ref(program.context()),
            Self::Exact(program) => program.contexts(),
            Self::Batched(program) => std::slice::from_ref(program.context()),
            Self::PerValue(own) => std::slice::from_ref(own.program.context()),
        }
    }

    /// Whether it computes with evaluation keys.
    pub(super) fn needs_keys(&self) -> bool {
        matches!(self, Self::Packed(..) | Self::Exact(..))
    }

    /// Squares that a ciphertext goes through, one after the other.
    pub fn squares(&self) -> usize {
        match self {
            Self::Packed(program) => program.plan().squares(),
            Self::Exact(program) => program.plan().squares(),
            Self::Batched(program) => program.squares(),
            Self::PerValue(own) => own.program.squares(),
        }
    }

    /// Ciphertexts of the images of one run, modulo each plaintext modulus.
    pub(super) fn image_ciphertexts(&self) -> usize {
        match self {
            Self::Packed(..) | Self::Exact(..) => 1,
            Self::Batched(program) => program.interface().input_shape.iter().product(),
            Self::PerValue(own) => own.interface.input_shape.iter().product(),
        }
    }

    /// Ciphertexts of an answer, modulo each plaintext modulus.
    pub(super) fn answer_ciphertexts(&self) -> usize {
        match self {
            Self::Packed(..) | Self::Exact(..) => 1,
            Self::Batched(program) => program.interface().output_shape.iter().product(),
            Self::PerValue(own) => own.interface.output_shape.iter().product(),
        }
    }

    /// `keys` are there where the layout needs them.
    pub(super) fn run(
        &self,
        images: &[Ciphertext],
        keys: Option<&PackedKeys>,
        cancellation: &Cancellation,
    ) -> Result<Vec<Ciphertext>> {
        match (self, keys) {
            (Self::Packed(program), Some(keys)) => Ok(vec![program.run(&images[0], keys, cancellation)?]),
            (Self::Exact(program), Some(keys)) => program.run(images, keys, cancellation),
            (Self::Packed(..) | Self::Exact(..), None) => Err(super::missing_keys()),
            (Self::Batched(program), _) => program.run(&images.iter().collect::<Vec<_>>(), cancellation),
            (Self::PerValue(own), _) => own.program.run(&images.iter().collect::<Vec<_>>(), cancellation),
        }
    }

    pub(super) fn rerandomize(
        &self,
        answers: &[Ciphertext],
        keys: &[Rerandomizer],
        deviation: Option<f64>,
        cancellation: &Cancellation,
    ) -> Result<Vec<Ciphertext>> {
        let refused = |reason: &str| Err(Error::InvalidArgument { name: "deviation", reason: reason.into() });
        match (self, deviation) {
            (Self::Packed(program), Some(deviation)) => {
                Ok(vec![program.rerandomize(&answers[0], &keys[0], deviation, cancellation)?])
            }
            (Self::Batched(program), Some(deviation)) => {
                program.rerandomize(answers, &keys[0], deviation, cancellation)
            }
            (Self::Exact(program), None) => program.rerandomize(answers, keys, cancellation),
            (Self::PerValue(own), None) => own.program.rerandomize(answers, &keys[0], cancellation),
            (Self::Packed(..) | Self::Batched(..), None) => refused("none; CKKS floods by a deviation, give one"),
            (Self::Exact(..) | Self::PerValue(..), Some(_)) => {
                refused("BFV floods with all the noise budget that is left; give none")
            }
        }
    }

    /// Answers to flattened images as decryption would give them, on the rayon pool of the caller: with BFV digit for digit, with
    /// CKKS with noise of the deviation that encryption would add.
    ///
    /// # Errors
    /// Those of the layout's simulator.
    pub fn simulate(&self, images: &[f64], seed: u64) -> Result<Vec<f64>> {
        match self {
            Self::Packed(program) => program.plan().simulate(images, seed),
            Self::Exact(program) => program.plan().simulate(images),
            Self::Batched(program) => program.simulate(images, seed),
            Self::PerValue(own) => own.simulate(images, true),
        }
    }
}
