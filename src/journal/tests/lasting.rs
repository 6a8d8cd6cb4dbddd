//! What an earlier life left: torn, spoilt, missing, or from elsewhere.

use proptest::prelude::*;

use super::*;

/// A journal on a copy of the bench's disk as a kill leaves it, one file edited; what is read from it.
async fn read_edited(bench: &Bench, name: &str, edit: impl FnOnce(&mut Vec<u8>)) -> (Vec<Bytes>, Vec<Damage>) {
    let bench = bench.moved_to(bench.disk.after_kill());
    bench.disk.edit(name, edit);
    let mut life = bench.start(None);
    let (records, found) = drain(&life.journal, &mut life.reader).await;
    let damage: Vec<Damage> = life.damage.into_iter().chain(found).collect();
    assert_eq!(life.journal.health().damage, damage, "what is told is listed");
    if damage.iter().any(|damage| damage.kind != DamageKind::Missing) {
        append_durably(&life.journal, 0..1).await;
        until("what could not be read is kept aside", || life.journal.health().kept_aside == 1).await;
    }
    (records, damage)
}

fn without(records: std::ops::Range<usize>, missing: std::ops::Range<usize>) -> Vec<Bytes> {
    expected(records.start..missing.start).into_iter().chain(expected(missing.end..records.end)).collect()
}

const FIRST: &str = "0000000000000001.seg";

/// Where record `number` starts in a first segment that holds records from 0 on.
fn start_of(number: usize) -> usize {
    64 + (0..number).map(|number| 8 + record(number).len()).sum::<usize>()
}

#[tokio::test]
async fn every_cut_of_the_last_segment_leaves_exactly_the_whole_records() {
    let bench = Bench::new();
    let life = bench.start(None);
    append_durably(&life.journal, 0..12).await;
    let whole = start_of(12);
    for cut in 0..=whole {
        let left = (0..=12).rfind(|&number| start_of(number) <= cut.max(64)).unwrap();
        let read = read_edited(&bench, FIRST, |bytes| bytes.truncate(cut)).await;
        assert_eq!(read, (expected(0..left), vec![]), "cut at {cut}");
    }
}

#[tokio::test]
async fn a_torn_tail_is_dropped_and_told() {
    let bench = Bench::new();
    let life = bench.start(None);
    append_durably(&life.journal, 0..12).await;
    let bench = bench.moved_to(bench.disk.after_kill());
    bench.disk.edit(FIRST, |bytes| bytes.truncate(start_of(11) + 9));
    let mut life = bench.start(None);
    assert_eq!(life.torn_tail, Some(Position { segment: 1, offset: start_of(11) as u64 }));
    assert_eq!(life.damage, vec![]);
    append_durably(&life.journal, 12..13).await;
    assert_eq!(drain(&life.journal, &mut life.reader).await, (without(0..13, 11..12), vec![]));
}

#[tokio::test]
async fn a_flipped_bit_is_told_and_costs_one_record() {
    let bench = Bench::new();
    let life = bench.start(None);
    append_durably(&life.journal, 0..300).await;
    for (victim, byte) in [(0, 0), (3, 2), (5, 5), (7, 8), (20, 12)] {
        let at = start_of(victim);
        let (records, damage) = read_edited(&bench, FIRST, |bytes| bytes[at + byte] ^= 0x10).await;
        assert_eq!(records, without(0..300, victim..victim + 1));
        let bytes = (start_of(victim + 1) - at) as u64;
        let at = Position { segment: 1, offset: at as u64 };
        assert_eq!(damage, vec![Damage { at, bytes, kind: DamageKind::Checksum }]);
    }
}

#[tokio::test]
async fn a_flipped_bit_in_the_last_segment_is_told_too() {
    let bench = Bench::new();
    let life = bench.start(None);
    append_durably(&life.journal, 0..12).await;
    let at = start_of(4) + 10;
    let (records, damage) = read_edited(&bench, FIRST, |bytes| bytes[at] ^= 1).await;
    assert_eq!(records, without(0..12, 4..5));
    assert_eq!(damage.len(), 1);
}

#[tokio::test]
async fn a_spoilt_header_costs_no_record() {
    let bench = Bench::new();
    let life = bench.start(None);
    append_durably(&life.journal, 0..300).await;
    let (records, damage) = read_edited(&bench, FIRST, |bytes| bytes[20] ^= 1).await;
    assert_eq!(records, expected(0..300));
    assert_eq!(damage[0].kind, DamageKind::Header);
}

#[tokio::test]
async fn an_earlier_segment_that_was_cut_is_told() {
    let bench = Bench::new();
    let life = bench.start(None);
    append_durably(&life.journal, 0..300).await;
    let last = (0..300).rfind(|&number| start_of(number) <= bench.disk.contents(FIRST).len() - 8).unwrap();
    let (records, damage) = read_edited(&bench, FIRST, |bytes| bytes.truncate(start_of(last - 1))).await;
    assert_eq!(records, without(0..300, last - 1..last));
    assert_eq!(damage.len(), 1);
    let read = read_edited(&bench, FIRST, Vec::clear).await;
    assert_eq!(read.0, expected(last..300), "nothing is left of it, and nobody knows whether it was drained");
}

#[tokio::test]
async fn a_segment_that_vanished_is_told_unless_it_was_committed() {
    let bench = Bench::new();
    let mut life = bench.start(None);
    append_durably(&life.journal, 0..300).await;
    let first = life.reader.next_batch(10, usize::MAX).await.unwrap();
    let second = "0000000000000002.seg";
    let third_start = {
        let copy = bench.moved_to(bench.disk.after_kill());
        copy.disk.remove_named(second);
        let life = copy.start(Some(first.mark.position()));
        assert_eq!(life.damage.len(), 1);
        assert_eq!((life.damage[0].kind, life.damage[0].at.segment), (DamageKind::Missing, 2));
        life.damage[0].at
    };
    let copy = bench.moved_to(bench.disk.after_kill());
    copy.disk.remove_named(FIRST);
    copy.disk.remove_named(second);
    assert_eq!(copy.start(Some(third_start)).damage, vec![]);
}

#[tokio::test]
async fn a_segment_of_another_journal_is_kept_aside_unread() {
    let bench = Bench::new();
    let life = bench.start(None);
    append_durably(&life.journal, 0..3).await;
    let copy = bench.moved_to(bench.disk.after_kill());
    copy.disk.edit("id", |bytes| bytes[..4].copy_from_slice(b"0000"));
    let life = copy.start(None);
    assert_eq!(life.damage[0].kind, DamageKind::Foreign);
    assert!(life.journal.is_empty());
    until("it is kept aside", || copy.disk.names().contains(&format!("{FIRST}.damaged"))).await;
}

#[tokio::test]
async fn a_lost_name_is_found_in_the_segments() {
    let bench = Bench::new();
    let life = bench.start(None);
    append_durably(&life.journal, 0..3).await;
    let copy = bench.moved_to(bench.disk.after_kill());
    copy.disk.remove_named("id");
    let mut again = copy.start(None);
    assert_eq!(again.journal.id(), life.journal.id());
    assert_eq!(drain(&again.journal, &mut again.reader).await, (expected(0..3), vec![]));
}

#[tokio::test]
async fn a_later_format_is_left_alone() {
    let bench = Bench::new();
    let life = bench.start(None);
    append_durably(&life.journal, 0..3).await;
    let copy = bench.moved_to(bench.disk.after_kill());
    copy.disk.edit(FIRST, |bytes| {
        bytes[8] = 2;
        let sum = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&sum.to_le_bytes());
    });
    let opened = Journal::open_on(Arc::new(copy.disk.clone()), copy.options(), &Entropy::seeded(1)).unwrap();
    let error = opened.start(copy.clock.clone(), None).unwrap_err();
    assert!(error.to_string().contains("was written by a later tallyd (journal format 2)"), "{error}");
}

#[derive(Clone, Debug)]
enum Act {
    Append(usize),
    Drain { records: usize, commit: bool },
    Kill,
    LosePower,
    FailSync,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (1_usize..60).prop_map(Act::Append),
        4 => (1_usize..80, any::<bool>()).prop_map(|(records, commit)| Act::Drain { records, commit }),
        1 => Just(Act::Kill),
        1 => Just(Act::LosePower),
        1 => Just(Act::FailSync),
    ];
    prop::collection::vec(act, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens in whatever order: what was durable is committed in the end, nothing else turns up, nothing is
    /// called damaged, and what was committed comes again only where a failing sync had it written twice.
    #[test]
    fn nothing_durable_is_ever_lost(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut bench = Bench::new();
            let mut life = bench.start(None);
            let mut next = 0;
            let mut durable = std::collections::BTreeSet::new();
            let mut committed = std::collections::BTreeMap::<Bytes, usize>::new();
            let mut mark: Option<Mark> = None;
            let mut position = None;
            let mut undelivered = 0;
            let mut failed = false;
            for act in acts {
                match act {
                    Act::Append(records) => {
                        let first = next;
                        next += records;
                        for number in first..next {
                            undelivered += 8 + record(number).len() as u64;
                            if life.journal.append_synced(&record(number)).unwrap().await == Synced::Durable {
                                durable.insert(record(number));
                            }
                        }
                    }
                    Act::Drain { records, commit } => {
                        until("everything is written", || life.journal.health().memory_bytes == 0).await;
                        let mut taken = 0;
                        while taken < records && undelivered > 0 {
                            let batch = life.reader.next_batch(17, 500).await.unwrap();
                            assert_eq!(batch.damage, vec![]);
                            taken += batch.records.len();
                            for record in batch.records {
                                undelivered -= 8 + record.len() as u64;
                                *committed.entry(record).or_default() += 1;
                            }
                            mark = Some(batch.mark);
                        }
                        if let Some(mark) = mark && commit {
                            life.reader.committed(mark);
                        }
                    }
                    Act::Kill | Act::LosePower => {
                        let disk = match act {
                            Act::Kill => bench.disk.after_kill(),
                            _ => bench.disk.after_power_loss(),
                        };
                        bench = bench.moved_to(disk);
                        position = mark.map(Mark::position).or(position);
                        mark = None;
                        life = bench.start(position);
                        assert_eq!(life.damage, vec![]);
                        undelivered = life.journal.health().held_bytes;
                    }
                    Act::FailSync => {
                        bench.disk.fail_syncs(1);
                        failed = true;
                    }
                }
            }
            if let Some(mark) = mark {
                life.reader.committed(mark);
            }
            let (rest, damage) = drain(&life.journal, &mut life.reader).await;
            assert_eq!(damage, vec![]);
            for record in rest {
                *committed.entry(record).or_default() += 1;
            }
            for record in durable {
                assert!(committed.contains_key(&record[..]), "lost: {}", String::from_utf8_lossy(&record));
            }
            for (read, times) in committed {
                assert!((0..next).any(|number| record(number) == read[..]), "never appended: {read:?}");
                assert!(times == 1 || failed, "{times} times: {read:?}");
            }
        });
    }
}
