//! How much of a blocking budget one daemon may admit by itself, where several share one database.
//!
//! Each daemon has a share of what is left of an account, and admits from its share alone. So that together they never
//! admit what does not fit, what is spent, what rows hold back and all shares together stay within the limit whenever a
//! share grows.

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

    /// This daemon's share, if calls that are taken to cost `need` wait for it, and `ahead` more may soon come.
    pub fn share(&self, need: Total, ahead: Total) -> Total {
        let left = self.left().max(Total::ZERO);
        if left < need {
            return self.in_use + left;
        }
        let spare = Total::from_picos((left - need).picos() / AHEAD_PART);
        self.in_use + need + ahead.min(spare).max(Total::ZERO)
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

    #[test]
    fn a_share_is_what_is_needed_and_a_little_of_what_is_left() {
        let one = account(1_000, 100, 50);
        assert_eq!(one.share(picos(250), picos(10)), picos(310));
        assert_eq!(one.share(picos(250), picos(10_000)), picos(450), "a fourth of the 600 that are left");
        assert_eq!(one.share(picos(850), picos(10)), picos(900), "all of it");
        assert_eq!(one.share(picos(851), picos(10)), picos(900), "what there is, for those that fit");
        assert_eq!(one.share(Total::ZERO, Total::ZERO), picos(50), "nothing to spare");
        assert_eq!(account(1_000, 1_200, 50).share(picos(1), picos(10)), picos(50), "what is under way stays so");
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
                        shares[daemon] = one.share(picos(need), picos(ahead)).picos();
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
