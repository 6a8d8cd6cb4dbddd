//! `tallyd key`: tally keys made, listed and revoked, by the running daemon or in the database itself.

use std::collections::BTreeMap;
use std::io::Write as _;

use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret as _;

use super::daemon::{self, Asked, understood};
use super::{Ending, Outcome, Surroundings, say_beside};
use crate::app::offline;
use crate::keys::{self, Listed, Wanted};
use crate::report::output::{self, Format};
use crate::web::api::{KeysPage, MAX_PAGE, MadeKey};

/// Tally keys: what callers bring in place of an OpenRouter key.
#[derive(Debug, Args)]
pub(super) struct Key {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Make a key; it is printed once and can not be read again
    Create(Create),
    /// List all keys, with what their calls of the last 30 days cost
    List {
        /// How to print them
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// End a key, at once and for good
    Revoke {
        /// Its ID, or its last four characters
        #[arg(value_name = "ID|TAIL")]
        name: String,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// The application its calls are for
    #[arg(long)]
    app: Option<String>,
    /// The end user they are for
    #[arg(long)]
    user: Option<String>,
    /// The session they belong to
    #[arg(long)]
    session: Option<String>,
    /// A tag of theirs; may be given more than once
    #[arg(long = "tag", value_name = "NAME=VALUE")]
    tags: Vec<String>,
    #[arg(
        long,
        value_name = "NAME",
        help = "The OpenRouter key they are made with: a name of [openrouter.keys] [default: openrouter.api_key]"
    )]
    key: Option<String>,
    /// When it ends: 12h, 30d, 8w, a date (its first instant in the configured zone) or an instant [default: never]
    #[arg(long, value_name = "DURATION|DATE")]
    expires: Option<String>,
}

impl Key {
    pub(super) async fn run(self, surroundings: Surroundings) -> Outcome {
        match self.act {
            Act::Create(create) => create.run(&surroundings).await,
            Act::List { format } => list(&surroundings, format).await,
            Act::Revoke { name } => revoke(&surroundings, &name).await,
        }
    }
}

impl Create {
    async fn run(self, surroundings: &Surroundings) -> Outcome {
        let mut tags = BTreeMap::new();
        for tag in self.tags {
            let Some((name, value)) = tag.split_once('=') else {
                say_beside(format_args!("tallyd: --tag {tag:?} has no value; write --tag name=value"));
                return Ok(Ending::Usage);
            };
            if tags.insert(name.trim().to_owned(), value.trim().to_owned()).is_some() {
                say_beside(format_args!("tallyd: --tag {name:?} stands twice; give it one value"));
                return Ok(Ending::Usage);
            }
        }
        let wanted = Wanted {
            app: self.app,
            user: self.user,
            session: self.session,
            tags,
            key: self.key,
            expires: self.expires,
        };
        let config = surroundings.load()?.config;
        let body = serde_json::to_string(&wanted)?;
        let made = match daemon::ask(&config, reqwest::Method::POST, "/tally/v1/keys", Some(body)).await? {
            Asked::Answered(answer) => understood::<MadeKey>(answer)?,
            Asked::NotRunning => {
                offline::changing_keys(&config, &surroundings.clock, &surroundings.entropy, async |keys| {
                    let made = keys.create(wanted, None).await?;
                    let listed = keys.listed(&made.key).await?;
                    Ok(MadeKey { tally_key: made.text.expose_secret().to_owned(), listed })
                })
                .await?
            }
        };
        let MadeKey { tally_key, listed } = made;
        writeln!(std::io::stdout().lock(), "{tally_key}")?;
        let end = listed.expires_at.map_or_else(|| "never expires".to_owned(), |at| format!("expires {at}"));
        say_beside(format_args!(
            "This is the key, shown now and never again. It stands for the OpenRouter key {:?} and {end}; its ID is {}.",
            listed.key, listed.id
        ));
        Ok(Ending::Done)
    }
}

async fn list(surroundings: &Surroundings, format: Format) -> Outcome {
    let config = surroundings.load()?.config;
    let mut rows: Vec<Listed> = Vec::new();
    let mut path = format!("/tally/v1/keys?limit={MAX_PAGE}");
    loop {
        let page = match daemon::ask(&config, reqwest::Method::GET, &path, None).await? {
            Asked::Answered(answer) => understood::<KeysPage>(answer)?,
            Asked::NotRunning => {
                rows = read(surroundings, &config).await?;
                break;
            }
        };
        rows.extend(page.rows);
        let Some(next) = page.next else { break };
        path = format!("/tally/v1/keys?limit={MAX_PAGE}&before={next}");
    }
    let mut out = std::io::stdout().lock();
    if format == Format::Json {
        // As the API has them: tags are an object.
        serde_json::to_writer_pretty(&mut out, &rows)?;
        writeln!(out)?;
        return Ok(Ending::Done);
    }
    output::write(&keys::table(&rows), format, &mut out)?;
    if format == Format::Table {
        let active = rows.iter().filter(|row| row.is_active()).count();
        writeln!(out, "{} keys, {active} of them active; calls and cost of the last 30 days", rows.len())?;
    }
    Ok(Ending::Done)
}

/// All keys as the database has them.
async fn read(surroundings: &Surroundings, config: &crate::config::Config) -> anyhow::Result<Vec<Listed>> {
    offline::reading_keys(config, &surroundings.clock, &surroundings.entropy, async |keys| {
        let (now, mut before, mut rows) = (surroundings.clock.now(), None, Vec::new());
        loop {
            let listing = keys.list(before, MAX_PAGE).await?;
            rows.extend(listing.keys.iter().map(|(key, spend)| Listed::new(key, *spend, now)));
            match listing.next {
                Some(next) => before = Some(next),
                None => return Ok(rows),
            }
        }
    })
    .await
}

async fn revoke(surroundings: &Surroundings, name: &str) -> Outcome {
    let config = surroundings.load()?.config;
    let path = format!("/tally/v1/keys/{}", utf8_percent_encode(name, NON_ALPHANUMERIC));
    let revoked = match daemon::ask(&config, reqwest::Method::DELETE, &path, None).await? {
        Asked::Answered(answer) => understood::<Listed>(answer)?,
        Asked::NotRunning => {
            offline::changing_keys(&config, &surroundings.clock, &surroundings.entropy, async |keys| {
                let key = keys.revoke(name).await?;
                Ok(keys.listed(&key).await?)
            })
            .await?
        }
    };
    let at = revoked.revoked_at.unwrap_or_default();
    writeln!(std::io::stdout().lock(), "the key …{} ({}) is revoked since {at}", revoked.tail, revoked.id)?;
    Ok(Ending::Done)
}
