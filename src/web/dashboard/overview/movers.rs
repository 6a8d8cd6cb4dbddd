//! What moved, as the overview draws it: from a common zero, rises filled and falls outlined.

use crate::domain::money::Total;
use crate::report::format;
use crate::report::movers::{Moved, Mover, Movers};
use crate::report::range::Range;
use crate::report::scale::{Hundredths, portion};
use crate::web::dashboard::explore;
use crate::web::dashboard::query::link;

/// A line of what moved.
pub(super) struct MoverLine {
    pub(super) model: String,
    pub(super) app: String,
    pub(super) link: Option<String>,
    pub(super) change: String,
    pub(super) rises: bool,
    /// Where nothing has moved, and the bar from there; in percent.
    pub(super) zero: Hundredths,
    pub(super) left: Hundredths,
    pub(super) width: Hundredths,
    pub(super) then: String,
}

/// The line of one of them.
pub(super) fn line(mover: &Mover, all: &Movers) -> MoverLine {
    let change = mover.moved.change();
    let changes = || all.movers.iter().map(|mover| mover.moved.change().picos());
    let (low, high) = (changes().min().unwrap_or(0).min(0), changes().max().unwrap_or(0).max(0));
    let along = |picos: i128| portion(picos, high - low, 10_000);
    let (zero, at) = (along(-low), along(change.picos() - low));
    let names = [("model", mover.model.as_deref()), ("app", mover.app.as_deref())];
    let pairs = names.map(|(field, name)| name.map_or(("none", field), |name| (field, name)));
    MoverLine {
        model: mover.model.clone().unwrap_or_else(|| "model not known".to_owned()),
        app: mover.app.clone().unwrap_or_else(|| "no app named".to_owned()),
        link: Some(link(explore::PATH, [("range", Range::Week.as_str())].into_iter().chain(pairs))),
        change: format::usd_change(change),
        rises: change > Total::ZERO,
        zero: Hundredths(zero),
        left: Hundredths(zero.min(at)),
        width: Hundredths((at - zero).abs().max(40)),
        then: then(&mover.moved),
    }
}

fn then(moved: &Moved) -> String {
    format!("{} → {}", format::usd(moved.before), format::usd(moved.now))
}

/// The others together, and all.
pub(super) fn rest(all: &Movers) -> Vec<MoverLine> {
    let line = |model: String, moved: &Moved| MoverLine {
        model,
        app: String::new(),
        link: None,
        change: format::usd_change(moved.change()),
        rises: false,
        zero: Hundredths(0),
        left: Hundredths(0),
        width: Hundredths(0),
        then: then(moved),
    };
    let others = (all.others > 0).then(|| line(format!("{} others", all.others), &all.of_others));
    others.into_iter().chain([line("All spend".to_owned(), &all.total)]).collect()
}
