//! When a forecast is sure enough to be told: a figure that wavers around a threshold tells nobody.

use super::Forecast;
use crate::domain::budget::{Budget, Threshold};
use crate::domain::money::Money;

/// Of a hundred courses, how many must reach a threshold for a step to count.
pub const COUNTS_FROM: u32 = 60;

/// Of a hundred courses, below how many the count begins anew; in between it stays.
pub const FORGETS_BELOW: u32 = 50;

/// Steps that must count before a threshold is told.
pub const STEPS_TO_TELL: u32 = 2;

/// How long a threshold has been expected to be reached before its window ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// A threshold of the forecast.
    pub threshold: Threshold,
    /// Steps that counted, at most [`STEPS_TO_TELL`].
    pub steps: u32,
}

impl Signal {
    /// Whether it is to be told, if it has not been.
    pub const fn is_sure(&self) -> bool {
        self.steps >= STEPS_TO_TELL
    }

    /// The signal one step later, when so many of a hundred courses reach the threshold.
    #[must_use]
    pub fn after(self, chance: u32) -> Self {
        let steps = match chance {
            COUNTS_FROM.. => (self.steps + 1).min(STEPS_TO_TELL),
            ..FORGETS_BELOW => 0,
            _ => self.steps,
        };
        Self { steps, ..self }
    }
}

/// The signals of `budget`, whose window has this `limit`, after a step with this forecast. `before` are those of the step
/// before in the same window, or, where the same step is looked at `again`, its own: then none grows. A step without a
/// forecast forgets them.
pub fn signals(
    budget: &Budget,
    limit: Money,
    before: &[Signal],
    forecast: Option<&Forecast>,
    again: bool,
) -> Vec<Signal> {
    let Some(forecast) = forecast else { return Vec::new() };
    let thresholds = budget.alert_at.iter().copied().filter(|threshold| threshold.is_forecast());
    thresholds
        .map(|threshold| {
            let known = before.iter().find(|signal| signal.threshold == threshold).copied();
            let known = known.unwrap_or(Signal { threshold, steps: 0 });
            let after = known.after(forecast.chance_of(threshold.amount(limit)));
            if again { Signal { steps: after.steps.min(known.steps), ..after } } else { after }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(chances: &[u32]) -> Vec<u32> {
        let mut signal = Signal { threshold: Threshold::Forecast(10_000), steps: 0 };
        chances
            .iter()
            .map(|chance| {
                signal = signal.after(*chance);
                signal.steps
            })
            .collect()
    }

    #[test]
    fn two_steps_above_are_told_and_a_flicker_is_not() {
        assert_eq!(steps(&[60, 60, 100]), [1, 2, 2]);
        assert_eq!(steps(&[100, 49, 100, 0, 70]), [1, 0, 1, 0, 1]);
        assert_eq!(steps(&[59, 55, 50]), [0, 0, 0], "never sure");
        assert_eq!(steps(&[60, 55, 60]), [1, 1, 2], "a little less sure is no change of mind");
    }
}
