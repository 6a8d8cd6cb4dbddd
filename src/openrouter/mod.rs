//! OpenRouter's own endpoints, as tallyd asks them: generation records, what a key says of itself, models and credits.
//!
//! It reads; it never sends a completion, never retries by itself, never follows a redirect, and takes
//! no more of an answer than a named bound. When to ask again is the caller's business.

mod client;
mod credits;
mod error;
mod fields;
mod generation;
mod key;
mod models;
mod tls;

pub use client::{Client, ClientError, Timeouts};
pub use error::ReadError;
pub use key::KeyInfo;
pub use tls::client_config;
