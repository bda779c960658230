//! Secret, public, relinearisation and Galois keys.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::ciphertext::{self, FOREIGN, Metadata, put_array, put_words};
use super::envelope::{Compression, HEADER, Limits, buffer, open, put_header, seal};
use super::plaintext;
use super::reader::Reader;
use crate::error::{Error, Result};
use crate::ring::Residues;
use crate::scheme::{Context, Form, KeySwitchKey, PublicKey, SecretKey};

/// Reads a secret key. Decompressed bytes are wiped; `bytes` are the caller's to wipe.
///
/// # Errors
/// [`Error::Malformed`] with the offset, [`Error::TooLarge`].
pub fn read_secret_key(context: &Context, bytes: &[u8], limits: Limits) -> Result<SecretKey> {
    let (degree, primes) = (context.degree(), context.key_primes());
    let mut reader = open("secret key", bytes, limits)?;
    expect_key_level(&mut reader, context)?;
    reader.expect("number of residues", (degree * primes) as u64)?;
    reader.expect("scale, as bits,", 1f64.to_bits())?;
    reader.expect_array(degree * primes)?;
    let mut data = Residues::zeros(degree * primes);
    let outcome = match reader.residues(&mut data, degree, context.tables().iter().map(|table| table.modulus())) {
        Ok(()) => reader.finish(),
        Err(error) => Err(error),
    };
    // A key in any case, so that what was read is wiped if the rest was wrong.
    let key = SecretKey::from_data(context.key_parms_id(), data);
    outcome.map(|()| key)
}

/// The parms_id of the key level, which all keys start with.
fn expect_key_level(reader: &mut Reader<'_>, context: &Context) -> Result<()> {
    if reader.parms_id()? == context.key_parms_id() {
        return Ok(());
    }
    Err(reader.malformed(32, FOREIGN.into()))
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

/// Reads the members of a public key: a ciphertext of two polynomials, key level, NTT form, scale 1.
fn read_key_members(reader: &mut Reader<'_>, context: &Context, out: &mut [u64]) -> Result<()> {
    let metadata = Metadata::read(reader, context, context.key_primes())?;
    if metadata != public_key_metadata(context) {
        return Err(reader.malformed(0, "a key has two polynomials in NTT form at the key level, and scale 1".into()));
    }
    metadata.read_data(reader, context, out)
}

/// Reads a public key; a seeded one is expanded.
///
/// # Errors
/// [`Error::Malformed`] with the offset, [`Error::TooLarge`], [`Error::Unsupported`] for a SHAKE-256 seed.
pub fn read_public_key(context: &Context, bytes: &[u8], limits: Limits) -> Result<PublicKey> {
    let mut reader = open("public key", bytes, limits)?;
    let mut data = public_key_metadata(context).allocate(&reader)?;
    read_key_members(&mut reader, context, &mut data)?;
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

/// Reads key-switching keys: `None` for an empty row.
fn read_rows(mut reader: Reader<'_>, context: &Context, most_rows: usize) -> Result<Vec<Option<KeySwitchKey>>> {
    expect_key_level(&mut reader, context)?;
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
    if !context.parameters().key_switching() {
        return Err(reader.malformed(8, "these parameters have no key-switching prime".into()));
    }
    let wanted = context.data_primes();
    if entries != wanted as u64 {
        return Err(reader.malformed(8, format!("a row of {entries} keys; 0 or {wanted} are possible")));
    }
    let least = wanted * ciphertext::seeded_object_size(context.key_primes(), context.degree());
    reader.expect_bytes(least as u64)?;
    let entry = public_key_metadata(context).words();
    let mut data = Residues::zeros(wanted * entry);
    for entry in data.chunks_exact_mut(entry) {
        let inner = reader.inner_header()?;
        read_key_members(reader, context, entry)?;
        reader.end_inner(inner)?;
    }
    Ok(Some(KeySwitchKey { primes: wanted, data }))
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
        if key.primes != context.data_primes() {
            let reason = format!(
                "SEAL's keys serve all {} data primes, this one serves {}; generate it for the highest level",
                context.data_primes(),
                key.primes
            );
            return Err(Error::Unsupported { operation: "writing a key in SEAL's format", reason });
        }
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
    let key = read_rows(open(OBJECT, bytes, limits)?, context, 1)?.pop().flatten();
    key.ok_or(Error::Malformed { object: OBJECT, offset: HEADER + 32, reason: "it is empty".into() })
}

/// Writes a relinearisation key as SEAL would.
///
/// # Errors
/// [`Error::ParametersMismatch`] where it belongs to other parameters, [`Error::Unsupported`] for a key of a lower level.
pub fn write_relinearization_key(context: &Context, key: &KeySwitchKey, compression: Compression) -> Result<Vec<u8>> {
    write_rows(context, [Some(key)].into_iter(), 1, compression)
}

/// Reads Galois keys, by Galois element; seeded ones are expanded.
///
/// # Errors
/// [`Error::Malformed`] with the offset, [`Error::TooLarge`].
pub fn read_galois_keys(context: &Context, bytes: &[u8], limits: Limits) -> Result<BTreeMap<u32, KeySwitchKey>> {
    let rows = read_rows(open("Galois keys", bytes, limits)?, context, context.degree())?;
    // Row i belongs to the Galois element 2 i + 1.
    Ok((0u32..).zip(rows).filter_map(|(i, row)| Some((2 * i + 1, row?))).collect())
}

/// Writes Galois keys as SEAL would: N rows, those without a key empty.
///
/// # Errors
/// [`Error::ParametersMismatch`] where they belong to other parameters, [`Error::Unsupported`] for keys of a lower level,
/// [`Error::InvalidArgument`] for an element that is not odd and below 2N.
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
