//! What rows come to over time by name: the names that matter most, the rest together, and which colour each has.

use std::collections::BTreeMap;

use crate::domain::ids;
use crate::domain::money::Total;
use crate::domain::rollup::Histogram;
use crate::store::rollups::{Sums, TotalsRow};

/// Names in a chart before it is opened.
pub const TOP: usize = 6;

/// Names in a chart that was opened; as many colours there are, less one.
pub const TOP_OPEN: usize = 9;

/// Colours there are for names; colour 0 is that of "others".
const COLOURS: usize = 10;

/// The values that a group's rows have in common; `None` where they name none.
pub type Keys = Vec<Option<String>>;

/// What can be put together.
pub trait Merge: Clone + Default {
    /// Takes over what `other` holds.
    fn merge(&mut self, other: &Self);
}

impl Merge for Sums {
    fn merge(&mut self, other: &Self) {
        self.add(other);
    }
}

impl Merge for Histogram {
    fn merge(&mut self, other: &Self) {
        self.add(other);
    }
}

impl Merge for i128 {
    fn merge(&mut self, other: &Self) {
        *self = self.saturating_add(*other);
    }
}

impl Merge for Total {
    fn merge(&mut self, other: &Self) {
        *self += *other;
    }
}

/// One group's part: `W` of the whole time, `S` of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series<W, S> {
    /// What its rows have in common; nothing for "others".
    pub keys: Keys,
    /// How many groups it stands for: 1, or more for "others".
    pub names: usize,
    /// 1 to 10, or 0 for "others" and what no colour is left for.
    pub colour: usize,
    /// Over the whole time.
    pub whole: W,
    /// In each step.
    pub steps: Vec<S>,
    /// Over the time before.
    pub before: W,
}

impl<W, S> Series<W, S> {
    /// Whether it stands for several groups.
    pub fn is_others(&self) -> bool {
        self.names > 1
    }

    /// The first of its keys.
    pub fn name(&self) -> Option<&str> {
        self.keys.first().and_then(Option::as_deref)
    }
}

/// What was gathered, parted by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack<W, S> {
    /// The highest first; "others" last.
    pub series: Vec<Series<W, S>>,
    /// Whether several names are put together as "others".
    pub has_others: bool,
    /// All of it, step by step.
    pub steps: Vec<W>,
    /// All of it.
    pub total: W,
    /// All of the time before.
    pub before: W,
}

#[derive(Clone, Debug, Default)]
struct Entry<W, S> {
    whole: W,
    /// By step, where there is anything: most names of many are seen in few steps.
    steps: BTreeMap<usize, S>,
    before: W,
}

/// Gathers parts of groups into [`Series`].
#[derive(Clone, Debug)]
pub struct Gathering<W, S> {
    groups: BTreeMap<Keys, Entry<W, S>>,
    steps: Vec<W>,
    total: W,
    before: W,
    /// Steps of groups that are held.
    cells: usize,
}

impl<W: Merge, S: Merge> Gathering<W, S> {
    /// Nothing yet, over so many steps.
    pub fn over(steps: usize) -> Self {
        Self {
            groups: BTreeMap::new(),
            steps: vec![W::default(); steps],
            total: W::default(),
            before: W::default(),
            cells: 0,
        }
    }

    /// A group's part in one step.
    pub fn add(&mut self, keys: Keys, step: usize, whole: &W, part: &S) {
        let Some(of_step) = self.steps.get_mut(step) else { return };
        of_step.merge(whole);
        self.total.merge(whole);
        let entry = self.groups.entry(keys).or_default();
        entry.whole.merge(whole);
        let cells = entry.steps.len();
        entry.steps.entry(step).or_default().merge(part);
        self.cells += entry.steps.len() - cells;
    }

    /// A group's part in the time before. One that is there no more counts in the total alone.
    pub fn add_before(&mut self, keys: &Keys, whole: &W) {
        self.before.merge(whole);
        if let Some(entry) = self.groups.get_mut(keys) {
            entry.before.merge(whole);
        }
    }

    /// How many steps of groups are held.
    pub fn cells(&self) -> usize {
        self.cells
    }

    /// Puts the groups into series: the `top` highest by `rank`, and the rest together.
    pub fn stack<R: Ord>(self, top: usize, rank: impl Fn(&W) -> R) -> Stack<W, S> {
        let count = self.steps.len();
        let mut groups: Vec<(Keys, Entry<W, S>)> = self.groups.into_iter().collect();
        groups.sort_by(|a, b| (rank(&b.1.whole), &a.0).cmp(&(rank(&a.1.whole), &b.0)));
        // One name is never put together with itself.
        let has_others = groups.len() > top + 1;
        let rest = if has_others { groups.split_off(top) } else { Vec::new() };
        let mut series: Vec<Series<W, S>> = groups.into_iter().map(|group| Series::alone(group, count)).collect();
        if has_others {
            series.push(Series::together(rest, count));
        }
        colour(&mut series);
        Stack { series, has_others, steps: self.steps, total: self.total, before: self.before }
    }
}

impl<W: Merge, S: Merge> Series<W, S> {
    fn alone((keys, entry): (Keys, Entry<W, S>), count: usize) -> Self {
        let mut steps = vec![S::default(); count];
        for (place, part) in entry.steps {
            if let Some(step) = steps.get_mut(place) {
                *step = part;
            }
        }
        Self { keys, names: 1, colour: 0, whole: entry.whole, steps, before: entry.before }
    }

    fn together(rest: Vec<(Keys, Entry<W, S>)>, count: usize) -> Self {
        let mut all = Self {
            keys: Keys::new(),
            names: rest.len(),
            colour: 0,
            whole: W::default(),
            steps: vec![S::default(); count],
            before: W::default(),
        };
        for (_, entry) in rest {
            all.whole.merge(&entry.whole);
            all.before.merge(&entry.before);
            for (place, part) in entry.steps {
                if let Some(step) = all.steps.get_mut(place) {
                    step.merge(&part);
                }
            }
        }
        all
    }
}

/// Costs over time by one name: the `top` dearest, and the rest together.
///
/// `rows` are by step, `before` are of the time before; both by the same name.
pub fn costs(count: usize, rows: &[TotalsRow], before: &[TotalsRow], top: usize) -> Stack<Sums, Total> {
    let mut gathering = Gathering::over(count);
    for row in rows {
        gathering.add(row.keys.clone(), row.span, &row.sums, &row.sums.cost);
    }
    for row in before {
        gathering.add_before(&row.keys, &row.sums);
    }
    gathering.stack(top, |sums| (sums.cost, sums.completions))
}

/// A name has its colour by its hash, so that it keeps it from day to day; of two that collide the one with
/// less takes the next free colour.
fn colour<W, S>(series: &mut [Series<W, S>]) {
    let mut taken = [false; COLOURS];
    for one in series.iter_mut().filter(|one| !one.is_others()) {
        let keys: Vec<&str> = one.keys.iter().map(|key| key.as_deref().unwrap_or_default()).collect();
        let wanted = slot(&keys.join("\0"));
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

    fn row(span: usize, name: &str, picos: i128) -> TotalsRow {
        let sums = Sums { completions: 1, cost: Total::from_picos(picos), ..Sums::default() };
        TotalsRow { span, keys: vec![Some(name.to_owned())], sums }
    }

    #[test]
    fn the_rest_stands_together_and_nothing_is_lost() {
        let rows: Vec<TotalsRow> =
            (0..12_i128).map(|n| row(usize::try_from(n % 7).unwrap(), &format!("m{n}"), 100 - n)).collect();
        let before = [row(0, "m0", 7), row(0, "gone", 5)];
        let stack = costs(7, &rows, &before, 3);
        assert!(stack.has_others);
        assert_eq!(stack.series.iter().map(|series| series.names).collect::<Vec<_>>(), [1, 1, 1, 9]);
        assert_eq!(stack.series.iter().map(|series| series.whole.cost).sum::<Total>(), stack.total.cost);
        let steps = stack.series.iter().flat_map(|series| series.steps.iter().copied());
        assert_eq!(steps.sum::<Total>(), stack.total.cost);
        assert_eq!((stack.series[0].before.cost, stack.before.cost), (Total::from_picos(7), Total::from_picos(12)));
        assert_eq!(stack.series[3].colour, 0);
        let mut colours: Vec<usize> = stack.series[..3].iter().map(|series| series.colour).collect();
        colours.sort_unstable();
        colours.dedup();
        assert_eq!(colours.len(), 3, "two names on one chart never share a colour");
        assert!(colours.iter().all(|colour| (1..=10).contains(colour)));
    }

    #[test]
    fn one_more_name_than_fits_is_shown_rather_than_called_others() {
        let rows: Vec<TotalsRow> = (0..4_i128).map(|n| row(0, &format!("m{n}"), 9 - n)).collect();
        let stack = costs(7, &rows, &[], 3);
        assert_eq!((stack.has_others, stack.series.len()), (false, 4));
    }
}
