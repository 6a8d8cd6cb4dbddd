//! docs/sql.md tells the truth: the views have its columns, and its questions are answered as it says.

use std::time::Duration;

use serde_json::json;
use tallyd::app::demo::{self, Past};
use tallyd::clock::{Clock, Entropy};
use tallyd::domain::table::Cell;
use tallyd::domain::time::Timestamp;
use tallyd::report::manual::manual;
use tallyd::report::output::{self, Format};
use tallyd::store::console::{self, Question, SqlLimits, Value};

use super::{Console, NOWHERE, asked_of_both_engines};
use crate::store::engines::on_a_postgres_of_its_own;
use crate::support::installation::Installation;
use crate::support::running::Running;

/// When the document's questions are asked, of how many calls, and the values of its parameters.
const NOW: &str = "2026-11-19T14:32:00Z";
const CALLS: u32 = 20_000;
const SINCE: &str = "2026-11-01";
const SINCE_MS: i64 = 1_793_491_200_000;

/// How far the engines may be apart where one rounds a float and the other an exact number.
const ROUNDING: f64 = 0.011;

asked_of_both_engines! {
    "";
    every_column_is_told_of_in_its_order
}

async fn every_column_is_told_of_in_its_order(console: &Console) {
    for view in &manual().views {
        let reply = console.ask_with(&format!("SELECT * FROM {}", view.name), json!({})).await;
        let told: Vec<&str> = view.columns.iter().map(|column| column.name).collect();
        assert_eq!(reply.json()["columns"], json!(told), "{}", view.name);
    }
}

/// A database with the past of the demonstration's company.
async fn filled(at: &Installation) {
    let clock = Clock::manual(Timestamp::parse(NOW).unwrap());
    let running = Running::start(at, &clock).await;
    let past = Past { completions: CALLS, ..Past::default() };
    demo::fill(running.ledger(), &Entropy::seeded(3), clock.now(), past, |_| ()).await.unwrap();
    running.stop().await;
}

/// What each question is answered.
async fn answers(at: &Installation) -> Vec<tallyd::domain::table::Table> {
    let url = at.config().database.url();
    let limits = SqlLimits { time: Duration::from_mins(2), ..SqlLimits::default() };
    let parameters = vec![("since".to_owned(), Value::typed(SINCE)), ("since_ms".to_owned(), Value::Integer(SINCE_MS))];
    let asking = console::Console::new(&url, None, limits, Clock::system()).unwrap();
    let mut tables = Vec::new();
    for question in &manual().questions {
        let asked = Question { query: question.query.to_owned(), parameters: parameters.clone() };
        let answer = asking.ask(&asked).await;
        tables.push(answer.unwrap_or_else(|error| panic!("{}: {error}", question.asked)).table);
    }
    tables
}

/// The answer that stands in the document.
fn written(asked: &str) -> String {
    let text = std::fs::read_to_string("docs/sql.md").unwrap();
    let section = text.split("\n### ").find(|section| section.starts_with(asked)).unwrap();
    let answer = section.split("```text\n").nth(1).unwrap();
    answer.split("\n```").next().unwrap().to_owned()
}

fn printed(table: &tallyd::domain::table::Table) -> String {
    let mut out = Vec::new();
    output::write(table, Format::Table, &mut out).unwrap();
    let lines: Vec<String> = String::from_utf8(out).unwrap().lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_questions_are_answered_as_the_document_says() {
    let at = Installation::new(NOWHERE, demo::BUDGETS);
    filled(&at).await;
    let ours = answers(&at).await;
    let mut wrong = Vec::new();
    for (question, table) in manual().questions.iter().zip(&ours) {
        assert!(!table.rows.is_empty() && table.cut.is_none(), "{}: {table:?}", question.asked);
        let printed = printed(table);
        if printed != written(&question.asked) {
            wrong.push(format!("\u{1e}{}\u{1f}{printed}", question.asked));
        }
    }
    assert!(wrong.is_empty(), "docs/sql.md answers otherwise: {}", wrong.concat());
    on_a_postgres_of_its_own("sql_questions", async |url| {
        let at = Installation::on(url, NOWHERE, demo::BUDGETS);
        filled(&at).await;
        let theirs = answers(&at).await;
        for (question, (ours, theirs)) in manual().questions.iter().zip(ours.iter().zip(&theirs)) {
            assert_eq!(ours.columns, theirs.columns, "{}", question.asked);
            assert_eq!(ours.rows.len(), theirs.rows.len(), "{}: {ours:?} {theirs:?}", question.asked);
            for (ours, theirs) in ours.rows.iter().flatten().zip(theirs.rows.iter().flatten()) {
                assert!(agree(ours, theirs), "{}: {ours:?} {theirs:?}", question.asked);
            }
        }
    })
    .await;
}

fn agree(ours: &Cell, theirs: &Cell) -> bool {
    let number = |cell: &Cell| match cell {
        #[expect(clippy::cast_precision_loss, reason = "compared roughly")]
        Cell::Integer(number) => Some(*number as f64),
        Cell::Real(number) => Some(*number),
        Cell::Decimal(text) => text.parse::<f64>().ok(),
        _ => None,
    };
    match (number(ours), number(theirs)) {
        (Some(ours), Some(theirs)) => (ours - theirs).abs() <= ROUNDING,
        _ => ours == theirs,
    }
}
