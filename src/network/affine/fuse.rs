//! The product of two maps.

use rayon::prelude::*;

use super::{AffineMap, MEMORY_LIMIT};
use crate::error::{Error, Result};

/// One row of a product: columns, weights, bias.
type Row = (Vec<u32>, Vec<f64>, f64);

/// A row being summed: a dense array of sums, marks for the columns that are in use, and their list.
struct Accumulator {
    sums: Vec<f64>,
    used: Vec<bool>,
    columns: Vec<u32>,
}

impl Accumulator {
    fn new(inputs: usize) -> Self {
        Self { sums: vec![0.0; inputs], used: vec![false; inputs], columns: Vec::new() }
    }

    fn add(&mut self, columns: &[u32], weights: &[f64], factor: f64) {
        for (&column, &weight) in columns.iter().zip(weights) {
            let index = column as usize;
            if !self.used[index] {
                self.used[index] = true;
                self.columns.push(column);
            }
            self.sums[index] += factor * weight;
        }
    }

    /// The row in ascending order; leaves the accumulator empty.
    fn take(&mut self) -> (Vec<u32>, Vec<f64>) {
        self.columns.sort_unstable();
        let mut columns = Vec::with_capacity(self.columns.len());
        let mut weights = Vec::with_capacity(self.columns.len());
        for &column in &self.columns {
            let index = column as usize;
            if self.sums[index] != 0.0 {
                columns.push(column);
                weights.push(self.sums[index]);
            }
            self.sums[index] = 0.0;
            self.used[index] = false;
        }
        self.columns.clear();
        (columns, weights)
    }
}

impl AffineMap {
    /// The map that does the work of `self` and then of `next`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where `next` does not take what `self` gives; [`Error::InvalidArgument`] where a weight
    /// of the product overflows; [`Error::TooLarge`].
    pub fn fuse(&self, next: &AffineMap) -> Result<AffineMap> {
        if next.input_shape != self.output_shape {
            return Err(Error::ShapeMismatch {
                operation: "fuse",
                expected: format!("a map that takes {:?}", self.output_shape),
                got: next.input_shape.clone(),
            });
        }
        let size = self.fused_entries_bound(next).saturating_mul((size_of::<u32>() + size_of::<f64>()) as u64);
        if size > MEMORY_LIMIT {
            return Err(Error::TooLarge { object: "fused affine map", size, limit: MEMORY_LIMIT });
        }
        let rows: Vec<Row> = (0..next.outputs())
            .into_par_iter()
            .map_init(|| Accumulator::new(self.inputs()), |accumulator, row| self.product_row(next, row, accumulator))
            .collect();

        let entries = rows.iter().map(|row| row.0.len()).sum();
        let mut fused = AffineMap {
            input_shape: self.input_shape.clone(),
            output_shape: next.output_shape.clone(),
            offsets: Vec::with_capacity(rows.len() + 1),
            columns: Vec::with_capacity(entries),
            weights: Vec::with_capacity(entries),
            bias: Vec::with_capacity(rows.len()),
        };
        fused.offsets.push(0);
        for (columns, weights, bias) in rows {
            fused.columns.extend(columns);
            fused.weights.extend(weights);
            fused.bias.push(bias);
            fused.offsets.push(fused.weights.len());
        }
        super::all_finite("fused weights", &fused.weights)?;
        super::all_finite("fused bias", &fused.bias)?;
        Ok(fused)
    }

    /// An upper bound of the entries of [`fuse`](Self::fuse), without computing it.
    pub fn fused_entries_bound(&self, next: &AffineMap) -> u64 {
        let length = |row: u32| {
            let row = row as usize;
            self.offsets.get(row + 1).map_or(0, |end| end - self.offsets[row])
        };
        next.rows()
            .map(|(columns, _)| columns.iter().map(|&row| length(row)).sum::<usize>().min(self.inputs()) as u64)
            .sum()
    }

    /// Row `row` of `next * self`.
    fn product_row(&self, next: &AffineMap, row: usize, accumulator: &mut Accumulator) -> Row {
        let entries = next.offsets[row]..next.offsets[row + 1];
        let mut bias = next.bias[row];
        for (&middle, &factor) in next.columns[entries.clone()].iter().zip(&next.weights[entries]) {
            let middle = middle as usize;
            let inner = self.offsets[middle]..self.offsets[middle + 1];
            accumulator.add(&self.columns[inner.clone()], &self.weights[inner], factor);
            bias += factor * self.bias[middle];
        }
        let (columns, weights) = accumulator.take();
        (columns, weights, bias)
    }
}
