//! Links that silence one budget until one instant, for whoever holds the mail they stand in.
//!
//! A link's signature covers what it does, whom it concerns and until when, under a key of its own: it
//! opens nothing else, and cannot be made for another budget or a longer time.

use std::fmt::Write as _;

use subtle::ConstantTimeEq as _;

use super::budget::BudgetName;
use super::mac::hmac_sha256;
use super::time::Timestamp;
use super::window::{Window, WindowKind};

/// What the key in the database is for.
pub const PURPOSE: &str = "snooze links";

/// Signs and checks the links of one installation.
#[derive(Clone)]
pub struct Signer {
    key: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

impl Signer {
    /// A signer with the installation's key, of any form and length.
    pub fn new(key: String) -> Self {
        Self { key }
    }

    /// The signature of a link that silences `budget` until `until`: 64 hex digits.
    pub fn sign(&self, budget: &BudgetName, until: Timestamp) -> String {
        let mut hex = String::with_capacity(64);
        let signed = format!("{PURPOSE}\n{budget}\n{}", until.millis());
        for byte in hmac_sha256(self.key.as_bytes(), signed.as_bytes()) {
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }

    /// Whether `signature` is this link's.
    pub fn holds(&self, budget: &BudgetName, until: Timestamp, signature: &str) -> bool {
        self.sign(budget, until).as_bytes().ct_eq(signature.as_bytes()).into()
    }

    /// Path and query of the link that silences `budget` until `until`.
    pub fn path(&self, budget: &BudgetName, until: Timestamp) -> String {
        // Names of budgets need no escaping in a URL.
        format!("/budgets/{budget}/snooze?until={}&key={}", until.millis(), self.sign(budget, until))
    }
}

/// Until when a mail about `window` offers to silence its budget: its end; for rolling windows as long again as they
/// look back. `None` where nothing ends, and once it has.
pub fn offered_until(kind: WindowKind, window: &Window, now: Timestamp) -> Option<Timestamp> {
    match kind.rolling_span() {
        Some(span) => Some(now.plus_millis(span).bucket()),
        None => window.end,
    }
    .filter(|until| *until > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_good_for_its_budget_its_time_and_its_key_alone() {
        let (growth, bot): (BudgetName, BudgetName) = ("growth".parse().unwrap(), "bot".parse().unwrap());
        let signer = Signer::new("k".repeat(64));
        let signature = signer.sign(&growth, Timestamp(5));
        assert_eq!(signature.len(), 64);
        assert!(signer.holds(&growth, Timestamp(5), &signature));
        assert!(!signer.holds(&bot, Timestamp(5), &signature));
        assert!(!signer.holds(&growth, Timestamp(6), &signature));
        assert!(!signer.holds(&growth, Timestamp(5), ""));
        assert!(!Signer::new("l".repeat(64)).holds(&growth, Timestamp(5), &signature));
        assert!(!format!("{signer:?}").contains('k'));
        assert_eq!(signer.path(&growth, Timestamp(5)), format!("/budgets/growth/snooze?until=5&key={signature}"));
    }

    #[test]
    fn a_snooze_ends_with_the_window() {
        let day = Window { start: Timestamp(0), end: Some(Timestamp(86_400_000)) };
        assert_eq!(offered_until(WindowKind::Day, &day, Timestamp(5)), day.end);
        assert_eq!(offered_until(WindowKind::Day, &day, Timestamp(86_400_000)), None);
        assert_eq!(offered_until(WindowKind::Rolling24h, &day, Timestamp(5)), Some(Timestamp(86_400_000)));
        assert_eq!(offered_until(WindowKind::Total, &Window { end: None, ..day }, Timestamp(5)), None);
    }
}
