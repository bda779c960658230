//! Networks in clear.

use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

use super::affine_map::AffineMap;
use super::work;
use crate::network::{self, Activation, Layer};

/// What a layer does: an affine map, or a polynomial given by its coefficients, constant first.
#[derive(FromPyObject)]
pub enum Operation<'py> {
    Affine(PyRef<'py, AffineMap>),
    Polynomial(Vec<f64>),
}

/// A chain of affine maps and polynomials.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct Network {
    pub inner: Arc<network::Network>,
}

#[pymethods]
impl Network {
    /// A network from its layers, each a name and an operation.
    #[new]
    fn new(input_shape: Vec<usize>, layers: Vec<(String, Operation<'_>)>) -> PyResult<Self> {
        let layer = |(name, operation): (String, Operation<'_>)| {
            Ok(match operation {
                Operation::Affine(map) => Layer::affine(name, (*map.inner).clone()),
                Operation::Polynomial(coefficients) if coefficients == [0.0, 0.0, 1.0] => {
                    Layer::activation(name, Activation::Square)
                }
                Operation::Polynomial(coefficients) => Layer::activation(name, Activation::polynomial(&coefficients)?),
            })
        };
        let layers = layers.into_iter().map(layer).collect::<crate::Result<_>>()?;
        Ok(Self { inner: Arc::new(network::Network::new(&input_shape, layers)?) })
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
        threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let images = images.as_slice()?;
        Ok(work::run(py, threads, |_| self.inner.evaluate(images))?.into_pyarray(py))
    }
}
