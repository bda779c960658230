//! Secret, public, relinearisation and Galois keys.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::ciphertext::{self, Metadata, put_array, put_words};
use super::envelope::{Compression, HEADER, Limits, buffer, open, put_header, seal};
use super::plaintext;
use super::reader::Reader;
use crate::error::{Error, Result};
use crate::ring::zeros;
use crate::scheme::{Context, Form, KeySwitchKey, PublicKey, SecretKey};

/// Reads a secret key. Decompressed bytes are wiped; `bytes` are the caller's to wipe.
///
/// # Errors
/// [`Error::Malformed`] with the offset, [`Error::TooLarge`].
pub fn read_secret_key(context: &Context, bytes: &[u8], limits: Limits) -> Result<SecretKey> {
    const OBJECT: &str = "secret key";
    let (degree, primes) = (context.degree(), context.key_primes());
    let members = open(OBJECT, bytes, plaintext::object_size(degree * primes) as u64, limits)?;
    let decompressed;
    let members: &[u8] = match members {
        std::borrow::Cow::Borrowed(members) => members,
        std::borrow::Cow::Owned(members) => {
            decompressed = Zeroizing::new(members);
            &decompressed
        }
    };
    let mut reader = Reader::members(OBJECT, members);
    if reader.parms_id()? != context.key_parms_id() {
        return Err(reader.malformed(32, "its parms_id belongs to other encryption parameters".into()));
    }
    reader.expect("number of residues", (degree * primes) as u64)?;
    reader.expect("scale, as bits,", 1f64.to_bits())?;
    let words = reader.array_header()?;
    if words != degree * primes {
        return Err(reader.malformed(8, format!("an array of {words} words instead of {}", degree * primes)));
    }
    let data = reader.residues(1, 1, degree, context.tables().iter().map(|table| table.modulus()))?;
    let key = SecretKey::from_data(context.key_parms_id(), data);
    reader.finish()?;
    Ok(key)
}

/// Writes a secret key as SEAL would; the bytes are wiped when they are dropped.
pub fn write_secret_key(key: &SecretKey, compression: Compression) -> Zeroizing<Vec<u8>> {
    let mut members = Zeroizing::new(buffer(plaintext::object_size(key.data().len()) - HEADER));
    plaintext::put_members(&mut members, key.parms_id(), 1.0, key.data());
    match compression {
        Compression::None => Zeroizing::new(seal(std::mem::take(&mut members), compression)),
        _ => Zeroizing::new(seal(members.to_vec(), compression)),
    }
}

fn public_key_metadata(context: &Context) -> Metadata {
    Metadata {
        parms_id: context.key_parms_id(),
        form: Form::Ntt,
        size: 2,
        degree: context.degree(),
        primes: context.key_primes(),
        scale: 1.0,
    }
}

/// Reads the members of a public key: a ciphertext of two polynomials, key level, NTT form.
fn read_key_members(reader: &mut Reader<'_>, context: &Context) -> Result<crate::ring::Residues> {
    let metadata = Metadata::read(reader, context, context.key_primes())?;
    if metadata.size != 2 || metadata.primes != context.key_primes() || metadata.form != Form::Ntt {
        return Err(reader.malformed(0, "a key has two polynomials in NTT form at the key level".into()));
    }
    metadata.read_data(reader, context)
}

/// Reads a public key; a seeded one is expanded.
///
/// # Errors
/// [`Error::Malformed`] with the offset, [`Error::TooLarge`].
pub fn read_public_key(context: &Context, bytes: &[u8], limits: Limits) -> Result<PublicKey> {
    const OBJECT: &str = "public key";
    let largest = public_key_metadata(context).object_size();
    let members = open(OBJECT, bytes, largest as u64, limits)?;
    let mut reader = Reader::members(OBJECT, &members);
    let data = read_key_members(&mut reader, context)?;
    reader.finish()?;
    Ok(PublicKey { parms_id: context.key_parms_id(), data })
}

/// Writes a public key as SEAL would.
///
/// # Errors
/// [`Error::ParametersMismatch`] where it belongs to other parameters.
pub fn write_public_key(context: &Context, key: &PublicKey, compression: Compression) -> Result<Vec<u8>> {
    let metadata = public_key_metadata(context);
    if key.parms_id != metadata.parms_id || key.data.len() != 2 * metadata.primes * metadata.degree {
        return Err(Error::ParametersMismatch { operation: "writing", object: "public key" });
    }
    let mut out = buffer(metadata.object_size() - HEADER);
    metadata.put(&mut out);
    put_array(&mut out, &key.data);
    Ok(seal(out, compression))
}

/// Bytes of one row of key-switching keys with its count.
fn row_size(context: &Context) -> usize {
    8 + context.data_primes() * ciphertext::object_size(2, context.key_primes(), context.degree())
}

/// Reads rows of key-switching keys: `None` for an empty row.
fn read_rows(
    object: &'static str,
    context: &Context,
    bytes: &[u8],
    most_rows: usize,
    limits: Limits,
) -> Result<Vec<Option<KeySwitchKey>>> {
    // The largest object has every row full.
    let largest = (HEADER + 32 + 8) as u64 + most_rows as u64 * row_size(context) as u64;
    let members = open(object, bytes, largest, limits)?;
    let mut reader = Reader::members(object, &members);
    if reader.parms_id()? != context.key_parms_id() {
        return Err(reader.malformed(32, "its parms_id belongs to other encryption parameters".into()));
    }
    let rows = reader.u64()?;
    if rows > most_rows as u64 {
        return Err(reader.malformed(8, format!("{rows} rows; at most {most_rows} are possible")));
    }
    let keys = (0..rows).map(|_| read_row(&mut reader, context)).collect::<Result<_>>()?;
    reader.finish()?;
    Ok(keys)
}

fn read_row(reader: &mut Reader<'_>, context: &Context) -> Result<Option<KeySwitchKey>> {
    let entries = reader.u64()?;
    if entries == 0 {
        return Ok(None);
    }
    let (wanted, has_special_prime) = (context.data_primes(), context.parameters().key_switching());
    if entries != wanted as u64 || !has_special_prime {
        let reason = if has_special_prime {
            format!("a row of {entries} keys; 0 or {wanted} are possible")
        } else {
            "these parameters have no key-switching prime".to_owned()
        };
        return Err(reader.malformed(8, reason));
    }
    let per_entry = 2 * context.key_primes() * context.degree();
    let mut entry_data = Vec::with_capacity(wanted);
    for _ in 0..wanted {
        let inner = reader.inner_header()?;
        entry_data.push(read_key_members(reader, context)?);
        reader.end_inner(inner)?;
    }
    let mut data = zeros(wanted * per_entry);
    for (entry, source) in data.chunks_exact_mut(per_entry).zip(&entry_data) {
        entry.copy_from_slice(source);
    }
    Ok(Some(KeySwitchKey { data }))
}

/// Writes rows of key-switching keys.
fn write_rows<'a>(
    context: &Context,
    rows: impl ExactSizeIterator<Item = Option<&'a KeySwitchKey>>,
    full_rows: usize,
    compression: Compression,
) -> Result<Vec<u8>> {
    let metadata = public_key_metadata(context);
    let per_entry = 2 * metadata.primes * metadata.degree;
    let mut out = buffer(32 + 8 + 8 * rows.len() + full_rows * row_size(context));
    put_words(&mut out, &metadata.parms_id);
    put_words(&mut out, &[rows.len() as u64]);
    for row in rows {
        let Some(key) = row else {
            put_words(&mut out, &[0]);
            continue;
        };
        if key.data.len() != context.data_primes() * per_entry {
            return Err(Error::ParametersMismatch { operation: "writing", object: "key-switching key" });
        }
        put_words(&mut out, &[context.data_primes() as u64]);
        for entry in key.data.chunks_exact(per_entry) {
            put_header(&mut out, Compression::None, metadata.object_size());
            metadata.put(&mut out);
            put_array(&mut out, entry);
        }
    }
    Ok(seal(out, compression))
}

/// Reads a relinearisation key (for s^2; SEAL makes no others); a seeded one is expanded.
///
/// # Errors
/// [`Error::Malformed`] with the offset, [`Error::TooLarge`].
pub fn read_relinearization_key(context: &Context, bytes: &[u8], limits: Limits) -> Result<KeySwitchKey> {
    const OBJECT: &str = "relinearization key";
    let mut rows = read_rows(OBJECT, context, bytes, 1, limits)?;
    rows.pop().flatten().ok_or(Error::Malformed { object: OBJECT, offset: HEADER + 32, reason: "it is empty".into() })
}

/// Writes a relinearisation key as SEAL would.
///
/// # Errors
/// [`Error::ParametersMismatch`] where it belongs to other parameters.
pub fn write_relinearization_key(context: &Context, key: &KeySwitchKey, compression: Compression) -> Result<Vec<u8>> {
    write_rows(context, [Some(key)].into_iter(), 1, compression)
}

/// Reads Galois keys, by Galois element; seeded ones are expanded.
///
/// # Errors
/// [`Error::Malformed`] with the offset, [`Error::TooLarge`].
pub fn read_galois_keys(context: &Context, bytes: &[u8], limits: Limits) -> Result<BTreeMap<u32, KeySwitchKey>> {
    let rows = read_rows("Galois keys", context, bytes, context.degree(), limits)?;
    // Row i belongs to the Galois element 2 i + 1.
    Ok((0u32..).zip(rows).filter_map(|(i, row)| Some((2 * i + 1, row?))).collect())
}

/// Writes Galois keys as SEAL would: N rows, those without a key empty.
///
/// # Errors
/// [`Error::ParametersMismatch`] where they belong to other parameters, [`Error::InvalidArgument`] for
/// an element that is not odd and below 2N.
pub fn write_galois_keys(
    context: &Context,
    keys: &BTreeMap<u32, KeySwitchKey>,
    compression: Compression,
) -> Result<Vec<u8>> {
    let bound = 2 * context.degree() as u32;
    if let Some(element) = keys.keys().find(|&&element| element % 2 == 0 || element >= bound) {
        let reason = format!("Galois element {element} is not odd and below {bound}");
        return Err(Error::InvalidArgument { name: "keys", reason });
    }
    let rows = (0..context.degree()).map(|i| keys.get(&(2 * i as u32 + 1)));
    write_rows(context, rows, keys.len(), compression)
}
