//! Baby-step giant-step: a set of rotations as sums of few babies and few giants.
//!
//! The diagonals of a matrix need the input rotated by every r of a set. With r = g + b they need one rotation for each
//! baby b, all of the same ciphertext (hoisted, cheap), and one for each giant g, each of a different sum (dear). Halevi
//! and Shoup, "Faster homomorphic linear transformations in HElib" (CRYPTO 2018), section 4.

use std::collections::{BTreeMap, BTreeSet};

/// A way to split rotations.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// for each giant, its babies
    pub groups: BTreeMap<i64, Vec<i64>>,
}

impl Split {
    /// Babies that are rotations (0 is none).
    pub fn babies(&self) -> BTreeSet<i64> {
        self.groups.values().flatten().copied().filter(|&baby| baby != 0).collect()
    }

    /// Giants that are rotations.
    pub fn giants(&self) -> usize {
        self.groups.keys().filter(|&&giant| giant != 0).count()
    }
}

/// The cheapest split found, where `cost` says what a number of babies and of giants costs.
///
/// Regular sets (rows and columns of a kernel, channels, consecutive diagonals) are split at a modulus m: the babies are the
/// residues modulo m. The moduli tried are the distances that occur in the set, and powers of two.
pub fn split(rotations: &BTreeSet<i64>, cost: impl Fn(usize, usize) -> f64) -> Split {
    let mut moduli: BTreeSet<i64> = (0..16).map(|bit| 1 << bit).collect();
    let sorted: Vec<i64> = rotations.iter().copied().collect();
    for distance in 1..=sorted.len().saturating_sub(1).min(64) {
        moduli.extend(sorted.windows(distance + 1).map(|window| window[distance] - window[0]).take(64));
    }
    let step = sorted.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or(1);
    moduli.extend((1..=32).map(|count| count * step));
    let first = sorted.first().copied().unwrap_or(0);
    let mut best: Option<(f64, Split)> = None;
    for modulus in moduli {
        for origin in [first, 0, -(modulus / 2)] {
            let candidate = centred(rotations, modulus, origin);
            let price = cost(candidate.babies().len(), candidate.giants());
            if best.as_ref().is_none_or(|(least, _)| price < *least) {
                best = Some((price, candidate));
            }
        }
    }
    best.map_or(Split { groups: BTreeMap::new() }, |(_, split)| split)
}

/// Babies are (r - origin) mod m, moved so that 0 is a baby and a giant where the set allows it.
fn centred(rotations: &BTreeSet<i64>, modulus: i64, origin: i64) -> Split {
    let baby = |rotation: i64| (rotation - origin).rem_euclid(modulus);
    let shift = match rotations.contains(&0) {
        true => baby(0),
        false => rotations.iter().map(|&rotation| baby(rotation)).min().unwrap_or(0),
    };
    let mut groups: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for &rotation in rotations {
        let own = baby(rotation) - shift;
        groups.entry(rotation - own).or_default().push(own);
    }
    Split { groups }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(babies: usize, giants: usize) -> f64 {
        babies as f64 + 3.0 * giants as f64
    }

    fn covers(rotations: &BTreeSet<i64>, split: &Split) -> bool {
        let sums = split.groups.iter().flat_map(|(giant, babies)| babies.iter().map(move |baby| giant + baby));
        sums.collect::<BTreeSet<i64>>() == *rotations
    }

    #[test]
    fn a_kernel_takes_its_columns_as_babies_and_its_rows_as_giants() {
        let rotations: BTreeSet<i64> = (-1..4).flat_map(|y| (-1..4).map(move |x| 28 * y + x)).collect();
        let split = split(&rotations, cost);
        assert!(covers(&rotations, &split));
        assert!(cost(split.babies().len(), split.giants()) <= cost(4, 4));
    }

    #[test]
    fn consecutive_diagonals_are_split_near_the_root() {
        let rotations: BTreeSet<i64> = (0..128).collect();
        let split = split(&rotations, cost);
        assert!(covers(&rotations, &split));
        assert!(cost(split.babies().len(), split.giants()) <= cost(15, 7));
    }

    #[test]
    fn one_rotation_of_zero_costs_nothing() {
        let split = split(&BTreeSet::from([0]), cost);
        assert_eq!((split.babies().len(), split.giants()), (0, 0));
    }
}
