//! What the account holds (`GET /credits`).

use crate::domain::comparison::Balance;
use crate::domain::time::Timestamp;

use super::error::ReadError;
use super::fields::Fields;

/// Reads the body of a 200.
pub(super) fn decode(body: &[u8], as_of: Timestamp) -> Result<Balance, ReadError> {
    let envelope =
        Fields::of_body(body).ok_or_else(|| ReadError::garbled("OpenRouter answered with no JSON object"))?;
    let data = envelope.value("data").and_then(Fields::of_value);
    let amount = |name| data.as_ref()?.money(name)?.ok();
    match (amount("total_credits"), amount("total_usage")) {
        (Some(credits), Some(usage)) => Ok(Balance { credits, usage, as_of }),
        _ => Err(ReadError::garbled("OpenRouter answered 200 with nothing about credits, or beyond ±$9.2 million")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_balance_is_what_was_bought_less_what_was_used() {
        let balance = decode(include_bytes!("../../tests/fixtures/payloads/credits.json"), Timestamp(7)).unwrap();
        assert_eq!((balance.left().to_decimal().as_str(), balance.as_of), ("11.012694569", Timestamp(7)));
        for body in [
            &b"<html>"[..],
            b"{}",
            br#"{"data":{"total_credits":1}}"#,
            br#"{"data":{"total_credits":1e9,"total_usage":0}}"#,
        ] {
            assert!(decode(body, Timestamp(0)).is_err());
        }
    }
}
