//! A budget that holds for each value of a field by itself: `each = "user"`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::BudgetError;
use crate::domain::attribution::MAX_LABEL;
use crate::domain::call::Call;
use crate::domain::scope::{AdmissionSubject, Glob, Scope};

/// Values of one budget that are counted by themselves in one window; those that come later share [`OTHER`].
pub const MAX_VALUES: usize = 10_000;

/// The account that values beyond [`MAX_VALUES`] share, and a value of this very name.
pub const OTHER: &str = "(other)";

/// The field whose values have a budget each.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Each {
    /// The application.
    App,
    /// The key's name.
    Key,
    /// The end user.
    User,
    /// The tag of this name.
    Tag(String),
}

impl Each {
    /// The row's value; `None`: it names none, and counts in no value's budget.
    pub fn of_row<'a>(&self, call: &'a Call) -> Option<&'a str> {
        let labels = &call.attribution;
        match self {
            Self::App => labels.app.as_deref(),
            Self::Key => call.key.as_ref().map(|key| key.name.as_str()),
            Self::User => labels.user.as_deref(),
            Self::Tag(name) => labels.tags.get(name).map(String::as_str),
        }
    }

    /// The value of a call before it is sent. One whose body was not read may name any: it shares [`OTHER`].
    pub fn of_call<'a>(&self, call: &AdmissionSubject<'a>) -> Option<&'a str> {
        let tag = |tags: &'a BTreeMap<String, String>, name: &str| tags.get(name).map(String::as_str);
        match self {
            Self::App => call.app,
            Self::Key => call.key_name,
            Self::User => call.end_user.or(call.opaque_body.then_some(OTHER)),
            Self::Tag(name) => tag(call.tags, name).or(call.opaque_body.then_some(OTHER)),
        }
    }

    /// The scope of one value's calls, as far as a scope can say it: a value that reads as a pattern is left out.
    #[must_use]
    pub fn narrowed(&self, scope: &Scope, value: &str) -> Scope {
        let mut scope = scope.clone();
        let literal = Some(value).filter(|value| *value != OTHER && !value.contains(['*', '?']));
        let Some(glob) = literal.and_then(|value| value.parse::<Glob>().ok()) else { return scope };
        match self {
            Self::App => scope.app = Some(glob),
            Self::Key => scope.key = Some(glob),
            Self::User => scope.user = Some(glob),
            Self::Tag(name) => drop(scope.tags.insert(name.clone(), glob)),
        }
        scope
    }
}

impl fmt::Display for Each {
    /// As it is written: `user`, `tag.team`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App => f.write_str("app"),
            Self::Key => f.write_str("key"),
            Self::User => f.write_str("user"),
            Self::Tag(name) => write!(f, "tag.{name}"),
        }
    }
}

impl FromStr for Each {
    type Err = BudgetError;
    fn from_str(text: &str) -> Result<Self, BudgetError> {
        match text.trim() {
            "app" => Ok(Self::App),
            "key" => Ok(Self::Key),
            "user" => Ok(Self::User),
            other => match other.strip_prefix("tag.") {
                Some(name) if !name.is_empty() && name.len() <= MAX_LABEL => Ok(Self::Tag(name.to_owned())),
                _ => Err(BudgetError::Each(text.to_owned())),
            },
        }
    }
}

impl TryFrom<String> for Each {
    type Error = BudgetError;
    fn try_from(text: String) -> Result<Self, BudgetError> {
        text.parse()
    }
}

impl From<Each> for String {
    fn from(each: Each) -> Self {
        each.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_reads_as_it_is_written() {
        for text in ["app", "key", "user", "tag.team"] {
            assert_eq!(text.parse::<Each>().unwrap().to_string(), text);
        }
        for text in ["", "session", "tag.", "tag", "users", &format!("tag.{}", "x".repeat(MAX_LABEL + 1))] {
            assert!(text.parse::<Each>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_call_has_the_value_it_names_and_an_unread_body_may_name_any() {
        let tags = BTreeMap::from([("team".to_owned(), "search".to_owned())]);
        let call = AdmissionSubject {
            app: Some("bot"),
            key_name: Some("default"),
            end_user: None,
            session: None,
            model: None,
            models: &[],
            models_unread: false,
            tags: &tags,
            opaque_body: false,
        };
        let of =
            |each: &str, call: &AdmissionSubject<'_>| each.parse::<Each>().unwrap().of_call(call).map(str::to_owned);
        assert_eq!(of("tag.team", &call).as_deref(), Some("search"));
        assert_eq!((of("app", &call).as_deref(), of("key", &call).as_deref()), (Some("bot"), Some("default")));
        assert_eq!((of("user", &call), of("tag.env", &call)), (None, None));
        let opaque = AdmissionSubject { opaque_body: true, app: None, ..call };
        assert_eq!((of("user", &opaque).as_deref(), of("tag.env", &opaque).as_deref()), (Some(OTHER), Some(OTHER)));
        assert_eq!(of("app", &opaque), None, "the app comes from headers");
        assert_eq!(of("tag.team", &opaque).as_deref(), Some("search"), "a header is stronger than the body");
    }

    #[test]
    fn a_scope_is_narrowed_to_one_value_unless_that_reads_as_a_pattern() {
        let scope: Scope = serde_json::from_str(r#"{"user":"l*"}"#).unwrap();
        assert_eq!(Each::User.narrowed(&scope, "lena").to_string(), "user = lena");
        assert_eq!(Each::Tag("t".to_owned()).narrowed(&scope, "x").to_string(), "user = l*, tag.t = x");
        for value in ["l*na", "l?na", OTHER] {
            assert_eq!(Each::User.narrowed(&scope, value), scope, "{value}");
        }
    }
}
