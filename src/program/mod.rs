//! The server's side of every layout: it has the weights, evaluates encrypted images, and re-randomises answers.

mod keys;
mod layout;

use std::sync::Arc;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::plan::NormalForm;
use crate::plan::batched::{BatchedOptions, BatchedProgram};
use crate::plan::envelope::{self, Identity, Kind};
use crate::plan::packed::exact::{ExactOptions, ExactPlan, ExactProgram};
use crate::plan::packed::{PackedOptions, PackedProgram, Plan};
use crate::plan::per_value::Recipe;
use crate::protocol;
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context};

pub use keys::PreparedKeys;
pub use layout::{Layout, PerValue};

/// A compiled network, ready to run on encrypted images.
#[derive(Debug)]
pub struct Program {
    layout: Layout,
}

impl Program {
    /// Compiles a network for the packed layout, choosing placements and parameters.
    ///
    /// # Errors
    /// Those of [`Plan::new`] and [`PackedProgram::new`].
    pub fn packed(network: &NormalForm, options: PackedOptions, cancellation: &Cancellation) -> Result<Self> {
        let program = PackedProgram::new(Plan::new(network, options)?, cancellation)?;
        Ok(Self { layout: Layout::Packed(program) })
    }

    /// Compiles a network for the packed layout of BFV, choosing integers, placements and parameters by flattened example
    /// images.
    ///
    /// # Errors
    /// Those of [`ExactPlan::new`] and [`ExactProgram::new`].
    pub fn exact(
        network: &NormalForm,
        examples: &[f64],
        options: ExactOptions,
        cancellation: &Cancellation,
    ) -> Result<Self> {
        let program = ExactProgram::new(ExactPlan::new(network, examples, options)?, cancellation)?;
        Ok(Self { layout: Layout::Exact(program) })
    }

    /// Compiles a network for the batched layout, choosing the smallest parameters.
    ///
    /// # Errors
    /// Those of [`BatchedProgram::compile`].
    pub fn batched(network: NormalForm, options: BatchedOptions) -> Result<Self> {
        Ok(Self { layout: Layout::Batched(BatchedProgram::compile(network, options)?) })
    }

    /// Compiles a network of affine maps and squares for the per-value layout.
    ///
    /// # Errors
    /// Those of [`Recipe::compile`].
    pub fn per_value(recipe: Recipe) -> Result<Self> {
        Ok(Self { layout: Layout::PerValue(Box::new(PerValue::new(recipe)?)) })
    }

    /// A program from its file, of which there may be `limit` bytes once it is expanded.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::TooLarge`], those of compiling it, [`Error::Interrupted`].
    pub fn from_bytes(bytes: &[u8], limit: u64, cancellation: &Cancellation) -> Result<Self> {
        let layout = match envelope::kind(bytes)? {
            Kind::BatchedProgram => Layout::Batched(BatchedProgram::from_bytes(bytes, limit)?),
            Kind::ExactProgram => Layout::Exact(ExactProgram::new(ExactPlan::from_bytes(bytes, limit)?, cancellation)?),
            Kind::PerValueProgram => Layout::PerValue(Box::new(PerValue::new(Recipe::from_bytes(bytes, limit)?)?)),
            // Any other kind is refused there.
            _ => Layout::Packed(PackedProgram::new(Plan::from_bytes(bytes, limit)?, cancellation)?),
        };
        Ok(Self { layout })
    }

    /// The server's file, weights included.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.layout.to_bytes()
    }

    /// What runs.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What tells the program from others.
    pub fn identity(&self) -> &Identity {
        self.layout.identity()
    }

    /// The client's part.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn client(&self) -> Result<Client> {
        match &self.layout {
            Layout::Packed(program) => Client::packed(program.plan().interface.clone()),
            Layout::Exact(program) => Client::exact(program.plan().interface.clone()),
            Layout::Batched(program) => Client::batched(program.interface().clone()),
            Layout::PerValue(own) => Client::per_value(own.interface.clone()),
        }
    }

    /// A client's key set, as it was sent, made ready: once for each client.
    ///
    /// # Errors
    /// Those of [`PreparedKeys::new`].
    pub fn prepare(&self, key_set: &[u8], cancellation: &Cancellation) -> Result<PreparedKeys> {
        PreparedKeys::new(self.layout.contexts(), key_set, self.layout.needs_keys(), cancellation)
    }

    /// Evaluates the images of one run, on the rayon pool of the caller.
    ///
    /// # Errors
    /// [`Error::Malformed`] and [`Error::ParametersMismatch`] for damaged bytes and those for another program,
    /// [`Error::MissingKey`] where the layout computes with keys, [`Error::Interrupted`].
    pub fn run(&self, images: &[u8], keys: Option<&PreparedKeys>, cancellation: &Cancellation) -> Result<Vec<u8>> {
        let keys = match self.layout.needs_keys() {
            true => Some(keys.and_then(PreparedKeys::evaluation).ok_or_else(missing_keys)?),
            false => None,
        };
        let images = self.unpack(images, self.layout.image_ciphertexts())?;
        self.pack(self.layout.run(&images, keys, cancellation)?)
    }

    /// Answers that say nothing of the weights but what they answer, on the rayon pool of the caller; see
    /// [`reply`](crate::plan::reply). CKKS floods values with a normal variable of the deviation given, BFV with all the noise
    /// budget that is left.
    ///
    /// # Errors
    /// As [`run`](Self::run); [`Error::InvalidArgument`] for a deviation with BFV and none with CKKS; those of
    /// [`Rerandomizer`](crate::plan::reply::Rerandomizer).
    pub fn rerandomize(
        &self,
        answers: &[u8],
        keys: &PreparedKeys,
        deviation: Option<f64>,
        cancellation: &Cancellation,
    ) -> Result<Vec<u8>> {
        let answers = self.unpack(answers, self.layout.answer_ciphertexts())?;
        self.pack(self.layout.rerandomize(&answers, keys.rerandomizers(), deviation, cancellation)?)
    }

    /// `count` ciphertexts for each context, one context after the other.
    fn unpack(&self, message: &[u8], count: usize) -> Result<Vec<Ciphertext>> {
        let contexts = self.layout.contexts();
        let mut ciphertexts = Vec::with_capacity(count * contexts.len());
        let messages = protocol::unbundle(self.identity(), message, contexts.len())?;
        for (context, message) in contexts.iter().zip(messages) {
            ciphertexts.extend(protocol::unpack(self.identity(), context, message, count)?);
        }
        Ok(ciphertexts)
    }

    fn pack(&self, ciphertexts: Vec<Ciphertext>) -> Result<Vec<u8>> {
        let contexts = self.layout.contexts();
        let each = ciphertexts.len() / contexts.len();
        let packed = |(context, ciphertexts): (&Arc<Context>, &[Ciphertext])| {
            protocol::pack(self.identity(), context, ciphertexts)
        };
        let messages = contexts.iter().zip(ciphertexts.chunks(each)).map(packed);
        Ok(protocol::bundle(self.identity(), messages.collect::<Result<_>>()?))
    }
}

fn missing_keys() -> Error {
    Error::MissingKey {
        operation: "packed program",
        key: "evaluation keys".into(),
        remedy: "give those of the client's keys: keys.evaluation",
    }
}
