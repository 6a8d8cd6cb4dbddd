//! Where every budget stands: spend against the limit, what was reached, and where it is heading.

use std::sync::Arc;

use crate::domain::alert::BudgetState;
use crate::domain::budget::terms::{Terms, WindowLimit};
use crate::domain::budget::{Budget, BudgetName, Threshold};
use crate::domain::forecast::{NoForecast, Outlook};
use crate::domain::money::{Money, Total};
use crate::domain::time::Timestamp;
use crate::domain::window::Window;
use crate::store::budgets::{self, Spent, StoredBudget};
use crate::store::forecasts::{self, StoredForecast};
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
    /// The limit of that window: the budget's own, or what holds in its place.
    pub limit: Money,
    /// What that limit is made of.
    pub made_of: WindowLimit,
    /// What holds beside the definition.
    pub terms: Terms,
    /// Whether its counters are still being filled from the rows: what is shown is not all yet.
    pub counting: bool,
    /// What was spent in it.
    pub spent: Spent,
    /// What is held back in it for calls whose cost is not known yet.
    pub reserved: Total,
    /// Of a budget of each value: the dearest one, whose figures these are; `None` for any other, and before there is one.
    pub top: Option<Arc<str>>,
    /// Its values that spent something in the window, or have something held back; 0 for a budget that is one account.
    pub values: i64,
    /// How it stands.
    pub state: BudgetState,
    /// The highest threshold that spend has reached.
    pub reached: Option<Threshold>,
    /// Spend in basis points of the limit; `None` under a limit of zero.
    pub share: Option<i64>,
    /// Where it is heading, as of the last 15-minute step, or why that cannot be told.
    pub outlook: Result<Outlook, NoForecast>,
    /// Whether calls are refused now.
    pub blocking: bool,
}

impl Standing {
    /// What is left below the limit; zero once it is reached.
    pub fn left(&self) -> Total {
        (Total::from(self.limit) - self.spent.cost).max(Total::ZERO)
    }
}

/// The budgets in force, by name.
pub async fn read(store: &Store, now: Timestamp) -> Result<Vec<Standing>, StoreError> {
    let (stored, mut forecasts) = tokio::try_join!(budgets::list(store), forecasts::list(store))?;
    Ok(stored
        .into_iter()
        .map(|(stored, status)| {
            let window = stored.budget.window_at(now);
            // A calendar window that has ended since the daemon last turned it has a successor with nothing in it.
            let status = status.filter(|status| status.window == window || stored.budget.window.is_rolling());
            let own = WindowLimit {
                overridden: stored.terms.override_at(now).map(|one| one.limit),
                ..WindowLimit::plain(stored.budget.limit)
            };
            let (spent, made_of) =
                status.as_ref().map_or((Spent::default(), own), |status| (status.spent, status.limit));
            let (reserved, top, values) =
                status.map(|status| (status.reserved, status.top, status.values)).unwrap_or_default();
            let forecast = forecasts.remove(stored.budget.name.as_str());
            Standing { reserved, top, values, ..judge(stored, window, made_of, spent, forecast) }
        })
        .collect())
}

/// One budget by name; `None` if it is not in force.
pub async fn find(store: &Store, name: &BudgetName, now: Timestamp) -> Result<Option<Standing>, StoreError> {
    Ok(read(store, now).await?.into_iter().find(|standing| standing.budget.name == *name))
}

fn judge(
    stored: StoredBudget,
    window: Window,
    made_of: WindowLimit,
    spent: Spent,
    forecast: Option<StoredForecast>,
) -> Standing {
    let StoredBudget { budget, defined_at, terms, counted_from, .. } = stored;
    let limit = made_of.limit();
    let paused = terms.paused_at.is_some();
    let kept = forecast.filter(|kept| kept.window_start == window.start).map(|kept| kept.outlook);
    let outlook =
        if budget.window.ends() { kept.unwrap_or(Err(NoForecast::NotRunning)) } else { Err(NoForecast::Endless) };
    let reached = budget.alert_at.iter().copied().rfind(|threshold| threshold.is_reached(spent.cost, limit));
    Standing {
        defined_at,
        window,
        limit,
        made_of,
        spent,
        reserved: Total::ZERO,
        top: None,
        values: 0,
        state: if paused { BudgetState::Paused } else { BudgetState::of(&budget, limit, spent.cost) },
        reached,
        share: spent.cost.basis_points_of(limit),
        outlook: outlook.map(|outlook| outlook.at_least(spent.cost)),
        blocking: !paused && budget.refuses(limit, spent.cost),
        terms,
        counting: counted_from.is_none(),
        budget,
    }
}
