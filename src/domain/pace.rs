//! The plain pace of a window: where it ends if spend goes on as it went so far. Integers throughout.

use super::money::{Money, Total};
use super::time::Timestamp;
use super::window::{Window, WindowKind};

/// The share of a window, in basis points, that must have gone before a pace is told: 2 %. Earlier, one call decides it.
pub const SHORTEST_SHARE: i64 = 200;

/// Where a window is heading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// What will have been spent at the window's end, rounded half up to the pico-dollar.
    pub projected: Total,
    /// When the limit is reached, rounded up to the millisecond; `None` when it is reached already, or not before the window ends.
    pub reaches_limit_at: Option<Timestamp>,
}

/// The pace at `now` of `spent` in `window`, against `limit`.
///
/// `None` for rolling windows and `total`, which have no end to head for, once the window has
/// ended, and before [`SHORTEST_SHARE`] of it has gone.
pub fn pace(kind: WindowKind, window: &Window, spent: Total, limit: Money, now: Timestamp) -> Option<Pace> {
    let end = window.end.filter(|end| now < *end && !kind.is_rolling())?;
    if window.elapsed_share(now)? < SHORTEST_SHARE {
        return None;
    }
    let gone = i128::from(now.millis()) - i128::from(window.start.millis());
    let length = i128::from(end.millis()) - i128::from(window.start.millis());
    let projected = (2 * spent.picos() * length + gone).div_euclid(2 * gone);
    Some(Pace { projected: Total::from_picos(projected), reaches_limit_at: reaches(window, end, spent, limit, gone) })
}

fn reaches(window: &Window, end: Timestamp, spent: Total, limit: Money, gone: i128) -> Option<Timestamp> {
    let limit = i128::from(limit.picos());
    if spent <= Total::ZERO || spent.picos() >= limit {
        return None;
    }
    let after = -((-limit * gone).div_euclid(spent.picos()));
    let at = window.start.plus_millis(i64::try_from(after).ok()?);
    (at < end).then_some(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: Window = Window { start: Timestamp(0), end: Some(Timestamp(86_400_000)) };

    fn usd(usd: i64) -> Money {
        Money::from_usd(usd).unwrap()
    }

    fn at_hour(hour: i64) -> Timestamp {
        Timestamp(hour * 3_600_000)
    }

    #[test]
    fn a_quarter_of_the_day_gives_four_times_the_spend() {
        let told = pace(WindowKind::Day, &DAY, usd(5).into(), usd(10), at_hour(6)).unwrap();
        assert_eq!(told.projected, usd(20).into());
        assert_eq!(told.reaches_limit_at, Some(at_hour(12)));
        let calm = pace(WindowKind::Day, &DAY, usd(2).into(), usd(10), at_hour(6)).unwrap();
        assert_eq!(calm, Pace { projected: usd(8).into(), reaches_limit_at: None });
        let over = pace(WindowKind::Day, &DAY, usd(10).into(), usd(10), at_hour(6)).unwrap();
        assert_eq!(over, Pace { projected: usd(40).into(), reaches_limit_at: None });
        let nothing = pace(WindowKind::Day, &DAY, Total::ZERO, usd(10), at_hour(6)).unwrap();
        assert_eq!(nothing, Pace { projected: Total::ZERO, reaches_limit_at: None });
    }

    #[test]
    fn too_little_too_late_and_endless_windows_have_no_pace() {
        let told = |kind, window: &Window, now| pace(kind, window, usd(5).into(), usd(10), now);
        assert_eq!(told(WindowKind::Day, &DAY, Timestamp(86_400_000 / 50 - 1)), None);
        assert!(told(WindowKind::Day, &DAY, Timestamp(86_400_000 / 50)).is_some());
        assert_eq!(told(WindowKind::Day, &DAY, at_hour(24)), None);
        assert_eq!(told(WindowKind::Day, &DAY, Timestamp(-1)), None);
        assert_eq!(told(WindowKind::Rolling24h, &DAY, at_hour(6)), None);
        assert_eq!(told(WindowKind::Total, &Window { end: None, ..DAY }, at_hour(6)), None);
    }

    proptest! {
        #[test]
        fn at_the_instant_told_an_even_spend_has_reached_the_limit_and_a_millisecond_before_it_had_not(
            spent in 1_i64..9_000_000, limit in 1_i64..9_000_000, gone in 86_400_000_i64 / 50..86_400_000,
        ) {
            let told = pace(WindowKind::Day, &DAY, usd(spent).into(), usd(limit), Timestamp(gone)).unwrap();
            if let Some(at) = told.reaches_limit_at {
                let reached = |ms: i64| i128::from(spent) * i128::from(ms) >= i128::from(limit) * i128::from(gone);
                prop_assert!(reached(at.millis()) && !reached(at.millis() - 1));
                prop_assert!(told.projected >= usd(limit).into());
                prop_assert!(at > Timestamp(gone));
            }
        }
    }
}
