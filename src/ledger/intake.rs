//! Generation IDs that are told: what an item may say, and what becomes of each (`/tally/v1/record`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Ledger, LedgerError, Verdict, Work};
use crate::clock::{Clock, Entropy};
use crate::domain::attribution::{Attribution, KeyRef, MAX_TAGS};
use crate::domain::ids::{GenerationId, KeyFingerprint, repeatable};
use crate::domain::observation::{Tidings, Told};
use crate::domain::tally_key::TallyKey;

/// Most items in one request.
pub const MAX_ITEMS: usize = 10_000;

/// Longest request, in bytes: as many items of about 1.6 KB each.
pub const MAX_BODY: usize = 16 << 20;

/// Longest item, in bytes.
pub const MAX_ITEM: usize = 64 << 10;

/// Most characters of what was told that an answer repeats.
const MAX_SHOWN: usize = 200;

/// How long a teller waits for the commit: time for a full request on a slow machine, and less than `tallyd record` waits for
/// the daemon (30 s).
const PATIENCE: Duration = Duration::from_secs(25);

/// One item.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    id: String,
    key: Option<String>,
    app: Option<String>,
    user: Option<String>,
    session: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

/// What a refused item is called by.
#[derive(Debug, Deserialize)]
struct Named {
    id: String,
}

/// What became of the items.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RecordSummary)]
pub struct Summary {
    /// New in the ledger.
    pub recorded: usize,
    /// In the ledger already.
    pub known: usize,
    /// Not taken, each with its reason.
    pub refused: Vec<RefusedItem>,
}

/// An item that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusedItem {
    /// Its place in the request, from 0.
    pub index: usize,
    /// Its ID, if it had one.
    pub id: Option<String>,
    /// Why, and what to do.
    pub reason: String,
}

/// The keys that an item may name, with what stands for each.
pub type NamedKeys = BTreeMap<String, KeyFingerprint>;

/// Writes the items and says what became of each, once it is committed. What is told with a tally key has its labels, and
/// the OpenRouter key that it stands for and no other. Items come as their own text: as trees of values they would take many
/// times its memory.
pub async fn take(
    ledger: &Ledger,
    clock: &Clock,
    entropy: &Entropy,
    keys: &NamedKeys,
    teller: Option<&TallyKey>,
    items: &[Box<RawValue>],
) -> Result<Summary, LedgerError> {
    let mut summary = Summary::default();
    let mut told = Vec::with_capacity(items.len());
    let mut asked = Vec::with_capacity(items.len());
    let now = clock.now();
    for (index, item) in items.iter().enumerate() {
        let item = item.get();
        match read(item, keys, teller) {
            Ok((generation_id, key, attribution)) => {
                asked.push((index, generation_id.clone()));
                let (call_id, tally_key) = (entropy.call_id(now), teller.map(|key| key.id));
                told.push(Told { call_id, at: now, generation_id, key, tally_key, attribution, tidings: Tidings::Id });
            }
            Err(reason) => {
                let id = name(item).map(|id| repeatable(&id, MAX_SHOWN));
                summary.refused.push(RefusedItem { index, id, reason });
            }
        }
    }
    if told.is_empty() {
        return Ok(summary);
    }
    let verdicts = ledger.submit(Work { told, ..Work::default() }, PATIENCE).await?;
    for ((index, id), verdict) in asked.into_iter().zip(verdicts) {
        match verdict {
            Verdict::Recorded => summary.recorded += 1,
            Verdict::Known | Verdict::Changed => summary.known += 1,
            Verdict::SetAside => {
                let reason = "the database refuses it; the daemon's log says why".to_owned();
                summary.refused.push(RefusedItem { index, id: Some(id.to_string()), reason });
            }
        }
    }
    summary.refused.sort_by_key(|item| item.index);
    Ok(summary)
}

/// What an item that was refused calls itself, or is.
fn name(item: &str) -> Option<String> {
    if item.len() > MAX_ITEM {
        return None;
    }
    if item.starts_with('{') {
        return serde_json::from_str::<Named>(item).ok().map(|named| named.id);
    }
    serde_json::from_str(item).ok()
}

/// Reads an item's JSON text: the generation, the key that it names, and its labels under those of `teller`, which are
/// stronger; in words why it can not be.
pub fn read(
    item: &str,
    keys: &NamedKeys,
    teller: Option<&TallyKey>,
) -> Result<(GenerationId, Option<KeyRef>, Attribution), String> {
    if item.len() > MAX_ITEM {
        return Err(format!("it is longer than {MAX_ITEM} bytes"));
    }
    // The parser's own words repeat a text that is no object.
    if !item.starts_with('{') {
        return Err("it is no object; an item is {\"id\":\"gen-…\"} with key, app, user, session and tags if you like"
            .to_owned());
    }
    let item: Item = serde_json::from_str(item).map_err(|error| {
        let error = repeatable(&error.to_string(), MAX_SHOWN);
        format!("{error}; an item is {{\"id\":\"gen-…\"}} with key, app, user, session and tags if you like")
    })?;
    let generation_id = item.id.parse::<GenerationId>().map_err(|error| error.to_string())?;
    let own = teller.map(|teller| teller.upstream.clone());
    if let (Some(own), Some(name)) = (&own, &item.key)
        && own != name
    {
        return Err(format!("this tally key stands for the OpenRouter key {own:?} alone; name that one, or none"));
    }
    let key = match own.or(item.key) {
        None => None,
        Some(name) => match keys.get(&name) {
            Some(fingerprint) => Some(KeyRef { name, fingerprint: Some(fingerprint.clone()) }),
            None => return Err(no_such_key(&name)),
        },
    };
    let label = |text: Option<String>| text.as_deref().and_then(Attribution::label);
    let mut attribution = Attribution {
        app: label(item.app),
        user: label(item.user),
        session: label(item.session),
        tags: BTreeMap::new(),
    };
    for (name, value) in item.tags.into_iter().take(MAX_TAGS) {
        if let (Some(name), Some(value)) = (Attribution::label(&name), Attribution::label(&value)) {
            attribution.tags.insert(name, value);
        }
    }
    if let Some(teller) = teller {
        attribution = attribution.under(&teller.labels);
    }
    Ok((generation_id, key, attribution))
}

fn no_such_key(name: &str) -> String {
    // Whoever puts a key in the place of its name shall not find it again in an answer, or in what prints it.
    let name = repeatable(name, MAX_SHOWN);
    format!("no key is named {name:?}; name one of [openrouter.keys], or none for openrouter.api_key")
}
