//! The batched layout for a server.

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::client::Client;
use super::key_set::{self, PreparedKeys};
use super::network::NormalForm;
use super::{arguments, work};
use crate::client;
use crate::plan::SAMPLES;
use crate::plan::batched::{self, BatchedOptions};
use crate::protocol::{self, LIMIT};
use crate::scheme::Ciphertext;

/// A network compiled for the batched layout: one value of many images in a ciphertext.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct BatchedProgram {
    inner: batched::BatchedProgram,
}

#[pymethods]
impl BatchedProgram {
    /// Compiles a network, choosing the smallest parameters.
    #[new]
    #[pyo3(signature = (network, security=128, precision=12, threads=0))]
    fn new(
        py: Python<'_>,
        network: &NormalForm,
        #[pyo3(from_py_with = arguments::count)] security: u32,
        #[pyo3(from_py_with = arguments::count)] precision: u32,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Self> {
        let options = BatchedOptions { security, precision };
        let network = (*network.inner).clone();
        Ok(Self { inner: work::run(py, threads, |_| batched::BatchedProgram::compile(network, options))? })
    }

    /// A program from its bytes.
    #[staticmethod]
    #[pyo3(signature = (data, threads=0))]
    fn from_bytes(
        py: Python<'_>,
        data: &[u8],
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Self> {
        Ok(Self { inner: work::run(py, threads, |_| batched::BatchedProgram::from_bytes(data, LIMIT))? })
    }

    /// The program as bytes, weights included.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.inner.to_bytes()))
    }

    /// The client's part.
    fn client(&self, py: Python<'_>) -> PyResult<Client> {
        Ok(Client { inner: py.detach(|| client::Client::batched(self.inner.interface().clone()))? })
    }

    /// What the program takes: bytes, and the weights of each step.
    fn explain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let explanation = work::run(py, 1, |_| self.inner.explain())?;
        let steps = PyList::empty(py);
        for step in &explanation.steps {
            let row = PyDict::new(py);
            row.set_item("kind", &step.kind)?;
            row.set_item("layers", &step.layers)?;
            row.set_item("primes", step.primes)?;
            row.set_item("weights", step.weights)?;
            steps.append(row)?;
        }
        let report = PyDict::new(py);
        report.set_item("input_scale_bits", self.inner.interface().input_scale.log2())?;
        report.set_item("input_layout", "one value a ciphertext, one image a slot")?;
        report.set_item("key_bytes", explanation.key_bytes)?;
        report.set_item("bytes_up", explanation.bytes_up)?;
        report.set_item("bytes_down", explanation.bytes_down)?;
        report.set_item("memory_bytes", explanation.memory)?;
        report.set_item("seconds", explanation.seconds)?;
        report.set_item("steps", steps)?;
        Ok(report)
    }

    /// Answers that tell nothing of the weights but what they answer, their values flooded with noise of the deviation given.
    #[pyo3(signature = (data, keys, deviation, threads=0))]
    fn rerandomize<'py>(
        &self,
        py: Python<'py>,
        data: &[u8],
        keys: &PreparedKeys,
        deviation: f64,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (interface, context) = (self.inner.interface(), self.inner.context());
        let bytes = work::run(py, threads, |cancellation| {
            let outputs = interface.output_shape.iter().product();
            let answers = protocol::unpack(&interface.program, context, data, outputs)?;
            let hidden = self.inner.rerandomize(&answers, &keys.rerandomizers[0], deviation, cancellation)?;
            protocol::pack(&interface.program, context, &hidden)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Answers to flattened images as decryption would give them, with the noise that encryption would add.
    #[pyo3(signature = (images, seed=0, threads=0))]
    fn simulate<'py>(
        &self,
        py: Python<'py>,
        images: PyReadonlyArray1<'_, f64>,
        #[pyo3(from_py_with = arguments::count)] seed: u64,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let images = images.as_slice()?;
        Ok(work::run(py, threads, |_| self.inner.simulate(images, seed))?.into_pyarray(py))
    }

    /// The largest error that is to be expected of answers to images like these.
    #[pyo3(signature = (images, threads=0))]
    fn expected_error(
        &self,
        py: Python<'_>,
        images: PyReadonlyArray1<'_, f64>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<f64> {
        let images = images.as_slice()?;
        work::run(py, threads, |_| self.inner.expected_error(images, SAMPLES))
    }

    /// A key set, as it was sent, made ready: once for each client.
    #[pyo3(signature = (data, threads=0))]
    fn prepare(
        &self,
        py: Python<'_>,
        data: &[u8],
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<PreparedKeys> {
        key_set::prepare(py, std::slice::from_ref(self.inner.context()), data, false, threads)
    }

    /// Evaluates an encrypted batch.
    #[pyo3(signature = (data, threads=0))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        data: &[u8],
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (interface, context) = (self.inner.interface(), self.inner.context());
        let bytes = work::run(py, threads, |cancellation| {
            let inputs = interface.input_shape.iter().product();
            let batch = protocol::unpack(&interface.program, context, data, inputs)?;
            let answers = self.inner.run(&batch.iter().collect::<Vec<&Ciphertext>>(), cancellation)?;
            protocol::pack(&interface.program, context, &answers)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }
}
