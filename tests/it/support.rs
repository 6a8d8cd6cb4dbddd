//! What several topics share.

pub mod smtp;
