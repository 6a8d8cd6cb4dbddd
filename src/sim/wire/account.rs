//! `GET /key`, `/credits`, `/models`: what a key may know of itself and of the catalogue.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{Datelike as _, NaiveDate};

use super::quoted;
use crate::domain::time::{DAY_MS, Timestamp};
use crate::sim::PriceList;
use crate::sim::catalogue::{Kind, MODELS, Model};
use crate::sim::picos::{Notation, Picos};
use crate::sim::plan::Account;
use crate::sim::truth::Truth;

/// The body of `GET /key`. Days and months are UTC, weeks start on Monday.
pub(in crate::sim) fn key(account: &Account, truth: &Truth, now: Timestamp) -> String {
    let today = now.millis().div_euclid(DAY_MS);
    let date = now.to_utc().date_naive();
    let monday = today - i64::from(date.weekday().num_days_from_monday());
    let first = NaiveDate::from_ymd_opt(date.year(), date.month(), 1).unwrap_or(date);
    let month = today - (date - first).num_days();
    let bill = |from| truth.since(&account.key, from);
    let (all, day, week, month) = (bill(i64::MIN), bill(today), bill(monday), bill(month));
    let number = |amount: Picos| amount.json(Notation::JavaScript);
    let (limit, left, reset) = match account.limit {
        Some(limit) => (number(limit), number(limit - month.charged), "\"monthly\""),
        None => ("null".to_owned(), "null".to_owned(), "null"),
    };
    format!(
        "{{\"data\":{{\"label\":{},\"limit\":{limit},\"limit_remaining\":{left},\"limit_reset\":{reset},\"include_byok_in_limit\":false,\"usage\":{},\"usage_daily\":{},\"usage_weekly\":{},\"usage_monthly\":{},\"byok_usage\":{},\"byok_usage_daily\":{},\"byok_usage_weekly\":{},\"byok_usage_monthly\":{},\"is_free_tier\":false,\"is_management_key\":{},\"is_provisioning_key\":{},\"creator_user_id\":\"user_2simulated0000000000000000\",\"expires_at\":null,\"rate_limit\":{{\"requests\":-1,\"interval\":\"10s\",\"note\":\"This field is deprecated and safe to ignore.\"}}}}}}",
        quoted(&account.label),
        number(all.charged),
        number(day.charged),
        number(week.charged),
        number(month.charged),
        number(all.upstream),
        number(day.upstream),
        number(week.upstream),
        number(month.upstream),
        account.management,
        account.management,
    )
}

/// The body of `GET /credits`: an inference key sees zeros, as the wire has it since September 2026.
pub(in crate::sim) fn credits(account: &Account, bought: Picos, used: Picos) -> String {
    let (bought, used) = if account.management { (bought, used) } else { (Picos::ZERO, Picos::ZERO) };
    format!(
        "{{\"data\":{{\"total_credits\":{},\"total_usage\":{}}}}}",
        bought.json(Notation::JavaScript),
        used.json(Notation::JavaScript)
    )
}

/// The body of `GET /models`; `query` may name an `offset`.
pub(in crate::sim) fn models(list: &PriceList, query: &str) -> String {
    let listed = MODELS.iter().map(|model| (model.id, one(model, list.changed.get(model.id))));
    // The router's price depends on what it picks.
    let router = ("openrouter/auto", ROUTER.to_owned());
    let all: Vec<String> =
        listed.chain([router]).filter(|(id, _)| !list.hidden.contains(*id)).map(|(_, text)| text).collect();
    let offset = query.split('&').find_map(|pair| pair.strip_prefix("offset=")?.parse().ok()).unwrap_or(0_usize);
    let page = if list.page == 0 { all.len() } else { list.page };
    let (from, until) = (offset.min(all.len()), offset.saturating_add(page).min(all.len()));
    let next = if until < all.len() { quoted(&format!("/api/v1/models?offset={until}")) } else { "null".to_owned() };
    format!("{{\"data\":[{}],\"total_count\":{},\"links\":{{\"next\":{next}}}}}", all[from..until].join(","), all.len())
}

const ROUTER: &str = r#"{"id":"openrouter/auto","canonical_slug":"openrouter/auto","hugging_face_id":null,"name":"Auto Router","created":1699401600,"description":"simulated","context_length":2000000,"architecture":{"modality":"text->text","input_modalities":["text"],"output_modalities":["text"],"tokenizer":"Router","instruct_type":null},"pricing":{"prompt":"-1","completion":"-1"},"top_provider":{"context_length":null,"max_completion_tokens":null,"is_moderated":false},"per_request_limits":null,"supported_parameters":[],"default_parameters":{}}"#;

fn one(model: &Model, changed: Option<&BTreeMap<String, Option<String>>>) -> String {
    let route = &model.routes[0];
    let mut prices: Vec<(String, String)> =
        vec![("prompt".to_owned(), route.prompt.plain()), ("completion".to_owned(), route.completion.plain())];
    for (name, price) in [("input_cache_read", route.cache_read), ("input_cache_write", route.cache_write)] {
        prices.extend(price.map(|price| (name.to_owned(), price.plain())));
    }
    if route.request > Picos::ZERO {
        prices.push(("request".to_owned(), route.request.plain()));
    }
    for (name, price) in changed.into_iter().flatten() {
        prices.retain(|(known, _)| known != name);
        prices.extend(price.as_ref().map(|price| (name.clone(), price.clone())));
    }
    let mut pricing = String::new();
    for (name, price) in &prices {
        // On the wire `discount` alone is a number.
        let price = if name == "discount" { price.clone() } else { quoted(price) };
        let _ = write!(pricing, "{}{}:{price}", if pricing.is_empty() { "" } else { "," }, quoted(name));
    }
    format!(
        "{{\"id\":\"{}\",\"canonical_slug\":\"{}\",\"hugging_face_id\":null,\"name\":\"{}\",\"created\":1721260800,\"description\":\"simulated\",\"context_length\":{},\"architecture\":{{\"modality\":\"text->text\",\"input_modalities\":[\"text\"],\"output_modalities\":[\"{}\"],\"tokenizer\":\"{}\",\"instruct_type\":null}},\"pricing\":{{{pricing}}},\"top_provider\":{{\"context_length\":{},\"max_completion_tokens\":null,\"is_moderated\":false}},\"per_request_limits\":null,\"supported_parameters\":[\"max_tokens\",\"temperature\"],\"default_parameters\":{{}},\"links\":{{\"details\":\"/api/v1/models/{}/endpoints\"}}}}",
        model.id,
        model.permaslug,
        model.title,
        model.context,
        if model.kind == Kind::Embedding { "embeddings" } else { "text" },
        model.tokenizer,
        model.context,
        model.permaslug,
    )
}
