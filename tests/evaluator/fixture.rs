//! Keys, both evaluators and random plaintexts for one set of parameters.

use std::fmt;
use std::sync::Arc;

use pycrcnn::evaluator::Evaluator;
use pycrcnn::ring::primes;
use pycrcnn::scheme::{Ciphertext, Context, EvaluationKeys, Parameters, Plaintext, SecretKey};
use pycrcnn::seal::SealSession;

/// Rotations for which there are Galois keys; 5 = 1 + 4 and -3 = 1 - 4 are composed of them.
pub const STEPS: [i32; 4] = [1, 4, -4, -7];

pub struct Fixture {
    pub context: Arc<Context>,
    pub seal: SealSession,
    pub secret: SecretKey,
    pub keys: EvaluationKeys,
    pub evaluator: Evaluator,
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.context.parameters().fmt(f)
    }
}

impl Fixture {
    /// Parameters whose last prime switches keys, or that have one prime only.
    pub fn new(parameters: Parameters) -> Self {
        let context = Context::new(parameters).unwrap();
        let seal = if context.key_primes() > 1 && !context.parameters().key_switching() {
            SealSession::with_spare_prime(&context).unwrap()
        } else {
            SealSession::new(&context).unwrap()
        };
        let (secret, _) = seal.generate_keys().unwrap();
        let mut keys = EvaluationKeys { parms_id: context.key_parms_id(), ..Default::default() };
        if context.parameters().key_switching() {
            keys.relinearization = Some(seal.relinearization_key(&secret).unwrap());
            keys.galois = seal.rotation_keys(&secret, &STEPS).unwrap();
            keys.galois.extend(seal.galois_keys(&secret, &[2 * context.degree() as u32 - 1]).unwrap());
        }
        let evaluator = Evaluator::new(context.clone());
        Self { context, seal, secret, keys, evaluator }
    }

    pub fn bfv(degree: usize, bits: &[u32], key_switching: bool, plain_modulus: u64) -> Self {
        let moduli = primes::create(degree, bits).unwrap();
        Self::new(Parameters::bfv(degree, moduli, key_switching, plain_modulus).unwrap())
    }

    pub fn ckks(degree: usize, bits: &[u32]) -> Self {
        Self::new(Parameters::ckks(degree, primes::create(degree, bits).unwrap(), true).unwrap())
    }

    pub fn encrypt(&self, plaintext: &Plaintext) -> Ciphertext {
        let ciphertext = self.seal.encrypt_symmetric(&self.secret, plaintext).unwrap();
        let (size, primes) = (ciphertext.size(), ciphertext.primes());
        let (form, scale) = (ciphertext.form(), ciphertext.scale());
        // a session with a spare prime makes ciphertexts of these parameters; make sure of it
        let data = pycrcnn::ring::Residues::from_slice(ciphertext.data());
        let own = Ciphertext::from_data(&self.context, size, primes, form, scale, data).unwrap();
        assert_eq!(own.parms_id(), ciphertext.parms_id());
        own
    }

    /// The coefficients of a BFV message, without trailing zeros.
    pub fn decrypt(&self, ciphertext: &Ciphertext) -> Vec<u64> {
        let Plaintext::Bfv(mut coefficients) = self.seal.decrypt(&self.secret, ciphertext).unwrap() else {
            panic!("a BFV context gives BFV plaintexts");
        };
        let significant = coefficients.iter().rposition(|&c| c != 0).map_or(0, |last| last + 1);
        coefficients.truncate(significant);
        coefficients
    }

    pub fn budget(&self, ciphertext: &Ciphertext) -> u32 {
        self.seal.noise_budget(&self.secret, ciphertext).unwrap()
    }

    /// N coefficients modulo t.
    pub fn random_plaintext(&self, random: &mut Random) -> Plaintext {
        let t = self.context.parameters().plain_modulus();
        Plaintext::Bfv((0..self.context.degree()).map(|_| random.below(t)).collect())
    }

    /// N/2 slots between -8 and 8.
    pub fn random_slots(&self, random: &mut Random, primes: usize, scale: f64) -> Plaintext {
        let slots: Vec<f64> =
            (0..self.context.degree() / 2).map(|_| random.below(1 << 20) as f64 / 65536.0 - 8.0).collect();
        self.seal.ckks_encode(&slots, primes, scale).unwrap()
    }
}

/// Knuth's linear congruential generator: reproducible test data.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((u128::from(self.0) * u128::from(bound)) >> 64) as u64
    }
}

/// Which residues differ, should any: a readable failure instead of two dumps.
#[track_caller]
pub fn assert_identical(ours: &Ciphertext, seal: &Ciphertext) {
    assert_eq!((ours.size(), ours.primes(), ours.form()), (seal.size(), seal.primes(), seal.form()));
    assert_eq!(ours.parms_id(), seal.parms_id());
    assert_eq!(ours.scale(), seal.scale());
    let first = ours.data().iter().zip(seal.data()).position(|(a, b)| a != b);
    assert_eq!(first, None, "residues differ from that place on");
}
