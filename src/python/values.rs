//! Plaintexts and ciphertexts: immutable, shared by reference.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::context::Context;
use crate::scheme::{self, Form};
use crate::seal::wire::{self, Compression, Limits};

/// An encoded message.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct Plaintext {
    pub inner: Arc<scheme::Plaintext>,
}

impl From<scheme::Plaintext> for Plaintext {
    fn from(plaintext: scheme::Plaintext) -> Self {
        Self { inner: Arc::new(plaintext) }
    }
}

#[pymethods]
impl Plaintext {
    fn __repr__(&self) -> String {
        match &*self.inner {
            scheme::Plaintext::Bfv(coefficients) => format!("Plaintext(bfv, {} coefficients)", coefficients.len()),
            scheme::Plaintext::Ckks { primes, scale, .. } => {
                format!("Plaintext(ckks, {primes} primes, scale=2^{:.1})", scale.log2())
            }
        }
    }
}

/// An encrypted message.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct Ciphertext {
    pub inner: Arc<scheme::Ciphertext>,
}

impl From<scheme::Ciphertext> for Ciphertext {
    fn from(ciphertext: scheme::Ciphertext) -> Self {
        Self { inner: Arc::new(ciphertext) }
    }
}

#[pymethods]
impl Ciphertext {
    /// A ciphertext from SEAL's bytes, checked against the parameters.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, context: &Context, data: &[u8]) -> PyResult<Self> {
        Ok(py.detach(|| wire::read_ciphertext(&context.inner, data, Limits::CONTEXT))?.into())
    }

    /// The ciphertext in SEAL's format.
    #[pyo3(signature = (compress=true))]
    fn to_bytes<'py>(&self, py: Python<'py>, compress: bool) -> Bound<'py, PyBytes> {
        let compression = if compress { Compression::Zstd } else { Compression::None };
        PyBytes::new(py, &py.detach(|| wire::write_ciphertext(&self.inner, compression)))
    }

    /// The number of polynomials.
    #[getter]
    fn size(&self) -> usize {
        self.inner.size()
    }

    /// The number of primes left.
    #[getter]
    fn primes(&self) -> usize {
        self.inner.primes()
    }

    /// CKKS's scale, 1 for BFV.
    #[getter]
    fn scale(&self) -> f64 {
        self.inner.scale()
    }

    /// `"coefficient"` or `"ntt"`.
    #[getter]
    fn form(&self) -> &'static str {
        match self.inner.form() {
            Form::Coefficient => "coefficient",
            Form::Ntt => "ntt",
        }
    }

    /// The same ciphertext, its numbers read at another scale.
    fn with_scale(&self, scale: f64) -> Self {
        if self.inner.scale() == scale {
            return Self { inner: self.inner.clone() };
        }
        let mut ciphertext = (*self.inner).clone();
        ciphertext.set_scale(scale);
        ciphertext.into()
    }

    /// Whether the ciphertext was made for the parameters.
    fn belongs_to(&self, context: &Context) -> bool {
        let (c, context) = (&self.inner, &context.inner);
        c.degree() == context.degree()
            && context.primes_of(&c.parms_id()) == Some(c.primes())
            && c.primes() <= context.data_primes()
    }

    fn __repr__(&self) -> String {
        format!("Ciphertext({} polynomials, {} primes, {} form)", self.inner.size(), self.inner.primes(), self.form())
    }
}
