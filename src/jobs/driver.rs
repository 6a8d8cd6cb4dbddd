//! Runs jobs: each in a task of its own, a little off its period, again after it failed or panicked.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::clock::{Clock, Entropy};
use crate::domain::time::Timestamp;
use crate::shutdown::Tasks;

/// Longest wait of a job before its first run; jobs of one start are spread over it.
const FIRST_WITHIN: Duration = Duration::from_secs(10);

/// By how much of its period a job runs early or late.
const JITTER: f64 = 0.1;

/// Wait after a first failed run; doubled after each further one, up to the period.
const RETRY_FIRST: Duration = Duration::from_secs(5);

/// Longest wait that whoever is asked may ask for before a job runs again; what is longer is held there.
const LONGEST_ASKED: Duration = Duration::from_hours(24);

/// A failed run that was asked to wait before the next. Anywhere in the chain of a run's error it is found.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct AskedToWait {
    /// What failed, in words for people.
    pub error: String,
    /// The least wait before the next run.
    pub wait: Duration,
}

type Run = Box<dyn Fn() -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;

/// Something to be done every so often.
pub struct Job {
    name: &'static str,
    period: Duration,
    /// Whether the first run is not put off.
    at_once: bool,
    /// The time until an instant at which it also runs.
    also: Option<fn(Timestamp) -> Duration>,
    run: Run,
}

impl Job {
    /// A job that runs `run` on `given` once a `period`, counted from the end of one run to the begin of the next.
    pub fn every<G, R>(
        period: Duration,
        name: &'static str,
        given: &G,
        run: impl Fn(G) -> R + Send + Sync + 'static,
    ) -> Self
    where
        G: Clone + Send + Sync + 'static,
        R: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let given = given.clone();
        Self { name, period, at_once: false, also: None, run: Box::new(move || run(given.clone()).boxed()) }
    }

    /// Its first run is not put off.
    #[must_use]
    pub fn at_once(mut self) -> Self {
        self.at_once = true;
        self
    }

    /// It also runs at instants of the clock: `until` tells how far off the next one is.
    #[must_use]
    pub fn also_at(mut self, until: fn(Timestamp) -> Duration) -> Self {
        self.also = Some(until);
        self
    }

    fn no_later(&self, wait: Duration, clock: &Clock) -> Duration {
        self.also.map_or(wait, |until| wait.min(until(clock.now())))
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("name", &self.name).field("period", &self.period).finish_non_exhaustive()
    }
}

/// How one job is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobHealth {
    /// Its name.
    pub name: &'static str,
    /// How often it runs.
    pub period: Duration,
    /// When it last ended well; `None`: not yet.
    pub done_at: Option<Timestamp>,
    /// Runs failed in a row.
    pub failures: u32,
    /// What the last run said if it failed; `None`: nothing is wrong.
    pub error: Option<String>,
}

/// How the jobs are doing.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<Vec<JobHealth>>>);

impl Board {
    /// Every job, in the order of the table.
    pub fn jobs(&self) -> Vec<JobHealth> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, at: usize, change: impl FnOnce(&mut JobHealth)) {
        if let Some(health) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(at) {
            change(health);
        }
    }
}

/// Starts every job of the table; they end when the daemon does, a run under way first coming to its end.
pub fn start(jobs: Vec<Job>, tasks: &Tasks, clock: &Clock, entropy: &Entropy) -> Board {
    let healths = jobs
        .iter()
        .map(|job| JobHealth { name: job.name, period: job.period, done_at: None, failures: 0, error: None })
        .collect();
    let board = Board(Arc::new(Mutex::new(healths)));
    for (at, job) in jobs.into_iter().enumerate() {
        let spread = FIRST_WITHIN.min(job.period).mul_f64(entropy.fraction());
        let first = if job.at_once { Duration::ZERO } else { spread };
        let (board, stop) = (board.clone(), tasks.stop_token());
        let (clock, entropy) = (clock.clone(), entropy.clone());
        tasks.spawn(job.name, async move {
            let mut wait = first;
            loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = clock.sleep(wait) => {}
                }
                let next = run(&job, at, &board, &clock, &entropy).await;
                wait = job.no_later(next.within, &clock).max(next.after);
            }
        });
    }
    board
}

/// When a job runs next.
struct Next {
    /// No later than this from now.
    within: Duration,
    /// And, whatever its instants, no sooner than this.
    after: Duration,
}

/// Runs the job once; returns how long to wait for its next run.
async fn run(job: &Job, at: usize, board: &Board, clock: &Clock, entropy: &Entropy) -> Next {
    // A job keeps its state in the database: a panic leaves nothing half done that the next run could see.
    let begun = AssertUnwindSafe(async { (job.run)().await });
    let (error, asked) = match begun.catch_unwind().await {
        Ok(Ok(())) => {
            let mut failures = 0;
            board.note(at, |health| {
                failures = health.failures;
                (health.done_at, health.failures, health.error) = (Some(clock.now()), 0, None);
            });
            if failures > 0 {
                tracing::info!(job = job.name, failures, "a job that had failed works again");
            }
            let within = job.period.mul_f64(1.0 - JITTER + 2.0 * JITTER * entropy.fraction());
            return Next { within, after: Duration::ZERO };
        }
        Ok(Err(error)) => {
            let asked = error.chain().find_map(|cause| cause.downcast_ref::<AskedToWait>()).map(|asked| asked.wait);
            (format!("{error:#}"), asked)
        }
        // The payload goes unread: it can quote what the panicking code was looking at.
        Err(_) => ("it panicked".to_owned(), None),
    };
    let mut failures = 0;
    board.note(at, |health| {
        health.failures = health.failures.saturating_add(1);
        health.error = Some(error.clone());
        failures = health.failures;
    });
    // Ever more seldom: the page of the daemon's state shows it all the time.
    if failures.is_power_of_two() {
        tracing::warn!(job = job.name, error, failures, "a job failed; it runs again by itself");
    } else {
        tracing::debug!(job = job.name, error, failures, "a job failed again");
    }
    let within = RETRY_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(job.period);
    Next { within, after: asked.unwrap_or_default().min(LONGEST_ASKED) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::mpsc;

    use super::*;
    use crate::shutdown::Signals;

    struct Stage {
        tasks: Tasks,
        clock: Clock,
        board: Board,
        runs: mpsc::Receiver<Duration>,
    }

    /// A job of one minute that tells when it ran, and does what `act` says of its n-th run.
    fn stage(act: impl Fn(u32) -> anyhow::Result<()> + Send + Sync + 'static) -> Stage {
        let (tasks, clock) = (Tasks::new(), Clock::manual(Timestamp(0)));
        let (sender, runs) = mpsc::channel(16);
        let given = (sender, Arc::new(AtomicU32::new(0)), Arc::new(act), clock.clone());
        let job = Job::every(Duration::from_mins(1), "test", &given, |(sender, count, act, clock)| async move {
            sender.send(clock.elapsed()).await?;
            act(count.fetch_add(1, Ordering::Relaxed))
        });
        let board = start(vec![job], &tasks, &clock, &Entropy::seeded(7));
        Stage { tasks, clock, board, runs }
    }

    impl Stage {
        /// Steps the clock until the job runs; returns how long that took.
        async fn next_run(&mut self) -> Duration {
            let from = self.clock.elapsed();
            loop {
                // The job's task gets its turns before the clock moves on.
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                match self.runs.try_recv() {
                    Ok(at) => return at.checked_sub(from).unwrap(),
                    Err(_) => self.clock.advance(Duration::from_millis(500)),
                }
            }
        }

        async fn settle(&self) {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn a_job_runs_soon_and_then_about_once_a_period() {
        let mut stage = stage(|_| Ok(()));
        assert!(stage.next_run().await <= FIRST_WITHIN + Duration::from_secs(1));
        for _ in 0..4 {
            let wait = stage.next_run().await.as_secs_f64();
            assert!((53.0..=67.0).contains(&wait), "{wait}");
        }
        stage.settle().await;
        let health = stage.board.jobs().remove(0);
        assert_eq!((health.failures, health.error), (0, None));
        assert!(health.done_at.is_some());
    }

    #[tokio::test]
    async fn failures_and_panics_are_retried_ever_later_and_shown_until_a_run_goes_well() {
        let mut stage = stage(|run| match run {
            0 | 2 | 3 | 4 => Err(anyhow::anyhow!("no database")),
            1 => panic!("on purpose"),
            _ => Ok(()),
        });
        stage.next_run().await;
        let mut waits = Vec::new();
        for _ in 0..5 {
            waits.push(stage.next_run().await.as_secs());
        }
        assert_eq!(waits, [5, 10, 20, 40, 60]);
        stage.settle().await;
        assert_eq!(stage.board.jobs()[0].failures, 0);
    }

    #[tokio::test]
    async fn a_job_also_runs_at_its_instant_of_the_clock() {
        let (tasks, clock) = (Tasks::new(), Clock::manual(Timestamp(0)));
        let (sender, runs) = mpsc::channel(16);
        let given = (sender, clock.clone());
        let job = Job::every(Duration::from_mins(10), "test", &given, |(sender, clock)| async move {
            Ok(sender.send(clock.elapsed()).await?)
        });
        let at_three = |now: Timestamp| {
            let left = if now.millis() < 180_000 { 180_000 - now.millis() } else { 3_600_000 };
            Duration::from_millis(u64::try_from(left).unwrap())
        };
        let board = start(vec![job.at_once().also_at(at_three)], &tasks, &clock, &Entropy::seeded(7));
        let mut stage = Stage { tasks, clock, board, runs };
        assert_eq!(stage.next_run().await, Duration::ZERO);
        let second = stage.next_run().await;
        assert!((178..=181).contains(&second.as_secs()), "{second:?}");
        assert!((538..=662).contains(&stage.next_run().await.as_secs()));
    }

    #[tokio::test]
    async fn a_job_that_is_asked_to_wait_waits_whatever_its_instants_say() {
        let asked = |seconds| AskedToWait { error: "429".to_owned(), wait: Duration::from_secs(seconds) };
        let mut stage = stage(move |run| match run {
            0 => Err(anyhow::Error::from(asked(100)).context("reading the list")),
            1 => Err(asked(1).into()),
            2 => Err(asked(u64::MAX).into()),
            _ => Ok(()),
        });
        stage.next_run().await;
        let mut waits = Vec::new();
        for _ in 0..3 {
            waits.push(stage.next_run().await.as_secs());
        }
        assert_eq!(waits, [100, 10, LONGEST_ASKED.as_secs()], "its own wait stands where it is longer");
        stage.settle().await;
        assert_eq!(stage.board.jobs()[0].failures, 0);
    }

    /// What is logged, a line an entry.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_job_that_fails_on_and_on_is_told_ever_more_seldom_and_once_when_it_works_again() {
        let lines = Lines::default();
        let to = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_ansi(false);
        let _guard = tracing::subscriber::set_default(subscriber.with_writer(move || to.clone()).finish());
        let mut stage = stage(|run| if run < 9 { Err(anyhow::anyhow!("no network")) } else { Ok(()) });
        for _ in 0..11 {
            stage.next_run().await;
        }
        stage.settle().await;
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let told: Vec<&str> = text.lines().filter(|line| line.contains("job=\"test\"")).collect();
        let failed = |line: &&&str| line.contains("WARN") && line.contains("no network");
        assert_eq!(told.iter().filter(failed).count(), 4, "the first, second, fourth and eighth: {text}");
        assert_eq!(told.iter().filter(|line| line.contains("works again")).count(), 1, "{text}");
        assert_eq!(told.len(), 5, "{text}");
    }

    #[tokio::test]
    async fn a_failed_job_says_what_is_wrong() {
        let mut stage = stage(|_| Err(anyhow::anyhow!("disk full").context("optimising")));
        stage.next_run().await;
        stage.settle().await;
        assert_eq!(stage.board.jobs()[0].error.as_deref(), Some("optimising: disk full"));
    }

    #[tokio::test]
    async fn jobs_end_with_the_daemon() {
        let stage = stage(|_| Ok(()));
        let (_signals, mut signals) = Signals::by_hand();
        stage.tasks.stop();
        let ending = stage.tasks.finish(&stage.clock, &mut signals).await;
        assert_eq!((ending.failed, ending.cut), (None, 0));
    }
}
