//! What people ask of the ledger: sums, series and tables, the forms they are taken away in, and how figures are written.

pub mod attention;
pub mod burn;
pub mod estimates;
pub mod explore;
pub mod failures;
pub mod filters;
pub mod format;
pub mod manual;
pub mod movers;
pub mod outlook;
pub mod output;
pub mod overview;
pub mod providers;
pub mod range;
pub mod reconciliation;
pub mod replay;
pub mod scale;
pub mod series;
pub mod sessions;
pub mod span;
pub mod spend;
pub mod standing;
pub mod timeline;
pub mod words;
