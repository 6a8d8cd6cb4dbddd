//! Draws this daemon's shares from the database, and gives back what it does not need.
//!
//! A round measures shares under the turn to write: what is spent, what rows hold back, what the other daemons have.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::grants::{Found, RENEW, Share};
use super::reserve::Place;
use super::sharing::held;
use super::{Book, CallChange, Reserves, State};
use crate::clock::Clock;
use crate::domain::grant::Account;
use crate::domain::money::{Money, Total};
use crate::domain::time::Timestamp;
use crate::domain::window::Window;
use crate::store::grants::{AccountKey, Measured};
use crate::store::{self, Store, StoreError};

/// How long a share lasts that is not measured anew: so long what a dead daemon had to spare is nobody's.
const LIFE: Duration = Duration::from_secs(10);

/// So much earlier its own daemon takes it for lapsed.
const MARGIN: Duration = Duration::from_secs(1);

/// How long a round may take before the database counts as away.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often it is looked whether others ask for what there is to spare here, and for what they gave back.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often the database is tried while it is away.
const RETRY: Duration = Duration::from_secs(1);

/// For so long nobody takes ahead of an account that another waits for, in milliseconds.
const WANTED_MS: i64 = 5_000;

/// How often lapsed shares of daemons that are gone are cleared away, in milliseconds.
const CLEAR_MS: i64 = 600_000;

/// An account that a round measures.
struct Wanted {
    place: Place,
    key: AccountKey,
    /// Its window, and the limit of it, as they are known here.
    window: Window,
    limit: Money,
}

/// One time of measuring.
struct Round {
    number: u64,
    board: u64,
    accounts: Vec<Wanted>,
}

/// Draws this daemon's shares and gives them back.
pub struct Keeper {
    /// The database.
    pub store: Store,
    /// Where the shares are used.
    pub book: Arc<Book>,
    /// Whose shares they are: the journal's ID.
    pub daemon: String,
    /// Time.
    pub clock: Clock,
}

impl Keeper {
    /// Forgets what a life before had; to be called once the ledger has its journal, before anything is admitted.
    pub async fn begin(&self) -> Result<(), StoreError> {
        self.book.share();
        self.clear().await
    }

    /// Gives everything back; to be called when nothing is under way any more.
    pub async fn clear(&self) -> Result<(), StoreError> {
        let mut tx = self.store.write().await?;
        let now = store::grants::clock(&mut tx).await?;
        store::grants::clear(&mut tx, &self.daemon, now.plus_millis(-CLEAR_MS)).await?;
        tx.commit().await
    }

    /// Runs until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut cleared: Option<Timestamp> = None;
        loop {
            let rest = self.book.rest();
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.book.asked.notified() => {}
                () = self.clock.sleep(rest) => {}
            }
            let back = if self.book.has_shares() {
                let asked = self.clock.timeout(PATIENCE, store::grants::asked_back(&self.store, &self.daemon)).await;
                // A database that is away is told by the round.
                asked.and_then(Result::ok).unwrap_or_default()
            } else {
                Vec::new()
            };
            let Some(round) = self.book.begin_round(self.clock.now(), self.clock.elapsed(), &back) else { continue };
            let outcome = self.clock.timeout(PATIENCE, self.round(&round, &mut cleared)).await;
            let failed = match &outcome {
                Some(Ok(())) => None,
                Some(Err(error)) => Some(error.to_string()),
                None => Some(format!("no answer within {} s", PATIENCE.as_secs())),
            };
            let changed = self.book.end_round(&round, failed.is_some());
            match failed {
                Some(error) if changed => {
                    tracing::warn!(%error, "shares of blocking budgets can not be drawn; calls beyond them go as on_ledger_failure says");
                }
                None if changed => tracing::info!("shares of blocking budgets can be drawn again"),
                _ => {}
            }
            if let Some(Err(_)) | None = outcome {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.clock.sleep(RETRY) => {}
                }
            }
        }
    }

    /// Measures the shares of a round.
    async fn round(&self, round: &Round, cleared: &mut Option<Timestamp>) -> Result<(), StoreError> {
        // Between the writer's commits and what the book knows of them.
        let turn = self.book.turn().await;
        if turn.is_unsure {
            return Err(StoreError::ConnectionLost(
                "whether the last transaction went through is not known".to_owned(),
            ));
        }
        let mut tx = self.store.write().await?;
        store::turns::take(&mut tx).await?;
        let elapsed = self.clock.elapsed();
        let at = store::grants::clock(&mut tx).await?;
        let keys: Vec<AccountKey> = round.accounts.iter().map(|wanted| wanted.key.clone()).collect();
        let shares = store::grants::of(&mut tx, &keys).await?;
        let stood = store::budgets::stood(&mut tx).await?;
        let of_values = store::grants::spent(&mut tx, &keys).await?;
        let of_values: HashMap<(&str, &str), Total> =
            of_values.iter().map(|(budget, value, spent)| ((&**budget, &**value), *spent)).collect();
        let reserves = self.book.reserves_of(&held(&mut tx).await?);
        let mut founds = Vec::with_capacity(round.accounts.len());
        for wanted in &round.accounts {
            let (budget, value) = &wanted.key;
            let stood = stood.get(budget.as_str()).filter(|stood| stood.window_start == wanted.window.start);
            let (spent, limit) = match stood {
                Some(stood) if value.is_empty() => (stood.spent.cost, stood.limit),
                Some(stood) => {
                    (of_values.get(&(budget.as_str(), &**value)).copied().unwrap_or(Total::ZERO), stood.limit)
                }
                // Nobody has turned to this window yet.
                None => {
                    let Window { start, end } = wanted.window;
                    let spent = store::budgets::spent_of(&mut tx, budget, value, start, end).await?;
                    (spent.cost, wanted.limit)
                }
            };
            let alive = |share: &&store::grants::Share| {
                share.budget == budget.as_str()
                    && *share.value == **value
                    && share.daemon != self.daemon
                    && share.expires > at
            };
            let others: Vec<&store::grants::Share> = shares.iter().filter(alive).collect();
            let having = others.iter().filter(|share| share.granted > Money::ZERO);
            let wanted_since = at.plus_millis(-WANTED_MS);
            founds.push(Measuring {
                found: Found {
                    round: round.number,
                    at,
                    account: Account {
                        limit: limit.into(),
                        spent,
                        held: reserves.since(wanted.place.0, value, wanted.window.start),
                        others: others.iter().map(|share| Total::from(share.granted)).sum(),
                        in_use: Total::ZERO,
                    },
                    others_since: having.map(|share| share.updated).min(),
                },
                is_wanted: others.iter().any(|share| share.wanted.is_some_and(|since| since >= wanted_since)),
            });
        }
        let expires = at.plus_millis(i64::try_from(LIFE.as_millis()).unwrap_or(i64::MAX));
        let until = elapsed + LIFE.saturating_sub(MARGIN);
        let Some(drawn) = self.book.measure(round, founds, elapsed) else {
            // The budgets are others since: the next round asks for these.
            return tx.rollback().await;
        };
        let keeps = |drawn: &&Drawn| drawn.granted > Total::ZERO || drawn.wanted.is_some();
        let measured: Vec<Measured> = drawn
            .iter()
            .filter(keeps)
            .map(|drawn| Measured::new(&drawn.key, drawn.granted, at, expires, drawn.wanted))
            .collect();
        let dropped: Vec<AccountKey> =
            drawn.iter().filter(|drawn| !keeps(drawn)).map(|drawn| drawn.key.clone()).collect();
        store::grants::set(&mut tx, &self.daemon, &measured).await?;
        store::grants::drop(&mut tx, &self.daemon, &dropped).await?;
        if cleared.is_none_or(|last| at.millis() - last.millis() >= CLEAR_MS) {
            *cleared = Some(at);
            store::grants::clear(&mut tx, "", at.plus_millis(-CLEAR_MS)).await?;
        }
        tx.commit().await?;
        self.book.grant(round, &drawn, until);
        drop(turn);
        Ok(())
    }
}

/// What a round found of an account.
struct Measuring {
    found: Found,
    /// Another daemon waits for what is left of it.
    is_wanted: bool,
}

/// What a round makes of a share.
struct Drawn {
    place: Place,
    key: AccountKey,
    start: Timestamp,
    granted: Total,
    wanted: Option<Timestamp>,
}

impl Book {
    /// What these rows hold back.
    fn reserves_of(&self, rows: &[CallChange]) -> Reserves {
        let board = self.board.load();
        let state = self.state();
        let mut reserves = Reserves::of(state.budgets.len());
        for change in rows {
            let Some(hold) = &change.held else { continue };
            let mut places = board.places(&change.asker.subject());
            places.retain(|(budget, _)| *budget < state.budgets.len());
            super::resolve(&state.budgets, &mut places);
            reserves.add(&places, hold);
        }
        reserves
    }

    /// The accounts to be measured now; `back` are those whose share others ask for. `None`: there are none.
    fn begin_round(&self, now: Timestamp, elapsed: Duration, back: &[(String, String)]) -> Option<Round> {
        let mut state = self.state();
        let State { board, budgets, grants, .. } = &mut *state;
        let grants = grants.as_mut()?;
        let mut accounts = Vec::new();
        for (place, share) in &grants.shares {
            let Some(standings) = budgets.get(place.0) else { continue };
            let standing = standings.standing(&place.1);
            let key: AccountKey = (standing.budget.name.clone(), Arc::clone(&place.1));
            let is_asked = || back.iter().any(|(budget, value)| budget == key.0.as_str() && **value == *key.1);
            if share.is_due(elapsed) || is_asked() {
                let window = Window { start: standing.start_at(now), end: standing.end_at(now) };
                accounts.push(Wanted { place: place.clone(), key, window, limit: standing.limit_at(now) });
            }
        }
        if accounts.is_empty() && !grants.cut_off && !std::mem::take(&mut grants.asks_again) {
            return None;
        }
        grants.rounds += 1;
        Some(Round { number: grants.rounds, board: *board, accounts })
    }

    /// Ends a round: calls that wait for it look again.
    fn end_round(&self, round: &Round, failed: bool) -> bool {
        let changed = {
            let mut state = self.state();
            state.grants.as_mut().is_some_and(|grants| std::mem::replace(&mut grants.cut_off, failed) != failed)
        };
        self.rounds.send_replace(round.number);
        changed
    }

    /// How long the keeper may sleep.
    fn rest(&self) -> Duration {
        let state = self.state();
        let Some(grants) = &state.grants else { return RENEW };
        if grants.cut_off {
            return RETRY;
        }
        let watches = |share: &Share| !share.waiting.is_empty() || share.granted > Total::ZERO;
        if grants.shares.values().any(watches) { LOOK_EVERY } else { RENEW }
    }

    /// Whether this daemon has any share, so that others may ask for it.
    fn has_shares(&self) -> bool {
        let state = self.state();
        state.grants.as_ref().is_some_and(|grants| grants.shares.values().any(|share| share.granted > Total::ZERO))
    }

    /// Decides how large shares are; what becomes smaller is so at once, before the database says so. `None`: the budgets
    /// are others than when the round began.
    fn measure(&self, round: &Round, founds: Vec<Measuring>, elapsed: Duration) -> Option<Vec<Drawn>> {
        let mut state = self.state();
        if state.board != round.board {
            return None;
        }
        let grants = state.grants.as_mut()?;
        let mut all = Vec::with_capacity(founds.len());
        for (wanted, Measuring { mut found, is_wanted }) in round.accounts.iter().zip(founds) {
            let share = grants.shares.entry(wanted.place.clone()).or_default();
            let ahead = share.ahead(elapsed);
            found.account.in_use = share.in_use;
            let granted = found.account.share(&share.waiting, if is_wanted { Total::ZERO } else { ahead });
            share.granted = share.granted.min(granted);
            share.found = Some(found);
            let lacks = found.account.left() < share.waiting.sum() && found.others_since.is_some();
            all.push(Drawn {
                place: wanted.place.clone(),
                key: wanted.key.clone(),
                start: wanted.window.start,
                granted,
                wanted: lacks.then_some(found.at),
            });
        }
        Some(all)
    }

    /// The database has the shares as they were decided.
    fn grant(&self, round: &Round, drawn: &[Drawn], until: Duration) {
        let mut state = self.state();
        if state.board != round.board {
            return;
        }
        let Some(grants) = state.grants.as_mut() else { return };
        for drawn in drawn {
            if let Some(share) = grants.shares.get_mut(&drawn.place) {
                share.grant(drawn.granted, drawn.start, until);
            }
        }
        grants.shares.retain(|_, share| {
            share.granted > Total::ZERO
                || share.in_use > Total::ZERO
                || !share.waiting.is_empty()
                || share.found.is_some_and(|found| found.round >= round.number)
        });
    }
}
