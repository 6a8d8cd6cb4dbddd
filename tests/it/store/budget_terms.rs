//! What holds of budgets beside their definitions, and the audit trail.

use tallyd::domain::budget::change::{Action, Actor, Difference, Door, Entry};
use tallyd::domain::budget::terms::{Override, Terms};
use tallyd::domain::budget::{Budget, BudgetName, Origin};
use tallyd::domain::money::Money;
use tallyd::domain::time::Timestamp;
use tallyd::domain::window::{BillingDay, Window};
use tallyd::store::{budget_changes, budget_terms, budgets};

use super::budgets::{budget, sync};
use super::samples::NOON;
use super::{Database, on_both_engines};

on_both_engines! {
    pauses_and_overrides_stay_until_the_budget_leaves
    a_sync_says_what_is_another_and_since_when_it_counts_so
    top_ups_are_summed_by_their_window_and_made_once
    what_rolled_over_is_kept_once
    our_own_budgets_are_kept_beside_those_in_force
    the_trail_is_read_back_page_by_page
}

fn name(text: &str) -> BudgetName {
    text.parse().unwrap()
}

fn usd(text: &str) -> Money {
    Money::parse(text).unwrap()
}

async fn stored(database: &Database, of: &str) -> budgets::StoredBudget {
    let mut tx = database.store.write().await.unwrap();
    let found = budgets::in_force(&mut tx, &name(of)).await.unwrap().unwrap();
    tx.rollback().await.unwrap();
    found
}

async fn pauses_and_overrides_stay_until_the_budget_leaves(database: &Database) {
    sync(database, &[budget("a")], NOON).await;
    let one = Override { limit: usd("7"), since: NOON, until: NOON.plus_millis(9), reason: "launch".to_owned() };
    let mut tx = database.store.write().await.unwrap();
    budget_terms::set_paused(&mut tx, &name("a"), Some(NOON)).await.unwrap();
    budget_terms::set_override(&mut tx, &name("a"), &one).await.unwrap();
    tx.commit().await.unwrap();
    // Another definition leaves them.
    sync(database, &[Budget { limit: usd("8"), ..budget("a") }], NOON.plus_millis(1)).await;
    let terms = stored(database, "a").await.terms;
    assert_eq!((terms.paused_at, terms.overridden.as_ref()), (Some(NOON), Some(&one)));
    let mut tx = database.store.write().await.unwrap();
    budget_terms::set_paused(&mut tx, &name("a"), None).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(stored(database, "a").await.terms.paused_at, None);
    sync(database, &[], NOON.plus_millis(2)).await;
    sync(database, &[budget("a")], NOON.plus_millis(3)).await;
    assert_eq!(stored(database, "a").await.terms, Terms::default(), "one that returns begins anew");
}

async fn a_sync_says_what_is_another_and_since_when_it_counts_so(database: &Database) {
    let at = |n: i64| NOON.plus_millis(n);
    let synced = async |wanted: &[Budget], now: Timestamp| {
        let mut tx = database.store.write().await.unwrap();
        let differences = budgets::sync(&mut tx, wanted, now).await.unwrap();
        tx.commit().await.unwrap();
        differences
    };
    let (a, b) = (budget("a"), budget("b"));
    let actions = |differences: &[Difference]| {
        differences.iter().map(|one| (one.name.to_string(), one.action())).collect::<Vec<_>>()
    };
    let made = synced(&[b.clone(), a.clone()], at(0)).await;
    assert_eq!(actions(&made), [("a".to_owned(), Action::Made), ("b".to_owned(), Action::Made)]);
    assert!(synced(&[a.clone(), b.clone()], at(1)).await.is_empty());
    let raised = Budget { limit: usd("1"), ..a.clone() };
    let changed = synced(std::slice::from_ref(&raised), at(2)).await;
    assert_eq!(actions(&changed), [("a".to_owned(), Action::Changed), ("b".to_owned(), Action::Removed)]);
    assert_eq!((changed[0].before.as_ref(), changed[0].after.as_ref()), (Some(&a), Some(&raised)));
    let found = stored(database, "a").await;
    assert_eq!((found.defined_at, found.shaped_at), (at(2), at(0)), "another limit counts the same calls");
    let cut = Budget { billing_day: BillingDay::try_from(15).unwrap(), ..raised };
    synced(std::slice::from_ref(&cut), at(3)).await;
    let found = stored(database, "a").await;
    assert_eq!((found.defined_at, found.shaped_at, &found.budget), (at(3), at(3), &cut));
}

async fn top_ups_are_summed_by_their_window_and_made_once(database: &Database) {
    let at = |n: i64| NOON.plus_millis(n);
    let mut tx = database.store.write().await.unwrap();
    for (id, of, n, amount, is_new) in [
        ("1", "a", 0, "2.50", true),
        ("1", "a", 1, "2.50", false),
        ("2", "a", 9, "-0.50", true),
        ("3", "a", 10, "9000000", true),
        ("4", "b", 5, "7", true),
    ] {
        let added = budget_terms::top_up(&mut tx, id, &name(of), at(n), usd(amount)).await.unwrap();
        assert_eq!(added, is_new, "{id}");
    }
    let window = |start: i64, end: Option<i64>| Window { start: at(start), end: end.map(at) };
    for (window, sum) in [
        (window(0, Some(10)), "2"),
        (window(10, Some(20)), "9000000"),
        (window(20, None), "0"),
        (window(0, None), "9000002"),
    ] {
        assert_eq!(budget_terms::topped_up(&mut tx, &name("a"), &window).await.unwrap(), usd(sum), "{window:?}");
    }
}

async fn what_rolled_over_is_kept_once(database: &Database) {
    let (a, later) = (name("a"), NOON.plus_millis(1));
    let mut tx = database.store.write().await.unwrap();
    assert_eq!(budget_terms::rolled_over(&mut tx, &a, NOON).await.unwrap(), None);
    for (start, amount) in [(NOON, "3"), (NOON, "4"), (later, "5")] {
        budget_terms::roll_over(&mut tx, &a, start, usd(amount)).await.unwrap();
    }
    assert_eq!(budget_terms::rolled_over(&mut tx, &a, NOON).await.unwrap(), Some(usd("3")));
    budget_terms::forget_rollovers(&mut tx, &a, Some(later)).await.unwrap();
    assert_eq!(budget_terms::rolled_over(&mut tx, &a, NOON).await.unwrap(), None);
    assert_eq!(budget_terms::rolled_over(&mut tx, &a, later).await.unwrap(), Some(usd("5")));
    budget_terms::forget_rollovers(&mut tx, &a, None).await.unwrap();
    assert_eq!(budget_terms::rolled_over(&mut tx, &a, later).await.unwrap(), None);
}

async fn our_own_budgets_are_kept_beside_those_in_force(database: &Database) {
    let own = |name: &str, limit| Budget { origin: Origin::Own, limit: usd(limit), ..budget(name) };
    let mut tx = database.store.write().await.unwrap();
    for budget in [own("b", "1"), own("a", "2"), own("b", "3")] {
        budget_terms::save_own(&mut tx, &budget).await.unwrap();
    }
    assert_eq!(budget_terms::own(&mut tx).await.unwrap(), [own("a", "2"), own("b", "3")]);
    assert!(budget_terms::delete_own(&mut tx, &name("a")).await.unwrap());
    assert!(!budget_terms::delete_own(&mut tx, &name("a")).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(budget_terms::read_own(&database.store).await.unwrap(), [own("b", "3")]);
}

async fn the_trail_is_read_back_page_by_page(database: &Database) {
    let entry = |of: &str, n: i64, action: Action| Entry {
        at: NOON.plus_millis(n),
        budget: name(of),
        action,
        by: Actor::new(Door::Page, "local"),
        before: (action == Action::Changed).then(|| budget(of)),
        after: (action != Action::OverrideEnded).then(|| Budget { limit: usd("0.5"), ..budget(of) }),
        limit_before: Some(usd("500")),
        limit_after: None,
        note: format!("n{n}"),
    };
    let entries = [
        entry("a", 0, Action::Made),
        entry("b", 1, Action::Made),
        entry("a", 2, Action::Changed),
        entry("a", 1, Action::OverrideEnded),
    ];
    assert_eq!(budget_changes::last(&database.store).await.unwrap(), 0);
    let mut tx = database.store.write().await.unwrap();
    for one in &entries {
        assert!(budget_changes::record(&mut tx, one, true).await.unwrap());
        assert!(!budget_changes::record(&mut tx, one, true).await.unwrap(), "once");
    }
    assert!(budget_changes::record(&mut tx, &entries[0], false).await.unwrap(), "twice, if asked for");
    tx.commit().await.unwrap();
    assert_eq!(budget_changes::last(&database.store).await.unwrap(), 5);
    let page = async |of: Option<&str>, before, limit| {
        let of = of.map(name);
        let page = budget_changes::page(&database.store, of.as_ref(), before, limit).await.unwrap();
        page.into_iter().map(|one| (one.seq, one.entry)).collect::<Vec<_>>()
    };
    assert_eq!(page(None, None, 2).await, [(5, entries[0].clone()), (4, entries[3].clone())]);
    assert_eq!(page(None, Some(3), 9).await, [(2, entries[1].clone()), (1, entries[0].clone())]);
    assert_eq!(page(Some("a"), Some(4), 1).await, [(3, entries[2].clone())]);
    assert!(page(Some("c"), None, 9).await.is_empty());

    let mut tx = database.store.write().await.unwrap();
    let then = |n: i64| NOON.plus_millis(n);
    assert_eq!(budget_changes::definition_at(&mut tx, &name("b"), then(0)).await.unwrap(), None);
    let found = budget_changes::definition_at(&mut tx, &name("b"), then(1)).await.unwrap();
    assert_eq!(found, entries[1].after);
    // What is old goes; the last of each budget stays, and the definition by which the rest is judged.
    assert_eq!(budget_changes::forget(&mut tx, then(0)).await.unwrap(), 0);
    assert_eq!(budget_changes::forget(&mut tx, then(10)).await.unwrap(), 3);
    assert_eq!(budget_changes::forget(&mut tx, then(10)).await.unwrap(), 0);
    assert_eq!(budget_changes::definition_at(&mut tx, &name("a"), then(9)).await.unwrap(), entries[0].after);
    assert_eq!(budget_changes::definition_at(&mut tx, &name("b"), then(9)).await.unwrap(), entries[1].after);
    tx.commit().await.unwrap();
    assert_eq!(budget_changes::last(&database.store).await.unwrap(), 5, "others see no change in it");
    assert_eq!(page(None, None, 9).await.len(), 2);
}
