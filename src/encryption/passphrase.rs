//! Secret bytes under a passphrase. All numbers are little-endian:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | magic `pyclock` and the version, 1 |
//! | 8 | 4 | Argon2id: memory in KiB |
//! | 12 | 4 | passes |
//! | 16 | 4 | lanes |
//! | 20 | 16 | salt |
//! | 36 | 24 | nonce |
//! | 60 | | XChaCha20-Poly1305: ciphertext and tag |
//!
//! Everything before the ciphertext is authenticated, and so is what the caller says the bytes are for.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use rand_core::{OsRng, TryRngCore};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

const MAGIC: [u8; 8] = *b"pyclock\x01";
const OBJECT: &str = "key under a passphrase";
const HEADER: usize = 60;

/// RFC 9106, section 4, second choice: 64 MiB, three passes, four lanes.
const COST: [u32; 3] = [1 << 16, 3, 4];

/// What bytes from elsewhere may ask for: 1 GiB, 16 passes, 16 lanes.
const MOST: [u32; 3] = [1 << 20, 16, 16];

/// Locks bytes under a passphrase; `purpose` has to be given again to unlock them.
///
/// # Errors
/// [`Error::InvalidArgument`] for an empty passphrase, [`Error::Entropy`].
pub fn lock(passphrase: &str, secret: &[u8], purpose: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(COST.iter().flat_map(|cost| cost.to_le_bytes()));
    let mut random = [0; 40];
    OsRng.try_fill_bytes(&mut random).map_err(|error| Error::Entropy(error.to_string()))?;
    bytes.extend(random);
    let sealed = cipher(passphrase, COST, &random[..16])?
        .encrypt(XNonce::from_slice(&random[16..]), Payload { msg: secret, aad: &[&bytes, purpose].concat() })
        .map_err(|_| Error::InvalidArgument { name: "secret", reason: "it is too long to be encrypted".into() })?;
    bytes.extend(sealed);
    Ok(bytes)
}

/// The bytes that [`lock`] locked.
///
/// # Errors
/// [`Error::WrongPassphrase`] where the passphrase or the purpose is another, or a byte was changed: these cannot be told
/// apart. [`Error::Malformed`] for bytes that are nothing locked, or ask for more work than is reasonable.
pub fn unlock(passphrase: &str, bytes: &[u8], purpose: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let malformed = |offset, reason: &str| Error::Malformed { object: OBJECT, offset, reason: reason.into() };
    let (header, sealed) =
        bytes.split_at_checked(HEADER).ok_or_else(|| malformed(bytes.len(), "the bytes end early"))?;
    if header[..7] != MAGIC[..7] {
        return Err(malformed(0, "this is nothing under a passphrase"));
    }
    if header[7] != MAGIC[7] {
        return Err(malformed(7, "the version is unknown; update the package"));
    }
    let word = |at: usize| header[at..at + 4].iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
    let cost = [word(8), word(12), word(16)];
    if cost.iter().zip(MOST).any(|(&cost, most)| cost == 0 || cost > most) {
        return Err(malformed(8, "it asks for no work or for more than is reasonable"));
    }
    let opened = cipher(passphrase, cost, &header[20..36])?
        .decrypt(XNonce::from_slice(&header[36..]), Payload { msg: sealed, aad: &[header, purpose].concat() });
    opened.map(Zeroizing::new).map_err(|_| Error::WrongPassphrase)
}

fn cipher(passphrase: &str, [memory, passes, lanes]: [u32; 3], salt: &[u8]) -> Result<XChaCha20Poly1305> {
    if passphrase.is_empty() {
        return Err(Error::InvalidArgument { name: "passphrase", reason: "it is empty; give some words".into() });
    }
    let unusable = |error: argon2::Error| Error::Malformed { object: OBJECT, offset: 8, reason: error.to_string() };
    let params = Params::new(memory, passes, lanes, Some(32)).map_err(unusable)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, &mut key[..])
        .map_err(unusable)?;
    Ok(XChaCha20Poly1305::new(Key::from_slice(&key[..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_locked_is_unlocked_by_its_passphrase_alone() {
        let locked = lock("correct horse", b"the key", b"program").unwrap();
        assert_eq!(&unlock("correct horse", &locked, b"program").unwrap()[..], b"the key");
        assert!(!locked.windows(7).any(|window| window == b"the key"));
        assert_ne!(locked, lock("correct horse", b"the key", b"program").unwrap());
        for (passphrase, purpose) in [("wrong horse", &b"program"[..]), ("correct horse", b"another")] {
            assert_eq!(unlock(passphrase, &locked, purpose), Err(Error::WrongPassphrase));
        }
        for at in [20, 36, HEADER, locked.len() - 1] {
            let mut changed = locked.clone();
            changed[at] ^= 1;
            assert_eq!(unlock("correct horse", &changed, b"program"), Err(Error::WrongPassphrase), "{at}");
        }
        assert_eq!(lock("", b"the key", b"").unwrap_err().code(), "invalid-argument");
    }

    #[test]
    fn bytes_that_are_nothing_locked_are_refused_before_work_is_done() {
        let locked = lock("correct horse", b"the key", b"program").unwrap();
        for (at, value) in [(0, 0), (7, 9), (11, 1), (12, 17), (12, 0), (16, 0), (17, 1)] {
            let mut changed = locked.clone();
            changed[at] = value;
            assert_eq!(unlock("correct horse", &changed, b"program").unwrap_err().code(), "malformed", "{at}");
        }
        for cut in [0, 8, HEADER - 1] {
            assert_eq!(unlock("correct horse", &locked[..cut], b"program").unwrap_err().code(), "malformed");
        }
        assert_eq!(unlock("correct horse", &locked[..HEADER], b"program"), Err(Error::WrongPassphrase));
    }
}
