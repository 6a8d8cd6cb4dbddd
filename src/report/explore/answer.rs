//! The answer: groups, the highest first, each over the whole time, step by step, and in the time before.

use std::collections::BTreeMap;

use chrono_tz::Tz;

use super::measure::{Kind, Measure};
use super::question::{Period, Problem, Question, Sort};
use crate::domain::money::Total;
use crate::domain::rollup::Histogram;
use crate::domain::time::Timestamp;
use crate::report::series::{Gathering, Keys, Merge, Series, Stack};
use crate::report::timeline::Between;
use crate::store::explore::{self, MAX_ROWS, Timing};
use crate::store::rollups::{Sums, TotalsQuery};
use crate::store::{Store, StoreError};

/// Most steps of groups that an answer is gathered from: some 100 MB at worst.
pub const MAX_CELLS: usize = 300_000;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExploreError {
    /// The question can not be answered; what to ask instead.
    #[error("{0}")]
    Question(Problem),
    /// The database could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One group, the others together, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The values that its rows have in common, in the order of the question; nothing for "others" and for all.
    pub keys: Keys,
    /// How many groups it stands for.
    pub names: usize,
    /// 1 to 10, or 0 for "others" and what no colour is left for.
    pub colour: usize,
    /// Sums over the whole time; of a spread nothing.
    pub sums: Sums,
    /// What is measured, over the whole time, in the measure's unit; `None`: not known, or nothing was measured. Of a spread
    /// the percentile that is drawn.
    pub value: Option<i128>,
    /// The percentiles of a spread, in the measure's order.
    pub percentiles: [Option<i128>; 3],
    /// How many values a spread has.
    pub measured: i64,
    /// What is measured in each step; `None`: nothing was.
    pub steps: Vec<Option<i128>>,
    /// What was measured in the time before.
    pub before: Option<i128>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What was asked.
    pub question: Question,
    /// Over which time.
    pub period: Period,
    /// The groups in the order asked for; "others" last.
    pub groups: Vec<Group>,
    /// Whether several groups are put together as "others".
    pub has_others: bool,
    /// All of them together.
    pub total: Group,
    /// The percentiles of all, step by step, in the measure's order; of sums nothing.
    pub courses: Vec<Vec<Option<i128>>>,
    /// What all was in the steps of the time before; nothing where nobody asked for it.
    pub before_steps: Vec<Option<i128>>,
    /// How much of each step's cost is not settled.
    pub inline: Vec<Total>,
    /// The first call there is.
    pub first: Option<Timestamp>,
}

impl Group {
    /// Whether it stands for several groups.
    pub fn is_others(&self) -> bool {
        self.names > 1
    }
}

impl Answer {
    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// What is measured.
    pub fn measure(&self) -> Measure {
        self.question.measure
    }
}

/// Answers `question` at `now`; dates without a zone of their own are in that of pages.
pub async fn answer(store: &Store, question: &Question, now: Timestamp, pages: Tz) -> Result<Answer, ExploreError> {
    let period = question.period(now, pages).map_err(ExploreError::Question)?;
    let query = question.query(period.steps.clone()).map_err(ExploreError::Question)?;
    let before =
        TotalsQuery { spans: if question.compare { period.before.clone() } else { Vec::new() }, ..query.clone() };
    let kind = question.measure.kind();
    if !query.is_of_cells() || !before.is_of_cells() {
        affordable(store, question, &period).await?;
    }
    let first = explore::first(store).await?;
    let mut answer = match kind {
        Kind::Sum => sums(store, question, period, &query, &before).await?,
        Kind::Spread(timing) => spreads(store, question, period, &query, &before, timing).await?,
    };
    answer.first = first;
    sort(&mut answer.groups, question.measure, question.sorted_by());
    Ok(answer)
}

/// Refuses what would read too many rows.
async fn affordable(store: &Store, question: &Question, period: &Period) -> Result<(), ExploreError> {
    let since = match period.before_ends() {
        Some((since, _)) if question.compare => since,
        _ => period.since,
    };
    if explore::rows(store, since, period.until).await? > MAX_ROWS {
        return Err(ExploreError::Question(format!(
            "That takes more than {} calls to read one by one. Choose a shorter time, or leave the comparison out; what is \
             asked by model, provider, app, key and endpoint in steps of 15 minutes and more is summed already, whatever the \
             time.",
            crate::report::format::count(MAX_ROWS)
        )));
    }
    Ok(())
}

/// What is gathered of the time before.
struct Before<W> {
    by_group: BTreeMap<Keys, W>,
    steps: Vec<W>,
}

impl<W: Merge> Before<W> {
    fn over(steps: usize) -> Self {
        Self { by_group: BTreeMap::new(), steps: vec![W::default(); steps] }
    }

    fn add(&mut self, keys: Keys, step: usize, whole: &W) {
        self.by_group.entry(keys).or_default().merge(whole);
        if let Some(of_step) = self.steps.get_mut(step) {
            of_step.merge(whole);
        }
    }
}

/// Puts both times together, or says that there is too much.
fn stacked<W: Merge, S: Merge, R: Ord>(
    mut gathering: Gathering<W, S>,
    before: &Before<W>,
    question: &Question,
    rank: impl Fn(&W) -> R,
) -> Result<Stack<W, S>, ExploreError> {
    if gathering.cells() >= MAX_CELLS || before.by_group.len() >= MAX_CELLS {
        return Err(ExploreError::Question(
            "That makes too many groups over too many steps. Choose a longer step, a shorter time or one thing to group by, \
             or narrow it down by a filter."
                .to_owned(),
        ));
    }
    for (keys, whole) in &before.by_group {
        gathering.add_before(keys, whole);
    }
    // Without a name to group by there is one group, which is all.
    Ok(gathering.stack(question.top, rank))
}

async fn sums(
    store: &Store,
    question: &Question,
    period: Period,
    query: &TotalsQuery,
    before: &TotalsQuery,
) -> Result<Answer, ExploreError> {
    let measure = question.measure;
    let mut now = Gathering::<Sums, i128>::over(period.steps.len());
    let mut then = Before::<Sums>::over(before.spans.len());
    tokio::try_join!(
        explore::sums(store, query, |row| {
            if now.cells() < MAX_CELLS && row.sums != Sums::default() {
                now.add(question.ordered(row.keys), row.span, &row.sums, &measure.of(&row.sums));
            }
        }),
        explore::sums(store, before, |row| {
            if then.by_group.len() < MAX_CELLS {
                then.add(question.ordered(row.keys), row.span, &row.sums);
            }
        })
    )?;
    let rank = |sums: &Sums| (measure.of(sums), sums.completions, sums.failures);
    let stack = stacked(now, &then, question, rank)?;
    let figure = |sums: &Sums| (!is_unknown(measure, sums)).then(|| measure.of(sums));
    let group = |series: Series<Sums, i128>| Group {
        names: series.names,
        colour: series.colour,
        value: figure(&series.whole),
        percentiles: [None; 3],
        measured: 0,
        steps: series.steps.into_iter().map(Some).collect(),
        before: question.compare.then(|| figure(&series.before)).flatten(),
        sums: series.whole,
        keys: series.keys,
    };
    let total = Series {
        keys: Keys::new(),
        names: 1,
        colour: 0,
        whole: stack.total,
        steps: stack.steps.iter().map(|sums| measure.of(sums)).collect(),
        before: stack.before,
    };
    let is_spend = measure == Measure::Spend;
    Ok(Answer {
        question: question.clone(),
        has_others: stack.has_others,
        inline: stack.steps.iter().map(|sums| if is_spend { sums.inline_cost } else { Total::ZERO }).collect(),
        before_steps: then.steps.iter().map(|sums| Some(measure.of(sums))).collect(),
        courses: Vec::new(),
        groups: stack.series.into_iter().map(group).collect(),
        total: group(total),
        first: None,
        period,
    })
}

/// Whether not one cost is known of those that there are.
pub(super) fn is_unknown(measure: Measure, sums: &Sums) -> bool {
    measure == Measure::Spend && sums.unknown > 0 && sums.unknown == sums.completions
}

async fn spreads(
    store: &Store,
    question: &Question,
    period: Period,
    query: &TotalsQuery,
    before: &TotalsQuery,
    timing: Timing,
) -> Result<Answer, ExploreError> {
    let percents = question.measure.percentiles();
    let drawn = question.drawn_percentile();
    let mut now = Gathering::<Histogram, Histogram>::over(period.steps.len());
    let mut then = Before::<Histogram>::over(before.spans.len());
    tokio::try_join!(
        explore::spreads(store, query, timing, |row| {
            if now.cells() < MAX_CELLS {
                now.add(question.ordered(row.keys), row.span, &row.histogram, &row.histogram);
            }
        }),
        explore::spreads(store, before, timing, |row| {
            if then.by_group.len() < MAX_CELLS {
                then.add(question.ordered(row.keys), row.span, &row.histogram);
            }
        })
    )?;
    let stack = stacked(now, &then, question, Histogram::values)?;
    let of = |spread: &Histogram, percent: u8| spread.percentile(percent).map(i128::from);
    let group = |series: Series<Histogram, Histogram>| Group {
        names: series.names,
        colour: series.colour,
        sums: Sums::default(),
        value: of(&series.whole, drawn),
        percentiles: percents.map(|percent| of(&series.whole, percent)),
        measured: series.whole.values(),
        steps: series.steps.iter().map(|spread| of(spread, drawn)).collect(),
        before: question.compare.then(|| of(&series.before, drawn)).flatten(),
        keys: series.keys,
    };
    let courses = percents.map(|percent| stack.steps.iter().map(|spread| of(spread, percent)).collect());
    let total =
        Series { keys: Keys::new(), names: 1, colour: 0, whole: stack.total, steps: stack.steps, before: stack.before };
    Ok(Answer {
        question: question.clone(),
        has_others: stack.has_others,
        inline: vec![Total::ZERO; period.steps.len()],
        before_steps: then.steps.iter().map(|spread| of(spread, drawn)).collect(),
        courses: courses.into(),
        groups: stack.series.into_iter().map(group).collect(),
        total: group(total),
        first: None,
        period,
    })
}

/// Sorts the groups; "others" stay last, and what is unknown comes after all that is known.
fn sort(groups: &mut [Group], measure: Measure, sort: Sort) {
    groups.sort_by(|a, b| {
        let others = a.is_others().cmp(&b.is_others());
        let within = match sort.column {
            None if sort.reversed => b.keys.cmp(&a.keys),
            None => a.keys.cmp(&b.keys),
            Some(column) => {
                let (a, b) = (column.figure(measure, a), column.figure(measure, b));
                let known = a.is_none().cmp(&b.is_none());
                known.then(if sort.reversed { a.cmp(&b) } else { b.cmp(&a) })
            }
        };
        others.then(within)
    });
}

/// The steps in which nothing can have been recorded yet, as there was no call before.
pub fn unrecorded(steps: &[Between], first: Option<Timestamp>) -> usize {
    first.map_or(0, |first| steps.iter().take_while(|(_, end)| *end <= first).count())
}
