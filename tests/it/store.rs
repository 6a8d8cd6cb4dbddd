//! What the store promises, asked of both engines.

mod budget_terms;
mod budgets;
pub(crate) mod calls;
mod console;
mod drivers;
pub(crate) mod engines;
mod explore;
mod forecasts;
mod outbox;
pub(crate) mod rollups;
pub(crate) mod samples;
mod schedules;
mod schema;
mod sessions;
mod settlements;
mod tally_keys;
mod verify;

pub(crate) use engines::{Database, on_both_engines};
