//! `tallyd report`: spend as a table.

use std::io::Write as _;

use clap::Args;

use super::{Ending, Outcome, Surroundings, say_beside};
use crate::alert::digest;
use crate::config::Config;
use crate::report::failures;
use crate::report::output::{self, Format};
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
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Report {
    pub(super) async fn run(self, surroundings: Surroundings) -> Outcome {
        let config = surroundings.load()?.config;
        if let Some(name) = &self.mail {
            return mail(&surroundings, &config, name).await;
        }
        let zone = config.time_zone;
        let now = surroundings.clock.now();
        let question = match Question::parse(&self.by, self.since.as_deref(), self.until.as_deref(), zone, now) {
            Ok(question) => question,
            Err(error @ (SpendError::Question(_) | SpendError::Span(_))) => {
                say_beside(format_args!("tallyd: {error}"));
                return Ok(Ending::Usage);
            }
            Err(error) => return Err(error.into()),
        };
        let store = super::daemon::open_read_only(&config).await?;
        if self.failures {
            let found = failures::failures(&store, question.since, question.until, now).await?;
            let mut out = std::io::stdout().lock();
            output::write(&found.table(), self.format, &mut out)?;
            let closing = format!("{} errors, {} silent mistakes", found.error_calls, found.mistake_calls);
            match self.format {
                Format::Table => writeln!(out, "{closing}")?,
                Format::Json | Format::Csv => {
                    out.flush()?;
                    say_beside(closing);
                }
            }
            return Ok(Ending::Done);
        }
        let answer = spend::answer(&store, &question).await?;
        let mut out = std::io::stdout().lock();
        match self.format {
            Format::Table => {
                output::write(&answer.for_people(), self.format, &mut out)?;
                writeln!(out, "{}", answer.closing())?;
            }
            Format::Json | Format::Csv => {
                output::write(&answer.table, self.format, &mut out)?;
                out.flush()?;
                say_beside(answer.closing());
            }
        }
        Ok(Ending::Done)
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
