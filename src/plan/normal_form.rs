//! What the CKKS layouts compile: a network as affine maps with squares between them, and how large its values become.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::alternation::{Alternation, alternation};
use super::envelope::ensure;
use crate::error::{Error, Result};
use crate::network::{Activation, AffineMap, Layer, Network};

/// Affine maps with squares between them that compute what a network computes, with the largest |value| of the input and
/// of each map's output, measured on examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NormalForm {
    input_shape: Vec<usize>,
    output_shape: Vec<usize>,
    maps: Vec<AffineMap>,
    layers: Vec<String>,
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
        let Alternation { maps, layers } = alternation(network, Some(&network.ranges(images)?))?;
        let input_range = largest(images);
        let ranges = ranges(&maps, images)?;
        let [input_shape, output_shape] = [network.input_shape(), network.output_shape()].map(<[usize]>::to_vec);
        Ok(Self { input_shape, output_shape, maps, layers, input_range, ranges })
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

    /// The layers that each map computes, by name.
    pub fn layers(&self) -> &[String] {
        &self.layers
    }

    /// The largest |value| of the input.
    pub fn input_range(&self) -> f64 {
        self.input_range
    }

    /// The largest |value| of each map's output.
    pub fn ranges(&self) -> &[f64] {
        &self.ranges
    }

    /// The form in parts, each of which begins with the map at a cut: every part but the first takes the squares of what the
    /// part before it gives.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for cuts that are not ascending or leave a part without maps.
    pub fn split(&self, cuts: &[usize]) -> Result<Vec<Self>> {
        let ends: Vec<usize> = [&[0], cuts, &[self.maps.len()]].concat();
        if let Some(pair) = ends.windows(2).find(|pair| pair[0] >= pair[1]) {
            let reason = format!(
                "a part from map {} to map {}; the {} maps are cut at ascending numbers between 1 and {}",
                pair[0],
                pair[1],
                self.maps.len(),
                self.maps.len() - 1
            );
            return Err(Error::InvalidArgument { name: "cuts", reason });
        }
        let part = |pair: &[usize]| {
            let (maps, ranges) = (&self.maps[pair[0]..pair[1]], &self.ranges[pair[0]..pair[1]]);
            let first = pair[0] == 0;
            let last = pair[1] == self.maps.len();
            let output_shape = maps.last().map_or(&[][..], AffineMap::output_shape);
            Self {
                input_shape: if first {
                    self.input_shape.clone()
                } else {
                    self.maps[pair[0] - 1].output_shape().to_vec()
                },
                output_shape: if last { self.output_shape.clone() } else { output_shape.to_vec() },
                maps: maps.to_vec(),
                layers: self.layers[pair[0]..pair[1]].to_vec(),
                input_range: if first { self.input_range } else { self.ranges[pair[0] - 1].powi(2) },
                ranges: ranges.to_vec(),
            }
        };
        Ok(ends.windows(2).map(part).collect())
    }

    /// The form as a network: its maps with squares between them.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where maps of equal size name it by different shapes that do not follow from one another.
    pub fn network(&self) -> Result<Network> {
        let mut layers = Vec::new();
        let mut shape = self.input_shape.clone();
        for (index, map) in self.maps.iter().enumerate() {
            if index > 0 {
                layers.push(Layer::activation(format!("square {index}"), Activation::Square));
            }
            let last = index + 1 == self.maps.len();
            let output = if last { self.output_shape.clone() } else { map.output_shape().to_vec() };
            layers.push(Layer::affine(self.layers[index].clone(), map.clone().reshaped(&shape, &output)?));
            shape = output;
        }
        Network::new(&self.input_shape, layers)
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
        ensure(self.layers.len() == self.maps.len(), "it does not name the layers of each map")?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> (Network, NormalForm) {
        let weights: Vec<f64> = (0..24).map(|i| (f64::from(i) * 0.7).sin()).collect();
        let dense = |inputs, outputs| {
            let bias = &weights[..outputs];
            Layer::affine(
                "dense",
                AffineMap::linear(&weights[..inputs * outputs], [outputs, inputs], Some(bias)).unwrap(),
            )
        };
        let square = || Layer::activation("square", Activation::Square);
        let layers = vec![dense(4, 6), square(), dense(6, 2), square(), dense(2, 3), square(), dense(3, 2)];
        let network = Network::new(&[4], layers).unwrap();
        let form = NormalForm::new(&network, &[0.5, -1.0, 0.25, 0.75]).unwrap();
        (network, form)
    }

    #[test]
    fn parts_one_after_the_other_compute_the_whole() {
        let (network, form) = form();
        let image = [0.3, 0.9, -0.2, 0.1];
        for cuts in [&[][..], &[1], &[2], &[1, 3], &[1, 2, 3]] {
            let parts = form.split(cuts).unwrap();
            assert_eq!(parts.len(), cuts.len() + 1);
            let mut values = image.to_vec();
            for (i, part) in parts.iter().enumerate() {
                if i > 0 {
                    values.iter_mut().for_each(|x| *x *= *x);
                }
                values = part.network().unwrap().evaluate(&values).unwrap();
            }
            let whole = network.evaluate(&image).unwrap();
            assert!(values.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-12), "{cuts:?} {values:?} {whole:?}");
        }
    }

    #[test]
    fn cuts_that_leave_nothing_are_refused() {
        let (_, form) = form();
        for cuts in [&[0][..], &[4], &[2, 2], &[3, 1], &[9]] {
            assert_eq!(form.split(cuts).unwrap_err().code(), "invalid-argument", "{cuts:?}");
        }
    }
}
