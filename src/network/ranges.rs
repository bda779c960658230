//! How large the values of a network become, measured on examples.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::model::{Layer, Network, Operation, add};
use crate::error::Result;

/// The largest |value| seen at each place of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranges {
    /// of the input
    pub input: f64,
    /// of the output of each layer
    pub layers: Vec<f64>,
    /// of the body and the shortcut of each residual block, by the index of its layer
    pub branches: BTreeMap<usize, [Ranges; 2]>,
}

impl Ranges {
    /// The ranges along a chain for one tensor, and what the chain gives.
    fn of_chain(layers: &[Layer], input: Vec<f64>) -> Result<(Self, Vec<f64>)> {
        let mut ranges = Ranges { input: largest(&input), layers: Vec::new(), branches: BTreeMap::new() };
        let mut values = input;
        for (index, layer) in layers.iter().enumerate() {
            values = if let Operation::Residual { body, shortcut } = &layer.operation {
                let (body, mut sum) = Self::of_chain(body, values.clone())?;
                let (shortcut, added) = Self::of_chain(shortcut, values)?;
                add(&mut sum, &added);
                ranges.branches.insert(index, [body, shortcut]);
                sum
            } else {
                layer.evaluate(values)?
            };
            ranges.layers.push(largest(&values));
        }
        Ok((ranges, values))
    }

    /// The ranges where no tensor has been seen.
    fn none(layers: &[Layer]) -> Self {
        let branches = layers.iter().enumerate().filter_map(|(index, layer)| match &layer.operation {
            Operation::Residual { body, shortcut } => Some((index, [Self::none(body), Self::none(shortcut)])),
            _ => None,
        });
        Ranges { input: 0.0, layers: vec![0.0; layers.len()], branches: branches.collect() }
    }

    /// The ranges of both, of the same network.
    fn union(mut self, other: &Self) -> Self {
        self.input = self.input.max(other.input);
        self.layers.iter_mut().zip(&other.layers).for_each(|(range, other)| *range = range.max(*other));
        let branches = self.branches.into_iter().map(|(index, [body, shortcut])| {
            let both = match other.branches.get(&index) {
                Some(other) => [body.union(&other[0]), shortcut.union(&other[1])],
                None => [body, shortcut],
            };
            (index, both)
        });
        self.branches = branches.collect();
        self
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()))
}

impl Network {
    /// The largest |value| of the input and of each layer's output over some images.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn ranges(&self, images: &[f64]) -> Result<Ranges> {
        self.check_images(images)?;
        images
            .par_chunks(self.inputs())
            .map(|image| Ok(Ranges::of_chain(self.layers(), image.to_vec())?.0))
            .try_reduce(|| Ranges::none(self.layers()), |left, right| Ok(left.union(&right)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Activation, AffineMap};

    #[test]
    fn ranges_are_the_largest_values_of_every_layer_and_branch() {
        let twice = Layer::affine("twice", AffineMap::scale(&[2], 2.0).unwrap());
        let square = Layer::activation("square", Activation::Square);
        let block = Layer::residual("block", vec![twice.clone(), square], vec![]);
        let network = Network::new(&[2], vec![twice, block]).unwrap();
        let ranges = network.ranges(&[2.0, -3.0, 1.5, 0.5]).unwrap();
        assert_eq!((ranges.input, &ranges.layers[..]), (3.0, &[6.0, 138.0][..]));
        let [body, shortcut] = &ranges.branches[&1];
        assert_eq!((body.input, &body.layers[..]), (6.0, &[12.0, 144.0][..]));
        assert_eq!((shortcut.input, &shortcut.layers[..]), (6.0, &[][..]));
        let none = network.ranges(&[]).unwrap();
        assert_eq!((none.layers, none.branches[&1][0].layers.len()), (vec![0.0; 2], 2));
    }
}
