//! A budget's bar: 100 % stands at two thirds of the width, whatever the limit.

use std::fmt::Write as _;

use super::escape;
use crate::domain::forecast::Outlook;
use crate::domain::money::Total;
use crate::report::scale::{Hundredths, along};

/// Where 100 % stands, and the whole width (150 %), in hundredths of a percent.
const LIMIT: i64 = 6_667;
const WIDTH: i64 = 10_000;

/// What a bar shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    /// The limit.
    pub(crate) limit: Total,
    /// Spent, settled and not.
    pub(crate) spent: Total,
    /// The part that is not settled.
    pub(crate) inline: Total,
    /// Held back for calls whose cost is not known yet.
    pub(crate) reserved: Total,
    /// Where it is heading; `None`: not known.
    pub(crate) outlook: Option<Outlook>,
    /// Amounts of thresholds below the limit.
    pub(crate) thresholds: &'a [Total],
    /// Whether calls of unknown cost are missing from it.
    pub(crate) unknown: bool,
    /// `is-warning`, `is-crossed` or nothing.
    pub(crate) class: &'static str,
    /// The bar in a sentence.
    pub(crate) about: &'a str,
}

/// Draws one bar.
pub(crate) fn draw(shown: &Shown<'_>) -> String {
    // Under a limit of nothing, any spend fills the bar to its end.
    let at = |amount: Total| {
        if shown.limit <= Total::ZERO {
            if amount > Total::ZERO { WIDTH } else { 0 }
        } else {
            along(amount, Total::from_picos(shown.limit.picos() * 3), 2 * WIDTH).min(WIDTH)
        }
    };
    let mut svg = format!(
        r#"<svg class="budbar" role="img" aria-label="{}"><rect class="rail" y="7" width="100%" height="10"/>"#,
        escape(shown.about)
    );
    for threshold in shown.thresholds {
        let x = Hundredths(at(*threshold));
        let _ = write!(svg, r#"<line class="mark" x1="{x}%" x2="{x}%" y1="4" y2="20"/>"#);
    }
    let (spent, settled) = (at(shown.spent), at(shown.spent - shown.inline));
    let _ = write!(svg, r#"<rect class="spent {}" y="7" width="{}%" height="10"/>"#, shown.class, Hundredths(spent));
    if spent > settled {
        let _ = write!(
            svg,
            r#"<rect x="{}%" y="7" width="{}%" height="10" fill="url(#hatch)"/>"#,
            Hundredths(settled),
            Hundredths(spent - settled)
        );
    }
    let reserved = at(shown.spent + shown.reserved);
    if reserved > spent {
        let (from, width) = (Hundredths(spent), Hundredths(reserved - spent));
        let _ = write!(svg, r#"<rect class="reserved" x="{from}%" y="7.5" width="{width}%" height="9"/>"#);
    }
    if shown.unknown && spent < WIDTH {
        // How much is missing is not known, so its length says nothing but that something is.
        let _ = write!(
            svg,
            r#"<line class="unknown" x1="{}%" x2="{}%" y1="12" y2="12"/>"#,
            Hundredths(spent),
            Hundredths((spent + 300).min(WIDTH))
        );
    }
    if let Some(outlook) = shown.outlook.filter(|outlook| outlook.high > shown.spent) {
        let [low, middle, high] = [outlook.low, outlook.projected, outlook.high].map(|amount| Hundredths(at(amount)));
        let _ = write!(
            svg,
            r#"<line class="fc" x1="{low}%" x2="{high}%" y1="23" y2="23"/><line class="fc-mid" x1="{middle}%" x2="{middle}%" y1="20" y2="26"/>"#
        );
    }
    let limit = Hundredths(LIMIT);
    let _ = write!(svg, r#"<line class="limit" x1="{limit}%" x2="{limit}%" y1="2" y2="22"/></svg>"#);
    svg
}
