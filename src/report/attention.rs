//! What needs somebody, and one calm line for each thing that does not.

use super::estimates::Estimates;
use super::format;
use super::reconciliation::Reconciliation;
use super::words;
use crate::domain::comparison::Verdict;
use crate::domain::money::{Money, Total};
use crate::domain::time::Timestamp;
use crate::store::calls::{MAX_UNSETTLED, Unsettled};
use crate::store::outbox::OutboxCounts;
use crate::store::rollups::Sums;
use crate::store::settlements::Backlog;

/// Readings this late are worth a look, in milliseconds.
const LATE_MS: i64 = 10 * 60 * 1000;

/// Failures among today's calls that are worth a look: one in this many.
const MANY_FAILURES: i64 = 20;

/// How long a call that was given up is told of, in days.
pub const UNSETTLED_DAYS: i64 = 7;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Nothing to do.
    Calm,
    /// Worth a look.
    Warning,
    /// Somebody must act.
    Bad,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub what: &'static str,
    /// How it is.
    pub level: Level,
    /// In a sentence.
    pub head: String,
    /// What else is worth knowing; may be empty.
    pub detail: String,
    /// The page that shows more, if one does.
    pub link: Option<&'static str>,
}

/// What the lines are made of.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Today's sums.
    pub today: Sums,
    /// What today's unknown costs may be.
    pub estimates: Estimates,
    /// What OpenRouter counted beside us.
    pub reconciliation: &'a Reconciliation,
    /// Whether a key is configured that is told the balance.
    pub has_management_key: bool,
    /// What waits to be settled.
    pub backlog: Backlog,
    /// What was given up in the last [`UNSETTLED_DAYS`] days.
    pub unsettled: Unsettled,
    /// Where mails stand.
    pub outbox: OutboxCounts,
    /// Whether `[smtp]` is configured.
    pub has_mail_server: bool,
    /// When this was seen.
    pub now: Timestamp,
}

/// Every line, always in the same order.
pub fn checks(seen: &Seen<'_>) -> Vec<Check> {
    let mut checks = vec![unknown(seen), settling(seen), unsettled(seen), failing(seen), mail(seen), elsewhere(seen)];
    if seen.has_management_key {
        checks.push(balance(seen));
    }
    checks
}

fn unknown(seen: &Seen<'_>) -> Check {
    let Sums { unknown, inline, inline_cost, completions, .. } = seen.today;
    let inline_detail = if inline == 0 || inline_cost == Total::ZERO {
        String::new()
    } else {
        format!(
            "{} of {} not yet settled",
            format::usd(inline_cost),
            words::counted(inline, "completion", "completions")
        )
    };
    let head = match (completions, unknown) {
        (0, _) => "No completion today yet.".to_owned(),
        (_, 0) => "Every cost of today is known.".to_owned(),
        _ => format!(
            "The cost of {} of today is unknown and in no sum{}.",
            words::counted(unknown, "completion", "completions"),
            seen.estimates.about(unknown)
        ),
    };
    Check {
        what: "unknown",
        // Costs that broken streams leave open come with their records, seconds later.
        level: Level::Calm,
        head,
        detail: inline_detail,
        link: (unknown > 0).then_some("/completions?state=pending"),
    }
}

fn settling(seen: &Seen<'_>) -> Check {
    let Backlog { due, waiting, parked, oldest_due } = seen.backlog;
    let late = oldest_due.map_or(0, |due| seen.now.millis() - due.millis());
    let level = if late > LATE_MS || parked > 0 { Level::Warning } else { Level::Calm };
    let head = if due + waiting == 0 {
        "Everything is settled.".to_owned()
    } else if due == 0 {
        format!("{} to be settled, none late.", words::counted(waiting, "completion is", "completions are"))
    } else {
        format!(
            "{} to be settled; {} due, the oldest for {}.",
            words::counted(due + waiting, "completion is", "completions are"),
            format::count(due),
            format::left(late).replace("less than a minute", "seconds")
        )
    };
    let detail = if parked > 0 {
        format!(
            "{} for a key that no running instance holds; configure it, or make a call with it",
            words::counted(parked, "more waits", "more wait")
        )
    } else {
        String::new()
    };
    Check { what: "settling", level, head, detail, link: (level != Level::Calm).then_some("/status") }
}

fn unsettled(seen: &Seen<'_>) -> Check {
    let Unsettled { calls, told, cost } = seen.unsettled;
    let more = if calls == MAX_UNSETTLED { " or more" } else { "" };
    let head = match calls {
        0 => format!("No call of the last {UNSETTLED_DAYS} days was given up."),
        _ => format!(
            "{}{more} of the last {UNSETTLED_DAYS} days could not be settled.",
            words::counted(calls, "completion", "completions")
        ),
    };
    let detail = match (calls, told) {
        (0, _) => String::new(),
        (_, 0) => "what they cost is unknown and in no sum".to_owned(),
        _ => format!(
            "their replies’ own {} counts for {}",
            format::usd(cost),
            words::counted(told, "of them", "of them")
        ),
    };
    Check {
        what: "unsettled",
        level: if calls == 0 { Level::Calm } else { Level::Warning },
        head,
        detail,
        link: (calls > 0).then_some("/completions?state=unsettled&since=7d"),
    }
}

fn failing(seen: &Seen<'_>) -> Check {
    let Sums { failures, completions, .. } = seen.today;
    let calls = failures + completions;
    let many = failures > 0 && failures * MANY_FAILURES > calls;
    let head = match failures {
        0 => "No call has failed today.".to_owned(),
        _ => format!(
            "{} of {} failed today; nothing was billed for them.",
            format::count(failures),
            words::counted(calls, "call", "calls")
        ),
    };
    Check {
        what: "failing",
        level: if many { Level::Warning } else { Level::Calm },
        head,
        detail: String::new(),
        link: (failures > 0).then_some("/completions?state=failed"),
    }
}

fn mail(seen: &Seen<'_>) -> Check {
    let OutboxCounts { uncomposed, queued, waiting, sent, failed } = seen.outbox;
    let open = uncomposed + queued + waiting;
    let (level, head) = if failed > 0 {
        (
            Level::Bad,
            format!("{} not be delivered and was given up.", words::counted(failed, "mail could", "mails could")),
        )
    } else if open > 0 && !seen.has_mail_server {
        (
            Level::Warning,
            format!("{} in the outbox: there is no mail server.", words::counted(open, "mail waits", "mails wait")),
        )
    } else if open > 0 {
        (Level::Calm, format!("{} on the way.", words::counted(open, "mail is", "mails are")))
    } else if sent > 0 {
        (Level::Calm, "All mail is delivered.".to_owned())
    } else {
        (Level::Calm, "There was nothing to mail.".to_owned())
    };
    let detail =
        if seen.has_mail_server { "" } else { "set [smtp] url in tallyd.toml, or SMTP_URL, and they are sent" };
    Check {
        what: "mail",
        level,
        head,
        detail: if open > 0 { detail.to_owned() } else { String::new() },
        link: (level != Level::Calm || open > 0).then_some("/alerts"),
    }
}

/// What a key spent today at OpenRouter that the ledger does not hold.
fn elsewhere(seen: &Seen<'_>) -> Check {
    let today = &seen.reconciliation.today;
    let (mut used, mut open, mut as_of) = (Vec::new(), Vec::new(), None);
    for compared in today {
        let named = |amount: Money| format!("{} today (key {})", format::usd(amount), compared.key_name);
        match compared.verdict() {
            Verdict::Agrees => {}
            Verdict::Open(amount) => open.push(named(amount)),
            Verdict::Elsewhere(amount) => used.push(named(amount)),
        }
        as_of = as_of.max(Some(compared.as_of));
    }
    let level = if used.is_empty() { Level::Calm } else { Level::Warning };
    let asked = as_of.map(|at| format!("OpenRouter was last asked {}", ago(at, seen.now)));
    let head = if !used.is_empty() {
        format!("Used elsewhere or not captured: {}.", used.join(", "))
    } else if !open.is_empty() {
        format!("OpenRouter counts more: {}; completions whose cost is not known yet may be it.", open.join(", "))
    } else if today.is_empty() {
        "No key has been compared with OpenRouter’s own count today yet.".to_owned()
    } else {
        "OpenRouter counted nothing today (UTC) that is not here.".to_owned()
    };
    let remedy = "calls with this key that do not pass through tallyd; tell their IDs, or give them a key of their own";
    let detail = match (used.is_empty(), asked) {
        (false, Some(asked)) => format!("{remedy}. {asked}"),
        (_, asked) => asked.unwrap_or_default(),
    };
    Check { what: "elsewhere", level, head, detail, link: (level != Level::Calm).then_some("/status#s-account") }
}

fn balance(seen: &Seen<'_>) -> Check {
    let (level, head, detail) = match seen.reconciliation.balance {
        None => (Level::Calm, "The account’s balance has not been read yet.".to_owned(), String::new()),
        Some(balance) => (
            if balance.left() <= Money::ZERO { Level::Bad } else { Level::Calm },
            format!("{} of credits are left.", format::usd(balance.left())),
            format!("read {}", ago(balance.as_of, seen.now)),
        ),
    };
    Check { what: "balance", level, head, detail, link: Some("/status#s-account") }
}

/// How long ago something was, in words.
fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", format::left(now.millis() - at.millis()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::comparison::{Balance, KeyDay};

    static NOTHING: Reconciliation = Reconciliation { today: Vec::new(), before: Vec::new(), balance: None };

    fn seen() -> Seen<'static> {
        Seen {
            today: Sums { completions: 100, ..Sums::default() },
            estimates: Estimates::default(),
            reconciliation: &NOTHING,
            has_management_key: false,
            backlog: Backlog::default(),
            unsettled: Unsettled::default(),
            outbox: OutboxCounts::default(),
            has_mail_server: true,
            now: Timestamp(1_795_000_000_000),
        }
    }

    #[test]
    fn nothing_wrong_is_all_calm() {
        assert!(checks(&seen()).iter().all(|check| check.level == Level::Calm && check.link.is_none()));
    }

    #[test]
    fn what_was_used_elsewhere_is_told_with_its_key_and_the_balance_with_its_age() {
        let now = seen().now;
        let money = |text| Money::parse(text).unwrap();
        let compared = |name: &str, theirs, waiting| KeyDay {
            key_name: name.to_owned(),
            key_sha256: name.to_owned(),
            day: now,
            ours: money("1"),
            theirs: money(theirs),
            unknown: waiting,
            estimate: Money::ZERO,
            waiting,
            dearest: money("5"),
            over_midnight: Money::ZERO,
            as_of: now.plus_millis(-20 * 60_000),
        };
        let balance = Balance { credits: money("60"), usage: money("48.5"), as_of: now.plus_millis(-5 * 60_000) };
        let of = |today: Vec<KeyDay>| {
            let reconciliation = Reconciliation { today, before: Vec::new(), balance: Some(balance) };
            checks(&Seen { reconciliation: &reconciliation, has_management_key: true, ..seen() })
        };
        let found = of(vec![compared("default", "3.5", 0), compared("growth", "1", 0)]);
        assert_eq!(found[5].level, Level::Warning);
        assert_eq!(found[5].head, "Used elsewhere or not captured: $2.50 today (key default).");
        assert!(found[5].detail.ends_with("last asked 20 minutes ago"), "{}", found[5].detail);
        assert_eq!(
            (found[6].head.as_str(), found[6].detail.as_str()),
            ("$11.50 of credits are left.", "read 5 minutes ago")
        );
        let open = of(vec![compared("default", "3.5", 1)]);
        assert_eq!(open[5].level, Level::Calm);
        assert!(open[5].head.contains("$2.50") && open[5].head.contains("may be it"), "{}", open[5].head);
        assert_eq!(
            of(vec![compared("default", "1", 0)])[5].head,
            "OpenRouter counted nothing today (UTC) that is not here."
        );
    }

    #[test]
    fn trouble_is_named_with_what_to_do() {
        let mut seen = seen();
        seen.today.failures = 10;
        seen.backlog = Backlog { due: 3, waiting: 1, parked: 2, oldest_due: Some(seen.now.plus_millis(-LATE_MS - 1)) };
        seen.outbox = OutboxCounts { waiting: 2, ..OutboxCounts::default() };
        seen.has_mail_server = false;
        seen.unsettled = Unsettled { calls: 2, told: 1, cost: Total::from_parts(3, 0) };
        let checks = checks(&seen);
        let level = |what| checks.iter().find(|check| check.what == what).unwrap().level;
        let levels = ["settling", "unsettled", "failing", "mail"].map(level);
        assert_eq!(levels, [Level::Warning; 4]);
        assert!(checks[2].head.starts_with("2 completions of the last 7 days") && checks[2].detail.contains("$3.00"));
        assert!(checks[1].head.contains("10 minutes"), "{}", checks[1].head);
        assert!(checks[4].detail.contains("SMTP_URL"));
    }
}
