//! `tallyd demo`.
