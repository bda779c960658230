//! Networks in normal form: affine maps with squares between them.
//!
//! Every network of affine maps, polynomials and residual blocks becomes `maps[0]`, square, `maps[1]`, square, ..., the
//! last map, with as few squares one after the other as its longest path needs: a polynomial of degree d takes
//! ceil(log2 d). All values pass through every square. What a path leaves unsquared is carried by
//! `x = ((x + R)^2 - x^2 - R^2) / 2R`, with R near the largest |x|.
//!
//! | file | what it does |
//! | --- | --- |
//! | `graph` | values that affine maps, sums and squares give |
//! | `polynomial` | polynomials as sums of squares |
//! | `factor` | splits a polynomial into two of half the degree |
//! | `schedule` | chooses what is carried through each square, and builds the maps |
//! | `origin` | which layers each map comes from |

mod factor;
mod graph;
mod origin;
mod polynomial;
mod schedule;

use std::borrow::Cow;

use graph::{Graph, Place};
use origin::Origins;

use crate::error::Result;
use crate::network::{Activation, AffineMap, Layer, Network, Operation, Ranges};

/// Affine maps with squares between them, and where they come from.
#[derive(Debug)]
pub struct Alternation {
    /// the maps, at least one
    pub maps: Vec<AffineMap>,
    /// the layers that each map computes, by name
    pub layers: Vec<String>,
}

/// A network as `maps[0]`, square, `maps[1]`, square, ..., the last map: `maps.len() - 1` squares of all values.
///
/// Neighbouring affine maps are multiplied. Where one tensor is squared, maps give it in its shape; where several are,
/// or one is carried, they lie one after the other along their first axis (`[2 C, H, W]` for a carried `[C, H, W]`) where
/// their other axes are the same, and flat otherwise. Then each is scaled by a power of two to values near 1.
///
/// `ranges` are those of the network's values, as [`Network::ranges`] measures; 1 is taken where they are not known. They
/// decide how much precision remains, not what is computed.
///
/// # Errors
/// [`Error::Unsupported`](crate::error::Error::Unsupported) for polynomials that double precision cannot factor, with the
/// name of the layer; what the affine maps refuse.
pub fn alternation(network: &Network, ranges: Option<&Ranges>) -> Result<Alternation> {
    let mut graph = Graph::new(network.input_shape(), known(ranges.map(|ranges| ranges.input)));
    let mut origins = Origins::default();
    let input = graph.input();
    let output = chain(&mut graph, &mut origins, network.layers(), ranges, input)?;
    let maps = schedule::maps(&graph, output)?;
    let layers = (0..maps.len()).map(|level| origins.of(level)).collect();
    Ok(Alternation { maps, layers })
}

/// The place of what a chain of layers gives for what stands at `place`.
fn chain<'a>(
    graph: &mut Graph<'a>,
    origins: &mut Origins<'a>,
    layers: &'a [Layer],
    ranges: Option<&Ranges>,
    mut place: Place,
) -> Result<Place> {
    for (index, layer) in layers.iter().enumerate() {
        let from = graph.node(place).level;
        let range = known(ranges.and_then(|ranges| ranges.layers.get(index).copied()));
        place = match &layer.operation {
            Operation::Affine(map) => graph.affine(place, Cow::Borrowed(map), range)?,
            Operation::Activation(Activation::Square) => graph.square(place, 0),
            Operation::Activation(Activation::Polynomial(coefficients)) => {
                polynomial::build(graph, place, coefficients, &layer.name)?
            }
            Operation::Residual { body, shortcut } => {
                let branches = ranges.and_then(|ranges| ranges.branches.get(&index));
                let body = chain(graph, origins, body, branches.map(|branches| &branches[0]), place)?;
                let shortcut = chain(graph, origins, shortcut, branches.map(|branches| &branches[1]), place)?;
                graph.sum(&[(body, 1.0), (shortcut, 1.0)], 0.0, range)
            }
        };
        origins.add(layer, from, graph.node(place).level);
    }
    Ok(place)
}

/// A range to scale by: the one measured, or 1 where there is none.
fn known(range: Option<f64>) -> f64 {
    // Squares of such values and their inverses are doubles.
    range.filter(|range| *range > 0.0).map_or(1.0, |range| range.clamp(1e-30, 1e30))
}

#[cfg(test)]
mod tests;
