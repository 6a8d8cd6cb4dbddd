//! Tells people what their budgets reached: writes the mails, and delivers them until each is accepted or given up.
//!
//! Crossings come here as rows that the ledger wrote beside the spend that caused them. [`facts`] says
//! what a mail tells, [`words`] and [`render`] how, [`compose`] gathers it from the store and
//! [`deliver`] is the worker. [`digest`] makes the reports that come on a schedule, and [`spikes`] looks for what no
//! budget tells. No address stands in a log here.

pub mod compose;
pub mod deliver;
pub mod digest;
mod drivers;
pub mod facts;
mod lines;
pub mod post;
pub mod render;
pub mod spikes;
mod words;
mod written;
