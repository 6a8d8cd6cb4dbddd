//! A line between a client and a server that remembers what the server said, as it stood on the wire.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::beside;

/// What belongs to one connection alone, and so may differ where there is one more in between (RFC 9110, 7.6.1), and the time.
const OF_THE_HOP: [&str; 5] = ["connection", "keep-alive", "transfer-encoding", "te", "date"];

/// One reply: its body without its framing, its coding untouched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireReply {
    /// `HTTP/1.1 200 OK`.
    pub status: String,
    /// Names and values in their order, without those of the hop.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What one connection's server said.
type Said = Arc<Mutex<Vec<u8>>>;

/// The line.
pub struct Tap {
    /// Where the client connects to.
    pub address: SocketAddr,
    connections: Arc<Mutex<Vec<Said>>>,
    accepting: JoinHandle<()>,
}

impl Tap {
    /// A line to `server`.
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections: Arc<Mutex<Vec<Said>>> = Arc::default();
        let all = Arc::clone(&connections);
        let accepting = beside(async move {
            while let Ok((client, _)) = listener.accept().await {
                let said = Said::default();
                all.lock().unwrap().push(Arc::clone(&said));
                let server = TcpStream::connect(server).await.unwrap();
                drop(beside(pass(client, server, said)));
            }
        });
        Self { address, connections, accepting }
    }

    /// The whole replies that passed, connection by connection.
    pub fn replies(&self) -> Vec<WireReply> {
        self.accepting.abort();
        let connections = self.connections.lock().unwrap();
        connections.iter().flat_map(|said| replies(&said.lock().unwrap())).collect()
    }
}

async fn pass(client: TcpStream, server: TcpStream, said: Said) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = beside(async move {
        let _ = copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
    });
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
        said.lock().unwrap().extend_from_slice(&buffer[..length]);
        if to_client.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    let _ = to_client.shutdown().await;
    asking.abort();
}

fn replies(mut bytes: &[u8]) -> Vec<WireReply> {
    let mut replies = Vec::new();
    while let Some((head, rest)) = split(bytes, b"\r\n\r\n") {
        let head = String::from_utf8_lossy(head);
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap_or_default().to_owned();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let value = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let (body, left) = if value("transfer-encoding") == Some("chunked") {
            chunks(rest)
        } else {
            let length = value("content-length").map_or(rest.len(), |length| length.parse().unwrap()).min(rest.len());
            (rest[..length].to_vec(), &rest[length..])
        };
        let headers = headers.into_iter().filter(|(name, _)| !OF_THE_HOP.contains(&name.as_str())).collect();
        replies.push(WireReply { status, headers, body });
        bytes = left;
    }
    replies
}

/// What the chunks hold, as far as they came, and what follows them.
fn chunks(mut bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut body = Vec::new();
    while let Some((size, rest)) = split(bytes, b"\r\n") {
        let size = String::from_utf8_lossy(size);
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16).unwrap();
        if size == 0 {
            return (body, split(rest, b"\r\n").map_or(&[], |(_, rest)| rest));
        }
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        bytes = rest.get(size + 2..).unwrap_or_default();
    }
    (body, bytes)
}

fn split<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let place = bytes.windows(at.len()).position(|window| window == at)?;
    Some((&bytes[..place], &bytes[place + at.len()..]))
}
