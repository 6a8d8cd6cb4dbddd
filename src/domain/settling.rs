//! When a generation is read, and when it is given up (design: "Settle").
//!
//! Two ladders of waits: one for calls whose cost is unknown, one for calls whose reply named it. A
//! 404 means "not yet" and climbs; a reading that fails is repeated on the same rung.

use super::time::Timestamp;

/// Waits before each reading of a call whose cost is unknown, in milliseconds; the last repeats.
const UNKNOWN_MS: [i64; 9] = [1_000, 2_000, 5_000, 15_000, 30_000, 120_000, 600_000, 1_800_000, 3_600_000];

/// Waits before each reading of a call whose reply named a cost, in milliseconds; the last repeats.
const INLINE_MS: [i64; 7] = [10_000, 15_000, 30_000, 120_000, 600_000, 1_800_000, 3_600_000];

/// Longest wait before a failed reading is repeated, in milliseconds, unless `Retry-After` asks for more.
const FAILURE_CAP_MS: i64 = 30_000;

/// Longest `Retry-After` followed, in milliseconds: an hour, the longest wait of the ladders.
const RETRY_AFTER_CAP_MS: i64 = 3_600_000;

/// Equal zero readings of a paid, uncached, uncancelled call until zero is believed.
pub const ZERO_READINGS: i64 = 3;

/// Least time between two zero readings that count, in milliseconds.
pub const ZERO_GAP_MS: i64 = 10_000;

/// How long a row waits for a key that no running instance holds before it is `unsettled`: 30 days.
pub const KEY_NOT_HELD_MS: i64 = 30 * super::time::DAY_MS;

/// Where one call stands on its way to being settled; every field is a column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settling {
    /// When the next reading is due; `None` when none is planned (settled, given up, parked, or the call still runs).
    pub due: Option<Timestamp>,
    /// When settling began, from which giving up is counted.
    pub since: Option<Timestamp>,
    /// The rung of the ladder: readings that said "not yet".
    pub step: i64,
    /// Readings made, of every outcome.
    pub attempts: i64,
    /// Readings failed in a row (429, 5xx, garbage, timeout).
    pub failures: i64,
    /// Equal zero records read so far.
    pub zero_readings: i64,
    /// Why it waits, in words for people; `None` when nothing is wrong.
    pub reason: Option<String>,
}

impl Settling {
    /// Starts (or starts anew) at `now`.
    pub fn start(&mut self, now: Timestamp, cost_known: bool) {
        *self = Self { attempts: self.attempts, since: Some(now), ..Self::default() };
        self.due = Some(now.plus_millis(wait(0, cost_known)));
    }

    /// A reading is wanted at once: a caller asked again, or the key came back.
    pub fn resume(&mut self, now: Timestamp) {
        self.due = Some(now);
        self.since = self.since.or(Some(now));
        self.reason = None;
    }

    /// 404: not written yet. Returns whether the call is to be given up.
    pub fn not_yet(&mut self, now: Timestamp, cost_known: bool, give_up_after_ms: i64) -> bool {
        self.attempts += 1;
        self.failures = 0;
        self.step += 1;
        self.reason = None;
        self.plan(now, wait(self.step, cost_known), give_up_after_ms)
    }

    /// The reading failed; it is repeated on the same rung. Returns whether the call is to be given up.
    pub fn failed(
        &mut self,
        now: Timestamp,
        retry_after_ms: Option<i64>,
        reason: String,
        give_up_after_ms: i64,
    ) -> bool {
        self.attempts += 1;
        let backoff = (1_000_i64 << self.failures.clamp(0, 5)).min(FAILURE_CAP_MS);
        self.failures += 1;
        self.reason = Some(reason);
        let asked = retry_after_ms.unwrap_or(0).clamp(0, RETRY_AFTER_CAP_MS);
        self.plan(now, backoff.max(asked), give_up_after_ms)
    }

    /// A zero record that may not be final. Returns whether zero is now believed.
    pub fn zero_record(&mut self, now: Timestamp) -> bool {
        self.attempts += 1;
        self.failures = 0;
        self.zero_readings += 1;
        self.reason = Some("the record still shows no tokens and no cost".to_owned());
        self.due = Some(now.plus_millis(ZERO_GAP_MS));
        self.zero_readings >= ZERO_READINGS
    }

    /// No running instance holds the key that made the call: parked until one does.
    pub fn key_not_held(&mut self) {
        self.due = None;
        self.reason = Some(KEY_NOT_HELD.to_owned());
    }

    /// Nothing more is planned.
    pub fn finish(&mut self) {
        *self = Self { attempts: self.attempts, since: self.since, ..Self::default() };
    }

    fn plan(&mut self, now: Timestamp, wait_ms: i64, give_up_after_ms: i64) -> bool {
        let give_up_at = self.since.unwrap_or(now).plus_millis(give_up_after_ms);
        if now >= give_up_at {
            self.due = None;
            return true;
        }
        // The last reading is made when giving up is due, not an hour later.
        self.due = Some(now.plus_millis(wait_ms).min(give_up_at.max(now.plus_millis(1))));
        false
    }
}

/// The reason shown on a parked row; design.md names it.
pub const KEY_NOT_HELD: &str = "key not held";

fn wait(step: i64, cost_known: bool) -> i64 {
    let ladder: &[i64] = if cost_known { &INLINE_MS } else { &UNKNOWN_MS };
    let rung = usize::try_from(step).unwrap_or(0).min(ladder.len() - 1);
    ladder[rung]
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVE_UP: i64 = 72 * 3_600_000;

    fn waits(cost_known: bool, count: usize) -> Vec<i64> {
        let mut now = Timestamp(0);
        let mut settling = Settling::default();
        settling.start(now, cost_known);
        (0..count)
            .map(|_| {
                let due = settling.due.unwrap();
                let waited = due.millis() - now.millis();
                now = due;
                settling.not_yet(now, cost_known, GIVE_UP);
                waited / 1000
            })
            .collect()
    }

    #[test]
    fn the_ladders_are_the_contracts() {
        assert_eq!(waits(false, 10), [1, 2, 5, 15, 30, 120, 600, 1800, 3600, 3600]);
        assert_eq!(waits(true, 8), [10, 15, 30, 120, 600, 1800, 3600, 3600]);
    }

    #[test]
    fn a_failed_reading_stays_on_its_rung() {
        let mut settling = Settling::default();
        settling.start(Timestamp(0), false);
        let mut waits = Vec::new();
        for _ in 0..7 {
            settling.failed(Timestamp(0), None, "429".to_owned(), GIVE_UP);
            waits.push(settling.due.unwrap().millis() / 1000);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(settling.step, 0);
        settling.failed(Timestamp(0), Some(90_000), "429".to_owned(), GIVE_UP);
        assert_eq!(settling.due, Some(Timestamp(90_000)));
    }

    #[test]
    fn giving_up_comes_at_the_hour_and_not_after() {
        let mut settling = Settling::default();
        settling.start(Timestamp(0), false);
        let mut readings = 0;
        let last = loop {
            let now = settling.due.unwrap();
            readings += 1;
            if settling.not_yet(now, false, GIVE_UP) {
                break now;
            }
        };
        assert_eq!(last, Timestamp(GIVE_UP));
        assert!(readings > 70, "{readings}");
        assert_eq!(settling.due, None);
    }

    #[test]
    fn zero_is_believed_at_the_third_reading() {
        let mut settling = Settling::default();
        settling.start(Timestamp(0), false);
        assert!(!settling.zero_record(Timestamp(1_000)));
        assert_eq!(settling.due, Some(Timestamp(11_000)));
        assert!(!settling.zero_record(Timestamp(11_000)));
        assert!(settling.zero_record(Timestamp(21_000)));
    }
}
