//! Budgets that block: neither does spending slip through, nor is refused what fits.

mod abreast;
mod concurrency;
mod interleavings;
mod shares;
mod shares_modelled;
mod values;
