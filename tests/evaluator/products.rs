//! BFV products of ciphertexts: SEAL's messages, and a noise budget no more than a bit below SEAL's.

use std::sync::LazyLock;

use proptest::prelude::*;
use pycrcnn::Error;
use pycrcnn::ring::primes;
use pycrcnn::scheme::{Ciphertext, Form, Plaintext};

use super::fixture::{Fixture, Random, assert_identical};

static FIXTURES: LazyLock<Vec<Fixture>> = LazyLock::new(|| {
    let slots = |degree: usize, bits| primes::largest(2 * degree as u64, bits, 1).unwrap()[0];
    vec![
        // one prime, and all primes for data: nothing is set aside for key switching
        Fixture::bfv(2048, &[54], false, 257),
        Fixture::bfv(4096, &[36, 36, 37], false, 100_000_007),
        Fixture::bfv(8192, &[60, 49, 60], false, slots(8192, 20)),
        // as SEAL uses its primes
        Fixture::bfv(4096, &[36, 36, 37], true, slots(4096, 20)),
        Fixture::bfv(8192, &[43, 43, 44, 44, 44], true, slots(8192, 30)),
        Fixture::bfv(8192, &[60, 60, 60, 60], true, slots(8192, 18)),
    ]
});

fn fixture() -> impl Strategy<Value = &'static Fixture> {
    (0..FIXTURES.len()).prop_map(|i| &FIXTURES[i])
}

#[track_caller]
fn assert_as_good(f: &Fixture, ours: &Ciphertext, seals: &Ciphertext) {
    assert_eq!((ours.size(), ours.form(), ours.parms_id()), (seals.size(), seals.form(), seals.parms_id()));
    let (budget, wanted) = (f.budget(ours), f.budget(seals));
    assert!(budget + 1 >= wanted, "{budget} bits of budget, SEAL has {wanted}");
    if wanted > 0 {
        assert_eq!(f.decrypt(ours), f.decrypt(seals));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn products_of_all_sizes_decrypt_as_seals(f in fixture(), seed: u64) {
        let random = &mut Random(seed);
        let (e, s) = (&f.evaluator, &f.seal);
        let [a, b] = [0; 2].map(|_| f.encrypt(&f.random_plaintext(random)));
        let (square, product) = (e.square(&a).unwrap(), e.multiply(&a, &b).unwrap());
        assert_as_good(f, &square, &s.square(&a).unwrap());
        assert_as_good(f, &product, &s.multiply(&a, &b).unwrap());
        assert_as_good(f, &e.multiply(&square, &b).unwrap(), &s.multiply(&square, &b).unwrap());
        assert_as_good(f, &e.multiply(&b, &square).unwrap(), &s.multiply(&b, &square).unwrap());
        assert_as_good(f, &e.square(&product).unwrap(), &s.multiply(&product, &product).unwrap());
        assert_as_good(f, &e.multiply(&square, &product).unwrap(), &s.multiply(&square, &product).unwrap());
        if a.primes() > 1 {
            let lower = e.mod_switch_to_next(&a).unwrap();
            assert_as_good(f, &e.square(&lower).unwrap(), &s.square(&lower).unwrap());
        }
    }

    #[test]
    fn lifting_takes_both_forms_and_scaling_down_gives_both(f in fixture(), seed: u64) {
        let e = &f.evaluator;
        let a = f.encrypt(&f.random_plaintext(&mut Random(seed)));
        let ntt = e.to_ntt(&a).unwrap();
        let square = e.square(&a).unwrap();
        assert_identical(&e.scale_down(e.tensor_square(&e.lift(&ntt).unwrap()).unwrap(), Form::Coefficient).unwrap(), &square);
        let scaled = e.scale_down(e.tensor_square(&e.lift(&a).unwrap()).unwrap(), Form::Ntt).unwrap();
        assert_identical(&scaled, &e.to_ntt(&square).unwrap());
        assert_identical(&e.multiply(&a, &a).unwrap(), &square);
    }

    #[test]
    fn weighted_sums_of_products_are_divided_once(seed: u64, weights in prop::collection::vec(-20i64..=20, 1..10)) {
        let f = &FIXTURES[1];
        let (e, random) = (&f.evaluator, &mut Random(seed));
        let t = f.context.parameters().plain_modulus();
        let inputs: Vec<Ciphertext> = weights.iter().map(|_| f.encrypt(&f.random_plaintext(random))).collect();
        let lifted: Vec<_> = inputs.iter().map(|a| e.lift(a).unwrap()).collect();
        let mut sum = e.tensor_square(&lifted[0]).unwrap();
        let mut expected = e.square(&inputs[0]).unwrap();
        for ((x, a), &weight) in lifted.iter().zip(&inputs).zip(&weights) {
            e.add_square(&mut sum, x, weight).unwrap();
            e.add_product(&mut sum, x, &lifted[0], -weight).unwrap();
            for (product, weight) in [(e.square(a).unwrap(), weight), (e.multiply(a, &inputs[0]).unwrap(), -weight)] {
                let weight = Plaintext::Bfv(vec![weight.rem_euclid(t as i64) as u64]);
                expected = e.add(&expected, &e.multiply_plain(&product, &weight).unwrap()).unwrap();
            }
        }
        let sum = e.scale_down(sum, Form::Coefficient).unwrap();
        prop_assert_eq!(f.decrypt(&sum), f.decrypt(&expected));
        prop_assert!(f.budget(&sum) >= f.budget(&expected));
    }
}

#[test]
fn sums_of_products_stop_at_their_capacity() {
    for f in &*FIXTURES {
        let lifted = f.evaluator.lift(&f.encrypt(&f.random_plaintext(&mut Random(3)))).unwrap();
        let mut sum = f.evaluator.tensor_square(&lifted).unwrap();
        f.evaluator.add_square(&mut sum, &lifted, 255).unwrap();
        f.evaluator.add_square(&mut sum, &lifted, -255).unwrap();
        let error = f.evaluator.add_square(&mut sum, &lifted, i64::MAX).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { name: "weight", .. }), "{error}");
        let square = f.evaluator.square(&f.encrypt(&f.random_plaintext(&mut Random(3)))).unwrap();
        let sum = f.evaluator.scale_down(sum, Form::Coefficient).unwrap();
        assert_eq!(f.decrypt(&sum), f.decrypt(&square));
    }
}
