//! The listener: accepts connections, bounded, and hands their requests to the gateway or to the pages.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt as _;

use super::gateway::{Gateway, ReplyBody};
use crate::clock::Clock;
use crate::config;
use crate::shutdown::{Fall, Tasks};

/// How long a request's head may take, and so how long a connection may lie idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// Most requests under way on one HTTP/2 connection.
const H2_STREAMS: u32 = 256;

/// Waited after an accept that failed for want of file handles, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is served on the port.
#[derive(Clone)]
pub struct Site {
    /// `/api/…`.
    pub gateway: Gateway,
    /// Everything else.
    pub pages: Router,
}

/// The body of any response.
pub enum SiteBody {
    /// From the gateway.
    Gateway(ReplyBody),
    /// From a page.
    Page(axum::body::Body),
}

impl Site {
    /// Serves the site on a listener, within the bounds of `settings`, until the stop token falls; connections then finish
    /// the requests they are at.
    pub fn serve(self, listener: TcpListener, settings: &config::Gateway, clock: Clock, tasks: &Tasks) {
        let builder = builder(settings.connection_buffer);
        let server = Server { site: Arc::new(self), builder, tasks: tasks.clone(), clock };
        let slots = Arc::new(Semaphore::new(settings.max_connections));
        tasks.spawn("listener", async move { server.accept(&listener, &slots).await });
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<SiteBody> {
        if Gateway::serves(request.uri().path()) {
            return self.gateway.call(request).await.map(SiteBody::Gateway);
        }
        let response = self.pages.clone().oneshot(request.map(axum::body::Body::new)).await;
        match response {
            Ok(response) => response.map(SiteBody::Page),
            Err(never) => match never {},
        }
    }
}

fn builder(buffer: usize) -> Builder<TokioExecutor> {
    // hyper drives the streams of one HTTP/2 connection in tasks of its own; they end with the connection.
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(buffer)
        .auto_date_header(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS)
        .max_send_buf_size(buffer)
        .auto_date_header(false);
    builder
}

struct Server {
    site: Arc<Site>,
    builder: Builder<TokioExecutor>,
    tasks: Tasks,
    clock: Clock,
}

impl Server {
    async fn accept(&self, listener: &TcpListener, slots: &Arc<Semaphore>) {
        let stop = self.tasks.stop_token();
        loop {
            let accepted = async {
                // A connection is only accepted when there is a place for it; until then it waits in the kernel's queue.
                let Ok(slot) = Arc::clone(slots).acquire_owned().await else { return std::future::pending().await };
                listener.accept().await.map(|(stream, _)| (stream, slot))
            };
            let accepted: io::Result<(TcpStream, OwnedSemaphorePermit)> = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((stream, slot)) => self.connection(stream, slot),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    self.clock.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn connection(&self, stream: TcpStream, slot: OwnedSemaphorePermit) {
        // Without it a chunk may wait for the client's acknowledgement of the last; a socket that refuses is slower only.
        let _ = stream.set_nodelay(true);
        let site = Arc::clone(&self.site);
        let (builder, clock, stop) = (self.builder.clone(), self.clock.clone(), self.tasks.stop_token());
        self.tasks.spawn_call("connection", async move {
            let _slot = slot;
            let first_byte = async {
                tokio::select! {
                    ready = clock.timeout(HEAD_TIMEOUT, stream.readable()) => matches!(ready, Some(Ok(()))),
                    () = stop.cancelled() => false,
                }
            };
            if !first_byte.await {
                return;
            }
            let service = service_fn(move |request: Request<Incoming>| {
                let site = Arc::clone(&site);
                async move { Ok::<_, Infallible>(site.answer(request).await) }
            });
            let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = Fall::of(stop) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                // Clients come and go; what it meant for a call is in the ledger.
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
}

impl Body for SiteBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.get_mut() {
            Self::Gateway(body) => {
                Pin::new(body).poll_frame(context).map(|frame| frame.map(|frame| frame.map_err(axum::Error::new)))
            }
            Self::Page(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Gateway(body) => body.is_end_stream(),
            Self::Page(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Gateway(body) => body.size_hint(),
            Self::Page(body) => body.size_hint(),
        }
    }
}
