//! Small pictures beside a figure: two lines on one scale, or bars.

use std::fmt::Write as _;

use super::escape;
use crate::domain::money::Total;
use crate::report::scale::{Hundredths, along, portion};

/// Height of a small picture and of the little one in a table's row, in pixels.
const HEIGHT: i64 = 56;
const ROW_HEIGHT: i64 = 18;

/// How sums grew: this period's line so far, over the whole line of the one before.
pub(crate) fn growth(steps: &[Total], begun: usize, before: &[Total], about: &str) -> String {
    let now = running(&steps[..begun.min(steps.len())]);
    let before = running(before);
    let top = now.iter().chain(&before).copied().max().unwrap_or(Total::ZERO);
    let picos = |points: &[Total]| points.iter().map(|point| point.picos()).collect::<Vec<_>>();
    let path = |points: &[Total], of: usize| path(&picos(points), of, top.picos(), HEIGHT - 4, HEIGHT - 1);
    format!(
        r#"<svg class="spark" viewBox="0 0 100 {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{}"><path class="line before" d="{}"/><path class="line" d="{}"/></svg>"#,
        escape(about),
        path(&before, before.len().saturating_sub(1)),
        path(&now, steps.len()),
    )
}

/// Bars of a period's steps, those to come hollow at what is expected of each.
pub(crate) fn bars(steps: &[Total], begun: usize, expected: Option<Total>, about: &str) -> String {
    let to_come = steps.len().saturating_sub(begun);
    let each = expected.filter(|_| to_come > 0).unwrap_or(Total::ZERO);
    let top = steps.iter().copied().chain([each]).max().unwrap_or(Total::ZERO);
    let mut svg = format!(r#"<svg class="spark" role="img" aria-label="{}">"#, escape(about));
    let width = 10_000 / i64::try_from(steps.len().max(1)).unwrap_or(1);
    for (place, amount) in (0_i64..).zip(steps) {
        let coming = usize::try_from(place).unwrap_or(usize::MAX) >= begun;
        let (class, amount) = if coming { ("today", each) } else { ("solid", *amount) };
        let height = along(amount, top, (HEIGHT - 6) * 100);
        if height > 0 {
            let _ = write!(
                svg,
                r#"<rect class="{class}" x="{}%" width="{}%" y="{}" height="{}"/>"#,
                Hundredths(place * width + width * 3 / 20),
                Hundredths(width * 7 / 10),
                Hundredths((HEIGHT - 1) * 100 - height),
                Hundredths(height)
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

/// A name's course in its row of a table, in figures of any unit.
pub(crate) fn row(steps: &[i128]) -> String {
    let top = steps.iter().copied().max().unwrap_or(0);
    let line = path(steps, steps.len().saturating_sub(1), top, ROW_HEIGHT - 3, ROW_HEIGHT - 1);
    if line.is_empty() {
        return String::new();
    }
    let area = line.trim_start_matches('M');
    let bottom = ROW_HEIGHT - 1;
    format!(
        r#"<svg class="spark" viewBox="0 0 100 {ROW_HEIGHT}" preserveAspectRatio="none" aria-hidden="true"><path class="area" d="M0,{bottom} {area} 100,{bottom}Z"/><path class="line thin" d="{line}"/></svg>"#
    )
}

/// Sums from the first step to each, beginning with nothing.
fn running(steps: &[Total]) -> Vec<Total> {
    let mut sum = Total::ZERO;
    let sums = steps.iter().map(|step| {
        sum += *step;
        sum
    });
    std::iter::once(Total::ZERO).chain(sums).collect()
}

/// A line over `of` equal steps of a width of 100.
fn path(points: &[i128], of: usize, top: i128, height: i64, base: i64) -> String {
    if points.len() < 2 || of == 0 {
        return String::new();
    }
    let of = i64::try_from(of).unwrap_or(1);
    let mut path = String::new();
    for (place, point) in (0_i64..).zip(points) {
        let (x, y) = (Hundredths(place * 10_000 / of), Hundredths(base * 100 - portion(*point, top, height * 100)));
        let _ = write!(path, "{}{x},{y}", if place == 0 { "M" } else { " " });
    }
    path
}
