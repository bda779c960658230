//! Wrong operands give typed errors that say what is wrong.

use std::sync::LazyLock;

use pycrcnn::Error;
use pycrcnn::scheme::{Ciphertext, EvaluationKeys, Form, Plaintext};

use super::fixture::{Fixture, Random};

const SCALE: f64 = (1u64 << 25) as f64;

static BFV: LazyLock<Fixture> = LazyLock::new(|| Fixture::bfv(2048, &[40, 40, 41], true, 257));
static WHOLE: LazyLock<Fixture> = LazyLock::new(|| Fixture::bfv(2048, &[40, 40], false, 257));
static CKKS: LazyLock<Fixture> = LazyLock::new(|| Fixture::ckks(2048, &[40, 30, 41]));

fn bfv() -> Ciphertext {
    BFV.encrypt(&BFV.random_plaintext(&mut Random(5)))
}

fn ckks() -> Ciphertext {
    CKKS.encrypt(&CKKS.random_slots(&mut Random(5), 2, SCALE))
}

macro_rules! assert_error {
    ($result:expr, $pattern:pat) => {
        let error = $result.unwrap_err();
        assert!(matches!(error, $pattern), "{error}");
    };
}

#[test]
fn operands_that_do_not_fit_each_other() {
    let (e, a) = (&BFV.evaluator, bfv());
    let lower = e.mod_switch_to_next(&a).unwrap();
    let ntt = e.to_ntt(&a).unwrap();
    assert_error!(e.add(&a, &lower), Error::OperandMismatch { what: "levels", .. });
    assert_error!(e.sub(&lower, &a), Error::OperandMismatch { what: "levels", .. });
    assert_error!(e.multiply(&lower, &a), Error::OperandMismatch { what: "levels", .. });
    assert_error!(e.add(&a, &ntt), Error::OperandMismatch { what: "representations", .. });
    assert_error!(e.add_plain(&ntt, &Plaintext::Bfv(vec![1])), Error::OperandMismatch { what: "representations", .. });
    assert_error!(e.square(&ntt), Error::OperandMismatch { what: "representations", .. });
    assert_error!(e.to_ntt(&ntt), Error::OperandMismatch { what: "representations", .. });
    assert_error!(e.mod_switch_to_next(&ntt), Error::OperandMismatch { what: "representations", .. });
    assert_error!(e.relinearize(&ntt, &BFV.keys), Error::OperandMismatch { what: "representations", .. });
    assert_error!(e.add_assign(&mut a.clone(), &e.square(&a).unwrap()), Error::OperandMismatch { what: "sizes", .. });
    let mut sum = e.tensor_square(&e.lift(&a).unwrap()).unwrap();
    assert_error!(
        e.add_square(&mut sum, &e.lift(&lower).unwrap(), 1),
        Error::OperandMismatch { what: "extended bases", .. }
    );

    let (e, a) = (&CKKS.evaluator, ckks());
    let mut other = a.clone();
    other.set_scale(SCALE * 1.001);
    assert_error!(e.add(&a, &other), Error::OperandMismatch { what: "scales", .. });
    let plain = CKKS.random_slots(&mut Random(6), 2, SCALE * 2.0);
    assert_error!(e.add_plain(&a, &plain), Error::OperandMismatch { what: "scales", .. });
    let plain = CKKS.random_slots(&mut Random(6), 1, SCALE);
    assert_error!(e.add_plain(&a, &plain), Error::OperandMismatch { what: "levels", .. });
    assert_error!(e.multiply_plain(&a, &plain), Error::OperandMismatch { what: "levels", .. });
}

#[test]
fn objects_of_other_parameters() {
    let (e, a, b) = (&BFV.evaluator, bfv(), ckks());
    assert_error!(e.add(&a, &b), Error::ParametersMismatch { object: "ciphertext", .. });
    assert_error!(e.negate(&b), Error::ParametersMismatch { object: "ciphertext", .. });
    assert_error!(e.square(&b), Error::ParametersMismatch { object: "ciphertext", .. });
    assert_error!(e.add_plain(&a, &Plaintext::Bfv(vec![257])), Error::ParametersMismatch { object: "plaintext", .. });
    assert_error!(
        e.multiply_plain(&a, &Plaintext::Bfv(vec![0; 2049])),
        Error::ParametersMismatch { object: "plaintext", .. }
    );
    let square = e.square(&a).unwrap();
    assert_error!(e.relinearize(&square, &CKKS.keys), Error::ParametersMismatch { object: "evaluation key", .. });
    let mut truncated = BFV.keys.clone();
    let key = truncated.relinearization.as_mut().unwrap();
    key.data = pycrcnn::ring::Residues::from_slice(&key.data[..10]);
    assert_error!(e.relinearize(&square, &truncated), Error::ParametersMismatch { object: "evaluation key", .. });
    let product = WHOLE.evaluator.lift(&WHOLE.encrypt(&Plaintext::Bfv(vec![1]))).unwrap();
    let product = WHOLE.evaluator.tensor_square(&product).unwrap();
    assert_error!(e.scale_down(product, Form::Coefficient), Error::ParametersMismatch { object: "product", .. });
}

#[test]
fn keys_that_are_not_there() {
    let (e, a) = (&BFV.evaluator, bfv());
    let square = e.square(&a).unwrap();
    let none = EvaluationKeys { parms_id: BFV.context.key_parms_id(), ..Default::default() };
    assert_error!(e.relinearize(&square, &none), Error::MissingKey { .. });
    let fourth = e.square(&square).unwrap();
    assert_error!(e.relinearize(&fourth, &BFV.keys), Error::Unsupported { .. });
    // t = 257 gives no slots at N = 2048
    assert_error!(e.rotate_rows(&a, 1, &BFV.keys), Error::Unsupported { .. });
    assert_error!(
        WHOLE
            .evaluator
            .relinearize(&WHOLE.evaluator.square(&WHOLE.encrypt(&Plaintext::Bfv(vec![1]))).unwrap(), &WHOLE.keys),
        Error::Unsupported { .. }
    );

    let (e, a) = (&CKKS.evaluator, ckks());
    assert_error!(e.rotate_vector(&a, 2, &CKKS.keys), Error::MissingKey { .. });
    assert_error!(e.rotate_vector(&a, 1024, &CKKS.keys), Error::InvalidArgument { name: "steps", .. });
    assert_error!(e.rotate_vector(&a, i32::MIN, &CKKS.keys), Error::InvalidArgument { name: "steps", .. });
    assert_error!(e.rotate_rows(&a, 1, &CKKS.keys), Error::Unsupported { .. });
    assert_error!(e.rotate_vector(&e.square(&a).unwrap(), 1, &CKKS.keys), Error::Unsupported { .. });
}

#[test]
fn levels_and_scales_that_are_used_up() {
    let (e, a) = (&CKKS.evaluator, ckks());
    let last = e.mod_switch_to(&a, 1).unwrap();
    assert_error!(e.mod_switch_to_next(&last), Error::LevelExhausted { needed: 1, available: 0, .. });
    assert_error!(e.rescale_to_next(&last), Error::LevelExhausted { needed: 1, available: 0, .. });
    assert_error!(e.mod_switch_to(&a, 0), Error::LevelExhausted { .. });
    assert_error!(e.mod_switch_to(&a, 3), Error::LevelExhausted { .. });
    assert_error!(e.square(&last), Error::ScaleOutOfRange { .. });
    let square = e.square(&a).unwrap();
    assert_error!(e.mod_switch_to_next(&square), Error::ScaleOutOfRange { .. });
    assert_error!(BFV.evaluator.rescale_to_next(&bfv()), Error::Unsupported { .. });
    assert_error!(e.lift(&a), Error::Unsupported { .. });

    // 41 bits of t need two primes
    let f = Fixture::bfv(1024, &[30, 40, 41], true, (1 << 40) + 15);
    let a = f.encrypt(&Plaintext::Bfv(vec![1]));
    assert_error!(f.evaluator.mod_switch_to_next(&a), Error::LevelExhausted { needed: 1, available: 0, .. });

    let a = bfv();
    let mut power = a.clone();
    for _ in 0..14 {
        power = BFV.evaluator.multiply(&power, &a).unwrap();
    }
    assert_eq!(power.size(), 16);
    assert_error!(BFV.evaluator.multiply(&power, &a), Error::Unsupported { .. });
}
