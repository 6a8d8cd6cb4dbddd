//! One call under way: what is seen of it, and its one outcome.

use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode};

use super::keys::Proof;
use super::observe::{Form, ObserveLimits, Observed, Observer};
use super::recorder::{Recorder, Written};
use super::request::Asked;
use crate::budget::Reservation;
use crate::clock::Clock;
use crate::domain::attribution::Attribution;
use crate::domain::flags;
use crate::domain::ids::{CallId, GenerationId};
use crate::domain::observation::{Ending, ErrorFacts, Head, Outcome};

/// Where OpenRouter names the generation, before any byte of the body.
pub const GENERATION_ID: HeaderName = HeaderName::from_static("x-generation-id");

/// Whether OpenRouter's response cache answered: `HIT` or `MISS`.
const CACHE_STATUS: HeaderName = HeaderName::from_static("x-openrouter-cache-status");

/// Who served; seldom sent, and the body's word is stronger.
const PROVIDER_NAME: HeaderName = HeaderName::from_static("x-provider-name");

/// Silence between two events of a stream from which it counts as stalled: what many clients and proxies take for a dead
/// connection.
const STALL: Duration = Duration::from_secs(30);

/// The ID that a reply's head names, if it is one.
pub fn generation_id(headers: &HeaderMap) -> Option<GenerationId> {
    headers.get(GENERATION_ID)?.to_str().ok()?.parse().ok()
}

/// A call that has been sent, or is about to be.
///
/// Exactly one outcome comes of it: by [`InFlight::end`], or when it is dropped.
pub struct InFlight {
    recorder: Recorder,
    clock: Clock,
    id: CallId,
    sent_at: Duration,
    first_byte_at: Option<Duration>,
    proof: Option<Proof>,
    /// What budgets hold back for it, where the ledger does not know of the call: let go with its end.
    unrecorded: Option<Reservation>,
    /// When a stream last told something.
    last_chunk_at: Option<Duration>,
    stalled: bool,
    reply: Option<Reply>,
    /// The head, until it is recorded.
    unsaid: Option<Head>,
    ended: bool,
}

struct Reply {
    status: StatusCode,
    generation_id: Option<GenerationId>,
    cache_hit: bool,
    provider: Option<String>,
    observer: Observer,
}

impl InFlight {
    /// A call whose sending has been recorded; `sent_at` is the clock's elapsed time then.
    pub fn new(recorder: Recorder, clock: Clock, id: CallId, sent_at: Duration) -> Self {
        Self {
            recorder,
            clock,
            id,
            sent_at,
            first_byte_at: None,
            proof: None,
            unrecorded: None,
            last_chunk_at: None,
            stalled: false,
            reply: None,
            unsaid: None,
            ended: false,
        }
    }

    /// Has the reply's status prove the key that the call brought.
    #[must_use]
    pub fn proving(mut self, proof: Option<Proof>) -> Self {
        self.proof = proof;
        self
    }

    /// Has what is held back for the call let go at its end: for a call that the ledger does not know of.
    #[must_use]
    pub fn holding(mut self, unrecorded: Option<Reservation>) -> Self {
        self.unrecorded = unrecorded;
        self
    }

    /// The reply's head came: begins to observe. It is recorded by [`InFlight::say_head`], or with the outcome if that
    /// comes first.
    pub fn head(&mut self, status: StatusCode, headers: &HeaderMap, limits: &ObserveLimits) {
        if let Some(proof) = self.proof.take() {
            proof.answered(status);
        }
        let generation_id = generation_id(headers);
        self.unsaid = Some(Head {
            call_id: self.id,
            at: self.clock.now(),
            generation_id: generation_id.clone(),
            status: status.as_u16(),
        });
        let cache_hit = headers.get(CACHE_STATUS).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"hit"));
        let provider = headers.get(PROVIDER_NAME).and_then(|name| name.to_str().ok()).and_then(Attribution::label);
        self.reply =
            Some(Reply { status, generation_id, cache_hit, provider, observer: Observer::new(headers, limits) });
    }

    /// Records the head: the reply is not over with it.
    pub fn say_head(&mut self) {
        if let Some(head) = self.unsaid.take() {
            self.recorder.head(head);
        }
    }

    /// Whether the reply is a stream, which ends upstream when its client leaves.
    pub fn is_stream(&self) -> bool {
        self.reply.as_ref().is_some_and(|reply| reply.observer.form() == Form::Events)
    }

    /// Whether the end of the reply waits for the outcome's sync: not where nothing was spent.
    pub fn holds_its_end(&mut self) -> bool {
        self.reply.as_mut().is_some_and(|reply| {
            let spent_nothing = matches!(reply.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
                || (reply.status.as_u16() >= 400
                    && reply.generation_id.is_none()
                    && !reply.observer.names_generation());
            !spent_nothing
        })
    }

    /// Looks at a copy of the body's next bytes; true when they show the reply's end.
    pub fn bytes(&mut self, bytes: &[u8]) -> bool {
        if self.first_byte_at.is_none() && !bytes.is_empty() {
            self.first_byte_at = Some(self.clock.elapsed());
        }
        let Some(reply) = &mut self.reply else { return false };
        let before = reply.observer.chunks();
        let ended = reply.observer.push(bytes);
        if reply.observer.chunks() > before {
            let now = self.clock.elapsed();
            self.stalled |= self.last_chunk_at.is_some_and(|last| now.saturating_sub(last) > STALL);
            self.last_chunk_at = Some(now);
        }
        ended
    }

    /// The call is over, with an error of our own if it was ours. [`Ending::Complete`] becomes [`Ending::Cut`] for a
    /// stream that showed no end.
    pub fn end(mut self, ending: Ending, error: Option<ErrorFacts>) -> Written {
        self.finish(ending, error)
    }

    fn finish(&mut self, ending: Ending, error: Option<ErrorFacts>) -> Written {
        self.ended = true;
        self.unrecorded = None;
        let now = self.clock.elapsed();
        let since = |at: Duration| i64::try_from(at.saturating_sub(self.sent_at).as_millis()).unwrap_or(i64::MAX);
        let mut outcome = Outcome {
            call_id: self.id,
            at: self.clock.now(),
            head_at: self.unsaid.take().map(|head| head.at),
            ending,
            status: None,
            generation_id: None,
            facts: crate::domain::facts::Facts::default(),
            error,
            first_byte_ms: self.first_byte_at.map(since),
            duration_ms: since(now),
            response_cache_hit: false,
            flags: Vec::new(),
        };
        if let Some(reply) = self.reply.take() {
            let stream = reply.observer.form() == Form::Events;
            let Observed { mut reading, open_ended } = reply.observer.finish(ending == Ending::Complete);
            if ending == Ending::Complete && open_ended {
                outcome.ending = Ending::Cut;
            }
            let silent = self.last_chunk_at.is_some_and(|last| now.saturating_sub(last) > STALL);
            if self.stalled || (open_ended && silent) {
                reading.flag(flags::STALLED);
            }
            let read = !reading.flags.contains(&flags::REPLY_NOT_READ);
            let whole_stream = stream && reply.status.is_success() && outcome.ending == Ending::Complete;
            if whole_stream && read && !reading.content && reading.error.is_none() {
                reading.flag(flags::NO_CONTENT);
            }
            outcome.status = Some(reply.status.as_u16());
            outcome.generation_id = reply.generation_id.or(reading.generation_id);
            outcome.facts = reading.facts;
            outcome.facts.provider = outcome.facts.provider.or(reply.provider);
            if reply.status.is_success() {
                outcome.facts.streamed = Some(stream);
            }
            outcome.error = outcome.error.or(reading.error);
            outcome.response_cache_hit = reply.cache_hit;
            outcome.flags = reading.flags.into_iter().map(str::to_owned).collect();
        }
        self.recorder.outcome(outcome)
    }
}

impl Drop for InFlight {
    /// Whoever held it went away: the client, or the daemon.
    fn drop(&mut self) {
        if !self.ended {
            let ending = if self.reply.is_some() { Ending::ClientLeft } else { Ending::NoReply };
            // Nobody is left to wait; it is synced with its group all the same.
            drop(self.finish(ending, None));
        }
    }
}

/// The flags of a request: its body or labels could not be read, or hold what does not work. `asked` is `None` when the
/// body was not read.
pub fn request_flags(asked: Option<&Asked>, malformed: bool) -> Vec<String> {
    let mut list = Vec::new();
    for (flag, holds) in [
        (flags::REQUEST_NOT_READ, asked.is_none()),
        (flags::ATTRIBUTION_MALFORMED, malformed),
        (flags::EXTRA_BODY, asked.is_some_and(|asked| asked.extra_body)),
    ] {
        if holds {
            list.push(flag.to_owned());
        }
    }
    list
}
