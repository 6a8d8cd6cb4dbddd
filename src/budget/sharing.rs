//! Lets calls wait for a larger share of a budget that other daemons spend too.
//!
//! A call that finds no room in its daemon's share waits for a round of the [`super::keeper`]; where that finds none either,
//! the others are asked for what they have to spare, and only when each of them has been measured since, or its share has
//! lapsed, the call is refused.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::reserve::Place;
use super::{Book, CallChange, Exceeded, Reservation, State, Wish};
use crate::clock::Clock;
use crate::domain::catalogue::Catalogue;
use crate::domain::grant::Account;
use crate::domain::money::{Money, Total};
use crate::domain::time::Timestamp;
use crate::store::calls::Cursor;
use crate::store::grants::AccountKey;
use crate::store::{self, StoreError, Tx};

/// How long a call waits at most: others' shares have lapsed by then.
const WAIT: Duration = Duration::from_secs(15);

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
                share.waiting.remove(self.lacking.estimate.into());
            }
        }
    }
}

impl Book {
    /// From now on this daemon admits from its share of what is left, which a [`super::keeper::Keeper`] draws.
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
            grants.shares.entry(place.clone()).or_default().waiting.add(lacking.estimate.into());
        }
        grants.asks_again |= !is_same;
        Ok(Waiting { book: Arc::clone(self), round: grants.rounds, lacking })
    }

    /// Nothing is under way between the writer's commit and what the book knows of it while this is held.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, Turn> {
        self.turn.lock().await
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

/// What the writer and the keeper take turns at.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Whether it is not known if the writer's last transaction went through.
    pub(crate) is_unsure: bool,
}
