//! A change as a bar from a common zero: filled for more, outlined for less.

use super::scale::{Hundredths, along};
use crate::domain::money::Total;

/// Draws `change`, where `least` and `most` are the ends of the scale that all rows share.
pub(crate) fn draw(change: Total, least: Total, most: Total) -> String {
    let below = (Total::ZERO - least).max(Total::ZERO);
    let span = below + most.max(Total::ZERO);
    let zero = along(below, span, 10_000);
    let (class, left, width) = if change < Total::ZERO {
        let width = along(-change, span, 10_000);
        ("down", zero - width, width)
    } else {
        ("up", zero, along(change, span, 10_000))
    };
    let zero = Hundredths(zero);
    format!(
        r#"<svg class="diverge" aria-hidden="true"><line class="base" x1="{zero}%" x2="{zero}%" y1="-9" y2="24"/><rect class="{class}" x="{}%" y="2" width="{}%" height="10"/></svg>"#,
        Hundredths(left),
        Hundredths(width)
    )
}
