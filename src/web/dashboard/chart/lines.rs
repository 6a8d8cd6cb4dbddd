//! Lines over time, one a name; a line breaks where nothing was measured, as a gap is not a zero.

use super::plot::{Plot, Step};
use super::stack::Shown;

/// One line, in figures of the chart's unit.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Its class, which says colour and dashes.
    pub(crate) class: String,
    /// A figure a step; `None` where there is none.
    pub(crate) figures: Vec<Option<i128>>,
}

/// The class of a line: its colour, and its dashes, so that two are told apart without colour.
pub(crate) fn class(colour: usize, place: usize) -> String {
    format!("line c{colour} d{}", place % 4)
}

/// Draws the lines.
pub(crate) fn draw(steps: &[Step], lines: &[Line], shown: &Shown<'_>) -> String {
    let figures = || lines.iter().flat_map(|line| &line.figures).chain(shown.before).copied().flatten();
    let (low, high) = (figures().min().unwrap_or(0), figures().max().unwrap_or(0));
    let plot = Plot::holding(low, high, shown.unit, steps.len());
    let mut svg = String::new();
    plot.open(&mut svg, shown.about, shown.gaps, shown.zooms);
    for (place, step) in steps.iter().enumerate() {
        plot.open_step(&mut svg, place, step);
        svg.push_str("</g>");
    }
    Plot::open_lines(&mut svg);
    plot.line(&mut svg, "line before", shown.before);
    // The first name lies on top.
    for line in lines.iter().rev() {
        plot.line(&mut svg, &line.class, &line.figures);
    }
    svg.push_str("</svg>");
    plot.close(&mut svg);
    svg
}
