//! How fast records are read: an even rate over all keys, and pauses of single keys that were told to slow down.
//!
//! Pure: it is told the clock's elapsed time and says when; it never waits.

use std::collections::HashMap;
use std::time::Duration;

/// First and longest pause of a key that was told to slow down without being told for how long.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LAST: Duration = Duration::from_secs(30);

/// Longest pause a key is asked for and takes.
const ASKED_LAST: Duration = Duration::from_hours(1);

/// How far ahead of their beginning readings are taken on.
const AHEAD: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Pace {
    /// Least time between the beginnings of two readings.
    interval: Duration,
    /// When the next reading may begin.
    next: Duration,
    /// By the key's SHA-256; no more than the keys held.
    pauses: HashMap<String, Pause>,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Duration,
    /// Pauses in a row, of which each is twice as long as the one before.
    strikes: u32,
}

impl Pace {
    pub(super) fn new(rate_per_second: u32) -> Self {
        Self { interval: Duration::from_secs(1) / rate_per_second.max(1), next: Duration::ZERO, pauses: HashMap::new() }
    }

    /// When the next reading may begin; not later than `now` if it may at once.
    pub(super) fn next(&self) -> Duration {
        self.next
    }

    /// A reading begins at `now`.
    pub(super) fn begin(&mut self, now: Duration) {
        self.next = self.next.max(now) + self.interval;
    }

    /// How many readings may begin within the next second.
    pub(super) fn room(&self, now: Duration) -> usize {
        let Some(left) = (now + AHEAD).checked_sub(self.next.max(now)) else { return 0 };
        let slots = left.as_nanos() / self.interval.as_nanos().max(1) + 1;
        usize::try_from(slots).unwrap_or(usize::MAX)
    }

    /// The key was told to slow down, for as long as `asked` if it was told how long.
    pub(super) fn slow(&mut self, key: &str, now: Duration, asked: Option<Duration>) {
        let pause = self.pauses.entry(key.to_owned()).or_insert(Pause { until: now, strikes: 0 });
        if now >= pause.until {
            // Readings that were under way together are one strike.
            pause.strikes += 1;
        }
        let backoff = PAUSE_FIRST.saturating_mul(1 << pause.strikes.saturating_sub(1).min(5)).min(PAUSE_LAST);
        pause.until = pause.until.max(now + backoff.max(asked.unwrap_or_default().min(ASKED_LAST)));
    }

    /// The key was answered.
    pub(super) fn well(&mut self, key: &str, now: Duration) {
        if self.pauses.get(key).is_some_and(|pause| now >= pause.until) {
            self.pauses.remove(key);
        }
    }

    pub(super) fn is_paused(&self, key: &str, now: Duration) -> bool {
        self.pauses.get(key).is_some_and(|pause| now < pause.until)
    }

    /// When the first of the keys paused at `now` may be used again.
    pub(super) fn resumes(&self, now: Duration) -> Option<Duration> {
        self.pauses.values().map(|pause| pause.until).filter(|until| *until > now).min()
    }

    /// Forgets keys that are not held any more.
    pub(super) fn retain(&mut self, held: impl Fn(&str) -> bool) {
        self.pauses.retain(|key, _| held(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn readings_begin_evenly_and_an_idle_while_saves_up_nothing() {
        let mut pace = Pace::new(20);
        let mut now = ms(10_000);
        let mut begun = Vec::new();
        for _ in 0..40 {
            now = now.max(pace.next());
            begun.push(now);
            pace.begin(now);
        }
        for second in begun.windows(21) {
            assert!(second[0] + ms(1_000) <= second[20], "{second:?}");
        }
    }

    #[test]
    fn no_more_is_taken_on_than_begins_within_a_second() {
        let mut pace = Pace::new(4);
        assert_eq!(pace.room(ms(0)), 5);
        for _ in 0..5 {
            pace.begin(ms(0));
        }
        assert_eq!(pace.room(ms(0)), 0);
        assert_eq!(pace.room(ms(500)), 2);
        assert_eq!(Pace::new(1).room(ms(0)), 2);
    }

    #[test]
    fn a_key_told_to_slow_down_pauses_longer_each_time_and_the_others_go_on() {
        let mut pace = Pace::new(20);
        let mut now = ms(0);
        let mut waits = Vec::new();
        for _ in 0..7 {
            pace.slow("a", now, None);
            pace.slow("a", now, None);
            let until = pace.resumes(now).unwrap();
            waits.push(until.abs_diff(now).as_secs());
            assert!(pace.is_paused("a", now) && !pace.is_paused("b", now));
            now = until;
            assert!(!pace.is_paused("a", now));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        pace.well("a", now);
        pace.slow("a", now, Some(ms(90_000)));
        pace.well("a", now);
        assert_eq!(pace.resumes(now), Some(now + ms(90_000)));
        pace.retain(|_| false);
        assert_eq!(pace.resumes(now), None);
    }
}
