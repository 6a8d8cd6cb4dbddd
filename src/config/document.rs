//! TOML text to values that know where they were written.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Origin};

/// One value and the place it was written. It may be a secret: it has no `Debug`.
#[derive(Clone)]
pub(super) struct Value {
    pub(super) origin: Origin,
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Clone)]
pub(super) enum Kind {
    Text(String),
    Integer(i64),
    /// A float, or an integer beyond 64 bits, in its own text.
    OtherNumber(String),
    Bool(bool),
    /// A date or a time: no setting is one.
    Time,
    List(Vec<Value>),
    Table(Table),
}

impl Kind {
    /// Whether both say the same, wherever they stand.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) | (Self::OtherNumber(one), Self::OtherNumber(other)) => one == other,
            (Self::Integer(one), Self::Integer(other)) => one == other,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::List(ones), Self::List(others)) => {
                ones.len() == others.len() && ones.iter().zip(others).all(|(one, other)| one.kind.is(&other.kind))
            }
            (Self::Table(ones), Self::Table(others)) => {
                let mut pairs = ones.iter().zip(others);
                ones.len() == others.len() && pairs.all(|((a, one), (b, other))| a == b && one.kind.is(&other.kind))
            }
            _ => false,
        }
    }
}

/// The entries of one table.
pub(super) type Table = BTreeMap<String, Value>;

/// Where a document comes from; gives its values their origin.
pub(super) enum Source {
    /// The compiled-in example.
    Default,
    /// A file.
    File(Arc<Path>),
}

impl Source {
    fn origin(&self, text: &str, at: usize) -> Origin {
        match self {
            Self::Default => Origin::Default,
            Self::File(path) => Origin::File { path: Arc::clone(path), line: line_of(text, at) },
        }
    }
}

/// Reads a whole document.
pub(super) fn parse(text: &str, source: &Source) -> Result<Table, ConfigError> {
    match DeTable::parse(text) {
        Ok(table) => Ok(convert_table(table.into_inner(), text, source)),
        Err(error) => Err(ConfigError::Syntax {
            path: match source {
                Source::Default => Arc::from(Path::new("config.example.toml")),
                Source::File(path) => Arc::clone(path),
            },
            line: line_of(text, error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        }),
    }
}

/// Reads a list as TOML writes it (`["a", "b"]`), for environment variables; `None` when it is not one.
pub(super) fn parse_list(text: &str, origin: &Origin) -> Option<Vec<Value>> {
    let DeValue::Array(elements) = DeValue::parse(text).ok()?.into_inner() else { return None };
    let values = elements.into_iter().map(|element| convert(element, text, &Source::Default));
    Some(values.map(|value| Value { origin: origin.clone(), ..value }).collect())
}

fn convert_table(table: DeTable<'_>, text: &str, source: &Source) -> Table {
    let entries = table.into_iter().map(|(key, value)| {
        // The key's line, not the value's: a value may go on for lines, the key is what one looks for.
        let origin = source.origin(text, key.span().start);
        (key.into_inner().into_owned(), Value { origin, ..convert(value, text, source) })
    });
    entries.collect()
}

fn convert(value: Spanned<DeValue<'_>>, text: &str, source: &Source) -> Value {
    let origin = source.origin(text, value.span().start);
    let kind = match value.into_inner() {
        DeValue::String(text) => Kind::Text(text.into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Kind::OtherNumber(number.to_string()), Kind::Integer),
        DeValue::Float(number) => Kind::OtherNumber(number.as_str().to_owned()),
        DeValue::Boolean(value) => Kind::Bool(value),
        DeValue::Datetime(_) => Kind::Time,
        DeValue::Array(elements) => {
            Kind::List(elements.into_iter().map(|element| convert(element, text, source)).collect())
        }
        DeValue::Table(table) => Kind::Table(convert_table(table, text, source)),
    };
    Value { origin, kind }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes().iter().take(at).filter(|&&byte| byte == b'\n').count()
}
