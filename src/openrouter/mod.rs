//! OpenRouter's own endpoints, as tallyd asks them, and what OpenRouter tells by other ways: Broadcast and the log export.
//!
//! It reads; it never sends a completion, never retries by itself, never follows a redirect, and takes
//! no more of an answer than a named bound. When to ask again is the caller's business.

pub mod analytics;
pub mod broadcast;
mod client;
mod credits;
mod error;
pub mod export;
mod fields;
mod generation;
mod key;
mod models;

pub use client::{Client, ClientError, Timeouts};
pub use error::ReadError;
pub use generation::decode_imported;
pub use key::KeyInfo;
