//! The Chinese remainder theorem: residues modulo several primes to one integer.

use super::modulus::Modulus;

/// Composition of residues modulo q_0, ..., q_{k-1} into integers modulo q = q_0 ... q_{k-1}.
///
/// Integers are little-endian 64-bit limbs, enough of them for 2 q. The moduli are odd.
#[derive(Debug, Clone)]
pub struct Crt {
    moduli: Vec<Modulus>,
    product: Vec<u64>,
    /// q / q_j
    punctured: Vec<Vec<u64>>,
    /// (q / q_j)^-1 mod q_j with its Shoup companion
    inverses: Vec<(u64, u64)>,
}

impl Crt {
    /// Constants for distinct primes.
    pub fn new(moduli: &[Modulus]) -> Self {
        let limbs = moduli.iter().map(|q| q.bits() as usize).sum::<usize>() / 64 + 1;
        let product_of = |skip: Option<usize>| {
            let mut product = vec![0; limbs];
            product[0] = 1;
            for (_, q) in moduli.iter().enumerate().filter(|&(j, _)| Some(j) != skip) {
                multiply(&mut product, q.value());
            }
            product
        };
        let inverses = moduli
            .iter()
            .enumerate()
            .map(|(j, &q)| {
                let others = moduli.iter().enumerate().filter(|&(i, _)| i != j);
                let punctured = others.fold(1, |p, (_, other)| q.mul(p, q.reduce(other.value())));
                // Distinct primes are coprime.
                let inverse = q.inv(punctured).unwrap_or_default();
                (inverse, q.shoup(inverse))
            })
            .collect();
        let punctured = (0..moduli.len()).map(|j| product_of(Some(j))).collect();
        Self { moduli: moduli.to_vec(), product: product_of(None), punctured, inverses }
    }

    /// The limbs of a composed integer.
    pub fn limbs(&self) -> usize {
        self.product.len()
    }

    /// The limbs of q.
    pub fn product(&self) -> &[u64] {
        &self.product
    }

    /// (q / q_j)^-1 mod q_j, with its Shoup companion.
    pub fn inverse(&self, j: usize) -> (u64, u64) {
        self.inverses[j]
    }

    /// Writes the magnitude of the representative in (-q/2, q/2] of the integer with residues
    /// `residue(j)` to `out` (as many limbs as [`limbs`](Crt::limbs)); says whether it is negative.
    #[inline]
    pub fn compose_centered(&self, residue: impl Fn(usize) -> u64, out: &mut [u64]) -> bool {
        self.compose(residue, out);
        let negative = {
            // x > q / 2 exactly where 2 x > q
            let (mut shifted_out, mut order) = (0, std::cmp::Ordering::Equal);
            for (&x, q) in out.iter().zip(&self.product) {
                order = ((x << 1) | shifted_out).cmp(q).then(order);
                shifted_out = x >> 63;
            }
            order.is_gt()
        };
        if negative {
            let mut borrow = false;
            for (x, &q) in out.iter_mut().zip(&self.product) {
                (*x, borrow) = subtract(q, *x, borrow);
            }
        }
        negative
    }

    /// The integer in [0, q) with residues `residue(j)`.
    #[inline]
    pub fn compose(&self, residue: impl Fn(usize) -> u64, out: &mut [u64]) {
        out.fill(0);
        for (j, (&q, &(inverse, companion))) in self.moduli.iter().zip(&self.inverses).enumerate() {
            let factor = u128::from(q.mul_shoup(residue(j), inverse, companion));
            let mut carry = 0;
            for (x, &limb) in out.iter_mut().zip(&self.punctured[j]) {
                let sum = factor * u128::from(limb) + u128::from(*x) + carry;
                (*x, carry) = (sum as u64, sum >> 64);
            }
            // Each term is below q, so the sum of a reduced value and a term needs one subtraction.
            if out.iter().rev().ge(self.product.iter().rev()) {
                let mut borrow = false;
                for (x, &q) in out.iter_mut().zip(&self.product) {
                    (*x, borrow) = subtract(*x, q, borrow);
                }
            }
        }
    }
}

fn multiply(x: &mut [u64], factor: u64) {
    let mut carry = 0;
    for limb in x {
        let product = u128::from(*limb) * u128::from(factor) + carry;
        (*limb, carry) = (product as u64, product >> 64);
    }
}

#[inline(always)]
fn subtract(a: u64, b: u64, borrow: bool) -> (u64, bool) {
    let (difference, first) = a.overflowing_sub(b);
    let (difference, second) = difference.overflowing_sub(u64::from(borrow));
    (difference, first || second)
}

#[cfg(test)]
mod tests {
    use num_bigint::{BigInt, BigUint};
    use proptest::prelude::*;

    use super::*;
    use crate::ring::primes;

    fn big(limbs: &[u64]) -> BigUint {
        limbs.iter().rev().fold(BigUint::ZERO, |x, &limb| (x << 64) + limb)
    }

    proptest! {
        #[test]
        fn composition_inverts_reduction(count in 1usize..9, bits in 20u32..61, words in prop::collection::vec(any::<u64>(), 9)) {
            let moduli: Vec<Modulus> =
                primes::largest(2048, bits, count).unwrap().into_iter().map(|q| Modulus::new(q).unwrap()).collect();
            let crt = Crt::new(&moduli);
            let q = moduli.iter().fold(BigUint::from(1u32), |p, q| p * q.value());
            prop_assert_eq!(big(crt.product()), q.clone());
            let x = big(&words) % &q;
            let residues: Vec<u64> = moduli.iter().map(|m| (&x % m.value()).iter_u64_digits().next().unwrap_or(0)).collect();
            let mut out = vec![0; crt.limbs()];
            crt.compose(|j| residues[j], &mut out);
            prop_assert_eq!(big(&out), x.clone());
            let negative = crt.compose_centered(|j| residues[j], &mut out);
            let centered = if &x * 2u32 > q { BigInt::from(x) - BigInt::from(q) } else { BigInt::from(x) };
            let sign = if negative { -1 } else { 1 };
            prop_assert_eq!(BigInt::from(big(&out)) * sign, centered);
        }
    }

    #[test]
    fn the_ends_of_the_centred_range() {
        let moduli: Vec<Modulus> = [97, 193].map(|q| Modulus::new(q).unwrap()).to_vec();
        let crt = Crt::new(&moduli);
        let q = 97 * 193;
        let mut out = vec![0; crt.limbs()];
        for (x, expected) in [(0, (0, false)), (q / 2, (q / 2, false)), (q / 2 + 1, (q / 2, true)), (q - 1, (1, true))]
        {
            let negative = crt.compose_centered(|j| x % moduli[j].value(), &mut out);
            assert_eq!((out[0], negative), expected);
        }
    }
}
