//! Writes what was observed to the journal; only an outcome's sync is ever waited for.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::domain::ids::CallId;
use crate::domain::observation::{Head, JobSeen, Observation, Outcome, Refused, Sent};
use crate::journal::{Journal, Synced, Wait};
use crate::telemetry::Metrics;

/// The way from the gateway to the journal. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    journal: Journal,
    metrics: Metrics,
}

/// Resolves when an outcome is on disk, or when that has been given up (`journal.sync_timeout`).
#[derive(Debug)]
#[must_use = "the end of a reply waits for it"]
pub struct Written(Option<(Wait, Option<CallId>, Recorder)>);

impl Written {
    /// Nothing had to be written.
    pub(super) fn already() -> Self {
        Self(None)
    }
}

impl Future for Written {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some((wait, call_id, recorder)) = &mut self.0 else { return Poll::Ready(()) };
        if ready!(Pin::new(wait).poll(context)) == Synced::NotDurable {
            recorder.0.metrics.journal_unsynced.inc();
            if let Some(call_id) = *call_id {
                recorder.append(&Observation::NotSynced { call_id });
            }
        }
        self.0 = None;
        Poll::Ready(())
    }
}

impl Recorder {
    /// A recorder to this journal, counted in these metrics.
    pub fn new(journal: Journal, metrics: Metrics) -> Self {
        Self(Arc::new(Inner { journal, metrics }))
    }

    /// False once the journal has reached its limit or cannot be written: what `journal.on_ledger_failure` is about.
    pub fn accepts_new_calls(&self) -> bool {
        self.0.journal.accepts_new_calls()
    }

    /// False once what room the journal has is needed by the calls under way: a new call is then either refused or passes
    /// uncounted.
    pub fn has_room_for_new_calls(&self) -> bool {
        self.0.journal.has_room_for_new_calls()
    }

    /// Observations that the journal did not take, since the start: each is a gap in the ledger.
    pub fn lost(&self) -> u64 {
        self.0.metrics.observations_lost.get()
    }

    /// Calls that passed without a record, since the start: they are in no sum and no budget.
    pub fn uncounted_calls(&self) -> u64 {
        self.0.metrics.calls_uncounted.get()
    }

    /// A call passes without a record.
    pub fn uncounted(&self) {
        let uncounted = self.0.metrics.calls_uncounted.inc() + 1;
        // Said at 1, 2, 4, 8 … so that an hour of it does not fill the log.
        if uncounted.is_power_of_two() {
            tracing::error!(uncounted, "the journal has no room for new calls; they pass without a record");
        }
    }

    /// It was decided, in so long, whether a call may go.
    pub fn admitted(&self, took: std::time::Duration) {
        self.0.metrics.call_admitted(took);
    }

    /// The request is about to go upstream. Its call is under way until its outcome. False when the journal does not take
    /// it: then the ledger never hears of the call.
    pub fn sent(&self, sent: Sent) -> bool {
        self.0.metrics.calls_in_flight.inc();
        self.append(&Observation::Sent(Box::new(sent)))
    }

    /// The reply's head came.
    pub fn head(&self, head: Head) {
        self.append(&Observation::Head(head));
    }

    /// The call is over.
    pub fn outcome(&self, outcome: Outcome) -> Written {
        self.0.metrics.calls_in_flight.dec();
        self.0.metrics.call_over(&outcome);
        let call_id = outcome.call_id;
        self.append_synced(&Observation::Outcome(Box::new(outcome)), Some(call_id))
    }

    /// A job told what it cost.
    pub fn job(&self, seen: JobSeen) -> Written {
        self.append_synced(&Observation::Job(Box::new(seen)), None)
    }

    /// Of `call_id` it is noted if the sync does not come.
    fn append_synced(&self, observation: &Observation, call_id: Option<CallId>) -> Written {
        match self.0.journal.append_synced(&observation.encode()) {
            Ok(wait) => Written(Some((wait, call_id, self.clone()))),
            Err(refused) => {
                self.count_lost(refused);
                Written(None)
            }
        }
    }

    /// tallyd itself refused a call; `cause` is the one it names. It takes no room from the calls under way.
    pub fn refused(&self, cause: &'static str, refused: Refused) {
        self.0.metrics.refused(cause);
        if !self.has_room_for_new_calls() {
            return self.count_lost(crate::journal::Refused::Full);
        }
        self.append(&Observation::Refused(Box::new(refused)));
    }

    /// Whether the journal took it.
    fn append(&self, observation: &Observation) -> bool {
        match self.0.journal.append(&observation.encode()) {
            Ok(()) => true,
            Err(refused) => {
                self.count_lost(refused);
                false
            }
        }
    }

    fn count_lost(&self, refused: crate::journal::Refused) {
        let lost = self.0.metrics.observations_lost.inc() + 1;
        // Said at 1, 2, 4, 8 … so that an hour of it does not fill the log.
        if lost.is_power_of_two() {
            tracing::error!(lost, %refused, "the journal does not take observations; the ledger has a gap for each");
        }
    }
}
