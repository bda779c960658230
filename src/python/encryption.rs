//! Encryption, decryption, noise budget, for lists.

use pyo3::prelude::*;

use super::context::Context;
use super::keys::{PublicKey, SecretKey};
use super::values::{Ciphertext, Plaintext};
use super::work;
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

/// Encrypts plaintexts.
#[pyfunction]
#[pyo3(signature = (context, key, plaintexts, threads=0))]
pub fn encrypt(
    py: Python<'_>,
    context: &Context,
    key: EncryptionKey<'_>,
    plaintexts: Vec<PyRef<'_, Plaintext>>,
    threads: usize,
) -> PyResult<Vec<Ciphertext>> {
    let plaintexts: Vec<scheme::Plaintext> = plaintexts.iter().map(|p| (*p.inner).clone()).collect();
    let context = context.inner.clone();
    let ciphertexts = match key {
        EncryptionKey::Secret(key) => {
            let key = key.inner.clone();
            work::run(py, threads, |c| SymmetricEncryptor::new(context, &key)?.encrypt_all(&plaintexts, None, c))?
        }
        EncryptionKey::Public(key) => {
            let key = key.inner.clone();
            work::run(py, threads, |c| PublicEncryptor::new(context, &key)?.encrypt_all(&plaintexts, None, c))?
        }
    };
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
    threads: usize,
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
    threads: usize,
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
