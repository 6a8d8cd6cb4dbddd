//! The writer's loop: gathers work from the journal and from handles, and commits it in large transactions.
//!
//! Work that the database does not take at present is tried again, for as long as it takes; work that it
//! will never take is parted in halves until the one bad record is found, which is set aside in a file.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::apply::{Applied, Applier, ApplyError};
use super::fold::Verdict;
use super::import::ImportRows;
use super::{
    CHANGE_QUEUE, COMMAND_ITEMS, COMMAND_QUEUE, ChangeCommand, Command, Health, IMPORT_QUEUE, Ledger, READING_QUEUE,
    ReadingOf, Trouble, Wakes, Work,
};
use crate::budget::Book;
use crate::catalogue::Shelf;
use crate::clock::Clock;
use crate::domain::budget::Budget;
use crate::domain::budget::change::{Actor, Door};
use crate::domain::observation::Observation;
use crate::journal::{Batch, Damage, Journal, Mark, OpenedJournal, Reader, StartedJournal};
use crate::store::Store;
use crate::telemetry::Metrics;

/// First and longest wait before the database is tried again.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(5);

/// How often it is looked for what other daemons did, where there may be any: so old is at most what admission knows of
/// their calls, and the time a transaction takes.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// How often work is tried that meets a row of another writer. Where there is no other one, the row stays, and waiting
/// for it would hold up everything behind it: the work is parted like one that the database refuses.
const RACE_TRIES: u32 = 6;

/// Budget windows turn, rolling ones move, at most this late when nothing else happens.
const TURN_EVERY: Duration = Duration::from_secs(5);

/// While at least this many records come in `ledger.batch_wait`, a transaction waits for more of them: the larger it is,
/// the less a row costs, since rows share pages, syncs and sums.
const MANY_RECORDS: usize = 64;

/// How many times `ledger.batch_wait` a transaction waits at most.
const WAITS: u32 = 4;

/// Most bytes of journal records in one transaction.
const BATCH_BYTES: usize = 8 << 20;

/// What the writer is told by the configuration.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// Most journal records in one transaction.
    pub batch_rows: usize,
    /// How long a transaction waits for more work after its first piece.
    pub batch_wait: Duration,
    /// How long an ID may stay without a record before it is given up, in milliseconds.
    pub give_up_after_ms: i64,
    /// The file that records nobody can understand go to.
    pub aside: PathBuf,
    /// What models are called.
    pub catalogue: Shelf,
    /// Where rows are counted.
    pub metrics: Metrics,
}

/// The one writer of the database.
pub struct Writer {
    applier: Applier,
    journal: Journal,
    reader: Reader,
    commands: mpsc::Receiver<Command>,
    /// History that waits for its own transaction.
    held: Option<Command>,
    imports: mpsc::Receiver<Command>,
    /// A piece of an import, whose turn is next.
    import: Option<Command>,
    import_rows: Arc<ImportRows>,
    readings: mpsc::Receiver<ReadingOf>,
    changes: mpsc::Receiver<ChangeCommand>,
    /// A change of budgets, whose turn is next.
    change: Option<ChangeCommand>,
    /// When it was last looked for what others did, and how often it is.
    followed: Duration,
    follow_every: Duration,
    health: Arc<ArcSwap<Health>>,
    wakes: Arc<Wakes>,
    clock: Clock,
    options: WriterOptions,
}

/// What [`Writer::open`] gives.
pub struct Opened {
    /// To be run.
    pub writer: Writer,
    /// The handle.
    pub ledger: Ledger,
    /// The journal's way in.
    pub journal: Journal,
    /// To be run beside the writer.
    pub watch: crate::journal::Watch,
}

/// Why the ledger can not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] crate::journal::JournalError),
    /// The file of records set aside.
    #[error("a record can not be set aside in {path}: {error}. Give tallyd a folder it may write to, with room in it")]
    Aside {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Why work is not written at present.
#[derive(Debug, thiserror::Error)]
enum Stall {
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("a record can not be set aside: {0}")]
    Aside(#[from] io::Error),
}

/// What goes into one transaction.
#[derive(Default)]
struct Piece {
    work: Work,
    /// Which caller told each of `work.told`.
    told_by: Vec<usize>,
    /// Journal records that nobody can read, to be set aside before the journal is committed past them.
    unreadable: Vec<Bytes>,
    mark: Option<Mark>,
    /// It is a part of one that met a row of another writer once too often.
    raced: bool,
}

/// Who waits for what was told.
struct Caller {
    answer: oneshot::Sender<Vec<Verdict>>,
    verdicts: Vec<Verdict>,
    _room: OwnedSemaphorePermit,
}

/// Work and who waits for it.
#[derive(Default)]
struct Gathered {
    piece: Piece,
    callers: Vec<Caller>,
}

/// How the tries of one piece went so far.
struct Tries {
    wait: Duration,
    races: u32,
}

impl Writer {
    /// Makes the writer and its handle, and starts the journal.
    ///
    /// Brings the ledger up to the journal's end before it returns: calls whose outcome the journal holds
    /// are rows, calls that were under way when the daemon died are closed, and `budgets` are counted.
    pub async fn open(
        store: Store,
        journal: OpenedJournal,
        budgets: Vec<Budget>,
        book: Arc<Book>,
        clock: Clock,
        options: WriterOptions,
    ) -> Result<Opened, OpenError> {
        let catalogue = options.catalogue.clone();
        let follow_every = if store.is_shared() { FOLLOW_EVERY } else { TURN_EVERY };
        let mut applier = Applier::new(store, journal.id().to_string(), book, catalogue, options.give_up_after_ms);
        let drained = applier.drained_to().await?;
        let StartedJournal { journal, reader, watch, damage, torn_tail } = journal.start(clock.clone(), drained)?;
        if let Some(position) = torn_tail {
            tracing::info!(%position, "the journal's last record was cut short when the daemon died, before anybody was told it was kept; it is dropped");
        }
        tell_damage(&damage);
        applier.track(budgets, &Actor::new(Door::File, "start"), clock.now()).await?;
        let (command_sender, commands) = mpsc::channel(COMMAND_QUEUE);
        let (import_sender, imports) = mpsc::channel(IMPORT_QUEUE);
        let import_rows = Arc::new(ImportRows::default());
        let (reading_sender, readings) = mpsc::channel(READING_QUEUE);
        let (change_sender, changes) = mpsc::channel(CHANGE_QUEUE);
        let room = usize::try_from(COMMAND_ITEMS).unwrap_or(Semaphore::MAX_PERMITS);
        let health = Arc::new(ArcSwap::from_pointee(Health::default()));
        let wakes = Arc::new(Wakes::default());
        let ledger = Ledger {
            commands: command_sender,
            imports: import_sender,
            import_rows: Arc::clone(&import_rows),
            room: Arc::new(Semaphore::new(room)),
            readings: reading_sender,
            changes: change_sender,
            health: Arc::clone(&health),
            wakes: Arc::clone(&wakes),
            clock: clock.clone(),
        };
        let way_in = journal.clone();
        let mut writer = Self {
            applier,
            journal,
            reader,
            commands,
            held: None,
            imports,
            import: None,
            import_rows,
            readings,
            changes,
            change: None,
            followed: clock.elapsed(),
            follow_every,
            health,
            wakes,
            clock,
            options,
        };
        writer.replay().await?;
        Ok(Opened { writer, ledger, journal: way_in, watch })
    }

    /// Runs until `stop`; then closes the journal and commits what it still holds. A database that refuses then is
    /// not waited for: the journal keeps what it holds, and the next start drains it.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            // Only the first piece is waited for here: what has been taken is never dropped by the other branches.
            let turn = self.clock.sleep(self.follow_every);
            let mut gathered = tokio::select! {
                biased;
                first = self.first() => first,
                () = turn => Gathered::default(),
                () = stop.cancelled() => break,
            };
            let importing = self.is_importing();
            if !gathered.is_history() {
                if importing || gathered.is_empty() {
                    self.add_waiting(&mut gathered);
                } else {
                    self.gather(&mut gathered).await;
                }
            }
            let written = self.commit(gathered, &stop).await && (!importing || self.import_pieces(&stop).await);
            if written {
                self.change_budgets().await;
            } else {
                // The next start drains what the journal brings to its disk now.
                if !self.journal.close().await {
                    tracing::error!("neither the journal's disk nor the database took everything that was seen");
                }
                return;
            }
        }
        if !self.journal.close().await {
            tracing::error!("the journal's disk did not take everything; what is left goes straight into the ledger");
        }
        loop {
            let mut gathered = Gathered::default();
            match self.reader.next_batch(self.options.batch_rows, BATCH_BYTES).await {
                Some(batch) => gathered.take(batch),
                None if self.commands.is_empty() && self.readings.is_empty() && self.held.is_none() => return,
                None => {}
            }
            self.add_waiting(&mut gathered);
            if let Some(command) = self.held.take() {
                gathered.command(command);
            }
            if !self.commit(gathered, &stop).await {
                return;
            }
        }
    }

    /// Applies what the journal held when it was opened, then closes the calls nobody will hear of again.
    async fn replay(&mut self) -> Result<(), OpenError> {
        while !self.journal.is_empty() {
            let Some(batch) = self.reader.next_batch(self.options.batch_rows, BATCH_BYTES).await else { break };
            let mut gathered = Gathered::default();
            gathered.take(batch);
            self.write(gathered, None).await.map_err(|stall| match stall {
                Stall::Apply(error) => OpenError::Apply(error),
                Stall::Aside(error) => OpenError::Aside { path: self.options.aside.clone(), error },
            })?;
        }
        Ok(self.applier.close_interrupted(self.clock.now()).await?)
    }

    /// The first piece of work; every branch is cancel-safe.
    async fn first(&mut self) -> Gathered {
        let mut gathered = Gathered::default();
        if let Some(command) = self.held.take() {
            gathered.command(command);
            return gathered;
        }
        tokio::select! {
            Some(batch) = self.reader.next_batch(self.options.batch_rows, BATCH_BYTES) => gathered.take(batch),
            Some(command) = self.commands.recv() => gathered.command(command),
            Some(reading) = self.readings.recv() => gathered.piece.work.readings.push(reading),
            Some(command) = self.imports.recv(), if self.import.is_none() => self.import = Some(command),
            Some(command) = self.changes.recv(), if self.change.is_none() => self.change = Some(command),
        }
        gathered
    }

    /// Waits a little for more, so that many calls share the transaction; longer while many come and nobody waits for it.
    async fn gather(&mut self, gathered: &mut Gathered) {
        for _ in 0..WAITS {
            let before = gathered.piece.work.observations.len();
            if before < self.options.batch_rows {
                self.clock.sleep(self.options.batch_wait).await;
            }
            self.add_waiting(gathered);
            let came = gathered.piece.work.observations.len() - before;
            if came < MANY_RECORDS || !gathered.callers.is_empty() || self.held.is_some() {
                return;
            }
        }
    }

    /// Adds what already waits, without waiting for more.
    fn add_waiting(&mut self, gathered: &mut Gathered) {
        let room = self.options.batch_rows.saturating_sub(gathered.piece.work.observations.len());
        if room > 0
            && let Some(Some(batch)) = self.reader.next_batch(room, BATCH_BYTES).now_or_never()
        {
            gathered.take(batch);
        }
        while self.held.is_none() && gathered.piece.work.told.len() < self.options.batch_rows {
            let Ok(command) = self.commands.try_recv() else { break };
            if command.work.as_of.is_some() {
                // History is judged at its own time, so it gets a transaction of its own.
                self.held = Some(command);
            } else {
                gathered.command(command);
            }
        }
        while gathered.piece.work.readings.len() < READING_QUEUE
            && let Ok(reading) = self.readings.try_recv()
        {
            gathered.piece.work.readings.push(reading);
        }
    }

    /// Makes the change of budgets whose turn it is, and now and then takes over what other daemons did.
    async fn change_budgets(&mut self) {
        let now = self.clock.now();
        if let Some(ChangeCommand { change, by, answer }) = self.change.take().or_else(|| self.changes.try_recv().ok())
        {
            if answer.is_closed() {
                // Who asked was told that nothing was changed, and so it shall be.
                return;
            }
            let changed = self.applier.change(change, &by, now).await;
            if let Ok(changed) = &changed {
                self.wake_for(changed.alerts);
            }
            let _ = answer.send(changed);
            return;
        }
        let elapsed = self.clock.elapsed();
        if elapsed.saturating_sub(self.followed) < self.follow_every {
            return;
        }
        self.followed = elapsed;
        match self.applier.follow(now).await {
            Ok(0) => {}
            Ok(alerts) => self.wake_for(alerts),
            // Whatever is wrong with the database is told by the next commit.
            Err(error) => tracing::debug!(%error, "what other daemons did could not be looked for"),
        }
    }

    fn wake_for(&self, alerts: usize) {
        self.wakes.pages.notify_waiters();
        if alerts > 0 {
            self.wakes.outbox.notify_one();
        }
    }

    /// Whether a piece of an import is to be written next; imports take turns with live work, which then does not wait for
    /// more of its kind: an import's turn is the longer wait.
    fn is_importing(&mut self) -> bool {
        if self.import.is_none() {
            self.import = self.imports.try_recv().ok();
        }
        self.import.is_some()
    }

    /// Commits pieces of imports, for as long as live work may wait for more of its kind and nobody waits for an answer:
    /// a transaction for each few calls that came meanwhile would cost as much as the import's own. Returns `false` as
    /// [`Writer::commit`].
    async fn import_pieces(&mut self, stop: &CancellationToken) -> bool {
        let began = self.clock.elapsed();
        let turn = self.options.batch_wait * WAITS;
        while self.import_piece(stop).await {
            let asked =
                self.held.is_some() || !self.commands.is_empty() || self.change.is_some() || !self.changes.is_empty();
            let over = self.clock.elapsed().saturating_sub(began) >= turn;
            if asked || over || stop.is_cancelled() || !self.is_importing() {
                return true;
            }
        }
        false
    }

    /// Commits the piece of an import whose turn it is, in a transaction of its own. Returns `false` as [`Writer::commit`].
    async fn import_piece(&mut self, stop: &CancellationToken) -> bool {
        let Some(command) = self.import.take() else { return true };
        let mut gathered = Gathered::default();
        let rows = command.work.told.len();
        gathered.command(command);
        let began = self.clock.elapsed();
        let committed = self.commit(gathered, stop).await;
        let took = self.clock.elapsed().saturating_sub(began);
        self.import_rows.took(rows, took);
        self.options.metrics.imported(took);
        committed
    }

    /// Commits, however long the database takes to come back. Returns `false` when stopping and it does not: the
    /// journal keeps what it holds, and the next start drains it.
    async fn commit(&mut self, gathered: Gathered, stop: &CancellationToken) -> bool {
        self.write(gathered, Some(stop)).await.is_ok()
    }

    /// Commits everything, in parts where a part is refused. What the database does not take at present is waited for
    /// until `stop`, and not at all without one, when the journal of an earlier life is replayed.
    async fn write(&mut self, gathered: Gathered, stop: Option<&CancellationToken>) -> Result<(), Stall> {
        let Gathered { piece, mut callers } = gathered;
        let mut pieces = VecDeque::from([piece]);
        while let Some(mut piece) = pieces.pop_front() {
            let mut tries = Tries { wait: RETRY_FIRST, races: 0 };
            loop {
                let mut stall = match self.attempt(&mut piece, &callers, stop.is_none()).await {
                    Ok(applied) => {
                        self.committed(&applied, piece.mark);
                        tell(&mut callers, &piece.told_by, applied.verdicts);
                        break;
                    }
                    Err(stall) => stall,
                };
                if !piece.work.is_empty() && tries.are_in_vain(&stall, &piece) {
                    if !piece.work.is_single() {
                        tracing::warn!(error = %stall, "a transaction was refused for good; looking for the record that is to blame");
                        piece.raced = tries.races > 0;
                        let (first, second) = piece.halves();
                        pieces.push_front(second);
                        pieces.push_front(first);
                        break;
                    }
                    // Where neither the database nor the file takes it, the journal keeps it, and both are tried again.
                    match self.set_aside_work(&piece, &stall) {
                        Ok(()) => {
                            tell(&mut callers, &piece.told_by, vec![Verdict::SetAside; piece.told_by.len()]);
                            break;
                        }
                        Err(error) => stall = error.into(),
                    }
                }
                self.troubled(&stall);
                match stop {
                    Some(stop) if stop.is_cancelled() => return Err(stall),
                    None if tries.races == 0 => return Err(stall),
                    Some(stop) => {
                        tokio::select! {
                            () = self.clock.sleep(tries.wait) => {}
                            () = stop.cancelled() => {}
                        }
                    }
                    None => self.clock.sleep(tries.wait).await,
                }
                tries.wait = (tries.wait * 2).min(RETRY_LAST);
            }
        }
        for caller in callers {
            // The caller may have stopped waiting during the last transaction; what it told is committed all the same.
            let _ = caller.answer.send(caller.verdicts);
        }
        Ok(())
    }

    /// One try.
    async fn attempt(&mut self, piece: &mut Piece, callers: &[Caller], replay: bool) -> Result<Applied, Stall> {
        while let Some(record) = piece.unreadable.last() {
            self.set_aside(record)?;
            piece.unreadable.pop();
        }
        let (end, now) = (piece.mark.map(Mark::position), self.clock.now());
        if self.applier.is_idle(&piece.work, end, now) {
            return Ok(Applied::default());
        }
        let book = Arc::clone(&self.applier.book);
        loop {
            // What becomes of shares is known to the book before anybody measures them.
            let mut turn = book.turn().await;
            let tx = self.applier.begin().await?;
            if !self.applier.is_unsure() {
                // It may have taken long to get here. Who is gone was told that nothing was recorded, and so it shall be.
                piece.forget_gone(callers);
            }
            let applied = self.applier.apply(tx, &piece.work, end, now, replay).await;
            turn.is_unsure = self.applier.is_unsure();
            drop(turn);
            match applied {
                Err(ApplyError::Behind) => {
                    let alerts = self.applier.follow(now).await?;
                    self.wake_for(alerts);
                }
                applied => return Ok(applied?),
            }
        }
    }

    fn committed(&mut self, applied: &Applied, mark: Option<Mark>) {
        if let Some(mark) = mark {
            self.reader.committed(mark);
        }
        let before = self.health.load();
        if before.trouble.is_some() {
            tracing::info!("the database can be written again");
        }
        for (state, rows) in &applied.entered {
            self.options.metrics.recorded(*state, *rows);
        }
        let (more, less) = applied.spent;
        self.options.metrics.spent(more, less);
        let rows = before.rows + applied.rows as u64;
        self.health.store(Arc::new(Health {
            committed_at: Some(self.clock.now()),
            rows,
            trouble: None,
            set_aside: before.set_aside,
        }));
        if applied.rows > 0 {
            self.wakes.settle.notify_one();
            self.wakes.pages.notify_waiters();
        }
        if applied.alerts > 0 {
            self.wakes.outbox.notify_one();
        }
    }

    fn troubled(&self, error: &Stall) {
        let before = self.health.load();
        let since = before.trouble.as_ref().map_or_else(|| self.clock.now(), |trouble| trouble.since);
        if before.trouble.is_none() {
            tracing::error!(error = %error, "the database can not be written; the journal keeps everything until it can");
        }
        let trouble = Some(Trouble { since, message: error.to_string() });
        self.health.store(Arc::new(Health { trouble, ..(**before).clone() }));
    }

    /// Puts everything in the piece into the file, so that the journal may forget it.
    fn set_aside_work(&mut self, piece: &Piece, stall: &Stall) -> io::Result<()> {
        let work = &piece.work;
        tracing::error!(error = %stall, file = %self.options.aside.display(), "the database refuses a record for good; it is set aside");
        let observed = work.observations.iter().map(Observation::encode);
        let told = work.told.iter().map(|told| format!("{{\"told\":\"{}\"}}", told.generation_id).into_bytes());
        for record in observed.chain(told) {
            self.set_aside(&record)?;
        }
        for reading in &work.readings {
            // Nothing is lost: its row is leased for a while, and is read again when the lease has run out.
            tracing::error!(call_id = %reading.call_id, "a reading of this row's record is not taken; it is read again");
        }
        self.applier.forget(work);
        if let Some(mark) = piece.mark {
            self.reader.committed(mark);
        }
        Ok(())
    }

    /// Puts the record into the file, synced.
    fn set_aside(&self, bytes: &[u8]) -> io::Result<()> {
        std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.options.aside)
            .and_then(|mut file| file.write_all(&[bytes, b"\n"].concat()).and_then(|()| file.sync_data()))
            .inspect_err(|error| {
                tracing::error!(error = %error, file = %self.options.aside.display(), "a record could not be set aside");
            })?;
        let before = self.health.load();
        self.health.store(Arc::new(Health { set_aside: before.set_aside + 1, ..(**before).clone() }));
        Ok(())
    }
}

impl Tries {
    /// Whether there is no use in another one.
    fn are_in_vain(&mut self, stall: &Stall, piece: &Piece) -> bool {
        let Stall::Apply(error) = stall else { return false };
        self.races = if error.is_race() { self.races + 1 } else { 0 };
        // On the way to the record that is to blame each part is tried once; the record itself has every try.
        let most = if piece.raced && !piece.work.is_single() { 1 } else { RACE_TRIES };
        error.blames_data() || self.races >= most
    }
}

impl Piece {
    /// Two halves that hold the same in the same order; the mark is the second's.
    fn halves(mut self) -> (Self, Self) {
        let (first, second) = self.work.halves();
        let told_by = self.told_by.split_off(first.told.len());
        let unreadable = Vec::new();
        (
            Self { work: first, told_by: self.told_by, unreadable: self.unreadable, mark: None, raced: self.raced },
            Self { work: second, told_by, unreadable, mark: self.mark, raced: self.raced },
        )
    }

    /// Drops what was told by those who wait no longer.
    fn forget_gone(&mut self, callers: &[Caller]) {
        let stays = |caller: &usize| !callers.get(*caller).is_some_and(|caller| caller.answer.is_closed());
        let mut told_by = self.told_by.iter();
        self.work.told.retain(|_| told_by.next().is_none_or(stays));
        self.told_by.retain(stays);
    }
}

impl Gathered {
    fn is_empty(&self) -> bool {
        self.piece.work.is_empty()
            && self.piece.unreadable.is_empty()
            && self.piece.mark.is_none()
            && self.callers.is_empty()
    }

    fn is_history(&self) -> bool {
        self.piece.work.as_of.is_some()
    }

    fn take(&mut self, batch: Batch) {
        tell_damage(&batch.damage);
        let piece = &mut self.piece;
        piece.mark = Some(batch.mark);
        piece.work.observations.reserve(batch.records.len());
        for record in batch.records {
            match Observation::decode(&record) {
                Ok(observation) => piece.work.observations.push(observation),
                Err(error) => {
                    tracing::error!(error = %error, "a journal record can not be understood; it is set aside");
                    piece.unreadable.push(record);
                }
            }
        }
    }

    fn command(&mut self, command: Command) {
        if command.answer.is_closed() {
            return;
        }
        let Work { observations, told, readings, renamed, as_of, imported } = command.work;
        let work = &mut self.piece.work;
        self.piece.told_by.extend(std::iter::repeat_n(self.callers.len(), told.len()));
        self.callers.push(Caller { answer: command.answer, verdicts: Vec::new(), _room: command.room });
        work.observations.extend(observations);
        work.told.extend(told);
        work.readings.extend(readings);
        work.renamed.extend(renamed);
        work.as_of = as_of;
        work.imported = imported;
    }
}

/// Notes for each caller what became of what it told.
fn tell(callers: &mut [Caller], told_by: &[usize], verdicts: Vec<Verdict>) {
    for (caller, verdict) in told_by.iter().zip(verdicts) {
        if let Some(caller) = callers.get_mut(*caller) {
            caller.verdicts.push(verdict);
        }
    }
}

fn tell_damage(damage: &[Damage]) {
    for damage in damage {
        tracing::error!(at = %damage.at, bytes = damage.bytes, kind = ?damage.kind, "a part of the journal is damaged; a copy is kept beside it");
    }
}
