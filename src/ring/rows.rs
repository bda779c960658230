//! Rows of residues that are made once and read in every evaluation: keys and plaintexts.
//!
//! They come from memory, which is slower than the arithmetic on them, so residues modulo primes below 2^32 take half a
//! word each.

use super::modulus::Modulus;
use super::residues::Residues;
use crate::error::Result;

/// A word that a row may be made of: wide enough for every modulus, or for those below 2^32.
pub trait Word: Copy + Into<u64> + Send + Sync + sealed::Word {}

impl Word for u64 {}
impl Word for u32 {}

mod sealed {
    pub trait Word: Sized {
        /// The words that a buffer holds.
        fn of(buffer: &[u64]) -> &[Self];
    }

    impl Word for u64 {
        fn of(buffer: &[u64]) -> &[Self] {
            buffer
        }
    }

    impl Word for u32 {
        fn of(buffer: &[u64]) -> &[Self] {
            // SAFETY: twice as many half words are as many bytes, each of them initialised, at an address aligned for more.
            unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast(), 2 * buffer.len()) }
        }
    }
}

/// Rows modulo each of several primes, several times over: `[blocks][primes][N]`.
#[derive(Debug)]
pub struct Rows {
    words: Residues,
    layout: Layout,
}

/// Where the rows of a block lie.
#[derive(Debug)]
struct Layout {
    degree: usize,
    /// the first word of each row, and whether it is narrow
    rows: Vec<(usize, bool)>,
    /// words of a block
    block: usize,
}

impl Layout {
    fn new(degree: usize, moduli: impl Iterator<Item = u64>) -> Self {
        let mut block = 0;
        let row = |modulus: u64| {
            // Half words fill whole words.
            let narrow = modulus <= 1 << 32 && degree.is_multiple_of(2);
            let start = block;
            block += if narrow { degree / 2 } else { degree };
            (start, narrow)
        };
        let rows = moduli.map(row).collect();
        Self { degree, rows, block }
    }
}

impl Rows {
    /// Bytes that `blocks` blocks of rows of N residues modulo these primes take.
    pub fn bytes_of(degree: usize, moduli: impl Iterator<Item = u64>, blocks: usize) -> usize {
        Layout::new(degree, moduli).block * blocks * size_of::<u64>()
    }

    /// Rows that `fill` writes, in their order: row number k is that of prime k modulo their number.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn new(
        degree: usize,
        moduli: impl Iterator<Item = Modulus>,
        blocks: usize,
        mut fill: impl FnMut(usize, &mut [u64]) -> Result<()>,
    ) -> Result<Self> {
        let layout = Layout::new(degree, moduli.map(Modulus::value));
        let mut words = Residues::stale(layout.block * blocks);
        let mut wide = Residues::stale(degree);
        for block in 0..blocks {
            for (i, &(start, narrow)) in layout.rows.iter().enumerate() {
                let (row, start) = (block * layout.rows.len() + i, block * layout.block + start);
                if narrow {
                    fill(row, &mut wide)?;
                    // The halves of each word in the order in which they lie in memory.
                    for (word, pair) in words[start..start + degree / 2].iter_mut().zip(wide.as_chunks().0) {
                        let [first, second] = pair.map(|residue: u64| (residue as u32).to_ne_bytes());
                        let [a, b, c, d] = first;
                        let [e, f, g, h] = second;
                        *word = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
                    }
                } else {
                    fill(row, &mut words[start..start + degree])?;
                }
            }
        }
        Ok(Self { words, layout })
    }

    /// Whether the residues modulo prime number `i` are half words.
    pub fn is_narrow(&self, i: usize) -> bool {
        self.layout.rows[i].1
    }

    /// The row of prime number `i` in a block.
    ///
    /// # Panics
    /// Where the words are of the other kind, or there is no such row.
    pub fn row<W: Word>(&self, block: usize, i: usize) -> &[W] {
        let (start, narrow) = self.layout.rows[i];
        assert_eq!(narrow, size_of::<W>() < size_of::<u64>(), "rows of the other kind of words");
        let words = self.layout.degree / if narrow { 2 } else { 1 };
        let start = block * self.layout.block + start;
        W::of(&self.words[start..start + words])
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        self.words.len() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_were_written() {
        let moduli = [(1 << 35) - 1, (1 << 32) - 1, (1 << 20) + 1, (1u64 << 32) + 1];
        let degree = 8;
        let residue = |row: usize, k: usize| moduli[row % 4] - 1 - (row * degree + k) as u64;
        let values = moduli.iter().map(|&q| Modulus::new(q).unwrap());
        let rows = Rows::new(degree, values, 3, |row, out| {
            out.iter_mut().enumerate().for_each(|(k, out)| *out = residue(row, k));
            Ok(())
        })
        .unwrap();
        assert_eq!(rows.bytes(), 3 * 8 * (8 + 4 + 4 + 8));
        assert_eq!(rows.bytes(), Rows::bytes_of(degree, moduli.into_iter(), 3));
        for row in 0..12 {
            let (block, i) = (row / 4, row % 4);
            let expected: Vec<u64> = (0..degree).map(|k| residue(row, k)).collect();
            let found: Vec<u64> = if rows.is_narrow(i) {
                rows.row::<u32>(block, i).iter().map(|&x| x.into()).collect()
            } else {
                rows.row::<u64>(block, i).to_vec()
            };
            assert_eq!((found, rows.is_narrow(i)), (expected, i == 1 || i == 2));
        }
    }
}
