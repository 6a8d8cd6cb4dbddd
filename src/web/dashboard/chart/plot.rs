//! What charts over time have in common: the axis of figures, its lines, the labels of time, what was not recorded, and a
//! place for the pointer at each step.

use std::fmt::Write as _;

use super::escape;
use crate::report::scale::{Hundredths, Ruler, Unit};
use crate::report::timeline::{Between, Tick};

/// Height of the picture, its base line, and the room above the highest line, in pixels.
const HEIGHT: i64 = 236;
pub(super) const BASE: i64 = 208;
pub(super) const ROOM: i64 = 4;

/// Steps whose label would run out of the picture are labelled to their left: from this place on, in hundredths of a percent.
const LABEL_LEFT_FROM: i64 = 8_800;

/// A gap narrower than this is not named, in hundredths of a percent.
const NAMED_GAP: i64 = 1_200;

/// A step of a chart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Step {
    /// What the read-out says of it, one line a name.
    pub(crate) title: String,
    /// A label of the time axis at its left edge.
    pub(crate) tick: Option<Tick>,
    /// From when to when it is, where one can look closer.
    pub(crate) bounds: Option<Between>,
}

/// The frame of a chart: figures in its unit lie on it.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    ruler: Ruler,
    count: i64,
}

impl Plot {
    /// A frame that holds figures from `low` to `high` in so many steps.
    pub(crate) fn holding(low: i128, high: i128, unit: Unit, count: usize) -> Self {
        Self { ruler: Ruler::holding(low, high, unit), count: i64::try_from(count.max(1)).unwrap_or(1) }
    }

    /// How far down a figure lies, in hundredths of a pixel.
    pub(crate) fn y(&self, figure: i128) -> i64 {
        BASE * 100 - self.ruler.along(figure, (BASE - ROOM) * 100)
    }

    /// Where a step begins, in hundredths of a percent.
    pub(crate) fn x(&self, place: usize) -> i64 {
        i64::try_from(place).unwrap_or(self.count).min(self.count) * 10_000 / self.count
    }

    /// The figures' axis and the beginning of the picture; `gaps` steps at its left hold nothing, as nothing was recorded yet.
    pub(crate) fn open(&self, svg: &mut String, about: &str, gaps: usize, zooms: bool) {
        let _ = write!(svg, r#"<figure class="chart"><svg height="{HEIGHT}" aria-hidden="true">"#);
        for (figure, label) in &self.ruler.lines {
            let at = Hundredths(self.y(*figure) + 400);
            let _ = write!(svg, r#"<text class="end" x="36" y="{at}">{label}</text>"#);
        }
        let zoom = if zooms { " data-zoom" } else { "" };
        let _ = write!(
            svg,
            r#"</svg><svg class="stack" height="{HEIGHT}" tabindex="0" role="img" aria-label="{}"{zoom}>"#,
            escape(about)
        );
        for (figure, _) in self.ruler.lines.iter().filter(|(figure, _)| *figure != 0) {
            let at = Hundredths(self.y(*figure));
            let _ = write!(svg, r#"<line class="grid" x2="100%" y1="{at}" y2="{at}"/>"#);
        }
        if gaps > 0 {
            let width = self.x(gaps);
            let _ = write!(
                svg,
                r#"<rect class="gap" width="{}%" y="{ROOM}" height="{}"/>"#,
                Hundredths(width),
                BASE - ROOM
            );
            if width > NAMED_GAP {
                let (x, y) = (Hundredths(width / 2), BASE / 2);
                let _ = write!(svg, r#"<text class="middle t2" x="{x}%" y="{y}">not recorded</text>"#);
            }
        }
    }

    /// The beginning of a step: its label, and its place for the pointer.
    pub(crate) fn open_step(&self, svg: &mut String, place: usize, step: &Step) {
        let left = self.x(place);
        if let Some(tick) = &step.tick {
            let class = match (left >= LABEL_LEFT_FROM, tick.minor) {
                (true, true) => "end t2",
                (true, false) => "end",
                (false, true) => "t2",
                (false, false) => "",
            };
            let text_at = if left >= LABEL_LEFT_FROM { 10_000 } else { left + 40 };
            let tick_at = Hundredths(left);
            let _ = write!(
                svg,
                r#"<line class="base" x1="{tick_at}%" x2="{tick_at}%" y1="{BASE}" y2="{}"/><text class="{class}" x="{}%" y="{}">{}</text>"#,
                BASE + 6,
                Hundredths(text_at),
                BASE + 18,
                escape(&tick.text)
            );
        }
        let bounds = step.bounds.map_or_else(String::new, |(since, until)| {
            format!(r#" data-since="{}" data-until="{}""#, since.millis(), until.millis())
        });
        let _ = write!(
            svg,
            r#"<g{bounds}><title>{}</title><rect class="hit" x="{}%" y="{ROOM}" width="{}%" height="{}"/>"#,
            escape(&step.title),
            Hundredths(left),
            Hundredths(self.x(place + 1) - left),
            BASE - ROOM
        );
    }

    /// A picture within the picture whose width is 100, for lines that stretch.
    pub(crate) fn open_lines(svg: &mut String) {
        let _ = write!(
            svg,
            r#"<svg class="lines" viewBox="0 0 100 {HEIGHT}" preserveAspectRatio="none" width="100%" height="{HEIGHT}">"#
        );
    }

    /// The base line, and the end of the picture.
    pub(crate) fn close(&self, svg: &mut String) {
        let base = Hundredths(self.y(0));
        let _ = write!(svg, r#"<line class="base" x2="100%" y1="{base}" y2="{base}"/></svg></figure>"#);
    }

    /// A line through the middles of the steps; it breaks where there is nothing.
    pub(crate) fn line(&self, svg: &mut String, class: &str, figures: &[Option<i128>]) {
        let mut path = String::new();
        let mut alone = Vec::new();
        for (place, figure) in figures.iter().enumerate() {
            let Some(figure) = figure else { continue };
            let before = place > 0 && figures[place - 1].is_some();
            let after = figures.get(place + 1).copied().flatten().is_some();
            let (x, y) = (Hundredths(i64::midpoint(self.x(place), self.x(place + 1))), Hundredths(self.y(*figure)));
            if !before && !after {
                alone.push((x, y));
            }
            let _ = write!(path, "{}{x},{y} ", if before { "L" } else { "M" });
        }
        // A value without neighbours is a line of no length, which round ends make a dot.
        for (x, y) in alone {
            let _ = write!(path, "M{x},{y} L{x},{y} ");
        }
        if !path.is_empty() {
            let _ = write!(svg, r#"<path class="{class}" d="{}"/>"#, path.trim_end());
        }
    }
}
