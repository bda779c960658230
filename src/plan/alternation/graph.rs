//! What a network computes, as a graph of affine maps, sums and squares.

use std::collections::HashMap;

use crate::network::AffineMap;

/// The index of a node; what it is computed from has lower ones.
pub(super) type Place = usize;

/// How the values of a node come about.
#[derive(Debug)]
pub(super) enum Expression<'a> {
    /// the network's input
    Input,
    /// an affine map of another node
    Affine(Place, &'a AffineMap),
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

/// The tensors of a network; equal squares are one node.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    nodes: Vec<Node<'a>>,
    squares: HashMap<(Place, usize), Place>,
}

impl<'a> Graph<'a> {
    /// A graph of the input alone.
    pub fn new(shape: &[usize], range: f64) -> Self {
        let input = Node { expression: Expression::Input, shape: shape.to_vec(), level: 0, range };
        Self { nodes: vec![input], squares: HashMap::new() }
    }

    pub fn input(&self) -> Place {
        0
    }

    pub fn node(&self, place: Place) -> &Node<'a> {
        &self.nodes[place]
    }

    pub fn affine(&mut self, of: Place, map: &'a AffineMap, range: f64) -> Place {
        let level = self.nodes[of].level;
        self.push(Node { expression: Expression::Affine(of, map), shape: map.output_shape().to_vec(), level, range })
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
        let shape = self.nodes[joined[0].0].shape.clone();
        let level = joined.iter().map(|(place, _)| self.nodes[*place].level).max().unwrap_or(0);
        self.push(Node { expression: Expression::Sum(joined, constant), shape, level, range })
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
