//! Links within the dashboard: paths and queries, written so that no name can leave its place.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::form_urlencoded::Serializer;

/// What is written otherwise in a segment. Dots are, as `..` would lead out of it.
const IN_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// `path` with the pairs as its query; no `?` without pairs.
pub(super) fn link<'a>(path: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let query = Serializer::new(String::new()).extend_pairs(pairs).finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// A name as one segment of a path.
pub(super) fn segment(name: &str) -> String {
    utf8_percent_encode(name, IN_SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_where_they_are_put() {
        assert_eq!(link("/completions", [("app", "a&b=c #?é")]), "/completions?app=a%26b%3Dc+%23%3F%C3%A9");
        assert_eq!(link("/x", []), "/x");
        assert_eq!(segment("../a-b?c"), "%2E%2E%2Fa-b%3Fc");
    }
}
