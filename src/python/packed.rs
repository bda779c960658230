//! Packed programs: what a client holds, what a server holds. What travels between them is bytes.

use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::context::Context;
use super::keys::SecretKey;
use super::network::Network;
use super::work;
use crate::encoding::CkksEncoder;
use crate::encryption::checksum::{opened, sealed};
use crate::encryption::{Decryptor, KeyGenerator, SeededEvaluationKeys, SymmetricEncryptor, keygen, transport};
use crate::error::{Error, Result};
use crate::evaluator::packed;
use crate::plan::packed::file::Identity;
use crate::plan::packed::{Interface, PackedOptions, Plan};
use crate::runtime::Cancellation;
use crate::scheme;

/// Bytes that programs, keys and ciphertexts may have: more than any of this library's networks needs.
const LIMIT: u64 = 1 << 32;

const OBJECT: &str = "packed ciphertext";

/// What a client knows of a packed program: no weight is in it.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct PackedClient {
    interface: Interface,
    context: Arc<scheme::Context>,
    encoder: CkksEncoder,
}

impl PackedClient {
    fn new(interface: Interface) -> Result<Self> {
        let context = scheme::Context::new(interface.parameters.clone())?;
        let encoder = CkksEncoder::new(context.clone())?;
        Ok(Self { interface, context, encoder })
    }
}

#[pymethods]
impl PackedClient {
    /// A client's part from its bytes.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        Ok(py.detach(|| Self::new(Interface::from_bytes(data, LIMIT)?))?)
    }

    /// The client's part as bytes.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.interface.to_bytes()))
    }

    /// The encryption parameters.
    #[getter]
    fn context(&self) -> Context {
        Context { inner: self.context.clone() }
    }

    /// Images in one ciphertext.
    #[getter]
    fn capacity(&self) -> usize {
        self.interface.images
    }

    /// The shape of one image.
    #[getter]
    fn input_shape(&self) -> Vec<usize> {
        self.interface.input_shape.clone()
    }

    /// The shape of one answer.
    #[getter]
    fn output_shape(&self) -> Vec<usize> {
        self.interface.output_shape.clone()
    }

    /// Bits of security that the parameters were chosen for.
    #[getter]
    fn security(&self) -> u32 {
        self.interface.security
    }

    /// A fresh secret key.
    fn secret_key(&self, py: Python<'_>) -> PyResult<SecretKey> {
        let key = py.detach(|| keygen::secret_key(&self.context))?;
        Ok(SecretKey { inner: Arc::new(key) })
    }

    /// The evaluation keys that the program needs, as they are sent.
    #[pyo3(signature = (key, threads=0))]
    fn evaluation_keys<'py>(&self, py: Python<'py>, key: &SecretKey, threads: usize) -> PyResult<Bound<'py, PyBytes>> {
        let key = key.inner.clone();
        let bytes = work::run(py, threads, |cancellation| {
            let generator = KeyGenerator::new(self.context.clone(), &key)?;
            let Interface { relinearization, rotations, .. } = &self.interface;
            generator.evaluation_keys(*relinearization, rotations, cancellation)?.to_bytes(&self.context)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Encrypts flattened images, as many as one ciphertext takes or fewer.
    #[pyo3(signature = (key, images, threads=0))]
    fn encrypt<'py>(
        &self,
        py: Python<'py>,
        key: &SecretKey,
        images: PyReadonlyArray1<'_, f64>,
        threads: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (images, key) = (images.as_slice()?, key.inner.clone());
        let bytes = work::run(py, threads, |cancellation| {
            let slots = self.interface.slots_of(images)?;
            let plaintext = self.encoder.encode(&slots, self.interface.input_scale, self.context.data_primes())?;
            let encryptor = SymmetricEncryptor::new(self.context.clone(), &key)?;
            let ciphertexts = encryptor.encrypt_seeded(&[plaintext], None, cancellation)?;
            let packed = transport::pack_seeded(&self.context, &ciphertexts, &[1])?;
            Ok(addressed(&self.interface.program, packed))
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Decrypts the answers to the first `count` images, flattened.
    #[pyo3(signature = (key, data, count, threads=0))]
    fn decrypt<'py>(
        &self,
        py: Python<'py>,
        key: &SecretKey,
        data: &[u8],
        count: usize,
        threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let key = key.inner.clone();
        let answers = work::run(py, threads, |_| {
            let answer = ciphertext(&self.interface.program, &self.context, data)?;
            let decryptor = Decryptor::new(self.context.clone(), &key)?;
            let slots = self.encoder.decode(&decryptor.decrypt(&answer)?)?;
            Ok(self.interface.answers_in(&slots, count.min(self.interface.images)))
        })?;
        Ok(answers.into_pyarray(py))
    }
}

/// Evaluation keys made ready for a program.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct PackedKeys {
    inner: packed::PackedKeys,
}

#[pymethods]
impl PackedKeys {
    /// Bytes that they take in memory.
    #[getter]
    fn nbytes(&self) -> usize {
        self.inner.bytes()
    }
}

/// A network compiled for the packed layout: whole images in the slots of one ciphertext.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct PackedProgram {
    inner: crate::plan::packed::PackedProgram,
}

#[pymethods]
impl PackedProgram {
    /// Compiles a network, choosing placements and parameters; `examples` are flattened images by which the ranges of
    /// values are known.
    #[new]
    #[pyo3(signature = (network, examples, security=128, precision=12, images=1, threads=0))]
    fn new(
        py: Python<'_>,
        network: &Network,
        examples: PyReadonlyArray1<'_, f64>,
        security: u32,
        precision: u32,
        images: usize,
        threads: usize,
    ) -> PyResult<Self> {
        let examples = examples.as_slice()?;
        let options = PackedOptions { security, precision, images };
        let inner = work::run(py, threads, |cancellation| {
            crate::plan::packed::PackedProgram::new(Plan::new(&network.inner, examples, options)?, cancellation)
        })?;
        Ok(Self { inner })
    }

    /// A program from its bytes.
    #[staticmethod]
    #[pyo3(signature = (data, threads=0))]
    fn from_bytes(py: Python<'_>, data: &[u8], threads: usize) -> PyResult<Self> {
        let inner = work::run(py, threads, |cancellation| {
            crate::plan::packed::PackedProgram::new(Plan::from_bytes(data, LIMIT)?, cancellation)
        })?;
        Ok(Self { inner })
    }

    /// The program as bytes, weights included.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.inner.plan().to_bytes()))
    }

    /// The client's part.
    fn client(&self, py: Python<'_>) -> PyResult<PackedClient> {
        Ok(py.detach(|| PackedClient::new(self.inner.plan().interface.clone()))?)
    }

    /// Evaluation keys, as they were sent, made ready: once for each client.
    #[pyo3(signature = (data, threads=0))]
    fn prepare(&self, py: Python<'_>, data: &[u8], threads: usize) -> PyResult<PackedKeys> {
        let inner = work::run(py, threads, |cancellation| {
            let context = self.inner.context();
            let seeded = SeededEvaluationKeys::from_bytes(context, data, LIMIT)?;
            packed::PackedKeys::new(context, seeded.expand(context, cancellation)?)
        })?;
        Ok(PackedKeys { inner })
    }

    /// Evaluates one encrypted image, or as many as share a ciphertext.
    #[pyo3(signature = (data, keys, threads=0))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        data: &[u8],
        keys: &PackedKeys,
        threads: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = work::run(py, threads, |cancellation| self.evaluate(data, &keys.inner, cancellation))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Answers to flattened images as decryption would give them, with the noise that encryption would add.
    #[pyo3(signature = (images, seed=0, threads=0))]
    fn simulate<'py>(
        &self,
        py: Python<'py>,
        images: PyReadonlyArray1<'_, f64>,
        seed: u64,
        threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let images = images.as_slice()?;
        let answers = work::run(py, threads, |_| self.inner.plan().simulate(images, seed))?;
        Ok(answers.into_pyarray(py))
    }

    /// The largest error that is to be expected of answers to images like these.
    #[pyo3(signature = (images, threads=0))]
    fn expected_error(&self, py: Python<'_>, images: PyReadonlyArray1<'_, f64>, threads: usize) -> PyResult<f64> {
        let images = images.as_slice()?;
        work::run(py, threads, |_| self.inner.plan().expected_error(images, 4))
    }

    /// What the program takes: keys, bytes, memory, seconds, and the same of each step.
    fn explain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let plan = self.inner.plan();
        let explanation = py.detach(|| plan.explain())?;
        let steps = PyList::empty(py);
        for step in &explanation.steps {
            let row = PyDict::new(py);
            row.set_item("kind", step.kind)?;
            row.set_item("primes", step.primes)?;
            row.set_item("scale_bits", step.scale_bits)?;
            row.set_item("weights", step.weights)?;
            row.set_item("diagonals", step.diagonals)?;
            row.set_item("hoisted_rotations", step.hoisted)?;
            row.set_item("giant_rotations", step.giants)?;
            row.set_item("seconds", step.seconds)?;
            steps.append(row)?;
        }
        let parameters = &plan.interface.parameters;
        let bits: Vec<u32> = parameters.moduli().iter().map(|q| u64::BITS - q.leading_zeros()).collect();
        let report = PyDict::new(py);
        report.set_item("degree", parameters.degree())?;
        report.set_item("prime_bits", bits)?;
        report.set_item("modulus_bits", parameters.modulus_bits())?;
        report.set_item("security", plan.interface.security)?;
        report.set_item("scale_bits", plan.interface.input_scale.log2())?;
        report.set_item("images", plan.interface.images)?;
        report.set_item("keys", explanation.keys)?;
        report.set_item("key_bytes", explanation.key_bytes)?;
        report.set_item("bytes_up", explanation.bytes_up)?;
        report.set_item("bytes_down", explanation.bytes_down)?;
        report.set_item("memory_bytes", explanation.memory)?;
        report.set_item("seconds", explanation.seconds)?;
        report.set_item("steps", steps)?;
        Ok(report)
    }
}

impl PackedProgram {
    fn evaluate(&self, data: &[u8], keys: &packed::PackedKeys, cancellation: &Cancellation) -> Result<Vec<u8>> {
        let program = &self.inner.plan().interface.program;
        let image = ciphertext(program, self.inner.context(), data)?;
        let answer = self.inner.run(&image, keys, cancellation)?;
        Ok(addressed(program, transport::pack(self.inner.context(), &[answer], &[1])?))
    }
}

/// Bytes for one program: its identity before them, a checksum behind.
fn addressed(program: &Identity, bytes: Vec<u8>) -> Vec<u8> {
    sealed([&program[..], &bytes].concat())
}

/// The one ciphertext in bytes for one program.
fn ciphertext(program: &Identity, context: &scheme::Context, data: &[u8]) -> Result<scheme::Ciphertext> {
    let bytes = opened(OBJECT, data)?;
    let Some((address, bytes)) = bytes.split_first_chunk::<32>() else {
        return Err(Error::Malformed { object: OBJECT, offset: 0, reason: "the bytes end early".into() });
    };
    if address != program {
        return Err(Error::ParametersMismatch {
            operation: "running a program",
            object: "ciphertext of another program",
        });
    }
    let mut tensor = transport::unpack(context, bytes, None, LIMIT)?;
    match (tensor.ciphertexts.pop(), tensor.ciphertexts.is_empty()) {
        (Some(ciphertext), true) => Ok(ciphertext),
        _ => Err(Error::ShapeMismatch {
            operation: "running a program",
            expected: "one ciphertext".into(),
            got: tensor.shape,
        }),
    }
}
