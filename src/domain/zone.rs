//! Local time in an IANA zone: what its clock shows at an instant, and at which instant its clock shows a time.
//!
//! The zones' rules are those of the compiled-in tz database; nothing is asked of the machine.

use std::str::FromStr;

use chrono::{LocalResult, NaiveDate, NaiveDateTime, NaiveTime, Offset as _, SecondsFormat, TimeZone as _};
use chrono_tz::{GapInfo, TZ_VARIANTS, Tz};
use serde::{Deserialize as _, Deserializer, Serializer};

use super::time::{DAY_MS, Timestamp};

/// Why a text is not a zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not an IANA time zone; did you mean \"{nearest}\"?")]
pub struct ZoneError {
    text: String,
    nearest: &'static str,
}

/// Reads an IANA zone name such as `Europe/Berlin`; the error names the nearest real one.
pub fn parse(text: &str) -> Result<Tz, ZoneError> {
    Tz::from_str(text.trim()).map_err(|_| ZoneError { text: text.to_owned(), nearest: nearest(text) })
}

/// The zone whose whole name, or whose place alone (`Berlin`), is closest to `text`.
fn nearest(text: &str) -> &'static str {
    let wanted: String = text.chars().take(64).collect::<String>().to_ascii_lowercase();
    let distance = |name: &str| {
        let name = name.to_ascii_lowercase();
        let place = name.rsplit('/').next().unwrap_or_default();
        strsim::damerau_levenshtein(&wanted, &name).min(strsim::damerau_levenshtein(&wanted, place))
    };
    TZ_VARIANTS.iter().map(|zone| zone.name()).min_by_key(|name| distance(name)).unwrap_or("UTC")
}

/// Writes a zone as its IANA name; with [`deserialize`] for `#[serde(with = "zone")]`.
pub fn serialize<S: Serializer>(zone: &Tz, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(zone.name())
}

/// Reads a zone from its IANA name.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tz, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// The instant with the zone's offset, to the second: `2026-12-01T00:00:00+01:00`.
pub fn to_rfc3339(zone: Tz, at: Timestamp) -> String {
    at.to_utc().with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Secs, false)
}

/// How far the zone's clock is ahead of UTC at `at`, in milliseconds.
pub(super) fn offset_ms(zone: Tz, at: Timestamp) -> i64 {
    i64::from(zone.offset_from_utc_datetime(&at.to_utc().naive_utc()).fix().local_minus_utc()) * 1000
}

/// What the zone's clock shows at `at`.
pub(super) fn local_time(zone: Tz, at: Timestamp) -> NaiveDateTime {
    at.to_utc().with_timezone(&zone).naive_local()
}

/// The first instant at which the zone's clock shows `local`, or, where the clock skips it, the first after the gap.
pub fn first_showing(zone: Tz, local: NaiveDateTime) -> Timestamp {
    let found = match zone.from_local_datetime(&local) {
        LocalResult::Single(at) => Some(at),
        LocalResult::Ambiguous(one, other) => Some(one.min(other)),
        LocalResult::None => GapInfo::new(&local, &zone).and_then(|gap| gap.end),
    };
    // Every local time is shown, shown twice or skipped; UTC is what is left if the tz database ever says otherwise.
    found.map_or_else(|| local.and_utc().into(), |at| at.to_utc().into())
}

/// The first instant of a local date: the date's midnight, or the end of the gap that skips it.
pub fn first_of_date(zone: Tz, date: NaiveDate) -> Timestamp {
    first_showing(zone, date.and_time(NaiveTime::MIN))
}

/// The first instant in (`after`, `until`] at which the zone's offset changes, if there is one.
///
/// Looks once a day: an offset that changes and changes back within a day goes unseen; no zone ever did that.
pub(super) fn next_change(zone: Tz, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
    let offset = offset_ms(zone, after);
    let mut same = after;
    while same < until {
        let mut changed = same.plus_millis(DAY_MS).min(until);
        if offset_ms(zone, changed) == offset {
            same = changed;
            continue;
        }
        while changed.millis() - same.millis() > 1 {
            let middle = same.plus_millis((changed.millis() - same.millis()) / 2);
            if offset_ms(zone, middle) == offset {
                same = middle;
            } else {
                changed = middle;
            }
        }
        return Some(changed);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_wrong_zone_is_told_the_nearest() {
        assert_eq!(parse(" Europe/Berlin "), Ok(Tz::Europe__Berlin));
        let told = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(told("Berlin"), "\"Berlin\" is not an IANA time zone; did you mean \"Europe/Berlin\"?");
        assert!(told("Europe/Berln").contains("\"Europe/Berlin\""));
        assert!(told("america/new york").contains("\"America/New_York\""));
    }

    #[test]
    fn a_time_that_is_skipped_is_shown_after_the_gap_and_a_doubled_one_first() {
        let local = |text: &str| text.parse::<NaiveDateTime>().unwrap();
        let berlin = Tz::Europe__Berlin;
        assert_eq!(first_showing(berlin, local("2026-03-29T02:30:00")), at("2026-03-29T01:00:00Z"));
        assert_eq!(first_showing(berlin, local("2026-10-25T02:30:00")), at("2026-10-25T00:30:00Z"));
        // Samoa went over the date line and had no 30 December 2011.
        let skipped = NaiveDate::from_ymd_opt(2011, 12, 30).unwrap();
        assert_eq!(first_of_date(Tz::Pacific__Apia, skipped), at("2011-12-30T10:00:00Z"));
    }

    #[test]
    fn the_next_change_of_the_clock_is_found_to_the_millisecond() {
        let berlin = Tz::Europe__Berlin;
        let change = at("2026-10-25T01:00:00Z");
        assert_eq!(next_change(berlin, at("2026-06-01T12:34:56Z"), at("2027-01-01T00:00:00Z")), Some(change));
        assert_eq!(next_change(berlin, at("2026-06-01T00:00:00Z"), change), Some(change));
        assert_eq!(next_change(berlin, change, at("2027-03-01T00:00:00Z")), None);
        assert_eq!(next_change(berlin, at("2026-06-01T00:00:00Z"), change.plus_millis(-1)), None);
    }

    #[test]
    fn an_instant_is_written_with_the_zones_offset() {
        assert_eq!(to_rfc3339(Tz::Europe__Berlin, at("2026-11-30T23:00:00Z")), "2026-12-01T00:00:00+01:00");
    }
}
