//! What passes through each square, and the maps between squares.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::graph::{Expression, Graph, Place};
use crate::error::Result;
use crate::network::AffineMap;

/// What one layer of squares takes: tensors one after the other.
#[derive(Default)]
struct SquareLayer {
    /// nodes whose squares the layer gives
    squared: Vec<Place>,
    /// nodes that the layer carries: their squares, and those of their values with a constant added
    carried: Vec<Place>,
    shape: Vec<usize>,
    /// where each node's tensor starts, and what it is multiplied by before the square
    plain: HashMap<Place, (usize, f64)>,
    /// the same of the tensors with a constant added
    shifted: HashMap<Place, (usize, f64)>,
}

/// The affine maps before, between and after the squares that `output` takes.
pub(super) fn maps(graph: &Graph<'_>, output: Place) -> Result<Vec<AffineMap>> {
    let depth = graph.node(output).level;
    let mut layers = Vec::with_capacity(depth);
    let mut wanted = vec![output];
    for level in (1..=depth).rev() {
        let layer = SquareLayer::new(graph, level, &wanted);
        wanted = layer.squared.iter().chain(&layer.carried).copied().collect();
        layers.push(layer);
    }
    layers.reverse();

    let mut maps = Vec::with_capacity(depth + 1);
    for level in 0..=depth {
        let before = if level == 0 { None } else { layers.get(level - 1) };
        let mut values = Values { graph, before, known: HashMap::new() };
        maps.push(match layers.get(level) {
            Some(layer) => layer.inputs(&mut values)?,
            None => Rc::unwrap_or_clone(values.of(output)?),
        });
    }
    Ok(maps)
}

impl SquareLayer {
    /// The layer after which `wanted` are affine in its squares.
    fn new(graph: &Graph<'_>, level: usize, wanted: &[Place]) -> Self {
        let (mut layer, mut waiting, mut seen) = (Self::default(), wanted.to_vec(), HashSet::new());
        let mut early = Vec::new();
        while let Some(place) = waiting.pop() {
            if !seen.insert(place) {
                continue;
            }
            match &graph.node(place).expression {
                _ if graph.node(place).level < level => early.push(place),
                Expression::Input => {}
                Expression::Affine(of, _) => waiting.push(*of),
                Expression::Sum(terms, _) => waiting.extend(terms.iter().map(|(place, _)| *place)),
                Expression::Square(of) => layer.squared.push(*of),
            }
        }
        // Nodes come after what they are computed from, so this is the order of the network.
        layer.squared.sort_unstable();
        early.sort_unstable();
        for place in early {
            layer.carry(graph, place);
        }
        layer.arrange(graph);
        layer
    }

    /// Carries a node, or what it is an affine map of where that takes fewer squares.
    fn carry(&mut self, graph: &Graph<'_>, place: Place) {
        let mut waiting = vec![place];
        let mut costs = HashMap::new();
        while let Some(place) = waiting.pop() {
            if self.carried.contains(&place) {
                continue;
            }
            let sources = sources(graph, place);
            let from_sources = self.cost_of_all(graph, &sources, &mut costs);
            if from_sources.is_some_and(|cost| cost <= self.own_cost(graph, place)) {
                waiting.extend(sources);
            } else {
                self.carried.push(place);
            }
        }
    }

    /// Squares that carrying a node itself takes. Two a value is the least: with m squares of affine forms in n values,
    /// every value is a combination of squares only where n combinations of their quadratic parts vanish, while these
    /// parts span n dimensions at least: m >= 2 n. One of the two may be wanted anyway.
    fn own_cost(&self, graph: &Graph<'_>, place: Place) -> usize {
        match (self.carried.contains(&place), self.squared.contains(&place)) {
            (true, _) => 0,
            (false, true) => graph.node(place).size(),
            (false, false) => 2 * graph.node(place).size(),
        }
    }

    fn cost(&self, graph: &Graph<'_>, place: Place, costs: &mut HashMap<Place, usize>) -> usize {
        if let Some(&cost) = costs.get(&place) {
            return cost;
        }
        let from_sources = self.cost_of_all(graph, &sources(graph, place), costs).unwrap_or(usize::MAX);
        let cost = from_sources.min(self.own_cost(graph, place));
        costs.insert(place, cost);
        cost
    }

    fn cost_of_all(&self, graph: &Graph<'_>, places: &[Place], costs: &mut HashMap<Place, usize>) -> Option<usize> {
        if places.is_empty() {
            return None;
        }
        Some(places.iter().fold(0usize, |sum, &place| sum.saturating_add(self.cost(graph, place, costs))))
    }

    /// Gives every tensor its place and its scale.
    fn arrange(&mut self, graph: &Graph<'_>) {
        let carried = self.carried.iter().filter(|place| !self.squared.contains(place));
        let plain: Vec<Place> = self.squared.iter().chain(carried).copied().collect();
        let alone = plain.len() == 1 && self.carried.is_empty();
        // The largest values of a layer decide its precision, so all are brought near 1.
        let scale = |range: f64| if alone { 1.0 } else { 2f64.powi(-(range.log2().round() as i32)) };
        let mut offset = 0;
        let mut next = |place: Place| {
            let start = offset;
            offset += graph.node(place).size();
            start
        };
        self.plain = plain.iter().map(|&place| (place, (next(place), scale(graph.node(place).range)))).collect();
        let shifted = self.carried.iter();
        self.shifted = shifted.map(|&place| (place, (next(place), scale(2.0 * graph.node(place).range)))).collect();

        let shapes: Vec<&[usize]> =
            plain.iter().chain(&self.carried).map(|&place| graph.node(place).shape.as_slice()).collect();
        self.shape = match shapes.as_slice() {
            [shape] => shape.to_vec(),
            [first, ..] if !first.is_empty() && shapes.iter().all(|shape| shape.get(1..) == first.get(1..)) => {
                let along: usize = shapes.iter().map(|shape| shape[0]).sum();
                [&[along], &first[1..]].concat()
            }
            _ => vec![offset],
        };
    }

    /// The map that gives what the layer squares.
    fn inputs(&self, values: &mut Values<'_>) -> Result<AffineMap> {
        let mut parts = Vec::with_capacity(self.plain.len() + self.shifted.len());
        for (&place, &(offset, scale)) in &self.plain {
            parts.push((offset, combination(&[(values.of(place)?, scale)], 0.0)?));
        }
        for (&place, &(offset, scale)) in &self.shifted {
            let range = values.graph.node(place).range;
            parts.push((offset, combination(&[(values.of(place)?, scale)], scale * range)?));
        }
        parts.sort_unstable_by_key(|(offset, _)| *offset);
        stack(parts.into_iter().map(|(_, part)| part), &self.shape)
    }
}

/// What a node is affine in; nothing where it has to be carried itself.
fn sources(graph: &Graph<'_>, place: Place) -> Vec<Place> {
    match &graph.node(place).expression {
        Expression::Input | Expression::Square(_) => Vec::new(),
        Expression::Affine(of, _) => vec![*of],
        Expression::Sum(terms, _) => terms.iter().map(|(place, _)| *place).collect(),
    }
}

/// Nodes as affine maps of what the last layer of squares gives, or of the network's input.
struct Values<'a> {
    graph: &'a Graph<'a>,
    before: Option<&'a SquareLayer>,
    known: HashMap<Place, Rc<AffineMap>>,
}

impl Values<'_> {
    fn of(&mut self, place: Place) -> Result<Rc<AffineMap>> {
        if let Some(map) = self.known.get(&place) {
            return Ok(map.clone());
        }
        let node = self.graph.node(place);
        let carried = self.before.filter(|before| before.shifted.contains_key(&place));
        let map = match (&node.expression, carried, self.before) {
            (_, Some(before), _) => {
                let ((plain, scale), (shifted, shifted_scale)) = (before.plain[&place], before.shifted[&place]);
                let squares = [(plain, -1.0 / (scale * scale)), (shifted, 1.0 / (shifted_scale * shifted_scale))];
                let columns = squares.map(|(offset, weight)| (offset, weight / (2.0 * node.range)));
                Rc::new(windows(&before.shape, &node.shape, &columns, -node.range / 2.0)?)
            }
            (Expression::Square(of), None, Some(before)) => {
                let (offset, scale) = before.plain[of];
                Rc::new(windows(&before.shape, &node.shape, &[(offset, 1.0 / (scale * scale))], 0.0)?)
            }
            (Expression::Affine(of, map), ..) => Rc::new(self.of(*of)?.fuse(map)?),
            (Expression::Sum(terms, constant), ..) => {
                let terms = terms.iter().map(|&(place, factor)| Ok((self.of(place)?, factor)));
                combination(&terms.collect::<Result<Vec<_>>>()?, *constant)?
            }
            // No square lies before the first layer of squares: it is the input.
            (Expression::Input | Expression::Square(_), ..) => Rc::new(AffineMap::identity(&node.shape)?),
        };
        self.known.insert(place, map.clone());
        Ok(map)
    }
}

/// The maps, each times its factor, added up, and a constant added to every output; `maps` is not empty.
fn combination(maps: &[(Rc<AffineMap>, f64)], constant: f64) -> Result<Rc<AffineMap>> {
    if let ([(map, 1.0)], 0.0) = (maps, constant) {
        return Ok(map.clone());
    }
    let mut sum: Option<AffineMap> = None;
    for (map, factor) in maps {
        let weights: Vec<f64> = map.weights().iter().map(|weight| weight * factor).collect();
        let shift = if sum.is_none() { constant } else { 0.0 };
        let bias: Vec<f64> = map.bias().iter().map(|bias| bias * factor + shift).collect();
        let (input, output) = (map.input_shape(), map.output_shape());
        let scaled = AffineMap::new(input, output, map.offsets(), map.columns(), &weights, &bias)?;
        sum = Some(match sum {
            Some(sum) => sum.add(&scaled)?,
            None => scaled,
        });
    }
    Ok(sum.map_or_else(|| maps[0].0.clone(), Rc::new))
}

/// The map whose value i is the sum of input `start + i` times `weight` over the `(start, weight)`, starts ascending, plus
/// a constant.
fn windows(input_shape: &[usize], shape: &[usize], starts: &[(usize, f64)], constant: f64) -> Result<AffineMap> {
    let count: usize = shape.iter().product();
    let offsets: Vec<usize> = (0..=count).map(|row| row * starts.len()).collect();
    // Fits: the map refuses columns beyond its input, which has fewer than 2^32 values.
    let columns: Vec<u32> =
        (0..count).flat_map(|row| starts.iter().map(move |(start, _)| (start + row) as u32)).collect();
    let weights: Vec<f64> = (0..count).flat_map(|_| starts.iter().map(|(_, weight)| *weight)).collect();
    AffineMap::new(input_shape, shape, &offsets, &columns, &weights, &vec![constant; count])
}

/// The map that gives what all maps give, one after the other.
fn stack(maps: impl ExactSizeIterator<Item = Rc<AffineMap>>, shape: &[usize]) -> Result<AffineMap> {
    let maps: Vec<Rc<AffineMap>> = maps.collect();
    if let [map] = maps.as_slice() {
        return Ok((**map).clone());
    }
    let (mut offsets, mut columns, mut weights, mut bias) = (vec![0], Vec::new(), Vec::new(), Vec::new());
    for map in &maps {
        let before = weights.len();
        offsets.extend(map.offsets()[1..].iter().map(|offset| before + offset));
        columns.extend_from_slice(map.columns());
        weights.extend_from_slice(map.weights());
        bias.extend_from_slice(map.bias());
    }
    let input_shape = maps.first().map_or(&[][..], |map| map.input_shape());
    AffineMap::new(input_shape, shape, &offsets, &columns, &weights, &bias)
}
