//! Sums that a migration made room for, filled from the rows there were: before anything else is asked of the database, in
//! bounded transactions, and from where it was cut if it was.

use super::calls::{self, Cursor};
use super::{Store, StoreError, notes, rollups, schema};
use crate::domain::ids::CallId;
use crate::domain::rollup::Deltas;
use crate::domain::time::Timestamp;

/// A migration's note that the cells are to be filled, and how far they are. Where there were no rows there is no note.
const NOTE: &str = "fill spend_cells";

/// Rows read at once, and how often in one transaction: some ten thousands of rows lie close together in time, change few
/// cells, and take about a second.
const PAGE: u32 = 2_000;
const PAGES: u32 = 10;

/// Fills what is to be filled. Of several daemons on one server each does a part.
pub(super) async fn run(store: &Store) -> Result<(), StoreError> {
    if notes::get(store, NOTE).await?.is_none() {
        return Ok(());
    }
    tracing::info!("sums are filled from the rows, once after this update: some tens of seconds for a million rows");
    let mut filled = 0;
    loop {
        let mut tx = store.write().await?;
        let Some(note) = notes::hold(&mut tx, NOTE).await? else {
            tx.rollback().await?;
            break;
        };
        let mut cursor = parse(&note)?;
        let mut deltas = Deltas::default();
        let mut ended = false;
        for _ in 0..PAGES {
            let page = calls::scan(&mut tx, Timestamp(i64::MIN), cursor, PAGE).await?;
            for call in &page {
                deltas.moved(None, Some(call));
            }
            filled += page.len();
            let Some(last) = page.last() else {
                ended = true;
                break;
            };
            cursor = Some(Cursor::after(last));
        }
        rollups::add(&mut tx, &deltas).await?;
        match cursor {
            Some(cursor) if !ended => {
                let text = format!("{} {}", cursor.created_at.millis(), cursor.call_id);
                notes::set(&mut tx, NOTE, &text).await?;
            }
            _ => notes::remove(&mut tx, NOTE).await?,
        }
        tx.commit().await?;
    }
    tracing::info!(rows = filled, "sums are filled from the rows");
    Ok(())
}

/// A database whose sums are not filled yet is not read: what it would tell is not all.
pub(super) async fn refuse_unfilled(store: &Store) -> Result<(), StoreError> {
    if notes::get(store, NOTE).await?.is_some() { Err(schema::unfinished()) } else { Ok(()) }
}

/// The last row that is in the sums; `None` before the first.
fn parse(note: &str) -> Result<Option<Cursor>, StoreError> {
    if note.is_empty() {
        return Ok(None);
    }
    let cursor = || {
        let (created, call_id) = note.split_once(' ')?;
        Some(Cursor { created_at: Timestamp(created.parse().ok()?), call_id: call_id.parse::<CallId>().ok()? })
    };
    cursor().map(Some).ok_or_else(|| StoreError::unreadable("tallyd_meta", &NOTE))
}
