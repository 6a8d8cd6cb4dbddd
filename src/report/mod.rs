//! What people read: figures in words and columns.

pub mod format;
