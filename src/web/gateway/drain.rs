//! Calls whose clients have left: upstream bills them all the same, so they go on, bounded in number and time.

use std::sync::Arc;

use http_body_util::BodyExt as _;
use tokio::sync::OwnedSemaphorePermit;

use super::Inner;
use super::upstream::{Sending, UpstreamBody};
use crate::capture::in_flight::InFlight;
use crate::domain::observation::Ending;

/// A request whose reply's head has not come yet. Dropped with the request of a client that leaves, it goes on in a task of
/// its own.
pub(super) struct Awaited {
    head: Option<(Sending, InFlight)>,
    gateway: Arc<Inner>,
}

impl Awaited {
    pub(super) fn new(future: Sending, call: InFlight, gateway: Arc<Inner>) -> Self {
        Self { head: Some((future, call)), gateway }
    }

    /// The future to wait for; `None` once [`Awaited::into_call`] has taken the call.
    pub(super) fn future(&mut self) -> Option<&mut Sending> {
        self.head.as_mut().map(|(future, _)| future)
    }

    /// The wait is over, well or not: the call goes on in the caller's hands.
    pub(super) fn into_call(mut self) -> Option<InFlight> {
        self.head.take().map(|(_, call)| call)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        if let Some((future, call)) = self.head.take() {
            self.gateway.drain_head(future, call);
        }
    }
}

impl Inner {
    /// Waits for the head of a call whose client has left, and then for its end if it is no stream.
    fn drain_head(self: &Arc<Self>, future: Sending, mut call: InFlight) {
        let Some(slot) = self.drain_slot() else {
            // Closed upstream; whether it was billed, nobody will tell.
            drop(call.end(Ending::NoReply, None));
            return;
        };
        let inner = Arc::clone(self);
        self.tasks.spawn_call("drain", async move {
            let _slot = slot;
            let work = async {
                let Ok(reply) = future.await else {
                    drop(call.end(Ending::NoReply, None));
                    return;
                };
                let (parts, body) = reply.into_parts();
                call.head(parts.status, &parts.headers, &inner.observe);
                if call.is_stream() {
                    drop(body);
                    drop(call.end(Ending::ClientLeft, None));
                } else {
                    discard(body, call).await;
                }
            };
            // On time-out the call is dropped, which is its outcome.
            inner.clock.timeout(inner.settings.drain_timeout, work).await;
        });
    }

    /// Reads a body whose client has left to its end.
    pub(super) fn drain_body(self: &Arc<Self>, body: UpstreamBody, call: InFlight) {
        let Some(slot) = self.drain_slot() else {
            drop(call.end(Ending::ClientLeft, None));
            return;
        };
        let inner = Arc::clone(self);
        self.tasks.spawn_call("drain", async move {
            let _slot = slot;
            inner.clock.timeout(inner.settings.drain_timeout, discard(body, call)).await;
        });
    }

    fn drain_slot(&self) -> Option<OwnedSemaphorePermit> {
        let slot = Arc::clone(&self.drains).try_acquire_owned().ok();
        if slot.is_none() {
            tracing::warn!(
                drain_calls = self.settings.drain_calls,
                "too many calls go on without their clients; one was closed upstream and may have been billed"
            );
        }
        slot
    }
}

async fn discard(mut body: UpstreamBody, mut call: InFlight) {
    call.say_head();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            call.bytes(data);
        }
    }
    drop(call.end(Ending::ClientLeft, None));
}
