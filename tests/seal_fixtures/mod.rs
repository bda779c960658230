//! SEAL sessions with their keys, and one object of every kind as SEAL saves it.

use std::sync::{Arc, LazyLock};

use pycrcnn::Result;
use pycrcnn::ring::{Residues, primes};
use pycrcnn::scheme::{Ciphertext, Context, Form, Parameters, Plaintext, Scheme, SecretKey};
use pycrcnn::seal::wire::{self, Compression, Limits};
use pycrcnn::seal::{Object, SealSession};
use zeroize::Zeroizing;

pub const SCALE: f64 = (1u64 << 20) as f64;
pub const DEGREE: usize = 1024;

/// A session with a secret key.
pub struct Fixture {
    pub context: Arc<Context>,
    pub session: SealSession,
    pub secret: SecretKey,
}

impl Fixture {
    fn new(parameters: Result<Parameters>) -> Self {
        let context = Context::new(parameters.unwrap()).unwrap();
        let session = SealSession::new(&context).unwrap();
        let secret = session.generate_keys().unwrap().0;
        Self { context, session, secret }
    }

    pub fn scheme(&self) -> Scheme {
        self.context.parameters().scheme()
    }

    pub fn plaintext(&self) -> Plaintext {
        match self.scheme() {
            Scheme::Bfv => Plaintext::Bfv((0..DEGREE as u64).map(|i| i * i % 12289).collect()),
            Scheme::Ckks => {
                let values: Vec<f64> = (0..DEGREE / 2).map(|i| (i as f64).sin()).collect();
                self.session.ckks_encode(&values, self.context.data_primes(), SCALE).unwrap()
            }
        }
    }

    /// A ciphertext of arbitrary residues.
    pub fn ciphertext(&self, size: usize, primes: usize, form: Form, seed: u64) -> Ciphertext {
        let scale = if self.scheme() == Scheme::Bfv { 1.0 } else { SCALE + seed as f64 };
        let mut ciphertext = Ciphertext::zero(&self.context, size, primes, form, scale);
        for i in 0..size {
            for j in 0..primes {
                let q = self.context.modulus(j);
                let mut word = seed ^ (i * primes + j) as u64;
                for residue in ciphertext.residues_mut(i, j) {
                    word = word.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    *residue = q.reduce(word);
                }
            }
        }
        ciphertext
    }

    /// Every kind of object in SEAL's bytes.
    pub fn saved(&self, kind: Kind, compression: Compression) -> Vec<u8> {
        let session = &self.session;
        let resave = |object, bytes: &[u8]| session.resave(object, bytes, compression).unwrap();
        match kind {
            Kind::Ciphertext => {
                let public = session.public_key(&self.secret).unwrap();
                let fresh = session.encrypt(&public, &self.plaintext()).unwrap();
                resave(Object::Ciphertext, &wire::write_ciphertext(&fresh, Compression::None))
            }
            Kind::Seeded => session.compact_ciphertext(&self.secret, &self.plaintext(), compression).unwrap(),
            Kind::Plaintext => {
                let bytes = wire::write_plaintext(&self.context, &self.plaintext(), Compression::None).unwrap();
                resave(Object::Plaintext, &bytes)
            }
            Kind::SecretKey => resave(Object::SecretKey, &wire::write_secret_key(&self.secret, Compression::None)),
            Kind::PublicKey => resave(Object::PublicKey, &self.saved(Kind::CompactPublicKey, Compression::None)),
            Kind::CompactPublicKey => session.compact_public_key(&self.secret, compression).unwrap(),
            Kind::Relinearization => {
                resave(Object::KeySwitchKeys, &self.saved(Kind::CompactRelinearization, Compression::None))
            }
            Kind::CompactRelinearization => session.compact_relinearization_key(&self.secret, compression).unwrap(),
            Kind::Galois => resave(Object::KeySwitchKeys, &self.saved(Kind::CompactGalois, Compression::None)),
            Kind::CompactGalois => {
                session.compact_galois_keys(&self.secret, &[3, 2 * DEGREE as u32 - 1], compression).unwrap()
            }
        }
    }

    /// Reads bytes of a kind and writes what was read, whole.
    pub fn rewrite(&self, kind: Kind, bytes: &[u8], limits: Limits) -> Result<Vec<u8>> {
        let context = &self.context;
        let none = Compression::None;
        Ok(match kind {
            Kind::Ciphertext => wire::write_ciphertext(&wire::read_ciphertext(context, bytes, limits)?, none),
            Kind::Seeded => {
                let seeded = wire::read_seeded_ciphertext(context, bytes, limits)?;
                wire::write_seeded_ciphertext(context, &seeded, none)?
            }
            Kind::Plaintext => wire::write_plaintext(context, &wire::read_plaintext(context, bytes, limits)?, none)?,
            Kind::SecretKey => {
                let written: Zeroizing<Vec<u8>> =
                    wire::write_secret_key(&wire::read_secret_key(context, bytes, limits)?, none);
                written.to_vec()
            }
            Kind::PublicKey | Kind::CompactPublicKey => {
                wire::write_public_key(context, &wire::read_public_key(context, bytes, limits)?, none)?
            }
            Kind::Relinearization | Kind::CompactRelinearization => {
                let key = wire::read_relinearization_key(context, bytes, limits)?;
                wire::write_relinearization_key(context, &key, none)?
            }
            Kind::Galois | Kind::CompactGalois => {
                wire::write_galois_keys(context, &wire::read_galois_keys(context, bytes, limits)?, none)?
            }
        })
    }
}

/// The kinds of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ciphertext,
    Seeded,
    Plaintext,
    SecretKey,
    PublicKey,
    CompactPublicKey,
    Relinearization,
    CompactRelinearization,
    Galois,
    CompactGalois,
}

impl Kind {
    pub const ALL: [Kind; 10] = [
        Kind::Ciphertext,
        Kind::Seeded,
        Kind::Plaintext,
        Kind::SecretKey,
        Kind::PublicKey,
        Kind::CompactPublicKey,
        Kind::Relinearization,
        Kind::CompactRelinearization,
        Kind::Galois,
        Kind::CompactGalois,
    ];

    /// SEAL's name for it.
    pub fn object(self) -> Object {
        match self {
            Kind::Ciphertext | Kind::Seeded => Object::Ciphertext,
            Kind::Plaintext => Object::Plaintext,
            Kind::SecretKey => Object::SecretKey,
            Kind::PublicKey | Kind::CompactPublicKey => Object::PublicKey,
            _ => Object::KeySwitchKeys,
        }
    }
}

/// BFV and CKKS, the parameters of the fuzz targets.
pub static FIXTURES: LazyLock<[Fixture; 2]> = LazyLock::new(|| {
    let moduli = primes::create(DEGREE, &[30, 36, 30]).unwrap();
    [
        Fixture::new(Parameters::bfv(DEGREE, moduli.clone(), true, 12289)),
        Fixture::new(Parameters::ckks(DEGREE, moduli, true)),
    ]
});

/// A CKKS plaintext of arbitrary residues.
pub fn ckks_plaintext(context: &Context, primes: usize, scale: f64, seed: u64) -> Plaintext {
    let residues = (0..primes * DEGREE)
        .map(|i| context.modulus(i / DEGREE).reduce(seed.wrapping_mul(i as u64 + 1).wrapping_mul(0x9e3779b97f4a7c15)));
    Plaintext::Ckks { primes, scale, data: Residues::from_slice(&residues.collect::<Vec<_>>()) }
}
