//! Affine maps on ciphertexts that hold one number each.

use pyo3::prelude::*;

use super::affine_map::AffineMap;
use super::context::Context;
use super::encoders::{BatchEncoder, CkksEncoder, FractionalEncoder, IntegerEncoder, ScalarEncoder};
use super::values::Ciphertext;
use super::{arguments, work};
use crate::plan::layer::{Encoding, Layer};

/// How the numbers in the ciphertexts, and so the weights, are encoded.
#[derive(FromPyObject)]
pub enum Encoder<'py> {
    Fractional(PyRef<'py, FractionalEncoder>),
    Integer(PyRef<'py, IntegerEncoder>),
    Scalar(PyRef<'py, ScalarEncoder>),
    Batch(PyRef<'py, BatchEncoder>),
    Ckks(PyRef<'py, CkksEncoder>),
}

impl Encoder<'_> {
    fn encoding(&self) -> Encoding<'_> {
        match self {
            Encoder::Fractional(encoder) => Encoding::Fractional(&encoder.inner),
            Encoder::Integer(encoder) => Encoding::Integer(&encoder.inner),
            Encoder::Scalar(encoder) => Encoding::Constant(&encoder.inner),
            Encoder::Batch(encoder) => Encoding::Constant(&encoder.constants),
            Encoder::Ckks(encoder) => Encoding::Ckks(&encoder.inner),
        }
    }
}

/// Maps each image of a batch. None stands for a ciphertext of zero.
///
/// Ciphertexts that hold `divisor` times their numbers still do so afterwards in BFV; in CKKS the weights are divided
/// by it, and the scale is multiplied by `weight_scale`.
#[pyfunction]
#[pyo3(signature = (context, encoder, affine_map, inputs, divisor=1.0, weight_scale=1.0, threads=0))]
#[allow(clippy::too_many_arguments)]
pub fn affine(
    py: Python<'_>,
    context: &Context,
    encoder: Encoder<'_>,
    affine_map: &AffineMap,
    inputs: Vec<Option<PyRef<'_, Ciphertext>>>,
    divisor: f64,
    weight_scale: f64,
    #[pyo3(from_py_with = arguments::threads)] threads: usize,
) -> PyResult<Vec<Ciphertext>> {
    let inputs: Vec<_> = inputs.iter().map(|c| c.as_ref().map(|c| c.inner.clone())).collect();
    let (context, map) = (context.inner.clone(), affine_map.inner.clone());
    let layer = Layer { map: &map, encoding: encoder.encoding(), divisor, weight_scale };
    let outputs = work::run(py, threads, |cancellation| {
        let inputs: Vec<_> = inputs.iter().map(Option::as_deref).collect();
        layer.run(&context, &inputs, cancellation)
    })?;
    Ok(outputs.into_iter().map(Into::into).collect())
}
