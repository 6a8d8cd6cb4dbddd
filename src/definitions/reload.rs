//! The configuration read anew while the daemon runs: its budgets hold from then on, or none of it does.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::{Config, ConfigError, Loaded, Sources, Written};
use crate::domain::budget::Budget;
use crate::domain::budget::change::Action;
use crate::ledger::{ChangeError, Changed};

/// Why nothing was reloaded; everything is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The demo has no configuration.
    #[error("this daemon runs without a configuration; there is nothing to read anew")]
    Nothing,
    /// What was read is wrong.
    #[error("the configuration is refused and everything stays as it was: {0}")]
    Config(#[from] ConfigError),
    /// The budgets could not be put in force.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

/// What there is to be read anew, and what the daemon was started with.
pub struct Reload {
    sources: Sources,
    started_with: Written,
}

/// Budgets that a reload changed, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangedBudgets {
    /// In force from now on.
    pub made: Vec<String>,
    /// Another than before.
    pub changed: Vec<String>,
    /// In force no more.
    pub removed: Vec<String>,
}

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// The file; `None`: there is none.
    pub file: Option<String>,
    /// What became of budgets.
    pub budgets: ChangedBudgets,
    /// Settings that are others than at the start, and hold once the daemon is started again.
    pub needs_restart: Vec<String>,
    /// What is not wrong and worth a sentence.
    pub warnings: Vec<String>,
}

impl Reload {
    /// `sources` are those that `loaded` was read from.
    pub fn new(sources: Sources, loaded: &Loaded) -> Self {
        Self { sources, started_with: loaded.written.clone() }
    }

    /// Reads and checks everything; its budgets, and what else is to be said.
    pub(super) fn read(&self) -> Result<(Vec<Budget>, Reloaded), ConfigError> {
        let Loaded { config, origin, warnings, written } = Config::load(&self.sources)?;
        let reloaded = Reloaded {
            file: origin.map(|path| path.display().to_string()),
            budgets: ChangedBudgets::default(),
            needs_restart: self.started_with.others(&written),
            warnings,
        };
        Ok((config.budgets, reloaded))
    }
}

impl Reloaded {
    pub(super) fn note(&mut self, changed: &Changed) {
        for difference in &changed.differences {
            let list = match difference.action() {
                Action::Made => &mut self.budgets.made,
                Action::Removed => &mut self.budgets.removed,
                _ => &mut self.budgets.changed,
            };
            list.push(difference.name.to_string());
        }
    }

    /// What it did, in sentences.
    pub fn sentences(&self) -> Vec<String> {
        let budgets = &self.budgets;
        let lists = [("made", &budgets.made), ("changed", &budgets.changed), ("removed", &budgets.removed)];
        let mut sentences: Vec<String> = lists
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("budgets {what}: {}", names.join(", ")))
            .collect();
        if sentences.is_empty() {
            sentences.push("the budgets are as they were".to_owned());
        }
        if !self.needs_restart.is_empty() {
            sentences.push(format!("start tallyd again for: {}", self.needs_restart.join(", ")));
        }
        sentences
    }
}
