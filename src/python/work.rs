//! Running Rust code for Python: without the GIL, on as many threads as asked for, stopped by Ctrl-C.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
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
    let mut signal = None;
    let outcome = py.detach(|| {
        let watch = |end: &Receiver<()>| {
            while end.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
                if signal.is_none() {
                    signal = Python::attach(|py| py.check_signals()).err();
                    if signal.is_some() {
                        cancellation.cancel();
                    }
                }
            }
        };
        runtime::accompany(threads, || work(&cancellation), watch)
    });
    signal.map_or_else(|| Ok(outcome??), Err)
}
