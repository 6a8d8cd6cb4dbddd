//! One integration binary: behaviour through public doors.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod catalogue;
mod clients;
mod config;
mod crash;
mod dialects;
mod discreet;
mod edges;
mod exact;
mod failures;
mod gateway;
mod journal;
mod keys;
mod layering;
mod ledger;
mod mail;
mod mistakes;
mod openrouter;
mod pages;
mod settle;
mod sim;
mod sql_prepares;
mod store;
mod support;
