//! What travels between a client and a server: tensors of ciphertexts, addressed to one program.
//!
//! | bytes | field |
//! | --- | --- |
//! | 32 | the program's [`Identity`] |
//! | | the tensor, as [`transport`] packs it |
//! | 4 | CRC-32 of all before |
//!
//! Where values are computed modulo several plaintext moduli, there is such a message for each, [bundled](bundle).
//!
//! Both sides refuse what is addressed to another program: two programs may have the same parameters, and the ciphertexts of
//! one would give nonsense in the other.

pub mod compute;

use crate::encryption::checksum::{opened, sealed};
use crate::encryption::{SeededCiphertexts, transport};
use crate::error::{Error, Result};
use crate::plan::envelope::Identity;
use crate::scheme::{Ciphertext, Context};

/// Bytes that programs and messages may have: more than any network of this library needs.
pub const LIMIT: u64 = 1 << 32;

const OBJECT: &str = "encrypted message";

/// Packs ciphertexts for a program.
///
/// # Errors
/// Those of [`transport::pack`].
pub fn pack(program: &Identity, context: &Context, ciphertexts: &[Ciphertext]) -> Result<Vec<u8>> {
    Ok(addressed(program, &transport::pack(context, ciphertexts, &[ciphertexts.len()])?))
}

/// Packs seeded ciphertexts for a program: half the bytes.
///
/// # Errors
/// Those of [`transport::pack_seeded`].
pub fn pack_seeded(
    program: &Identity,
    context: &Context,
    ciphertexts: &SeededCiphertexts,
    count: usize,
) -> Result<Vec<u8>> {
    Ok(addressed(program, &transport::pack_seeded(context, ciphertexts, &[count])?))
}

fn addressed(program: &Identity, tensor: &[u8]) -> Vec<u8> {
    sealed([&program[..], tensor].concat())
}

/// Bytes before the messages of a bundle.
const HEAD: usize = 44;

/// Messages that belong together as one: the program's identity, their number (u64) and a CRC-32 of both, then each with its
/// length (u64) before it. One alone stays as it is.
pub fn bundle(program: &Identity, messages: Vec<Vec<u8>>) -> Vec<u8> {
    match <[Vec<u8>; 1]>::try_from(messages) {
        Ok([message]) => message,
        Err(messages) => {
            let mut bytes = sealed([&program[..], &(messages.len() as u64).to_le_bytes()].concat());
            for message in &messages {
                bytes.extend((message.len() as u64).to_le_bytes());
                bytes.extend(message);
            }
            bytes
        }
    }
}

/// The `count` messages of a [`bundle`] for a program.
///
/// # Errors
/// [`Error::Malformed`] where there are fewer or more, [`Error::ParametersMismatch`] where they are for another program.
pub fn unbundle<'a>(program: &Identity, bytes: &'a [u8], count: usize) -> Result<Vec<&'a [u8]>> {
    if count == 1 {
        return Ok(vec![bytes]);
    }
    let early = || Error::Malformed { object: OBJECT, offset: bytes.len(), reason: "the bytes end early".into() };
    let (head, mut rest) = bytes.split_at_checked(HEAD).ok_or_else(early)?;
    match opened(OBJECT, head) {
        Ok(head) if head[..program.len()] != *program => return Err(other_program()),
        Ok(head) if head[program.len()..] != (count as u64).to_le_bytes() => {
            let reason = format!("the bytes hold no {count} messages");
            return Err(Error::Malformed { object: OBJECT, offset: program.len(), reason });
        }
        Ok(_) => {}
        // A message alone has no head.
        Err(_) if bytes[..program.len()] != *program && opened(OBJECT, bytes).is_ok() => return Err(other_program()),
        Err(error) => return Err(error),
    }
    let mut messages = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, behind) = rest.split_first_chunk().ok_or_else(early)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| early())?;
        let (message, behind) = behind.split_at_checked(length).ok_or_else(early)?;
        messages.push(message);
        rest = behind;
    }
    if rest.is_empty() {
        return Ok(messages);
    }
    let reason = format!("there are bytes behind the last of {count} messages");
    Err(Error::Malformed { object: OBJECT, offset: bytes.len() - rest.len(), reason })
}

fn other_program() -> Error {
    Error::ParametersMismatch { operation: "reading a message", object: "message to another program" }
}

/// The `count` ciphertexts in bytes for a program.
///
/// # Errors
/// [`Error::Malformed`] and [`Error::TooLarge`] for bytes that hold no tensor, [`Error::ParametersMismatch`] where they are
/// for another program, [`Error::ShapeMismatch`] for another number of ciphertexts.
pub fn unpack(program: &Identity, context: &Context, bytes: &[u8], count: usize) -> Result<Vec<Ciphertext>> {
    let Some((address, tensor)) = opened(OBJECT, bytes)?.split_first_chunk() else {
        return Err(Error::Malformed { object: OBJECT, offset: 0, reason: "the bytes end early".into() });
    };
    if address != program {
        return Err(other_program());
    }
    let tensor = transport::unpack(context, tensor, None, LIMIT)?;
    if tensor.ciphertexts.len() != count {
        return Err(Error::ShapeMismatch {
            operation: "reading a message",
            expected: format!("{count} ciphertext(s)"),
            got: tensor.shape,
        });
    }
    Ok(tensor.ciphertexts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_come_apart_and_only_whole_ones() {
        let (program, other) = ([7; 32], [8; 32]);
        let messages = vec![vec![1, 2, 3], vec![], vec![4; 100]];
        let bytes = bundle(&program, messages.clone());
        assert_eq!(unbundle(&program, &bytes, 3).unwrap(), messages);
        assert_eq!(unbundle(&other, &bytes, 3).unwrap_err().code(), "parameters-mismatch");
        for cut in 0..bytes.len() {
            assert_eq!(unbundle(&program, &bytes[..cut], 3).unwrap_err().code(), "malformed", "{cut}");
        }
        for count in [2, 4] {
            assert_eq!(unbundle(&program, &bytes, count).unwrap_err().code(), "malformed");
        }
        for at in 0..HEAD + 8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 64;
            assert_eq!(unbundle(&program, &damaged, 3).unwrap_err().code(), "malformed", "{at}");
        }
        let message = sealed([&other[..], &[5; 100]].concat());
        assert_eq!(unbundle(&program, &message, 3).unwrap_err().code(), "parameters-mismatch");
        let alone = bundle(&program, vec![vec![5; 9]]);
        assert_eq!(unbundle(&program, &alone, 1).unwrap(), [[5; 9]]);
    }
}
