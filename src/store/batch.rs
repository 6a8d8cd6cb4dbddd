//! Batches: one JSON parameter, which both engines unfold; for long rows on SQLite, many rows of parameters.
//!
//! SQLite's JSON functions parse a row's text anew for each column, which took two thirds of a large
//! insert's time; there, a statement's one row of parameters is repeated instead ([`insert_rows`]).
//!
//! Both know `json_each(x)` over an object, with the columns `key` and `value`; so lists of keys and
//! short rows travel as objects, and one SQL text serves both. Long rows travel as arrays, which
//! PostgreSQL unfolds by the table's own row type.

use std::borrow::Cow;
use std::fmt::Display;

use futures_util::future::join;
use serde::Serialize;
use serde::ser::SerializeMap as _;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteArgumentsBuffer, SqliteConnection, SqliteTypeInfo};
use sqlx::{AssertSqlSafe, Encode, Postgres, Sqlite, Type};

use super::StoreError;

/// PostgreSQL's own number for the type `json`, fixed in its catalogue.
const PG_JSON: Oid = Oid(114);

/// A JSON text, bound as `json` to PostgreSQL and as text to SQLite.
#[derive(Debug)]
pub(super) struct Json(String);

impl Json {
    /// An array of rows.
    pub(super) fn rows<T: Serialize>(rows: impl IntoIterator<Item = T>) -> Result<Self, StoreError> {
        let mut bytes = Vec::new();
        let mut serializer = serde_json::Serializer::new(&mut bytes);
        serde::Serializer::collect_seq(&mut serializer, rows).map_err(StoreError::encoding)?;
        Self::of(bytes)
    }

    /// An object of rows, keyed by their places: `{"0": {…}, "1": {…}}`.
    pub(super) fn numbered<T: Serialize>(rows: impl IntoIterator<Item = T>) -> Result<Self, StoreError> {
        let mut bytes = Vec::new();
        let mut serializer = serde_json::Serializer::new(&mut bytes);
        serde::Serializer::collect_map(&mut serializer, rows.into_iter().enumerate()).map_err(StoreError::encoding)?;
        Self::of(bytes)
    }

    /// An object whose keys are the texts of `keys`.
    pub(super) fn keys<T: Display>(keys: impl IntoIterator<Item = T>) -> Result<Self, StoreError> {
        let mut bytes = Vec::new();
        let mut serializer = serde_json::Serializer::new(&mut bytes);
        let mut map = serde::Serializer::serialize_map(&mut serializer, None).map_err(StoreError::encoding)?;
        for key in keys {
            map.serialize_entry(&key.to_string(), &0).map_err(StoreError::encoding)?;
        }
        map.end().map_err(StoreError::encoding)?;
        Self::of(bytes)
    }

    /// Whatever serialises as an object.
    pub(super) fn object<T: Serialize>(object: &T) -> Result<Self, StoreError> {
        Self::of(serde_json::to_vec(object).map_err(StoreError::encoding)?)
    }

    /// The text itself.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    fn of(bytes: Vec<u8>) -> Result<Self, StoreError> {
        String::from_utf8(bytes).map(Self).map_err(StoreError::encoding)
    }
}

impl Type<Sqlite> for Json {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }
}

impl<'q> Encode<'q, Sqlite> for Json {
    fn encode(self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        <String as Encode<'q, Sqlite>>::encode(self.0, buffer)
    }

    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        <String as Encode<'q, Sqlite>>::encode_by_ref(&self.0, buffer)
    }
}

impl Type<Postgres> for Json {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(PG_JSON)
    }
}

impl Encode<'_, Postgres> for Json {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
}

/// A row that binds its columns, in the order of its statement's parameters.
pub(super) trait SqliteRow {
    /// Binds them.
    fn bind(self, query: SqliteQuery<'_>) -> SqliteQuery<'_>;
}

/// A query on SQLite with its arguments so far.
pub(super) type SqliteQuery<'q> = Query<'q, Sqlite, SqliteArguments>;

/// Most rows in one statement; fewer are parted into powers of two. Each statement is handed to SQLite's thread and waited for,
/// which costs more than a row does, so few of them are to be; each size is a text of its own, so there must not be many sizes.
/// Sixty columns of these stay below SQLite's bound of 32,766 parameters.
const MOST_ROWS: usize = 256;

/// Runs an insert of one row, `VALUES (?, …)`, for many rows.
pub(super) async fn insert_rows<R: SqliteRow>(
    connection: &mut SqliteConnection,
    statement: &'static str,
    rows: impl IntoIterator<Item = R>,
) -> Result<(), StoreError> {
    let mut rows = rows.into_iter().collect::<Vec<R>>().into_iter();
    let mut next = bound(statement, &mut rows);
    while let Some(query) = next {
        // SQLite runs a statement on a thread of its own; meanwhile the next one is bound here.
        let (done, then) = join(query.execute(&mut *connection), async { bound(statement, &mut rows) }).await;
        done?;
        next = then;
    }
    Ok(())
}

/// The statement for as many of the rows as one takes; `None`: there are no more.
fn bound<R: SqliteRow>(
    statement: &'static str,
    rows: &mut impl ExactSizeIterator<Item = R>,
) -> Option<SqliteQuery<'static>> {
    const VALUES: &str = "VALUES (";
    let size = 1 << rows.len().min(MOST_ROWS).checked_ilog2()?;
    let start = statement.find(VALUES).map_or(0, |at| at + VALUES.len() - 1);
    let end = statement[start..].find(')').map_or(statement.len(), |at| start + at + 1);
    let row = &statement[start..end];
    let mut text = String::with_capacity(statement.len() + (row.len() + 2) * size);
    text.push_str(&statement[..start]);
    for number in 0..size {
        text.push_str(if number == 0 { "" } else { ", " });
        text.push_str(row);
    }
    text.push_str(&statement[end..]);
    // Only our own statement's text is repeated; every value is bound.
    let query = sqlx::query(AssertSqlSafe(text));
    Some(rows.take(size).fold(query, |query, row| row.bind(query)))
}

/// The text without U+0000, which neither engine's JSON can carry into a text column.
pub(super) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_have_the_forms_that_both_engines_unfold() {
        assert_eq!(Json::rows([1, 2]).unwrap().0, "[1,2]");
        assert_eq!(Json::numbered(["a"]).unwrap().0, r#"{"0":"a"}"#);
        assert_eq!(Json::keys(["a\"b"]).unwrap().0, r#"{"a\"b":0}"#);
        assert_eq!(storable("a\0b"), "a\u{fffd}b");
    }
}
