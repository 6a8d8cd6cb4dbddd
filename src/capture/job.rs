//! A look at a job (`GET /videos/{job}`): makes no row, but tells what the call that opened the job cost.

use http::HeaderMap;

use super::observe::{ObserveLimits, Observer};
use super::recorder::{Recorder, Written};
use crate::clock::Clock;
use crate::domain::observation::JobSeen;

/// The reply to one look at a job. Dropped before its end, it tells nothing: the client will look again, and the job's
/// generation is settled in any case.
pub struct JobLook {
    recorder: Recorder,
    clock: Clock,
    job_id: String,
    observer: Observer,
}

impl JobLook {
    /// Watches a good reply with these headers.
    pub fn new(recorder: Recorder, clock: Clock, job_id: String, headers: &HeaderMap, limits: &ObserveLimits) -> Self {
        Self { recorder, clock, job_id, observer: Observer::new(headers, limits) }
    }

    /// Looks at a copy of the body's next bytes; true when they show the reply's end.
    pub fn bytes(&mut self, bytes: &[u8]) -> bool {
        self.observer.push(bytes)
    }

    /// The reply is over, `whole` or not: what it told of cost or failure is recorded, and is on disk when the answer
    /// resolves.
    pub fn end(self, whole: bool) -> Written {
        let reading = self.observer.finish(whole).reading;
        if reading.facts.inline_cost.is_none() && reading.error.is_none() {
            return Written::already();
        }
        self.recorder.job(JobSeen {
            job_id: self.job_id,
            at: self.clock.now(),
            facts: reading.facts,
            error: reading.error,
        })
    }
}
