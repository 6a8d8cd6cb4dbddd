//! The journal on a disk that is scripted, and on one that is not.

mod disk;
mod failing;
mod lasting;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;

use self::disk::MemoryDisk;
use super::*;
use crate::domain::time::Timestamp;

/// Long enough for any thread to get its turn.
const PATIENCE: Duration = Duration::from_secs(20);

/// A journal on a scripted disk, and the clock it lives by.
struct Bench {
    dir: tempfile::TempDir,
    disk: MemoryDisk,
    clock: Clock,
    segment_bytes: u64,
    limit_bytes: u64,
    memory_bytes: u64,
}

impl Bench {
    fn new() -> Self {
        Self::on(MemoryDisk::default())
    }

    fn on(disk: MemoryDisk) -> Self {
        Self {
            // The lock alone is in it.
            dir: tempfile::tempdir().unwrap(),
            disk,
            clock: Clock::manual(Timestamp(1_700_000_000_000)),
            segment_bytes: 4096,
            limit_bytes: 64 << 20,
            memory_bytes: 64 << 20,
        }
    }

    fn options(&self) -> JournalOptions {
        JournalOptions {
            dir: self.dir.path().to_owned(),
            segment_bytes: self.segment_bytes,
            limit_bytes: self.limit_bytes,
            reserve_bytes: 1000,
            memory_bytes: self.memory_bytes,
            sync_timeout: Duration::from_secs(5),
        }
    }

    fn start(&self, start_after: Option<Position>) -> StartedJournal {
        let disk = Arc::new(self.disk.clone());
        let opened = Journal::open_on(disk, self.options(), &Entropy::seeded(1)).unwrap();
        opened.start(self.clock.clone(), start_after).unwrap()
    }

    /// The same files under another owner.
    fn moved_to(&self, disk: MemoryDisk) -> Self {
        let mut other = Self::on(disk);
        let from = self.dir.path().to_owned();
        other.segment_bytes = self.segment_bytes;
        other.disk.move_all(&from, other.dir.path());
        other
    }
}

/// Waits until something is so, giving other threads their turn.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let clock = Clock::system();
    while !is_so() {
        assert!(clock.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::task::yield_now().await;
        std::thread::yield_now();
    }
}

/// Runs a test with the watch beside it.
async fn watched<T>(watch: Watch, test: impl Future<Output = T>) -> T {
    let mut test = std::pin::pin!(test);
    tokio::select! {
        biased;
        result = &mut test => result,
        () = watch.run() => test.await,
    }
}

fn record(number: usize) -> Vec<u8> {
    format!("record {number} {}", "x".repeat(number % 50)).into_bytes()
}

/// Appends records `from..to` and waits until they are durable.
async fn append_durably(journal: &Journal, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert_eq!(journal.append_synced(&record(number)).unwrap().await, Synced::Durable);
    }
}

/// Takes what there is without waiting for more, and commits it; what was found broken on the way.
async fn drain(journal: &Journal, reader: &mut Reader) -> (Vec<Bytes>, Vec<Damage>) {
    let (mut records, mut damage) = (Vec::new(), Vec::new());
    while !journal.is_empty() {
        let batch = reader.next_batch(7, 1000).await.unwrap();
        records.extend(batch.records);
        damage.extend(batch.damage);
        reader.committed(batch.mark);
    }
    (records, damage)
}

/// Names of the segment files, the spare's last.
fn segments(bench: &Bench) -> Vec<String> {
    let is_segment = |name: &String| std::path::Path::new(name).extension().is_some_and(|end| end == "seg");
    bench.disk.names().into_iter().filter(is_segment).collect()
}

fn expected(numbers: std::ops::Range<usize>) -> Vec<Bytes> {
    numbers.map(record).map(Bytes::from).collect()
}

#[tokio::test]
async fn what_was_durable_survives_a_loss_of_power() {
    let bench = Bench::new();
    let life = bench.start(None);
    append_durably(&life.journal, 0..100).await;
    let bench = bench.moved_to(bench.disk.after_power_loss());
    let mut again = bench.start(None);
    assert_eq!(again.journal.id(), life.journal.id());
    assert_eq!(drain(&again.journal, &mut again.reader).await, (expected(0..100), vec![]));
    assert!(again.journal.is_empty());
    assert_eq!(again.torn_tail, None);
}

#[tokio::test]
async fn a_start_goes_on_behind_the_committed_position() {
    let bench = Bench::new();
    let mut life = bench.start(None);
    append_durably(&life.journal, 0..300).await;
    let mut seen = 0;
    while seen < 200 {
        let batch = life.reader.next_batch(9, usize::MAX).await.unwrap();
        seen += batch.records.len();
        life.reader.committed(batch.mark);
        if seen % 5 == 0 {
            let bench = bench.moved_to(bench.disk.after_kill());
            let mut again = bench.start(Some(batch.mark.position()));
            assert_eq!(again.damage, vec![]);
            append_durably(&again.journal, 300..303).await;
            assert_eq!(drain(&again.journal, &mut again.reader).await, (expected(seen..303), vec![]));
        }
    }
}

#[tokio::test]
async fn nobody_waits_and_yet_it_is_synced() {
    let bench = Bench::new();
    let mut life = bench.start(None);
    for number in 0..10 {
        life.journal.append(&record(number)).unwrap();
    }
    let batch = life.reader.next_batch(usize::MAX, usize::MAX).await.unwrap();
    assert_eq!(batch.records, expected(0..10));
}

#[tokio::test]
async fn many_share_one_sync() {
    let bench = Bench::new();
    let life = bench.start(None);
    append_durably(&life.journal, 0..1).await;
    let before = bench.disk.syncs();
    bench.disk.hang_syncs(1);
    let first = life.journal.append_synced(&record(1)).unwrap();
    until("the first sync hangs", || bench.disk.hanging() == 1).await;
    let others: Vec<Wait> = (2..50).map(|number| life.journal.append_synced(&record(number)).unwrap()).collect();
    bench.disk.let_go();
    assert_eq!(first.await, Synced::Durable);
    for other in others {
        assert_eq!(other.await, Synced::Durable);
    }
    assert_eq!(bench.disk.syncs() - before, 2);
    assert_eq!(life.journal.health().records, 50);
}

#[tokio::test]
async fn drained_segments_are_cleared_away_and_used_again() {
    let bench = Bench::new();
    let mut life = bench.start(None);
    append_durably(&life.journal, 0..400).await;
    assert!(segments(&bench).len() > 4);
    drain(&life.journal, &mut life.reader).await;
    until("all but the last segment are gone, one is spare", || segments(&bench).len() == 2).await;
    assert!(bench.disk.names().contains(&"spare.seg".to_owned()));
    assert!(life.journal.is_empty());
    let spare_bytes = bench.disk.contents("spare.seg").len();
    let mut round = 400;
    while bench.disk.names().contains(&"spare.seg".to_owned()) {
        append_durably(&life.journal, round..round + 1).await;
        round += 1;
    }
    let current = segments(&bench).pop().unwrap();
    assert!(bench.disk.contents(&current).len() >= spare_bytes, "the spare's bytes are overwritten, not grown anew");
    // What is left of the earlier segment behind the new records is not read as records.
    let bench = bench.moved_to(bench.disk.after_kill());
    let mut again = bench.start(None);
    let (records, damage) = drain(&again.journal, &mut again.reader).await;
    assert_eq!(damage, vec![]);
    assert!(records.len() >= round - 400);
    assert_eq!(records, expected(round - records.len()..round));
}

#[tokio::test]
async fn the_reader_may_fall_behind_its_memory() {
    let mut bench = Bench::new();
    bench.segment_bytes = 1 << 20;
    let mut life = bench.start(None);
    let long = |number: usize| vec![u8::try_from(number % 251).unwrap(); 50_000 + number];
    for number in 0..300 {
        assert_eq!(life.journal.append_synced(&long(number)).unwrap().await, Synced::Durable);
    }
    let (records, damage) = drain(&life.journal, &mut life.reader).await;
    assert_eq!(damage, vec![]);
    assert_eq!(records.len(), 300);
    assert!(records.iter().enumerate().all(|(number, record)| record[..] == long(number)[..]));
}

#[tokio::test]
async fn the_limit_stops_new_calls_and_the_reserve_serves_those_under_way() {
    let mut bench = Bench::new();
    bench.limit_bytes = 5000;
    let mut life = bench.start(None);
    let full = vec![7; 992];
    for _ in 0..5 {
        assert!(life.journal.accepts_new_calls());
        assert_eq!(life.journal.append_synced(&full).unwrap().await, Synced::Durable);
    }
    assert!(!life.journal.accepts_new_calls());
    assert_eq!(life.journal.append_synced(&full).unwrap().await, Synced::Durable);
    assert_eq!(life.journal.append_synced(&full).err(), Some(Refused::Full));
    assert_eq!(life.journal.health().refused, 1);
    assert_eq!(life.journal.health().held_bytes, 6000);
    let batch = life.reader.next_batch(2, usize::MAX).await.unwrap();
    assert!(!life.journal.accepts_new_calls());
    life.reader.committed(batch.mark);
    assert!(life.journal.accepts_new_calls());
    assert_eq!(life.journal.append(b"").err(), Some(Refused::Length));
    assert_eq!(life.journal.append(&vec![1; MAX_RECORD_BYTES + 1]).err(), Some(Refused::Length));
}

#[tokio::test]
async fn age_is_that_of_the_oldest_uncommitted_record() {
    let bench = Bench::new();
    let mut life = bench.start(None);
    assert_eq!(life.journal.health().oldest_undrained, None);
    append_durably(&life.journal, 0..1).await;
    bench.clock.advance(Duration::from_secs(30));
    append_durably(&life.journal, 1..2).await;
    bench.clock.advance(Duration::from_secs(12));
    assert_eq!(life.journal.health().oldest_undrained, Some(Duration::from_secs(42)));
    let batch = life.reader.next_batch(1, usize::MAX).await.unwrap();
    life.reader.committed(batch.mark);
    assert_eq!(life.journal.health().oldest_undrained, Some(Duration::from_secs(12)));
    drain(&life.journal, &mut life.reader).await;
    assert_eq!(life.journal.health().oldest_undrained, None);
}

#[tokio::test]
async fn closing_writes_what_is_left_and_ends_the_reader() {
    let bench = Bench::new();
    let mut life = bench.start(None);
    life.journal.append(&record(0)).unwrap();
    assert!(watched(life.watch, life.journal.close()).await);
    assert_eq!(life.journal.append(&record(1)).err(), Some(Refused::Closed));
    assert!(!life.journal.accepts_new_calls());
    let batch = life.reader.next_batch(usize::MAX, usize::MAX).await.unwrap();
    assert_eq!(batch.records, expected(0..1));
    life.reader.committed(batch.mark);
    assert!(life.reader.next_batch(1, 1).await.is_none());
    assert!(life.journal.is_empty());
    drop((life.journal, life.reader));
    // The folder is free again at once.
    let mut again = bench.start(Some(batch.mark.position()));
    assert!(again.journal.is_empty());
    assert!(again.reader.next_batch(1, 1).now_or_never().is_none());
}

#[tokio::test]
async fn the_last_handle_closes() {
    let bench = Bench::new();
    let mut life = bench.start(None);
    let clone = life.journal.clone();
    drop(life.journal);
    append_durably(&clone, 0..1).await;
    drop(clone);
    assert_eq!(life.reader.next_batch(1, 1).await.unwrap().records, expected(0..1));
    assert!(life.reader.next_batch(1, 1).await.is_none());
}
