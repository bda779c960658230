//! Requests to a service.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};

use super::{arguments, work};
use crate::client::http;
use crate::error::Error;

/// A service that requests are sent to.
#[pyclass(frozen, module = "pycrcnn._native")]
pub struct Http {
    inner: Arc<http::Http>,
}

#[pymethods]
impl Http {
    /// Prepares requests; nothing is sent yet.
    #[new]
    #[pyo3(signature = (url, api_key=None, roots=None, timeout=60.0, retries=5))]
    fn new(
        url: String,
        api_key: Option<String>,
        roots: Option<&[u8]>,
        timeout: f64,
        #[pyo3(from_py_with = arguments::count)] retries: u32,
    ) -> PyResult<Self> {
        let invalid = |_| Error::InvalidArgument {
            name: "timeout",
            reason: format!("{timeout}; give a number of seconds above zero"),
        };
        let timeout =
            Duration::try_from_secs_f64(timeout).map_err(|_| ()).and_then(|timeout| match timeout.is_zero() {
                true => Err(()),
                false => Ok(timeout),
            });
        let timeout = timeout.map_err(invalid)?;
        let inner = http::Http::new(http::Access { url, api_key, roots: roots.map(<[u8]>::to_vec), timeout, retries })?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Sends a request, its body in parts, and waits for the reply of at most `limit` bytes: a dictionary of its status, body,
    /// headers that matter, the seconds of the last attempt and how many there were before it.
    #[pyo3(signature = (method, path, limit, body=None, content_type="application/octet-stream", idempotency_key=None))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn send<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        path: String,
        #[pyo3(from_py_with = arguments::count)] limit: u64,
        body: Option<Vec<PyBackedBytes>>,
        content_type: &str,
        idempotency_key: Option<String>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let one_of = |name, known: &[&'static str], asked: &str| {
            known
                .iter()
                .find(|known| **known == asked)
                .copied()
                .ok_or_else(|| Error::InvalidArgument { name, reason: format!("{asked:?}; choose one of {known:?}") })
        };
        let method = one_of("method", &["GET", "PUT", "POST", "DELETE"], method)?;
        let content_type = one_of("content_type", &["application/octet-stream", "application/json"], content_type)?;
        let body = body.map(|parts| parts.into_iter().map(|part| Arc::new(part) as _).collect());
        let request = http::Request { method, path, content_type, body, idempotency_key, limit };
        let http = self.inner.clone();
        let reply = work::wait(py, move |cancellation| http.send(&request, cancellation))?;
        let found = PyDict::new(py);
        found.set_item("status", reply.status)?;
        found.set_item("body", PyBytes::new(py, &reply.body))?;
        found.set_item("server_timing", reply.server_timing)?;
        found.set_item("location", reply.location)?;
        found.set_item("seconds", reply.seconds)?;
        found.set_item("retried", reply.retried)?;
        Ok(found)
    }
}
