//! SEAL's evaluator: the oracle of this crate's own, and what its benchmarks compare with.
//!
//! [`Evaluator`] works on ciphertexts that stay inside SEAL, so that its calls can be timed alone; the
//! methods of [`SealSession`] of the same names take and give this crate's ciphertexts.

use std::collections::BTreeMap;

use super::bridge::SealSession;
use super::ffi::{self, DefaultPool, Owned};
use super::wire::{self, Compression};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::scheme::{Ciphertext, KeySwitchKey, Plaintext, Scheme};

/// A ciphertext inside SEAL.
pub struct Loaded(pub(super) Owned<ffi::Ciphertext>);

/// A plaintext inside SEAL.
pub struct LoadedPlaintext(pub(super) Owned<ffi::Plaintext>);

/// Relinearisation or Galois keys inside SEAL.
pub struct Keys(Owned<ffi::KSwitchKeys>);

impl Loaded {
    /// An empty ciphertext, for an operation to write to.
    ///
    /// # Errors
    /// [`Error::Seal`].
    pub fn empty() -> Result<Self> {
        ffi::new_ciphertext(DefaultPool).map(Self)
    }
}

/// SEAL's evaluator. Every operation writes its result to `out`, reusing its memory, and fails with
/// [`Error::Seal`] where SEAL refuses it: operands that do not fit, a missing key, a transparent result.
pub struct Evaluator(Owned<ffi::Evaluator>);

impl Evaluator {
    pub(super) fn new(context: &Owned<ffi::SealContext>) -> Result<Self> {
        ffi::new_evaluator(context).map(Self)
    }

    /// -a
    pub fn negate(&self, a: &Loaded, out: &mut Loaded) -> Result<()> {
        ffi::negate(&self.0, &a.0, &mut out.0)
    }

    /// a + b
    pub fn add(&self, a: &Loaded, b: &Loaded, out: &mut Loaded) -> Result<()> {
        ffi::add(&self.0, &a.0, &b.0, &mut out.0)
    }

    /// a - b
    pub fn sub(&self, a: &Loaded, b: &Loaded, out: &mut Loaded) -> Result<()> {
        ffi::sub(&self.0, &a.0, &b.0, &mut out.0)
    }

    /// a + b
    pub fn add_plain(&self, a: &Loaded, b: &LoadedPlaintext, out: &mut Loaded) -> Result<()> {
        ffi::add_plain(&self.0, &a.0, &b.0, &mut out.0)
    }

    /// a - b
    pub fn sub_plain(&self, a: &Loaded, b: &LoadedPlaintext, out: &mut Loaded) -> Result<()> {
        ffi::sub_plain(&self.0, &a.0, &b.0, &mut out.0)
    }

    /// a b
    pub fn multiply_plain(&self, a: &Loaded, b: &LoadedPlaintext, out: &mut Loaded) -> Result<()> {
        ffi::multiply_plain(&self.0, &a.0, &b.0, &mut out.0, DefaultPool)
    }

    /// a b, of size(a) + size(b) - 1 polynomials
    pub fn multiply(&self, a: &Loaded, b: &Loaded, out: &mut Loaded) -> Result<()> {
        ffi::multiply(&self.0, &a.0, &b.0, &mut out.0, DefaultPool)
    }

    /// a^2, of three polynomials for two
    pub fn square(&self, a: &Loaded, out: &mut Loaded) -> Result<()> {
        ffi::square(&self.0, &a.0, &mut out.0, DefaultPool)
    }

    /// Three polynomials back to two.
    pub fn relinearize(&self, a: &Loaded, keys: &Keys, out: &mut Loaded) -> Result<()> {
        ffi::relinearize(&self.0, &a.0, &keys.0, &mut out.0, DefaultPool)
    }

    /// CKKS: divides by the last prime and drops it.
    pub fn rescale_to_next(&self, a: &Loaded, out: &mut Loaded) -> Result<()> {
        ffi::rescale_to_next(&self.0, &a.0, &mut out.0, DefaultPool)
    }

    /// Drops the last prime: BFV divides, CKKS does not.
    pub fn mod_switch_to_next(&self, a: &Loaded, out: &mut Loaded) -> Result<()> {
        ffi::mod_switch_to_next(&self.0, &a.0, &mut out.0, DefaultPool)
    }

    /// Coefficient form to NTT form.
    pub fn transform_to_ntt(&self, a: &Loaded, out: &mut Loaded) -> Result<()> {
        ffi::transform_to_ntt(&self.0, &a.0, &mut out.0)
    }

    /// NTT form to coefficient form.
    pub fn transform_from_ntt(&self, a: &Loaded, out: &mut Loaded) -> Result<()> {
        ffi::transform_from_ntt(&self.0, &a.0, &mut out.0)
    }

    /// a(X^element)
    pub fn apply_galois(&self, a: &Loaded, element: u32, keys: &Keys, out: &mut Loaded) -> Result<()> {
        ffi::apply_galois(&self.0, &a.0, element, &keys.0, &mut out.0, DefaultPool)
    }

    /// BFV: rotates both rows of slots to the left.
    pub fn rotate_rows(&self, a: &Loaded, steps: i32, keys: &Keys, out: &mut Loaded) -> Result<()> {
        ffi::rotate_rows(&self.0, &a.0, steps, &keys.0, &mut out.0, DefaultPool)
    }

    /// CKKS: rotates the slots to the left.
    pub fn rotate_vector(&self, a: &Loaded, steps: i32, keys: &Keys, out: &mut Loaded) -> Result<()> {
        ffi::rotate_vector(&self.0, &a.0, steps, &keys.0, &mut out.0, DefaultPool)
    }
}

/// Conversions between this crate's objects and SEAL's, and SEAL's operations on this crate's.
///
/// Errors: [`Error::ParametersMismatch`] for objects of other parameters, [`Error::Seal`] where SEAL
/// refuses.
impl SealSession {
    /// A ciphertext into SEAL.
    pub fn load(&self, ciphertext: &Ciphertext) -> Result<Loaded> {
        let bytes = wire::write_ciphertext(ciphertext, Compression::None);
        self.loaded(ffi::new_ciphertext(DefaultPool)?, &bytes).map(Loaded)
    }

    /// A ciphertext out of SEAL.
    pub fn unload(&self, ciphertext: &Loaded) -> Result<Ciphertext> {
        self.read_ciphertext(&ciphertext.0)
    }

    /// A plaintext into SEAL.
    pub fn load_plaintext(&self, plaintext: &Plaintext) -> Result<LoadedPlaintext> {
        let bytes = wire::write_plaintext(self.context(), plaintext, Compression::None)?;
        self.loaded(ffi::new_plaintext(DefaultPool)?, &bytes).map(LoadedPlaintext)
    }

    /// A relinearisation key into SEAL.
    pub fn load_relinearization_key(&self, key: &KeySwitchKey) -> Result<Keys> {
        let bytes = wire::write_relinearization_key(self.context(), key, Compression::None)?;
        self.loaded(ffi::new_kswitch_keys()?, &bytes).map(Keys)
    }

    /// Galois keys into SEAL.
    pub fn load_galois_keys(&self, keys: &BTreeMap<u32, KeySwitchKey>) -> Result<Keys> {
        let bytes = wire::write_galois_keys(self.context(), keys, Compression::None)?;
        self.loaded(ffi::new_kswitch_keys()?, &bytes).map(Keys)
    }

    fn unary(
        &self,
        a: &Ciphertext,
        operation: impl FnOnce(&Evaluator, &Loaded, &mut Loaded) -> Result<()>,
    ) -> Result<Ciphertext> {
        let mut out = Loaded::empty()?;
        operation(self.evaluator(), &self.load(a)?, &mut out)?;
        self.unload(&out)
    }

    fn binary(
        &self,
        a: &Ciphertext,
        b: &Ciphertext,
        operation: impl FnOnce(&Evaluator, &Loaded, &Loaded, &mut Loaded) -> Result<()>,
    ) -> Result<Ciphertext> {
        let b = self.load(b)?;
        self.unary(a, |evaluator, a, out| operation(evaluator, a, &b, out))
    }

    fn with_plaintext(
        &self,
        a: &Ciphertext,
        b: &Plaintext,
        operation: impl FnOnce(&Evaluator, &Loaded, &LoadedPlaintext, &mut Loaded) -> Result<()>,
    ) -> Result<Ciphertext> {
        let b = self.load_plaintext(b)?;
        self.unary(a, |evaluator, a, out| operation(evaluator, a, &b, out))
    }

    /// -a
    pub fn negate(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.unary(a, Evaluator::negate)
    }

    /// a + b
    pub fn add(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        self.binary(a, b, Evaluator::add)
    }

    /// a - b
    pub fn sub(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        self.binary(a, b, Evaluator::sub)
    }

    /// a + b
    pub fn add_plain(&self, a: &Ciphertext, b: &Plaintext) -> Result<Ciphertext> {
        self.with_plaintext(a, b, Evaluator::add_plain)
    }

    /// a - b
    pub fn sub_plain(&self, a: &Ciphertext, b: &Plaintext) -> Result<Ciphertext> {
        self.with_plaintext(a, b, Evaluator::sub_plain)
    }

    /// a b; SEAL refuses b = 0
    pub fn multiply_plain(&self, a: &Ciphertext, b: &Plaintext) -> Result<Ciphertext> {
        self.with_plaintext(a, b, Evaluator::multiply_plain)
    }

    /// a b, of size(a) + size(b) - 1 polynomials
    pub fn multiply(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        self.binary(a, b, Evaluator::multiply)
    }

    /// a^2, of three polynomials for two
    pub fn square(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.unary(a, Evaluator::square)
    }

    /// Three polynomials back to two.
    pub fn relinearize(&self, a: &Ciphertext, key: &KeySwitchKey) -> Result<Ciphertext> {
        let key = self.load_relinearization_key(key)?;
        self.unary(a, |evaluator, a, out| evaluator.relinearize(a, &key, out))
    }

    /// CKKS: divides by the last prime and drops it.
    pub fn rescale_to_next(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.unary(a, Evaluator::rescale_to_next)
    }

    /// Drops the last prime: BFV divides, CKKS does not.
    pub fn mod_switch_to_next(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.unary(a, Evaluator::mod_switch_to_next)
    }

    /// Coefficient form to NTT form.
    pub fn transform_to_ntt(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.unary(a, Evaluator::transform_to_ntt)
    }

    /// NTT form to coefficient form.
    pub fn transform_from_ntt(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.unary(a, Evaluator::transform_from_ntt)
    }

    /// a(X^element)
    pub fn apply_galois(&self, a: &Ciphertext, element: u32, keys: &BTreeMap<u32, KeySwitchKey>) -> Result<Ciphertext> {
        let keys = self.load_galois_keys(keys)?;
        self.unary(a, |evaluator, a, out| evaluator.apply_galois(a, element, &keys, out))
    }

    /// Rotates the slots (BFV: both rows) to the left.
    pub fn rotate(&self, a: &Ciphertext, steps: i32, keys: &BTreeMap<u32, KeySwitchKey>) -> Result<Ciphertext> {
        let keys = self.load_galois_keys(keys)?;
        self.unary(a, |evaluator, a, out| match self.context().parameters().scheme() {
            Scheme::Bfv => evaluator.rotate_rows(a, steps, &keys, out),
            Scheme::Ckks => evaluator.rotate_vector(a, steps, &keys, out),
        })
    }
}
