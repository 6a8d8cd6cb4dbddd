use chrono_tz::Tz;
use tallyd::domain::alert::{Arm, BudgetState};
use tallyd::domain::budget::terms::{Terms, WindowLimit};
use tallyd::domain::budget::{Budget, BudgetName, Origin, Threshold, WhenExceeded};
use tallyd::domain::money::{Money, Total};
use tallyd::domain::scope::Scope;
use tallyd::domain::time::{BUCKET_MS, Timestamp};
use tallyd::domain::window::{BillingDay, WeekStart, Window, WindowKind};
use tallyd::store::budgets::{self, AccountStatus, BudgetStatus, SpendDelta, Spent, StoredBudget};

use super::samples::NOON;
use super::{Database, on_both_engines};

on_both_engines! {
    budgets_come_change_and_go_and_keep_their_history
    counters_add_up_exactly
    a_budget_shows_where_it_stands
    arms_are_kept_until_the_budget_is_another
    values_are_counted_apart_and_listed_by_burn
}

pub(crate) fn budget(name: &str) -> Budget {
    Budget {
        name: name.parse().unwrap(),
        origin: Origin::File,
        each: None,
        scope: Scope { app: Some("growth-*".parse().unwrap()), ..Scope::default() },
        window: WindowKind::Month,
        zone: Tz::Europe__Berlin,
        week_starts: WeekStart::default(),
        billing_day: BillingDay::default(),
        rollover: false,
        limit: Money::from_usd(500).unwrap(),
        alert_at: Threshold::DEFAULT.to_vec(),
        notify: vec!["growth@example.com".to_owned()],
        when_exceeded: WhenExceeded::Block,
        on_ledger_failure: None,
    }
}

fn quarter(n: i64) -> Timestamp {
    NOON.plus_millis(n * BUCKET_MS)
}

pub(crate) fn delta(name: &str, n: i64, cost_picos: i64) -> SpendDelta {
    SpendDelta {
        budget: name.parse().unwrap(),
        value: "".into(),
        bucket: quarter(n),
        cost_picos,
        inline_picos: cost_picos / 2,
        unknown: 1,
    }
}

pub(crate) async fn sync(database: &Database, wanted: &[Budget], now: Timestamp) {
    let mut tx = database.store.write().await.unwrap();
    budgets::sync(&mut tx, wanted, now).await.unwrap();
    tx.commit().await.unwrap();
}

pub(crate) async fn add(database: &Database, deltas: &[SpendDelta]) {
    let mut tx = database.store.write().await.unwrap();
    budgets::add_spend(&mut tx, deltas).await.unwrap();
    tx.commit().await.unwrap();
}

pub(crate) async fn filled(database: &Database, name: &str, from: Timestamp) {
    let mut tx = database.store.write().await.unwrap();
    budgets::set_counted_from(&mut tx, &name.parse().unwrap(), from).await.unwrap();
    tx.commit().await.unwrap();
}

/// Shows where the budget stands in the window of `now`, as the writer does.
pub(crate) async fn turned(database: &Database, name: &str, now: Timestamp) {
    let budget = load(database).await.into_iter().find(|stored| stored.budget.name.as_str() == name).unwrap().budget;
    let window = budget.window_at(now);
    let mut tx = database.store.write().await.unwrap();
    let spent = budgets::spent(&mut tx, &budget.name, window.start, window.end).await.unwrap();
    let state = BudgetState::of(&budget, budget.limit, spent.cost);
    let limit = WindowLimit::plain(budget.limit);
    let status = BudgetStatus { window, limit, spent, reserved: Total::ZERO, state, as_of: now, top: None, values: 0 };
    budgets::set_status(&mut tx, &budget.name, &status).await.unwrap();
    tx.commit().await.unwrap();
}

async fn load(database: &Database) -> Vec<StoredBudget> {
    let mut tx = database.store.write().await.unwrap();
    let loaded = budgets::load(&mut tx).await.unwrap();
    tx.rollback().await.unwrap();
    loaded
}

async fn spent(database: &Database, name: &str, from: i64, until: Option<i64>) -> Spent {
    let mut tx = database.store.write().await.unwrap();
    let name: BudgetName = name.parse().unwrap();
    let spent = budgets::spent(&mut tx, &name, quarter(from), until.map(quarter)).await.unwrap();
    tx.rollback().await.unwrap();
    spent
}

async fn budgets_come_change_and_go_and_keep_their_history(database: &Database) {
    let (a, b) = (budget("a"), budget("b"));
    sync(database, &[b.clone(), a.clone()], NOON).await;
    let new = |budget: &Budget| StoredBudget {
        budget: budget.clone(),
        counted_from: None,
        defined_at: NOON,
        shaped_at: NOON,
        terms: Terms::default(),
    };
    assert_eq!(load(database).await, [new(&a), new(&b)]);

    filled(database, "a", quarter(0)).await;
    add(database, &[delta("a", 0, 10)]).await;
    let mut raised = Budget { limit: Money::from_usd(600).unwrap(), ..a.clone() };
    sync(database, std::slice::from_ref(&raised), quarter(1)).await;
    let stored = load(database).await;
    assert_eq!(stored.len(), 1, "b has left");
    assert_eq!(stored[0].budget, raised);
    assert_eq!((stored[0].counted_from, stored[0].defined_at), (Some(quarter(0)), quarter(1)));

    raised.notify.clear();
    sync(database, std::slice::from_ref(&raised), quarter(2)).await;
    assert_eq!(load(database).await[0].defined_at, quarter(1), "whom it writes to is not what it measures");
    assert_eq!(spent(database, "a", 0, None).await.cost, Total::from_picos(10));

    raised.scope = Scope::default();
    sync(database, std::slice::from_ref(&raised), quarter(3)).await;
    let stored = load(database).await.remove(0);
    assert_eq!((stored.counted_from, stored.defined_at), (None, quarter(3)), "another scope counts other rows");
    assert_eq!(spent(database, "a", 0, None).await, Spent::default());

    filled(database, "a", quarter(0)).await;
    sync(database, &[], quarter(4)).await;
    assert!(load(database).await.is_empty());
    sync(database, &[raised], quarter(5)).await;
    assert_eq!(load(database).await[0].counted_from, None, "rows came while it was absent");
}

async fn counters_add_up_exactly(database: &Database) {
    sync(database, &[budget("a"), budget("b")], NOON).await;
    add(database, &[delta("b", 1, 7), delta("a", 2, 5), delta("a", 0, i64::MAX - 1)]).await;
    add(database, &[delta("a", 0, -2), delta("a", 3, i64::MAX)]).await;
    let all = spent(database, "a", 0, None).await;
    assert_eq!(all.cost, Total::from_picos(2 * i128::from(i64::MAX) + 2));
    assert_eq!(all.unknown, 4);
    assert_eq!(spent(database, "a", 1, Some(3)).await.cost, Total::from_picos(5));
    assert_eq!(spent(database, "a", 4, None).await, Spent::default());
    add(database, &[delta("a", 3, i64::MAX)]).await;
    assert_eq!(spent(database, "a", 3, None).await.cost, Total::from_picos(i128::from(i64::MAX)), "held at its end");
    let course = budgets::course(&database.store, &"a".parse().unwrap(), None, quarter(1), quarter(3)).await.unwrap();
    assert_eq!(course, [delta("a", 2, 5)]);
}

async fn a_budget_shows_where_it_stands(database: &Database) {
    sync(database, &[budget("a"), Budget { limit: Money::ZERO, ..budget("b") }], NOON).await;
    let status = |end| BudgetStatus {
        limit: WindowLimit::plain(budget("a").limit),
        window: Window { start: NOON, end },
        spent: Spent { cost: Total::from_picos(50_000_000_000_000_000_125), inline: Total::from_picos(-5), unknown: 3 },
        reserved: Total::ZERO,
        state: BudgetState::Alerting,
        as_of: NOON.plus_millis(7),
        top: None,
        values: 0,
    };
    let list = budgets::list(&database.store).await.unwrap();
    assert!(list.iter().all(|(_, status)| status.is_none()));
    let nothing = |end| BudgetStatus { limit: WindowLimit::plain(Money::ZERO), ..status(end) };
    for (name, status) in [("a", status(Some(quarter(9)))), ("b", nothing(None))] {
        let mut tx = database.store.write().await.unwrap();
        budgets::set_status(&mut tx, &name.parse().unwrap(), &status).await.unwrap();
        tx.commit().await.unwrap();
    }
    let list = budgets::list(&database.store).await.unwrap();
    assert_eq!(list[0].1, Some(status(Some(quarter(9)))));
    assert_eq!(list[1].1, Some(nothing(None)));
    let table = super::console::ask(
        database,
        "SELECT name, origin, scope, window_kind, time_zone, window_start, window_end, unknown_count, percent, state, \
         when_exceeded, as_of FROM budget_status ORDER BY name",
    )
    .await;
    assert_eq!(
        super::console::text(&table),
        [
            "a|file|{\"app\":\"growth-*\"}|month|Europe/Berlin|2026-08-04T12:00:00.000Z|2026-08-04T14:15:00.000Z|3|10000000|alerting|block|2026-08-04T12:00:00.007Z",
            "b|file|{\"app\":\"growth-*\"}|month|Europe/Berlin|2026-08-04T12:00:00.000Z|NULL|3|NULL|alerting|block|2026-08-04T12:00:00.007Z",
        ]
    );
}

async fn arms_are_kept_until_the_budget_is_another(database: &Database) {
    let mut rolling = Budget { window: WindowKind::Rolling7d, ..budget("a") };
    sync(database, std::slice::from_ref(&rolling), NOON).await;
    let arm = |n| Arm { threshold: Threshold::Percent(5_000), limit: rolling.limit, armed_at: quarter(n) };
    for n in [1, 2] {
        let mut tx = database.store.write().await.unwrap();
        budgets::set_arm(&mut tx, &rolling.name, "", &arm(n)).await.unwrap();
        assert_eq!(budgets::arms(&mut tx, &rolling, "", rolling.limit).await.unwrap(), [arm(n)]);
        assert_eq!(
            budgets::arms(&mut tx, &rolling, "lena", rolling.limit).await.unwrap(),
            [],
            "each is armed by itself"
        );
        tx.commit().await.unwrap();
    }
    rolling.limit = Money::from_usd(1).unwrap();
    sync(database, std::slice::from_ref(&rolling), quarter(3)).await;
    let mut tx = database.store.write().await.unwrap();
    assert!(budgets::arms(&mut tx, &rolling, "", rolling.limit).await.unwrap().is_empty());
}

async fn values_are_counted_apart_and_listed_by_burn(database: &Database) {
    let each = Budget { each: Some("user".parse().unwrap()), ..budget("a") };
    sync(database, std::slice::from_ref(&each), NOON).await;
    assert_eq!(load(database).await[0].budget, each);
    let of = |value: &str, n, cost| SpendDelta { value: value.into(), ..delta("a", n, cost) };
    add(database, &[of("lena", 1, 40), of("omar", 1, 10), of("lena", 2, 2), of("ana", 1, 10)]).await;
    add(database, &[of("omar", 1, 5)]).await;
    assert_eq!(spent(database, "a", 0, None).await.cost, Total::from_picos(67));
    let mut tx = database.store.write().await.unwrap();
    let mut by_value = budgets::spent_by_value(&mut tx, &each.name, quarter(1), Some(quarter(2))).await.unwrap();
    by_value.sort_by(|a, b| a.0.cmp(&b.0));
    let costs: Vec<(&str, i128)> = by_value.iter().map(|(value, spent)| (&**value, spent.cost.picos())).collect();
    assert_eq!(costs, [("ana", 10), ("lena", 40), ("omar", 15)]);
    let of_lena = budgets::spent_of(&mut tx, &each.name, "lena", quarter(0), None).await.unwrap();
    assert_eq!((of_lena.cost, of_lena.unknown), (Total::from_picos(42), 2));
    let counters = budgets::counters_of(&mut tx, &each.name, "lena", quarter(2), quarter(9)).await.unwrap();
    assert_eq!(counters, [of("lena", 2, 2)]);
    let account = |value: &str, picos| AccountStatus {
        value: value.into(),
        spent: Spent { cost: Total::from_picos(picos), ..Spent::default() },
        reserved: Total::from_picos(3),
        state: BudgetState::Ok,
        as_of: NOON,
    };
    let all = [account("ana", 10), account("lena", 42), account("omar", 15), account("zoe", 15)];
    budgets::save_accounts(&mut tx, &each.name, &all).await.unwrap();
    budgets::save_accounts(&mut tx, &each.name, &[account("ana", 11)]).await.unwrap();
    budgets::drop_accounts(&mut tx, &each.name, &["nobody".into()]).await.unwrap();
    tx.commit().await.unwrap();
    let page = async |after, limit| budgets::accounts(&database.store, &each.name, after, limit).await.unwrap();
    let first = page(None, 2).await;
    assert_eq!(first, [account("lena", 42), account("zoe", 15)]);
    let rest = page(Some((first[1].spent.cost, "zoe")), 9).await;
    assert_eq!(rest, [account("omar", 15), account("ana", 11)]);
    let course = budgets::course(&database.store, &each.name, Some("omar"), quarter(0), quarter(9)).await.unwrap();
    assert_eq!(course.iter().map(|delta| delta.cost_picos).collect::<Vec<_>>(), [15]);
    let mut tx = database.store.write().await.unwrap();
    budgets::drop_accounts(&mut tx, &each.name, &["lena".into()]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(page(None, 9).await.len(), 3);
    let mut tx = database.store.write().await.unwrap();
    budgets::clear_accounts(&mut tx, &each.name).await.unwrap();
    tx.commit().await.unwrap();
    assert!(page(None, 9).await.is_empty());
    // Counted by another field, it is to be filled anew.
    filled(database, "a", quarter(0)).await;
    let by_app = Budget { each: Some("app".parse().unwrap()), ..each };
    sync(database, std::slice::from_ref(&by_app), quarter(1)).await;
    assert_eq!(load(database).await[0].counted_from, None);
}
