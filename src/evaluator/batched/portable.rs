//! Plain Rust kernels: every machine, every modulus below 2^61; the oracle of the others.

use super::accumulate::Prime;
use super::kernel::{TILE, Tile};
use super::matrix::Block;

/// Balances residues in `[0, q)`.
pub fn load(prime: &Prime, residues: &[u64], panels: &mut [Tile], columns: usize) {
    let half = prime.value / 2;
    for (residues, tile) in residues.chunks_exact(TILE).zip(panels.iter_mut().step_by(columns)) {
        for (x, &residue) in tile.0.iter_mut().zip(residues) {
            let residue = residue as i64;
            *x = if residue > half { residue - prime.value } else { residue };
        }
    }
}

/// Brings balanced residues to `[0, q)`.
pub fn store(prime: &Prime, tile: &Tile, residues: &mut [u64]) {
    for (residue, &x) in residues.iter_mut().zip(&tile.0) {
        *residue = if x < 0 { x + prime.value } else { x } as u64;
    }
}

/// The sums of a block, each residue in two halves: see [`kernel::affine`](super::kernel::affine).
pub fn affine(
    prime: &Prime,
    block: Block<'_>,
    ends: &[u32],
    panel: &[Tile],
    bias: &[i64],
    out: &mut [Tile],
    at: &[u32],
) {
    let height = block.rows.len();
    for (o, (&bias, &at)) in bias.iter().zip(at).enumerate() {
        let (mut low, mut high) = ([bias; TILE], [0; TILE]);
        let mut start = 0;
        for &end in ends {
            let end = end as usize;
            for (&tap, weights) in
                block.taps[start..end].iter().zip(block.weights[start * height..].chunks_exact(height))
            {
                let weight = i64::from(weights[o] as i32);
                for ((low, high), &x) in low.iter_mut().zip(&mut high).zip(&panel[tap as usize].0) {
                    let half = i64::from(x as i32);
                    *low += weight * half;
                    *high += weight * i64::from(((x - half) >> 32) as i32);
                }
            }
            if end < block.taps.len() {
                low.iter_mut().chain(&mut high).for_each(|x| *x = prime.reduce(i128::from(*x)));
            }
            start = end;
        }
        for ((x, low), high) in out[at as usize].0.iter_mut().zip(low).zip(high) {
            *x = prime.reduce((i128::from(high) << 32) + i128::from(low));
        }
    }
}

/// The square of one value: see [`kernel::square`](super::kernel::square).
pub fn square(
    prime: &Prime,
    size: usize,
    input: &[Tile],
    input_stride: usize,
    output: &mut [Tile],
    output_stride: usize,
) {
    for k in 0..2 * size - 1 {
        let mut sum = [0i128; TILE];
        for i in (k + 1).saturating_sub(size)..=k / 2 {
            let j = k - i;
            let factor = if i == j { 1 } else { 2 };
            for ((sum, &a), &b) in sum.iter_mut().zip(&input[i * input_stride].0).zip(&input[j * input_stride].0) {
                // Up to 8 products below 2 (2^61)^2.
                *sum += factor * i128::from(a) * i128::from(b);
            }
        }
        for (x, sum) in output[k * output_stride].0.iter_mut().zip(sum) {
            *x = prime.reduce(sum);
        }
    }
}
