//! Counts budgets inside the writer's transaction and tells what they have to tell.
//!
//! Each budget has counters in 15-minute buckets, which depend on its scope alone; its window is a range
//! of them. The current window's sum is kept here and moves with every row; a window that turns, and a
//! closed one that a late settlement changes, is summed from the buckets.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fold::Move;
use crate::budget::Standing;
use crate::domain::alert::{AlertKey, Arm, BudgetState, Cause, Crossing, Delivery, Evaluation, Told};
use crate::domain::budget::{Budget, BudgetName, WhenExceeded};
use crate::domain::money::{Money, Total};
use crate::domain::rollup::{self, Share};
use crate::domain::time::Timestamp;
use crate::domain::window::Window;
use crate::store::alerts::Alert;
use crate::store::budgets::{BudgetStatus, SpendDelta, Spent, StoredBudget};
use crate::store::calls::Cursor;
use crate::store::{self, StoreError, Tx};

/// Rows looked at in one transaction when new budgets are filled.
const FILL_PAGE: u32 = 5_000;

/// One budget and what it stands at.
#[derive(Clone, Debug)]
struct Tracked {
    budget: Arc<Budget>,
    defined_at: Timestamp,
    window: Window,
    spent: Spent,
    /// What each bucket of the window cost, for a rolling budget that blocks: says when it lets calls go again.
    costs: BTreeMap<Timestamp, Money>,
    told: Vec<Told>,
    arms: Vec<Arm>,
}

/// All budgets; cloned for each transaction, so that one that fails leaves no trace.
#[derive(Clone, Debug, Default)]
pub(super) struct Tracker {
    budgets: Vec<Tracked>,
}

impl Tracker {
    /// Takes over the budgets in force, whose counters are filled, and tells what they find passed already.
    pub(super) async fn start(&mut self, tx: &mut Tx, filled: &Fill, now: Timestamp) -> Result<usize, StoreError> {
        filled.note(tx).await?;
        let mut alerts = 0;
        for stored in store::budgets::load(tx).await? {
            let budget = stored.budget;
            let window = budget.window.window_at(budget.zone, now);
            let spent = store::budgets::spent(tx, &budget.name, window.start, window.end).await?;
            let arms = store::budgets::arms(tx, &budget).await?;
            // A rolling threshold armed long ago is told under that instant; a calendar one under its window's start.
            let since = if budget.window.is_rolling() { stored.defined_at } else { window.start };
            let told = store::alerts::told(tx, &budget.name, budget.limit, since).await?;
            // One whose fill was cut by the end of an earlier start is still as new as it was.
            let is_new = stored.defined_at == now || filled.holds(&budget.name);
            let cause = if is_new { Cause::Definition } else { Cause::Spend };
            let costs = costs(tx, &budget, &window).await?;
            let budget = Arc::new(budget);
            let mut tracked = Tracked { budget, defined_at: stored.defined_at, window, spent, costs, told, arms };
            tracked.rearm(tx, now).await?;
            alerts += tracked.judge(tx, window, spent.cost, cause, now).await?;
            tracked.save(tx, now).await?;
            self.budgets.push(tracked);
        }
        Ok(alerts)
    }

    /// Whether a window has ended that nothing has turned yet.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.budgets.iter().any(|tracked| tracked.is_over(now))
    }

    /// Counts the moved rows, turns the windows that have ended, and raises alerts. Returns how many.
    pub(super) async fn count(&mut self, tx: &mut Tx, moves: &[Move], now: Timestamp) -> Result<usize, StoreError> {
        let mut alerts = 0;
        for tracked in &mut self.budgets {
            let changes = tracked.changes(moves);
            let deltas = deltas(&tracked.budget, &changes);
            let turned = tracked.is_over(now);
            if deltas.is_empty() && !turned {
                continue;
            }
            if !deltas.is_empty() {
                store::budgets::add_spend(tx, &deltas).await?;
            }
            if turned {
                tracked.turn(tx, now).await?;
            } else {
                tracked.add(&changes);
            }
            alerts += tracked.judge(tx, tracked.window, tracked.spent.cost, Cause::Spend, now).await?;
            if !tracked.budget.window.is_rolling() {
                alerts += tracked.judge_closed(tx, &changes, now).await?;
            }
            tracked.save(tx, now).await?;
        }
        Ok(alerts)
    }

    /// What admission is to know.
    pub(super) fn standings(&self) -> Vec<Standing> {
        self.budgets
            .iter()
            .map(|tracked| Standing {
                budget: Arc::clone(&tracked.budget),
                window: tracked.window,
                spent: tracked.spent.cost,
                frees_at: crate::budget::frees_at(&tracked.budget, tracked.spent.cost, &tracked.costs),
                inline: tracked.spent.inline,
                unknown: tracked.spent.unknown,
            })
            .collect()
    }
}

impl Tracked {
    /// Whether its window has ended. Time that goes back (a clock set anew, rows of the past) turns nothing back.
    fn is_over(&self, now: Timestamp) -> bool {
        self.window.end.is_some_and(|end| now >= end)
    }

    /// What the moved rows change in this budget's buckets; changes of nothing are left out.
    fn changes(&self, moves: &[Move]) -> BTreeMap<Timestamp, Share> {
        let mut changes: BTreeMap<Timestamp, Share> = BTreeMap::new();
        for change in moves {
            if let Some((bucket, share)) =
                change.before.as_ref().and_then(|call| rollup::share(&self.budget.scope, call))
            {
                changes.entry(bucket).or_default().subtract(&share);
            }
            if let Some((bucket, share)) =
                change.after.as_ref().and_then(|call| rollup::share(&self.budget.scope, call))
            {
                changes.entry(bucket).or_default().add(&share);
            }
        }
        changes.retain(|_, share| *share != Share::default());
        changes
    }

    fn add(&mut self, changes: &BTreeMap<Timestamp, Share>) {
        for (bucket, share) in changes {
            if self.window.contains(*bucket) {
                self.spent.cost += Total::from(Money::from_picos(share.cost_picos));
                self.spent.inline += Total::from(Money::from_picos(share.inline_picos));
                self.spent.unknown += share.unknown;
                if asks_when_free(&self.budget) {
                    let cost = self.costs.entry(*bucket).or_insert(Money::ZERO);
                    *cost = cost.saturating_add(Money::from_picos(share.cost_picos));
                }
            }
        }
    }

    /// The window has ended (a rolling one has moved on): the one that holds `now` is summed from the buckets.
    async fn turn(&mut self, tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
        let budget = Arc::clone(&self.budget);
        self.rearm(tx, now).await?;
        self.window = budget.window.window_at(budget.zone, now);
        self.spent = store::budgets::spent(tx, &budget.name, self.window.start, self.window.end).await?;
        self.costs = costs(tx, &budget, &self.window).await?;
        if !budget.window.is_rolling() {
            // Only what may still be asked is kept in memory: this window's; closed ones are asked of the database.
            self.told.retain(|told| told.key.window_key >= self.window.start);
        }
        Ok(())
    }

    /// Arms the thresholds of a rolling budget that spend was well below in the step before this one.
    async fn rearm(&mut self, tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
        let budget = Arc::clone(&self.budget);
        if !budget.window.is_rolling() {
            return Ok(());
        }
        let step = now.bucket();
        let before = budget.window.window_at(budget.zone, step.plus_millis(-1));
        let spent = store::budgets::spent(tx, &budget.name, before.start, before.end).await?;
        let armed = self.evaluation(&budget).rearm(step, spent.cost);
        for arm in &armed {
            store::budgets::set_arm(tx, &budget.name, arm).await?;
        }
        self.arms.retain(|old| !armed.iter().any(|new| new.threshold == old.threshold && new.limit == old.limit));
        self.arms.extend(armed);
        Ok(())
    }

    /// Closed windows that late settlements changed.
    async fn judge_closed(
        &mut self,
        tx: &mut Tx,
        changes: &BTreeMap<Timestamp, Share>,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let budget = Arc::clone(&self.budget);
        let mut windows: Vec<Window> = changes
            .keys()
            .filter(|bucket| **bucket < self.window.start)
            .map(|bucket| budget.window.window_at(budget.zone, *bucket))
            .collect();
        windows.dedup();
        let mut alerts = 0;
        for window in windows {
            let spent = store::budgets::spent(tx, &budget.name, window.start, window.end).await?;
            let told = store::alerts::told(tx, &budget.name, budget.limit, window.start).await?;
            self.told.retain(|known| known.key.window_key < window.start);
            self.told.extend(told);
            alerts += self.judge(tx, window, spent.cost, Cause::Spend, now).await?;
        }
        self.told.retain(|told| told.key.window_key >= self.window.start);
        Ok(alerts)
    }

    async fn judge(
        &mut self,
        tx: &mut Tx,
        window: Window,
        spent: Total,
        cause: Cause,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let budget = Arc::clone(&self.budget);
        let crossings = self.evaluation(&budget).decide(window, spent, cause, now);
        for crossing in &crossings {
            self.raise(tx, crossing).await?;
        }
        Ok(crossings.len())
    }

    async fn raise(&mut self, tx: &mut Tx, crossing: &Crossing) -> Result<(), StoreError> {
        let recipients: &[String] = match crossing.delivery {
            Delivery::Mail => &self.budget.notify,
            Delivery::NotMailed(_) => &[],
        };
        let alert = Alert {
            alert_id: alert_id(&crossing.key),
            budget: crossing.key.budget.clone(),
            window_key: crossing.key.window_key,
            window_start: crossing.window.start,
            window_end: crossing.window.end,
            threshold: crossing.key.threshold,
            kind: crossing.kind.as_str().to_owned(),
            crossed_at: crossing.crossed_at,
            limit: crossing.key.limit,
            spent: crossing.spent,
        };
        if !store::alerts::insert(tx, &alert, recipients).await? {
            return Ok(());
        }
        self.told.push(Told { key: crossing.key.clone(), crossed_at: crossing.crossed_at });
        tracing::info!(
            budget = %self.budget.name,
            threshold = %crossing.key.threshold,
            spent_usd = %crossing.spent,
            limit_usd = %self.budget.limit,
            recipients = recipients.len(),
            "a budget has reached a threshold"
        );
        Ok(())
    }

    fn evaluation<'a>(&'a self, budget: &'a Budget) -> Evaluation<'a> {
        Evaluation { budget, defined_at: self.defined_at, told: &self.told, arms: &self.arms }
    }

    async fn save(&self, tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
        let status = BudgetStatus {
            window: self.window,
            spent: self.spent,
            reserved: Total::ZERO,
            state: BudgetState::of(&self.budget, self.spent.cost),
            as_of: now,
        };
        store::budgets::set_status(tx, &self.budget.name, &status).await
    }
}

/// The same crossing has the same ID, whoever sees it: 32 hex digits of its identity's hash.
fn alert_id(key: &AlertKey) -> String {
    let identity = format!("{}|{}|{}|{}", key.budget, key.window_key.millis(), key.threshold, key.limit.picos());
    crate::domain::ids::short_hash(&identity)
}

fn deltas(budget: &Budget, changes: &BTreeMap<Timestamp, Share>) -> Vec<SpendDelta> {
    changes
        .iter()
        .map(|(bucket, share)| SpendDelta {
            budget: budget.name.clone(),
            bucket: *bucket,
            cost_picos: share.cost_picos,
            inline_picos: share.inline_picos,
            unknown: share.unknown,
        })
        .collect()
}

/// Whether somebody may be told when the budget's spend falls below its limit again.
fn asks_when_free(budget: &Budget) -> bool {
    budget.window.is_rolling() && budget.when_exceeded == WhenExceeded::Block
}

/// What each bucket of the window cost, if that is asked for.
async fn costs(tx: &mut Tx, budget: &Budget, window: &Window) -> Result<BTreeMap<Timestamp, Money>, StoreError> {
    let Some(end) = window.end.filter(|_| asks_when_free(budget)) else { return Ok(BTreeMap::new()) };
    let counters = store::budgets::counters(tx, &budget.name, window.start, end).await?;
    Ok(counters.into_iter().map(|counter| (counter.bucket, Money::from_picos(counter.cost_picos))).collect())
}

/// Fills the counters of new budgets from the rows: all of them in one pass, a page of rows in each transaction.
#[derive(Debug)]
pub(super) struct Fill {
    budgets: Vec<Budget>,
    cursor: Option<Cursor>,
    done: bool,
}

impl Fill {
    /// Of those among `stored` whose counters are empty and to be filled.
    pub(super) fn of(stored: Vec<StoredBudget>) -> Self {
        let unfilled = stored.into_iter().filter(|stored| stored.counted_from.is_none());
        let budgets: Vec<Budget> = unfilled.map(|stored| stored.budget).collect();
        Self { done: budgets.is_empty(), budgets, cursor: None }
    }

    /// Whether every row has been counted.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Counts the next rows.
    pub(super) async fn page(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let page = store::calls::scan(tx, Timestamp(0), self.cursor, FILL_PAGE).await?;
        let Some(last) = page.last() else {
            self.done = true;
            return Ok(());
        };
        self.cursor = Some(Cursor::after(last));
        let mut all = Vec::new();
        for budget in &self.budgets {
            let mut buckets: BTreeMap<Timestamp, Share> = BTreeMap::new();
            for (bucket, share) in page.iter().filter_map(|call| rollup::share(&budget.scope, call)) {
                buckets.entry(bucket).or_default().add(&share);
            }
            all.extend(deltas(budget, &buckets));
        }
        store::budgets::add_spend(tx, &all).await
    }

    /// Notes that the counters hold every row.
    async fn note(&self, tx: &mut Tx) -> Result<(), StoreError> {
        for budget in &self.budgets {
            store::budgets::set_counted_from(tx, &budget.name, Timestamp(0)).await?;
        }
        Ok(())
    }

    fn holds(&self, name: &BudgetName) -> bool {
        self.budgets.iter().any(|budget| budget.name == *name)
    }
}
