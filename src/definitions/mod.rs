//! Budgets as people see and change them, through whichever door: pages, API and commands all ask here, and the ledger's
//! writer makes what they ask for hold.

mod listing;
mod reload;
mod wanted;

use std::time::Duration;

use chrono_tz::Tz;

pub use self::listing::{
    AlertRow, ChangeRow, Listed, OverrideRow, alert_rows, alerts_table, change_rows, changes_table, short_table, table,
};
pub use self::reload::{Reload, ReloadError, Reloaded};
pub use self::wanted::{Wanted, parse_until};

use crate::clock::{Clock, Entropy};
use crate::domain::budget::change::{Actor, Change, Door};
use crate::domain::budget::terms::{parse_reason, parse_top_up};
use crate::domain::budget::{Budget, BudgetError, BudgetName, BudgetSpec, Origin, parse_limit};
use crate::domain::recipient;
use crate::ledger::{ChangeError, Changed, Ledger};
use crate::report::standing;
use crate::store::{Store, StoreError};

/// How long a change may wait for the ledger's writer: one that counts other calls than before is filled from the rows.
pub const PATIENCE: Duration = Duration::from_secs(25);

/// Longest ID of a top-up that a caller may give, in bytes.
const MAX_ID: usize = 64;

/// Why a budget could not be changed; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// What was asked for is no budget, amount or reason.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// Something else that was asked for is not what it should be.
    #[error("{1}")]
    Field(&'static str, String),
    /// The change was not made.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The database can not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DefinitionError {
    /// The field that is wrong, where it is one.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Budget(error) => Some(error.field()),
            Self::Field(field, _) => Some(field),
            Self::Change(_) | Self::Store(_) => None,
        }
    }
}

/// The budgets of one ledger.
#[derive(Clone)]
pub struct Definitions {
    /// Makes changes hold.
    pub ledger: Ledger,
    /// Where budgets are read.
    pub store: Store,
    /// The zone of budgets that name none, and of dates.
    pub zone: Tz,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// Whether pages and API are open to whoever reaches them: no admin token is set.
    pub open: bool,
    /// The webhooks that are configured, by name.
    pub webhooks: std::sync::Arc<[String]>,
    /// The configuration to be read anew; `None`: there is none (the demo).
    pub reload: Option<std::sync::Arc<Reload>>,
}

impl std::fmt::Debug for Definitions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Definitions").finish_non_exhaustive()
    }
}

impl Definitions {
    /// Who stands at `door`: with the admin token, or on a machine where none is needed.
    pub fn actor(&self, door: Door) -> Actor {
        Actor::new(
            door,
            if self.open {
                "local"
            } else if door == Door::Page {
                "signed in"
            } else {
                "admin token"
            },
        )
    }

    /// An ID for a form that adds an amount: one form is one top-up.
    pub fn new_id(&self) -> String {
        format!("{:032x}", self.entropy.next_u128())
    }

    /// All budgets by name: those in force, and our own that stand behind one of the file.
    pub async fn list(&self) -> Result<Vec<Listed>, StoreError> {
        list(&self.store, &self.clock).await
    }

    /// The budget of this name that is in force.
    pub async fn find(&self, name: &BudgetName) -> Result<Option<Listed>, StoreError> {
        let standing = standing::find(&self.store, name, self.clock.now()).await?;
        Ok(standing.map(|standing| Listed::of_standing(&standing)))
    }

    /// Makes a budget of our own, or another one of it. Says what changed, which may be nothing.
    pub async fn set(&self, spec: BudgetSpec, by: Actor) -> Result<Changed, DefinitionError> {
        let budget = spec.into_budget(Origin::Own, self.zone)?;
        budget.notify.iter().try_for_each(|one| recipient::check_configured(one, &self.webhooks))?;
        self.change(Change::Set(Box::new(budget)), by).await
    }

    /// Ends a budget of our own; its history stays.
    pub async fn remove(&self, name: BudgetName, by: Actor) -> Result<Changed, DefinitionError> {
        self.change(Change::Remove(name), by).await
    }

    /// Pauses a budget, or resumes it.
    pub async fn pause(&self, name: BudgetName, paused: bool, by: Actor) -> Result<Changed, DefinitionError> {
        self.change(if paused { Change::Pause(name) } else { Change::Resume(name) }, by).await
    }

    /// Puts another limit in the place of the budget's, until an instant. `until` is as [`parse_until`] reads it.
    pub async fn override_limit(
        &self,
        name: BudgetName,
        limit_usd: &str,
        until: &str,
        reason: &str,
        by: Actor,
    ) -> Result<Changed, DefinitionError> {
        let limit = parse_limit(limit_usd)?;
        let zone = self.find(&name).await?.map_or(self.zone, |listed| listed.budget.zone);
        let until =
            parse_until(until, zone, self.clock.now()).map_err(|error| DefinitionError::Field("until", error))?;
        let reason = parse_reason(reason)?;
        if reason.is_empty() {
            let told = "say why, for those who wonder: a reason of a few words".to_owned();
            return Err(DefinitionError::Field("reason", told));
        }
        self.change(Change::Override { name, limit, until, reason }, by).await
    }

    /// Ends the override that holds.
    pub async fn end_override(&self, name: BudgetName, by: Actor) -> Result<Changed, DefinitionError> {
        self.change(Change::EndOverride(name), by).await
    }

    /// Adds an amount to the limit of the current window. One `id` is one top-up; `None`: a new one.
    pub async fn top_up(
        &self,
        name: BudgetName,
        amount_usd: &str,
        note: &str,
        id: Option<String>,
        by: Actor,
    ) -> Result<Changed, DefinitionError> {
        let (amount, note) = (parse_top_up(amount_usd)?, parse_reason(note)?);
        if id.as_ref().is_some_and(|id| id.is_empty() || id.len() > MAX_ID || id.contains(char::is_control)) {
            let told = format!("an ID is 1 to {MAX_ID} bytes without control characters; leave it out for a new one");
            return Err(DefinitionError::Field("id", told));
        }
        let id = id.unwrap_or_else(|| self.new_id());
        self.change(Change::TopUp { name, amount, note, id }, by).await
    }

    /// Reads the configuration anew and puts its budgets in force, all or none.
    pub async fn reload(&self, occasion: &str) -> Result<Reloaded, ReloadError> {
        let reload = self.reload.as_ref().ok_or(ReloadError::Nothing)?;
        let (budgets, mut reloaded) = reload.read()?;
        let actor = Actor::new(Door::File, occasion);
        let changed = self.ledger.change(Change::File(budgets), actor, PATIENCE).await?;
        reloaded.note(&changed);
        tracing::info!(
            occasion,
            made = reloaded.budgets.made.len(),
            changed = reloaded.budgets.changed.len(),
            removed = reloaded.budgets.removed.len(),
            needs_restart = reloaded.needs_restart.join(", "),
            "the configuration was read anew"
        );
        Ok(reloaded)
    }

    async fn change(&self, change: Change, by: Actor) -> Result<Changed, DefinitionError> {
        Ok(self.ledger.change(change, by, PATIENCE).await?)
    }
}

/// All budgets as the database has them.
pub async fn list(store: &Store, clock: &Clock) -> Result<Vec<Listed>, StoreError> {
    let standings = standing::read(store, clock.now()).await?;
    let own = crate::store::budget_terms::read_own(store).await?;
    let in_force = |own: &Budget| standings.iter().any(|s| s.budget.name == own.name && s.budget.origin == Origin::Own);
    let shadowed = own.into_iter().filter(|own| !in_force(own)).map(Listed::shadowed);
    let mut all: Vec<Listed> = standings.iter().map(Listed::of_standing).chain(shadowed).collect();
    all.sort_by(|a, b| (&a.budget.name, a.shadowed).cmp(&(&b.budget.name, b.shadowed)));
    Ok(all)
}
