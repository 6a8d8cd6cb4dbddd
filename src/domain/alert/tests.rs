//! Decisions: what is told, how often, and what is never told.

use chrono_tz::Tz;
use proptest::prelude::*;

use super::*;
use crate::domain::budget::{BudgetSpec, Origin};
use crate::domain::window::WindowKind;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn usd(text: &str) -> Total {
    Money::parse(text).unwrap().into()
}

fn budget(json: &serde_json::Value) -> Budget {
    let mut fields = serde_json::json!({
        "name": "growth", "window": "month", "limit_usd": "500.00", "notify": ["growth@example.com"],
    });
    for (key, value) in json.as_object().unwrap() {
        fields[key] = value.clone();
    }
    let spec: BudgetSpec = serde_json::from_value(fields).unwrap();
    spec.into_budget(Origin::File, Tz::UTC).unwrap()
}

fn monthly() -> Budget {
    budget(&serde_json::json!({}))
}

/// What a service keeps of one budget: the budget, what was told, what is armed.
struct Kept {
    budget: Budget,
    value: Arc<str>,
    defined_at: Timestamp,
    told: Vec<Told>,
    arms: Vec<Arm>,
}

impl Kept {
    fn new(budget: Budget) -> Self {
        Self { budget, value: "".into(), defined_at: at("2026-10-05T00:00:00Z"), told: Vec::new(), arms: Vec::new() }
    }

    fn evaluation(&self) -> Evaluation<'_> {
        Evaluation {
            budget: &self.budget,
            value: &self.value,
            limit: self.budget.limit,
            defined_at: self.defined_at,
            told: &self.told,
            arms: &self.arms,
        }
    }

    /// Decides and writes down; the thresholds told.
    fn look(&mut self, window: Window, spent: Total, cause: Cause, now: Timestamp) -> Vec<Crossing> {
        let crossings = self.evaluation().decide(window, spent, cause, now);
        self.told.extend(crossings.iter().map(|c| Told { key: c.key.clone(), crossed_at: c.crossed_at }));
        crossings
    }

    /// As `look` at the window that holds `now`, giving only the thresholds' texts.
    fn spend(&mut self, spent: &str, now: &str) -> Vec<String> {
        let now = at(now);
        let window = self.budget.window.window_at(self.budget.zone, now);
        let crossings = self.look(window, usd(spent), Cause::Spend, now);
        crossings.iter().map(|crossing| crossing.key.threshold.to_string()).collect()
    }

    fn turn(&mut self, step: &str, spent: &str) -> usize {
        let arms = self.evaluation().rearm(at(step), usd(spent));
        self.arms.extend(&arms);
        arms.len()
    }
}

#[test]
fn each_threshold_is_told_once_a_window_and_anew_in_the_next() {
    let mut kept = Kept::new(monthly());
    assert!(kept.spend("249.999999999999", "2026-11-02T00:00:00Z").is_empty());
    assert_eq!(kept.spend("250", "2026-11-03T00:00:00Z"), ["50%"]);
    assert!(kept.spend("399", "2026-11-04T00:00:00Z").is_empty());
    assert_eq!(kept.spend("700", "2026-11-05T00:00:00Z"), ["80%", "100%"]);
    // A correction withdraws nothing, and a second rise tells nothing.
    assert!(kept.spend("100", "2026-11-06T00:00:00Z").is_empty());
    assert!(kept.spend("700", "2026-11-07T00:00:00Z").is_empty());
    assert_eq!(kept.spend("250", "2026-12-07T00:00:00Z"), ["50%"]);
}

#[test]
fn a_new_limit_arms_anew_and_what_is_passed_already_is_found() {
    let mut kept = Kept::new(monthly());
    assert_eq!(kept.spend("300", "2026-11-03T00:00:00Z"), ["50%"]);
    kept.budget.limit = Money::from_usd(300).unwrap();
    kept.defined_at = at("2026-11-04T00:00:00Z");
    let window = WindowKind::Month.window_at(Tz::UTC, kept.defined_at);
    let found = kept.look(window, usd("300"), Cause::Definition, kept.defined_at);
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|crossing| crossing.kind == CrossingKind::Found && crossing.delivery == Delivery::Mail));
    assert!(kept.spend("310", "2026-11-04T00:00:01Z").is_empty());
    // The old limit again: its 50 % was told in this window.
    kept.budget.limit = Money::from_usd(500).unwrap();
    assert_eq!(kept.spend("410", "2026-11-05T00:00:00Z"), ["80%"]);
}

#[test]
fn a_closed_window_mails_for_a_day_and_says_that_it_is_late() {
    let window = WindowKind::Month.window_at(Tz::UTC, at("2026-10-20T00:00:00Z"));
    let decide = |cause, now| {
        let crossings = Kept::new(monthly()).look(window, usd("260"), cause, at(now));
        assert_eq!(crossings.len(), 1);
        (crossings[0].delivery, crossings[0].is_late())
    };
    assert_eq!(decide(Cause::Spend, "2026-10-31T23:59:59Z"), (Delivery::Mail, false));
    assert_eq!(decide(Cause::Spend, "2026-11-01T23:59:59.999Z"), (Delivery::Mail, true));
    let long_closed = Delivery::NotMailed(NotMailed::WindowLongClosed);
    assert_eq!(decide(Cause::Spend, "2026-11-02T00:00:00Z"), (long_closed, true));
    assert_eq!(decide(Cause::Import, "2026-10-31T23:59:59Z"), (Delivery::Mail, false));
    assert_eq!(decide(Cause::Import, "2026-11-01T00:00:00Z"), (Delivery::NotMailed(NotMailed::Imported), true));
}

#[test]
fn a_window_that_ended_before_the_budget_stood_so_tells_nothing() {
    let mut kept = Kept::new(monthly());
    kept.defined_at = at("2026-11-01T00:00:00Z");
    let october = WindowKind::Month.window_at(Tz::UTC, at("2026-10-20T00:00:00Z"));
    assert!(kept.look(october, usd("900"), Cause::Spend, at("2026-11-01T00:00:01Z")).is_empty());
}

#[test]
fn who_notifies_nobody_has_a_history_and_no_mail() {
    let mut kept = Kept::new(budget(&serde_json::json!({ "notify": [] })));
    let window = WindowKind::Month.window_at(Tz::UTC, at("2026-11-20T00:00:00Z"));
    let crossings = kept.look(window, usd("260"), Cause::Spend, at("2026-11-20T00:00:00Z"));
    assert_eq!(crossings[0].delivery, Delivery::NotMailed(NotMailed::NoRecipients));
}

#[test]
fn a_limit_of_zero_is_crossed_by_the_first_spend_and_not_before() {
    let mut kept = Kept::new(budget(&serde_json::json!({ "limit_usd": 0 })));
    assert!(kept.spend("0", "2026-11-03T00:00:00Z").is_empty());
    assert_eq!(BudgetState::of(&kept.budget, Money::ZERO, Total::ZERO), BudgetState::Ok);
    assert_eq!(kept.spend("0.000000000001", "2026-11-03T00:00:00Z"), ["50%", "80%", "100%"]);
    let blocking = budget(&serde_json::json!({ "limit_usd": 0, "when_exceeded": "block" }));
    assert_eq!(BudgetState::of(&blocking, Money::ZERO, Total::ZERO), BudgetState::Exceeded);
}

#[test]
fn a_budget_stands_where_its_spend_is() {
    let early = budget(&serde_json::json!({ "alert_at": ["$100.00", "150%"] }));
    for (spent, state) in [
        ("99.99", BudgetState::Ok),
        ("100", BudgetState::Alerting),
        ("499.999999999999", BudgetState::Alerting),
        ("500", BudgetState::Exceeded),
    ] {
        assert_eq!(BudgetState::of(&early, early.limit, usd(spent)), state, "{spent}");
    }
}

#[test]
fn a_rolling_threshold_is_armed_again_after_a_whole_step_below_nine_tenths() {
    let mut kept = Kept::new(budget(&serde_json::json!({ "window": "rolling 24h", "alert_at": ["80%"] })));
    assert_eq!(kept.spend("400", "2026-11-10T10:05:00Z"), ["80%"]);
    assert_eq!(kept.told[0].key.window_key, kept.defined_at);
    // Moving on is no new window.
    assert!(kept.spend("401", "2026-11-10T10:20:00Z").is_empty());
    assert_eq!(kept.turn("2026-11-11T10:00:00Z", "360"), 0);
    assert!(kept.spend("410", "2026-11-11T10:01:00Z").is_empty());
    assert_eq!(kept.turn("2026-11-11T10:15:00Z", "359.999999999999"), 1);
    assert_eq!(kept.turn("2026-11-11T10:30:00Z", "359"), 0, "it is armed");
    assert_eq!(kept.spend("400", "2026-11-11T10:31:00Z"), ["80%"]);
    assert_eq!(kept.told[1].key.window_key, at("2026-11-11T10:15:00Z"));
}

#[test]
fn a_restart_within_the_step_that_told_does_not_tell_again() {
    let mut kept = Kept::new(budget(&serde_json::json!({ "window": "rolling 24h", "alert_at": ["80%"] })));
    assert_eq!(kept.spend("400", "2026-11-10T10:05:00Z"), ["80%"]);
    assert_eq!(kept.turn("2026-11-10T10:00:00Z", "0"), 0);
    assert!(kept.spend("401", "2026-11-10T10:06:00Z").is_empty());
    // Told at 10:05 and corrected to nothing at once: the first whole step below is 10:15 to 10:30.
    assert_eq!(kept.turn("2026-11-10T10:15:00Z", "0"), 0);
    assert_eq!(kept.turn("2026-11-10T10:30:00Z", "0"), 1);
}

#[test]
fn a_step_in_which_it_was_told_is_no_whole_step_below() {
    let mut kept = Kept::new(budget(&serde_json::json!({ "window": "rolling 24h", "alert_at": ["80%"] })));
    assert_eq!(kept.spend("400", "2026-11-10T10:00:00Z"), ["80%"]);
    assert_eq!(kept.turn("2026-11-10T10:15:00Z", "0"), 0);
}

#[test]
fn a_rolling_budget_that_changes_is_armed_anew_whatever_was_armed_before() {
    let mut kept = Kept::new(budget(&serde_json::json!({ "window": "rolling 24h", "alert_at": ["80%"] })));
    assert_eq!(kept.spend("400", "2026-11-10T10:05:00Z"), ["80%"]);
    assert_eq!(kept.turn("2026-11-11T10:30:00Z", "0"), 1);
    assert_eq!(kept.spend("400", "2026-11-11T10:31:00Z"), ["80%"]);
    // An arm for another limit is not this one's.
    kept.arms.push(Arm {
        threshold: kept.budget.alert_at[0],
        limit: Money::ZERO,
        armed_at: at("2026-11-13T00:00:00Z"),
    });
    assert!(kept.spend("400", "2026-11-11T10:32:00Z").is_empty());
    kept.defined_at = at("2026-11-12T00:00:00Z");
    assert_eq!(kept.spend("400", "2026-11-12T00:00:00Z"), ["80%"]);
    assert_eq!(kept.told[2].key.window_key, kept.defined_at);
}

#[test]
fn calendar_budgets_are_never_armed_again() {
    let mut kept = Kept::new(monthly());
    assert_eq!(kept.spend("250", "2026-11-03T00:00:00Z"), ["50%"]);
    assert_eq!(kept.turn("2026-11-09T00:00:00Z", "0"), 0);
}

proptest! {
    #[test]
    fn however_spend_moves_a_rolling_threshold_is_told_again_only_after_a_whole_step_below(
        steps in prop::collection::vec(0_i64..1_000, 1..200),
    ) {
        let mut kept = Kept::new(budget(&serde_json::json!({ "window": "rolling 7d", "alert_at": ["100%"] })));
        let first = at("2026-11-10T00:00:00Z");
        let (mut last, mut armed, mut told) = (0, true, 0);
        for (n, dollars) in (0_i64..).zip(steps) {
            let step = first.plus_millis(n * BUCKET_MS);
            let spent = |usd: i64| Total::from(Money::from_usd(usd).unwrap());
            // Asked twice, as a restart does.
            for _ in 0..2 {
                let arms = kept.evaluation().rearm(step, spent(last));
                kept.arms.extend(&arms);
            }
            armed |= last < 450;
            let now = step.plus_millis(1);
            let window = WindowKind::Rolling7d.window_at(Tz::UTC, now);
            for _ in 0..2 {
                kept.look(window, spent(dollars), Cause::Spend, now);
                let arms = kept.evaluation().rearm(step, spent(last));
                kept.arms.extend(&arms);
            }
            if armed && dollars >= 500 {
                (armed, told) = (false, told + 1);
            }
            prop_assert_eq!(kept.told.len(), told);
            last = dollars;
        }
    }
}
