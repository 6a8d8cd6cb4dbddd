//! Disks that fail, fill up or hang: told, outlived, never waited for without end.

use super::*;

#[tokio::test]
async fn a_sync_that_fails_is_told_and_made_good_in_a_new_segment() {
    let bench = Bench::new();
    let mut life = bench.start(None);
    append_durably(&life.journal, 0..3).await;
    bench.disk.fail_syncs(1);
    assert_eq!(life.journal.append_synced(&record(3)).unwrap().await, Synced::NotDurable);
    append_durably(&life.journal, 4..6).await;
    let health = life.journal.health();
    assert_eq!(health.not_durable, 1);
    assert!(health.writable, "it is well again");
    assert!(health.last_failure.unwrap().what.contains("input/output error"));
    assert!(bench.disk.names().len() > 2, "a new segment was begun: {:?}", bench.disk.names());
    // The record is there after a loss of power, and the reader has had it once in this life.
    let again = bench.moved_to(bench.disk.after_power_loss());
    let mut again = again.start(None);
    assert_eq!(again.damage, vec![]);
    let (mut records, damage) = drain(&again.journal, &mut again.reader).await;
    assert_eq!(damage, vec![]);
    records.dedup();
    assert_eq!(records, expected(0..6));
    let (records, _) = drain(&life.journal, &mut life.reader).await;
    assert_eq!(records, expected(0..6));
}

#[tokio::test]
async fn a_sync_that_hangs_is_given_up_and_another_thread_takes_over() {
    let bench = Bench::new();
    let StartedJournal { journal, mut reader, watch, .. } = bench.start(None);
    watched(watch, async {
        append_durably(&journal, 0..3).await;
        bench.disk.hang_syncs(1);
        let mut stuck = journal.append_synced(&record(3)).unwrap();
        until("the sync hangs", || bench.disk.hanging() == 1).await;
        let behind = journal.append_synced(&record(4)).unwrap();
        bench.clock.advance(Duration::from_millis(4999));
        tokio::task::yield_now().await;
        assert_eq!((&mut stuck).now_or_never(), None, "it waits for all of sync_timeout");
        bench.clock.advance(Duration::from_millis(1));
        assert_eq!(stuck.await, Synced::NotDurable);
        // Came later, in time for the thread that took over or given up too: either way it is not held.
        behind.await;
        append_durably(&journal, 5..8).await;
        assert!(journal.health().writable);
        assert!(journal.health().not_durable >= 1);
        // The abandoned thread comes back, and changes nothing.
        let before = journal.health().records;
        bench.disk.let_go();
        until("the abandoned thread has come back", || bench.disk.hanging() == 0).await;
        append_durably(&journal, 8..9).await;
        assert_eq!(journal.health().records, before + 1);
        let copy = bench.moved_to(bench.disk.after_power_loss());
        let mut again = copy.start(None);
        assert_eq!(again.damage, vec![]);
        let (mut records, damage) = drain(&again.journal, &mut again.reader).await;
        assert_eq!(damage, vec![]);
        records.dedup();
        assert_eq!(records, expected(0..9), "it was written again, and may come twice after a loss of power");
        let (records, damage) = drain(&journal, &mut reader).await;
        assert_eq!((records, damage), (expected(0..9), vec![]), "but once in this life");
    })
    .await;
}

#[tokio::test]
async fn a_disk_that_hangs_for_good_holds_nobody_up_and_loses_nothing_meanwhile() {
    let bench = Bench::new();
    let StartedJournal { journal, mut reader, watch, .. } = bench.start(None);
    watched(watch, async {
        append_durably(&journal, 0..1).await;
        bench.disk.hang_syncs(usize::MAX);
        let stuck = journal.append_synced(&record(1)).unwrap();
        until("the sync hangs", || bench.disk.hanging() == 1).await;
        // Three threads are abandoned, the fourth stays, and from then on nobody waits.
        for threads in 2..=4 {
            bench.clock.advance(Duration::from_secs(5));
            until("another thread hangs", || bench.disk.hanging() == threads).await;
        }
        assert_eq!(stuck.await, Synced::NotDurable);
        bench.clock.advance(Duration::from_secs(5));
        until("it is called broken", || !journal.accepts_new_calls()).await;
        for number in 2..10 {
            let wait = journal.append_synced(&record(number)).unwrap();
            assert_eq!(wait.now_or_never(), Some(Synced::NotDurable));
        }
        assert_eq!(journal.health().not_durable, 9);
        assert!(!journal.health().writable);
        // The database may stand elsewhere: the reader gets everything.
        let mut records = Vec::new();
        while records.len() < 10 {
            let batch = reader.next_batch(3, usize::MAX).await.unwrap();
            records.extend(batch.records);
            reader.committed(batch.mark);
        }
        assert_eq!(records, expected(0..10));
        bench.disk.let_go();
        until("the disk is well again", || journal.accepts_new_calls()).await;
        append_durably(&journal, 10..12).await;
        assert_eq!(drain(&journal, &mut reader).await, (expected(10..12), vec![]));
    })
    .await;
}

#[tokio::test]
async fn clearing_away_may_hang_as_well() {
    let bench = Bench::new();
    let StartedJournal { journal, mut reader, watch, .. } = bench.start(None);
    watched(watch, async {
        append_durably(&journal, 0..300).await;
        bench.disk.hang_renames(1);
        drain(&journal, &mut reader).await;
        until("making the spare hangs", || bench.disk.hanging() == 1).await;
        let wait = journal.append_synced(&record(300)).unwrap();
        bench.clock.advance(Duration::from_secs(5));
        // The record was not in the hanging operation: it waits for the disk no longer, or the new thread was quicker.
        wait.await;
        append_durably(&journal, 301..303).await;
        bench.disk.let_go();
        until("the abandoned thread has come back", || bench.disk.hanging() == 0).await;
        append_durably(&journal, 303..305).await;
        assert_eq!(drain(&journal, &mut reader).await, (expected(300..305), vec![]));
    })
    .await;
}

#[tokio::test]
async fn a_full_disk_is_told_and_outlived() {
    let bench = Bench::new();
    let mut life = bench.start(None);
    append_durably(&life.journal, 0..5).await;
    bench.disk.set_free(Some(10));
    assert_eq!(life.journal.append_synced(&record(5)).unwrap().await, Synced::NotDurable);
    until("new calls are stopped", || !life.journal.accepts_new_calls()).await;
    for number in 6..9 {
        let wait = life.journal.append_synced(&record(number)).unwrap();
        assert_eq!(wait.now_or_never(), Some(Synced::NotDurable));
    }
    assert_eq!(life.journal.health().not_durable, 4);
    let batch = life.reader.next_batch(7, usize::MAX).await.unwrap();
    assert_eq!(batch.records, expected(0..7), "what the disk does not take goes to the reader");
    bench.disk.set_free(None);
    until("the disk takes records again", || life.journal.health().memory_bytes == 0).await;
    assert!(life.journal.accepts_new_calls());
    append_durably(&life.journal, 9..10).await;
    // All of it has reached the disk in the end.
    let copy = bench.moved_to(bench.disk.after_power_loss());
    let mut again = copy.start(None);
    assert_eq!(again.damage, vec![]);
    assert_eq!(drain(&again.journal, &mut again.reader).await, (expected(0..10), vec![]));
    // And the reader has each once in this life.
    life.reader.committed(batch.mark);
    assert_eq!(drain(&life.journal, &mut life.reader).await, (expected(7..10), vec![]));
}

#[tokio::test]
async fn a_full_disk_is_emptied_by_draining() {
    let bench = Bench::new();
    let mut life = bench.start(None);
    append_durably(&life.journal, 0..300).await;
    bench.disk.set_free(Some(0));
    let mut number = 300;
    while life.journal.append_synced(&record(number)).unwrap().await == Synced::Durable {
        number += 1;
    }
    until("new calls are stopped", || !life.journal.accepts_new_calls()).await;
    // A drained segment becomes the next one: that needs no new space.
    let (records, _) = drain(&life.journal, &mut life.reader).await;
    assert_eq!(records, expected(0..number + 1));
    until("the disk takes records again", || life.journal.accepts_new_calls()).await;
    append_durably(&life.journal, number + 1..number + 3).await;
}

#[tokio::test]
async fn memory_is_bounded_while_the_disk_fails() {
    let mut bench = Bench::new();
    bench.memory_bytes = 500;
    let mut life = bench.start(None);
    append_durably(&life.journal, 0..1).await;
    bench.disk.set_free(Some(0));
    let mut taken = 1;
    while life.journal.append_synced(&record(taken)).map(drop).is_ok() {
        taken += 1;
    }
    assert_eq!(life.journal.append(&record(taken)).err(), Some(Refused::MemoryFull));
    assert!(life.journal.health().memory_bytes < 600);
    // Committing makes room: what is in the database needs no disk any more.
    let mut records = Vec::new();
    while records.len() < taken {
        let batch = life.reader.next_batch(100, usize::MAX).await.unwrap();
        records.extend(batch.records);
        life.reader.committed(batch.mark);
    }
    assert_eq!(records, expected(0..taken));
    until("the memory is free", || life.journal.append(&record(taken)).is_ok()).await;
}

#[tokio::test]
async fn closing_on_a_failing_disk_ends_and_says_so() {
    let bench = Bench::new();
    let mut life = bench.start(None);
    append_durably(&life.journal, 0..1).await;
    bench.disk.set_free(Some(0));
    assert_eq!(life.journal.append_synced(&record(1)).unwrap().await, Synced::NotDurable);
    assert!(!watched(life.watch, life.journal.close()).await);
    let mut records = Vec::new();
    while let Some(batch) = life.reader.next_batch(1, usize::MAX).await {
        records.extend(batch.records);
    }
    assert_eq!(records, expected(0..2));
}

#[tokio::test]
async fn closing_on_a_hanging_disk_ends() {
    let bench = Bench::new();
    let mut life = bench.start(None);
    append_durably(&life.journal, 0..1).await;
    bench.disk.hang_syncs(usize::MAX);
    life.journal.append(&record(1)).unwrap();
    let close = life.journal.close();
    let steps = async {
        until("the sync hangs", || bench.disk.hanging() == 1).await;
        bench.clock.advance(Duration::from_secs(5));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        written = close => assert!(!written),
        () = steps => {}
    }
    let batch = life.reader.next_batch(10, usize::MAX).await.unwrap();
    assert_eq!(batch.records, expected(0..2));
    life.reader.committed(batch.mark);
    assert!(life.reader.next_batch(10, usize::MAX).await.is_none());
    let error = Journal::open_on(Arc::new(bench.disk.clone()), bench.options(), &Entropy::seeded(1)).unwrap_err();
    assert!(matches!(error, JournalError::Owned { .. }), "the abandoned thread may still write: {error}");
    bench.disk.let_go();
}

#[tokio::test]
async fn a_segment_that_cannot_be_read_is_passed_over_and_kept() {
    let bench = Bench::new();
    let life = bench.start(None);
    append_durably(&life.journal, 0..300).await;
    let bench = bench.moved_to(bench.disk.after_kill());
    let mut life = bench.start(None);
    // Two failures are made good by reading again; a third is not.
    bench.disk.fail_reads(2);
    let first = life.reader.next_batch(5, usize::MAX).await.unwrap();
    assert_eq!((first.records, first.damage), (expected(0..5), vec![]));
    bench.disk.fail_reads(3);
    let second = life.reader.next_batch(5, usize::MAX).await.unwrap();
    assert_eq!(second.damage[0].kind, DamageKind::Unreadable);
    life.reader.committed(second.mark);
    until("the file is kept aside", || life.journal.health().kept_aside == 1).await;
    assert!(bench.disk.names().contains(&"0000000000000001.seg.damaged".to_owned()));
    let (records, damage) = drain(&life.journal, &mut life.reader).await;
    assert_eq!(damage, vec![]);
    assert_eq!(records.last(), expected(299..300).last());
}
