//! Sums of rows: 15-minute buckets, changed with the rows, and what reports read of them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::money::Total;
use crate::domain::rollup::{Amounts, BucketKey, Deltas, summed};
use crate::domain::time::{DAY_MS, Timestamp};

use super::batch::{Json, SqliteQuery, SqliteRow, storable};
use super::statements as sql;
use super::tx::{reading, write_rows};
use super::{Store, StoreError, Tx};

/// Most buckets that go to the database as one parameter.
const CHUNK: usize = 2_000;

/// What sums can be taken by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// The application.
    App,
    /// The key's name.
    Key,
    /// The model, as `usage.model` shows it.
    Model,
    /// The provider.
    Provider,
    /// The endpoint.
    Endpoint,
    /// `true` or `false`.
    Byok,
    /// The end user; read from the rows, as are all below.
    User,
    /// The session.
    Session,
    /// The model asked for.
    RequestedModel,
    /// The state.
    State,
    /// The error's type.
    ErrorType,
}

impl Dimension {
    /// Its name in reports and URLs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Key => "key",
            Self::Model => "model",
            Self::Provider => "provider",
            Self::Endpoint => "endpoint",
            Self::Byok => "byok",
            Self::User => "user",
            Self::Session => "session",
            Self::RequestedModel => "requested_model",
            Self::State => "state",
            Self::ErrorType => "error_type",
        }
    }
}

/// Which sums are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TotalsQuery {
    /// Spans, since inclusive and until exclusive; sums are taken in each. Where all ends lie on quarters of
    /// an hour ([`Timestamp::bucket`]) and the buckets know all that is asked, sums come from the buckets,
    /// else from the rows: slower, and the same.
    pub spans: Vec<(Timestamp, Timestamp)>,
    /// What to group by.
    pub by: Vec<Dimension>,
    /// Also group by the value of this tag.
    pub by_tag: Option<String>,
    /// Values a dimension must have, exactly; an empty text stands for "none named".
    pub only: Vec<(Dimension, String)>,
    /// A tag's name and the value it must have.
    pub only_tag: Option<(String, String)>,
}

/// The sums of one group in one span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TotalsRow {
    /// Index of the span.
    pub span: usize,
    /// The group's values, in the order of [`TotalsQuery::by`] and then the tag; `None` where the rows name none.
    pub keys: Vec<Option<String>>,
    /// The sums.
    pub sums: Sums,
}

/// Sums over any number of rows; see [`crate::domain::rollup::Amounts`] for the meaning of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Calls that are not failed.
    pub completions: i64,
    /// Failed calls.
    pub failures: i64,
    /// Completions whose cost is unknown.
    pub unknown: i64,
    /// Completions whose cost is the reply's and not yet settled.
    pub inline: i64,
    /// Cost, unknown ones left out.
    pub cost: Total,
    /// The part of the cost that is not yet settled.
    pub inline_cost: Total,
    /// Charged by OpenRouter.
    pub charged: Total,
    /// Saved by prompt caches; may be negative.
    pub cache_discount: Total,
    /// Normalised prompt tokens.
    pub tokens_prompt: i64,
    /// Normalised completion tokens.
    pub tokens_completion: i64,
    /// Native prompt tokens.
    pub native_tokens_prompt: i64,
    /// Native completion tokens.
    pub native_tokens_completion: i64,
    /// Native reasoning tokens.
    pub native_tokens_reasoning: i64,
    /// Native cached prompt tokens.
    pub native_tokens_cached: i64,
}

impl Sums {
    /// Adds `other`; counts and tokens are held at the end of the range.
    pub fn add(&mut self, other: &Self) {
        let add = |mine: &mut i64, theirs: i64| *mine = mine.saturating_add(theirs);
        add(&mut self.completions, other.completions);
        add(&mut self.failures, other.failures);
        add(&mut self.unknown, other.unknown);
        add(&mut self.inline, other.inline);
        self.cost += other.cost;
        self.inline_cost += other.inline_cost;
        self.charged += other.charged;
        self.cache_discount += other.cache_discount;
        add(&mut self.tokens_prompt, other.tokens_prompt);
        add(&mut self.tokens_completion, other.tokens_completion);
        add(&mut self.native_tokens_prompt, other.native_tokens_prompt);
        add(&mut self.native_tokens_completion, other.native_tokens_completion);
        add(&mut self.native_tokens_reasoning, other.native_tokens_reasoning);
        add(&mut self.native_tokens_cached, other.native_tokens_cached);
    }
}

/// A bucket's row, to be written and to be read: its key, and each sum in a column of its own name.
macro_rules! bucket_row {
    ({ $($(#[$doc:meta])* $sum:ident,)* }) => {
        #[derive(Serialize)]
        struct Delta<'a> {
            bucket_ms: i64,
            app: Cow<'a, str>,
            key_name: Cow<'a, str>,
            model: Cow<'a, str>,
            provider: Cow<'a, str>,
            endpoint: Cow<'a, str>,
            is_byok: bool,
            $($sum: i64,)*
        }

        impl<'a> Delta<'a> {
            fn of((key, amounts): (&'a BucketKey, &Amounts)) -> Self {
                Self {
                    bucket_ms: key.bucket.millis(),
                    app: storable(&key.app),
                    key_name: storable(&key.key_name),
                    model: storable(&key.model),
                    provider: storable(&key.provider),
                    endpoint: storable(&key.endpoint),
                    is_byok: key.is_byok,
                    $($sum: amounts.$sum,)*
                }
            }
        }

        impl SqliteRow for &Delta<'_> {
            fn bind(self, query: SqliteQuery<'_>) -> SqliteQuery<'_> {
                query
                    .bind(self.bucket_ms)
                    .bind(self.app.to_string())
                    .bind(self.key_name.to_string())
                    .bind(self.model.to_string())
                    .bind(self.provider.to_string())
                    .bind(self.endpoint.to_string())
                    .bind(self.is_byok)
                    $(.bind(self.$sum))*
            }
        }

        /// A bucket as it is stored.
        #[derive(sqlx::FromRow)]
        pub(super) struct BucketRow {
            bucket_ms: i64,
            app: String,
            key_name: String,
            model: String,
            provider: String,
            endpoint: String,
            is_byok: bool,
            $($sum: i64,)*
        }

        impl BucketRow {
            pub(super) fn into_amounts(self) -> (BucketKey, Amounts) {
                let key = BucketKey {
                    bucket: Timestamp(self.bucket_ms),
                    app: self.app,
                    key_name: self.key_name,
                    model: self.model,
                    provider: self.provider,
                    endpoint: self.endpoint,
                    is_byok: self.is_byok,
                };
                (key, Amounts { $($sum: self.$sum,)* })
            }
        }
    };
}

summed!(bucket_row! {});

/// Adds the changes to the buckets.
pub async fn add(tx: &mut Tx, deltas: &Deltas) -> Result<(), StoreError> {
    let deltas: Vec<Delta<'_>> = deltas.iter().map(Delta::of).collect();
    for chunk in deltas.chunks(CHUNK) {
        write_rows!(tx, sql::ROLLUPS_ADD, chunk);
    }
    Ok(())
}

#[derive(Serialize)]
struct Span {
    since: i64,
    until: i64,
}

/// Dimensions that the buckets know, in the order of `by_bucket.sql`.
const OF_BUCKETS: [Dimension; 6] =
    [Dimension::App, Dimension::Key, Dimension::Model, Dimension::Provider, Dimension::Endpoint, Dimension::Byok];

/// All dimensions, in the order of `by_row.sql`.
pub(super) const OF_ROWS: [Dimension; 11] = [
    Dimension::App,
    Dimension::Key,
    Dimension::Model,
    Dimension::Provider,
    Dimension::Endpoint,
    Dimension::Byok,
    Dimension::User,
    Dimension::Session,
    Dimension::RequestedModel,
    Dimension::State,
    Dimension::ErrorType,
];

/// Most time whose rows are read in one transaction, in milliseconds. A long one would keep SQLite's
/// write-ahead log growing; a busy day of rows is summed in well under a second.
const PIECE_MS: i64 = DAY_MS;

/// Most spans that go to the database as one parameter with a piece.
const PIECE_SPANS: usize = 500;

/// Sums by span and dimensions, in the order of the spans and then of the highest cost.
///
/// Sums that come from the rows are read day by day: a row that moves to another day meanwhile may be in
/// both or in neither.
pub async fn totals(store: &Store, query: &TotalsQuery) -> Result<Vec<TotalsRow>, StoreError> {
    let mut groups: BTreeMap<(usize, Vec<Option<String>>), Sums> = BTreeMap::new();
    each(store, query, |row| groups.entry((row.span, row.keys)).or_default().add(&row.sums)).await?;
    let mut totals: Vec<TotalsRow> =
        groups.into_iter().map(|((span, keys), sums)| TotalsRow { span, keys, sums }).collect();
    totals.retain(|row| row.sums != Sums::default());
    totals.sort_by(|a, b| (a.span, b.sums.cost, &a.keys).cmp(&(b.span, a.sums.cost, &b.keys)));
    Ok(totals)
}

/// Tells what [`totals`] sums, in no order and without holding it; the same span and group may come several times, to be added.
pub(super) async fn each(
    store: &Store,
    query: &TotalsQuery,
    mut told: impl FnMut(TotalsRow),
) -> Result<(), StoreError> {
    if query.spans.is_empty() {
        return Ok(());
    }
    if query.is_of_buckets() {
        of_buckets(store, query).await?.into_iter().for_each(told);
        return Ok(());
    }
    let Some((first, last)) = extent(store).await? else { return Ok(()) };
    for piece in pieces(&query.spans, first, last) {
        for row in rows(store, query, &piece).await? {
            told(row.into_totals(query)?);
        }
    }
    Ok(())
}

async fn of_buckets(store: &Store, query: &TotalsQuery) -> Result<Vec<TotalsRow>, StoreError> {
    let spans = numbered(&(0..).zip(query.spans.iter().copied()).collect::<Vec<_>>())?;
    let rows: Vec<SumRow> = reading!(store, sql::ROLLUPS_BY_BUCKET, |text, conn| {
        let mut asked = sqlx::query_as(text).bind(spans);
        for dimension in &OF_BUCKETS {
            asked = asked.bind(query.by.contains(dimension));
        }
        for dimension in &OF_BUCKETS {
            asked = asked.bind(query.value_of(*dimension));
        }
        asked.fetch_all(conn).await?
    });
    rows.into_iter().map(|row| row.into_totals(query)).collect()
}

/// A span and its index.
pub(super) type Numbered = (usize, (Timestamp, Timestamp));

/// When the first and the last call were made; `None` before there is one.
pub(super) async fn extent(store: &Store) -> Result<Option<(Timestamp, Timestamp)>, StoreError> {
    let (first, last): (Option<i64>, Option<i64>) =
        reading!(store, sql::ROLLUPS_EXTENT, |text, conn| sqlx::query_as(text).fetch_one(conn).await?);
    Ok(first.map(Timestamp).zip(last.map(Timestamp)))
}

/// The spans, cut to the time in which there are calls, in pieces of at most [`PIECE_MS`] altogether.
pub(super) fn pieces(spans: &[(Timestamp, Timestamp)], first: Timestamp, last: Timestamp) -> Vec<Vec<Numbered>> {
    let mut pieces: Vec<Vec<Numbered>> = Vec::new();
    let mut room_ms = 0;
    for (number, (since, until)) in spans.iter().enumerate() {
        let until = (*until).min(last.plus_millis(1));
        let mut at = (*since).max(first);
        while at < until {
            if room_ms == 0 || pieces.last().is_none_or(|piece| piece.len() == PIECE_SPANS) {
                pieces.push(Vec::new());
                room_ms = PIECE_MS;
            }
            let end = at.plus_millis(room_ms).min(until);
            room_ms -= end.millis() - at.millis();
            if let Some(piece) = pieces.last_mut() {
                piece.push((number, (at, end)));
            }
            at = end;
        }
    }
    pieces
}

async fn rows(store: &Store, query: &TotalsQuery, piece: &[Numbered]) -> Result<Vec<SumRow>, StoreError> {
    let spans = numbered(piece)?;
    let (name, value) = query.only_tag.as_ref().map_or((None, None), |(name, value)| (Some(name), Some(value)));
    Ok(reading!(store, sql::ROLLUPS_BY_ROW, |text, conn| {
        let mut asked = sqlx::query_as(text).bind(spans);
        for dimension in &OF_ROWS {
            asked = asked.bind(query.by.contains(dimension));
        }
        for dimension in &OF_ROWS {
            asked = asked.bind(query.value_of(*dimension));
        }
        asked.bind(query.by_tag.as_ref()).bind(name).bind(value).fetch_all(conn).await?
    }))
}

/// Spans under their own numbers.
pub(super) fn numbered(spans: &[Numbered]) -> Result<Json, StoreError> {
    struct Spans<'a>(&'a [Numbered]);
    impl Serialize for Spans<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let span = |(since, until): (Timestamp, Timestamp)| Span { since: since.millis(), until: until.millis() };
            serializer.collect_map(self.0.iter().map(|(number, bounds)| (number, span(*bounds))))
        }
    }
    Json::object(&Spans(spans))
}

impl TotalsQuery {
    /// The value that a dimension must have; `None` for any.
    pub(super) fn value_of(&self, dimension: Dimension) -> Option<&str> {
        self.only.iter().find(|(restricted, _)| *restricted == dimension).map(|(_, value)| value.as_str())
    }

    /// Whether the buckets know all that is asked; otherwise the rows are read.
    pub fn is_of_buckets(&self) -> bool {
        let known = |dimension: &Dimension| OF_BUCKETS.contains(dimension);
        let whole = |at: Timestamp| at.bucket() == at || at.millis() == i64::MAX;
        self.by.iter().all(known)
            && self.only.iter().all(|(dimension, _)| known(dimension))
            && self.by_tag.is_none()
            && self.only_tag.is_none()
            && self.spans.iter().all(|(since, until)| whole(*since) && whole(*until))
    }
}

/// Where a row of sums or timings belongs: its span, and what it names of that which is asked by.
#[derive(sqlx::FromRow)]
pub(super) struct Place {
    span: i64,
    app: Option<String>,
    key_name: Option<String>,
    model: Option<String>,
    provider: Option<String>,
    endpoint: Option<String>,
    is_byok: Option<String>,
    #[sqlx(default)]
    end_user: Option<String>,
    #[sqlx(default)]
    session: Option<String>,
    #[sqlx(default)]
    requested_model: Option<String>,
    #[sqlx(default)]
    state: Option<String>,
    #[sqlx(default)]
    error_type: Option<String>,
    #[sqlx(default)]
    tag: Option<String>,
}

#[derive(sqlx::FromRow)]
struct SumRow {
    #[sqlx(flatten)]
    place: Place,
    completions: i64,
    failures: i64,
    unknown: i64,
    inline_completions: i64,
    cost_usd: i64,
    cost_picos: i64,
    inline_usd: i64,
    inline_picos: i64,
    charged_usd: i64,
    charged_picos: i64,
    cache_discount_usd: i64,
    cache_discount_picos: i64,
    tokens_prompt: i64,
    tokens_completion: i64,
    native_tokens_prompt: i64,
    native_tokens_completion: i64,
    native_tokens_reasoning: i64,
    native_tokens_cached: i64,
}

impl Place {
    /// The span's index, and the group's values as in [`TotalsRow::keys`].
    pub(super) fn read(mut self, query: &TotalsQuery) -> Result<(usize, Vec<Option<String>>), StoreError> {
        let key = |dimension: &Dimension| match dimension {
            Dimension::App => self.app.take(),
            Dimension::Key => self.key_name.take(),
            Dimension::Model => self.model.take(),
            Dimension::Provider => self.provider.take(),
            Dimension::Endpoint => self.endpoint.take(),
            Dimension::Byok => self.is_byok.take(),
            Dimension::User => self.end_user.take(),
            Dimension::Session => self.session.take(),
            Dimension::RequestedModel => self.requested_model.take(),
            Dimension::State => self.state.take(),
            Dimension::ErrorType => self.error_type.take(),
        };
        let mut keys: Vec<Option<String>> = query.by.iter().map(key).collect();
        if query.by_tag.is_some() {
            keys.push(self.tag.take());
        }
        let span = usize::try_from(self.span).map_err(|error| StoreError::unreadable("span", &error))?;
        // The key columns of sums hold '' where the rows name nothing.
        Ok((span, keys.into_iter().map(|key| key.filter(|key| !key.is_empty())).collect()))
    }
}

impl SumRow {
    fn into_totals(self, query: &TotalsQuery) -> Result<TotalsRow, StoreError> {
        let (span, keys) = self.place.read(query)?;
        Ok(TotalsRow {
            span,
            keys,
            sums: Sums {
                completions: self.completions,
                failures: self.failures,
                unknown: self.unknown,
                inline: self.inline_completions,
                cost: Total::from_parts(self.cost_usd, self.cost_picos),
                inline_cost: Total::from_parts(self.inline_usd, self.inline_picos),
                charged: Total::from_parts(self.charged_usd, self.charged_picos),
                cache_discount: Total::from_parts(self.cache_discount_usd, self.cache_discount_picos),
                tokens_prompt: self.tokens_prompt,
                tokens_completion: self.tokens_completion,
                native_tokens_prompt: self.native_tokens_prompt,
                native_tokens_completion: self.native_tokens_completion,
                native_tokens_reasoning: self.native_tokens_reasoning,
                native_tokens_cached: self.native_tokens_cached,
            },
        })
    }
}
