//! Microsoft SEAL's keys on this crate's types.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::bridge::SealSession;
use super::ffi::{self, Owned, Saved};
use super::wire::{self, Compression, Limits};
use crate::error::{Error, Result};
use crate::scheme::{KeySwitchKey, PublicKey, SecretKey};

impl SealSession {
    /// A new secret key and a public key for it.
    ///
    /// # Errors
    /// [`Error::Seal`].
    pub fn generate_keys(&self) -> Result<(SecretKey, PublicKey)> {
        let generator = ffi::new_key_generator(&self.seal)?;
        let secret_key = ffi::secret_key_of(&generator)?;
        let bytes = Zeroizing::new(Saved::save(&secret_key, Compression::None)?);
        let secret_key = wire::read_secret_key(self.context(), &bytes, Limits::CONTEXT)?;
        Ok((secret_key, self.read_public_key(&generator)?))
    }

    /// A new public key for a secret key.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`], [`Error::Seal`].
    pub fn public_key(&self, secret_key: &SecretKey) -> Result<PublicKey> {
        self.read_public_key(&self.generator(secret_key)?)
    }

    fn read_public_key(&self, generator: &Owned<ffi::KeyGenerator>) -> Result<PublicKey> {
        let bytes = Saved::save(&ffi::create_public_key(generator, false)?, Compression::None)?;
        wire::read_public_key(self.context(), &bytes, Limits::CONTEXT)
    }

    /// The bytes of a new public key, half of them a seed.
    ///
    /// # Errors
    /// As [`public_key`](SealSession::public_key).
    pub fn compact_public_key(&self, secret_key: &SecretKey, compression: Compression) -> Result<Vec<u8>> {
        Saved::save(&ffi::create_public_key(&self.generator(secret_key)?, true)?, compression)
    }

    /// The relinearisation key, from s^2 to s.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where no prime is set aside, [`Error::ParametersMismatch`], [`Error::Seal`].
    pub fn relinearization_key(&self, secret_key: &SecretKey) -> Result<KeySwitchKey> {
        let keys = self.relinearization_keys(secret_key, false)?;
        wire::read_relinearization_key(self.context(), &Saved::save(&keys, Compression::None)?, Limits::CONTEXT)
    }

    /// The bytes of a new relinearisation key, half of them seeds.
    ///
    /// # Errors
    /// As [`relinearization_key`](SealSession::relinearization_key).
    pub fn compact_relinearization_key(&self, secret_key: &SecretKey, compression: Compression) -> Result<Vec<u8>> {
        Saved::save(&self.relinearization_keys(secret_key, true)?, compression)
    }

    fn relinearization_keys(&self, secret_key: &SecretKey, save_seed: bool) -> Result<Owned<ffi::KSwitchKeys>> {
        self.needs_key_switching("making a relinearization key")?;
        ffi::create_relin_keys(&self.generator(secret_key)?, save_seed)
    }

    /// Keys for the given Galois elements (odd, below 2N) and no others.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where no prime is set aside, [`Error::InvalidArgument`] for a wrong element,
    /// [`Error::ParametersMismatch`], [`Error::Seal`].
    pub fn galois_keys(&self, secret_key: &SecretKey, elements: &[u32]) -> Result<BTreeMap<u32, KeySwitchKey>> {
        let keys = self.seal_galois_keys(secret_key, elements, false)?;
        wire::read_galois_keys(self.context(), &Saved::save(&keys, Compression::None)?, Limits::CONTEXT)
    }

    /// The bytes of new Galois keys, half of them seeds.
    ///
    /// # Errors
    /// As [`galois_keys`](SealSession::galois_keys).
    pub fn compact_galois_keys(
        &self,
        secret_key: &SecretKey,
        elements: &[u32],
        compression: Compression,
    ) -> Result<Vec<u8>> {
        Saved::save(&self.seal_galois_keys(secret_key, elements, true)?, compression)
    }

    fn seal_galois_keys(
        &self,
        secret_key: &SecretKey,
        elements: &[u32],
        save_seed: bool,
    ) -> Result<Owned<ffi::KSwitchKeys>> {
        self.needs_key_switching("making Galois keys")?;
        let bound = 2 * self.context().degree() as u32;
        if let Some(element) = elements.iter().find(|&&element| element % 2 == 0 || element >= bound) {
            let reason = format!("Galois element {element} is not odd and below {bound}");
            return Err(Error::InvalidArgument { name: "elements", reason });
        }
        ffi::create_galois_keys(&self.generator(secret_key)?, elements, save_seed)
    }

    /// Keys for rotations by the given steps.
    ///
    /// # Errors
    /// As [`galois_keys`](SealSession::galois_keys); [`Error::InvalidArgument`] for a step of N/2 or more.
    pub fn rotation_keys(&self, secret_key: &SecretKey, steps: &[i32]) -> Result<BTreeMap<u32, KeySwitchKey>> {
        let elements = steps.iter().map(|&steps| galois_element(self.context().degree(), steps));
        self.galois_keys(secret_key, &elements.collect::<Result<Vec<_>>>()?)
    }
}

/// The Galois element of a rotation by `steps` (positive: to the left): 3^steps mod 2N.
///
/// # Errors
/// [`Error::InvalidArgument`] for steps of N/2 or more.
pub fn galois_element(degree: usize, steps: i32) -> Result<u32> {
    let row = degree as i64 / 2;
    let steps = i64::from(steps);
    if steps.abs() >= row {
        let reason = format!("a rotation by {steps}; at most {} steps exist", row - 1);
        return Err(Error::InvalidArgument { name: "steps", reason });
    }
    let order = 2 * degree as u32;
    Ok((0..steps.rem_euclid(row)).fold(1, |element, _| element * 3 % order))
}
