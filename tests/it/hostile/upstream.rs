//! An upstream that writes bytes as they are, whatever they are.

use std::collections::HashMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::support::beside;

/// What is written in answer to one case: parts, each so many times, and whether the connection is closed then.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    head: Bytes,
    body: Vec<(Bytes, usize)>,
    close: bool,
}

impl Script {
    /// Bytes as they are, then the end of the connection.
    pub(super) fn raw(bytes: impl Into<Bytes>) -> Self {
        Self { head: bytes.into(), body: Vec::new(), close: true }
    }

    /// There is no record yet.
    fn nothing_yet() -> Self {
        let head = Bytes::from_static(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
        Self { head, ..Self::default() }
    }

    /// A body whose length stands in the head; `headers` end in CRLF each.
    pub(super) fn with_length(content_type: &str, headers: &str, body: Vec<u8>) -> Self {
        let head = head("200 OK", content_type, &format!("{headers}content-length: {}\r\n", body.len()));
        Self { head, body: vec![(body.into(), 1)], close: false }
    }

    /// A body in chunks of odd sizes.
    pub(super) fn in_chunks(status: &str, content_type: &str, headers: &str, body: &[u8]) -> Self {
        let mut framed = Vec::new();
        for chunk in body.chunks(61) {
            write!(framed, "{:x}\r\n", chunk.len()).unwrap();
            framed.extend_from_slice(chunk);
            framed.extend_from_slice(b"\r\n");
        }
        framed.extend_from_slice(b"0\r\n\r\n");
        let head = head(status, content_type, &format!("{headers}transfer-encoding: chunked\r\n"));
        Self { head, body: vec![(framed.into(), 1)], close: false }
    }

    /// A body that ends with the connection.
    pub(super) fn until_the_end(status: &str, content_type: &str, headers: &str, body: Vec<(Bytes, usize)>) -> Self {
        Self { head: head(status, content_type, headers), body, close: true }
    }

    /// How much follows the head, in bytes.
    pub(super) fn body_length(&self) -> u64 {
        self.body.iter().map(|(part, times)| (part.len() * times) as u64).sum()
    }
}

/// A reply's head.
pub(super) fn head(status: &str, content_type: &str, headers: &str) -> Bytes {
    format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\n{headers}\r\n").into()
}

/// The upstream.
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    scripts: Arc<Mutex<HashMap<String, Script>>>,
}

impl Upstream {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scripts: Arc<Mutex<HashMap<String, Script>>> = Arc::default();
        let known = Arc::clone(&scripts);
        drop(beside(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(beside(serve(stream, Arc::clone(&known))));
            }
        }));
        Self { address, scripts }
    }

    pub(super) fn base_url(&self) -> String {
        format!("http://{}/api/v1", self.address)
    }

    /// Answers calls of this case so from now on.
    pub(super) fn play(&self, case: &str, script: Script) {
        self.scripts.lock().unwrap().insert(case.to_owned(), script);
    }
}

/// Serves a connection until it ends, or a script ends it.
async fn serve(stream: TcpStream, scripts: Arc<Mutex<HashMap<String, Script>>>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut stream = BufReader::new(stream);
    loop {
        let (mut case, mut length, mut line) = (None, 0_u64, String::new());
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            match line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.trim())) {
                Some((name, value)) if name == "x-case" => case = Some(value.to_owned()),
                Some((name, value)) if name == "content-length" => length = value.parse().unwrap(),
                _ => {}
            }
        }
        tokio::io::copy(&mut (&mut stream).take(length), &mut tokio::io::sink()).await.ok()?;
        // Who names no case asks for a record.
        let script = case.map_or_else(Script::nothing_yet, |case| scripts.lock().unwrap()[&case].clone());
        stream.write_all(&script.head).await.ok()?;
        for (part, times) in &script.body {
            for _ in 0..*times {
                stream.write_all(part).await.ok()?;
            }
        }
        if script.close {
            stream.shutdown().await.ok()?;
            return None;
        }
    }
}
