//! `tallyd verify`: recomputes all sums from the rows and names each difference, and tells what is no difference but is
//! not in the sums either.

use std::io::{self, BufRead as _, Write};

use super::{Ending, Outcome, Surroundings};
use crate::app;
use crate::config::Config;
use crate::journal::{Position, peek};
use crate::store::{Store, progress, verify};

pub(super) async fn run(surroundings: Surroundings) -> Outcome {
    let config = surroundings.load()?.config;
    let store = super::daemon::open_read_only(&config).await?;
    let found = verify::run(&store, &surroundings.clock).await?;
    let mut out = io::stdout().lock();
    for difference in &found.differences {
        writeln!(out, "{difference}")?;
    }
    let named = found.differences.len() as u64;
    if found.difference_count > named {
        writeln!(out, "… and {} more", found.difference_count - named)?;
    }
    tell_undrained(&mut out, &config, &store).await?;
    tell_set_aside(&mut out, &config)?;
    let verdict = match found.difference_count {
        0 => "all sums agree with the rows".to_owned(),
        n => counted(n, "difference"),
    };
    writeln!(
        out,
        "{verdict}: {}, {}, {}; the snapshot was held for {} ms",
        counted(found.rows, "row"),
        counted(found.cells, "roll-up"),
        counted(found.counters, "budget counter"),
        found.held.as_millis()
    )?;
    Ok(if found.difference_count == 0 { Ending::Done } else { Ending::Found })
}

/// What the journal holds and the database does not yet.
async fn tell_undrained(out: &mut impl Write, config: &Config, store: &Store) -> anyhow::Result<()> {
    let folder = &config.journal_dir;
    let looked = match peek::id(folder) {
        Ok(None) => return Ok(()),
        Ok(Some(id)) => {
            let drained = progress::get(store, &id.to_string()).await?;
            let drained = drained.map(|drained| Position { segment: drained.segment, offset: drained.offset });
            peek::undrained(folder, id, drained)
        }
        Err(error) => Err(error),
    };
    match looked {
        Ok(undrained) if undrained.records == 0 => {}
        Ok(undrained) => writeln!(
            out,
            "the journal in {} holds {} ({} bytes) not in the database yet; a running daemon writes them, else the next start does",
            folder.display(),
            counted(undrained.records, "record"),
            undrained.bytes,
        )?,
        Err(error) => writeln!(out, "the journal in {} can not be looked at: {error}", folder.display())?,
    }
    Ok(())
}

/// Records that never came into the database.
fn tell_set_aside(out: &mut impl Write, config: &Config) -> io::Result<()> {
    let path = app::set_aside_file(config);
    let lines = match std::fs::File::open(&path) {
        Ok(file) => io::BufReader::new(file).split(b'\n').try_fold(0_u64, |lines, line| line.map(|_| lines + 1)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    };
    match lines {
        Ok(0) => Ok(()),
        Ok(lines) => writeln!(
            out,
            "{} holds {} that the database refused for good or nobody could read; docs/operations.md says what to do",
            path.display(),
            counted(lines, "record")
        ),
        Err(error) => writeln!(out, "{} can not be read: {error}", path.display()),
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", count, if count == 1 { "" } else { "s" })
}
