//! What one report tells, as plain facts.

use chrono_tz::Tz;

use crate::alert::facts::{Drivers, Span};
use crate::domain::money::Total;
use crate::domain::time::Timestamp;
use crate::report::failures::Failures;
use crate::report::standing::Standing;
use crate::store::rollups::Sums;

/// A report of one run.
#[derive(Clone, Debug)]
pub(super) struct Digest {
    /// The report's name.
    pub(super) name: String,
    /// Its schedule, as crontab has it.
    pub(super) schedule: String,
    /// Whose days it counts in.
    pub(super) zone: Tz,
    /// How many addresses and webhooks it goes to.
    pub(super) recipients: usize,
    /// The instant its schedule named.
    pub(super) scheduled_at: Timestamp,
    /// When its figures were taken.
    pub(super) made_at: Timestamp,
    /// What it covers, and what that is compared with.
    pub(super) covers: Span,
    pub(super) before: Span,
    /// The sums of both.
    pub(super) sums: Sums,
    pub(super) sums_before: Sums,
    /// What was spent in each step of what it covers, oldest first, with the step's name.
    pub(super) steps: Vec<(String, Total)>,
    /// Steps before those, which are not shown.
    pub(super) steps_left_out: usize,
    /// What grew most, a table a dimension.
    pub(super) movers: Vec<Drivers>,
    /// What went wrong.
    pub(super) failures: Failures,
    /// Where the budgets stand when it is made.
    pub(super) budgets: Vec<Standing>,
    /// Where the pages are, without a slash at the end.
    pub(super) dashboard_url: String,
}
