//! Running Rust code for Python: without the GIL, on as many threads as asked for, stopped by Ctrl-C.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use pyo3::prelude::*;

use super::cancellation;
use crate::error::{Error, Result};
use crate::runtime::{self, Cancellation};

/// Runs `work`, which waits for others, on a thread of its own. Ctrl-C leaves it behind: its cancellation is set, and it ends
/// when it next looks, or when what it waits for times out.
pub fn wait<R: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce(&Cancellation) -> Result<R> + Send + 'static,
) -> PyResult<R> {
    let cancellation = Cancellation::new();
    let (finished, outcome) = channel();
    let cancelled = cancellation.clone();
    std::thread::Builder::new()
        .name("pycrcnn-http".into())
        .spawn(move || finished.send(work(&cancelled)))
        .map_err(|error| Error::Entropy(error.to_string()))?;
    py.detach(move || {
        loop {
            match outcome.recv_timeout(POLL) {
                Ok(result) => return Ok(result?),
                Err(RecvTimeoutError::Disconnected) => return Err(Error::Interrupted.into()),
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(signal) = Python::attach(|py| py.check_signals()) {
                        cancellation.cancel();
                        return Err(signal);
                    }
                }
            }
        }
    })
}

/// How often the waiting thread looks for signals.
const POLL: Duration = Duration::from_millis(50);

/// Runs `work` on a pool of `threads` threads (0: all cores) while this thread waits, without the GIL,
/// and passes Ctrl-C on: the work is cancelled at its next checkpoint, and the signal's own exception
/// is raised. A [`Cancellation`](cancellation::Cancellation) that this thread has entered cancels it too.
pub fn run<R: Send>(
    py: Python<'_>,
    threads: usize,
    work: impl FnOnce(&Cancellation) -> Result<R> + Send,
) -> PyResult<R> {
    let cancellation = cancellation::current();
    let (outcome, signal) = py.detach(|| {
        std::thread::scope(|scope| {
            let (finished, wait) = channel::<()>();
            let worker = {
                let cancellation = cancellation.clone();
                scope.spawn(move || {
                    // Dropped when the work ends, however it ends: that wakes the waiting thread.
                    let _finished = finished;
                    runtime::install(threads, || work(&cancellation))
                })
            };
            let mut signal = None;
            while wait.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
                if signal.is_none() {
                    signal = Python::attach(|py| py.check_signals()).err();
                    if signal.is_some() {
                        cancellation.cancel();
                    }
                }
            }
            (worker.join(), signal)
        })
    });
    match (outcome, signal) {
        (_, Some(signal)) => Err(signal),
        (Ok(result), None) => Ok(result??),
        (Err(panic), None) => std::panic::resume_unwind(panic),
    }
}
