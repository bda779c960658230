//! Threads, cancellation and forks.
//!
//! Work runs on a rayon pool of the size that the caller asks for. Pools are kept by size and by
//! process: a child of `fork` has none of its parent's threads, so it builds its own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};

/// A flag that stops long work at its next checkpoint.
///
/// Kernels call [`check`](Cancellation::check) between ciphertexts; whoever holds a clone may call
/// [`cancel`](Cancellation::cancel) from another thread.
#[derive(Debug, Clone, Default)]
pub struct Cancellation(Arc<AtomicBool>);

impl Cancellation {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the work to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// [`Error::Interrupted`] once [`cancel`](Cancellation::cancel) was called.
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// The number of threads used when the caller does not say: all cores.
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The most threads that a pool may have.
pub const MAX_THREADS: usize = 1024;

/// Runs `work` on a pool of `threads` threads (0: all cores).
///
/// # Errors
/// [`Error::InvalidArgument`] for more than [`MAX_THREADS`], or where the operating system refuses the threads.
pub fn install<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> Result<R> {
    if threads > MAX_THREADS {
        let reason = format!("{threads}; at most {MAX_THREADS} are useful, and 0 stands for all cores");
        return Err(Error::InvalidArgument { name: "threads", reason });
    }
    Ok(pool(if threads == 0 { default_threads() } else { threads })?.install(work))
}

/// The pools of one process, by number of threads.
struct Pools {
    process: u32,
    by_size: HashMap<usize, Arc<ThreadPool>>,
}

fn pool(threads: usize) -> Result<Arc<ThreadPool>> {
    static POOLS: Mutex<Option<Pools>> = Mutex::new(None);
    let process = std::process::id();
    let mut guard = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pools) = guard.take_if(|pools| pools.process != process) {
        // The parent's threads do not exist here; dropping its pools would wait for them.
        std::mem::forget(pools);
    }
    let pools = guard.get_or_insert_with(|| Pools { process, by_size: HashMap::new() });
    if let Some(pool) = pools.by_size.get(&threads) {
        return Ok(pool.clone());
    }
    let pool =
        ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("pycrcnn-{i}")).build().map_err(|e| {
            Error::InvalidArgument { name: "threads", reason: format!("{threads} threads cannot be started: {e}") }
        })?;
    Ok(pools.by_size.entry(threads).or_insert(Arc::new(pool)).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_threads_are_refused_before_any_is_started() {
        assert_eq!(install(MAX_THREADS + 1, || ()).unwrap_err().code(), "invalid-argument");
        assert_eq!(install(2, rayon::current_num_threads), Ok(2));
    }

    #[test]
    fn cancelled_work_stops_at_its_next_check() {
        let cancellation = Cancellation::new();
        assert_eq!(cancellation.check(), Ok(()));
        cancellation.clone().cancel();
        assert_eq!(cancellation.check(), Err(Error::Interrupted));
    }
}
