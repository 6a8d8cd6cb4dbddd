//! Sums of rows: 15-minute buckets, changed with the rows, and what reports read of them.

use crate::domain::money::Total;
use crate::domain::rollup::Deltas;
use crate::domain::time::Timestamp;

use super::{Store, StoreError, Tx};

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

/// Which sums are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TotalsQuery {
    /// Spans, since inclusive and until exclusive; sums are taken in each. They must not overlap. With
    /// dimensions of the buckets alone, their ends must lie on quarters of an hour ([`Timestamp::bucket`]).
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
    /// The group's values, in the order of [`TotalsQuery::by`] and then the tag; `None` where none was named.
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

/// Adds the changes to the buckets.
pub async fn add(tx: &mut Tx, deltas: &Deltas) -> Result<(), StoreError> {
    todo!()
}

/// Sums by span and dimensions, in the order of the spans and then of the highest cost.
pub async fn totals(store: &Store, query: &TotalsQuery) -> Result<Vec<TotalsRow>, StoreError> {
    todo!()
}
