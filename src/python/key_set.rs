//! A client's key set on the server.

use std::sync::Arc;

use pyo3::prelude::*;

use super::work;
use crate::encryption::SeededKeySet;
use crate::error::{Error, Result};
use crate::evaluator::packed;
use crate::plan::reply::Rerandomizer;
use crate::protocol::LIMIT;
use crate::scheme::Context;

/// A client's key set made ready for a program: once for each client.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct PreparedKeys {
    /// those of the packed layout; the others evaluate without
    evaluation: Option<packed::PackedKeys>,
    /// what replies are re-randomised with, modulo each plaintext modulus where there are several
    pub rerandomizers: Vec<Rerandomizer>,
    nbytes: usize,
}

#[pymethods]
impl PreparedKeys {
    /// Bytes that they take in memory.
    #[getter]
    fn nbytes(&self) -> usize {
        self.nbytes
    }
}

impl PreparedKeys {
    /// What the packed layouts compute with.
    ///
    /// # Errors
    /// [`Error::MissingKey`] for keys that were prepared for another layout.
    pub fn evaluation(&self) -> Result<&packed::PackedKeys> {
        self.evaluation.as_ref().ok_or_else(|| Error::MissingKey {
            operation: "packed program",
            key: "evaluation keys".into(),
            remedy: "prepare the key set with this program",
        })
    }
}

/// Reads and expands a key set as it was sent, that of the first of the contexts, which differ in the plaintext modulus only.
/// `evaluation` says whether the program computes with evaluation keys; where it does not, what stands there is checked and
/// dropped.
pub fn prepare(
    py: Python<'_>,
    contexts: &[Arc<Context>],
    data: &[u8],
    evaluation: bool,
    threads: usize,
) -> PyResult<PreparedKeys> {
    work::run(py, threads, |cancellation| -> Result<PreparedKeys> {
        let context = &contexts[0];
        let set = SeededKeySet::from_bytes(context, data, LIMIT)?;
        let evaluation = match evaluation {
            true => Some(packed::PackedKeys::new(context, set.expand(context, cancellation)?)?),
            false => None,
        };
        let public = set.public_key(context)?;
        let nbytes = evaluation.as_ref().map_or(0, packed::PackedKeys::bytes) + size_of_val(&public.data[..]);
        let rerandomizer = |other: &Arc<Context>| Rerandomizer::new(other, &public.shared(context, other));
        let rerandomizers = contexts.iter().map(rerandomizer).collect::<Result<_>>()?;
        Ok(PreparedKeys { evaluation, rerandomizers, nbytes })
    })
}
