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

/// Messages that belong together as one: the program's identity, and each with its length (u64) before it; one alone stays as
/// it is.
pub fn bundle(program: &Identity, messages: Vec<Vec<u8>>) -> Vec<u8> {
    match <[Vec<u8>; 1]>::try_from(messages) {
        Ok([message]) => message,
        Err(messages) => {
            let lengths = messages.iter().map(|message| (message.len() as u64).to_le_bytes());
            let parts = lengths.zip(&messages).flat_map(|(length, message)| [&length[..], message].concat());
            program.iter().copied().chain(parts).collect()
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
    let (address, mut rest) = bytes.split_first_chunk().ok_or_else(early)?;
    if address != program {
        return Err(other_program());
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
