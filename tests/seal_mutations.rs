//! What the fuzz targets run, on random mutations of valid objects: quick, bounded, on every toolchain.

#[allow(dead_code)]
mod seal_fixtures;

#[path = "../fuzz/readers.rs"]
mod readers;

#[path = "../fuzz/valid.rs"]
mod valid;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

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
    for (_, reader, bytes) in valid::objects() {
        run(&bytes, reader, &mut random);
    }
}
