//! The packed layout of BFV for a server.

use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::client::Client;
use super::key_set::{self, PreparedKeys};
use super::network::NormalForm;
use super::{arguments, work};
use crate::client;
use crate::error::Result;
use crate::plan::envelope::Identity;
use crate::plan::packed::exact::{self, ExactOptions, ExactPlan};
use crate::protocol::{self, LIMIT};
use crate::scheme::{Ciphertext, Context};

/// A network over integers compiled for the packed layout of BFV: whole images in the slots, computed exactly.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct ExactProgram {
    inner: exact::ExactProgram,
}

#[pymethods]
impl ExactProgram {
    /// Compiles a network, choosing integers, placements and parameters by flattened example images.
    #[new]
    #[pyo3(signature = (network, examples, security=128, precision=8, images=1, threads=0))]
    fn new(
        py: Python<'_>,
        network: &NormalForm,
        examples: PyReadonlyArray1<'_, f64>,
        #[pyo3(from_py_with = arguments::count)] security: u32,
        #[pyo3(from_py_with = arguments::count)] precision: u32,
        #[pyo3(from_py_with = arguments::count)] images: usize,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Self> {
        let options = ExactOptions { security, precision, images };
        let examples = examples.as_slice()?;
        let inner = work::run(py, threads, |cancellation| {
            exact::ExactProgram::new(ExactPlan::new(&network.inner, examples, options)?, cancellation)
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
            exact::ExactProgram::new(ExactPlan::from_bytes(data, LIMIT)?, cancellation)
        })?;
        Ok(Self { inner })
    }

    /// The program as bytes, weights included.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.inner.plan().to_bytes()))
    }

    /// The client's part.
    fn client(&self, py: Python<'_>) -> PyResult<Client> {
        Ok(Client { inner: py.detach(|| client::Client::exact(self.inner.plan().interface.clone()))? })
    }

    /// A key set, as it was sent, made ready: once for each client.
    #[pyo3(signature = (data, threads=0))]
    fn prepare(
        &self,
        py: Python<'_>,
        data: &[u8],
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<PreparedKeys> {
        key_set::prepare(py, self.inner.contexts(), data, true, threads)
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
        let (program, contexts) = (&self.inner.plan().interface.arrangement.program, self.inner.contexts());
        let keys = keys.evaluation()?;
        let bytes = work::run(py, threads, |cancellation| {
            let image = unpack(program, contexts, data)?;
            pack(program, contexts, self.inner.run(&image, keys, cancellation)?)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// An answer that tells little of the weights but what it answers, flooded with all its noise budget.
    #[pyo3(signature = (data, keys, threads=0))]
    fn rerandomize<'py>(
        &self,
        py: Python<'py>,
        data: &[u8],
        keys: &PreparedKeys,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (program, contexts) = (&self.inner.plan().interface.arrangement.program, self.inner.contexts());
        let bytes = work::run(py, threads, |cancellation| {
            let answers = unpack(program, contexts, data)?;
            pack(program, contexts, self.inner.rerandomize(&answers, &keys.rerandomizers, cancellation)?)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Answers to flattened images: those of encryption, digit for digit.
    #[pyo3(signature = (images, threads=0))]
    fn simulate<'py>(
        &self,
        py: Python<'py>,
        images: PyReadonlyArray1<'_, f64>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let images = images.as_slice()?;
        let answers = work::run(py, threads, |_| self.inner.plan().simulate(images))?;
        Ok(answers.into_pyarray(py))
    }

    /// What the program takes: keys, bytes, memory, seconds, and the same of each step, with its noise budget.
    fn explain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let plan = self.inner.plan();
        let explanation = py.detach(|| plan.explain())?;
        let steps = PyList::empty(py);
        for (step, &budget) in explanation.steps.iter().zip(&explanation.budgets) {
            let row = PyDict::new(py);
            row.set_item("kind", &step.kind)?;
            row.set_item("layers", &step.layers)?;
            row.set_item("layout", &step.layout)?;
            row.set_item("primes", step.primes)?;
            row.set_item("noise_budget", budget)?;
            row.set_item("weights", step.weights)?;
            row.set_item("diagonals", step.diagonals)?;
            row.set_item("hoisted_rotations", step.hoisted)?;
            row.set_item("giant_rotations", step.giants)?;
            row.set_item("seconds", step.seconds)?;
            steps.append(row)?;
        }
        let report = PyDict::new(py);
        report.set_item("plain_moduli", &plan.interface.plain_moduli)?;
        report.set_item("input_scale_bits", plan.interface.input_scale.log2())?;
        report.set_item("input_layout", plan.tensors.first().map(|tensor| &tensor.layout))?;
        report.set_item("fresh_noise_budget", explanation.ends[0])?;
        report.set_item("reply_noise_budget", explanation.ends[1])?;
        report.set_item("reply_primes", plan.interface.reply)?;
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

/// One ciphertext for each context.
fn unpack(program: &Identity, contexts: &[Arc<Context>], data: &[u8]) -> Result<Vec<Ciphertext>> {
    let mut ciphertexts = Vec::with_capacity(contexts.len());
    for (context, message) in contexts.iter().zip(protocol::unbundle(program, data, contexts.len())?) {
        ciphertexts.extend(protocol::unpack(program, context, message, 1)?);
    }
    Ok(ciphertexts)
}

fn pack(program: &Identity, contexts: &[Arc<Context>], ciphertexts: Vec<Ciphertext>) -> Result<Vec<u8>> {
    let message = |(context, ciphertext): (&Arc<Context>, Ciphertext)| protocol::pack(program, context, &[ciphertext]);
    Ok(protocol::bundle(program, contexts.iter().zip(ciphertexts).map(message).collect::<Result<_>>()?))
}
