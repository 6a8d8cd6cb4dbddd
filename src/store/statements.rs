//! Every SQL text, by name: what the functions run and what a test prepares on both engines.

/// One SQL text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its file below `sql/`, without endings.
    pub name: &'static str,
    /// For SQLite.
    pub sqlite: &'static str,
    /// For PostgreSQL.
    pub postgres: &'static str,
}
