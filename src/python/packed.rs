//! The packed layout for a server.

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::client::Client;
use super::key_set::{self, PreparedKeys};
use super::network::NormalForm;
use super::{arguments, work};
use crate::client;
use crate::plan::SAMPLES;
use crate::plan::packed::{PackedOptions, Plan};
use crate::protocol::{self, LIMIT};

/// A network compiled for the packed layout: whole images in the slots of one ciphertext.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct PackedProgram {
    inner: crate::plan::packed::PackedProgram,
}

#[pymethods]
impl PackedProgram {
    /// Compiles a network, choosing placements and parameters.
    #[new]
    #[pyo3(signature = (network, security=128, precision=12, images=1, threads=0))]
    fn new(
        py: Python<'_>,
        network: &NormalForm,
        #[pyo3(from_py_with = arguments::count)] security: u32,
        #[pyo3(from_py_with = arguments::count)] precision: u32,
        #[pyo3(from_py_with = arguments::count)] images: usize,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Self> {
        let options = PackedOptions { security, precision, images };
        let inner = work::run(py, threads, |cancellation| {
            crate::plan::packed::PackedProgram::new(Plan::new(&network.inner, options)?, cancellation)
        })?;
        Ok(Self { inner })
    }

    /// A program from its bytes.
    #[staticmethod]
    #[pyo3(signature = (data, threads=0))]
    fn from_bytes(
        py: Python<'_>,
        data: &[u8],
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Self> {
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
    fn client(&self, py: Python<'_>) -> PyResult<Client> {
        Ok(Client { inner: py.detach(|| client::Client::packed(self.inner.plan().interface.clone()))? })
    }

    /// A key set, as it was sent, made ready: once for each client.
    #[pyo3(signature = (data, threads=0))]
    fn prepare(
        &self,
        py: Python<'_>,
        data: &[u8],
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<PreparedKeys> {
        key_set::prepare(py, std::slice::from_ref(self.inner.context()), data, true, threads)
    }

    /// Evaluates one encrypted image, or as many as share a ciphertext.
    #[pyo3(signature = (data, keys, threads=0))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        data: &[u8],
        keys: &PreparedKeys,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (program, context) = (&self.inner.plan().interface.arrangement.program, self.inner.context());
        let keys = keys.evaluation()?;
        let bytes = work::run(py, threads, |cancellation| {
            let image = protocol::unpack(program, context, data, 1)?;
            let answer = self.inner.run(&image[0], keys, cancellation)?;
            protocol::pack(program, context, &[answer])
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// An answer that tells nothing of the weights but what it answers, its values flooded with noise of the deviation given.
    #[pyo3(signature = (data, keys, deviation, threads=0))]
    fn rerandomize<'py>(
        &self,
        py: Python<'py>,
        data: &[u8],
        keys: &PreparedKeys,
        deviation: f64,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (program, context) = (&self.inner.plan().interface.arrangement.program, self.inner.context());
        let bytes = work::run(py, threads, |cancellation| {
            let answer = protocol::unpack(program, context, data, 1)?;
            let hidden = self.inner.rerandomize(&answer[0], &keys.rerandomizers[0], deviation, cancellation)?;
            protocol::pack(program, context, &[hidden])
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
        let answers = work::run(py, threads, |_| self.inner.plan().simulate(images, seed))?;
        Ok(answers.into_pyarray(py))
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
        work::run(py, threads, |_| self.inner.plan().expected_error(images, SAMPLES))
    }

    /// What the program takes: keys, bytes, memory, seconds, and the same of each step.
    fn explain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let plan = self.inner.plan();
        let explanation = work::run(py, 1, |_| plan.explain())?;
        let steps = PyList::empty(py);
        for step in &explanation.steps {
            let row = PyDict::new(py);
            row.set_item("kind", &step.kind)?;
            row.set_item("layers", &step.layers)?;
            row.set_item("layout", &step.layout)?;
            row.set_item("primes", step.primes)?;
            row.set_item("scale_bits", step.scale_bits)?;
            row.set_item("weights", step.weights)?;
            row.set_item("diagonals", step.diagonals)?;
            row.set_item("hoisted_rotations", step.hoisted)?;
            row.set_item("giant_rotations", step.giants)?;
            row.set_item("seconds", step.seconds)?;
            steps.append(row)?;
        }
        let report = PyDict::new(py);
        report.set_item("input_scale_bits", plan.interface.input_scale.log2())?;
        report.set_item("input_layout", plan.tensors.first().map(|tensor| &tensor.layout))?;
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
