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

static POOL: Mutex<Pool> = Mutex::new(Pool { free: BTreeMap::new(), kept: 0, open: None });

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
            None => Self::fresh(len),
        }
    }

    /// `len` words of no particular value (what an earlier buffer held, or zeros), for results that overwrite all of
    /// them.
    pub fn stale(len: usize) -> Self {
        Self::recycled(len).unwrap_or_else(|| Self::fresh(len))
    }

    /// A copy of `values`.
    pub fn from_slice(values: &[u64]) -> Self {
        let mut residues = Self::stale(values.len());
        residues.copy_from_slice(values);
        residues
    }

    /// `len` zeros that were no buffer before.
    fn fresh(len: usize) -> Self {
        let large = || (len >= LARGE_LEN).then(|| Arena::allocate(&mut pool()?.open, len)).flatten();
        Self(large().map_or_else(|| Buffer::Small(AVec::from_iter(64, std::iter::repeat_n(0, len))), Buffer::Large))
    }

    fn recycled(len: usize) -> Option<Self> {
        if len < RECYCLED_LEN {
            return None;
        }
        let mut pool = pool()?;
        let buffer = pool.free.get_mut(&len)?.pop()?;
        pool.kept -= len;
        Some(Self(buffer))
    }
}

impl Drop for Residues {
    fn drop(&mut self) {
        let len = self.len();
        if len < RECYCLED_LEN {
            return;
        }
        if let Some(mut pool) = pool().filter(|pool| pool.kept + len <= KEPT) {
            let buffer = std::mem::replace(&mut self.0, Buffer::Small(AVec::new(64)));
            pool.kept += len;
            pool.free.entry(len).or_default().push(buffer);
        }
    }
}

impl Deref for Residues {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        match &self.0 {
            Buffer::Small(words) => words,
            Buffer::Large(words) => words,
        }
    }
}

impl DerefMut for Residues {
    fn deref_mut(&mut self) -> &mut [u64] {
        match &mut self.0 {
            Buffer::Small(words) => words,
            Buffer::Large(words) => words,
        }
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

    #[test]
    fn a_freed_buffer_is_used_again_by_any_thread() {
        let len = 65432;
        let residues = Residues::zeros(len);
        let address = residues.as_ptr() as usize;
        std::thread::spawn(move || drop(residues)).join().unwrap();
        assert_eq!(Residues::stale(len).as_ptr() as usize, address);
    }
}
