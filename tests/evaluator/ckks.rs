//! CKKS operations, all of which SEAL defines bit by bit.

use std::sync::LazyLock;

use proptest::prelude::*;
use pycrcnn::scheme::Ciphertext;

use super::fixture::{Fixture, Random, STEPS, assert_identical};

const SCALE: f64 = (1u64 << 25) as f64;

/// Primes of 30 to 60 bits, in falling, rising and mixed order, the special prime larger and smaller.
static FIXTURES: LazyLock<Vec<Fixture>> = LazyLock::new(|| {
    vec![
        Fixture::ckks(1024, &[40, 30, 41]),
        Fixture::ckks(2048, &[45, 30, 30, 46]),
        Fixture::ckks(4096, &[60, 51, 30, 52]),
        Fixture::ckks(8192, &[40, 49, 60, 40, 50]),
        Fixture::ckks(4096, &[50, 40, 60, 35]),
    ]
});

fn fixture() -> impl Strategy<Value = &'static Fixture> {
    (0..FIXTURES.len()).prop_map(|i| &FIXTURES[i])
}

fn with_scale(mut a: Ciphertext, scale: f64) -> Ciphertext {
    a.set_scale(scale);
    a
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn every_operation_is_seals_at_every_level(f in fixture(), seed: u64) {
        let random = &mut Random(seed);
        let (e, s) = (&f.evaluator, &f.seal);
        let relinearization = f.keys.relinearization.as_ref().unwrap();
        let top = f.context.data_primes();
        let [mut a, mut b] = [0; 2].map(|_| f.encrypt(&f.random_slots(random, top, SCALE)));
        loop {
            // 2^25 squared fits two primes, and one of 60 bits
            let fits = f.context.parameters().moduli()[..a.primes()].iter().map(|q| q.ilog2()).sum::<u32>() > 51;
            assert_identical(&e.add(&a, &b).unwrap(), &s.add(&a, &b).unwrap());
            assert_identical(&e.sub(&a, &b).unwrap(), &s.sub(&a, &b).unwrap());
            assert_identical(&e.negate(&a).unwrap(), &s.negate(&a).unwrap());
            let plain = f.random_slots(random, a.primes(), SCALE);
            assert_identical(&e.add_plain(&a, &plain).unwrap(), &s.add_plain(&a, &plain).unwrap());
            assert_identical(&e.sub_plain(&a, &plain).unwrap(), &s.sub_plain(&a, &plain).unwrap());
            let coefficients = e.to_coefficients(&a).unwrap();
            assert_identical(&coefficients, &s.transform_from_ntt(&a).unwrap());
            assert_identical(&e.to_ntt(&coefficients).unwrap(), &s.transform_to_ntt(&coefficients).unwrap());
            for steps in STEPS.into_iter().chain([5, -3, 0]) {
                assert_identical(&e.rotate_vector(&a, steps, &f.keys).unwrap(), &s.rotate(&a, steps, &f.keys.galois).unwrap());
            }
            let conjugation = 2 * f.context.degree() as u32 - 1;
            assert_identical(&e.conjugate(&a, &f.keys).unwrap(), &s.apply_galois(&a, conjugation, &f.keys.galois).unwrap());
            if fits {
                assert_identical(&e.multiply_plain(&a, &plain).unwrap(), &s.multiply_plain(&a, &plain).unwrap());
                let (square, product) = (e.square(&a).unwrap(), e.multiply(&a, &b).unwrap());
                assert_identical(&square, &s.square(&a).unwrap());
                assert_identical(&product, &s.multiply(&a, &b).unwrap());
                assert_identical(&e.relinearize(&square, &f.keys).unwrap(), &s.relinearize(&square, relinearization).unwrap());
                let wide = with_scale(product, SCALE);
                for sum in [[&wide, &b], [&b, &wide]] {
                    assert_identical(&e.add(sum[0], sum[1]).unwrap(), &s.add(sum[0], sum[1]).unwrap());
                    assert_identical(&e.sub(sum[0], sum[1]).unwrap(), &s.sub(sum[0], sum[1]).unwrap());
                    assert_identical(&e.multiply(sum[0], sum[1]).unwrap(), &s.multiply(sum[0], sum[1]).unwrap());
                }
                assert_identical(&e.square(&wide).unwrap(), &s.multiply(&wide, &wide).unwrap());
                if a.primes() > 1 {
                    assert_identical(&e.rescale_to_next(&square).unwrap(), &s.rescale_to_next(&square).unwrap());
                    let relinearized = e.relinearize(&square, &f.keys).unwrap();
                    assert_identical(&e.rescale_to_next(&relinearized).unwrap(), &s.rescale_to_next(&relinearized).unwrap());
                }
            }
            if a.primes() == 1 {
                break;
            }
            [a, b] = [a, b].map(|x| {
                let switched = e.mod_switch_to_next(&x).unwrap();
                assert_identical(&switched, &s.mod_switch_to_next(&x).unwrap());
                switched
            });
        }
        prop_assert_eq!(a.primes(), 1);
    }

    #[test]
    fn switching_down_several_levels_is_switching_level_by_level(f in fixture(), seed: u64) {
        let top = f.context.data_primes();
        let a = f.encrypt(&f.random_slots(&mut Random(seed), top, SCALE));
        let mut step_by_step = a.clone();
        for primes in (1..=top).rev() {
            assert_identical(&f.evaluator.mod_switch_to(&a, primes).unwrap(), &step_by_step);
            if primes > 1 {
                step_by_step = f.evaluator.mod_switch_to_next(&step_by_step).unwrap();
            }
        }
    }
}

#[test]
fn transparent_results_are_ordinary_ciphertexts() {
    let f = &FIXTURES[0];
    let top = f.context.data_primes();
    let a = f.encrypt(&f.random_slots(&mut Random(4), top, SCALE));
    let zero = f.evaluator.sub(&a, &a).unwrap();
    assert!(zero.data().iter().all(|&x| x == 0));
    assert_identical(&f.evaluator.add(&zero, &a).unwrap(), &a);
    let nothing = f.seal.ckks_encode(&[0.0], top, SCALE).unwrap();
    assert!(f.evaluator.multiply_plain(&a, &nothing).unwrap().data().iter().all(|&x| x == 0));
}
