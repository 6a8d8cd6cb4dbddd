//! OpenRouter's opt-in response cache: the same bytes asked again by the same key cost nothing.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::ids::{GenerationId, KeyFingerprint};

/// Most replies remembered.
const REMEMBERED: usize = 1000;

/// How long.
pub(super) const TTL: Duration = Duration::from_mins(5);

/// What was asked, and by whom, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question(u64);

impl Question {
    pub(super) fn of(key: &KeyFingerprint, body: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        body.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// The replies remembered, oldest first.
#[derive(Debug, Default)]
pub(super) struct ResponseCache(Mutex<VecDeque<(Question, GenerationId, Duration)>>);

impl ResponseCache {
    /// The generation that answered `question` before, and its age.
    pub(super) fn find(&self, question: Question, now: Duration) -> Option<(GenerationId, Duration)> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter()
            .rev()
            .find(|(asked, ..)| *asked == question)
            .map(|(_, id, at)| (id.clone(), now.saturating_sub(*at)))
            .filter(|(_, age)| *age < TTL)
    }

    pub(super) fn remember(&self, question: Question, id: GenerationId, now: Duration) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= REMEMBERED {
            kept.pop_front();
        }
        kept.push_back((question, id, now));
    }
}
