//! `[[budgets]]`: the file's own budgets. What a budget may be is [`crate::domain::budget`]'s to say;
//! this tells where in the file it is not.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use chrono_tz::Tz;

use crate::domain::budget::{Budget, BudgetError, BudgetName, BudgetSpec, Origin as Owner, Threshold, parse_limit};
use crate::domain::scope::{Glob, Scope};
use crate::domain::window::BillingDay;
use crate::domain::{recipient, zone};

use super::document::{Kind, Table, Value};
use super::error::Origin;
use super::nearest::nearest;
use super::reader::{Noted, Read, Reader};

/// Most budgets one file may hold.
const MAX_BUDGETS: usize = 1000;

/// What stands in a budget, in the order of the example.
const FIELDS: [&str; 13] = [
    "name",
    "scope",
    "each",
    "window",
    "time_zone",
    "week_starts",
    "billing_day",
    "rollover",
    "limit_usd",
    "alert_at",
    "notify",
    "when_exceeded",
    "on_ledger_failure",
];

/// What a scope looks at, besides `tag.NAME`.
const SCOPE_FIELDS: [&str; 6] = ["app", "key", "user", "session", "model", "provider"];

/// Every budget of the file; `default_zone` is for those that name none.
pub(super) fn read(reader: &mut Reader<'_>, default_zone: Tz) -> Read<Vec<Budget>> {
    let elements = reader.budgets();
    if let Some(first_beyond) = elements.get(MAX_BUDGETS) {
        let message = format!("a file holds at most {MAX_BUDGETS} budgets");
        return reader.wrong(&first_beyond.origin, "budgets", message);
    }
    let mut budgets = Vec::with_capacity(elements.len());
    let mut names: BTreeMap<BudgetName, Origin> = BTreeMap::new();
    let mut failed = false;
    for (index, element) in elements.iter().enumerate() {
        let place = format!("budgets[{index}]");
        // Each budget is read, whatever is wrong with the one before it.
        let Ok(budget) = (Entry { reader, place: &place }).read(element, default_zone) else {
            failed = true;
            continue;
        };
        if let Some(first) = names.insert(budget.name.clone(), element.origin.clone()) {
            let message = format!("{} is taken by the budget at {first}; names are unique", budget.name);
            failed = reader.wrong::<()>(&element.origin, &format!("{place}.name"), message).is_err();
            continue;
        }
        warn(reader, &budget, element);
        budgets.push(budget);
    }
    if failed { Err(Noted) } else { Ok(budgets) }
}

fn warn(reader: &mut Reader<'_>, budget: &Budget, element: &Value) {
    let (name, origin) = (&budget.name, &element.origin);
    if budget.notify.is_empty() {
        return;
    }
    if budget.alert_at.is_empty() {
        reader.warnings.push(format!("{origin}: budget {name} has notify and an empty alert_at: it will never mail"));
    }
}

/// One table of the file's own and its place, `budgets[0]`.
pub(super) struct Entry<'r, 'a> {
    pub(super) reader: &'r mut Reader<'a>,
    pub(super) place: &'r str,
}

impl Entry<'_, '_> {
    fn read(mut self, element: &Value, default_zone: Tz) -> Read<Budget> {
        let Kind::Table(table) = &element.kind else {
            return self.reader.wrong(&element.origin, self.place, "write each budget under a line [[budgets]]");
        };
        // Everything is read before anything is given up, so that one start tells all that is wrong.
        let known = self.known_fields(table, &FIELDS);
        let name = self.required(element, table, "name");
        let scope = self.scope(table);
        let each = self.optional(table, "each", str::parse);
        let window = self.required(element, table, "window");
        let time_zone = self.optional(table, "time_zone", zone::parse);
        let week_starts = self.optional(table, "week_starts", str::parse);
        let billing_day = self.day(table, "billing_day");
        let rollover = self.switch(table, "rollover");
        let limit_usd = self.limit(element, table);
        let alert_at = self.list(table, "alert_at", str::parse);
        let notify = self.recipients(table);
        let when_exceeded = self.optional(table, "when_exceeded", str::parse);
        let on_ledger_failure = self.optional(table, "on_ledger_failure", str::parse);
        known?;
        let spec = BudgetSpec {
            name: name?,
            scope: scope?,
            each: each?,
            window: window?,
            time_zone: time_zone?,
            week_starts: week_starts?,
            billing_day: billing_day?,
            rollover: rollover?.unwrap_or_default(),
            limit_usd: limit_usd?,
            alert_at: alert_at?.unwrap_or_else(|| Threshold::DEFAULT.to_vec()),
            notify: notify?.unwrap_or_default(),
            when_exceeded: when_exceeded?.unwrap_or_default(),
            on_ledger_failure: on_ledger_failure?,
        };
        match spec.into_budget(Owner::File, default_zone) {
            Ok(budget) => Ok(budget),
            Err(error) => {
                let field = error.field();
                self.wrong(table.get(field).unwrap_or(element), field, error)
            }
        }
    }

    /// Notes every field that is none of `fields`.
    pub(super) fn known_fields(&mut self, table: &Table, fields: &[&str]) -> Read<()> {
        let mut all_known = Ok(());
        for (field, value) in table.iter().filter(|(field, _)| !fields.contains(&field.as_str())) {
            let near = nearest(field, fields.iter().copied()).unwrap_or_default();
            let message = format!("there is no such setting; the nearest is {}.{near}", self.place);
            all_known = self.wrong(value, field, message);
        }
        all_known
    }

    pub(super) fn optional<T, E: Display>(
        &mut self,
        table: &Table,
        field: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Read<Option<T>> {
        table.get(field).map(|value| self.parsed(field, value, parse)).transpose()
    }

    pub(super) fn wrong<T>(&mut self, value: &Value, field: &str, message: impl Display) -> Read<T> {
        self.reader.wrong(&value.origin, &format!("{}.{field}", self.place), message)
    }

    fn text<'v>(&mut self, field: &str, value: &'v Value) -> Read<&'v str> {
        match &value.kind {
            Kind::Text(text) => Ok(text),
            _ => self.wrong(value, field, "write a string, in quotation marks"),
        }
    }

    fn parsed<T, E: Display>(
        &mut self,
        field: &str,
        value: &Value,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Read<T> {
        match parse(self.text(field, value)?) {
            Ok(parsed) => Ok(parsed),
            Err(error) => self.wrong(value, field, error),
        }
    }

    fn field<'v>(&mut self, element: &Value, table: &'v Table, field: &str) -> Read<&'v Value> {
        match table.get(field) {
            Some(value) => Ok(value),
            None => self.wrong(element, field, format!("is missing; write one, such as {}", example(field))),
        }
    }

    fn required<T: FromStr<Err: Display>>(&mut self, element: &Value, table: &Table, field: &str) -> Read<T> {
        let value = self.field(element, table, field)?;
        self.parsed(field, value, str::parse)
    }

    fn limit(&mut self, element: &Value, table: &Table) -> Read<crate::domain::money::Money> {
        const FIELD: &str = "limit_usd";
        let value = self.field(element, table, FIELD)?;
        let parsed = match &value.kind {
            Kind::Text(text) => parse_limit(text),
            Kind::Integer(dollars) => parse_limit(&dollars.to_string()),
            Kind::OtherNumber(text) => {
                Err(parse_limit(text).map_or_else(|error| error, |_| BudgetError::LimitFloat(text.clone())))
            }
            _ => return self.wrong(value, FIELD, format!("write dollars, such as {}", example(FIELD))),
        };
        match parsed {
            Ok(limit) => Ok(limit),
            Err(error) => self.wrong(value, FIELD, error),
        }
    }

    fn day(&mut self, table: &Table, field: &str) -> Read<Option<BillingDay>> {
        let Some(value) = table.get(field) else { return Ok(None) };
        let parsed = match &value.kind {
            Kind::Integer(day) => BillingDay::try_from(*day),
            Kind::Text(text) | Kind::OtherNumber(text) => text.parse(),
            _ => return self.wrong(value, field, "write a day of the month, such as billing_day = 15"),
        };
        match parsed {
            Ok(day) => Ok(Some(day)),
            Err(error) => self.wrong(value, field, error),
        }
    }

    fn switch(&mut self, table: &Table, field: &str) -> Read<Option<bool>> {
        match table.get(field) {
            None => Ok(None),
            Some(Value { kind: Kind::Bool(on), .. }) => Ok(Some(*on)),
            Some(value) => self.wrong(value, field, "write true or false"),
        }
    }

    /// Those of `notify`.
    pub(super) fn recipients(&mut self, table: &Table) -> Read<Option<Vec<String>>> {
        let webhooks = self.reader.webhooks();
        self.list(table, "notify", |text| parse_recipient(text, &webhooks))
    }

    pub(super) fn list<T, E: Display>(
        &mut self,
        table: &Table,
        field: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Read<Option<Vec<T>>> {
        match table.get(field) {
            Some(value) => self.reader.list_of(&format!("{}.{field}", self.place), value, parse).map(Some),
            None => Ok(None),
        }
    }

    fn scope(&mut self, table: &Table) -> Read<Scope> {
        let Some(value) = table.get("scope") else { return Ok(Scope::default()) };
        let Kind::Table(fields) = &value.kind else {
            return self.wrong(value, "scope", "write { app = \"name\", model = \"vendor/*\" }, or {} for everything");
        };
        let mut scope = Scope::default();
        let mut all_read = Ok(());
        for (field, value) in fields {
            let place = format!("scope.{field}");
            if field == "tag" {
                match self.tags(&place, value) {
                    Ok(tags) => scope.tags = tags,
                    Err(noted) => all_read = Err(noted),
                }
                continue;
            }
            let slot = match field.as_str() {
                "app" => &mut scope.app,
                "key" => &mut scope.key,
                "user" => &mut scope.user,
                "session" => &mut scope.session,
                "model" => &mut scope.model,
                "provider" => &mut scope.provider,
                _ => {
                    let near = nearest(field, SCOPE_FIELDS).unwrap_or_default();
                    let known = SCOPE_FIELDS.join(", ");
                    let message = format!("a scope has no such field; the nearest is {near} (of {known}, tag.NAME)");
                    all_read = self.wrong(value, &place, message);
                    continue;
                }
            };
            match self.parsed::<Glob, _>(&place, value, str::parse) {
                Ok(glob) => *slot = Some(glob),
                Err(noted) => all_read = Err(noted),
            }
        }
        all_read.map(|()| scope)
    }

    fn tags(&mut self, place: &str, value: &Value) -> Read<BTreeMap<String, Glob>> {
        let Kind::Table(tags) = &value.kind else {
            return self.wrong(value, place, "name the tag: tag.team = \"search\"");
        };
        let mut globs = BTreeMap::new();
        let mut all_read = Ok(());
        for (name, value) in tags {
            match self.parsed(&format!("{place}.{name}"), value, str::parse) {
                Ok(glob) => drop(globs.insert(name.clone(), glob)),
                Err(noted) => all_read = Err(noted),
            }
        }
        all_read.map(|()| globs)
    }
}

/// One entry of `notify`, where these webhooks are configured.
pub(super) fn parse_recipient(text: &str, webhooks: &[String]) -> Result<String, BudgetError> {
    recipient::check(text)?;
    recipient::check_configured(text, webhooks)?;
    Ok(text.to_owned())
}

/// What a required field looks like, for messages.
fn example(field: &str) -> &'static str {
    match field {
        "name" => "name = \"growth\"",
        "window" => "window = \"month\"",
        _ => "limit_usd = \"500.00\"",
    }
}
