//! Buffers of residues, aligned for vector loads and recycled.
//!
//! A ciphertext takes hundreds of kibibytes and a layer makes a thousand of them. The system allocator
//! gives buffers of this size back to the operating system when they are freed, and the page faults of
//! getting them again cost more than the arithmetic. So freed buffers are kept for the next of their
//! length, as SEAL's memory pools do, up to a limit.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, TryLockError};

use aligned_vec::{AVec, ConstAlign};

use super::arena::{Arena, Piece};

/// Aligned to what a cache line holds: no vector load straddles two.
enum Buffer {
    /// from the system allocator
    Small(AVec<u64, ConstAlign<64>>),
    /// from huge pages
    Large(Piece),
}

impl Buffer {
    /// `len` zeros that were no buffer before.
    fn fresh(len: usize) -> Self {
        let large = || (len >= LARGE_LEN).then(|| Arena::allocate(&mut pool()?.open, len)).flatten();
        large().map_or_else(|| Self::Small(AVec::from_iter(64, std::iter::repeat_n(0, len))), Self::Large)
    }

    fn words(&self) -> &[u64] {
        match self {
            Self::Small(words) => words,
            Self::Large(words) => words,
        }
    }

    fn words_mut(&mut self) -> &mut [u64] {
        match self {
            Self::Small(words) => words,
            Self::Large(words) => words,
        }
    }
}

/// Shorter buffers are not recycled.
const RECYCLED_LEN: usize = 512;

/// Shorter buffers are left to the system allocator.
const LARGE_LEN: usize = 4096;

/// How many residues are kept in free buffers at most (1 GiB): what is beyond is mapped and cleared again at each run.
const KEPT: usize = 128 << 20;

/// Free buffers by length, and where the next large one comes from.
struct Pool {
    free: BTreeMap<usize, Vec<Buffer>>,
    kept: usize,
    open: Option<Arena>,
}

static POOL: Mutex<Pool> = Mutex::new(Pool::new());

impl Pool {
    const fn new() -> Self {
        Self { free: BTreeMap::new(), kept: 0, open: None }
    }

    /// A free buffer of `len` words.
    fn take(&mut self, len: usize) -> Option<Buffer> {
        let buffer = self.free.get_mut(&len)?.pop()?;
        self.kept -= len;
        Some(buffer)
    }

    /// Whether a buffer of `len` words may be kept.
    fn has_room(&self, len: usize) -> bool {
        self.kept + len <= KEPT
    }

    fn give(&mut self, buffer: Buffer) {
        let len = buffer.words().len();
        self.kept += len;
        self.free.entry(len).or_default().push(buffer);
    }
}

/// The pool, unless another thread holds on to it: then the system allocator serves. So a child of `fork` whose parent
/// was using the pool at that moment is not blocked.
fn pool() -> Option<MutexGuard<'static, Pool>> {
    for _ in 0..1000 {
        match POOL.try_lock() {
            Ok(pool) => return Some(pool),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
        }
    }
    None
}

/// A buffer of residues.
pub struct Residues(Buffer);

impl Residues {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        match Self::recycled(len) {
            Some(mut residues) => {
                residues.fill(0);
                residues
            }
            None => Self(Buffer::fresh(len)),
        }
    }

    /// `len` words of no particular value (what an earlier buffer held, or zeros), for results that overwrite all of
    /// them.
    pub fn stale(len: usize) -> Self {
        Self::recycled(len).unwrap_or_else(|| Self(Buffer::fresh(len)))
    }

    /// A copy of `values`.
    pub fn from_slice(values: &[u64]) -> Self {
        let mut residues = Self::stale(values.len());
        residues.copy_from_slice(values);
        residues
    }

    fn recycled(len: usize) -> Option<Self> {
        if len < RECYCLED_LEN {
            return None;
        }
        pool()?.take(len).map(Self)
    }
}

impl Drop for Residues {
    fn drop(&mut self) {
        let len = self.len();
        if len < RECYCLED_LEN {
            return;
        }
        if let Some(mut pool) = pool().filter(|pool| pool.has_room(len)) {
            pool.give(std::mem::replace(&mut self.0, Buffer::Small(AVec::new(64))));
        }
    }
}

impl Deref for Residues {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        self.0.words()
    }
}

impl DerefMut for Residues {
    fn deref_mut(&mut self) -> &mut [u64] {
        self.0.words_mut()
    }
}

impl Clone for Residues {
    fn clone(&self) -> Self {
        Self::from_slice(self)
    }
}

impl PartialEq for Residues {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Residues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Residues({})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_zeros_are_zero_even_when_recycled() {
        // a length that nothing else uses
        let len = 54321;
        for _ in 0..3 {
            let mut residues = Residues::zeros(len);
            assert!(residues.iter().all(|&x| x == 0));
            assert_eq!(residues.as_ptr().align_offset(64), 0);
            residues.fill(7);
        }
        assert_eq!(Residues::stale(len).len(), len);
        let copy = Residues::from_slice(&[1, 2, 3]);
        assert_eq!(*copy.clone(), [1, 2, 3]);
        assert_eq!(copy.clone(), copy);
    }

    /// On a pool of its own: the common one serves no buffer while other threads hold it.
    #[test]
    fn a_freed_buffer_is_used_again_by_any_thread() {
        let pool = Mutex::new(Pool::new());
        let len = 4 * LARGE_LEN;
        let buffer = Buffer::fresh(len);
        let address = buffer.words().as_ptr();
        std::thread::scope(|threads| threads.spawn(|| pool.lock().unwrap().give(buffer)).join()).unwrap();
        let mut pool = pool.into_inner().unwrap();
        assert!(pool.take(len + 1).is_none());
        assert_eq!(pool.take(len).map(|buffer| buffer.words().as_ptr()), Some(address));
        assert!(pool.take(len).is_none());
    }

    #[test]
    fn free_buffers_are_kept_up_to_the_limit() {
        let mut pool = Pool::new();
        assert!(pool.has_room(KEPT) && !pool.has_room(KEPT + 1));
        pool.give(Buffer::fresh(RECYCLED_LEN));
        assert!(!pool.has_room(KEPT));
        pool.take(RECYCLED_LEN).unwrap();
        assert!(pool.has_room(KEPT));
    }
}
