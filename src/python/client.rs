//! The client's side of every layout.

use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::context::Context;
use super::encryption::EncryptionKey;
use super::keys::{PublicKey, SecretKey};
use super::{arguments, work};
use crate::client::{self, Layout, Message};
use crate::protocol::LIMIT;

/// What a client knows of a program: no weight is in it.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct Client {
    pub inner: client::Client,
}

#[pymethods]
impl Client {
    /// A client's part from its bytes.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        Ok(Self { inner: py.detach(|| client::Client::from_bytes(data, LIMIT))? })
    }

    /// The client's part as bytes.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.inner.to_bytes()))
    }

    /// `"packed"`, `"batched"` or `"per-value"`.
    #[getter]
    fn layout(&self) -> &'static str {
        match self.inner.layout() {
            Layout::Packed(..) | Layout::Exact(..) => "packed",
            Layout::Batched(..) => "batched",
            Layout::PerValue(..) => "per-value",
        }
    }

    /// The encryption parameters.
    #[getter]
    fn context(&self) -> Context {
        Context { inner: self.inner.context().clone() }
    }

    /// Images that one run takes.
    #[getter]
    fn capacity(&self) -> usize {
        self.inner.layout().capacity()
    }

    /// The shape of one image.
    #[getter]
    fn input_shape(&self) -> Vec<usize> {
        self.inner.layout().shapes()[0].to_vec()
    }

    /// The shape of one answer.
    #[getter]
    fn output_shape(&self) -> Vec<usize> {
        self.inner.layout().shapes()[1].to_vec()
    }

    /// What tells the program from others, in hexadecimal digits.
    #[getter]
    fn program(&self) -> String {
        self.inner.program().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A fresh secret key, a public key for it, and the key set for the server, which holds the public key and the
    /// evaluation keys of the program, as it is sent.
    #[pyo3(signature = (threads=0))]
    fn generate_keys<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<(SecretKey, PublicKey, Bound<'py, PyBytes>)> {
        let mut keys = None;
        let bytes = PyBytes::new_with(py, self.inner.key_set_len()?, |out| {
            keys = Some(work::run(py, threads, |cancellation| self.inner.generate_keys(out, cancellation))?);
            Ok(())
        })?;
        let (secret, public) = keys.ok_or(crate::Error::Interrupted)?;
        Ok((SecretKey { inner: Arc::new(secret) }, PublicKey::new(public, self.inner.context()), bytes))
    }

    /// Encrypts flattened images, as many as one run takes or fewer.
    #[pyo3(signature = (key, images, threads=0))]
    fn encrypt<'py>(
        &self,
        py: Python<'py>,
        key: EncryptionKey<'_>,
        images: PyReadonlyArray1<'_, f64>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let images = images.as_slice()?;
        let key = key.shared();
        let bytes = work::run(py, threads, |cancellation| self.inner.encrypt(key.borrowed(), images, cancellation))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Decrypts the answers to the first `count` images, flattened.
    #[pyo3(signature = (key, data, count, threads=0))]
    fn decrypt<'py>(
        &self,
        py: Python<'py>,
        key: &SecretKey,
        data: &[u8],
        #[pyo3(from_py_with = arguments::count)] count: usize,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let key = key.inner.clone();
        let answers = work::run(py, threads, |cancellation| self.inner.decrypt(&key, data, count, cancellation))?;
        Ok(answers.into_pyarray(py))
    }

    /// The smallest noise budget of encrypted images, or of answers, in bits: BFV only.
    #[pyo3(signature = (key, data, answers, threads=0))]
    fn noise_budget(
        &self,
        py: Python<'_>,
        key: &SecretKey,
        data: &[u8],
        answers: bool,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<u32> {
        let key = key.inner.clone();
        let kind = if answers { Message::Answers } else { Message::Images };
        work::run(py, threads, |cancellation| self.inner.noise_budget(&key, data, kind, cancellation))
    }
}
