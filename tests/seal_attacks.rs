//! Attacks on the readers of `seal::wire`: each must end in a typed error that says where.

#[allow(dead_code)]
mod seal_fixtures;

use std::io::Write;

use pycrcnn::error::{Error, Result};
use pycrcnn::scheme::{Ciphertext, Form};
use pycrcnn::seal::wire::{self, Compression, Limits};
use seal_fixtures::{DEGREE, FIXTURES, Fixture, Kind};

/// Offsets of the fields of a ciphertext.
const PARMS_ID: usize = 16;
const NTT_FORM: usize = 48;
const SIZE: usize = 49;
const POLYNOMIAL_DEGREE: usize = 57;
const PRIMES: usize = 65;
const CKKS_SCALE: usize = 73;
const CORRECTION: usize = 81;
const ARRAY_HEADER: usize = 89;
const ARRAY_COUNT: usize = 105;
const ARRAY: usize = 113;

fn malformed(result: Result<Vec<u8>>, what: &str) -> (usize, String) {
    match result {
        Err(Error::Malformed { offset, reason, .. }) => (offset, reason),
        Err(other) => panic!("{what}: {other}"),
        Ok(_) => panic!("{what}: accepted"),
    }
}

fn read(fixture: &Fixture, bytes: &[u8]) -> Result<Vec<u8>> {
    fixture.rewrite(Kind::Ciphertext, bytes, Limits::CONTEXT)
}

/// The size field of the outermost header made right again.
fn resized(mut bytes: Vec<u8>) -> Vec<u8> {
    let size = bytes.len() as u64;
    bytes[8..16].copy_from_slice(&size.to_le_bytes());
    bytes
}

fn with_word(bytes: &[u8], offset: usize, word: u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[offset..offset + 8].copy_from_slice(&word.to_le_bytes());
    bytes
}

/// Lengths around every boundary: all of the first and last bytes, and some between.
fn cuts(len: usize) -> impl Iterator<Item = usize> {
    (0..len.min(300)).chain((300..len).step_by(997)).chain(len.saturating_sub(120)..len)
}

#[test]
fn truncation() {
    for fixture in &*FIXTURES {
        for kind in Kind::ALL {
            for compression in Compression::ALL {
                let bytes = fixture.saved(kind, compression);
                for cut in cuts(bytes.len()) {
                    let what = format!("{kind:?} {compression:?} cut to {cut} of {}", bytes.len());
                    let (offset, _) = malformed(fixture.rewrite(kind, &bytes[..cut], Limits::CONTEXT), &what);
                    assert!(offset <= 16, "{what}: offset {offset}");
                    if cut >= 16 {
                        let cut = resized(bytes[..cut].to_vec());
                        malformed(fixture.rewrite(kind, &cut, Limits::CONTEXT), &what);
                    }
                }
            }
        }
    }
}

#[test]
fn trailing_bytes() {
    for fixture in &*FIXTURES {
        for kind in Kind::ALL {
            for compression in Compression::ALL {
                let bytes = fixture.saved(kind, compression);
                for trailing in [vec![0], vec![0xff; 16], bytes.clone()] {
                    let long = [bytes.clone(), trailing].concat();
                    let what = format!("{kind:?} {compression:?}");
                    assert_eq!(malformed(fixture.rewrite(kind, &long, Limits::CONTEXT), &what).0, 8);
                    malformed(fixture.rewrite(kind, &resized(long), Limits::CONTEXT), &what);
                }
            }
        }
    }
}

/// Every bit of the header and metadata matters, but for the form, CKKS's scale and the residues.
#[test]
fn flipped_bits() {
    for fixture in &*FIXTURES {
        let bytes = wire::write_ciphertext(&fixture.ciphertext(2, 2, Form::Ntt, 5), Compression::None);
        let ckks_scale = CKKS_SCALE..CORRECTION;
        for byte in (0..ARRAY).filter(|&byte| byte != NTT_FORM && !ckks_scale.contains(&byte)) {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[byte] ^= 1 << bit;
                // The number of polynomials may become another valid one: then the array is too short.
                let what = format!("byte {byte}, bit {bit}");
                let result = read(fixture, &flipped);
                assert!(matches!(result, Err(Error::Malformed { .. })), "{what}: {:?}", result.map(|b| b.len()));
            }
        }
        for form in [2, 255] {
            let mut bytes = bytes.clone();
            bytes[NTT_FORM] = form;
            assert_eq!(malformed(read(fixture, &bytes), "form").0, NTT_FORM);
        }
    }
}

#[test]
fn impossible_fields() {
    let extremes = [0, 1, 17, 1 << 32, u64::MAX / 8, u64::MAX / 8 + 1, u64::MAX - 7, u64::MAX];
    for fixture in &*FIXTURES {
        let bytes = wire::write_ciphertext(&fixture.ciphertext(2, 2, Form::Ntt, 5), Compression::None);
        for offset in [SIZE, POLYNOMIAL_DEGREE, PRIMES, ARRAY_HEADER + 8, ARRAY_COUNT] {
            for value in extremes.into_iter().filter(|&value| (offset, value) != (PRIMES, 2)) {
                let what = format!("{value} at {offset}");
                let (found, _) = malformed(read(fixture, &with_word(&bytes, offset, value)), &what);
                assert!(found == offset || found == ARRAY_COUNT, "{what}: offset {found}");
            }
        }
        for value in extremes.into_iter().filter(|&value| value != 1) {
            assert_eq!(malformed(read(fixture, &with_word(&bytes, CORRECTION, value)), "correction").0, CORRECTION);
        }
        for scale in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let bytes = with_word(&bytes, CKKS_SCALE, scale.to_bits());
            assert_eq!(malformed(read(fixture, &bytes), "scale").0, CKKS_SCALE);
        }
    }
}

#[test]
fn residues_out_of_range() {
    for fixture in &*FIXTURES {
        for kind in Kind::ALL {
            let bytes = fixture.saved(kind, Compression::None);
            // The last residue of an object that ends with residues, the first of the others.
            let last = bytes.len() - 8;
            let first = match kind {
                Kind::Plaintext | Kind::SecretKey => 16 + 48 + 24,
                Kind::Ciphertext | Kind::Seeded | Kind::PublicKey | Kind::CompactPublicKey => ARRAY,
                Kind::Relinearization | Kind::CompactRelinearization => 16 + 40 + 8 + ARRAY,
                // The row of the element 3 comes second.
                Kind::Galois | Kind::CompactGalois => 16 + 40 + 8 + 8 + ARRAY,
            };
            let q = match (kind, fixture.context.parameters().plain_modulus()) {
                (Kind::Plaintext, t @ 1..) => t,
                _ => fixture.context.modulus(0).value(),
            };
            for value in [q, u64::MAX] {
                let what = format!("{kind:?} {value}");
                let found = malformed(fixture.rewrite(kind, &with_word(&bytes, first, value), Limits::CONTEXT), &what);
                assert_eq!(found.0, first, "{what}: {}", found.1);
            }
            assert!(fixture.rewrite(kind, &with_word(&bytes, first, q - 1), Limits::CONTEXT).is_ok());
            if matches!(kind, Kind::Ciphertext | Kind::SecretKey | Kind::PublicKey | Kind::Relinearization) {
                let found =
                    malformed(fixture.rewrite(kind, &with_word(&bytes, last, 1 << 60), Limits::CONTEXT), "last");
                assert_eq!(found.0, last);
            }
        }
    }
}

#[test]
fn other_levels_and_other_parameters() {
    let [bfv, ckks] = &*FIXTURES;
    for (ours, others) in [(bfv, ckks), (ckks, bfv)] {
        for kind in Kind::ALL.into_iter().filter(|&kind| kind != Kind::Plaintext) {
            let what = format!("{kind:?}");
            let bytes = others.saved(kind, Compression::None);
            assert_eq!(malformed(ours.rewrite(kind, &bytes, Limits::CONTEXT), &what).0, PARMS_ID, "{what}");
        }
        // A ciphertext at the key level is none.
        let primes = ours.context.key_primes();
        let key_level =
            Ciphertext::zero(&ours.context, 2, primes, Form::Ntt, if std::ptr::eq(ours, bfv) { 1.0 } else { 2.0 });
        let bytes = wire::write_ciphertext(&key_level, Compression::None);
        assert_eq!(malformed(read(ours, &bytes), "key level").0, PARMS_ID);
        // Nor is a public key at a data level a public key.
        let data_level = wire::write_ciphertext(&ours.ciphertext(2, 2, Form::Ntt, 0), Compression::None);
        malformed(ours.rewrite(Kind::PublicKey, &data_level, Limits::CONTEXT), "data level");
    }
    // A BFV plaintext in NTT form has a parms_id.
    let bytes = ckks.saved(Kind::Plaintext, Compression::None);
    assert!(matches!(bfv.rewrite(Kind::Plaintext, &bytes, Limits::CONTEXT), Err(Error::Unsupported { .. })));
    let bytes = bfv.saved(Kind::Plaintext, Compression::None);
    malformed(ckks.rewrite(Kind::Plaintext, &bytes, Limits::CONTEXT), "coefficient form");
}

#[test]
fn one_kind_for_another() {
    for fixture in &*FIXTURES {
        for kind in Kind::ALL {
            let bytes = fixture.saved(kind, Compression::None);
            for other in Kind::ALL {
                let result = fixture.rewrite(other, &bytes, Limits::CONTEXT);
                let readable = matches!(
                    (kind, other),
                    (Kind::Ciphertext | Kind::Seeded, Kind::Ciphertext)
                        | (Kind::Seeded, Kind::Seeded)
                        | (Kind::Plaintext, Kind::Plaintext)
                        | (Kind::SecretKey, Kind::SecretKey)
                        | (Kind::PublicKey | Kind::CompactPublicKey, Kind::PublicKey | Kind::CompactPublicKey)
                        | (
                            Kind::Relinearization | Kind::CompactRelinearization,
                            Kind::Relinearization | Kind::CompactRelinearization | Kind::Galois | Kind::CompactGalois
                        )
                        | (Kind::Galois | Kind::CompactGalois, Kind::Galois | Kind::CompactGalois)
                );
                assert_eq!(result.is_ok(), readable, "{kind:?} as {other:?}");
            }
        }
    }
}

#[test]
fn seeds_of_other_generators() {
    for fixture in &*FIXTURES {
        let bytes = fixture.saved(Kind::Seeded, Compression::None);
        let generator = bytes.len() - 65;
        let with = |value| {
            let mut bytes = bytes.clone();
            bytes[generator] = value;
            read(fixture, &bytes)
        };
        assert!(matches!(with(2), Err(Error::Unsupported { .. })), "SHAKE-256");
        for unknown in [0, 3, 255] {
            assert_eq!(malformed(with(unknown), "generator").0, generator);
        }
    }
}

/// Key-switching keys with wrong numbers of rows and entries.
#[test]
fn rows_of_keys() {
    const ROWS: usize = 48;
    for fixture in &*FIXTURES {
        let galois = fixture.saved(Kind::Galois, Compression::None);
        for rows in [DEGREE as u64 + 1, 1 << 40, u64::MAX] {
            assert_eq!(
                malformed(fixture.rewrite(Kind::Galois, &with_word(&galois, ROWS, rows), Limits::CONTEXT), "rows").0,
                ROWS
            );
        }
        let relinearization = fixture.saved(Kind::Relinearization, Compression::None);
        let rewrite = |bytes: Vec<u8>| fixture.rewrite(Kind::Relinearization, &bytes, Limits::CONTEXT);
        for rows in [0, 2, u64::MAX] {
            malformed(rewrite(with_word(&relinearization, ROWS, rows)), "rows");
        }
        for entries in [1, 3, u64::MAX] {
            assert_eq!(malformed(rewrite(with_word(&relinearization, ROWS + 8, entries)), "entries").0, ROWS + 8);
        }
        malformed(rewrite(resized(with_word(&relinearization, ROWS, 0)[..ROWS + 8].to_vec())), "empty");
        // The size in the header of the first entry.
        for size in [0, 16, u64::MAX] {
            malformed(rewrite(with_word(&relinearization, ROWS + 16 + 8, size)), "entry");
        }
    }
}

/// An object whose members are `start` and then 32 MiB of zeros, in a few kilobytes.
fn bomb(start: &[u8], compression: Compression) -> Vec<u8> {
    let members = [start, &vec![0; 32 << 20]].concat();
    let compressed = match compression {
        Compression::Zlib => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&members).unwrap();
            encoder.finish().unwrap()
        }
        _ => zstd::bulk::compress(&members, 1).unwrap(),
    };
    let header = [0x5e, 0xa1, 16, 4, 0, compression as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    resized([header.as_slice(), &compressed].concat())
}

#[test]
fn bombs() {
    let limits = Limits { max_bytes: 10 << 20 };
    for fixture in &*FIXTURES {
        for compression in [Compression::Zlib, Compression::Zstd] {
            for kind in Kind::ALL {
                // Nothing but zeros; a valid object, then zeros.
                for start in [vec![], fixture.saved(kind, Compression::None)[16..].to_vec()] {
                    let bomb = bomb(&start, compression);
                    assert!(bomb.len() < start.len() + (1 << 21));
                    malformed(fixture.rewrite(kind, &bomb, limits), "bomb");
                }
            }
        }
        // Galois keys for every element are valid, and more than the caller wants.
        let bytes = fixture.saved(Kind::CompactGalois, Compression::None);
        let keys = wire::read_galois_keys(&fixture.context, &bytes, Limits::CONTEXT).unwrap();
        let data = pycrcnn::ring::Residues::zeros(keys[&3].data.len());
        let zero = pycrcnn::scheme::KeySwitchKey { primes: keys[&3].primes, data };
        let all = (0..DEGREE as u32).map(|i| (2 * i + 1, zero.clone())).collect();
        for compression in [Compression::Zlib, Compression::Zstd] {
            let bytes = wire::write_galois_keys(&fixture.context, &all, compression).unwrap();
            assert!(bytes.len() < 1 << 20, "{} bytes expand to {}", bytes.len(), zero.data.len() * 8 * DEGREE);
            let error = wire::read_galois_keys(&fixture.context, &bytes, limits).unwrap_err();
            assert!(matches!(error, Error::TooLarge { limit, .. } if limit == limits.max_bytes), "{error}");
        }
    }
}

#[test]
fn limits() {
    for fixture in &*FIXTURES {
        for kind in Kind::ALL {
            for compression in Compression::ALL {
                let bytes = fixture.saved(kind, compression);
                let size = fixture.saved(kind, Compression::None).len() as u64;
                let exact = Limits { max_bytes: size.max(bytes.len() as u64) };
                fixture.rewrite(kind, &bytes, exact).unwrap();
                let error = fixture.rewrite(kind, &bytes, Limits { max_bytes: size - 1 }).unwrap_err();
                assert!(matches!(error, Error::TooLarge { .. }), "{kind:?} {compression:?}: {error}");
            }
        }
    }
}

/// A zstd frame that asks for a window of 2 GiB.
#[test]
fn huge_zstd_window() {
    let fixture = &FIXTURES[0];
    let mut bytes = vec![0x5e, 0xa1, 16, 4, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // Magic number; no content size, no single segment; window exponent 21: 2^31.
    bytes.extend([0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3]);
    bytes.extend([0x01, 0x00, 0x00]);
    malformed(read(fixture, &resized(bytes)), "window");
}
