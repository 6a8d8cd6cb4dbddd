//! A budget as a form writes it: a text for each field, and what is wrong beside the field it is in.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use chrono_tz::Tz;
use serde::Deserialize;

use crate::domain::budget::{Budget, BudgetSpec, Origin, Threshold, parse_limit};
use crate::domain::scope::{Glob, Scope};
use crate::domain::time::Timestamp;
use crate::domain::window::{BillingDay, WeekStart, WindowKind};
use crate::domain::zone;
use crate::keys::{ExpiryError, parse_expiry};

/// What is wrong, by field.
pub type Wrong = BTreeMap<&'static str, String>;

/// The texts of a form; an empty one is a field that is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Wanted {
    /// The name.
    pub name: String,
    /// Scope: the application.
    pub app: String,
    /// Scope: the key's name.
    pub key: String,
    /// Scope: the end user.
    pub user: String,
    /// Scope: the session.
    pub session: String,
    /// Scope: the model.
    pub model: String,
    /// Scope: the provider.
    pub provider: String,
    /// Scope: tags, `team=search, env=*`.
    pub tags: String,
    /// The field whose values have the limit each by itself; empty: all calls share it.
    pub each: String,
    /// The window.
    pub window: String,
    /// The zone.
    pub time_zone: String,
    /// The weekday; looked at for `week` alone.
    pub week_starts: String,
    /// The day of the month; looked at for `month` alone.
    pub billing_day: String,
    /// Whether it rolls over: not empty.
    pub rollover: String,
    /// The limit in dollars.
    pub limit_usd: String,
    /// Thresholds, parted by commas.
    pub alert_at: String,
    /// Addresses, parted by commas, blanks or lines.
    pub notify: String,
    /// `alert` or `block`.
    pub when_exceeded: String,
    /// `forward` or `refuse`; empty: as the configuration says.
    pub on_ledger_failure: String,
}

impl Wanted {
    /// What an empty form offers.
    pub fn fresh(zone: Tz) -> Self {
        Self {
            window: WindowKind::Month.to_string(),
            time_zone: zone.name().to_owned(),
            alert_at: Threshold::DEFAULT.map(|threshold| threshold.to_string()).join(", "),
            when_exceeded: "alert".to_owned(),
            ..Self::default()
        }
    }

    /// A budget as a form shows it.
    pub fn of(budget: &Budget) -> Self {
        let scope = &budget.scope;
        let glob = |glob: &Option<Glob>| glob.as_ref().map(ToString::to_string).unwrap_or_default();
        let tags = scope.tags.iter().map(|(name, glob)| format!("{name}={glob}"));
        let thresholds = budget.alert_at.iter().map(ToString::to_string);
        Self {
            name: budget.name.to_string(),
            app: glob(&scope.app),
            key: glob(&scope.key),
            user: glob(&scope.user),
            session: glob(&scope.session),
            model: glob(&scope.model),
            provider: glob(&scope.provider),
            tags: tags.collect::<Vec<_>>().join(", "),
            each: budget.each.as_ref().map(ToString::to_string).unwrap_or_default(),
            window: budget.window.to_string(),
            time_zone: budget.zone.name().to_owned(),
            week_starts: budget.week_starts.as_str().to_owned(),
            billing_day: budget.billing_day.day().to_string(),
            rollover: if budget.rollover { "on".to_owned() } else { String::new() },
            limit_usd: budget.limit.to_decimal(),
            alert_at: thresholds.collect::<Vec<_>>().join(", "),
            notify: budget.notify.join(", "),
            when_exceeded: budget.when_exceeded.as_str().to_owned(),
            on_ledger_failure: budget.on_ledger_failure.map(|what| what.as_str().to_owned()).unwrap_or_default(),
        }
    }

    /// What is given, by the fields' names: a form in a URL.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("name", &self.name),
            ("app", &self.app),
            ("key", &self.key),
            ("user", &self.user),
            ("session", &self.session),
            ("model", &self.model),
            ("provider", &self.provider),
            ("tags", &self.tags),
            ("each", &self.each),
            ("window", &self.window),
            ("time_zone", &self.time_zone),
            ("week_starts", &self.week_starts),
            ("billing_day", &self.billing_day),
            ("rollover", &self.rollover),
            ("limit_usd", &self.limit_usd),
            ("alert_at", &self.alert_at),
            ("notify", &self.notify),
            ("when_exceeded", &self.when_exceeded),
            ("on_ledger_failure", &self.on_ledger_failure),
        ];
        all.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name, value.clone())).collect()
    }

    /// The budget it describes, or all that is wrong.
    pub fn spec(&self, default_zone: Tz) -> Result<BudgetSpec, Wrong> {
        let mut wrong = Wrong::new();
        let scope = self.scope(&mut wrong);
        let each = optional(&mut wrong, "each", &self.each);
        let window = required(&mut wrong, "window", &self.window);
        let week_starts = optional::<WeekStart>(&mut wrong, "week_starts", &self.week_starts);
        let billing_day = optional::<BillingDay>(&mut wrong, "billing_day", &self.billing_day);
        let name = required(&mut wrong, "name", &self.name);
        let time_zone = read(&mut wrong, "time_zone", &self.time_zone, zone::parse);
        let limit_usd = noted(&mut wrong, "limit_usd", parse_limit(&self.limit_usd));
        let alert_at: Option<Vec<Threshold>> = noted(
            &mut wrong,
            "alert_at",
            self.alert_at.split(',').map(str::trim).filter(|text| !text.is_empty()).map(str::parse).collect(),
        );
        let when_exceeded = optional(&mut wrong, "when_exceeded", &self.when_exceeded).unwrap_or_default();
        let on_ledger_failure = optional(&mut wrong, "on_ledger_failure", &self.on_ledger_failure);
        let addresses = self.notify.split(|c: char| c == ',' || c.is_whitespace()).filter(|text| !text.is_empty());
        let (Some(name), Some(window), Some(limit_usd), Some(alert_at)) = (name, window, limit_usd, alert_at) else {
            return Err(wrong);
        };
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let spec = BudgetSpec {
            name,
            scope,
            each,
            window,
            time_zone,
            // A form without script shows both for every window; they say something of one each.
            week_starts: week_starts.filter(|_| window == WindowKind::Week),
            billing_day: billing_day.filter(|_| window == WindowKind::Month),
            rollover: !self.rollover.is_empty(),
            limit_usd,
            alert_at,
            notify: addresses.map(str::to_owned).collect(),
            when_exceeded,
            on_ledger_failure,
        };
        match spec.clone().into_budget(Origin::Own, default_zone) {
            Ok(_) => Ok(spec),
            Err(error) => {
                wrong.insert(error.field(), error.to_string());
                Err(wrong)
            }
        }
    }

    fn scope(&self, wrong: &mut Wrong) -> Scope {
        let mut scope = Scope {
            app: optional(wrong, "app", &self.app),
            key: optional(wrong, "key", &self.key),
            user: optional(wrong, "user", &self.user),
            session: optional(wrong, "session", &self.session),
            model: optional(wrong, "model", &self.model),
            provider: optional(wrong, "provider", &self.provider),
            tags: BTreeMap::new(),
        };
        for pair in self.tags.split([',', '\n']).map(str::trim).filter(|pair| !pair.is_empty()) {
            let Some((name, glob)) = pair.split_once('=') else {
                wrong.insert("tags", format!("{pair:?} has no value; write name=value, such as team=search"));
                continue;
            };
            if let Some(glob) = noted(wrong, "tags", glob.trim().parse()) {
                scope.tags.insert(name.trim().to_owned(), glob);
            }
        }
        scope
    }
}

fn noted<T, E: Display>(wrong: &mut Wrong, field: &'static str, read: Result<T, E>) -> Option<T> {
    read.map_err(|error| wrong.insert(field, error.to_string())).ok()
}

fn read<T, E: Display>(
    wrong: &mut Wrong,
    field: &'static str,
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    let text = text.trim();
    if text.is_empty() { None } else { noted(wrong, field, parse(text)) }
}

fn optional<T: FromStr<Err: Display>>(wrong: &mut Wrong, field: &'static str, text: &str) -> Option<T> {
    read(wrong, field, text, str::parse)
}

fn required<T: FromStr<Err: Display>>(wrong: &mut Wrong, field: &'static str, text: &str) -> Option<T> {
    noted(wrong, field, text.trim().parse())
}

/// When an override ends, as people write it: `12h`, `3d` or `2w` from `now`, the first instant of a date in `zone`, or an
/// RFC 3339 instant.
pub fn parse_until(text: &str, zone: Tz, now: Timestamp) -> Result<Timestamp, String> {
    parse_expiry(text, zone, now).map_err(|error| match error {
        ExpiryError::NotATime(text) => format!(
            "{text:?} does not say until when: write a time from now (12h, 3d, 2w), a date (2027-01-31: its first \
             instant) or an instant (2027-01-31T18:00:00Z)"
        ),
        ExpiryError::Over(at) => format!("{at} is over; an override ends later than now"),
        ExpiryError::TooFar(text) => {
            format!("{text:?} is more than a hundred years from now; change the budget's own limit instead")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_that_shows_a_budget_describes_the_same_one() {
        let spec = serde_json::json!({
            "name": "growth", "window": "month", "billing_day": 15, "rollover": true, "limit_usd": "500.25",
            "scope": { "app": "growth-*", "tag": { "team": "x", "env": "prod*" } }, "alert_at": ["$7.00", "80%"], "on_ledger_failure": "refuse",
            "notify": ["a@example.com", "b@example.com"], "when_exceeded": "block", "time_zone": "Europe/Berlin",
        });
        let spec: BudgetSpec = serde_json::from_value(spec).unwrap();
        let budget = spec.into_budget(Origin::Own, Tz::UTC).unwrap();
        let again = Wanted::of(&budget).spec(Tz::UTC).unwrap().into_budget(Origin::Own, Tz::UTC).unwrap();
        assert_eq!(again, budget);
    }

    #[test]
    fn what_is_wrong_stands_beside_its_field_all_of_it_at_once() {
        let wanted = Wanted {
            name: "Growth".to_owned(),
            limit_usd: "$5".to_owned(),
            time_zone: "Berlin".to_owned(),
            tags: "team".to_owned(),
            alert_at: "80".to_owned(),
            billing_day: "40".to_owned(),
            ..Wanted::fresh(Tz::UTC)
        };
        let wrong = wanted.spec(Tz::UTC).unwrap_err();
        assert_eq!(
            wrong.keys().copied().collect::<Vec<_>>(),
            ["alert_at", "billing_day", "limit_usd", "name", "tags", "time_zone"]
        );
        let wanted = Wanted { name: "a".to_owned(), limit_usd: "5".to_owned(), ..Wanted::fresh(Tz::UTC) };
        let by_provider = Wanted { provider: "Azure".to_owned(), when_exceeded: "block".to_owned(), ..wanted.clone() };
        assert!(by_provider.spec(Tz::UTC).unwrap_err()["scope"].contains("put model beside it"));
        // An empty list of thresholds only counts.
        let silent = Wanted { alert_at: " ".to_owned(), week_starts: "sunday".to_owned(), ..wanted };
        assert!(silent.spec(Tz::UTC).unwrap().alert_at.is_empty());
    }
}
