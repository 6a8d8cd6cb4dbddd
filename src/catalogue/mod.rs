//! OpenRouter's list of models, kept: fetched every so often, stored with the time each price was valid, and held in
//! memory for those who ask what a model is called or what a call may have cost.
//!
//! Without OpenRouter the list is that of the last time; it says how old it is.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use crate::clock::Clock;
use crate::domain::catalogue::{Catalogue, Changes};
use crate::openrouter::{Client, ReadError};
use crate::store::{self, Store, StoreError};

/// The list as it is now; clones see the same one.
#[derive(Clone, Debug, Default)]
pub struct Shelf(Arc<ArcSwap<Catalogue>>);

impl Shelf {
    /// A shelf that holds `catalogue`.
    pub fn of(catalogue: Catalogue) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(catalogue)))
    }

    /// The list, for a moment.
    pub fn load(&self) -> Guard<Arc<Catalogue>> {
        self.0.load()
    }

    /// The list, to be kept.
    pub fn get(&self) -> Arc<Catalogue> {
        self.0.load_full()
    }
}

/// Why the list could not be brought up to date; the one there was stays.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// OpenRouter.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RefreshError {
    /// The wait that OpenRouter asked for, if it asked for one.
    pub fn asked_wait(&self) -> Option<Duration> {
        match self {
            Self::Read(error) => error.asked_wait(),
            Self::Store(_) => None,
        }
    }
}

/// Fetches the list, stores what is new in it, and puts it on the shelf.
pub async fn refresh(client: &Client, store: &Store, shelf: &Shelf, clock: &Clock) -> Result<Changes, RefreshError> {
    let listed = client.models().await?;
    let changes = store::catalogue::save(store, &listed, clock.now()).await?;
    shelf.0.store(Arc::new(store::catalogue::load(store).await?));
    Ok(changes)
}
