//! Stopping work of another thread.

use std::cell::RefCell;

use pyo3::prelude::*;
use pyo3::types::PyAny;

use crate::runtime;

thread_local! {
    /// The flags of the `with` blocks that this thread is in, the innermost last.
    static ENTERED: RefCell<Vec<runtime::Cancellation>> = const { RefCell::new(Vec::new()) };
}

/// A flag by which any thread stops the work of one: what a thread computes inside of `with cancellation:` ends at its next
/// checkpoint once `cancel` was called, and raises `pycrcnn.errors.CancelledError`.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct Cancellation {
    inner: runtime::Cancellation,
}

#[pymethods]
impl Cancellation {
    /// A flag that is not set.
    #[new]
    fn new() -> Self {
        Self { inner: runtime::Cancellation::new() }
    }

    /// Stops the work.
    fn cancel(&self) {
        self.inner.cancel();
    }

    /// Whether it was called.
    #[getter]
    fn cancelled(&self) -> bool {
        self.inner.check().is_err()
    }

    /// Puts what this thread computes from now on under the flag.
    fn __enter__(slf: Py<Self>) -> Py<Self> {
        ENTERED.with_borrow_mut(|entered| entered.push(slf.get().inner.clone()));
        slf
    }

    /// Ends that.
    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, _raised: &Bound<'_, PyAny>) {
        ENTERED.with_borrow_mut(Vec::pop);
    }
}

/// The flag that work of this thread is under: that of the innermost block, or one of its own.
pub fn current() -> runtime::Cancellation {
    ENTERED.with_borrow(|entered| entered.last().cloned()).unwrap_or_default()
}
