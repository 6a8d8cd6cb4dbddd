//! Pushes what was billed, as OpenRouter's Broadcast does: once, later, and in no order.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;

use super::Shared;
use super::connection::Spawner;
use super::truth::Billed;
use super::wire::traces;

/// Where pushes go.
#[derive(Clone, Debug, Default)]
pub struct Broadcast {
    /// The webhook's URL, `http` only.
    pub url: String,
    /// Headers of one's own: how a push shows that it may come in.
    pub headers: Vec<(String, String)>,
    /// Whether bodies are packed.
    pub gzip: bool,
    /// Whether prompt and completion are left out.
    pub privacy: bool,
    /// How often each generation is pushed; more than once is a delivery that was repeated.
    pub times: u32,
}

/// Where pushes go, and what carries them.
type Destination = (Arc<Broadcast>, Client<HttpConnector, Full<Bytes>>);

/// The pushing side of a simulator.
#[derive(Debug, Default)]
pub(super) struct Broadcaster {
    to: Mutex<Option<Destination>>,
    taken: Arc<AtomicU64>,
}

impl Broadcaster {
    pub(super) fn set(&self, broadcast: Broadcast) {
        let client = Client::builder(Spawner(tokio_util::task::TaskTracker::new())).build_http();
        *self.to.lock().unwrap_or_else(PoisonError::into_inner) = Some((Arc::new(broadcast), client));
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Pushes a generation, beside everything else; nobody hears whether it arrived.
    pub(super) fn push(&self, shared: &Shared, billed: &Billed) {
        let to = self.to.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Outside a runtime, the simulator is being torn down.
        let (Some((broadcast, client)), Ok(_)) = (to, tokio::runtime::Handle::try_current()) else { return };
        let (body, taken, stop) =
            (traces::body(billed, broadcast.privacy), Arc::clone(&self.taken), shared.stop.clone());
        shared.tasks.spawn(async move {
            let pushing = async {
                for _ in 0..broadcast.times.max(1) {
                    let Some(request) = request(&broadcast, &body) else { return };
                    let Ok(response) = client.request(request).await else { return };
                    let good = response.status().is_success();
                    if response.into_body().collect().await.is_ok() && good {
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = pushing => {}
            }
        });
    }
}

fn request(broadcast: &Broadcast, body: &str) -> Option<Request<Full<Bytes>>> {
    let mut request = Request::post(&broadcast.url).header("content-type", "application/json");
    for (name, value) in &broadcast.headers {
        request = request.header(name, value);
    }
    if !broadcast.gzip {
        return request.body(Full::from(body.to_owned())).ok();
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(body.as_bytes()).ok()?;
    request.header("content-encoding", "gzip").body(Full::from(packed.finish().ok()?)).ok()
}
