//! Where the values of a tensor lie in the slots of a ciphertext.

use std::fmt;

/// The slots that one image has: all of a ciphertext's, or an equal part where several images share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// how many
    pub count: usize,
    /// whether a rotation past the last slot comes in at the first: true where one image has all slots
    pub cyclic: bool,
}

impl Slots {
    /// The rotation that brings slot `from` to slot `to`, the shorter way where there are two.
    pub fn rotation(self, from: usize, to: usize) -> i64 {
        let steps = from as i64 - to as i64;
        let half = self.count as i64 / 2;
        match steps {
            _ if !self.cyclic => steps,
            _ if steps > half => steps - self.count as i64,
            _ if steps <= -half => steps + self.count as i64,
            _ => steps,
        }
    }

    /// The slot `offset` behind `slot`, if there is one.
    pub fn shift(self, slot: usize, offset: usize) -> Option<usize> {
        let at = slot + offset;
        if self.cyclic { Some(at % self.count) } else { (at < self.count).then_some(at) }
    }
}

/// A tensor `[channels, height, width]` whose value (c, y, x) lies at `channels[c] + y * row + x * column`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    /// the first slot of each channel
    pub channels: Vec<usize>,
    /// slots from a row to the next
    pub row: usize,
    /// slots from a column to the next
    pub column: usize,
    /// rows and columns
    pub size: [usize; 2],
}

impl Grid {
    /// The slot of each value, in row-major order.
    pub fn slots(&self) -> impl Iterator<Item = usize> {
        let [height, width] = self.size;
        self.channels.iter().flat_map(move |channel| {
            (0..height).flat_map(move |y| (0..width).map(move |x| channel + y * self.row + x * self.column))
        })
    }

    /// One slot past the last that the grid uses.
    pub fn end(&self) -> usize {
        let last = self.channels.iter().max().copied().unwrap_or(0);
        last + (self.size[0] - 1) * self.row + (self.size[1] - 1) * self.column + 1
    }

    /// The distance of channels, where it is the same for all.
    pub fn pitch(&self) -> Option<usize> {
        let distance = match self.channels.as_slice() {
            [first, second, ..] => second.checked_sub(*first)?,
            _ => self.size[0] * self.row,
        };
        self.channels.windows(2).all(|pair| pair[0] + distance == pair[1]).then_some(distance)
    }
}

/// The slots of every value of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// by value: one slot or more, all of them with the same value
    pub positions: Vec<Vec<u32>>,
    /// how the first copy lies, where it is regular
    pub grid: Option<Grid>,
    /// whether every other slot is zero
    pub clean: bool,
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.grid {
            Some(Grid { channels, row, column, size: [height, width] }) => {
                let count = channels.len();
                write!(f, "{count} x {height} x {width} grid, a row every {row} slots, a column every {column}")?;
            }
            None => write!(f, "{} values in slots 0 to {}", self.positions.len(), self.end().saturating_sub(1))?,
        }
        let most = self.positions.iter().map(Vec::len).max().unwrap_or(0);
        match (self.copies(), most) {
            (1, 1) => Ok(()),
            (least, most) if least == most => write!(f, ", {most} copies"),
            (least, most) => write!(f, ", {least} to {most} copies"),
        }
    }
}

impl Placement {
    /// Values at the slots of a grid, once, zero elsewhere.
    pub fn on_grid(grid: Grid) -> Self {
        let positions = grid.slots().map(|slot| vec![slot as u32]).collect();
        Self { positions, grid: Some(grid), clean: true }
    }

    /// Values one after the other, in copies that start at multiples of `period`.
    pub fn compact(values: usize, period: usize, copies: usize) -> Self {
        let positions = (0..values).map(|value| (0..copies).map(|copy| (copy * period + value) as u32).collect());
        Self { positions: positions.collect(), grid: None, clean: true }
    }

    /// How many copies every value has.
    pub fn copies(&self) -> usize {
        self.positions.iter().map(Vec::len).min().unwrap_or(0)
    }

    /// One slot past the last of the first copy.
    pub fn end(&self) -> usize {
        self.positions.iter().filter_map(|slots| slots.first()).max().map_or(0, |&slot| slot as usize + 1)
    }

    /// The placement with further copies, `period` slots apart; `None` where they do not fit or would fall on others.
    pub fn repeated(&self, period: usize, copies: usize, slots: Slots) -> Option<Self> {
        if copies == 1 {
            return Some(self.clone());
        }
        let fits = self.clean && self.copies() == 1 && self.positions.iter().all(|p| p.len() == 1);
        if !fits || period < self.end() || (copies - 1) * period + self.end() > slots.count {
            return None;
        }
        let repeat = |first: &Vec<u32>| (0..copies).map(|copy| first[0] + (copy * period) as u32).collect();
        Some(Self { positions: self.positions.iter().map(repeat).collect(), grid: self.grid.clone(), clean: true })
    }
}
