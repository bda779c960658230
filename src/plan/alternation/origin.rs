//! Which layers of a network the maps of its normal form come from.

use crate::network::{Layer, Operation};

/// Layers with the squares that lie before their input and before their output.
#[derive(Debug, Default)]
pub(super) struct Origins<'a> {
    affine: Vec<(&'a str, usize)>,
    activations: Vec<(&'a str, usize, usize)>,
}

impl<'a> Origins<'a> {
    /// Records a layer whose input is there after `from` squares and whose output after `to`. What a block consists of is
    /// recorded by itself.
    pub fn add(&mut self, layer: &'a Layer, from: usize, to: usize) {
        match &layer.operation {
            Operation::Affine(_) => self.affine.push((&layer.name, to)),
            Operation::Activation(_) => self.activations.push((&layer.name, from, to)),
            Operation::Residual { .. } => {}
        }
    }

    /// The layers that the map after `level` squares computes: affine ones, or else the activation that takes it.
    pub fn of(&self, level: usize) -> String {
        let affine: Vec<&str> = self.affine.iter().filter(|(_, own)| *own == level).map(|(name, _)| *name).collect();
        if !affine.is_empty() {
            return affine.join(", ");
        }
        // Within a polynomial, between two activations, or at an end of the network.
        let after = |&&(_, from, to): &&(&str, usize, usize)| (from..=to).contains(&level);
        self.activations.iter().find(after).map_or_else(|| "the input".into(), |(name, ..)| (*name).into())
    }
}
