//! The ledger's row: one call, whatever is known of it, and how every source changes it.
//!
//! All rules of design.md 3.5 are here, as methods that take what was learnt and return nothing:
//! the ledger service compares the row before and after to move the sums.

mod told;

use std::collections::BTreeSet;

use super::attribution::{Attribution, AttributionProvenance, Attributor, KeyRef};
use super::facts::{Facts, GenerationRecord, Provenance, Source};
use super::flags;
use super::ids::{CallId, GenerationId};
use super::money::Money;
use super::observation::{Ending, ErrorFacts, Head, JobSeen, Outcome, Reading, Sent};
use super::routing;
use super::settling::Settling;
use super::tally_key::TallyKeyId;
use super::time::Timestamp;

/// What is known of a call; not whether it succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallState {
    /// Under way and without an ID: not shown, becomes one of the others when it ends or the daemon restarts.
    Open,
    /// The ID is known, its record not yet read.
    Pending,
    /// The record was read, or imported from the log export.
    Settled,
    /// Given up, or sent and never answered: may have been billed.
    Unsettled,
    /// Refused by OpenRouter before a generation existed: cost nothing.
    Failed,
}

impl CallState {
    /// As the column `state` holds it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Pending => "pending",
            Self::Settled => "settled",
            Self::Unsettled => "unsettled",
            Self::Failed => "failed",
        }
    }

    /// Reads the column.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Pending, Self::Settled, Self::Unsettled, Self::Failed]
            .into_iter()
            .find(|s| s.as_str() == text)
    }
}

/// Who saw the call first in the order of design.md 3.5 (not of arrival).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CapturedBy {
    /// It went through the gateway.
    Gateway,
    /// Its ID was told.
    Record,
    /// OpenRouter pushed it.
    Broadcast,
    /// It was imported.
    Import,
}

impl CapturedBy {
    /// As the column `captured_by` holds it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Record => "record",
            Self::Broadcast => "broadcast",
            Self::Import => "import",
        }
    }

    /// All, the strongest first.
    pub const ALL: [Self; 4] = [Self::Gateway, Self::Record, Self::Broadcast, Self::Import];

    /// Reads the column.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.as_str() == text)
    }
}

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Ours, unique.
    pub call_id: CallId,
    /// OpenRouter's; `None` where none is known.
    pub generation_id: Option<GenerationId>,
    /// See [`CallState`].
    pub state: CallState,
    /// See [`CapturedBy`].
    pub captured_by: CapturedBy,
    /// The journal (its ID) that has the call under way; `None` once it is over.
    pub under_way_in: Option<String>,
    /// When we first wrote of it.
    pub recorded_at: Timestamp,
    /// Our own time of it, until OpenRouter's is known: the reply head, else the sending, else the telling.
    pub seen_at: Timestamp,
    /// When its record was read.
    pub settled_at: Option<Timestamp>,
    /// The key that made it; `None` where none was named.
    pub key: Option<KeyRef>,
    /// The tally key that it came with; `None` where it came with none.
    pub tally_key: Option<TallyKeyId>,
    /// Who it was for.
    pub attribution: Attribution,
    /// Who said so.
    pub attribution_provenance: AttributionProvenance,
    /// The request's model.
    pub requested_model: Option<String>,
    /// The request's `models`, in its order; empty where it named none.
    pub requested_models: Vec<String>,
    /// The catalogue's ID of the permaslug; `None` while no catalogue knew one of another name, or a reply named the model.
    pub catalogue_model: Option<String>,
    /// What was asked of providers, as JSON text.
    pub routing: Option<String>,
    /// The path below `/api/v1/`; `None` where the call did not pass through us.
    pub endpoint: Option<String>,
    /// The reply's HTTP status.
    pub http_status: Option<u16>,
    /// The reply's or record's error.
    pub error: Option<ErrorFacts>,
    /// What OpenRouter says.
    pub facts: Facts,
    /// Which source said it.
    pub provenance: Provenance,
    /// First byte of the body after sending, in milliseconds, measured here.
    pub first_byte_ms: Option<i64>,
    /// End after sending, in milliseconds, measured here.
    pub duration_ms: Option<i64>,
    /// See [`flags`].
    pub flags: BTreeSet<String>,
    /// What budgets that block hold back for it until its cost is known; `None` when nothing is. It enters no sum of costs.
    pub estimate: Option<Money>,
    /// Where it stands on its way to being settled.
    pub settling: Settling,
    /// The record's remaining fields as JSON, to be stored beside the row; `None` when there is nothing new.
    pub record_json: Option<String>,
}

impl Call {
    fn new(call_id: CallId, at: Timestamp, captured_by: CapturedBy) -> Self {
        Self {
            call_id,
            generation_id: None,
            state: CallState::Open,
            captured_by,
            under_way_in: None,
            recorded_at: at,
            seen_at: at,
            settled_at: None,
            key: None,
            tally_key: None,
            attribution: Attribution::default(),
            attribution_provenance: AttributionProvenance::default(),
            requested_model: None,
            requested_models: Vec::new(),
            catalogue_model: None,
            routing: None,
            endpoint: None,
            http_status: None,
            error: None,
            facts: Facts::default(),
            provenance: Provenance::default(),
            first_byte_ms: None,
            duration_ms: None,
            flags: BTreeSet::new(),
            estimate: None,
            settling: Settling::default(),
            record_json: None,
        }
    }

    /// The row of a call that the gateway is about to send; `journal` is the journal that will hear the rest.
    pub fn sent(sent: &Sent, journal: &str) -> Self {
        let mut call = Self::new(sent.call_id, sent.at, CapturedBy::Gateway);
        call.under_way_in = Some(journal.to_owned());
        call.key = Some(sent.key.clone());
        call.tally_key = sent.tally_key;
        call.attribution_provenance.merge(&mut call.attribution, &sent.attribution, Attributor::Gateway);
        call.requested_model.clone_from(&sent.requested_model);
        call.requested_models.clone_from(&sent.models);
        call.routing.clone_from(&sent.routing);
        call.endpoint = Some(sent.endpoint.clone());
        call.estimate = sent.estimate;
        let asked = Facts { streamed: sent.streamed, ..Facts::default() };
        call.facts.merge(&mut call.provenance, &asked, Source::Told);
        call.flags.extend(sent.flags.iter().cloned());
        call
    }

    /// The reply's head came.
    pub fn head(&mut self, head: &Head) {
        if self.under_way_in.is_none() {
            return;
        }
        self.seen_at = head.at;
        self.http_status = Some(head.status);
        if self.generation_id.is_none() {
            self.generation_id.clone_from(&head.generation_id);
        }
        if self.generation_id.is_some() && self.state == CallState::Open {
            self.state = CallState::Pending;
        }
    }

    /// The call is over. A second outcome of the same call changes nothing.
    pub fn outcome(&mut self, outcome: &Outcome) {
        if self.under_way_in.take().is_none() {
            return;
        }
        self.seen_at = outcome.head_at.unwrap_or(self.seen_at);
        self.http_status = outcome.status.or(self.http_status);
        if self.generation_id.is_none() {
            self.generation_id.clone_from(&outcome.generation_id);
        }
        self.learn(&outcome.facts, Source::Reply);
        self.first_byte_ms = outcome.first_byte_ms;
        self.duration_ms = Some(outcome.duration_ms);
        self.error = outcome.error.clone().or(self.error.take());
        self.flags.extend(outcome.flags.iter().cloned());
        match outcome.ending {
            Ending::ClientLeft => self.flag(flags::CLIENT_LEFT),
            Ending::Cut => self.flag(flags::CUT),
            Ending::Complete | Ending::NoReply | Ending::NeverSent => {}
        }
        if outcome.response_cache_hit {
            self.flag(flags::RESPONSE_CACHE_HIT);
        }
        self.name_error();
        self.compare_costs();
        self.mark_routing(None);
        if self.settled_at.is_some() {
            return;
        }
        if self.generation_id.is_some() {
            self.state = CallState::Pending;
            self.settling.start(outcome.at, self.cost().is_some());
        } else {
            self.state = match (outcome.ending, self.http_status) {
                (Ending::NeverSent, _) => CallState::Failed,
                (_, Some(status)) if is_no_answer(status) => CallState::Failed,
                // Answered well (or not at all) and without an ID: what it cost can not be asked for.
                _ => CallState::Unsettled,
            };
        }
    }

    /// The job that it opened told what it cost. Told again, it changes nothing.
    pub fn job(&mut self, seen: &JobSeen) {
        // Which model or provider a job's reply may name, and when, is the opening reply's and the record's to say.
        let facts = Facts {
            is_byok: seen.facts.is_byok,
            inline_cost: seen.facts.inline_cost,
            inline_upstream_cost: seen.facts.inline_upstream_cost,
            ..Facts::default()
        };
        self.facts.merge(&mut self.provenance, &facts, Source::Reply);
        if self.error.is_none() && seen.error.is_some() {
            self.error.clone_from(&seen.error);
            self.name_error();
        }
        self.compare_costs();
    }

    /// Its outcome reached the client before the disk had confirmed it.
    pub fn not_synced(&mut self) {
        self.flag(flags::NOT_SYNCED);
    }

    /// The daemon that had it under way is gone; what the journal held has been applied.
    pub fn interrupted(&mut self, now: Timestamp) {
        if self.under_way_in.take().is_none() {
            return;
        }
        self.flag(flags::INTERRUPTED);
        if self.settled_at.is_some() {
            return;
        }
        if self.generation_id.is_some() {
            self.state = CallState::Pending;
            self.settling.start(now, self.cost().is_some());
        } else {
            self.state = CallState::Unsettled;
        }
    }

    /// A reading of the generation record.
    pub fn read(&mut self, reading: &Reading, now: Timestamp, give_up_after_ms: i64) {
        if self.state == CallState::Settled {
            // The log export was faster than this reading; the record is the stronger of the two.
            if let Reading::Record(record) = reading
                && self.provenance.settled_by() < Source::Record
                && !record.is_zero()
            {
                self.settle(record, now);
            }
            return;
        }
        if self.state == CallState::Failed {
            return;
        }
        let cost_known = self.cost().is_some();
        match reading {
            Reading::Record(record) => {
                if record.is_zero() && self.facts.job_id.is_some() && self.facts.inline_cost != Some(Money::ZERO) {
                    // A job is billed when it is done, which may be long after its record is there.
                    self.read(&Reading::NotYet, now, give_up_after_ms);
                    return;
                }
                if self.may_not_be_final(record) {
                    if !self.settling.zero_record(now) {
                        return;
                    }
                    self.flag(flags::ZERO_RECORD);
                } else {
                    self.settling.attempts += 1;
                }
                self.settle(record, now);
            }
            Reading::NotYet => {
                if self.settling.not_yet(now, cost_known, give_up_after_ms) {
                    self.give_up();
                }
            }
            Reading::Failed { reason, retry_after_ms } => {
                if self.settling.failed(now, *retry_after_ms, reason.clone(), give_up_after_ms) {
                    self.give_up();
                }
            }
            Reading::KeyNotHeld => {
                self.settling.key_not_held();
                if now >= self.settling.since.unwrap_or(now).plus_millis(super::settling::KEY_NOT_HELD_MS) {
                    self.give_up();
                }
            }
        }
    }

    /// Takes what a source says, but for what can not be.
    fn learn(&mut self, facts: &Facts, source: Source) {
        let mut facts = facts.clone();
        if facts.forget_absurd_tokens() {
            self.flag(flags::TOKENS_NOT_READ);
        }
        self.facts.merge(&mut self.provenance, &facts, source);
    }

    /// Whether a record shows nothing where something must have been: records do before they are final.
    fn may_not_be_final(&self, record: &GenerationRecord) -> bool {
        let cancelled = record.facts.cancelled == Some(true);
        let free = self.is_free() || record.response_cache_hit || self.flags.contains(flags::RESPONSE_CACHE_HIT);
        record.is_zero()
            && !cancelled
            && !free
            && !self.answered_with_error()
            && record.failed_provider_status.is_none()
    }

    fn settle(&mut self, record: &GenerationRecord, now: Timestamp) {
        self.learn(&record.facts, Source::Record);
        let filler = Attribution {
            user: record.external_user.clone(),
            session: record.session_id.clone(),
            ..Attribution::default()
        };
        self.attribution_provenance.merge(&mut self.attribution, &filler, Attributor::Record);
        self.record_json = Some(record.kept_json.clone());
        if record.id_differs {
            self.flag(flags::ID_DIFFERS);
        }
        self.compare_costs();
        if record.response_cache_hit {
            self.flag(flags::RESPONSE_CACHE_HIT);
        }
        if self.facts.finish_reason.as_deref() == Some("error") {
            let error = self.error.get_or_insert_default();
            // Another source may have told the error without saying which: then its type was only derived.
            if error.code.is_none() && error.message.is_none() && error.error_type.as_deref().is_none_or(is_derived) {
                error.code = record.failed_provider_status.map(|status| status.to_string());
                error.error_type = None;
            }
        }
        self.name_error();
        self.mark_routing(Some(&record.tried));
        if self.is_insured() {
            self.flag(flags::ZERO_COMPLETION);
        }
        self.be_settled(now);
    }

    fn be_settled(&mut self, now: Timestamp) {
        self.settled_at.get_or_insert(now);
        self.state = CallState::Settled;
        let attempts = self.settling.attempts;
        self.settling.finish();
        self.settling.attempts = attempts;
    }

    /// Marks a row whose inline and settled costs differ; the same whichever came first.
    fn compare_costs(&mut self) {
        match (self.facts.inline_cost, self.facts.settled_cost) {
            (Some(inline), Some(settled)) if inline != settled => self.flag(flags::COST_DIFFERS),
            _ => {
                self.flags.remove(flags::COST_DIFFERS);
            }
        }
    }

    fn give_up(&mut self) {
        let reason = self.settling.reason.take();
        let never_was = self.answered_with_error() && reason.is_none();
        // An error status whose ID was still 404 at the end never became a generation: it cost nothing.
        self.state = if never_was { CallState::Failed } else { CallState::Unsettled };
        let attempts = self.settling.attempts;
        self.settling.finish();
        self.settling.attempts = attempts;
        self.settling.reason = Some(reason.unwrap_or_else(|| "OpenRouter never showed a record".to_owned()));
    }

    /// Takes over everything that `other`, a row of the same generation, knows.
    pub fn absorb(&mut self, other: Call) {
        self.captured_by = self.captured_by.min(other.captured_by);
        self.recorded_at = self.recorded_at.min(other.recorded_at);
        self.facts.absorb(&mut self.provenance, &other.facts, &other.provenance);
        self.attribution_provenance.absorb(&mut self.attribution, &other.attribution, &other.attribution_provenance);
        self.generation_id = self.generation_id.take().or(other.generation_id);
        self.key = self.key.take().or(other.key);
        self.tally_key = self.tally_key.or(other.tally_key);
        self.requested_model = self.requested_model.take().or(other.requested_model);
        if self.requested_models.is_empty() {
            self.requested_models = other.requested_models;
        }
        self.catalogue_model = self.catalogue_model.take().or(other.catalogue_model);
        self.routing = self.routing.take().or(other.routing);
        self.endpoint = self.endpoint.take().or(other.endpoint);
        self.http_status = self.http_status.or(other.http_status);
        self.error = self.error.take().or(other.error);
        self.first_byte_ms = self.first_byte_ms.or(other.first_byte_ms);
        self.duration_ms = self.duration_ms.or(other.duration_ms);
        self.flags.extend(other.flags);
        self.estimate = self.estimate.or(other.estimate);
        self.record_json = self.record_json.take().or(other.record_json);
        if self.settled_at.is_none() && other.settled_at.is_some() {
            self.settled_at = other.settled_at;
            self.state = CallState::Settled;
            self.settling.finish();
        } else if self.under_way_in.is_none() && self.state == CallState::Pending && self.settling.due.is_none() {
            self.settling = other.settling;
        }
        self.compare_costs();
        self.name_error();
    }

    /// OpenRouter's time once known, before that ours.
    pub fn created_at(&self) -> Timestamp {
        self.facts.created_at.unwrap_or(self.seen_at)
    }

    /// The model shown and summed: the reply's ID where known, else the catalogue's ID of the record's permaslug, else
    /// the permaslug.
    pub fn model(&self) -> Option<&str> {
        let facts = &self.facts;
        facts.reply_model.as_deref().or(self.catalogue_model.as_deref()).or(facts.permaslug.as_deref())
    }

    /// Gives the call the ID that `id_of` has for its permaslug. One that has an ID keeps it: what was counted under a
    /// name stays there, whatever the catalogue says later.
    pub fn name_model(&mut self, id_of: impl Fn(&str) -> Option<String>) {
        if self.facts.reply_model.is_some() {
            self.catalogue_model = None;
        } else if self.catalogue_model.is_none()
            && let Some(permaslug) = &self.facts.permaslug
        {
            self.catalogue_model = id_of(permaslug).filter(|id| id != permaslug);
        }
    }

    /// What OpenRouter charged: settled, else inline; `None` if unknown. A failed call was charged nothing.
    pub fn charged(&self) -> Option<Money> {
        match self.state {
            CallState::Failed => Some(Money::ZERO),
            _ => self.facts.settled_cost.or(self.facts.inline_cost),
        }
    }

    /// What the provider charged the caller's own key; `None` unless the call was BYOK and it is known.
    pub fn upstream(&self) -> Option<Money> {
        if self.facts.is_byok != Some(true) {
            return None;
        }
        self.facts.settled_upstream_cost.or(self.facts.inline_upstream_cost)
    }

    /// Charged plus upstream, what budgets count; `None` if either is unknown.
    pub fn cost(&self) -> Option<Money> {
        let charged = self.charged()?;
        if self.facts.is_byok == Some(true) && self.state != CallState::Failed {
            return Some(charged.saturating_add(self.upstream()?));
        }
        Some(charged)
    }

    /// Whether its cost comes from the reply and is not yet settled.
    pub fn is_inline(&self) -> bool {
        self.state == CallState::Pending && self.cost().is_some()
    }

    fn is_free(&self) -> bool {
        let free = |model: &Option<String>| model.as_deref().is_some_and(|name| name.ends_with(":free"));
        free(&self.requested_model) || free(&self.facts.reply_model) || free(&self.facts.permaslug)
    }

    fn answered_with_error(&self) -> bool {
        self.http_status.is_some_and(is_no_answer)
    }

    /// Who answered, against what was asked; `tried` are the providers of the record's attempts.
    fn mark_routing(&mut self, tried: Option<&[Option<String>]>) {
        let asked = self.requested_model.as_deref();
        let served = self.facts.reply_model.as_deref();
        let another = asked
            .zip(served)
            .is_some_and(|(asked, served)| routing::answered_by_another(asked, &self.requested_models, served));
        let served = routing::Served {
            provider: self.facts.provider.as_deref(),
            latency_ms: self.facts.latency_ms,
            tokens: self.facts.native_tokens_completion,
            generation_time_ms: self.facts.generation_time_ms,
            tried,
        };
        let preferences = self.routing.as_deref().map(|asked| routing::judge(asked, &served)).unwrap_or_default();
        let no_effect = preferences.iter().any(|preference| preference.effect == routing::Effect::None);
        let failed_before = self.facts.failed_attempts.is_some_and(|failed| failed > 0)
            && self.facts.failed_attempts < self.facts.attempts;
        for (flag, holds) in [
            (flags::FALLBACK_MODEL, another),
            (flags::ROUTING_NO_EFFECT, no_effect),
            (flags::FALLBACK_PROVIDER, failed_before),
        ] {
            if holds {
                self.flag(flag);
            } else {
                // The record knows better than the reply did.
                self.flags.remove(flag);
            }
        }
    }

    /// Whether nothing came and nothing was charged for a prompt that would have cost something.
    fn is_insured(&self) -> bool {
        let blank = self.facts.finish_reason.as_deref().is_none_or(str::is_empty)
            && self.facts.native_tokens_completion == Some(0)
            && self.facts.native_tokens_prompt.is_some_and(|tokens| tokens > 0);
        let failed = self.facts.finish_reason.as_deref() == Some("error");
        (blank || failed)
            && self.facts.settled_cost == Some(Money::ZERO)
            && self.facts.is_byok != Some(true)
            && self.facts.cancelled != Some(true)
            && self.facts.job_id.is_none()
            && !self.is_free()
            && !self.flags.contains(flags::RESPONSE_CACHE_HIT)
    }

    fn flag(&mut self, flag: &str) {
        self.flags.insert(flag.to_owned());
    }

    /// Derives `error_type` from the code where the wire names none (design.md 3.5).
    fn name_error(&mut self) {
        let status = self.http_status.filter(|status| *status >= 400);
        let failed = self.facts.finish_reason.as_deref() == Some("error");
        if self.error.is_none() && status.is_none() && !failed {
            return;
        }
        let error = self.error.get_or_insert_default();
        if error.error_type.is_some() {
            return;
        }
        let code = error.code.as_deref().and_then(|code| code.parse().ok()).or(status);
        error.error_type = Some(error_type_of(code).to_owned());
    }
}

/// Whether a status is an error's, or that of a redirect, which sends the client elsewhere: unless a record says otherwise,
/// nothing was generated.
fn is_no_answer(status: u16) -> bool {
    status >= 300
}

/// Whether a type may stand for "the wire named none".
fn is_derived(error_type: &str) -> bool {
    error_type == error_type_of(None)
}

/// The `error_type` of a status where the wire names none.
pub fn error_type_of(status: Option<u16>) -> &'static str {
    match status {
        Some(502) => "provider_unavailable",
        Some(503 | 529) => "provider_overloaded",
        Some(429) => "rate_limit_exceeded",
        Some(408 | 504 | 524) => "timeout",
        _ => "unmapped",
    }
}

#[cfg(test)]
mod tests;
