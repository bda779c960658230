//! The three keys.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::scheme;

/// The secret key: it decrypts.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct SecretKey {
    pub inner: Arc<scheme::SecretKey>,
}

/// The public key: it encrypts.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct PublicKey {
    pub inner: Arc<scheme::PublicKey>,
}

/// What a server needs to evaluate.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct EvaluationKeys {
    pub inner: Arc<scheme::EvaluationKeys>,
}

#[pymethods]
impl EvaluationKeys {
    /// Whether a relinearisation key is there.
    #[getter]
    fn relinearization(&self) -> bool {
        self.inner.relinearization.is_some()
    }
}
