//! What a scope's spend went to, read from the rows: for mails and pages that explain a budget.
//!
//! SQL narrows by patterns that match at least what the scope's globs match; the scope itself decides
//! row by row, so that what is shown here is what the budget counted.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;

use crate::domain::ids::CallId;
use crate::domain::money::{Money, Total};
use crate::domain::scope::{Glob, Scope, Subject};
use crate::domain::time::{BUCKET_MS, DAY_MS, Timestamp};

use super::rollups::{self, Dimension, TotalsQuery};
use super::statements as sql;
use super::tx::reading;
use super::{Store, StoreError};

/// Rows looked at for the dearest, before the scope has its say.
const DEAREST_LOOKED_AT: i64 = 1_000;

/// The longest span whose calls are always read one by one, in milliseconds: two days.
const EXACT_MS: i64 = 2 * DAY_MS;

/// Calls of one kind, and what they cost together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The application; `None` where none was named.
    pub app: Option<String>,
    /// The key's name.
    pub key_name: Option<String>,
    /// The model, as `usage.model` shows it.
    pub model: Option<String>,
    /// What they cost; unknown costs are left out.
    pub cost: Total,
}

/// One dear call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DearCall {
    /// Ours.
    pub call_id: CallId,
    /// When it was made.
    pub created_at: Timestamp,
    /// The model, as `usage.model` shows it.
    pub model: Option<String>,
    /// The end user.
    pub end_user: Option<String>,
    /// What it cost.
    pub cost: Money,
    /// Prompt tokens, normalised, else native; `None` until known.
    pub tokens_in: Option<i64>,
    /// Completion tokens, likewise.
    pub tokens_out: Option<i64>,
}

/// What a scope looks at; buckets know but the first four.
#[derive(Default, sqlx::FromRow)]
struct SubjectRow {
    app: Option<String>,
    key_name: Option<String>,
    provider: Option<String>,
    model: Option<String>,
    #[sqlx(default)]
    reply_model: Option<String>,
    #[sqlx(default)]
    permaslug: Option<String>,
    #[sqlx(default)]
    end_user: Option<String>,
    #[sqlx(default)]
    session: Option<String>,
    #[sqlx(default)]
    tags: Option<String>,
}

#[derive(sqlx::FromRow)]
struct GroupRow {
    #[sqlx(flatten)]
    subject: SubjectRow,
    sum_usd: i64,
    sum_picos: i64,
}

#[derive(sqlx::FromRow)]
struct DearRow {
    #[sqlx(flatten)]
    subject: SubjectRow,
    call_id: String,
    created_ms: i64,
    cost_picos: i64,
    tokens_in: Option<i64>,
    tokens_out: Option<i64>,
}

impl SubjectRow {
    fn is_in(&self, scope: &Scope) -> Result<bool, StoreError> {
        let tags: BTreeMap<String, String> = match self.tags.as_deref() {
            Some(text) => serde_json::from_str(text).map_err(|error| StoreError::unreadable("calls.tags", &error))?,
            None => BTreeMap::new(),
        };
        Ok(scope.matches(&Subject {
            app: self.app.as_deref(),
            key_name: self.key_name.as_deref(),
            end_user: self.end_user.as_deref(),
            session: self.session.as_deref(),
            reply_model: self.reply_model.as_deref(),
            permaslug: self.permaslug.as_deref(),
            provider: self.provider.as_deref(),
            tags: &tags,
        }))
    }
}

/// Shows `take` every group of calls in `since..until` that the scope counts and that cost something, in no order; a
/// kind may come in several groups.
///
/// Over spans beyond [`EXACT_MS`], a scope of app, key and provider alone is summed from the 15-minute buckets, whole
/// ones: a month of a million rows takes seconds to read, its buckets take none.
pub async fn groups(
    store: &Store,
    scope: &Scope,
    since: Timestamp,
    until: Timestamp,
    mut take: impl FnMut(Group),
) -> Result<(), StoreError> {
    let of_buckets = scope.user.is_none() && scope.session.is_none() && scope.model.is_none() && scope.tags.is_empty();
    let mut take_counted = |row: GroupRow| {
        let GroupRow { subject, sum_usd, sum_picos } = row;
        let cost = Total::from_parts(sum_usd, sum_picos);
        if cost != Total::ZERO && subject.is_in(scope)? {
            take(Group { app: subject.app, key_name: subject.key_name, model: subject.model, cost });
        }
        Ok::<_, StoreError>(())
    };
    if of_buckets && until.millis().saturating_sub(since.millis()) > EXACT_MS {
        // Buckets that begin within the span.
        let begin = |at: Timestamp| at.plus_millis(BUCKET_MS - 1).bucket();
        let by = vec![Dimension::App, Dimension::Key, Dimension::Provider, Dimension::Model];
        let query = TotalsQuery { spans: vec![(begin(since), begin(until))], by, ..TotalsQuery::default() };
        for row in rollups::totals(store, &query).await? {
            let mut keys = row.keys.into_iter();
            let mut next = || keys.next().flatten();
            let (app, key_name, provider, model) = (next(), next(), next(), next());
            let (sum_usd, sum_picos) = row.sums.cost.to_parts();
            let subject = SubjectRow { app, key_name, provider, model, ..SubjectRow::default() };
            take_counted(GroupRow { subject, sum_usd, sum_picos })?;
        }
        return Ok(());
    }
    let patterns = patterns(scope);
    reading!(store, sql::DRIVERS_GROUPS, |text, conn| {
        let mut asked = sqlx::query_as(text).bind(since.millis()).bind(until.millis());
        for pattern in &patterns {
            asked = asked.bind(pattern.as_deref());
        }
        let asked = asked.bind(scope.user.is_some()).bind(scope.session.is_some()).bind(!scope.tags.is_empty());
        let mut rows = asked.fetch(conn);
        while let Some(row) = rows.try_next().await? {
            take_counted(row)?;
        }
    });
    Ok(())
}

/// The dearest calls in `since..until` that the scope counts, dearest first, at most `limit`.
///
/// Only the thousand dearest that SQL's patterns let through are looked at: a scope that no pattern narrows
/// and that matches none of them shows fewer.
pub async fn dearest(
    store: &Store,
    scope: &Scope,
    since: Timestamp,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<DearCall>, StoreError> {
    let patterns = patterns(scope);
    let rows: Vec<DearRow> = reading!(store, sql::DRIVERS_DEAREST, |text, conn| {
        let mut asked = sqlx::query_as(text).bind(since.millis()).bind(until.millis());
        for pattern in &patterns {
            asked = asked.bind(pattern.as_deref());
        }
        asked.bind(DEAREST_LOOKED_AT).fetch_all(conn).await?
    });
    let mut dearest = Vec::new();
    for row in rows {
        if dearest.len() == limit {
            break;
        }
        if row.subject.is_in(scope)? {
            dearest.push(DearCall {
                call_id: row.call_id.parse().map_err(|error| StoreError::unreadable("calls.call_id", &error))?,
                created_at: Timestamp(row.created_ms),
                model: row.subject.model,
                end_user: row.subject.end_user,
                cost: Money::from_picos(row.cost_picos),
                tokens_in: row.tokens_in,
                tokens_out: row.tokens_out,
            });
        }
    }
    Ok(dearest)
}

/// LIKE patterns for app, key, user, session, provider, model and tags, in the order of the SQL texts.
fn patterns(scope: &Scope) -> [Option<String>; 7] {
    [
        pattern(scope.app.as_ref()),
        pattern(scope.key.as_ref()),
        pattern(scope.user.as_ref()),
        pattern(scope.session.as_ref()),
        pattern(scope.provider.as_ref()),
        // A model is matched without its suffix, which the column still has.
        scope.model.as_ref().map(|glob| format!("{}%", like(glob.as_str()))),
        scope.tags.first_key_value().and_then(|(name, glob)| tag_like(name, glob.as_str())),
    ]
}

fn pattern(glob: Option<&Glob>) -> Option<String> {
    glob.map(|glob| like(glob.as_str()))
}

/// A LIKE pattern that matches at least the JSON texts that hold the tag; `None` where JSON would escape some of it.
fn tag_like(name: &str, glob: &str) -> Option<String> {
    let escaped = |text: &str| text.contains(|c: char| matches!(c, '"' | '\\') || c.is_control());
    // One character of the value may be several of the JSON text.
    let glob = glob.replace('?', "*");
    (!escaped(name) && !escaped(&glob)).then(|| format!("%\"{}\":\"{}\"%", like_literal(name), like(&glob)))
}

/// A LIKE pattern (escape character `\`) that matches at least what the glob matches.
fn like(glob: &str) -> String {
    like_literal(glob).replace('*', "%").replace('?', "_")
}

/// A LIKE pattern that matches the text itself.
pub(super) fn like_literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_globs_pattern_escapes_what_only_like_gives_a_meaning() {
        assert_eq!(like("a*b?c%d_e\\f"), "a%b_c\\%d\\_e\\\\f");
        assert_eq!(tag_like("te_am", "ev?l*").as_deref(), Some("%\"te\\_am\":\"ev%l%\"%"));
        assert_eq!(tag_like("team", "\"*"), None);
    }
}
