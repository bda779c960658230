//! Sparse integer matrices, and the blocks of rows that kernels compute at once.

use std::ops::Range;

use super::group::{self, Group};
use crate::error::{Error, Result};

/// The largest number of rows that a kernel computes at once: five accumulators for each of the four
/// vectors of a tile, the tile itself and a weight fill the registers of AVX-512. Convolutions with
/// 5, 10 or 20 filters split evenly; other counts split into blocks of nearly equal height.
pub(super) const BLOCK_ROWS: usize = 5;

/// A sparse matrix of integer weights, by rows.
///
/// Rows that read the same columns (the filters of a convolution at one position, all rows of a
/// dense layer) are computed together, several outputs for each load of an input. Rows that differ
/// in a few columns, because weights happened to be rounded to zero, are put together too.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalarMatrix {
    rows: usize,
    columns: usize,
    nonzeros: usize,
    /// column lists, one for each group of rows
    taps: Vec<u32>,
    /// weights, block by block, each `[tap][row of the block]`
    weights: Vec<i64>,
    /// row numbers, block by block
    order: Vec<u32>,
    blocks: Vec<Span>,
}

/// Where a block's parts stand in the matrix's arrays.
#[derive(Debug, Clone, PartialEq)]
struct Span {
    taps: Range<usize>,
    weights: Range<usize>,
    rows: Range<usize>,
}

/// Up to [`BLOCK_ROWS`] rows of a matrix over one list of columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a> {
    /// the columns, ascending, each below the matrix's number of columns
    pub taps: &'a [u32],
    /// `[tap][row]`
    pub weights: &'a [i64],
    /// the rows' numbers in the matrix, one to [`BLOCK_ROWS`] of them
    pub rows: &'a [u32],
}

impl ScalarMatrix {
    /// The largest absolute value of a weight: products with the 32-bit halves of residues, and
    /// sums of a few of them, stay below 2^63.
    pub const MAX_WEIGHT: i64 = 1 << 30;

    /// A matrix from compressed rows: row r has the entries `offsets[r]..offsets[r + 1]` of `columns`
    /// and `weights`. A row may be empty; entries of one column add up.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where the arrays do not describe `width` columns,
    /// [`Error::InvalidArgument`] for a weight beyond [`MAX_WEIGHT`](Self::MAX_WEIGHT) or too many rows.
    pub fn new(width: usize, offsets: &[usize], columns: &[u32], weights: &[i64]) -> Result<Self> {
        let shape = |expected: &str, got: Vec<usize>| Error::ShapeMismatch {
            operation: "sparse matrix",
            expected: expected.into(),
            got,
        };
        if offsets.first() != Some(&0) || offsets.last() != Some(&columns.len()) || !offsets.is_sorted() {
            return Err(shape("row offsets that ascend from 0 to the number of entries", offsets.to_vec()));
        }
        if columns.len() != weights.len() {
            return Err(shape("one column for each weight", vec![columns.len(), weights.len()]));
        }
        if let Some(&column) = columns.iter().find(|&&column| column as usize >= width) {
            return Err(shape("columns below the width of the matrix", vec![column as usize, width]));
        }
        if let Some(weight) = weights.iter().find(|weight| weight.unsigned_abs() > Self::MAX_WEIGHT as u64) {
            return Err(Error::InvalidArgument {
                name: "weights",
                reason: format!("{weight} is beyond {}; quantise to fewer bits", Self::MAX_WEIGHT),
            });
        }
        let rows = offsets.len() - 1;
        if u32::try_from(rows).is_err() {
            return Err(Error::InvalidArgument {
                name: "offsets",
                reason: format!("{rows} rows; at most 2^32 - 1 are supported"),
            });
        }
        let sorted: Vec<Row> = offsets
            .windows(2)
            .map(|bounds| Row::new(&columns[bounds[0]..bounds[1]], &weights[bounds[0]..bounds[1]]))
            .collect();
        let mut matrix = Self {
            rows,
            columns: width,
            nonzeros: weights.len(),
            taps: Vec::new(),
            weights: Vec::new(),
            order: Vec::new(),
            blocks: Vec::new(),
        };
        for group in group::similar(&sorted) {
            matrix.push_group(&sorted, &group);
        }
        Ok(matrix)
    }

    /// A matrix all of whose entries are given, row after row.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where `weights` is not a multiple of `width`, and those of [`new`](Self::new).
    pub fn dense(width: usize, weights: &[i64]) -> Result<Self> {
        if width == 0 || width > u32::MAX as usize || !weights.len().is_multiple_of(width) {
            return Err(Error::ShapeMismatch {
                operation: "dense matrix",
                expected: "whole rows of at least one column".into(),
                got: vec![weights.len(), width],
            });
        }
        let rows = weights.len() / width;
        let offsets: Vec<usize> = (0..=rows).map(|row| row * width).collect();
        let columns: Vec<u32> = (0..rows).flat_map(|_| 0..width as u32).collect();
        Self::new(width, &offsets, &columns, weights)
    }

    /// The number of rows: outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns: inputs.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The number of entries: multiply-adds for each residue.
    pub fn nonzeros(&self) -> usize {
        self.nonzeros
    }

    /// The blocks, which cover every row once.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Block<'_>> {
        self.blocks.iter().map(|span| Block {
            taps: &self.taps[span.taps.clone()],
            weights: &self.weights[span.weights.clone()],
            rows: &self.order[span.rows.clone()],
        })
    }

    /// Splits a group of rows into blocks of nearly equal height.
    fn push_group(&mut self, sorted: &[Row], group: &Group) {
        let taps = self.taps.len()..self.taps.len() + group.columns.len();
        self.taps.extend_from_slice(&group.columns);
        let height = group.rows.len();
        let count = height.div_ceil(BLOCK_ROWS);
        for i in 0..count {
            let members = &group.rows[i * height / count..(i + 1) * height / count];
            let (weights, rows) = (self.weights.len(), self.order.len());
            self.weights.resize(weights + taps.len() * members.len(), 0);
            for (o, &row) in members.iter().enumerate() {
                let places = self.weights[weights..].iter_mut().skip(o).step_by(members.len());
                sorted[row as usize].spread(&group.columns, places);
            }
            self.order.extend_from_slice(members);
            let (weights, rows) = (weights..self.weights.len(), rows..self.order.len());
            self.blocks.push(Span { taps: taps.clone(), weights, rows });
        }
    }
}

/// A row with its entries by ascending column.
pub(super) struct Row {
    pub columns: Vec<u32>,
    weights: Vec<i64>,
}

impl Row {
    fn new(columns: &[u32], weights: &[i64]) -> Self {
        if columns.is_sorted() {
            return Self { columns: columns.to_vec(), weights: weights.to_vec() };
        }
        let mut entries: Vec<(u32, i64)> = columns.iter().copied().zip(weights.iter().copied()).collect();
        entries.sort_by_key(|&(column, _)| column);
        let (columns, weights) = entries.into_iter().unzip();
        Self { columns, weights }
    }

    /// Puts the weights to the places of their columns in a list that holds all of the row's.
    fn spread<'a>(&self, columns: &[u32], places: impl Iterator<Item = &'a mut i64>) {
        let mut entries = self.columns.iter().zip(&self.weights).peekable();
        for (column, place) in columns.iter().zip(places) {
            if let Some((_, &weight)) = entries.next_if(|(own, _)| *own == column) {
                *place = weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_read_the_same_columns_become_blocks() {
        // Rows 0, 2 and 3 read columns 1 and 3, row 3 in another order; row 1 is empty.
        let matrix = ScalarMatrix::new(4, &[0, 2, 2, 4, 6], &[1, 3, 1, 3, 3, 1], &[10, 11, 20, 21, 31, 30]).unwrap();
        let blocks: Vec<_> = matrix.blocks().collect();
        assert_eq!(blocks.len(), 2);
        assert_eq!(
            (blocks[0].taps, blocks[0].rows, blocks[0].weights),
            (&[1, 3][..], &[0, 2, 3][..], &[10, 20, 30, 11, 21, 31][..])
        );
        assert_eq!((blocks[1].taps.len(), blocks[1].rows), (0, &[1][..]));
    }

    #[test]
    fn large_groups_split_evenly_and_cover_every_row_once() {
        for rows in 1..=23 {
            let matrix = ScalarMatrix::dense(3, &vec![1; 3 * rows]).unwrap();
            let heights: Vec<usize> = matrix.blocks().map(|block| block.rows.len()).collect();
            assert!(
                heights.iter().all(|&h| (1..=BLOCK_ROWS).contains(&h))
                    && heights.iter().max().unwrap() - heights.iter().min().unwrap() <= 1
            );
            let covered: Vec<u32> = matrix.blocks().flat_map(|block| block.rows.to_vec()).collect();
            assert_eq!(covered, (0..rows as u32).collect::<Vec<_>>());
        }
    }

    #[test]
    fn arrays_that_do_not_fit_are_refused() {
        let code = |result: Result<ScalarMatrix>| result.unwrap_err().code();
        assert_eq!(code(ScalarMatrix::new(2, &[], &[], &[])), "shape-mismatch");
        assert_eq!(code(ScalarMatrix::new(2, &[0, 2, 1], &[0], &[1])), "shape-mismatch");
        assert_eq!(code(ScalarMatrix::new(2, &[0, 1], &[0], &[1, 2])), "shape-mismatch");
        assert_eq!(code(ScalarMatrix::new(2, &[0, 1], &[2], &[1])), "shape-mismatch");
        assert_eq!(code(ScalarMatrix::new(2, &[0, 1], &[0], &[i64::MIN])), "invalid-argument");
        assert_eq!(code(ScalarMatrix::dense(2, &[1, 2, 3])), "shape-mismatch");
    }
}
