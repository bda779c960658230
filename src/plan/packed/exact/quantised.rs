//! A network over integers: its weights, biases and images at scales of their own, rounded.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::network::{AffineMap, IntegerAffine, scale_for_bits};
use crate::plan::NormalForm;

/// Most bits of a weight: they stay exact in double precision, with room.
const MOST_BITS: u32 = 40;

/// Examples on which rounding is judged.
const EXAMPLES: usize = 32;

/// Answers may exceed those of the examples by this factor.
const HEADROOM: f64 = 16.0;

/// Affine maps over integers, with squares between them.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantised {
    /// weights and biases are integers, which doubles hold exactly
    pub maps: Vec<AffineMap>,
    /// what images are multiplied by before they are rounded
    pub input_scale: f64,
    /// what answers are divided by
    pub output_scale: f64,
    /// no answer of an image like the examples is larger in magnitude
    pub bound: f64,
}

impl Quantised {
    /// Rounds a network so that each map's own rounding, and that of the images, changes no value of the examples by more
    /// than 2^-(precision + 1) of the largest of its layer. `images` are flattened examples, one at least.
    ///
    /// # Errors
    /// [`Error::ScaleOutOfRange`] where integers outgrow what can be held; [`Error::ShapeMismatch`].
    pub fn new(network: &NormalForm, images: &[f64], precision: u32) -> Result<Self> {
        let inputs = network.maps().first().map_or(1, AffineMap::inputs);
        let examples = spread(images, inputs);
        let input_scale = scale_for_bits(&examples, precision + 2)?;
        let rounded: Vec<f64> = examples.iter().map(|x| (x * input_scale).round()).collect();
        let (mut clear, mut scale) = (examples, input_scale);
        let mut maps = Vec::with_capacity(network.maps().len());
        for (i, (map, range)) in network.maps().iter().zip(network.ranges()).enumerate() {
            if i > 0 {
                clear.iter_mut().for_each(|x| *x *= *x);
                scale *= scale;
            }
            if !scale.is_finite() {
                return Err(too_large());
            }
            let exact = map.apply(&clear)?;
            let integers = round(map, scale, &clear, &exact, range * 0.5f64.powi(precision as i32 + 1))?;
            scale = integers.output_scale();
            maps.push(as_map(&integers)?);
            clear = exact;
        }
        let bound = bound(&maps, &rounded, (network.input_range() * input_scale).ceil())?;
        if !(scale.is_finite() && bound.is_finite()) {
            return Err(too_large());
        }
        Ok(Self { maps, input_scale, output_scale: scale, bound })
    }
}

fn too_large() -> Error {
    let reason = "the integers outgrow double precision; ask for less precision, or use CKKS".into();
    Error::ScaleOutOfRange { operation: "quantize", reason }
}

/// Some of the images, from first to last.
fn spread(images: &[f64], inputs: usize) -> Vec<f64> {
    let count = images.len() / inputs;
    let step = count.div_ceil(EXAMPLES).max(1);
    images.chunks_exact(inputs).step_by(step).flatten().copied().collect()
}

/// The map with as few bits a weight as keep its outputs for `inputs` within `error` of `exact`, or with as many as may be.
fn round(map: &AffineMap, input_scale: f64, inputs: &[f64], exact: &[f64], error: f64) -> Result<IntegerAffine> {
    let mut bits = 2;
    loop {
        let integers = map.quantize(map.weight_scale(bits)?, input_scale)?;
        if bits == MOST_BITS || largest_error(&integers, input_scale, inputs, exact) <= error {
            return Ok(integers);
        }
        bits += 1;
    }
}

fn largest_error(map: &IntegerAffine, input_scale: f64, inputs: &[f64], exact: &[f64]) -> f64 {
    let count = map.input_shape().iter().product();
    let (weight, output) = (1.0 / map.weight_scale(), 1.0 / (map.weight_scale() * input_scale));
    let of_image = |(image, exact): (&[f64], &[f64])| {
        let row = |((columns, weights, bias), exact): ((&[u32], &[i64], i128), &f64)| {
            let sum: f64 = columns.iter().zip(weights).map(|(&column, &w)| w as f64 * image[column as usize]).sum();
            (sum * weight + bias as f64 * output - exact).abs()
        };
        map.rows().zip(exact).map(row).fold(0.0, f64::max)
    };
    let images = inputs.par_chunks_exact(count).zip(exact.par_chunks_exact(map.outputs()));
    images.map(of_image).reduce(|| 0.0, f64::max)
}

/// The integers as doubles, which hold them exactly: weights are short, and biases were rounded from doubles.
fn as_map(map: &IntegerAffine) -> Result<AffineMap> {
    let weights: Vec<f64> = map.weights().iter().map(|&weight| weight as f64).collect();
    let bias: Vec<f64> = map.bias().iter().map(|&bias| bias as f64).collect();
    AffineMap::new(map.input_shape(), map.output_shape(), map.offsets(), map.columns(), &weights, &bias)
}

/// The largest |answer| to be expected: that of the examples with headroom, or of any image within their range where that is
/// less.
fn bound(maps: &[AffineMap], images: &[f64], largest_input: f64) -> Result<f64> {
    let mut values = images.to_vec();
    let mut worst = vec![largest_input; maps.first().map_or(0, AffineMap::inputs)];
    for (i, map) in maps.iter().enumerate() {
        if i > 0 {
            values.iter_mut().for_each(|x| *x *= *x);
            worst.iter_mut().for_each(|x| *x *= *x);
        }
        values = map.apply(&values)?;
        let row = |((columns, weights), bias): ((&[u32], &[f64]), &f64)| {
            let products = columns.iter().zip(weights).map(|(&column, weight)| weight.abs() * worst[column as usize]);
            products.sum::<f64>() + bias.abs()
        };
        worst = map.rows().zip(map.bias()).map(row).collect();
    }
    let largest = |values: &[f64]| values.iter().fold(1.0, |largest: f64, x| largest.max(x.abs()));
    Ok((HEADROOM * largest(&values)).min(largest(&worst)))
}
