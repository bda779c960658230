use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::encryption::PlainScaling;
use crate::error::Error;
use crate::evaluator::arithmetic::transformed;
use crate::ring::backend::Backend;
use crate::ring::{Modulus, primes};
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, Form, Parameters};

const DEGREE: usize = 1024;

fn context(bits: u32) -> Arc<Context> {
    let moduli = primes::create(DEGREE, &[bits, bits]).unwrap();
    Context::new(Parameters::bfv(DEGREE, moduli, false, 65537).unwrap()).unwrap()
}

fn random_ciphertext(context: &Context, size: usize, seed: &mut u64) -> Ciphertext {
    let mut ciphertext = Ciphertext::zero(context, size, 2, Form::Coefficient, 1.0);
    for (at, residues) in ciphertext.data_mut().chunks_exact_mut(DEGREE).enumerate() {
        let q = context.modulus(at % 2).value();
        for residue in residues {
            *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            *residue = if *seed >> 60 == 0 { q - 1 } else { (*seed >> 3) % q };
        }
    }
    ciphertext
}

/// weight * x mod X^N + 1, coefficient by coefficient.
fn multiply(weight: &SparsePolynomial, x: &[u64], q: Modulus, sum: &mut [u64]) {
    for &(exponent, coefficient) in &weight.terms {
        for (i, &value) in x.iter().enumerate() {
            let product = q.mul(q.reduce_signed(coefficient), value);
            let at = i + exponent as usize;
            let slot = &mut sum[at % DEGREE];
            *slot = if at < DEGREE { q.add(*slot, product) } else { q.sub(*slot, product) };
        }
    }
}

fn weight() -> impl Strategy<Value = SparsePolynomial> {
    let coefficient = prop_oneof![Just(1), Just(-1), -2047i64..2048].prop_filter("nonzero", |&c| c != 0);
    prop::collection::btree_map(0..DEGREE as u32, coefficient, 0..12)
        .prop_map(|terms| SparsePolynomial { terms: terms.into_iter().collect() })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn agrees_with_schoolbook_multiplication(
        bits in 20u32..61,
        size in 2usize..4,
        weights in prop::collection::vec(weight(), 1..5),
        rows in prop::collection::vec(prop::collection::vec((0u32..4, any::<prop::sample::Index>()), 0..6), 1..5),
        mut seed: u64,
    ) {
        let context = context(bits);
        let inputs: Vec<Ciphertext> = (0..4).map(|_| random_ciphertext(&context, size, &mut seed)).collect();
        let mut offsets = vec![0];
        let (mut columns, mut entries) = (Vec::new(), Vec::new());
        for row in &rows {
            for (column, entry) in row {
                columns.push(*column);
                entries.push(entry.index(weights.len()) as u32);
            }
            offsets.push(columns.len());
        }
        let no_bias = vec![SparsePolynomial::default()];
        let map = EncodedMap::new(&context, 4, &offsets, columns.clone(), entries.clone(), &weights, no_bias, vec![0; rows.len()]).unwrap();
        let outputs = map.apply(&inputs.iter().collect::<Vec<_>>(), &Cancellation::new()).unwrap();
        for (o, output) in outputs.iter().enumerate() {
            for poly in 0..size {
                for prime in 0..2 {
                    let mut expected = vec![0; DEGREE];
                    for at in offsets[o]..offsets[o + 1] {
                        let input = inputs[columns[at] as usize].residues(poly, prime);
                        multiply(&weights[entries[at] as usize], input, context.modulus(prime), &mut expected);
                    }
                    context.tables()[prime].forward(&mut expected);
                    prop_assert_eq!(output.residues(poly, prime), &expected[..]);
                }
            }
        }
    }
}

#[test]
fn kernels_agree_on_long_rows_of_extreme_residues() {
    for bits in [20, 36, 49, 50] {
        let modulus = Modulus::new(primes::largest(2 * DEGREE as u64, bits, 1).unwrap()[0]).unwrap();
        let largest = modulus.value() - 1;
        let length = 5000;
        let tile: Tile = std::array::from_fn(|x| if x % 3 == 0 { largest } else { x as u64 * 12345 % largest });
        // As many unit terms of one sign as a weight may have, of the largest residues.
        let other = vec![(0, 2047), (0, -2047)];
        let weights = [(2048, 0), (0, 2048), (1000, 900)].map(|(plus, minus)| Terms {
            plus: vec![0; plus],
            minus: vec![0; minus],
            other: other.clone(),
        });
        let products = vec![(&tile, &tile); length];
        let results: Vec<(Tile, Vec<Tile>)> = Backend::available()
            .iter()
            .map(|&backend| {
                let kernel = Kernel::new(backend, modulus);
                let mut sum = [0; TILE];
                kernel.accumulate(products.iter().copied(), Some(&[largest; TILE]), &mut sum);
                let monomials = [[largest; TILE]];
                (sum, weights.iter().map(|terms| kernel.expand(terms, &monomials)).collect())
            })
            .collect();
        assert!(results.iter().all(|result| result == &results[0]), "{bits} bits");
    }
}

#[test]
fn weights_of_more_unit_terms_than_a_sum_has_room_for_are_refused() {
    let context = context(50);
    let map = |terms: Vec<(u32, i64)>| {
        let (weights, bias) = ([SparsePolynomial { terms }], vec![SparsePolynomial::default()]);
        EncodedMap::new(&context, 1, &[0, 1], vec![0], vec![0], &weights, bias, vec![0])
    };
    let units = |count: usize| (0..count).map(|i| ((i % DEGREE) as u32, 1 - 2 * (i as i64 % 2))).collect::<Vec<_>>();
    let input = random_ciphertext(&context, 2, &mut 1);
    let outputs = map(units(SparsePolynomial::UNIT_TERMS)).unwrap().apply(&[&input], &Cancellation::new()).unwrap();
    for (poly, prime) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut expected = vec![0; DEGREE];
        let weight = SparsePolynomial { terms: units(SparsePolynomial::UNIT_TERMS) };
        multiply(&weight, input.residues(poly, prime), context.modulus(prime), &mut expected);
        context.tables()[prime].forward(&mut expected);
        assert_eq!(outputs[0].residues(poly, prime), expected);
    }
    let error = map(units(SparsePolynomial::UNIT_TERMS + 1)).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument { name: "weights", .. }), "{error}");
}

#[test]
fn biases_are_those_of_the_level_that_the_inputs_have() {
    let context = context(45);
    let bias = SparsePolynomial { terms: vec![(0, 3), (7, -2)] };
    let biases = vec![SparsePolynomial::default(), bias];
    let map = EncodedMap::new(&context, 1, &[0, 0, 0], vec![], vec![], &[], biases, vec![1, 0]).unwrap();
    for primes in [2, 1, 2] {
        let input = Ciphertext::zero(&context, 2, primes, Form::Ntt, 1.0);
        let outputs = map.apply(&[&input], &Cancellation::new()).unwrap();
        let mut expected = Ciphertext::zero(&context, 2, primes, Form::Coefficient, 1.0);
        let mut message = vec![0; DEGREE];
        (message[0], message[7]) = (3, 65537 - 2);
        PlainScaling::new(&context, primes).unwrap().add(&message, expected.poly_mut(0));
        assert_eq!(outputs[0], transformed(&context, &expected, Form::Ntt));
        assert_eq!(outputs[1], Ciphertext::zero(&context, 2, primes, Form::Ntt, 1.0));
    }
}
