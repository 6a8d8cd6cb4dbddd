//! `tallyd budget` and `tallyd reload`: budgets listed, made, changed and removed, by the running daemon or, where none
//! runs, with the owner's lock held.

use std::io::Write as _;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::daemon::{self, Asked, understood};
use super::{Ending, Outcome, Surroundings, say_beside};
use crate::app::offline;
use crate::config::Config;
use crate::definitions::{self, Definitions, Listed, Reloaded};
use crate::domain::budget::change::{Actor, Door};
use crate::domain::budget::{BudgetName, BudgetSpec, Origin};
use crate::report::output::{self, Format};
use crate::report::replay;
use crate::web::api::{BudgetsPage, MAX_PAGE};

/// Budgets: listed, made, changed and removed.
#[derive(Debug, Args)]
pub(super) struct Budget {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// List all budgets, and where they stand
    List {
        /// How to print them
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Make a budget, or change one that tallyd.toml does not own; what is not given stays as it is
    Set(Box<Set>),
    /// Remove a budget that tallyd.toml does not own; its history stays
    Remove {
        /// The budget
        name: BudgetName,
    },
    /// Let a budget count, and neither tell nor refuse, until it is resumed
    Pause {
        /// The budget
        name: BudgetName,
    },
    /// Let a paused budget tell and refuse again
    Resume {
        /// The budget
        name: BudgetName,
    },
    /// Give a budget another limit until an instant, or end that
    Override(Override),
    /// What a budget, as it is or with the given changes, would have done over the last time; changes nothing
    Replay(Box<Replay>),
    /// Add an amount to the limit of a budget's current window; of `total`, for good
    Topup(Topup),
}

#[derive(Debug, Args)]
struct Set {
    /// The budget
    name: BudgetName,
    /// The limit of each window, in dollars
    #[arg(long, value_name = "USD")]
    limit: Option<String>,
    #[arg(
        long,
        help = "hour, day, week, month, quarter, year, total, \"rolling 24h\", \"rolling 7d\" or \"rolling 30d\" [default: month]"
    )]
    window: Option<String>,
    /// Count only calls of this app; * and ? match any
    #[arg(long, value_name = "GLOB")]
    app: Option<String>,
    /// … made with the OpenRouter key of this name
    #[arg(long, value_name = "GLOB")]
    key: Option<String>,
    /// … for this end user
    #[arg(long, value_name = "GLOB")]
    user: Option<String>,
    /// … of this session
    #[arg(long, value_name = "GLOB")]
    session: Option<String>,
    /// … that this model answered
    #[arg(long, value_name = "GLOB")]
    model: Option<String>,
    /// … that this provider answered
    #[arg(long, value_name = "GLOB")]
    provider: Option<String>,
    /// … with this tag; may be given more than once
    #[arg(long = "tag", value_name = "NAME=GLOB")]
    tags: Vec<String>,
    /// Count every call, whatever was counted before
    #[arg(long, conflicts_with_all = ["app", "key", "user", "session", "model", "provider", "tags"])]
    everything: bool,
    /// The zone of its calendar [default: that of the configuration]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// user, app, key or tag.NAME: each of its values has the limit to itself; '' for all together
    #[arg(long, value_name = "FIELD")]
    each: Option<String>,
    /// The weekday on which weeks begin [default: monday]
    #[arg(long, value_name = "WEEKDAY")]
    week_starts: Option<String>,
    /// The day on which months begin, 1 to 31 [default: 1]
    #[arg(long, value_name = "DAY")]
    billing_day: Option<i64>,
    /// Whether what a window leaves unspent is added to the next one's limit
    #[arg(long, value_name = "BOOL")]
    rollover: Option<bool>,
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "THRESHOLD",
        help = "Where it speaks up, such as 80% or '$120.00', parted by commas; '' for never [default: 50%,80%,100%]"
    )]
    alert_at: Option<Vec<String>>,
    /// Whom it writes to, parted by commas; '' for nobody
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS")]
    notify: Option<Vec<String>>,
    /// alert, or block: further calls are refused [default: alert]
    #[arg(long, value_name = "WHAT")]
    when_exceeded: Option<String>,
    /// forward or refuse: what becomes of its calls when the ledger fails [default: that of the configuration]
    #[arg(long, value_name = "WHAT")]
    on_ledger_failure: Option<String>,
}

#[derive(Debug, Args)]
struct Replay {
    #[command(flatten)]
    budget: Set,
    /// From when, inclusive: a date, an instant, or a span back such as 90d [default: 30d]
    #[arg(long)]
    since: Option<String>,
    /// Until when, exclusive [default: now]
    #[arg(long)]
    until: Option<String>,
    /// How to print it; csv has its windows
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
struct Override {
    /// The budget
    name: BudgetName,
    /// The limit while the override holds, in dollars
    #[arg(long, value_name = "USD", required_unless_present = "end")]
    limit: Option<String>,
    /// When it ends: 12h, 3d, 2w, a date (its first instant in the budget's zone) or an instant
    #[arg(long, value_name = "DURATION|DATE", required_unless_present = "end")]
    until: Option<String>,
    /// Why, for those who wonder
    #[arg(long, required_unless_present = "end")]
    reason: Option<String>,
    /// End the override that holds
    #[arg(long, conflicts_with_all = ["limit", "until", "reason"])]
    end: bool,
}

#[derive(Debug, Args)]
struct Topup {
    /// The budget
    name: BudgetName,
    /// How much, in dollars; a negative amount takes back
    #[arg(value_name = "USD", allow_hyphen_values = true)]
    amount: String,
    /// What for
    #[arg(long, default_value = "")]
    note: String,
}

/// What is asked for: of the daemon, or, where none runs, of the ledger itself.
struct Question {
    name: BudgetName,
    method: reqwest::Method,
    below: &'static str,
    body: Option<Value>,
}

impl Budget {
    pub(super) async fn run(self, surroundings: Surroundings) -> Outcome {
        let config = surroundings.load()?.config;
        let (question, done) = match self.act {
            Act::List { format } => return list(&surroundings, &config, format).await,
            Act::Set(set) => return set.run(&surroundings, &config).await,
            Act::Replay(replay) => return replay.run(&surroundings, &config).await,
            Act::Remove { name } => (Question::of(name, reqwest::Method::DELETE, "", None), "removed"),
            Act::Pause { name } => (Question::of(name, reqwest::Method::POST, "/pause", None), "paused"),
            Act::Resume { name } => (Question::of(name, reqwest::Method::POST, "/resume", None), "resumed"),
            Act::Override(Override { name, end: true, .. }) => {
                (Question::of(name, reqwest::Method::DELETE, "/override", None), "no more overridden")
            }
            Act::Override(Override { name, limit, until, reason, .. }) => {
                let body = json!({ "limit_usd": limit, "until": until, "reason": reason });
                (Question::of(name, reqwest::Method::POST, "/override", Some(body)), "overridden")
            }
            Act::Topup(Topup { name, amount, note }) => {
                // One command is one top-up, however often it is sent on its way.
                let id = format!("{:032x}", surroundings.entropy.next_u128());
                let body = json!({ "amount_usd": amount, "note": note, "id": id });
                (Question::of(name, reqwest::Method::POST, "/topup", Some(body)), "topped up")
            }
        };
        let row = question.ask(&surroundings, &config).await?;
        tell(&row, done)
    }
}

/// What became of a budget, in a line.
fn tell(row: &Listed, done: &str) -> Outcome {
    let limit = row.window_limit_usd.clone().unwrap_or_else(|| row.budget.limit.to_decimal());
    let spent = row.spent_usd.as_deref().unwrap_or("0");
    let overridden = row.overridden.as_ref();
    let until = overridden.map(|one| format!(" until {} ({})", one.until, one.reason)).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    writeln!(out, "the budget {} is {done}: {spent} of {limit} dollars{until}, {}", row.budget.name, row.word())?;
    Ok(Ending::Done)
}

impl Question {
    fn of(name: BudgetName, method: reqwest::Method, below: &'static str, body: Option<Value>) -> Self {
        Self { name, method, below, body }
    }

    async fn ask(self, surroundings: &Surroundings, config: &Config) -> anyhow::Result<Listed> {
        let path = format!("/tally/v1/budgets/{}{}", self.name, self.below);
        let body = self.body.as_ref().map(Value::to_string);
        match daemon::ask(config, self.method.clone(), &path, body).await? {
            Asked::Answered(answer) => understood(answer),
            Asked::NotRunning => {
                offline::changing_budgets(config, &surroundings.clock, &surroundings.entropy, async |definitions| {
                    self.perform(definitions).await
                })
                .await
            }
        }
    }

    /// Does it without a daemon.
    async fn perform(self, definitions: &Definitions) -> anyhow::Result<Listed> {
        let Self { name, method, below, body } = self;
        let by = Actor::new(Door::Command, "local");
        let text =
            |field: &str| body.as_ref().and_then(|body| body[field].as_str()).map(str::to_owned).unwrap_or_default();
        let before = definitions.list().await?.into_iter().rfind(|listed| listed.budget.name == name);
        match (method, below) {
            (_, "/pause") => definitions.pause(name.clone(), true, by).await?,
            (_, "/resume") => definitions.pause(name.clone(), false, by).await?,
            (reqwest::Method::DELETE, "/override") => definitions.end_override(name.clone(), by).await?,
            (_, "/override") => {
                let (limit, until, reason) = (text("limit_usd"), text("until"), text("reason"));
                definitions.override_limit(name.clone(), &limit, &until, &reason, by).await?
            }
            (_, "/topup") => {
                definitions.top_up(name.clone(), &text("amount_usd"), &text("note"), Some(text("id")), by).await?
            }
            (reqwest::Method::DELETE, _) => {
                definitions.remove(name.clone(), by).await?;
                return before.context("the budget is gone");
            }
            _ => {
                let spec: BudgetSpec = serde_json::from_value(body.unwrap_or_default())?;
                definitions.set(spec, by).await?
            }
        };
        definitions.find(&name).await?.context("the budget is gone")
    }
}

impl Set {
    async fn run(self, surroundings: &Surroundings, config: &Config) -> Outcome {
        let all = if let Some(all) = of_daemon(config).await? {
            all
        } else {
            // What is not there yet is made: no database, no file of its own.
            let (clock, entropy) = (&surroundings.clock, &surroundings.entropy);
            offline::changing_budgets(config, clock, entropy, async |definitions| Ok(definitions.list().await?)).await?
        };
        let known = all.iter().rfind(|listed| listed.budget.name == self.name);
        if known.is_some_and(|listed| listed.budget.origin == Origin::File) {
            anyhow::bail!(
                "the budget \"{}\" stands in tallyd.toml and is read-only here: change it there, then run `tallyd reload`",
                self.name
            );
        }
        let fields = match self.fields(known) {
            Ok(fields) => fields,
            Err(told) => {
                say_beside(format_args!("tallyd: {told}"));
                return Ok(Ending::Usage);
            }
        };
        let name = self.name;
        let row = Question::of(name, reqwest::Method::PUT, "", Some(fields)).ask(surroundings, config).await?;
        tell(&row, if known.is_some() { "changed" } else { "made" })
    }

    /// The budget with what is given, as JSON; the error is one of usage.
    fn fields(&self, known: Option<&Listed>) -> Result<Value, String> {
        if known.is_none() && self.limit.is_none() {
            return Err(format!(
                "there is no budget \"{}\" to change; to make it, give it a --limit in dollars",
                self.name
            ));
        }
        let mut fields = match known {
            Some(listed) => serde_json::to_value(&listed.budget).map_err(|error| error.to_string())?,
            None => json!({ "name": self.name, "window": "month" }),
        };
        self.lay_over(&mut fields)?;
        Ok(fields)
    }

    /// Lays what is given over what is there; the error is one of usage.
    fn lay_over(&self, fields: &mut Value) -> Result<(), String> {
        let Some(object) = fields.as_object_mut() else { return Ok(()) };
        object.remove("origin");
        let mut set = |field: &str, value: Option<Value>| {
            if let Some(value) = value {
                object.insert(field.to_owned(), value);
            }
        };
        let words = |words: &Vec<String>| {
            let given = words.iter().map(|word| word.trim()).filter(|word| !word.is_empty());
            Value::from(given.map(str::to_owned).collect::<Vec<String>>())
        };
        set("limit_usd", self.limit.clone().map(Value::from));
        if let Some(each) = &self.each {
            let each = each.trim();
            set("each", Some(if each.is_empty() { Value::Null } else { Value::from(each) }));
        }
        set("window", self.window.clone().map(Value::from));
        set("time_zone", self.time_zone.clone().map(Value::from));
        set("week_starts", self.week_starts.clone().map(Value::from));
        set("billing_day", self.billing_day.map(Value::from));
        set("rollover", self.rollover.map(Value::from));
        set("alert_at", self.alert_at.as_ref().map(words));
        set("notify", self.notify.as_ref().map(words));
        set("when_exceeded", self.when_exceeded.clone().map(Value::from));
        set("on_ledger_failure", self.on_ledger_failure.clone().map(Value::from));
        if self.window.is_some() {
            // What says something of another window alone goes with it, unless it is given anew.
            for (field, given) in [
                ("week_starts", self.week_starts.is_some()),
                ("billing_day", self.billing_day.is_some()),
                ("rollover", self.rollover.is_some()),
            ] {
                if !given {
                    object.remove(field);
                }
            }
        }
        let scope = object.entry("scope").or_insert_with(|| json!({}));
        if self.everything {
            *scope = json!({});
        }
        let globs = [
            ("app", &self.app),
            ("key", &self.key),
            ("user", &self.user),
            ("session", &self.session),
            ("model", &self.model),
            ("provider", &self.provider),
        ];
        for (field, glob) in globs {
            if let Some(glob) = glob {
                scope[field] = Value::from(glob.as_str());
            }
        }
        for tag in &self.tags {
            let Some((name, glob)) = tag.split_once('=') else {
                return Err(format!("--tag {tag:?} has no value; write --tag name=value"));
            };
            scope["tag"][name.trim()] = Value::from(glob.trim());
        }
        Ok(())
    }
}

impl Replay {
    async fn run(self, surroundings: &Surroundings, config: &Config) -> Outcome {
        let now = surroundings.clock.now();
        let usage = |told: &dyn std::fmt::Display| {
            say_beside(format_args!("tallyd: {told}"));
            Ok(Ending::Usage)
        };
        let over = replay::span(self.since.as_deref(), self.until.as_deref(), config.time_zone, now);
        let (since, until) = match over {
            Ok(over) => over,
            Err(error) => return usage(&error),
        };
        let store = daemon::open_read_only(config).await?;
        let all = definitions::list(&store, &surroundings.clock).await?;
        // Of two with one name the file's is in force.
        let known = all.iter().find(|listed| listed.budget.name == self.budget.name);
        let spec = match self.budget.fields(known) {
            Ok(fields) => serde_json::from_value::<BudgetSpec>(fields),
            Err(told) => return usage(&told),
        };
        let budget = match spec.map(|spec| spec.into_budget(Origin::Own, config.time_zone)) {
            Ok(Ok(budget)) => budget,
            Ok(Err(error)) => return usage(&error),
            Err(error) => return usage(&error),
        };
        let course = replay::run(&store, &Semaphore::new(1), budget, since, until, u64::MAX).await?;
        let mut out = std::io::stdout().lock();
        match self.format {
            Format::Json => {
                serde_json::to_writer_pretty(&mut out, &replay::told(&course))?;
                writeln!(out)?;
            }
            Format::Csv => output::write(&replay::windows(&course), self.format, &mut out)?,
            Format::Table => {
                if !course.crossings.is_empty() {
                    output::write(&replay::crossings(&course), self.format, &mut out)?;
                    writeln!(out)?;
                }
                output::write(&replay::windows(&course), self.format, &mut out)?;
                writeln!(out, "{}", replay::summary(&course))?;
            }
        }
        Ok(Ending::Done)
    }
}

/// All budgets, as the running daemon has them; `None` where none runs.
async fn of_daemon(config: &Config) -> anyhow::Result<Option<Vec<Listed>>> {
    let mut rows: Vec<Listed> = Vec::new();
    let mut path = format!("/tally/v1/budgets?limit={MAX_PAGE}");
    loop {
        let page = match daemon::ask(config, reqwest::Method::GET, &path, None).await? {
            Asked::Answered(answer) => understood::<BudgetsPage>(answer)?,
            Asked::NotRunning => return Ok(None),
        };
        rows.extend(page.rows);
        let Some(next) = page.next else { return Ok(Some(rows)) };
        path = format!("/tally/v1/budgets?limit={MAX_PAGE}&after={next}");
    }
}

async fn list(surroundings: &Surroundings, config: &Config, format: Format) -> Outcome {
    let rows = if let Some(rows) = of_daemon(config).await? {
        rows
    } else {
        let store = daemon::open_read_only(config).await?;
        let rows = definitions::list(&store, &surroundings.clock).await;
        store.close().await;
        rows?
    };
    let mut out = std::io::stdout().lock();
    match format {
        // As the API has them: lists are lists.
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, &rows)?;
            writeln!(out)?;
        }
        Format::Csv => output::write(&definitions::table(&rows), format, &mut out)?,
        Format::Table => {
            output::write(&definitions::short_table(&rows), format, &mut out)?;
            let own = rows.iter().filter(|row| row.budget.origin == Origin::Own).count();
            writeln!(out, "{} budgets, {} of them of tallyd.toml and read-only here", rows.len(), rows.len() - own)?;
        }
    }
    Ok(Ending::Done)
}

/// Lets the running daemon read its configuration anew.
pub(super) async fn reload(surroundings: Surroundings) -> Outcome {
    let config = surroundings.load()?.config;
    match daemon::ask(&config, reqwest::Method::POST, "/tally/v1/reload", None).await? {
        Asked::Answered(answer) => {
            let reloaded: Reloaded = understood(answer)?;
            for warning in &reloaded.warnings {
                say_beside(format_args!("tallyd: warning: {warning}"));
            }
            let mut out = std::io::stdout().lock();
            for sentence in reloaded.sentences() {
                writeln!(out, "{sentence}")?;
            }
            Ok(Ending::Done)
        }
        Asked::NotRunning => {
            anyhow::bail!(
                "no daemon runs at {}; the configuration is good, and is read when one is started",
                config.listen
            )
        }
    }
}
