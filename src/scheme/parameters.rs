//! Encryption parameters, and their identity as SEAL computes it.

use blake2::digest::{Update, VariableOutput};
use serde::{Deserialize, Serialize};

use super::security;
use crate::error::{Error, Result};
use crate::ring::{Modulus, primes};

/// BLAKE2b-256 over the parameters at one level: SEAL's `parms_id`.
pub type ParmsId = [u64; 4];

/// The homomorphic encryption scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scheme {
    /// exact integers modulo t (Brakerski, Fan-Vercauteren)
    Bfv,
    /// approximate reals (Cheon, Kim, Kim, Song)
    Ckks,
}

impl Scheme {
    /// SEAL's number for the scheme.
    pub const fn seal_id(self) -> u64 {
        match self {
            Scheme::Bfv => 1,
            Scheme::Ckks => 2,
        }
    }
}

/// Degree, coefficient modulus and plaintext modulus of a BFV or CKKS instance.
///
/// A ciphertext lives at a *level*: level l has the first l + 1 data primes (SEAL's chain index).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Parameters {
    scheme: Scheme,
    degree: usize,
    moduli: Vec<u64>,
    key_switching: bool,
    plain_modulus: u64,
}

/// [`Parameters`] as they are written to files; reading checks them.
#[derive(Deserialize)]
struct Written {
    scheme: Scheme,
    degree: usize,
    moduli: Vec<u64>,
    key_switching: bool,
    plain_modulus: u64,
}

impl TryFrom<Written> for Parameters {
    type Error = Error;

    fn try_from(written: Written) -> Result<Self> {
        let Written { scheme, degree, moduli, key_switching, plain_modulus } = written;
        match scheme {
            Scheme::Bfv => Self::bfv(degree, moduli, key_switching, plain_modulus),
            Scheme::Ckks => Self::ckks(degree, moduli, key_switching),
        }
    }
}

impl Parameters {
    /// The smallest polynomial degree N.
    pub const MIN_DEGREE: usize = 1024;
    /// The largest polynomial degree N.
    pub const MAX_DEGREE: usize = 32768;
    /// The largest number of primes.
    pub const MAX_PRIMES: usize = 64;

    /// BFV parameters.
    ///
    /// `moduli` are distinct primes congruent to 1 modulo 2N. With `key_switching` the last of them
    /// is set aside for key switching, as in SEAL; without, all of them carry data and
    /// relinearisation and rotation are not available. `plain_modulus` is any integer from 2, coprime
    /// to and smaller than each prime of the modulus is not required: it must only be smaller than
    /// their product.
    ///
    /// # Errors
    /// [`Error::InvalidDegree`], [`Error::InvalidModulus`], [`Error::InvalidArgument`].
    pub fn bfv(degree: usize, moduli: Vec<u64>, key_switching: bool, plain_modulus: u64) -> Result<Self> {
        Modulus::new(plain_modulus)?;
        if moduli.contains(&plain_modulus) {
            return Err(Error::InvalidModulus {
                value: plain_modulus,
                reason: "it is also a prime of the coefficient modulus; choose another plaintext modulus".into(),
            });
        }
        Self { scheme: Scheme::Bfv, degree, moduli, key_switching, plain_modulus }.checked()
    }

    /// CKKS parameters; `key_switching` as for [`bfv`](Parameters::bfv).
    ///
    /// # Errors
    /// [`Error::InvalidDegree`], [`Error::InvalidModulus`], [`Error::InvalidArgument`].
    pub fn ckks(degree: usize, moduli: Vec<u64>, key_switching: bool) -> Result<Self> {
        Self { scheme: Scheme::Ckks, degree, moduli, key_switching, plain_modulus: 0 }.checked()
    }

    fn checked(self) -> Result<Self> {
        let (min, max) = (Self::MIN_DEGREE, Self::MAX_DEGREE);
        if !self.degree.is_power_of_two() || !(min..=max).contains(&self.degree) {
            return Err(Error::InvalidDegree { degree: self.degree, min, max });
        }
        if !(1..=Self::MAX_PRIMES).contains(&self.moduli.len()) || (self.key_switching && self.moduli.len() < 2) {
            return Err(Error::InvalidArgument {
                name: "moduli",
                reason: format!(
                    "{} prime(s) given; 1 to {} are needed, and at least 2 with a key-switching prime",
                    self.moduli.len(),
                    Self::MAX_PRIMES
                ),
            });
        }
        for (i, &q) in self.moduli.iter().enumerate() {
            Modulus::new(q)?;
            if self.moduli[..i].contains(&q) {
                return Err(Error::InvalidModulus {
                    value: q,
                    reason: "it stands in the coefficient modulus twice".into(),
                });
            }
            if q % (2 * self.degree as u64) != 1 || !primes::is_prime(q) {
                return Err(Error::InvalidModulus {
                    value: q,
                    reason: format!("it must be a prime congruent to 1 modulo {}", 2 * self.degree),
                });
            }
        }
        Ok(self)
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The polynomial degree N.
    pub fn degree(&self) -> usize {
        self.degree
    }

    /// All primes, the key-switching prime (if any) last.
    pub fn moduli(&self) -> &[u64] {
        &self.moduli
    }

    /// The primes that carry data at the highest level.
    pub fn data_moduli(&self) -> &[u64] {
        &self.moduli[..self.moduli.len() - usize::from(self.key_switching)]
    }

    /// Whether the last prime is set aside for key switching.
    pub fn key_switching(&self) -> bool {
        self.key_switching
    }

    /// The plaintext modulus t of BFV, 0 for CKKS.
    pub fn plain_modulus(&self) -> u64 {
        self.plain_modulus
    }

    /// Bits of the product of all primes: the number that security depends on.
    pub fn modulus_bits(&self) -> u32 {
        self.moduli.iter().fold(num_bigint::BigUint::from(1u32), |q, &p| q * p).bits() as u32
    }

    /// The identity of the parameters with the first `primes` primes, as SEAL computes it.
    pub fn parms_id(&self, primes: usize) -> ParmsId {
        let mut hash = blake2::Blake2bVar::new(32).expect("32 bytes is a BLAKE2b output size");
        let words = [self.scheme.seal_id(), self.degree as u64]
            .into_iter()
            .chain(self.moduli[..primes].iter().copied())
            .chain([self.plain_modulus]);
        for word in words {
            hash.update(&word.to_le_bytes());
        }
        let mut bytes = [0; 32];
        hash.finalize_variable(&mut bytes).expect("the buffer has the output's size");
        std::array::from_fn(|i| u64::from_le_bytes(bytes[8 * i..8 * i + 8].try_into().expect("eight bytes")))
    }

    /// Checks the modulus against the smaller of the published limits.
    ///
    /// # Errors
    /// [`Error::Insecure`] where it is larger, [`Error::InvalidArgument`] for a security level other
    /// than 128, 192 or 256.
    pub fn check_security(&self, level: u32) -> Result<()> {
        let limit = security::limit(self.degree, level).ok_or_else(|| Error::InvalidArgument {
            name: "security",
            reason: format!("{level} bits; choose 128, 192 or 256"),
        })?;
        let bits = self.modulus_bits();
        if bits > limit { Err(Error::Insecure { degree: self.degree, bits, security: level, limit }) } else { Ok(()) }
    }
}
