//! What rows are narrowed down to, as URLs and people name it: one value a field, told by a chip that can be taken away.

use chrono_tz::Tz;

use super::span;
use crate::domain::call::CallState;
use crate::domain::time::Timestamp;
use crate::store::calls::CompletionFilter;
use crate::store::rollups::{Dimension, TotalsQuery};

/// Every field that can be filtered by: its name in URLs, and for people.
pub const FIELDS: [(&str, &str); 15] = [
    ("model", "model"),
    ("requested", "model asked for"),
    ("app", "app"),
    ("key", "key"),
    ("provider", "provider"),
    ("user", "user"),
    ("session", "session"),
    ("state", "state"),
    ("endpoint", "endpoint"),
    ("error", "error type"),
    ("status", "HTTP status"),
    ("flag", "flag"),
    ("tag", "tag (name=value)"),
    ("since", "from"),
    ("until", "until"),
];

/// The fields that sums can be narrowed down by.
pub const OF_SUMS: [&str; 11] =
    ["model", "requested", "app", "key", "provider", "user", "session", "state", "endpoint", "error", "tag"];

/// The fields that sessions can be narrowed down by.
pub const OF_SESSIONS: [&str; 5] = ["app", "key", "user", "since", "until"];

/// The fields of which a row may name none.
const MAY_BE_ABSENT: [&str; 9] =
    ["model", "requested", "app", "key", "provider", "user", "session", "endpoint", "error"];

/// The pair that asks for rows which name none: `none=app`.
pub const NONE: &str = "none";

/// The pairs of the form that adds a filter: the field, and its value.
pub const FORM: (&str, &str) = ("filter", "is");

/// Most pairs a URL is read for.
pub const MAX_PAIRS: usize = 40;

/// Longest value, in bytes; a label is shorter.
const MAX_VALUE: usize = 2_000;

/// Most characters of what was given that a message repeats.
const MAX_SHOWN: usize = 60;

/// Filters, each field once; an empty value stands for "names none".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(Vec<(&'static str, String)>);

/// A field's name in URLs for people.
pub fn words(field: &str) -> &'static str {
    if field == "tag" {
        return "tag";
    }
    FIELDS.iter().find(|(known, _)| *known == field).map_or("", |(_, words)| words)
}

fn place(field: &str) -> Option<usize> {
    FIELDS.iter().position(|(known, _)| *known == field)
}

impl Filters {
    /// Reads the pairs of a URL, and the filter that its form adds; what is none of `allowed` is left out.
    pub fn read(pairs: &[(String, String)], allowed: &[&str]) -> Self {
        let known = |field: &str| {
            FIELDS.iter().map(|(known, _)| *known).find(|known| *known == field && allowed.contains(known))
        };
        let mut filters = Self::default();
        let given = |name: &str| pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.trim());
        for (name, value) in pairs.iter().take(MAX_PAIRS) {
            let value = value.trim();
            if name == NONE {
                if let Some(field) = known(value).filter(|field| MAY_BE_ABSENT.contains(field)) {
                    filters.set(field, String::new());
                }
            } else if let Some(field) = known(name).filter(|_| !value.is_empty() && value.len() <= MAX_VALUE) {
                filters.set(field, value.to_owned());
            }
        }
        if let (Some(field), Some(value)) =
            (given(FORM.0).and_then(known), given(FORM.1).filter(|value| !value.is_empty()))
        {
            filters.set(field, value.to_owned());
        }
        filters
    }

    /// Reads pairs that must all be filters, as programs give them; says which is none, or has no value.
    pub fn read_all(pairs: &[(String, String)]) -> Result<Self, String> {
        let fields = FIELDS.map(|(field, _)| field);
        if pairs.len() > MAX_PAIRS {
            return Err(format!("at most {MAX_PAIRS} filters are read"));
        }
        for (name, value) in pairs {
            let shown: String = value.chars().take(MAX_SHOWN).collect();
            if name == NONE {
                if !MAY_BE_ABSENT.contains(&value.trim()) {
                    return Err(format!("none={shown}: rows can lack {}", MAY_BE_ABSENT.join(", ")));
                }
            } else if !fields.contains(&name.as_str()) {
                let shown: String = name.chars().take(MAX_SHOWN).collect();
                return Err(format!("\"{shown}\" is no filter; write {}, or none=FIELD", fields.join(", ")));
            } else if value.trim().is_empty() {
                return Err(format!("{name} has no value; leave it out, or ask for rows without one by none={name}"));
            } else if value.len() > MAX_VALUE {
                return Err(format!("{name} is longer than {MAX_VALUE} bytes"));
            }
        }
        Ok(Self::read(pairs, &fields))
    }

    /// Narrows down to `value`, in place of any other of this field.
    pub fn set(&mut self, field: &'static str, value: String) {
        self.0.retain(|(known, _)| *known != field);
        self.0.push((field, value));
        self.0.sort_by_key(|(field, _)| place(field));
    }

    /// As they are, without that of one field.
    #[must_use]
    pub fn without(&self, field: &str) -> Self {
        Self(self.0.iter().filter(|(known, _)| *known != field).cloned().collect())
    }

    /// As they are, and one more.
    #[must_use]
    pub fn with(&self, field: &'static str, value: impl Into<String>) -> Self {
        let mut filters = self.clone();
        filters.set(field, value.into());
        filters
    }

    /// Fields and values, in the order in which they are shown.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(field, value)| (*field, value.as_str()))
    }

    /// The value of a field.
    pub fn value(&self, field: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == field).map(|(_, value)| value)
    }

    /// Whether nothing is narrowed down.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As the pairs of a URL.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let pair = |(field, value): &(&'static str, String)| {
            if value.is_empty() { (NONE, (*field).to_owned()) } else { (*field, value.clone()) }
        };
        self.0.iter().map(pair).collect()
    }

    /// The rows they leave.
    pub fn of_rows(&self, zone: Tz, now: Timestamp) -> Result<CompletionFilter, String> {
        let mut filter = CompletionFilter::default();
        for (field, value) in self.iter() {
            let text = Some(value.to_owned());
            match field {
                "model" => filter.model = text,
                "app" => filter.app = text,
                "key" => filter.key_name = text,
                "provider" => filter.provider = text,
                "user" => filter.end_user = text,
                "session" => filter.session = text,
                "endpoint" => filter.endpoint = text,
                "error" => filter.error_type = text,
                "requested" => filter.requested_model = text,
                "flag" => filter.flag = text,
                "status" => {
                    let status = value
                        .parse()
                        .map_err(|_| format!("“{value}” is no HTTP status; write a number such as 429."))?;
                    filter.http_status = Some(status);
                }
                "state" => filter.state = Some(state(value)?),
                "tag" => filter.tag = Some(tag(value)?),
                "since" => filter.since = Some(span::parse_time(value, zone, now).map_err(|error| error.to_string())?),
                _ => filter.until = Some(span::parse_time(value, zone, now).map_err(|error| error.to_string())?),
            }
        }
        Ok(filter)
    }

    /// The sums they leave; the spans and what they are grouped by are still to be said.
    pub fn of_sums(&self) -> Result<TotalsQuery, String> {
        let mut query = TotalsQuery::default();
        for (field, value) in self.iter() {
            let dimension = match field {
                "model" => Dimension::Model,
                "requested" => Dimension::RequestedModel,
                "app" => Dimension::App,
                "key" => Dimension::Key,
                "provider" => Dimension::Provider,
                "user" => Dimension::User,
                "session" => Dimension::Session,
                "endpoint" => Dimension::Endpoint,
                "error" => Dimension::ErrorType,
                "state" => {
                    query.only.push((Dimension::State, state(value)?.as_str().to_owned()));
                    continue;
                }
                "tag" => {
                    query.only_tag = Some(tag(value)?);
                    continue;
                }
                _ => continue,
            };
            query.only.push((dimension, value.to_owned()));
        }
        Ok(query)
    }
}

fn state(text: &str) -> Result<CallState, String> {
    let state = CallState::parse(text).filter(|state| *state != CallState::Open);
    state.ok_or_else(|| format!("“{text}” is no state; write settled, pending, unsettled or failed."))
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("“{text}” is no tag; write its name, = and its value: team=search."))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Filters {
        let pairs: Vec<_> = url::form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        Filters::read(&pairs, &FIELDS.map(|(field, _)| field))
    }

    #[test]
    fn each_field_stands_once_and_in_one_order() {
        let filters =
            read("app=b&model=a%2Fx&app=c&n=100&unknown=1&state=&filter=tag&is=team%3Dads&none=user&none=tag");
        let expected = [("model", "a/x"), ("app", "c"), ("none", "user"), ("tag", "team=ads")];
        assert_eq!(filters.pairs(), expected.map(|(field, value)| (field, value.to_owned())));
        let again: Vec<(String, String)> =
            filters.pairs().into_iter().map(|(field, value)| (field.to_owned(), value)).collect();
        assert_eq!(Filters::read(&again, &OF_SUMS), filters);
        assert_eq!(Filters::read(&again, &["app"]).pairs(), [("app", "c".to_owned())]);
        assert_eq!(filters.without("tag").with("app", "d").value("app"), Some("d"));
        let sums = filters.of_sums().unwrap();
        assert!(sums.only.contains(&(Dimension::User, String::new())));
        assert_eq!(sums.only_tag, Some(("team".to_owned(), "ads".to_owned())));
    }

    #[test]
    fn what_can_not_be_meant_is_told() {
        let filter = |text| read(text).of_rows(chrono_tz::UTC, Timestamp(1_795_000_000_000));
        assert!(filter("state=open").unwrap_err().contains("settled, pending"));
        assert!(filter("tag=team").unwrap_err().contains("team=search"));
        assert!(filter("since=yesterday").is_err());
        assert_eq!(filter("since=7d&state=failed").unwrap().state, Some(CallState::Failed));
        assert!(read("state=open").of_sums().is_err());
    }
}
