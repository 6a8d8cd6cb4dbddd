//! `[[reports]]`: digests that are mailed on a schedule.

use std::collections::BTreeMap;

use chrono_tz::Tz;

use super::budgets::Entry;
use super::document::{Kind, Value};
use super::error::Origin;
use super::reader::{Noted, Read, Reader};
use super::{NAME_RULE, is_name};
use crate::domain::budget::MAX_NOTIFY;
use crate::domain::digest::Report;
use crate::domain::schedule::Schedule;
use crate::domain::zone;

/// Most reports one file may hold.
const MAX_REPORTS: usize = 100;

/// What stands in a report, in the order of the example.
const FIELDS: [&str; 4] = ["name", "schedule", "time_zone", "notify"];

/// Every report of the file; `default_zone` is for those that name none.
pub(super) fn read(reader: &mut Reader<'_>, default_zone: Tz) -> Read<Vec<Report>> {
    let elements = reader.reports();
    if let Some(first_beyond) = elements.get(MAX_REPORTS) {
        let message = format!("a file holds at most {MAX_REPORTS} reports");
        return reader.wrong(&first_beyond.origin, "reports", message);
    }
    let mut reports = Vec::with_capacity(elements.len());
    let mut names: BTreeMap<String, Origin> = BTreeMap::new();
    let mut failed = false;
    for (index, element) in elements.iter().enumerate() {
        let place = format!("reports[{index}]");
        let Ok(report) = read_one(Entry { reader, place: &place }, element, default_zone) else {
            failed = true;
            continue;
        };
        if let Some(first) = names.insert(report.name.clone(), element.origin.clone()) {
            let message = format!("{} is taken by the report at {first}; names are unique", report.name);
            failed = reader.wrong::<()>(&element.origin, &format!("{place}.name"), message).is_err();
            continue;
        }
        reports.push(report);
    }
    if failed { Err(Noted) } else { Ok(reports) }
}

fn read_one(mut entry: Entry<'_, '_>, element: &Value, default_zone: Tz) -> Read<Report> {
    let Kind::Table(table) = &element.kind else {
        return entry.reader.wrong(&element.origin, entry.place, "write each report under a line [[reports]]");
    };
    let known = entry.known_fields(table, &FIELDS);
    let name = entry.optional(table, "name", |text| {
        if is_name(text) { Ok(text.to_owned()) } else { Err(format!("{text:?} is not a name: {NAME_RULE}")) }
    });
    let zone = entry.optional(table, "time_zone", zone::parse);
    let in_zone = zone.as_ref().ok().copied().flatten().unwrap_or(default_zone);
    let schedule = entry.optional(table, "schedule", |text| Schedule::parse(text, in_zone));
    let notify = entry.recipients(table);
    known?;
    zone?;
    let (name, schedule, notify) = (name?, schedule?, notify?.unwrap_or_default());
    let missing = |field: &str, example: &str| (field.to_owned(), format!("is missing; write one, such as {example}"));
    let (Some(name), Some(schedule)) = (name.clone(), schedule.clone()) else {
        let (field, message) = match name {
            None => missing("name", "name = \"weekly\""),
            Some(_) => missing("schedule", "schedule = \"0 8 * * mon\""),
        };
        return entry.wrong(element, &field, message);
    };
    let wrong = match notify.iter().enumerate().find(|(at, one)| notify[..*at].contains(one)) {
        Some((_, twice)) => Some(format!("names \"{twice}\" twice; remove one")),
        None if notify.is_empty() => Some("names nobody; write whom it is for: [\"team@example.com\"]".to_owned()),
        None if notify.len() > MAX_NOTIFY => Some(format!("has at most {MAX_NOTIFY} addresses; use a mailing list")),
        None => None,
    };
    match wrong {
        Some(message) => entry.wrong(table.get("notify").unwrap_or(element), "notify", message),
        None => Ok(Report { name, schedule, notify }),
    }
}
