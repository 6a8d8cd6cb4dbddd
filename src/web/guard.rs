//! Who may speak to the daemon: the rules against the browser, and the admin token (design.md 3.4).
//!
//! A web page that a user happens to open must not reach a daemon on the user's own machine: not by
//! its name (DNS rebinding), not by a form, not by a script. Programs are not touched by these rules.

use std::net::{IpAddr, SocketAddr};

use http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use http::{HeaderMap, HeaderName, Method, Uri};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use crate::domain::ids::KeyFingerprint;

/// The cookie that a sign-in sets.
pub const SESSION_COOKIE: &str = "tallyd_session";

/// What the names of all our cookies begin with: they are not forwarded, and upstream cannot set one.
const COOKIE_PREFIX: &str = "tallyd_";

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// What a request wants to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// `/api`, where callers bring keys of their own.
    Api,
    /// `/api` in open mode, where whoever reaches it spends with the configured key.
    OpenApi,
    /// Pages, which a link on another site may open.
    Pages,
    /// `/tally/v1` and `/metrics`.
    Data,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The Host is none of ours.
    #[error(
        "this Host name is not one that tallyd answers to on a loopback listener; add it to allowed_hosts in tallyd.toml"
    )]
    Host,
    /// It comes from another site's page.
    #[error("requests from other web sites are refused; a program must not send Origin or Sec-Fetch-Site")]
    CrossSite,
    /// A browser wants to show it as a document.
    #[error("this is an API, and no page to open in a browser")]
    Document,
}

/// The rules of one listener.
#[derive(Debug)]
pub struct Guard {
    loopback: bool,
    allowed_hosts: Vec<String>,
    token: Option<SecretString>,
    session: Option<String>,
}

impl Guard {
    /// The rules for a listener at `listen`; `allowed_hosts` are names in lower case, without ports.
    pub fn new(listen: SocketAddr, allowed_hosts: Vec<String>, token: Option<SecretString>) -> Self {
        // A cookie that is stolen does not give the token away.
        let session = |token: &SecretString| KeyFingerprint::of(&format!("tallyd session\0{}", token.expose_secret()));
        let session = token.as_ref().map(|token| session(token).sha256);
        Self { loopback: listen.ip().to_canonical().is_loopback(), allowed_hosts, token, session }
    }

    /// Whether only this machine reaches the listener.
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }

    /// Whether a request to this surface may go on.
    ///
    /// A link that a person follows from elsewhere, such as that of an alert in webmail, opens a page: reading one changes
    /// nothing, no other site sees what it holds, and a sign-in's cookie stays home.
    pub fn check(&self, surface: Surface, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Denied> {
        let host = uri.authority().map(http::uri::Authority::as_str).or_else(|| headers.get(HOST)?.to_str().ok());
        if self.loopback && !host.is_some_and(|host| self.is_ours(host)) {
            return Err(Denied::Host);
        }
        let followed = surface == Surface::Pages && is_followed_link(method, headers);
        if surface != Surface::Api && !followed && is_foreign(host, headers) {
            return Err(Denied::CrossSite);
        }
        if matches!(surface, Surface::OpenApi | Surface::Api) && is_document(headers) {
            return Err(Denied::Document);
        }
        Ok(())
    }

    /// Whether pages and `/tally/v1` are open to whoever passes [`Guard::check`]: no admin token is set.
    pub fn is_open(&self) -> bool {
        self.token.is_none()
    }

    /// Whether this is the admin token.
    pub fn is_admin_token(&self, token: &str) -> bool {
        let same = |own: &SecretString| own.expose_secret().as_bytes().ct_eq(token.as_bytes()).into();
        self.token.as_ref().is_some_and(same)
    }

    /// Whether a request may use pages and `/tally/v1`: no token is set, or it brings it as bearer or as the cookie of a
    /// sign-in.
    pub fn is_admin(&self, headers: &HeaderMap) -> bool {
        self.is_open()
            || bearer(headers).is_some_and(|token| self.is_admin_token(token))
            || self.session.as_ref().is_some_and(|session| {
                cookies(headers).any(|(name, value)| {
                    name == SESSION_COOKIE && bool::from(value.as_bytes().ct_eq(session.as_bytes()))
                })
            })
    }

    /// The `Set-Cookie` that a sign-in answers with; `None` when no token is set. Another token ends every sign-in.
    pub fn sign_in_cookie(&self) -> Option<String> {
        let session = self.session.as_ref()?;
        Some(format!("{SESSION_COOKIE}={session}; Path=/; HttpOnly; SameSite=Strict"))
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = host_name(host);
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return ip.to_canonical().is_loopback() || self.allowed_hosts.iter().any(|allowed| allowed == bare);
        }
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        name == "localhost" || name.ends_with(".localhost") || self.allowed_hosts.contains(&name)
    }
}

/// The `Set-Cookie` that ends a sign-in.
pub fn sign_out_cookie() -> String {
    format!("{SESSION_COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
}

/// The token of an `Authorization: Bearer …` header.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether a cookie of this name is ours: not to be forwarded, and not for others to set.
pub fn is_own_cookie(name: &str) -> bool {
    let bare = name.trim();
    let bare = ["__host-", "__secure-"].iter().find_map(|prefix| strip_prefix(bare, prefix)).unwrap_or(bare);
    strip_prefix(bare, COOKIE_PREFIX).is_some()
}

fn strip_prefix<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let head = name.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &name[prefix.len()..])
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
}

/// A host without its port.
fn host_name(host: &str) -> &str {
    match host.rfind(']') {
        Some(end) => &host[..=end],
        None => host.split(':').next().unwrap_or(host),
    }
}

fn is_foreign(host: Option<&str>, headers: &HeaderMap) -> bool {
    if is_cross_site(headers) {
        return true;
    }
    let Some(origin) = headers.get(ORIGIN) else { return false };
    // `null` is a sandbox or a file: foreign.
    let Some((scheme, authority)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else {
        return true;
    };
    let default_port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let bare = |text: &str| text.strip_suffix(default_port).unwrap_or(text).to_ascii_lowercase();
    host.is_none_or(|host| bare(host) != bare(authority))
}

/// Whether a browser asks on behalf of another site.
pub fn is_cross_site(headers: &HeaderMap) -> bool {
    is_one_of(headers, &SEC_FETCH_SITE, &["cross-site"])
}

/// Whether somebody has followed a link to a page of its own: no form, no script, no frame. Browsers set these headers
/// themselves, and send no Origin with such a request.
fn is_followed_link(method: &Method, headers: &HeaderMap) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
        && is_one_of(headers, &SEC_FETCH_MODE, &["navigate"])
        && is_one_of(headers, &SEC_FETCH_DEST, &["document"])
        && !headers.contains_key(ORIGIN)
}

fn is_document(headers: &HeaderMap) -> bool {
    is_one_of(headers, &SEC_FETCH_MODE, &["navigate"])
        || is_one_of(headers, &SEC_FETCH_DEST, &["document", "frame", "iframe", "embed", "object"])
}

fn is_one_of(headers: &HeaderMap, name: &HeaderName, values: &[&str]) -> bool {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| values.iter().any(|known| value.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn guard(listen: &str, token: Option<&str>) -> Guard {
        Guard::new(listen.parse().unwrap(), vec!["tally.example".to_owned()], token.map(SecretString::from))
    }

    fn check(surface: Surface, pairs: &[(&'static str, &str)]) -> Result<(), Denied> {
        guard("127.0.0.1:7117", None).check(surface, &Method::GET, &Uri::from_static("/x"), &headers(pairs))
    }

    #[test]
    fn a_loopback_listener_answers_to_loopback_names_only() {
        for host in [
            "localhost:7117",
            "LOCALHOST",
            "127.0.0.1:7117",
            "127.9.9.9",
            "[::1]:7117",
            "a.localhost",
            "tally.example:80",
        ] {
            assert_eq!(check(Surface::Api, &[("host", host)]), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "[fe80::1]",
            "tally.example.evil",
            "",
            "127.0.0.1.nip.io",
        ] {
            assert_eq!(check(Surface::Pages, &[("host", host)]), Err(Denied::Host), "{host}");
        }
        assert_eq!(check(Surface::Api, &[]), Err(Denied::Host));
        let beyond = guard("0.0.0.0:7117", Some("secret"));
        let any = headers(&[("host", "any.example")]);
        assert_eq!(beyond.check(Surface::Pages, &Method::GET, &Uri::from_static("/"), &any), Ok(()));
        let absolute = Uri::from_static("http://evil.example/api/v1/models");
        let local = guard("127.0.0.1:7117", None);
        let own = headers(&[("host", "localhost")]);
        assert_eq!(local.check(Surface::Api, &Method::GET, &absolute, &own), Err(Denied::Host));
    }

    #[test]
    fn other_sites_are_refused_where_they_could_spend_or_read() {
        let host = ("host", "localhost:7117");
        for foreign in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", "http://localhost:3000"),
            ("sec-fetch-site", "cross-site"),
        ] {
            assert_eq!(check(Surface::OpenApi, &[host, foreign]), Err(Denied::CrossSite), "{foreign:?}");
            assert_eq!(check(Surface::Pages, &[host, foreign]), Err(Denied::CrossSite), "{foreign:?}");
            assert_eq!(check(Surface::Data, &[host, foreign]), Err(Denied::CrossSite), "{foreign:?}");
            assert_eq!(check(Surface::Api, &[host, foreign]), Ok(()), "{foreign:?}");
        }
        for own in [("origin", "http://localhost:7117"), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none")]
        {
            assert_eq!(check(Surface::Pages, &[host, own]), Ok(()), "{own:?}");
        }
        assert_eq!(check(Surface::Pages, &[("host", "localhost"), ("origin", "http://localhost:80")]), Ok(()));
    }

    #[test]
    fn a_link_that_somebody_follows_opens_a_page_and_nothing_else() {
        let link = [
            ("host", "localhost"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert_eq!(check(Surface::Pages, &link), Ok(()));
        assert_eq!(check(Surface::Data, &link), Err(Denied::CrossSite));
        assert_eq!(check(Surface::OpenApi, &link), Err(Denied::CrossSite));
        assert_eq!(check(Surface::Api, &link), Err(Denied::Document));
        let posted = guard("127.0.0.1:7117", None);
        let posted = posted.check(Surface::Pages, &Method::POST, &Uri::from_static("/login"), &headers(&link));
        assert_eq!(posted, Err(Denied::CrossSite));
        for (place, other) in [
            (0, ("host", "evil.example")),
            (2, ("sec-fetch-mode", "no-cors")),
            (3, ("sec-fetch-dest", "iframe")),
            (3, ("origin", "https://evil.example")),
        ] {
            let mut changed = link;
            changed[place] = other;
            assert!(check(Surface::Pages, &changed).is_err(), "{other:?}");
        }
    }

    #[test]
    fn the_api_is_no_document() {
        let host = ("host", "localhost");
        for document in [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")] {
            assert_eq!(check(Surface::Api, &[host, document]), Err(Denied::Document));
            assert_eq!(check(Surface::Pages, &[host, document]), Ok(()));
        }
        assert_eq!(check(Surface::Api, &[host, ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")]), Ok(()));
    }

    #[test]
    fn the_admin_token_opens_by_bearer_and_by_cookie() {
        let open = guard("127.0.0.1:7117", None);
        assert!(open.is_admin(&HeaderMap::new()) && open.sign_in_cookie().is_none());
        let shut = guard("127.0.0.1:7117", Some("secret"));
        assert!(!shut.is_admin(&HeaderMap::new()));
        assert!(shut.is_admin(&headers(&[("authorization", "bearer secret")])));
        assert!(!shut.is_admin(&headers(&[("authorization", "Bearer secre")])));
        let cookie = shut.sign_in_cookie().unwrap();
        assert!(!cookie.contains("secret"));
        let pair = format!("a=b; {}", cookie.split(';').next().unwrap());
        assert!(shut.is_admin(&headers(&[("cookie", &pair)])));
        assert!(!shut.is_admin(&headers(&[("cookie", "tallyd_session=secret")])));
    }

    #[test]
    fn our_cookies_are_known_by_their_names() {
        for own in ["tallyd_session", " Tallyd_x", "__Host-tallyd_session", "__Secure-tallyd_a"] {
            assert!(is_own_cookie(own), "{own}");
        }
        for other in ["session", "__Host-session", "xtallyd_", "tallyd", "ü"] {
            assert!(!is_own_cookie(other), "{other}");
        }
    }
}
