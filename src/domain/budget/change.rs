//! Changes of budgets: what may be asked, who asks it, why it is refused, and what the audit trail keeps.

use serde::{Deserialize, Serialize};

use super::{Budget, BudgetName};
use crate::domain::money::Money;
use crate::domain::time::Timestamp;

/// Most budgets of the dashboard, the shell and the API together; the file has a bound of its own.
pub const MAX_OWN: usize = 1_000;

/// What is to become of budgets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// These are the budgets of the file, all of them.
    File(Vec<Budget>),
    /// A budget of our own is made, or is another from now on.
    Set(Box<Budget>),
    /// One of our own ends; its history stays.
    Remove(BudgetName),
    /// It neither tells nor refuses until it is resumed.
    Pause(BudgetName),
    /// It does so again.
    Resume(BudgetName),
    /// Another limit until an instant.
    Override {
        /// The budget.
        name: BudgetName,
        /// The limit while it holds.
        limit: Money,
        /// The first instant at which it holds no more.
        until: Timestamp,
        /// Why.
        reason: String,
    },
    /// Its override ends now.
    EndOverride(BudgetName),
    /// An amount is added to the limit of the current window; of a rolling one until it leaves it, as spend does.
    TopUp {
        /// The budget.
        name: BudgetName,
        /// How much; negative takes back.
        amount: Money,
        /// What for; may be empty.
        note: String,
        /// One ID is one top-up, however often it is sent.
        id: String,
    },
}

/// Through which door a change came; the text is that of `budget_changes.door`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Door {
    /// The configuration file, at a start or a reload.
    File,
    /// A page.
    Page,
    /// The JSON API.
    Api,
    /// A command.
    Command,
    /// Time: an override reached its end.
    Clock,
}

impl Door {
    /// The text in `budget_changes.door`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Page => "page",
            Self::Api => "api",
            Self::Command => "command",
            Self::Clock => "clock",
        }
    }

    /// Reads that text.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::File, Self::Page, Self::Api, Self::Command, Self::Clock].into_iter().find(|door| door.as_str() == text)
    }
}

/// Who changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Through which door.
    pub door: Door,
    /// With what right, in a word or two: `local` (no admin token is set), `admin token`, `signed in`; of the file, on
    /// what occasion it was read.
    pub who: String,
}

impl Actor {
    /// Somebody at that door.
    pub fn new(door: Door, who: impl Into<String>) -> Self {
        Self { door, who: who.into() }
    }
}

/// What became of a budget; the text is that of `budget_changes.action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It is in force from now on.
    Made,
    /// It is another one.
    Changed,
    /// It is in force no more.
    Removed,
    /// See [`Change::Pause`].
    Paused,
    /// See [`Change::Resume`].
    Resumed,
    /// See [`Change::Override`].
    Overridden,
    /// Its override ended, by itself or by hand.
    OverrideEnded,
    /// See [`Change::TopUp`].
    ToppedUp,
}

impl Action {
    /// Every one.
    pub const ALL: [Action; 8] = [
        Self::Made,
        Self::Changed,
        Self::Removed,
        Self::Paused,
        Self::Resumed,
        Self::Overridden,
        Self::OverrideEnded,
        Self::ToppedUp,
    ];

    /// The text in `budget_changes.action`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Overridden => "overridden",
            Self::OverrideEnded => "override_ended",
            Self::ToppedUp => "topped_up",
        }
    }

    /// Reads that text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

/// One budget that a change made another; `None` stands for one that is not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub name: BudgetName,
    /// As it stood.
    pub before: Option<Budget>,
    /// As it stands from now on.
    pub after: Option<Budget>,
}

impl Difference {
    /// What became of it.
    pub fn action(&self) -> Action {
        match (&self.before, &self.after) {
            (None, _) => Action::Made,
            (_, None) => Action::Removed,
            _ => Action::Changed,
        }
    }
}

/// An entry of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// From when on it applies.
    pub at: Timestamp,
    /// The budget.
    pub budget: BudgetName,
    /// What became of it.
    pub action: Action,
    /// Who did it.
    pub by: Actor,
    /// The definition before, where the change is one of the definition.
    pub before: Option<Budget>,
    /// The definition after, likewise.
    pub after: Option<Budget>,
    /// The limit before: the budget's own where its definition changed, else that of the window. `None`: there was none.
    pub limit_before: Option<Money>,
    /// The limit after, likewise.
    pub limit_after: Option<Money>,
    /// A reason, a note, or what else belongs to it; may be empty.
    pub note: String,
}

/// Why a change is refused; each says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No budget in force has this name.
    #[error("there is no budget \"{0}\" in force; `tallyd budget list` and the page Budgets show them all")]
    NotFound(BudgetName),
    /// The file owns it.
    #[error(
        "the budget \"{0}\" stands in tallyd.toml and is read-only here: change it there, then run `tallyd reload`"
    )]
    OwnedByFile(BudgetName),
    /// There are [`MAX_OWN`].
    #[error("there are {MAX_OWN} budgets beside those of tallyd.toml, which is the most; remove those nobody needs")]
    Full,
    /// An override ends before it begins.
    #[error("an override ends in the future; {0} is not")]
    EndsInThePast(String),
    /// No override holds.
    #[error("no override of the budget \"{0}\" holds; there is nothing to end")]
    NoOverride(BudgetName),
    /// A top-up would change nothing, as an override is the whole limit.
    #[error(
        "the budget \"{budget}\" is overridden until {until}, and a top-up adds nothing to an override: end it first, or override with a higher limit"
    )]
    Overridden {
        /// The budget.
        budget: BudgetName,
        /// When the override ends, as ISO 8601.
        until: String,
    },
    /// More is taken back than was added.
    #[error("only {added} dollars were added to this window of the budget \"{budget}\"; take back that much at most")]
    TakesTooMuch {
        /// The budget.
        budget: BudgetName,
        /// What was added.
        added: Money,
    },
    /// The limit would be above what a limit may be.
    #[error("the limit of this window would be above {max} dollars, which is the most", max = super::MAX_USD)]
    LimitTooHigh,
    /// The same top-up came before.
    #[error("this top-up was made already; open the page anew to make another")]
    Again,
}
