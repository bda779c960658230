//! A client's key set on the server.

use std::sync::Arc;

use pyo3::prelude::*;

use super::work;
use crate::encryption::SeededKeySet;
use crate::error::Result;
use crate::evaluator::packed;
use crate::plan::reply::Rerandomizer;
use crate::protocol::LIMIT;
use crate::scheme::Context;

/// A client's key set made ready for a program: once for each client.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct PreparedKeys {
    /// those of the packed layout; the others evaluate without
    pub evaluation: Option<packed::PackedKeys>,
    /// what replies are re-randomised with
    pub rerandomizer: Rerandomizer,
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

/// Reads and expands a key set as it was sent. `evaluation` says whether the program computes with evaluation keys; where it
/// does not, what stands there is checked and dropped.
pub fn prepare(
    py: Python<'_>,
    context: &Arc<Context>,
    data: &[u8],
    evaluation: bool,
    threads: usize,
) -> PyResult<PreparedKeys> {
    work::run(py, threads, |cancellation| -> Result<PreparedKeys> {
        let set = SeededKeySet::from_bytes(context, data, LIMIT)?;
        let evaluation = match evaluation {
            true => Some(packed::PackedKeys::new(context, set.expand(context, cancellation)?)?),
            false => None,
        };
        let public = set.public_key(context)?;
        let nbytes = evaluation.as_ref().map_or(0, packed::PackedKeys::bytes) + size_of_val(&public.data[..]);
        Ok(PreparedKeys { evaluation, rerandomizer: Rerandomizer::new(context, &public)?, nbytes })
    })
}
