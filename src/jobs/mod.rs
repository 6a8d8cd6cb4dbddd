//! When things run by themselves: the table of periodic jobs, and the driver that runs them.
//!
//! A job is idempotent and short, keeps its state in the database, and decides nothing that its service
//! could decide. What runs all the time (settler, ledger, mailer) is no job.

mod driver;
mod housekeeping;
mod lookout;
mod upstream;

pub use driver::{AskedToWait, Board, Job, JobHealth, start};
pub use housekeeping::Housekeeping;
pub use lookout::Watching;
pub use upstream::Upstream;
