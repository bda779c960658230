//! The kernels in plain Rust: right for every modulus below 2^61, and the oracle of the others.

use super::{TILE, Terms, Tile};
use crate::ring::Modulus;

#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel {
    modulus: Modulus,
    /// how many products fit a double word
    lazy: usize,
}

impl Kernel {
    pub(super) fn new(modulus: Modulus) -> Self {
        Self { modulus, lazy: 1 << (127 - 2 * modulus.bits()).min(20) }
    }

    pub(super) fn expand(&self, terms: &Terms, monomials: &[Tile]) -> Tile {
        let q = self.modulus;
        std::array::from_fn(|x| {
            let at = |&m: &u32| u128::from(monomials[m as usize][x]);
            let mut plus: u128 = terms.plus.iter().map(at).sum();
            let mut minus: u128 = terms.minus.iter().map(at).sum();
            for (m, coefficient) in &terms.other {
                let product = q.mul(q.reduce(coefficient.unsigned_abs()), monomials[*m as usize][x]);
                *(if *coefficient > 0 { &mut plus } else { &mut minus }) += u128::from(product);
            }
            q.sub(q.reduce_wide(plus), q.reduce_wide(minus))
        })
    }

    pub(super) fn accumulate<'a>(
        &self,
        products: impl Iterator<Item = (&'a Tile, &'a Tile)>,
        start: Option<&Tile>,
        out: &mut Tile,
    ) {
        let q = self.modulus;
        let mut sums: [u128; TILE] = std::array::from_fn(|x| start.map_or(0, |start| u128::from(start[x])));
        for (done, (weight, input)) in products.enumerate() {
            if done % self.lazy == self.lazy - 1 {
                for sum in &mut sums {
                    *sum = u128::from(q.reduce_wide(*sum));
                }
            }
            for x in 0..TILE {
                sums[x] += u128::from(weight[x]) * u128::from(input[x]);
            }
        }
        *out = sums.map(|sum| q.reduce_wide(sum));
    }
}
