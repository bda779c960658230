//! The messages of PyCrCNN's REST service.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::context::Context;
use super::values::Ciphertext;
use super::{arguments, work};
use crate::protocol::compute;

/// A request of PyCrCNN's REST service: parsed, its ciphertexts not read yet.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct ComputeRequest {
    inner: compute::ComputeRequest,
}

#[pymethods]
impl ComputeRequest {
    /// A request of at most `most` ciphertexts from its JSON, plain or in a JSON string.
    #[staticmethod]
    #[pyo3(signature = (body, most, threads=0))]
    fn from_bytes(
        py: Python<'_>,
        body: &[u8],
        #[pyo3(from_py_with = arguments::count)] most: usize,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Self> {
        Ok(Self { inner: work::run(py, threads, |_| compute::ComputeRequest::read(body, most))? })
    }

    /// The fields but data and keys, as JSON.
    #[getter]
    fn fields(&self) -> &str {
        &self.inner.fields
    }

    /// The shape of the data.
    #[getter]
    fn shape(&self) -> Vec<usize> {
        self.inner.shape.clone()
    }

    /// The client's evaluation keys, if it sent any.
    #[getter]
    fn evaluation_keys<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.inner.evaluation_keys.as_deref().map(|keys| PyBytes::new(py, keys))
    }

    /// The key set with the client's public key, if it sent one.
    #[getter]
    fn public_key<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.inner.public_key.as_deref().map(|key| PyBytes::new(py, key))
    }

    /// The ciphertexts, in row-major order, which may take `limit` bytes, and how the reply must name itself.
    #[pyo3(signature = (context, limit, threads=0))]
    fn ciphertexts(
        &self,
        py: Python<'_>,
        context: &Context,
        #[pyo3(from_py_with = arguments::count)] limit: u64,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<(Vec<Ciphertext>, ReplyHeader)> {
        let read = work::run(py, threads, |_| self.inner.ciphertexts(&context.inner, limit))?;
        Ok((read.ciphertexts.into_iter().map(Ciphertext::from).collect(), ReplyHeader { inner: read.header }))
    }
}

/// What the ciphertexts of a request say of themselves: those of its reply say the same.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct ReplyHeader {
    inner: Option<compute::LeafHeader>,
}

#[pymethods]
impl ReplyHeader {
    /// The key pair that the ciphertexts belong to, if they say it.
    #[getter]
    fn key(&self) -> Option<&str> {
        self.inner.as_ref()?.key.as_deref()
    }
}

/// The reply: ciphertexts in a nested list of a shape, as JSON.
#[pyfunction]
#[pyo3(signature = (ciphertexts, shape, header, threads=0))]
pub fn compute_reply<'py>(
    py: Python<'py>,
    ciphertexts: Vec<PyRef<'py, Ciphertext>>,
    #[pyo3(from_py_with = arguments::count)] shape: Vec<usize>,
    header: &ReplyHeader,
    #[pyo3(from_py_with = arguments::threads)] threads: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let shared: Vec<_> = ciphertexts.iter().map(|ciphertext| ciphertext.inner.clone()).collect();
    let borrowed: Vec<_> = shared.iter().map(|ciphertext| &**ciphertext).collect();
    let bytes = work::run(py, threads, |_| compute::reply(&borrowed, &shape, header.inner.as_ref()))?;
    Ok(PyBytes::new(py, &bytes))
}
