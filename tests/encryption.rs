//! Encryption, decryption and noise budgets against Microsoft SEAL.

use std::sync::Arc;

use pycrcnn::encoding::CkksEncoder;
use pycrcnn::encryption::{Decryptor, PublicEncryptor, SymmetricEncryptor};
use pycrcnn::error::Error;
use pycrcnn::ring::primes;
use pycrcnn::runtime::Cancellation;
use pycrcnn::scheme::{Ciphertext, Context, Form, Parameters, Plaintext, PublicKey, SecretKey};
use pycrcnn::seal::SealSession;

/// A context, keys that SEAL made for it, and a SEAL session that can use all of its data primes.
struct Oracle {
    context: Arc<Context>,
    session: SealSession,
    secret: SecretKey,
    public: PublicKey,
}

impl Oracle {
    fn new(parameters: Parameters) -> Self {
        let context = Context::new(parameters).unwrap();
        let (secret, public) = SealSession::new(&context).unwrap().generate_keys().unwrap();
        let session = if context.parameters().key_switching() {
            SealSession::new(&context).unwrap()
        } else {
            SealSession::with_spare_prime(&context).unwrap()
        };
        Self { context, session, secret, public }
    }

    fn bfv(key_switching: bool, t: u64) -> Self {
        let moduli = primes::bfv_default(4096, 128).unwrap().to_vec();
        Self::new(Parameters::bfv(4096, moduli, key_switching, t).unwrap())
    }

    fn ckks() -> Self {
        let moduli = primes::create(8192, &[50, 40, 40, 50]).unwrap();
        Self::new(Parameters::ckks(8192, moduli, true).unwrap())
    }

    fn symmetric(&self) -> SymmetricEncryptor {
        SymmetricEncryptor::new(self.context.clone(), &self.secret).unwrap()
    }

    fn public(&self) -> PublicEncryptor {
        PublicEncryptor::new(self.context.clone(), &self.public).unwrap()
    }

    fn decryptor(&self) -> Decryptor {
        Decryptor::new(self.context.clone(), &self.secret).unwrap()
    }

    /// SEAL's decryption, and its noise budget, which must be ours.
    fn seal_decrypts(&self, ciphertext: &Ciphertext) -> Vec<u64> {
        let budget = self.session.noise_budget(&self.secret, ciphertext).unwrap();
        assert_eq!(self.decryptor().noise_budget(ciphertext).unwrap(), budget);
        let Plaintext::Bfv(message) = self.session.decrypt(&self.secret, ciphertext).unwrap() else { unreachable!() };
        trimmed(message)
    }

    fn we_decrypt(&self, ciphertext: &Ciphertext) -> Vec<u64> {
        let Plaintext::Bfv(message) = self.decryptor().decrypt(ciphertext).unwrap() else { unreachable!() };
        trimmed(message)
    }

    /// c0 + c1 s modulo the first prime, centred.
    fn phase(&self, ciphertext: &Ciphertext) -> Vec<i64> {
        let (table, degree) = (&self.context.tables()[0], self.context.degree());
        let mut sum = ciphertext.residues(1, 0).to_vec();
        if ciphertext.form() == Form::Coefficient {
            table.forward(&mut sum);
        }
        table.kernels().mul_assign(&mut sum, &self.secret.data()[..degree]);
        if ciphertext.form() == Form::Ntt {
            table.kernels().add_assign(&mut sum, ciphertext.residues(0, 0));
        }
        table.inverse(&mut sum);
        if ciphertext.form() == Form::Coefficient {
            table.kernels().add_assign(&mut sum, ciphertext.residues(0, 0));
        }
        sum.into_iter().map(|x| table.modulus().center(x)).collect()
    }
}

fn trimmed(mut message: Vec<u64>) -> Vec<u64> {
    message.truncate(message.iter().rposition(|&c| c != 0).map_or(0, |last| last + 1));
    message
}

/// Coefficients over all of [0, t).
fn message(t: u64) -> Vec<u64> {
    trimmed((0..4096u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % t).collect())
}

#[test]
fn bfv_goes_both_ways_with_the_whole_modulus_and_with_a_prime_set_aside() {
    for (key_switching, t) in [(false, 2), (false, 100_000_007), (false, 1 << 30), (true, 3), (true, 65537)] {
        let oracle = Oracle::bfv(key_switching, t);
        let message = message(t);
        let plaintext = Plaintext::Bfv(message.clone());
        for primes in 2..=oracle.context.data_primes() {
            for ciphertext in [
                oracle.symmetric().encrypt(&plaintext, Some(primes)),
                oracle.public().encrypt(&plaintext, Some(primes)),
            ] {
                assert_eq!(oracle.seal_decrypts(&ciphertext.unwrap()), message, "t {t}");
            }
        }
        let public = oracle.session.public_key(&extended(&oracle)).unwrap();
        for ciphertext in [
            oracle.session.encrypt(&public, &plaintext).unwrap(),
            oracle.session.encrypt_symmetric(&extended(&oracle), &plaintext).unwrap(),
        ] {
            assert_eq!(oracle.we_decrypt(&ciphertext), message, "t {t}");
            assert_eq!(oracle.seal_decrypts(&ciphertext), message, "t {t}");
        }
    }
}

/// The secret key as the session has it.
fn extended(oracle: &Oracle) -> SecretKey {
    if oracle.context.parameters().key_switching() {
        SecretKey::from_data(oracle.secret.parms_id(), pycrcnn::ring::Residues::from_slice(oracle.secret.data()))
    } else {
        oracle.session.extend_secret_key(&oracle.secret).unwrap()
    }
}

#[test]
fn the_budget_is_that_of_seal_until_it_is_used_up() {
    let oracle = Oracle::bfv(false, 1 << 10);
    let mut ciphertext = oracle.symmetric().encrypt(&Plaintext::Bfv(vec![3, 1]), None).unwrap();
    let mut expected = vec![3u64, 1];
    let mut products = 0;
    loop {
        ciphertext = oracle
            .session
            .multiply(&ciphertext, &oracle.symmetric().encrypt(&Plaintext::Bfv(vec![3, 1]), None).unwrap())
            .unwrap();
        let mut product = vec![0; expected.len() + 1];
        for (i, &c) in expected.iter().enumerate() {
            product[i] = (product[i] + 3 * c) % 1024;
            product[i + 1] = (product[i + 1] + c) % 1024;
        }
        expected = product;
        let budget = oracle.session.noise_budget(&oracle.secret, &ciphertext).unwrap();
        assert_eq!(oracle.decryptor().noise_budget(&ciphertext).unwrap(), budget);
        if budget == 0 {
            break;
        }
        assert_eq!(oracle.we_decrypt(&ciphertext), expected, "size {}", ciphertext.size());
        products += 1;
    }
    assert!(products >= 3, "{products}");
    assert_eq!(oracle.decryptor().decrypt(&ciphertext), Err(Error::NoiseBudgetExhausted(0)));
}

#[test]
fn ckks_goes_both_ways_at_every_level() {
    let oracle = Oracle::ckks();
    let encoder = CkksEncoder::new(oracle.context.clone()).unwrap();
    let values: Vec<f64> = (0..4096).map(|i| f64::from(i).sin() * 10.0).collect();
    let close = |decoded: Vec<f64>| {
        let error = decoded.iter().zip(&values).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
        assert!(error < 1e-6, "{error}");
    };
    for primes in 1..=3 {
        let plaintext = encoder.encode(&values, 2f64.powi(40), primes).unwrap();
        for ciphertext in [oracle.symmetric().encrypt(&plaintext, None), oracle.public().encrypt(&plaintext, None)] {
            let ciphertext = ciphertext.unwrap();
            assert_eq!(
                (ciphertext.primes(), ciphertext.form(), ciphertext.scale()),
                (primes, Form::Ntt, 2f64.powi(40))
            );
            close(oracle.session.ckks_decode(&oracle.session.decrypt(&oracle.secret, &ciphertext).unwrap()).unwrap());
            close(encoder.decode(&oracle.decryptor().decrypt(&ciphertext).unwrap()).unwrap());
        }
        for ciphertext in [
            oracle.session.encrypt(&oracle.public, &plaintext).unwrap(),
            oracle.session.encrypt_symmetric(&oracle.secret, &plaintext).unwrap(),
        ] {
            // Decryption is exact: the same residues as SEAL's.
            let decrypted = oracle.decryptor().decrypt(&ciphertext).unwrap();
            assert_eq!(decrypted, oracle.session.decrypt(&oracle.secret, &ciphertext).unwrap());
            close(encoder.decode(&decrypted).unwrap());
        }
        if primes > 1 {
            let lower = oracle.symmetric().encrypt(&plaintext, Some(1)).unwrap();
            close(oracle.session.ckks_decode(&oracle.session.decrypt(&oracle.secret, &lower).unwrap()).unwrap());
        }
    }
    let budget = oracle
        .decryptor()
        .noise_budget(&oracle.symmetric().encrypt(&encoder.encode(&[1.0], 1e9, 1).unwrap(), None).unwrap());
    assert!(matches!(budget, Err(Error::Unsupported { .. })));
}

#[test]
fn a_wrong_key_is_seen_in_ckks_too() {
    let (oracle, other) = (Oracle::ckks(), Oracle::ckks());
    let encoder = CkksEncoder::new(oracle.context.clone()).unwrap();
    let ciphertext = oracle.symmetric().encrypt(&encoder.encode(&[1.0, 2.0], 2f64.powi(40), 3).unwrap(), None).unwrap();
    let decrypted = other.decryptor().decrypt(&ciphertext).unwrap();
    assert!(matches!(encoder.decode(&decrypted), Err(Error::ScaleOutOfRange { .. })));
}

#[test]
fn seal_reads_expanded_seeded_ciphertexts() {
    let oracle = Oracle::bfv(false, 100_000_007);
    let messages: Vec<Plaintext> = (1..4).map(|i| Plaintext::Bfv(vec![i; 7])).collect();
    let seeded = oracle.symmetric().encrypt_seeded(&messages, None, &Cancellation::new()).unwrap();
    for (i, message) in messages.iter().enumerate() {
        let ciphertext = seeded.expand(&oracle.context, i, seeded.form()).unwrap();
        assert_eq!(Plaintext::Bfv(oracle.seal_decrypts(&ciphertext)), *message);
    }
    let oracle = Oracle::ckks();
    let encoder = CkksEncoder::new(oracle.context.clone()).unwrap();
    let plaintexts =
        [encoder.encode(&[1.5], 2f64.powi(40), 2).unwrap(), encoder.encode(&[-3.0], 2f64.powi(40), 2).unwrap()];
    let seeded = oracle.symmetric().encrypt_seeded(&plaintexts, None, &Cancellation::new()).unwrap();
    for (i, value) in [1.5, -3.0].into_iter().enumerate() {
        let ciphertext = seeded.expand(&oracle.context, i, seeded.form()).unwrap();
        let decrypted = oracle.session.decrypt(&oracle.secret, &ciphertext).unwrap();
        assert!((oracle.session.ckks_decode(&decrypted).unwrap()[0] - value).abs() < 1e-6);
    }
    let mixed = [encoder.encode(&[1.5], 2f64.powi(40), 2).unwrap(), encoder.encode(&[1.5], 2f64.powi(30), 2).unwrap()];
    let mixed = oracle.symmetric().encrypt_seeded(&mixed, None, &Cancellation::new());
    assert!(matches!(mixed, Err(Error::OperandMismatch { what: "scales", .. })));
}

#[test]
fn errors_have_the_distribution_of_seals() {
    let oracle = Oracle::bfv(false, 2);
    let zero = Plaintext::Bfv(vec![]);
    let count =
        |errors: &[i64]| (-10..=10).map(|v| errors.iter().filter(|&&e| e == v).count() as f64).collect::<Vec<_>>();
    let secret = extended(&oracle);
    let (mut ours, mut seals) = (vec![], vec![]);
    for _ in 0..20 {
        ours.extend(oracle.phase(&oracle.symmetric().encrypt(&zero, None).unwrap()));
        seals.extend(oracle.phase(&oracle.session.encrypt_symmetric(&secret, &zero).unwrap()));
    }
    assert!(ours.iter().chain(&seals).all(|e| e.abs() <= 19));
    // The two-sample statistic; 20 degrees of freedom: above 86 once in 3 * 10^9 runs.
    let statistic: f64 = count(&ours).iter().zip(count(&seals)).map(|(a, b)| (a - b).powi(2) / (a + b).max(1.0)).sum();
    assert!(statistic < 86.0, "{statistic}");
}

#[test]
fn public_key_noise_has_the_size_of_seals() {
    let variance = |phase: Vec<i64>| phase.iter().map(|&e| (e as f64).powi(2)).sum::<f64>() / phase.len() as f64;
    let zero = |context: &Arc<Context>| {
        CkksEncoder::new(context.clone()).unwrap().encode(&[], 2f64.powi(30), context.data_primes()).unwrap()
    };
    for oracle in [Oracle::ckks(), Oracle::bfv(true, 2)] {
        let zero = if oracle.context.parameters().plain_modulus() == 0 {
            zero(&oracle.context)
        } else {
            Plaintext::Bfv(vec![])
        };
        let ours: f64 = (0..5).map(|_| variance(oracle.phase(&oracle.public().encrypt(&zero, None).unwrap()))).sum();
        let seals: f64 =
            (0..5).map(|_| variance(oracle.phase(&oracle.session.encrypt(&oracle.public, &zero).unwrap()))).sum();
        assert!((0.9..1.1).contains(&(ours / seals)), "{ours} {seals}");
    }
}
