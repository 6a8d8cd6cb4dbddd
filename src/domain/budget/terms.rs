//! What holds of a budget beside its definition: a pause, an override, top-ups, and what rolled over into its window.
//!
//! The limit that spend is measured against is put together here, and nowhere else.

use serde::{Deserialize, Serialize};

use super::BudgetError;
use super::limit::{self, MAX_USD};
use crate::domain::money::{Money, Total};
use crate::domain::time::Timestamp;

/// Longest reason of an override and note of a top-up, in characters.
pub const MAX_REASON: usize = 300;

/// Another limit until an instant. While it holds it is the whole limit: nothing rolled over or topped up is added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// The limit while it holds.
    #[serde(rename = "limit_usd", with = "limit")]
    pub limit: Money,
    /// From when on it holds.
    pub since: Timestamp,
    /// The first instant at which it holds no more.
    pub until: Timestamp,
    /// Why, for those who wonder.
    pub reason: String,
}

/// What holds of one budget at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Since when it neither tells nor refuses; `None`: it does both. It counts all the same.
    pub paused_at: Option<Timestamp>,
    /// The last override, whether it still holds or not; `None`: there never was one.
    pub overridden: Option<Override>,
}

impl Terms {
    /// The override that holds at `at`.
    pub fn override_at(&self, at: Timestamp) -> Option<&Override> {
        self.overridden.as_ref().filter(|one| one.since <= at && at < one.until)
    }
}

/// The limit of one window, and what it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowLimit {
    /// The budget's own.
    pub own: Money,
    /// What the window before left unspent; zero unless the budget rolls over.
    pub rolled_over: Money,
    /// What was added to this window.
    pub topped_up: Money,
    /// What holds instead of all that; `None`: no override does.
    pub overridden: Option<Money>,
}

impl WindowLimit {
    /// The budget's own limit, and nothing else.
    pub const fn plain(own: Money) -> Self {
        Self { own, rolled_over: Money::ZERO, topped_up: Money::ZERO, overridden: None }
    }

    /// What may be spent in the window: 0 to [`MAX_USD`], whatever it is made of.
    pub fn limit(&self) -> Money {
        let most = Money::from_usd(MAX_USD).unwrap_or(Money::ZERO);
        let together = self.own.saturating_add(self.rolled_over).saturating_add(self.topped_up);
        self.overridden.unwrap_or(together).clamp(Money::ZERO, most)
    }
}

/// What rolls over from a window: what it left unspent of its own limit and its top-ups.
///
/// What had rolled over into that window itself is spent last and lapses with it, so this is never more than `allowed`.
pub fn rolls_over(allowed: Money, spent: Total) -> Money {
    let left = (i128::from(allowed.picos()) - spent.picos()).clamp(0, i128::from(allowed.picos().max(0)));
    // Between nothing and an amount: it fits.
    i64::try_from(left).map_or(allowed, Money::from_picos)
}

/// Reads the amount of a top-up, in dollars: not zero; a negative one takes back what was added by mistake.
pub fn parse_top_up(text: &str) -> Result<Money, BudgetError> {
    let trimmed = text.trim();
    let (sign, digits) = trimmed.strip_prefix('-').map_or((1, trimmed), |digits| (-1, digits));
    let amount = limit::parse_limit(digits).map_err(|_| BudgetError::TopUp(text.to_owned()))?;
    if amount == Money::ZERO {
        return Err(BudgetError::TopUp(text.to_owned()));
    }
    Ok(Money::from_picos(sign * amount.picos()))
}

/// A reason or a note as it is kept: without control characters and blanks around it, at most [`MAX_REASON`] characters.
pub fn parse_reason(text: &str) -> Result<String, BudgetError> {
    let kept: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let kept = kept.trim();
    if kept.chars().count() > MAX_REASON { Err(BudgetError::ReasonTooLong) } else { Ok(kept.to_owned()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usd(text: &str) -> Money {
        Money::parse(text).unwrap()
    }

    #[test]
    fn an_override_is_the_whole_limit_while_it_holds_and_not_at_its_end() {
        let one = Override { limit: usd("7"), since: Timestamp(10), until: Timestamp(20), reason: String::new() };
        let terms = Terms { paused_at: None, overridden: Some(one) };
        let limit = |at| WindowLimit {
            rolled_over: usd("1"),
            topped_up: usd("0.50"),
            overridden: terms.override_at(Timestamp(at)).map(|one| one.limit),
            ..WindowLimit::plain(usd("5"))
        };
        assert_eq!([9, 10, 19, 20].map(|at| limit(at).limit()), [usd("6.5"), usd("7"), usd("7"), usd("6.5")]);
    }

    #[test]
    fn a_limit_is_held_within_what_a_limit_may_be() {
        let most = usd("9000000");
        assert_eq!(WindowLimit { rolled_over: most, topped_up: most, ..WindowLimit::plain(most) }.limit(), most);
        assert_eq!(WindowLimit { topped_up: usd("-7"), ..WindowLimit::plain(usd("5")) }.limit(), Money::ZERO);
    }

    #[test]
    fn top_ups_are_exact_and_can_be_taken_back() {
        assert_eq!(parse_top_up(" 25.50 "), Ok(usd("25.5")));
        assert_eq!(parse_top_up("-25.50"), Ok(usd("-25.5")));
        for wrong in ["", "0", "-0.00", "--1", "1e3", "$5", "9000001"] {
            assert!(parse_top_up(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_reason(" launch\nweek "), Ok("launch week".to_owned()));
        assert!(parse_reason(&"x".repeat(MAX_REASON + 1)).is_err());
    }

    proptest! {
        #[test]
        fn what_rolls_over_is_what_is_left_and_never_more_than_was_allowed(
            allowed in 0_i64..=9_000_000_000_000_000_000, spent in -10_i128..=18_000_000_000_000_000_000,
        ) {
            let rolled = rolls_over(Money::from_picos(allowed), Total::from_picos(spent));
            let left = (i128::from(allowed) - spent).clamp(0, i128::from(allowed));
            prop_assert_eq!(i128::from(rolled.picos()), left);
        }
    }
}
