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
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::apply::{ApplyError, Applied, Applier};
use super::fold::Verdict;
use super::{COMMAND_QUEUE, Command, Health, Ledger, READING_QUEUE, ReadingOf, Trouble, Wakes, Work};
use crate::budget::Book;
use crate::clock::Clock;
use crate::domain::budget::Budget;
use crate::domain::observation::Observation;
use crate::journal::{Position, Reader};
use crate::store::Store;

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
}

/// The one writer of the database.
pub struct Writer {
    applier: Applier,
    journal: Reader,
    commands: mpsc::Receiver<Command>,
    /// History that waits for its own transaction.
    held: Option<Command>,
    readings: mpsc::Receiver<ReadingOf>,
    health: Arc<ArcSwap<Health>>,
    wakes: Arc<Wakes>,
    clock: Clock,
    options: WriterOptions,
}

/// Work and who waits for it.
#[derive(Default)]
struct Gathered {
    work: Work,
    answers: Vec<(usize, tokio::sync::oneshot::Sender<Vec<Verdict>>)>,
    journal_end: Option<Position>,
}

impl Writer {
    /// Makes the writer and its handle.
    ///
    /// Brings the ledger up to the journal's end before it returns: calls whose outcome the journal holds
    /// are rows, calls that were under way when the daemon died are closed, and `budgets` are counted.
    pub async fn open(
        store: Store,
        mut journal: Reader,
        budgets: Vec<Budget>,
        book: Arc<Book>,
        clock: Clock,
        options: WriterOptions,
    ) -> Result<(Self, Ledger), ApplyError> {
        let mut applier = Applier::new(store, journal.journal_id().to_owned(), book, options.give_up_after_ms);
        if let Some(position) = applier.drained_to().await? {
            journal.seek(position);
        }
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
        let mut writer = Self { applier, journal, commands, held: None, readings, health, wakes, clock, options };
        writer.replay().await?;
        Ok((writer, ledger))
    }

    /// Runs until `stop` and everything the journal holds is committed, or until the database refuses once after `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            // Only the first piece is waited for here: what has been taken is never dropped by the other branches.
            let mut gathered = tokio::select! {
                biased;
                first = self.first() => first,
                () = self.clock.sleep(TURN_EVERY) => Gathered::default(),
                () = stop.cancelled() => {
                    let mut rest = Gathered::default();
                    self.add_waiting(&mut rest);
                    if rest.is_empty() {
                        break;
                    }
                    rest
                }
            };
            if !gathered.is_history() {
                if !gathered.is_empty() && gathered.work.observations.len() < self.options.batch_rows && !stop.is_cancelled() {
                    // A little patience lets many calls share the transaction.
                    self.clock.sleep(self.options.batch_wait).await;
                }
                self.add_waiting(&mut gathered);
            }
            if !self.commit(gathered, &stop).await {
                break;
            }
        }
        self.journal.close();
    }

    /// Applies what the journal held when it was opened, then closes the calls nobody will hear of again.
    async fn replay(&mut self) -> Result<(), ApplyError> {
        while let Some(batch) = self.journal.try_next_batch(self.options.batch_rows, BATCH_BYTES) {
            let observations = self.decode(batch.records);
            let work = Work { observations, ..Work::default() };
            self.applier.apply(&work, Some(batch.end), self.clock.now(), true).await?;
            self.journal.committed(batch.end);
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
            batch = self.journal.next_batch(self.options.batch_rows, BATCH_BYTES) => {
                gathered.journal_end = Some(batch.end);
                gathered.work.observations = self.decode(batch.records);
            }
            Some(command) = self.commands.recv() => gathered.command(command),
            Some(reading) = self.readings.recv() => gathered.work.readings.push(reading),
        }
        gathered
    }

    /// Adds what already waits, without waiting for more.
    fn add_waiting(&mut self, gathered: &mut Gathered) {
        let room = self.options.batch_rows.saturating_sub(gathered.work.observations.len());
        if room > 0
            && let Some(batch) = self.journal.try_next_batch(room, BATCH_BYTES)
        {
            gathered.journal_end = Some(batch.end);
            let more = self.decode(batch.records);
            gathered.work.observations.extend(more);
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

    /// Commits, however long the database takes to come back. Returns `false` when stopping and it does not.
    async fn commit(&mut self, gathered: Gathered, stop: &CancellationToken) -> bool {
        let Gathered { work, answers, journal_end } = gathered;
        let mut verdicts = Vec::with_capacity(work.told.len());
        let mut pieces = VecDeque::from([(work, journal_end)]);
        while let Some((work, end)) = pieces.pop_front() {
            let mut wait = RETRY_FIRST;
            loop {
                match self.applier.apply(&work, end, self.clock.now(), false).await {
                    Ok(applied) => {
                        self.committed(&applied, end);
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
                    Err(error) => {
                        match work.halves() {
                            Some((first, second)) => {
                                tracing::warn!(error = %error, "a transaction was refused for good; looking for the record that is to blame");
                                pieces.push_front((second, end));
                                pieces.push_front((first, None));
                            }
                            None => self.set_aside_work(&work, &error, end),
                        }
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

    fn committed(&mut self, applied: &Applied, end: Option<Position>) {
        if let Some(end) = end {
            self.journal.committed(end);
        }
        let before = self.health.load();
        if before.trouble.is_some() {
            tracing::info!("the database can be written again");
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

    fn decode(&self, records: Vec<(Position, bytes::Bytes)>) -> Vec<Observation> {
        let mut observations = Vec::with_capacity(records.len());
        for (position, bytes) in records {
            match Observation::decode(&bytes) {
                Ok(observation) => observations.push(observation),
                Err(error) => {
                    tracing::error!(%position, error = %error, "a journal record can not be understood; it is set aside");
                    self.set_aside(&bytes);
                }
            }
        }
        observations
    }

    fn set_aside_work(&mut self, work: &Work, error: &ApplyError, end: Option<Position>) {
        tracing::error!(error = %error, file = %self.options.aside.display(), "the database refuses a record for good; it is set aside");
        for observation in &work.observations {
            self.set_aside(&observation.encode());
        }
        if let Some(end) = end {
            self.journal.committed(end);
        }
    }

    fn set_aside(&self, bytes: &[u8]) {
        let written = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.options.aside)
            .and_then(|mut file| file.write_all(&[bytes, b"\n"].concat()).and_then(|()| file.sync_data()));
        if let Err(error) = written {
            tracing::error!(error = %error, file = %self.options.aside.display(), "a record could not be set aside");
        }
        let before = self.health.load();
        self.health.store(Arc::new(Health { set_aside: before.set_aside + 1, ..(**before).clone() }));
    }
}

impl Gathered {
    fn is_empty(&self) -> bool {
        self.work.is_empty() && self.answers.is_empty() && self.journal_end.is_none()
    }

    fn is_history(&self) -> bool {
        self.work.as_of.is_some()
    }

    fn command(&mut self, command: Command) {
        let Work { observations, told, readings, as_of } = command.work;
        self.answers.push((told.len(), command.answer));
        self.work.observations.extend(observations);
        self.work.told.extend(told);
        self.work.readings.extend(readings);
        self.work.as_of = as_of;
    }
}
