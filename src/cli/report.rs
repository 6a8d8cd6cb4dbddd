//! `tallyd report`: spend as a table.

use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};

use super::screen::{self, Screen};
use super::{Ending, Outcome, Surroundings, say_beside};
use crate::alert::digest;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::time::Timestamp;
use crate::report::failures;
use crate::report::output::{self, Format, Look};
use crate::report::spend::{self, Question, SpendError};

/// Show spend as a table.
#[derive(Debug, Args)]
pub(super) struct Report {
    /// What to group by: model, provider, app, key, user, session, endpoint, tag.NAME, hour, day, week, month…
    #[arg(long, default_value = "model")]
    by: String,
    /// From when, inclusive: a date, an instant, or a span back such as 7d [default: the first of the month]
    #[arg(long)]
    since: Option<String>,
    /// Until when, exclusive [default: now]
    #[arg(long)]
    until: Option<String>,
    /// In place of spend: what went wrong, what it means and how to mend it
    #[arg(long, conflicts_with = "by")]
    failures: bool,
    /// In place of spend: the mail that the report NAME of tallyd.toml would be for its last run, as text
    #[arg(long, value_name = "NAME", requires = "dry_run", conflicts_with_all = ["by", "since", "until", "failures", "format"])]
    mail: Option<String>,
    /// Print the mail and send nothing; reports are sent by the daemon, on their schedules
    #[arg(long, requires = "mail")]
    dry_run: bool,
    /// Show it anew every so many seconds, until Ctrl+C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "5", conflicts_with_all = ["mail", "format"],
          value_parser = clap::value_parser!(u64).range(1..=MAX_WATCH))]
    watch: Option<u64>,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The longest pause of `--watch`, in seconds: an hour.
const MAX_WATCH: u64 = 3_600;

/// How long the daemon's listener may take to answer before it counts as gone.
const LISTENS_WITHIN: Duration = Duration::from_secs(2);

impl Report {
    pub(super) async fn run(self, surroundings: Surroundings) -> Outcome {
        let config = surroundings.load()?.config;
        if let Some(name) = &self.mail {
            return mail(&surroundings, &config, name).await;
        }
        if let Err(problem @ (SpendError::Question(_) | SpendError::Span(_))) =
            self.question(&config, surroundings.clock.now())
        {
            say_beside(format_args!("tallyd: {problem}"));
            return Ok(Ending::Usage);
        }
        if let Some(seconds) = self.watch {
            return self.watch(&config, &surroundings.clock, Duration::from_secs(seconds)).await;
        }
        let look = screen::look();
        let mut out = std::io::stdout().lock();
        if self.format == Format::Table {
            writeln!(out, "{}", self.drawn(&config, surroundings.clock.now(), look).await?)?;
            return Ok(Ending::Done);
        }
        let store = super::daemon::open_read_only(&config).await?;
        let question = self.question(&config, surroundings.clock.now())?;
        let closing = if self.failures {
            let found = failures::failures(&store, question.since, question.until, surroundings.clock.now()).await?;
            output::write(&found.table(), self.format, &mut out)?;
            found.closing()
        } else {
            let answer = spend::answer(&store, &question).await?;
            output::write(&answer.table, self.format, &mut out)?;
            answer.closing()
        };
        out.flush()?;
        say_beside(closing);
        Ok(Ending::Done)
    }

    fn question(&self, config: &Config, now: Timestamp) -> Result<Question, SpendError> {
        Question::parse(&self.by, self.since.as_deref(), self.until.as_deref(), config.time_zone, now)
    }

    /// The table as it is now, with its last line.
    async fn drawn(&self, config: &Config, now: Timestamp, look: Look) -> anyhow::Result<String> {
        let store = super::daemon::open_read_only(config).await?;
        let question = self.question(config, now)?;
        let (table, closing) = if self.failures {
            let found = failures::failures(&store, question.since, question.until, now).await?;
            (found.table(), found.closing())
        } else {
            let answer = spend::answer(&store, &question).await?;
            // Bars are for the eye: where standard output is no terminal, somebody else reads it.
            let table = if look.width.is_some() { answer.with_bars() } else { answer.for_people() };
            (table, answer.closing())
        };
        store.close().await;
        Ok(format!("{}\n{closing}", output::text(&table, look)))
    }

    /// Shows it anew every `pause`, until Ctrl+C. A database that can not be read is told above what it held before.
    async fn watch(&self, config: &Config, clock: &Clock, pause: Duration) -> Outcome {
        let mut terminate = signal(SignalKind::terminate())?;
        let drawing = async {
            let screen = Screen::enter()?;
            let mut last = String::new();
            loop {
                let now = clock.now();
                let told = match self.drawn(config, now, screen::look()).await {
                    Ok(drawn) => {
                        last = drawn;
                        self.listens(config, clock).await
                    }
                    Err(error) => {
                        Some(format!("The database can not be read: {}. Trying again.", super::sentence(&error)))
                    }
                };
                let at = now.to_utc().with_timezone(&config.time_zone).format("%H:%M:%S");
                let pause_s = pause.as_secs();
                let head = format!("{at} {}, every {pause_s} s, Ctrl+C ends it", config.time_zone.name());
                let told = told.map(|told| format!("{told}\n")).unwrap_or_default();
                screen.draw(&format!("{head}\n{told}\n{last}"))?;
                clock.sleep(pause).await;
            }
        };
        tokio::select! {
            ended = drawing => ended,
            pressed = tokio::signal::ctrl_c() => Ok(pressed.map(|()| Ending::Done)?),
            _ = terminate.recv() => Ok(Ending::Done),
        }
    }

    /// What is to be said if no daemon listens: the figures then stand still.
    async fn listens(&self, config: &Config, clock: &Clock) -> Option<String> {
        let address = super::daemon::reachable(config);
        let connected = clock.timeout(LISTENS_WITHIN, TcpStream::connect(address)).await;
        (!matches!(connected, Some(Ok(_))))
            .then(|| format!("No daemon listens on {address}: nothing new is counted until it runs."))
    }
}

/// Prints the mail that a report would be.
async fn mail(surroundings: &Surroundings, config: &Config, name: &str) -> Outcome {
    let Some(report) = config.reports.iter().find(|report| report.name == name) else {
        let known: Vec<&str> = config.reports.iter().map(|report| report.name.as_str()).collect();
        let known =
            if known.is_empty() { "there is none".to_owned() } else { format!("there are {}", known.join(", ")) };
        say_beside(format_args!("tallyd: there is no report {name:?} in [[reports]] of the configuration; {known}"));
        return Ok(Ending::Usage);
    };
    let store = super::daemon::open_read_only(config).await?;
    let mail = digest::preview(&store, report, surroundings.clock.now(), &config.dashboard.url(config.listen)).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "To: {}\nSubject: {}\n\n{}", report.notify.join(", "), mail.subject, mail.text.trim_end())?;
    Ok(Ending::Done)
}
