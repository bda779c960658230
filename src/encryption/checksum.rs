//! CRC-32, by which damage on the way is seen: a ciphertext or key with a changed bit is one of something else. It is no
//! protection against forgery.

use flate2::Crc;
use rayon::prelude::*;

use crate::error::{Error, Result};

/// Bytes that one thread takes at a time.
const PIECE: usize = 1 << 20;

/// CRC-32, in parallel on the rayon pool of the caller.
pub fn checksum(bytes: &[u8]) -> u32 {
    let of_piece = |piece: &[u8]| {
        let mut crc = Crc::new();
        crc.update(piece);
        crc
    };
    let joined = |mut left: Crc, right: Crc| {
        left.combine(&right);
        left
    };
    bytes.par_chunks(PIECE).map(of_piece).reduce(Crc::new, joined).sum()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_the_checksum_of_the_whole() {
        let bytes: Vec<u8> = (0..3 * PIECE + 5).map(|i| (i * 31 % 251) as u8).collect();
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, bytes.len()] {
            let mut whole = Crc::new();
            whole.update(&bytes[..length]);
            assert_eq!(checksum(&bytes[..length]), whole.sum(), "{length}");
        }
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
    }
}
