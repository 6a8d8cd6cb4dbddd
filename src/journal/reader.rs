//! The way out: batches of records for the one who commits them to the database.
//!
//! A record is handed over once it is durable, or once that has been given up; never earlier. Handed over earlier, a
//! record could be committed under a position that a loss of power takes back, and the ledger would hold calls of
//! which a client was never told. What was given up is handed over nevertheless, because the database may stand on
//! another disk and is then the only place where the record survives; it has no position yet, and may be read once
//! more after a crash.

use std::fmt;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};

use super::disk::DiskFile;
use super::folder::segment_path;
use super::format::{first_in_memory, segment_mask};
use super::health::{Damage, DamageKind};
use super::outgoing::{Range, Source};
use super::position::Position;
use super::scan::read_records;
use super::shared::{Owner, Shared};
use super::state::Life;

/// How often a stretch is read before it counts as unreadable.
const READ_ATTEMPTS: u32 = 3;

/// Records to be committed together, and the mark to commit them under.
#[derive(Debug, Default)]
pub struct Batch {
    /// Payloads in the order of appending, but for those that were given up and written again. May be empty: then only
    /// the mark moved on, and is to be committed all the same.
    pub records: Vec<Bytes>,
    /// What has been read when this batch is committed.
    pub mark: Mark,
    /// What was found broken on the way here, to be logged.
    pub damage: Vec<Damage>,
}

/// How far the reader has come. The position goes into the database, in the transaction of the batch's rows; the mark
/// goes back to [`Reader::committed`] when that transaction is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    position: Position,
    /// Given-up groups numbered below this have been handed over.
    given_up_before: u64,
}

impl Mark {
    /// Where the next start is to begin reading.
    pub fn position(self) -> Position {
        self.position
    }
}

/// The single consumer of the journal.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    _owner: Owner,
    mark: Mark,
    front: Option<Front>,
    file: Option<OpenFile>,
    failed_attempts: u32,
}

/// What is being handed over.
#[derive(Debug)]
enum Front {
    /// Durable records; `start` moves on as they are.
    Range(Range),
    /// Records in memory that were given up: number of their group.
    GivenUp(u64, Bytes),
}

struct OpenFile {
    segment: u64,
    file: Arc<dyn DiskFile>,
}

impl fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenFile").field("segment", &self.segment).finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, owner: Owner) -> Self {
        let mark = Mark { position: shared.lock().committed, given_up_before: 0 };
        Self { shared, _owner: owner, mark, front: None, file: None, failed_attempts: 0 }
    }

    /// The next records, at most `max_records` and few more bytes than `max_bytes`, at least one record; waits until
    /// there is something. `None`: the journal is closed and everything in it was handed over.
    ///
    /// Cancelling it loses nothing. Records that were handed over are not handed over again, committed or not, before
    /// the next start: whoever cannot commit a batch keeps it and tries again.
    pub async fn next_batch(&mut self, max_records: usize, max_bytes: usize) -> Option<Batch> {
        let mut batch = Batch { mark: self.mark, ..Batch::default() };
        loop {
            match self.next_step(&mut batch, max_records, max_bytes) {
                Step::Full => {
                    batch.mark = self.mark;
                    return Some(batch);
                }
                Step::File => {
                    self.read_file(&mut batch, max_records, max_bytes).await?;
                    if !batch.records.is_empty() || !batch.damage.is_empty() {
                        batch.mark = self.mark;
                        return Some(batch);
                    }
                }
                Step::Wait => self.shared.readable.notified().await,
                Step::Closed => return None,
            }
        }
    }

    /// Everything up to this mark is durable in the database: segments wholly below it are cleared away.
    pub fn committed(&mut self, mark: Mark) {
        let mut state = self.shared.lock();
        state.commit(mark.position, mark.given_up_before);
        self.shared.admit(&state);
        let clear = !state.removals.is_empty();
        drop(state);
        if clear {
            self.shared.work.notify_all();
        }
    }

    /// Fills the batch from memory as far as that goes.
    fn next_step(&mut self, batch: &mut Batch, max_records: usize, max_bytes: usize) -> Step {
        let mut bytes: usize = batch.records.iter().map(Bytes::len).sum();
        loop {
            if batch.records.len() >= max_records.max(1) || bytes >= max_bytes.max(1) {
                return Step::Full;
            }
            match &mut self.front {
                None => {
                    if let Some(step) = self.take_front(batch) {
                        return step;
                    }
                }
                Some(Front::Range(range)) => {
                    match &mut range.source {
                        Source::Memory(records) if range.start < range.end => {
                            let taken = take_record(records, &mut batch.records);
                            range.start += taken as u64;
                            bytes += taken;
                        }
                        Source::File if range.start < range.end => {
                            return if batch.records.is_empty() { Step::File } else { Step::Full };
                        }
                        Source::Delivered => range.start = range.end,
                        Source::Memory(_) | Source::File => {}
                    }
                    self.mark.position = Position { segment: range.segment, offset: range.start };
                    if range.start >= range.end {
                        self.front = None;
                    }
                }
                Some(Front::GivenUp(number, records)) => {
                    bytes += take_record(records, &mut batch.records);
                    if records.is_empty() {
                        self.mark.given_up_before = *number + 1;
                        self.front = None;
                    }
                }
            }
        }
    }

    /// Takes what is next to be handed over; a step if there is nothing.
    fn take_front(&mut self, batch: &Batch) -> Option<Step> {
        let mut state = self.shared.lock();
        if let Some(range) = state.outgoing.take_range() {
            self.front = Some(Front::Range(range));
        } else if let Some((number, records)) = state.take_given_up() {
            self.front = Some(Front::GivenUp(number, records));
        } else if !batch.records.is_empty() || batch.mark != self.mark {
            return Some(Step::Full);
        } else if state.life == Life::Closed {
            return Some(Step::Closed);
        } else {
            return Some(Step::Wait);
        }
        None
    }

    /// Reads records of the front range from its file. `None` only when the runtime is going down.
    async fn read_file(&mut self, batch: &mut Batch, max_records: usize, max_bytes: usize) -> Option<()> {
        let Some(Front::Range(range)) = &self.front else { return Some(()) };
        let (segment, start, end) = (range.segment, range.start, range.end);
        let open = self.file.take().filter(|open| open.segment == segment);
        let shared = Arc::clone(&self.shared);
        // Awaited here and now, so nothing outlives this call but one read.
        let read = tokio::task::spawn_blocking(move || {
            let open = match open {
                Some(open) => open,
                None => OpenFile { segment, file: shared.disk.open(&segment_path(&shared.options.dir, segment))? },
            };
            let mask = segment_mask(shared.id, segment);
            read_records(&*open.file, mask, Position { segment, offset: start }, end, max_records, max_bytes)
                .map(|read| (open, read))
        });
        let (next, damage) = match read.await.ok()? {
            Ok((open, read)) => {
                self.file = Some(open);
                self.failed_attempts = 0;
                batch.records.extend(read.records);
                (read.next, read.damage)
            }
            Err(error) => {
                self.failed_attempts += 1;
                if self.failed_attempts < READ_ATTEMPTS {
                    return Some(());
                }
                self.failed_attempts = 0;
                tracing::error!(segment, offset = start, %error, "journal: a segment cannot be read; it is kept aside");
                let at = Position { segment, offset: start };
                (end, Some(Damage { at, bytes: end - start, kind: DamageKind::Unreadable }))
            }
        };
        if let Some(damage) = damage {
            self.shared.lock().note_damage(damage);
            batch.damage.push(damage);
        }
        self.mark.position = Position { segment, offset: next };
        match &mut self.front {
            Some(Front::Range(range)) if next < end => range.start = next,
            _ => self.front = None,
        }
        Some(())
    }
}

/// What to do after memory gave what it has.
enum Step {
    /// The batch is ready.
    Full,
    /// The next records are to be read from a file.
    File,
    /// There is nothing.
    Wait,
    /// There is nothing, and never will be.
    Closed,
}

/// Moves the first record of a group in memory into `out`; how many bytes of the group it took.
fn take_record(group: &mut Bytes, out: &mut Vec<Bytes>) -> usize {
    let payload = first_in_memory(group);
    let taken = payload.end;
    out.push(group.slice(payload));
    group.advance(taken);
    taken
}
