//! Where every budget stands: spend against the limit, what was reached, and where the pace leads.

use crate::domain::alert::BudgetState;
use crate::domain::budget::{Budget, BudgetName, Threshold};
use crate::domain::money::Total;
use crate::domain::pace::{self, Pace};
use crate::domain::time::Timestamp;
use crate::domain::window::Window;
use crate::store::budgets::{self, Spent};
use crate::store::{Store, StoreError};

/// One budget in the window that holds now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The budget.
    pub budget: Budget,
    /// Since when it stands as it does.
    pub defined_at: Timestamp,
    /// The window.
    pub window: Window,
    /// What was spent in it.
    pub spent: Spent,
    /// How it stands.
    pub state: BudgetState,
    /// The highest threshold that spend has reached.
    pub reached: Option<Threshold>,
    /// Spend in basis points of the limit; `None` under a limit of zero.
    pub share: Option<i64>,
    /// Where it is heading; `None` where that cannot be told.
    pub pace: Option<Pace>,
    /// Whether calls are refused now.
    pub blocking: bool,
}

impl Standing {
    /// What is left below the limit; zero once it is reached.
    pub fn left(&self) -> Total {
        (Total::from(self.budget.limit) - self.spent.cost).max(Total::ZERO)
    }
}

/// The budgets in force, by name.
pub async fn read(store: &Store, now: Timestamp) -> Result<Vec<Standing>, StoreError> {
    let stored = budgets::list(store).await?;
    Ok(stored
        .into_iter()
        .map(|(stored, status)| {
            let window = stored.budget.window.window_at(stored.budget.zone, now);
            // A calendar window that has ended since the daemon last turned it has a successor with nothing in it.
            let spent = status
                .filter(|status| status.window == window || stored.budget.window.is_rolling())
                .map(|status| status.spent)
                .unwrap_or_default();
            judge(stored.budget, stored.defined_at, window, spent, now)
        })
        .collect())
}

/// One budget by name; `None` if it is not in force.
pub async fn find(store: &Store, name: &BudgetName, now: Timestamp) -> Result<Option<Standing>, StoreError> {
    Ok(read(store, now).await?.into_iter().find(|standing| standing.budget.name == *name))
}

fn judge(budget: Budget, defined_at: Timestamp, window: Window, spent: Spent, now: Timestamp) -> Standing {
    let reached = budget.alert_at.iter().copied().rfind(|threshold| threshold.is_reached(spent.cost, budget.limit));
    Standing {
        defined_at,
        window,
        spent,
        state: BudgetState::of(&budget, spent.cost),
        reached,
        share: spent.cost.basis_points_of(budget.limit),
        pace: pace::pace(budget.window, &window, spent.cost, budget.limit, now),
        blocking: budget.refuses(spent.cost),
        budget,
    }
}
