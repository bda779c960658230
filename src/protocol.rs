//! What travels between a client and a server: tensors of ciphertexts, addressed to one program.
//!
//! | bytes | field |
//! | --- | --- |
//! | 32 | the program's [`Identity`] |
//! | | the tensor, as [`transport`] packs it |
//! | 4 | CRC-32 of all before |
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
        return Err(Error::ParametersMismatch { operation: "reading a message", object: "message to another program" });
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
