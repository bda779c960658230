//! Memory for large buffers, in huge pages where the system gives them on request.
//!
//! Kernels walk through a thousand ciphertexts side by side. With pages of 4 KiB the processor finds few of them in
//! its table of translations, and a layer that mostly reads and writes spends a quarter of its time on looking them
//! up. Buffers that are cut one after another from mappings of a few mebibytes fill huge pages from end to end, so that
//! they take no more memory than in small ones.

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::MmapMut;

/// Bytes of a huge page on the machines that have the kernels for it; elsewhere the request has no effect.
const HUGE_PAGE: usize = 2 << 20;

/// Words that are mapped at once.
const MAPPED: usize = (8 << 20) / size_of::<u64>();

/// Words of a cache line: no vector load from an aligned buffer straddles two.
const LINE: usize = 8;

/// Words between two buffers: buffers of a power of two of bytes, one at the end of the other, would share their places
/// in the caches.
const GAP: usize = 17 * LINE;

/// Words that their owner alone can reach.
pub(super) struct Piece {
    start: NonNull<u64>,
    len: usize,
    /// unmapped with its last piece
    _mapping: Arc<MmapMut>,
}

// SAFETY: a piece owns its words as a vector does (`Arena::piece`).
unsafe impl Send for Piece {}
// SAFETY: as above; a shared piece only gives shared references.
unsafe impl Sync for Piece {}

impl Deref for Piece {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        // SAFETY: the words are within the mapping, which lives as long as the piece, aligned, initialised (by the
        // system, with zeros), and reached through this piece alone.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Piece {
    fn deref_mut(&mut self) -> &mut [u64] {
        // SAFETY: as above, and the piece is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

/// The rest of a mapping.
pub(super) struct Arena {
    start: NonNull<u64>,
    left: usize,
    mapping: Arc<MmapMut>,
}

// SAFETY: the words from `start` on belong to the arena alone (`Arena::piece`).
unsafe impl Send for Arena {}

impl Arena {
    /// `words` words, or `None` where the system has no memory.
    fn map(words: usize) -> Option<Self> {
        let bytes = words * size_of::<u64>();
        // Room to begin at the start of a huge page.
        let mut mapping = MmapMut::map_anon(bytes + HUGE_PAGE).ok()?;
        let skipped = mapping.as_ptr().align_offset(HUGE_PAGE);
        // The last page, if it is not filled, stays small. A system that has no huge pages gives small ones.
        #[cfg(target_os = "linux")]
        if let whole @ HUGE_PAGE.. = bytes / HUGE_PAGE * HUGE_PAGE {
            let _ = mapping.advise_range(memmap2::Advice::HugePage, skipped, whole);
        }
        let start = NonNull::from(&mut mapping[skipped..skipped + bytes]).cast();
        Some(Self { start, left: words, mapping: Arc::new(mapping) })
    }

    /// The next `len` words.
    fn piece(&mut self, len: usize) -> Option<Piece> {
        if len > self.left {
            return None;
        }
        let piece = Piece { start: self.start, len, _mapping: self.mapping.clone() };
        let step = (len.next_multiple_of(LINE) + GAP).min(self.left);
        self.left -= step;
        // SAFETY: `left` words followed `start`, and `step` is no more than that and no less than `len`. What is cut
        // off later lies behind, so no two pieces overlap.
        self.start = unsafe { self.start.add(step) };
        Some(piece)
    }

    /// `len` zeros from `open`, or from a mapping that takes its place, or from one of their own.
    pub fn allocate(open: &mut Option<Self>, len: usize) -> Option<Piece> {
        if let Some(piece) = open.as_mut().and_then(|arena| arena.piece(len)) {
            return Some(piece);
        }
        if len > MAPPED / 2 {
            return Self::map(len)?.piece(len);
        }
        open.insert(Self::map(MAPPED)?).piece(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_zero_aligned_and_apart() {
        let mut open = None;
        let lens = [MAPPED / 3, MAPPED / 3, MAPPED / 3, 5000, MAPPED + 1, 5000, MAPPED / 2];
        let mut pieces: Vec<Piece> = lens.iter().map(|&len| Arena::allocate(&mut open, len).unwrap()).collect();
        for (i, piece) in pieces.iter_mut().enumerate() {
            assert!(piece.iter().all(|&x| x == 0));
            piece.fill(i as u64 + 1);
        }
        for (i, (piece, len)) in pieces.iter().zip(lens).enumerate() {
            assert_eq!(piece.len(), len);
            assert_eq!(piece.as_ptr().align_offset(64), 0);
            assert!(piece.iter().all(|&x| x == i as u64 + 1));
        }
    }

    #[test]
    fn a_piece_outlives_its_arena() {
        let mut open = None;
        let mut piece = Arena::allocate(&mut open, 10_000).unwrap();
        drop(open);
        piece.fill(3);
        assert!(std::thread::spawn(move || piece.iter().all(|&x| x == 3)).join().unwrap());
    }
}
