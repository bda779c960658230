//! Affine maps on ciphertexts that hold one number each: weights are encoded as the numbers are.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use pyo3::prelude::*;
use rayon::prelude::*;

use super::affine_map::AffineMap;
use super::context::Context;
use super::encoders::{BatchEncoder, CkksEncoder, FractionalEncoder, IntegerEncoder, ScalarEncoder};
use super::values::Ciphertext;
use super::work;
use crate::encoding::{self, ConstantEncoder};
use crate::encryption::PlainScaling;
use crate::error::{Error, Result};
use crate::evaluator::Evaluator;
use crate::evaluator::batched::{ScalarAffine, ScalarMatrix, Segment, Step};
use crate::evaluator::encoded::{EncodedMap, SparsePolynomial};
use crate::network::affine::AffineMap as Map;
use crate::scheme::{self, Form, Scheme};

/// How the numbers in the ciphertexts, and so the weights, are encoded.
#[derive(FromPyObject)]
pub enum Encoder<'py> {
    Fractional(PyRef<'py, FractionalEncoder>),
    Integer(PyRef<'py, IntegerEncoder>),
    Scalar(PyRef<'py, ScalarEncoder>),
    Batch(PyRef<'py, BatchEncoder>),
    Ckks(PyRef<'py, CkksEncoder>),
}

/// What the ciphertexts hold beside their numbers.
#[derive(Clone, Copy)]
struct Factors {
    /// they hold this many times their numbers
    divisor: f64,
    /// CKKS: the scale of the weights
    weight_scale: f64,
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
    threads: usize,
) -> PyResult<Vec<Ciphertext>> {
    let inputs: Vec<_> = inputs.iter().map(|c| c.as_ref().map(|c| c.inner.clone())).collect();
    let (context, map, factors) = (context.inner.clone(), affine_map.inner.clone(), Factors { divisor, weight_scale });
    let outputs = match encoder {
        Encoder::Fractional(encoder) => {
            let encode = |value: f64| sparse(&encoder.inner.digits(value)?);
            let encoded = encoded_map(&context, &map, factors, encode)?;
            run_encoded(py, threads, &context, &encoded, &inputs)?
        }
        Encoder::Integer(encoder) => {
            let encode = |value: f64| sparse(&encoder.inner.digits(whole(value)?));
            let encoded = encoded_map(&context, &map, factors, encode)?;
            run_encoded(py, threads, &context, &encoded, &inputs)?
        }
        Encoder::Scalar(encoder) => run_constants(py, threads, &context, &encoder.inner, &map, factors, &inputs)?,
        Encoder::Batch(encoder) => run_constants(py, threads, &context, &encoder.constants, &map, factors, &inputs)?,
        Encoder::Ckks(encoder) => {
            let encoder = &encoder.inner;
            let scale = first(&inputs).map_or(1.0, |c| c.scale()) * weight_scale;
            run_segments(py, threads, &context, &map, &inputs, scale, |primes| {
                ckks_segment(encoder, &map, factors, scale, primes)
            })?
        }
    };
    Ok(outputs.into_iter().map(Into::into).collect())
}

type Inputs = [Option<Arc<scheme::Ciphertext>>];

fn first(inputs: &Inputs) -> Option<&scheme::Ciphertext> {
    inputs.iter().flatten().map(|c| &**c).next()
}

// Polynomial weights: the digits of numbers.

fn sparse(digits: &[(usize, i64)]) -> Result<SparsePolynomial> {
    Ok(SparsePolynomial { terms: digits.iter().map(|&(exponent, digit)| (exponent as u32, digit)).collect() })
}

/// A weight or bias as a whole number.
fn whole(value: f64) -> Result<i64> {
    if value.fract() == 0.0 && value.abs() < 2f64.powi(63) {
        return Ok(value as i64);
    }
    let reason =
        "whole numbers are encrypted here: scale and round weights and biases, or use an encoding for fractions";
    Err(Error::Unencodable { value, index: 0, reason: reason.into() })
}

/// Distinct values in order of appearance, and for each value its place among them.
fn distinct(values: impl Iterator<Item = f64>) -> (Vec<f64>, Vec<u32>) {
    let (mut table, mut places) = (Vec::new(), HashMap::new());
    let at = values
        .map(|value| {
            *places.entry(value.to_bits()).or_insert_with(|| {
                table.push(value);
                table.len() as u32 - 1
            })
        })
        .collect();
    (table, at)
}

fn encoded_map(
    context: &Arc<scheme::Context>,
    map: &Map,
    factors: Factors,
    encode: impl Fn(f64) -> Result<SparsePolynomial>,
) -> Result<EncodedMap> {
    let (weights, entries) = map.distinct_weights();
    let (biases, bias_of) = distinct(map.bias().iter().map(|b| b * factors.divisor));
    let weights: Vec<_> = weights.into_iter().map(&encode).collect::<Result<_>>()?;
    let biases = biases.into_iter().map(&encode).collect::<Result<_>>()?;
    EncodedMap::new(context, map.inputs(), map.offsets(), map.columns().to_vec(), entries, &weights, biases, bias_of)
}

fn run_encoded(
    py: Python<'_>,
    threads: usize,
    context: &Arc<scheme::Context>,
    map: &EncodedMap,
    inputs: &Inputs,
) -> PyResult<Vec<scheme::Ciphertext>> {
    work::run(py, threads, |cancellation| {
        let inputs = alike(context, inputs, None)?;
        let images = images(&inputs, map.inputs())?;
        let outputs = images.map(|image| map.apply(&image, cancellation)).collect::<Result<Vec<_>>>()?;
        Ok(outputs.into_iter().flatten().collect())
    })
}

// Integer weights: constants, the same in every slot.

/// One map for every image, made for the level of the ciphertexts.
fn run_segments(
    py: Python<'_>,
    threads: usize,
    context: &Arc<scheme::Context>,
    map: &Map,
    inputs: &Inputs,
    scale: f64,
    segment: impl FnOnce(usize) -> Result<Segment> + Send,
) -> PyResult<Vec<scheme::Ciphertext>> {
    work::run(py, threads, |cancellation| {
        let form = match context.parameters().scheme() {
            Scheme::Bfv => Form::Coefficient,
            Scheme::Ckks => Form::Ntt,
        };
        let inputs = alike(context, inputs, Some(form))?;
        let segment = segment(inputs.first().map_or(context.data_primes(), |c| c.primes()))?;
        let images = images(&inputs, map.inputs())?;
        let outputs =
            images.map(|image| segment.run(context, &image, scale, cancellation)).collect::<Result<Vec<_>>>()?;
        Ok(outputs.into_iter().flatten().collect())
    })
}

fn run_constants(
    py: Python<'_>,
    threads: usize,
    context: &Arc<scheme::Context>,
    encoder: &ConstantEncoder,
    map: &Map,
    factors: Factors,
    inputs: &Inputs,
) -> PyResult<Vec<scheme::Ciphertext>> {
    let segment = |primes| bfv_segment(context, encoder, map, factors, primes);
    run_segments(py, threads, context, map, inputs, 1.0, segment)
}

fn bfv_segment(
    context: &scheme::Context,
    encoder: &ConstantEncoder,
    map: &Map,
    factors: Factors,
    primes: usize,
) -> Result<Segment> {
    let constant = |value: f64| -> Result<u64> {
        match encoder.encode(whole(value)?)? {
            scheme::Plaintext::Bfv(coefficients) => Ok(coefficients.first().copied().unwrap_or(0)),
            scheme::Plaintext::Ckks { .. } => {
                Err(Error::ParametersMismatch { operation: "affine map", object: "encoder" })
            }
        }
    };
    let weights = map.weights().iter().map(|&w| constant(w).and(whole(w))).collect::<Result<Vec<_>>>()?;
    let scaling = PlainScaling::new(context, primes)
        .ok_or(Error::ParametersMismatch { operation: "affine map", object: "encoder" })?;
    let residues = |bias: f64| {
        // A message of one coefficient, in polynomials of one.
        let mut scaled = vec![0; primes];
        scaling.add(&[constant(bias * factors.divisor)?], &mut scaled);
        Ok(scaled)
    };
    integer_segment(map, weights, biases(map, residues)?)
}

fn ckks_segment(
    encoder: &encoding::CkksEncoder,
    map: &Map,
    factors: Factors,
    scale: f64,
    primes: usize,
) -> Result<Segment> {
    let quantized = |weight: f64| {
        let scaled = (weight * factors.weight_scale / factors.divisor).round();
        if scaled.abs() < MAX_INTEGER as f64 {
            return Ok(scaled as i64);
        }
        let reason =
            format!("a weight of {weight} at scale 2^{:.1} has more than 60 bits", factors.weight_scale.log2());
        Err(Error::ScaleOutOfRange { operation: "affine map", reason })
    };
    let weights = map.weights().iter().map(|&w| quantized(w)).collect::<Result<Vec<_>>>()?;
    let residues = |bias: f64| match encoder.encode_constant(bias, scale, primes)? {
        scheme::Plaintext::Ckks { data, .. } => Ok(data.chunks_exact(data.len() / primes).map(|row| row[0]).collect()),
        scheme::Plaintext::Bfv(_) => Err(Error::ParametersMismatch { operation: "affine map", object: "encoder" }),
    };
    integer_segment(map, weights, biases(map, residues)?)
}

/// The residues of each output's bias, `[output][prime]`; none where all biases are zero.
fn biases(map: &Map, residues: impl Fn(f64) -> Result<Vec<u64>>) -> Result<Vec<u64>> {
    if map.bias().iter().all(|&b| b == 0.0) {
        return Ok(Vec::new());
    }
    let (table, bias_of) = distinct(map.bias().iter().copied());
    let table = table.into_iter().map(residues).collect::<Result<Vec<_>>>()?;
    Ok(bias_of.iter().flat_map(|&at| table[at as usize].iter().copied()).collect())
}

/// The largest weight, exclusive: two limbs of 30 bits.
const MAX_INTEGER: i64 = 1 << 60;

/// A segment with weights of up to 60 bits: those that a matrix does not take are split, high and low limb each give
/// a sum of their own, and a second map puts the two together.
fn integer_segment(map: &Map, weights: Vec<i64>, bias: Vec<u64>) -> Result<Segment> {
    const LIMB: i64 = ScalarMatrix::MAX_WEIGHT;
    let step = |matrix, bias: Vec<u64>| {
        Ok(Step::Affine(if bias.is_empty() { ScalarAffine::linear(matrix) } else { ScalarAffine::new(matrix, bias)? }))
    };
    if weights.iter().all(|w| w.abs() <= LIMB) {
        let matrix = ScalarMatrix::new(map.inputs(), map.offsets(), map.columns(), &weights)?;
        return Segment::new(map.inputs(), vec![step(matrix, bias)?]);
    }
    let (mut offsets, mut columns, mut limbs) = (vec![0], Vec::new(), Vec::new());
    for bounds in map.offsets().windows(2) {
        let row = bounds[0]..bounds[1];
        for limb in [|w: i64| (w + LIMB / 2).div_euclid(LIMB), |w: i64| (w + LIMB / 2).rem_euclid(LIMB) - LIMB / 2] {
            columns.extend_from_slice(&map.columns()[row.clone()]);
            limbs.extend(weights[row.clone()].iter().map(|&w| limb(w)));
            offsets.push(columns.len());
        }
    }
    let rows = map.outputs();
    let pairs: Vec<usize> = (0..=rows).map(|row| 2 * row).collect();
    let both: Vec<u32> = (0..2 * rows as u32).collect();
    let join = ScalarMatrix::new(2 * rows, &pairs, &both, &[LIMB, 1].repeat(rows))?;
    let split = ScalarMatrix::new(map.inputs(), &offsets, &columns, &limbs)?;
    Segment::new(map.inputs(), vec![step(split, Vec::new())?, step(join, bias)?])
}

// Inputs.

/// The images of a batch, each `len` ciphertexts.
fn images<'a>(
    inputs: &'a [Cow<'a, scheme::Ciphertext>],
    len: usize,
) -> Result<impl Iterator<Item = Vec<&'a scheme::Ciphertext>>> {
    if !inputs.len().is_multiple_of(len) {
        return Err(Error::ShapeMismatch {
            operation: "affine map",
            expected: format!("images of {len} ciphertexts"),
            got: vec![inputs.len()],
        });
    }
    Ok(inputs.chunks_exact(len).map(|image| image.iter().map(|c| &**c).collect()))
}

/// All inputs with as many polynomials as the largest, and zeros for those that are not there; in `form`, if given.
fn alike<'a>(
    context: &Arc<scheme::Context>,
    inputs: &'a Inputs,
    form: Option<Form>,
) -> Result<Vec<Cow<'a, scheme::Ciphertext>>> {
    let (primes, scale) = first(inputs).map_or((context.data_primes(), 1.0), |c| (c.primes(), c.scale()));
    let size = inputs.iter().flatten().map(|c| c.size()).max().unwrap_or(2);
    let evaluator = LazyLock::new(|| Evaluator::new(context.clone()));
    let one = |input: &'a Option<Arc<scheme::Ciphertext>>| {
        let Some(input) = input else {
            return Ok(Cow::Owned(scheme::Ciphertext::zero(context, size, primes, form.unwrap_or(Form::Ntt), scale)));
        };
        let input = match form {
            Some(Form::Ntt) if input.form() == Form::Coefficient => Cow::Owned(evaluator.to_ntt(input)?),
            Some(Form::Coefficient) if input.form() == Form::Ntt => Cow::Owned(evaluator.to_coefficients(input)?),
            _ => Cow::Borrowed(&**input),
        };
        if input.size() == size || input.degree() != context.degree() {
            return Ok(input);
        }
        let mut longer = scheme::Ciphertext::zero(context, size, input.primes(), input.form(), input.scale());
        longer.data_mut()[..input.data().len()].copy_from_slice(input.data());
        Ok(Cow::Owned(longer))
    };
    inputs.par_iter().map(one).collect()
}
