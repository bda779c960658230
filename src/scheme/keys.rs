//! The three keys. Only [`SecretKey`] decrypts; a server holds [`EvaluationKeys`] and, to encrypt
//! constants, a [`PublicKey`].

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroize;

use super::context::Context;
use super::parameters::ParmsId;
use crate::ring::Residues;

/// The secret key s: a ternary polynomial, kept as SEAL keeps it (NTT form, `[primes][N]`, over all
/// primes). Its memory is wiped when it is dropped; it has no `Debug` output and no `Clone`.
pub struct SecretKey {
    parms_id: ParmsId,
    data: Residues,
}

impl SecretKey {
    /// A key from its residues in NTT form.
    pub fn from_data(parms_id: ParmsId, data: Residues) -> Self {
        Self { parms_id, data }
    }

    /// The parms_id of the key level.
    pub fn parms_id(&self) -> ParmsId {
        self.parms_id
    }

    /// A copy of `own`'s key for the parameters with another plaintext modulus, on which keys do not depend. The copy of
    /// another context's key stays that one's.
    pub fn shared(&self, own: &Context, other: &Context) -> Self {
        Self { parms_id: shared(self.parms_id, own, other), data: Residues::from_slice(&self.data) }
    }

    /// The residues in NTT form, `[primes][N]`. Secret.
    pub fn data(&self) -> &[u64] {
        &self.data
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.data.zeroize();
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// The public key (-(a s + e), a), NTT form over all primes: `[2][primes][N]`.
#[derive(Debug, Clone, PartialEq)]
pub struct PublicKey {
    /// the parms_id of the key level
    pub parms_id: ParmsId,
    /// residues
    pub data: Residues,
}

impl PublicKey {
    /// A copy of `own`'s key for the parameters with another plaintext modulus, on which keys do not depend. The copy of
    /// another context's key stays that one's.
    pub fn shared(&self, own: &Context, other: &Context) -> Self {
        Self { parms_id: shared(self.parms_id, own, other), data: self.data.clone() }
    }
}

fn shared(parms_id: ParmsId, own: &Context, other: &Context) -> ParmsId {
    let (a, b) = (own.parameters(), other.parameters());
    let ring = (a.scheme(), a.degree(), a.moduli()) == (b.scheme(), b.degree(), b.moduli());
    if ring && parms_id == own.key_parms_id() { other.key_parms_id() } else { parms_id }
}

/// A key that turns a ciphertext part under one secret into one under another, for ciphertexts with at most `primes` data
/// primes: for each of these a pair of polynomials over them and the key-switching prime, NTT form,
/// `[primes][2][primes + 1][N]`. SEAL's keys serve all data primes.
#[derive(Debug, Clone, PartialEq)]
pub struct KeySwitchKey {
    /// the most data primes that a ciphertext may have
    pub primes: usize,
    /// residues
    pub data: Residues,
}

impl KeySwitchKey {
    /// The row of one digit and part (0 or 1) for a prime of a ciphertext with `primes` primes; the key-switching prime
    /// comes after them.
    pub fn row(&self, digit: usize, part: usize, prime: usize, primes: usize, degree: usize) -> &[u64] {
        // A key for more primes has its key-switching row further down.
        let prime = if prime < primes { prime } else { self.primes };
        let at = ((digit * 2 + part) * (self.primes + 1) + prime) * degree;
        &self.data[at..at + degree]
    }

    /// Whether the residues are as many as the level says, and the level is one of the context's.
    pub fn is_sound(&self, context: &Context) -> bool {
        (1..=context.data_primes()).contains(&self.primes)
            && self.data.len() == self.primes * 2 * (self.primes + 1) * context.degree()
    }
}

/// What a server needs to evaluate: no part of it can decrypt.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EvaluationKeys {
    /// the parms_id of the key level
    pub parms_id: ParmsId,
    /// from s^2 to s, for squares and products
    pub relinearization: Option<KeySwitchKey>,
    /// from s(X^g) to s, by Galois element g, for rotations
    pub galois: BTreeMap<u32, KeySwitchKey>,
}
