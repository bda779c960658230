//! The per-value layout for a server.

use std::sync::OnceLock;

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use rayon::prelude::*;

use super::client::Client;
use super::context::Context;
use super::key_set::{self, PreparedKeys};
use super::keys::SecretKey;
use super::network::Network;
use super::{arguments, work};
use crate::client;
use crate::encryption::Decryptor;
use crate::encryption::transport::{polynomial_bytes, public_key_bytes};
use crate::error::Result;
use crate::network::{PlainRing, Simulator};
use crate::plan::per_value::{self, Digits, Fidelity, Interface, Recipe};
use crate::protocol::{self, LIMIT};
use crate::scheme::Ciphertext;

/// A network compiled for the per-value layout: one value of one image in a ciphertext.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct PerValueProgram {
    inner: per_value::PerValueProgram,
    recipe: Recipe,
    interface: Interface,
    /// seconds of a run on one core, once they were asked for
    seconds: OnceLock<f64>,
}

impl PerValueProgram {
    fn compile(recipe: Recipe) -> Result<Self> {
        let (inner, interface) = recipe.compile()?;
        Ok(Self { inner, recipe, interface, seconds: OnceLock::new() })
    }

    fn simulated(&self, images: &[f64], checked: bool) -> Result<Vec<f64>> {
        let encoder = self.interface.encoder()?;
        let parameters = &self.interface.parameters;
        let ring = PlainRing::new(parameters.degree(), parameters.plain_modulus())?;
        let simulator = Simulator::new(self.inner.computed_network(), ring, encoder.clone())?;
        if checked {
            simulator.predict(images, |plaintext| encoder.decode_checked(plaintext))
        } else {
            simulator.predict(images, |plaintext| encoder.decode_all_digits(plaintext))
        }
    }

    fn unpack(&self, data: &[u8]) -> Result<Vec<Ciphertext>> {
        protocol::unpack(&self.interface.program, self.inner.context(), data, self.inner.inputs())
    }
}

#[pymethods]
impl PerValueProgram {
    /// Compiles a network of affine maps and squares; `fused` joins layers where that is cheaper.
    #[new]
    #[pyo3(signature = (context, network, base=2, integer_digits=64, fraction_digits=32, fused=true))]
    fn new(
        py: Python<'_>,
        context: &Context,
        network: &Network,
        #[pyo3(from_py_with = arguments::count)] base: u64,
        #[pyo3(from_py_with = arguments::count)] integer_digits: usize,
        #[pyo3(from_py_with = arguments::count)] fraction_digits: usize,
        fused: bool,
    ) -> PyResult<Self> {
        let recipe = Recipe {
            network: (*network.inner).clone(),
            parameters: context.inner.parameters().clone(),
            digits: Digits { base, integer: integer_digits, fraction: fraction_digits },
            fidelity: if fused { Fidelity::Fused } else { Fidelity::Layers },
        };
        Ok(py.detach(|| Self::compile(recipe))?)
    }

    /// A program from its bytes.
    #[staticmethod]
    #[pyo3(signature = (data, threads=0))]
    fn from_bytes(
        py: Python<'_>,
        data: &[u8],
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Self> {
        work::run(py, threads, |_| Self::compile(Recipe::from_bytes(data, LIMIT)?))
    }

    /// The program as bytes, weights included.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.recipe.to_bytes()))
    }

    /// The client's part.
    fn client(&self, py: Python<'_>) -> PyResult<Client> {
        Ok(Client { inner: py.detach(|| client::Client::per_value(self.interface.clone()))? })
    }

    /// The names of the steps, each with the layers that it computes.
    #[getter]
    fn steps(&self) -> Vec<String> {
        self.inner.step_names().map(str::to_owned).collect()
    }

    /// What the program takes: bytes, memory, seconds, and the names of its steps.
    fn explain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let seconds = match self.seconds.get() {
            Some(&seconds) => seconds,
            None => {
                let seconds = work::run(py, 1, |_| self.recipe.seconds(&self.inner))?;
                *self.seconds.get_or_init(|| seconds)
            }
        };
        let parameters = &self.interface.parameters;
        let polynomial = polynomial_bytes(parameters, parameters.data_moduli().len());
        let outputs: usize = self.interface.output_shape.iter().product();
        let steps = PyList::empty(py);
        for name in self.inner.step_names() {
            let row = PyDict::new(py);
            row.set_item("kind", name)?;
            steps.append(row)?;
        }
        let report = PyDict::new(py);
        report.set_item("key_bytes", public_key_bytes(parameters))?;
        let bytes_up = self.inner.inputs() * polynomial;
        report.set_item("bytes_up", bytes_up)?;
        report.set_item("memory_bytes", 2 * bytes_up + 8 * self.inner.largest_words())?;
        report.set_item("seconds", seconds)?;
        report.set_item("bytes_down", outputs * ((1 << self.inner.squares()) + 1) * polynomial)?;
        report.set_item("steps", steps)?;
        Ok(report)
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

    /// Evaluates one encrypted image.
    #[pyo3(signature = (data, threads=0))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        data: &[u8],
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = work::run(py, threads, |cancellation| {
            let image = self.unpack(data)?;
            let answer = self.inner.run(&image.iter().collect::<Vec<_>>(), cancellation)?;
            protocol::pack(&self.interface.program, self.inner.context(), &answer)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Answers that tell nothing of the weights but what they answer: flooded with all the noise budget that is left.
    #[pyo3(signature = (data, keys, threads=0))]
    fn rerandomize<'py>(
        &self,
        py: Python<'py>,
        data: &[u8],
        keys: &PreparedKeys,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (program, context) = (&self.interface.program, self.inner.context());
        let bytes = work::run(py, threads, |cancellation| {
            let answers = protocol::unpack(program, context, data, self.interface.output_shape.iter().product())?;
            let hidden = self.inner.rerandomize(&answers, &keys.rerandomizers[0], cancellation)?;
            protocol::pack(program, context, &hidden)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Evaluates one image and tells the smallest noise budget, fresh and after each step, in bits: for this the secret key is
    /// needed, so it is the client's tool.
    #[pyo3(signature = (key, data, threads=0))]
    fn noise_budgets(
        &self,
        py: Python<'_>,
        key: &SecretKey,
        data: &[u8],
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Vec<(String, u32)>> {
        let key = key.inner.clone();
        work::run(py, threads, |cancellation| {
            let image = self.unpack(data)?;
            let decryptor = Decryptor::new(self.inner.context().clone(), &key)?;
            let smallest = |values: &[Ciphertext]| {
                let each = values.par_iter().map(|value| decryptor.noise_budget(value));
                each.try_reduce(|| u32::MAX, |a, b| Ok(a.min(b)))
            };
            let mut budgets = vec![("fresh".to_owned(), smallest(&image)?)];
            self.inner.run_observed(&image.iter().collect::<Vec<_>>(), cancellation, |name, values| {
                budgets.push((name.to_owned(), smallest(values)?));
                Ok(())
            })?;
            Ok(budgets)
        })
    }

    /// Answers to flattened images, computed exactly in the plaintext ring: digit for digit what decryption gives.
    /// Digits that have outgrown the plaintext modulus are an error, or, unchecked, decoded as they are.
    #[pyo3(signature = (images, threads=0, checked=true))]
    fn simulate<'py>(
        &self,
        py: Python<'py>,
        images: PyReadonlyArray1<'_, f64>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
        checked: bool,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let images = images.as_slice()?;
        let answers = work::run(py, threads, |_| self.simulated(images, checked))?;
        Ok(answers.into_pyarray(py))
    }
}
