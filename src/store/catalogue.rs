//! OpenRouter's list of models: names, and every list price with the time it was valid.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::domain::catalogue::{Catalogue, Changes, Listed, Model, Priced};
use crate::domain::price::Pricing;
use crate::domain::time::Timestamp;

use super::batch::{Json, storable};
use super::statements as sql;
use super::tx::{in_tx, reading};
use super::{Store, StoreError};

#[derive(Serialize)]
struct ModelRow<'a> {
    model_id: &'a str,
    permaslug: Option<&'a str>,
    name: Option<String>,
    context_length: Option<i64>,
    seen_ms: i64,
}

#[derive(Serialize)]
struct PriceRow<'a> {
    model_id: &'a str,
    from_ms: i64,
    pricing: String,
}

/// Takes in the list as it is told at `now`: models are added and changed, never removed; a price that is another than
/// the current one ends that one, and begins. Of models listed twice the first counts.
pub async fn save(store: &Store, listed: &[Listed], now: Timestamp) -> Result<Changes, StoreError> {
    let mut by_id: BTreeMap<&str, &Listed> = BTreeMap::new();
    for model in listed.iter().filter(|model| !model.id.contains('\0')) {
        by_id.entry(&model.id).or_insert(model);
    }
    let mut tx = store.write().await?;
    // First: its row makes daemons that share the database wait for each other.
    in_tx!(tx, sql::CATALOGUE_NOTE, |text, conn| {
        sqlx::query(text).bind(now.millis()).execute(conn).await?;
    });
    let known: Vec<(String, Option<String>)> =
        in_tx!(tx, sql::CATALOGUE_CURRENT, |text, conn| sqlx::query_as(text).fetch_all(conn).await?);
    let known: HashMap<String, Option<String>> = known.into_iter().collect();
    let mut changes = Changes::default();
    let (mut ended, mut begun) = (Vec::new(), Vec::new());
    for (id, model) in &by_id {
        let current = known.get(*id);
        changes.new_models += usize::from(current.is_none());
        let current = current.and_then(Option::as_deref);
        // Compared as prices, not as texts: another notation of the same price is no change.
        if current.and_then(|text| serde_json::from_str::<Pricing>(text).ok()).as_ref() == Some(&model.pricing) {
            continue;
        }
        if current.is_some() {
            ended.push(*id);
        }
        let pricing = serde_json::to_string(&model.pricing).map_err(StoreError::encoding)?;
        begun.push(PriceRow { model_id: id, from_ms: now.millis(), pricing });
    }
    changes.new_prices = begun.len();
    let rows = Json::numbered(by_id.values().map(|model| ModelRow {
        model_id: &model.id,
        permaslug: model.permaslug.as_deref().filter(|slug| !slug.contains('\0')),
        name: model.name.as_deref().map(|name| storable(name).into_owned()),
        context_length: model.context_length,
        seen_ms: now.millis(),
    }))?;
    in_tx!(tx, sql::CATALOGUE_SAVE_MODELS, |text, conn| {
        sqlx::query(text).bind(rows).execute(conn).await?;
    });
    if !ended.is_empty() {
        let ended = Json::keys(ended)?;
        in_tx!(tx, sql::CATALOGUE_CLOSE_PRICES, |text, conn| {
            sqlx::query(text).bind(ended).bind(now.millis()).execute(conn).await?;
        });
    }
    if !begun.is_empty() {
        let begun = Json::numbered(begun)?;
        in_tx!(tx, sql::CATALOGUE_OPEN_PRICES, |text, conn| {
            sqlx::query(text).bind(begun).execute(conn).await?;
        });
    }
    tx.commit().await?;
    Ok(changes)
}

type ModelColumns = (String, Option<String>, Option<String>, Option<i64>, i64, i64);

/// The list with its history.
pub async fn load(store: &Store) -> Result<Catalogue, StoreError> {
    let fetched: Option<i64> =
        reading!(store, sql::CATALOGUE_FETCHED, |text, conn| sqlx::query_scalar(text).fetch_optional(conn).await?);
    let rows: Vec<ModelColumns> =
        reading!(store, sql::CATALOGUE_MODELS, |text, conn| sqlx::query_as(text).fetch_all(conn).await?);
    let prices: Vec<(String, i64, Option<i64>, String)> =
        reading!(store, sql::CATALOGUE_PRICES, |text, conn| sqlx::query_as(text).fetch_all(conn).await?);
    let mut models: BTreeMap<String, Model> = rows
        .into_iter()
        .map(|(id, permaslug, name, context_length, first, last)| {
            let (first_seen, last_seen) = (Timestamp(first), Timestamp(last));
            (id, Model { permaslug, name, context_length, first_seen, last_seen, prices: Vec::new() })
        })
        .collect();
    for (id, from, until, text) in prices {
        let Some(model) = models.get_mut(&id) else { continue };
        let pricing: Pricing = serde_json::from_str(&text)
            .map_err(|error| StoreError::unreadable(&format!("model_prices {id}"), &error))?;
        model.prices.push(Priced { from: Timestamp(from), until: until.map(Timestamp), pricing });
    }
    Ok(Catalogue::new(fetched.map(Timestamp), models))
}
