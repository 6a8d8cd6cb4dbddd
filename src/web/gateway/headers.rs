//! What becomes of headers on their way through: hop-by-hop ones end here, ours do not leave, the rest passes.

use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, SET_COOKIE, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::credentials::X_API_KEY;
use crate::capture::attribute::OWN_HEADERS;
use crate::capture::observe::READABLE;
use crate::domain::tally_key;
use crate::web::guard::is_own_cookie;

/// Headers about one connection (RFC 9110 section 7.6.1 and the older ones). `Trailer` is not among them: it announces
/// fields that pass.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Makes a request's headers those that go upstream.
pub(super) fn to_upstream(headers: &mut HeaderMap) {
    let trailers = accepts_trailers(headers);
    drop_hop_by_hop(headers);
    headers.remove(TE);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    // The client of this hop sets the upstream's; `100 Continue` was answered on this side.
    headers.remove(HOST);
    headers.remove(EXPECT);
    let own: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with(OWN_HEADERS)).cloned().collect();
    for name in own {
        headers.remove(name);
    }
    reduce_accept_encoding(headers);
    drop_own_cookies(headers);
    for name in [AUTHORIZATION, X_API_KEY] {
        // One that paid is swapped afterwards; one beside another key, or in an odd place, is nobody's business upstream.
        let holds_tally_key = |value: &HeaderValue| {
            value.as_bytes().windows(tally_key::PREFIX.len()).any(|bytes| bytes == tally_key::PREFIX.as_bytes())
        };
        if headers.get_all(&name).iter().any(holds_tally_key) {
            let others: Vec<HeaderValue> =
                headers.get_all(&name).iter().filter(|value| !holds_tally_key(value)).cloned().collect();
            replace(headers, &name, others);
        }
        // Whatever prints headers on the way prints these as "Sensitive".
        if let Some(secret) = headers.get_mut(name) {
            secret.set_sensitive(true);
        }
    }
}

/// Makes a reply's headers those that go to the client.
pub(super) fn to_client(headers: &mut HeaderMap) {
    if headers.contains_key(TRANSFER_ENCODING) {
        // A length beside it is not the body's, and the client would believe it (RFC 9112 section 6.3).
        headers.remove(CONTENT_LENGTH);
    }
    drop_hop_by_hop(headers);
    let sets_ours = |value: &HeaderValue| {
        // A cookie without a name (`=x=…`) comes back as if `x` were its name.
        let text = value.as_bytes().trim_ascii_start();
        let text = &text[text.iter().take_while(|byte| matches!(byte, b'=' | b' ' | b'\t')).count()..];
        let name = text.split(|byte| matches!(byte, b'=' | b';')).next().unwrap_or_default();
        is_own_cookie(&String::from_utf8_lossy(name))
    };
    if headers.get_all(SET_COOKIE).iter().any(sets_ours) {
        let others: Vec<HeaderValue> =
            headers.get_all(SET_COOKIE).iter().filter(|value| !sets_ours(value)).cloned().collect();
        replace(headers, &SET_COOKIE, others);
    }
}

fn replace(headers: &mut HeaderMap, name: &HeaderName, values: Vec<HeaderValue>) {
    headers.remove(name);
    for value in values {
        headers.append(name, value);
    }
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers
        .get_all(TE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|element| element.split(';').next().is_some_and(|coding| coding.trim().eq_ignore_ascii_case("trailers")))
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Keeps of `Accept-Encoding` what the observer reads. The bytes stay as they are when that is all of it.
fn reduce_accept_encoding(headers: &mut HeaderMap) {
    if !headers.contains_key(ACCEPT_ENCODING) {
        return;
    }
    let elements: Vec<&str> = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("*").split(','))
        .map(str::trim)
        .filter(|element| !element.is_empty())
        .collect();
    let readable = |element: &&str| {
        let coding = element.split(';').next().unwrap_or_default().trim();
        READABLE.iter().any(|known| known.eq_ignore_ascii_case(coding)) || (coding == "*" && is_forbidden(element))
    };
    if elements.iter().all(readable) {
        return;
    }
    let kept: Vec<&str> = elements.into_iter().filter(readable).collect();
    // Saying nothing would mean "anything".
    let kept = if kept.is_empty() { "identity".to_owned() } else { kept.join(", ") };
    let value = HeaderValue::from_str(&kept).unwrap_or(HeaderValue::from_static("identity"));
    headers.insert(ACCEPT_ENCODING, value);
}

/// Whether an element of `Accept-Encoding` has weight zero.
fn is_forbidden(element: &str) -> bool {
    element.split(';').skip(1).any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        name.trim().eq_ignore_ascii_case("q") && value.trim().trim_matches(['0', '.']).is_empty()
    })
}

fn drop_own_cookies(headers: &mut HeaderMap) {
    let is_own = |pair: &[u8]| {
        let name = pair.split(|&byte| byte == b'=').next().unwrap_or_default();
        is_own_cookie(&String::from_utf8_lossy(name))
    };
    let pairs = |value: &HeaderValue| {
        value.as_bytes().split(|&byte| byte == b';').map(<[u8]>::to_vec).collect::<Vec<Vec<u8>>>()
    };
    if !headers.get_all(COOKIE).iter().any(|value| pairs(value).iter().any(|pair| is_own(pair))) {
        return;
    }
    let others = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| {
            let kept: Vec<Vec<u8>> = pairs(value).into_iter().filter(|pair| !is_own(pair)).collect();
            let kept = kept.join(&b';');
            HeaderValue::from_bytes(kept.trim_ascii()).ok().filter(|value| !value.is_empty())
        })
        .collect();
    replace(headers, &COOKIE, others);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers
    }

    fn sent(pairs: &[(&'static str, &str)]) -> Vec<(String, String)> {
        let mut headers = headers(pairs);
        to_upstream(&mut headers);
        listed(&headers)
    }

    fn listed(headers: &HeaderMap) -> Vec<(String, String)> {
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn what_belongs_to_one_hop_or_to_us_ends_here() {
        let sent = sent(&[
            ("host", "localhost:7117"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic x"),
            ("te", "trailers, deflate;q=0.5"),
            ("transfer-encoding", "chunked"),
            ("expect", "100-continue"),
            ("x-tally-app", "a"),
            ("x-tally-anything", "a"),
            ("cookie", "a=1; tallyd_session=x; b=2"),
            ("cookie", "tallyd_session=x"),
            ("x-title", "T"),
            ("authorization", "Bearer k"),
            ("x-api-key", "tally-secret"),
        ]);
        let expected = [("te", "trailers"), ("cookie", "a=1; b=2"), ("x-title", "T"), ("authorization", "Bearer k")];
        let mut expected: Vec<(String, String)> =
            expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut sent = sent;
        sent.sort();
        expected.sort();
        assert_eq!(sent, expected);
    }

    #[test]
    fn accept_encoding_is_reduced_to_what_can_be_read() {
        for (asked, passed) in [
            ("gzip, deflate, br, zstd", "gzip, deflate, br, zstd"),
            ("GZIP;q=0.5,identity", "GZIP;q=0.5,identity"),
            ("gzip;q=1.0, compress, *;q=0", "gzip;q=1.0, *;q=0"),
            ("*", "identity"),
            ("dcb, lzma", "identity"),
            ("br, *", "br"),
            ("", ""),
        ] {
            assert_eq!(sent(&[("accept-encoding", asked)]), [("accept-encoding".to_owned(), passed.to_owned())]);
        }
        assert_eq!(sent(&[]), []);
    }

    #[test]
    fn a_length_beside_chunks_is_none() {
        let length = ("content-length", "3");
        for (given, left) in [(vec![length, ("transfer-encoding", "chunked")], 0), (vec![length], 1)] {
            let mut headers = headers(&given);
            to_client(&mut headers);
            assert_eq!(headers.len(), left, "{given:?}");
        }
    }

    #[test]
    fn upstream_sets_no_cookie_of_ours() {
        let mut headers = headers(&[
            ("set-cookie", "__cf_bm=1; path=/"),
            ("set-cookie", "tallyd_session=evil"),
            ("set-cookie", " =tallyd_session=evil"),
            ("set-cookie", "__Host-tallyd_session=evil; Secure"),
            ("connection", "keep-alive"),
            ("trailer", "x-checksum"),
        ]);
        to_client(&mut headers);
        let pairs = [("set-cookie", "__cf_bm=1; path=/"), ("trailer", "x-checksum")];
        let mut listed = listed(&headers);
        listed.sort();
        assert_eq!(listed, pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
