//! Threads, cancellation and forks.
//!
//! Work runs on a rayon pool of the size that the caller asks for. Pools are kept by size and by
//! process: a child of `fork` has none of its parent's threads, so it builds its own. The pool of all cores is shared;
//! whoever asks for fewer threads gets them to himself, so that calls with one thread each run side by side.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
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
    on_pool(threads, |pool| pool.install(work))
}

/// Runs `work` on a pool of `threads` threads (0: all cores), on which it is the first, while this thread does `meanwhile`:
/// the receiver that it gets is disconnected when the work ends, however it ends. Neither takes a new thread.
///
/// # Errors
/// As [`install`].
pub fn accompany<R: Send>(
    threads: usize,
    work: impl FnOnce() -> R + Send,
    meanwhile: impl FnOnce(&Receiver<()>),
) -> Result<R> {
    on_pool(threads, |pool| {
        let mut outcome = None;
        let slot = &mut outcome;
        let (finished, end) = channel::<()>();
        pool.in_place_scope(|scope| {
            scope.spawn(move |_| {
                let _finished = finished;
                *slot = Some(work());
            });
            meanwhile(&end);
        });
        // A panic of the work has gone on by now, so that there is an outcome.
        outcome.ok_or(Error::Interrupted)
    })?
}

fn on_pool<R>(threads: usize, work: impl FnOnce(&ThreadPool) -> R) -> Result<R> {
    if threads > MAX_THREADS {
        let reason = format!("{threads}; at most {MAX_THREADS} are useful, and 0 stands for all cores");
        return Err(Error::InvalidArgument { name: "threads", reason });
    }
    let size = if threads == 0 { default_threads() } else { threads };
    if threads != 1 && size >= default_threads() {
        return Ok(work(&*with_pools(|pools| pools.shared(size))?));
    }
    let lent = Lent { pool: with_pools(|pools| pools.lend(threads))?, threads };
    Ok(work(&lent.pool))
}

/// A pool that one call has to itself; it goes back when the call ends, however it ends.
struct Lent {
    pool: Arc<ThreadPool>,
    threads: usize,
}

impl Drop for Lent {
    fn drop(&mut self) {
        with_pools(|pools| pools.idle.entry(self.threads).or_default().push(self.pool.clone()));
    }
}

/// The pools of one process, by number of threads.
struct Pools {
    process: u32,
    shared: HashMap<usize, Arc<ThreadPool>>,
    idle: HashMap<usize, Vec<Arc<ThreadPool>>>,
}

impl Pools {
    fn shared(&mut self, threads: usize) -> Result<Arc<ThreadPool>> {
        if let Some(pool) = self.shared.get(&threads) {
            return Ok(pool.clone());
        }
        Ok(self.shared.entry(threads).or_insert(start(threads)?).clone())
    }

    fn lend(&mut self, threads: usize) -> Result<Arc<ThreadPool>> {
        self.idle.get_mut(&threads).and_then(Vec::pop).map_or_else(|| start(threads), Ok)
    }
}

fn with_pools<R>(work: impl FnOnce(&mut Pools) -> R) -> R {
    static POOLS: Mutex<Option<Pools>> = Mutex::new(None);
    let process = std::process::id();
    let mut guard = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pools) = guard.take_if(|pools| pools.process != process) {
        // The parent's threads do not exist here; dropping its pools would wait for them.
        std::mem::forget(pools);
    }
    work(guard.get_or_insert_with(|| Pools { process, shared: HashMap::new(), idle: HashMap::new() }))
}

fn start(threads: usize) -> Result<Arc<ThreadPool>> {
    let builder = ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("pycrcnn-{i}"));
    let pool = builder.build().map_err(|e| Error::InvalidArgument {
        name: "threads",
        reason: format!("{threads} threads cannot be started: {e}"),
    })?;
    Ok(Arc::new(pool))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::RecvError;

    use super::*;

    #[test]
    fn too_many_threads_are_refused_before_any_is_started() {
        assert_eq!(install(MAX_THREADS + 1, || ()).unwrap_err().code(), "invalid-argument");
        assert_eq!(install(2, rayon::current_num_threads), Ok(2));
    }

    #[test]
    fn work_is_accompanied_until_it_ends_however_it_ends() {
        let mut told = None;
        let name = || std::thread::current().name().map(str::to_owned);
        let ran = accompany(1, name, |end| told = Some(end.recv()));
        assert_eq!((ran, told), (Ok(Some("pycrcnn-0".into())), Some(Err(RecvError))));
        let panics = std::panic::catch_unwind(|| accompany(1, || panic!("at work"), |end| _ = end.recv()));
        assert!(panics.is_err());
    }

    #[test]
    fn calls_with_one_thread_each_run_side_by_side() {
        // Each waits for the other: on one shared thread neither would end.
        let barrier = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            let calls = [(); 2].map(|()| scope.spawn(|| install(1, || barrier.wait())));
            assert!(calls.into_iter().all(|call| call.join().unwrap().is_ok()));
        });
    }

    #[test]
    fn cancelled_work_stops_at_its_next_check() {
        let cancellation = Cancellation::new();
        assert_eq!(cancellation.check(), Ok(()));
        cancellation.clone().cancel();
        assert_eq!(cancellation.check(), Err(Error::Interrupted));
    }
}
