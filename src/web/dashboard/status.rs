//! `/status`: how the daemon itself is: what it writes, what waits, what it holds, what it warns of.

use std::borrow::Cow;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::DashboardState;
use super::frame::{Frame, Page, bytes};
use super::respond::{PageError, html};
use crate::domain::comparison::Verdict;
use crate::domain::money::Total;
use crate::domain::time::Timestamp;
use crate::report::format;
use crate::report::reconciliation::{self, Reconciliation};
use crate::store::{Engine, outbox, refusals, settlements, size};

/// Refusals that are listed.
const REFUSALS: u32 = 20;

struct Fact {
    name: Cow<'static, str>,
    value: String,
    /// `""`, `warn` or `bad`.
    class: &'static str,
}

impl Fact {
    fn new(name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into(), class: "" }
    }

    fn marked(mut self, class: &'static str, when: bool) -> Self {
        if when {
            self.class = class;
        }
        self
    }
}

struct Section {
    id: &'static str,
    title: &'static str,
    /// `ok`, `warning` or `failed`, and its word.
    class: &'static str,
    word: String,
    facts: Vec<Fact>,
}

struct RefusalLine {
    at: String,
    at_iso: String,
    cause: String,
    budget: String,
    app: String,
    key: String,
    model: String,
    endpoint: String,
}

struct JobLine {
    name: String,
    well: bool,
    last: String,
}

#[derive(Template)]
#[template(path = "status.html")]
struct StatusPage {
    frame: Frame,
    summary: String,
    left: Vec<Section>,
    right: Vec<Section>,
    keys: Vec<(String, String)>,
    warnings: Vec<String>,
    damage: Vec<String>,
    jobs: Vec<JobLine>,
    refusals: Vec<RefusalLine>,
}

/// The page.
pub(super) async fn page(State(state): State<DashboardState>) -> Result<Response, PageError> {
    let (now, store) = (state.clock.now(), &state.store);
    let (backlog, counts, refused, size, account) = tokio::try_join!(
        settlements::backlog(store, now),
        outbox::counts(store),
        refusals::recent(store, REFUSALS),
        size::bytes(store),
        reconciliation::read(store, state.management_key.as_deref(), now),
    )
    .map_err(state.unreadable())?;
    let journal = state.journal.health();
    let uptime = format::left(now.millis() - state.started_at.millis());
    html(&StatusPage {
        frame: Frame::new(&state, "Status", Page::Status),
        summary: format!("tallyd {}, up for {uptime}", env!("CARGO_PKG_VERSION")),
        left: vec![ledger(&state, now, size), journal_section(&journal, now, &state)],
        right: vec![
            settling(&backlog, now),
            catalogue_section(&state, now),
            account_section(&account, &state, now),
            outbox_section(&counts, &state),
            daemon(&state, now),
        ],
        keys: keys(&state),
        warnings: state.warnings.to_vec(),
        damage: journal.damage.iter().map(ToString::to_string).collect(),
        jobs: jobs(&state, now),
        refusals: refused
            .into_iter()
            .map(|one| RefusalLine {
                at: format::moment(one.at, now, state.zone),
                at_iso: one.at.to_iso(),
                cause: one.cause,
                budget: one.budget.unwrap_or_default(),
                app: one.app.unwrap_or_default(),
                key: one.key_name.unwrap_or_default(),
                model: one.requested_model.unwrap_or_default(),
                endpoint: one.endpoint,
            })
            .collect(),
    })
}

fn ledger(state: &DashboardState, now: Timestamp, size: u64) -> Section {
    let health = state.ledger.health();
    let engine = match state.store.engine() {
        Engine::Sqlite => "SQLite",
        Engine::Postgres => "PostgreSQL",
    };
    let mut facts = vec![
        Fact::new("Engine", engine),
        Fact::new("Where", state.database.clone()),
        Fact::new("Size", bytes(size)),
        Fact::new(
            "Last commit",
            health
                .committed_at
                .map_or_else(|| "none since the start".to_owned(), |at| format::moment(at, now, state.zone)),
        ),
        Fact::new("Rows written since the start", count(health.rows)),
        Fact::new("Records set aside", count(health.set_aside)).marked("bad", health.set_aside > 0),
    ];
    let (class, word) = match &health.trouble {
        Some(trouble) => {
            facts.push(Fact::new("It says", trouble.message.clone()).marked("bad", true));
            ("failed", format!("not writable since {}", format::moment(trouble.since, now, state.zone)))
        }
        None => ("ok", "writable".to_owned()),
    };
    Section { id: "ledger", title: "Ledger", class, word, facts }
}

fn journal_section(journal: &crate::journal::Health, now: Timestamp, state: &DashboardState) -> Section {
    let (lost, uncounted) = (state.recorder.lost(), state.recorder.uncounted_calls());
    let oldest =
        journal.oldest_undrained.map_or_else(|| "nothing waits".to_owned(), |age| format::duration(millis(age)));
    let mut facts = vec![
        Fact::new("Waits for the database", bytes(journal.held_bytes)),
        Fact::new("for", oldest),
        Fact::new("Limit", bytes(journal.limit_bytes)),
        Fact::new("Folder", state.journal_dir.display().to_string()),
        Fact::new(
            "Records and syncs since the start",
            format!("{} in {}", count(journal.records), count(journal.syncs)),
        ),
        Fact::new("Released without a sync", count(journal.not_durable)).marked("warn", journal.not_durable > 0),
        Fact::new("Records not taken", count(lost)).marked("bad", lost > 0),
        Fact::new("Calls passed without a record", count(uncounted)).marked("bad", uncounted > 0),
    ];
    if let Some(failure) = &journal.last_failure {
        let when = format::moment(failure.at, now, state.zone);
        facts.push(Fact::new("Last failure", format!("{when}: {}", failure.what)).marked("warn", true));
    }
    if journal.kept_aside > 0 {
        facts.push(Fact::new("Damaged segments kept aside", journal.kept_aside.to_string()).marked("warn", true));
    }
    let (class, word) = match (journal.writable, journal.accepts_new_calls) {
        (false, _) => ("failed", "not writable".to_owned()),
        (true, false) => ("failed", "full".to_owned()),
        (true, true) => ("ok", "writable".to_owned()),
    };
    Section { id: "journal", title: "Journal", class, word, facts }
}

fn settling(backlog: &settlements::Backlog, now: Timestamp) -> Section {
    let late = backlog.oldest_due.map(|due| now.millis() - due.millis());
    let facts = vec![
        Fact::new("Due now", format::count(backlog.due)),
        Fact::new("The oldest is late by", late.map_or_else(|| "nothing is due".to_owned(), format::duration)),
        Fact::new("Planned for later", format::count(backlog.waiting)),
        Fact::new("Waiting for a key nobody holds", format::count(backlog.parked)).marked("warn", backlog.parked > 0),
    ];
    let (class, word) = match late {
        Some(late) if late > 60_000 => ("warning", format!("{} behind", format::duration(late))),
        _ if backlog.parked > 0 => ("warning", "keys missing".to_owned()),
        _ => ("ok", "in time".to_owned()),
    };
    Section { id: "settling", title: "Settling", class, word, facts }
}

fn outbox_section(counts: &outbox::OutboxCounts, state: &DashboardState) -> Section {
    let facts = vec![
        Fact::new("Mail server", if state.has_mail_server { "configured" } else { "none: set [smtp] url" })
            .marked("warn", !state.has_mail_server),
        Fact::new("To be written", format::count(counts.uncomposed)),
        Fact::new("To be sent", format::count(counts.queued)),
        Fact::new("Waiting for a server", format::count(counts.waiting)).marked("warn", counts.waiting > 0),
        Fact::new("Sent", format::count(counts.sent)),
        Fact::new("Given up", format::count(counts.failed)).marked("bad", counts.failed > 0),
    ];
    let (class, word) = if counts.failed > 0 {
        ("failed", "mail was given up".to_owned())
    } else if counts.waiting > 0 || (!state.has_mail_server && counts.uncomposed > 0) {
        ("warning", "mail waits".to_owned())
    } else {
        ("ok", "nothing waits".to_owned())
    };
    Section { id: "outbox", title: "Outbox", class, word, facts }
}

/// What the job of that name said when it last failed; `None` while it does not.
fn trouble(state: &DashboardState, job: &str) -> Option<String> {
    state.board.jobs().into_iter().find(|health| health.name == job)?.error
}

fn catalogue_section(state: &DashboardState, now: Timestamp) -> Section {
    let catalogue = state.catalogue.load();
    let age = catalogue.fetched_at.map_or_else(
        || "never".to_owned(),
        |at| format!("{}, {} ago", format::moment(at, now, state.zone), format::left(now.millis() - at.millis())),
    );
    let prices = catalogue.models().values().map(|model| model.prices.len()).sum::<usize>();
    let mut facts = vec![
        Fact::new("Models", count(catalogue.models().len() as u64)),
        Fact::new("Prices, past ones included", count(prices as u64)),
        Fact::new("Last told by OpenRouter", age),
    ];
    let error = trouble(state, "refresh_catalogue");
    if let Some(error) = &error {
        facts.push(Fact::new("It says", error.clone()).marked("warn", true));
    }
    let (class, word) = match (state.reads_catalogue, &error, catalogue.fetched_at) {
        (false, _, _) => ("ok", "off".to_owned()),
        (true, Some(_), _) => ("warning", "not up to date".to_owned()),
        (true, None, None) => ("warning", "not read yet".to_owned()),
        (true, None, Some(_)) => ("ok", "up to date".to_owned()),
    };
    Section { id: "catalogue", title: "Catalogue", class, word, facts }
}

fn account_section(account: &Reconciliation, state: &DashboardState, now: Timestamp) -> Section {
    let mut facts = Vec::new();
    match account.balance {
        Some(balance) => {
            let age = format::left(now.millis() - balance.as_of.millis());
            facts.push(Fact::new("Balance", format!("{}, {age} ago", format::usd(balance.left()))));
        }
        None if state.management_key.is_some() => facts.push(Fact::new("Balance", "not read yet")),
        None => facts.push(Fact::new("Balance", "needs openrouter.management_key")),
    }
    for compared in &account.today {
        let name = format!("Key {}, today (UTC)", compared.key_name);
        let at = format::moment(compared.as_of, now, state.zone);
        let sums = format!("{} here, {} at OpenRouter", format::usd(compared.ours), format::usd(compared.theirs));
        let (rest, warns) = match compared.verdict() {
            Verdict::Agrees => (String::new(), false),
            Verdict::Open(used) => (format!("; {} may be costs not known yet", format::usd(used)), false),
            Verdict::Elsewhere(used) => (format!("; {} used elsewhere or not captured", format::usd(used)), true),
        };
        facts.push(Fact::new(name, format!("{sums}, {at}{rest}")).marked("warn", warns));
    }
    if account.today.is_empty() {
        facts.push(Fact::new("Keys compared today (UTC)", "none yet"));
    }
    let errors = ["compare_keys", "read_balance"].into_iter().filter_map(|job| trouble(state, job));
    let errors: Vec<String> = errors.collect();
    for error in &errors {
        facts.push(Fact::new("It says", error.clone()).marked("warn", true));
    }
    let (class, word) = if !errors.is_empty() {
        ("warning", "not up to date".to_owned())
    } else if account.elsewhere() > Total::ZERO {
        ("warning", "used elsewhere".to_owned())
    } else {
        ("ok", if account.today.is_empty() { "not compared yet" } else { "agrees" }.to_owned())
    };
    Section { id: "account", title: "Account at OpenRouter", class, word, facts }
}

fn daemon(state: &DashboardState, now: Timestamp) -> Section {
    let facts = vec![
        Fact::new("Version", env!("CARGO_PKG_VERSION")),
        Fact::new("Listens on", state.address.to_string()),
        Fact::new("Base URL for callers", format!("{}/api/v1", state.url)),
        Fact::new("Passes calls to", state.upstream.clone()),
        Fact::new(
            "A call without a key",
            if state.is_open() { "spends with openrouter.api_key: open mode" } else { "is refused: open mode is off" },
        ),
        Fact::new("Tally keys that may be used", count(state.tally_keys.active() as u64)),
        Fact::new("Time zone", state.zone.name()),
        Fact::new("Started", format::date_time(state.started_at, now, state.zone)),
    ];
    Section { id: "daemon", title: "Daemon", class: "ok", word: "running".to_owned(), facts }
}

/// Names and last four characters; keys that callers bring have no name.
fn keys(state: &DashboardState) -> Vec<(String, String)> {
    let held = state.keyring.held().into_iter();
    held.map(|(name, fingerprint, _)| (name.unwrap_or_else(|| "a caller’s own".to_owned()), fingerprint.to_string()))
        .collect()
}

fn jobs(state: &DashboardState, now: Timestamp) -> Vec<JobLine> {
    let jobs = state.board.jobs().into_iter();
    jobs.map(|job| JobLine {
        name: job.name.to_owned(),
        well: job.error.is_none(),
        last: match (&job.error, job.done_at) {
            (Some(error), _) => error.clone(),
            (None, Some(at)) => format!("ran {}", format::moment(at, now, state.zone)),
            (None, None) => "not yet".to_owned(),
        },
    })
    .collect()
}

fn count(number: u64) -> String {
    format::count(i64::try_from(number).unwrap_or(i64::MAX))
}

fn millis(age: std::time::Duration) -> i64 {
    i64::try_from(age.as_millis()).unwrap_or(i64::MAX)
}
