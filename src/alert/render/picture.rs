//! A window's burn against its limit, as PNG: mail readers show neither SVG nor style sheets from elsewhere.
//!
//! What the picture says stands in words beside it, so it holds no text. Amounts become lengths by integers;
//! the rasteriser's floats see pixels only.

use tiny_skia::{Color, FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, Stroke, StrokeDash, Transform};

use crate::alert::facts::Section;
use crate::alert::words;
use crate::domain::money::Total;
use crate::domain::time::Timestamp;
use crate::report::burn::Course;
use crate::report::scale::{Axis, along, between};

/// The width at which a mail shows it, in pixels; it is drawn twice as large, for fine screens.
pub(super) const WIDTH: u32 = 552;

/// Pixels drawn, across and down.
const SIZE: (u32, u32) = (2 * WIDTH, 352);

/// Where the drawing begins and ends, in hundredths of a pixel.
const LEFT: i64 = 1_200;
const RIGHT: i64 = 109_200;
const TOP: i64 = 1_600;
const BASE: i64 = 33_600;

/// The colours of one scheme, as red, green and blue.
pub(super) struct Scheme {
    ground: [u8; 3],
    ink: [u8; 3],
    limit: [u8; 3],
    even: [u8; 3],
    grid: [u8; 3],
    base: [u8; 3],
}

pub(super) const LIGHT: Scheme = Scheme {
    ground: [0xfc, 0xfc, 0xfb],
    ink: [0x3c, 0x4a, 0x55],
    limit: [0xb0, 0x27, 0x1c],
    even: [0x84, 0x88, 0x8e],
    grid: [0xe5, 0xe5, 0xe1],
    base: [0x84, 0x88, 0x8e],
};

pub(super) const DARK: Scheme = Scheme {
    ground: [0x13, 0x15, 0x18],
    ink: [0xa9, 0xb6, 0xc1],
    limit: [0xff, 0x94, 0x86],
    even: [0x84, 0x8b, 0x93],
    grid: [0x2a, 0x2e, 0x33],
    base: [0x72, 0x79, 0x81],
};

/// The scale of a section's picture: it holds all that was spent, the limit, and the forecast.
pub(super) fn axis(section: &Section, course: &Course) -> Axis {
    let highest = course.spent.max(section.budget.limit.into());
    // A band that goes far beyond everything else would leave nothing else to see.
    let most = highest + highest;
    Axis::holding(words::outlook_of(section).map_or(highest, |outlook| outlook.high.min(most).max(highest)))
}

/// Draws the section's course; `None` where the encoder refuses, and the mail goes without.
pub(super) fn draw(section: &Section, course: &Course, scheme: &Scheme) -> Option<Vec<u8>> {
    let axis = axis(section, course);
    let place = Place { drawn: course.drawn, top: axis.top };
    let mut sheet = Sheet { pixels: Pixmap::new(SIZE.0, SIZE.1)? };
    sheet.pixels.fill(colour(scheme.ground, 255));
    for (amount, _) in axis.ticks.iter().skip(1) {
        sheet.level(place.y(*amount), scheme.grid, 200);
    }
    let last = course.points.last().copied().unwrap_or((course.drawn.0, Total::ZERO));
    let limit = Total::from(section.budget.limit);
    sheet.area(&place, &course.points, last.0, scheme.ink);
    if !section.budget.window.is_rolling() && section.window.end.is_some() {
        sheet.line(&[(LEFT, BASE), (RIGHT, place.y(limit))], scheme.even, 300, Some([2.0, 9.0]));
    }
    let line: Vec<(i64, i64)> = course.points.iter().map(|(at, amount)| (place.x(*at), place.y(*amount))).collect();
    sheet.line(&line, scheme.ink, 500, None);
    if let Some(outlook) = words::outlook_of(section) {
        let from = (place.x(last.0), place.y(last.1));
        sheet.shade(&[from, (RIGHT, place.y(outlook.high)), (RIGHT, place.y(outlook.low))], scheme.ink);
        sheet.line(&[from, (RIGHT, place.y(outlook.projected))], scheme.ink, 400, Some([14.0, 12.0]));
    }
    sheet.level(BASE, scheme.base, 300);
    sheet.level(place.y(limit), scheme.limit, 400);
    let now = (place.x(last.0), place.y(last.1));
    sheet.dot(now, 1_400, scheme.ground);
    sheet.dot(now, 1_000, scheme.ink);
    sheet.pixels.encode_png().ok()
}

/// Where instants and amounts lie.
struct Place {
    drawn: (Timestamp, Timestamp),
    top: Total,
}

impl Place {
    fn x(&self, at: Timestamp) -> i64 {
        LEFT + between(at, self.drawn.0, self.drawn.1, RIGHT - LEFT)
    }

    fn y(&self, amount: Total) -> i64 {
        BASE - along(amount, self.top, BASE - TOP)
    }
}

struct Sheet {
    pixels: Pixmap,
}

impl Sheet {
    /// A level line over the whole width.
    fn level(&mut self, y: i64, ink: [u8; 3], width: i64) {
        self.line(&[(LEFT, y), (RIGHT, y)], ink, width, None);
    }

    fn line(&mut self, points: &[(i64, i64)], ink: [u8; 3], width: i64, dash: Option<[f32; 2]>) {
        let Some(path) = path(points, false) else { return };
        let stroke = Stroke {
            width: pixels(width),
            line_cap: LineCap::Round,
            line_join: LineJoin::Round,
            dash: dash.and_then(|pattern| StrokeDash::new(pattern.to_vec(), 0.0)),
            ..Stroke::default()
        };
        self.pixels.stroke_path(&path, &paint(ink, 255), &stroke, Transform::identity(), None);
    }

    /// What lies under the course.
    fn area(&mut self, place: &Place, points: &[(Timestamp, Total)], until: Timestamp, ink: [u8; 3]) {
        let mut outline = vec![(place.x(points.first().map_or(until, |first| first.0)), BASE)];
        outline.extend(points.iter().map(|(at, amount)| (place.x(*at), place.y(*amount))));
        outline.push((place.x(until), BASE));
        self.shade(&outline, ink);
    }

    /// Fills what the outline holds, lightly.
    fn shade(&mut self, outline: &[(i64, i64)], ink: [u8; 3]) {
        let Some(path) = path(outline, true) else { return };
        self.pixels.fill_path(&path, &paint(ink, 36), FillRule::Winding, Transform::identity(), None);
    }

    fn dot(&mut self, (x, y): (i64, i64), radius: i64, ink: [u8; 3]) {
        let Some(path) = PathBuilder::from_circle(pixels(x), pixels(y), pixels(radius)) else { return };
        self.pixels.fill_path(&path, &paint(ink, 255), FillRule::Winding, Transform::identity(), None);
    }
}

fn path(points: &[(i64, i64)], closed: bool) -> Option<Path> {
    let mut builder = PathBuilder::new();
    for (place, (x, y)) in points.iter().enumerate() {
        if place == 0 {
            builder.move_to(pixels(*x), pixels(*y));
        } else {
            builder.line_to(pixels(*x), pixels(*y));
        }
    }
    if closed {
        builder.close();
    }
    builder.finish()
}

fn paint(ink: [u8; 3], alpha: u8) -> Paint<'static> {
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color(colour(ink, alpha));
    paint
}

fn colour([red, green, blue]: [u8; 3], alpha: u8) -> Color {
    Color::from_rgba8(red, green, blue, alpha)
}

/// Hundredths of a pixel as the rasteriser takes them; nothing drawn here lies beyond 16 bits.
fn pixels(hundredths: i64) -> f32 {
    let whole = i16::try_from(hundredths.div_euclid(100)).unwrap_or(i16::MAX);
    let part = i16::try_from(hundredths.rem_euclid(100)).unwrap_or(0);
    f32::from(whole) + f32::from(part) / 100.0
}
