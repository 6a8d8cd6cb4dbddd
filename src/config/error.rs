//! What stops a start: every message names the place and says what to write instead.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the compiled-in `config.example.toml`.
    Default,
    /// In the configuration file, at this line (from 1).
    File {
        /// The file as it was found.
        path: Arc<Path>,
        /// The line of the key, or of a list's element.
        line: usize,
    },
    /// In this environment variable.
    Env(String),
    /// After this flag, named with its dashes.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// One thing that is wrong with one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where the value stands.
    pub origin: Origin,
    /// The setting: `settle.concurrency`, `budgets[0].window`.
    pub key: String,
    /// What is wrong and what to write instead; never a secret's text.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Default => write!(f, "{}: {}", self.key, self.message),
            origin => write!(f, "{origin}: {}: {}", self.key, self.message),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was named is not there.
    #[error("{}: there is no such file; {named_by} names it: correct the path or leave it out", .path.display())]
    Missing {
        /// The path as it was named.
        path: PathBuf,
        /// The flag or the variable.
        named_by: &'static str,
    },
    /// The file is there and cannot be read.
    #[error("{}: cannot be read: {source}; mend it or name another file with --config", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any configuration.
    #[error("{}: is larger than {limit} bytes, which no configuration is; name another with --config", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        limit: u64,
    },
    /// The file is not TOML.
    #[error("{}:{line}: this is not TOML: {message}", .path.display())]
    Syntax {
        /// The file.
        path: Arc<Path>,
        /// The line at which the parser stopped (from 1).
        line: usize,
        /// What the parser said; it quotes nothing of the file.
        message: String,
    },
    /// Settings are wrong; a line each.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

impl ConfigError {
    /// The settings that are wrong; empty when the file itself could not be read.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Invalid(problems) => problems,
            _ => &[],
        }
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
