//! A client's key set on the server.

use std::sync::Arc;

use crate::encryption::ReceivedKeySet;
use crate::error::Result;
use crate::evaluator::packed::PackedKeys;
use crate::plan::reply::Rerandomizer;
use crate::protocol::LIMIT;
use crate::runtime::Cancellation;
use crate::scheme::Context;

/// A client's key set made ready for a program: once for each client.
pub struct PreparedKeys {
    evaluation: Option<PackedKeys>,
    rerandomizers: Vec<Rerandomizer>,
    nbytes: usize,
}

impl PreparedKeys {
    /// Reads and expands a key set as it was sent, that of the first of the contexts, which differ in the plaintext modulus
    /// only. `evaluation` says whether the program computes with evaluation keys; where it does not, what stands there is
    /// checked and dropped.
    ///
    /// # Errors
    /// [`Error::Malformed`](crate::Error::Malformed), [`Error::TooLarge`](crate::Error::TooLarge) and
    /// [`Error::ParametersMismatch`](crate::Error::ParametersMismatch) for bytes that are no such key set,
    /// [`Error::Interrupted`](crate::Error::Interrupted).
    pub fn new(contexts: &[Arc<Context>], bytes: &[u8], evaluation: bool, cancellation: &Cancellation) -> Result<Self> {
        let context = &contexts[0];
        let set = ReceivedKeySet::read(context, bytes, LIMIT)?;
        let evaluation = match evaluation {
            true => Some(PackedKeys::received(&set, cancellation)?),
            false => {
                set.check(cancellation)?;
                None
            }
        };
        let public = set.public_key()?;
        let nbytes = evaluation.as_ref().map_or(0, PackedKeys::bytes) + size_of_val(&public.data[..]);
        let rerandomizer = |other: &Arc<Context>| Rerandomizer::new(other, &public.shared(context, other));
        let rerandomizers = contexts.iter().map(rerandomizer).collect::<Result<_>>()?;
        Ok(Self { evaluation, rerandomizers, nbytes })
    }

    /// What the packed layouts compute with; the others evaluate without.
    pub fn evaluation(&self) -> Option<&PackedKeys> {
        self.evaluation.as_ref()
    }

    /// What replies are re-randomised with, modulo each plaintext modulus where there are several.
    pub fn rerandomizers(&self) -> &[Rerandomizer] {
        &self.rerandomizers
    }

    /// Bytes that they take in memory.
    pub fn nbytes(&self) -> usize {
        self.nbytes
    }
}
