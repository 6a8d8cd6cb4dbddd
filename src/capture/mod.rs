//! Capture: what is learnt of a call that passes through the gateway, and how it is written down.
//!
//! Nothing here changes a byte of a request or reply, and nothing here keeps a prompt, a completion
//! or (beyond memory) a key.

pub mod allowance;
pub mod attribute;
pub mod in_flight;
pub mod job;
pub mod keys;
pub mod observe;
pub mod recorder;
pub mod request;
mod tap;
