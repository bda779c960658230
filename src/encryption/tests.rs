//! Encryption and decryption on keys made here, for parameters that SEAL has and those it has not.
//! `tests/encryption.rs` compares with SEAL itself.

use std::sync::Arc;

use super::sampling::Sampler;
use super::small::Small;
use super::*;
use crate::error::Error;
use crate::ring::{Residues, primes};
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, Form, Parameters, Plaintext, PublicKey, SecretKey};

struct Keys {
    context: Arc<Context>,
    secret: SecretKey,
    public: PublicKey,
}

/// A uniform ternary secret s and the public key (-(a s + e), a).
fn keys(parameters: Parameters) -> Keys {
    let context = Context::new(parameters).unwrap();
    let mut sampler = Sampler::from_os().unwrap();
    let (degree, rows) = (context.degree(), context.key_primes());
    let (s, e) = (Small::ternary(degree, &mut sampler), Small::error(degree, &mut sampler));
    let mut secret = Residues::zeros(rows * degree);
    let mut public = Residues::zeros(2 * rows * degree);
    let (b, a) = public.split_at_mut(rows * degree);
    for j in 0..rows {
        let row = j * degree..(j + 1) * degree;
        let kernels = context.tables()[j].kernels();
        secret[row.clone()].copy_from_slice(&s.residues(&context, j, Form::Ntt));
        sampler.uniform(context.modulus(j), &mut a[row.clone()]);
        kernels.mul(&mut b[row.clone()], &a[row.clone()], &secret[row.clone()]);
        e.add_to(&context, j, Form::Ntt, &mut b[row.clone()]);
        kernels.negate_assign(&mut b[row]);
    }
    let parms_id = context.key_parms_id();
    Keys { secret: SecretKey::from_data(parms_id, secret), public: PublicKey { parms_id, data: public }, context }
}

fn bfv(key_switching: bool, t: u64) -> Keys {
    let moduli = primes::bfv_default(4096, 128).unwrap().to_vec();
    keys(Parameters::bfv(4096, moduli, key_switching, t).unwrap())
}

/// A message with coefficients over all of [0, t).
fn message(t: u64) -> Plaintext {
    Plaintext::Bfv((0..4096u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % t).collect())
}

#[test]
fn bfv_round_trips_for_any_plaintext_modulus_level_and_key() {
    for (key_switching, t) in [(false, 2), (false, 100_000_007), (false, 65537), (true, 3), (true, 1 << 20)] {
        let keys = bfv(key_switching, t);
        let symmetric = SymmetricEncryptor::new(keys.context.clone(), &keys.secret).unwrap();
        let public = PublicEncryptor::new(keys.context.clone(), &keys.public).unwrap();
        let decryptor = Decryptor::new(keys.context.clone(), &keys.secret).unwrap();
        let message = message(t);
        for primes in 2..=keys.context.data_primes() {
            for ciphertext in [symmetric.encrypt(&message, Some(primes)), public.encrypt(&message, Some(primes))] {
                let ciphertext = ciphertext.unwrap();
                assert_eq!((ciphertext.size(), ciphertext.primes(), ciphertext.form()), (2, primes, Form::Coefficient));
                assert_eq!(decryptor.decrypt(&ciphertext).unwrap(), message);
            }
        }
    }
}

#[test]
fn fresh_noise_budgets_are_those_of_the_paper() {
    let keys = bfv(false, 100_000_007);
    let decryptor = Decryptor::new(keys.context.clone(), &keys.secret).unwrap();
    let message = message(100_000_007);
    let budget = |ciphertext: Ciphertext| decryptor.noise_budget(&ciphertext).unwrap();
    let symmetric = SymmetricEncryptor::new(keys.context.clone(), &keys.secret).unwrap();
    let public = PublicEncryptor::new(keys.context.clone(), &keys.public).unwrap();
    // SEAL 2.3.1 gave 71 bits with the public key.
    let from_public = budget(public.encrypt(&message, None).unwrap());
    assert!((70..=72).contains(&from_public), "{from_public}");
    let from_secret = budget(symmetric.encrypt(&message, None).unwrap());
    assert!((76..=79).contains(&from_secret), "{from_secret}");
}

#[test]
fn both_forms_and_larger_ciphertexts_decrypt_alike() {
    let keys = bfv(false, 65537);
    let symmetric = SymmetricEncryptor::new(keys.context.clone(), &keys.secret).unwrap();
    let decryptor = Decryptor::new(keys.context.clone(), &keys.secret).unwrap();
    let message = message(65537);
    let ciphertext = symmetric.encrypt(&message, None).unwrap();
    let mut transformed = ciphertext.clone();
    for i in 0..2 {
        for (j, table) in keys.context.tables().iter().enumerate() {
            table.forward(transformed.residues_mut(i, j));
        }
    }
    transformed.set_form(Form::Ntt);
    assert_eq!(decryptor.decrypt(&transformed).unwrap(), message);
    assert_eq!(decryptor.noise_budget(&transformed).unwrap(), decryptor.noise_budget(&ciphertext).unwrap());
    let mut padded = Ciphertext::zero(&keys.context, 4, 3, Form::Coefficient, 1.0);
    padded.data_mut()[..ciphertext.data().len()].copy_from_slice(ciphertext.data());
    assert_eq!(decryptor.decrypt(&padded).unwrap(), message);
    // (s^2 + s^3, 0, -1, -1) decrypts to zero without noise.
    let mut cubic = Ciphertext::zero(&keys.context, 4, 3, Form::Ntt, 1.0);
    for (j, table) in keys.context.tables().iter().enumerate() {
        let s = &keys.secret.data()[j * 4096..(j + 1) * 4096];
        let mut power = Residues::from_slice(s);
        table.kernels().mul_assign(&mut power, s);
        table.kernels().add_assign(cubic.residues_mut(0, j), &power);
        table.kernels().mul_assign(&mut power, s);
        table.kernels().add_assign(cubic.residues_mut(0, j), &power);
        let minus_one = table.modulus().value() - 1;
        cubic.residues_mut(2, j).fill(minus_one);
        cubic.residues_mut(3, j).fill(minus_one);
    }
    assert_eq!(decryptor.noise_budget(&cubic).unwrap(), keys.context.parameters().modulus_bits() - 1);
}

#[test]
fn a_wrong_key_exhausts_the_budget() {
    let (mine, other) = (bfv(false, 65537), bfv(false, 65537));
    let ciphertext =
        SymmetricEncryptor::new(mine.context.clone(), &mine.secret).unwrap().encrypt(&message(65537), None).unwrap();
    let decryptor = Decryptor::new(other.context.clone(), &other.secret).unwrap();
    assert_eq!(decryptor.decrypt(&ciphertext), Err(Error::NoiseBudgetExhausted(0)));
    assert_eq!(decryptor.noise_budget(&ciphertext), Ok(0));
}

#[test]
fn exhaustion_begins_exactly_where_the_budget_is_zero() {
    // A noiseless multiple of 1 / t, then a noise that grows by one unit around a quarter of q.
    let keys = bfv(false, 65537);
    let decryptor = Decryptor::new(keys.context.clone(), &keys.secret).unwrap();
    let level = num_bigint::BigUint::from(1u32) << (keys.context.parameters().modulus_bits() - 2);
    let q = keys.context.parameters().moduli().iter().fold(num_bigint::BigUint::from(1u32), |q, &p| q * p);
    let inverse = num_bigint::BigUint::from(65537u32).modinv(&q).unwrap();
    for (noise, exhausted) in [(&level - 1u32, false), (level.clone(), true), (&level + 1u32, true)] {
        // t x = noise (mod q), as SEAL measures it
        let x = noise * &inverse % &q;
        let mut ciphertext = Ciphertext::zero(&keys.context, 2, 3, Form::Coefficient, 1.0);
        for j in 0..3 {
            let residue = &x % keys.context.modulus(j).value();
            ciphertext.residues_mut(0, j)[5] = residue.iter_u64_digits().next().unwrap_or(0);
        }
        assert_eq!(decryptor.decrypt(&ciphertext).is_err(), exhausted);
        assert_eq!(decryptor.noise_budget(&ciphertext).unwrap() == 0, exhausted);
    }
}

#[test]
fn seeded_ciphertexts_expand_to_what_was_encrypted() {
    let keys = bfv(false, 100_000_007);
    let symmetric = SymmetricEncryptor::new(keys.context.clone(), &keys.secret).unwrap();
    let decryptor = Decryptor::new(keys.context.clone(), &keys.secret).unwrap();
    let messages: Vec<Plaintext> = (0..4).map(|i| Plaintext::Bfv(vec![i, 1, 2, 3])).collect();
    let seeded = symmetric.encrypt_seeded(&messages, None, &Cancellation::new()).unwrap();
    assert_eq!(seeded.len(), 4);
    let expanded: Vec<Ciphertext> =
        (0..4).map(|i| seeded.expand(&keys.context, i, Form::Coefficient).unwrap()).collect();
    for (ciphertext, message) in expanded.iter().zip(&messages) {
        let Plaintext::Bfv(mut decrypted) = decryptor.decrypt(ciphertext).unwrap() else { unreachable!() };
        decrypted.truncate(4);
        assert_eq!(&Plaintext::Bfv(decrypted), message);
    }
    assert_ne!(expanded[0].poly(1), expanded[1].poly(1));
    assert!(matches!(seeded.expand(&keys.context, 4, Form::Ntt), Err(Error::InvalidArgument { name: "i", .. })));
}

#[test]
fn batches_are_encrypted_independently_and_stop_when_told() {
    let keys = bfv(false, 65537);
    let symmetric = SymmetricEncryptor::new(keys.context.clone(), &keys.secret).unwrap();
    let public = PublicEncryptor::new(keys.context.clone(), &keys.public).unwrap();
    let decryptor = Decryptor::new(keys.context.clone(), &keys.secret).unwrap();
    let messages = vec![message(65537); 3];
    let cancellation = Cancellation::new();
    for ciphertexts in
        [symmetric.encrypt_all(&messages, None, &cancellation), public.encrypt_all(&messages, None, &cancellation)]
    {
        let ciphertexts = ciphertexts.unwrap();
        assert_ne!(ciphertexts[0], ciphertexts[1]);
        assert_eq!(decryptor.decrypt_all(&ciphertexts, &cancellation).unwrap(), messages);
    }
    let ciphertexts = symmetric.encrypt_all(&messages, None, &cancellation).unwrap();
    cancellation.cancel();
    assert_eq!(decryptor.decrypt_all(&ciphertexts, &cancellation), Err(Error::Interrupted));
    assert_eq!(symmetric.encrypt_all(&messages, None, &cancellation), Err(Error::Interrupted));
    assert_eq!(public.encrypt_all(&messages, None, &cancellation), Err(Error::Interrupted));
    assert_eq!(symmetric.encrypt_seeded(&messages, None, &cancellation), Err(Error::Interrupted));
}

#[test]
fn foreign_objects_and_levels_are_refused() {
    let (keys, other) = (bfv(false, 65537), bfv(false, 65539));
    let mismatch = |object| Err(Error::ParametersMismatch { operation: "prepare", object });
    assert_eq!(SymmetricEncryptor::new(keys.context.clone(), &other.secret).map(|_| ()), mismatch("secret key"));
    assert_eq!(Decryptor::new(keys.context.clone(), &other.secret).map(|_| ()), mismatch("secret key"));
    assert_eq!(PublicEncryptor::new(keys.context.clone(), &other.public).map(|_| ()), mismatch("public key"));
    let symmetric = SymmetricEncryptor::new(keys.context.clone(), &keys.secret).unwrap();
    let unfit = [
        Plaintext::Bfv(vec![65537]),
        Plaintext::Bfv(vec![0; 4097]),
        Plaintext::Ckks { primes: 1, scale: 1.0, data: Residues::zeros(4096) },
    ];
    for plaintext in unfit {
        let mismatch = Error::ParametersMismatch { operation: "encrypt", object: "plaintext" };
        assert_eq!(symmetric.encrypt(&plaintext, None), Err(mismatch));
    }
    for primes in [0, 4] {
        assert!(matches!(
            symmetric.encrypt(&message(65537), Some(primes)),
            Err(Error::InvalidArgument { name: "primes", .. })
        ));
    }
    let foreign = Ciphertext::zero(&other.context, 2, 3, Form::Coefficient, 1.0);
    let decryptor = Decryptor::new(keys.context.clone(), &keys.secret).unwrap();
    let mismatch = |operation| Error::ParametersMismatch { operation, object: "ciphertext" };
    assert_eq!(decryptor.decrypt(&foreign), Err(mismatch("decrypt")));
    assert_eq!(decryptor.noise_budget(&foreign), Err(mismatch("noise_budget")));
}
