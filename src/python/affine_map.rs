//! Affine maps between tensors.

use std::sync::Arc;

use numpy::{
    IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3, PyReadonlyArray4,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use super::{arguments, work};
use crate::network::affine::{self, Conv1d, Conv2d, Pool2d, Span};

/// One sparse matrix and a bias: a convolution, a pooling or a fully connected layer.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct AffineMap {
    pub inner: Arc<affine::AffineMap>,
}

impl From<affine::AffineMap> for AffineMap {
    fn from(map: affine::AffineMap) -> Self {
        Self { inner: Arc::new(map) }
    }
}

#[pymethods]
impl AffineMap {
    /// A two-dimensional convolution of images `[channels, y, x]` by weights `[filters, channels / groups, y, x]`.
    #[staticmethod]
    #[pyo3(signature = (input_shape, weights, bias=None, stride=[1, 1], padding=[0, 0], dilation=[1, 1], groups=1))]
    #[allow(clippy::too_many_arguments)]
    fn conv2d(
        py: Python<'_>,
        #[pyo3(from_py_with = arguments::count)] input_shape: [usize; 3],
        weights: PyReadonlyArray4<'_, f64>,
        bias: Option<PyReadonlyArray1<'_, f64>>,
        #[pyo3(from_py_with = arguments::count)] stride: [usize; 2],
        #[pyo3(from_py_with = arguments::count)] padding: [usize; 2],
        #[pyo3(from_py_with = arguments::count)] dilation: [usize; 2],
        #[pyo3(from_py_with = arguments::count)] groups: usize,
    ) -> PyResult<Self> {
        let shape = weights.shape().try_into()?;
        let (weights, bias) = (weights.as_slice()?, bias.as_ref().map(|b| b.as_slice()).transpose()?);
        let convolution = Conv2d { weights, shape, bias, stride, padding, dilation, groups };
        Ok(py.detach(|| affine::AffineMap::conv2d(input_shape, &convolution))?.into())
    }

    /// A one-dimensional convolution of signals `[channels, x]` by weights `[filters, channels / groups, x]`.
    #[staticmethod]
    #[pyo3(signature = (input_shape, weights, bias=None, stride=1, padding=0, dilation=1, groups=1))]
    #[allow(clippy::too_many_arguments)]
    fn conv1d(
        py: Python<'_>,
        #[pyo3(from_py_with = arguments::count)] input_shape: [usize; 2],
        weights: PyReadonlyArray3<'_, f64>,
        bias: Option<PyReadonlyArray1<'_, f64>>,
        #[pyo3(from_py_with = arguments::count)] stride: usize,
        #[pyo3(from_py_with = arguments::count)] padding: usize,
        #[pyo3(from_py_with = arguments::count)] dilation: usize,
        #[pyo3(from_py_with = arguments::count)] groups: usize,
    ) -> PyResult<Self> {
        let shape = weights.shape().try_into()?;
        let (weights, bias) = (weights.as_slice()?, bias.as_ref().map(|b| b.as_slice()).transpose()?);
        let convolution = Conv1d { weights, shape, bias, stride, padding, dilation, groups };
        Ok(py.detach(|| affine::AffineMap::conv1d(input_shape, &convolution))?.into())
    }

    /// Averages of images `[channels, y, x]` over windows; padded zeros count.
    #[staticmethod]
    #[pyo3(signature = (input_shape, kernel, stride, padding=[0, 0]))]
    fn avg_pool2d(
        #[pyo3(from_py_with = arguments::count)] input_shape: [usize; 3],
        #[pyo3(from_py_with = arguments::count)] kernel: [usize; 2],
        #[pyo3(from_py_with = arguments::count)] stride: [usize; 2],
        #[pyo3(from_py_with = arguments::count)] padding: [usize; 2],
    ) -> PyResult<Self> {
        Ok(affine::AffineMap::avg_pool2d(input_shape, &Pool2d { kernel, stride, padding })?.into())
    }

    /// Averages of images `[channels, y, x]` over one span of rows and one of columns an output, each given as
    /// `(start, end, divisor)`.
    #[staticmethod]
    fn average_spans(
        #[pyo3(from_py_with = arguments::count)] input_shape: [usize; 3],
        vertical: Vec<(usize, usize, usize)>,
        horizontal: Vec<(usize, usize, usize)>,
    ) -> PyResult<Self> {
        let spans = |spans: Vec<(usize, usize, usize)>| -> Vec<Span> {
            spans.into_iter().map(|(start, end, divisor)| Span { start, end, divisor }).collect()
        };
        Ok(affine::AffineMap::average_spans(input_shape, &spans(vertical), &spans(horizontal))?.into())
    }

    /// Zeros around images `[channels, y, x]`: `[[above, below], [left, right]]`.
    #[staticmethod]
    fn pad2d(
        #[pyo3(from_py_with = arguments::count)] input_shape: [usize; 3],
        #[pyo3(from_py_with = arguments::count)] padding: [[usize; 2]; 2],
    ) -> PyResult<Self> {
        Ok(affine::AffineMap::pad2d(input_shape, padding)?.into())
    }

    /// Batch normalisation with frozen statistics, by the first axis of `shape`.
    #[staticmethod]
    fn batch_norm(
        #[pyo3(from_py_with = arguments::count)] shape: Vec<usize>,
        gamma: PyReadonlyArray1<'_, f64>,
        beta: PyReadonlyArray1<'_, f64>,
        mean: PyReadonlyArray1<'_, f64>,
        variance: PyReadonlyArray1<'_, f64>,
        epsilon: f64,
    ) -> PyResult<Self> {
        let (gamma, beta) = (gamma.as_slice()?, beta.as_slice()?);
        Ok(affine::AffineMap::batch_norm(&shape, gamma, beta, mean.as_slice()?, variance.as_slice()?, epsilon)?.into())
    }

    /// One weight and one bias for every value, both flat.
    #[staticmethod]
    fn elementwise(
        #[pyo3(from_py_with = arguments::count)] shape: Vec<usize>,
        weights: PyReadonlyArray1<'_, f64>,
        bias: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<Self> {
        Ok(affine::AffineMap::elementwise(&shape, weights.as_slice()?, bias.as_slice()?)?.into())
    }

    /// The same map with its values seen under other shapes.
    fn reshaped(
        &self,
        #[pyo3(from_py_with = arguments::count)] input_shape: Vec<usize>,
        #[pyo3(from_py_with = arguments::count)] output_shape: Vec<usize>,
    ) -> PyResult<Self> {
        Ok((*self.inner).clone().reshaped(&input_shape, &output_shape)?.into())
    }

    /// The values of a tensor in one row.
    #[staticmethod]
    fn flatten(#[pyo3(from_py_with = arguments::count)] shape: Vec<usize>) -> PyResult<Self> {
        Ok(affine::AffineMap::flatten(&shape)?.into())
    }

    /// A fully connected layer by weights `[out, in]`.
    #[staticmethod]
    #[pyo3(signature = (weights, bias=None))]
    fn linear(
        py: Python<'_>,
        weights: PyReadonlyArray2<'_, f64>,
        bias: Option<PyReadonlyArray1<'_, f64>>,
    ) -> PyResult<Self> {
        let shape = weights.shape().try_into()?;
        let (weights, bias) = (weights.as_slice()?, bias.as_ref().map(|b| b.as_slice()).transpose()?);
        Ok(py.detach(|| affine::AffineMap::linear(weights, shape, bias))?.into())
    }

    /// W x + b of one tensor or of several, one after the other.
    #[pyo3(signature = (values, threads=0))]
    fn apply<'py>(
        &self,
        py: Python<'py>,
        values: PyReadonlyArray1<'py, f64>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let (map, values) = (self.inner.clone(), values.as_slice()?);
        Ok(work::run(py, threads, |_| map.apply(values))?.into_pyarray(py))
    }

    /// The shape of the tensor that the map takes.
    #[getter]
    fn input_shape(&self) -> Vec<usize> {
        self.inner.input_shape().to_vec()
    }

    /// The shape of the tensor that the map gives.
    #[getter]
    fn output_shape(&self) -> Vec<usize> {
        self.inner.output_shape().to_vec()
    }

    /// The number of weights that are not zero.
    #[getter]
    fn nonzeros(&self) -> usize {
        self.inner.nonzeros()
    }

    fn __repr__(&self) -> String {
        format!(
            "AffineMap({:?} to {:?}, {} weights)",
            self.inner.input_shape(),
            self.inner.output_shape(),
            self.inner.nonzeros()
        )
    }
}
