//! A budget's course over its window, and the windows before.

use crate::domain::budget::Budget;
use crate::domain::money::{Money, Total};
use crate::domain::time::{BUCKET_MS, DAY_MS, Timestamp};
use crate::domain::window::{Window, WindowKind};
use crate::store::budgets::{self, SpendDelta};
use crate::store::{Store, StoreError};

/// Most points of a course: more than a screen has pixels for are of no use.
const MAX_POINTS: usize = 480;

/// How much of an endless window is drawn, in milliseconds; what came before is its first point.
const DRAWN_OF_TOTAL_MS: i64 = 365 * DAY_MS;

/// Windows before the current one that are shown.
pub const PAST: usize = 5;

/// How spend grew in a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// The window.
    pub window: Window,
    /// What is drawn of it.
    pub drawn: (Timestamp, Timestamp),
    /// Spend at instants, oldest first; the last is what is known now.
    pub points: Vec<(Timestamp, Total)>,
    /// Spend at the last point.
    pub spent: Total,
}

/// The course of the window that holds `now`. `spent` is the window's sum, from which an endless one is counted back.
///
/// `value` is the one whose account it is; `None`: all that the budget counts.
pub async fn current(
    store: &Store,
    budget: &Budget,
    value: Option<&str>,
    spent: Total,
    now: Timestamp,
) -> Result<Course, StoreError> {
    of(store, budget, value, budget.window_at(now), spent, now).await
}

/// The course of one window of the budget, as it is known at `now`; `value` as for [`current`].
pub async fn of(
    store: &Store,
    budget: &Budget,
    value: Option<&str>,
    window: Window,
    spent: Total,
    now: Timestamp,
) -> Result<Course, StoreError> {
    if budget.window != WindowKind::Total {
        return read(store, budget, value, window, now).await;
    }
    let from = now.plus_millis(-DRAWN_OF_TOTAL_MS).bucket().max(window.start);
    let deltas = budgets::course(store, &budget.name, value, from, now.plus_millis(BUCKET_MS)).await?;
    let of_drawn: Total = deltas.iter().map(|delta| Total::from(Money::from_picos(delta.cost_picos))).sum();
    // Before its first call there is nothing to draw, unless more was spent before what is drawn.
    let base = spent - of_drawn;
    let since = if base == Total::ZERO { deltas.first().map_or(from, |first| first.bucket) } else { from };
    Ok(course(window, (since, now), base, &deltas, now))
}

/// The windows before, oldest first, as far as the budget's counters tell of any spend; none for `total` and rolling ones.
///
/// `value` is the one whose account it is; `None`: all that the budget counts.
pub async fn past(
    store: &Store,
    budget: &Budget,
    value: Option<&str>,
    now: Timestamp,
) -> Result<Vec<Course>, StoreError> {
    let mut courses = Vec::new();
    if budget.window.is_rolling() {
        return Ok(courses);
    }
    let mut window = budget.window_at(now);
    for _ in 0..PAST {
        let Some(before) = budget.window_before(&window) else { break };
        window = before;
        courses.push(read(store, budget, value, window, now).await?);
    }
    while courses.last().is_some_and(|course: &Course| course.spent == Total::ZERO) {
        courses.pop();
    }
    courses.reverse();
    Ok(courses)
}

async fn read(
    store: &Store,
    budget: &Budget,
    value: Option<&str>,
    window: Window,
    now: Timestamp,
) -> Result<Course, StoreError> {
    let end = window.end.unwrap_or(now);
    let deltas = budgets::course(store, &budget.name, value, window.start, end).await?;
    Ok(course(window, (window.start, end), Total::ZERO, &deltas, now))
}

/// The running sum of `deltas` on top of `base`.
fn course(window: Window, drawn: (Timestamp, Timestamp), base: Total, deltas: &[SpendDelta], now: Timestamp) -> Course {
    let mut spent = base;
    let mut points = vec![(drawn.0, base)];
    let every = deltas.len().div_ceil(MAX_POINTS).max(1);
    for (place, delta) in deltas.iter().enumerate() {
        if points.len() == 1 && delta.bucket > drawn.0 {
            points.push((delta.bucket, spent));
        }
        spent += Money::from_picos(delta.cost_picos).into();
        if (place + 1) % every == 0 {
            let end = delta.bucket.plus_millis(BUCKET_MS);
            // A bucket is written when its calls end; the one that runs has lasted until now.
            points.push((end.min(now.max(delta.bucket)), spent));
        }
    }
    let end = drawn.1.min(now).max(drawn.0);
    if points.last().is_none_or(|last| last.0 < end || last.1 != spent) {
        points.push((end, spent));
    }
    Course { window, drawn, points, spent }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(bucket: i64, picos: i64) -> SpendDelta {
        let budget = "all".parse().unwrap();
        SpendDelta {
            budget,
            value: "".into(),
            bucket: Timestamp(bucket * BUCKET_MS),
            cost_picos: picos,
            inline_picos: 0,
            unknown: 0,
        }
    }

    #[test]
    fn a_course_ends_at_now_with_all_that_was_spent() {
        let end = Timestamp(96 * BUCKET_MS);
        let window = Window { start: Timestamp(0), end: Some(end) };
        let now = Timestamp(50 * BUCKET_MS + 1_000);
        let deltas: Vec<SpendDelta> = (3..51).map(|bucket| delta(bucket, 2)).collect();
        let course = course(window, (window.start, end), Total::ZERO, &deltas, now);
        assert_eq!(course.points[..2], [(Timestamp(0), Total::ZERO), (Timestamp(3 * BUCKET_MS), Total::ZERO)]);
        assert_eq!(course.points.last(), Some(&(now, Total::from_picos(96))));
        assert!(course.points.is_sorted());
    }

    #[test]
    fn a_long_course_is_thinned_and_keeps_its_end() {
        let window = Window { start: Timestamp(0), end: None };
        let deltas: Vec<SpendDelta> = (0..10_000).map(|bucket| delta(bucket, 1)).collect();
        let now = Timestamp(10_000 * BUCKET_MS);
        let course = course(window, (window.start, now), Total::from_picos(5), &deltas, now);
        assert!(course.points.len() <= MAX_POINTS + 2);
        assert_eq!(course.points.last(), Some(&(now, Total::from_picos(10_005))));
    }
}
