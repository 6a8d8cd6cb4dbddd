//! `tallyd verify`: recomputes all sums from the rows and names each difference.

use std::io::Write as _;

use super::{Ending, Outcome, Surroundings};
use crate::store::verify;

pub(super) async fn run(surroundings: Surroundings) -> Outcome {
    let config = surroundings.load()?.config;
    let store = super::daemon::open_read_only(&config).await?;
    let found = verify::run(&store, &surroundings.clock).await?;
    let mut out = std::io::stdout().lock();
    for difference in &found.differences {
        writeln!(out, "{difference}")?;
    }
    let named = found.differences.len() as u64;
    if found.difference_count > named {
        writeln!(out, "… and {} more", found.difference_count - named)?;
    }
    let verdict = match found.difference_count {
        0 => "all sums agree with the rows".to_owned(),
        1 => "1 difference".to_owned(),
        n => format!("{n} differences"),
    };
    writeln!(
        out,
        "{verdict}: {} rows, {} roll-up buckets, {} budget counters; the snapshot was held for {} ms",
        found.rows,
        found.buckets,
        found.counters,
        found.held.as_millis()
    )?;
    Ok(if found.difference_count == 0 { Ending::Done } else { Ending::Found })
}
