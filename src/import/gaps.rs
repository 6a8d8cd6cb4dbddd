//! Gaps: which generations there were that the ledger may not know, asked with a management key.
//!
//! A range that holds more than one answer is asked again in halves, until each answer is whole.

use std::time::Duration;

use secrecy::SecretString;

use crate::clock::Clock;
use crate::domain::ids::GenerationId;
use crate::domain::time::Timestamp;
use crate::openrouter::analytics::{INTERVAL, Question, REACH_MS};
use crate::openrouter::{Client, ReadError};

/// How often one question is asked before the search is given up.
const TRIES: u32 = 6;

/// First and longest wait before it is asked again, unless OpenRouter asks for a longer one.
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_LAST: Duration = Duration::from_mins(1);

/// A search for gaps.
pub struct Search {
    client: Client,
    key: SecretString,
    clock: Clock,
    /// Ranges to ask for, the newest last.
    open: Vec<Question>,
    asked: u64,
    /// When the last question was asked, on the clock's elapsed time.
    last: Option<Duration>,
    odd: u64,
    cut: u64,
}

impl Search {
    /// A search from `since` on, or as far back as can be asked.
    pub fn new(client: Client, key: SecretString, clock: Clock, since: Timestamp) -> Self {
        let now = clock.now();
        let since = since.max(now.plus_millis(-REACH_MS));
        let open = if since < now { vec![Question { since, until: now }] } else { Vec::new() };
        Self { client, key, clock, open, asked: 0, last: None, odd: 0, cut: 0 }
    }

    /// The next generations found; `None` when all were. At most as many as one answer holds.
    pub async fn next(&mut self) -> Result<Option<Vec<GenerationId>>, ReadError> {
        while let Some(question) = self.open.pop() {
            let found = self.ask(&question).await?;
            match question.halves() {
                Some((first, second)) if found.truncated => self.open.extend([second, first]),
                _ => {
                    self.odd += found.odd as u64;
                    self.cut += u64::from(found.truncated);
                    if !found.ids.is_empty() {
                        return Ok(Some(found.ids));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Questions asked.
    pub fn asked(&self) -> u64 {
        self.asked
    }

    /// Generations whose ID is none.
    pub fn odd(&self) -> u64 {
        self.odd
    }

    /// Milliseconds that held more generations than one answer: some of theirs are not found.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    async fn ask(&mut self, question: &Question) -> Result<crate::openrouter::analytics::Found, ReadError> {
        let mut wait = RETRY_FIRST;
        let mut tries = 1;
        loop {
            if let Some(last) = self.last {
                self.clock.sleep((last + INTERVAL).saturating_sub(self.clock.elapsed())).await;
            }
            self.last = Some(self.clock.elapsed());
            self.asked += 1;
            let asked_for = match self.client.generations(question, &self.key).await {
                Ok(found) => return Ok(found),
                Err(ReadError::RateLimited { retry_after } | ReadError::Temporary { retry_after, .. })
                    if tries < TRIES =>
                {
                    retry_after
                }
                Err(error) => return Err(error),
            };
            self.clock.sleep(wait.max(asked_for.unwrap_or_default().min(RETRY_LAST))).await;
            wait = (wait * 2).min(RETRY_LAST);
            tries += 1;
        }
    }
}
