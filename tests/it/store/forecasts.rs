use tallyd::domain::budget::Threshold;
use tallyd::domain::forecast::{Basis, NoForecast, Outlook, Reach, Signal};
use tallyd::domain::money::Total;
use tallyd::domain::time::{BUCKET_MS, Timestamp};
use tallyd::store::forecasts::{self, StoredForecast, Whose};

use super::budgets::{add, budget, delta, sync};
use super::samples::{NOON, settled};
use super::{Database, on_both_engines};

on_both_engines! {
    a_forecast_is_kept_whole_until_the_budget_is_another
    hours_of_spend_begin_where_they_are_asked_to
}

fn kept(outlook: Result<Outlook, NoForecast>) -> StoredForecast {
    StoredForecast {
        window_start: NOON.plus_millis(-86_400_000),
        as_of: NOON,
        signals: vec![Signal { threshold: Threshold::Forecast(10_000), steps: 1 }],
        outlook,
    }
}

async fn a_forecast_is_kept_whole_until_the_budget_is_another(database: &Database) {
    let [growth, other] = [budget("growth"), budget("other")];
    sync(database, &[growth.clone(), other.clone()], NOON).await;
    let outlook = Outlook {
        at: NOON,
        basis: Basis::Profile { weeks: 6 },
        projected: Total::from_picos(389_000_000_000_001),
        low: Total::from_picos(1),
        high: Total::from_picos(9_999_999_000_000_000_000),
        reaches_limit: Some(Reach { early: NOON, likely: Some(NOON.plus_millis(5)), late: None }),
    };
    let rate = Outlook { basis: Basis::RunRate { days: 3 }, reaches_limit: None, ..outlook };
    for forecast in [kept(Ok(outlook)), kept(Err(NoForecast::TooLittle)), kept(Ok(rate)), kept(Ok(outlook))] {
        let mut tx = database.store.write().await.unwrap();
        forecasts::save(&mut tx, &growth.name, &forecast).await.unwrap();
        assert_eq!(forecasts::load(&mut tx).await.unwrap()["growth"], forecast);
        tx.commit().await.unwrap();
        assert_eq!(forecasts::list(&database.store).await.unwrap()["growth"], forecast);
    }
    let view = "SELECT budget, as_of, reason, basis, reaches_early, reaches_late FROM budget_forecast";
    assert_eq!(
        super::console::text(&super::console::ask(database, view).await),
        ["growth|2026-08-04T12:00:00.000Z|NULL|profile|2026-08-04T12:00:00.000Z|NULL"]
    );
    // The same budget keeps it; one with another limit is another, and has none yet.
    sync(database, &[growth.clone(), other.clone()], NOON.plus_millis(1)).await;
    assert_eq!(forecasts::list(&database.store).await.unwrap().len(), 1);
    let mut dearer = growth;
    dearer.limit = tallyd::domain::money::Money::from_usd(501).unwrap();
    sync(database, &[dearer, other], NOON.plus_millis(2)).await;
    assert!(forecasts::list(&database.store).await.unwrap().is_empty());
}

async fn hours_of_spend_begin_where_they_are_asked_to(database: &Database) {
    let growth = budget("growth");
    sync(database, std::slice::from_ref(&growth), NOON).await;
    let dollars = 8_000_000_000_000_000_000;
    add(database, &[delta("growth", -5, 7), delta("growth", -4, dollars), delta("growth", -1, dollars)]).await;
    add(database, &[delta("growth", 0, 3), delta("growth", 3, 4), delta("growth", 4, 5)]).await;
    let quarter = |n: i64| NOON.plus_millis(n * BUCKET_MS);
    let mut tx = database.store.write().await.unwrap();
    let mut hours = forecasts::budget_hours(&mut tx, &growth.name, quarter(-4), quarter(4)).await.unwrap();
    hours.sort();
    let whole = |picos: i128| Total::from_picos(picos);
    assert_eq!(hours, [(quarter(-4), whole(2 * i128::from(dollars))), (quarter(0), whole(7))]);
    let shifted = forecasts::budget_hours(&mut tx, &growth.name, quarter(-1), quarter(3)).await.unwrap();
    assert_eq!(shifted, [(quarter(-1), whole(i128::from(dollars) + 3))]);
    tx.rollback().await.unwrap();

    super::rollups::save_with_sums(database, &[settled(1), settled(2)]).await;
    let all = Whose::default();
    let far = (Timestamp(0), Timestamp(i64::MAX));
    let sum = async |whose: Whose<'static>| {
        let hours = forecasts::ledger_hours(&database.store, whose, far.0, far.1).await.unwrap();
        hours.iter().map(|hour| hour.1).sum::<Total>()
    };
    let everything = sum(all).await;
    assert!(everything > Total::ZERO);
    assert_eq!(sum(Whose { app: Some("nobody"), ..all }).await, Total::ZERO);
}
