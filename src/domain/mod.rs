//! Pure values and rules of the ledger: no I/O, no clock, no runtime.

pub mod ids;
pub mod money;
pub mod time;

// Local time, and what stands on it.
pub mod window;
pub mod zone;

// Budgets and what they say.
pub mod budget;
pub mod scope;
