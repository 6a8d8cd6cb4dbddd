//! What one call asks for, who will answer it, and what that costs.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;

use super::behaviour::Behaviour;
use super::bill::{Bill, Payer};
use super::catalogue::{self, MODELS, Model, Route};
use super::dice::Dice;
use super::endpoint::Endpoint;
use super::picos::Picos;
use super::truth::{Attempt, Billed, Outcome, Tokens};
use super::wire::refusal::Refusal;
use crate::domain::ids::{GenerationId, KeyFingerprint};
use crate::domain::time::Timestamp;

/// Bytes of request body to a prompt token.
const BYTES_PER_TOKEN: usize = 4;

/// Longest completion that is made up when the caller sets no limit and no behaviour does.
const LONGEST_COMPLETION: u32 = 400;

/// The parts of a request that matter here. Texts are skipped, not kept.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    pub(super) model: Option<String>,
    #[serde(default)]
    pub(super) models: Vec<String>,
    #[serde(default)]
    pub(super) stream: Option<bool>,
    pub(super) user: Option<String>,
    pub(super) session_id: Option<String>,
    pub(super) max_tokens: Option<u32>,
    pub(super) max_completion_tokens: Option<u32>,
    pub(super) max_output_tokens: Option<u32>,
    pub(super) provider: Option<Preferences>,
}

/// `provider`, as far as the simulator follows it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Preferences {
    #[serde(default)]
    order: Vec<String>,
    #[serde(default)]
    only: Vec<String>,
    #[serde(default)]
    ignore: Vec<String>,
    sort: Option<serde_json::Value>,
}

/// Who calls.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) key: KeyFingerprint,
    pub(super) label: String,
    pub(super) byok: bool,
    pub(super) limit: Option<Picos>,
    pub(super) disabled: bool,
    pub(super) management: bool,
}

/// One call, decided: what will be generated, by whom, and how the reply goes.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) id: GenerationId,
    pub(super) created_at: Timestamp,
    pub(super) endpoint: Endpoint,
    pub(super) account: Arc<Account>,
    pub(super) requested: Box<str>,
    pub(super) model: &'static Model,
    pub(super) route: &'static Route,
    pub(super) byok: bool,
    pub(super) streamed: bool,
    pub(super) user: Option<Box<str>>,
    pub(super) session: Option<Box<str>>,
    pub(super) tokens: Tokens,
    pub(super) refused: Vec<Attempt>,
    pub(super) finish: Cow<'static, str>,
    pub(super) latency_ms: u32,
    pub(super) generation_ms: u32,
    pub(super) cache_source: Option<GenerationId>,
    pub(super) behaviour: Arc<Behaviour>,
    pub(super) seed: u64,
}

impl Plan {
    /// Decides how a call of `bytes` goes, or why it is refused.
    pub(super) fn new(
        endpoint: Endpoint,
        account: &Arc<Account>,
        asked: Asked,
        behaviour: Arc<Behaviour>,
        (bytes, created_at, seed): (usize, Timestamp, u64),
    ) -> Result<Self, Refusal> {
        let mut dice = Dice::new(seed);
        let requested = asked.model.as_deref().or(asked.models.first().map(String::as_str));
        let refused_models = usize::try_from(behaviour.fallbacks.unwrap_or(0)).unwrap_or(0);
        let requested: Box<str> = requested.unwrap_or(catalogue::default_of(endpoint.kind()).id).into();
        let wanted = resolve(&requested, endpoint, &mut dice).ok_or_else(|| Refusal::unknown_model(&requested))?;
        // After refusals the next model of the caller's list answers, if there is one.
        let spare = asked.models.iter().filter(|name| **name != *requested).find_map(|name| catalogue::find(name));
        let model = if refused_models > 0 { spare.unwrap_or(wanted) } else { wanted };
        let route = choose(model, asked.provider.as_ref(), behaviour.provider.as_deref(), &mut dice)
            .ok_or_else(Refusal::no_endpoints)?;
        let refused = (0..refused_models)
            .map(|nth| {
                let routes = wanted.routes;
                Attempt {
                    provider: routes[nth % routes.len()].provider,
                    model: wanted,
                    status: if nth % 2 == 0 { 529 } else { 429 },
                    latency_ms: dice.between(150, 450),
                }
            })
            .collect::<Vec<_>>();
        let limit = asked.max_tokens.or(asked.max_completion_tokens).or(asked.max_output_tokens);
        let tokens = tokens(endpoint, route, &behaviour, (bytes, limit), &mut dice);
        let cut_short = limit.is_some_and(|limit| limit > 0 && tokens.completion >= limit);
        let finish = match &behaviour.finish {
            Some(finish) => Cow::Owned(finish.clone()),
            None if cut_short => Cow::Borrowed("length"),
            None => Cow::Borrowed("stop"),
        };
        let before: u32 = refused.iter().map(|attempt| attempt.latency_ms).sum();
        let latency_ms = before + dice.around(route.latency_ms).max(20);
        let generation_ms = latency_ms + tokens.completion.saturating_mul(1000) / dice.around(route.speed).max(1);
        let mut id = String::with_capacity(40);
        id.push_str(endpoint.id_prefix());
        id.push_str(&created_at.millis().div_euclid(1000).to_string());
        id.push('-');
        dice.push_tail(&mut id);
        let id: GenerationId = id.parse().map_err(|_| Refusal::internal())?;
        let byok = behaviour.byok.map_or(account.byok, |flag| flag.0);
        let streamed = endpoint.streams() && asked.stream == Some(true);
        let seed = dice.next();
        Ok(Self {
            id,
            created_at,
            endpoint,
            account: account.clone(),
            requested,
            model,
            route,
            byok,
            streamed,
            user: asked.user.map(Into::into),
            session: asked.session_id.map(Into::into),
            tokens,
            refused,
            finish,
            latency_ms,
            generation_ms,
            cache_source: None,
            behaviour,
            seed,
        })
    }

    /// What `tokens` cost on this plan.
    pub(super) fn bill(&self, tokens: Tokens) -> Bill {
        if self.cache_source.is_some() {
            return Bill::default();
        }
        let payer =
            if self.byok { Payer::Caller { fee: Behaviour::on(self.behaviour.byok_fee) } } else { Payer::OpenRouter };
        Bill::of(self.route, tokens, payer)
    }

    /// Usage as the reply shows it: what will be billed, unless told to fall short.
    pub(super) fn shown(&self) -> Tokens {
        if self.cache_source.is_some() {
            return Tokens::default();
        }
        let short = self.behaviour.inline_short.unwrap_or(0);
        Tokens { completion: self.tokens.completion.saturating_sub(short), ..self.tokens }
    }

    /// The model's name as the reply shows it.
    pub(super) fn model_name(&self) -> &'static str {
        match self.behaviour.named {
            Some(super::behaviour::Named::Permaslug) => self.model.permaslug,
            Some(super::behaviour::Named::Id) | None => self.model.id,
        }
    }

    /// The provider's own word for the end.
    pub(super) fn native_finish(&self) -> &str {
        if self.finish == "stop" { self.model.native_stop } else { &self.finish }
    }

    /// The unix second in which it was made.
    pub(super) fn created_second(&self) -> i64 {
        self.created_at.millis().div_euclid(1000)
    }

    /// Content events of its stream.
    pub(super) fn chunks(&self) -> u32 {
        self.behaviour.chunks.unwrap_or_else(|| (self.tokens.completion / 8).clamp(1, 40))
    }

    /// What goes into the books when `tokens` of it are billed at `billed_at`.
    pub(super) fn billed(&self, tokens: Tokens, how: Outcome, billed_at: Timestamp) -> Billed {
        let bill = self.bill(tokens);
        let free = match how {
            Outcome::Complete => false,
            Outcome::Cancelled => Behaviour::on(self.behaviour.free_cancel),
            // Zero-completion insurance: what ended in an error is not billed.
            Outcome::Failed => !Behaviour::on(self.behaviour.error_billed),
        };
        let charged = if free { Picos::ZERO } else { bill.charged };
        let upstream = self.byok.then(|| if free { Picos::ZERO } else { bill.list() });
        let status = match how {
            Outcome::Complete => 200,
            Outcome::Cancelled => 499,
            Outcome::Failed => 502,
        };
        let mut attempts = self.refused.clone();
        if self.cache_source.is_none() {
            let (provider, model) = (self.route.provider, self.model);
            attempts.push(Attempt { provider, model, status, latency_ms: self.latency_ms });
        }
        Billed {
            id: self.id.clone(),
            key: self.account.key.clone(),
            endpoint: self.endpoint,
            requested: self.requested.clone(),
            model: self.model,
            provider: self.route.provider,
            cost: charged,
            upstream,
            cache_discount: bill.discount,
            is_byok: self.byok,
            streamed: self.streamed,
            outcome: how,
            tokens,
            created_at: self.created_at,
            billed_at,
            finish_reason: match how {
                Outcome::Complete => Some(self.finish.as_ref().into()),
                Outcome::Cancelled => None,
                Outcome::Failed => Some("error".into()),
            },
            latency_ms: self.latency_ms,
            generation_ms: self.generation_ms,
            attempts,
            user: self.user.clone(),
            session: self.session.clone(),
            cache_source: self.cache_source.clone(),
        }
    }
}

/// The model behind a name: routers and presets pick one.
fn resolve(name: &str, endpoint: Endpoint, dice: &mut Dice) -> Option<&'static Model> {
    if name.starts_with("openrouter/") || name.starts_with("@preset/") {
        let fitting =
            MODELS.iter().filter(|model| model.kind == endpoint.kind() && model.routes[0].prompt > Picos::ZERO);
        let fitting: Vec<_> = fitting.collect();
        return fitting.get(usize::try_from(dice.below(fitting.len() as u64)).unwrap_or(0)).copied();
    }
    if let Some(alias) = name.strip_prefix('~') {
        let family = alias.strip_suffix("-latest")?;
        return MODELS.iter().find(|model| model.id.starts_with(family));
    }
    catalogue::find(name)
}

/// The route of `model` that the caller's preferences, or chance, choose.
fn choose(
    model: &'static Model,
    wanted: Option<&Preferences>,
    forced: Option<&str>,
    dice: &mut Dice,
) -> Option<&'static Route> {
    let named = |route: &Route, name: &str| {
        let provider = route.provider;
        provider.slug.eq_ignore_ascii_case(name) || provider.name.eq_ignore_ascii_case(name)
    };
    if let Some(name) = forced {
        // A provider that does not serve the model is a wish of the test's, not of the caller's: the first will do.
        return model.routes.iter().find(|route| named(route, name)).or(model.routes.first());
    }
    let open = |route: &&Route| {
        wanted.is_none_or(|wanted| {
            (wanted.only.is_empty() || wanted.only.iter().any(|name| named(route, name)))
                && !wanted.ignore.iter().any(|name| named(route, name))
        })
    };
    if let Some(wanted) = wanted {
        for name in &wanted.order {
            if let Some(route) = model.routes.iter().filter(open).find(|route| named(route, name)) {
                return Some(route);
            }
        }
        match wanted.sort.as_ref().and_then(serde_json::Value::as_str) {
            Some("price") => {
                return model.routes.iter().filter(open).min_by_key(|route| route.prompt + route.completion);
            }
            Some("throughput") => return model.routes.iter().filter(open).max_by_key(|route| route.speed),
            Some("latency") => return model.routes.iter().filter(open).min_by_key(|route| route.latency_ms),
            _ => {}
        }
    }
    let weight: u32 = model.routes.iter().filter(open).map(|route| route.weight).sum();
    let mut left = u32::try_from(dice.below(u64::from(weight))).unwrap_or(0);
    model.routes.iter().filter(open).find(|route| {
        let here = left < route.weight;
        left = left.saturating_sub(route.weight);
        here
    })
}

fn tokens(
    endpoint: Endpoint,
    route: &Route,
    behaviour: &Behaviour,
    (bytes, limit): (usize, Option<u32>),
    dice: &mut Dice,
) -> Tokens {
    let prompt =
        behaviour.prompt_tokens.unwrap_or_else(|| u32::try_from(bytes / BYTES_PER_TOKEN).unwrap_or(u32::MAX).max(1));
    let longest = limit.unwrap_or(LONGEST_COMPLETION).clamp(1, LONGEST_COMPLETION);
    let drawn = dice.between(1, longest);
    let completion = match endpoint {
        Endpoint::Embeddings | Endpoint::Rerank | Endpoint::Videos => 0,
        _ => behaviour.completion_tokens.unwrap_or(drawn),
    };
    let cached = match behaviour.cached {
        Some(cached) => cached.min(prompt),
        // Long prompts are often repeated, and then mostly read from the cache.
        None if route.cache_read.is_some() && prompt >= 1024 && dice.one_in(3) => prompt / 1024 * 1024 * 3 / 4,
        None => 0,
    };
    let cache_write = behaviour.cache_write.unwrap_or(0).min(prompt - cached);
    let reasoning = behaviour.reasoning.unwrap_or(0).min(completion);
    Tokens { prompt, completion, cached, cache_write, reasoning }
}
