//! CRC-32, by which damage on the way is seen: a ciphertext or key with a changed bit is one of something else. It is no
//! protection against forgery.

use crate::error::{Error, Result};

/// CRC-32.
pub fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// The bytes with their checksum behind them.
pub fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend(checksum(&bytes).to_le_bytes());
    bytes
}

/// The bytes before the checksum.
///
/// # Errors
/// [`Error::Malformed`] where it does not fit.
pub fn opened<'a>(object: &'static str, bytes: &'a [u8]) -> Result<&'a [u8]> {
    match bytes.split_last_chunk() {
        Some((bytes, &expected)) if checksum(bytes) == u32::from_le_bytes(expected) => Ok(bytes),
        _ => Err(Error::Malformed {
            object,
            offset: bytes.len().saturating_sub(4),
            reason: "the checksum does not fit: bytes are missing or were changed on the way; send them again".into(),
        }),
    }
}
