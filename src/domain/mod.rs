//! Pure values and rules of the ledger: no I/O, no clock, no runtime.

pub mod ids;
pub mod money;
pub mod time;
