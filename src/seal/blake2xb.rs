//! Blake2xb as SEAL uses it to expand a 64-byte seed, and SEAL's sampling of uniform polynomials.
//!
//! Block number c of 4096 bytes is BLAKE2Xb keyed with the seed over the eight bytes of c: a root hash
//! (BLAKE2b, RFC 7693, with the extended length in its parameters), and from it 64 independent
//! BLAKE2b hashes of 64 bytes, told apart by their number alone (BLAKE2X, Aumasson et al. 2016).

use crate::ring::Modulus;

const IV: [u64; 8] = [
    0x6a09e667f3bcc908,
    0xbb67ae8584caa73b,
    0x3c6ef372fe94f82b,
    0xa54ff53a5f1d36f1,
    0x510e527fade682d1,
    0x9b05688c2b3e6c1f,
    0x1f83d9abfb41bd6b,
    0x5be0cd19137e2179,
];

/// The message schedule of BLAKE2b.
const SIGMA: [[usize; 16]; 12] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
];

/// Bytes of a seed, of a BLAKE2b hash, and of a block of output.
const SEED_BYTES: u64 = 64;
const HASH_BYTES: u64 = 64;
const BLOCK_BYTES: u64 = 4096;
/// Words of a hash and of a block.
const HASH_WORDS: usize = (HASH_BYTES / 8) as usize;
const BLOCK_WORDS: usize = (BLOCK_BYTES / 8) as usize;

/// One BLAKE2b compression: state, message block, bytes hashed so far, whether it is the last.
#[inline(always)]
fn compress(state: &mut [u64; 8], message: &[u64; 16], bytes: u64, last: bool) {
    let mut v = [0; 16];
    v[..8].copy_from_slice(state);
    v[8..].copy_from_slice(&IV);
    v[12] ^= bytes;
    if last {
        v[14] = !v[14];
    }
    for schedule in &SIGMA {
        let mut mix = |a: usize, b: usize, c: usize, d: usize, i: usize| {
            v[a] = v[a].wrapping_add(v[b]).wrapping_add(message[schedule[i]]);
            v[d] = (v[d] ^ v[a]).rotate_right(32);
            v[c] = v[c].wrapping_add(v[d]);
            v[b] = (v[b] ^ v[c]).rotate_right(24);
            v[a] = v[a].wrapping_add(v[b]).wrapping_add(message[schedule[i + 1]]);
            v[d] = (v[d] ^ v[a]).rotate_right(16);
            v[c] = v[c].wrapping_add(v[d]);
            v[b] = (v[b] ^ v[c]).rotate_right(63);
        };
        mix(0, 4, 8, 12, 0);
        mix(1, 5, 9, 13, 2);
        mix(2, 6, 10, 14, 4);
        mix(3, 7, 11, 15, 6);
        mix(0, 5, 10, 15, 8);
        mix(1, 6, 11, 12, 10);
        mix(2, 7, 8, 13, 12);
        mix(3, 4, 9, 14, 14);
    }
    for i in 0..8 {
        state[i] ^= v[i] ^ v[i + 8];
    }
}

/// BLAKE2b's initial state for the first three words of its parameter block.
#[inline(always)]
fn initial_state(parameters: [u64; 3]) -> [u64; 8] {
    let mut state = IV;
    for (word, parameter) in state.iter_mut().zip(parameters) {
        *word ^= parameter;
    }
    state
}

/// The root hash of block `counter`.
fn root(seed: &[u64; 8], counter: u64) -> [u64; 8] {
    const SEQUENTIAL: u64 = 1 << 16 | 1 << 24;
    let mut state = initial_state([HASH_BYTES | SEED_BYTES << 8 | SEQUENTIAL, BLOCK_BYTES << 32, 0]);
    let mut block = [0; 16];
    block[..8].copy_from_slice(seed);
    compress(&mut state, &block, 128, false);
    block = [0; 16];
    block[0] = counter;
    compress(&mut state, &block, 128 + 8, true);
    state
}

/// Output block `counter` of the generator.
fn block(seed: &[u64; 8], counter: u64, out: &mut [u64; BLOCK_WORDS]) {
    let mut message = [0; 16];
    message[..8].copy_from_slice(&root(seed, counter));
    for (node, hash) in (0u64..).zip(out.as_chunks_mut::<HASH_WORDS>().0) {
        // Digest and leaf length, then node number and extended length, then inner hash length.
        *hash = initial_state([HASH_BYTES | HASH_BYTES << 32, node | BLOCK_BYTES << 32, HASH_BYTES << 8]);
        compress(hash, &message, HASH_BYTES, true);
    }
}

/// SEAL's generator of 64-bit words.
#[derive(Debug, Clone)]
pub struct Blake2xb {
    seed: [u64; 8],
    counter: u64,
    buffer: [u64; BLOCK_WORDS],
    at: usize,
}

impl Blake2xb {
    /// The generator at its start.
    pub fn new(seed: &[u64; 8]) -> Self {
        Self { seed: *seed, counter: 0, buffer: [0; BLOCK_WORDS], at: BLOCK_WORDS }
    }

    /// The next word.
    #[inline]
    pub fn next_word(&mut self) -> u64 {
        if self.at == BLOCK_WORDS {
            block(&self.seed, self.counter, &mut self.buffer);
            self.counter += 1;
            self.at = 0;
        }
        self.at += 1;
        self.buffer[self.at - 1]
    }
}

/// The uniform polynomial that SEAL draws from a seed: N residues for each modulus, into `out`.
///
/// As SEAL's `sample_poly_uniform`: a word for each residue first, then words that would make it
/// uneven are replaced by further words of the generator, in order.
pub fn sample_uniform(seed: &[u64; 8], degree: usize, moduli: impl Iterator<Item = Modulus>, out: &mut [u64]) {
    let mut generator = Blake2xb::new(seed);
    out.fill_with(|| generator.next_word());
    for (residues, q) in out.chunks_exact_mut(degree).zip(moduli) {
        let bound = u64::MAX - u64::MAX % q.value() - 1;
        for word in residues {
            while *word >= bound {
                *word = generator.next_word();
            }
            *word = q.reduce(*word);
        }
    }
}
