//! A run of calls over time: each a block as wide as it took and as high as it cost, standing on what those before it cost.

use std::fmt::Write as _;

use super::escape;
use super::plot::{BASE, Plot, ROOM};
use crate::report::scale::{Hundredths, Unit};

/// Least height of a block and least width, in hundredths of a pixel and of a percent: what is tiny is still seen.
const LEAST_HEIGHT: i64 = 200;
const LEAST_WIDTH: i64 = 25;

/// Labels from here on stand to their left, in hundredths of a percent.
pub(crate) const LABEL_LEFT_FROM: i64 = 8_800;

/// One call; places in hundredths of a percent, amounts in pico-dollars.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// From when.
    pub(crate) left: i64,
    /// Until when.
    pub(crate) right: i64,
    /// What those before it cost.
    pub(crate) from: i128,
    /// What it and those before it cost.
    pub(crate) to: i128,
    /// The colour of its name.
    pub(crate) colour: usize,
    /// Whether it failed.
    pub(crate) failed: bool,
    /// What the read-out says.
    pub(crate) title: String,
}

/// A label of the time axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Where, in hundredths of a percent.
    pub(crate) at: i64,
    /// The label.
    pub(crate) text: String,
    /// It goes on narrow screens.
    pub(crate) minor: bool,
}

/// Draws the run; `blocks` by their beginning.
pub(crate) fn draw(blocks: &[Block], marks: &[Mark], about: &str) -> String {
    let top = blocks.iter().map(|block| block.to).max().unwrap_or(0);
    let plot = Plot::holding(0, top, Unit::Dollars, 1);
    let mut svg = String::new();
    plot.open(&mut svg, about, 0, false);
    for mark in marks {
        let (at, left) = (Hundredths(mark.at), mark.at >= LABEL_LEFT_FROM);
        let class = match (left, mark.minor) {
            (true, true) => "end t2",
            (true, false) => "end",
            (false, true) => "t2",
            (false, false) => "",
        };
        let text_at = if left { mark.at - 40 } else { mark.at + 40 };
        let _ = write!(
            svg,
            r#"<line class="base" x1="{at}%" x2="{at}%" y1="{BASE}" y2="{}"/><text class="{class}" x="{}%" y="{}">{}</text>"#,
            BASE + 6,
            Hundredths(text_at),
            BASE + 18,
            escape(&mark.text)
        );
    }
    Plot::open_lines(&mut svg);
    let _ = write!(svg, r#"<path class="line thin" d="{}"/></svg>"#, stairs(blocks, &plot));
    for (place, block) in blocks.iter().enumerate() {
        // A call has the pointer until the next one begins.
        let until = blocks.get(place + 1).map_or(10_000, |next| next.left).max(block.left);
        let _ = write!(
            svg,
            r#"<g><title>{}</title><rect class="hit" x="{}%" y="{ROOM}" width="{}%" height="{}"/>"#,
            escape(&block.title),
            Hundredths(block.left),
            Hundredths(until - block.left),
            BASE - ROOM
        );
        let width = (block.right - block.left).max(LEAST_WIDTH).min(10_000 - block.left.min(9_975));
        let (bottom, top) = (plot.y(block.from), plot.y(block.to));
        let height = (bottom - top).max(LEAST_HEIGHT);
        let class = if block.failed { "fail".to_owned() } else { format!("s{}", block.colour) };
        let _ = write!(
            svg,
            r#"<rect class="{class}" x="{}%" y="{}" width="{}%" height="{}"/></g>"#,
            Hundredths(block.left.min(9_975)),
            Hundredths(bottom - height),
            Hundredths(width),
            Hundredths(height)
        );
    }
    plot.close(&mut svg);
    svg
}

/// What the calls cost together, as a line that rises at each call's end.
fn stairs(blocks: &[Block], plot: &Plot) -> String {
    let mut path = String::from("M0.00,");
    let _ = write!(path, "{}", Hundredths(plot.y(0)));
    for block in blocks {
        let _ = write!(path, " H{} V{}", Hundredths(block.left), Hundredths(plot.y(block.to)));
    }
    path + " H100"
}
