//! Requests to a service: over TLS, with timeouts, sent again where that is safe, replies bounded.
//!
//! A request is sent again where the connection is lost or cannot be made and where the service says to come back (429, 503),
//! after a pause that doubles each time and is drawn at random from its upper half, or as long as `Retry-After` asks for.
//! Every request is safe to repeat: GET, PUT and DELETE by their meaning, POST by the `Idempotency-Key` that it carries.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand_core::{OsRng, TryRngCore};
use serde::Deserialize;
use ureq::http::{HeaderMap, Request as HttpRequest, Response as HttpResponse};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::{Agent, SendBody};

use crate::error::{Error, Result};
use crate::runtime::Cancellation;

/// How to reach a service.
#[derive(Debug, Clone)]
pub struct Access {
    /// `http://` or `https://`, host and port, perhaps a path
    pub url: String,
    /// sent as `Authorization: Bearer`, where there is one
    pub api_key: Option<String>,
    /// certificates in PEM that the service's has to be signed by; Mozilla's where there are none
    pub roots: Option<Vec<u8>>,
    /// seconds that one attempt may take
    pub timeout: Duration,
    /// how often a request is sent again
    pub retries: u32,
}

/// Bytes that are sent one after the other, whoever owns them: key sets are large, and are not copied.
pub type Body = Vec<Arc<dyn AsRef<[u8]> + Send + Sync>>;

/// One request.
#[derive(Clone)]
pub struct Request {
    /// GET, PUT, POST or DELETE
    pub method: &'static str,
    /// what follows the service's address
    pub path: String,
    /// media type of the body
    pub content_type: &'static str,
    /// the body of PUT and POST
    pub body: Option<Body>,
    /// of POST
    pub idempotency_key: Option<String>,
    /// bytes that the reply may have
    pub limit: u64,
}

/// A reply with a status below 400.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// HTTP's status
    pub status: u16,
    /// the body
    pub body: Vec<u8>,
    /// the header `Server-Timing`
    pub server_timing: Option<String>,
    /// the header `Location`
    pub location: Option<String>,
    /// seconds of the last attempt
    pub seconds: f64,
    /// attempts before it
    pub retried: u32,
}

/// A service that requests are sent to; connections are kept between them.
#[derive(Debug, Clone)]
pub struct Http {
    access: Access,
    agent: Agent,
}

/// What an attempt came to that is no reply.
struct Failure {
    error: Error,
    again: bool,
    after: Option<Duration>,
}

/// `application/problem+json` (RFC 9457) with a stable code.
#[derive(Deserialize)]
struct Problem {
    code: Option<String>,
    detail: Option<String>,
    title: Option<String>,
}

/// The first pause before a request is sent again, and the longest.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(16);

/// The longest `Retry-After` that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// Bytes that a problem may have, and its texts once they are read.
const PROBLEM_LIMIT: u64 = 1 << 16;
const TEXT_LIMIT: usize = 1000;

impl Http {
    /// Prepares requests; nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for an address or certificates that are none.
    pub fn new(access: Access) -> Result<Self> {
        let invalid = |name, reason: String| Error::InvalidArgument { name, reason };
        let host = access.url.strip_prefix("http://").or_else(|| access.url.strip_prefix("https://"));
        if host.is_none_or(|host| host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control())) {
            let reason = format!("{:?}; give the service's address, such as https://host:8000", access.url);
            return Err(invalid("url", reason));
        }
        let bearer = |key: &String| key.is_empty() || key.contains(|c: char| !c.is_ascii_graphic());
        if access.api_key.as_ref().is_some_and(bearer) {
            return Err(invalid("api_key", "it holds other characters than visible ASCII, or none".into()));
        }
        let roots = match &access.roots {
            None => RootCerts::WebPki,
            Some(pem) => RootCerts::new_with_certs(&certificates(pem)?),
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("pycrcnn/", env!("CARGO_PKG_VERSION")))
            .accept_encoding(ureq::config::AutoHeaderValue::None)
            .max_response_header_size(1 << 14)
            .timeout_global(Some(access.timeout))
            .timeout_connect(Some(access.timeout.min(Duration::from_secs(10))))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        Ok(Self { access, agent: config.into() })
    }

    /// Sends a request, again where that is safe, until there is a reply.
    ///
    /// # Errors
    /// [`Error::Service`] for a status from 400 on, [`Error::Connection`], [`Error::TooLarge`] for a reply of more than
    /// `limit` bytes, [`Error::Interrupted`].
    pub fn send(&self, request: &Request, cancellation: &Cancellation) -> Result<Reply> {
        let mut retried = 0;
        loop {
            cancellation.check()?;
            let start = Instant::now();
            let failure = match self.attempt(request, cancellation) {
                Ok(reply) => return Ok(Reply { seconds: start.elapsed().as_secs_f64(), retried, ..reply }),
                Err(failure) => failure,
            };
            let patient = failure.after.is_none_or(|after| after <= PATIENCE);
            if !failure.again || retried >= self.access.retries || !patient {
                return Err(failure.error);
            }
            pause(failure.after.unwrap_or_default().max(backoff(retried)?), cancellation)?;
            retried += 1;
        }
    }

    fn attempt(&self, request: &Request, cancellation: &Cancellation) -> std::result::Result<Reply, Failure> {
        let url = format!("{}{}", self.access.url.trim_end_matches('/'), request.path);
        let mut http = HttpRequest::builder().method(request.method).uri(&url);
        if let Some(key) = &self.access.api_key {
            http = http.header("authorization", format!("Bearer {key}"));
        }
        if let Some(key) = &request.idempotency_key {
            http = http.header("idempotency-key", key);
        }
        let unusable = |reason: String| Failure {
            error: Error::InvalidArgument { name: "url", reason },
            again: false,
            after: None,
        };
        let sent = match &request.body {
            Some(body) => {
                let parts = || body.iter().map(|part| (**part).as_ref());
                let length: usize = parts().map(<[u8]>::len).sum();
                let nothing: Box<dyn Read> = Box::new(std::io::empty());
                let mut whole = parts().fold(nothing, |before, part| Box::new(before.chain(part)));
                let http = http.header("content-type", request.content_type).header("content-length", length);
                let http = http.body(SendBody::from_reader(&mut whole));
                self.agent.run(http.map_err(|error| unusable(error.to_string()))?)
            }
            None => self.agent.run(http.body(()).map_err(|error| unusable(error.to_string()))?),
        };
        let response = sent.map_err(|error| self.lost(&error))?;
        let status = response.status().as_u16();
        if status >= 300 {
            return Err(refusal(status, response));
        }
        let header = |name: &str| text(response.headers(), name);
        let (server_timing, location) = (header("server-timing"), header("location"));
        let body = self.body(response, request.limit, cancellation)?;
        Ok(Reply { status, body, server_timing, location, seconds: 0.0, retried: 0 })
    }

    /// The body of a reply, of at most `limit` bytes.
    fn body(
        &self,
        mut response: HttpResponse<ureq::Body>,
        limit: u64,
        cancellation: &Cancellation,
    ) -> std::result::Result<Vec<u8>, Failure> {
        let too_large =
            |size| Failure { error: Error::TooLarge { object: "reply", size, limit }, again: false, after: None };
        if let Some(size) = response.body().content_length().filter(|&size| size > limit) {
            return Err(too_large(size));
        }
        let expected = response.body().content_length();
        let mut reader = response.body_mut().with_config().limit(u64::MAX).reader();
        let (mut body, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            cancellation.check().map_err(|error| Failure { error, again: false, after: None })?;
            let read = reader.read(&mut chunk).map_err(|error| self.lost(&error))?;
            if read == 0 {
                break;
            }
            if (body.len() + read) as u64 > limit {
                return Err(too_large((body.len() + read) as u64));
            }
            body.extend_from_slice(&chunk[..read]);
        }
        if expected.is_some_and(|expected| expected != body.len() as u64) {
            return Err(self.lost(&"the reply ended early"));
        }
        Ok(body)
    }

    /// A connection that was not made, broke off or took too long: the request may be sent again.
    fn lost(&self, error: &impl ToString) -> Failure {
        let error = Error::Connection { url: self.access.url.clone(), reason: error.to_string() };
        Failure { error, again: true, after: None }
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate<'static>>> {
    let found: Vec<_> = ureq::tls::parse_pem(pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        return Err(Error::InvalidArgument { name: "ca", reason: "there is no certificate (PEM) in it".into() });
    }
    Ok(found)
}

/// The error that a reply from 300 on stands for.
fn refusal(status: u16, mut response: HttpResponse<ureq::Body>) -> Failure {
    let after = text(response.headers(), "retry-after").and_then(|seconds| seconds.trim().parse().ok());
    let again = matches!(status, 429 | 503);
    let mut bytes = Vec::new();
    // A body that is cut off or too long leaves the status, which says enough.
    let _ = response.body_mut().with_config().limit(u64::MAX).reader().take(PROBLEM_LIMIT).read_to_end(&mut bytes);
    let problem: Option<Problem> = serde_json::from_slice(&bytes).ok();
    let shown = |text: String| -> String { text.chars().filter(|c| !c.is_control()).take(TEXT_LIMIT).collect() };
    let (code, detail) = match problem {
        Some(problem) => (problem.code, problem.detail.or(problem.title)),
        None => (None, None),
    };
    let error = Error::Service {
        status,
        code: shown(code.unwrap_or_default()),
        detail: shown(detail.unwrap_or_else(|| format!("the service answered with status {status}"))),
    };
    Failure { error, again, after: after.map(Duration::from_secs) }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// The pause after attempt number `retried`, drawn from the upper half of its range: many clients do not come back at once.
fn backoff(retried: u32) -> Result<Duration> {
    let mut random = [0; 4];
    OsRng.try_fill_bytes(&mut random).map_err(|error| Error::Entropy(error.to_string()))?;
    let share = f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX);
    let longest = PAUSE.saturating_mul(1 << retried.min(16)).min(LONGEST_PAUSE);
    Ok(longest.mul_f64(0.5 + 0.5 * share))
}

fn pause(time: Duration, cancellation: &Cancellation) -> Result<()> {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        cancellation.check()?;
        std::thread::sleep(left.min(Duration::from_millis(50)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use super::*;

    /// A service that answers each connection with the next of these texts, whatever it is asked.
    fn service(answers: Vec<String>) -> (Http, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = |mut stream: TcpStream, answer: &str| {
            let (mut request, mut chunk) = (Vec::new(), [0; 4096]);
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let read = stream.read(&mut chunk).unwrap();
                request.extend_from_slice(&chunk[..read]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        };
        let served =
            thread::spawn(move || answers.iter().map(|text| answer(listener.accept().unwrap().0, text)).collect());
        let timeout = Duration::from_secs(5);
        let access = Access { url, api_key: Some("key".into()), roots: None, timeout, retries: 2 };
        (Http::new(access).unwrap(), served)
    }

    fn get(limit: u64) -> Request {
        let (path, idempotency_key) = ("/x".into(), Some("once".into()));
        Request { method: "GET", path, content_type: "text/plain", body: None, idempotency_key, limit }
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }

    fn problem(status: &str, headers: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }

    #[test]
    fn what_is_lost_or_refused_for_now_is_sent_again() {
        let busy = problem("429 Busy", "Retry-After: 1\r\n", "");
        let cut = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nhalf".to_owned();
        let (http, served) = service(vec![busy, cut, ok("whole")]);
        let start = Instant::now();
        let reply = http.send(&get(100), &Cancellation::new()).unwrap();
        assert_eq!((&reply.body[..], reply.retried), (&b"whole"[..], 2));
        assert!(start.elapsed() >= Duration::from_secs(1));
        for request in served.join().unwrap() {
            let request = request.to_lowercase();
            assert!(request.contains("authorization: bearer key") && request.contains("idempotency-key: once"));
        }
    }

    #[test]
    fn replies_are_bounded_and_problems_are_read() {
        let (http, _) = service(vec![ok(&"x".repeat(101))]);
        let error = http.send(&get(100), &Cancellation::new()).unwrap_err();
        assert_eq!(error, Error::TooLarge { object: "reply", size: 101, limit: 100 });
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        let chunk = format!("40\r\n{}\r\n", "x".repeat(64));
        let (http, _) = service(vec![head.to_owned() + &chunk.repeat(1000)]);
        assert_eq!(http.send(&get(100), &Cancellation::new()).unwrap_err().code(), "too-large");
        let (http, _) =
            service(vec![problem("422 No", "", r#"{"code": "shape-mismatch", "detail": "two\u0007 rows"}"#)]);
        let error = http.send(&get(100), &Cancellation::new()).unwrap_err();
        let expected = Error::Service { status: 422, code: "shape-mismatch".into(), detail: "two rows".into() };
        assert_eq!(error, expected);
        let (http, _) = service(vec![problem("302 Elsewhere", "Location: http://example.org/\r\n", "<html>")]);
        let error = http.send(&get(100), &Cancellation::new()).unwrap_err();
        assert!(matches!(error, Error::Service { status: 302, .. }), "{error}");
        let (http, _) = service(vec![problem("503 Later", "Retry-After: 100000\r\n", "")]);
        assert!(matches!(http.send(&get(9), &Cancellation::new()), Err(Error::Service { status: 503, .. })));
    }

    #[test]
    fn what_cannot_be_reached_is_said_and_waiting_can_be_stopped() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let timeout = Duration::from_secs(1);
        let access = Access { url, api_key: None, roots: None, timeout, retries: 100 };
        let cancellation = Cancellation::new();
        let stopping = cancellation.clone();
        let stop = thread::spawn(move || {
            thread::sleep(Duration::from_millis(300));
            stopping.cancel();
        });
        let http = Http::new(access.clone()).unwrap();
        assert_eq!(http.send(&get(1), &cancellation), Err(Error::Interrupted));
        stop.join().unwrap();
        let http = Http::new(Access { retries: 0, ..access.clone() }).unwrap();
        assert!(http.send(&get(1), &Cancellation::new()).unwrap_err().to_string().contains("cannot be reached"));
        for url in ["", "host:80", "ftp://host", "http://", "http://a b"] {
            assert!(Http::new(Access { url: url.into(), ..access.clone() }).is_err(), "{url}");
        }
        assert!(Http::new(Access { roots: Some(b"none".into()), ..access.clone() }).is_err());
        assert!(Http::new(Access { api_key: Some("a\nb".into()), ..access }).is_err());
    }
}
