//! A budget's course against its limit: spend so far, even pace, the forecast and its band, thresholds.

use std::fmt::Write as _;

use super::escape;
use crate::domain::forecast::Outlook;
use crate::domain::money::Total;
use crate::domain::time::Timestamp;
use crate::report::scale::{Axis, Hundredths, along, between};

/// Height of the picture, its base line, and the room above the highest line, in pixels.
const HEIGHT: i64 = 316;
const BASE: i64 = 280;
const ROOM: i64 = 12;

/// Height of a small course, in pixels.
const SMALL: i64 = 56;

/// Halves of what the chart holds otherwise that a band may add at most.
const BAND_TIMES: i128 = 3;

/// Labels of the right edge stand at least this many pixels apart.
const LABEL_HEIGHT: i64 = 14;

/// What is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    /// The times at both edges.
    pub(crate) drawn: (Timestamp, Timestamp),
    /// Spend at instants, oldest first.
    pub(crate) points: &'a [(Timestamp, Total)],
    /// The limit, and its label.
    pub(crate) limit: (Total, &'a str),
    /// Thresholds and their labels; the limit's own among them or not.
    pub(crate) thresholds: &'a [(Total, String)],
    /// The forecast for the right edge; `None`: none is drawn.
    pub(crate) outlook: Option<Outlook>,
    /// Whether an even pace is a thing to compare with.
    pub(crate) even: bool,
    /// Crossings: when and at what spend.
    pub(crate) crossings: &'a [(Timestamp, Total)],
    /// The label of the last point.
    pub(crate) now: &'a str,
    /// Instants of the time axis and their labels; `true`: goes on narrow screens.
    pub(crate) ticks: &'a [(Timestamp, String, bool)],
    /// The picture in a sentence.
    pub(crate) about: &'a str,
}

/// Draws the course.
pub(crate) fn draw(shown: &Shown<'_>) -> String {
    let last = shown.points.last().copied().unwrap_or((shown.drawn.0, Total::ZERO));
    let thresholds = shown.thresholds.iter().map(|(amount, _)| *amount);
    let projected = shown.outlook.map_or(Total::ZERO, |outlook| outlook.projected);
    let highest = thresholds.chain([last.1, shown.limit.0, projected]).max().unwrap_or(Total::ZERO);
    // A band that reaches far up must not press everything else to the base line.
    let most = Total::from_picos(highest.picos().saturating_mul(BAND_TIMES) / 2);
    let axis = Axis::holding(shown.outlook.map_or(highest, |outlook| outlook.high.min(most).max(highest)));
    let y = |amount: Total| Hundredths(BASE * 100 - along(amount, axis.top, (BASE - ROOM) * 100));
    let x = |at: Timestamp| Hundredths(between(at, shown.drawn.0, shown.drawn.1, 10_000));
    let mut svg = format!(r#"<figure class="chart two-axes"><svg height="{HEIGHT}" aria-hidden="true">"#);
    for (amount, label) in &axis.ticks {
        let _ = write!(svg, r#"<text class="end" x="36" y="{}">{label}</text>"#, Hundredths(y(*amount).0 + 400));
    }
    let _ = write!(svg, r#"</svg><svg height="{HEIGHT}" role="img" aria-label="{}">"#, escape(shown.about));
    for (amount, _) in shown.thresholds {
        let at = y(*amount);
        let _ = write!(svg, r#"<line class="thr" x2="100%" y1="{at}" y2="{at}"/>"#);
    }
    lines(&mut svg, shown, last, &x, &y);
    let limit = y(shown.limit.0);
    let _ = write!(
        svg,
        r#"<line class="limit-line" x2="100%" y1="{limit}" y2="{limit}"/><line class="base" x2="100%" y1="{BASE}" y2="{BASE}"/>"#
    );
    let _ = write!(svg, r#"<text class="on" x="0" y="{}">{}</text>"#, Hundredths(limit.0 - 600), escape(shown.limit.1));
    marks(&mut svg, shown, last, &x, &y);
    svg.push_str("</svg>");
    right_labels(&mut svg, shown, &y);
    svg.push_str("</figure>");
    svg
}

/// Everything that stretches with the width.
fn lines(
    svg: &mut String,
    shown: &Shown<'_>,
    last: (Timestamp, Total),
    x: &impl Fn(Timestamp) -> Hundredths,
    y: &impl Fn(Total) -> Hundredths,
) {
    let _ =
        write!(svg, r#"<svg viewBox="0 0 100 {HEIGHT}" preserveAspectRatio="none" width="100%" height="{HEIGHT}">"#);
    if shown.even {
        let _ = write!(svg, r#"<path class="line pace" d="M0,{BASE} L100,{}"/>"#, y(shown.limit.0));
    }
    let line: Vec<String> = shown.points.iter().map(|(at, amount)| format!("{},{}", x(*at), y(*amount))).collect();
    let line = line.join(" ");
    let _ = write!(
        svg,
        r#"<path class="area" d="M0,{BASE} {line} {},{BASE}Z"/><path class="line" d="M{line}"/>"#,
        x(last.0)
    );
    if let Some(outlook) = shown.outlook {
        let (from_x, from_y) = (x(last.0), y(last.1));
        let _ = write!(
            svg,
            r#"<path class="band" d="M{from_x},{from_y} L100,{} L100,{}Z"/><path class="line fc" d="M{from_x},{from_y} L100,{}"/>"#,
            y(outlook.high),
            y(outlook.low),
            y(outlook.projected)
        );
    }
    svg.push_str("</svg>");
}

/// Points, the label of now, and the time axis.
fn marks(
    svg: &mut String,
    shown: &Shown<'_>,
    last: (Timestamp, Total),
    x: &impl Fn(Timestamp) -> Hundredths,
    y: &impl Fn(Total) -> Hundredths,
) {
    for (at, amount) in shown.crossings {
        let _ = write!(svg, r#"<circle class="dot" cx="{}%" cy="{}" r="4"/>"#, x(*at), y(*amount));
    }
    let (now_x, now_y) = (x(last.0), y(last.1));
    let _ = write!(svg, r#"<line class="pin" x1="{now_x}%" x2="{now_x}%" y1="{now_y}" y2="{BASE}"/>"#);
    let _ = write!(svg, r#"<circle class="dot" cx="{now_x}%" cy="{now_y}" r="4"/>"#);
    // Beside the point on the side that has room, and below the limit's own label where they would meet.
    let (class, at) = if now_x.0 < 3_000 { ("on", now_x.0 + 120) } else { ("on end", now_x.0 - 120) };
    let near_limit = (0..2_400).contains(&(now_y.0 - y(shown.limit.0).0));
    let label_y = if near_limit { now_y.0 + 2_200 } else { now_y.0 - 800 };
    let _ = write!(
        svg,
        r#"<text class="{class}" x="{}%" y="{}">{}</text>"#,
        Hundredths(at),
        Hundredths(label_y),
        escape(shown.now)
    );
    for (at, label, minor) in shown.ticks {
        let tick = x(*at);
        let class = match (tick.0 > 9_200, *minor) {
            (true, true) => "end t2",
            (true, false) => "end",
            (false, true) => "t2",
            (false, false) => "",
        };
        let text = if tick.0 > 9_200 { 10_000 } else { tick.0 + 30 };
        let _ = write!(
            svg,
            r#"<line class="base" x1="{tick}%" x2="{tick}%" y1="{BASE}" y2="{}"/><text class="{class}" x="{}%" y="{}">{}</text>"#,
            BASE + 6,
            Hundredths(text),
            BASE + 20,
            escape(label)
        );
    }
}

/// Names of the thresholds at the right edge; of two that would meet, the lower is left out.
fn right_labels(svg: &mut String, shown: &Shown<'_>, y: &impl Fn(Total) -> Hundredths) {
    let _ = write!(svg, r#"<svg height="{HEIGHT}" aria-hidden="true">"#);
    let mut above = None;
    for (amount, label) in shown.thresholds.iter().rev() {
        let at = y(*amount).0;
        if above.is_some_and(|above: i64| at - above < LABEL_HEIGHT * 100) {
            continue;
        }
        above = Some(at);
        let _ = write!(svg, r#"<text x="6" y="{}">{}</text>"#, Hundredths(at + 400), escape(label));
    }
    svg.push_str("</svg>");
}

/// A small course against the limit, all of a row on one scale up to `top`.
pub(crate) fn small(
    drawn: (Timestamp, Timestamp),
    points: &[(Timestamp, Total)],
    limit: Total,
    top: Total,
    about: &str,
) -> String {
    let y = |amount: Total| Hundredths((SMALL - 1) * 100 - along(amount, top, (SMALL - 4) * 100));
    let line: Vec<String> = points
        .iter()
        .map(|(at, amount)| format!("{},{}", Hundredths(between(*at, drawn.0, drawn.1, 10_000)), y(*amount)))
        .collect();
    let at = y(limit);
    format!(
        r#"<svg class="spark" viewBox="0 0 100 {SMALL}" preserveAspectRatio="none" role="img" aria-label="{}"><line class="limit-line" x2="100" y1="{at}" y2="{at}" vector-effect="non-scaling-stroke"/><path class="line" d="M{}"/></svg>"#,
        escape(about),
        line.join(" ")
    )
}
