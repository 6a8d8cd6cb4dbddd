//! What one row adds to the sums, and how a change of the row changes them.

use std::collections::BTreeMap;

use super::budget::Each;
use super::call::{Call, CallState};
use super::money::Money;
use super::scope::{Scope, Subject};
use super::time::Timestamp;

/// The bucket a row counts in; absent names are empty text, as a key column can not be NULL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketKey {
    /// Start of the 15 minutes, UTC.
    pub bucket: Timestamp,
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

macro_rules! amounts {
    ($(#[$what:meta])* $amounts:ident { $($(#[$doc:meta])* $name:ident,)* }) => {
        $(#[$what])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $amounts { $($(#[$doc])* pub $name: i64,)* }

        impl $amounts {
            /// Adds `other`.
            pub fn add(&mut self, other: &Self) { $(self.$name = self.$name.saturating_add(other.$name);)* }
            /// Takes `other` away.
            pub fn subtract(&mut self, other: &Self) { $(self.$name = self.$name.saturating_sub(other.$name);)* }
            /// Whether it changes nothing.
            pub fn is_nothing(&self) -> bool { *self == Self::default() }
        }
    };
}

/// The one list of what is summed over rows. Calls the macro `$then` with it: each sum's name is that of its column.
macro_rules! summed {
    ($then:ident! { $($before:tt)* }) => {
        $then! {
            $($before)* {
                /// Calls that are not failed.
                completions,
                /// Failed calls.
                failures,
                /// Completions whose cost is unknown.
                unknown,
                /// Completions whose cost is the reply's and not yet settled.
                inline_completions,
                /// Cost (charged + upstream) in pico-dollars, unknown ones left out.
                cost_picos,
                /// The part of the cost that is the reply's and not yet settled, in pico-dollars.
                inline_picos,
                /// Charged by OpenRouter, in pico-dollars.
                charged_picos,
                /// Saved by prompt caches, in pico-dollars; may be negative.
                cache_discount_picos,
                /// Normalised prompt tokens.
                tokens_prompt,
                /// Normalised completion tokens.
                tokens_completion,
                /// Native prompt tokens.
                native_tokens_prompt,
                /// Native completion tokens.
                native_tokens_completion,
                /// Native reasoning tokens.
                native_tokens_reasoning,
                /// Native cached prompt tokens.
                native_tokens_cached,
            }
        }
    };
}

pub(crate) use summed;

summed! {
    amounts! {
        /// Sums of rows; each may go down again when a row moves or settles lower.
        Amounts
    }
}

amounts! {
    /// What rows add to one budget's counter.
    Share {
        /// Cost in pico-dollars, unknown ones left out.
        cost_picos,
        /// The part of it that is not yet settled, in pico-dollars.
        inline_picos,
        /// Completions whose cost is unknown.
        unknown,
    }
}

/// What `call` adds to the sums; `None` for one that is not shown yet.
pub fn contribution(call: &Call) -> Option<(BucketKey, Amounts)> {
    if call.state == CallState::Open {
        return None;
    }
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let facts = &call.facts;
    let key = BucketKey {
        bucket: call.created_at().bucket(),
        app: text(call.attribution.app.as_deref()),
        key_name: text(call.key.as_ref().map(|key| key.name.as_str())),
        model: text(call.model()),
        provider: text(facts.provider.as_deref()),
        endpoint: text(call.endpoint.as_deref()),
        is_byok: facts.is_byok == Some(true),
    };
    if call.state == CallState::Failed {
        return Some((key, Amounts { failures: 1, ..Amounts::default() }));
    }
    let picos = |money: Option<Money>| money.map_or(0, Money::picos);
    let cost = call.cost();
    let amounts = Amounts {
        completions: 1,
        failures: 0,
        unknown: i64::from(cost.is_none()),
        inline_completions: i64::from(call.is_inline()),
        cost_picos: picos(cost),
        inline_picos: if call.is_inline() { picos(cost) } else { 0 },
        charged_picos: picos(call.charged()),
        cache_discount_picos: picos(facts.cache_discount),
        tokens_prompt: facts.tokens_prompt.unwrap_or(0),
        tokens_completion: facts.tokens_completion.unwrap_or(0),
        native_tokens_prompt: facts.native_tokens_prompt.unwrap_or(0),
        native_tokens_completion: facts.native_tokens_completion.unwrap_or(0),
        native_tokens_reasoning: facts.native_tokens_reasoning.unwrap_or(0),
        native_tokens_cached: facts.native_tokens_cached.unwrap_or(0),
    };
    Some((key, amounts))
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
#[derive(Clone, Debug, Default)]
pub struct Deltas(BTreeMap<BucketKey, Amounts>);

impl Deltas {
    /// The row was `before` and is `after`.
    pub fn moved(&mut self, before: Option<&Call>, after: Option<&Call>) {
        if let Some((key, amounts)) = before.and_then(contribution) {
            self.0.entry(key).or_default().subtract(&amounts);
        }
        if let Some((key, amounts)) = after.and_then(contribution) {
            self.0.entry(key).or_default().add(&amounts);
        }
    }

    /// The sums that change, in key order (so that two writers lock them in the same order).
    pub fn iter(&self) -> impl Iterator<Item = (&BucketKey, &Amounts)> {
        self.0.iter().filter(|(_, amounts)| !amounts.is_nothing())
    }
}
