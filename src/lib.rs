//! tallyd knows what every OpenRouter completion really cost.
//!
//! The modules stand in layer order: a module imports only from those above it, and
//! `tests/it/layering.rs` says so. `ARCHITECTURE.md` walks one completion through them.

// Pure values and rules: no I/O, no clock, no runtime.
pub mod domain;

// What everything else is given.
pub mod clock;
pub mod config;
pub mod lock;
pub mod shutdown;
pub mod telemetry;
pub mod tls;

// Adapters: each speaks to one thing outside; they never import each other.
pub mod journal;
pub mod mail;
pub mod openrouter;
pub mod store;
pub mod webhook;

// Services.
pub mod budget;
pub mod capture;
pub mod catalogue;
pub mod ledger;
pub mod reconcile;

// Brings to the ledger what it is told, and asks it.
pub mod import;
pub mod report;
pub mod settle;

// Who may call, and whom for.
pub mod keys;

// What budgets there are, and how they change.
pub mod definitions;

// Writes to people, in report's figures.
pub mod alert;

// When things run, and how people and programs reach them.
pub mod jobs;
pub mod sim;
pub mod web;

// Composition.
pub mod app;
pub mod cli;
