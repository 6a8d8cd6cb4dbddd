//! What a webhook is told of crossings: a mail's figures, as data.

use serde_json::{Map, Value, json};

use super::view::{budget_url, name, percent_of};
use super::{plain, words};
use crate::alert::facts::{DearCall, Drivers, Letter, Section};
use crate::domain::alert::CrossingKind;
use crate::domain::time::Timestamp;
use crate::report::format;
use crate::webhook::{Event, Told};

/// The event of a letter with this subject.
pub(super) fn event(letter: &Letter, subject: &str) -> Event {
    let alerts: Vec<Value> = letter.sections.iter().map(|section| alert(section, letter)).collect();
    let link = match letter.sections.as_slice() {
        [section] => budget_url(section, &letter.dashboard_url),
        _ => format!("{}/alerts", letter.dashboard_url),
    };
    Event {
        kind: "budget.alert".to_owned(),
        timestamp: letter.composed_at.to_iso(),
        data: Told {
            title: subject.to_owned(),
            summary: letter.sections.iter().flat_map(|section| summary(section, letter)).collect(),
            link,
            more: Map::from_iter([("alerts".to_owned(), Value::Array(alerts))]),
        },
    }
}

/// One crossing in a few sentences.
fn summary(section: &Section, letter: &Letter) -> Vec<String> {
    let budget = &section.budget;
    let figures = format!(
        "{}: {}: {} of {}{}.",
        budget.name,
        words::headline(section),
        format::usd(section.spent),
        format::usd(budget.limit),
        percent_of(section).map(|share| format!(" ({share})")).unwrap_or_default()
    );
    let mut sentences = vec![figures];
    sentences.extend(words::heading(section));
    sentences.extend(words::notes(section));
    if let Some(rises) = words::rises(section) {
        sentences.push(rises);
    }
    sentences.push(words::next(section).join(" "));
    if let Some(snooze) = &section.snooze {
        sentences.push(format!("{}: {}{}", words::snooze(section, snooze), letter.dashboard_url, snooze.path));
    }
    sentences.iter().map(|sentence| plain(sentence)).collect()
}

fn alert(section: &Section, letter: &Letter) -> Value {
    let budget = &section.budget;
    let outlook = words::outlook_of(section);
    let iso = |at: Option<Timestamp>| at.map(Timestamp::to_iso);
    json!({
        "budget": budget.name.as_str(),
        "scope": plain(&budget.scope.to_string()),
        "thresholds": section.thresholds.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "kind": section.kind.as_str(),
        "found": section.kind == CrossingKind::Found,
        "crossed_at": section.crossed_at.to_iso(),
        "window": budget.window.as_str(),
        "time_zone": budget.zone.name(),
        "window_start": section.window.start.to_iso(),
        "window_end": iso(section.window.end),
        "limit_usd": budget.limit.to_decimal(),
        "spent_usd": section.spent.to_decimal(),
        "settled_usd": (section.now.spent - section.now.inline).to_decimal(),
        "inline_usd": section.now.inline.to_decimal(),
        "unknown": section.now.unknown,
        "projected_usd": outlook.map(|outlook| outlook.projected.to_decimal()),
        "projected_low_usd": outlook.map(|outlook| outlook.low.to_decimal()),
        "projected_high_usd": outlook.map(|outlook| outlook.high.to_decimal()),
        "reaches_limit_at": iso(words::reaches(section).and_then(|reach| reach.likely)),
        "when_exceeded": budget.when_exceeded.as_str(),
        "drivers": section.drivers.iter().map(|one| drivers(one, section)).collect::<Vec<_>>(),
        "dearest": section.dearest.iter().map(dear).collect::<Vec<_>>(),
        "url": budget_url(section, &letter.dashboard_url),
        "snooze_url": section.snooze.as_ref().map(|snooze| format!("{}{}", letter.dashboard_url, snooze.path)),
    })
}

fn drivers(drivers: &Drivers, section: &Section) -> Value {
    let compared = section.before.is_some();
    let rows: Vec<Value> = drivers
        .rows
        .iter()
        .map(|driver| {
            json!({
                "name": driver.name.as_ref().map(|_| name(driver)),
                "before_usd": compared.then(|| driver.cost.before.to_decimal()),
                "after_usd": driver.cost.after.to_decimal(),
            })
        })
        .collect();
    json!({ "by": drivers.by.as_str(), "rows": rows })
}

fn dear(call: &DearCall) -> Value {
    json!({
        "call_id": call.call_id.to_string(),
        "model": call.model,
        "created_at": call.created_at.to_iso(),
        "cost_usd": call.cost.to_decimal(),
        "end_user": call.end_user,
    })
}
