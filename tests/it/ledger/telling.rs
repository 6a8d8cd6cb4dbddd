//! IDs that are told.

use std::time::Duration;

use tallyd::clock::{Clock, Entropy};
use tallyd::domain::attribution::Attribution;
use tallyd::domain::observation::Told;
use tallyd::ledger::{LedgerError, Verdict, Work};

use super::{rows, simulator};
use crate::support::installation::{Installation, QUICK, text};
use crate::support::running::Running;

/// Work that tells one ID.
pub(super) fn told(clock: &Clock, entropy: &Entropy, id: &str) -> Work {
    let at = clock.now();
    let told = Told {
        call_id: entropy.call_id(at),
        at,
        generation_id: id.parse().unwrap(),
        key: None,
        tally_key: None,
        attribution: Attribution::default(),
    };
    Work { told: vec![told], ..Work::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_any_more_is_not_recorded() {
    let (clock, entropy) = (Clock::system(), Entropy::seeded(8));
    let simulator = simulator(&clock).await;
    let at = Installation::new(simulator.base_url(), QUICK);
    let running = Running::start(&at, &clock).await;
    let ledger = running.ledger();
    let holder = rusqlite::Connection::open(at.data().join("tallyd.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    for n in 0..3 {
        let work = told(&clock, &entropy, &format!("gen-left-{n}"));
        let answer = ledger.submit(work, Duration::from_millis(100)).await;
        assert!(matches!(answer, Err(LedgerError::Unavailable)), "{answer:?}");
    }
    holder.execute_batch("ROLLBACK").unwrap();
    let answer = ledger.submit(told(&clock, &entropy, "gen-stayed"), Duration::from_mins(1)).await;
    assert_eq!(answer.unwrap(), [Verdict::Recorded]);
    rows(&at, 1).await;
    let id = at.sql("SELECT generation_id FROM usage").await;
    assert_eq!(text(&id[0][0]), Some("gen-stayed"));
    running.stop().await;
}
