//! The key that a caller brings.

use http::{HeaderMap, HeaderName};

use crate::config::KEY_PREFIX;
use crate::domain::tally_key;
use crate::web::guard::bearer;

/// Where `/messages` also takes a key.
pub(super) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What a caller brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credential<'a> {
    /// Nothing.
    None,
    /// A tally key.
    Tally(&'a str),
    /// An OpenRouter key.
    OpenRouter(&'a str),
    /// Something else.
    Other,
}

/// The key of a request: the first that is one, of `Authorization` and `x-api-key`. The latter is looked at for OpenRouter
/// keys where OpenRouter itself does (`messages`), and for tally keys everywhere, as Anthropic's SDKs send it with all.
pub(super) fn credential(headers: &HeaderMap, messages: bool) -> Credential<'_> {
    let is_tally = |key: &str| key.starts_with(tally_key::PREFIX) && key.len() > tally_key::PREFIX.len();
    let is_openrouter = |key: &str| key.starts_with(KEY_PREFIX) && key.len() > KEY_PREFIX.len();
    let api_key = headers.get(X_API_KEY).and_then(|value| value.to_str().ok()).map(str::trim);
    let api_key = api_key.filter(|key| messages || is_tally(key));
    for key in [bearer(headers), api_key].into_iter().flatten() {
        if is_tally(key) {
            return Credential::Tally(key);
        }
        if is_openrouter(key) {
            return Credential::OpenRouter(key);
        }
    }
    let nothing = !headers.contains_key(http::header::AUTHORIZATION) && api_key.is_none();
    if nothing { Credential::None } else { Credential::Other }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_where_sdks_put_them() {
        let case = |pairs: &[(&'static str, &'static str)], messages| {
            let headers: HeaderMap =
                pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
            format!("{:?}", credential(&headers, messages))
        };
        let key = r#"OpenRouter("sk-or-v1-a")"#;
        assert_eq!(case(&[("authorization", "Bearer sk-or-v1-a")], false), key);
        assert_eq!(case(&[("authorization", "bearer  sk-or-v1-a ")], false), key);
        assert_eq!(case(&[("x-api-key", "sk-or-v1-a")], true), key);
        assert_eq!(case(&[("authorization", "Bearer dummy"), ("x-api-key", "sk-or-v1-a")], true), key);
        assert_eq!(case(&[("x-api-key", "sk-or-v1-a")], false), "None");
        assert_eq!(case(&[("authorization", "Bearer sk-or-v1-")], false), "Other");
        assert_eq!(case(&[("authorization", "Basic x")], false), "Other");
        assert_eq!(case(&[], true), "None");
        let tally = r#"Tally("tally-a")"#;
        assert_eq!(case(&[("authorization", "Bearer tally-a")], false), tally);
        assert_eq!(case(&[("x-api-key", "tally-a")], false), tally);
        assert_eq!(case(&[("authorization", "Bearer tally-a"), ("x-api-key", "sk-or-v1-a")], true), tally);
        assert_eq!(case(&[("authorization", "Bearer sk-or-v1-a"), ("x-api-key", "tally-a")], true), key);
        assert_eq!(case(&[("authorization", "Bearer tally-")], true), "Other");
    }
}
