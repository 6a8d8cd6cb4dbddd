//! How much of a blocking budget one daemon may admit by itself, where several share one database.
//!
//! Each daemon has a share of what is left of an account, and admits from its share alone. So that together they never
//! admit what does not fit, what is spent, what rows hold back and all shares together stay within the limit whenever a
//! share grows.

use std::collections::BTreeMap;

use super::money::Total;

/// Of what is left beside the calls that wait now, at most one part in so many is taken ahead: towards the end shares
/// become small, and what one daemon has to spare is little.
const AHEAD_PART: i128 = 4;

/// An account as the database has it, and as this daemon does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// The limit of its window.
    pub limit: Total,
    /// What was spent in it.
    pub spent: Total,
    /// What rows hold back, whichever daemon admitted the calls.
    pub held: Total,
    /// The other daemons' shares.
    pub others: Total,
    /// What this daemon holds back for calls that are in no row yet. It is under way and so part of any share, whether
    /// it fits or not.
    pub in_use: Total,
}

impl Account {
    /// What is left; below nothing where more is committed than the limit.
    pub fn left(&self) -> Total {
        self.limit - self.spent - self.held - self.others - self.in_use
    }

    /// What is committed without this daemon's own calls.
    pub fn beside(&self) -> Total {
        self.spent + self.held + self.others
    }

    /// This daemon's share, if these calls wait for it, and `ahead` more may soon come. What has room for none of them is
    /// left to the other daemons: each would hold a part that is of use to nobody otherwise, while a call fits.
    pub fn share(&self, waits: &Waits, ahead: Total) -> Total {
        let left = self.left().max(Total::ZERO);
        if left < waits.sum {
            return if waits.least() <= left { self.in_use + left } else { self.in_use };
        }
        let spare = Total::from_picos((left - waits.sum).picos() / AHEAD_PART);
        self.in_use + waits.sum + ahead.min(spare).max(Total::ZERO)
    }
}

/// What calls that wait for a larger share are taken to cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    sum: Total,
    /// How many are taken to cost so much.
    calls: BTreeMap<Total, usize>,
}

impl Waits {
    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// All of it.
    pub fn sum(&self) -> Total {
        self.sum
    }

    /// The call that is taken to cost least; nothing where none waits.
    pub fn least(&self) -> Total {
        self.calls.first_key_value().map_or(Total::ZERO, |(estimate, _)| *estimate)
    }

    /// A call begins to wait.
    pub fn add(&mut self, estimate: Total) {
        self.sum += estimate;
        *self.calls.entry(estimate).or_default() += 1;
    }

    /// A call waits no longer.
    pub fn remove(&mut self, estimate: Total) {
        let Some(calls) = self.calls.get_mut(&estimate) else { return };
        *calls -= 1;
        if *calls == 0 {
            self.calls.remove(&estimate);
        }
        self.sum -= estimate;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn picos(picos: i128) -> Total {
        Total::from_picos(picos)
    }

    fn account(limit: i128, spent: i128, in_use: i128) -> Account {
        Account {
            limit: picos(limit),
            spent: picos(spent),
            held: Total::ZERO,
            others: Total::ZERO,
            in_use: picos(in_use),
        }
    }

    fn waits(estimates: &[i128]) -> Waits {
        let mut waits = Waits::default();
        for estimate in estimates {
            waits.add(picos(*estimate));
        }
        waits
    }

    #[test]
    fn who_waits_no_longer_is_forgotten() {
        let mut all = waits(&[30, 20, 20]);
        assert_eq!((all.sum(), all.least()), (picos(70), picos(20)));
        all.remove(picos(20));
        all.remove(picos(7));
        assert_eq!((all.sum(), all.least()), (picos(50), picos(20)));
        all.remove(picos(20));
        all.remove(picos(30));
        assert_eq!(all, Waits::default());
    }

    #[test]
    fn of_those_who_wait_for_more_than_they_have_one_gets_what_fits() {
        let mut shares = [609, 959, 1_536];
        let mut went = 0;
        for daemon in [0, 1, 2, 0, 1, 2] {
            let others = shares.iter().sum::<i128>() - shares[daemon];
            let one = Account { others: picos(others), ..account(60_000, 56_896, 0) };
            shares[daemon] = one.share(&waits(&[2_900, 2_900]), Total::ZERO).picos();
            went += i32::from(shares[daemon] >= 2_900);
        }
        assert!(went > 0, "a call fits, and each daemon waits for what the others hold: {shares:?}");
    }

    #[test]
    fn a_share_is_what_is_needed_and_a_little_of_what_is_left() {
        let one = account(1_000, 100, 50);
        assert_eq!(one.share(&waits(&[250]), picos(10)), picos(310));
        assert_eq!(one.share(&waits(&[250]), picos(10_000)), picos(450), "a fourth of the 600 that are left");
        assert_eq!(one.share(&waits(&[850]), picos(10)), picos(900), "all of it");
        assert_eq!(one.share(&waits(&[600, 251]), picos(10)), picos(900), "what there is, for those that fit");
        assert_eq!(one.share(&waits(&[851]), picos(10)), picos(50), "what has room for none is left to others");
        assert_eq!(one.share(&waits(&[]), Total::ZERO), picos(50), "nothing to spare");
        assert_eq!(account(1_000, 1_200, 50).share(&waits(&[1]), picos(10)), picos(50), "what is under way stays so");
    }

    proptest! {
        /// However daemons draw, admit, give back and write, they never commit more than the limit, and what one gives
        /// back another can have.
        #[test]
        fn shares_never_exceed_the_limit(
            limit in 0_i128..10_000,
            steps in prop::collection::vec((0_usize..3, 0_u8..4, 1_i128..500, 0_i128..2_000), 1..200),
        ) {
            // Each daemon's share, and what it has in use; what rows hold back.
            let (mut shares, mut used, mut held) = ([0_i128; 3], [0_i128; 3], 0_i128);
            for (daemon, what, need, ahead) in steps {
                match what {
                    // It draws, or gives back.
                    0 | 1 => {
                        let others = shares.iter().sum::<i128>() - shares[daemon];
                        let one = Account {
                            limit: picos(limit),
                            spent: Total::ZERO,
                            held: picos(held),
                            others: picos(others),
                            in_use: picos(used[daemon]),
                        };
                        let (need, ahead) = if what == 0 { (need, ahead) } else { (0, 0) };
                        shares[daemon] = one.share(&waits(&[need]), picos(ahead)).picos();
                        if limit - held - others - used[daemon] >= need {
                            prop_assert!(shares[daemon] >= used[daemon] + need, "what fits is not given");
                        }
                    }
                    // It admits.
                    2 if used[daemon] + need <= shares[daemon] => used[daemon] += need,
                    // A row holds it back.
                    _ => {
                        let part = used[daemon].min(need);
                        used[daemon] -= part;
                        shares[daemon] -= part;
                        held += part;
                    }
                }
                prop_assert!(used[daemon] <= shares[daemon]);
                prop_assert!(held + shares.iter().sum::<i128>() <= limit, "more than the limit");
            }
        }
    }
}
