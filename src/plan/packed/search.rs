//! Where to put every tensor, and how each affine map goes from one placement to the next.
//!
//! The client may place an image as it likes, with as many copies of each value as fit: that decides much of the cost.
//! Two families of placements are tried for each map, and the cheapest chain of them is kept by a beam search.
//!
//! *Grids*: the output of a convolution stays where it falls, one channel a block, and each output slot gets its whole sum.
//! A stride of the first map is taken by the client, which sends the phases of the image as channels of their own, and
//! the channels are repeated cyclically, so that every output channel finds its inputs within one turn (the diagonals of
//! the matrix over channels; Juvekar et al., "GAZELLE", USENIX Security 2018, section 4.3).
//!
//! *Combs*: a map with few outputs has each of them as many partial sums, in every few slots; rotations then add them up
//! (the hybrid diagonals of GAZELLE, section 4.2). With copies of the input, each copy serves a part of the rows.

use super::baby_giant::{Split, split};
use super::cost::{Rates, Work};
use super::matching::{Comb, Diagonals, Entry, partial_sums, whole_sums};
use super::placement::{Grid, Placement, Slots};
use crate::network::AffineMap;

/// One affine map, from a placement to another.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    /// rotations whose sum makes copies of the input, one sum after the other
    pub copies: Vec<Vec<i64>>,
    /// the weights over slots
    pub diagonals: Diagonals,
    /// how they are grouped
    pub split: Split,
    /// the biases: at every slot of an output, or at one of its partial sums
    pub bias: Vec<Entry>,
    /// rotations that add up partial sums, one sum after the other
    pub folds: Vec<Vec<i64>>,
    /// where the outputs lie
    pub output: Placement,
    /// what it costs
    pub work: Work,
}

/// Placements for a whole network.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    /// where the client puts the values of an image
    pub input: Placement,
    /// one for each affine map
    pub passages: Vec<Passage>,
    /// seconds by the rates given
    pub seconds: f64,
}

/// Chains kept after each map.
const BEAM: usize = 12;

/// A rotation key of this many rows weighs as much as a second: keys travel once, but they do travel.
pub(super) const KEY_ROWS_A_SECOND: f64 = 200_000.0;

/// The cheapest chain found for `maps`, with squares between them, where the first map meets `primes` primes and each
/// map and square uses up one; or the number of the first map, from 0, for which no placement fits the slots.
pub fn search(maps: &[AffineMap], slots: Slots, primes: usize, rates: Rates) -> Result<Chain, usize> {
    let mut beam: Vec<Chain> = Vec::new();
    for (i, map) in maps.iter().enumerate() {
        let level = primes - 2 * i;
        let mut next: Vec<Chain> = Vec::new();
        let mut extend = |chain: Option<&Chain>, input: &Placement, passage: Passage| {
            let mut longer =
                chain.cloned().unwrap_or(Chain { input: input.clone(), passages: Vec::new(), seconds: 0.0 });
            longer.seconds += price(passage.work, rates);
            longer.passages.push(passage);
            next.push(longer);
        };
        let planner = Planner { map, slots, level, rates };
        if i == 0 {
            for input in planner.client_placements() {
                planner.passages(&input, true).into_iter().for_each(|passage| extend(None, &input, passage));
            }
        }
        for chain in &beam {
            if let Some(last) = chain.passages.last() {
                planner.passages(&last.output, false).into_iter().for_each(|p| extend(Some(chain), &chain.input, p));
            }
        }
        if next.is_empty() {
            return Err(i);
        }
        if i + 1 == maps.len() {
            keep_clean(&mut next);
        }
        next.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let mut kept: Vec<Chain> = Vec::new();
        for chain in next {
            let output = chain.passages.last().map(|passage| &passage.output);
            let known = kept.iter().any(|other| other.passages.last().map(|passage| &passage.output) == output);
            if !known && kept.len() < BEAM {
                kept.push(chain);
            }
        }
        beam = kept;
    }
    beam.into_iter().next().ok_or(0)
}

/// Of chains through a whole network those that leave answers and zeros, if there are any: what else lies in the slots of an
/// answer, such as sums over a part of the inputs, would tell of the weights.
fn keep_clean(chains: &mut Vec<Chain>) {
    let clean = |chain: &Chain| chain.passages.last().is_some_and(|passage| passage.output.clean);
    if chains.iter().any(clean) {
        chains.retain(clean);
    }
}

fn price(work: Work, rates: Rates) -> f64 {
    work.seconds(rates) + work.key_rows as f64 / KEY_ROWS_A_SECOND
}

/// One map at one level.
struct Planner<'a> {
    map: &'a AffineMap,
    slots: Slots,
    level: usize,
    rates: Rates,
}

/// A shape as channels, height and width.
fn as_grid(shape: &[usize]) -> Option<[usize; 3]> {
    match *shape {
        [channels, height, width] => Some([channels, height, width]),
        [channels, length] => Some([channels, 1, length]),
        _ => None,
    }
}

/// Strides that lead from a length to another.
fn strides(from: usize, to: usize) -> [usize; 2] {
    [(from / to).max(1), from.div_ceil(to)]
}

impl Planner<'_> {
    /// Placements that a client might choose for this map's input.
    fn client_placements(&self) -> Vec<Placement> {
        let mut placements = Vec::new();
        if let (Some(input), Some(output)) = (as_grid(self.map.input_shape()), as_grid(self.map.output_shape())) {
            let strides = strides(input[1], output[1]).into_iter().zip(strides(input[2], output[2]));
            for stride in strides.chain([(1, 1)]) {
                for turns in [1, 2, 4] {
                    placements.extend(self.phases(input, output, stride.into(), turns));
                }
            }
        }
        let values = self.map.inputs();
        for copies in [1, 2, 4, 8, 16] {
            let period = (self.slots.count / copies).max(1);
            if values <= period {
                placements.push(Placement::compact(values, period, copies));
            }
        }
        placements.dedup();
        placements
    }

    /// The phases of the image as channels, repeated cyclically as often as `turns` sets of output channels need.
    fn phases(&self, input: [usize; 3], output: [usize; 3], stride: [usize; 2], turns: usize) -> Option<Placement> {
        let [channels, height, width] = input;
        let [rows, columns] = [height.div_ceil(stride[0]).max(output[1]), width.div_ceil(stride[1]).max(output[2])];
        let direct = stride == [1, 1];
        let pitch = if direct { height * width } else { rows * columns };
        let row = if direct { width } else { columns };
        let kinds = channels * stride[0] * stride[1];
        let wanted = if kinds == 1 { turns * output[0] } else { kinds + turns * output[0] - 1 };
        let blocks = wanted.min(self.slots.count / pitch);
        if blocks < kinds {
            return None;
        }
        let mut positions = Vec::with_capacity(self.map.inputs());
        for channel in 0..channels {
            for y in 0..height {
                for x in 0..width {
                    let kind = (channel * stride[0] + y % stride[0]) * stride[1] + x % stride[1];
                    let at = y / stride[0] * row + x / stride[1];
                    positions.push((kind..blocks).step_by(kinds).map(|block| (block * pitch + at) as u32).collect());
                }
            }
        }
        let grid =
            Grid { channels: (0..kinds).map(|kind| kind * pitch).collect(), row, column: 1, size: [rows, columns] };
        Some(Placement { positions, grid: Some(grid), clean: true })
    }

    /// Ways from a placement through this map.
    fn passages(&self, input: &Placement, client: bool) -> Vec<Passage> {
        let mut passages = Vec::new();
        for copies in [1usize, 2, 4, 8, 16] {
            // A client makes copies for nothing, where it likes.
            if copies > 1 && client {
                break;
            }
            if let Some(grid) = &input.grid {
                let period = grid.pitch().map(|pitch| pitch * grid.channels.len());
                let repeated = period.and_then(|period| Some((period, input.repeated(period, copies, self.slots)?)));
                if let Some((period, repeated)) = repeated {
                    let sums = repetition(period, copies);
                    passages.extend(self.grids(&repeated).into_iter().map(|p| self.with_copies(p, sums.clone())));
                }
            }
            let period = self.slots.count / copies;
            if let Some(repeated) = input.repeated(period, copies, self.slots) {
                let sums = repetition(period, copies);
                passages.extend(self.combs(&repeated).into_iter().map(|p| self.with_copies(p, sums.clone())));
            }
        }
        passages
    }

    fn with_copies(&self, mut passage: Passage, copies: Vec<Vec<i64>>) -> Passage {
        passage.work += sums(&copies, self.level);
        passage.copies = copies;
        passage
    }

    /// Ways that leave outputs on the grid of the input.
    fn grids(&self, input: &Placement) -> Vec<Passage> {
        let (Some(grid), Some(from), Some(to)) =
            (&input.grid, as_grid(self.map.input_shape()), as_grid(self.map.output_shape()))
        else {
            return Vec::new();
        };
        let Some(pitch) = grid.pitch() else { return Vec::new() };
        let mut outputs: Vec<Grid> = Vec::new();
        let mut propose = |grid: Grid| {
            if grid.end() <= self.slots.count && !outputs.contains(&grid) {
                outputs.push(grid);
            }
        };
        for (down, across) in strides(from[1], to[1]).into_iter().zip(strides(from[2], to[2])).chain([(1, 1)]) {
            let (row, column) = (grid.row * down, grid.column * across);
            if (to[1] - 1) * down >= grid.size[0] || (to[2] - 1) * across >= grid.size[1] {
                continue;
            }
            let place = |channels: Vec<usize>| Grid { channels, row, column, size: [to[1], to[2]] };
            propose(place((0..to[0]).map(|channel| channel * pitch).collect()));
            // Channels in the gaps that a stride leaves (multiplexed packing; Lee et al., ICML 2022, section 4.1).
            let gaps = down * across;
            if gaps > 1 {
                let gap = |channel: usize| {
                    let within = channel % gaps;
                    channel / gaps * pitch + within / across * grid.row + within % across * grid.column
                };
                propose(place((0..to[0]).map(gap).collect()));
            }
        }
        let whole = |output: Grid| {
            let output = Placement::on_grid(output);
            let mut taken = vec![false; self.slots.count];
            let distinct = output.positions.iter().flatten().all(|&s| !std::mem::replace(&mut taken[s as usize], true));
            let diagonals = distinct.then(|| whole_sums(self.map, input, &output.positions, self.slots))?;
            let bias = self.bias(|row| output.positions[row].clone());
            Some(self.passage(diagonals, bias, Vec::new(), output))
        };
        outputs.into_iter().filter_map(whole).collect()
    }

    /// Ways that leave outputs as partial sums, and add them up.
    fn combs(&self, input: &Placement) -> Vec<Passage> {
        let rows = self.map.outputs();
        let mut passages = Vec::new();
        let copies = input.copies();
        for serving in (0..=copies.ilog2()).map(|bit| 1usize << bit) {
            let own = rows.div_ceil(serving);
            let strides = if own.is_power_of_two() { vec![own] } else { vec![own, own.next_power_of_two()] };
            for stride in strides {
                let starts: Vec<usize> = (0..rows.div_ceil(stride))
                    .map_while(|copy| input.positions.iter().map(|slots| slots.get(copy)).min()?.copied())
                    .map(|slot| slot as usize)
                    .collect();
                let ends = input.positions.iter().filter_map(|slots| slots.first()).max();
                let (Some(&start), Some(&end)) = (starts.first(), ends) else { continue };
                let needed = (end as usize + 1 - start + stride - 1).div_ceil(stride).next_power_of_two();
                let most = (self.slots.count / stride).max(1);
                let most = if most.is_power_of_two() { most } else { most.next_power_of_two() / 2 };
                let mut teeth = vec![needed.min(most)];
                if self.slots.cyclic && stride * most == self.slots.count && most != teeth[0] {
                    teeth.push(most);
                }
                for teeth in teeth {
                    passages.extend(self.comb(input, Comb { stride, teeth }, &starts));
                }
            }
        }
        passages
    }

    fn comb(&self, input: &Placement, comb: Comb, starts: &[usize]) -> Option<Passage> {
        let around = self.slots.cyclic && comb.width() == self.slots.count;
        // Sums of different copies must not mix, and all the sums of one must lie within the slots.
        let apart = starts.windows(2).all(|pair| pair[1] >= pair[0] + comb.width());
        let inside = around || starts.iter().all(|start| start + comb.width() <= self.slots.count);
        if !apart || !inside || (around && starts.len() > 1) {
            return None;
        }
        let diagonals = partial_sums(self.map, input, comb, starts, self.slots)?;
        let teeth = |row: usize, count: usize| -> Vec<u32> {
            let first = starts[row / comb.stride] + row % comb.stride;
            (0..count).map(|tooth| ((first + tooth * comb.stride) % self.slots.count) as u32).collect()
        };
        // Once around, the fold leaves every sum at all its teeth.
        let copies = if around { comb.teeth } else { 1 };
        let positions = (0..self.map.outputs()).map(|row| teeth(row, copies)).collect();
        let output = Placement { positions, grid: None, clean: comb.teeth == 1 || around };
        Some(self.passage(diagonals, self.bias(|row| teeth(row, 1)), self.folds(comb), output))
    }

    /// Sums of two, four or eight rotations that add up the teeth of a comb, the cheapest sequence.
    fn folds(&self, comb: Comb) -> Vec<Vec<i64>> {
        let level = self.level - 1;
        let bits = comb.teeth.ilog2();
        // best[b]: the cheapest way to add up 2^b neighbours, as the sizes of its sums in bits
        let mut best: Vec<(f64, Vec<u32>)> = vec![(0.0, Vec::new())];
        for bit in 1..=bits {
            let options = (1..=bit.min(3)).map(|size| {
                let (seconds, sizes) = &best[(bit - size) as usize];
                let step = price(Work::sum(level, (1 << size) - 1), self.rates);
                (seconds + step, sizes.iter().copied().chain([size]).collect::<Vec<u32>>())
            });
            let least = options.min_by(|a, b| a.0.total_cmp(&b.0));
            best.extend(least);
        }
        let mut stride = comb.stride as i64;
        let sizes = best.pop().map_or(Vec::new(), |(_, sizes)| sizes);
        sizes
            .into_iter()
            .map(|size| {
                let sum = (0..1 << size).map(|i| i * stride).collect();
                stride <<= size;
                sum
            })
            .collect()
    }

    fn bias(&self, slots: impl Fn(usize) -> Vec<u32>) -> Vec<Entry> {
        let biases = self.map.bias().iter().enumerate().filter(|&(_, &bias)| bias != 0.0);
        biases.flat_map(|(row, &weight)| slots(row).into_iter().map(move |slot| Entry { slot, weight })).collect()
    }

    fn passage(&self, diagonals: Diagonals, bias: Vec<Entry>, folds: Vec<Vec<i64>>, output: Placement) -> Passage {
        let rotations = diagonals.keys().copied().collect();
        let count = diagonals.len();
        let cost = |babies, giants| price(Work::linear(self.level, count, babies, giants), self.rates);
        let split = split(&rotations, cost);
        let work = Work::linear(self.level, count, split.babies().len(), split.giants()) + sums(&folds, self.level - 1);
        Passage { copies: Vec::new(), diagonals, split, bias, folds, output, work }
    }
}

/// Rotations that put `copies` copies, a power of two, `period` slots apart.
fn repetition(period: usize, copies: usize) -> Vec<Vec<i64>> {
    (0..copies.ilog2()).map(|bit| vec![0, -((period << bit) as i64)]).collect()
}

fn sums(sums: &[Vec<i64>], level: usize) -> Work {
    sums.iter().fold(Work::default(), |work, rotations| work + Work::sum(level, rotations.len() - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Conv2d;

    const RATES: Rates = Rates { transform: 14e-6, row: 1.5e-6, key: 3e-6, weight: 3e-6 };
    const SLOTS: Slots = Slots { count: 4096, cyclic: true };

    fn weights(count: usize) -> Vec<f64> {
        (0..count).map(|i| ((i * 37 % 101) as f64 - 50.0) / 50.0 + 0.003).collect()
    }

    fn conv(input: [usize; 3], outputs: usize, kernel: usize, stride: usize, padding: usize) -> AffineMap {
        let shape = [outputs, input[0], kernel, kernel];
        let weights = weights(shape.iter().product());
        let mut conv = Conv2d::new(&weights, shape);
        (conv.stride, conv.padding) = ([stride; 2], [padding; 2]);
        AffineMap::conv2d(input, &conv).unwrap()
    }

    /// Milliseconds of the affine maps, and rows of keys.
    fn total(chain: &Chain) -> (f64, usize) {
        let work = chain.passages.iter().fold(Work::default(), |work, passage| work + passage.work);
        (work.seconds(RATES) * 1e3, work.key_rows)
    }

    fn dense(input: &[usize], outputs: usize) -> AffineMap {
        let inputs = input.iter().product();
        let map = AffineMap::linear(&weights(inputs * outputs), [outputs, inputs], None).unwrap();
        map.reshaped(input, &[outputs]).unwrap()
    }

    #[test]
    fn cryptonets() {
        let maps = [conv([1, 28, 28], 5, 5, 2, 1), dense(&[5, 13, 13], 100), dense(&[100], 10)];
        let chain = search(&maps, SLOTS, 6, RATES).unwrap();
        let (milliseconds, key_rows) = total(&chain);
        assert!(milliseconds < 13.5 && key_rows < 1000, "{milliseconds} {key_rows}");
        // Four copies of the hidden values divide its 128 diagonals by four.
        assert_eq!(chain.passages[1].diagonals.len(), 32);
        assert!(chain.passages[2].output.clean);
    }

    #[test]
    fn a_stride_is_taken_by_the_client() {
        let maps = [conv([1, 28, 28], 16, 3, 3, 0), dense(&[16, 9, 9], 10)];
        let chain = search(&maps, SLOTS, 4, RATES).unwrap();
        assert_eq!(chain.passages[0].diagonals.len(), 9);
        let split = &chain.passages[0].split;
        assert!(split.babies().len() + 3 * split.giants() <= 8);
        let (milliseconds, key_rows) = total(&chain);
        // Some of it is for folding all the way around, which leaves no partial sums beside the answers.
        assert!(milliseconds < 3.1 && key_rows < 250, "{milliseconds} {key_rows}");
        assert!(chain.passages[1].output.clean);
    }

    #[test]
    fn two_convolutions() {
        let maps = [conv([1, 28, 28], 8, 5, 2, 1), conv([8, 13, 13], 16, 5, 2, 1), dense(&[16, 6, 6], 10)];
        let (milliseconds, key_rows) = total(&search(&maps, SLOTS, 6, RATES).unwrap());
        assert!(milliseconds < 20.0 && key_rows < 1500, "{milliseconds} {key_rows}");
    }

    #[test]
    fn what_does_not_fit_has_no_chain() {
        assert_eq!(search(&[dense(&[5000], 2)], SLOTS, 2, RATES), Err(0));
        assert_eq!(search(&[dense(&[9], 5000), dense(&[5000], 2)], SLOTS, 4, RATES), Err(0));
        assert_eq!(search(&[dense(&[9], 2), dense(&[2], 5000)], SLOTS, 4, RATES), Err(1));
    }
}
