//! OpenRouter's list of models as it was told over time: names, and prices with the time each was valid.
//!
//! A price holds from when it was first seen until another was; nothing reaches further back, and nothing is repriced.

use std::collections::{BTreeMap, HashMap};

use super::call::{Call, CallState};
use super::money::Money;
use super::price::{Pricing, Usage};
use super::time::Timestamp;

/// Suffixes that choose among providers and have no price of their own.
const DYNAMIC_SUFFIXES: [&str; 4] = [":nitro", ":floor", ":exacto", ":online"];

/// How alike (0 to 1) a model's name must be to be offered in place of one that is not there.
const ALIKE: f64 = 0.6;

/// One model as OpenRouter lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The ID that callers use, such as `openai/gpt-4o-mini`.
    pub id: String,
    /// The dated name that generation records use; `None` where none was told.
    pub permaslug: Option<String>,
    /// The name for people.
    pub name: Option<String>,
    /// Longest context, in tokens.
    pub context_length: Option<i64>,
    /// What it costs.
    pub pricing: Pricing,
}

/// A list price and when it was valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Priced {
    /// When it was first seen.
    pub from: Timestamp,
    /// When another was first seen; `None`: it is the current one.
    pub until: Option<Timestamp>,
    /// The prices.
    pub pricing: Pricing,
}

/// One model and its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// The dated name that generation records use.
    pub permaslug: Option<String>,
    /// The name for people.
    pub name: Option<String>,
    /// Longest context, in tokens.
    pub context_length: Option<i64>,
    /// When it was first listed.
    pub first_seen: Timestamp,
    /// When it was last listed.
    pub last_seen: Timestamp,
    /// Its prices, oldest first.
    pub prices: Vec<Priced>,
}

impl Model {
    /// The price that was valid at `at`.
    fn pricing(&self, at: Timestamp) -> Option<&Pricing> {
        let valid = |priced: &&Priced| priced.from <= at && priced.until.is_none_or(|until| at < until);
        self.prices.iter().rev().find(valid).map(|priced| &priced.pricing)
    }
}

/// The list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    /// When OpenRouter last told the list; `None`: never.
    pub fetched_at: Option<Timestamp>,
    models: BTreeMap<String, Model>,
    /// The ID of each permaslug.
    ids: HashMap<String, String>,
}

impl Catalogue {
    /// The list of these models, by ID.
    pub fn new(fetched_at: Option<Timestamp>, models: BTreeMap<String, Model>) -> Self {
        let mut ids: HashMap<String, String> = HashMap::new();
        // Variants (`:free`) share the permaslug of the model they vary: the plain ID stands for all of them.
        let rank = |id: &str| (id.contains(':'), id.len());
        for (id, model) in &models {
            let Some(permaslug) = &model.permaslug else { continue };
            let known = ids.entry(permaslug.clone()).or_insert_with(|| id.clone());
            if rank(id) < rank(known) {
                known.clone_from(id);
            }
        }
        // A permaslug that is itself an ID is that model.
        ids.retain(|permaslug, _| !models.contains_key(permaslug));
        Self { fetched_at, models, ids }
    }

    /// The models by ID.
    pub fn models(&self) -> &BTreeMap<String, Model> {
        &self.models
    }

    /// The ID of a permaslug, where it has another name than that.
    pub fn id_of(&self, permaslug: &str) -> Option<&str> {
        self.ids.get(permaslug).map(String::as_str)
    }

    /// The permaslugs that have an ID of another name.
    pub fn permaslugs(&self) -> impl Iterator<Item = &str> {
        self.ids.keys().map(String::as_str)
    }

    /// The model of an ID, a permaslug, or an ID with a suffix that only chooses among providers.
    pub fn find(&self, name: &str) -> Option<&Model> {
        let plain = DYNAMIC_SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
        let exact = |name: &str| self.models.get(name).or_else(|| self.models.get(self.id_of(name)?));
        exact(name).or_else(|| exact(plain?))
    }

    /// What a model of this name costs at `at` by the list of then; `None` where it is not listed or has no price.
    pub fn pricing(&self, name: &str, at: Timestamp) -> Option<&Pricing> {
        self.find(name)?.pricing(at)
    }

    /// What a call of unknown cost would have cost by the list of its time; `None` where its cost is known, its tokens
    /// are not, or no list of that time prices its model. An estimate: it enters no sum of costs.
    pub fn estimate(&self, call: &Call) -> Option<Money> {
        let facts = &call.facts;
        if call.cost().is_some() || !matches!(call.state, CallState::Pending | CallState::Unsettled) {
            return None;
        }
        let at = call.created_at();
        let usage = Usage {
            prompt: facts.native_tokens_prompt.or(facts.tokens_prompt)?,
            completion: facts.native_tokens_completion.or(facts.tokens_completion),
            cached: facts.native_tokens_cached.unwrap_or(0),
            cache_write: facts.cache_write_tokens.unwrap_or(0),
            reasoning: facts.native_tokens_reasoning.unwrap_or(0),
            at,
        };
        let names = [&facts.reply_model, &facts.permaslug, &call.requested_model];
        let model = names.into_iter().flatten().find_map(|name| self.find(name))?;
        let list = model.pricing(at)?.cost(&usage)?;
        if facts.is_byok != Some(true) {
            return Some(list);
        }
        // The provider charges the caller's own key about its list price, and OpenRouter what it said, if it did.
        Some(list.saturating_add(call.charged().unwrap_or(Money::ZERO)))
    }

    /// The model whose ID is most like `id`, among those that were on the list when it was last told.
    pub fn nearest(&self, id: &str) -> Option<&str> {
        let listed = self.models.iter().filter(|(_, model)| self.fetched_at.is_none_or(|at| model.last_seen >= at));
        nearest(id, listed.map(|(known, _)| known.as_str()))
    }
}

/// The one of `known` whose name is most like `id`'s, compared whole and by the part after the author, without suffix;
/// `None` where none is much like it.
pub fn nearest<'a>(id: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let last = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
    let wanted = id.split(':').next().unwrap_or(id).to_lowercase();
    let alike = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        let whole = strsim::normalized_damerau_levenshtein(&wanted, &candidate);
        // The same name by another author is a little less likely than a slip in either part.
        whole.max(strsim::normalized_damerau_levenshtein(&last(&wanted), &last(&candidate)) * 0.95)
    };
    let scored = known.into_iter().filter(|candidate| *candidate != id).map(|candidate| (alike(candidate), candidate));
    // On a tie the first stays: names come sorted, so the answer is always the same.
    let best = scored.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    (best.0 >= ALIKE).then_some(best.1)
}

/// What a newly told list changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Models that were never listed before.
    pub new_models: usize,
    /// Models whose price is another than it was, and those that have their first.
    pub new_prices: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::attribution::Attribution;
    use crate::domain::ids::CallId;
    use crate::domain::observation::Told;
    use crate::domain::price::UnitPrice;

    fn model(permaslug: &str, prices: &[(i64, Option<i64>, &str)]) -> Model {
        let prices = prices.iter().map(|(from, until, price)| {
            let price = UnitPrice::parse(price);
            let prices = ["prompt", "completion"].into_iter().filter_map(|name| Some((name.to_owned(), price?)));
            Priced {
                from: Timestamp(*from),
                until: until.map(Timestamp),
                pricing: Pricing { prices: prices.collect(), ..Pricing::default() },
            }
        });
        Model {
            permaslug: Some(permaslug.to_owned()),
            name: None,
            context_length: None,
            first_seen: Timestamp(0),
            last_seen: Timestamp(0),
            prices: prices.collect(),
        }
    }

    fn catalogue() -> Catalogue {
        let models = [
            ("acme/one", model("acme/one-20260101", &[(100, Some(200), "0.01"), (200, None, "0.02")])),
            ("acme/one:free", model("acme/one-20260101", &[(100, None, "0")])),
            ("acme/two", model("acme/two", &[])),
            ("acme/auto", model("acme/auto", &[(100, None, "-1")])),
            ("openai/gpt-4o-mini", model("openai/gpt-4o-mini-2024-07-18", &[])),
            ("anthropic/claude-sonnet-4", model("anthropic/claude-4-sonnet-20250522", &[])),
        ];
        Catalogue::new(None, models.map(|(id, model)| (id.to_owned(), model)).into())
    }

    fn call(at: i64, permaslug: &str) -> Call {
        let mut call = Call::told(&Told {
            call_id: CallId::new(Timestamp(at), 1),
            at: Timestamp(at),
            generation_id: "gen-1".parse().unwrap(),
            key: None,
            tally_key: None,
            attribution: Attribution::default(),
            tidings: crate::domain::observation::Tidings::Id,
        });
        call.facts.permaslug = Some(permaslug.to_owned());
        call.facts.native_tokens_prompt = Some(10);
        call.facts.native_tokens_completion = Some(5);
        call
    }

    #[test]
    fn a_permaslug_has_the_plain_id_of_its_model() {
        let catalogue = catalogue();
        assert_eq!(catalogue.id_of("acme/one-20260101"), Some("acme/one"));
        assert_eq!(catalogue.id_of("acme/two"), None, "it is the ID");
        assert_eq!(catalogue.id_of("acme/three"), None);
        assert!(catalogue.find("acme/one:nitro").is_some() && catalogue.find("acme/nine").is_none());
    }

    #[test]
    fn an_estimate_uses_the_price_of_its_time_and_no_other() {
        let catalogue = catalogue();
        let estimate = |at, model: &str| catalogue.estimate(&call(at, model)).map(Money::to_decimal);
        assert_eq!(estimate(99, "acme/one-20260101"), None, "nothing was known of its price then");
        assert_eq!(estimate(100, "acme/one-20260101").as_deref(), Some("0.15"));
        assert_eq!(estimate(199, "acme/one-20260101").as_deref(), Some("0.15"));
        assert_eq!(estimate(200, "acme/one-20260101").as_deref(), Some("0.30"));
        assert_eq!(estimate(200, "acme/auto"), None, "a router has no price");
        let mut known = call(200, "acme/one-20260101");
        known.facts.inline_cost = Some(Money::ZERO);
        assert_eq!(catalogue.estimate(&known), None);
        let mut without_tokens = call(200, "acme/one-20260101");
        without_tokens.facts.native_tokens_prompt = None;
        assert_eq!(catalogue.estimate(&without_tokens), None);
        let mut own = call(200, "acme/one-20260101");
        own.facts.is_byok = Some(true);
        own.facts.inline_cost = Some(Money::from_usd(1).unwrap());
        assert_eq!(catalogue.estimate(&own).map(Money::to_decimal).as_deref(), Some("1.30"));
    }

    #[test]
    fn the_nearest_model_is_much_like_it_or_none() {
        let catalogue = catalogue();
        for (asked, near) in [
            ("openai/gpt4o-mini", Some("openai/gpt-4o-mini")),
            ("gpt-4o-mini", Some("openai/gpt-4o-mini")),
            ("Anthropic/Claude-Sonnet-4", Some("anthropic/claude-sonnet-4")),
            ("zzz", None),
        ] {
            assert_eq!(catalogue.nearest(asked), near, "{asked}");
        }
        assert_eq!(Catalogue::default().nearest("openai/gpt-4o"), None);
    }
}
