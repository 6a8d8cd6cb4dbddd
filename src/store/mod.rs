//! The database: SQLite or PostgreSQL behind one set of functions, one file per family.
//!
//! The only place that names an engine. It keeps rows and sums and decides nothing: what a row
//! becomes is `domain`'s, when it is written is `ledger`'s. Every SQL text is a file under `sql/`
//! that both engines take; where they can not, the file exists twice, named after its engine.

pub mod alerts;
mod batch;
pub mod budget_changes;
pub mod budget_terms;
pub mod budgets;
pub mod calls;
pub mod catalogue;
pub mod comparisons;
mod connect;
pub mod console;
pub mod drivers;
mod error;
pub mod explore;
pub mod failures;
mod fill;
pub mod forecasts;
pub mod grants;
pub mod notes;
pub mod outbox;
pub mod progress;
pub mod refusals;
pub mod reports;
pub mod rollups;
pub mod saved_queries;
mod schema;
pub mod sessions;
pub mod settlements;
pub mod signing;
pub mod size;
pub mod snoozes;
pub mod spikes;
mod statements;
pub mod tally_keys;
pub mod turns;
mod tx;
pub mod verify;
pub mod views;

pub use connect::{Engine, Store, StoreOptions};
pub use error::StoreError;
pub use statements::Statement;
pub use tx::Tx;
