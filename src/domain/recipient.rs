//! Whom a budget or a report tells: a mail address, or a webhook by the name it is configured under.

use super::budget::BudgetError;

/// What the name of a webhook stands behind in `notify`.
pub const WEBHOOK: &str = "webhook:";

/// The channel that all mail takes.
pub const MAIL: &str = "mail";

/// Checks one entry of `notify`.
pub fn check(text: &str) -> Result<(), BudgetError> {
    let known = match webhook(text) {
        Some(name) => is_name(name),
        None => text.parse::<lettre::Address>().is_ok(),
    };
    if known { Ok(()) } else { Err(BudgetError::Address(text.to_owned())) }
}

/// Checks that a recipient is no webhook, or one of these names.
pub fn check_configured(recipient: &str, webhooks: &[String]) -> Result<(), BudgetError> {
    match webhook(recipient) {
        Some(name) if !webhooks.iter().any(|known| known == name) => Err(BudgetError::NoSuchWebhook(name.to_owned())),
        _ => Ok(()),
    }
}

/// The webhook's name; `None` for a mail address.
pub fn webhook(recipient: &str) -> Option<&str> {
    recipient.strip_prefix(WEBHOOK)
}

/// What a message to this recipient is sent by: [`MAIL`], or the recipient itself where it is a webhook.
pub fn channel(recipient: &str) -> &str {
    if webhook(recipient).is_some() { recipient } else { MAIL }
}

/// `[a-z0-9][a-z0-9._-]{0,63}`, as all names in the configuration.
fn is_name(text: &str) -> bool {
    text.parse::<super::budget::BudgetName>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_webhooks_are_told_apart() {
        for good in ["lena@example.com", "webhook:ops", "webhook:on-call.2"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["lena", "webhook:", "webhook:Ops", "https://example.com/hook", "hook:ops", ""] {
            let error = check(bad).unwrap_err().to_string();
            assert!(error.contains("name@example.com") && error.contains("webhook:NAME"), "{bad}: {error}");
        }
        assert_eq!((channel("lena@example.com"), channel("webhook:ops")), (MAIL, "webhook:ops"));
        assert_eq!(webhook("webhook:ops"), Some("ops"));
    }
}
