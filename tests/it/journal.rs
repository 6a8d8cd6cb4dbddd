//! The journal on a real disk.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tallyd::clock::{Clock, Entropy};
use tallyd::journal::{Journal, JournalError, JournalOptions, Position, Refused, StartedJournal, Synced};

fn options(dir: &Path) -> JournalOptions {
    JournalOptions {
        dir: dir.to_owned(),
        segment_bytes: 64 << 10,
        limit_bytes: 64 << 20,
        reserve_bytes: 1 << 20,
        memory_bytes: 16 << 20,
        sync_timeout: Duration::from_secs(5),
    }
}

fn start(dir: &Path, start_after: Option<Position>) -> StartedJournal {
    let opened = Journal::open(options(dir), &Entropy::system()).expect("the journal opens");
    opened.start(Clock::system(), start_after).expect("the journal starts")
}

#[tokio::test]
async fn a_second_owner_is_told_the_first_ones_pid() {
    let dir = tempfile::tempdir().unwrap();
    let life = start(dir.path(), None);
    let error = Journal::open(options(dir.path()), &Entropy::system()).unwrap_err();
    assert!(matches!(error, JournalError::Owned { pid: Some(pid), .. } if pid == std::process::id()));
    assert!(error.to_string().contains(&format!("(PID {})", std::process::id())), "{error}");
    assert!(life.journal.close().await);
    drop(life);
    start(dir.path(), None);
}

#[tokio::test]
async fn only_the_owner_of_the_files_may_read_them() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("new").join("journal");
    let life = start(&folder, None);
    assert_eq!(life.journal.append_synced(b"record").unwrap().await, Synced::Durable);
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        files += 1;
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(files, 3, "lock, id and one segment");
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Journal::open(options(&file), &Entropy::system()).unwrap_err();
    assert!(error.to_string().contains("it must be writable for this user"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_appended_at_once_is_there_after_the_process_is_gone() {
    const CALLERS: usize = 32;
    const EACH: usize = 200;
    let dir = tempfile::tempdir().unwrap();
    let life = start(dir.path(), None);
    let callers = (0..CALLERS).map(|caller| {
        let journal = life.journal.clone();
        async move {
            for number in 0..EACH {
                let record = format!("caller {caller} record {number}");
                journal.append(b"head").unwrap();
                assert_eq!(journal.append_synced(record.as_bytes()).unwrap().await, Synced::Durable);
            }
        }
    });
    futures_util::future::join_all(callers).await;
    let health = life.journal.health();
    assert_eq!(health.records, (2 * CALLERS * EACH) as u64);
    assert!(health.syncs < health.records / 4, "{} syncs for {} records", health.syncs, health.records);

    // As after a kill: the files as they are, under no lock.
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let mut again = start(copy.path(), None);
    assert_eq!(again.damage, vec![]);
    let mut records: Vec<Bytes> = Vec::new();
    while !again.journal.is_empty() {
        let batch = again.reader.next_batch(1000, 1 << 20).await.unwrap();
        assert_eq!(batch.damage, vec![]);
        records.extend(batch.records);
        again.reader.committed(batch.mark);
    }
    assert_eq!(records.len(), 2 * CALLERS * EACH);
    for caller in 0..CALLERS {
        let own = format!("caller {caller} record ");
        let seen: Vec<_> = records.iter().filter(|record| record.starts_with(own.as_bytes())).collect();
        assert_eq!(seen.len(), EACH);
        assert!(seen.iter().enumerate().all(|(number, record)| record[..] == *format!("{own}{number}").as_bytes()));
    }
    assert!(again.journal.close().await);
    assert_eq!(again.journal.append(b"late"), Err(Refused::Closed));
}
