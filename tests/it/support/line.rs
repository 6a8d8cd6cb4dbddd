//! A line to a PostgreSQL server that can be cut.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::beside;

/// The line.
pub struct Line {
    address: SocketAddr,
    is_up: watch::Sender<bool>,
}

impl Line {
    /// A line to the server of the database that `url` names.
    pub async fn to(url: &str) -> Self {
        let (base, _) = url.rsplit_once('/').unwrap();
        let (_, place) = base.rsplit_once('@').unwrap();
        let server = if place.contains(':') { place.to_owned() } else { format!("{place}:5432") };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_up, up) = watch::channel(true);
        beside(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (to, mut up) = (server.clone(), up.clone());
                beside(async move {
                    if !*up.borrow() {
                        return;
                    }
                    let Ok(mut server) = TcpStream::connect(&to).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = up.wait_for(|up| !up) => {}
                    }
                });
            }
        });
        Self { address, is_up }
    }

    /// The same database, by way of this line.
    pub fn through(&self, url: &str) -> String {
        let (base, name) = url.rsplit_once('/').unwrap();
        let (who, _) = base.rsplit_once('@').unwrap();
        format!("{who}@{}/{name}?sslmode=disable", self.address)
    }

    /// Cuts it: what is connected is broken, and nothing connects.
    pub fn cut(&self) {
        self.is_up.send_replace(false);
    }

    /// Mends it.
    pub fn mend(&self) {
        self.is_up.send_replace(true);
    }
}
