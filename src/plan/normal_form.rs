//! What the CKKS layouts compile: a network as affine maps with squares between them, and how large its values become.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::alternation::alternation;
use super::envelope::ensure;
use crate::error::{Error, Result};
use crate::network::{AffineMap, Network};

/// Affine maps with squares between them that compute what a network computes, with the largest |value| of the input and
/// of each map's output, measured on examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NormalForm {
    input_shape: Vec<usize>,
    output_shape: Vec<usize>,
    maps: Vec<AffineMap>,
    input_range: f64,
    ranges: Vec<f64>,
}

impl NormalForm {
    /// The normal form of a network; `images` (`[n][inputs]`, flattened) are examples by which the ranges are known.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where there is no whole image, [`Error::Unsupported`] for polynomials and blocks that have
    /// no such form.
    pub fn new(network: &Network, images: &[f64]) -> Result<Self> {
        if images.is_empty() {
            return Err(Error::ShapeMismatch {
                operation: "calibration",
                expected: format!("at least one image of {} values", network.inputs()),
                got: vec![0],
            });
        }
        let maps = alternation(network, Some(&network.ranges(images)?))?;
        let input_range = largest(images);
        let ranges = ranges(&maps, images)?;
        let [input_shape, output_shape] = [network.input_shape(), network.output_shape()].map(<[usize]>::to_vec);
        Ok(Self { input_shape, output_shape, maps, input_range, ranges })
    }

    /// The shape of one image.
    pub fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }

    /// The shape of one answer.
    pub fn output_shape(&self) -> &[usize] {
        &self.output_shape
    }

    /// The affine maps, at least one, with a square of every value between one and the next.
    pub fn maps(&self) -> &[AffineMap] {
        &self.maps
    }

    /// The largest |value| of the input.
    pub fn input_range(&self) -> f64 {
        self.input_range
    }

    /// The largest |value| of each map's output.
    pub fn ranges(&self) -> &[f64] {
        &self.ranges
    }

    /// Refuses a form read from a file whose parts do not fit together.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub(super) fn check(&self) -> Result<()> {
        let fitting = self.maps.windows(2).all(|pair| pair[0].outputs() == pair[1].inputs());
        let ends = self.maps.first().zip(self.maps.last()).is_some_and(|(first, last)| {
            values(&self.input_shape) == Some(first.inputs()) && values(&self.output_shape) == Some(last.outputs())
        });
        ensure(fitting && ends, "the shapes of its maps do not fit together")?;
        let ranges = self.ranges.len() == self.maps.len();
        let finite = self.ranges.iter().chain([&self.input_range]).all(|range| range.is_finite() && *range >= 0.0);
        ensure(ranges && finite, "its ranges are not numbers, one for each map")
    }
}

/// The number of values of a tensor, if it is a number.
pub(super) fn values(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, &length| product.checked_mul(length))
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, x| largest.max(x.abs()))
}

/// The largest |value| that each map gives on the examples, which the network has taken.
fn ranges(maps: &[AffineMap], images: &[f64]) -> Result<Vec<f64>> {
    images
        .par_chunks_exact(maps[0].inputs())
        .map(|image| {
            let mut values = maps[0].apply(image)?;
            let mut ranges = vec![largest(&values)];
            for map in &maps[1..] {
                values.iter_mut().for_each(|x| *x *= *x);
                values = map.apply(&values)?;
                ranges.push(largest(&values));
            }
            Ok(ranges)
        })
        .try_reduce(|| vec![0.0; maps.len()], |a, b| Ok(a.iter().zip(&b).map(|(a, b)| a.max(*b)).collect()))
}
