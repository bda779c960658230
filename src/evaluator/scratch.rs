//! Buffers for intermediate results, kept from one operation to the next.
//!
//! A system allocator gives buffers of this size back to the operating system when they are freed, and
//! the page faults of getting them again would cost more than the arithmetic.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use crate::ring::{Residues, zeros};

/// How many residues a thread keeps in free buffers (32 MiB).
const KEPT_RESIDUES: usize = 4 << 20;

thread_local! {
    static FREE: RefCell<Vec<Residues>> = const { RefCell::new(Vec::new()) };
}

/// A buffer that is kept for the next operation of the thread that drops it.
#[derive(Debug)]
pub(super) struct Scratch(Residues);

impl Scratch {
    /// A buffer of `len` residues of no particular value.
    pub(super) fn new(len: usize) -> Self {
        let kept = FREE.with_borrow_mut(|free| {
            let fitting = (0..free.len()).filter(|&i| free[i].capacity() >= len);
            fitting.min_by_key(|&i| free[i].capacity()).map(|i| free.swap_remove(i))
        });
        Self(kept.map_or_else(
            || zeros(len),
            |mut kept| {
                kept.resize(len, 0);
                kept
            },
        ))
    }

    /// A copy of `values`.
    pub(super) fn copy_of(values: &[u64]) -> Self {
        let mut copy = Self::new(values.len());
        copy.copy_from_slice(values);
        copy
    }
}

impl Clone for Scratch {
    fn clone(&self) -> Self {
        Self::copy_of(self)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let buffer = std::mem::replace(&mut self.0, zeros(0));
        // A thread that is about to end has no list any more: the buffer is freed.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.iter().map(|kept| kept.capacity()).sum::<usize>() + buffer.capacity() <= KEPT_RESIDUES {
                free.push(buffer);
            }
        });
    }
}

impl Deref for Scratch {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.0
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [u64] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_at_any_length_that_fits() {
        std::thread::spawn(|| {
            let first = Scratch::new(1000).as_ptr();
            assert_eq!(Scratch::new(10).as_ptr(), first);
            let [long, short] = [Scratch::new(800), Scratch::new(800)];
            assert_eq!((long.as_ptr() == first, short.as_ptr() == first, long.len()), (true, false, 800));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn no_more_is_kept_than_the_limit() {
        std::thread::spawn(|| {
            drop([(); 3].map(|()| Scratch::new(KEPT_RESIDUES / 2)));
            drop(Scratch::new(2 * KEPT_RESIDUES));
            assert_eq!(FREE.with_borrow(Vec::len), 2);
        })
        .join()
        .unwrap();
    }
}
