//! What a key says of itself (`GET /key`): limits and spend as OpenRouter counts them.

use crate::domain::money::Money;
use crate::domain::time::Timestamp;

use super::error::ReadError;
use super::fields::Fields;

/// A key as OpenRouter sees it; amounts are US dollars, days and months UTC, weeks from Monday.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyInfo {
    /// The most it may spend in one `limit_reset` period; `None`: no limit.
    pub limit: Option<Money>,
    /// What is left of the limit; `None`: no limit.
    pub limit_remaining: Option<Money>,
    /// `daily`, `weekly` or `monthly`; `None`: the limit is for good.
    pub limit_reset: Option<String>,
    /// Spent ever; `None` here and below where OpenRouter did not say, or beyond ±$9.2 million.
    pub usage: Option<Money>,
    /// Spent today.
    pub usage_daily: Option<Money>,
    /// Spent this week.
    pub usage_weekly: Option<Money>,
    /// Spent this month.
    pub usage_monthly: Option<Money>,
    /// Whether the account never bought credits.
    pub is_free_tier: Option<bool>,
    /// Whether it is a management key, which can not make completions.
    pub is_management_key: Option<bool>,
    /// When it stops working; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// What time it was at OpenRouter when it answered, to the second; `None` if it did not tell.
    pub answered_at: Option<Timestamp>,
}

/// Reads the body of a 200. Its `label` is part of the key's text and is not looked at.
pub(super) fn decode(body: &[u8]) -> Result<KeyInfo, ReadError> {
    let envelope =
        Fields::of_body(body).ok_or_else(|| ReadError::garbled("OpenRouter answered with no JSON object"))?;
    let Some(data) = envelope.value("data").and_then(Fields::of_value) else {
        return Err(ReadError::garbled("OpenRouter answered 200 with nothing about the key"));
    };
    let amount = |name| data.money(name)?.ok();
    Ok(KeyInfo {
        limit: amount("limit"),
        limit_remaining: amount("limit_remaining"),
        limit_reset: data.text("limit_reset"),
        usage: amount("usage"),
        usage_daily: amount("usage_daily"),
        usage_weekly: amount("usage_weekly"),
        usage_monthly: amount("usage_monthly"),
        is_free_tier: data.boolean("is_free_tier"),
        // The older of the two names for the same.
        is_management_key: data.boolean("is_management_key").or_else(|| data.boolean("is_provisioning_key")),
        expires_at: data.text("expires_at").and_then(|at| Timestamp::parse(&at)),
        answered_at: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_spend_are_read_and_no_limit_is_none() {
        let info = decode(include_bytes!("../../tests/fixtures/payloads/key.json")).unwrap();
        assert_eq!(info.limit, Money::from_usd(50));
        assert_eq!(info.limit_remaining, Money::parse("46.82438604").ok());
        assert_eq!(info.limit_reset.as_deref(), Some("monthly"));
        assert_eq!(info.usage_daily, Money::parse("0.41206").ok());
        assert_eq!((info.is_free_tier, info.is_management_key, info.expires_at), (Some(false), Some(false), None));
        let unlimited = decode(include_bytes!("../../tests/fixtures/payloads/key_unlimited.json")).unwrap();
        assert_eq!((unlimited.limit, unlimited.limit_remaining, unlimited.limit_reset), (None, None, None));
        assert!(decode(b"<html>").is_err());
        assert!(decode(br#"{"error":{"code":401}}"#).is_err());
    }
}
