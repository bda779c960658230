//! Which slot each weight of an affine map multiplies: the map as diagonals over slots.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::placement::{Placement, Slots};
use crate::network::AffineMap;

/// One weight: output slot s takes weight times the input at slot s + rotation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// the slot of the output
    pub slot: u32,
    /// the weight
    pub weight: f64,
}

/// Weights by rotation.
pub type Diagonals = BTreeMap<i64, Vec<Entry>>;

/// Every slot of `output` gets its whole sum. Where the input has copies, those are taken that need few rotations.
pub fn whole_sums(map: &AffineMap, input: &Placement, output: &[Vec<u32>], slots: Slots) -> Diagonals {
    let sums = || {
        map.rows().zip(output).flat_map(|((columns, weights), targets)| {
            targets.iter().flat_map(move |&target| {
                columns.iter().zip(weights).map(move |(&column, &weight)| (target, column, weight))
            })
        })
    };
    let rotations = |target: u32, column: u32| {
        let sources = &input.positions[column as usize];
        sources.iter().map(move |&source| slots.rotation(source as usize, target as usize))
    };
    let mut popularity = Popularity::new(slots);
    for (target, column, _) in sums() {
        rotations(target, column).for_each(|rotation| popularity.count(rotation));
    }
    // Taking the most popular rotation makes some superfluous; counting what was taken and taking again settles it.
    if input.positions.iter().any(|slots| slots.len() > 1) {
        for _ in 0..2 {
            let mut taken = Popularity::new(slots);
            for (target, column, _) in sums() {
                taken.count(popularity.first(rotations(target, column)));
            }
            popularity = taken;
        }
    }
    let mut diagonals = Diagonals::new();
    for (target, column, weight) in sums() {
        let rotation = popularity.first(rotations(target, column));
        diagonals.entry(rotation).or_default().push(Entry { slot: target, weight });
    }
    diagonals
}

/// How often each rotation could serve, by rotation plus the number of slots.
struct Popularity {
    slots: i64,
    counts: Vec<u32>,
}

impl Popularity {
    fn new(slots: Slots) -> Self {
        Self { slots: slots.count as i64, counts: vec![0; 2 * slots.count + 1] }
    }

    fn count(&mut self, rotation: i64) {
        self.counts[(rotation + self.slots) as usize] += 1;
    }

    /// The most popular of some rotations; among equals the shortest.
    fn first(&self, rotations: impl Iterator<Item = i64>) -> i64 {
        rotations.max_by_key(|&rotation| (self.counts[(rotation + self.slots) as usize], -rotation.abs())).unwrap_or(0)
    }
}

/// How partial sums lie: copy b of the input serves rows `b * stride..(b + 1) * stride`, and row `b * stride + u` has its
/// sums at `start(b) + u` and every `stride` slots behind that.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comb {
    /// rows that each copy serves
    pub stride: usize,
    /// partial sums of a row: a power of two
    pub teeth: usize,
}

impl Comb {
    /// Slots that one copy's sums take.
    pub fn width(self) -> usize {
        self.stride * self.teeth
    }
}

/// Partial sums on a comb; `starts` are the first slots of the copies that serve rows, `None` where a copy is missing
/// or a sum falls outside its comb.
pub fn partial_sums(
    map: &AffineMap,
    input: &Placement,
    comb: Comb,
    starts: &[usize],
    slots: Slots,
) -> Option<Diagonals> {
    let mut diagonals = Diagonals::new();
    for (row, (columns, weights)) in map.rows().enumerate() {
        let (copy, tooth) = (row / comb.stride, row % comb.stride);
        let first = starts.get(copy)? + tooth;
        for (&column, &weight) in columns.iter().zip(weights) {
            let source = *input.positions[column as usize].get(copy)? as usize;
            // the first sum of the row at the source or behind it
            let teeth = (source as i64 - first as i64 + comb.stride as i64 - 1).div_euclid(comb.stride as i64).max(0);
            if teeth >= comb.teeth as i64 && !(slots.cyclic && comb.width() == slots.count) {
                return None;
            }
            let target = slots.shift(first, teeth as usize % comb.teeth * comb.stride)?;
            let rotation = slots.rotation(source, target);
            diagonals.entry(rotation).or_default().push(Entry { slot: target as u32, weight });
        }
    }
    Some(diagonals)
}
