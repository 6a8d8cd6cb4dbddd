//! Steps a manual clock in the rhythm of real time, or many times as fast.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tallyd::clock::Clock;
use tokio::task::JoinHandle;

use super::beside;

/// Real time between two steps.
const BEAT: Duration = Duration::from_millis(5);

/// Moves a clock for as long as it lives.
pub struct Pacer {
    speed: Arc<AtomicU32>,
    beating: JoinHandle<()>,
}

impl Pacer {
    /// Moves `clock` as fast as real time goes.
    pub fn start(clock: &Clock) -> Self {
        let speed = Arc::new(AtomicU32::new(1));
        let (clock, pace) = (clock.clone(), Arc::clone(&speed));
        let beating = beside(async move {
            let real = Clock::system();
            loop {
                real.sleep(BEAT).await;
                let speed = pace.load(Ordering::Relaxed);
                if speed > 0 {
                    clock.advance(BEAT * speed);
                }
            }
        });
        Self { speed, beating }
    }

    /// Moves it this many times as fast as real time; at 0 it stands.
    pub fn set_speed(&self, speed: u32) {
        self.speed.store(speed, Ordering::Relaxed);
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.beating.abort();
    }
}
