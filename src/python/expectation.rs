//! The error that a program states.

use numpy::{PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::arguments;
use crate::plan::expectation;

/// Twice the error that one of `answers` answers (1,000 at least) is expected to exceed, by the differences `[n, outputs]` of simulated
/// answers from the exact ones, to so many different images, of a network with so many squares one after the other.
#[pyfunction]
#[pyo3(signature = (differences, images, squares, answers))]
pub fn expected_error(
    differences: PyReadonlyArray2<'_, f64>,
    #[pyo3(from_py_with = arguments::count)] images: usize,
    #[pyo3(from_py_with = arguments::count)] squares: u32,
    #[pyo3(from_py_with = arguments::count)] answers: usize,
) -> PyResult<f64> {
    let outputs = differences.shape()[1];
    Ok(expectation::expected_error(differences.as_slice()?, outputs, images, squares, answers))
}
