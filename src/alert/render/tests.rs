use super::*;
use crate::alert::facts::{Change, DearCall, Dimension, Driver, Drivers, Others, Snooze, Span, Standing};
use crate::domain::alert::CrossingKind;
use crate::domain::budget::{Budget, BudgetSpec, Origin, Threshold};
use crate::domain::forecast::{Basis, Outlook, Reach};
use crate::domain::ids::CallId;
use crate::domain::money::Money;
use crate::domain::time::Timestamp;
use crate::report::burn::Course;

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

fn outlook() -> Outlook {
    Outlook {
        at: at("2026-11-19T10:45:00Z"),
        basis: Basis::Profile { weeks: 6 },
        projected: usd("389.12"),
        low: usd("376"),
        high: usd("402"),
        reaches_limit: Some(Reach {
            early: at("2026-11-23T15:00:00Z"),
            likely: Some(at("2026-11-24T10:00:00Z")),
            late: Some(at("2026-11-24T16:00:00Z")),
        }),
    }
}

fn section(budget: Budget) -> Section {
    let crossed_at = at("2026-11-19T10:47:00Z");
    let window = budget.window_at(crossed_at);
    Section {
        thresholds: vec![Threshold::Percent(8_000)],
        kind: CrossingKind::Crossed,
        crossed_at,
        window,
        spent: usd("240"),
        outlook: Some(outlook()),
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
        course: Some(Course {
            window,
            drawn: (window.start, window.end.unwrap_or(crossed_at)),
            points: vec![
                (window.start, Total::ZERO),
                (at("2026-11-10T00:00:00Z"), usd("95.5")),
                (crossed_at, usd("240")),
            ],
            spent: usd("240"),
        }),
        snooze: Some(Snooze {
            until: at("2026-11-30T23:00:00Z"),
            path: "/budgets/support-bot/snooze?until=1&key=ab".to_owned(),
        }),
        budget,
        value: None,
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
    assert_eq!(mail.subject, "support-bot at 80 %: $240.00 of $300.00, 100 % expected on Tue 24 Nov");
    assert_eq!(mail.text, include_str!("expected.txt"));
}

#[test]
fn html_holds_the_same_figures_and_escapes_what_others_named() {
    let html = rendered(section(support_bot(""))).html.replace(NBSP, " ");
    for text in [
        "<title>support-bot at 80 %: $240.00 of $300.00, 100 % expected on Tue 24 Nov</title>",
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
        "href=\"http://127.0.0.1:7117/budgets/support-bot/snooze?until=1&#38;key=ab\"",
        ">Snooze until 1 Dec<",
        "alt=\"Spend since Sun 1 Nov 00:00: $240.00 against the limit of $300.00; the forecast is $376–402 at its end.\"",
        "from $0 to $500",
        "color-scheme",
    ] {
        assert!(html.contains(text), "{text}");
    }
    assert!(!html.contains("<script") && html.matches("src=").count() == html.matches("src=\"cid:").count());
}

#[test]
fn the_picture_is_there_in_both_schemes_and_the_same_each_time() {
    let mail = rendered(section(support_bot("")));
    assert_eq!(mail.pictures.len(), 2);
    for picture in &mail.pictures {
        assert!(picture.png.starts_with(b"\x89PNG\r\n") && picture.png.len() < 60_000, "{}", picture.png.len());
        assert!(mail.html.contains(&format!("cid:{}\"", picture.content_id)), "{}", picture.content_id);
    }
    assert_ne!(mail.pictures[0], mail.pictures[1]);
    assert_eq!(rendered(section(support_bot(""))).pictures, mail.pictures);
    let many = vec![section(support_bot("")); 7];
    let mail = render(&letter(many)).unwrap();
    assert_eq!((mail.pictures.len(), mail.html.matches("<img").count()), (10, 5), "a long mail has a few pictures");
    let mut unread = section(support_bot(""));
    unread.course = None;
    assert!(rendered(unread).pictures.is_empty());
}

#[test]
fn a_picture_shows_the_course_the_limit_and_where_the_pace_leads() {
    let section = section(support_bot(""));
    let png = picture::draw(&section, section.course.as_ref().unwrap(), &picture::LIGHT).unwrap();
    let pixels = tiny_skia::Pixmap::decode_png(&png).unwrap();
    assert_eq!(pixels.width(), 2 * picture::WIDTH);
    let colour = |x: u32, y: u32| {
        let pixel = pixels.pixel(x, y).unwrap().demultiply();
        (pixel.red(), pixel.green(), pixel.blue())
    };
    // The scale goes to $500, so that it holds the band: three fifths of 320 pixels above the base line is the limit.
    assert_eq!(colour(300, 336 - 192), (0xb0, 0x27, 0x1c));
    // Under the course it is shaded, behind it is not.
    assert_ne!(colour(400, 330), colour(900, 330));
    assert_eq!(colour(900, 322), (0xfc, 0xfc, 0xfb));
    // The last point: 61.6 % of the month has gone, 48 % of the scale is spent.
    assert_eq!(colour(12 + 1080 * 616 / 1000, 336 - 154), (0x3c, 0x4a, 0x55));
    // At the right edge the band lies between $376 and $402, around the line to $389.
    assert_ne!(colour(1_090, 336 - 252), (0xfc, 0xfc, 0xfb));
}

#[test]
fn a_webhook_is_told_the_same_figures_as_data() {
    let mail = rendered(section(support_bot("")));
    let event = serde_json::to_value(&mail.event).unwrap();
    assert_eq!(
        (event["type"].as_str(), event["timestamp"].as_str()),
        (Some("budget.alert"), Some("2026-11-19T10:47:05.000Z"))
    );
    let data = &event["data"];
    assert_eq!(data["title"], mail.subject);
    assert_eq!(data["link"], "http://127.0.0.1:7117/budgets/support-bot");
    let alert = &data["alerts"][0];
    for (name, value) in [
        ("budget", "support-bot"),
        ("limit_usd", "300.00"),
        ("spent_usd", "240.00"),
        ("crossed_at", "2026-11-19T10:47:00.000Z"),
        ("window_end", "2026-11-30T23:00:00.000Z"),
        ("when_exceeded", "alert"),
        ("snooze_url", "http://127.0.0.1:7117/budgets/support-bot/snooze?until=1&key=ab"),
    ] {
        assert_eq!(alert[name], value, "{name}");
    }
    assert_eq!(alert["thresholds"], serde_json::json!(["80%"]));
    assert_eq!(
        alert["drivers"][0]["rows"][2],
        serde_json::json!({
            "name": "google/gemini-2.5-flash", "before_usd": "0.00", "after_usd": "29.87",
        })
    );
    let summary = data["summary"].as_array().unwrap();
    assert_eq!(summary[0], "support-bot: 80 % reached on Thu 19 Nov at 11:47: $240.00 of $300.00 (80.0 %).");
    assert!(summary.iter().any(|line| line.as_str().unwrap().starts_with(
        "Largest rises: openai/gpt-4o +$21.45, meta-llama/llama-3.3-70b-instruct-with-a-long-tail +$7.59, \
         google/gemini-2.5-flash new at $29.87."
    )));
}

#[test]
fn only_what_is_known_is_said() {
    let mut early = section(support_bot(""));
    early.crossed_at = at("2026-11-01T01:00:00Z");
    early.outlook = None;
    early.before = None;
    early.dearest.clear();
    let mail = rendered(early);
    assert_eq!(mail.subject, "support-bot at 80 %: $240.00 of $300.00");
    assert!(
        !mail.text.contains("orecast") && !mail.text.contains("DEAREST") && !mail.text.contains("->"),
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
fn a_forecast_is_told_as_one() {
    let mut expected = section(support_bot(r#","alert_at":["50%","100%","forecast 100%"]"#));
    expected.thresholds = vec![Threshold::Forecast(10_000)];
    expected.kind = CrossingKind::Forecast;
    expected.spent = usd("160");
    let mail = rendered(expected.clone());
    assert_eq!(mail.subject, "support-bot forecast to reach 100 %: $160.00 of $300.00, 100 % expected on Tue 24 Nov");
    let text = mail.text.replace('\n', " ");
    for sentence in [
        "support-bot: Forecast to reach 100 %, as of Thu 19 Nov at 11:47",
        "100 % would be reached on Tue 24 Nov, between Mon afternoon and Tue afternoon. The forecast is $389 for \
         November, $376–402 in four of five cases (from the hours of the last 6 weeks).",
        "The next mail comes at 100 % ($300.00).",
    ] {
        assert!(text.contains(sentence), "{sentence} in {text}");
    }
    assert!(mail.html.contains("▲ Forecast to reach"), "a warning, however little is spent");
    expected.thresholds.insert(0, Threshold::Percent(5_000));
    expected.kind = CrossingKind::Crossed;
    let both = rendered(expected).text.replace('\n', " ");
    assert!(both.contains("50 % reached on Thu 19 Nov at 11:47, and forecast to reach 100 %"), "{both}");
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
