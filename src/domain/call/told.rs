//! What is told of a generation from outside: the ID alone, a Broadcast span, a line of the log export, a reply, a record.
//!
//! All of them come in any order, and more than once; the row that comes of them is the same (`tests/it/orders.rs`).

use super::{Call, CallState, CapturedBy};
use crate::domain::attribution::{Attributor, KeyRef};
use crate::domain::facts::{GenerationRecord, Source};
use crate::domain::observation::{Tidings, Told};
use crate::domain::time::{DAY_MS, Timestamp};

/// How old a generation is whose record is final, whatever it shows.
const FINAL_AFTER_MS: i64 = DAY_MS;

impl Tidings {
    /// Who saw the call, if nobody stronger did.
    const fn captured_by(&self) -> CapturedBy {
        match self {
            Self::Id => CapturedBy::Record,
            Self::Broadcast(_) => CapturedBy::Broadcast,
            Self::ImportedId | Self::Export(_) | Self::Reply(_) | Self::Record(_) => CapturedBy::Import,
        }
    }

    /// How strong the labels are that come with it.
    const fn attributor(&self) -> Attributor {
        match self {
            Self::Broadcast(_) => Attributor::Broadcast,
            Self::Export(_) => Attributor::Export,
            Self::Record(_) => Attributor::Record,
            Self::Id | Self::ImportedId | Self::Reply(_) => Attributor::Told,
        }
    }

    /// Whether it shows that there is such a generation; whoever tells an ID alone may be wrong.
    const fn shows_generation(&self) -> bool {
        !matches!(self, Self::Id | Self::ImportedId)
    }
}

impl Call {
    /// The row of a generation that is not in the ledger yet.
    pub fn told(told: &Told) -> Self {
        let hint = match told.tidings {
            Tidings::Id | Tidings::Broadcast(_) => told.generation_id.embedded_second(told.at),
            _ => told.generation_id.embedded_years_ago(told.at),
        };
        let at = hint.unwrap_or(told.at);
        let mut call = Self::new(told.call_id, told.at, told.tidings.captured_by());
        call.seen_at = at;
        call.generation_id = Some(told.generation_id.clone());
        call.state = CallState::Pending;
        call.take_over(told);
        if call.settled_at.is_none() {
            call.settling.start(told.at, call.cost().is_some());
        }
        call
    }

    /// A generation that the ledger knows was told again: each source fills what no stronger one has said, and what was
    /// given up is asked for once more.
    pub fn told_again(&mut self, told: &Told) {
        self.captured_by = self.captured_by.min(told.tidings.captured_by());
        self.take_over(told);
        let given_up = match self.state {
            CallState::Unsettled => true,
            CallState::Failed => told.tidings.shows_generation(),
            CallState::Open | CallState::Pending | CallState::Settled => false,
        };
        if given_up {
            self.state = CallState::Pending;
            self.settling.start(told.at, self.cost().is_some());
            self.settling.resume(told.at);
        }
    }

    fn take_over(&mut self, told: &Told) {
        self.attribution_provenance.merge(&mut self.attribution, &told.attribution, told.tidings.attributor());
        // A key that can be read with says more than OpenRouter's name for one.
        let worth = |key: &Option<KeyRef>| key.as_ref().map_or(0, |key| 1 + u8::from(key.fingerprint.is_some()));
        if worth(&told.key) > worth(&self.key) {
            self.key.clone_from(&told.key);
        }
        self.tally_key = self.tally_key.or(told.tally_key);
        match &told.tidings {
            Tidings::Id | Tidings::ImportedId => return,
            Tidings::Broadcast(pushed) => {
                self.learn(&pushed.facts, Source::Broadcast);
                if self.requested_model.is_none() {
                    self.requested_model.clone_from(&pushed.requested_model);
                }
            }
            Tidings::Export(exported) => {
                self.learn(&exported.facts, Source::Export);
                if self.settled_at.is_none() && exported.facts.settled_cost.is_some() {
                    self.record_json.clone_from(&exported.kept_json);
                    self.be_settled(told.at);
                }
            }
            Tidings::Reply(replied) => {
                self.learn(&replied.facts, Source::Reply);
                if self.error.is_none() {
                    self.error.clone_from(&replied.error);
                }
                self.flags.extend(replied.flags.iter().cloned());
            }
            Tidings::Record(record) => self.learn_record(record, told.at),
        }
        self.compare_costs();
        self.name_error();
    }

    /// An imported record; one that may not be final says no more than its ID: the row is polled.
    fn learn_record(&mut self, record: &GenerationRecord, now: Timestamp) {
        let young = record.facts.created_at.is_none_or(|at| at.plus_millis(FINAL_AFTER_MS) > now);
        let settled = self.provenance.settled_by() == Source::Record;
        if !settled && (!young || !self.may_not_be_final(record)) {
            self.settle(record, now);
        }
    }
}
