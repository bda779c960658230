//! Blake2xb as SEAL uses it to expand a 64-byte seed, and SEAL's sampling of uniform polynomials.
//!
//! Block c of 4096 bytes is BLAKE2Xb keyed with the seed over the eight bytes of c: a root hash
//! (BLAKE2b, RFC 7693, with the extended length in its parameters), and from it 64 independent
//! BLAKE2b hashes of 64 bytes that differ in their node number alone (BLAKE2X, Aumasson et al. 2016).
//! The hashes of a block are computed side by side, one in each lane of a vector.

use crate::error::Result;
use crate::ring::Modulus;
use crate::ring::backend::Backend;

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
const SIGMA: [[usize; 16]; 10] = [
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
];

/// Words of a seed, of a hash, of a block of output.
const SEED: usize = 8;
const HASH: usize = 8;
const BLOCK: usize = 512;
/// The same in bytes, as they stand in BLAKE2b's parameter block.
const SEED_BYTES: u64 = 8 * SEED as u64;
const HASH_BYTES: u64 = 8 * HASH as u64;
const BLOCK_BYTES: u64 = 8 * BLOCK as u64;

/// Twelve rounds, each of which mixes the four columns and then the four diagonals of a state with words of the
/// message. Written out, so that every index is a constant and the state stays in registers: `$mix` is called with
/// the state, four indices, and the indices of two words.
macro_rules! rounds {
    ($mix:ident, $v:expr, $message:expr) => {
        rounds!(@ $mix, $v, $message, 0 1 2 3 4 5 6 7 8 9 0 1)
    };
    (@ $mix:ident, $v:expr, $message:expr, $($round:literal)*) => { $(
        $mix($v, $message, [0, 4, 8, 12], const { [SIGMA[$round][0], SIGMA[$round][1]] });
        $mix($v, $message, [1, 5, 9, 13], const { [SIGMA[$round][2], SIGMA[$round][3]] });
        $mix($v, $message, [2, 6, 10, 14], const { [SIGMA[$round][4], SIGMA[$round][5]] });
        $mix($v, $message, [3, 7, 11, 15], const { [SIGMA[$round][6], SIGMA[$round][7]] });
        $mix($v, $message, [0, 5, 10, 15], const { [SIGMA[$round][8], SIGMA[$round][9]] });
        $mix($v, $message, [1, 6, 11, 12], const { [SIGMA[$round][10], SIGMA[$round][11]] });
        $mix($v, $message, [2, 7, 8, 13], const { [SIGMA[$round][12], SIGMA[$round][13]] });
        $mix($v, $message, [3, 4, 9, 14], const { [SIGMA[$round][14], SIGMA[$round][15]] });
    )* };
}

/// BLAKE2b's mixing function.
#[inline(always)]
fn mix(v: &mut [u64; 16], message: &[u64; 16], [a, b, c, d]: [usize; 4], [x, y]: [usize; 2]) {
    v[a] = v[a].wrapping_add(v[b]).wrapping_add(message[x]);
    v[d] = (v[d] ^ v[a]).rotate_right(32);
    v[c] = v[c].wrapping_add(v[d]);
    v[b] = (v[b] ^ v[c]).rotate_right(24);
    v[a] = v[a].wrapping_add(v[b]).wrapping_add(message[y]);
    v[d] = (v[d] ^ v[a]).rotate_right(16);
    v[c] = v[c].wrapping_add(v[d]);
    v[b] = (v[b] ^ v[c]).rotate_right(63);
}

/// BLAKE2b's compression: state, message block, bytes hashed so far, whether it is the last block.
fn compress(state: &mut [u64; 8], message: &[u64; 16], bytes: u64, last: bool) {
    let mut v: [u64; 16] = std::array::from_fn(|i| if i < 8 { state[i] } else { IV[i - 8] });
    v[12] ^= bytes;
    if last {
        v[14] = !v[14];
    }
    rounds!(mix, &mut v, message);
    for i in 0..8 {
        state[i] ^= v[i] ^ v[i + 8];
    }
}

/// BLAKE2b's initial state for the first three words of its parameter block.
fn initial_state(parameters: [u64; 3]) -> [u64; 8] {
    std::array::from_fn(|i| IV[i] ^ parameters.get(i).unwrap_or(&0))
}

/// The root hash of block `counter`.
fn root(seed: &[u64; SEED], counter: u64) -> [u64; HASH] {
    // Hash and key length, depth and fanout 1 (a sequential hash); extended length.
    let mut state = initial_state([HASH_BYTES | SEED_BYTES << 8 | 1 << 16 | 1 << 24, BLOCK_BYTES << 32, 0]);
    let mut key = [0; 16];
    key[..SEED].copy_from_slice(seed);
    compress(&mut state, &key, 128, false);
    let mut message = [0; 16];
    message[0] = counter;
    compress(&mut state, &message, 128 + 8, true);
    state
}

/// The parameters of the hash of a node: hash and leaf length; node number and extended length; inner hash length.
fn node_parameters(node: u64) -> [u64; 3] {
    [HASH_BYTES | HASH_BYTES << 32, node | BLOCK_BYTES << 32, HASH_BYTES << 8]
}

/// The hash of a node.
fn hash_node(root: &[u64; HASH], node: u64) -> [u64; HASH] {
    let mut state = initial_state(node_parameters(node));
    let mut message = [0; 16];
    message[..HASH].copy_from_slice(root);
    compress(&mut state, &message, HASH_BYTES, true);
    state
}

/// Hashes of consecutive nodes side by side, one in each lane of a vector.
///
/// Expects `Vector`, `LANES`, and `splat`, `add`, `xor`, `rotate_right` on vectors of 64-bit lanes.
#[cfg(target_arch = "x86_64")]
macro_rules! hash_nodes {
    ($features:literal) => {
        use super::{HASH, HASH_BYTES, IV, SIGMA, initial_state, node_parameters};

        #[inline]
        #[target_feature(enable = $features)]
        fn mix(v: &mut [Vector; 16], message: &[Vector; HASH], [a, b, c, d]: [usize; 4], [x, y]: [usize; 2]) {
            v[a] = add(v[a], v[b]);
            // The upper half of the message is zero.
            if x < HASH {
                v[a] = add(v[a], message[x]);
            }
            v[d] = rotate_right::<32, 32>(xor(v[d], v[a]));
            v[c] = add(v[c], v[d]);
            v[b] = rotate_right::<24, 40>(xor(v[b], v[c]));
            v[a] = add(v[a], v[b]);
            if y < HASH {
                v[a] = add(v[a], message[y]);
            }
            v[d] = rotate_right::<16, 48>(xor(v[d], v[a]));
            v[c] = add(v[c], v[d]);
            v[b] = rotate_right::<63, 1>(xor(v[b], v[c]));
        }

        /// [`hash_node`](super::hash_node) of `first` and the nodes after it.
        #[target_feature(enable = $features)]
        pub fn hash_nodes(root: &[u64; HASH], first: u64, out: &mut [[u64; HASH]; LANES]) {
            let message: [Vector; HASH] = std::array::from_fn(|i| splat(root[i] as i64));
            let states: [[u64; 8]; LANES] =
                std::array::from_fn(|lane| initial_state(node_parameters(first + lane as u64)));
            // SAFETY: a vector is as large as its lanes, and every bit pattern is one.
            let state: [Vector; 8] = std::array::from_fn(|i| unsafe {
                std::mem::transmute::<[u64; LANES], Vector>(std::array::from_fn(|lane| states[lane][i]))
            });
            let mut v: [Vector; 16] = std::array::from_fn(|i| if i < 8 { state[i] } else { splat(IV[i - 8] as i64) });
            v[12] = xor(v[12], splat(HASH_BYTES as i64));
            v[14] = xor(v[14], splat(-1));
            rounds!(mix, &mut v, &message);
            for i in 0..8 {
                let word = xor(state[i], xor(v[i], v[i + 8]));
                // SAFETY: as above.
                let word = unsafe { std::mem::transmute::<Vector, [u64; LANES]>(word) };
                for lane in 0..LANES {
                    out[lane][i] = word[lane];
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i as Vector, _mm256_add_epi64 as add, _mm256_or_si256, _mm256_set1_epi64x as splat, _mm256_slli_epi64,
        _mm256_srli_epi64, _mm256_xor_si256 as xor,
    };

    pub const LANES: usize = 4;

    #[inline]
    #[target_feature(enable = "avx2")]
    fn rotate_right<const BITS: i32, const REST: i32>(words: Vector) -> Vector {
        _mm256_or_si256(_mm256_srli_epi64::<BITS>(words), _mm256_slli_epi64::<REST>(words))
    }

    hash_nodes!("avx2");
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        __m512i as Vector, _mm512_add_epi64 as add, _mm512_ror_epi64, _mm512_set1_epi64 as splat,
        _mm512_xor_si512 as xor,
    };

    pub const LANES: usize = 8;

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn rotate_right<const BITS: i32, const REST: i32>(words: Vector) -> Vector {
        _mm512_ror_epi64::<BITS>(words)
    }

    hash_nodes!("avx512f");
}

/// Output block `counter` of the generator.
fn block(backend: Backend, seed: &[u64; SEED], counter: u64, out: &mut [u64; BLOCK]) {
    let root = root(seed, counter);
    let hashes = out.as_chunks_mut().0;
    match backend {
        #[cfg(target_arch = "x86_64")]
        Backend::Avx2 => {
            for (first, out) in (0..).step_by(avx2::LANES).zip(hashes.as_chunks_mut().0) {
                // SAFETY: a backend is only ever chosen where the machine has its instructions.
                unsafe { avx2::hash_nodes(&root, first, out) };
            }
        }
        #[cfg(target_arch = "x86_64")]
        Backend::Avx512Ifma => {
            for (first, out) in (0..).step_by(avx512::LANES).zip(hashes.as_chunks_mut().0) {
                // SAFETY: as above.
                unsafe { avx512::hash_nodes(&root, first, out) };
            }
        }
        _ => {
            for (node, out) in (0..).zip(hashes) {
                *out = hash_node(&root, node);
            }
        }
    }
}

/// SEAL's generator of 64-bit words.
#[derive(Debug, Clone)]
pub struct Blake2xb {
    backend: Backend,
    seed: [u64; SEED],
    counter: u64,
    buffer: [u64; BLOCK],
    at: usize,
}

impl Blake2xb {
    /// The generator at its start.
    ///
    /// # Errors
    /// [`Error::UnknownBackend`](crate::Error::UnknownBackend) for an unusable `PYCRCNN_BACKEND`.
    pub fn new(seed: &[u64; SEED]) -> Result<Self> {
        Backend::current().map(|backend| Self::with_backend(backend, seed))
    }

    /// `backend` is available.
    fn with_backend(backend: Backend, seed: &[u64; SEED]) -> Self {
        Self { backend, seed: *seed, counter: 0, buffer: [0; BLOCK], at: BLOCK }
    }

    /// The next word.
    pub fn next_word(&mut self) -> u64 {
        if self.at == BLOCK {
            block(self.backend, &self.seed, self.counter, &mut self.buffer);
            self.counter += 1;
            self.at = 0;
        }
        self.at += 1;
        self.buffer[self.at - 1]
    }

    /// The next words.
    pub fn fill(&mut self, out: &mut [u64]) {
        let (buffered, out) = out.split_at_mut(out.len().min(BLOCK - self.at));
        buffered.copy_from_slice(&self.buffer[self.at..self.at + buffered.len()]);
        self.at += buffered.len();
        let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
        for out in blocks {
            block(self.backend, &self.seed, self.counter, out);
            self.counter += 1;
        }
        rest.fill_with(|| self.next_word());
    }
}

/// The uniform polynomial that SEAL draws from a seed: N residues for each modulus, into `out`.
///
/// As SEAL's `sample_poly_uniform`: a word for each residue first, then words that would make it
/// uneven are replaced by further words of the generator, in order.
///
/// # Errors
/// [`Error::UnknownBackend`](crate::Error::UnknownBackend) for an unusable `PYCRCNN_BACKEND`.
pub fn sample_uniform(
    seed: &[u64; SEED],
    degree: usize,
    moduli: impl Iterator<Item = Modulus>,
    out: &mut [u64],
) -> Result<()> {
    let mut generator = Blake2xb::new(seed)?;
    generator.fill(out);
    for (residues, q) in out.chunks_exact_mut(degree).zip(moduli) {
        let bound = u64::MAX - u64::MAX % q.value() - 1;
        for word in residues {
            while *word >= bound {
                *word = generator.next_word();
            }
            *word = q.reduce(*word);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED_OF_ONES: [u64; SEED] = [1; SEED];

    #[test]
    fn backends_agree() {
        let words = |backend| {
            let mut generator = Blake2xb::with_backend(backend, &SEED_OF_ONES);
            std::iter::repeat_with(|| generator.next_word()).take(3 * BLOCK).collect::<Vec<_>>()
        };
        let portable = words(Backend::Portable);
        for backend in Backend::available() {
            assert_eq!(words(backend), portable, "{}", backend.name());
        }
    }

    #[test]
    fn filling_continues_where_words_stopped() {
        let mut one = Blake2xb::new(&SEED_OF_ONES).unwrap();
        let mut other = one.clone();
        for len in [0, 1, 511, 512, 513, 1500, 7] {
            let mut filled = vec![0; len];
            one.fill(&mut filled);
            assert!(filled.iter().all(|&word| word == other.next_word()), "{len}");
        }
    }

    #[test]
    fn uneven_words_are_drawn_again() {
        // For q = 2^60 + 1, the 15 multiples below 2^64 leave almost 1/16 of all words to be replaced.
        let q = Modulus::new((1 << 60) + 1).unwrap();
        let mut residues = vec![0; 4096];
        sample_uniform(&SEED_OF_ONES, 4096, std::iter::once(q), &mut residues).unwrap();
        let mut generator = Blake2xb::new(&SEED_OF_ONES).unwrap();
        let mut words = vec![0; 4096];
        generator.fill(&mut words);
        let bound = u64::MAX - u64::MAX % q.value() - 1;
        assert!(words.iter().filter(|&&word| word >= bound).count() > 100);
        for (&residue, &word) in residues.iter().zip(&words) {
            let mut word = word;
            while word >= bound {
                word = generator.next_word();
            }
            assert_eq!(residue, word % q.value());
        }
    }
}
