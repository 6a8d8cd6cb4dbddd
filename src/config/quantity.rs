//! Durations and sizes as people write them: one whole number and one unit.

use std::time::Duration;

/// Units of a duration, in milliseconds, largest first.
const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 24 * 60 * 60 * 1000), ("h", 60 * 60 * 1000), ("m", 60 * 1000), ("s", 1000), ("ms", 1)];

/// Units of a size, in bytes, largest first.
const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads `72h`, `10m`, `5s`, `250ms`, `7d`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, &DURATION_UNITS).map(Duration::from_millis)
}

/// Writes a duration of whole milliseconds as [`parse_duration`] reads it.
pub(super) fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &DURATION_UNITS)
}

/// Reads `100B`, `512KiB`, `16MiB`, `1GiB` as bytes.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    parse(text, &SIZE_UNITS)
}

/// Writes bytes as [`parse_size`] reads them.
pub(super) fn show_size(bytes: u64) -> String {
    show(bytes, &SIZE_UNITS)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let unit = text[end..].trim_start();
    let &(_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    text[..end].parse::<u64>().ok()?.checked_mul(factor)
}

fn show(amount: u64, units: &[(&str, u64)]) -> String {
    let fitting = units.iter().find(|(_, factor)| amount >= *factor && amount.is_multiple_of(*factor));
    let &(unit, factor) = fitting.unwrap_or(&units[units.len() - 1]);
    format!("{}{unit}", amount / factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_people_write_is_read_and_nothing_else() {
        assert_eq!(parse_duration("72h"), Some(Duration::from_hours(72)));
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("10 m"), Some(Duration::from_mins(10)));
        assert_eq!(parse_size("16MiB"), Some(16 << 20));
        for text in ["", "5", "s", "-5s", "1.5h", "5 s s", "16M", "99999999999999999999d", "18446744073709551615d"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        for text in ["16MB", "16", "16mib", "16 MiB x"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_read(amount in any::<u64>()) {
            prop_assert_eq!(parse_size(&show_size(amount)), Some(amount));
            let duration = Duration::from_millis(amount);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
        }
    }
}
