//! Who a call is for, by its headers and its body (design.md 3.4, "Attribution").

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, header};
use percent_encoding::percent_decode;

use super::request::Asked;
use crate::domain::attribution::{Attribution, MAX_TAGS};

/// What the names of our own request headers begin with; none of them goes upstream.
pub const OWN_HEADERS: &str = "x-tally-";

/// The application.
pub const APP: HeaderName = HeaderName::from_static("x-tally-app");
/// The end user.
pub const USER: HeaderName = HeaderName::from_static("x-tally-user");
/// The session.
pub const SESSION: HeaderName = HeaderName::from_static("x-tally-session");
/// Tags: `name=value` pairs, separated by commas.
pub const TAGS: HeaderName = HeaderName::from_static("x-tally-tags");

/// OpenRouter's headers for an application's title, the stronger first.
const TITLES: [HeaderName; 2] = [HeaderName::from_static("x-openrouter-title"), HeaderName::from_static("x-title")];

/// Where OpenRouter looks for an application's address: its documented header, then the one browsers send.
const REFERERS: [HeaderName; 2] = [HeaderName::from_static("http-referer"), header::REFERER];

/// What a call's headers and body say, and whether something in them was malformed and dropped.
pub fn attribute(headers: &HeaderMap, asked: Option<&Asked>, messages: bool) -> (Attribution, bool) {
    let mut malformed = asked.is_some_and(|asked| asked.malformed);
    let mut own = |name: &HeaderName| {
        let value = headers.get(name)?.as_bytes();
        let label = decode(value).and_then(|text| Attribution::label(&text));
        malformed |= label.is_none();
        label
    };
    let mut attribution =
        Attribution { app: own(&APP), user: own(&USER), session: own(&SESSION), ..Attribution::default() };
    for value in headers.get_all(&TAGS) {
        for pair in value.as_bytes().split(|&byte| byte == b',').filter(|pair| !pair.trim_ascii().is_empty()) {
            match tag(pair) {
                Some((name, value)) if attribution.tags.len() < MAX_TAGS => {
                    attribution.tags.entry(name).or_insert(value);
                }
                _ => malformed = true,
            }
        }
    }
    if let Some(asked) = asked {
        fill_from_body(&mut attribution, asked, messages);
    }
    if attribution.app.is_none() {
        attribution.app = app(headers);
    }
    (attribution, malformed)
}

fn fill_from_body(attribution: &mut Attribution, asked: &Asked, messages: bool) {
    let anthropic = asked.metadata.get("user_id").filter(|_| messages).map(|text| MessagesUser::of(text));
    let (user, session) = anthropic.map_or((None, None), |named| (named.user, named.session));
    attribution.user = attribution.user.take().or_else(|| asked.user.clone()).or(user);
    attribution.session = attribution.session.take().or_else(|| asked.session.clone()).or(session);
    for (name, value) in &asked.metadata {
        if attribution.tags.len() < MAX_TAGS && !(messages && name == "user_id") {
            attribution.tags.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
}

/// Whom `metadata.user_id` of `/messages` names.
struct MessagesUser {
    user: Option<String>,
    session: Option<String>,
}

/// What Claude Code writes into `metadata.user_id`, as JSON text (since its 2.1.78).
#[derive(serde::Deserialize)]
struct ClaudeCodeUser {
    #[serde(default)]
    account_uuid: String,
    #[serde(default)]
    device_id: String,
    session_id: String,
}

impl MessagesUser {
    /// Claude Code puts user and session into one text, which is then another for each session: such a text is taken
    /// apart. The account is the user, and where there is none (it was called with a key), the installation. Any other
    /// text is the user as it is.
    fn of(text: &str) -> Self {
        let (account, device, session) = if let Ok(named) = serde_json::from_str::<ClaudeCodeUser>(text) {
            (named.account_uuid, named.device_id, named.session_id)
        } else if let Some((account, device, session)) = joined(text) {
            (account.to_owned(), device.to_owned(), session.to_owned())
        } else {
            return Self { user: Some(text.to_owned()), session: None };
        };
        let user = Attribution::label(&account).or_else(|| Attribution::label(&device));
        match (user, Attribution::label(&session)) {
            (Some(user), session) => Self { user: Some(user), session },
            (None, _) => Self { user: Some(text.to_owned()), session: None },
        }
    }
}

/// Claude Code's older form, `user_<hex>_account_<uuid>_session_<uuid>`: account, installation and session.
fn joined(text: &str) -> Option<(&str, &str, &str)> {
    let (device, rest) = text.strip_prefix("user_")?.split_once("_account_")?;
    let (account, session) = rest.split_once("_session_")?;
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let uuid = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    (!device.is_empty() && hex(device) && uuid(account) && !session.is_empty() && uuid(session))
        .then_some((account, device, session))
}

fn app(headers: &HeaderMap) -> Option<String> {
    let text = |name: &HeaderName| std::str::from_utf8(headers.get(name)?.as_bytes()).ok();
    let title = TITLES.iter().filter_map(text).find_map(Attribution::label);
    title.or_else(|| REFERERS.iter().filter_map(text).find_map(host).and_then(|host| Attribution::label(&host)))
}

/// The host of an address, without port, user or brackets, in lower case.
fn host(address: &str) -> Option<String> {
    let rest = address.trim().split_once("://").map_or(address.trim(), |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = match host.strip_prefix('[') {
        Some(six) => six.split(']').next()?,
        None => host.split(':').next()?,
    };
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

fn tag(pair: &[u8]) -> Option<(String, String)> {
    let at = pair.iter().position(|&byte| byte == b'=')?;
    let part = |bytes: &[u8]| decode(bytes).and_then(|text| Attribution::label(&text));
    Some((part(&pair[..at])?, part(&pair[at + 1..])?))
}

/// Percent-decoded UTF-8; `None` when an escape is none or what they make is not UTF-8.
fn decode(value: &[u8]) -> Option<Cow<'_, str>> {
    let whole = |rest: &[u8]| matches!(rest, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
    let escapes = value.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    if escapes.into_iter().any(|(at, _)| !whole(&value[at + 1..])) {
        return None;
    }
    percent_decode(value).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn headers_beat_the_body_field_by_field_and_tag_by_name() {
        let headers =
            headers(&[("x-tally-app", "gr%C3%BC%0An"), ("x-tally-tags", "team=a, env=prod%2C1 ,"), ("x-title", "no")]);
        let asked = Asked {
            user: Some("u".to_owned()),
            metadata: [("team", "b"), ("step", "2")].map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
            ..Asked::default()
        };
        let (attribution, malformed) = attribute(&headers, Some(&asked), false);
        assert!(!malformed);
        assert_eq!(attribution.app.as_deref(), Some("grü n"));
        assert_eq!(attribution.user.as_deref(), Some("u"));
        let tags: Vec<(&str, &str)> = attribution.tags.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(tags, [("env", "prod,1"), ("step", "2"), ("team", "a")]);
    }

    #[test]
    fn the_app_falls_back_to_titles_and_the_referers_host() {
        for (pairs, app) in [
            (&[("x-openrouter-title", "A"), ("x-title", "B")][..], "A"),
            (&[("x-title", "B"), ("referer", "https://c.example")][..], "B"),
            (
                &[("http-referer", "https://u:p@My.App.example:8443/x?y"), ("referer", "https://c.example")][..],
                "my.app.example",
            ),
            (&[("referer", "http://[::1]:3000/")][..], "::1"),
        ] {
            assert_eq!(attribute(&headers(pairs), None, false).0.app.as_deref(), Some(app));
        }
    }

    #[test]
    fn the_user_of_messages_is_in_its_metadata() {
        let asked = Asked { metadata: [("user_id".to_owned(), "u".to_owned())].into(), ..Asked::default() };
        let (attribution, _) = attribute(&HeaderMap::new(), Some(&asked), true);
        assert_eq!((attribution.user.as_deref(), attribution.tags.len()), (Some("u"), 0));
        let (attribution, _) = attribute(&HeaderMap::new(), Some(&asked), false);
        assert_eq!((attribution.user, attribution.tags.len()), (None, 1));
    }

    #[test]
    fn claude_codes_user_is_parted_from_its_session() {
        let of = |text: &str| {
            let asked = Asked { metadata: [("user_id".to_owned(), text.to_owned())].into(), ..Asked::default() };
            let (attribution, malformed) = attribute(&HeaderMap::new(), Some(&asked), true);
            assert!(!malformed && attribution.tags.is_empty());
            (attribution.user.unwrap(), attribution.session)
        };
        let (device, account) = ("5dd07c33da27e6d2968d94ea20bf47a7", "0f0e0d0c-0b0a-4909-8807-060504030201");
        let session = "d2e70091-3007-41a3-a916-cb8b0d3098de";
        let named = |user: &str| (user.to_owned(), Some(session.to_owned()));
        let json = |account: &str| {
            format!(r#"{{"device_id":"{device}","account_uuid":"{account}","session_id":"{session}","more":1}}"#)
        };
        assert_eq!(of(&json(account)), named(account));
        assert_eq!(of(&json("")), named(device));
        assert_eq!(of(&format!("user_{device}_account_{account}_session_{session}")), named(account));
        assert_eq!(of(&format!("user_{device}_account__session_{session}")), named(device));
        for other in [
            "lena",
            "user_lena_account_x_session_y",
            "user_abc_account_",
            r#"{"team":"a"}"#,
            r#"{"session_id":"s"}"#,
            r#"{"session_id":7,"device_id":"a"}"#,
        ] {
            assert_eq!(of(other), (other.to_owned(), None));
        }
        // What is said otherwise is stronger.
        let asked = Asked {
            session: Some("mine".to_owned()),
            metadata: [("user_id".to_owned(), json(account))].into(),
            ..Asked::default()
        };
        let (attribution, _) = attribute(&headers(&[("x-tally-user", "lena")]), Some(&asked), true);
        assert_eq!((attribution.user.as_deref(), attribution.session.as_deref()), (Some("lena"), Some("mine")));
    }

    #[test]
    fn malformed_labels_are_dropped_and_told() {
        for (name, value) in [
            ("x-tally-app", "%zz"),
            ("x-tally-user", "%ff"),
            ("x-tally-session", "a%2"),
            ("x-tally-tags", "team"),
            ("x-tally-tags", "=x"),
            ("x-tally-tags", "team="),
        ] {
            let (attribution, malformed) = attribute(&headers(&[(name, value)]), None, false);
            assert!(malformed, "{name}: {value}");
            assert_eq!(attribution, Attribution::default());
        }
    }
}
