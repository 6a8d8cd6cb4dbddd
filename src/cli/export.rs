//! `tallyd export`: completions as a file, or to standard output.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Ending, Outcome, Surroundings, say_beside};
use crate::report::export::rows::Rows;
use crate::report::export::{Counts, Encoder, FOCUS_VERSION, Form};
use crate::report::filters::Filters;
use crate::report::format::count;

/// How often the progress is drawn, a second.
const DRAWN: u8 = 5;

/// Take completions away as a file: newest first, as the page Completions shows them.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// What to write
    #[arg(long, value_enum, default_value_t)]
    format: Form,
    /// From when, inclusive: a date, an instant, or a span back such as 7d [default: the first there is]
    #[arg(long)]
    since: Option<String>,
    /// Until when, exclusive [default: now]
    #[arg(long)]
    until: Option<String>,
    /// Only of this model
    #[arg(long)]
    model: Option<String>,
    /// Only where this model was asked for
    #[arg(long)]
    requested: Option<String>,
    /// Only of this app
    #[arg(long)]
    app: Option<String>,
    /// Only by the key of this name
    #[arg(long)]
    key: Option<String>,
    /// Only served by this provider
    #[arg(long)]
    provider: Option<String>,
    /// Only for this user
    #[arg(long)]
    user: Option<String>,
    /// Only of this session
    #[arg(long)]
    session: Option<String>,
    /// Only in this state: pending, settled, unsettled, failed
    #[arg(long)]
    state: Option<String>,
    /// Only of this endpoint, such as chat/completions
    #[arg(long)]
    endpoint: Option<String>,
    /// Only with this type of error
    #[arg(long)]
    error: Option<String>,
    /// Only with this HTTP status
    #[arg(long)]
    status: Option<String>,
    /// Only with this flag
    #[arg(long)]
    flag: Option<String>,
    /// Only with this tag
    #[arg(long, value_name = "NAME=VALUE")]
    tag: Option<String>,
    /// Only where this is not named: model, requested, app, key, provider, user, session, endpoint, error
    #[arg(long, value_name = "FIELD")]
    none: Vec<String>,
    /// The file [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Export {
    pub(super) async fn run(self, surroundings: Surroundings) -> Outcome {
        let config = surroundings.load()?.config;
        if self.format == Form::Parquet && self.output.is_none() && io::stdout().is_terminal() {
            say_beside("tallyd: Parquet is no text for a terminal; give the file with --output FILE, or redirect it");
            return Ok(Ending::Usage);
        }
        let filters = match self.filters() {
            Ok(filters) => filters,
            Err(problem) => {
                say_beside(format_args!("tallyd: {problem}"));
                return Ok(Ending::Usage);
            }
        };
        let clock = &surroundings.clock;
        let filter = match filters.of_rows(config.time_zone, clock.now()) {
            Ok(filter) => filter,
            Err(problem) => {
                say_beside(format_args!("tallyd: {problem}"));
                return Ok(Ending::Usage);
            }
        };
        let store = super::daemon::open_read_only(&config).await?;
        let mut rows = Rows::begin(store, clock.clone(), filter).await?;
        let (mut out, name) = match &self.output {
            None => (Out::Stdout(io::stdout().lock()), "standard output".to_owned()),
            Some(path) => {
                let name = path.display().to_string();
                let file = File::create(path).with_context(|| format!("{name} can not be written"))?;
                (Out::File(file), name)
            }
        };
        let bar = bar(rows.progress().1);
        let mut encoder = Encoder::new(self.format)?;
        while let Some(page) = rows.next().await? {
            out.write(&encoder.write(&page)?, &name)?;
            bar.set_position(rows.progress().0);
            bar.set_message(format!("{} rows", number(encoder.counts().read)));
        }
        let counts = encoder.counts();
        out.write(&encoder.finish()?, &name)?;
        out.end(&name)?;
        bar.finish_and_clear();
        if self.output.is_some() || counts.unknown > 0 {
            say_beside(told(self.format, counts, &name));
        }
        Ok(Ending::Done)
    }

    /// The filters, as a URL's.
    fn filters(&self) -> Result<Filters, String> {
        let given = [
            ("model", &self.model),
            ("requested", &self.requested),
            ("app", &self.app),
            ("key", &self.key),
            ("provider", &self.provider),
            ("user", &self.user),
            ("session", &self.session),
            ("state", &self.state),
            ("endpoint", &self.endpoint),
            ("error", &self.error),
            ("status", &self.status),
            ("flag", &self.flag),
            ("tag", &self.tag),
            ("since", &self.since),
            ("until", &self.until),
        ];
        let values = given.iter().filter_map(|(field, value)| Some(((*field).to_owned(), (*value).clone()?)));
        let none = self.none.iter().map(|field| (crate::report::filters::NONE.to_owned(), field.clone()));
        Filters::read_all(&values.chain(none).collect::<Vec<_>>())
    }
}

/// Where the bytes go.
enum Out {
    Stdout(io::StdoutLock<'static>),
    File(File),
}

impl Out {
    fn write(&mut self, bytes: &[u8], name: &str) -> anyhow::Result<()> {
        match self {
            // Its error says whether a pipe was closed, which is no failure.
            Self::Stdout(out) => Ok(out.write_all(bytes)?),
            Self::File(file) => file.write_all(bytes).with_context(|| format!("{name} can not be written")),
        }
    }

    fn end(&mut self, name: &str) -> anyhow::Result<()> {
        match self {
            Self::Stdout(out) => Ok(out.flush()?),
            Self::File(file) => file.sync_all().with_context(|| format!("{name} can not be written")),
        }
    }
}

/// How much of the time there is has been read. Where standard error is no terminal, nothing is drawn.
fn bar(all_ms: u64) -> ProgressBar {
    let target = indicatif::ProgressDrawTarget::stderr_with_hz(DRAWN);
    let bar = ProgressBar::with_draw_target(Some(all_ms), target);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {percent} %  {msg}  {eta} left") {
        bar.set_style(style);
    }
    bar
}

fn told(form: Form, counts: Counts, name: &str) -> String {
    let Counts { read, unknown, failed } = counts;
    if form != Form::Focus {
        return format!("{name}: {} completions", number(read));
    }
    format!(
        "{name}: FOCUS {FOCUS_VERSION}, {} of {} completions; {} have no known cost yet and {} failed, which are no charges",
        number(read - unknown - failed),
        number(read),
        number(unknown),
        number(failed)
    )
}

fn number(n: u64) -> String {
    count(i64::try_from(n).unwrap_or(i64::MAX))
}
