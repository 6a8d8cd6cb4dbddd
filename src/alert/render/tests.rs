use super::*;
use crate::alert::facts::{Change, DearCall, Dimension, Driver, Drivers, Others, Span, Standing};
use crate::domain::alert::CrossingKind;
use crate::domain::budget::{Budget, BudgetSpec, Origin, Threshold};
use crate::domain::ids::CallId;
use crate::domain::money::Money;
use crate::domain::time::Timestamp;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn usd(text: &str) -> Total {
    Money::parse(text).unwrap().into()
}

fn budget(json: &str) -> Budget {
    let spec: BudgetSpec = serde_json::from_str(json).unwrap();
    spec.into_budget(Origin::File, chrono_tz::Tz::UTC).unwrap()
}

fn support_bot(more: &str) -> Budget {
    budget(&format!(
        r#"{{"name":"support-bot","scope":{{"app":"support-bot"}},"window":"month","time_zone":"Europe/Berlin",
            "limit_usd":"300.00","notify":["care-team@example.com","lena@example.com"]{more}}}"#
    ))
}

fn driver(name: &str, before: &str, after: &str) -> Driver {
    Driver { name: Some(name.to_owned()), cost: Change { before: usd(before), after: usd(after) } }
}

fn dear(model: &str, when: &str, cost: &str, tokens: (i64, i64), user: &str) -> DearCall {
    let created_at = at(when);
    DearCall {
        call_id: CallId::new(created_at, 7),
        model: Some(model.to_owned()),
        created_at,
        cost: Money::parse(cost).unwrap(),
        tokens_in: Some(tokens.0),
        tokens_out: Some(tokens.1),
        end_user: Some(user.to_owned()),
    }
}

fn section(budget: Budget) -> Section {
    let crossed_at = at("2026-11-19T10:47:00Z");
    let window = budget.window.window_at(budget.zone, crossed_at);
    Section {
        thresholds: vec![Threshold::Percent(8_000)],
        kind: CrossingKind::Crossed,
        crossed_at,
        window,
        spent: usd("240"),
        now: Standing { spent: usd("240"), inline: usd("0.17"), unknown: 1 },
        before: Some(Span { since: at("2026-09-30T22:00:00Z"), until: at("2026-10-19T09:47:00Z") }),
        drivers: vec![Drivers {
            by: Dimension::Model,
            rows: vec![
                driver("openai/gpt-4o", "84.67", "106.12"),
                driver("meta-llama/llama-3.3-70b-instruct-with-a-long-tail", "3.72", "11.31"),
                driver("google/gemini-2.5-flash", "0", "29.87"),
            ],
            others: Others { names: 3, cost: Change { before: usd("87.72"), after: usd("92.70") } },
            all: Change { before: usd("203.18"), after: usd("240") },
        }],
        dearest: vec![
            dear("anthropic/claude-sonnet-4", "2026-11-17T14:41:00Z", "0.44841", (118_420, 6_210), "cust-11872"),
            dear("openai/gpt-4o", "2026-11-18T15:27:00Z", "0.3479", (121_900, 4_320), "<script>&"),
        ],
        budget,
    }
}

fn letter(sections: Vec<Section>) -> Letter {
    Letter { sections, dashboard_url: "http://127.0.0.1:7117".to_owned(), composed_at: at("2026-11-19T10:47:05Z") }
}

fn rendered(section: Section) -> Rendered {
    render(&letter(vec![section])).unwrap()
}

#[test]
fn the_plain_part_says_it_all_in_72_columns() {
    let mail = rendered(section(support_bot("")));
    assert_eq!(mail.subject, "support-bot at 80 %: $240.00 of $300.00, at this pace 100 % on Tue 24 Nov");
    assert_eq!(mail.text, include_str!("expected.txt"));
}

#[test]
fn html_holds_the_same_figures_and_escapes_what_others_named() {
    let html = rendered(section(support_bot(""))).html.replace(NBSP, " ");
    for text in [
        "<title>support-bot at 80 %: $240.00 of $300.00, at this pace 100 % on Tue 24 Nov</title>",
        "▲ 80 % reached on Thu 19 Nov at 11:47",
        "$240.00 <span",
        "$84.67 → $106.12",
        "<b>+$21.45</b>",
        ">new<",
        "width=\"80%\"",
        "3 other models",
        "$0.80 together, 0.3 % of the spend",
        "118,420 tokens in, 6,210 out",
        "&#60;script&#62;&#38;",
        "href=\"http://127.0.0.1:7117/budgets/support-bot\"",
        "color-scheme",
    ] {
        assert!(html.contains(text), "{text}");
    }
    assert!(!html.contains("<script") && !html.contains("<img"), "nothing is run or fetched");
}

#[test]
fn only_what_is_known_is_said() {
    let mut early = section(support_bot(""));
    early.crossed_at = at("2026-11-01T01:00:00Z");
    early.before = None;
    early.dearest.clear();
    let mail = rendered(early);
    assert_eq!(mail.subject, "support-bot at 80 %: $240.00 of $300.00");
    assert!(
        !mail.text.contains("pace") && !mail.text.contains("DEAREST") && !mail.text.contains("->"),
        "{}",
        mail.text
    );
}

#[test]
fn what_happens_at_the_limit_is_told_as_it_is() {
    let next = |more: &str, spent: &str| {
        let mut section = section(support_bot(more));
        section.spent = usd(spent);
        words::next(&section).join(" ").replace(NBSP, " ")
    };
    assert_eq!(
        next("", "240"),
        "At 100 % calls go on: this budget alerts and does not block. The next mail comes at 100 % ($300.00). \
         It resets on Tue 1 Dec at 00:00 Europe/Berlin, in 11 days and 12 hours."
    );
    assert!(
        next("", "300")
            .starts_with("Calls go on: this budget alerts and does not block. No further mail comes for November.")
    );
    let blocks = r#","when_exceeded":"block","alert_at":["80%","$250.00"]"#;
    assert!(
        next(blocks, "240")
            .starts_with("At 100 % further calls are refused with status 402. The next mail comes at $250.00.")
    );
    assert!(next(blocks, "300").starts_with(
        "Further calls are refused with status 402 until it resets or its limit is raised in tallyd.toml."
    ));
    let mut section = section(support_bot(blocks));
    section.spent = usd("300.1");
    section.thresholds = vec![Threshold::Percent(8_000), Threshold::Amount(Money::from_usd(250).unwrap())];
    assert_eq!(rendered(section).subject, "support-bot at $250.00: $300.10 of $300.00, calls are refused");
}

#[test]
fn windows_that_never_reset_or_roll_say_so() {
    let kind = |window: &str| {
        let mut section = section(budget(&format!(r#"{{"name":"trial","window":"{window}","limit_usd":"300"}}"#)));
        section.window.end = section.window.end.filter(|_| window != "total");
        rendered(section).text.replace('\n', " ")
    };
    assert!(kind("total").contains("It never resets."));
    assert!(kind("total").contains("Window: all time. Counts: all calls."));
    let rolling = kind("rolling 24h");
    assert!(
        rolling.contains("It looks at the last 24 hours: what is older leaves it in steps of 15 minutes"),
        "{rolling}"
    );
    assert!(!rolling.contains("gone") && rolling.contains("Sent once until its threshold tells again"));
}

#[test]
fn late_found_and_corrected_crossings_explain_themselves() {
    let mut late = section(support_bot(""));
    late.crossed_at = at("2026-12-01T08:00:00Z");
    late.kind = CrossingKind::Found;
    late.now.spent = usd("239.5");
    let mail = rendered(late);
    assert_eq!(mail.subject, "support-bot at 80 %: $240.00 of $300.00, November 2026");
    let text = mail.text.replace('\n', " ");
    for sentence in [
        "80 % found passed on Tue 1 Dec at 09:00",
        "This much had been spent already when the budget or its limit was set.",
        "The window (November 2026) ended on Tue 1 Dec at 00:00; costs that came in after its end brought it here.",
        "Costs have been corrected since: the window now stands at $239.50, below what was reached.",
        "A new window has begun since; nothing of this one is refused or mailed again.",
    ] {
        assert!(text.contains(sentence), "{sentence} in {text}");
    }
}

#[test]
fn several_budgets_are_one_mail_with_a_section_each() {
    let mut code_review = section(budget(r#"{"name":"code-review","window":"week","limit_usd":60}"#));
    code_review.thresholds = vec![Threshold::Percent(5_000), Threshold::Percent(10_000)];
    code_review.spent = usd("60.23");
    let third = section(budget(r#"{"name":"everything","window":"year","limit_usd":1000}"#));
    let mail = render(&letter(vec![section(support_bot("")), code_review, third])).unwrap();
    assert_eq!(mail.subject, "support-bot at 80 %, code-review at 100 % and 1 more");
    let text = mail.text.replace('\n', " ");
    assert!(text.contains("code-review: 50 % and 100 % reached on Thu 19 Nov at 10:47 (UTC)"), "{text}");
    assert_eq!(mail.html.matches("Open the budget").count(), 3);
    assert!(mail.html.contains("width=\"100%\" height=\"10\" class=\"fill-bad\""));
}
