//! Compiled networks. What travels between client and server is packed bytes.

use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rayon::prelude::*;

use super::context::Context;
use super::encoders::FractionalEncoder;
use super::evaluator::Evaluator;
use super::keys::SecretKey;
use super::network::Network;
use super::values::Ciphertext;
use super::work;
use crate::encoding::{self, CkksEncoder};
use crate::encryption::checksum::{opened, sealed};
use crate::encryption::{Decryptor, SymmetricEncryptor, transport};
use crate::error::{Error, Result};
use crate::plan::batched::{self, BatchedOptions};
use crate::plan::per_value::{self, Fidelity};
use crate::scheme::{self, Plaintext};

/// A network compiled for the per-value layout: one value of one image in a ciphertext.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct PerValueProgram {
    inner: per_value::PerValueProgram,
    encoder: encoding::FractionalEncoder,
    context: Arc<scheme::Context>,
}

#[pymethods]
impl PerValueProgram {
    /// Compiles a network of affine maps and squares; `fused` joins layers where that is cheaper.
    #[new]
    #[pyo3(signature = (evaluator, encoder, network, fused=true))]
    fn new(
        py: Python<'_>,
        evaluator: &Evaluator,
        encoder: &FractionalEncoder,
        network: &Network,
        fused: bool,
    ) -> PyResult<Self> {
        let fidelity = if fused { Fidelity::Fused } else { Fidelity::Layers };
        let (evaluator, encoder) = (evaluator.inner.clone(), encoder.inner.clone());
        let context = evaluator.context().clone();
        let inner = py.detach(|| per_value::PerValueProgram::compile(evaluator, &encoder, &network.inner, fidelity))?;
        Ok(Self { inner, encoder, context })
    }

    /// The names of the steps, each with the layers that it computes.
    #[getter]
    fn steps(&self) -> Vec<String> {
        self.inner.step_names().map(str::to_owned).collect()
    }

    /// Encrypts one flattened image, value by value, and packs it.
    #[pyo3(signature = (key, image, threads=0))]
    fn encrypt<'py>(
        &self,
        py: Python<'py>,
        key: &SecretKey,
        image: PyReadonlyArray1<'_, f64>,
        threads: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (image, key) = (image.as_slice()?, key.inner.clone());
        check_length(image.len(), self.inner.inputs(), "one image")?;
        let bytes = work::run(py, threads, |cancellation| {
            let plaintexts = self.encoder.encode_all(image)?;
            let encryptor = SymmetricEncryptor::new(self.context.clone(), &key)?;
            let ciphertexts = encryptor.encrypt_seeded(&plaintexts, None, cancellation)?;
            Ok(sealed(transport::pack_seeded(&self.context, &ciphertexts, &[image.len()])?))
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// The ciphertexts in packed bytes.
    #[pyo3(signature = (data, threads=0))]
    fn unpack(&self, py: Python<'_>, data: &[u8], threads: usize) -> PyResult<Vec<Ciphertext>> {
        unpack(py, &self.context, data, threads)
    }

    /// Evaluates one image.
    #[pyo3(signature = (image, threads=0))]
    fn run(&self, py: Python<'_>, image: Vec<PyRef<'_, Ciphertext>>, threads: usize) -> PyResult<Vec<Ciphertext>> {
        let image = shared(&image);
        let answer = work::run(py, threads, |cancellation| self.inner.run(&borrowed(&image), cancellation))?;
        Ok(answer.into_iter().map(Into::into).collect())
    }

    /// Evaluates one image and tells the smallest noise budget after each step, in bits: for this the secret key is
    /// needed, so it is the client's tool.
    #[pyo3(signature = (key, image, threads=0))]
    fn noise_budgets(
        &self,
        py: Python<'_>,
        key: &SecretKey,
        image: Vec<PyRef<'_, Ciphertext>>,
        threads: usize,
    ) -> PyResult<Vec<(String, u32)>> {
        let (image, key) = (shared(&image), key.inner.clone());
        work::run(py, threads, |cancellation| {
            let decryptor = Decryptor::new(self.context.clone(), &key)?;
            let mut budgets = Vec::new();
            self.inner.run_observed(&borrowed(&image), cancellation, |name, values| {
                let each = values.par_iter().map(|value| decryptor.noise_budget(value));
                let smallest = each.try_reduce(|| u32::MAX, |a, b| Ok(a.min(b)))?;
                budgets.push((name.to_owned(), smallest));
                Ok(())
            })?;
            Ok(budgets)
        })
    }

    /// Packs an answer for its way back.
    #[pyo3(signature = (answer, threads=0))]
    fn pack<'py>(
        &self,
        py: Python<'py>,
        answer: Vec<PyRef<'_, Ciphertext>>,
        threads: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        pack(py, &self.context, &answer, threads)
    }

    /// Decrypts an answer, with every digit that it has.
    #[pyo3(signature = (key, answer, threads=0))]
    fn decrypt<'py>(
        &self,
        py: Python<'py>,
        key: &SecretKey,
        answer: Vec<PyRef<'_, Ciphertext>>,
        threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let (answer, key) = (shared(&answer), key.inner.clone());
        let values = work::run(py, threads, |_| {
            let decryptor = Decryptor::new(self.context.clone(), &key)?;
            let decode = |value: &Arc<scheme::Ciphertext>| self.encoder.decode_checked(&decryptor.decrypt(value)?);
            answer.par_iter().map(decode).collect::<Result<Vec<f64>>>()
        })?;
        Ok(values.into_pyarray(py))
    }
}

/// A network compiled for the batched layout: one value of many images in a ciphertext.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct BatchedProgram {
    inner: batched::BatchedProgram,
    encoder: CkksEncoder,
}

#[pymethods]
impl BatchedProgram {
    /// Compiles a network, choosing the smallest parameters; `examples` are flattened images by which the ranges of
    /// values are known.
    #[new]
    #[pyo3(signature = (network, examples, security=128, precision=12, threads=0))]
    fn new(
        py: Python<'_>,
        network: &Network,
        examples: PyReadonlyArray1<'_, f64>,
        security: u32,
        precision: u32,
        threads: usize,
    ) -> PyResult<Self> {
        let examples = examples.as_slice()?;
        let options = BatchedOptions { security, precision };
        let (inner, encoder) = work::run(py, threads, |_| {
            let program = batched::BatchedProgram::compile(&network.inner, examples, options)?;
            let encoder = CkksEncoder::new(program.context().clone())?;
            Ok((program, encoder))
        })?;
        Ok(Self { inner, encoder })
    }

    /// The parameters that were chosen.
    #[getter]
    fn context(&self) -> Context {
        Context { inner: self.inner.context().clone() }
    }

    /// How many images one run takes.
    #[getter]
    fn capacity(&self) -> usize {
        self.inner.capacity()
    }

    /// The scale at which images are encoded.
    #[getter]
    fn input_scale(&self) -> f64 {
        self.inner.input_scale()
    }

    /// Encrypts flattened images, one a slot, and packs them.
    #[pyo3(signature = (key, images, threads=0))]
    fn encrypt<'py>(
        &self,
        py: Python<'py>,
        key: &SecretKey,
        images: PyReadonlyArray1<'_, f64>,
        threads: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (images, key) = (images.as_slice()?, key.inner.clone());
        let inputs: usize = self.inner.input_shape().iter().product();
        let count = images.len() / inputs;
        if images.len() != count * inputs || !(1..=self.inner.capacity()).contains(&count) {
            return Err(Error::ShapeMismatch {
                operation: "encrypting a batch",
                expected: format!("1 to {} images of {inputs} values", self.inner.capacity()),
                got: vec![images.len()],
            }
            .into());
        }
        let bytes = work::run(py, threads, |cancellation| {
            let context = self.inner.context();
            let plaintexts = (0..inputs)
                .into_par_iter()
                .map(|i| {
                    cancellation.check()?;
                    let values: Vec<f64> = images.iter().skip(i).step_by(inputs).copied().collect();
                    self.encoder.encode(&values, self.inner.input_scale(), context.data_primes())
                })
                .collect::<Result<Vec<Plaintext>>>()?;
            let encryptor = SymmetricEncryptor::new(context.clone(), &key)?;
            let ciphertexts = encryptor.encrypt_seeded(&plaintexts, None, cancellation)?;
            Ok(sealed(transport::pack_seeded(context, &ciphertexts, &[inputs])?))
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// The ciphertexts in packed bytes.
    #[pyo3(signature = (data, threads=0))]
    fn unpack(&self, py: Python<'_>, data: &[u8], threads: usize) -> PyResult<Vec<Ciphertext>> {
        unpack(py, self.inner.context(), data, threads)
    }

    /// Evaluates a batch.
    #[pyo3(signature = (batch, threads=0))]
    fn run(&self, py: Python<'_>, batch: Vec<PyRef<'_, Ciphertext>>, threads: usize) -> PyResult<Vec<Ciphertext>> {
        let batch = shared(&batch);
        let answers = work::run(py, threads, |cancellation| self.inner.run(&borrowed(&batch), cancellation))?;
        Ok(answers.into_iter().map(Into::into).collect())
    }

    /// Packs answers for their way back.
    #[pyo3(signature = (answers, threads=0))]
    fn pack<'py>(
        &self,
        py: Python<'py>,
        answers: Vec<PyRef<'_, Ciphertext>>,
        threads: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        pack(py, self.inner.context(), &answers, threads)
    }

    /// Decrypts the answers to the first `count` images, flattened.
    #[pyo3(signature = (key, answers, count, threads=0))]
    fn decrypt<'py>(
        &self,
        py: Python<'py>,
        key: &SecretKey,
        answers: Vec<PyRef<'_, Ciphertext>>,
        count: usize,
        threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let (answers, key) = (shared(&answers), key.inner.clone());
        let values = work::run(py, threads, |_| {
            let decryptor = Decryptor::new(self.inner.context().clone(), &key)?;
            let decode = |answer: &Arc<scheme::Ciphertext>| self.encoder.decode(&decryptor.decrypt(answer)?);
            let columns = answers.par_iter().map(decode).collect::<Result<Vec<_>>>()?;
            let image = |image| columns.iter().map(move |column: &Vec<f64>| column.get(image).copied().unwrap_or(0.0));
            Ok((0..count.min(self.inner.capacity())).flat_map(image).collect::<Vec<f64>>())
        })?;
        Ok(values.into_pyarray(py))
    }
}

fn check_length(got: usize, expected: usize, what: &str) -> Result<()> {
    if got == expected {
        return Ok(());
    }
    let expected = format!("{expected} values of {what}");
    Err(Error::ShapeMismatch { operation: "encrypting", expected, got: vec![got] })
}

/// Bytes that packed ciphertexts may have: more than any tensor of this library's networks.
const LIMIT: u64 = 1 << 32;

fn unpack(py: Python<'_>, context: &Arc<scheme::Context>, data: &[u8], threads: usize) -> PyResult<Vec<Ciphertext>> {
    let tensor =
        work::run(py, threads, |_| transport::unpack(context, opened("packed ciphertexts", data)?, None, LIMIT))?;
    Ok(tensor.ciphertexts.into_iter().map(Into::into).collect())
}

fn pack<'py>(
    py: Python<'py>,
    context: &Arc<scheme::Context>,
    ciphertexts: &[PyRef<'_, Ciphertext>],
    threads: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let ciphertexts: Vec<scheme::Ciphertext> = ciphertexts.iter().map(|c| (*c.inner).clone()).collect();
    let bytes = work::run(py, threads, |_| Ok(sealed(transport::pack(context, &ciphertexts, &[ciphertexts.len()])?)))?;
    Ok(PyBytes::new(py, &bytes))
}

fn shared(ciphertexts: &[PyRef<'_, Ciphertext>]) -> Vec<Arc<scheme::Ciphertext>> {
    ciphertexts.iter().map(|c| c.inner.clone()).collect()
}

fn borrowed(ciphertexts: &[Arc<scheme::Ciphertext>]) -> Vec<&scheme::Ciphertext> {
    ciphertexts.iter().map(Arc::as_ref).collect()
}
