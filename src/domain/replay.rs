//! What a budget would have done over calls that were made: what it had told, what it had refused, what had not been spent.
//!
//! The rules are those of a budget in force: windows by [`super::window`], thresholds by [`super::alert`],
//! matching by [`super::scope`]. One thing is simpler than life: calls come one after another, each with
//! its final cost known before the next. So nothing is under way and nothing needs to be reserved; a
//! blocking budget refuses a call whose cost no longer fits below its limit, which is what a
//! reservation that guessed right would have done.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::alert::{Arm, Cause, Crossing, Evaluation, Told};
use super::budget::terms::rolls_over;
use super::budget::{Budget, MAX_VALUES, OTHER, WhenExceeded};
use super::call::{Call, CallState};
use super::money::{Money, Total};
use super::rollup;
use super::scope::AdmissionSubject;
use super::time::Timestamp;
use super::window::Window;

/// Most crossings kept; what comes after is only counted.
pub const MAX_CROSSINGS: usize = 1_000;

/// Most windows kept, the latest ones.
pub const MAX_WINDOWS: usize = 1_000;

/// What happened in one window, for all values of a budget of each value together; for a budget of rolling windows there is
/// one, which spans the replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The window.
    pub window: Window,
    /// Its limit: the budget's own and what rolled over.
    pub limit: Money,
    /// What calls that were let through cost.
    pub spent: Total,
    /// Calls that were let through and counted.
    pub calls: u64,
    /// Of these, calls whose cost is unknown; they count nothing.
    pub unknown: u64,
    /// Calls that were refused.
    pub refused: u64,
    /// What the refused calls had cost.
    pub not_spent: Total,
    /// When the first call was refused; `None`: none was.
    pub first_refused: Option<Timestamp>,
    /// Thresholds told.
    pub told: u64,
}

impl Replayed {
    fn new(window: Window, limit: Money) -> Self {
        Self {
            window,
            limit,
            spent: Total::ZERO,
            calls: 0,
            unknown: 0,
            refused: 0,
            not_spent: Total::ZERO,
            first_refused: None,
            told: 0,
        }
    }

    /// Adds what happened in `other`; window and limit stay.
    fn add(&mut self, other: &Self) {
        self.spent += other.spent;
        self.calls += other.calls;
        self.unknown += other.unknown;
        self.refused += other.refused;
        self.not_spent += other.not_spent;
        self.first_refused = self.first_refused.into_iter().chain(other.first_refused).min();
        self.told += other.told;
    }
}

/// A replay under way: give it every call from [`Replay::reads_from`] on, oldest first.
#[derive(Clone, Debug)]
pub struct Replay {
    budget: Budget,
    /// The first instant judged; what is before only fills a rolling window.
    from: Timestamp,
    /// The window that holds the beginning.
    first: Window,
    /// By value; one without a name for a budget that is one account.
    accounts: BTreeMap<Arc<str>, Account>,
    /// By their starts.
    windows: BTreeMap<Timestamp, Replayed>,
    /// What windows came to that are no more kept.
    dropped: Option<Replayed>,
    crossings: Vec<Crossing>,
}

/// What a replay came to.
#[derive(Clone, Debug)]
pub struct Course {
    /// The budget.
    pub budget: Budget,
    /// From when on it was judged.
    pub from: Timestamp,
    /// All windows together.
    pub whole: Replayed,
    /// Windows in which a call was made, oldest first; the last [`MAX_WINDOWS`] of them.
    pub windows: Vec<Replayed>,
    /// What it had told, oldest first; the first [`MAX_CROSSINGS`] of them.
    pub crossings: Vec<Crossing>,
}

/// One value of the budget, or the whole of it.
#[derive(Clone, Debug)]
struct Account {
    window: Window,
    /// The window's limit.
    limit: Money,
    /// What the window's calls cost that were let through.
    spent: Total,
    /// The same by bucket, for a window that rolls.
    buckets: VecDeque<(Timestamp, Total)>,
    told: Vec<Told>,
    arms: Vec<Arm>,
}

impl Replay {
    /// Of `budget`, as if it had stood as it does at `since`. A calendar window that had begun by then is counted whole.
    pub fn new(budget: Budget, since: Timestamp) -> Self {
        let first = budget.window_at(since);
        let from = if budget.window.is_rolling() { since } else { first.start };
        Self {
            budget,
            from,
            first,
            accounts: BTreeMap::new(),
            windows: BTreeMap::new(),
            dropped: None,
            crossings: Vec::new(),
        }
    }

    /// From when on it needs calls.
    pub fn reads_from(&self) -> Timestamp {
        self.first.start.min(self.from)
    }

    /// The next call; none may be older than the one before.
    pub fn call(&mut self, call: &Call) {
        let Some(value) = self.value_of(call) else { return };
        let at = call.created_at();
        let (budget, from, cost) = (&self.budget, self.from, call.cost().unwrap_or(Money::ZERO));
        let share = rollup::share(&budget.scope, budget.each.as_ref(), call);
        let blocks = budget.when_exceeded == WhenExceeded::Block && at >= from && may_match(budget, call);
        if share.is_none() && !blocks {
            return;
        }
        let first = self.first;
        let account = self.accounts.entry(Arc::clone(&value)).or_insert_with(|| Account::new(first, budget.limit));
        account.pass(budget, &value, from, at);
        let (window, limit) = (account.window, account.limit);
        let shown = if budget.window.is_rolling() { Window { start: from, end: None } } else { window };
        if blocks && account.is_full(cost.into()) {
            let here = self.here(shown, limit);
            here.refused += 1;
            here.not_spent += cost.into();
            here.first_refused.get_or_insert(at);
            return;
        }
        let Some((_, bucket, share)) = share else { return };
        account.spend(budget, bucket, cost.into());
        if at < from {
            return;
        }
        let crossings = account.judge(budget, &value, from, at);
        let here = self.here(shown, limit);
        here.calls += 1;
        here.unknown += u64::from(share.unknown > 0);
        here.spent += cost.into();
        here.told += crossings.len() as u64;
        let room = MAX_CROSSINGS - self.crossings.len();
        self.crossings.extend(crossings.into_iter().take(room));
    }

    /// Ends it at `until`.
    pub fn end(self, until: Timestamp) -> Course {
        let mut whole = Replayed::new(Window { start: self.from, end: Some(until) }, self.budget.limit);
        for part in self.dropped.iter().chain(self.windows.values()) {
            whole.add(part);
        }
        Course {
            budget: self.budget,
            from: self.from,
            whole,
            windows: self.windows.into_values().collect(),
            crossings: self.crossings,
        }
    }

    /// The account a call counts in; `None`: it names no value, and counts in no value's budget.
    fn value_of(&self, call: &Call) -> Option<Arc<str>> {
        let value = match &self.budget.each {
            None => "",
            Some(each) => each.of_row(call)?,
        };
        let known = self.accounts.get_key_value(value).map(|(value, _)| Arc::clone(value));
        Some(known.unwrap_or_else(|| if self.accounts.len() < MAX_VALUES { value.into() } else { OTHER.into() }))
    }

    /// What happens in this window.
    fn here(&mut self, window: Window, limit: Money) -> &mut Replayed {
        if self.windows.len() == MAX_WINDOWS
            && !self.windows.contains_key(&window.start)
            && let Some((_, oldest)) = self.windows.pop_first()
        {
            self.dropped.get_or_insert(Replayed::new(oldest.window, oldest.limit)).add(&oldest);
        }
        self.windows.entry(window.start).or_insert_with(|| Replayed::new(window, limit))
    }
}

/// Whether admission would have asked the budget. A call that the ledger knows only from elsewhere was never asked of a
/// gateway, and is taken for one that would have been.
fn may_match(budget: &Budget, call: &Call) -> bool {
    if matches!(call.state, CallState::Open | CallState::Failed) {
        return false;
    }
    budget.scope.may_match(&AdmissionSubject {
        app: call.attribution.app.as_deref(),
        key_name: call.key.as_ref().map(|key| key.name.as_str()),
        end_user: call.attribution.user.as_deref(),
        session: call.attribution.session.as_deref(),
        model: call.requested_model.as_deref().or_else(|| call.model()),
        models: &call.requested_models,
        models_unread: false,
        tags: &call.attribution.tags,
        opaque_body: false,
    })
}

impl Account {
    fn new(window: Window, limit: Money) -> Self {
        Self { window, limit, spent: Total::ZERO, buckets: VecDeque::new(), told: Vec::new(), arms: Vec::new() }
    }

    /// Whether a call of this cost has no room.
    fn is_full(&self, cost: Total) -> bool {
        let limit = Total::from(self.limit);
        self.spent >= limit || self.spent + cost > limit
    }

    fn spend(&mut self, budget: &Budget, bucket: Timestamp, cost: Total) {
        self.spent += cost;
        if budget.window.is_rolling() {
            match self.buckets.back_mut().filter(|(last, _)| *last == bucket) {
                Some((_, sum)) => *sum += cost,
                None => self.buckets.push_back((bucket, cost)),
            }
        }
    }

    fn judge(&mut self, budget: &Budget, value: &Arc<str>, from: Timestamp, at: Timestamp) -> Vec<Crossing> {
        let crossings = self.evaluation(budget, value, from).decide(self.window, self.spent, Cause::Spend, at);
        self.told.extend(crossings.iter().map(|crossing| Told { key: crossing.key.clone(), crossed_at: at }));
        crossings
    }

    /// Time passes: windows turn, and thresholds of rolling ones are armed again.
    fn pass(&mut self, budget: &Budget, value: &Arc<str>, from: Timestamp, now: Timestamp) {
        while self.window.end.is_some_and(|end| now >= end) {
            if !budget.window.is_rolling() {
                self.turn(budget, now);
                continue;
            }
            // With nothing left in the window no step but the last one tells anything.
            let is_empty = self.buckets.is_empty() && self.told.is_empty();
            let step = if is_empty { now.bucket() } else { self.window.end.unwrap_or(now) };
            let armed = self.evaluation(budget, value, from).rearm(step, self.spent);
            self.arms.retain(|old| !armed.iter().any(|new| new.threshold == old.threshold));
            // What was told under an earlier arming is never asked for again.
            self.told.retain(|told| !armed.iter().any(|new| new.threshold == told.key.threshold));
            self.arms.extend(armed);
            self.window = budget.window_at(step);
            while self.buckets.front().is_some_and(|(bucket, _)| *bucket < self.window.start) {
                if let Some((_, sum)) = self.buckets.pop_front() {
                    self.spent -= sum;
                }
            }
        }
    }

    /// The calendar window has ended, and the one that holds `now` begins.
    fn turn(&mut self, budget: &Budget, now: Timestamp) {
        let next = budget.window_at(now);
        if budget.rollover {
            // Of a window in which nothing was spent all rolls over.
            let spent = if self.window.end == Some(next.start) { self.spent } else { Total::ZERO };
            self.limit = budget.limit.saturating_add(rolls_over(budget.limit, spent));
        }
        self.window = next;
        self.spent = Total::ZERO;
        self.told.clear();
    }

    fn evaluation<'a>(&'a self, budget: &'a Budget, value: &'a Arc<str>, from: Timestamp) -> Evaluation<'a> {
        Evaluation { budget, value, limit: self.limit, defined_at: from, told: &self.told, arms: &self.arms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::attribution::{Attribution, KeyRef};
    use crate::domain::budget::{BudgetSpec, Origin};
    use crate::domain::facts::Facts;
    use crate::domain::ids::CallId;
    use crate::domain::observation::{Ending, Outcome, Sent};

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn budget(json: serde_json::Value) -> Budget {
        let mut spec = json;
        spec["name"] = "b".into();
        let spec: BudgetSpec = serde_json::from_value(spec).unwrap();
        spec.into_budget(Origin::File, chrono_tz::Europe::Berlin).unwrap()
    }

    /// A settled call of `usd` dollars; without them its cost is unknown.
    fn call(when: Timestamp, model: &str, usd: Option<i64>) -> Call {
        let call_id = CallId::new(when, 1);
        let sent = Sent {
            call_id,
            at: when,
            endpoint: "chat/completions".to_owned(),
            key: KeyRef { name: "default".to_owned(), fingerprint: None },
            tally_key: None,
            attribution: Attribution { app: Some("bot".to_owned()), ..Attribution::default() },
            requested_model: Some(model.to_owned()),
            models: Vec::new(),
            estimate: None,
            routing: None,
            streamed: Some(false),
            flags: Vec::new(),
        };
        let mut call = Call::sent(&sent, "j");
        let facts = Facts {
            inline_cost: usd.map(|usd| Money::from_usd(usd).unwrap()),
            reply_model: Some(model.to_owned()),
            ..Facts::default()
        };
        call.outcome(&Outcome {
            call_id,
            at: when,
            head_at: Some(when),
            ending: Ending::Complete,
            status: Some(200),
            generation_id: Some("gen-1789000001-A1b2C3d4E5f6G7h8I9j0".parse().unwrap()),
            facts,
            error: None,
            first_byte_ms: None,
            duration_ms: 5,
            response_cache_hit: false,
            flags: Vec::new(),
        });
        call
    }

    fn run(budget: Budget, since: &str, until: &str, calls: &[Call]) -> Course {
        let mut replay = Replay::new(budget, at(since));
        for call in calls.iter().filter(|call| call.created_at() >= replay.reads_from()).cloned().collect::<Vec<_>>() {
            replay.call(&call);
        }
        replay.end(at(until))
    }

    fn told(course: &Course) -> Vec<String> {
        course.crossings.iter().map(|crossing| format!("{} {}", crossing.crossed_at, crossing.key.threshold)).collect()
    }

    #[test]
    fn each_threshold_is_told_once_a_window_and_a_window_turns_in_its_zone() {
        let day = budget(serde_json::json!({ "window": "day", "limit_usd": "10", "alert_at": ["50%", "100%"] }));
        let calls: Vec<Call> = [
            ("2026-11-20T08:00:00Z", 6),
            ("2026-11-20T09:00:00Z", 1),
            ("2026-11-20T22:59:00Z", 5),
            // 00:00 in Berlin.
            ("2026-11-20T23:00:00Z", 5),
        ]
        .map(|(when, usd)| call(at(when), "m", Some(usd)))
        .into();
        let course = run(day, "2026-11-20T12:00:00Z", "2026-11-22T12:00:00Z", &calls);
        assert_eq!(course.from, at("2026-11-19T23:00:00Z"), "the day that had begun counts whole");
        assert_eq!(
            told(&course),
            ["2026-11-20T08:00:00.000Z 50%", "2026-11-20T22:59:00.000Z 100%", "2026-11-20T23:00:00.000Z 50%"]
        );
        assert_eq!(course.windows.len(), 2);
        assert_eq!((course.whole.calls, course.whole.refused), (4, 0));
    }

    #[test]
    fn a_budget_that_blocks_refuses_what_no_longer_fits_and_lets_what_fits_through() {
        let day = budget(serde_json::json!({
            "window": "day", "limit_usd": "10", "when_exceeded": "block", "scope": { "model": "a/*" }, "alert_at": [],
        }));
        let calls: Vec<Call> = [
            ("2026-11-20T08:00:00Z", "a/m", Some(8)),
            ("2026-11-20T09:00:00Z", "a/m", Some(3)),
            ("2026-11-20T09:01:00Z", "b/m", Some(30)),
            ("2026-11-20T09:02:00Z", "a/m", None),
            ("2026-11-20T10:00:00Z", "a/m", Some(2)),
            ("2026-11-20T11:00:00Z", "a/m", None),
            ("2026-11-21T11:00:00Z", "a/m", Some(10)),
        ]
        .map(|(when, model, usd)| call(at(when), model, usd))
        .into();
        let course = run(day, "2026-11-20T00:00:00Z", "2026-11-22T00:00:00Z", &calls);
        let whole = course.whole;
        assert_eq!((whole.calls, whole.unknown, whole.refused), (4, 1, 2));
        assert_eq!(whole.spent, Money::from_usd(20).unwrap().into());
        assert_eq!(whole.not_spent, Money::from_usd(3).unwrap().into());
        assert_eq!(whole.first_refused, Some(at("2026-11-20T09:00:00Z")));
        // At the limit the last one of the first day, whatever it cost, is refused.
        assert_eq!(course.windows[0].refused, 2);
        assert_eq!(course.windows[1].refused, 0);
    }

    #[test]
    fn a_rolling_window_remembers_what_was_before_and_tells_again_after_it_has_fallen() {
        let rolling = budget(serde_json::json!({ "window": "rolling 24h", "limit_usd": "10", "alert_at": ["100%"] }));
        let calls: Vec<Call> = [
            ("2026-11-19T23:00:00Z", 9),
            ("2026-11-20T01:00:00Z", 1),
            ("2026-11-20T02:00:00Z", 1),
            ("2026-11-25T01:00:00Z", 10),
        ]
        .map(|(when, usd)| call(at(when), "m", Some(usd)))
        .into();
        let course = run(rolling, "2026-11-20T00:00:00Z", "2026-11-26T00:00:00Z", &calls);
        assert_eq!(told(&course), ["2026-11-20T01:00:00.000Z 100%", "2026-11-25T01:00:00.000Z 100%"]);
        assert_eq!(course.whole.calls, 3, "what was before the replay only fills the window");
        assert_eq!(course.whole.spent, Money::from_usd(12).unwrap().into());
    }

    #[test]
    fn what_a_window_leaves_rolls_over_into_the_next_one_alone() {
        let day = budget(serde_json::json!({
            "window": "day", "limit_usd": "10", "rollover": true, "when_exceeded": "block", "alert_at": ["100%"],
        }));
        let calls: Vec<Call> = [
            ("2026-11-20T08:00:00Z", 4),
            ("2026-11-21T08:00:00Z", 15),
            ("2026-11-21T09:00:00Z", 2),
            // Nothing at all was spent on the 22nd.
            ("2026-11-23T08:00:00Z", 20),
        ]
        .map(|(when, usd)| call(at(when), "m", Some(usd)))
        .into();
        let course = run(day, "2026-11-20T00:00:00Z", "2026-11-23T12:00:00Z", &calls);
        let limits: Vec<String> = course.windows.iter().map(|window| window.limit.to_decimal()).collect();
        assert_eq!(limits, ["10.00", "16.00", "20.00"]);
        assert_eq!((course.whole.refused, course.whole.not_spent), (1, Money::from_usd(2).unwrap().into()));
        assert_eq!(told(&course), ["2026-11-23T08:00:00.000Z 100%"], "of the limit as it was with what rolled over");
    }

    #[test]
    fn each_value_has_the_whole_limit_to_itself() {
        let day = budget(serde_json::json!({
            "window": "day", "limit_usd": "10", "each": "app", "when_exceeded": "block", "alert_at": ["100%"],
        }));
        let of = |mut call: Call, app: Option<&str>| {
            call.attribution.app = app.map(str::to_owned);
            call
        };
        let calls: Vec<Call> = [
            ("2026-11-20T08:00:00Z", Some("a"), 10),
            ("2026-11-20T08:01:00Z", Some("b"), 9),
            ("2026-11-20T08:02:00Z", Some("a"), 1),
            ("2026-11-20T08:03:00Z", Some("b"), 1),
            // It names no app, so it counts in none's budget.
            ("2026-11-20T08:04:00Z", None, 50),
        ]
        .map(|(when, app, usd)| of(call(at(when), "m", Some(usd)), app))
        .into();
        let course = run(day, "2026-11-20T00:00:00Z", "2026-11-20T12:00:00Z", &calls);
        assert_eq!((course.whole.calls, course.whole.refused, course.whole.told), (3, 1, 2));
        let values: Vec<&str> = course.crossings.iter().map(|crossing| &*crossing.key.value).collect();
        assert_eq!(values, ["a", "b"]);
        assert_eq!(course.windows.len(), 1, "one for all values");
    }

    #[test]
    fn of_many_windows_the_last_are_kept_and_all_are_summed() {
        let hour = budget(serde_json::json!({ "window": "hour", "limit_usd": "1", "alert_at": ["100%"] }));
        let since = at("2026-01-01T00:00:00Z");
        let hours = i64::try_from(MAX_WINDOWS).unwrap() + 500;
        let calls: Vec<Call> = (0..hours).map(|hour| call(since.plus_millis(hour * 3_600_000), "m", Some(1))).collect();
        let until = since.plus_millis(hours * 3_600_000 - 1);
        let course = run(hour, &since.to_iso(), &until.to_iso(), &calls);
        assert_eq!((course.windows.len(), course.crossings.len()), (MAX_WINDOWS, MAX_CROSSINGS));
        assert_eq!(course.whole.told, hours.unsigned_abs());
        assert_eq!(course.whole.spent, Money::from_usd(hours).unwrap().into());
    }
}
