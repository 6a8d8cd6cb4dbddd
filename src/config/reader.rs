//! Settings as the types the program uses, each checked once; what is wrong is gathered, not thrown.
//!
//! A getter that fails has noted why in [`Reader::problems`]; its [`Noted`] says no more than that.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::Sources;
use super::document::{Kind, Value};
use super::error::{Origin, Problem};
use super::layers::Layers;
use super::quantity::{parse_duration, parse_size, show_duration, show_size};
use super::secret::resolve;

/// What a getter gives.
pub(super) type Read<T> = Result<T, Noted>;

/// There is no value, and the reader has noted why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noted;

/// Reads settings out of the layers.
pub(super) struct Reader<'a> {
    pub(super) sources: &'a Sources,
    layers: &'a Layers,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
    read: BTreeSet<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(layers: &'a Layers, sources: &'a Sources) -> Self {
        Self { sources, layers, problems: Vec::new(), warnings: Vec::new(), read: BTreeSet::new() }
    }

    /// Notes what is wrong with `key`, which stands at `origin`; always fails, to be returned.
    pub(super) fn wrong<T>(&mut self, origin: &Origin, key: &str, message: impl Display) -> Read<T> {
        self.problems.push(Problem { origin: origin.clone(), key: key.to_owned(), message: message.to_string() });
        Err(Noted)
    }

    /// Notes that two settings do not go together, at the one that was written (the first, if both were).
    pub(super) fn wrong_together<T>(&mut self, keys: [&str; 2], message: impl Display) -> Read<T> {
        let written = |key: &&str| self.layers.get(key).is_some_and(|value| value.origin != Origin::Default);
        let key = keys.into_iter().find(written).unwrap_or(keys[0]);
        self.wrong_setting(key, message)
    }

    /// Notes what is wrong with a setting, wherever it was last written.
    pub(super) fn wrong_setting<T>(&mut self, key: &str, message: impl Display) -> Read<T> {
        let origin = self.layers.get(key).map_or(Origin::Default, |value| value.origin.clone());
        self.wrong(&origin, key, message)
    }

    fn value(&mut self, key: &str) -> Read<&'a Value> {
        self.read.insert(key.to_owned());
        match self.layers.get(key) {
            Some(value) => Ok(value),
            None => self.wrong(&Origin::Default, key, "does not stand in config.example.toml"),
        }
    }

    /// A string.
    pub(super) fn text(&mut self, key: &str) -> Read<&'a str> {
        let value = self.value(key)?;
        match &value.kind {
            Kind::Text(text) => Ok(text),
            Kind::Table(_) => self.wrong(&value.origin, key, "write a string; only secrets take { env } or { file }"),
            _ => self.wrong(&value.origin, key, "write a string, in quotation marks"),
        }
    }

    /// A string that `parse` understands; its error is the message.
    pub(super) fn parsed<T, E: Display>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Read<T> {
        let text = self.text(key)?;
        match parse(text) {
            Ok(value) => Ok(value),
            Err(message) => self.wrong_setting(key, message),
        }
    }

    /// A string that `parse` understands, or `None` inside when it is empty.
    pub(super) fn parsed_unless_empty<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Read<Option<T>> {
        if self.text(key)?.is_empty() { Ok(None) } else { self.parsed(key, parse).map(Some) }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Read<T> {
        self.parsed(key, |text| {
            words.iter().find(|(word, _)| *word == text).map(|&(_, choice)| choice).ok_or_else(|| {
                let known: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
                format!("{text:?} is not known here; write {}", known.join(" or "))
            })
        })
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, key: &str) -> Read<bool> {
        let value = self.value(key)?;
        match value.kind {
            Kind::Bool(value) => Ok(value),
            _ => self.wrong(&value.origin, key, "write true or false, without quotation marks"),
        }
    }

    /// A whole number within bounds.
    pub(super) fn count<T>(&mut self, key: &str, bounds: RangeInclusive<T>) -> Read<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let value = self.value(key)?;
        let number = match value.kind {
            Kind::Integer(number) => T::try_from(number).ok().filter(|number| bounds.contains(number)),
            _ => None,
        };
        if let Some(number) = number {
            return Ok(number);
        }
        let message = format!("write a whole number from {} to {}", bounds.start(), bounds.end());
        self.wrong(&value.origin, key, message)
    }

    /// A duration within bounds.
    pub(super) fn duration(&mut self, key: &str, bounds: RangeInclusive<Duration>) -> Read<Duration> {
        let value = self.value(key)?;
        let parsed = match &value.kind {
            Kind::Text(text) => parse_duration(text).filter(|duration| bounds.contains(duration)),
            _ => None,
        };
        if let Some(parsed) = parsed {
            return Ok(parsed);
        }
        let (low, high) = (show_duration(*bounds.start()), show_duration(*bounds.end()));
        self.wrong(
            &value.origin,
            key,
            format!("write a duration from {low:?} to {high:?}: a whole number and ms, s, m, h or d"),
        )
    }

    /// A size in bytes, within bounds.
    pub(super) fn size(&mut self, key: &str, bounds: RangeInclusive<u64>) -> Read<u64> {
        let value = self.value(key)?;
        let parsed = match &value.kind {
            Kind::Text(text) => parse_size(text).filter(|bytes| bounds.contains(bytes)),
            _ => None,
        };
        if let Some(parsed) = parsed {
            return Ok(parsed);
        }
        let (low, high) = (show_size(*bounds.start()), show_size(*bounds.end()));
        self.wrong(
            &value.origin,
            key,
            format!("write a size from {low:?} to {high:?}: a whole number and B, KiB, MiB or GiB"),
        )
    }

    /// A list of strings, each of which `parse` understands.
    pub(super) fn list<T, E: Display>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, E>) -> Read<Vec<T>> {
        let value = self.value(key)?;
        self.list_of(key, value, parse)
    }

    /// The strings of `value`, each of which `parse` understands; an error names its element, and all are told.
    pub(super) fn list_of<T, E: Display>(
        &mut self,
        key: &str,
        value: &Value,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Read<Vec<T>> {
        let Kind::List(elements) = &value.kind else {
            return self.wrong(&value.origin, key, "write a list of strings: [\"one\", \"two\"]");
        };
        let mut parsed = Vec::with_capacity(elements.len());
        let mut all_parsed = Ok(());
        for (index, element) in elements.iter().enumerate() {
            let place = format!("{key}[{index}]");
            let Kind::Text(text) = &element.kind else {
                all_parsed = self.wrong(&element.origin, &place, "write a string, in quotation marks");
                continue;
            };
            match parse(text) {
                Ok(value) => parsed.push(value),
                Err(message) => all_parsed = self.wrong(&element.origin, &place, message),
            }
        }
        all_parsed.map(|()| parsed)
    }

    /// A secret; `None` inside when it is not set.
    pub(super) fn secret(&mut self, key: &str) -> Read<Option<SecretString>> {
        let value = self.value(key)?;
        self.secret_of(key, value)
    }

    /// The secret that `value`, written at `key`, holds or names; `None` inside when it is not set.
    pub(super) fn secret_of(&mut self, key: &str, value: &Value) -> Read<Option<SecretString>> {
        match resolve(&value.kind, self.sources, &self.folder_of(&value.origin)) {
            Ok(resolved) => {
                if let (None, Some(variable)) = (&resolved.secret, resolved.variable)
                    && !self.layers.is_own_name(variable, key)
                {
                    let origin = &value.origin;
                    self.warnings
                        .push(format!("{origin}: {key} reads environment variable {variable}, which is not set"));
                }
                Ok(resolved.secret)
            }
            Err(message) => self.wrong(&value.origin, key, message),
        }
    }

    /// The entries of a table of the user's own names: name and full key.
    pub(super) fn named(&self, section: &str) -> Vec<(String, String)> {
        let names = self.layers.named(section).into_iter();
        names.map(|name| (name.clone(), format!("{section}.{name}"))).collect()
    }

    /// The names of the webhooks, whatever is wrong with them.
    pub(super) fn webhooks(&self) -> Vec<String> {
        self.layers.named("webhooks")
    }

    /// What stands at `key` as it was written.
    pub(super) fn written(&self, key: &str) -> Option<&'a Value> {
        self.layers.get(key)
    }

    /// The elements of `[[reports]]`.
    pub(super) fn reports(&self) -> &'a [Value] {
        &self.layers.reports
    }

    /// The elements of `[[budgets]]`.
    pub(super) fn budgets(&self) -> &'a [Value] {
        &self.layers.budgets
    }

    /// The folder at which a relative path of `key` starts: the file's own, or where the program was started.
    pub(super) fn base(&self, key: &str) -> PathBuf {
        self.layers.get(key).map_or_else(|| self.sources.cwd.clone(), |value| self.folder_of(&value.origin))
    }

    fn folder_of(&self, origin: &Origin) -> PathBuf {
        match origin {
            Origin::File { path, .. } => self.sources.cwd.join(path.parent().unwrap_or(path)),
            _ => self.sources.cwd.clone(),
        }
    }

    /// Settings that stand in the example and that nothing has read.
    #[cfg(test)]
    pub(super) fn unread(&self) -> Vec<&'a str> {
        self.layers.keys().filter(|key| !self.read.contains(*key)).collect()
    }
}
