//! `tallyd report`: spend as a table.

use std::io::Write as _;

use clap::Args;

use super::{Ending, Outcome, Surroundings, say_beside};
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
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Report {
    pub(super) async fn run(self, surroundings: Surroundings) -> Outcome {
        let config = surroundings.load()?.config;
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
