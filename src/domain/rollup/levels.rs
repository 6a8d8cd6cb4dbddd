//! Cells of several widths, and which of them any stretch of time is put together from.
//!
//! A local day is a UTC day, more some hours at one end and less some at the other: with cells taken away as well as
//! added, few of them make up any stretch that begins and ends on a quarter of an hour.

use std::collections::BTreeMap;

use crate::domain::time::{BUCKET_MS, DAY_MS, Timestamp};

/// The last instant of which there are sums: the end of the year 9999, a day's start. Later calls are in none.
const END: Timestamp = Timestamp(253_402_300_800_000);

/// How wide a cell is. All begin on UTC midnight or a multiple of their width after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// 15 minutes, the finest step of any IANA zone's offset.
    Quarter,
    /// An hour.
    Hour,
    /// Six hours: what keeps days of zones far from UTC near to few cells.
    SixHours,
    /// A UTC day.
    Day,
}

impl Level {
    /// All, narrowest first; each is a whole number of those before it.
    pub const ALL: [Level; 4] = [Self::Quarter, Self::Hour, Self::SixHours, Self::Day];

    /// How wide, in minutes, as it is stored.
    pub const fn minutes(self) -> i64 {
        match self {
            Self::Quarter => 15,
            Self::Hour => 60,
            Self::SixHours => 360,
            Self::Day => 1440,
        }
    }

    /// Reads [`Level::minutes`].
    pub fn of_minutes(minutes: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.minutes() == minutes)
    }

    const fn width_ms(self) -> i64 {
        self.minutes() * 60_000
    }

    /// The start of the cell that holds this instant.
    #[must_use]
    pub const fn start(self, at: Timestamp) -> Timestamp {
        Timestamp(at.millis().saturating_sub(at.millis().rem_euclid(self.width_ms())))
    }

    /// The start of the cell that is nearest to this instant; of the two that lie around it where both are as near.
    fn nearest(self, at: Timestamp) -> (Timestamp, Timestamp) {
        let half = self.width_ms() / 2;
        (self.start(at.plus_millis(half - 1)), self.start(at.plus_millis(half)))
    }

    fn wider(self) -> Option<Self> {
        Self::ALL.into_iter().find(|level| *level > self)
    }
}

/// Cells that follow each other, and what they count in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// How wide they are.
    pub level: Level,
    /// Start of the first.
    pub from: Timestamp,
    /// End of the last.
    pub until: Timestamp,
    /// In which spans they are counted, by their places, and whether they are taken away there.
    pub counts: Vec<(usize, bool)>,
}

/// The cells that `spans` (since inclusive, until exclusive) are put together from, each named once; all ends are to lie on
/// quarters of an hour, or beyond the year 9999 or before 1970.
pub fn cover(spans: &[(Timestamp, Timestamp)]) -> Vec<Piece> {
    let mut pieces: BTreeMap<(Level, Timestamp, Timestamp), Vec<(usize, bool)>> = BTreeMap::new();
    for (place, (since, until)) in spans.iter().enumerate() {
        let (since, until) = ((*since).clamp(Timestamp(0), END), (*until).clamp(Timestamp(0), END));
        for part in Cover::of(Level::Quarter, since, until).parts {
            pieces.entry((part.level, part.from, part.until)).or_default().push((place, part.taken_away));
        }
    }
    let piece = |((level, from, until), counts)| Piece { level, from, until, counts };
    pieces.into_iter().map(piece).collect()
}

/// One span's cells.
#[derive(Default)]
struct Cover {
    parts: Vec<Part>,
    cells: i64,
}

struct Part {
    level: Level,
    from: Timestamp,
    until: Timestamp,
    taken_away: bool,
}

impl Cover {
    /// The fewest cells of `level` and wider.
    fn of(level: Level, since: Timestamp, until: Timestamp) -> Self {
        let mut best = Self::default();
        best.put(level, since, until);
        let Some(wider) = level.wider() else { return best };
        let (starts, ends) = (wider.nearest(since), wider.nearest(until));
        for (from, to) in [(starts.0, ends.0), (starts.0, ends.1), (starts.1, ends.0), (starts.1, ends.1)] {
            if from < to {
                let mut over = Self::of(wider, from, to);
                over.put(level, since, from);
                over.put(level, to, until);
                if over.cells < best.cells {
                    best = over;
                }
            }
            if starts.0 == starts.1 && ends.0 == ends.1 {
                break;
            }
        }
        best
    }

    /// Adds the cells from `since` until `until`, or takes away those from `until` until `since`.
    fn put(&mut self, level: Level, since: Timestamp, until: Timestamp) {
        let (from, until, taken_away) = if since <= until { (since, until, false) } else { (until, since, true) };
        if from < until {
            self.parts.push(Part { level, from, until, taken_away });
            self.cells += (until.millis() - from.millis()) / level.width_ms();
        }
    }
}

const _: () = assert!(Level::Quarter.width_ms() == BUCKET_MS && Level::Day.width_ms() == DAY_MS);

#[cfg(test)]
mod tests {
    use chrono::Days;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::zone;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    /// How often each quarter of an hour is counted in a span.
    fn counted(pieces: &[Piece], span: usize) -> BTreeMap<i64, i64> {
        let mut quarters = BTreeMap::new();
        for piece in pieces {
            let width = piece.level.width_ms();
            assert_eq!((piece.from.millis() % width, piece.until.millis() % width), (0, 0), "{piece:?}");
            for (_, taken_away) in piece.counts.iter().filter(|(place, _)| *place == span) {
                for quarter in piece.from.millis() / BUCKET_MS..piece.until.millis() / BUCKET_MS {
                    *quarters.entry(quarter).or_default() += if *taken_away { -1 } else { 1 };
                }
            }
        }
        quarters.retain(|_, count| *count != 0);
        quarters
    }

    fn cells(pieces: &[Piece]) -> i64 {
        pieces.iter().map(|piece| (piece.until.millis() - piece.from.millis()) / piece.level.width_ms()).sum()
    }

    #[test]
    fn a_year_of_local_days_is_few_cells_in_any_zone() {
        for (name, most) in [
            ("UTC", 365),
            ("Europe/Berlin", 365 * 3),
            ("America/Los_Angeles", 365 * 4),
            ("Asia/Kolkata", 365 * 4),
            ("Asia/Kathmandu", 365 * 3),
            ("Pacific/Auckland", 365 * 5),
            ("Pacific/Apia", 365 * 5),
        ] {
            let zone = zone::parse(name).unwrap();
            let date = at("2026-01-01T12:00:00Z").to_utc().date_naive();
            let start = |day| zone::first_of_date(zone, date.checked_add_days(Days::new(day)).unwrap());
            let spans: Vec<_> = (0..365).map(|day| (start(day), start(day + 1))).collect();
            let pieces = cover(&spans);
            assert!(cells(&pieces) <= most + 8, "{name}: {} cells", cells(&pieces));
            for place in [0, 87, 88, 200, 297, 298, 364] {
                let (since, until) = spans[place];
                let expected: BTreeMap<i64, i64> =
                    (since.millis() / BUCKET_MS..until.millis() / BUCKET_MS).map(|quarter| (quarter, 1)).collect();
                assert_eq!(counted(&pieces, place), expected, "{name}, day {place}");
            }
        }
    }

    #[test]
    fn all_of_time_is_the_days_there_are() {
        let pieces = cover(&[(Timestamp(i64::MIN), Timestamp(i64::MAX))]);
        let all = Piece { level: Level::Day, from: Timestamp(0), until: END, counts: vec![(0, false)] };
        assert_eq!(pieces, [all]);
        assert_eq!(cover(&[(END, END), (Timestamp(BUCKET_MS), Timestamp(BUCKET_MS))]), []);
    }

    #[test]
    fn widths_are_read_as_they_are_written() {
        for level in Level::ALL {
            assert_eq!(Level::of_minutes(level.minutes()), Some(level));
        }
        assert_eq!(Level::of_minutes(30), None);
    }

    proptest! {
        #[test]
        fn every_span_is_covered_exactly(from in 0_i64..3_000, lengths in prop::collection::vec(0_i64..1_500, 1..4)) {
            let mut since = from;
            let mut spans = Vec::new();
            for length in lengths {
                spans.push((Timestamp(since * BUCKET_MS), Timestamp((since + length) * BUCKET_MS)));
                since += length;
            }
            let pieces = cover(&spans);
            for (place, (since, until)) in spans.iter().enumerate() {
                let expected: BTreeMap<i64, i64> =
                    (since.millis() / BUCKET_MS..until.millis() / BUCKET_MS).map(|quarter| (quarter, 1)).collect();
                prop_assert_eq!(counted(&pieces, place), expected);
            }
            let quarters: i64 = spans.iter().map(|(since, until)| (until.millis() - since.millis()) / BUCKET_MS).sum();
            prop_assert!(cells(&pieces) <= quarters);
        }
    }
}
