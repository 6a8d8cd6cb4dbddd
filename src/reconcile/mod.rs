//! What the ledger holds of a configured key's UTC day, beside what OpenRouter says of it; and the account's balance.
//!
//! OpenRouter is asked first and the ledger is summed afterwards, once it holds everything that was there when OpenRouter
//! answered: so a call in between makes the ledger's sum larger, and never looks like a call that went elsewhere.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use crate::clock::Clock;
use crate::config::DEFAULT_KEY_NAME;
use crate::domain::call::{Call, CallState};
use crate::domain::catalogue::Catalogue;
use crate::domain::comparison::{Balance, KeyDay, day_of};
use crate::domain::ids::KeyFingerprint;
use crate::domain::money::{Money, Total};
use crate::domain::time::{DAY_MS, Timestamp};
use crate::openrouter::{Client, ReadError};
use crate::store::comparisons::Charged;
use crate::store::{Store, StoreError, calls, comparisons};

/// Rows of unknown cost that are estimated one by one for one comparison; beyond it they count as waiting.
const MAX_ESTIMATED: u32 = 10_000;

/// How often a comparison is begun anew because a day ended in the middle of it.
const ATTEMPTS: u32 = 3;

/// How long after a midnight that fell between question and sum the question is asked again.
const AFTER_MIDNIGHT: Duration = Duration::from_secs(2);

/// Why a key could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// OpenRouter did not answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It answered, and did not tell the figure.
    #[error("OpenRouter did not tell what the key spent today")]
    NothingTold,
    /// The journal is not drained.
    #[error("the ledger is behind the journal; the comparison waits until it has caught up")]
    Behind,
    /// Midnight was always in the way, or the clocks differ by hours.
    #[error("it was not the same UTC day here and at OpenRouter; check this machine's clock")]
    OtherDay,
    /// A key that is none was configured as management key.
    #[error("openrouter.management_key is no management key; only one of those is told the balance")]
    NoManagementKey,
}

impl CompareError {
    /// The wait that OpenRouter asked for, if it asked for one.
    pub fn asked_wait(&self) -> Option<Duration> {
        match self {
            Self::Read(error) => error.asked_wait(),
            _ => None,
        }
    }
}

/// A configured key and its name.
pub type Named<'a> = (&'a str, &'a SecretString);

/// Compares one key; see [`compare_all`].
pub async fn compare<C: Future<Output = bool>>(
    client: &Client,
    store: &Store,
    catalogue: &Catalogue,
    key: Named<'_>,
    clock: &Clock,
    caught_up: impl Fn() -> C,
) -> Result<KeyDay, CompareError> {
    let compared = compare_all(client, store, catalogue, &[key], clock, caught_up).await?;
    compared.into_iter().next().unwrap_or(Err(CompareError::OtherDay))
}

/// Compares keys, each for the UTC day it is; what came of each stands where the key does. `caught_up` returns once the
/// ledger holds everything that was journalled before it was called, or says that it does not. The rows of the day are
/// looked at once for all keys: roll-ups know keys by their names, which may have been another key's this morning.
pub async fn compare_all<C: Future<Output = bool>>(
    client: &Client,
    store: &Store,
    catalogue: &Catalogue,
    keys: &[Named<'_>],
    clock: &Clock,
    caught_up: impl Fn() -> C,
) -> Result<Vec<Result<KeyDay, CompareError>>, CompareError> {
    let mut compared: Vec<Option<Result<KeyDay, CompareError>>> = keys.iter().map(|_| None).collect();
    for _ in 0..ATTEMPTS {
        let day = day_of(clock.now());
        let mut told = Vec::new();
        for (at, (_, key)) in keys.iter().enumerate() {
            if compared[at].is_none() {
                match ask(client, key, day).await {
                    Ok(Some(theirs)) => told.push((at, theirs)),
                    // The day ended meanwhile: asked again.
                    Ok(None) => {}
                    Err(error) => compared[at] = Some(Err(error)),
                }
            }
        }
        if !told.is_empty() {
            if !caught_up().await {
                return Err(CompareError::Behind);
            }
            let rows = Rows::of(store, day).await?;
            let as_of = clock.now();
            // A day that ended since was summed whole; OpenRouter told of it before its end.
            if day_of(as_of) == day {
                for (at, theirs) in told {
                    compared[at] = Some(Ok(rows.sum(catalogue, keys[at], theirs, as_of)));
                }
            }
        }
        if compared.iter().all(Option::is_some) {
            break;
        }
        clock.sleep(AFTER_MIDNIGHT).await;
    }
    Ok(compared.into_iter().map(|one| one.unwrap_or(Err(CompareError::OtherDay))).collect())
}

/// What OpenRouter counts for a key on `day`; `None` if it answered on another.
async fn ask(client: &Client, key: &SecretString, day: Timestamp) -> Result<Option<Money>, CompareError> {
    let info = client.key_info(key).await?;
    let theirs = info.usage_daily.ok_or(CompareError::NothingTold)?;
    Ok(info.answered_at.is_none_or(|at| day_of(at) == day).then_some(theirs))
}

/// What the ledger holds of a UTC day.
struct Rows {
    day: Timestamp,
    charged: Vec<Charged>,
    unknown: Vec<Call>,
}

impl Rows {
    async fn of(store: &Store, day: Timestamp) -> Result<Self, StoreError> {
        let until = day.plus_millis(DAY_MS);
        let (charged, unknown) =
            tokio::try_join!(comparisons::charged(store, day), calls::unknown(store, day, until, MAX_ESTIMATED))?;
        Ok(Self { day, charged, unknown })
    }

    fn sum(&self, catalogue: &Catalogue, (name, key): Named<'_>, theirs: Money, as_of: Timestamp) -> KeyDay {
        let fingerprint = KeyFingerprint::of(key.expose_secret());
        // As the settler reads them: rows that carry a name alone are that name's, rows that carry nothing the default key's.
        let is_ours = |sha256: Option<&str>, named: Option<&str>| match sha256 {
            Some(sha256) => sha256 == fingerprint.sha256,
            None => named.unwrap_or(DEFAULT_KEY_NAME) == name,
        };
        let mut found = KeyDay {
            key_name: name.to_owned(),
            key_sha256: fingerprint.sha256.clone(),
            day: self.day,
            ours: Money::ZERO,
            theirs,
            unknown: 0,
            estimate: Money::ZERO,
            waiting: 0,
            dearest: Money::ZERO,
            over_midnight: Money::ZERO,
            as_of,
        };
        for row in self.charged.iter().filter(|row| is_ours(row.key_sha256.as_deref(), row.key_name.as_deref())) {
            found.ours = found.ours.saturating_add(held(row.ours));
            found.over_midnight = found.over_midnight.saturating_add(held(row.over_midnight));
            found.dearest = found.dearest.max(row.dearest);
            found.waiting += row.open;
        }
        let whose = |call: &Call| {
            let key = call.key.as_ref();
            let sha256 = key.and_then(|key| key.fingerprint.as_ref()).map(|print| print.sha256.as_str());
            is_ours(sha256, key.map(|key| key.name.as_str()))
        };
        for call in self.unknown.iter().filter(|call| whose(call) && call.charged().is_none()) {
            found.unknown += 1;
            match catalogue.estimate(call) {
                Some(estimate) => found.estimate = found.estimate.saturating_add(estimate),
                // What was given up will not be known any more, so nothing waits for it.
                None => found.waiting += i64::from(call.state == CallState::Pending),
            }
        }
        found
    }
}

/// A day's sum as a row holds it: at most $9.2 million.
fn held(sum: Total) -> Money {
    let picos = sum.picos().clamp(i128::from(i64::MIN), i128::from(i64::MAX));
    Money::from_picos(i64::try_from(picos).unwrap_or(i64::MAX))
}

/// Asks what the account holds. The key must be a management key: an inference key is told zeros, not the truth.
pub async fn ask_balance(client: &Client, key: &SecretString) -> Result<Balance, CompareError> {
    if client.key_info(key).await?.is_management_key != Some(true) {
        return Err(CompareError::NoManagementKey);
    }
    Ok(client.credits(key).await?)
}
