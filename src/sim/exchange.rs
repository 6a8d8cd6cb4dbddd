//! What went over the wire, kept for tests that compare both sides of a proxy.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::HeaderMap;

/// One request as it came in, and the bytes of its reply's body as they were handed to the connection.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// `POST`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The request's body.
    pub body: Bytes,
    tape: Tape,
}

impl Exchange {
    /// The body's bytes sent so far.
    pub fn sent(&self) -> Vec<u8> {
        self.tape.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The bytes sent in one reply.
#[derive(Clone, Debug, Default)]
pub(super) struct Tape(Arc<Mutex<Vec<u8>>>);

impl Tape {
    pub(super) fn record(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
    }
}

/// The newest exchanges.
#[derive(Debug)]
pub(super) struct Exchanges {
    kept: Mutex<VecDeque<Exchange>>,
    keep: usize,
}

impl Exchanges {
    pub(super) const fn new(keep: usize) -> Self {
        Self { kept: Mutex::new(VecDeque::new()), keep }
    }

    /// Keeps a request, if any are kept; the tape takes its reply.
    pub(super) fn keep(&self, head: &http::request::Parts, body: &Bytes) -> Option<Tape> {
        if self.keep == 0 {
            return None;
        }
        let tape = Tape::default();
        let exchange = Exchange {
            method: head.method.to_string(),
            target: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            headers: head.headers.clone(),
            body: body.clone(),
            tape: tape.clone(),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= self.keep {
            kept.pop_front();
        }
        kept.push_back(exchange);
        Some(tape)
    }

    pub(super) fn all(&self) -> Vec<Exchange> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
