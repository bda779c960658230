//! The oracle: one coefficient at a time.

use super::{Conversion, FRACTION_BITS};
use crate::ring::Modulus;

/// How many products below 2^122 a double word holds beside one more residue.
const LAZY_PRODUCTS: usize = 63;

pub(super) fn apply(conversion: &Conversion, output: &mut [u64], input: &[u64]) {
    let inputs = &conversion.inputs;
    let degree = input.len() / inputs.len();
    let companions: Vec<u64> = inputs.iter().map(|input| input.modulus.shoup(input.factor)).collect();
    let mut digits = vec![0; inputs.len()];
    for at in 0..degree {
        let mut quotient = 0.5;
        let mut fraction = 1u128 << (FRACTION_BITS - 1);
        for (i, (prime, digit)) in inputs.iter().zip(&mut digits).enumerate() {
            *digit = prime.modulus.mul_shoup(input[i * degree + at], prime.factor, companions[i]);
            quotient += *digit as f64 * prime.reciprocal;
            fraction += (u128::from(*digit) * u128::from(prime.fraction)) >> (conversion.fraction_bits - FRACTION_BITS);
        }
        let (quotient, fraction) = (quotient as u64, fraction >> FRACTION_BITS);
        for (prime, row) in conversion.outputs.iter().zip(output.chunks_exact_mut(degree)) {
            let q = prime.modulus;
            let start = q.reduce_wide(u128::from(quotient) * u128::from(prime.minus_product) + fraction);
            row[at] = inner_product(q, start, &digits, &prime.factors);
        }
    }
}

fn inner_product(q: Modulus, start: u64, digits: &[u64], factors: &[u64]) -> u64 {
    digits.chunks(LAZY_PRODUCTS).zip(factors.chunks(LAZY_PRODUCTS)).fold(start, |sum, (digits, factors)| {
        let products = digits.iter().zip(factors).map(|(&digit, &factor)| u128::from(digit) * u128::from(factor));
        q.reduce_wide(u128::from(sum) + products.sum::<u128>())
    })
}
