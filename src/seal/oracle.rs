//! SEAL's loader and saver as the oracle of [`wire`](super::wire).

use super::bridge::SealSession;
use super::ffi::{self, DefaultPool, Owned, Saved};
use super::wire::Compression;
use crate::error::Result;

/// An object that SEAL saves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Object {
    /// a ciphertext
    Ciphertext,
    /// a plaintext
    Plaintext,
    /// a secret key
    SecretKey,
    /// a public key
    PublicKey,
    /// relinearisation or Galois keys
    KeySwitchKeys,
}

impl SealSession {
    /// Loads bytes with SEAL and saves them again; seeds are expanded. To compare this crate's writers and
    /// readers with SEAL: for bytes of this process only, never for bytes from outside.
    ///
    /// # Errors
    /// [`Error::Seal`](crate::Error::Seal) where SEAL finds the bytes invalid.
    pub fn resave(&self, object: Object, bytes: &[u8], compression: Compression) -> Result<Vec<u8>> {
        match object {
            Object::Ciphertext => self.resave_as(ffi::new_ciphertext(DefaultPool)?, bytes, compression),
            Object::Plaintext => self.resave_as(ffi::new_plaintext(DefaultPool)?, bytes, compression),
            Object::SecretKey => self.resave_as(ffi::new_secret_key()?, bytes, compression),
            Object::PublicKey => self.resave_as(ffi::new_public_key()?, bytes, compression),
            Object::KeySwitchKeys => self.resave_as(ffi::new_kswitch_keys()?, bytes, compression),
        }
    }

    fn resave_as<C: Saved>(&self, object: Owned<C>, bytes: &[u8], compression: Compression) -> Result<Vec<u8>> {
        C::save(&self.loaded(object, bytes)?, compression)
    }
}
