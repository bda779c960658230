//! The messages of PyCrCNN's REST service: JSON with a nested list of ciphertexts in base64.
//!
//! `{"encryption_parameters": [..], "net": name, "layers": [..], "data": [[..]], "evaluation_keys": base64,
//! "public_key": base64}` goes up, `{"data": [[..]]}` comes down. The old client wraps its JSON in a JSON string; both that and plain JSON are read. A leaf is
//! Microsoft SEAL's ciphertext, with or without the header that this package puts in front:
//! `PYCRCNN`, version 1, length of the header (4 bytes, little-endian), header (JSON).

mod nested;

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::scheme::{Ciphertext, Context};
use crate::seal::wire::{self, Compression, Limits};

use nested::Nested;

const OBJECT: &str = "compute request";
/// Bytes that all fields but the data and the keys may take together.
const MAX_FIELDS: usize = 1 << 16;
/// Characters of a message about JSON: serde quotes what it has found.
const MAX_REASON: usize = 200;
/// Polynomials of a ciphertext: more than two where it comes from a square that was not relinearised.
const MAX_POLYNOMIALS: usize = 3;
/// Bytes of SEAL's headers around the residues, and more.
const OVERHEAD: usize = 4096;
const MAGIC: &[u8] = b"PYCRCNN\x01";

fn malformed(offset: usize, reason: impl Into<String>) -> Error {
    Error::Malformed { object: OBJECT, offset, reason: reason.into() }
}

fn not_json(error: serde_json::Error) -> Error {
    malformed(error.column(), error.to_string().chars().take(MAX_REASON).collect::<String>())
}

/// A request, its base64 decoded, its ciphertexts not read yet: for that the parameters must be known.
#[derive(Debug)]
pub struct ComputeRequest {
    /// the fields but the data and the keys, as JSON
    pub fields: String,
    /// the shape of the nested list
    pub shape: Vec<usize>,
    /// the client's evaluation keys, if it sent any
    pub evaluation_keys: Option<Vec<u8>>,
    /// the key set with the public key that the reply is to be re-randomised under, if the client sent one
    pub public_key: Option<Vec<u8>>,
    leaves: Vec<Vec<u8>>,
}

/// The ciphertexts of a request.
#[derive(Debug)]
pub struct Ciphertexts {
    /// in row-major order
    pub ciphertexts: Vec<Ciphertext>,
    /// what the leaves say of themselves, if they do; all say the same
    pub header: Option<LeafHeader>,
}

/// The header of a leaf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafHeader {
    kind: String,
    encoding: String,
    divisor: u64,
    /// the key pair that it belongs to
    pub key: Option<String>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    data: Nested<'a>,
    evaluation_keys: Option<String>,
    public_key: Option<String>,
    // The small fields, taken as they stand; others are passed over.
    #[serde(borrow)]
    encryption_parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    net: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    layers: Option<&'a RawValue>,
    #[serde(borrow)]
    max_threads: Option<&'a RawValue>,
}

impl ComputeRequest {
    /// Reads a request with at most `most` ciphertexts.
    ///
    /// # Errors
    /// [`Error::Malformed`] for anything but such JSON, [`Error::TooLarge`] for too many ciphertexts.
    pub fn read(body: &[u8], most: usize) -> Result<Self> {
        let inner: Cow<'_, [u8]> = match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'"') => Cow::Owned(serde_json::from_slice::<String>(body).map_err(not_json)?.into_bytes()),
            _ => Cow::Borrowed(body),
        };
        let message: Message<'_> = serde_json::from_slice(&inner).map_err(not_json)?;
        let texts = &message.data.leaves;
        if texts.len() > most {
            return Err(Error::TooLarge {
                object: "number of ciphertexts",
                size: texts.len() as u64,
                limit: most as u64,
            });
        }
        let decode = |text: &[u8]| STANDARD.decode(text).map_err(|error| malformed(0, format!("base64: {error}")));
        Ok(Self {
            fields: message.fields()?,
            leaves: texts.par_iter().map(|text| decode(text.as_bytes())).collect::<Result<_>>()?,
            evaluation_keys: message.evaluation_keys.map(|text| decode(text.as_bytes())).transpose()?,
            public_key: message.public_key.map(|text| decode(text.as_bytes())).transpose()?,
            shape: message.data.shape,
        })
    }

    /// Reads the ciphertexts, which may take `limit` bytes in memory.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Malformed`] for anything but ciphertexts of the parameters,
    /// [`Error::OperandMismatch`] where they do not belong together.
    pub fn ciphertexts(&self, context: &Context, limit: u64) -> Result<Ciphertexts> {
        let largest = 8 * MAX_POLYNOMIALS * context.data_primes() * context.degree() + OVERHEAD;
        let size = (largest as u64).saturating_mul(self.leaves.len() as u64);
        if size > limit {
            return Err(Error::TooLarge { object: "data in memory", size, limit });
        }
        let limits = Limits { max_bytes: largest as u64 };
        let read = self.leaves.par_iter().map(|leaf| {
            let (header, object) = split(leaf)?;
            Ok((header, wire::read_ciphertext(context, object, limits)?))
        });
        let (headers, ciphertexts): (Vec<_>, Vec<_>) = read.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        let header = headers.first().cloned().flatten();
        if headers.iter().any(|other| *other != header) {
            return Err(Error::OperandMismatch {
                operation: "reading the data",
                what: "encodings, divisors or keys",
                left: "those of the first".into(),
                right: "others".into(),
                remedy: "encrypt all of it with one object",
            });
        }
        Ok(Ciphertexts { ciphertexts, header })
    }
}

impl Message<'_> {
    /// The small fields that are there, as one JSON object.
    fn fields(&self) -> Result<String> {
        let named = [
            ("encryption_parameters", self.encryption_parameters),
            ("net", self.net),
            ("model", self.model),
            ("layers", self.layers),
            ("max_threads", self.max_threads),
        ];
        let present: BTreeMap<_, _> = named.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let size: usize = present.values().map(|value| value.get().len()).sum();
        if size > MAX_FIELDS {
            return Err(Error::TooLarge { object: "fields", size: size as u64, limit: MAX_FIELDS as u64 });
        }
        serde_json::to_string(&present).map_err(not_json)
    }
}

/// Header and SEAL object of a leaf.
fn split(leaf: &[u8]) -> Result<(Option<LeafHeader>, &[u8])> {
    let Some(rest) = leaf.strip_prefix(MAGIC) else { return Ok((None, leaf)) };
    let (length, rest) = rest.split_first_chunk().ok_or_else(|| malformed(8, "a ciphertext ends early"))?;
    let length = u32::from_le_bytes(*length) as usize;
    let (header, object) = rest.split_at_checked(length).ok_or_else(|| malformed(8, "a ciphertext ends early"))?;
    let header: LeafHeader = serde_json::from_slice(header).map_err(not_json)?;
    if header.kind != "ciphertext" || header.encoding != "fractional" || header.divisor != 1 {
        return Err(malformed(12, "a leaf is no ciphertext in fractional encoding"));
    }
    Ok((Some(header), object))
}

/// The reply: ciphertexts in a nested list of a shape, with headers as the request's leaves have them.
///
/// # Errors
/// [`Error::ShapeMismatch`] where there is another number of ciphertexts.
pub fn reply(ciphertexts: &[&Ciphertext], shape: &[usize], header: Option<&LeafHeader>) -> Result<Vec<u8>> {
    if shape.iter().product::<usize>() != ciphertexts.len() || ciphertexts.is_empty() {
        let expected = format!("a shape of {} ciphertext(s)", ciphertexts.len());
        return Err(Error::ShapeMismatch { operation: "writing a reply", expected, got: shape.to_vec() });
    }
    let prefix = header.map_or_else(Vec::new, |header| {
        let text = serde_json::to_vec(header).expect("strings and numbers are JSON");
        [MAGIC, &(text.len() as u32).to_le_bytes(), &text].concat()
    });
    let leaf = |ciphertext: &&Ciphertext| {
        STANDARD.encode([&prefix[..], &wire::write_ciphertext(ciphertext, Compression::Zstd)].concat())
    };
    let leaves: Vec<String> = ciphertexts.par_iter().map(leaf).collect();
    let mut out = b"{\"data\": ".to_vec();
    nested::write(&mut out, shape, &leaves);
    out.push(b'}');
    Ok(out)
}

#[cfg(test)]
mod tests;
