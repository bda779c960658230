//! What the fuzz targets run, on random mutations of valid objects: quick, bounded, on every toolchain.

#[allow(dead_code)]
mod seal_fixtures;

#[path = "../fuzz/readers.rs"]
mod readers;

use std::collections::BTreeMap;

use pycrcnn::encryption::{KeyGenerator, keygen};
use pycrcnn::protocol::{self, compute};
use pycrcnn::ring::Residues;
use pycrcnn::runtime::Cancellation;
use pycrcnn::scheme::{Ciphertext, Form, Scheme};
use pycrcnn::seal::wire::{self, Compression};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use seal_fixtures::{FIXTURES, Kind};

/// Mutations of each object.
const MUTATIONS: usize = 150;

/// Values that break things.
const WORDS: [u64; 8] = [0, 1, 2, 1 << 31, 1 << 32, u64::MAX / 8, i64::MAX as u64, u64::MAX];

/// Bytes changed as fuzzers change them, mostly near the start, where the fields are.
fn mutate(bytes: &[u8], random: &mut impl RngCore) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + random.next_u32() % 3 {
        let reach = if random.next_u32().is_multiple_of(4) { bytes.len() } else { bytes.len().min(160) };
        if reach < 9 {
            break;
        }
        let at = random.next_u32() as usize % (reach - 8);
        match random.next_u32() % 6 {
            0 => bytes[at] ^= 1 << (random.next_u32() % 8),
            1 => bytes[at] = random.next_u32() as u8,
            2 => bytes[at..at + 8].copy_from_slice(&WORDS[random.next_u32() as usize % 8].to_le_bytes()),
            3 => drop(bytes.drain(at..at + 1 + random.next_u32() as usize % 8)),
            4 => bytes.truncate(at),
            _ => bytes.insert(at, random.next_u32() as u8),
        }
    }
    // Half of them with the right size in the header, or few would be read any further.
    if bytes.len() >= 16 && random.next_u32().is_multiple_of(2) {
        let size = bytes.len() as u64;
        bytes[8..16].copy_from_slice(&size.to_le_bytes());
    }
    bytes
}

fn run(bytes: &[u8], reader: fn(&[u8]), random: &mut impl RngCore) {
    reader(bytes);
    for _ in 0..MUTATIONS {
        reader(&mutate(bytes, random));
    }
}

#[test]
fn mutated_objects() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for fixture in &*FIXTURES {
        for kind in Kind::ALL {
            let reader = match kind {
                Kind::Ciphertext => readers::ciphertext,
                Kind::Seeded => readers::seeded_ciphertext,
                Kind::Plaintext => readers::plaintext,
                Kind::SecretKey => readers::secret_key,
                Kind::PublicKey | Kind::CompactPublicKey => readers::public_key,
                Kind::Relinearization | Kind::CompactRelinearization => readers::relinearization_key,
                Kind::Galois | Kind::CompactGalois => readers::galois_keys,
            };
            for compression in Compression::ALL {
                run(&fixture.saved(kind, compression), reader, &mut random);
            }
        }
        for compression in Compression::ALL {
            let bytes = wire::write_parameters(fixture.context.parameters(), compression);
            run(&bytes, readers::parameters, &mut random);
        }
    }
}

#[test]
fn mutated_messages() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    for context in &*readers::CONTEXTS {
        let form = if context.parameters().scheme() == Scheme::Bfv { Form::Coefficient } else { Form::Ntt };
        let data = Residues::zeros(2 * context.data_primes() * context.degree());
        let ciphertext = Ciphertext::from_data(context, 2, context.data_primes(), form, 1.0, data).unwrap();
        run(
            &protocol::pack(&[7; 32], context, std::slice::from_ref(&ciphertext)).unwrap(),
            readers::message,
            &mut random,
        );
        run(&compute::reply(&[&ciphertext; 2], &[1, 2], None).unwrap(), readers::compute_request, &mut random);
        let secret = keygen::secret_key(context).unwrap();
        let generator = KeyGenerator::new(context.clone(), &secret).unwrap();
        let keys = generator.key_set(Some(1), &BTreeMap::from([(1, 1)]), &Cancellation::new()).unwrap();
        run(&keys.into_bytes(context).unwrap(), readers::key_set, &mut random);
    }
}
