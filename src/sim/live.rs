//! Living traffic: the invented company's calls, made over HTTP at a few a second, until told to stop.
//!
//! What a call is to be like travels in the header `X-Sim`, which a gateway passes on, so that short requests make calls of
//! plausible size. Some streams are left before their end.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::apps::STAND_IN;
use super::connection::Spawner;
use super::dice::Dice;
use super::endpoint::Endpoint;
use super::traffic::{Company, Ended, SimCall, keys};
use super::truth::Outcome;
use crate::clock::{Clock, Entropy};

/// Most calls under way; above it the next one waits its turn.
const MAX_IN_FLIGHT: usize = 64;

/// Longest a call may take.
const PATIENCE: Duration = Duration::from_mins(3);

/// Live calls are smaller than those of the past: there are many more of them in an hour.
const SCALE: f64 = 0.3;

/// Where living traffic goes.
#[derive(Clone, Debug)]
pub struct Live {
    /// As a client would have it: `http://127.0.0.1:7117/api/v1`.
    pub base_url: String,
    /// Calls a second, on average.
    pub rate: f64,
}

/// Makes calls until `stop`; calls still under way then are dropped.
pub async fn drive(live: Live, clock: Clock, entropy: Entropy, stop: CancellationToken) {
    let caller = Caller {
        client: Client::builder(Spawner(TaskTracker::new())).build_http(),
        keys: keys().collect(),
        base_url: live.base_url,
        clock: clock.clone(),
    };
    let mut company = Company::new(entropy.next_u64()).sized(SCALE);
    let mut dice = Dice::new(entropy.next_u64());
    let mut running = FuturesUnordered::new();
    loop {
        // Gaps between independent calls are exponential.
        let gap = -(1.0 - dice.fraction()).ln() / live.rate.max(0.01);
        let next = clock.sleep(Duration::from_secs_f64(gap));
        tokio::pin!(next);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = &mut next, if running.len() < MAX_IN_FLIGHT => break,
                Some(()) = running.next() => {}
            }
        }
        let call = company.call_now(clock.now());
        running.push(caller.make(call, dice.next()));
    }
}

struct Caller {
    client: Client<HttpConnector, Full<Bytes>>,
    keys: HashMap<&'static str, String>,
    base_url: String,
    clock: Clock,
}

impl Caller {
    /// Makes one call and reads its reply, or part of it.
    async fn make(&self, call: SimCall, seed: u64) {
        let mut dice = Dice::new(seed);
        let Ok(request) = self.request(&call) else { return };
        // A stream that is to be cut is left after this many frames.
        let leave = (call.ended == Ended::Replied(Outcome::Cancelled)).then(|| dice.between(1, 12));
        let talk = async {
            let Ok(response) = self.client.request(request).await else { return };
            let mut body = response.into_body();
            let mut frames = 0;
            while let Some(Ok(_)) = body.frame().await {
                frames += 1;
                if leave.is_some_and(|leave| frames >= leave) {
                    return;
                }
            }
        };
        // What a call comes to, the ledger knows; here nobody asks.
        let _ = self.clock.timeout(PATIENCE, talk).await;
    }

    fn request(&self, call: &SimCall) -> Result<Request<Full<Bytes>>, http::Error> {
        let metadata: serde_json::Map<_, _> =
            call.tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        let mut body = json!({ "model": call.requested, "metadata": metadata });
        if call.endpoint == Endpoint::Embeddings {
            body["input"] = "A page of the handbook.".into();
        } else {
            body["messages"] = json!([{ "role": "user", "content": "A question." }]);
            body["models"] = json!([call.requested, STAND_IN]);
            body["stream"] = call.streamed.into();
        }
        if let Some(user) = &call.user {
            body["user"] = user.as_str().into();
        }
        if let Some(session) = &call.session {
            body["session_id"] = session.as_str().into();
        }
        if let Some(routing) = call.routing.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok()) {
            body["provider"] = routing;
        }
        let key = self.keys.get(call.key_name).map_or("", String::as_str);
        Request::post(format!("{}/{}", self.base_url, call.endpoint.path()))
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/json")
            .header("x-openrouter-title", call.app)
            .header("x-sim", behaviour(call))
            .body(Full::from(body.to_string()))
    }
}

/// What the simulator is to make of the call.
fn behaviour(call: &SimCall) -> String {
    let tokens = call.tokens;
    let mut text = format!(
        "prompt_tokens={};completion_tokens={};cached={};cache_write={};reasoning={};provider={}",
        tokens.prompt, tokens.completion, tokens.cached, tokens.cache_write, tokens.reasoning, call.provider.slug
    );
    let more = match call.ended {
        Ended::Refused { status, .. } => format!(";status={status}"),
        Ended::Replied(Outcome::Failed) if call.streamed => ";error_after=2".to_owned(),
        Ended::Replied(Outcome::Failed) => ";embedded=choice".to_owned(),
        Ended::Replied(_) if call.attempts.len() > 1 => format!(";fallbacks={}", call.attempts.len() - 1),
        Ended::Replied(_) => String::new(),
    };
    text.push_str(&more);
    text
}
