//! What a network computes, as a graph of affine maps, sums and squares.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::error::Result;
use crate::network::AffineMap;

/// The index of a node; what it is computed from has lower ones.
pub(super) type Place = usize;

/// How the values of a node come about.
#[derive(Debug)]
pub(super) enum Expression<'a> {
    /// the network's input
    Input,
    /// an affine map of another node
    Affine(Place, Cow<'a, AffineMap>),
    /// other nodes of the same shape, each times a factor, and a constant added to every value
    Sum(Vec<(Place, f64)>, f64),
    /// the squares of another node's values
    Square(Place),
}

/// One tensor of values.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub expression: Expression<'a>,
    pub shape: Vec<usize>,
    /// squares one after the other before the values are there
    pub level: usize,
    /// about the largest |value|, positive
    pub range: f64,
}

impl Node<'_> {
    /// The number of values.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The tensors of a network; equal sums and equal squares are one node.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    nodes: Vec<Node<'a>>,
    squares: HashMap<(Place, usize), Place>,
    /// by the bits of their numbers
    sums: HashMap<(Vec<(Place, u64)>, u64), Place>,
}

impl<'a> Graph<'a> {
    /// A graph of the input alone.
    pub fn new(shape: &[usize], range: f64) -> Self {
        let input = Node { expression: Expression::Input, shape: shape.to_vec(), level: 0, range };
        Self { nodes: vec![input], squares: HashMap::new(), sums: HashMap::new() }
    }

    pub fn input(&self) -> Place {
        0
    }

    pub fn node(&self, place: Place) -> &Node<'a> {
        &self.nodes[place]
    }

    /// An affine map of a node, or of the terms of a sum where that leaves fewer values to carry.
    ///
    /// # Errors
    /// What the affine maps refuse.
    pub fn affine(&mut self, of: Place, map: Cow<'a, AffineMap>, range: f64) -> Result<Place> {
        let node = &self.nodes[of];
        if let Expression::Sum(terms, constant) = &node.expression {
            let carries = terms.iter().any(|(place, _)| self.nodes[*place].level < node.level);
            if carries && (map.outputs() < node.size() || map.is_identity()) {
                let (terms, mut bias) = (terms.clone(), map.apply(&vec![*constant; node.size()])?);
                let mut mapped = Vec::with_capacity(terms.len());
                for (place, factor) in terms {
                    // The bias goes with the first term.
                    let bias = std::mem::replace(&mut bias, vec![0.0; map.outputs()]);
                    let weights: Vec<f64> = map.weights().iter().map(|weight| weight * factor).collect();
                    let (input, output) = (map.input_shape(), map.output_shape());
                    let part = AffineMap::new(input, output, map.offsets(), map.columns(), &weights, &bias)?;
                    let range = estimate(&part, self.nodes[place].range);
                    mapped.push((self.affine(place, Cow::Owned(part), range)?, 1.0));
                }
                return Ok(self.sum(&mapped, 0.0, range));
            }
        }
        let (shape, level) = (map.output_shape().to_vec(), node.level);
        Ok(self.push(Node { expression: Expression::Affine(of, map), shape, level, range }))
    }

    /// `terms` is not empty. Terms of one node are joined, and those that cancel left out.
    pub fn sum(&mut self, terms: &[(Place, f64)], constant: f64, range: f64) -> Place {
        let mut joined: Vec<(Place, f64)> = Vec::with_capacity(terms.len());
        for &(place, factor) in terms {
            match joined.iter_mut().find(|(known, _)| *known == place) {
                Some((_, sum)) => *sum += factor,
                None => joined.push((place, factor)),
            }
        }
        if joined.iter().any(|(_, factor)| *factor != 0.0) {
            joined.retain(|(_, factor)| *factor != 0.0);
        } else {
            joined.truncate(1);
        }
        if let ([(place, 1.0)], 0.0) = (joined.as_slice(), constant) {
            return *place;
        }
        let key = (joined.iter().map(|(place, factor)| (*place, factor.to_bits())).collect(), constant.to_bits());
        if let Some(&place) = self.sums.get(&key) {
            return place;
        }
        let shape = self.nodes[joined[0].0].shape.clone();
        let level = joined.iter().map(|(place, _)| self.nodes[*place].level).max().unwrap_or(0);
        let place = self.push(Node { expression: Expression::Sum(joined, constant), shape, level, range });
        self.sums.insert(key, place);
        place
    }

    /// The squares of a node, after its own squares and after `level` squares at the least.
    pub fn square(&mut self, of: Place, level: usize) -> Place {
        let Node { shape, range, .. } = &self.nodes[of];
        let (shape, range) = (shape.clone(), range * range);
        let level = level.max(self.nodes[of].level + 1);
        if let Some(&place) = self.squares.get(&(of, level)) {
            return place;
        }
        let place = self.push(Node { expression: Expression::Square(of), shape, level, range });
        self.squares.insert((of, level), place);
        place
    }

    fn push(&mut self, node: Node<'a>) -> Place {
        self.nodes.push(node);
        self.nodes.len() - 1
    }
}

/// About the largest |value| that a map gives for values up to `range`: between what they give when all add up and when
/// their signs are random. What is carried with twice or half its range loses a fraction of a bit.
fn estimate(map: &AffineMap, range: f64) -> f64 {
    let squares = map.rows().map(|(_, weights)| weights.iter().map(|weight| weight * weight).sum::<f64>());
    let random = squares.fold(0.0, f64::max).sqrt();
    let bias = map.bias().iter().fold(0.0, |largest: f64, bias| largest.max(bias.abs()));
    ((map.max_row_l1() * random).sqrt() * range + bias).clamp(1e-30, 1e30)
}
