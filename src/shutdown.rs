//! Every task of the daemon, and how they end: nothing is spawned anywhere else.
//!
//! The end has two stages, so that what writes outlives what makes work. First the *stop* token falls:
//! listeners close, loops finish their step, calls run to their end. When the last of those tasks is gone
//! the *drain* token falls: sinks (journal, ledger) write what is left and end. A stage that takes too
//! long, or a second signal, cuts it: its tasks are dropped where they wait.

use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

use crate::clock::Clock;

/// How long calls and loops may go on after the first signal.
pub const STOP_GRACE: Duration = Duration::from_secs(20);

/// How long sinks may write what is left.
pub const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// How long dropped tasks may take to be gone; only one that never yields takes longer.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// Signals by hand that may wait to be seen.
const SIGNAL_QUEUE: usize = 4;

/// Where tasks are spawned and waited for. Clones are handles to the same set.
#[derive(Clone, Debug)]
pub struct Tasks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Loops and calls.
    work: Stage,
    /// What their work flows into.
    sinks: Stage,
    /// The first essential task that ended when it should not have.
    failed: OnceLock<&'static str>,
}

#[derive(Debug, Default)]
struct Stage {
    tracker: TaskTracker,
    /// Asks the stage's tasks to end.
    end: CancellationToken,
    /// Drops them.
    cut: CancellationToken,
}

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The essential task that panicked or returned on its own and so ended the daemon; `None`: it was asked to end.
    pub failed: Option<&'static str>,
    /// Tasks that did not end in time and were dropped.
    pub cut: usize,
}

/// How one task ended.
enum TaskEnd {
    Returned,
    Panicked,
    Cut,
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Self {
        Self(Arc::new(Inner { work: Stage::default(), sinks: Stage::default(), failed: OnceLock::new() }))
    }

    /// Falls when the daemon shall end: take no new work, finish what is begun.
    pub fn stop_token(&self) -> CancellationToken {
        self.0.work.end.clone()
    }

    /// Falls when nothing is left that makes work: write what is there, and end.
    pub fn drain_token(&self) -> CancellationToken {
        self.0.sinks.end.clone()
    }

    /// Asks the daemon to end, as the first signal does.
    pub fn stop(&self) {
        self.0.work.end.cancel();
    }

    /// Spawns a loop the daemon cannot do without: it ends when the stop token falls. If it panics, or returns before
    /// that, the daemon ends, and fails.
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.spawn_essential(name, &self.0.work, self.stop_token(), work);
    }

    /// Spawns a sink, which outlives loops and calls: it ends when the drain token falls. If it panics, or returns
    /// before that, the daemon ends, and fails.
    pub fn spawn_sink(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.spawn_essential(name, &self.0.sinks, self.drain_token(), work);
    }

    /// Spawns a sink that computes for milliseconds at a time: on a thread of its own, so that no call waits behind it.
    pub fn spawn_sink_thread(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let stage = &self.0.sinks;
        let work = self.essential(name, stage, self.drain_token(), work);
        let runtime = Handle::current();
        stage.tracker.spawn_blocking(move || runtime.block_on(work));
    }

    /// Spawns the work of one call or connection: it ends when it is done, and a panic ends it alone.
    pub fn spawn_call(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let cut = self.0.work.cut.clone();
        self.0.work.tracker.spawn(async move {
            if matches!(guarded(work, cut).await, TaskEnd::Panicked) {
                tracing::error!(task = name, "a call's task panicked; the others go on");
            }
        });
    }

    fn spawn_essential(
        &self,
        name: &'static str,
        stage: &Stage,
        end: CancellationToken,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        stage.tracker.spawn(self.essential(name, stage, end, work));
    }

    /// Runs `work` until it ends or is cut; the daemon ends too if that was not asked for.
    fn essential(
        &self,
        name: &'static str,
        stage: &Stage,
        end: CancellationToken,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (tasks, cut) = (self.clone(), stage.cut.clone());
        async move {
            match guarded(work, cut).await {
                TaskEnd::Panicked => tasks.fail(name, "panicked"),
                TaskEnd::Returned if !end.is_cancelled() => tasks.fail(name, "ended on its own"),
                TaskEnd::Returned | TaskEnd::Cut => {}
            }
        }
    }

    fn fail(&self, name: &'static str, how: &'static str) {
        if self.0.failed.set(name).is_ok() {
            tracing::error!(task = name, how, "a task the daemon cannot do without is gone; the daemon ends");
        }
        self.stop();
    }

    /// Waits for a signal, or for [`Tasks::stop`], then ends every task, stage by stage.
    pub async fn finish(&self, clock: &Clock, signals: &mut Signals) -> Ending {
        tokio::select! {
            () = self.0.work.end.cancelled() => {}
            name = signals.next() => tracing::info!(signal = name, "ending; a second signal ends at once"),
        }
        let cut_work = self.0.work.finish(clock, signals, STOP_GRACE).await;
        let cut_sinks = self.0.sinks.finish(clock, signals, DRAIN_GRACE).await;
        Ending { failed: self.0.failed.get().copied(), cut: cut_work + cut_sinks }
    }
}

impl Stage {
    /// Ends the stage's tasks; returns how many had to be cut.
    async fn finish(&self, clock: &Clock, signals: &mut Signals, grace: Duration) -> usize {
        self.end.cancel();
        self.tracker.close();
        tokio::select! {
            biased;
            () = self.tracker.wait() => return 0,
            name = signals.next() => tracing::warn!(signal = name, tasks = self.tracker.len(), "cutting what still runs"),
            () = clock.sleep(grace) => {
                let grace_s = grace.as_secs();
                tracing::warn!(tasks = self.tracker.len(), grace_s, "cutting what still runs after its grace");
            }
        }
        let running = self.tracker.len();
        self.cut.cancel();
        if clock.timeout(CUT_GRACE, self.tracker.wait()).await.is_none() {
            tracing::warn!(tasks = self.tracker.len(), "tasks that do not yield are left behind");
        }
        running
    }
}

/// Waits for a token to fall, in a task that is polled often: the token's lock, which it shares with every other task, is
/// taken when the token wakes this one, and not whenever anything does.
#[derive(Debug)]
pub struct Fall(FuturesUnordered<WaitForCancellationFutureOwned>);

impl Fall {
    /// Waits for this token.
    pub fn of(token: CancellationToken) -> Self {
        Self(std::iter::once(token.cancelled_owned()).collect())
    }
}

impl Future for Fall {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll_next_unpin(context).map(drop)
    }
}

/// Runs `work` until it ends, panics, or is cut.
async fn guarded(work: impl Future<Output = ()>, cut: CancellationToken) -> TaskEnd {
    // Whatever state a panic leaves behind is only seen by a daemon that is ending, or was the panicking call's own.
    let work = AssertUnwindSafe(work).catch_unwind();
    tokio::select! {
        biased;
        () = Fall::of(cut) => TaskEnd::Cut,
        end = work => match end {
            Ok(()) => TaskEnd::Returned,
            // The payload goes unread: it can quote what the panicking code was looking at.
            Err(_) => TaskEnd::Panicked,
        },
    }
}

/// What asks the daemon to end.
#[derive(Debug)]
pub struct Signals(Source);

#[derive(Debug)]
enum Source {
    Process { interrupt: Signal, terminate: Signal },
    ByHand(mpsc::Receiver<()>),
}

impl Signals {
    /// SIGINT and SIGTERM of this process; from now on neither ends it by itself.
    pub fn of_process() -> io::Result<Self> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self(Source::Process { interrupt, terminate }))
    }

    /// A signal for each `()` that is sent.
    pub fn by_hand() -> (mpsc::Sender<()>, Self) {
        let (sender, receiver) = mpsc::channel(SIGNAL_QUEUE);
        (sender, Self(Source::ByHand(receiver)))
    }

    /// The next signal's name.
    async fn next(&mut self) -> &'static str {
        match &mut self.0 {
            Source::Process { interrupt, terminate } => tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            },
            Source::ByHand(receiver) => match receiver.recv().await {
                Some(()) => "by hand",
                None => std::future::pending().await,
            },
        }
    }
}

/// SIGHUP of this process: what asks a daemon to read its configuration anew.
#[derive(Debug)]
pub struct Hangups(Signal);

impl Hangups {
    /// From now on SIGHUP does not end the process by itself.
    pub fn of_process() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::hangup())?))
    }

    /// The next one.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::domain::time::Timestamp;

    /// What happened, in order.
    #[derive(Clone, Default)]
    struct Story(Arc<Mutex<Vec<&'static str>>>);

    impl Story {
        fn tell(&self, what: &'static str) {
            self.0.lock().unwrap().push(what);
        }

        fn told(&self) -> Vec<&'static str> {
            self.0.lock().unwrap().clone()
        }
    }

    fn clock() -> Clock {
        Clock::manual(Timestamp(0))
    }

    #[tokio::test]
    async fn loops_end_first_calls_with_them_and_sinks_last() {
        let (tasks, story) = (Tasks::new(), Story::default());
        let (stop, drain) = (tasks.stop_token(), tasks.drain_token());
        let (reply, client) = tokio::sync::oneshot::channel::<()>();
        let told = story.clone();
        tasks.spawn_sink("ledger", async move {
            drain.cancelled().await;
            told.tell("drained");
        });
        let told = story.clone();
        tasks.spawn("listener", async move {
            stop.cancelled().await;
            told.tell("stopped");
            drop(reply);
        });
        let told = story.clone();
        tasks.spawn_call("call", async move {
            // The reply only ends once the listener has closed: the call outlives the stop.
            let _closed = client.await;
            told.tell("answered");
        });
        let (signal, mut signals) = Signals::by_hand();
        signal.send(()).await.unwrap();
        let ending = tasks.finish(&clock(), &mut signals).await;
        assert_eq!(ending, Ending { failed: None, cut: 0 });
        assert_eq!(story.told(), ["stopped", "answered", "drained"]);
    }

    #[tokio::test]
    async fn a_loop_that_panics_or_ends_alone_ends_the_daemon_and_fails_it() {
        for panics in [true, false] {
            let tasks = Tasks::new();
            let stop = tasks.stop_token();
            tasks.spawn("bystander", async move { stop.cancelled().await });
            tasks.spawn("settler", async move { assert!(!panics, "a defect") });
            let (_signal, mut signals) = Signals::by_hand();
            let ending = tasks.finish(&clock(), &mut signals).await;
            assert_eq!(ending, Ending { failed: Some("settler"), cut: 0 });
        }
    }

    #[tokio::test]
    async fn a_sink_must_not_end_with_the_loops() {
        let tasks = Tasks::new();
        let stop = tasks.stop_token();
        let (ledger, gone) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn_sink("ledger", async move {
            stop.cancelled().await;
            drop(ledger);
        });
        tasks.spawn_call("call", async move { assert!(gone.await.is_err()) });
        let (signal, mut signals) = Signals::by_hand();
        signal.send(()).await.unwrap();
        let ending = tasks.finish(&clock(), &mut signals).await;
        assert_eq!(ending, Ending { failed: Some("ledger"), cut: 0 });
    }

    #[tokio::test]
    async fn a_second_signal_cuts_at_once() {
        let tasks = Tasks::new();
        tasks.spawn_call("stream", std::future::pending());
        let (signal, mut signals) = Signals::by_hand();
        signal.send(()).await.unwrap();
        signal.send(()).await.unwrap();
        assert_eq!(tasks.finish(&clock(), &mut signals).await, Ending { failed: None, cut: 1 });
    }

    #[tokio::test]
    async fn a_call_that_panics_ends_alone() {
        let tasks = Tasks::new();
        let (done, call) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn_call("call", async move {
            let _held = done;
            panic!("a defect");
        });
        assert!(call.await.is_err());
        assert!(!tasks.stop_token().is_cancelled());
        tasks.stop();
        let (_signal, mut signals) = Signals::by_hand();
        assert_eq!(tasks.finish(&clock(), &mut signals).await, Ending { failed: None, cut: 0 });
    }

    #[tokio::test]
    async fn what_outlasts_its_grace_is_cut() {
        let (tasks, clock) = (Tasks::new(), clock());
        tasks.spawn_call("stream", std::future::pending());
        let drain = tasks.drain_token();
        tasks.spawn_sink("ledger", async move { drain.cancelled().await });
        tasks.stop();
        let (_signal, mut signals) = Signals::by_hand();
        let mut finish = std::pin::pin!(tasks.finish(&clock, &mut signals));
        assert!(futures_util::poll!(&mut finish).is_pending());
        clock.advance(STOP_GRACE / 2);
        assert!(futures_util::poll!(&mut finish).is_pending());
        clock.advance(STOP_GRACE / 2);
        assert_eq!(finish.await, Ending { failed: None, cut: 1 });
    }
}
