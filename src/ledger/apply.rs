//! One transaction: rows, roll-ups, budget spend, alerts and their mail, and how far the journal is drained.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Work;
use super::fold::{Fold, Move, Verdict};
use super::tracking::Tracker;
use crate::budget::sharing::held;
use crate::budget::{Book, CallChange};
use crate::catalogue::Shelf;
use crate::domain::alert::Cause;
use crate::domain::call::{Call, CallState};
use crate::domain::ids::{CallId, GenerationId};
use crate::domain::money::Total;
use crate::domain::observation::Observation;
use crate::domain::rollup::Deltas;
use crate::domain::time::Timestamp;
use crate::journal::Position;
use crate::store::calls::CompletionFilter;
use crate::store::progress::Drained;
use crate::store::{self, Store, StoreError, Tx};

/// Calls of a dead daemon that are closed in one transaction.
const CLOSE_AT_ONCE: u32 = 2_000;

/// Rows of the past that calls are judged by after a start.
const REMEMBERED: u32 = 2_000;

/// Why a transaction did not go through.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// No transaction could be begun: nothing of the work was looked at.
    #[error(transparent)]
    Begin(StoreError),
    /// The database said no to what was to be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database said no to what the budgets made of it.
    #[error("the budgets can not be counted: {0}")]
    Budgets(StoreError),
    /// Another daemon changed budgets: what is to be counted is not known.
    #[error("budgets were changed by another daemon; tallyd takes them over by itself")]
    Behind,
    /// The commit was asked for and the answer was none: it may have gone through.
    #[error("whether a transaction went through is not known: {0}")]
    Commit(StoreError),
}

impl ApplyError {
    /// Whether something in the work is at fault, so that there is no use in trying it again.
    pub fn blames_data(&self) -> bool {
        matches!(self, Self::Store(error) if error.blames_data())
    }

    /// Whether another writer was faster, or so it seems.
    pub fn is_race(&self) -> bool {
        matches!(self, Self::Store(error) | Self::Budgets(error) | Self::Commit(error) if error.is_race())
    }
}

/// What a transaction did.
#[derive(Debug, Default)]
pub struct Applied {
    /// What became of each told ID, in order.
    pub verdicts: Vec<Verdict>,
    /// Rows written.
    pub rows: usize,
    /// Alerts raised.
    pub alerts: usize,
    /// Rows that entered each state.
    pub entered: BTreeMap<CallState, u64>,
    /// Costs that became known, and what of earlier ones was taken back.
    pub spent: (Total, Total),
    /// What became of calls that something is or was held back for.
    calls: Vec<CallChange>,
    /// All calls that something is held back for, as other daemons left them; `None`: they did nothing.
    held: Option<Vec<CallChange>>,
}

/// Applies work to the database.
pub(super) struct Applier {
    pub(super) store: Store,
    pub(super) journal_id: String,
    pub(super) book: Arc<Book>,
    pub(super) tracker: Tracker,
    catalogue: Shelf,
    give_up_after_ms: i64,
    /// The number of the last transaction that is known to be committed.
    pub(super) transaction: u64,
    /// The last change of budgets that the tracker holds; `None`: it may hold less than the database.
    pub(super) seen_change: Option<i64>,
    /// Whether the book knows what the rows tell of what is held back.
    pub(super) knows_calls: bool,
    /// What the next one came to, when it is not known whether its commit went through.
    unsure: Option<(Tracker, Applied)>,
}

impl Applier {
    pub(super) fn new(
        store: Store,
        journal_id: String,
        book: Arc<Book>,
        catalogue: Shelf,
        give_up_after_ms: i64,
    ) -> Self {
        let tracker = Tracker::default();
        Self {
            store,
            journal_id,
            book,
            tracker,
            catalogue,
            give_up_after_ms,
            transaction: 0,
            seen_change: None,
            knows_calls: false,
            unsure: None,
        }
    }

    /// How far the journal had been drained at the last commit.
    pub(super) async fn drained_to(&mut self) -> Result<Option<Position>, ApplyError> {
        // Counted on, so that other daemons see that something was done.
        self.transaction = store::progress::count(&self.store, &self.journal_id).await?;
        let stored = store::progress::get(&self.store, &self.journal_id).await?;
        Ok(stored.map(|drained| Position { segment: drained.segment, offset: drained.offset }))
    }

    /// What rows of the past tell admission: what is held back for those whose cost is to become known, and what the last
    /// calls cost.
    pub(super) async fn remember(&self) -> Result<Vec<CallChange>, ApplyError> {
        let mut calls = store::calls::page(&self.store, &CompletionFilter::default(), None, REMEMBERED).await?;
        calls.retain(|call| call.cost().is_some());
        calls.reverse();
        let mut tx = self.begin().await?;
        let held = held(&mut tx).await?;
        tx.rollback().await.map_err(ApplyError::Begin)?;
        Ok(calls.iter().filter_map(CallChange::found).chain(held).collect())
    }

    /// Takes over what other daemons counted and hold back, where nothing else is to be done.
    pub(super) async fn keep_up(&mut self) -> Result<(), ApplyError> {
        let mut tx = self.begin().await?;
        let (tracker, held) = self.abreast(&mut tx).await?;
        tx.rollback().await.map_err(ApplyError::Begin)?;
        self.tracker = tracker;
        self.book.publish_beside(self.tracker.standings(), held.as_deref(), &[]);
        Ok(())
    }

    /// The budgets with what other daemons counted, and what is held back after them; `None`: they did nothing.
    async fn abreast(&self, tx: &mut Tx) -> Result<(Tracker, Option<Vec<CallChange>>), ApplyError> {
        let others = store::turns::others(tx, &self.journal_id).await.map_err(ApplyError::Budgets)?;
        if self.seen_change != Some(others.changes) {
            return Err(ApplyError::Behind);
        }
        let mut tracker = self.tracker.clone();
        if tracker.is_abreast(others.transactions) {
            return Ok((tracker, None));
        }
        tracker.keep_up(tx, others.transactions).await.map_err(ApplyError::Budgets)?;
        Ok((tracker, Some(held(tx).await.map_err(ApplyError::Budgets)?)))
    }

    /// Calls that are in no row and never will be: nothing is held back for them any more.
    pub(super) fn forget(&self, work: &Work) {
        self.book.release(work.observations.iter().filter_map(Observation::call_id));
    }

    /// Whether there is nothing to be done, so that no transaction need be begun.
    pub(super) fn is_idle(&self, work: &Work, end: Option<Position>, now: Timestamp) -> bool {
        work.is_empty()
            && end.is_none()
            && !self.is_unsure()
            && !self.tracker.is_due(now)
            && !self.tracker.shows_other_than(&self.book.reserves_after(&[]))
    }

    /// Whether it is not known if the last transaction went through. Only the same work may be applied next.
    pub(super) fn is_unsure(&self) -> bool {
        self.unsure.is_some()
    }

    /// Begins a transaction, for [`Applier::apply`]; no other daemon writes until it ends.
    pub(super) async fn begin(&self) -> Result<Tx, ApplyError> {
        let mut tx = self.store.write().await.map_err(ApplyError::Begin)?;
        store::turns::take(&mut tx).await.map_err(ApplyError::Begin)?;
        Ok(tx)
    }

    /// Writes `work` and how far the journal is drained, or nothing at all.
    ///
    /// `replay` tells that the journal may repeat what an earlier commit holds. After [`ApplyError::Commit`] the same
    /// work is to be applied again: it is found out first whether it is in the database already. After
    /// [`ApplyError::Behind`] it is to be applied once [`Applier::follow`] has taken over what was changed.
    pub(super) async fn apply(
        &mut self,
        mut tx: Tx,
        work: &Work,
        end: Option<Position>,
        now: Timestamp,
        replay: bool,
    ) -> Result<Applied, ApplyError> {
        let number = self.transaction + 1;
        if self.unsure.is_some() {
            let last = store::progress::last_transaction(&mut tx, &self.journal_id).await?;
            let unsure = self.unsure.take();
            if let (Some(done), true) = (unsure, last == Some(number)) {
                tracing::info!("the answer to a commit was lost; it had gone through");
                // Nothing was written in it; where its end does not arrive, the connection's does.
                let _ = tx.rollback().await;
                return Ok(self.adopt(done));
            }
        }
        let (calls, generations) = touched(work, replay);
        let mut loaded = store::calls::load(&mut tx, &calls, &generations).await?;
        loaded.extend(store::calls::of_jobs(&mut tx, &jobs(work)).await?);
        let mut fold = Fold::new(&self.journal_id, loaded, work.observations.len() / 2 + work.told.len());
        for observation in &work.observations {
            fold.observe(observation);
        }
        let verdicts = work.told.iter().map(|told| fold.tell(told)).collect();
        for reading in &work.readings {
            fold.read(reading.call_id, &reading.reading, reading.at, self.give_up_after_ms);
        }
        fold.name_models(&self.catalogue.load());
        let (moves, refused) = fold.finish();
        let judged_at = work.as_of.unwrap_or(now);
        let cause = if work.imported { Cause::Import } else { Cause::Spend };
        let live = work.as_of.is_none().then_some(now);
        let (tracker, mut applied) = self.write(&mut tx, &moves, cause, judged_at, live).await?;
        applied.verdicts = verdicts;
        if !refused.is_empty() {
            store::refusals::add(&mut tx, &refused.iter().collect::<Vec<_>>()).await?;
        }
        if let Some(end) = end {
            let drained = Drained { segment: end.segment, offset: end.offset };
            store::progress::set(&mut tx, &self.journal_id, drained).await?;
        }
        store::progress::number_transaction(&mut tx, &self.journal_id, number).await?;
        match tx.commit().await {
            Ok(()) => Ok(self.adopt((tracker, applied))),
            Err(error) => {
                self.unsure = Some((tracker, applied));
                Err(ApplyError::Commit(error))
            }
        }
    }

    /// A transaction is in the database: what it came to is what holds.
    fn adopt(&mut self, (tracker, applied): (Tracker, Applied)) -> Applied {
        self.transaction += 1;
        self.tracker = tracker;
        self.book.publish_beside(self.tracker.standings(), applied.held.as_deref(), &applied.calls);
        applied
    }

    /// Closes the calls that a daemon with this journal left under way; the journal has been applied before.
    pub(super) async fn close_interrupted(&mut self, now: Timestamp) -> Result<(), ApplyError> {
        loop {
            self.follow(now).await?;
            let mut tx = self.begin().await?;
            let left = store::calls::under_way(&mut tx, &self.journal_id, None, CLOSE_AT_ONCE).await?;
            if left.is_empty() {
                return Ok(());
            }
            let ids: Vec<CallId> = left.iter().map(|call| call.call_id).collect();
            let mut fold = Fold::new(&self.journal_id, left, 0);
            for id in &ids {
                fold.interrupt(*id, now);
            }
            fold.name_models(&self.catalogue.load());
            let (moves, _) = fold.finish();
            let written = match self.write(&mut tx, &moves, Cause::Spend, now, Some(now)).await {
                Err(ApplyError::Behind) => continue,
                written => written?,
            };
            store::progress::number_transaction(&mut tx, &self.journal_id, self.transaction + 1).await?;
            tx.commit().await.map_err(ApplyError::Commit)?;
            self.adopt(written);
            tracing::warn!(
                calls = ids.len(),
                "calls were under way when the daemon stopped; they settle by their IDs where they have one"
            );
        }
    }

    /// Rows, records, sums, budgets and alerts of one transaction; the tracker as it is once committed. `live` is the
    /// present, `None` where budgets are judged at another time.
    async fn write(
        &self,
        tx: &mut Tx,
        moves: &[Move],
        cause: Cause,
        now: Timestamp,
        live: Option<Timestamp>,
    ) -> Result<(Tracker, Applied), ApplyError> {
        let (mut tracker, held) = self.abreast(tx).await?;
        if let Some(now) = live {
            tracker.turn_back(tx, now).await.map_err(ApplyError::Budgets)?;
        }
        let mut deltas = Deltas::default();
        for change in moves {
            deltas.moved(change.before.as_deref(), change.after.as_deref());
        }
        let absorbed: Vec<CallId> = moves
            .iter()
            .filter(|change| change.after.is_none())
            .filter_map(|change| change.before.as_ref().map(|call| call.call_id))
            .collect();
        if !absorbed.is_empty() {
            // First, so that the generation ID is free for the row that takes it over.
            store::calls::delete(tx, &absorbed).await?;
        }
        let rows: Vec<&Call> = moves.iter().filter_map(|change| change.after.as_deref()).collect();
        if !rows.is_empty() {
            store::calls::upsert(tx, &rows).await?;
        }
        let records: Vec<(CallId, &str)> =
            rows.iter().filter_map(|call| call.record_json.as_deref().map(|json| (call.call_id, json))).collect();
        if !records.is_empty() {
            store::calls::save_records(tx, &records).await?;
        }
        store::rollups::add(tx, &deltas).await?;
        let calls: Vec<CallChange> = moves
            .iter()
            .filter_map(|change| CallChange::of(change.before.as_deref(), change.after.as_deref()))
            .collect();
        // The rows hold it back from now on, for every daemon.
        store::grants::shrink(tx, &self.journal_id, &self.book.first_written(&calls)).await?;
        let reserves = self.book.reserves_after(&calls);
        let mut alerts = tracker.count(tx, moves, &reserves, cause, now).await.map_err(ApplyError::Budgets)?;
        alerts += tracker.look_ahead(tx, now).await.map_err(ApplyError::Budgets)?;
        let mut entered = BTreeMap::new();
        for change in moves {
            let before = change.before.as_ref().map(|call| call.state);
            if let Some(call) = change.after.as_ref().filter(|call| Some(call.state) != before) {
                *entered.entry(call.state).or_default() += 1;
            }
        }
        let spent = spent(moves);
        Ok((tracker, Applied { verdicts: Vec::new(), rows: rows.len(), alerts, entered, spent, calls, held }))
    }
}

/// What the moved rows cost more than before, and less.
fn spent(moves: &[Move]) -> (Total, Total) {
    let cost = |call: Option<&Call>| {
        let counted = call.filter(|call| call.state != CallState::Failed);
        counted.and_then(Call::cost).map_or(Total::ZERO, Total::from)
    };
    moves.iter().fold((Total::ZERO, Total::ZERO), |(more, less), change| {
        let by = cost(change.after.as_deref()) - cost(change.before.as_deref());
        if by > Total::ZERO { (more + by, less) } else { (more, less - by) }
    })
}

/// The rows that `work` may touch and that may already be in the database.
fn touched(work: &Work, replay: bool) -> (Vec<CallId>, Vec<GenerationId>) {
    let mut begun = std::collections::HashSet::new();
    let mut calls = std::collections::BTreeSet::new();
    let mut generations = std::collections::BTreeSet::new();
    for observation in &work.observations {
        match observation {
            Observation::Sent(sent) if !replay => {
                begun.insert(sent.call_id);
            }
            Observation::Head(head) => generations.extend(head.generation_id.clone()),
            Observation::Outcome(outcome) => generations.extend(outcome.generation_id.clone()),
            Observation::Sent(_) | Observation::NotSynced { .. } | Observation::Refused(_) | Observation::Job(_) => {}
        }
        if let Some(id) = observation.call_id().filter(|id| !begun.contains(id)) {
            calls.insert(id);
        }
    }
    generations.extend(work.told.iter().map(|told| told.generation_id.clone()));
    calls.extend(work.readings.iter().map(|reading| reading.call_id));
    calls.extend(&work.renamed);
    (calls.into_iter().collect(), generations.into_iter().collect())
}

/// The jobs that `work` tells of.
fn jobs(work: &Work) -> Vec<String> {
    let job = |observation: &Observation| match observation {
        Observation::Job(seen) => Some(seen.job_id.clone()),
        _ => None,
    };
    let jobs: std::collections::BTreeSet<String> = work.observations.iter().filter_map(job).collect();
    jobs.into_iter().collect()
}
