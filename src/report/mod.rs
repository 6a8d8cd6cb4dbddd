//! What people ask of the ledger: sums, series and tables, and the forms they are taken away in.

pub mod output;
pub mod span;
pub mod spend;
