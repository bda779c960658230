//! Encoders: arrays of numbers to lists of plaintexts and back.

use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

use super::arguments;
use super::context::Context;
use super::values::Plaintext;
use crate::encoding;
use crate::error::{Error, Result};
use crate::scheme;

/// BFV: real numbers by their digits in a base (the paper's encoding).
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct FractionalEncoder {
    pub inner: encoding::FractionalEncoder,
}

#[pymethods]
impl FractionalEncoder {
    #[new]
    #[pyo3(signature = (context, base=2, integer_digits=64, fraction_digits=32))]
    fn new(
        context: &Context,
        #[pyo3(from_py_with = arguments::count)] base: u64,
        #[pyo3(from_py_with = arguments::count)] integer_digits: usize,
        #[pyo3(from_py_with = arguments::count)] fraction_digits: usize,
    ) -> PyResult<Self> {
        let t = context.inner.parameters().plain_modulus();
        let inner = encoding::FractionalEncoder::new(context.inner.degree(), t, base, integer_digits, fraction_digits)?;
        Ok(Self { inner })
    }

    /// One plaintext for each number.
    fn encode(&self, py: Python<'_>, values: PyReadonlyArray1<'_, f64>) -> PyResult<Vec<Plaintext>> {
        let values = values.as_slice()?;
        wrapped(py.detach(|| self.inner.encode_all(values)))
    }

    /// The number of each plaintext, all of its digits counted.
    ///
    /// SEAL 2.3.1 leaves out those that products have put between the integer and the fraction digits, and so loses
    /// the third or fourth decimal after a few layers.
    fn decode<'py>(
        &self,
        py: Python<'py>,
        plaintexts: Vec<PyRef<'py, Plaintext>>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        decoded(py, &plaintexts, |p| self.inner.decode_all_digits(p))
    }
}

/// BFV: whole numbers by their digits in a base.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct IntegerEncoder {
    pub inner: encoding::IntegerEncoder,
}

#[pymethods]
impl IntegerEncoder {
    #[new]
    #[pyo3(signature = (context, base=2))]
    fn new(context: &Context, #[pyo3(from_py_with = arguments::count)] base: u64) -> PyResult<Self> {
        let t = context.inner.parameters().plain_modulus();
        Ok(Self { inner: encoding::IntegerEncoder::new(context.inner.degree(), t, base)? })
    }

    /// One plaintext for each number.
    fn encode(&self, py: Python<'_>, values: PyReadonlyArray1<'_, i64>) -> PyResult<Vec<Plaintext>> {
        let values = values.as_slice()?;
        wrapped(py.detach(|| Ok(values.iter().map(|&v| self.inner.encode(v)).collect())))
    }

    /// The number of each plaintext.
    fn decode<'py>(
        &self,
        py: Python<'py>,
        plaintexts: Vec<PyRef<'py, Plaintext>>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        decoded(py, &plaintexts, |p| self.inner.decode(p))
    }
}

/// BFV: whole numbers modulo the plaintext modulus, as constants.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct ScalarEncoder {
    pub inner: encoding::ConstantEncoder,
}

#[pymethods]
impl ScalarEncoder {
    #[new]
    fn new(context: &Context) -> PyResult<Self> {
        Ok(Self { inner: encoding::ConstantEncoder::new(context.inner.parameters().plain_modulus())? })
    }

    /// One plaintext for each number.
    fn encode(&self, py: Python<'_>, values: PyReadonlyArray1<'_, i64>) -> PyResult<Vec<Plaintext>> {
        let values = values.as_slice()?;
        let one = |(index, &value): (usize, &i64)| {
            self.inner.encode(value).map_err(|error| match error {
                Error::Unencodable { value, reason, .. } => Error::Unencodable { value, index, reason },
                other => other,
            })
        };
        wrapped(py.detach(|| values.iter().enumerate().map(one).collect()))
    }

    /// The number of each plaintext.
    fn decode<'py>(
        &self,
        py: Python<'py>,
        plaintexts: Vec<PyRef<'py, Plaintext>>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        decoded(py, &plaintexts, |p| self.inner.decode(p))
    }
}

/// BFV: up to N whole numbers modulo the plaintext modulus, one a slot.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct BatchEncoder {
    inner: encoding::BatchEncoder,
    /// for weights: the same number in every slot
    pub constants: encoding::ConstantEncoder,
}

#[pymethods]
impl BatchEncoder {
    #[new]
    fn new(context: &Context) -> PyResult<Self> {
        let inner = encoding::BatchEncoder::new(&context.inner)?;
        Ok(Self { constants: encoding::ConstantEncoder::new(inner.plain_modulus())?, inner })
    }

    /// One plaintext that holds all numbers.
    fn encode(&self, values: PyReadonlyArray1<'_, i64>) -> PyResult<Plaintext> {
        Ok(self.inner.encode(values.as_slice()?)?.into())
    }

    /// The numbers of all slots.
    fn decode<'py>(&self, py: Python<'py>, plaintext: &Plaintext) -> PyResult<Bound<'py, PyArray1<i64>>> {
        Ok(self.inner.decode(&plaintext.inner)?.into_pyarray(py))
    }
}

/// CKKS: real numbers, each in all slots of a plaintext of its own.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct CkksEncoder {
    pub inner: encoding::CkksEncoder,
    /// The factor between numbers and coefficients.
    #[pyo3(get)]
    scale: f64,
    context: Arc<scheme::Context>,
}

#[pymethods]
impl CkksEncoder {
    #[new]
    fn new(py: Python<'_>, context: &Context, scale: f64) -> PyResult<Self> {
        let context = context.inner.clone();
        let inner = py.detach(|| encoding::CkksEncoder::new(context.clone()))?;
        Ok(Self { inner, scale, context })
    }

    /// One plaintext for each number, at the highest level.
    fn encode(&self, py: Python<'_>, values: PyReadonlyArray1<'_, f64>) -> PyResult<Vec<Plaintext>> {
        let (values, primes) = (values.as_slice()?, self.context.data_primes());
        wrapped(py.detach(|| values.iter().map(|&v| self.inner.encode_constant(v, self.scale, primes)).collect()))
    }

    /// The number in the first slot of each plaintext.
    fn decode<'py>(
        &self,
        py: Python<'py>,
        plaintexts: Vec<PyRef<'py, Plaintext>>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        decoded(py, &plaintexts, |p| Ok(self.inner.decode(p)?[0]))
    }
}

fn wrapped(plaintexts: Result<Vec<scheme::Plaintext>>) -> PyResult<Vec<Plaintext>> {
    Ok(plaintexts?.into_iter().map(Into::into).collect())
}

fn decoded<'py, T: numpy::Element + Send>(
    py: Python<'py>,
    plaintexts: &[PyRef<'py, Plaintext>],
    decode: impl Fn(&scheme::Plaintext) -> Result<T> + Sync + Send,
) -> PyResult<Bound<'py, PyArray1<T>>> {
    let plaintexts: Vec<_> = plaintexts.iter().map(|p| p.inner.clone()).collect();
    let values = py.detach(|| plaintexts.iter().map(|p| decode(p)).collect::<Result<Vec<T>>>())?;
    Ok(values.into_pyarray(py))
}
