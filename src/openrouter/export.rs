//! OpenRouter's log export: a CSV with a line for each generation, read by the names in its header (openrouter.md section 9).

use std::fmt::Write as _;

use csv::ByteRecord;

use crate::domain::attribution::Attribution;
use crate::domain::facts::{Facts, MAX_TOKENS};
use crate::domain::ids::GenerationId;
use crate::domain::money::Money;
use crate::domain::observation::Exported;
use crate::domain::time::Timestamp;

macro_rules! columns {
    ($($name:ident)*) => {
        #[expect(non_camel_case_types, reason = "named exactly as the header names them")]
        #[derive(Clone, Copy)]
        enum Column { $($name,)* Count }
        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

columns! {
    generation_id created_at cost_total cost_web_search cost_cache cost_file_processing byok_usage_inference tokens_prompt
    tokens_completion tokens_reasoning tokens_cached model_permaslug provider_name cancelled streamed user
    finish_reason_normalized generation_time_ms time_to_first_token_ms api_key_name app_name
}

/// Columns of the export that say nothing the ledger keeps.
const NOT_KEPT: [&str; 3] = ["variant", "finish_reason_raw", "api_key_disabled"];

/// Largest count (tokens, milliseconds) believed.
const MAX_COUNT: i64 = MAX_TOKENS;

/// Longest name of an unknown column shown, in characters.
const MAX_SHOWN: usize = 64;

/// Where each column stands.
#[derive(Clone, Debug)]
pub struct Columns {
    places: [Option<usize>; Column::Count as usize],
    cells: usize,
    unknown: Vec<String>,
}

/// What a line tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The generation.
    pub id: GenerationId,
    /// What it was and cost.
    pub exported: Exported,
    /// Who it was for.
    pub attribution: Attribution,
    /// OpenRouter's name for the key.
    pub key_name: Option<String>,
}

impl Columns {
    /// Reads the header, which has a byte order mark at most at its start; in words why it is none.
    pub fn of(header: &ByteRecord) -> Result<Self, String> {
        let mut places = [None; Column::Count as usize];
        let mut unknown = Vec::new();
        for (place, cell) in header.iter().enumerate() {
            let name = String::from_utf8_lossy(cell);
            let name = name.trim_start_matches('\u{feff}').trim();
            match NAMES.iter().position(|known| *known == name) {
                Some(column) => places[column] = places[column].or(Some(place)),
                None if NOT_KEPT.contains(&name) => {}
                None => unknown.push(name.chars().filter(|c| !c.is_control()).take(MAX_SHOWN).collect()),
            }
        }
        for needed in [Column::generation_id, Column::cost_total] {
            if places[needed as usize].is_none() {
                return Err(format!(
                    "the header has no column {}; this is not OpenRouter's log export",
                    NAMES[needed as usize]
                ));
            }
        }
        Ok(Self { places, cells: header.len(), unknown })
    }

    /// The columns that nothing is read from, because no version of the export is known to have them.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// Reads a line; in words why it can not be.
    ///
    /// Its token counts are taken for the provider's own: their siblings, reasoning and cached tokens, exist as nothing else.
    pub fn read(&self, record: &ByteRecord) -> Result<Line, String> {
        if record.len() != self.cells {
            return Err(format!("it has {} cells where the header has {}", record.len(), self.cells));
        }
        let row = Row { places: &self.places, record };
        let id = row.text(Column::generation_id)?.ok_or("generation_id is empty")?;
        let id = id.parse().map_err(|_| "generation_id is none: it should look like gen-…".to_owned())?;
        let cost = row.amount(Column::cost_total)?;
        let upstream = row.amount(Column::byok_usage_inference)?;
        let facts = Facts {
            created_at: row.instant(Column::created_at)?,
            permaslug: row.label(Column::model_permaslug)?,
            provider: row.label(Column::provider_name)?,
            finish_reason: row.label(Column::finish_reason_normalized)?,
            streamed: row.boolean(Column::streamed)?,
            cancelled: row.boolean(Column::cancelled)?,
            // The export has no column for it. Where the caller's own key paid the provider, that is not zero.
            is_byok: match (upstream, cost) {
                (Some(upstream), _) if upstream != Money::ZERO => Some(true),
                (Some(_), Some(cost)) if cost != Money::ZERO => Some(false),
                _ => None,
            },
            native_tokens_prompt: row.count(Column::tokens_prompt)?,
            native_tokens_completion: row.count(Column::tokens_completion)?,
            native_tokens_reasoning: row.count(Column::tokens_reasoning)?,
            native_tokens_cached: row.count(Column::tokens_cached)?,
            settled_cost: cost,
            settled_upstream_cost: upstream,
            // A saving is negative here and positive in the generation record.
            cache_discount: row.amount(Column::cost_cache)?.map(std::ops::Neg::neg),
            latency_ms: row.count(Column::time_to_first_token_ms)?,
            generation_time_ms: row.count(Column::generation_time_ms)?,
            ..Facts::default()
        };
        Ok(Line {
            id,
            exported: Exported { facts, kept_json: row.kept()? },
            attribution: Attribution {
                app: row.label(Column::app_name)?,
                user: row.label(Column::user)?,
                ..Attribution::default()
            },
            key_name: row.label(Column::api_key_name)?,
        })
    }
}

struct Row<'a> {
    places: &'a [Option<usize>; Column::Count as usize],
    record: &'a ByteRecord,
}

impl Row<'_> {
    /// The cell's text; `None` when it is empty or there is no such column.
    fn text(&self, column: Column) -> Result<Option<&str>, String> {
        let Some(cell) = self.places[column as usize].and_then(|place| self.record.get(place)) else { return Ok(None) };
        let text = std::str::from_utf8(cell).map_err(|_| format!("{} is not UTF-8", NAMES[column as usize]))?.trim();
        Ok((!text.is_empty()).then_some(text))
    }

    fn parsed<T>(&self, column: Column, wanted: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, String> {
        let Some(text) = self.text(column)? else { return Ok(None) };
        parse(text).map(Some).ok_or_else(|| format!("{} is not {wanted}", NAMES[column as usize]))
    }

    fn label(&self, column: Column) -> Result<Option<String>, String> {
        Ok(self.text(column)?.and_then(Attribution::label))
    }

    fn amount(&self, column: Column) -> Result<Option<Money>, String> {
        self.parsed(column, "an amount within ±$9.2 million", |text| Money::parse(text).ok())
    }

    fn boolean(&self, column: Column) -> Result<Option<bool>, String> {
        self.parsed(column, "true or false", |text| match text {
            text if text.eq_ignore_ascii_case("true") => Some(true),
            text if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        })
    }

    fn count(&self, column: Column) -> Result<Option<i64>, String> {
        self.parsed(column, "a whole number", |text| {
            let whole = text
                .split_once('.')
                .map_or(text, |(whole, rest)| if rest.trim_matches('0').is_empty() { whole } else { "" });
            whole.parse().ok().filter(|count| (0..=MAX_COUNT).contains(count))
        })
    }

    /// `YYYY-MM-DD HH:MM:SS[.mmm]`, UTC without saying so; with a `T` and a zone too.
    fn instant(&self, column: Column) -> Result<Option<Timestamp>, String> {
        self.parsed(column, "a time such as 2026-09-10 00:26:41.612", |text| {
            Timestamp::parse(text).or_else(|| {
                let (date, time) = text.split_once([' ', 'T'])?;
                Timestamp::parse(&format!("{date}T{time}Z"))
            })
        })
    }

    /// What a web search or the reading of a file cost: a part of the total without a column.
    fn kept(&self) -> Result<Option<String>, String> {
        let mut kept = String::new();
        for column in [Column::cost_web_search, Column::cost_file_processing] {
            let Some(cost) = self.amount(column)?.filter(|cost| *cost != Money::ZERO) else { continue };
            kept.push(if kept.is_empty() { '{' } else { ',' });
            let _ = write!(kept, "\"{}\":{}", NAMES[column as usize], cost.to_decimal());
        }
        Ok((!kept.is_empty()).then(|| kept + "}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> (Columns, Vec<Result<Line, String>>) {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
        let columns = Columns::of(reader.byte_headers().unwrap()).unwrap();
        let lines = reader.byte_records().map(|record| columns.read(&record.unwrap())).collect();
        (columns, lines)
    }

    #[test]
    fn the_export_is_read_by_the_names_in_its_header() {
        let (columns, read) = lines(include_str!("../../tests/fixtures/payloads/activity_logs_export.csv"));
        assert_eq!(columns.unknown(), &[] as &[String]);
        let read: Vec<Line> = read.into_iter().map(Result::unwrap).collect();
        let facts = &read[0].exported.facts;
        assert_eq!(facts.created_at, Timestamp::parse("2026-09-10T00:26:41.612Z"));
        assert_eq!(facts.settled_cost, Some(Money::from_picos(83_160_000)));
        assert_eq!((facts.native_tokens_prompt, facts.native_tokens_completion), (Some(212), Some(87)));
        assert_eq!((facts.latency_ms, facts.generation_time_ms), (Some(412), Some(1630)));
        assert_eq!((facts.streamed, facts.cancelled, facts.is_byok), (Some(true), Some(false), Some(false)));
        assert_eq!(
            (read[0].attribution.user.as_deref(), read[0].key_name.as_deref()),
            (Some("team-billing"), Some("prod"))
        );
        assert_eq!(read[1].exported.facts.cache_discount, Some(Money::from_picos(24_764_400_000)));
        let byok = &read[2].exported.facts;
        assert_eq!((byok.is_byok, byok.settled_cost), (Some(true), Some(Money::ZERO)));
        assert_eq!(byok.settled_upstream_cost, Some(Money::from_picos(36_078_000_000)));
        assert_eq!(
            (read[3].exported.facts.cancelled, read[3].exported.facts.finish_reason.as_deref()),
            (Some(true), None)
        );
    }

    #[test]
    fn columns_may_come_in_any_order_and_with_company() {
        let (columns, read) = lines(
            "\u{feff}app_name,mood,cost_total,generation_id,cost_web_search,created_at\r\n\"a, \"\"b\"\"\nc\",good,4.5e-08,gen-1,0.01,2026-09-10 00:26:41\r\n",
        );
        assert_eq!(columns.unknown(), ["mood"]);
        let line = read[0].as_ref().unwrap();
        assert_eq!(line.attribution.app.as_deref(), Some("a, \"b\" c"));
        assert_eq!(line.exported.facts.settled_cost, Some(Money::from_picos(45_000)));
        assert_eq!(line.exported.kept_json.as_deref(), Some("{\"cost_web_search\":0.01}"));
        let (_, read) = lines("generation_id,cost_total,cost_cache\ngen-1,0,-9223372.036854775808\n");
        let most = Money::from_picos(i64::MAX);
        assert_eq!(read[0].as_ref().unwrap().exported.facts.cache_discount, Some(most), "it has no opposite");
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said_and_its_cells_are_not() {
        let (_, read) = lines(
            "generation_id,cost_total,created_at,tokens_prompt\ngen-1,SECRET,,\ngen-1,1,SECRET,\ngen-1,1,,-1\nSECRET,1,,\n,1,,\ngen-1,1\n",
        );
        let reasons: Vec<String> = read.into_iter().map(Result::unwrap_err).collect();
        for (reason, wanted) in
            reasons.iter().zip(["cost_total", "created_at", "tokens_prompt", "gen-…", "empty", "2 cells"])
        {
            assert!(reason.contains(wanted) && !reason.contains("SECRET"), "{reason}");
        }
        let header = csv::ByteRecord::from(vec!["a", "generation_id"]);
        assert!(Columns::of(&header).unwrap_err().contains("cost_total"));
    }
}
