//! The chart of a query's answer: bars for names, a line for times. What it shows are a person's own numbers, of any unit, so
//! they are floats here; the figures stand in the table beside it.

use std::fmt::Write as _;

use super::escape;

/// Height of a line's picture, its base line, and the room above the highest line, in pixels.
const HEIGHT: f64 = 236.0;
const BASE: f64 = 208.0;
const ROOM: f64 = 8.0;

/// Points that have a mark, and so a text for the pointer.
const MARKED: usize = 200;

/// A bar in a row of a table: from zero to its value, in percent of the width, where the values lie between `least` and `most`.
pub(crate) fn bar(value: f64, least: f64, most: f64) -> String {
    let (low, high) = (least.min(0.0), most.max(0.0));
    let at = |value: f64| if high > low { (value - low) / (high - low) * 100.0 } else { 0.0 };
    let (from, until) = (at(value.min(0.0)), at(value.max(0.0)));
    format!(
        r#"<svg class="bars" aria-hidden="true"><rect class="solid" x="{from:.2}%" width="{:.2}%" y="1" height="10"/></svg>"#,
        (until - from).max(0.1)
    )
}

/// A point of a line: how far along the picture, from 0 to 1; its value; and what it is, for the pointer.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) along: f64,
    pub(crate) value: f64,
    pub(crate) title: String,
}

/// A line through points, which stand in the order of time; `edges` label both ends, `about` says in a sentence what it shows.
pub(crate) fn line(points: &[Point], edges: (&str, &str), about: &str) -> String {
    let values = || points.iter().map(|point| point.value);
    let ticks = ticks(values().fold(0.0, f64::min), values().fold(0.0, f64::max));
    let (low, high) = (ticks.first().map_or(0.0, |tick| tick.0), ticks.last().map_or(1.0, |tick| tick.0));
    let y = |value: f64| BASE - (value - low) / (high - low) * (BASE - ROOM);
    let mut svg = format!(r#"<figure class="chart"><svg height="{HEIGHT}" aria-hidden="true">"#);
    for (value, label) in &ticks {
        let _ = write!(svg, r#"<text class="end" x="36" y="{:.2}">{label}</text>"#, y(*value) + 4.0);
    }
    let _ = write!(svg, r#"</svg><svg height="{HEIGHT}" role="img" aria-label="{}">"#, escape(about));
    for (value, _) in &ticks {
        let class = if *value == 0.0 { "base" } else { "grid" };
        let _ = write!(svg, r#"<line class="{class}" x2="100%" y1="{0:.2}" y2="{0:.2}"/>"#, y(*value));
    }
    let course: Vec<String> =
        points.iter().map(|point| format!("{:.3},{:.2}", point.along * 100.0, y(point.value))).collect();
    let _ = write!(
        svg,
        r#"<svg viewBox="0 0 100 {HEIGHT}" preserveAspectRatio="none" width="100%" height="{HEIGHT}"><path class="line" d="M{}"/></svg>"#,
        course.join(" ")
    );
    if points.len() <= MARKED {
        for point in points {
            let _ = write!(
                svg,
                r#"<circle class="dot" cx="{:.3}%" cy="{:.2}" r="3"><title>{}</title></circle>"#,
                point.along * 100.0,
                y(point.value),
                escape(&point.title)
            );
        }
    }
    let _ = write!(
        svg,
        r#"<text x="0" y="{0}">{1}</text><text class="end" x="100%" y="{0}">{2}</text></svg></figure>"#,
        HEIGHT - 4.0,
        escape(edges.0),
        escape(edges.1)
    );
    svg
}

/// Values and labels of the lines across: at 1, 2, 2.5 or 5 times a power of ten, zero among them.
fn ticks(least: f64, most: f64) -> Vec<(f64, String)> {
    let span = if most > least { most - least } else { 1.0 };
    let power = 10_f64.powf((span / 5.0).log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| span / step <= 5.0);
    let step = step.unwrap_or(span);
    let end = (most.max(least + span) / step).ceil();
    let mut ticks = Vec::new();
    let mut at = (least / step).floor();
    while at <= end && ticks.len() < 12 {
        ticks.push((at * step, short(at * step, step)));
        at += 1.0;
    }
    ticks
}

/// A number on an axis: thousands as k, M, B.
fn short(value: f64, step: f64) -> String {
    for (unit, name) in [(1e9, "B"), (1e6, "M"), (1e3, "k")] {
        if step >= unit / 10.0 && value.abs() >= unit {
            return format!("{}{name}", trimmed(value / unit, 2));
        }
    }
    trimmed(value, 6)
}

fn trimmed(value: f64, places: usize) -> String {
    let text = format!("{value:.places$}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" || text.is_empty() { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_hold_every_value_and_zero() {
        let labels = |least, most| ticks(least, most).into_iter().map(|(_, label)| label).collect::<Vec<_>>();
        assert_eq!(labels(0.0, 38.2), ["0", "10", "20", "30", "40"]);
        assert_eq!(labels(0.0, 0.0003), ["0", "0.0001", "0.0002", "0.0003"]);
        assert_eq!(labels(-4.0, 9.0), ["-5", "0", "5", "10"]);
        assert_eq!(labels(0.0, 4_100_000.0), ["0", "1M", "2M", "3M", "4M", "5M"]);
        assert!(labels(0.0, 0.0).len() > 1 && labels(-1e300, 1e300).len() > 1);
    }

    #[test]
    fn bars_begin_at_zero() {
        assert!(bar(5.0, 0.0, 10.0).contains(r#"x="0.00%" width="50.00%""#));
        assert!(bar(-5.0, -5.0, 5.0).contains(r#"x="0.00%" width="50.00%""#));
        assert!(bar(0.0, 0.0, 0.0).contains(r#"width="0.10%""#));
    }
}
