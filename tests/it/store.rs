//! What the store promises, asked of both engines.

mod budgets;
mod calls;
mod console;
mod drivers;
pub(crate) mod engines;
mod outbox;
mod rollups;
mod samples;
mod schema;
mod settlements;
mod tally_keys;
mod verify;

pub(crate) use engines::{Database, on_both_engines};
