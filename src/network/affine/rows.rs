//! Compressed rows under construction.

use super::{AffineMap, MEMORY_LIMIT, values};
use crate::error::{Error, Result};

/// An [`AffineMap`] that is being filled, row by row.
pub(super) struct Rows {
    map: AffineMap,
    inputs: usize,
}

impl Rows {
    /// An empty matrix for the shapes given, with room for at most `entries` entries.
    pub(super) fn new(
        operation: &'static str,
        input_shape: &[usize],
        output_shape: &[usize],
        entries: usize,
    ) -> Result<Self> {
        let inputs = values(operation, input_shape)?;
        let outputs = values(operation, output_shape)?;
        check_memory(operation, outputs, entries)?;
        let mut offsets = Vec::with_capacity(outputs + 1);
        offsets.push(0);
        Ok(Self {
            map: AffineMap {
                input_shape: input_shape.to_vec(),
                output_shape: output_shape.to_vec(),
                offsets,
                columns: Vec::with_capacity(entries),
                weights: Vec::with_capacity(entries),
                bias: Vec::with_capacity(outputs),
            },
            inputs,
        })
    }

    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Adds an entry to the current row; columns must come in ascending order. Zero weights are left out.
    pub(super) fn push(&mut self, column: usize, weight: f64) {
        debug_assert!(column < self.inputs);
        if weight != 0.0 {
            // Fits: `values` keeps every tensor below 2^32 values.
            self.map.columns.push(column as u32);
            self.map.weights.push(weight);
        }
    }

    pub(super) fn end_row(&mut self, bias: f64) {
        self.map.bias.push(bias);
        self.map.offsets.push(self.map.weights.len());
    }

    pub(super) fn finish(self) -> AffineMap {
        debug_assert_eq!(self.map.bias.len(), self.map.output_shape.iter().product::<usize>());
        self.map
    }
}

/// Refuses a map before its memory is asked for.
fn check_memory(operation: &'static str, outputs: usize, entries: usize) -> Result<()> {
    let size = (entries as u64)
        .saturating_mul((size_of::<u32>() + size_of::<f64>()) as u64)
        .saturating_add((outputs as u64).saturating_mul((size_of::<usize>() + size_of::<f64>()) as u64));
    if size > MEMORY_LIMIT {
        return Err(Error::TooLarge { object: operation, size, limit: MEMORY_LIMIT });
    }
    Ok(())
}
