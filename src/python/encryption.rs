//! Encryption, decryption, noise budget, for lists.

use std::sync::Arc;

use pyo3::prelude::*;

use super::context::Context;
use super::keys::{PublicKey, SecretKey};
use super::values::{Ciphertext, Plaintext};
use super::{arguments, work};
use crate::client;
use crate::encryption::{Decryptor, PublicEncryptor, SymmetricEncryptor};
use crate::error::Result;
use crate::evaluator::batch;
use crate::scheme;

/// The key that encrypts: the secret one (less noise) or the public one.
#[derive(FromPyObject)]
pub enum EncryptionKey<'py> {
    Secret(PyRef<'py, SecretKey>),
    Public(PyRef<'py, PublicKey>),
}

impl EncryptionKey<'_> {
    /// The key for use without the GIL.
    pub fn shared(&self) -> SharedKey {
        match self {
            Self::Secret(key) => SharedKey::Secret(key.inner.clone()),
            Self::Public(key) => SharedKey::Public(key.inner.clone()),
        }
    }
}

/// An [`EncryptionKey`] that threads share.
pub enum SharedKey {
    Secret(Arc<scheme::SecretKey>),
    Public(Arc<scheme::PublicKey>),
}

impl SharedKey {
    /// The key as a client takes it.
    pub fn borrowed(&self) -> client::EncryptionKey<'_> {
        match self {
            Self::Secret(key) => client::EncryptionKey::Secret(key),
            Self::Public(key) => client::EncryptionKey::Public(key),
        }
    }
}

/// Encrypts plaintexts.
#[pyfunction]
#[pyo3(signature = (context, key, plaintexts, threads=0))]
pub fn encrypt(
    py: Python<'_>,
    context: &Context,
    key: EncryptionKey<'_>,
    plaintexts: Vec<PyRef<'_, Plaintext>>,
    #[pyo3(from_py_with = arguments::threads)] threads: usize,
) -> PyResult<Vec<Ciphertext>> {
    let plaintexts: Vec<scheme::Plaintext> = plaintexts.iter().map(|p| (*p.inner).clone()).collect();
    let context = context.inner.clone();
    let key = key.shared();
    let ciphertexts = work::run(py, threads, |cancellation| match &key {
        SharedKey::Secret(key) => SymmetricEncryptor::new(context, key)?.encrypt_all(&plaintexts, None, cancellation),
        SharedKey::Public(key) => PublicEncryptor::new(context, key)?.encrypt_all(&plaintexts, None, cancellation),
    })?;
    Ok(ciphertexts.into_iter().map(Into::into).collect())
}

/// Decrypts ciphertexts; a BFV ciphertext without noise budget is an error.
#[pyfunction]
#[pyo3(signature = (context, key, ciphertexts, threads=0))]
pub fn decrypt(
    py: Python<'_>,
    context: &Context,
    key: &SecretKey,
    ciphertexts: Vec<PyRef<'_, Ciphertext>>,
    #[pyo3(from_py_with = arguments::threads)] threads: usize,
) -> PyResult<Vec<Plaintext>> {
    let plaintexts = each(py, context, key, &ciphertexts, threads, Decryptor::decrypt)?;
    Ok(plaintexts.into_iter().map(Into::into).collect())
}

/// The invariant noise budget of BFV ciphertexts, in bits.
#[pyfunction]
#[pyo3(signature = (context, key, ciphertexts, threads=0))]
pub fn noise_budget(
    py: Python<'_>,
    context: &Context,
    key: &SecretKey,
    ciphertexts: Vec<PyRef<'_, Ciphertext>>,
    #[pyo3(from_py_with = arguments::threads)] threads: usize,
) -> PyResult<Vec<u32>> {
    each(py, context, key, &ciphertexts, threads, Decryptor::noise_budget)
}

fn each<R: Send>(
    py: Python<'_>,
    context: &Context,
    key: &SecretKey,
    ciphertexts: &[PyRef<'_, Ciphertext>],
    threads: usize,
    read: impl Fn(&Decryptor, &scheme::Ciphertext) -> Result<R> + Sync + Send,
) -> PyResult<Vec<R>> {
    let ciphertexts: Vec<_> = ciphertexts.iter().map(|c| c.inner.clone()).collect();
    let (context, key) = (context.inner.clone(), key.inner.clone());
    work::run(py, threads, |cancellation| {
        let decryptor = Decryptor::new(context, &key)?;
        batch::map(&ciphertexts, cancellation, |c| read(&decryptor, c))
    })
}
