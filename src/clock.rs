//! Time and randomness, passed in: the only place that asks the system for either.
//!
//! A [`Clock`] is the system's or one that a test steps by hand; an [`Entropy`] is seeded by the
//! system or by a test. `clippy.toml` bans the globals everywhere else.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;

use crate::domain::ids::CallId;
use crate::domain::time::Timestamp;

/// Where the time comes from.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System(std::time::Instant),
    Manual(Arc<watch::Sender<ManualTime>>),
}

#[derive(Clone, Copy, Debug)]
struct ManualTime {
    wall_ms: i64,
    elapsed: Duration,
}

impl Clock {
    /// The system's clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    pub fn system() -> Self {
        Self(Source::System(std::time::Instant::now()))
    }

    /// A clock that stands at `start` until [`Clock::advance`] moves it.
    pub fn manual(start: Timestamp) -> Self {
        let (sender, _) = watch::channel(ManualTime { wall_ms: start.millis(), elapsed: Duration::ZERO });
        Self(Source::Manual(Arc::new(sender)))
    }

    /// The wall clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System(_) => Timestamp(chrono::Utc::now().timestamp_millis()),
            Source::Manual(time) => Timestamp(time.borrow().wall_ms),
        }
    }

    /// Time since this clock was made; never goes back, whatever the wall clock does.
    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Source::System(start) => start.elapsed(),
            Source::Manual(time) => time.borrow().elapsed,
        }
    }

    /// Waits for `duration` of this clock's elapsed time.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        let source = self.0.clone();
        async move {
            match source {
                #[expect(clippy::disallowed_methods, reason = "the one place that sleeps on the system's clock")]
                Source::System(_) => tokio::time::sleep(duration).await,
                Source::Manual(time) => {
                    let mut receiver = time.subscribe();
                    let until = receiver.borrow().elapsed + duration;
                    // An error means that every clock handle is gone: nobody will ever step it again.
                    if receiver.wait_for(|now| now.elapsed >= until).await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            }
        }
    }

    /// Runs `work` for at most `limit` of this clock's time; `None` when the limit came first.
    pub async fn timeout<F: Future>(&self, limit: Duration, work: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.sleep(limit) => None,
        }
    }

    /// Steps a manual clock forward, wall and elapsed alike; the system's clock does not move.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(time) = &self.0 {
            time.send_modify(|now| {
                now.elapsed += by;
                now.wall_ms += i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
            });
        }
    }

    /// Sets a manual clock's wall time alone, as an administrator or NTP would; elapsed time stays.
    pub fn set_wall(&self, at: Timestamp) {
        if let Source::Manual(time) = &self.0 {
            time.send_modify(|now| now.wall_ms = at.millis());
        }
    }
}

/// Where randomness comes from.
#[derive(Clone, Debug)]
pub struct Entropy(Arc<Mutex<StdRng>>);

impl Entropy {
    /// Seeded by the operating system.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system for randomness")]
    pub fn system() -> Self {
        Self(Arc::new(Mutex::new(StdRng::from_rng(&mut rand::rng()))))
    }

    /// Seeded by a test or a demo: the same seed gives the same numbers.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// The next 64 random bits.
    pub fn next_u64(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }

    /// The next 128 random bits.
    pub fn next_u128(&self) -> u128 {
        (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64())
    }

    /// A fraction in `0.0..1.0`, for jitter; never for money.
    #[expect(clippy::cast_precision_loss, reason = "53 bits of a fraction are what is wanted")]
    pub fn fraction(&self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A new call ID for a call seen at `at`.
    pub fn call_id(&self, at: Timestamp) -> CallId {
        CallId::new(at, self.next_u128())
    }
}
