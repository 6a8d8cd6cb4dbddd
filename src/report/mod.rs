//! What people ask of the ledger: sums, series and tables, the forms they are taken away in, and how figures are written.

pub mod format;
pub mod output;
pub mod span;
pub mod spend;
pub mod words;
