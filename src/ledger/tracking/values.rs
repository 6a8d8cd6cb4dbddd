//! Budgets of each value: an account for every value that spends in the window, made as it appears.
//!
//! The counters in the database are each value's, whatever happens here. In memory at most [`MAX_VALUES`] accounts are
//! kept; what comes beyond shares one, [`OTHER`], which is told as such. Which values have an account of their own is
//! decided anew when the window turns and at a start: the dearest do.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{Changes, Tracked, asks_when_free, costs};
use crate::budget::{Accounts, Reserves, Standing, WHOLE};
use crate::domain::alert::{Arm, Cause, Told};
use crate::domain::budget::{MAX_VALUES, OTHER};
use crate::domain::money::{Money, Total};
use crate::domain::time::Timestamp;
use crate::store::budgets::{AccountStatus, BudgetStatus, Spent, Stood};
use crate::store::{self, StoreError, Tx};

/// The accounts by value; clones share what has not changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    accounts: Arc<BTreeMap<Arc<str>, Arc<Tracked>>>,
    /// Whether values came in this window that have no account of their own: from then on none gets one, whichever goes.
    /// That [`OTHER`] has an account does not say so: calls are held back of it whose bodies were not read.
    shared: bool,
    /// What admission knows of them; `None` when it is to be put together.
    standings: Option<Arc<HashMap<Arc<str>, Standing>>>,
}

impl Values {
    /// What admission is to know; `whole` is what they have in common, or the one account.
    pub(super) fn accounts(&self, whole: Standing) -> Accounts {
        if whole.budget.each.is_none() {
            return Accounts::whole(whole);
        }
        let by_value = self.standings.clone().unwrap_or_else(|| Arc::new(self.standings()));
        Accounts { common: whole, by_value, shared: self.shared }
    }

    /// Whether what is held back is not what they are shown with.
    pub(super) fn show_other_than(&self, reserves: &Reserves, place: usize, start: Timestamp) -> bool {
        let shown = self.accounts.iter();
        let mut shown = shown.map(|(value, account)| (reserves.since(place, value, start), account.reserved));
        shown.any(|(held, shown)| held != shown)
            || reserves
                .values(place)
                .any(|value| !self.accounts.contains_key(value) && reserves.since(place, value, start) != Total::ZERO)
    }

    fn standings(&self) -> HashMap<Arc<str>, Standing> {
        self.accounts.iter().map(|(value, account)| (Arc::clone(value), account.standing())).collect()
    }

    /// The account that counts a value: its own, or the one that values share.
    fn key(&self, value: &str) -> Arc<str> {
        if self.accounts.contains_key(value) {
            return value.into();
        }
        if self.is_full() { OTHER.into() } else { value.into() }
    }

    fn is_full(&self) -> bool {
        self.shared || self.accounts.len() >= MAX_VALUES
    }

    fn get_mut(&mut self, value: &str) -> Option<&mut Tracked> {
        self.standings = None;
        Arc::make_mut(&mut self.accounts).get_mut(value).map(Arc::make_mut)
    }

    fn insert(&mut self, account: Tracked) {
        self.standings = None;
        Arc::make_mut(&mut self.accounts).insert(Arc::clone(&account.value), Arc::new(account));
    }
}

/// Takes over the accounts of the window, and tells what they find passed already.
pub(super) async fn start(
    common: &mut Tracked,
    tx: &mut Tx,
    cause: Cause,
    now: Timestamp,
) -> Result<usize, StoreError> {
    fill(common, tx).await?;
    rearm(common, tx, now).await?;
    let mut alerts = 0;
    let values: Vec<Arc<str>> = common.values.accounts.keys().cloned().collect();
    for value in &values {
        if let Some(account) = common.values.get_mut(value) {
            alerts += account.judge(tx, account.window, account.spent.cost, cause, now).await?;
        }
    }
    store::budgets::clear_accounts(tx, &common.budget.name).await?;
    save(common, tx, &values.into_iter().collect(), now).await?;
    Ok(alerts)
}

/// Counts what moved rows changed, turns the window if it has ended, and raises alerts. Returns how many.
pub(super) async fn count(
    common: &mut Tracked,
    tx: &mut Tx,
    changes: &Changes,
    (reserves, place): (&Reserves, usize),
    cause: Cause,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let mut touched = BTreeSet::new();
    let turned = common.is_over(now);
    let mut cause = cause;
    if turned {
        let before = common.limit.limit();
        turn(common, tx, now).await?;
        touched.extend(common.values.accounts.keys().cloned());
        if common.budget.window.is_rolling() && common.limit.limit() != before {
            cause = Cause::Definition;
        }
    } else {
        if common.lapses(now) && common.limit_anew(tx, now).await? {
            // Another limit in the same window: what is passed is found, not crossed.
            cause = Cause::Definition;
            let limit = common.limit;
            touched.extend(common.values.accounts.keys().cloned());
            for value in &touched {
                if let Some(account) = common.values.get_mut(value) {
                    account.limit = limit;
                    account.remember(tx).await?;
                }
            }
        }
        for (value, changes) in changes {
            if changes.keys().any(|bucket| common.window.contains(*bucket)) {
                let key = opened(common, tx, value).await?;
                if let Some(account) = common.values.get_mut(&key) {
                    account.add(changes);
                }
                touched.insert(key);
            }
        }
    }
    let start = common.window.start;
    for value in reserves.values(place).filter(|value| reserves.since(place, value, start) != Total::ZERO) {
        opened(common, tx, value).await?;
    }
    let accounts = common.values.accounts.iter();
    let shown = accounts.map(|(value, account)| (value, reserves.since(place, value, start), account.reserved));
    let held: Vec<(Arc<str>, Total)> =
        shown.filter(|(_, held, shown)| held != shown).map(|(value, held, _)| (Arc::clone(value), held)).collect();
    for (value, held) in held {
        if let Some(account) = common.values.get_mut(&value) {
            account.reserved = held;
        }
        touched.insert(value);
    }
    let mut alerts = 0;
    for value in &touched {
        if let Some(account) = common.values.get_mut(value) {
            alerts += account.judge(tx, account.window, account.spent.cost, cause, now).await?;
        }
    }
    if !common.budget.window.is_rolling() {
        for (value, changes) in changes.iter().filter(|(_, changes)| changes.keys().any(|bucket| *bucket < start)) {
            // A window that has ended is judged by each value alone, whichever shared an account then.
            let mut account = account(common, Arc::clone(value), Spent::default());
            alerts += account.judge_closed(tx, changes, cause, now).await?;
        }
    }
    if !touched.is_empty() || turned {
        save(common, tx, &touched, now).await?;
    }
    Ok(alerts)
}

/// Takes over what other daemons counted in the window; one that has turned another way is let be, as both turn to the
/// same in the end, and sum anew then.
pub(super) async fn keep_up(common: &mut Tracked, tx: &mut Tx, stood: &Stood) -> Result<(), StoreError> {
    if stood.window_start != common.window.start || common.saved_at == Some(stood.as_of) {
        return Ok(());
    }
    common.saved_at = Some(stood.as_of);
    let mut gone: BTreeSet<Arc<str>> = common.values.accounts.keys().cloned().collect();
    for status in store::budgets::all_accounts(tx, &common.budget.name).await? {
        gone.remove(&status.value);
        let known = common.values.accounts.get(&status.value);
        if known.is_some_and(|known| known.spent == status.spent) {
            continue;
        }
        let reserved = known.map_or(Total::ZERO, |known| known.reserved);
        let account = remembered(common, tx, status.value, status.spent).await?;
        common.values.insert(Tracked { reserved, ..account });
    }
    common.values.shared |= common.values.accounts.len() > MAX_VALUES;
    for value in gone {
        if let Some(account) = common.values.get_mut(&value) {
            // Nothing is spent any more; it goes when it is next counted.
            account.spent = Spent::default();
            account.costs.clear();
        }
    }
    Ok(())
}

/// An account of a value, of which nothing is known yet but what it spent.
fn account(common: &Tracked, value: Arc<str>, spent: Spent) -> Tracked {
    let (told, arms, costs) = (Vec::new(), Vec::new(), BTreeMap::new());
    Tracked { value, spent, told, arms, costs, values: Values::default(), ..common.clone() }
}

/// The same with what was told of it, and armed.
async fn remembered(common: &Tracked, tx: &mut Tx, value: Arc<str>, spent: Spent) -> Result<Tracked, StoreError> {
    let mut account = account(common, value, spent);
    account.remember(tx).await?;
    account.costs = costs(tx, &common.budget, &account.value, &common.window).await?;
    Ok(account)
}

/// Makes sure that a value has an account, and says which: its own, or the one that values share.
async fn opened(common: &mut Tracked, tx: &mut Tx, value: &str) -> Result<Arc<str>, StoreError> {
    let key = common.values.key(value);
    common.values.shared |= *key == *OTHER && common.values.is_full();
    if !common.values.accounts.contains_key(&key) {
        let mut account = remembered(common, tx, Arc::clone(&key), Spent::default()).await?;
        // What it costs comes with the changes that opened it.
        account.costs.clear();
        common.values.insert(account);
    }
    Ok(key)
}

/// Arms the thresholds of values that spend was well below in the step before this one.
async fn rearm(common: &mut Tracked, tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
    let told = common.values.accounts.values().filter(|account| !account.told.is_empty());
    let told: Vec<(Arc<str>, Spent)> = told.map(|account| (Arc::clone(&account.value), account.spent)).collect();
    if told.is_empty() || !common.budget.window.is_rolling() {
        return Ok(());
    }
    let step = now.bucket();
    let before = common.budget.window_at(step.plus_millis(-1));
    let spent = store::budgets::spent_by_value(tx, &common.budget.name, before.start, before.end).await?;
    let spent: HashMap<Arc<str>, Spent> = spent.into_iter().collect();
    for (value, last) in told {
        // What several values share is no value's counter; nothing has left its window yet.
        let spent = if *value == *OTHER { last } else { spent.get(&value).copied().unwrap_or_default() };
        if let Some(account) = common.values.get_mut(&value) {
            account.rearm_at(tx, step, spent.cost).await?;
        }
    }
    Ok(())
}

/// What was told of all accounts, armed for them and spent in their buckets: read at once, as there may be many.
struct Memory {
    told: HashMap<Arc<str>, Vec<Told>>,
    arms: HashMap<Arc<str>, Vec<Arm>>,
    costs: HashMap<Arc<str>, BTreeMap<Timestamp, Money>>,
}

impl Memory {
    async fn of(common: &Tracked, tx: &mut Tx) -> Result<Self, StoreError> {
        let (budget, limit) = (&*common.budget, common.limit.limit());
        let told = store::alerts::told_all(tx, &budget.name, limit, common.told_since()).await?;
        let arms = store::budgets::arms_all(tx, budget, limit).await?;
        let mut costs: HashMap<Arc<str>, BTreeMap<Timestamp, Money>> = HashMap::new();
        if let Some(end) = common.window.end.filter(|_| asks_when_free(budget)) {
            for counter in store::budgets::counters(tx, &budget.name, common.window.start, end).await? {
                costs.entry(counter.value).or_default().insert(counter.bucket, Money::from_picos(counter.cost_picos));
            }
        }
        Ok(Self { told, arms, costs })
    }

    /// The account of a value in the window as it is now, with what was told of it before.
    fn account(&mut self, common: &Tracked, old: &Values, value: &Arc<str>, spent: Spent) -> Tracked {
        let known = old.accounts.get(value).filter(|_| common.budget.window.is_rolling());
        let (told, arms) = match known.filter(|known| known.limit.limit() == common.limit.limit()) {
            Some(known) => (known.told.clone(), known.arms.clone()),
            None => (self.told.remove(value).unwrap_or_default(), self.arms.remove(value).unwrap_or_default()),
        };
        let costs = self.costs.remove(value).unwrap_or_default();
        let base = known.map_or_else(|| account(common, Arc::clone(value), spent), |known| (**known).clone());
        Tracked { window: common.window, limit: common.limit, spent, costs, told, arms, ..base }
    }
}

/// The accounts of the window, from the counters: the dearest values have one of their own.
async fn fill(common: &mut Tracked, tx: &mut Tx) -> Result<(), StoreError> {
    let window = common.window;
    let mut memory = Memory::of(common, tx).await?;
    let name = &common.budget.name;
    let mut spent = store::budgets::spent_by_value(tx, name, window.start, window.end).await?;
    spent.retain(|(_, spent)| *spent != Spent::default());
    spent.sort_unstable_by(|a, b| (b.1.cost, &a.0).cmp(&(a.1.cost, &b.0)));
    let old = std::mem::take(&mut common.values);
    let (mut others, mut beyond) = (Spent::default(), false);
    let mut own = 0;
    for (value, spent) in spent {
        if own == MAX_VALUES || &*value == OTHER {
            others.cost += spent.cost;
            others.inline += spent.inline;
            others.unknown += spent.unknown;
            beyond = true;
            common.values.shared |= own == MAX_VALUES;
            continue;
        }
        own += 1;
        let account = memory.account(common, &old, &value, spent);
        common.values.insert(account);
    }
    if beyond {
        let account = memory.account(common, &old, &OTHER.into(), others);
        common.values.insert(account);
    }
    // One that told something and fell to nothing is kept until it is armed again.
    let fallen = old.accounts.values().filter(|account| account.waits_to_be_armed());
    for account in
        fallen.filter(|account| !common.values.accounts.contains_key(&account.value)).cloned().collect::<Vec<_>>()
    {
        let account = memory.account(common, &old, &account.value, Spent::default());
        common.values.insert(account);
    }
    Ok(())
}

/// The window has ended (a rolling one has moved on): the accounts of the one that holds `now` are summed from the
/// counters.
async fn turn(common: &mut Tracked, tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
    rearm(common, tx, now).await?;
    common.window = common.budget.window_at(now);
    common.limit_anew(tx, now).await?;
    fill(common, tx).await?;
    store::budgets::clear_accounts(tx, &common.budget.name).await
}

/// The accounts of an earlier window, to which the clock went back.
pub(super) async fn turn_back(common: &mut Tracked, tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
    common.values = Values::default();
    fill(common, tx).await?;
    store::budgets::clear_accounts(tx, &common.budget.name).await?;
    let all: BTreeSet<Arc<str>> = common.values.accounts.keys().cloned().collect();
    save(common, tx, &all, now).await
}

/// Writes where the touched accounts stand, and the budget itself: as its dearest value does.
async fn save(
    common: &mut Tracked,
    tx: &mut Tx,
    touched: &BTreeSet<Arc<str>>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let budget = Arc::clone(&common.budget);
    // Corrected to nothing, and nothing held back: it is as if it had never been.
    let empty = |account: &Tracked| {
        account.spent == Spent::default() && account.reserved == Total::ZERO && account.told.is_empty()
    };
    let mut gone = Vec::new();
    let mut statuses = Vec::new();
    for value in touched {
        let Some(account) = common.values.accounts.get(value) else { continue };
        if empty(account) {
            gone.push(Arc::clone(value));
            continue;
        }
        statuses.push(AccountStatus {
            value: Arc::clone(value),
            spent: account.spent,
            reserved: account.reserved,
            state: account.state(),
            as_of: now,
        });
    }
    for value in &gone {
        common.values.standings = None;
        Arc::make_mut(&mut common.values.accounts).remove(value);
    }
    store::budgets::drop_accounts(tx, &budget.name, &gone).await?;
    store::budgets::save_accounts(tx, &budget.name, &statuses).await?;
    let as_of = common.save_time(now);
    let accounts = &common.values.accounts;
    let top = accounts.values().max_by(|a, b| (a.spent.cost, &b.value).cmp(&(b.spent.cost, &a.value)));
    let (spent, reserved) = top.map(|top| (top.spent, top.reserved)).unwrap_or_default();
    let status = BudgetStatus {
        window: common.window,
        limit: common.limit,
        spent,
        reserved,
        state: top.map_or_else(|| common.state(), |top| top.state()),
        as_of,
        top: top.map(|top| Arc::clone(&top.value)),
        values: i64::try_from(accounts.len()).unwrap_or(i64::MAX),
    };
    common.values.standings = Some(Arc::new(common.values.standings()));
    debug_assert_eq!(&*common.value, WHOLE, "what values have in common has none of its own");
    store::budgets::set_status(tx, &budget.name, &status).await
}

impl Tracked {
    /// Whether a rolling threshold was told that is not armed again.
    fn waits_to_be_armed(&self) -> bool {
        let again = |told: &Told| {
            self.arms.iter().any(|arm| arm.threshold == told.key.threshold && arm.armed_at > told.crossed_at)
        };
        self.budget.window.is_rolling() && self.told.iter().any(|told| !again(told))
    }
}
