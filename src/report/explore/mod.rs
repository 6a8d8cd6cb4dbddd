//! Explore: one measure, grouped by up to two names, over any time in any step, narrowed down by filters.
//!
//! A question is read from the pairs of a URL and written back in one way alone ([`Question::pairs`]), so that a page, a saved
//! view, an export and a link are the same question. Sums come from [`crate::store::explore`], which takes them from where
//! `tallyd report` and `/tally/v1/spend` have theirs: for the same question they are the same to the last digit.

mod answer;
mod measure;
mod question;
mod tables;

pub use answer::{Answer, ExploreError, Group, MAX_CELLS, answer, unrecorded};
pub use measure::{Kind, Measure};
pub use question::{By, MAX_BY, Period, Problem, Question, Shape, Sort, TOPS, Time};
pub use tables::{Column, by_group, by_step, columns, of_all};
