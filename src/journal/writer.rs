//! The one thread that writes: a group at a time, one write and one `fdatasync` each.
//!
//! A thread and not a task: `fdatasync` blocks, for hours if the disk is gone, and must never hold up the runtime's
//! own threads. A thread that hangs is abandoned by [`Watch`](super::Watch), which starts another; the abandoned one
//! finds its generation outdated when its disk lets go of it, and leaves without a word.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::disk::DiskFile;
use super::folder::{damaged_path, segment_path, spare_path};
use super::format::{END_MARK, HEADER_BYTES, SegmentHeader, segment_mask, write_masked};
use super::group::Synced;
use super::position::Position;
use super::shared::{Owner, Shared, release};
use super::state::{Life, Parked, Removal};

/// A record for which nobody waits is synced with the next group, after this time at the latest.
const SYNC_WITHIN: Duration = Duration::from_millis(20);

/// How long a disk that fails is left alone before the next attempt.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// A segment's file grows in so many steps, each of zeros: a sync of bytes behind the file's end brings its new length to
/// the disk too, which is a second write as long as the first.
const GROWTH_STEPS: u64 = 256;

/// What the writer does next.
enum Work {
    /// Begin a segment, from the spare file or a new one.
    Begin { number: u64, continues: Position, from_spare: bool },
    /// Write these records at this offset of the current segment.
    Write { records: Bytes, offset: u64 },
    /// Clear away a drained segment's file.
    Clear(Removal),
    /// Nothing more to do, ever: the journal is closed.
    Close,
    /// Another thread has taken over.
    LeaveToAnother,
}

/// Starts the writer thread of this generation.
pub(super) fn start(shared: &Arc<Shared>, owner: &Owner, generation: u64) -> io::Result<()> {
    let writer = Writer { shared: Arc::clone(shared), generation, segment: None, buffer: Vec::new() };
    let owner = Arc::clone(owner);
    std::thread::Builder::new().name("journal-writer".to_owned()).spawn(move || writer.run(owner))?;
    Ok(())
}

struct Writer {
    shared: Arc<Shared>,
    generation: u64,
    segment: Option<OpenSegment>,
    /// The group as it goes to disk, checksums masked; kept for its capacity.
    buffer: Vec<u8>,
}

struct OpenSegment {
    file: Arc<dyn DiskFile>,
    mask: u32,
    /// The file's length.
    length: u64,
}

impl Writer {
    fn run(mut self, owner: Owner) {
        loop {
            match self.next_work() {
                Work::Begin { number, continues, from_spare } => {
                    let begun = self.begin(number, continues, from_spare);
                    self.report_begun(number, begun);
                }
                Work::Write { records, offset } => {
                    let written = self.write(&records, offset);
                    drop(records);
                    self.report_written(written);
                }
                Work::Clear(removal) => self.clear(removal),
                Work::Close => {
                    // The folder is given up before anybody is told, so that the next owner finds it free.
                    drop(owner);
                    self.shared.closed.send_replace(true);
                    self.shared.readable.notify_one();
                    return;
                }
                Work::LeaveToAnother => return,
            }
        }
    }

    /// Waits until there is something to do.
    fn next_work(&self) -> Work {
        let shared = &*self.shared;
        let mut state = shared.lock();
        let mut retry_due = false;
        let mut sync_due = false;
        let mut lingered = false;
        loop {
            if state.generation != self.generation {
                state.stale_writers -= 1;
                return Work::LeaveToAnother;
            }
            if let Some(removal) = state.removals.pop_front() {
                state.operation_since = Some(shared.clock.elapsed());
                return Work::Clear(removal);
            }
            let finished = state.queue.is_empty() || state.must_pause();
            if state.life != Life::Open && finished {
                state.life = Life::Closed;
                return Work::Close;
            }
            if state.must_pause() && !retry_due {
                (state, retry_due) = shared.park(state, Parked::UntilRetry, Some(RETRY_INTERVAL));
                continue;
            }
            let next_size = state.queue.front().map(|group| group.size() as u64);
            let fits = state.write_offset().is_some_and(|offset| {
                offset == HEADER_BYTES || offset + next_size.unwrap_or(0) <= shared.options.segment_bytes
            });
            // On a broken disk a new segment is the probe, so that it is found well again though no record comes.
            if !fits || state.must_pause() {
                state.next_number += 1;
                state.operation_since = Some(shared.clock.elapsed());
                return Work::Begin {
                    number: state.next_number,
                    continues: state.durable_end,
                    from_spare: std::mem::take(&mut state.spare),
                };
            }
            let (Some(front), Some(offset)) = (state.queue.front(), state.write_offset()) else {
                if lingered {
                    (state, _) = shared.park(state, Parked::Idle, None);
                } else {
                    // More comes soon, while calls come at all, and its first record, for which nobody waits, need not
                    // wake this thread.
                    (state, lingered) = shared.park(state, Parked::UntilAwaited, Some(SYNC_WITHIN));
                    sync_due = lingered && !state.queue.is_empty();
                }
                continue;
            };
            let ready = front.awaited > 0
                || front.is_sealed()
                || front.given_up
                || state.queue.len() > 1
                || state.life != Life::Open
                || sync_due;
            if !ready {
                (state, sync_due) = shared.park(state, Parked::UntilAwaited, Some(SYNC_WITHIN));
                continue;
            }
            if let Some(records) = state.take_group() {
                state.operation_since = Some(shared.clock.elapsed());
                return Work::Write { records, offset };
            }
        }
    }

    fn begin(&mut self, number: u64, continues: Position, from_spare: bool) -> io::Result<()> {
        let Shared { disk, id, options, .. } = &*self.shared;
        self.segment = None;
        let path = segment_path(&options.dir, number);
        let file = if from_spare {
            disk.rename(&spare_path(&options.dir), &path).and_then(|()| disk.open(&path))?
        } else {
            disk.create(&path)?
        };
        let mut head = SegmentHeader { journal: *id, segment: number, continues }.encode().to_vec();
        head.extend_from_slice(&END_MARK);
        let begun =
            file.write_all_at(&head, 0).and_then(|()| file.sync_data()).and_then(|()| disk.sync_folder(&options.dir));
        if let Err(error) = begun {
            // Nothing is in it. If it stays, the next start clears it away.
            if let Err(error) = disk.remove(&path) {
                tracing::debug!(segment = number, %error, "journal: an unused segment stays until the next start");
            }
            return Err(error);
        }
        let length = file.size()?;
        self.segment = Some(OpenSegment { file, mask: segment_mask(*id, number), length });
        Ok(())
    }

    fn write(&mut self, records: &[u8], offset: u64) -> io::Result<()> {
        let Some(OpenSegment { file, mask, length }) = &mut self.segment else {
            return Err(io::Error::other("no journal segment is open"));
        };
        write_masked(records, *mask, &mut self.buffer);
        let end = offset + self.buffer.len() as u64;
        if end > *length {
            let segment_bytes = self.shared.options.segment_bytes;
            let grown = end.next_multiple_of((segment_bytes / GROWTH_STEPS).max(1)).min(segment_bytes).max(end);
            self.buffer.resize(self.buffer.len() + usize::try_from(grown - end).unwrap_or(0), 0);
            *length = grown;
        }
        file.write_all_at(&self.buffer, offset)?;
        file.sync_data()
    }

    fn report_begun(&self, number: u64, begun: io::Result<()>) {
        match begun {
            Ok(()) => {
                let mut state = self.shared.lock();
                if state.generation != self.generation {
                    return;
                }
                state.operation_since = None;
                let recovered = state.begun(number);
                self.shared.admit(&state);
                drop(state);
                tell_recovery(recovered);
            }
            Err(error) => self.report_failure(&format!("journal segment {number} could not be begun: {error}")),
        }
    }

    fn report_written(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            self.segment = None;
            return self.report_failure(&format!("the journal could not be written: {error}"));
        }
        let shared = &*self.shared;
        let mut state = shared.lock();
        if state.generation != self.generation {
            return;
        }
        state.operation_since = None;
        let (released, recovered) = state.written();
        shared.admit(&state);
        drop(state);
        release(released, Synced::Durable);
        shared.readable.notify_one();
        tell_recovery(recovered);
    }

    fn report_failure(&self, what: &str) {
        let shared = &*self.shared;
        let mut state = shared.lock();
        if state.generation != self.generation {
            return;
        }
        state.operation_since = None;
        let released = state.failed(shared.failure(what.to_owned()));
        shared.tell_failure(state, released);
    }

    fn clear(&self, removal: Removal) {
        let Shared { disk, options, .. } = &*self.shared;
        let (number, cleared) = match removal {
            Removal::Remove(number) => (number, disk.remove(&segment_path(&options.dir, number))),
            Removal::Spare(number) => {
                (number, disk.rename(&segment_path(&options.dir, number), &spare_path(&options.dir)))
            }
            Removal::KeepAside(number) => {
                (number, disk.rename(&segment_path(&options.dir, number), &damaged_path(&options.dir, number)))
            }
        };
        let mut state = self.shared.lock();
        if state.generation != self.generation {
            return;
        }
        state.operation_since = None;
        if let Err(error) = cleared {
            drop(state);
            tracing::warn!(segment = number, %error, "journal: a drained segment stays until the next start");
            return;
        }
        match removal {
            Removal::Remove(_) => {}
            Removal::Spare(_) => state.spare = true,
            Removal::KeepAside(_) => state.kept_aside += 1,
        }
    }
}

fn tell_recovery(recovered: bool) {
    if recovered {
        tracing::info!("journal: the disk takes records again");
    }
}
