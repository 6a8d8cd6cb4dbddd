//! Four layers to one set of values: flags over environment over file over defaults.
//!
//! `config.example.toml` is the schema as well as the defaults: a setting that does not stand in it
//! does not exist. A table that stands there empty takes names of the user's own.

use std::collections::{BTreeMap, BTreeSet};

use super::document::{Kind, Source, Table, Value, parse, parse_list};
use super::error::{ConfigError, Origin, Problem};
use super::nearest::nearest;
use super::{Flags, NAME_RULE, is_name};

/// The compiled-in defaults and their documentation.
pub const EXAMPLE: &str = include_str!("../../config.example.toml");

/// The lists of tables that stand in the example as comments only.
const BUDGETS: &str = "budgets";
const REPORTS: &str = "reports";

/// Variables that set a setting whose default is not `{ env = … }` under a name of their own.
const OWN_NAMES: [(&str, &str); 1] = [("OPENROUTER_BASE_URL", "openrouter.base_url")];

/// Names the configuration file; not a setting itself.
pub(super) const CONFIG_VARIABLE: &str = "TALLYD_CONFIG";

const PREFIX: &str = "TALLYD_";

/// Every setting's value after all layers, by its full name (`settle.concurrency`).
pub(super) struct Layers {
    /// The lowest layer, which also says what kind of value a setting takes.
    defaults: BTreeMap<String, Value>,
    values: BTreeMap<String, Value>,
    /// Every table of settings.
    sections: BTreeSet<String>,
    /// Tables that take names of the user's own.
    open: BTreeSet<String>,
    /// Settings that a variable sets under a name of its own, by that name.
    own_names: BTreeMap<String, String>,
    /// The elements of `[[budgets]]`.
    pub(super) budgets: Vec<Value>,
    /// The elements of `[[reports]]`.
    pub(super) reports: Vec<Value>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
}

impl Layers {
    /// The lowest layer: the example.
    pub(super) fn defaults() -> Result<Self, ConfigError> {
        let mut layers = Self {
            defaults: BTreeMap::new(),
            values: BTreeMap::new(),
            sections: BTreeSet::new(),
            open: BTreeSet::new(),
            own_names: OWN_NAMES.iter().map(|&(name, key)| (name.to_owned(), key.to_owned())).collect(),
            budgets: Vec::new(),
            reports: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        layers.add_defaults("", parse(EXAMPLE, &Source::Default)?);
        layers.defaults = layers.values.clone();
        Ok(layers)
    }

    fn add_defaults(&mut self, section: &str, table: Table) {
        for (name, value) in table {
            let key = join(section, &name);
            match value.kind {
                Kind::Table(inner) if inner.is_empty() => {
                    self.sections.insert(key.clone());
                    self.open.insert(key);
                }
                Kind::Table(inner) => {
                    if let Some(Kind::Text(variable)) = inner.get("env").map(|env| &env.kind) {
                        self.own_names.insert(variable.clone(), key.clone());
                        self.values.insert(key, Value { origin: value.origin, kind: Kind::Table(inner) });
                    } else {
                        self.sections.insert(key.clone());
                        self.add_defaults(&key, inner);
                    }
                }
                kind => {
                    self.values.insert(key, Value { origin: value.origin, kind });
                }
            }
        }
    }

    /// Lays the file over the defaults.
    pub(super) fn add_file(&mut self, table: Table) {
        self.add_table("", table);
    }

    fn add_table(&mut self, section: &str, table: Table) {
        for (name, value) in table {
            let key = join(section, &name);
            if let Some(setting) = self.values.get_mut(&key) {
                *setting = value;
            } else if self.open.contains(section) {
                self.add_named(section, &name, value);
            } else if let Some((list, each)) = self.list_of_tables(&key) {
                if let Kind::List(elements) = value.kind {
                    *list = elements;
                } else {
                    let message = format!("write each {each} under a line [[{key}]]");
                    self.problem(value.origin, key, message);
                }
            } else if self.sections.contains(&key) {
                if let Kind::Table(inner) = value.kind {
                    self.add_table(&key, inner);
                } else {
                    let message = format!("is a section; write [{key}] and its settings below that line");
                    self.problem(value.origin, key, message);
                }
            } else {
                let message = format!("there is no such setting; the nearest is {}", self.nearest_key(&key));
                self.problem(value.origin, key, message);
            }
        }
    }

    /// The list of tables that stands at `key`, and what each of them is.
    fn list_of_tables(&mut self, key: &str) -> Option<(&mut Vec<Value>, &'static str)> {
        match key {
            BUDGETS => Some((&mut self.budgets, "budget")),
            REPORTS => Some((&mut self.reports, "report")),
            _ => None,
        }
    }

    fn add_named(&mut self, section: &str, name: &str, value: Value) {
        let key = join(section, name);
        if is_name(name) {
            self.values.insert(key, value);
        } else {
            self.problem(value.origin, key, format!("a name here is {NAME_RULE}"));
        }
    }

    /// Lays the environment over the file.
    pub(super) fn add_environment(&mut self, env: &BTreeMap<String, String>) {
        // Names of their own first: the longer name, which says exactly what it sets, wins over them.
        for (name, text) in env.iter().filter(|(_, text)| !text.is_empty()) {
            if let Some(key) = self.own_names.get(name).cloned() {
                self.add_variable(name, key, text);
            }
        }
        for (name, text) in env {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            if name == CONFIG_VARIABLE || self.own_names.contains_key(name) {
                continue;
            }
            let key = rest.replace("__", ".").to_ascii_lowercase();
            let in_open = key.rsplit_once('.').filter(|(section, _)| self.open.contains(*section));
            if self.values.contains_key(&key) {
                if !text.is_empty() {
                    self.add_variable(name, key, text);
                }
            } else if let Some((section, inner)) = in_open {
                if !text.is_empty() {
                    let origin = Origin::Env(name.clone());
                    self.add_named(section, inner, Value { origin, kind: Kind::Text(text.clone()) });
                }
            } else if let Some(list) = [BUDGETS, REPORTS].into_iter().find(|list| key.split('.').next() == Some(list)) {
                let message = format!("{list} are written in the file, not in the environment; unset the variable");
                self.problem(Origin::Env(name.clone()), list.to_owned(), message);
            } else {
                let near = nearest(&key, self.keys()).map(variable_of).unwrap_or_default();
                if rest.contains("__") {
                    let message = format!("there is no such setting; the nearest is {near}");
                    self.problem(Origin::Env(name.clone()), key, message);
                } else {
                    self.warnings.push(format!(
                        "environment variable {name} is no setting of tallyd and is ignored; the nearest is {near}"
                    ));
                }
            }
        }
    }

    /// Sets `key` from a variable's text, read as what the default is.
    fn add_variable(&mut self, name: &str, key: String, text: &str) {
        let origin = Origin::Env(name.to_owned());
        let Some(default) = self.defaults.get(&key) else { return };
        let kind = match &default.kind {
            Kind::Integer(_) => text.trim().parse().map(Kind::Integer).map_err(|_| "write a whole number"),
            Kind::Bool(_) => text.trim().parse().map(Kind::Bool).map_err(|_| "write true or false"),
            Kind::List(_) if text.trim_start().starts_with('[') => {
                parse_list(text, &origin).map(Kind::List).ok_or("write one, two or [\"one\", \"two\"]")
            }
            Kind::List(_) => Ok(Kind::List(
                text.split(',')
                    .map(|word| Value { origin: origin.clone(), kind: Kind::Text(word.trim().to_owned()) })
                    .collect(),
            )),
            _ => Ok(Kind::Text(text.to_owned())),
        };
        match kind {
            Ok(kind) => {
                self.values.insert(key, Value { origin, kind });
            }
            Err(message) => self.problem(origin, key, message),
        }
    }

    /// Lays the flags over everything.
    pub(super) fn add_flags(&mut self, flags: &Flags) {
        for (flag, key, text) in flags.settings() {
            self.values.insert(key.to_owned(), Value { origin: Origin::Flag(flag), kind: Kind::Text(text.to_owned()) });
        }
    }

    /// The value of a setting; `None` for a name the example does not hold.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// Whether `variable` sets `key` by default: its absence is nothing to mention.
    pub(super) fn is_own_name(&self, variable: &str, key: &str) -> bool {
        self.own_names.get(variable).is_some_and(|own| own == key)
    }

    /// The entries of a table of the user's own names, by those names.
    pub(super) fn named(&self, section: &str) -> Vec<String> {
        let names = self.values.keys().filter_map(|key| key.strip_prefix(section)?.strip_prefix('.'));
        names.map(str::to_owned).collect()
    }

    /// Every setting's value.
    pub(super) fn values(&self) -> &BTreeMap<String, Value> {
        &self.values
    }

    /// Every setting's name.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    fn nearest_key(&self, key: &str) -> &str {
        nearest(key, self.keys().chain(self.sections.iter().map(String::as_str)).chain([BUDGETS, REPORTS]))
            .unwrap_or(BUDGETS)
    }

    fn problem(&mut self, origin: Origin, key: String, message: impl Into<String>) {
        self.problems.push(Problem { origin, key, message: message.into() });
    }
}

/// The variable that sets `key`.
fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}
