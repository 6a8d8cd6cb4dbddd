//! What several topics share.

pub mod browser;
pub mod caller;
pub mod installation;
pub mod line;
pub mod mixture;
pub mod pacer;
pub mod process;
pub mod running;
pub mod smtp;
pub mod tap;
pub mod terminal;

use std::time::Duration;

use tallyd::clock::Clock;

/// Longest real time a test waits for what must come; only what never comes takes it.
pub const PATIENCE: Duration = Duration::from_mins(4);

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// Looks until there is something, and fails with `what` when it does not come.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let clock = Clock::system();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(clock.elapsed() < PATIENCE, "{what}: not within {} s", PATIENCE.as_secs());
        clock.sleep(LOOK).await;
    }
}

/// Runs `work` beside the test; it ends with the test's runtime at the latest.
#[expect(clippy::disallowed_methods, reason = "what a test spawns ends with its runtime")]
pub fn beside<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::spawn(work)
}
