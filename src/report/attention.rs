//! What needs somebody, and one calm line for each thing that does not.

use super::format;
use super::words;
use crate::domain::money::Total;
use crate::domain::time::Timestamp;
use crate::store::outbox::OutboxCounts;
use crate::store::rollups::Sums;
use crate::store::settlements::Backlog;

/// Readings this late are worth a look, in milliseconds.
const LATE_MS: i64 = 10 * 60 * 1000;

/// Failures among today's calls that are worth a look: one in this many.
const MANY_FAILURES: i64 = 20;

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
pub struct Seen {
    /// Today's sums.
    pub today: Sums,
    /// What waits to be settled.
    pub backlog: Backlog,
    /// Where mails stand.
    pub outbox: OutboxCounts,
    /// Whether `[smtp]` is configured.
    pub has_mail_server: bool,
    /// When this was seen.
    pub now: Timestamp,
}

/// Every line, always in the same order.
pub fn checks(seen: &Seen) -> Vec<Check> {
    vec![unknown(seen), settling(seen), failing(seen), mail(seen)]
}

fn unknown(seen: &Seen) -> Check {
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
            "The cost of {} of today is unknown and in no sum.",
            words::counted(unknown, "completion", "completions")
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

fn settling(seen: &Seen) -> Check {
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

fn failing(seen: &Seen) -> Check {
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

fn mail(seen: &Seen) -> Check {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        Seen {
            today: Sums { completions: 100, ..Sums::default() },
            backlog: Backlog::default(),
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
    fn trouble_is_named_with_what_to_do() {
        let mut seen = seen();
        seen.today.failures = 10;
        seen.backlog = Backlog { due: 3, waiting: 1, parked: 2, oldest_due: Some(seen.now.plus_millis(-LATE_MS - 1)) };
        seen.outbox = OutboxCounts { waiting: 2, ..OutboxCounts::default() };
        seen.has_mail_server = false;
        let checks = checks(&seen);
        let level = |what| checks.iter().find(|check| check.what == what).unwrap().level;
        assert_eq!([level("settling"), level("failing"), level("mail")], [Level::Warning; 3]);
        assert!(checks[1].head.contains("10 minutes"), "{}", checks[1].head);
        assert!(checks[3].detail.contains("SMTP_URL"));
    }
}
