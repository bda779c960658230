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

/// One word of each of several hashes that are computed side by side.
#[derive(Clone, Copy)]
struct Lanes<const L: usize>([u64; L]);

impl<const L: usize> Lanes<L> {
    #[inline(always)]
    fn splat(word: u64) -> Self {
        Self([word; L])
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane].wrapping_add(other.0[lane])))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] ^ other.0[lane]))
    }

    #[inline(always)]
    fn rotate_right<const BITS: u32>(self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane].rotate_right(BITS)))
    }
}

/// BLAKE2b's mixing function on four words of the state.
#[inline(always)]
fn mix<const L: usize>(v: &mut [Lanes<L>; 16], [a, b, c, d]: [usize; 4], x: u64, y: u64) {
    v[a] = v[a].add(v[b]).add(Lanes::splat(x));
    v[d] = v[d].xor(v[a]).rotate_right::<32>();
    v[c] = v[c].add(v[d]);
    v[b] = v[b].xor(v[c]).rotate_right::<24>();
    v[a] = v[a].add(v[b]).add(Lanes::splat(y));
    v[d] = v[d].xor(v[a]).rotate_right::<16>();
    v[c] = v[c].add(v[d]);
    v[b] = v[b].xor(v[c]).rotate_right::<63>();
}

#[inline(always)]
fn round<const L: usize, const R: usize>(v: &mut [Lanes<L>; 16], message: &[u64; 16]) {
    let word = |i: usize| message[const { SIGMA[R % 10] }[i]];
    mix(v, [0, 4, 8, 12], word(0), word(1));
    mix(v, [1, 5, 9, 13], word(2), word(3));
    mix(v, [2, 6, 10, 14], word(4), word(5));
    mix(v, [3, 7, 11, 15], word(6), word(7));
    mix(v, [0, 5, 10, 15], word(8), word(9));
    mix(v, [1, 6, 11, 12], word(10), word(11));
    mix(v, [2, 7, 8, 13], word(12), word(13));
    mix(v, [3, 4, 9, 14], word(14), word(15));
}

/// BLAKE2b's compression: state, message block, bytes hashed so far, whether it is the last block.
#[inline(always)]
fn compress<const L: usize>(state: [Lanes<L>; 8], message: &[u64; 16], bytes: u64, last: bool) -> [Lanes<L>; 8] {
    let flag = if last { u64::MAX } else { 0 };
    let mut v: [Lanes<L>; 16] = std::array::from_fn(|i| match i {
        0..8 => state[i],
        12 => Lanes::splat(IV[4] ^ bytes),
        14 => Lanes::splat(IV[6] ^ flag),
        _ => Lanes::splat(IV[i - 8]),
    });
    round::<L, 0>(&mut v, message);
    round::<L, 1>(&mut v, message);
    round::<L, 2>(&mut v, message);
    round::<L, 3>(&mut v, message);
    round::<L, 4>(&mut v, message);
    round::<L, 5>(&mut v, message);
    round::<L, 6>(&mut v, message);
    round::<L, 7>(&mut v, message);
    round::<L, 8>(&mut v, message);
    round::<L, 9>(&mut v, message);
    round::<L, 10>(&mut v, message);
    round::<L, 11>(&mut v, message);
    std::array::from_fn(|i| state[i].xor(v[i]).xor(v[i + 8]))
}

/// BLAKE2b's initial state for the first three words of its parameter block.
#[inline(always)]
fn initial_state<const L: usize>(parameters: [Lanes<L>; 3]) -> [Lanes<L>; 8] {
    std::array::from_fn(|i| {
        let iv = Lanes::splat(IV[i]);
        parameters.get(i).map_or(iv, |&parameter| iv.xor(parameter))
    })
}

/// The root hash of block `counter`.
fn root(seed: &[u64; SEED], counter: u64) -> [u64; HASH] {
    // Depth and fanout 1: a sequential hash.
    let parameters = [HASH_BYTES | SEED_BYTES << 8 | 1 << 16 | 1 << 24, BLOCK_BYTES << 32, 0];
    let state = initial_state::<1>(parameters.map(Lanes::splat));
    let mut key = [0; 16];
    key[..SEED].copy_from_slice(seed);
    let state = compress(state, &key, 128, false);
    let mut message = [0; 16];
    message[0] = counter;
    compress(state, &message, 128 + 8, true).map(|word| word.0[0])
}

/// The hashes of a block from its root, L at a time (L divides 64).
#[inline(always)]
fn leaves<const L: usize>(root: &[u64; HASH], out: &mut [u64; BLOCK]) {
    // The upper half is zero, which the compiler knows: half of the additions vanish.
    let message = [root[0], root[1], root[2], root[3], root[4], root[5], root[6], root[7], 0, 0, 0, 0, 0, 0, 0, 0];
    for (group, out) in out.chunks_exact_mut(HASH * L).enumerate() {
        let nodes = Lanes(std::array::from_fn(|lane| (group * L + lane) as u64 | BLOCK_BYTES << 32));
        // Hash length and leaf length, node number and extended length, inner hash length.
        let parameters = [Lanes::splat(HASH_BYTES | HASH_BYTES << 32), nodes, Lanes::splat(HASH_BYTES << 8)];
        let hash = compress::<L>(initial_state(parameters), &message, HASH_BYTES, true);
        for (lane, out) in out.chunks_exact_mut(HASH).enumerate() {
            for (word, lanes) in out.iter_mut().zip(&hash) {
                *word = lanes.0[lane];
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn leaves_avx2(root: &[u64; HASH], out: &mut [u64; BLOCK]) {
    leaves::<4>(root, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn leaves_avx512(root: &[u64; HASH], out: &mut [u64; BLOCK]) {
    leaves::<8>(root, out);
}

/// Output block `counter` of the generator.
fn block(backend: Backend, seed: &[u64; SEED], counter: u64, out: &mut [u64; BLOCK]) {
    let root = root(seed, counter);
    match backend {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a backend is only ever chosen where the machine has its instructions.
        Backend::Avx2 => unsafe { leaves_avx2(&root, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Backend::Avx512Ifma => unsafe { leaves_avx512(&root, out) },
        _ => leaves::<1>(&root, out),
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
