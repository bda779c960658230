//! What repeats in a map, for kernels that profit from it.

use std::collections::HashMap;

use super::AffineMap;

impl AffineMap {
    /// The different weights in order of first appearance, and for each entry the index of its weight.
    ///
    /// A convolution repeats its few weights at every position: encode each once.
    pub fn distinct_weights(&self) -> (Vec<f64>, Vec<u32>) {
        let mut distinct = Vec::new();
        let mut seen = HashMap::new();
        let indices = self
            .weights
            .iter()
            .map(|&weight| {
                *seen.entry(weight.to_bits()).or_insert_with(|| {
                    distinct.push(weight);
                    distinct.len() as u32 - 1
                })
            })
            .collect();
        (distinct, indices)
    }

    /// The rows grouped by the columns that they read, in order of first appearance.
    ///
    /// All filters of a convolution at one position read the same inputs, all rows of a fully connected layer too: a
    /// kernel may load those once for the whole group.
    pub fn rows_by_columns(&self) -> Vec<Vec<u32>> {
        let mut groups: Vec<Vec<u32>> = Vec::new();
        let mut seen: HashMap<&[u32], usize> = HashMap::new();
        for (row, (columns, _)) in self.rows().enumerate() {
            let group = *seen.entry(columns).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[group].push(row as u32);
        }
        groups
    }

    /// Multiplications that the map costs: its entries, but for rows that copy one value as it is.
    pub fn multiplications(&self) -> usize {
        self.rows()
            .zip(&self.bias)
            .map(|((_, weights), &bias)| if weights == [1.0] && bias == 0.0 { 0 } else { weights.len() })
            .sum()
    }

    /// Whether the map only renames values: output `i` is input `i`.
    pub fn is_identity(&self) -> bool {
        self.outputs() == self.inputs()
            && self.bias.iter().all(|&bias| bias == 0.0)
            && self.rows().enumerate().all(|(row, (columns, weights))| columns == [row as u32] && weights == [1.0])
    }

    /// The largest sum of |weight| over a row: how much the map can enlarge the largest |value|, bias aside.
    pub fn max_row_l1(&self) -> f64 {
        self.rows().map(|(_, weights)| weights.iter().map(|weight| weight.abs()).sum()).fold(0.0, f64::max)
    }
}
