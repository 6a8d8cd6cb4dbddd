//! Forecasts on spend that was invented with a known end: whether the band holds what comes as often as it says, and how far
//! the figure is off beside a straight line's.
//!
//! The rules in `domain/forecast/` were tuned on the family `Tuned`. What is asserted is said of the family `Held`, which
//! makes spend in other ways, and of seeds that tuning never saw. `just backtest` asks many more and prints the table that
//! docs/forecasts.md shows.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "invented spend of bounded size"
)]

mod generate;
mod score;

use generate::{Family, Pattern};
use score::{Score, after_a_step, mean, score};
use tallyd::domain::forecast;
use tallyd::domain::money::{Money, Total};
use tallyd::domain::time::Timestamp;
use tallyd::domain::window::{Window, WindowKind};

/// Set, so many series of each pattern are forecast.
const SERIES: &str = "TEST_SERIES";

/// The first seed that nothing was tuned on.
const FRESH: u64 = 10_000;

const KINDS: [WindowKind; 3] = [WindowKind::Day, WindowKind::Week, WindowKind::Month];

fn series() -> u64 {
    std::env::var(SERIES).map_or(24, |text| text.parse().unwrap())
}

/// A row of the table.
fn row(what: &str, score: &Score) {
    println!(
        "| {what} | {} | {:.0} % | {:.1} % | {:.1} % | {:.0} % |",
        score.answered,
        100.0 * score.coverage(),
        100.0 * mean(&score.ours),
        100.0 * mean(&score.straight),
        100.0 * mean(&score.widths),
    );
}

fn head(title: &str) {
    println!("\n| {title} | forecasts | came within the band | error | error of a straight line | width of the band |");
    println!("|---|---:|---:|---:|---:|---:|");
}

#[test]
fn the_band_holds_what_it_says_for_each_pattern() {
    let seeds = FRESH..FRESH + series();
    let mut wrong = Vec::new();
    for family in [Family::Held, Family::Tuned] {
        head(if family == Family::Held { "judged" } else { "tuned on" });
        for pattern in Pattern::ALL {
            let mut all = Score::default();
            for kind in KINDS {
                let of_kind = score(family, pattern, kind, seeds.clone(), 6);
                row(&format!("{pattern:?}, {kind}"), &of_kind);
                all.add(&of_kind);
            }
            row(&format!("**{pattern:?}**"), &all);
            let young = pattern == Pattern::Young;
            assert_eq!(all.profiles, if young { 0 } else { all.answered });
            assert!(all.answered * 100 >= all.asked * if young { 70 } else { 100 }, "{family:?} {pattern:?}: {all:?}");
            // A stock of errors stands in for what few days have not shown: the band is rather too wide than too narrow.
            let most = if young { 0.95 } else { 0.90 };
            if !(0.70..=most).contains(&all.coverage()) {
                wrong.push(format!("{family:?} {pattern:?}: covered {:.3}", all.coverage()));
            }
            if mean(&all.ours) > mean(&all.straight) {
                wrong.push(format!("{family:?} {pattern:?}: a straight line is nearer"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_new_step_is_missed_at_first_and_followed_within_two_weeks() {
    let seeds = FRESH..FRESH + series();
    head("a month in which spend doubles");
    let at = |days: i64| {
        let score = after_a_step(days, seeds.clone());
        row(&if days < 0 { "the day before".to_owned() } else { format!("{days} days after") }, &score);
        score
    };
    let scores = [-1, 0, 1, 2, 3, 5, 7, 10, 14].map(at);
    assert!(scores[0].coverage() < 0.2, "nobody knows of a step that is to come");
    assert!(scores[8].coverage() >= 0.6 && mean(&scores[8].ours) < mean(&scores[2].ours) / 2.0);
    assert!(
        scores[3..].iter().all(|score| mean(&score.ours) < mean(&score.straight)),
        "never slower than a straight line"
    );
}
