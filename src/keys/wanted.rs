//! What somebody asks of a new key, and whether it can be made.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::KeysError;
use crate::config::DEFAULT_KEY_NAME;
use crate::domain::attribution::{Attribution, MAX_LABEL, MAX_TAGS};
use crate::domain::ids::repeatable;
use crate::domain::time::{DAY_MS, Timestamp};
use crate::report::span::day_start;

/// The farthest that a key may expire, in days: a hundred years. Beyond it stands a slip of the pen.
const MAX_DAYS: i64 = 36_525;

/// Most characters of what was asked for that a message repeats.
const MAX_SHOWN: usize = 64;

/// A key as it is asked for: body of `POST /tally/v1/keys`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TallyKeyWanted)]
pub struct Wanted {
    /// The application its calls are for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// The end user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Name of the OpenRouter key that pays; `None`: the one of `openrouter.api_key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When it ends, as [`parse_expiry`] reads it; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// Why a text is no end of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpiryError {
    /// It is no time.
    #[error(
        "{0:?} does not say when the key expires: write a time from now (12h, 30d, 8w), a date (2027-01-31: its first instant) or an instant (2027-01-31T18:00:00Z)"
    )]
    NotATime(String),
    /// It is over.
    #[error("{0} is over; a key must expire later than now")]
    Over(Timestamp),
    /// It is too far off.
    #[error("{0:?} is more than a hundred years from now; leave it out for a key that never expires")]
    TooFar(String),
}

/// When a key expires, as people write it: `12h`, `30d` or `8w` from `now`, the first instant of a date in `zone`, or an
/// RFC 3339 instant.
pub fn parse_expiry(text: &str, zone: Tz, now: Timestamp) -> Result<Timestamp, ExpiryError> {
    let text = text.trim();
    let wrong = || ExpiryError::NotATime(repeatable(text, MAX_SHOWN));
    let far = || ExpiryError::TooFar(repeatable(text, MAX_SHOWN));
    let at = if let Ok(date) = text.parse::<NaiveDate>() {
        // Beyond the bound below, and beyond what local time can be computed for.
        if chrono::Datelike::year(&date) > 9_999 {
            return Err(far());
        }
        day_start(date, zone)
    } else if let Some(at) = Timestamp::parse(text) {
        at
    } else {
        let unit_ms = match text.chars().last() {
            Some('m') => 60_000,
            Some('h') => 3_600_000,
            Some('d') => DAY_MS,
            Some('w') => 7 * DAY_MS,
            _ => return Err(wrong()),
        };
        let digits = &text[..text.len() - 1];
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let span = digits.parse::<i64>().ok().and_then(|count| count.checked_mul(unit_ms)).ok_or_else(far)?;
        now.plus_millis(span)
    };
    if at <= now {
        return Err(ExpiryError::Over(at));
    }
    if at > now.plus_millis(MAX_DAYS * DAY_MS) {
        return Err(far());
    }
    Ok(at)
}

/// Tags as people write several into one field: `team=growth, env=prod`, parted by commas or lines.
pub fn parse_tags(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut tags = BTreeMap::new();
    for pair in text.split([',', '\n']).map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| format!("the tag {:?} has no value; write name=value", repeatable(pair, MAX_SHOWN)))?;
        let (name, value) = (name.trim(), value.trim());
        if tags.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(format!("the tag {:?} stands twice; give it one value", repeatable(name, MAX_SHOWN)));
        }
    }
    Ok(tags)
}

impl Wanted {
    /// Labels, name of the OpenRouter key, end; or why no such key can be made.
    pub(super) fn check(
        self,
        upstreams: &[String],
        zone: Tz,
        now: Timestamp,
    ) -> Result<(Attribution, String, Option<Timestamp>), KeysError> {
        let mut labels = Attribution {
            app: optional("app", self.app)?,
            user: optional("user", self.user)?,
            session: optional("session", self.session)?,
            tags: BTreeMap::new(),
        };
        if self.tags.len() > MAX_TAGS {
            return Err(KeysError::Invalid(format!("{} tags are more than {MAX_TAGS}", self.tags.len())));
        }
        for (name, value) in self.tags {
            let value = label("the value of a tag", &value)?;
            labels.tags.insert(label("the name of a tag", &name)?, value);
        }
        let expires = self.expires.filter(|text| !text.trim().is_empty());
        let expires = expires.map(|text| parse_expiry(&text, zone, now)).transpose();
        let expires = expires.map_err(|error| KeysError::Invalid(error.to_string()))?;
        Ok((labels, upstream(self.key, upstreams)?, expires))
    }
}

fn optional(what: &str, text: Option<String>) -> Result<Option<String>, KeysError> {
    text.filter(|text| !text.trim().is_empty()).map(|text| label(what, &text)).transpose()
}

/// A label whole: what a person writes down is not cut without a word.
fn label(what: &str, text: &str) -> Result<String, KeysError> {
    if text.len() > MAX_LABEL {
        return Err(KeysError::Invalid(format!("{what} is longer than {MAX_LABEL} bytes; shorten it")));
    }
    Attribution::label(text)
        .ok_or_else(|| KeysError::Invalid(format!("{what} is empty; write something or leave it out")))
}

fn upstream(name: Option<String>, upstreams: &[String]) -> Result<String, KeysError> {
    let name = name.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| DEFAULT_KEY_NAME.to_owned());
    if upstreams.contains(&name) {
        return Ok(name);
    }
    let named: Vec<&str> = upstreams.iter().map(String::as_str).collect();
    let there = if named.is_empty() {
        "none is configured: set openrouter.api_key (OPENROUTER_API_KEY) or a name under [openrouter.keys]".to_owned()
    } else {
        format!("there are: {}", named.join(", "))
    };
    // Whoever puts the key itself in the place of its name shall not read it again in an answer.
    let name = repeatable(&name, MAX_SHOWN);
    Err(KeysError::Invalid(format!("no OpenRouter key is named {name:?}; {there}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn an_end_is_a_span_a_date_or_an_instant() {
        let (now, zone) = (at("2026-11-22T14:07:31Z"), chrono_tz::Europe::Berlin);
        for (text, end) in [
            ("90m", "2026-11-22T15:37:31Z"),
            ("12h", "2026-11-23T02:07:31Z"),
            (" 30d ", "2026-12-22T14:07:31Z"),
            ("1w", "2026-11-29T14:07:31Z"),
            ("2027-01-31", "2027-01-30T23:00:00Z"),
            ("2027-01-31T18:00:00+01:00", "2027-01-31T17:00:00Z"),
        ] {
            assert_eq!(parse_expiry(text, zone, now), Ok(at(end)), "{text}");
        }
        for wrong in ["", "d", "-3d", "+3d", "soon", "2027-13-01", "30 days", "3y", "é"] {
            assert!(matches!(parse_expiry(wrong, zone, now), Err(ExpiryError::NotATime(_))), "{wrong}");
        }
        for over in ["0d", "2026-11-22", "2026-11-22T14:07:31Z"] {
            assert!(matches!(parse_expiry(over, zone, now), Err(ExpiryError::Over(_))), "{over}");
        }
        for far in ["40000d", "99999999999999999999d", "2200-01-01", "+20000-01-01"] {
            assert!(matches!(parse_expiry(far, zone, now), Err(ExpiryError::TooFar(_))), "{far}");
        }
    }

    #[test]
    fn tags_are_parted_by_commas_and_lines() {
        let tags = parse_tags("team=growth, env = prod\n\nnote=a=b,").unwrap();
        let tags: Vec<(&str, &str)> = tags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(tags, [("env", "prod"), ("note", "a=b"), ("team", "growth")]);
        assert!(parse_tags("team").unwrap_err().contains("name=value"));
        assert!(parse_tags("a=1,a=2").unwrap_err().contains("twice"));
    }

    #[test]
    fn what_can_not_be_made_is_refused_with_a_remedy() {
        let upstreams = ["default".to_owned(), "growth".to_owned()];
        let check = |wanted: Wanted| wanted.check(&upstreams, chrono_tz::UTC, Timestamp(0)).map_err(|e| e.to_string());
        let some = |text: &str| Some(text.to_owned());
        let (labels, upstream, expires) =
            check(Wanted { app: some(" bot\n"), user: some("  "), expires: some(""), ..Wanted::default() }).unwrap();
        assert_eq!((labels.app.as_deref(), labels.user, &*upstream, expires), (Some("bot"), None, "default", None));
        let unknown = check(Wanted { key: some("grwth"), ..Wanted::default() }).unwrap_err();
        assert!(unknown.contains("\"grwth\"") && unknown.contains("default, growth"), "{unknown}");
        let mistaken = check(Wanted { key: some("sk-or-v1-secret"), ..Wanted::default() }).unwrap_err();
        assert!(!mistaken.contains("secret"), "{mistaken}");
        assert!(check(Wanted { app: some(&"x".repeat(513)), ..Wanted::default() }).unwrap_err().contains("512"));
        let many = (0..33).map(|n| (n.to_string(), "x".to_owned())).collect();
        assert!(check(Wanted { tags: many, ..Wanted::default() }).unwrap_err().contains("33"));
        let empty = [("a".to_owned(), " ".to_owned())].into();
        assert!(check(Wanted { tags: empty, ..Wanted::default() }).unwrap_err().contains("value of a tag"));
        assert!(Wanted::default().check(&[], chrono_tz::UTC, Timestamp(0)).is_err());
    }
}
