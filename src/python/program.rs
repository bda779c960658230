//! The server's side of every layout.

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use rayon::prelude::*;

use super::client::Client;
use super::context::Context;
use super::keys::SecretKey;
use super::network::{Network, NormalForm};
use super::{arguments, explanation, work};
use crate::encryption::Decryptor;
use crate::error::{Error, Result};
use crate::plan::batched::BatchedOptions;
use crate::plan::packed::PackedOptions;
use crate::plan::packed::exact::ExactOptions;
use crate::plan::per_value::{Digits, Fidelity, Recipe};
use crate::program::{self, Layout, PerValue};
use crate::protocol::{self, LIMIT};
use crate::scheme::Ciphertext;

/// A client's key set made ready for a program: once for each client.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct PreparedKeys {
    inner: program::PreparedKeys,
}

#[pymethods]
impl PreparedKeys {
    /// Bytes that they take in memory.
    #[getter]
    fn nbytes(&self) -> usize {
        self.inner.nbytes()
    }
}

/// A compiled network: weights and public parameters, no key.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct Program {
    inner: program::Program,
}

impl Program {
    /// What only the per-value layout does.
    fn per_value_only(&self, operation: &'static str) -> Result<&PerValue> {
        match self.inner.layout() {
            Layout::PerValue(own) => Ok(own),
            _ => Err(Error::Unsupported { operation, reason: "only per-value programs do that".into() }),
        }
    }
}

#[pymethods]
impl Program {
    /// Compiles a network for the packed layout, whole images in the slots of one ciphertext, choosing placements and
    /// parameters.
    #[staticmethod]
    #[pyo3(signature = (network, security=128, precision=12, images=1, threads=0))]
    fn packed(
        py: Python<'_>,
        network: &NormalForm,
        #[pyo3(from_py_with = arguments::count)] security: u32,
        #[pyo3(from_py_with = arguments::count)] precision: u32,
        #[pyo3(from_py_with = arguments::count)] images: usize,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Self> {
        let options = PackedOptions { security, precision, images };
        let compile = |cancellation: &_| program::Program::packed(&network.inner, options, cancellation);
        Ok(Self { inner: work::run(py, threads, compile)? })
    }

    /// Compiles a network over integers for the packed layout of BFV, which computes exactly, choosing integers, placements and
    /// parameters by flattened example images.
    #[staticmethod]
    #[pyo3(signature = (network, examples, security=128, precision=8, images=1, threads=0))]
    fn exact(
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
        let compile = |cancellation: &_| program::Program::exact(&network.inner, examples, options, cancellation);
        Ok(Self { inner: work::run(py, threads, compile)? })
    }

    /// Compiles a network for the batched layout, one value of many images in a ciphertext, choosing the smallest parameters.
    #[staticmethod]
    #[pyo3(signature = (network, security=128, precision=12, threads=0))]
    fn batched(
        py: Python<'_>,
        network: &NormalForm,
        #[pyo3(from_py_with = arguments::count)] security: u32,
        #[pyo3(from_py_with = arguments::count)] precision: u32,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Self> {
        let options = BatchedOptions { security, precision };
        let network = (*network.inner).clone();
        Ok(Self { inner: work::run(py, threads, |_| program::Program::batched(network, options))? })
    }

    /// Compiles a network of affine maps and squares for the per-value layout, one value of one image in a ciphertext; `fused`
    /// joins layers where that is cheaper. The digits of the answers to flattened example images say how much room a mask has
    /// beside them.
    #[staticmethod]
    #[pyo3(signature = (context, network, examples, base=2, integer_digits=64, fraction_digits=32, fused=true, threads=0))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn per_value(
        py: Python<'_>,
        context: &Context,
        network: &Network,
        examples: PyReadonlyArray1<'_, f64>,
        #[pyo3(from_py_with = arguments::count)] base: u64,
        #[pyo3(from_py_with = arguments::count)] integer_digits: usize,
        #[pyo3(from_py_with = arguments::count)] fraction_digits: usize,
        fused: bool,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Self> {
        let (network, parameters) = ((*network.inner).clone(), context.inner.parameters().clone());
        let digits = Digits { base, integer: integer_digits, fraction: fraction_digits };
        let fidelity = if fused { Fidelity::Fused } else { Fidelity::Layers };
        let examples = examples.as_slice()?;
        let inner = work::run(py, threads, |_| {
            program::Program::per_value(Recipe::new(network, parameters, digits, fidelity, examples)?)
        })?;
        Ok(Self { inner })
    }

    /// Per-value: the same program with another plaintext modulus.
    #[pyo3(signature = (p, threads=0))]
    fn with_plain_modulus(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = arguments::count)] p: u64,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Self> {
        let own = self.per_value_only("another plaintext modulus")?;
        let compile = |_: &_| program::Program::per_value(own.recipe.with_plain_modulus(p)?);
        Ok(Self { inner: work::run(py, threads, compile)? })
    }

    /// How many squares a ciphertext goes through.
    fn squares(&self) -> usize {
        self.inner.layout().squares()
    }

    /// Per-value: the largest digit of the answers to the examples that it was compiled with.
    fn largest_digit(&self) -> PyResult<u64> {
        Ok(self.per_value_only("digits")?.recipe.largest_digit)
    }

    /// A program from its bytes.
    #[staticmethod]
    #[pyo3(signature = (data, threads=0))]
    fn from_bytes(
        py: Python<'_>,
        data: &[u8],
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Self> {
        let read = |cancellation: &_| program::Program::from_bytes(data, LIMIT, cancellation);
        Ok(Self { inner: work::run(py, threads, read)? })
    }

    /// The program as bytes, weights included.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.inner.to_bytes()))
    }

    /// The client's part.
    fn client(&self, py: Python<'_>) -> PyResult<Client> {
        Ok(Client { inner: py.detach(|| self.inner.client())? })
    }

    /// A key set, as it was sent, made ready: once for each client.
    #[pyo3(signature = (data, threads=0))]
    fn prepare(
        &self,
        py: Python<'_>,
        data: &[u8],
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<PreparedKeys> {
        let inner = work::run(py, threads, |cancellation| self.inner.prepare(data, cancellation))?;
        Ok(PreparedKeys { inner })
    }

    /// Evaluates the encrypted images of one run; the packed layouts compute with keys.
    #[pyo3(signature = (data, keys=None, threads=0))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        data: &[u8],
        keys: Option<&PreparedKeys>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let keys = keys.map(|keys| &keys.inner);
        let bytes = work::run(py, threads, |cancellation| self.inner.run(data, keys, cancellation))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Answers that tell nothing of the weights but what they answer: their values flooded with noise of the deviation given,
    /// or with BFV, for which there is none, with all the noise budget that is left; per-value digits come under a mask.
    #[pyo3(signature = (data, keys, deviation=None, threads=0))]
    fn rerandomize<'py>(
        &self,
        py: Python<'py>,
        data: &[u8],
        keys: &PreparedKeys,
        deviation: Option<f64>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let hide = |cancellation: &_| self.inner.rerandomize(data, &keys.inner, deviation, cancellation);
        Ok(PyBytes::new(py, &work::run(py, threads, hide)?))
    }

    /// Answers to flattened images as decryption would give them: with BFV digit for digit, with CKKS with the noise that
    /// encryption would add, drawn from `seed`.
    #[pyo3(signature = (images, seed=0, threads=0))]
    fn simulate<'py>(
        &self,
        py: Python<'py>,
        images: PyReadonlyArray1<'_, f64>,
        #[pyo3(from_py_with = arguments::count)] seed: u64,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let images = images.as_slice()?;
        let answers = work::run(py, threads, |_| self.inner.layout().simulate(images, seed))?;
        Ok(answers.into_pyarray(py))
    }

    /// Per-value: as `simulate`, with digits that have outgrown the plaintext modulus decoded as they are.
    #[pyo3(signature = (images, threads=0))]
    fn simulate_unchecked<'py>(
        &self,
        py: Python<'py>,
        images: PyReadonlyArray1<'_, f64>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let (own, images) = (self.per_value_only("simulating outgrown digits")?, images.as_slice()?);
        Ok(work::run(py, threads, |_| own.simulate(images, false))?.into_pyarray(py))
    }

    /// What the program takes: keys, bytes, memory, seconds, and the same of each step.
    fn explain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        explanation::report(py, self.inner.layout())
    }

    /// Per-value: evaluates one image and tells the smallest noise budget, fresh and after each step, in bits: for this the
    /// secret key is needed, so it is the client's tool.
    #[pyo3(signature = (key, data, threads=0))]
    fn noise_budgets(
        &self,
        py: Python<'_>,
        key: &SecretKey,
        data: &[u8],
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Vec<(String, u32)>> {
        let (own, key) = (self.per_value_only("noise budgets of steps")?, key.inner.clone());
        work::run(py, threads, |cancellation| {
            let context = own.program.context();
            let image = protocol::unpack(&own.interface.program, context, data, own.program.inputs())?;
            let decryptor = Decryptor::new(context.clone(), &key)?;
            let smallest = |values: &[Ciphertext]| {
                let each = values.par_iter().map(|value| decryptor.noise_budget(value));
                each.try_reduce(|| u32::MAX, |a, b| Ok(a.min(b)))
            };
            let mut budgets = vec![("fresh".to_owned(), smallest(&image)?)];
            own.program.run_observed(&image.iter().collect::<Vec<_>>(), cancellation, |name, values| {
                budgets.push((name.to_owned(), smallest(values)?));
                Ok(())
            })?;
            Ok(budgets)
        })
    }
}
