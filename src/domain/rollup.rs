//! What one row adds to the sums, and how a change of the row changes them.
//!
//! Sums are kept of calls that share app, key, model, provider, endpoint and who pays (a [`Series`]), and of all calls
//! together, in cells of several widths ([`Level`]); beside them, how long calls took ([`Timings`]).

use std::collections::{BTreeMap, BTreeSet};

use super::budget::Each;
use super::call::{Call, CallState};
use super::money::{Money, Total};
use super::scope::{Scope, Subject};
use super::time::Timestamp;

mod histogram;
mod levels;
pub mod packed;

pub use histogram::{Histogram, MOST_ERROR_PERCENT, Timing, Timings};
pub use levels::{Level, Piece, cover};

/// What calls have in common that are summed together; absent names are empty text, as a key column can not be NULL.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// The application.
    pub app: String,
    /// The key's name.
    pub key_name: String,
    /// The model, as `usage.model` shows it.
    pub model: String,
    /// The provider.
    pub provider: String,
    /// The endpoint.
    pub endpoint: String,
    /// Paid by the caller's own provider key.
    pub is_byok: bool,
}

/// The bucket a row counts in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketKey {
    /// Start of the 15 minutes, UTC.
    pub bucket: Timestamp,
    /// What its calls have in common.
    pub series: Series,
}

/// The one list of what is summed over rows. Calls the macro `$then` with it: counts, each with its column, and
/// amounts, each with its two columns: whole dollars, and the pico-dollars beside them.
macro_rules! summed {
    ($then:ident) => {
        $then! {
            counts {
                /// Calls that are not failed.
                completions: completions,
                /// Failed calls.
                failures: failures,
                /// Completions whose cost is unknown.
                unknown: unknown,
                /// Completions whose cost is the reply's and not yet settled.
                inline: inline_completions,
                /// Normalised prompt tokens.
                tokens_prompt: tokens_prompt,
                /// Normalised completion tokens.
                tokens_completion: tokens_completion,
                /// Native prompt tokens.
                native_tokens_prompt: native_tokens_prompt,
                /// Native completion tokens.
                native_tokens_completion: native_tokens_completion,
                /// Native reasoning tokens.
                native_tokens_reasoning: native_tokens_reasoning,
                /// Native cached prompt tokens.
                native_tokens_cached: native_tokens_cached,
            }
            amounts {
                /// Cost (charged + upstream), unknown ones left out.
                cost: cost_usd cost_picos,
                /// The part of the cost that is the reply's and not yet settled.
                inline_cost: inline_usd inline_picos,
                /// Charged by OpenRouter.
                charged: charged_usd charged_picos,
                /// Saved by prompt caches; may be negative.
                cache_discount: cache_discount_usd cache_discount_picos,
            }
        }
    };
}

pub(crate) use summed;

macro_rules! sums {
    (
        counts { $($(#[$count_doc:meta])* $count:ident: $column:ident,)* }
        amounts { $($(#[$amount_doc:meta])* $amount:ident: $usd:ident $picos:ident,)* }
    ) => {
        /// Sums of rows; each may go down again when a row moves or settles lower. Counts and tokens are held at the end
        /// of the range.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Sums {
            $($(#[$count_doc])* pub $count: i64,)*
            $($(#[$amount_doc])* pub $amount: Total,)*
        }

        impl Sums {
            /// Adds `other`.
            pub fn add(&mut self, other: &Self) {
                $(self.$count = self.$count.saturating_add(other.$count);)*
                $(self.$amount += other.$amount;)*
            }

            /// Takes `other` away.
            pub fn subtract(&mut self, other: &Self) {
                $(self.$count = self.$count.saturating_sub(other.$count);)*
                $(self.$amount -= other.$amount;)*
            }

            /// Whether it changes nothing.
            pub fn is_nothing(&self) -> bool {
                *self == Self::default()
            }
        }
    };
}

summed!(sums);

/// What rows add to one budget's counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Cost in pico-dollars, unknown ones left out.
    pub cost_picos: i64,
    /// The part of it that is not yet settled, in pico-dollars.
    pub inline_picos: i64,
    /// Completions whose cost is unknown.
    pub unknown: i64,
}

impl Share {
    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.cost_picos = self.cost_picos.saturating_add(other.cost_picos);
        self.inline_picos = self.inline_picos.saturating_add(other.inline_picos);
        self.unknown = self.unknown.saturating_add(other.unknown);
    }

    /// Takes `other` away.
    pub fn subtract(&mut self, other: &Self) {
        self.cost_picos = self.cost_picos.saturating_sub(other.cost_picos);
        self.inline_picos = self.inline_picos.saturating_sub(other.inline_picos);
        self.unknown = self.unknown.saturating_sub(other.unknown);
    }

    /// Whether it changes nothing.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Everything that is kept of some calls in some stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// The sums.
    pub sums: Sums,
    /// How long they took.
    pub timings: Timings,
}

impl Cell {
    fn add(&mut self, other: &Self) {
        self.sums.add(&other.sums);
        self.timings.add(&other.timings);
    }

    /// Whether it changes nothing.
    pub fn is_nothing(&self) -> bool {
        self.sums.is_nothing() && self.timings.is_nothing()
    }
}

/// What `call` adds to the sums; `None` for one that is not shown yet.
pub fn contribution(call: &Call) -> Option<(BucketKey, Sums)> {
    if call.state == CallState::Open {
        return None;
    }
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let facts = &call.facts;
    let series = Series {
        app: text(call.attribution.app.as_deref()),
        key_name: text(call.key.as_ref().map(|key| key.name.as_str())),
        model: text(call.model()),
        provider: text(facts.provider.as_deref()),
        endpoint: text(call.endpoint.as_deref()),
        is_byok: facts.is_byok == Some(true),
    };
    let key = BucketKey { bucket: call.created_at().bucket(), series };
    if call.state == CallState::Failed {
        return Some((key, Sums { failures: 1, ..Sums::default() }));
    }
    let total = |money: Option<Money>| money.map_or(Total::ZERO, Total::from);
    let cost = call.cost();
    let sums = Sums {
        completions: 1,
        failures: 0,
        unknown: i64::from(cost.is_none()),
        inline: i64::from(call.is_inline()),
        tokens_prompt: facts.tokens_prompt.unwrap_or(0),
        tokens_completion: facts.tokens_completion.unwrap_or(0),
        native_tokens_prompt: facts.native_tokens_prompt.unwrap_or(0),
        native_tokens_completion: facts.native_tokens_completion.unwrap_or(0),
        native_tokens_reasoning: facts.native_tokens_reasoning.unwrap_or(0),
        native_tokens_cached: facts.native_tokens_cached.unwrap_or(0),
        cost: total(cost),
        inline_cost: if call.is_inline() { total(cost) } else { Total::ZERO },
        charged: total(call.charged()),
        cache_discount: total(facts.cache_discount),
    };
    Some((key, sums))
}

/// What `call` adds to a budget of this scope, in which bucket, and under which value; `None` where it does not count. A
/// budget that is not of each value of a field has one account, whose value is empty.
pub fn share<'a>(scope: &Scope, each: Option<&Each>, call: &'a Call) -> Option<(&'a str, Timestamp, Share)> {
    if matches!(call.state, CallState::Open | CallState::Failed) {
        return None;
    }
    let subject = Subject {
        app: call.attribution.app.as_deref(),
        key_name: call.key.as_ref().map(|key| key.name.as_str()),
        end_user: call.attribution.user.as_deref(),
        session: call.attribution.session.as_deref(),
        reply_model: call.facts.reply_model.as_deref(),
        permaslug: call.facts.permaslug.as_deref(),
        provider: call.facts.provider.as_deref(),
        tags: &call.attribution.tags,
    };
    if !scope.matches(&subject) {
        return None;
    }
    let value = match each {
        None => "",
        Some(each) => each.of_row(call)?,
    };
    let cost_picos = call.cost().map_or(0, Money::picos);
    let share = Share {
        cost_picos,
        inline_picos: if call.is_inline() { cost_picos } else { 0 },
        unknown: i64::from(call.cost().is_none()),
    };
    Some((value, call.created_at().bucket(), share))
}

/// Changes of many sums, gathered over a transaction so that each is written once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deltas(BTreeMap<BucketKey, Cell>);

/// What changes at every level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread<'a> {
    /// Each series once, in order.
    pub series: Vec<&'a Series>,
    /// By level, start and the place in `series`; `None`: all calls together. What changes nothing is left out.
    pub cells: BTreeMap<(Level, Timestamp, Option<usize>), Cell>,
}

impl Deltas {
    /// The row was `before` and is `after`.
    pub fn moved(&mut self, before: Option<&Call>, after: Option<&Call>) {
        if let Some((call, (key, sums))) = before.and_then(|call| Some((call, contribution(call)?))) {
            let cell = self.0.entry(key).or_default();
            cell.sums.subtract(&sums);
            cell.timings.count(call, -1);
        }
        if let Some((call, (key, sums))) = after.and_then(|call| Some((call, contribution(call)?))) {
            let cell = self.0.entry(key).or_default();
            cell.sums.add(&sums);
            cell.timings.count(call, 1);
        }
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.values().all(Cell::is_nothing)
    }

    /// What changes at every level: of each series, and of all calls together.
    pub fn spread(&self) -> Spread<'_> {
        let changed = || self.0.iter().filter(|(_, cell)| !cell.is_nothing());
        let series: Vec<&Series> = changed().map(|(key, _)| &key.series).collect::<BTreeSet<_>>().into_iter().collect();
        let mut cells: BTreeMap<(Level, Timestamp, Option<usize>), Cell> = BTreeMap::new();
        for (key, cell) in changed() {
            let place = series.binary_search(&&key.series).ok();
            cells.entry((Level::Quarter, key.bucket, place)).or_default().add(cell);
            cells.entry((Level::Quarter, key.bucket, None)).or_default().add(cell);
        }
        // Each level is gathered from the one below it, which has fewer cells than there are buckets.
        for pair in Level::ALL.windows(2) {
            let below: Vec<_> =
                cells.range((pair[0], Timestamp(i64::MIN), None)..(pair[1], Timestamp(i64::MIN), None)).collect();
            let mut above: BTreeMap<(Level, Timestamp, Option<usize>), Cell> = BTreeMap::new();
            for ((_, start, place), cell) in below {
                above.entry((pair[1], pair[1].start(*start), *place)).or_default().add(cell);
            }
            cells.extend(above);
        }
        cells.retain(|_, cell| !cell.is_nothing());
        Spread { series, cells }
    }
}
