//! docs/sql.md, read: the views and what their columns mean, and the questions that it answers.
//!
//! The page SQL shows what the document says, and nothing else is written about a column anywhere.

use std::sync::LazyLock;

/// The document.
const TEXT: &str = include_str!("../../docs/sql.md");

/// The head of a table of columns.
const COLUMNS: &str = "| column |";

/// The section of questions.
const QUESTIONS: &str = "Twenty questions";

/// What the document tells.
#[derive(Clone, Debug, Default)]
pub struct Manual {
    /// The views, in its order.
    pub views: Vec<View>,
    /// The questions, in its order.
    pub questions: Vec<Question>,
}

/// A view.
#[derive(Clone, Debug)]
pub struct View {
    /// Its name.
    pub name: &'static str,
    /// What a row of it is, as plain text.
    pub about: String,
    /// Its columns, in their order.
    pub columns: Vec<Column>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type, and unit.
    pub kind: &'static str,
    /// When it is NULL; `-`: never.
    pub null: String,
    /// What it means, as plain text.
    pub means: String,
}

/// A question that people ask; its answer on the demonstration's data stands in the document alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// In words.
    pub asked: String,
    /// In SQL, for either engine.
    pub query: &'static str,
}

/// The document, read once.
pub fn manual() -> &'static Manual {
    static MANUAL: LazyLock<Manual> = LazyLock::new(|| read(TEXT));
    &MANUAL
}

fn read(text: &'static str) -> Manual {
    let mut manual = Manual::default();
    for section in text.split("\n## ").skip(1) {
        let (title, body) = section.split_once('\n').unwrap_or((section, ""));
        if title == QUESTIONS {
            manual.questions = body.split("\n### ").skip(1).filter_map(question).collect();
        } else if let Some((before, table)) = body.split_once(COLUMNS) {
            let about = before.trim().split("\n\n").next().unwrap_or_default();
            let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
            manual.views.push(View { name: title, about: plain(about), columns: rows.flat_map(columns).collect() });
        }
    }
    manual
}

/// The columns of a row of the table: those that are alike share one.
fn columns(row: &'static str) -> Vec<Column> {
    let cells: Vec<&'static str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
    let [names, kind, null, means] = cells[..] else { return Vec::new() };
    let column = |name| Column { name, kind, null: plain(null), means: plain(means) };
    names.split('`').skip(1).step_by(2).map(column).collect()
}

fn question(section: &'static str) -> Option<Question> {
    let (asked, rest) = section.split_once('\n')?;
    Some(Question { asked: plain(asked), query: fenced(rest, "```sql\n")? })
}

fn fenced(text: &'static str, fence: &str) -> Option<&'static str> {
    text.split_once(fence)?.1.split_once("\n```").map(|(code, _)| code)
}

/// Markdown as plain text: without marks of code and strength, links as their words.
fn plain(markdown: &str) -> String {
    let mut out = String::with_capacity(markdown.len());
    let mut rest = markdown;
    while let Some((before, link)) = rest.split_once('[') {
        out.push_str(before);
        let parts = link.split_once("](").and_then(|(words, target)| Some((words, target.split_once(')')?.1)));
        let (words, after) = parts.unwrap_or(("[", link));
        out.push_str(words);
        rest = after;
    }
    out.push_str(rest);
    out.replace(['`', '*'], "").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::console::VIEWS;

    #[test]
    fn the_document_tells_of_every_view() {
        let names: Vec<&str> = manual().views.iter().map(|view| view.name).collect();
        assert_eq!(names, VIEWS);
        for view in &manual().views {
            assert!(!view.about.is_empty() && view.columns.len() >= 3, "{view:?}");
            for column in &view.columns {
                assert!(!column.kind.is_empty() && !column.null.is_empty() && !column.means.is_empty(), "{column:?}");
            }
        }
    }

    #[test]
    fn it_answers_twenty_questions() {
        assert_eq!(manual().questions.len(), 20);
        for question in &manual().questions {
            assert!(question.asked.ends_with('?'), "{question:?}");
        }
    }

    #[test]
    fn markdown_becomes_text() {
        assert_eq!(plain("**a** `b` [c](d.md) [e] (f)\ng"), "a b c [e] (f) g");
    }
}
