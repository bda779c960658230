//! Networks in clear.

use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::affine_map::AffineMap;
use super::{arguments, work};
use crate::network::{self, Activation, Layer, MAX_NESTING};
use crate::plan;
use crate::plan::envelope::{self, Kind};
use crate::protocol::LIMIT;

/// The layers of a branch, each a name and what [`Operation`] reads: unread, so that reading goes no deeper than asked.
type Branch<'py> = Vec<(String, Bound<'py, PyAny>)>;

/// What a layer does: an affine map, the two branches of a residual block, or a polynomial given by its coefficients,
/// constant first.
#[derive(FromPyObject)]
pub enum Operation<'py> {
    Affine(PyRef<'py, AffineMap>),
    Residual(Branch<'py>, Branch<'py>),
    Polynomial(Vec<f64>),
}

/// The layers of a chain around which `nesting` residual blocks stand.
fn read(chain: Branch<'_>, nesting: usize) -> PyResult<Vec<Layer>> {
    let layer = |(name, operation): (String, Bound<'_, PyAny>)| {
        Ok(match operation.extract()? {
            Operation::Affine(map) => Layer::affine(name, (*map.inner).clone()),
            // The network refuses blocks that stand too deep, here without branches.
            Operation::Residual(..) if nesting > MAX_NESTING => Layer::residual(name, Vec::new(), Vec::new()),
            Operation::Residual(body, shortcut) => {
                Layer::residual(name, read(body, nesting + 1)?, read(shortcut, nesting + 1)?)
            }
            Operation::Polynomial(coefficients) if coefficients == [0.0, 0.0, 1.0] => {
                Layer::activation(name, Activation::Square)
            }
            Operation::Polynomial(coefficients) => Layer::activation(name, Activation::polynomial(&coefficients)?),
        })
    };
    chain.into_iter().map(layer).collect()
}

/// A network as the CKKS layouts compile it, with the ranges of its values.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct NormalForm {
    pub inner: Arc<plan::NormalForm>,
}

#[pymethods]
impl NormalForm {
    /// The normal form of a network; `examples` are flattened images by which the ranges of values are known.
    #[new]
    #[pyo3(signature = (network, examples, threads=0))]
    fn new(
        py: Python<'_>,
        network: &Network,
        examples: PyReadonlyArray1<'_, f64>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Self> {
        let examples = examples.as_slice()?;
        let inner = work::run(py, threads, |_| plan::NormalForm::new(&network.inner, examples))?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Squares one after the other.
    #[getter]
    fn squares(&self) -> usize {
        self.inner.maps().len() - 1
    }

    /// The largest magnitude of the input and of each map's output.
    #[getter]
    fn ranges(&self) -> Vec<f64> {
        [self.inner.input_range()].iter().chain(self.inner.ranges()).copied().collect()
    }

    /// The form in parts that begin at the maps of these numbers.
    fn split(&self, cuts: Vec<usize>) -> PyResult<Vec<Self>> {
        Ok(self.inner.split(&cuts)?.into_iter().map(|part| Self { inner: Arc::new(part) }).collect())
    }

    /// The form as a network.
    fn network(&self) -> PyResult<Network> {
        Ok(Network { inner: Arc::new(self.inner.network()?) })
    }
}

/// A chain of affine maps, polynomials and residual blocks.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct Network {
    pub inner: Arc<network::Network>,
}

#[pymethods]
impl Network {
    /// A network from its layers, each a name and an operation: an affine map, the coefficients of a polynomial, or a
    /// residual block as its body and its shortcut, which are lists of layers.
    #[new]
    fn new(#[pyo3(from_py_with = arguments::count)] input_shape: Vec<usize>, layers: Branch<'_>) -> PyResult<Self> {
        let layers = read(layers, 0)?;
        Ok(Self { inner: Arc::new(network::Network::new(&input_shape, layers)?) })
    }

    /// A network from its bytes.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        Ok(Self { inner: Arc::new(py.detach(|| envelope::open(Kind::Network, data, LIMIT))?) })
    }

    /// The network as bytes.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| envelope::seal(Kind::Network, &*self.inner)))
    }

    /// The shape of one image.
    #[getter]
    fn input_shape(&self) -> Vec<usize> {
        self.inner.input_shape().to_vec()
    }

    /// The shape of one answer.
    #[getter]
    fn output_shape(&self) -> Vec<usize> {
        self.inner.output_shape().to_vec()
    }

    /// Flattened images to flattened answers, in double precision.
    #[pyo3(signature = (images, threads=0))]
    fn evaluate<'py>(
        &self,
        py: Python<'py>,
        images: PyReadonlyArray1<'_, f64>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let images = images.as_slice()?;
        Ok(work::run(py, threads, |_| self.inner.evaluate(images))?.into_pyarray(py))
    }
}
