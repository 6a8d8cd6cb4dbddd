//! The writer's loop: gathers work from the journal and from handles, and commits it in large transactions.
//!
//! Work that the database does not take at present is tried again, for as long as it takes; work that it
//! will never take is parted in halves until the one bad record is found, which is set aside in a file.

use std::collections::VecDeque;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::apply::{Applied, Applier, ApplyError};
use super::fold::Verdict;
use super::{COMMAND_QUEUE, Command, Health, Ledger, READING_QUEUE, ReadingOf, Trouble, Wakes, Work};
use crate::budget::Book;
use crate::catalogue::Shelf;
use crate::clock::Clock;
use crate::domain::budget::Budget;
use crate::domain::observation::Observation;
use crate::journal::{Batch, Damage, Journal, Mark, OpenedJournal, Reader, StartedJournal};
use crate::store::Store;
use crate::telemetry::Metrics;

/// First and longest wait before the database is tried again.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(5);

/// Budget windows turn, rolling ones move, at most this late when nothing else happens.
const TURN_EVERY: Duration = Duration::from_secs(5);

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
    readings: mpsc::Receiver<ReadingOf>,
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
}

/// Work and who waits for it.
#[derive(Default)]
struct Gathered {
    work: Work,
    answers: Vec<(usize, tokio::sync::oneshot::Sender<Vec<Verdict>>)>,
    mark: Option<Mark>,
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
        let mut applier = Applier::new(store, journal.id().to_string(), book, catalogue, options.give_up_after_ms);
        let drained = applier.drained_to().await?;
        let StartedJournal { journal, reader, watch, damage, torn_tail } = journal.start(clock.clone(), drained)?;
        if let Some(position) = torn_tail {
            tracing::info!(%position, "the journal's last record was cut short when the daemon died, before anybody was told it was kept; it is dropped");
        }
        tell_damage(&damage);
        applier.track(budgets, clock.now()).await?;
        let (command_sender, commands) = mpsc::channel(COMMAND_QUEUE);
        let (reading_sender, readings) = mpsc::channel(READING_QUEUE);
        let health = Arc::new(ArcSwap::from_pointee(Health::default()));
        let wakes = Arc::new(Wakes::default());
        let ledger = Ledger {
            commands: command_sender,
            readings: reading_sender,
            health: Arc::clone(&health),
            wakes: Arc::clone(&wakes),
            clock: clock.clone(),
        };
        let way_in = journal.clone();
        let mut writer =
            Self { applier, journal, reader, commands, held: None, readings, health, wakes, clock, options };
        writer.replay().await?;
        Ok(Opened { writer, ledger, journal: way_in, watch })
    }

    /// Runs until `stop`; then closes the journal and commits what it still holds. A database that refuses then is
    /// not waited for: the journal keeps what it holds, and the next start drains it.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            // Only the first piece is waited for here: what has been taken is never dropped by the other branches.
            let turn = self.clock.sleep(TURN_EVERY);
            let mut gathered = tokio::select! {
                biased;
                first = self.first() => first,
                () = turn => Gathered::default(),
                () = stop.cancelled() => break,
            };
            if !gathered.is_history() {
                if !gathered.is_empty() && gathered.work.observations.len() < self.options.batch_rows {
                    // A little patience lets many calls share the transaction.
                    self.clock.sleep(self.options.batch_wait).await;
                }
                self.add_waiting(&mut gathered);
            }
            if !self.commit(gathered, &stop).await {
                return;
            }
        }
        if !self.journal.close().await {
            tracing::error!("the journal's disk did not take everything; what is left goes straight into the ledger");
        }
        loop {
            let mut gathered = Gathered::default();
            match self.reader.next_batch(self.options.batch_rows, BATCH_BYTES).await {
                Some(batch) => self.take(&mut gathered, batch),
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
    async fn replay(&mut self) -> Result<(), ApplyError> {
        while !self.journal.is_empty() {
            let Some(batch) = self.reader.next_batch(self.options.batch_rows, BATCH_BYTES).await else { break };
            let mut gathered = Gathered::default();
            self.take(&mut gathered, batch);
            let position = gathered.mark.map(Mark::position);
            self.applier.apply(&gathered.work, position, self.clock.now(), true).await?;
            if let Some(mark) = gathered.mark {
                self.reader.committed(mark);
            }
        }
        self.applier.close_interrupted(self.clock.now()).await
    }

    /// The first piece of work; every branch is cancel-safe.
    async fn first(&mut self) -> Gathered {
        let mut gathered = Gathered::default();
        if let Some(command) = self.held.take() {
            gathered.command(command);
            return gathered;
        }
        tokio::select! {
            Some(batch) = self.reader.next_batch(self.options.batch_rows, BATCH_BYTES) => self.take(&mut gathered, batch),
            Some(command) = self.commands.recv() => gathered.command(command),
            Some(reading) = self.readings.recv() => gathered.work.readings.push(reading),
        }
        gathered
    }

    /// Adds what already waits, without waiting for more.
    fn add_waiting(&mut self, gathered: &mut Gathered) {
        let room = self.options.batch_rows.saturating_sub(gathered.work.observations.len());
        if room > 0
            && let Some(Some(batch)) = self.reader.next_batch(room, BATCH_BYTES).now_or_never()
        {
            self.take(gathered, batch);
        }
        while self.held.is_none() && gathered.work.told.len() < self.options.batch_rows {
            let Ok(command) = self.commands.try_recv() else { break };
            if command.work.as_of.is_some() {
                // History is judged at its own time, so it gets a transaction of its own.
                self.held = Some(command);
            } else {
                gathered.command(command);
            }
        }
        while gathered.work.readings.len() < READING_QUEUE
            && let Ok(reading) = self.readings.try_recv()
        {
            gathered.work.readings.push(reading);
        }
    }

    fn take(&self, gathered: &mut Gathered, batch: Batch) {
        tell_damage(&batch.damage);
        gathered.mark = Some(batch.mark);
        gathered.work.observations.reserve(batch.records.len());
        for record in batch.records {
            match Observation::decode(&record) {
                Ok(observation) => gathered.work.observations.push(observation),
                Err(error) => {
                    tracing::error!(error = %error, "a journal record can not be understood; it is set aside");
                    let _ = self.set_aside(&record);
                }
            }
        }
    }

    /// Commits, however long the database takes to come back. Returns `false` when stopping and it does not.
    async fn commit(&mut self, gathered: Gathered, stop: &CancellationToken) -> bool {
        let Gathered { work, answers, mark } = gathered;
        let mut verdicts = Vec::with_capacity(work.told.len());
        let mut pieces = VecDeque::from([(work, mark)]);
        while let Some((work, mark)) = pieces.pop_front() {
            let mut wait = RETRY_FIRST;
            loop {
                match self.applier.apply(&work, mark.map(Mark::position), self.clock.now(), false).await {
                    Ok(applied) => {
                        self.committed(&applied, mark);
                        verdicts.extend(applied.verdicts);
                        break;
                    }
                    Err(error) if error.retryable() => {
                        self.troubled(&error);
                        if stop.is_cancelled() {
                            // The journal keeps what it holds; the next start drains it.
                            return false;
                        }
                        tokio::select! {
                            () = self.clock.sleep(wait) => {}
                            () = stop.cancelled() => {}
                        }
                        wait = (wait * 2).min(RETRY_LAST);
                    }
                    Err(error) if work.is_single() => {
                        if self.set_aside_work(&work, &error, mark) {
                            break;
                        }
                        // Neither the database nor the file takes it: the journal keeps it, and both are tried again.
                        self.troubled(&error);
                        if stop.is_cancelled() {
                            return false;
                        }
                        tokio::select! {
                            () = self.clock.sleep(wait) => {}
                            () = stop.cancelled() => {}
                        }
                        wait = (wait * 2).min(RETRY_LAST);
                    }
                    Err(error) => {
                        tracing::warn!(error = %error, "a transaction was refused for good; looking for the record that is to blame");
                        let (first, second) = work.halves();
                        pieces.push_front((second, mark));
                        pieces.push_front((first, None));
                        break;
                    }
                }
            }
        }
        let mut verdicts = verdicts.into_iter();
        for (told, answer) in answers {
            // The caller may have stopped waiting; what it told is committed all the same.
            let _ = answer.send(verdicts.by_ref().take(told).collect());
        }
        true
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

    fn troubled(&self, error: &ApplyError) {
        let before = self.health.load();
        let since = before.trouble.as_ref().map_or_else(|| self.clock.now(), |trouble| trouble.since);
        if before.trouble.is_none() {
            tracing::error!(error = %error, "the database can not be written; the journal keeps everything until it can");
        }
        let trouble = Some(Trouble { since, message: error.to_string() });
        self.health.store(Arc::new(Health { trouble, ..(**before).clone() }));
    }

    /// Whether everything in `work` is in the file, so that the journal may forget it.
    fn set_aside_work(&mut self, work: &Work, error: &ApplyError, mark: Option<Mark>) -> bool {
        tracing::error!(error = %error, file = %self.options.aside.display(), "the database refuses a record for good; it is set aside");
        let observed = work.observations.iter().map(Observation::encode);
        let told = work.told.iter().map(|told| format!("{{\"told\":\"{}\"}}", told.generation_id).into_bytes());
        let kept = observed.chain(told).all(|record| self.set_aside(&record));
        for reading in &work.readings {
            // Nothing is lost: its row is leased for a while, and is read again when the lease has run out.
            tracing::error!(call_id = %reading.call_id, "a reading of this row's record is not taken; it is read again");
        }
        if let (true, Some(mark)) = (kept, mark) {
            self.reader.committed(mark);
        }
        kept
    }

    /// Whether the record is in the file, synced.
    fn set_aside(&self, bytes: &[u8]) -> bool {
        let written = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.options.aside)
            .and_then(|mut file| file.write_all(&[bytes, b"\n"].concat()).and_then(|()| file.sync_data()));
        if let Err(error) = written {
            tracing::error!(error = %error, file = %self.options.aside.display(), "a record could not be set aside");
            return false;
        }
        let before = self.health.load();
        self.health.store(Arc::new(Health { set_aside: before.set_aside + 1, ..(**before).clone() }));
        true
    }
}

impl Gathered {
    fn is_empty(&self) -> bool {
        self.work.is_empty() && self.answers.is_empty() && self.mark.is_none()
    }

    fn is_history(&self) -> bool {
        self.work.as_of.is_some()
    }

    fn command(&mut self, command: Command) {
        let Work { observations, told, readings, renamed, as_of } = command.work;
        self.answers.push((told.len(), command.answer));
        self.work.observations.extend(observations);
        self.work.told.extend(told);
        self.work.readings.extend(readings);
        self.work.renamed.extend(renamed);
        self.work.as_of = as_of;
    }
}

fn tell_damage(damage: &[Damage]) {
    for damage in damage {
        tracing::error!(at = %damage.at, bytes = damage.bytes, kind = ?damage.kind, "a part of the journal is damaged; a copy is kept beside it");
    }
}
