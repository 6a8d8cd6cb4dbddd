//! What stands around every page: navigation, how fresh the figures are, and what is wrong with the daemon itself.

use super::DashboardState;
use super::assets::{URLS, Urls};
use crate::config::OnLedgerFailure;
use crate::report::format::{self, NBSP};
use crate::report::words;

/// Which page it is, for the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Overview,
    Explore,
    Completions,
    Sessions,
    Failures,
    Budgets,
    Alerts,
    Reports,
    Sql,
    Keys,
    Status,
    /// None of them.
    None,
}

impl Page {
    const LISTED: [(Page, &'static str, &'static str); 11] = [
        (Self::Overview, "/", "Overview"),
        (Self::Explore, "/explore", "Explore"),
        (Self::Completions, "/completions", "Completions"),
        (Self::Sessions, "/sessions", "Sessions"),
        (Self::Failures, "/failures", "Failures"),
        (Self::Budgets, "/budgets", "Budgets"),
        (Self::Alerts, "/alerts", "Alerts"),
        (Self::Reports, "/reports", "Reports"),
        (Self::Sql, "/sql", "SQL"),
        (Self::Keys, "/keys", "Keys"),
        (Self::Status, "/status", "Status"),
    ];
}

/// A link of the navigation.
#[derive(Clone, Debug)]
pub(super) struct NavLink {
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    pub(super) current: bool,
}

/// Something that every page must say.
#[derive(Clone, Debug)]
pub(super) struct Banner {
    /// What happened.
    pub(super) head: String,
    /// What it means and what to do.
    pub(super) text: String,
    /// Red, not amber.
    pub(super) bad: bool,
}

/// What stands around every page.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) title: String,
    pub(super) nav: Vec<NavLink>,
    pub(super) banners: Vec<Banner>,
    /// When the figures were read.
    pub(super) now_iso: String,
    pub(super) now_text: String,
    /// The zone's name as pages write it.
    pub(super) zone: String,
    pub(super) urls: &'static Urls,
    pub(super) version: &'static str,
}

impl Frame {
    /// The frame of a page that is read now.
    pub(super) fn new(state: &DashboardState, title: &str, page: Page) -> Self {
        let now = state.clock.now();
        let zone = state.zone.name().to_owned();
        Self {
            title: title.to_owned(),
            nav: Page::LISTED.map(|(listed, path, name)| NavLink { path, name, current: listed == page }).to_vec(),
            banners: banners(state),
            now_iso: now.to_iso(),
            now_text: format!("{} {zone}", format::clock_time(now, state.zone)),
            zone,
            urls: &URLS,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// What is wrong with the daemon itself.
fn banners(state: &DashboardState) -> Vec<Banner> {
    let mut banners = Vec::new();
    let (now, zone) = (state.clock.now(), state.zone);
    let journal = state.journal.health();
    if let Some(trouble) = &state.ledger.health().trouble {
        let since = format::moment(trouble.since, now, zone);
        let waiting = format!("{} of calls wait in the journal", bytes(journal.held_bytes));
        let waits = if journal.accepts_new_calls {
            let room = bytes(journal.limit_bytes.saturating_sub(journal.held_bytes));
            format!("Nothing is lost: {waiting}, which has room for {room} more")
        } else {
            // What becomes of new calls is another banner's to say.
            waiting
        };
        banners.push(Banner {
            head: format!("The database takes no writes since {since}."),
            text: format!("{waits}. Figures stop there. The database says: {}.", trouble.message.trim_end_matches('.')),
            bad: true,
        });
    }
    if !journal.writable {
        let what = journal.last_failure.as_ref().map_or("its disk does not answer", |failure| failure.what.as_str());
        banners.push(Banner {
            head: "The journal can not be written.".to_owned(),
            text: format!(
                "Calls are kept in memory alone and would be lost if tallyd stopped now: {}.{}",
                what.trim_end_matches('.'),
                if state.recorder.has_room_for_new_calls() { String::new() } else { format!(" {}", new_calls(state)) }
            ),
            bad: true,
        });
    } else if !journal.accepts_new_calls {
        banners.push(Banner {
            head: "The journal is full.".to_owned(),
            text: format!("{} wait for the database. {}", bytes(journal.held_bytes), new_calls(state)),
            bad: true,
        });
    }
    banners
}

/// What becomes of new calls while the journal has no room for them.
fn new_calls(state: &DashboardState) -> String {
    match state.on_ledger_failure {
        OnLedgerFailure::Refuse => "New calls are refused with 503, as journal.on_ledger_failure says.".to_owned(),
        OnLedgerFailure::Forward => {
            let uncounted = i64::try_from(state.recorder.uncounted_calls()).unwrap_or(i64::MAX);
            format!(
                "New calls pass without a record, as journal.on_ledger_failure says: {} since the start are in no sum \
                 and no budget.",
                words::counted(uncounted, "call", "calls")
            )
        }
    }
}

/// A size as people read it: `512 B`, `1.4 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => {
            let tenths = (u128::from(bytes) * 10 + u128::from(unit) / 2) / u128::from(unit);
            format!("{}.{}{NBSP}{name}", tenths / 10, tenths % 10)
        }
        None => words::counted(i64::try_from(bytes).unwrap_or(i64::MAX), "byte", "bytes"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_have_one_decimal() {
        assert_eq!(super::bytes(1), "1 byte");
        assert_eq!(super::bytes(1_536), "1.5\u{a0}KiB");
        assert_eq!(super::bytes(64 << 20), "64.0\u{a0}MiB");
    }
}
