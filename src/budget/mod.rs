//! What budgets stand at, in memory: what admission asks before a call is sent, and what it holds back for the call.
//!
//! The ledger's writer publishes the standings after each commit, and with them which calls' costs they now hold, so that
//! no cost is ever counted beside its estimate and none in between is missed; nobody else changes what is spent. Admission
//! checks and reserves under one lock, over all budgets that a call may count in, and waits for nothing. Where several
//! daemons share a database, each admits from its share of what is left, which a task of its own draws ([`keeper`], [`sharing`]).

mod asker;
mod grants;
mod index;
pub mod keeper;
mod recent;
mod reserve;
pub mod sharing;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use self::asker::Asker;
pub use self::asker::CallChange;
use self::grants::Grants;
use self::index::Index;
use self::recent::{Costs, Recent};
use self::reserve::Place;
pub use self::reserve::{Hold, Reserved, Reserves, WHOLE};
pub use self::sharing::Denied;
use self::sharing::{Lacking, Turn};
use crate::domain::budget::{Budget, BudgetName, MAX_VALUES, OTHER, OnLedgerFailure, WhenExceeded};
use crate::domain::catalogue::Catalogue;
use crate::domain::estimate::{self, Size};
use crate::domain::ids::CallId;
use crate::domain::money::{Money, Total};
use crate::domain::scope::AdmissionSubject;
use crate::domain::time::{BUCKET_MS, Timestamp};
use crate::domain::window::{Window, WindowKind};
use crate::domain::zone;

/// Where one budget stood after the last commit.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The budget.
    pub budget: Arc<Budget>,
    /// Its window at that time.
    pub window: Window,
    /// The limit of that window: the budget's own, or what holds in its place.
    pub limit: Money,
    /// The limit of the window after it, as far as it is known: without what was topped up or rolled over.
    pub next_limit: Money,
    /// Whether it is paused: it refuses nothing.
    pub paused: bool,
    /// What the window's rows cost: charged plus upstream, unknown costs left out.
    pub spent: Total,
    /// When a rolling window's spend falls below the limit if nothing more is spent; `None`: it is below, or never will be.
    pub frees_at: Option<Timestamp>,
    /// The part of it that is the replies' and not yet settled.
    pub inline: Total,
    /// Rows of the window whose cost is unknown.
    pub unknown: i64,
}

impl Standing {
    /// Whether it has a successor with nothing in it: its window ended after the last commit.
    fn is_over(&self, now: Timestamp) -> bool {
        self.window.end.is_some_and(|end| now >= end) && !self.budget.window.is_rolling()
    }

    /// What was spent in the window that holds `now`; nothing yet, if that window began after the last commit.
    fn spent_at(&self, now: Timestamp) -> Total {
        if self.is_over(now) { Total::ZERO } else { self.spent }
    }

    /// The limit of the window that holds `now`. What rolls over into one that began after the last commit is known with
    /// the next.
    fn limit_at(&self, now: Timestamp) -> Money {
        if self.is_over(now) { self.next_limit } else { self.limit }
    }

    /// When the window that holds `now` began.
    fn start_at(&self, now: Timestamp) -> Timestamp {
        self.window.end.filter(|_| self.is_over(now)).unwrap_or(self.window.start)
    }

    /// When the window that holds `now` ends.
    fn end_at(&self, now: Timestamp) -> Option<Timestamp> {
        if self.is_over(now) { self.budget.window_at(now).end } else { self.window.end }
    }

    /// When it begins anew: at its window's end, or when enough has left a rolling one.
    fn resets_at(&self) -> Option<Timestamp> {
        if self.budget.window.is_rolling() { self.frees_at } else { self.window.end }
    }
}

/// Where a budget's accounts stood after the last commit.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// What they have in common, and a value that spent nothing yet stands at.
    pub common: Standing,
    /// The accounts: one under [`WHOLE`], or those of a budget's values.
    pub by_value: Arc<HashMap<Arc<str>, Standing>>,
    /// Whether values that have none there share one, as more came than have an account of their own.
    pub shared: bool,
}

impl Accounts {
    /// Those of a budget that is one account.
    pub fn whole(standing: Standing) -> Self {
        let by_value = Arc::new(HashMap::from([(Arc::from(WHOLE), standing.clone())]));
        Self { common: standing, by_value, shared: false }
    }

    /// The account of a value: its own, or the one that values share.
    fn key(&self, value: Arc<str>) -> Arc<str> {
        let full = self.shared || self.by_value.len() >= MAX_VALUES;
        if full && !self.by_value.contains_key(&value) { OTHER.into() } else { value }
    }

    /// Where the account stands.
    fn standing(&self, value: &str) -> &Standing {
        self.by_value.get(value).unwrap_or(&self.common)
    }
}

/// A call that asks to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// What it will be known by.
    pub call_id: CallId,
    /// Who it is for and what it asks.
    pub subject: AdmissionSubject<'a>,
    /// How large it is.
    pub size: Size,
}

/// Why a call is not sent: it does not fit into a budget that blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// The budget's name.
    pub budget: String,
    /// The value whose account it is; `None` for a budget that is one account.
    pub value: Option<String>,
    /// Its limit.
    pub limit: Total,
    /// What was spent in its window.
    pub spent: Total,
    /// What is held back for calls whose cost is not known yet.
    pub reserved: Total,
    /// What the refused call is taken to cost.
    pub estimate: Money,
    /// When its window ends (a rolling one: when enough has left it), as RFC 3339 in the budget's zone; `None`: never, or
    /// when calls under way turn out to cost less.
    pub resets_at: Option<String>,
}

impl Exceeded {
    /// It does not fit into this account, of which the limit, what is spent and what is held back are `stands`.
    fn of(standing: &Standing, value: &str, stands: (Money, Total, Total), estimate: Money) -> Self {
        let (limit, spent, reserved) = stands;
        Self {
            budget: standing.budget.name.to_string(),
            value: (*value != *WHOLE).then(|| value.to_owned()),
            limit: limit.into(),
            spent,
            reserved,
            estimate,
            resets_at: standing.resets_at().map(|at| zone::to_rfc3339(standing.budget.zone, at)),
        }
    }
}

/// What is held back for a call that may be sent. Let go when it is dropped, unless [`Reservation::keep`] is called.
#[derive(Debug)]
#[must_use = "dropped, it holds nothing back"]
pub struct Reservation {
    /// `None` once it is the ledger's to let go.
    book: Option<Arc<Book>>,
    call_id: CallId,
    estimate: Money,
}

impl Reservation {
    /// What the call is taken to cost; more than nothing.
    pub fn estimate(&self) -> Money {
        self.estimate
    }

    /// The ledger will hear of the call and of its end: what is held back stays so until it publishes the cost, or that
    /// there will be none.
    pub fn keep(mut self) {
        self.book = None;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(book) = &self.book {
            book.release([self.call_id]);
        }
    }
}

/// The budgets in force and which calls they look at; made anew when one changes.
#[derive(Debug, Default)]
struct Board {
    /// Which one it is.
    number: u64,
    budgets: Vec<Arc<Budget>>,
    /// Those that admission asks.
    index: Index,
    /// Whether one has a rule of its own for a ledger that can not be written.
    overrides: bool,
}

impl Board {
    fn new(number: u64, budgets: Vec<Arc<Budget>>) -> Self {
        let overrides = budgets.iter().any(|budget| budget.on_ledger_failure.is_some());
        let asked = |budget: &Budget| budget.when_exceeded == WhenExceeded::Block || budget.on_ledger_failure.is_some();
        let scopes = budgets.iter().enumerate().filter(|(_, budget)| asked(budget));
        let index = Index::new(scopes.map(|(place, budget)| (place, &budget.scope)));
        Self { number, budgets, index, overrides }
    }

    /// The budgets among those asked that may count this call.
    fn matching<'a>(&'a self, call: &AdmissionSubject<'_>) -> impl Iterator<Item = (usize, &'a Budget)> {
        let found = self.index.find(call).into_iter().map(|place| (place, &*self.budgets[place]));
        found.filter(|(_, budget)| budget.scope.may_match(call))
    }

    /// The budgets that something is held back of for this call, and under which value. A call that names no value has
    /// none to hold back of.
    fn places(&self, call: &AdmissionSubject<'_>) -> Vec<Place> {
        self.matching(call)
            .filter(|(_, budget)| budget.when_exceeded == WhenExceeded::Block)
            .filter_map(|(place, budget)| match &budget.each {
                None => Some((place, WHOLE.into())),
                Some(each) => Some((place, each.of_call(call)?.into())),
            })
            .collect()
    }
}

/// What is held back for a call.
#[derive(Debug)]
struct Held {
    hold: Hold,
    places: Vec<Place>,
    asker: Asker,
    /// Whether its row says so in the database, where other daemons see it and may let it go.
    written: bool,
}

#[derive(Debug, Default)]
struct State {
    /// The [`Board`] that places stand for.
    board: u64,
    budgets: Vec<Accounts>,
    reserves: Reserves,
    held: HashMap<CallId, Held>,
    /// What the last calls of each budget cost.
    costs: Vec<Costs>,
    recent: Recent,
    /// This daemon's shares; `None`: it is the only one, and admits from all that is left.
    grants: Option<Grants>,
}

/// The standings of all budgets, and what is held back of each.
#[derive(Debug, Default)]
pub struct Book {
    board: ArcSwap<Board>,
    state: Mutex<State>,
    /// Wakes who draws shares.
    asked: Notify,
    /// The last round that ended.
    rounds: watch::Sender<u64>,
    /// Whether it has shares, so that asking takes no lock.
    shared: AtomicBool,
    turn: tokio::sync::Mutex<Turn>,
}

impl Book {
    /// Holds back what a call may cost of every blocking budget that may have to count it, of all or of none; refuses it
    /// where one has no room for it. `None`: nothing needs to be held back, as no such budget counts the call or it is free.
    ///
    /// Of several budgets without room the one that resets last is named: before that, trying again is idle.
    pub fn admit(
        self: &Arc<Self>,
        wish: &Wish<'_>,
        catalogue: &Catalogue,
        now: Timestamp,
    ) -> Result<Option<Reservation>, Box<Exceeded>> {
        self.take(wish, catalogue, now, |state, _, places, estimate| match state.refusing(estimate, places, now) {
            Some(refusing) => Err(Box::new(refusing)),
            None => Ok(()),
        })
    }

    /// As [`Book::admit`], from this daemon's share of what is left where it has one; what does not fit into that is
    /// [`Denied::Lacking`].
    pub fn admit_from_share(
        self: &Arc<Self>,
        wish: &Wish<'_>,
        catalogue: &Catalogue,
        now: Timestamp,
        elapsed: Duration,
    ) -> Result<Option<Reservation>, Denied> {
        if self.shared.load(Ordering::Relaxed) {
            return self.take_from_share(wish, catalogue, now, elapsed).map_err(|_| Denied::Lacking);
        }
        self.admit(wish, catalogue, now).map_err(Denied::Exceeded)
    }

    fn take_from_share(
        self: &Arc<Self>,
        wish: &Wish<'_>,
        catalogue: &Catalogue,
        now: Timestamp,
        elapsed: Duration,
    ) -> Result<Option<Reservation>, Lacking> {
        self.take(wish, catalogue, now, |state, board, places, estimate| {
            let lacks = |place: &&Place| state.lacks(place, estimate, now, elapsed);
            let lacking: Vec<Place> = places.iter().filter(lacks).cloned().collect();
            if lacking.is_empty() { Ok(()) } else { Err(Lacking { board: board.number, places: lacking, estimate }) }
        })
    }

    /// Holds back what a call may cost if `judge` lets it.
    fn take<E>(
        self: &Arc<Self>,
        wish: &Wish<'_>,
        catalogue: &Catalogue,
        now: Timestamp,
        judge: impl Fn(&State, &Board, &[Place], Money) -> Result<(), E>,
    ) -> Result<Option<Reservation>, E> {
        let Wish { call_id, subject, size } = wish;
        loop {
            let board = self.board.load();
            let mut places = board.places(subject);
            if places.is_empty() {
                return Ok(None);
            }
            let model = subject.model.or_else(|| subject.models.first().map(String::as_str));
            let listed = estimate::by_list(catalogue, model, subject.models, size, now);
            let asker = Asker::of(subject);
            let mut state = self.state();
            if state.board != board.number {
                // The budgets changed just now.
                continue;
            }
            resolve(&state.budgets, &mut places);
            let Some(estimate) = state.estimate(listed, &asker, &places) else { return Ok(None) };
            judge(&state, &board, &places, estimate)?;
            if state.hold(*call_id, Hold { estimate, at: None }, places, asker, false) {
                self.asked.notify_one();
            }
            return Ok(Some(Reservation { book: Some(Arc::clone(self)), call_id: *call_id, estimate }));
        }
    }

    /// What the budgets that may count this call say of a ledger that can not be written; the strictest counts. `None`:
    /// they leave it to `journal.on_ledger_failure`.
    pub fn on_ledger_failure(&self, call: &AdmissionSubject<'_>) -> Option<OnLedgerFailure> {
        let board = self.board.load();
        if !board.overrides {
            return None;
        }
        board.matching(call).filter_map(|(_, budget)| budget.on_ledger_failure).max()
    }

    /// Publishes new standings, and what became of calls in the same commit; only the ledger's writer does.
    pub fn publish(&self, accounts: Vec<Accounts>, calls: &[CallChange]) {
        self.publish_beside(accounts, None, calls);
    }

    /// As [`Book::publish`], after taking over `held`, all that rows of the database hold back, where other daemons write
    /// in it too: theirs is held back here as well, and what they let go is let go here.
    pub fn publish_beside(&self, accounts: Vec<Accounts>, held: Option<&[CallChange]>, calls: &[CallChange]) {
        let budgets = accounts.iter().map(|accounts| &accounts.common.budget);
        let mut board = self.board.load_full();
        let is_same = budgets.len() == board.budgets.len()
            && budgets.clone().zip(&board.budgets).all(|(new, old)| Arc::ptr_eq(new, old));
        if !is_same {
            board = Arc::new(Board::new(board.number + 1, budgets.cloned().collect()));
        }
        let mut state = self.state();
        state.budgets = accounts;
        if !is_same {
            state.move_to(&self.board.load(), &board);
            self.board.store(Arc::clone(&board));
        }
        if let Some(held) = held {
            state.take_over(&board, held);
        }
        for change in calls {
            state.change(&board, change);
        }
        state.look_at_shares();
    }

    /// Where every account stands, with its value ([`WHOLE`] for that of a whole budget), and what is held back of it.
    pub fn standings(&self) -> Vec<(Standing, Arc<str>, Total)> {
        let state = self.state();
        let mut all = Vec::new();
        for (place, accounts) in state.budgets.iter().enumerate() {
            let held = state.reserves.values(place).filter(|value| !accounts.by_value.contains_key(*value));
            for value in accounts.by_value.keys().chain(held) {
                let standing = accounts.standing(value);
                let reserved = state.reserves.since(place, value, standing.window.start);
                all.push((standing.clone(), Arc::clone(value), reserved));
            }
        }
        all
    }

    /// What is held back once `calls` are published; budgets stand in the order of the standings.
    pub fn reserves_after(&self, calls: &[CallChange]) -> Reserves {
        let board = self.board.load();
        let state = self.state();
        let mut reserves = state.reserves.clone();
        for change in calls {
            let held = state.held.get(&change.call_id);
            if let Some(held) = held {
                reserves.take(&held.places, &held.hold);
            }
            if let Some(hold) = &change.held {
                if let Some(held) = held {
                    reserves.add(&held.places, hold);
                } else {
                    let mut places = board.places(&change.asker.subject());
                    resolve(&state.budgets, &mut places);
                    reserves.add(&places, hold);
                }
            }
        }
        reserves
    }

    /// Lets go what is held back for calls that the ledger will never tell the end of.
    pub fn release(&self, calls: impl IntoIterator<Item = CallId>) {
        let mut state = self.state();
        for call in calls {
            state.let_go(call);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts the accounts in the places of the values that calls name.
fn resolve(budgets: &[Accounts], places: &mut [Place]) {
    for (budget, value) in places {
        *value = budgets[*budget].key(Arc::clone(value));
    }
}

impl State {
    /// What a call is taken to cost; `None` for one that is free.
    fn estimate(&self, listed: estimate::ByList, asker: &Asker, places: &[Place]) -> Option<Money> {
        let usual = asker.pair().and_then(|(key, model)| self.recent.usual(key, model));
        // Where several budgets have one, the dearest mean is the one that holds.
        let mean = places.iter().filter_map(|(budget, _)| self.costs[*budget].mean()).max();
        estimate::estimate(listed, usual, mean)
    }

    /// Why a call of this estimate is refused; `None` where it fits everywhere.
    fn refusing(&self, estimate: Money, places: &[Place], now: Timestamp) -> Option<Exceeded> {
        let room = places.iter().filter_map(|(budget, value)| {
            let standing = self.budgets[*budget].standing(value);
            if standing.paused {
                return None;
            }
            let reserved = self.reserves.since(*budget, value, standing.start_at(now));
            let taken = standing.spent_at(now) + reserved + estimate.into();
            (taken > standing.limit_at(now).into()).then_some((standing, value, reserved))
        });
        let (standing, value, reserved) =
            room.max_by_key(|(standing, ..)| standing.resets_at().map_or(i64::MAX, Timestamp::millis))?;
        let stands = (standing.limit_at(now), standing.spent_at(now), reserved);
        Some(Exceeded::of(standing, value, stands, estimate))
    }

    /// Whether this daemon's share of an account has no room for a call of this estimate.
    fn lacks(&self, place: &Place, estimate: Money, now: Timestamp, elapsed: Duration) -> bool {
        let standing = self.budgets[place.0].standing(&place.1);
        let share = self.grants.as_ref().and_then(|grants| grants.shares.get(place));
        !standing.paused && !share.is_some_and(|share| share.fits(estimate.into(), standing.start_at(now), elapsed))
    }

    /// A share that is more than what is left, as far as that is known here, is to be measured before the next call.
    fn look_at_shares(&mut self) {
        let Some(grants) = &mut self.grants else { return };
        for ((budget, value), share) in grants.shares.iter_mut().filter(|(_, share)| share.idle() > Total::ZERO) {
            let Some(accounts) = self.budgets.get(*budget) else { continue };
            let standing = accounts.standing(value);
            let reserved = self.reserves.since(*budget, value, standing.window.start);
            share.stale |= standing.spent + reserved + share.idle() > standing.limit.into();
        }
    }

    /// Holds back what a call may cost; `written`: a row says so. Returns whether a share is soon used up by it.
    fn hold(&mut self, call: CallId, hold: Hold, places: Vec<Place>, asker: Asker, written: bool) -> bool {
        self.let_go(call);
        self.reserves.add(&places, &hold);
        let grants = self.grants.as_mut().filter(|_| !written);
        let short = grants.is_some_and(|grants| grants.hold(&places, hold.estimate.into()));
        self.held.insert(call, Held { hold, places, asker, written });
        short
    }

    fn let_go(&mut self, call: CallId) {
        if let Some(held) = self.held.remove(&call) {
            self.reserves.take(&held.places, &held.hold);
            if let Some(grants) = self.grants.as_mut().filter(|_| !held.written) {
                grants.release(&held.places, held.hold.estimate.into());
            }
        }
    }

    /// A row tells of the call from now on, so that its part of the share is no longer needed.
    fn note_written(&mut self, call: CallId) {
        let Some(held) = self.held.get_mut(&call).filter(|held| !held.written) else { return };
        held.written = true;
        if let Some(grants) = &mut self.grants {
            grants.written(&held.places, held.hold.estimate.into());
        }
    }

    /// A commit changed what is known of a call.
    fn change(&mut self, board: &Board, change: &CallChange) {
        if let Some(cost) = change.learnt {
            if let Some((key, model)) = change.asker.pair() {
                self.recent.add(key, model, cost);
            }
            for (budget, _) in board.places(&change.asker.subject()) {
                self.costs[budget].add(cost);
            }
        }
        self.note_written(change.call_id);
        match (change.held, self.held.get_mut(&change.call_id)) {
            (None, _) => self.let_go(change.call_id),
            (Some(hold), Some(known)) => {
                self.reserves.take(&known.places, &known.hold);
                known.hold = hold;
                self.reserves.add(&known.places, &known.hold);
            }
            (Some(hold), None) => {
                let mut places = board.places(&change.asker.subject());
                resolve(&self.budgets, &mut places);
                self.hold(change.call_id, hold, places, change.asker.clone(), true);
            }
        }
    }

    /// What rows hold back is `held`, and no more.
    fn take_over(&mut self, board: &Board, held: &[CallChange]) {
        let stays: HashSet<CallId> = held.iter().map(|change| change.call_id).collect();
        let gone: Vec<CallId> =
            self.held.iter().filter(|(id, held)| held.written && !stays.contains(id)).map(|(id, _)| *id).collect();
        for call in gone {
            self.let_go(call);
        }
        for change in held {
            let is_as_known = self.held.get(&change.call_id).is_some_and(|known| Some(known.hold) == change.held);
            if !is_as_known {
                self.change(board, change);
            }
        }
    }

    /// The budgets are others: what is held back is held back of those that count it now.
    fn move_to(&mut self, old: &Board, new: &Board) {
        let mut costs: BTreeMap<&BudgetName, Costs> =
            old.budgets.iter().map(|budget| &budget.name).zip(std::mem::take(&mut self.costs)).collect();
        self.costs = new.budgets.iter().map(|budget| costs.remove(&budget.name).unwrap_or_default()).collect();
        self.board = new.number;
        self.reserves = Reserves::of(new.budgets.len());
        if let Some(grants) = &mut self.grants {
            let places: BTreeMap<&BudgetName, usize> =
                new.budgets.iter().enumerate().map(|(place, budget)| (&budget.name, place)).collect();
            let name = |place: usize| old.budgets.get(place).map(|budget| &budget.name);
            grants.move_to(|(place, value)| Some((*places.get(name(*place)?)?, Arc::clone(value))));
        }
        for held in self.held.values_mut() {
            held.places = new.places(&held.asker.subject());
            resolve(&self.budgets, &mut held.places);
            self.reserves.add(&held.places, &held.hold);
            if let Some(grants) = self.grants.as_mut().filter(|_| !held.written) {
                grants.hold(&held.places, held.hold.estimate.into());
            }
        }
    }
}

/// The first 15-minute step at which a rolling window's spend is below the limit, if nothing more is spent. `costs` are
/// those of the window's buckets, by their starts. `None` for a window that does not roll, for spend below the limit,
/// and for a limit that nothing is below.
pub fn frees_at(kind: WindowKind, limit: Money, spent: Total, costs: &BTreeMap<Timestamp, Money>) -> Option<Timestamp> {
    let span = kind.rolling_span()?;
    let limit = Total::from(limit);
    if spent < limit {
        return None;
    }
    let mut left = spent;
    costs.iter().find_map(|(bucket, cost)| {
        left -= Total::from(*cost);
        // The window of a step holds whole the bucket that began one span before.
        (left < limit).then(|| bucket.plus_millis(span + BUCKET_MS))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::budget::{BudgetSpec, Origin};

    #[test]
    fn what_was_topped_up_is_not_spent_in_the_next_window_before_that_is_turned_to() {
        let usd = |usd| Money::from_usd(usd).unwrap();
        let spec = serde_json::json!({ "name": "b", "window": "month", "limit_usd": 0, "when_exceeded": "block" });
        let spec: BudgetSpec = serde_json::from_value(spec).unwrap();
        let budget = Arc::new(spec.into_budget(Origin::File, chrono_tz::UTC).unwrap());
        let now = Timestamp::parse("2026-11-30T23:59:59Z").unwrap();
        let window = budget.window_at(now);
        let book = Arc::new(Book::default());
        let standing = Standing {
            budget,
            window,
            limit: usd(25),
            next_limit: usd(0),
            paused: false,
            spent: Total::ZERO,
            frees_at: None,
            inline: Total::ZERO,
            unknown: 0,
        };
        book.publish(vec![Accounts::whole(standing)], &[]);
        let tags = BTreeMap::new();
        let subject = AdmissionSubject {
            app: None,
            key_name: None,
            end_user: None,
            session: None,
            model: Some("a/b"),
            models: &[],
            models_unread: false,
            tags: &tags,
            opaque_body: false,
        };
        let wish = Wish { call_id: CallId::new(now, 1), subject, size: Size::default() };
        assert!(book.admit(&wish, &Catalogue::default(), now).unwrap().is_some());
        let refused = book.admit(&wish, &Catalogue::default(), now.plus_millis(1_000)).unwrap_err();
        assert_eq!(refused.limit, Total::ZERO);
    }

    #[test]
    fn a_rolling_budget_says_when_enough_has_left_its_window() {
        let (day, limit) = (WindowKind::Rolling24h, Money::from_usd(10).unwrap());
        let now = Timestamp::parse("2026-11-22T14:07:00Z").unwrap();
        let costs: BTreeMap<Timestamp, Money> = [(-20, 2), (-10, 1), (-3, 6), (0, 4)]
            .map(|(hours, usd)| (now.plus_millis(hours * 3_600_000).bucket(), Money::from_usd(usd).unwrap()))
            .into();
        let spent = Total::from(Money::from_usd(13).unwrap());
        // $2 leave first, then $1, which is not enough: the limit itself refuses. $6 are.
        let frees = frees_at(day, limit, spent, &costs).unwrap();
        assert_eq!(frees, Timestamp::parse("2026-11-23T11:15:00Z").unwrap());
        let of_window = |at: Timestamp| {
            let window = WindowKind::Rolling24h.window_at(chrono_tz::UTC, at);
            costs
                .iter()
                .filter(|(bucket, _)| window.contains(**bucket))
                .fold(Total::ZERO, |sum, (_, c)| sum + (*c).into())
        };
        assert!(of_window(frees.plus_millis(-1)) >= limit.into() && of_window(frees) < limit.into());
        assert_eq!(frees_at(day, limit, Total::from(Money::from_usd(9).unwrap()), &costs), None);
        assert_eq!(frees_at(day, Money::ZERO, spent, &costs), None, "nothing is below 0");
        assert_eq!(frees_at(WindowKind::Day, limit, spent, &costs), None);
    }
}
