//! `POST /analytics/query`: which generations there were in a range of time, as a management key may ask (openrouter.md section 6).

use std::time::Duration;

use serde_json::json;
use serde_json::value::RawValue;

use crate::domain::ids::GenerationId;
use crate::domain::time::{DAY_MS, Timestamp};

use super::error::ReadError;
use super::fields::Fields;

/// How far back generations can be asked for by their IDs, in milliseconds: 31 days.
pub const REACH_MS: i64 = 31 * DAY_MS;

/// Most rows of one answer; OpenRouter gives no more.
pub const MAX_ROWS: usize = 10_000;

/// Time between two questions: OpenRouter takes 64 in a minute.
pub const INTERVAL: Duration = Duration::from_millis(60_000 / 64 + 1);

/// Longest answer read, in bytes: its rows at some 400 bytes each.
pub(super) const MAX_BODY: usize = 4 << 20;

/// A range of time: from `since` on and before `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its start.
    pub since: Timestamp,
    /// Its end.
    pub until: Timestamp,
}

/// The generations that one answer names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Their IDs.
    pub ids: Vec<GenerationId>,
    /// Rows whose ID is none.
    pub odd: usize,
    /// There were more than the answer holds: to be asked for in shorter ranges.
    pub truncated: bool,
}

impl Question {
    pub(super) fn body(&self) -> String {
        json!({
            "metrics": ["request_count"],
            "dimensions": ["generation_id"],
            "time_range": { "start": self.since.to_iso(), "end": self.until.to_iso() },
            "limit": MAX_ROWS,
        })
        .to_string()
    }

    /// The two halves of the range; `None` if it is a millisecond or less.
    pub fn halves(self) -> Option<(Self, Self)> {
        let middle = Timestamp(self.since.millis() + (self.until.millis() - self.since.millis()) / 2);
        (middle > self.since).then_some((Self { until: middle, ..self }, Self { since: middle, ..self }))
    }
}

pub(super) fn decode(body: &[u8]) -> Result<Found, ReadError> {
    let garbled = || ReadError::garbled("OpenRouter answered the analytics query with something else than rows");
    let outer = Fields::of_body(body).ok_or_else(garbled)?;
    let data = outer.value("data").and_then(Fields::of_value).ok_or_else(garbled)?;
    let rows: Vec<&RawValue> =
        data.value("data").and_then(|rows| serde_json::from_str(rows.get()).ok()).ok_or_else(garbled)?;
    let mut found = Found::default();
    for row in &rows {
        match Fields::of_value(row).and_then(|row| row.text("generation_id")?.parse().ok()) {
            Some(id) => found.ids.push(id),
            None => found.odd += 1,
        }
    }
    let said = data.value("metadata").and_then(Fields::of_value).and_then(|metadata| metadata.boolean("truncated"));
    // An answer that is full and does not say whether it is whole is taken for cut.
    found.truncated = said.unwrap_or(rows.len() >= MAX_ROWS);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_its_generations_and_whether_it_is_whole() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/fixtures/payloads/analytics_query.json")).unwrap();
        let found = decode(file["response"].to_string().as_bytes()).unwrap();
        assert_eq!((found.ids.len(), found.odd, found.truncated), (2, 0, false));
        let cut = decode(br#"{"data":{"data":[{"generation_id":null},{}],"metadata":{"truncated":"true"}}}"#).unwrap();
        assert_eq!((cut.ids.len(), cut.odd, cut.truncated), (0, 2, true));
        for bad in ["", "{}", "{\"data\":[]}", "{\"data\":{\"data\":{}}}"] {
            assert!(decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn halves_cover_the_range_and_end() {
        let mut question = Question { since: Timestamp(0), until: Timestamp(1_000) };
        let mut steps = 0;
        while let Some((first, second)) = question.halves() {
            assert_eq!((first.since, first.until, second.until), (question.since, second.since, question.until));
            question = second;
            steps += 1;
        }
        assert_eq!((question.until.millis() - question.since.millis(), steps), (1, 10));
    }
}
