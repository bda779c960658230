//! Input that expands without end does not make `seal::wire` take memory for it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use pycrcnn::ring::primes;
use pycrcnn::scheme::{Ciphertext, Context, Form, Parameters};
use pycrcnn::seal::wire::{self, Compression, Limits};

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, with a count of the bytes in use.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; the rest is two counters.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes taken at most while reading, beyond what was in use before.
fn peak(read: impl FnOnce()) -> usize {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    read();
    PEAK.load(Ordering::Relaxed) - before
}

// One test, so that nothing else allocates meanwhile.
#[test]
fn memory_is_bounded_by_the_object() {
    const ZEROS: usize = 256 << 20;
    const DECOMPRESSOR: usize = 1 << 20;
    let moduli = primes::bfv_default(4096, 128).unwrap().to_vec();
    let context = Context::new(Parameters::bfv(4096, moduli, true, 1032193).unwrap()).unwrap();
    let valid = Ciphertext::zero(&context, 3, 2, Form::Coefficient, 1.0);
    let object = 8 * valid.data().len();
    for start in [Vec::new(), wire::write_ciphertext(&valid, Compression::None)[16..].to_vec()] {
        let mut members = start;
        members.resize(ZEROS, 0);
        let mut bomb = vec![0x5e, 0xa1, 16, 4, 0, Compression::Zstd as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bomb.extend(zstd::bulk::compress(&members, 1).unwrap());
        let size = bomb.len() as u64;
        bomb[8..16].copy_from_slice(&size.to_le_bytes());
        drop(members);
        assert!(bomb.len() < 1 << 20);
        let taken = peak(|| drop(wire::read_ciphertext(&context, &bomb, Limits::CONTEXT).unwrap_err()));
        assert!(taken < object + DECOMPRESSOR, "{taken} bytes for an object of {object}");
    }
    // A header that promises 16 polynomials takes no memory for them where they are not there.
    let mut bytes = wire::write_ciphertext(&valid, Compression::None);
    bytes[49] = 16;
    let taken = peak(|| drop(wire::read_ciphertext(&context, &bytes, Limits::CONTEXT).unwrap_err()));
    assert!(taken < 1 << 16, "{taken} bytes");
}
