//! The three keys: made, read and written.

use std::collections::BTreeMap;
use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::context::Context;
use super::work;
use crate::encryption::{KeyGenerator, passphrase};
use crate::error::{Error, Result};
use crate::scheme;
use crate::seal::SealSession;
use crate::seal::wire::{self, Compression, Limits};

/// The secret key: it decrypts. It is not pickled and shows nothing of itself.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct SecretKey {
    pub inner: Arc<scheme::SecretKey>,
}

#[pymethods]
impl SecretKey {
    /// A key from SEAL's bytes.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, context: &Context, data: &[u8]) -> PyResult<Self> {
        let key = py.detach(|| wire::read_secret_key(&context.inner, data, Limits::CONTEXT))?;
        Ok(Self { inner: Arc::new(key) })
    }

    /// The key in SEAL's format: whoever has these bytes can decrypt.
    fn to_secret_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| wire::write_secret_key(&self.inner, Compression::Zstd)))
    }

    /// The key under a passphrase; `purpose` has to be given again.
    fn to_locked_bytes<'py>(&self, py: Python<'py>, passphrase: &str, purpose: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = py.detach(|| {
            passphrase::lock(passphrase, &wire::write_secret_key(&self.inner, Compression::Zstd), purpose)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// A key from what `to_locked_bytes` gave.
    #[staticmethod]
    fn from_locked_bytes(
        py: Python<'_>,
        context: &Context,
        data: &[u8],
        passphrase: &str,
        purpose: &[u8],
    ) -> PyResult<Self> {
        let key = py.detach(|| {
            let bytes = passphrase::unlock(passphrase, data, purpose)?;
            wire::read_secret_key(&context.inner, &bytes, Limits::CONTEXT)
        })?;
        Ok(Self { inner: Arc::new(key) })
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "a secret key is not pickled; to_secret_bytes() writes it where only its owner can read",
        ))
    }

    fn __repr__(&self) -> &'static str {
        "SecretKey(..)"
    }
}

/// The public key: it encrypts.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct PublicKey {
    pub inner: Arc<scheme::PublicKey>,
    context: Arc<scheme::Context>,
}

#[pymethods]
impl PublicKey {
    /// A key from SEAL's bytes.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, context: &Context, data: &[u8]) -> PyResult<Self> {
        let key = py.detach(|| wire::read_public_key(&context.inner, data, Limits::CONTEXT))?;
        Ok(Self { inner: Arc::new(key), context: context.inner.clone() })
    }

    /// The key in SEAL's format.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = py.detach(|| wire::write_public_key(&self.context, &self.inner, Compression::Zstd))?;
        Ok(PyBytes::new(py, &bytes))
    }
}

/// What a server needs to evaluate: relinearisation and rotation keys.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct EvaluationKeys {
    pub inner: Arc<scheme::EvaluationKeys>,
    context: Arc<scheme::Context>,
}

#[pymethods]
impl EvaluationKeys {
    /// Keys from what `to_bytes` gave.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, context: &Context, data: &[u8]) -> PyResult<Self> {
        let keys = py.detach(|| read_evaluation_keys(&context.inner, data))?;
        Ok(Self { inner: Arc::new(keys), context: context.inner.clone() })
    }

    /// Two lengths, of 8 bytes each, little-endian, then SEAL's relinearisation key and Galois keys; a length of 0
    /// stands for a key that is not there. Galois keys are many megabytes and can be left out.
    #[pyo3(signature = (galois=true))]
    fn to_bytes<'py>(&self, py: Python<'py>, galois: bool) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = py.detach(|| write_evaluation_keys(&self.context, &self.inner, galois))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Whether a relinearisation key is there.
    #[getter]
    fn relinearization(&self) -> bool {
        self.inner.relinearization.is_some()
    }

    /// The Galois elements that there are keys for.
    #[getter]
    fn galois_elements(&self) -> Vec<u32> {
        self.inner.galois.keys().copied().collect()
    }
}

impl PublicKey {
    pub fn new(key: scheme::PublicKey, context: &Arc<scheme::Context>) -> Self {
        Self { inner: Arc::new(key), context: context.clone() }
    }
}

/// A new secret key and a public key for it.
#[pyfunction]
pub fn generate_keys(py: Python<'_>, context: &Context) -> PyResult<(SecretKey, PublicKey)> {
    let (secret, public) = py.detach(|| SealSession::new(&context.inner)?.generate_keys())?;
    Ok((SecretKey { inner: Arc::new(secret) }, PublicKey { inner: Arc::new(public), context: context.inner.clone() }))
}

/// The relinearisation key and rotation keys for steps; nothing where the parameters set no prime aside for them.
#[pyfunction]
#[pyo3(signature = (context, secret_key, steps=vec![]))]
pub fn generate_evaluation_keys(
    py: Python<'_>,
    context: &Context,
    secret_key: &SecretKey,
    steps: Vec<i32>,
) -> PyResult<EvaluationKeys> {
    let (context, secret_key) = (context.inner.clone(), secret_key.inner.clone());
    let keys = py.detach(|| -> Result<_> {
        let mut keys = scheme::EvaluationKeys { parms_id: context.key_parms_id(), ..Default::default() };
        if context.parameters().key_switching() {
            let session = SealSession::new(&context)?;
            keys.relinearization = Some(session.relinearization_key(&secret_key)?);
            if !steps.is_empty() {
                keys.galois = session.rotation_keys(&secret_key, &steps)?;
            }
        }
        Ok(keys)
    })?;
    Ok(EvaluationKeys { inner: Arc::new(keys), context })
}

/// A fresh public key for a secret key, as a key set without evaluation keys: its second polynomial comes from a seed.
#[pyfunction]
pub fn public_key_set<'py>(
    py: Python<'py>,
    context: &Context,
    secret_key: &SecretKey,
) -> PyResult<Bound<'py, PyBytes>> {
    let (context, secret_key) = (context.inner.clone(), secret_key.inner.clone());
    let bytes = work::run(py, 1, |cancellation| {
        let generator = KeyGenerator::new(context.clone(), &secret_key)?;
        let mut bytes = vec![0; KeyGenerator::packed_len(&context, None, &BTreeMap::new())?];
        generator.write_key_set(None, &BTreeMap::new(), &mut bytes, cancellation)?;
        Ok(bytes)
    })?;
    Ok(PyBytes::new(py, &bytes))
}

fn write_evaluation_keys(context: &scheme::Context, keys: &scheme::EvaluationKeys, galois: bool) -> Result<Vec<u8>> {
    let relinearization = match &keys.relinearization {
        Some(key) => wire::write_relinearization_key(context, key, Compression::Zstd)?,
        None => Vec::new(),
    };
    let galois = match galois && !keys.galois.is_empty() {
        true => wire::write_galois_keys(context, &keys.galois, Compression::Zstd)?,
        false => Vec::new(),
    };
    let mut bytes = Vec::with_capacity(16 + relinearization.len() + galois.len());
    for part in [&relinearization, &galois] {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
    }
    bytes.extend(relinearization);
    bytes.extend(galois);
    Ok(bytes)
}

fn read_evaluation_keys(context: &scheme::Context, bytes: &[u8]) -> Result<scheme::EvaluationKeys> {
    let malformed =
        |offset, reason: &str| Error::Malformed { object: "evaluation keys", offset, reason: reason.into() };
    let (lengths, rest) =
        bytes.split_at_checked(16).ok_or_else(|| malformed(bytes.len(), "the lengths are cut off"))?;
    let length = |i: usize| lengths[8 * i..8 * i + 8].iter().rev().fold(0u64, |n, &byte| n << 8 | u64::from(byte));
    let (first, second) = (length(0), length(1));
    if first.checked_add(second) != Some(rest.len() as u64) {
        return Err(malformed(0, "the lengths are not those of the two keys that follow"));
    }
    let (relinearization, galois) = rest.split_at(first as usize);
    let mut keys = scheme::EvaluationKeys { parms_id: context.key_parms_id(), ..Default::default() };
    if !relinearization.is_empty() {
        keys.relinearization = Some(wire::read_relinearization_key(context, relinearization, Limits::CONTEXT)?);
    }
    if !galois.is_empty() {
        keys.galois = wire::read_galois_keys(context, galois, Limits::CONTEXT)?;
    }
    Ok(keys)
}
