//! Draws this daemon's shares from the database, gives back what it does not need, and lets calls wait for more.
//!
//! A round measures shares under the turn to write: what is spent, what rows hold back, what the other daemons have. A call
//! that finds no room in its share waits for a round; where that finds none either, the others are asked for what they
//! have to spare, and only when each of them has been measured since, or its share has lapsed, the call is refused.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::grants::{Found, RENEW, Share};
use super::reserve::Place;
use super::{Book, CallChange, Exceeded, Reservation, Reserves, State, Wish};
use crate::clock::Clock;
use crate::domain::catalogue::Catalogue;
use crate::domain::grant::Account;
use crate::domain::money::{Money, Total};
use crate::domain::time::Timestamp;
use crate::domain::window::Window;
use crate::store::calls::Cursor;
use crate::store::grants::{AccountKey, Measured};
use crate::store::{self, Store, StoreError, Tx};

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

/// How long a call waits at most: others' shares have lapsed by then.
const WAIT: Duration = Duration::from_secs(15);

/// For so long nobody takes ahead of an account that another waits for, in milliseconds.
const WANTED_MS: i64 = 5_000;

/// How often lapsed shares of daemons that are gone are cleared away, in milliseconds.
const CLEAR_MS: i64 = 600_000;

/// Rows for which something is held back that are read at once.
const HELD_PAGE: u32 = 2_000;

/// What is to be held back for rows whose cost is to become known.
pub async fn held(tx: &mut Tx) -> Result<Vec<CallChange>, StoreError> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = store::calls::held(tx, cursor, HELD_PAGE).await?;
        let Some(last) = page.last() else { return Ok(all) };
        cursor = Some(Cursor::after(last));
        all.extend(page.iter().filter_map(CallChange::found));
    }
}

/// Why a call is not admitted after it waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It does not fit.
    Exceeded(Box<Exceeded>),
    /// This daemon's share has no room for it: more is to be drawn first ([`Book::draw`]).
    Lacking,
    /// The share is spent, and the database that gives more can not be reached.
    CutOff,
}

/// A call that finds no room in a share.
#[derive(Debug)]
pub(super) struct Lacking {
    pub(super) board: u64,
    pub(super) places: Vec<Place>,
    pub(super) estimate: Money,
}

/// What a call that waits adds to what is asked for; taken back when it is dropped.
struct Waiting {
    book: Arc<Book>,
    lacking: Lacking,
    /// The last round that had begun before.
    round: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.book.state();
        if state.board != self.lacking.board {
            return;
        }
        let Some(grants) = &mut state.grants else { return };
        for place in &self.lacking.places {
            if let Some(share) = grants.shares.get_mut(place) {
                share.waiting -= self.lacking.estimate.into();
            }
        }
    }
}

impl Book {
    /// From now on this daemon admits from its share of what is left, which a [`Keeper`] draws.
    pub fn share(&self) {
        self.state().grants.get_or_insert_default();
        self.shared.store(true, Ordering::Relaxed);
    }

    /// Admits a call once this daemon's share has room for it, or says that no daemon has.
    pub async fn draw(
        self: &Arc<Self>,
        wish: &Wish<'_>,
        catalogue: &Catalogue,
        clock: &Clock,
    ) -> Result<Option<Reservation>, Denied> {
        let until = clock.elapsed() + WAIT;
        let mut rounds = self.rounds.subscribe();
        let mut asked: HashMap<Place, Timestamp> = HashMap::new();
        // Kept until what its round found has been looked at.
        let mut waiting: Option<Waiting> = None;
        loop {
            let (now, elapsed) = (clock.now(), clock.elapsed());
            let lacking = match self.take_from_share(wish, catalogue, now, elapsed) {
                Ok(reservation) => return Ok(reservation),
                Err(lacking) => lacking,
            };
            let begun = waiting.as_ref().map(|waiting| waiting.round);
            let next = self.wait(lacking, begun, &mut asked, elapsed >= until)?;
            waiting = Some(next);
            self.asked.notify_one();
            let seen = waiting.as_ref().map_or(0, |waiting| waiting.round);
            let done = clock.timeout(until.saturating_sub(elapsed), rounds.wait_for(|done| *done > seen)).await;
            if !matches!(done, Some(Ok(_))) {
                // No round came in time, or none will, as the daemon ends.
                return Err(Denied::CutOff);
            }
        }
    }

    /// Adds a call to those that wait for the next round, unless what the rounds after `begun` found refuses it.
    fn wait(
        self: &Arc<Self>,
        lacking: Lacking,
        begun: Option<u64>,
        asked: &mut HashMap<Place, Timestamp>,
        too_late: bool,
    ) -> Result<Waiting, Denied> {
        let mut state = self.state();
        let is_same = state.board == lacking.board;
        if let Some(begun) = begun.filter(|_| is_same)
            && let Some(refusing) = state.refused(&lacking, asked, begun)
        {
            return Err(Denied::Exceeded(Box::new(refusing)));
        }
        let Some(grants) = state.grants.as_mut().filter(|grants| !grants.cut_off && !too_late) else {
            return Err(Denied::CutOff);
        };
        // Where the budgets are others by now, it waits for a round to be asked anew by the new ones.
        for place in lacking.places.iter().filter(|_| is_same) {
            grants.shares.entry(place.clone()).or_default().waiting += lacking.estimate.into();
        }
        grants.asks_again |= !is_same;
        Ok(Waiting { book: Arc::clone(self), round: grants.rounds, lacking })
    }

    /// The estimates of calls that are in no row up to now and are in these, by account.
    pub(crate) fn first_written(&self, calls: &[CallChange]) -> Vec<(AccountKey, Total)> {
        let state = self.state();
        if state.grants.is_none() {
            return Vec::new();
        }
        let mut written: HashMap<&Place, Total> = HashMap::new();
        for change in calls {
            let Some(held) = state.held.get(&change.call_id).filter(|held| !held.written) else { continue };
            for place in &held.places {
                *written.entry(place).or_insert(Total::ZERO) += held.hold.estimate.into();
            }
        }
        written.into_iter().map(|(place, sum)| (state.key(place), sum)).collect()
    }

    /// What rows hold back, as it stands in `held`.
    fn reserves_of(&self, held: &[CallChange]) -> Reserves {
        let board = self.board.load();
        let state = self.state();
        let mut reserves = Reserves::of(state.budgets.len());
        for change in held {
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
        let watches = |share: &Share| share.waiting > Total::ZERO || share.granted > Total::ZERO;
        if grants.shares.values().any(watches) { LOOK_EVERY } else { RENEW }
    }

    /// Whether this daemon has any share, so that others may ask for it.
    fn has_shares(&self) -> bool {
        let state = self.state();
        state.grants.as_ref().is_some_and(|grants| grants.shares.values().any(|share| share.granted > Total::ZERO))
    }
}

impl State {
    pub(super) fn key(&self, (budget, value): &Place) -> AccountKey {
        (self.budgets[*budget].common.budget.name.clone(), Arc::clone(value))
    }

    /// Why a call that waited for a round is refused; `None`: it fits, or may yet. `asked` keeps when it first asked for
    /// what each account has.
    fn refused(&self, lacking: &Lacking, asked: &mut HashMap<Place, Timestamp>, round: u64) -> Option<Exceeded> {
        let grants = self.grants.as_ref().filter(|grants| grants.rounds > round)?;
        let estimate = Total::from(lacking.estimate);
        let mut refusing: Option<Exceeded> = None;
        let mut last = None;
        for place in &lacking.places {
            let Some(share) = grants.shares.get(place) else { continue };
            let Some(found) = share.found.filter(|found| found.round > round) else { continue };
            let limit = Money::from_picos(i64::try_from(found.account.limit.picos()).unwrap_or(i64::MAX));
            let asked = *asked.entry(place.clone()).or_insert(found.at);
            if !found.refuses(share.in_use, estimate, asked) {
                continue;
            }
            let standing = self.budgets[place.0].standing(&place.1);
            let resets = standing.resets_at().map_or(i64::MAX, Timestamp::millis);
            if last.is_none_or(|last| resets > last) {
                last = Some(resets);
                let Account { spent, held, others, .. } = found.account;
                let reserved = held + others + share.in_use;
                refusing = Some(Exceeded::of(standing, &place.1, (limit, spent, reserved), lacking.estimate));
            }
        }
        refusing
    }
}

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
            let granted = found.account.share(share.waiting, if is_wanted { Total::ZERO } else { ahead });
            share.granted = share.granted.min(granted);
            share.found = Some(found);
            let lacks = found.account.left() < share.waiting && found.others_since.is_some();
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
                || share.waiting > Total::ZERO
                || share.found.is_some_and(|found| found.round >= round.number)
        });
    }

    /// Nothing is under way between the writer's commit and what the book knows of it while this is held.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, Turn> {
        self.turn.lock().await
    }
}

/// What the writer and the keeper take turns at.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Whether it is not known if the writer's last transaction went through.
    pub(crate) is_unsure: bool,
}
