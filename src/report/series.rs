//! Spend over time by name: the names that matter most, the rest together, and which colour each has.

use std::collections::BTreeMap;

use super::range::Stretch;
use crate::domain::ids;
use crate::domain::money::Total;
use crate::store::rollups::{Sums, TotalsRow};

/// Names in a chart before it is opened, and once it is.
pub const TOP: usize = 6;

/// Names in a chart that was opened; as many colours there are, less one.
pub const TOP_OPEN: usize = 9;

/// Colours there are for names; colour 0 is that of "others".
const COLOURS: usize = 10;

/// One name's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// The name; `None` where rows name none.
    pub name: Option<String>,
    /// How many names it stands for: 1, or more for "others".
    pub names: usize,
    /// 1 to 10, or 0 for "others" and what no colour is left for.
    pub colour: usize,
    /// Its sums over the whole time.
    pub sums: Sums,
    /// Its cost in each step.
    pub costs: Vec<Total>,
    /// Its cost in the time before.
    pub before: Total,
}

/// Spend over time, parted by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// The time.
    pub stretch: Stretch,
    /// Highest cost first; "others" last.
    pub series: Vec<Series>,
    /// Whether several names are put together as "others".
    pub has_others: bool,
    /// All of it, step by step.
    pub steps: Vec<Sums>,
    /// All of it.
    pub total: Sums,
    /// All of the time before.
    pub before: Total,
}

impl Series {
    /// Whether it stands for several names.
    pub fn is_others(&self) -> bool {
        self.names > 1
    }
}

/// Puts rows grouped by one name into series: the `top` highest, and the rest together.
///
/// `rows` are by step of `stretch`, `before` are of the time before; both by the same name.
pub fn stack(stretch: Stretch, rows: &[TotalsRow], before: &[TotalsRow], top: usize) -> Stack {
    let count = stretch.steps.len();
    let mut by_name: BTreeMap<Option<String>, Series> = BTreeMap::new();
    let mut steps = vec![Sums::default(); count];
    let mut total = Sums::default();
    for row in rows.iter().filter(|row| row.span < count) {
        let name = row.keys.first().cloned().flatten();
        let series = by_name.entry(name.clone()).or_insert_with(|| Series::new(name, count));
        series.sums.add(&row.sums);
        series.costs[row.span] += row.sums.cost;
        steps[row.span].add(&row.sums);
        total.add(&row.sums);
    }
    let mut before_total = Total::ZERO;
    for row in before {
        before_total += row.sums.cost;
        let name = row.keys.first().cloned().flatten();
        if let Some(series) = by_name.get_mut(&name) {
            series.before += row.sums.cost;
        }
    }
    let mut series: Vec<Series> = by_name.into_values().collect();
    series.sort_by(|a, b| (b.sums.cost, b.sums.completions, &a.name).cmp(&(a.sums.cost, a.sums.completions, &b.name)));
    // One name is never put together with itself.
    let has_others = series.len() > top + 1;
    if has_others {
        let rest = series.split_off(top);
        series.push(Series::together(rest, count));
    }
    colour(&mut series);
    Stack { stretch, series, has_others, steps, total, before: before_total }
}

impl Series {
    fn new(name: Option<String>, count: usize) -> Self {
        Self { name, names: 1, colour: 0, sums: Sums::default(), costs: vec![Total::ZERO; count], before: Total::ZERO }
    }

    fn together(rest: Vec<Self>, count: usize) -> Self {
        let mut all = Self { names: rest.len(), ..Self::new(None, count) };
        for one in rest {
            all.sums.add(&one.sums);
            all.before += one.before;
            for (sum, cost) in all.costs.iter_mut().zip(one.costs) {
                *sum += cost;
            }
        }
        all
    }
}

/// A name has its colour by its hash, so that it keeps it from day to day; of two that collide the one with
/// less spend takes the next free colour.
fn colour(series: &mut [Series]) {
    let mut taken = [false; COLOURS];
    for one in series.iter_mut().filter(|one| !one.is_others()) {
        let wanted = slot(one.name.as_deref().unwrap_or_default());
        let free = (0..COLOURS).map(|step| (wanted + step) % COLOURS).find(|slot| !taken[*slot]);
        if let Some(slot) = free {
            taken[slot] = true;
            one.colour = slot + 1;
        }
    }
}

fn slot(name: &str) -> usize {
    let hash = ids::short_hash(name);
    let byte = u8::from_str_radix(hash.get(..2).unwrap_or_default(), 16).unwrap_or(0);
    usize::from(byte) % COLOURS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;
    use crate::report::range::Range;

    fn row(span: usize, name: &str, picos: i128) -> TotalsRow {
        let sums = Sums { completions: 1, cost: Total::from_picos(picos), ..Sums::default() };
        TotalsRow { span, keys: vec![Some(name.to_owned())], sums }
    }

    #[test]
    fn the_rest_stands_together_and_nothing_is_lost() {
        let stretch = Range::Week.at(Timestamp(1_795_000_000_000), chrono_tz::UTC).unwrap();
        let rows: Vec<TotalsRow> =
            (0..12_i128).map(|n| row(usize::try_from(n % 7).unwrap(), &format!("m{n}"), 100 - n)).collect();
        let before = [row(0, "m0", 7), row(0, "gone", 5)];
        let stack = stack(stretch, &rows, &before, 3);
        assert!(stack.has_others);
        assert_eq!(stack.series.iter().map(|series| series.names).collect::<Vec<_>>(), [1, 1, 1, 9]);
        assert_eq!(stack.series.iter().map(|series| series.sums.cost).sum::<Total>(), stack.total.cost);
        assert_eq!((stack.series[0].before, stack.before), (Total::from_picos(7), Total::from_picos(12)));
        assert_eq!(stack.series[3].colour, 0);
        let mut colours: Vec<usize> = stack.series[..3].iter().map(|series| series.colour).collect();
        colours.sort_unstable();
        colours.dedup();
        assert_eq!(colours.len(), 3, "two names on one chart never share a colour");
        assert!(colours.iter().all(|colour| (1..=10).contains(colour)));
    }

    #[test]
    fn one_more_name_than_fits_is_shown_rather_than_called_others() {
        let stretch = Range::Week.at(Timestamp(1_795_000_000_000), chrono_tz::UTC).unwrap();
        let rows: Vec<TotalsRow> = (0..4_i128).map(|n| row(0, &format!("m{n}"), 9 - n)).collect();
        let stack = stack(stretch, &rows, &[], 3);
        assert_eq!((stack.has_others, stack.series.len()), (false, 4));
    }
}
