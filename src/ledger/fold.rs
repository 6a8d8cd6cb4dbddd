//! Folds a batch of what was learnt into rows: which rows change, from what to what.
//!
//! Pure: it is given the rows that the batch may touch and says which are to be written, deleted, and
//! by what the sums move. The transaction around it is [`super::apply`]'s.

use std::collections::HashMap;

use crate::domain::call::{Call, CallState, CapturedBy};
use crate::domain::catalogue::Catalogue;
use crate::domain::flags;
use crate::domain::ids::{CallId, GenerationId};
use crate::domain::observation::{Observation, Reading, Refused, Told};
use crate::domain::time::Timestamp;

/// What became of a told generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is new in the ledger.
    Recorded,
    /// The ledger knew it, and nothing more was learnt.
    Known,
    /// The ledger knew it; something filled a gap or was said by a stronger source, or a given-up row is asked for again.
    Changed,
    /// The database refuses it for good; it is in the file of records set aside.
    SetAside,
}

/// A row as it was in the database and as it is to be. Boxed: calls are long, and rows are moved and sorted.
#[derive(Debug)]
struct Row {
    before: Option<Box<Call>>,
    after: Option<Box<Call>>,
}

/// One change of one row.
#[derive(Debug)]
pub struct Move {
    /// The row in the database; `None` if it is new.
    pub before: Option<Box<Call>>,
    /// The row to write; `None` if it is absorbed by another.
    pub after: Option<Box<Call>>,
}

/// The batch being folded.
#[derive(Debug)]
pub struct Fold<'a> {
    journal_id: &'a str,
    rows: HashMap<CallId, Row>,
    by_generation: HashMap<GenerationId, CallId>,
    by_job: HashMap<String, CallId>,
    refused: Vec<Refused>,
}

impl<'a> Fold<'a> {
    /// Starts from the rows that the batch may touch; `journal_id` names the journal whose calls run here, and about
    /// `more` rows will come.
    pub fn new(journal_id: &'a str, loaded: Vec<Call>, more: usize) -> Self {
        let rows = loaded.len() + more;
        let mut fold = Self {
            journal_id,
            rows: HashMap::with_capacity(rows),
            by_generation: HashMap::with_capacity(rows),
            by_job: HashMap::new(),
            refused: Vec::new(),
        };
        for call in loaded {
            if let Some(id) = &call.generation_id {
                fold.by_generation.insert(id.clone(), call.call_id);
            }
            if let Some(job) = &call.facts.job_id {
                fold.by_job.insert(job.clone(), call.call_id);
            }
            let call = Box::new(call);
            fold.rows.insert(call.call_id, Row { before: Some(call.clone()), after: Some(call) });
        }
        fold
    }

    /// What the gateway saw. Seeing it twice changes nothing.
    pub fn observe(&mut self, observation: &Observation) {
        match observation {
            Observation::Sent(sent) => {
                let journal = self.journal_id;
                self.rows
                    .entry(sent.call_id)
                    .or_insert_with(|| Row { before: None, after: Some(Box::new(Call::sent(sent, journal))) });
            }
            Observation::Head(head) => {
                self.change(head.call_id, |call| call.head(head));
            }
            Observation::Outcome(outcome) => {
                self.change(outcome.call_id, |call| call.outcome(outcome));
                if let Some(job) = &outcome.facts.job_id {
                    self.by_job.entry(job.clone()).or_insert(outcome.call_id);
                }
            }
            Observation::Job(seen) => {
                // A job that no call here opened is none of the ledger's.
                if let Some(call_id) = self.by_job.get(&seen.job_id).copied() {
                    self.change(call_id, |call| call.job(seen));
                }
            }
            Observation::NotSynced { call_id } => self.change(*call_id, Call::not_synced),
            Observation::Refused(refused) => self.refused.push((**refused).clone()),
        }
    }

    /// Somebody outside told of a generation.
    pub fn tell(&mut self, told: &Told) -> Verdict {
        if let Some(known) = self.by_generation.get(&told.generation_id).copied() {
            let mut changed = false;
            self.change(known, |call| {
                let before = call.clone();
                call.told_again(told);
                changed = *call != before;
            });
            return if changed { Verdict::Changed } else { Verdict::Known };
        }
        self.by_generation.insert(told.generation_id.clone(), told.call_id);
        self.rows.insert(told.call_id, Row { before: None, after: Some(Box::new(Call::told(told))) });
        Verdict::Recorded
    }

    /// A generation record was asked for.
    pub fn read(&mut self, call_id: CallId, reading: &Reading, now: Timestamp, give_up_after_ms: i64) {
        self.change(call_id, |call| call.read(reading, now, give_up_after_ms));
    }

    /// The daemon that had these calls under way stopped without seeing their end.
    pub fn interrupt(&mut self, call_id: CallId, now: Timestamp) {
        self.change(call_id, |call| call.interrupted(now));
    }

    /// Gives the rows that only a permaslug names the catalogue's ID of it; comes last, before [`Fold::finish`].
    pub fn name_models(&mut self, catalogue: &Catalogue) {
        for call in self.rows.values_mut().filter_map(|row| row.after.as_mut()) {
            call.name_model(|permaslug| catalogue.id_of(permaslug).map(str::to_owned));
        }
    }

    /// The rows that changed, and the refusals.
    pub fn finish(self) -> (Vec<Move>, Vec<Refused>) {
        let mut moves: Vec<Move> = self
            .rows
            .into_values()
            .filter(|row| row.before != row.after)
            .map(|row| Move { before: row.before, after: row.after })
            .collect();
        // By time, so that inserts append to the tables' and indexes' ends, and locks are taken in one order.
        moves.sort_unstable_by_key(|change| change.after.as_ref().or(change.before.as_ref()).map(|call| call.call_id));
        (moves, self.refused)
    }

    fn change(&mut self, call_id: CallId, apply: impl FnOnce(&mut Call)) {
        let Some(call) = self.rows.get_mut(&call_id).and_then(|row| row.after.as_mut()) else {
            // The row was absorbed or never loaded (a reading of a row that is gone): nothing to change.
            return;
        };
        let had_id = call.generation_id.is_some();
        apply(call);
        if had_id {
            return;
        }
        let Some(generation_id) = call.generation_id.clone() else { return };
        if let Some(other) = self.by_generation.insert(generation_id.clone(), call_id).filter(|other| *other != call_id)
        {
            self.join(call_id, other, &generation_id);
        }
    }

    /// Two rows turn out to be one generation: the gateway's stays, the other goes.
    fn join(&mut self, call_id: CallId, other: CallId, generation_id: &GenerationId) {
        let passed_through = |row: &Row| row.after.as_ref().is_some_and(|call| call.captured_by == CapturedBy::Gateway);
        // Two calls of the gateway can not be one generation: upstream repeated itself, and the ID stays with the first.
        if self.rows.get(&other).is_some_and(passed_through) {
            self.by_generation.insert(generation_id.clone(), other);
            if let Some(call) = self.rows.get_mut(&call_id).and_then(|row| row.after.as_mut()) {
                call.generation_id = None;
                call.flags.insert(flags::ID_REPEATED.to_owned());
                call.state = if call.under_way_in.is_some() { CallState::Open } else { CallState::Unsettled };
                call.settling.finish();
            }
            return;
        }
        let absorbed = self.rows.get_mut(&other).and_then(|row| row.after.take());
        let keeper = self.rows.get_mut(&call_id).and_then(|row| row.after.as_mut());
        if let (Some(keeper), Some(absorbed)) = (keeper, absorbed) {
            keeper.absorb(*absorbed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::attribution::{Attribution, KeyRef};
    use crate::domain::facts::Facts;
    use crate::domain::observation::{Ending, Head, Outcome, Sent, Tidings};

    fn call(n: u128) -> CallId {
        CallId::new(Timestamp(1_000), n)
    }

    fn sent(n: u128) -> Observation {
        Observation::Sent(Box::new(Sent {
            call_id: call(n),
            at: Timestamp(1_000),
            endpoint: "chat/completions".to_owned(),
            key: KeyRef { name: "default".to_owned(), fingerprint: None },
            tally_key: None,
            attribution: Attribution::default(),
            requested_model: None,
            models: Vec::new(),
            routing: None,
            streamed: None,
            flags: Vec::new(),
            estimate: None,
        }))
    }

    fn head(n: u128, id: &str) -> Observation {
        Observation::Head(Head { call_id: call(n), at: Timestamp(2_000), generation_id: id.parse().ok(), status: 200 })
    }

    fn outcome(n: u128) -> Observation {
        Observation::Outcome(Box::new(Outcome {
            call_id: call(n),
            at: Timestamp(3_000),
            head_at: None,
            ending: Ending::Complete,
            status: Some(200),
            generation_id: None,
            facts: Facts::default(),
            error: None,
            first_byte_ms: None,
            duration_ms: 1,
            response_cache_hit: false,
            flags: Vec::new(),
        }))
    }

    fn told(n: u128, id: &str) -> Told {
        Told {
            call_id: call(n),
            at: Timestamp(1_500),
            generation_id: id.parse().unwrap(),
            key: None,
            tally_key: None,
            attribution: Attribution { app: Some("told".to_owned()), ..Attribution::default() },
            tidings: Tidings::Id,
        }
    }

    #[test]
    fn a_told_id_that_then_passes_through_is_one_row() {
        let mut fold = Fold::new("j", Vec::new(), 0);
        assert_eq!(fold.tell(&told(9, "gen-a")), Verdict::Recorded);
        for observation in [sent(1), head(1, "gen-a"), outcome(1)] {
            fold.observe(&observation);
        }
        assert_eq!(fold.tell(&told(8, "gen-a")), Verdict::Known);
        let (moves, _) = fold.finish();
        let rows: Vec<_> = moves.iter().filter_map(|change| change.after.as_ref()).collect();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].call_id, call(1));
        assert_eq!(rows[0].attribution.app.as_deref(), Some("told"));
    }

    #[test]
    fn replayed_observations_change_nothing() {
        let mut fold = Fold::new("j", Vec::new(), 0);
        for observation in [sent(1), head(1, "gen-a"), outcome(1)] {
            fold.observe(&observation);
        }
        let rows: Vec<Call> = fold.finish().0.into_iter().filter_map(|change| change.after).map(|call| *call).collect();
        let mut again = Fold::new("j", rows, 0);
        for observation in [sent(1), head(1, "gen-a"), outcome(1)] {
            again.observe(&observation);
        }
        assert!(again.finish().0.is_empty());
    }

    #[test]
    fn an_id_that_upstream_repeats_stays_with_the_first_call() {
        let mut fold = Fold::new("j", Vec::new(), 0);
        for observation in [sent(1), sent(2), head(1, "gen-a"), head(2, "gen-a"), outcome(1), outcome(2)] {
            fold.observe(&observation);
        }
        let (moves, _) = fold.finish();
        let rows: Vec<_> = moves.iter().filter_map(|change| change.after.as_ref()).collect();
        assert_eq!(rows.len(), 2);
        assert!(rows[0].generation_id.is_some() && rows[1].generation_id.is_none());
        assert_eq!(rows[1].state, CallState::Unsettled);
    }
}
