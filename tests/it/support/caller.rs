//! A plain HTTP client, which sees a reply bit by bit and can leave at any of them.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// One client of the daemon at one address.
#[derive(Clone)]
pub struct Caller {
    client: Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
}

/// A reply as far as it came.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Whether the body ended properly.
    pub whole: bool,
}

impl Reply {
    /// What came, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What came, as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

impl Caller {
    /// Calls the daemon at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), address }
    }

    /// Sends a request; the reply's body is the caller's to read, or to drop, which closes the connection.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Response<Incoming>, Error> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.client.request(request.body(Full::new(body.into())).unwrap()).await
    }

    /// Sends JSON and reads the reply as far as it comes.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        read(self.send(Method::POST, path, headers, body).await.unwrap()).await
    }

    /// Reads what is at `path`.
    pub async fn get(&self, path: &str) -> Reply {
        read(self.send(Method::GET, path, &[], String::new()).await.unwrap()).await
    }

    /// The status of `/readyz`, and what it says; `None` when nobody answers.
    pub async fn readiness(&self) -> Option<(StatusCode, Value)> {
        let response = self.send(Method::GET, "/readyz", &[], String::new()).await.ok()?;
        let reply = read(response).await;
        Some((reply.status, reply.json()))
    }
}

/// Reads a reply as far as it comes.
pub async fn read(response: Response<Incoming>) -> Reply {
    let (head, mut incoming) = response.into_parts();
    let mut reply = Reply { status: head.status, headers: head.headers, body: Vec::new(), whole: true };
    while let Some(frame) = incoming.frame().await {
        match frame {
            Ok(frame) => reply.body.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            Err(_) => reply.whole = false,
        }
    }
    reply
}
