//! SEAL behind this crate's types: keys, encryption, decryption, evaluation.

use std::sync::Arc;

use pycrcnn::error::Error;
use pycrcnn::ring::primes;
use pycrcnn::scheme::{Ciphertext, Context, Form, Parameters, Plaintext};
use pycrcnn::seal::SealSession;
use pycrcnn::seal::keys::galois_element;

const SCALE: f64 = (1u64 << 40) as f64;

fn bfv(key_switching: bool) -> Arc<Context> {
    let moduli = primes::bfv_default(4096, 128).unwrap().to_vec();
    Context::new(Parameters::bfv(4096, moduli, key_switching, 1032193).unwrap()).unwrap()
}

fn ckks() -> Arc<Context> {
    let moduli = primes::create(8192, &[50, 40, 40, 50]).unwrap();
    Context::new(Parameters::ckks(8192, moduli, true).unwrap()).unwrap()
}

fn slots(plaintext: &[i64]) -> Vec<i64> {
    plaintext.iter().map(|x| x * x).collect()
}

#[test]
fn bfv_round_trip_and_evaluation() {
    let session = SealSession::new(&bfv(true)).unwrap();
    let (secret, public) = session.generate_keys().unwrap();
    let values: Vec<i64> = (0..4096).map(|i| i % 700 - 350).collect();
    let plaintext = session.batch_encode(&values).unwrap();
    let decode =
        |ciphertext: &Ciphertext| session.batch_decode(&session.decrypt(&secret, ciphertext).unwrap()).unwrap();

    let fresh = session.encrypt(&public, &plaintext).unwrap();
    assert_eq!((fresh.size(), fresh.primes(), fresh.form()), (2, 2, Form::Coefficient));
    assert_eq!(decode(&fresh), values);
    assert_eq!(decode(&session.encrypt_symmetric(&secret, &plaintext).unwrap()), values);
    assert_eq!(decode(&session.encrypt(&session.public_key(&secret).unwrap(), &plaintext).unwrap()), values);
    let budget = session.noise_budget(&secret, &fresh).unwrap();
    assert!((30..50).contains(&budget), "{budget} bits");

    let square = session.square(&fresh).unwrap();
    assert_eq!(square.size(), 3);
    assert_eq!(square, session.multiply(&fresh, &fresh).unwrap());
    let key = session.relinearization_key(&secret).unwrap();
    let relinearized = session.relinearize(&square, &key).unwrap();
    assert_eq!(relinearized.size(), 2);
    assert_eq!(decode(&relinearized), slots(&values));

    let keys = session.rotation_keys(&secret, &[1, -3]).unwrap();
    assert_eq!(keys.len(), 2);
    let rotated = decode(&session.rotate(&fresh, 1, &keys).unwrap());
    assert_eq!(rotated[..2047], values[1..2048]);
    let element = galois_element(4096, -3).unwrap();
    let rotated = session.apply_galois(&fresh, element, &keys).unwrap();
    assert_eq!(rotated, session.rotate(&fresh, -3, &keys).unwrap());
    assert!(matches!(session.rotate(&fresh, 5, &keys), Err(Error::Seal { .. })));

    let ntt = session.transform_to_ntt(&fresh).unwrap();
    assert_eq!(ntt.form(), Form::Ntt);
    assert_eq!(session.transform_from_ntt(&ntt).unwrap(), fresh);
    let mut first = fresh.residues(0, 0).to_vec();
    session.context().tables()[0].forward(&mut first);
    assert_eq!(first, ntt.residues(0, 0));

    let doubled: Vec<i64> = values.iter().map(|x| 2 * x).collect();
    assert_eq!(decode(&session.add(&fresh, &fresh).unwrap()), doubled);
    assert_eq!(decode(&session.add_plain(&fresh, &plaintext).unwrap()), doubled);
    assert_eq!(decode(&session.multiply_plain(&fresh, &Plaintext::Bfv(vec![2])).unwrap()), doubled);
    let negated = session.negate(&fresh).unwrap();
    assert_eq!(decode(&session.sub(&negated, &fresh).unwrap()), doubled.iter().map(|x| -x).collect::<Vec<_>>());
    assert!(matches!(session.sub(&fresh, &fresh), Err(Error::Seal { .. })));
    assert_eq!(decode(&session.mod_switch_to_next(&fresh).unwrap()), values);
}

#[test]
fn ckks_round_trip_and_evaluation() {
    let session = SealSession::new(&ckks()).unwrap();
    let (secret, public) = session.generate_keys().unwrap();
    let values: Vec<f64> = (0..4096).map(|i| (i as f64 * 0.1).sin()).collect();
    let plaintext = session.ckks_encode(&values, 3, SCALE).unwrap();
    let close = |ciphertext: &Ciphertext, expected: &dyn Fn(usize) -> f64| {
        let decoded = session.ckks_decode(&session.decrypt(&secret, ciphertext).unwrap()).unwrap();
        let error = decoded.iter().enumerate().map(|(i, x)| (x - expected(i)).abs()).fold(0.0, f64::max);
        assert!(error < 1e-5, "error {error}");
    };

    let fresh = session.encrypt(&public, &plaintext).unwrap();
    assert_eq!((fresh.size(), fresh.primes(), fresh.form(), fresh.scale()), (2, 3, Form::Ntt, SCALE));
    close(&fresh, &|i| values[i]);
    close(&session.encrypt_symmetric(&secret, &plaintext).unwrap(), &|i| values[i]);
    let seeded = session.encrypt_seeded(&secret, &plaintext).unwrap();
    close(&seeded.expand(session.context()).unwrap(), &|i| values[i]);

    let key = session.relinearization_key(&secret).unwrap();
    let square = session.relinearize(&session.square(&fresh).unwrap(), &key).unwrap();
    let rescaled = session.rescale_to_next(&square).unwrap();
    assert_eq!(rescaled.primes(), 2);
    close(&rescaled, &|i| values[i] * values[i]);
    let keys = session.rotation_keys(&secret, &[7]).unwrap();
    close(&session.rotate(&fresh, 7, &keys).unwrap(), &|i| values[(i + 7) % 4096]);
    assert!(matches!(session.noise_budget(&secret, &fresh), Err(Error::Unsupported { .. })));
    assert!(matches!(session.ckks_encode(&values, 4, SCALE), Err(Error::LevelExhausted { .. })));
    assert!(matches!(session.ckks_encode(&values, 3, f64::NAN), Err(Error::ScaleOutOfRange { .. })));
    assert!(matches!(session.ckks_encode(&values, 3, 2f64.powi(200)), Err(Error::Seal { .. })));
    assert!(matches!(session.ckks_encode(&[0.0, f64::NAN], 3, SCALE), Err(Error::Unencodable { index: 1, .. })));
}

#[test]
fn whole_modulus_through_a_spare_prime() {
    let context = bfv(false);
    let keys_only = SealSession::new(&context).unwrap();
    let (secret, public) = keys_only.generate_keys().unwrap();
    assert_eq!(secret.parms_id(), context.key_parms_id());
    assert_eq!(public.data.len(), 2 * 3 * 4096);
    assert!(matches!(keys_only.encrypt(&public, &Plaintext::Bfv(vec![1])), Err(Error::Unsupported { .. })));
    assert!(matches!(keys_only.relinearization_key(&secret), Err(Error::Unsupported { .. })));

    let session = SealSession::with_spare_prime(&context).unwrap();
    let plaintext = Plaintext::Bfv(vec![3, 5]);
    let fresh = session.encrypt_symmetric(&secret, &plaintext).unwrap();
    assert_eq!((fresh.primes(), fresh.parms_id()), (3, context.parms_id(3)));
    assert_eq!(session.decrypt(&secret, &fresh).unwrap(), plaintext);
    assert!(session.noise_budget(&secret, &fresh).unwrap() > 65);
    let square = session.square(&fresh).unwrap();
    assert_eq!(session.decrypt(&secret, &square).unwrap(), Plaintext::Bfv(vec![9, 30, 25]));

    let extended = session.extend_secret_key(&secret).unwrap();
    assert_eq!(session.decrypt(&extended, &fresh).unwrap(), plaintext);
    let public = session.public_key(&secret).unwrap();
    assert_eq!(session.decrypt(&secret, &session.encrypt(&public, &plaintext).unwrap()).unwrap(), plaintext);
    assert!(SealSession::with_spare_prime(&bfv(true)).is_err());
}

#[test]
fn a_single_prime_has_no_key_switching() {
    let moduli = primes::bfv_default(2048, 128).unwrap().to_vec();
    let context = Context::new(Parameters::bfv(2048, moduli, false, 257).unwrap()).unwrap();
    let session = SealSession::new(&context).unwrap();
    let (secret, public) = session.generate_keys().unwrap();
    let plaintext = Plaintext::Bfv(vec![0, 256, 3]);
    let ciphertext = session.encrypt(&public, &plaintext).unwrap();
    assert_eq!(session.decrypt(&secret, &ciphertext).unwrap(), plaintext);
}

#[test]
fn keys_of_other_parameters_are_refused() {
    let session = SealSession::new(&bfv(true)).unwrap();
    let (foreign, public) = SealSession::new(&ckks()).unwrap().generate_keys().unwrap();
    let plaintext = Plaintext::Bfv(vec![1]);
    let mismatch = |error| assert!(matches!(error, Error::ParametersMismatch { .. }), "{error}");
    mismatch(session.encrypt(&public, &plaintext).unwrap_err());
    mismatch(session.encrypt_symmetric(&foreign, &plaintext).unwrap_err());
    mismatch(session.public_key(&foreign).unwrap_err());
    assert!(session.encrypt_symmetric(&session.generate_keys().unwrap().0, &Plaintext::Bfv(vec![1032193])).is_err());
}
