//! Counts budgets inside the writer's transaction and tells what they have to tell.
//!
//! Each budget has counters in 15-minute buckets, which depend on its scope alone; its window is a range
//! of them. The current window's sum is kept here and moves with every row; a window that turns, and a
//! closed one that a late settlement changes, is summed from the buckets.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fold::Move;
use crate::budget::{Accounts, Reserves, Standing, WHOLE};
use crate::domain::alert::{AlertKey, Arm, BudgetState, Cause, Crossing, Delivery, Evaluation, Told};
use crate::domain::budget::change::{Action, Actor, Door, Entry};
use crate::domain::budget::terms::{Terms, WindowLimit, rolls_over};
use crate::domain::budget::{Budget, BudgetName, WhenExceeded};
use crate::domain::call::Call;
use crate::domain::money::{Money, Total};
use crate::domain::rollup::{self, Share};
use crate::domain::time::{BUCKET_MS, DAY_MS, Timestamp};
use crate::domain::window::Window;
use crate::store::alerts::Alert;
use crate::store::budgets::{BudgetStatus, SpendDelta, Spent, StoredBudget};
use crate::store::calls::Cursor;
use crate::store::forecasts::StoredForecast;
use crate::store::{self, StoreError, Tx};

mod outlook;
mod values;

use self::values::Values;

/// Rows looked at in one transaction when new budgets are filled.
const FILL_PAGE: u32 = 5_000;

/// What rows change in a budget's buckets, by value; the value of a budget that is not of each is [`WHOLE`].
type Changes = BTreeMap<Arc<str>, BTreeMap<Timestamp, Share>>;

/// How long what a window took over is kept, in milliseconds: as long as that window may still tell something, and more.
const ROLLOVERS_KEPT_MS: i64 = 800 * DAY_MS;

/// One account, a budget's or one of its values', and what it stands at.
#[derive(Clone, Debug)]
pub(super) struct Tracked {
    budget: Arc<Budget>,
    /// The value whose account it is; empty for a whole budget.
    value: Arc<str>,
    /// The accounts of a budget of each value: what is kept beside them tells only what they have in common.
    values: Values,
    defined_at: Timestamp,
    shaped_at: Timestamp,
    terms: Terms,
    window: Window,
    /// The limit of the window.
    limit: WindowLimit,
    spent: Spent,
    /// What is shown to be held back of it.
    reserved: Total,
    /// What each bucket of the window cost, for a rolling budget that blocks: says when it lets calls go again.
    costs: BTreeMap<Timestamp, Money>,
    told: Vec<Told>,
    arms: Vec<Arm>,
    /// Where it was heading at the last step; `None`: not made out yet.
    outlook: Option<Arc<StoredForecast>>,
    /// When that was made, so that it is not made again and again; `None`: in an earlier life.
    looked_at: Option<Timestamp>,
    /// Whether the past that it was made from has become another since.
    past_changed: bool,
    /// The time under which it was last written where it stands, or found; `None`: neither yet.
    saved_at: Option<Timestamp>,
}

/// All budgets; cloned for each transaction, so that one that fails leaves no trace.
#[derive(Clone, Debug, Default)]
pub(super) struct Tracker {
    budgets: Vec<Tracked>,
    /// What other daemons had committed when it last took over what they counted.
    others: i64,
}

impl Tracker {
    /// Takes over the budgets in force, whose counters are filled, and tells what they find passed already.
    pub(super) async fn start(&mut self, tx: &mut Tx, filled: &Fill, now: Timestamp) -> Result<usize, StoreError> {
        filled.note(tx).await?;
        let mut alerts = 0;
        let mut outlooks = store::forecasts::load(tx).await?;
        for stored in store::budgets::load(tx).await? {
            // One whose fill was cut by the end of an earlier start is still as new as it was.
            let is_new = stored.defined_at == now || filled.holds(&stored.budget.name);
            let cause = if is_new { Cause::Definition } else { Cause::Spend };
            let outlook = outlooks.remove(stored.budget.name.as_str()).map(Arc::new);
            let (mut tracked, raised) = Tracked::open(tx, stored, cause, now).await?;
            tracked.outlook = outlook;
            alerts += raised;
            self.budgets.push(tracked);
        }
        Ok(alerts)
    }

    /// Takes over one budget whose definition or terms changed, and tells what it finds passed already. Returns how much
    /// that is.
    pub(super) async fn reopen(&mut self, tx: &mut Tx, name: &BudgetName, now: Timestamp) -> Result<usize, StoreError> {
        self.budgets.retain(|tracked| tracked.budget.name != *name);
        let Some(stored) = store::budgets::in_force(tx, name).await? else { return Ok(0) };
        let (tracked, alerts) = Tracked::open(tx, stored, Cause::Definition, now).await?;
        let place = self.budgets.partition_point(|other| other.budget.name < tracked.budget.name);
        self.budgets.insert(place, tracked);
        Ok(alerts)
    }

    /// Whether others have counted nothing since it took over what they counted.
    pub(super) fn is_abreast(&self, others: i64) -> bool {
        self.others == others
    }

    /// Takes over what other daemons counted. Whoever writes has done so before, so each alert is raised by the
    /// transaction that brings it about, and nothing is judged here.
    pub(super) async fn keep_up(&mut self, tx: &mut Tx, others: i64) -> Result<(), StoreError> {
        let stood = store::budgets::stood(tx).await?;
        for tracked in &mut self.budgets {
            let Some(stood) = stood.get(tracked.budget.name.as_str()) else { continue };
            if tracked.budget.each.is_some() {
                values::keep_up(tracked, tx, stood).await?;
            } else if stood.window_start != tracked.window.start || stood.spent != tracked.spent {
                tracked.sum(tx).await?;
                tracked.remember(tx).await?;
            }
        }
        self.others = others;
        Ok(())
    }

    /// The limit of a budget's window, as it is now.
    pub(super) fn limit_of(&self, name: &BudgetName) -> Option<WindowLimit> {
        self.budgets.iter().find(|tracked| tracked.budget.name == *name).map(|tracked| tracked.limit)
    }

    /// Whether a window has ended that nothing has turned yet, an override has, or a forecast is of an earlier step.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let turns = |tracked: &Tracked| tracked.is_over(now) || tracked.is_ahead(now) || tracked.lapses(now);
        self.budgets.iter().any(turns) || self.is_outdated(now)
    }

    /// Turns back to the window that holds `now` where a clock that was ahead has turned to a later one: what is spent would
    /// count in none until then. What was told stays told, and thresholds armed stay armed. `now` is the present, never that
    /// of rows of the past.
    pub(super) async fn turn_back(&mut self, tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
        for tracked in self.budgets.iter_mut().filter(|tracked| tracked.is_ahead(now)) {
            store::budget_terms::unroll(tx, &tracked.budget.name, now).await?;
            tracked.window = tracked.budget.window_at(now);
            tracked.limit = tracked.limit_of(tx, &tracked.window.clone(), now).await?;
            tracked.outlook = None;
            tracing::warn!(budget = %tracked.budget.name, "the clock went back: the budget counts in an earlier window again");
            if tracked.budget.each.is_some() {
                values::turn_back(tracked, tx, now).await?;
                continue;
            }
            tracked.sum(tx).await?;
            tracked.remember(tx).await?;
            tracked.save(tx, now).await?;
        }
        Ok(())
    }

    /// Whether what is held back is not what budgets are shown with; `reserves` stand in the order of the standings.
    pub(super) fn shows_other_than(&self, reserves: &Reserves) -> bool {
        let mut budgets = self.budgets.iter().enumerate();
        budgets.any(|(place, tracked)| {
            if tracked.budget.each.is_some() {
                return tracked.values.show_other_than(reserves, place, tracked.window.start);
            }
            reserves.since(place, WHOLE, tracked.window.start) != tracked.reserved
        })
    }

    /// Counts the moved rows, turns the windows that have ended, and raises alerts. Returns how many.
    pub(super) async fn count(
        &mut self,
        tx: &mut Tx,
        moves: &[Move],
        reserves: &Reserves,
        cause: Cause,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let by_budget: Vec<Changes> = self.budgets.iter().map(|tracked| tracked.changes(moves)).collect();
        let of_budgets = self.budgets.iter().zip(&by_budget);
        let deltas: Vec<SpendDelta> =
            of_budgets.flat_map(|(tracked, changes)| deltas(&tracked.budget, changes)).collect();
        store::budgets::add_spend(tx, &deltas).await?;
        let mut alerts = 0;
        for ((place, tracked), mut changes) in self.budgets.iter_mut().enumerate().zip(by_budget) {
            if tracked.budget.each.is_some() {
                alerts += values::count(tracked, tx, &changes, (reserves, place), cause, now).await?;
                continue;
            }
            let changes = changes.remove(WHOLE).unwrap_or_default();
            let (turned, lapsed) = (tracked.is_over(now), tracked.lapses(now));
            let held = reserves.since(place, WHOLE, tracked.window.start);
            if changes.is_empty() && !turned && !lapsed && held == tracked.reserved {
                continue;
            }
            if !changes.is_empty() {
                tracked.forget_past(&changes);
            }
            if turned {
                tracked.turn(tx, now).await?;
            } else {
                tracked.add(&changes);
            }
            tracked.reserved = reserves.since(place, WHOLE, tracked.window.start);
            let mut cause = cause;
            if turned || lapsed {
                let anew = turned && !tracked.budget.window.is_rolling();
                if tracked.limit_anew(tx, now).await? && !anew {
                    // Another limit in the same window: what is passed is found, not crossed.
                    cause = Cause::Definition;
                }
            }
            alerts += tracked.judge(tx, tracked.window, tracked.spent.cost, cause, now).await?;
            if !tracked.budget.window.is_rolling() {
                alerts += tracked.judge_closed(tx, &changes, cause, now).await?;
            }
            tracked.save(tx, now).await?;
        }
        Ok(alerts)
    }

    /// What admission is to know.
    pub(super) fn standings(&self) -> Vec<Accounts> {
        self.budgets.iter().map(|tracked| tracked.values.accounts(tracked.standing())).collect()
    }
}

impl Tracked {
    /// What admission is to know of it.
    fn standing(&self) -> Standing {
        let limit = self.limit.limit();
        Standing {
            budget: Arc::clone(&self.budget),
            window: self.window,
            limit,
            next_limit: WindowLimit { rolled_over: Money::ZERO, topped_up: Money::ZERO, ..self.limit }.limit(),
            paused: self.terms.paused_at.is_some(),
            spent: self.spent.cost,
            frees_at: crate::budget::frees_at(self.budget.window, limit, self.spent.cost, &self.costs),
            inline: self.spent.inline,
            unknown: self.spent.unknown,
        }
    }

    /// A budget whose counters are filled, as it stands now, judged once. Returns it with how many alerts that raised.
    async fn open(
        tx: &mut Tx,
        stored: StoredBudget,
        mut cause: Cause,
        now: Timestamp,
    ) -> Result<(Self, usize), StoreError> {
        let StoredBudget { budget, defined_at, shaped_at, terms, .. } = stored;
        if terms.override_at(now).is_none() && end_of_override(tx, &budget, &terms, now).await? {
            cause = Cause::Definition;
        }
        let window = budget.window_at(now);
        let value: Arc<str> = WHOLE.into();
        let spent = store::budgets::spent_of(tx, &budget.name, &value, window.start, window.end).await?;
        let costs = costs(tx, &budget, &value, &window).await?;
        let limit = WindowLimit::plain(budget.limit);
        let (told, arms, budget) = (Vec::new(), Vec::new(), Arc::new(budget));
        let mut tracked = Self {
            budget,
            value,
            values: Values::default(),
            defined_at,
            shaped_at,
            terms,
            window,
            limit,
            spent,
            // Shown anew by the next transaction: nothing is held back by a definition.
            reserved: Total::ZERO,
            costs,
            told,
            arms,
            // Looked ahead anew by the next transaction.
            outlook: None,
            looked_at: None,
            past_changed: false,
            saved_at: None,
        };
        tracked.limit = tracked.limit_of(tx, &window, now).await?;
        if tracked.budget.each.is_some() {
            let alerts = values::start(&mut tracked, tx, cause, now).await?;
            return Ok((tracked, alerts));
        }
        tracked.remember(tx).await?;
        tracked.rearm(tx, now).await?;
        let alerts = tracked.judge(tx, window, spent.cost, cause, now).await?;
        tracked.save(tx, now).await?;
        Ok((tracked, alerts))
    }

    /// How it stands.
    fn state(&self) -> BudgetState {
        match self.terms.paused_at {
            Some(_) => BudgetState::Paused,
            None => BudgetState::of(&self.budget, self.limit.limit(), self.spent.cost),
        }
    }

    /// Whether the override that its limit is made of has come to its end.
    fn lapses(&self, now: Timestamp) -> bool {
        self.limit.overridden.is_some() && self.terms.override_at(now).is_none()
    }

    /// Puts the window's limit together anew; whether it is another than before, as which it has told nothing yet.
    async fn limit_anew(&mut self, tx: &mut Tx, now: Timestamp) -> Result<bool, StoreError> {
        if self.lapses(now) {
            let budget = Arc::clone(&self.budget);
            end_of_override(tx, &budget, &self.terms, now).await?;
        }
        let before = self.limit.limit();
        let window = self.window;
        self.limit = self.limit_of(tx, &window, now).await?;
        let another = self.limit.limit() != before;
        if another {
            self.remember(tx).await?;
            // Its times and thresholds are those of the limit before.
            self.outlook = None;
        }
        Ok(another)
    }

    /// The limit of a window as it is, or for one that has ended was, at `at`.
    async fn limit_of(&self, tx: &mut Tx, window: &Window, at: Timestamp) -> Result<WindowLimit, StoreError> {
        let name = &self.budget.name;
        Ok(WindowLimit {
            own: self.budget.limit,
            rolled_over: self.rolled_over(tx, window).await?,
            topped_up: store::budget_terms::topped_up(tx, name, window).await?,
            overridden: self.terms.override_at(at).map(|one| one.limit),
        })
    }

    /// What a window took over from the one before. It is found out once, when the window is first turned to, so that
    /// late settlements of the window before do not move a limit that people were told of.
    async fn rolled_over(&self, tx: &mut Tx, window: &Window) -> Result<Money, StoreError> {
        let budget = &self.budget;
        if !budget.rollover {
            return Ok(Money::ZERO);
        }
        if let Some(known) = store::budget_terms::rolled_over(tx, &budget.name, window.start).await? {
            return Ok(known);
        }
        let before = budget.window_before(window).filter(|before| before.end > Some(self.shaped_at));
        let (Some(before), true) = (before, *window == self.window) else { return Ok(Money::ZERO) };
        // Its own limit then, which may have changed since.
        let last = window.start.plus_millis(-1);
        let then = store::budget_changes::definition_at(tx, &budget.name, last).await?;
        let own = then.map_or(budget.limit, |then| then.limit);
        let topped_up = store::budget_terms::topped_up(tx, &budget.name, &before).await?;
        let spent = store::budgets::spent(tx, &budget.name, before.start, before.end).await?;
        let amount = rolls_over(WindowLimit { topped_up, ..WindowLimit::plain(own) }.limit(), spent.cost);
        store::budget_terms::roll_over(tx, &budget.name, window.start, amount).await?;
        let old = window.start.plus_millis(-ROLLOVERS_KEPT_MS);
        store::budget_terms::forget_rollovers(tx, &budget.name, Some(old)).await?;
        Ok(amount)
    }

    /// Since when what was told is of its window.
    fn told_since(&self) -> Timestamp {
        // A rolling threshold armed long ago is told under that instant; a calendar one under its window's start.
        if self.budget.window.is_rolling() { self.defined_at } else { self.window.start }
    }

    /// Reads what was told and armed under the limit as it is.
    async fn remember(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let limit = self.limit.limit();
        self.told = store::alerts::told(tx, &self.budget.name, &self.value, limit, self.told_since()).await?;
        self.arms = store::budgets::arms(tx, &self.budget, &self.value, limit).await?;
        Ok(())
    }

    /// Whether its window has not begun yet: the clock was ahead when it was turned to.
    fn is_ahead(&self, now: Timestamp) -> bool {
        match (self.budget.window.is_rolling(), self.window.end) {
            // One that rolls ends with the step that it was moved in.
            (true, Some(end)) => now.plus_millis(BUCKET_MS) < end,
            _ => now < self.window.start,
        }
    }

    /// Whether its window has ended. Rows of the past turn nothing back; of a clock set anew see [`Tracker::turn_back`].
    fn is_over(&self, now: Timestamp) -> bool {
        self.window.end.is_some_and(|end| now >= end)
    }

    /// What the moved rows change in the buckets of each of its values; changes of nothing are left out.
    fn changes(&self, moves: &[Move]) -> Changes {
        let mut all = Changes::new();
        let budget = &self.budget;
        let mut change = |call: Option<&Call>, change: fn(&mut Share, &Share)| {
            let share = call.and_then(|call| rollup::share(&budget.scope, budget.each.as_ref(), call));
            let Some((value, bucket, share)) = share else { return };
            if !all.contains_key(value) {
                all.insert(value.into(), BTreeMap::new());
            }
            if let Some(buckets) = all.get_mut(value) {
                change(buckets.entry(bucket).or_default(), &share);
            }
        };
        for moved in moves {
            change(moved.before.as_deref(), Share::subtract);
            change(moved.after.as_deref(), Share::add);
        }
        for buckets in all.values_mut() {
            buckets.retain(|_, share| !share.is_nothing());
        }
        all.retain(|_, buckets| !buckets.is_empty());
        all
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
        self.window = budget.window_at(now);
        self.sum(tx).await?;
        if !budget.window.is_rolling() {
            // Only what may still be asked is kept in memory: this window's; closed ones are asked of the database.
            self.told.retain(|told| told.key.window_key >= self.window.start);
        }
        Ok(())
    }

    /// Sums its window from the buckets.
    async fn sum(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let Window { start, end } = self.window;
        self.spent = store::budgets::spent_of(tx, &self.budget.name, &self.value, start, end).await?;
        self.costs = costs(tx, &self.budget, &self.value, &self.window).await?;
        Ok(())
    }

    /// The time under which it is written where it stands: another than the last, so that other daemons see that it was.
    fn save_time(&mut self, now: Timestamp) -> Timestamp {
        let as_of = if self.saved_at == Some(now) { now.plus_millis(1) } else { now };
        self.saved_at = Some(as_of);
        as_of
    }

    /// Arms the thresholds of a rolling budget that spend was well below in the step before this one.
    async fn rearm(&mut self, tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
        let budget = Arc::clone(&self.budget);
        if !budget.window.is_rolling() || self.told.is_empty() {
            return Ok(());
        }
        let step = now.bucket();
        let before = budget.window_at(step.plus_millis(-1));
        let spent = store::budgets::spent_of(tx, &budget.name, &self.value, before.start, before.end).await?;
        self.rearm_at(tx, step, spent.cost).await
    }

    /// The same at `step`, before which so much was spent.
    async fn rearm_at(&mut self, tx: &mut Tx, step: Timestamp, spent: Total) -> Result<(), StoreError> {
        let budget = Arc::clone(&self.budget);
        let armed = self.evaluation(&budget).rearm(step, spent);
        for arm in &armed {
            store::budgets::set_arm(tx, &budget.name, &self.value, arm).await?;
        }
        self.arms.retain(|old| !armed.iter().any(|new| new.threshold == old.threshold && new.limit == old.limit));
        self.arms.extend(armed);
        Ok(())
    }

    /// Closed windows that late settlements or imports changed.
    async fn judge_closed(
        &mut self,
        tx: &mut Tx,
        changes: &BTreeMap<Timestamp, Share>,
        cause: Cause,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let budget = Arc::clone(&self.budget);
        let mut windows: Vec<Window> = changes
            .keys()
            .filter(|bucket| **bucket < self.window.start)
            .map(|bucket| budget.window_at(*bucket))
            .collect();
        windows.dedup();
        let mut alerts = 0;
        let limit_now = self.limit;
        for window in windows {
            let spent = store::budgets::spent_of(tx, &budget.name, &self.value, window.start, window.end).await?;
            let last = window.end.unwrap_or(now).plus_millis(-1);
            self.limit = self.limit_of(tx, &window, last).await?;
            let told = store::alerts::told(tx, &budget.name, &self.value, self.limit.limit(), window.start).await?;
            self.told.retain(|known| known.key.window_key < window.start);
            self.told.extend(told);
            alerts += self.judge(tx, window, spent.cost, cause, now).await?;
            if self.limit.limit() != limit_now.limit() {
                self.limit = limit_now;
                self.remember(tx).await?;
            }
            self.limit = limit_now;
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
        if self.terms.paused_at.is_some() {
            return Ok(0);
        }
        let budget = Arc::clone(&self.budget);
        let crossings = self.evaluation(&budget).decide(window, spent, cause, now);
        for crossing in &crossings {
            self.raise(tx, crossing).await?;
        }
        Ok(crossings.len())
    }

    async fn raise(&mut self, tx: &mut Tx, crossing: &Crossing) -> Result<(), StoreError> {
        let snoozed = store::snoozes::active(tx, &crossing.key.budget, crossing.crossed_at).await?.is_some();
        let recipients: &[String] = match crossing.delivery {
            Delivery::Mail if !snoozed => &self.budget.notify,
            Delivery::Mail | Delivery::NotMailed(_) => &[],
        };
        let alert = Alert {
            alert_id: alert_id(&crossing.key),
            budget: crossing.key.budget.clone(),
            value: Arc::clone(&crossing.key.value),
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
            limit_usd = %crossing.key.limit,
            recipients = recipients.len(),
            "a budget has reached a threshold"
        );
        Ok(())
    }

    fn evaluation<'a>(&'a self, budget: &'a Budget) -> Evaluation<'a> {
        Evaluation {
            budget,
            value: &self.value,
            limit: self.limit.limit(),
            defined_at: self.defined_at,
            told: &self.told,
            arms: &self.arms,
        }
    }

    async fn save(&mut self, tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
        let status = BudgetStatus {
            window: self.window,
            limit: self.limit,
            spent: self.spent,
            reserved: self.reserved,
            state: self.state(),
            as_of: self.save_time(now),
            top: None,
            values: 0,
        };
        store::budgets::set_status(tx, &self.budget.name, &status).await
    }
}

/// Notes in the audit trail that an override came to its end by itself; `false` where there is none, or it is noted.
async fn end_of_override(tx: &mut Tx, budget: &Budget, terms: &Terms, now: Timestamp) -> Result<bool, StoreError> {
    let Some(ended) = terms.overridden.as_ref().filter(|one| one.until <= now) else { return Ok(false) };
    let entry = Entry {
        at: ended.until,
        budget: budget.name.clone(),
        action: Action::OverrideEnded,
        by: Actor::new(Door::Clock, "its end"),
        before: None,
        after: None,
        limit_before: Some(ended.limit),
        limit_after: Some(budget.limit),
        note: String::new(),
    };
    store::budget_changes::record(tx, &entry, true).await
}

/// The same crossing has the same ID, whoever sees it: 32 hex digits of its identity's hash.
fn alert_id(key: &AlertKey) -> String {
    let mut identity = format!("{}|{}|{}|{}", key.budget, key.window_key.millis(), key.threshold, key.limit.picos());
    if !key.value.is_empty() {
        identity = format!("{identity}|{}", key.value);
    }
    crate::domain::ids::short_hash(&identity)
}

fn deltas(budget: &Budget, changes: &Changes) -> impl Iterator<Item = SpendDelta> {
    let of_value = |(value, buckets)| std::iter::repeat(value).zip(buckets);
    changes.iter().flat_map(of_value).map(|(value, (bucket, share)): (&Arc<str>, (&Timestamp, &Share))| SpendDelta {
        budget: budget.name.clone(),
        value: Arc::clone(value),
        bucket: *bucket,
        cost_picos: share.cost_picos,
        inline_picos: share.inline_picos,
        unknown: share.unknown,
    })
}

/// Whether somebody may be told when the budget's spend falls below its limit again.
fn asks_when_free(budget: &Budget) -> bool {
    budget.window.is_rolling() && budget.when_exceeded == WhenExceeded::Block
}

/// What each bucket of the window cost, if that is asked for.
async fn costs(
    tx: &mut Tx,
    budget: &Budget,
    value: &str,
    window: &Window,
) -> Result<BTreeMap<Timestamp, Money>, StoreError> {
    let Some(end) = window.end.filter(|_| asks_when_free(budget)) else { return Ok(BTreeMap::new()) };
    let counters = store::budgets::counters_of(tx, &budget.name, value, window.start, end).await?;
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
            let mut changes = Changes::new();
            let shares = page.iter().filter_map(|call| rollup::share(&budget.scope, budget.each.as_ref(), call));
            for (value, bucket, share) in shares {
                changes.entry(value.into()).or_default().entry(bucket).or_default().add(&share);
            }
            all.extend(deltas(budget, &changes));
        }
        store::budgets::add_spend(tx, &all).await
    }

    /// Notes that the counters hold every row.
    pub(super) async fn note(&self, tx: &mut Tx) -> Result<(), StoreError> {
        for budget in &self.budgets {
            store::budgets::set_counted_from(tx, &budget.name, Timestamp(0)).await?;
        }
        Ok(())
    }

    /// The budgets it fills.
    pub(super) fn names(&self) -> impl Iterator<Item = &BudgetName> {
        self.budgets.iter().map(|budget| &budget.name)
    }

    fn holds(&self, name: &BudgetName) -> bool {
        self.budgets.iter().any(|budget| budget.name == *name)
    }
}
