//! BFV operations that SEAL defines bit by bit.

use std::sync::LazyLock;

use proptest::prelude::*;
use pycrcnn::ring::primes;
use pycrcnn::scheme::{Ciphertext, Plaintext};

use super::fixture::{Fixture, Random, STEPS, assert_identical};

/// From one prime below 2^30 to four; primes above 2^50; t above a prime, so that SEAL lifts
/// plaintexts through multi-precision integers; t without slots.
static FIXTURES: LazyLock<Vec<Fixture>> = LazyLock::new(|| {
    let slots = |degree: usize, bits| primes::largest(2 * degree as u64, bits, 1).unwrap()[0];
    vec![
        Fixture::bfv(1024, &[27], false, 257),
        Fixture::bfv(2048, &[54, 55], true, slots(2048, 17)),
        Fixture::bfv(4096, &[36, 36, 37], true, slots(4096, 20)),
        Fixture::bfv(4096, &[30, 60, 60, 60], true, slots(4096, 41)),
        Fixture::bfv(8192, &[43, 43, 44, 44, 44], true, 100_000_007),
    ]
});

fn fixture() -> impl Strategy<Value = &'static Fixture> {
    (0..FIXTURES.len()).prop_map(|i| &FIXTURES[i])
}

/// SEAL's chain ends where the next modulus would not exceed t.
fn is_last(f: &Fixture, a: &Ciphertext) -> bool {
    let smaller = f.context.parameters().moduli()[..a.primes() - 1].iter().map(|&q| (q as f64).log2()).sum::<f64>();
    smaller < (f.context.parameters().plain_modulus() as f64).log2()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn sums_and_plaintext_operands_are_seals(f in fixture(), seed: u64) {
        let random = &mut Random(seed);
        let (e, s) = (&f.evaluator, &f.seal);
        let plain = f.random_plaintext(random);
        let [mut a, mut b] = [0; 2].map(|_| f.encrypt(&f.random_plaintext(random)));
        loop {
            assert_identical(&e.add(&a, &b).unwrap(), &s.add(&a, &b).unwrap());
            assert_identical(&e.sub(&a, &b).unwrap(), &s.sub(&a, &b).unwrap());
            assert_identical(&e.negate(&a).unwrap(), &s.negate(&a).unwrap());
            assert_identical(&e.add_plain(&a, &plain).unwrap(), &s.add_plain(&a, &plain).unwrap());
            assert_identical(&e.sub_plain(&a, &plain).unwrap(), &s.sub_plain(&a, &plain).unwrap());
            assert_identical(&e.multiply_plain(&a, &plain).unwrap(), &s.multiply_plain(&a, &plain).unwrap());
            let ntt = e.to_ntt(&a).unwrap();
            assert_identical(&ntt, &s.transform_to_ntt(&a).unwrap());
            assert_identical(&e.to_coefficients(&ntt).unwrap(), &s.transform_from_ntt(&ntt).unwrap());
            let product = e.multiply_plain(&ntt, &plain).unwrap();
            assert_identical(&e.to_coefficients(&product).unwrap(), &s.multiply_plain(&a, &plain).unwrap());
            // three polynomials and two, in both orders
            let square = e.square(&a).unwrap();
            assert_identical(&e.add(&square, &b).unwrap(), &s.add(&square, &b).unwrap());
            assert_identical(&e.add(&b, &square).unwrap(), &s.add(&b, &square).unwrap());
            assert_identical(&e.sub(&square, &b).unwrap(), &s.sub(&square, &b).unwrap());
            assert_identical(&e.sub(&b, &square).unwrap(), &s.sub(&b, &square).unwrap());
            if is_last(f, &a) {
                break;
            }
            assert_identical(&e.mod_switch_to_next(&square).unwrap(), &s.mod_switch_to_next(&square).unwrap());
            [a, b] = [a, b].map(|x| {
                let switched = e.mod_switch_to_next(&x).unwrap();
                assert_identical(&switched, &s.mod_switch_to_next(&x).unwrap());
                switched
            });
        }
    }

    #[test]
    fn products_by_non_negative_monomials_are_seals(f in fixture(), seed: u64) {
        let random = &mut Random(seed);
        let t = f.context.parameters().plain_modulus();
        let a = f.encrypt(&f.random_plaintext(random));
        for at in [0, 1, f.context.degree() - 1] {
            let mut coefficients = vec![0; at + 1];
            coefficients[at] = 1 + random.below(t / 2);
            let monomial = Plaintext::Bfv(coefficients);
            let product = f.evaluator.multiply_plain(&a, &monomial).unwrap();
            assert_identical(&product, &f.seal.multiply_plain(&a, &monomial).unwrap());
        }
    }

    #[test]
    fn key_switching_is_seals(f in fixture(), seed: u64) {
        prop_assume!(f.context.parameters().key_switching());
        let random = &mut Random(seed);
        let (e, s) = (&f.evaluator, &f.seal);
        let relinearization = f.keys.relinearization.as_ref().unwrap();
        let has_slots = f.context.parameters().plain_modulus() % (2 * f.context.degree() as u64) == 1;
        let mut a = f.encrypt(&f.random_plaintext(random));
        loop {
            let square = e.square(&a).unwrap();
            assert_identical(&e.relinearize(&square, &f.keys).unwrap(), &s.relinearize(&square, relinearization).unwrap());
            assert_identical(&e.relinearize(&a, &f.keys).unwrap(), &a);
            if has_slots {
                for steps in STEPS.into_iter().chain([5, -3, 0]) {
                    assert_identical(&e.rotate_rows(&a, steps, &f.keys).unwrap(), &s.rotate(&a, steps, &f.keys.galois).unwrap());
                }
                let swap = 2 * f.context.degree() as u32 - 1;
                assert_identical(&e.rotate_columns(&a, &f.keys).unwrap(), &s.apply_galois(&a, swap, &f.keys.galois).unwrap());
            }
            if is_last(f, &a) {
                break;
            }
            a = e.mod_switch_to_next(&a).unwrap();
        }
    }
}

#[test]
fn a_negative_constant_costs_less_budget_than_in_seal_and_decrypts_to_the_same() {
    let f = &FIXTURES[2];
    let t = f.context.parameters().plain_modulus();
    let a = f.encrypt(&f.random_plaintext(&mut Random(1)));
    let minus_three = Plaintext::Bfv(vec![t - 3]);
    let ours = f.evaluator.multiply_plain(&a, &minus_three).unwrap();
    let seals = f.seal.multiply_plain(&a, &minus_three).unwrap();
    assert_eq!(f.decrypt(&ours), f.decrypt(&seals));
    assert!(f.budget(&ours) >= f.budget(&seals) + 10, "{} and {} bits", f.budget(&ours), f.budget(&seals));
}

#[test]
fn transparent_results_are_ordinary_ciphertexts() {
    for f in &*FIXTURES {
        let a = f.encrypt(&f.random_plaintext(&mut Random(2)));
        for zero in [f.evaluator.sub(&a, &a), f.evaluator.multiply_plain(&a, &Plaintext::Bfv(vec![]))] {
            let zero = zero.unwrap();
            assert!(f.decrypt(&zero).is_empty());
            assert_eq!(f.decrypt(&f.evaluator.add(&zero, &a).unwrap()), f.decrypt(&a));
            assert!(f.decrypt(&f.evaluator.square(&zero).unwrap()).is_empty());
        }
    }
}
