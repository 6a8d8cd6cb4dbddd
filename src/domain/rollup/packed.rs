//! Histograms of several series as one text of bytes: each after the other, with the series' place and its length before it, in
//! the order of the places.

use super::Histogram;
use super::histogram::{put, take};

/// Series that share one text.
pub const SERIES_IN_PART: i64 = 32;

/// Where a series' histograms are: in which part, and at which place of it.
pub fn place(series: i64) -> (i64, u8) {
    let place = series.rem_euclid(SERIES_IN_PART);
    (series.div_euclid(SERIES_IN_PART), u8::try_from(place).unwrap_or(0))
}

/// The series at a place of a part.
pub fn series(part: i64, place: u8) -> i64 {
    part.saturating_mul(SERIES_IN_PART).saturating_add(i64::from(place))
}

/// Tells each histogram's place and its own bytes, to be read where they are wanted; `None`: these are not such bytes.
pub fn each<'a>(mut bytes: &'a [u8], mut told: impl FnMut(u8, &'a [u8])) -> Option<()> {
    let mut before = None;
    while !bytes.is_empty() {
        let (place, histogram) = next(&mut bytes)?;
        if before.is_some_and(|before| before >= place) {
            return None;
        }
        before = Some(place);
        told(place, histogram);
    }
    Some(())
}

/// The bytes with `changes` (in the order of their places, each once) added; `None`: these are not such bytes. What is not changed
/// is copied as it is, and a histogram that becomes empty is left out.
pub fn add<'a>(mut stored: &[u8], changes: impl IntoIterator<Item = (u8, &'a Histogram)>) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(stored.len() + 64);
    let mut held = if stored.is_empty() { None } else { Some(next(&mut stored)?) };
    for (place, change) in changes {
        while let Some((of, bytes)) = held.filter(|(of, _)| *of < place) {
            write(&mut out, of, bytes);
            held = if stored.is_empty() { None } else { Some(next(&mut stored)?) };
        }
        match held.filter(|(of, _)| *of == place) {
            None if change.is_empty() => {}
            None => write(&mut out, place, &change.to_bytes()),
            Some((_, bytes)) => {
                let mut sum = Histogram::from_bytes(bytes)?;
                sum.add(change);
                if !sum.is_empty() {
                    write(&mut out, place, &sum.to_bytes());
                }
                held = if stored.is_empty() { None } else { Some(next(&mut stored)?) };
            }
        }
    }
    if let Some((of, bytes)) = held {
        write(&mut out, of, bytes);
        out.extend_from_slice(stored);
    }
    Some(out)
}

fn next<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (place, rest) = bytes.split_first()?;
    *bytes = rest;
    let length = usize::try_from(take(bytes)?).ok()?;
    let (histogram, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some((*place, histogram))
}

fn write(out: &mut Vec<u8>, place: u8, histogram: &[u8]) {
    out.push(place);
    put(out, u64::try_from(histogram.len()).unwrap_or(u64::MAX));
    out.extend_from_slice(histogram);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> BTreeMap<u8, Histogram> {
        let mut found = BTreeMap::new();
        each(bytes, |place, bytes| {
            found.insert(place, Histogram::from_bytes(bytes).unwrap());
        })
        .unwrap();
        found
    }

    #[test]
    fn every_series_has_a_place_of_its_own() {
        for number in [0, 1, 31, 32, 33, 1_000_000, -1, -32, -33] {
            let (part, place) = place(number);
            assert_eq!(series(part, place), number);
        }
        assert_eq!((place(31), place(32)), ((0, 31), (1, 0)));
    }

    #[test]
    fn bytes_of_something_else_are_refused() {
        let mut one = Histogram::default();
        one.count(7, 1);
        for bytes in [&[1][..], &[1, 5, 0], &[3, 0, 3, 0], &[3, 0, 2, 0], &[1, 0x80]] {
            assert_eq!(each(bytes, |_, _| {}), None, "{bytes:?}");
        }
        assert_eq!(add(&[1, 5, 0], [(1, &one)]), None);
        assert_eq!(add(&[1, 1, 0x80], [(1, &one)]), None);
    }

    proptest! {
        #[test]
        fn what_is_added_is_read_as_a_map_would_have_it(
            rounds in prop::collection::vec(prop::collection::btree_map(0_u8..32, (0_i64..500, -2_i64..3), 0..8), 0..8),
        ) {
            let mut naive: BTreeMap<u8, Histogram> = BTreeMap::new();
            let mut bytes = Vec::new();
            for round in rounds {
                let mut changes = BTreeMap::new();
                for (place, (value, times)) in round {
                    let mut change = Histogram::default();
                    change.count(value, times);
                    naive.entry(place).or_default().add(&change);
                    changes.insert(place, change);
                }
                bytes = add(&bytes, changes.iter().map(|(place, change)| (*place, change))).unwrap();
                naive.retain(|_, histogram| !histogram.is_empty());
                prop_assert_eq!(&read(&bytes), &naive);
            }
        }
    }
}
