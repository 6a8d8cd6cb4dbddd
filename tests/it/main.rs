//! One integration binary: behaviour through public doors.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod backtest;
mod blocking;
mod catalogue;
mod clients;
mod config;
mod conformance;
mod crash;
mod definitions;
mod dialects;
mod discreet;
mod edges;
mod exact;
mod failures;
mod gateway;
mod hostile;
mod import;
mod journal;
mod keys;
mod layering;
mod ledger;
mod mail;
mod mistakes;
mod openrouter;
mod orders;
mod out;
mod pages;
mod push;
mod settle;
mod sim;
mod spikes;
mod sql;
mod sql_prepares;
mod store;
mod support;
