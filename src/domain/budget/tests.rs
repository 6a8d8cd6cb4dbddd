//! Budgets as people write them, and what is refused.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn usd(text: &str) -> Money {
    Money::parse(text).unwrap()
}

/// A good budget with some fields replaced, as the file or a form gives it.
fn written(fields: &serde_json::Value) -> Result<Budget, String> {
    let mut all = json!({ "name": "growth", "window": "month", "limit_usd": "500.00" });
    for (key, value) in fields.as_object().unwrap() {
        all[key] = value.clone();
    }
    let spec: BudgetSpec = serde_json::from_value(all).map_err(|error| error.to_string())?;
    spec.into_budget(Origin::File, Tz::Europe__Berlin).map_err(|error| error.to_string())
}

#[test]
fn what_is_left_out_is_as_the_contract_says() {
    let budget = written(&json!({})).unwrap();
    assert!(budget.scope.is_everything());
    assert_eq!(budget.zone, Tz::Europe__Berlin);
    assert_eq!(budget.limit, usd("500"));
    assert_eq!(budget.alert_at, Threshold::DEFAULT);
    assert!(budget.notify.is_empty());
    assert_eq!(budget.when_exceeded, WhenExceeded::Alert);
    assert!(written(&json!({ "alert_at": [] })).unwrap().alert_at.is_empty());
}

#[test]
fn a_budget_reads_back_from_its_own_json() {
    let budget = written(&json!({
        "scope": { "app": "growth-bot", "model": "anthropic/*", "tag": { "team": "x" } },
        "window": "rolling 7d", "time_zone": "Asia/Kathmandu", "limit_usd": "0.000000000001",
        "alert_at": ["$120.00", "80%"], "notify": ["growth@example.com"], "when_exceeded": "block",
    }))
    .unwrap();
    let stored = serde_json::to_value(&budget).unwrap();
    assert_eq!(stored["limit_usd"], "0.000000000001");
    assert_eq!(stored["time_zone"], "Asia/Kathmandu");
    assert_eq!(stored["origin"], budget.origin.as_str());
    assert_eq!(serde_json::from_value::<Budget>(stored).unwrap(), budget);
    let budget = written(&json!({ "billing_day": 31, "rollover": true })).unwrap();
    let stored = serde_json::to_value(&budget).unwrap();
    assert_eq!((stored["billing_day"].as_i64(), stored["rollover"].as_bool()), (Some(31), Some(true)));
    assert_eq!(serde_json::from_value::<Budget>(stored).unwrap(), budget);
}

#[test]
fn the_same_fields_are_read_from_toml() {
    let spec: BudgetSpec = toml::from_str(
        r#"
        name = "growth"
        scope = { app = "growth-bot", tag.team = "x" }
        window = "month"
        limit_usd = 500
        "#,
    )
    .unwrap();
    assert_eq!(spec.limit_usd, usd("500"));
    assert_eq!(spec.scope.to_string(), "app = growth-bot, tag.team = x");
}

#[test]
fn what_is_wrong_is_told_with_the_remedy() {
    for (fields, told) in [
        (json!({ "name": "Growth" }), "\"Growth\" is not a budget name"),
        (json!({ "name": "" }), "is not a budget name"),
        (json!({ "name": "a".repeat(65) }), "is not a budget name"),
        (json!({ "window": "fortnight" }), "\"fortnight\" is not a window"),
        (json!({ "time_zone": "Berlin" }), "did you mean \"Europe/Berlin\"?"),
        (json!({ "limit_usd": 500.1 }), "write the limit as a string, so that it is exact: \"500.10\""),
        (json!({ "limit_usd": -1 }), "a limit is 0 to 9000000 dollars; \"-1\" is not"),
        (json!({ "limit_usd": "9000000.000000000001" }), "a limit is 0 to 9000000 dollars"),
        (json!({ "limit_usd": "1e3" }), "\"1e3\" is not a limit"),
        (json!({ "limit_usd": "$500" }), "\"$500\" is not a limit"),
        (json!({ "limit_usd": "1,000" }), "\"1,000\" is not a limit"),
        (json!({ "limit_usd": "" }), "\"\" is not a limit"),
        (json!({ "alert_at": ["80"] }), "\"80\" is not a threshold"),
        (json!({ "alert_at": ["80%", "80.00 %"] }), "alert_at names 80% twice"),
        (json!({ "alert_at": vec!["1%"; 21] }), "at most 20 thresholds"),
        (json!({ "notify": ["growth at example.com"] }), "is not a mail address"),
        (json!({ "notify": ["a@example.com\r\nBcc: b@example.com"] }), "is not a mail address"),
        (json!({ "notify": ["a@example.com", "a@example.com"] }), "notify names \"a@example.com\" twice"),
        (json!({ "notify": vec!["a@example.com"; 51] }), "at most 50 addresses"),
        (json!({ "when_exceeded": "stop" }), "write \"alert\" or \"block\""),
        (json!({ "scope": { "model": "openai/gpt-4o:free" } }), "can never match"),
        (json!({ "scope": { "provider": "Azure" }, "when_exceeded": "block" }), "put model beside it"),
        (json!({ "limit": "5" }), "unknown field `limit`"),
        (json!({ "week_starts": "Sunday", "window": "week" }), "\"Sunday\" is not a weekday"),
        (json!({ "week_starts": "monday" }), "week_starts says where weeks begin; with window = \"month\" remove it"),
        (json!({ "billing_day": 0 }), "0 is not a day of the month"),
        (json!({ "billing_day": 32 }), "from 1 to 31"),
        (json!({ "billing_day": 15, "window": "quarter" }), "with window = \"quarter\" remove it"),
        (json!({ "rollover": true, "window": "total" }), "\"total\" has no window before"),
        (json!({ "rollover": true, "window": "rolling 7d" }), "\"rolling 7d\" has no window before"),
    ] {
        let error = written(&fields).unwrap_err();
        assert!(error.contains(told), "{fields}: {error}");
    }
    for fields in [
        json!({ "name": "0.a_b-c" }),
        json!({ "limit_usd": 9_000_000 }),
        json!({ "limit_usd": 0, "when_exceeded": "block" }),
        json!({ "scope": { "provider": "Azure" } }),
        json!({ "billing_day": 31, "rollover": true }),
        json!({ "week_starts": "sunday", "window": "week" }),
        json!({ "scope": { "provider": "Azure", "model": "openai/*" }, "when_exceeded": "block" }),
    ] {
        assert!(written(&fields).is_ok(), "{fields}");
    }
}

#[test]
fn a_threshold_has_one_text_however_it_is_written() {
    for (text, canonical) in [
        ("50%", "50%"),
        (" 80.0 % ", "80%"),
        ("12.5%", "12.5%"),
        ("12.50%", "12.5%"),
        ("0.01%", "0.01%"),
        ("100.05%", "100.05%"),
        ("1000%", "1000%"),
        ("$120", "$120.00"),
        ("$120.00", "$120.00"),
        ("$0.000000000001", "$0.000000000001"),
    ] {
        let threshold: Threshold = text.parse().unwrap();
        assert_eq!(threshold.to_string(), canonical);
        assert_eq!(canonical.parse(), Ok(threshold));
    }
    for text in ["", "%", "$", "80", "-5%", "1e2%", "12.345%", "12.%", "$-1", "$1e2", "$1.2.3", "120 USD", "$NaN"] {
        assert!(matches!(text.parse::<Threshold>(), Err(BudgetError::Threshold(_))), "{text}");
    }
    for text in ["0%", "0.00%", "1000.01%", "99999999999999999999%", "$0", "$0.0000000000001", "$9000001", "$99999999"]
    {
        assert!(matches!(text.parse::<Threshold>(), Err(BudgetError::ThresholdRange(_))), "{text}");
    }
}

#[test]
fn thresholds_stand_in_the_order_in_which_spend_meets_them() {
    let budget = written(&json!({ "alert_at": ["100%", "$120", "50%", "$250", "20%"] })).unwrap();
    let texts: Vec<String> = budget.alert_at.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["20%", "$120.00", "50%", "$250.00", "100%"]);
}

#[test]
fn only_a_blocking_budget_refuses_and_only_at_its_limit() {
    let blocks = written(&json!({ "when_exceeded": "block" })).unwrap();
    let alerts = written(&json!({})).unwrap();
    let (below, at_limit) = (usd("499.999999999999").into(), usd("500").into());
    let limit = usd("500");
    assert!(!blocks.refuses(limit, below) && blocks.refuses(limit, at_limit) && !alerts.refuses(limit, at_limit));
    assert!(!blocks.refuses(usd("501"), at_limit), "the window's limit is asked, not the budget's own");
}

proptest! {
    #[test]
    fn a_share_is_reached_exactly_when_spend_times_all_is_limit_times_share(
        limit in 0_i64..=9_000_000_000_000_000_000, share in 1_i64..=MAX_PERCENT, near in -2_i128..=2,
    ) {
        let (limit, threshold) = (Money::from_picos(limit), Threshold::Percent(share));
        let spent = Total::from_picos(threshold.amount(limit).picos() + near);
        let exact = spent.picos() * 10_000 >= i128::from(limit.picos()) * i128::from(share);
        prop_assert_eq!(threshold.is_reached(spent, limit), exact && spent > Total::ZERO);
    }

    #[test]
    fn any_threshold_reads_back_from_its_text(share in 1_i64..=MAX_PERCENT, picos in 1_i64..=9_000_000_000_000_000_000) {
        for threshold in [Threshold::Percent(share), Threshold::Amount(Money::from_picos(picos))] {
            prop_assert_eq!(threshold.to_string().parse(), Ok(threshold));
        }
    }
}
