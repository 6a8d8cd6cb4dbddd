//! News for open pages (`/tally/v1/events`): "changed" whenever the ledger has committed something, at most once a second, with
//! how many rows it has written since the start.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::DashboardState;

/// Least time between two pieces of news.
const SPACING: Duration = Duration::from_secs(1);

/// Longest silence: a comment keeps proxies from closing the connection and shows a client that is gone.
const SILENCE: Duration = Duration::from_secs(20);

/// What makes it news: rows written since the start, and whether more can be.
type Seen = (u64, bool);

fn seen(state: &DashboardState) -> Seen {
    let health = state.ledger.health();
    (health.rows, health.trouble.is_some())
}

struct Listener {
    state: DashboardState,
    /// What was last told of.
    told: Seen,
    _place: OwnedSemaphorePermit,
}

/// Its route, with its description.
pub(in crate::web) fn described() -> OpenApiRouter<DashboardState> {
    OpenApiRouter::default().routes(routes!(stream))
}

/// News
///
/// Server-sent events for open pages: `changed` whenever the ledger has committed something, at most once a second. It goes on
/// until the client leaves or the daemon stops.
#[utoipa::path(
    get, path = "/tally/v1/events", tag = "operations",
    responses(
        (status = 200, description = "The events", body = String, content_type = "text/event-stream"),
        (status = 503, description = "As many as may be listen already; try again after Retry-After")
    )
)]
pub(super) async fn stream(State(state): State<DashboardState>) -> Response {
    let Ok(place) = Arc::clone(&state.listeners).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "30")]).into_response();
    };
    let told = seen(&state);
    let listener = Listener { state, told, _place: place };
    let events = stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok::<_, Infallible>(event), listener))
    });
    ([(header::CACHE_CONTROL, "no-store")], Sse::new(events)).into_response()
}

impl Listener {
    async fn next(&mut self) -> Option<Event> {
        let (clock, wakes) = (self.state.clock.clone(), self.state.ledger.wakes());
        let changed = async {
            clock.sleep(SPACING).await;
            loop {
                // Registered before it looks, so that no commit falls between.
                let woken = wakes.pages.notified();
                let now = seen(&self.state);
                if now != self.told {
                    return now;
                }
                woken.await;
            }
        };
        tokio::select! {
            biased;
            () = self.state.stop.cancelled() => None,
            told = clock.timeout(SILENCE, changed) => Some(match told {
                Some(now) => {
                    self.told = now;
                    // An event without data is none: browsers drop it.
                    Event::default().event("changed").data(now.0.to_string())
                }
                None => Event::default().comment("quiet"),
            }),
        }
    }
}
