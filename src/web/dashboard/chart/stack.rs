//! Stacked bars over time: the largest name at the bottom, what is not settled hatched, what is expected dashed.

use std::fmt::Write as _;

use super::plot::{Plot, Step};
use crate::report::scale::{Hundredths, Unit};

/// Pixels between two parts of a bar.
const PART_GAP: i64 = 100;

/// More bars than these stand without a space between them.
const SPACED: usize = 400;

/// One bar, in figures of the chart's unit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bar {
    /// Its step.
    pub(crate) step: Step,
    /// The parts from the bottom up: colour and figure; those below zero hang from it.
    pub(crate) parts: Vec<(usize, i128)>,
    /// How much of it, at the top, is not settled.
    pub(crate) inline: i128,
    /// What it will be; `None` once it is over.
    pub(crate) expected: Option<i128>,
}

impl Bar {
    fn above(&self) -> i128 {
        self.parts.iter().map(|(_, figure)| (*figure).max(0)).sum()
    }

    fn below(&self) -> i128 {
        self.parts.iter().map(|(_, figure)| (*figure).min(0)).sum()
    }
}

/// What is drawn beside the bars.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    /// What the figures are.
    pub(crate) unit: Unit,
    /// The picture in a sentence.
    pub(crate) about: &'a str,
    /// Steps at the beginning before anything was recorded.
    pub(crate) gaps: usize,
    /// What each step was in the time before; may be shorter, or empty.
    pub(crate) before: &'a [Option<i128>],
    /// Whether one can look closer.
    pub(crate) zooms: bool,
}

/// Draws the bars.
pub(crate) fn draw(bars: &[Bar], shown: &Shown<'_>) -> String {
    let before = shown.before.iter().copied().flatten().max().unwrap_or(0);
    let high = bars.iter().map(|bar| bar.above().max(bar.expected.unwrap_or(0))).max().unwrap_or(0).max(before);
    let low = bars.iter().map(Bar::below).min().unwrap_or(0);
    let plot = Plot::holding(low, high, shown.unit, bars.len());
    let mut svg = String::new();
    plot.open(&mut svg, shown.about, shown.gaps, shown.zooms);
    for (place, bar) in bars.iter().enumerate() {
        plot.open_step(&mut svg, place, &bar.step);
        one(&mut svg, bar, &plot, place, bars.len() <= SPACED);
        svg.push_str("</g>");
    }
    if !shown.before.is_empty() {
        Plot::open_lines(&mut svg);
        plot.line(&mut svg, "line before", shown.before);
        svg.push_str("</svg>");
    }
    plot.close(&mut svg);
    svg
}

fn one(svg: &mut String, bar: &Bar, plot: &Plot, place: usize, spaced: bool) {
    let (left, right) = (plot.x(place), plot.x(place + 1));
    let width = right - left;
    let (x, wide) = if spaced { (left + width / 10, width * 8 / 10) } else { (left, width) };
    let (x, wide) = (Hundredths(x), Hundredths(wide));
    let (mut above, mut below) = (0, 0);
    for (colour, figure) in &bar.parts {
        let (bottom, top) = if *figure >= 0 {
            above += figure;
            (plot.y(above - figure), plot.y(above))
        } else {
            below += figure;
            (plot.y(below), plot.y(below - figure))
        };
        // A gap parts the names; a part that is thinner than the gap is not drawn away.
        let height = if bottom - top > 2 * PART_GAP { bottom - top - PART_GAP } else { bottom - top };
        if height > 0 {
            let (top, height) = (Hundredths(top), Hundredths(height));
            let _ = write!(svg, r#"<rect class="s{colour}" x="{x}%" y="{top}" width="{wide}%" height="{height}"/>"#);
        }
    }
    let hatched = plot.y(above - bar.inline) - plot.y(above);
    if bar.inline > 0 && hatched > 0 {
        let (top, height) = (Hundredths(plot.y(above)), Hundredths(hatched));
        let _ = write!(svg, r#"<rect x="{x}%" y="{top}" width="{wide}%" height="{height}" fill="url(#hatch)"/>"#);
    }
    if let Some(expected) = bar.expected.filter(|expected| *expected > above) {
        let (top, bottom) = (plot.y(expected), plot.y(above));
        let height = Hundredths((bottom - top - PART_GAP).max(0));
        let _ =
            write!(svg, r#"<rect class="today" x="{x}%" y="{}" width="{wide}%" height="{height}"/>"#, Hundredths(top));
    }
}
