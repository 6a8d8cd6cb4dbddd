//! Budgets that change while the ledger runs: definitions, pauses, overrides, top-ups, each with its entry in the audit
//! trail, in the transaction that makes it hold.
//!
//! The writer does this between two of its transactions, so nothing is counted meanwhile and nothing is lost: rows wait
//! in the journal. A budget that counts other rows than before is filled from the rows first, as at a start.

use std::collections::BTreeSet;

use super::apply::{Applier, ApplyError};
use super::tracking::{Fill, Tracker};
use crate::domain::budget::change::{Action, Actor, Change, Difference, Entry, MAX_OWN, Refusal};
use crate::domain::budget::terms::{Override, WindowLimit};
use crate::domain::budget::{Budget, BudgetName, Origin};
use crate::domain::money::{Money, Total};
use crate::domain::time::Timestamp;
use crate::store::budgets::StoredBudget;
use crate::store::{self, StoreError, Tx};

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotChanged {
    /// It is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl From<StoreError> for NotChanged {
    fn from(error: StoreError) -> Self {
        Self::Apply(ApplyError::Budgets(error))
    }
}

/// What a change did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Definitions that are others than before, by name.
    pub differences: Vec<Difference>,
    /// Alerts it raised: thresholds that spend had passed already.
    pub alerts: usize,
}

/// What a change comes to, before it is committed.
#[derive(Default)]
struct Planned {
    differences: Vec<Difference>,
    entries: Vec<Entry>,
    /// Budgets whose standing is another from now on.
    touched: BTreeSet<BudgetName>,
}

impl Applier {
    /// Counts `file`'s budgets and our own from now on; those that are new, or whose scope changed, are filled from the
    /// rows before.
    pub(super) async fn track(&mut self, file: Vec<Budget>, by: &Actor, now: Timestamp) -> Result<usize, ApplyError> {
        let turn = store::turns::alone(&self.store).await?;
        let mut tx = self.begin().await?;
        let planned = plan_file(&mut tx, file, by, now).await?;
        for entry in &planned.entries {
            store::budget_changes::record(&mut tx, entry, false).await?;
        }
        tx.commit().await.map_err(ApplyError::Commit)?;
        let alerts = self.recount(now).await?;
        end(turn).await?;
        Ok(alerts)
    }

    /// Takes over the budgets as the database has them, and fills those that are to be filled.
    ///
    /// Filling takes a transaction for each page of rows, so that nobody waits long for the database. Nothing else counts
    /// meanwhile: other daemons find that budgets were changed, and wait for their turn to take them over, which is this
    /// one's now. A fill that is cut begins anew at the next start.
    async fn recount(&mut self, now: Timestamp) -> Result<usize, ApplyError> {
        let seen = store::budget_changes::last(&self.store).await?;
        let fill = self.fill().await?;
        let mut tracker = Tracker::default();
        let mut tx = self.begin().await?;
        let alerts = tracker.start(&mut tx, &fill, now).await?;
        store::progress::number_transaction(&mut tx, &self.journal_id, self.transaction).await?;
        tx.commit().await.map_err(ApplyError::Commit)?;
        // What is held back, and for how much, is known from the rows, wherever it was held back before.
        let calls = if self.knows_calls { Vec::new() } else { self.remember().await? };
        self.knows_calls = true;
        self.tracker = tracker;
        self.seen_change = Some(seen);
        self.book.publish(self.tracker.standings(), &calls);
        Ok(alerts)
    }

    async fn fill(&mut self) -> Result<Fill, ApplyError> {
        let mut tx = self.begin().await?;
        let mut fill = Fill::of(store::budgets::load(&mut tx).await?);
        tx.rollback().await?;
        while !fill.is_done() {
            let mut tx = self.begin().await?;
            fill.page(&mut tx).await?;
            tx.commit().await.map_err(ApplyError::Commit)?;
        }
        Ok(fill)
    }

    /// Takes over what others did: another daemon on the same database, or a change whose end was not seen here.
    pub(super) async fn follow(&mut self, now: Timestamp) -> Result<usize, ApplyError> {
        if self.is_unsure() {
            return Ok(0);
        }
        let others = store::turns::look(&self.store, &self.journal_id).await?;
        if self.seen_change != Some(others.changes) {
            let turn = store::turns::alone(&self.store).await?;
            let alerts = self.recount(now).await?;
            end(turn).await?;
            return Ok(alerts);
        }
        if !self.tracker.is_abreast(others.transactions) {
            self.keep_up().await?;
        }
        Ok(0)
    }

    /// Waits until no other daemon changes budgets, and knows all that others changed. `None` on SQLite.
    async fn alone(&mut self, now: Timestamp) -> Result<Option<Tx>, ApplyError> {
        let turn = store::turns::alone(&self.store).await?;
        let others = store::turns::look(&self.store, &self.journal_id).await?;
        if self.seen_change != Some(others.changes) {
            self.recount(now).await?;
        }
        Ok(turn)
    }

    /// Makes a change hold.
    pub(super) async fn change(&mut self, change: Change, by: &Actor, now: Timestamp) -> Result<Changed, NotChanged> {
        let turn = self.alone(now).await?;
        let changed = self.change_alone(change, by, now).await;
        // Whatever became of it; a turn whose end does not arrive ends with its connection.
        let _ = end(turn).await;
        changed
    }

    async fn change_alone(&mut self, change: Change, by: &Actor, now: Timestamp) -> Result<Changed, NotChanged> {
        let mut tx = self.begin().await?;
        let planned = match self.plan(&mut tx, change, by, now).await {
            Ok(planned) => planned,
            Err(error) => {
                let _ = tx.rollback().await;
                return Err(error);
            }
        };
        for entry in &planned.entries {
            store::budget_changes::record(&mut tx, entry, false).await?;
        }
        let Planned { differences, touched, .. } = planned;
        if touched.is_empty() {
            tx.commit().await.map_err(ApplyError::Commit)?;
            return Ok(Changed { differences, alerts: 0 });
        }
        // Until this change is taken over whole, the next look finds that it is not.
        self.seen_change = None;
        let unfilled = store::budgets::load(&mut tx).await?.iter().any(|stored| stored.counted_from.is_none());
        let fill = if unfilled {
            tx.commit().await.map_err(ApplyError::Commit)?;
            let fill = self.fill().await?;
            tx = self.begin().await?;
            fill.note(&mut tx).await?;
            Some(fill)
        } else {
            None
        };
        let mut tracker = self.tracker.clone();
        let mut alerts = 0;
        for name in touched.iter().chain(fill.iter().flat_map(Fill::names)).collect::<BTreeSet<_>>() {
            alerts += tracker.reopen(&mut tx, name, now).await?;
        }
        tx.commit().await.map_err(ApplyError::Commit)?;
        self.tracker = tracker;
        self.book.publish(self.tracker.standings(), &[]);
        self.seen_change = Some(store::budget_changes::last(&self.store).await?);
        Ok(Changed { differences, alerts })
    }

    async fn plan(&self, tx: &mut Tx, change: Change, by: &Actor, now: Timestamp) -> Result<Planned, NotChanged> {
        let note = Note { by, now };
        match change {
            Change::File(file) => Ok(plan_file(tx, file, by, now).await?),
            Change::Set(budget) => plan_set(tx, *budget, by, now).await,
            Change::Remove(name) => plan_remove(tx, &name, by, now).await,
            Change::Pause(name) => {
                let stored = in_force(tx, &name).await?;
                if stored.terms.paused_at.is_some() {
                    return Ok(Planned::default());
                }
                store::budget_terms::set_paused(tx, &name, Some(now)).await?;
                Ok(note.of(name, Action::Paused, String::new(), None))
            }
            Change::Resume(name) => {
                let stored = in_force(tx, &name).await?;
                if stored.terms.paused_at.is_none() {
                    return Ok(Planned::default());
                }
                store::budget_terms::set_paused(tx, &name, None).await?;
                Ok(note.of(name, Action::Resumed, String::new(), None))
            }
            Change::Override { name, limit, until, reason } => {
                let stored = in_force(tx, &name).await?;
                if until <= now {
                    return Err(Refusal::EndsInThePast(until.to_iso()).into());
                }
                let one = Override { limit, since: now, until, reason: reason.clone() };
                store::budget_terms::set_override(tx, &name, &one).await?;
                let before = self.limit_now(&stored).limit();
                let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                let told = format!("until {}{reason}", until.to_iso());
                Ok(note.of(name, Action::Overridden, told, Some((before, limit))))
            }
            Change::EndOverride(name) => {
                let stored = in_force(tx, &name).await?;
                let Some(held) = stored.terms.override_at(now).cloned() else {
                    return Err(Refusal::NoOverride(name).into());
                };
                let before = held.limit;
                store::budget_terms::set_override(tx, &name, &Override { until: now, ..held }).await?;
                let after = WindowLimit { overridden: None, ..self.limit_now(&stored) }.limit();
                Ok(note.of(name, Action::OverrideEnded, String::new(), Some((before, after))))
            }
            Change::TopUp { name, amount, note: what_for, id } => {
                let stored = in_force(tx, &name).await?;
                if let Some(held) = stored.terms.override_at(now) {
                    return Err(Refusal::Overridden { budget: name, until: held.until.to_iso() }.into());
                }
                let window = stored.budget.window_at(now);
                let added = store::budget_terms::topped_up(tx, &name, &window).await?;
                let together = Total::from(added) + amount.into();
                if together < Total::ZERO {
                    return Err(Refusal::TakesTooMuch { budget: name, added }.into());
                }
                let before = WindowLimit { topped_up: added, ..self.limit_now(&stored) };
                let after = WindowLimit { topped_up: added.saturating_add(amount), ..before };
                if Total::from(before.limit()) + amount.into() != after.limit().into() {
                    return Err(Refusal::LimitTooHigh.into());
                }
                if !store::budget_terms::top_up(tx, &id, &name, now, amount).await? {
                    return Err(Refusal::Again.into());
                }
                Ok(note.of(name, Action::ToppedUp, what_for, Some((before.limit(), after.limit()))))
            }
        }
    }

    /// The limit of the budget's window as it was last put together.
    fn limit_now(&self, stored: &StoredBudget) -> WindowLimit {
        self.tracker.limit_of(&stored.budget.name).unwrap_or(WindowLimit::plain(stored.budget.limit))
    }
}

/// Gives the turn to change budgets to whoever waits for it.
async fn end(turn: Option<Tx>) -> Result<(), ApplyError> {
    match turn {
        Some(turn) => turn.rollback().await.map_err(ApplyError::Budgets),
        None => Ok(()),
    }
}

/// Makes entries of changes that leave the definition as it is.
struct Note<'a> {
    by: &'a Actor,
    now: Timestamp,
}

impl Note<'_> {
    fn of(&self, name: BudgetName, action: Action, note: String, limits: Option<(Money, Money)>) -> Planned {
        let entry = Entry {
            at: self.now,
            budget: name.clone(),
            action,
            by: self.by.clone(),
            before: None,
            after: None,
            limit_before: limits.map(|(before, _)| before),
            limit_after: limits.map(|(_, after)| after),
            note,
        };
        Planned { differences: Vec::new(), entries: vec![entry], touched: BTreeSet::from([name]) }
    }
}

async fn in_force(tx: &mut Tx, name: &BudgetName) -> Result<StoredBudget, NotChanged> {
    Ok(store::budgets::in_force(tx, name).await?.ok_or_else(|| Refusal::NotFound(name.clone()))?)
}

/// The file's budgets are `file`; our own stand beside them, and behind those of the same name.
async fn plan_file(tx: &mut Tx, file: Vec<Budget>, by: &Actor, now: Timestamp) -> Result<Planned, StoreError> {
    let names: BTreeSet<BudgetName> = file.iter().map(|budget| budget.name.clone()).collect();
    let own = store::budget_terms::own(tx).await?;
    let mut all = file;
    all.extend(own.into_iter().filter(|budget| !names.contains(&budget.name)));
    sync(tx, &all, by, now).await
}

async fn plan_set(tx: &mut Tx, budget: Budget, by: &Actor, now: Timestamp) -> Result<Planned, NotChanged> {
    let (mut file, own) = parted(tx).await?;
    if file.iter().any(|other| other.name == budget.name) {
        return Err(Refusal::OwnedByFile(budget.name).into());
    }
    if own.len() >= MAX_OWN && !own.iter().any(|other| other.name == budget.name) {
        return Err(Refusal::Full.into());
    }
    store::budget_terms::save_own(tx, &budget).await?;
    let others =
        own.into_iter().filter(|other| other.name != budget.name && !file.iter().any(|f| f.name == other.name));
    let others: Vec<Budget> = others.collect();
    file.extend(others);
    file.push(budget);
    Ok(sync(tx, &file, by, now).await?)
}

async fn plan_remove(tx: &mut Tx, name: &BudgetName, by: &Actor, now: Timestamp) -> Result<Planned, NotChanged> {
    let (mut file, own) = parted(tx).await?;
    let shadowing = file.iter().find(|budget| budget.name == *name).cloned();
    let removed = own.iter().find(|budget| budget.name == *name).cloned();
    if !store::budget_terms::delete_own(tx, name).await? {
        return Err(match shadowing {
            Some(_) => Refusal::OwnedByFile(name.clone()),
            None => Refusal::NotFound(name.clone()),
        }
        .into());
    }
    if shadowing.is_some() {
        // It stood behind the file's, which goes on.
        let mut planned =
            Note { by, now }.of(name.clone(), Action::Removed, "it stood behind the file's".to_owned(), None);
        planned.entries.iter_mut().for_each(|entry| entry.before.clone_from(&removed));
        planned.touched.clear();
        return Ok(planned);
    }
    let others = own.into_iter().filter(|other| other.name != *name && !file.iter().any(|f| f.name == other.name));
    let others: Vec<Budget> = others.collect();
    file.extend(others);
    Ok(sync(tx, &file, by, now).await?)
}

/// The file's budgets that are in force, and all of our own.
async fn parted(tx: &mut Tx) -> Result<(Vec<Budget>, Vec<Budget>), StoreError> {
    let in_force = store::budgets::load(tx).await?.into_iter().map(|stored| stored.budget);
    let file = in_force.filter(|budget| budget.origin == Origin::File).collect();
    Ok((file, store::budget_terms::own(tx).await?))
}

/// Puts `all` in force, with an entry for each that is another than before.
async fn sync(tx: &mut Tx, all: &[Budget], by: &Actor, now: Timestamp) -> Result<Planned, StoreError> {
    let differences = store::budgets::sync(tx, all, now).await?;
    let entries = differences.iter().map(|difference| Entry {
        at: now,
        budget: difference.name.clone(),
        action: difference.action(),
        by: by.clone(),
        before: difference.before.clone(),
        after: difference.after.clone(),
        limit_before: difference.before.as_ref().map(|budget| budget.limit),
        limit_after: difference.after.as_ref().map(|budget| budget.limit),
        note: String::new(),
    });
    Ok(Planned {
        entries: entries.collect(),
        touched: differences.iter().map(|difference| difference.name.clone()).collect(),
        differences,
    })
}
