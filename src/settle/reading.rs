//! One reading: the question, its answer, and what the answer means for the row and for the key.

use std::time::Duration;

use crate::domain::facts::GenerationRecord;
use crate::domain::observation::Reading;
use crate::openrouter::ReadError;

/// How long a key that OpenRouter does not know (401) pauses.
pub(super) const UNKNOWN_KEY_PAUSE: Duration = Duration::from_mins(1);

/// How long a row waits that its key may not read (403): another user's generation stays one.
const FORBIDDEN_WAIT: Duration = Duration::from_mins(10);

/// What an answer means for the key it was asked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ForKey {
    /// It was answered.
    Well,
    /// It is to pause, for as long as was asked if that was said.
    Slow(Option<Duration>),
    /// Nothing: the trouble is not the key's.
    Nothing,
}

/// What an answer means for the key and for the row.
pub(super) fn judge(answer: Result<GenerationRecord, ReadError>) -> (ForKey, Reading) {
    let error = match answer {
        Ok(record) => return (ForKey::Well, Reading::Record(Box::new(record))),
        Err(error) => error,
    };
    let (for_key, wait) = match &error {
        ReadError::NotYet => return (ForKey::Well, Reading::NotYet),
        ReadError::Refused { status: 401 } => (ForKey::Slow(Some(UNKNOWN_KEY_PAUSE)), Some(UNKNOWN_KEY_PAUSE)),
        ReadError::Refused { .. } => (ForKey::Nothing, Some(FORBIDDEN_WAIT)),
        ReadError::RateLimited { retry_after } => (ForKey::Slow(*retry_after), *retry_after),
        ReadError::Temporary { retry_after, .. } => {
            (retry_after.map_or(ForKey::Nothing, |wait| ForKey::Slow(Some(wait))), *retry_after)
        }
        ReadError::Garbled { .. } => (ForKey::Nothing, None),
    };
    let retry_after_ms = wait.map(|wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
    (for_key, Reading::Failed { reason: error.to_string(), retry_after_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_moves_its_row_and_only_some_slow_the_key() {
        let temporary = |wait| ReadError::Temporary { reason: "HTTP 503".to_owned(), retry_after: wait };
        let minute = Some(Duration::from_mins(1));
        for (error, for_key, wait_ms) in [
            (ReadError::Refused { status: 401 }, ForKey::Slow(minute), Some(60_000)),
            (ReadError::Refused { status: 403 }, ForKey::Nothing, Some(600_000)),
            (ReadError::RateLimited { retry_after: None }, ForKey::Slow(None), None),
            (ReadError::RateLimited { retry_after: minute }, ForKey::Slow(minute), Some(60_000)),
            (temporary(None), ForKey::Nothing, None),
            (temporary(minute), ForKey::Slow(minute), Some(60_000)),
            (ReadError::Garbled { reason: "no JSON".to_owned() }, ForKey::Nothing, None),
        ] {
            let reason = error.to_string();
            let reading = Reading::Failed { reason, retry_after_ms: wait_ms };
            assert_eq!(judge(Err(error)), (for_key, reading));
        }
        assert_eq!(judge(Err(ReadError::NotYet)), (ForKey::Well, Reading::NotYet));
        assert_eq!(judge(Ok(GenerationRecord::default())).0, ForKey::Well);
    }
}
