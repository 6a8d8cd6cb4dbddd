//! Stacked bars of spend over time: the largest name at the bottom, what is not settled hatched, what is expected dashed.

use std::fmt::Write as _;

use super::escape;
use crate::domain::money::Total;
use crate::report::scale::{Axis, Hundredths, along};

/// Height of the picture, its base line, and the room above the highest line, in pixels.
const HEIGHT: i64 = 236;
const BASE: i64 = 208;
const ROOM: i64 = 4;

/// Pixels between two parts of a bar.
const PART_GAP: i64 = 100;

/// Steps whose label would run out of the picture are labelled to their left: from this place on, in hundredths of a percent.
const LABEL_LEFT_FROM: i64 = 8_800;

/// One bar.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bar {
    /// What it shows, one line a name, for the pointer.
    pub(crate) title: String,
    /// The parts from the bottom up: colour and amount.
    pub(crate) parts: Vec<(usize, Total)>,
    /// How much of it, at the top, is not settled.
    pub(crate) inline: Total,
    /// What it will be; `None` once it is over.
    pub(crate) expected: Option<Total>,
    /// A label of the time axis at its left edge; `minor` ones go on narrow screens.
    pub(crate) label: Option<(String, bool)>,
    /// Nothing was recorded yet.
    pub(crate) gap: bool,
}

/// Draws the bars; `about` says in a sentence what they show.
pub(crate) fn draw(bars: &[Bar], about: &str) -> String {
    let total = |bar: &Bar| bar.parts.iter().map(|(_, amount)| *amount).sum::<Total>();
    let highest =
        bars.iter().map(|bar| total(bar).max(bar.expected.unwrap_or(Total::ZERO))).max().unwrap_or(Total::ZERO);
    let axis = Axis::holding(highest);
    let y = |amount: Total| BASE * 100 - along(amount, axis.top, (BASE - ROOM) * 100);
    let mut svg = format!(r#"<figure class="chart"><svg height="{HEIGHT}" aria-hidden="true">"#);
    for (amount, label) in &axis.ticks {
        let _ = write!(svg, r#"<text class="end" x="36" y="{}">{label}</text>"#, Hundredths(y(*amount) + 400));
    }
    let _ = write!(
        svg,
        r#"</svg><svg class="stack" height="{HEIGHT}" tabindex="0" role="img" aria-label="{}">"#,
        escape(about)
    );
    for (amount, _) in axis.ticks.iter().skip(1) {
        let at = Hundredths(y(*amount));
        let _ = write!(svg, r#"<line class="grid" x2="100%" y1="{at}" y2="{at}"/>"#);
    }
    let width = 10_000 / i64::try_from(bars.len().max(1)).unwrap_or(1);
    let gaps = i64::try_from(bars.iter().take_while(|bar| bar.gap).count()).unwrap_or(0);
    if gaps > 0 {
        gap(&mut svg, gaps * width);
    }
    for (place, bar) in (0_i64..).zip(bars) {
        one(&mut svg, bar, place * width, width, &y);
    }
    let _ = write!(svg, r#"<line class="base" x2="100%" y1="{BASE}" y2="{BASE}"/></svg></figure>"#);
    svg
}

fn gap(svg: &mut String, width: i64) {
    let _ = write!(svg, r#"<rect class="gap" width="{}%" y="{ROOM}" height="{}"/>"#, Hundredths(width), BASE - ROOM);
    if width > 1_200 {
        let _ = write!(
            svg,
            r#"<text class="middle t2" x="{}%" y="{}">not recorded</text>"#,
            Hundredths(width / 2),
            BASE / 2
        );
    }
}

fn one(svg: &mut String, bar: &Bar, left: i64, width: i64, y: &impl Fn(Total) -> i64) {
    let (x, wide) = (Hundredths(left + width / 10), Hundredths(width * 8 / 10));
    if let Some((label, minor)) = &bar.label {
        let tick = Hundredths(left);
        let class = match (left >= LABEL_LEFT_FROM, *minor) {
            (true, true) => "end t2",
            (true, false) => "end",
            (false, true) => "t2",
            (false, false) => "",
        };
        let text_at = if left >= LABEL_LEFT_FROM { 10_000 } else { left + 40 };
        let _ = write!(
            svg,
            r#"<line class="base" x1="{tick}%" x2="{tick}%" y1="{BASE}" y2="{}"/><text class="{class}" x="{}%" y="{}">{}</text>"#,
            BASE + 6,
            Hundredths(text_at),
            BASE + 18,
            escape(label)
        );
    }
    let _ = write!(svg, "<g><title>{}</title>", escape(&bar.title));
    let mut below = Total::ZERO;
    for (colour, amount) in &bar.parts {
        let (bottom, top) = (y(below), y(below + *amount));
        below += *amount;
        // A gap parts the names; a part that is thinner than the gap is not drawn away.
        let height = if bottom - top > 2 * PART_GAP { bottom - top - PART_GAP } else { bottom - top };
        if height > 0 {
            let _ = write!(
                svg,
                r#"<rect class="s{colour}" x="{x}%" y="{}" width="{wide}%" height="{}"/>"#,
                Hundredths(top),
                Hundredths(height)
            );
        }
    }
    let hatched = y(below - bar.inline) - y(below);
    if bar.inline > Total::ZERO && hatched > 0 {
        let _ = write!(
            svg,
            r#"<rect x="{x}%" y="{}" width="{wide}%" height="{}" fill="url(#hatch)"/>"#,
            Hundredths(y(below)),
            Hundredths(hatched)
        );
    }
    if let Some(expected) = bar.expected.filter(|expected| *expected > below) {
        let (top, bottom) = (y(expected), y(below));
        let _ = write!(
            svg,
            r#"<rect class="today" x="{x}%" y="{}" width="{wide}%" height="{}"/>"#,
            Hundredths(top),
            Hundredths((bottom - top - PART_GAP).max(0))
        );
    }
    svg.push_str("</g>");
}
