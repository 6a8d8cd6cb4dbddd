//! How fast the journal takes records, against the bare `fdatasync` of the same disk.
//!
//! `cargo bench --bench journal [-- FOLDER]` (a folder on the disk to be measured; default: the temporary folder).

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use tallyd::clock::{Clock, Entropy};
use tallyd::journal::{Journal, JournalOptions, Reader, StartedJournal, Synced};

const RECORD_BYTES: usize = 600;
const MEASURED: Duration = Duration::from_secs(5);

fn main() -> anyhow::Result<()> {
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).map(PathBuf::from);
    let folder = folder.unwrap_or_else(std::env::temp_dir);
    let bare = bare_syncs(&folder)?;
    println!("bare fdatasync of {RECORD_BYTES} bytes appended: {}", bare.line(1.0));
    for in_flight in [1, 8, 32, 256] {
        let dir = tempfile::tempdir_in(&folder)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (rate, records_a_sync) = runtime.block_on(appends(dir.path(), in_flight))?;
        let line = rate.line(bare.a_second());
        println!("{in_flight:>4} in flight: {line}, {records_a_sync:.1} records a sync");
    }
    Ok(())
}

/// What was measured: how long each of them took, and all of them together.
struct Rate {
    each: Vec<Duration>,
    all: Duration,
}

impl Rate {
    #[expect(clippy::cast_precision_loss, reason = "a count of some millions")]
    fn a_second(&self) -> f64 {
        self.each.len() as f64 / self.all.as_secs_f64()
    }

    fn line(&self, bare: f64) -> String {
        let mut each = self.each.clone();
        each.sort_unstable();
        let at = |percent: usize| each[(each.len() - 1) * percent / 100].as_micros();
        let rate = self.a_second();
        let ratio = if bare > 1.0 { format!(" = {:.2} x bare", rate / bare) } else { String::new() };
        format!("{rate:.0}/s{ratio}, median {} µs, p99 {} µs", at(50), at(99))
    }
}

fn bare_syncs(folder: &Path) -> io::Result<Rate> {
    let path = tempfile::NamedTempFile::new_in(folder)?.into_temp_path();
    let file = OpenOptions::new().write(true).open(&path)?;
    let clock = Clock::system();
    let mut each = Vec::new();
    let mut offset = 0;
    while clock.elapsed() < MEASURED {
        let before = clock.elapsed();
        file.write_all_at(&[7; RECORD_BYTES], offset)?;
        file.sync_data()?;
        offset += RECORD_BYTES as u64;
        each.push(clock.elapsed().saturating_sub(before));
    }
    Ok(Rate { each, all: clock.elapsed() })
}

/// Callers that each append a record, wait until it is durable, and append the next; a reader drains beside them.
async fn appends(dir: &Path, in_flight: usize) -> anyhow::Result<(Rate, f64)> {
    let options = JournalOptions {
        dir: dir.to_owned(),
        segment_bytes: 8 << 20,
        limit_bytes: 1 << 30,
        reserve_bytes: 64 << 20,
        memory_bytes: 32 << 20,
        sync_timeout: Duration::from_secs(5),
    };
    let opened = Journal::open(options, &Entropy::system())?;
    let StartedJournal { journal, reader, watch, .. } = opened.start(Clock::system(), None)?;
    let clock = Clock::system();
    let callers = join_all((0..in_flight).map(|_| async {
        let mut each = Vec::new();
        while clock.elapsed() < MEASURED {
            let before = clock.elapsed();
            let synced = journal.append_synced(&[7; RECORD_BYTES])?.await;
            anyhow::ensure!(synced == Synced::Durable, "the disk failed");
            each.push(clock.elapsed().saturating_sub(before));
        }
        Ok(each)
    }));
    let measured = async {
        let each = callers.await.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        let all = clock.elapsed();
        let health = journal.health();
        journal.close().await;
        #[expect(clippy::cast_precision_loss, reason = "a count of some millions")]
        let records_a_sync = health.records as f64 / health.syncs as f64;
        anyhow::Ok((Rate { each: each.concat(), all }, records_a_sync))
    };
    let (measured, (), ()) = tokio::join!(measured, drain(reader), watch.run());
    measured
}

/// Commits what comes, as often as a database would.
async fn drain(mut reader: Reader) {
    let clock = Clock::system();
    while let Some(batch) = reader.next_batch(4000, 4 << 20).await {
        reader.committed(batch.mark);
        clock.sleep(Duration::from_millis(20)).await;
    }
}
