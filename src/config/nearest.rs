//! The nearest real name to one that does not exist, for the error that says so.

/// The candidate nearest to `word`, compared whole and by its last part (after `.` or `/`), without regard to case;
/// `None` only without candidates.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let scored = candidates.into_iter().map(|candidate| (score(&word, &candidate.to_lowercase()), candidate));
    // On a tie the first stays: candidates come sorted, so the answer is always the same.
    scored.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, candidate)| candidate)
}

fn score(word: &str, candidate: &str) -> f64 {
    let whole = strsim::normalized_damerau_levenshtein(word, candidate);
    let last = strsim::normalized_damerau_levenshtein(last_part(word), last_part(candidate));
    // The last part alone tells a little less than the whole: the same name may stand in two sections.
    whole.max(last * 0.95)
}

fn last_part(name: &str) -> &str {
    name.rsplit(['.', '/']).next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_misplaced_and_shortened_names_are_found() {
        let keys = ["gateway.request_buffer", "listen", "openrouter.base_url", "settle.timeout", "smtp.timeout"];
        for (word, wanted) in [
            ("gateway.request_bufer", "gateway.request_buffer"),
            ("request_buffer", "gateway.request_buffer"),
            ("smtp.listen", "listen"),
            ("smtp.timout", "smtp.timeout"),
            ("openrouter.baseurl", "openrouter.base_url"),
        ] {
            assert_eq!(nearest(word, keys), Some(wanted), "{word}");
        }
        assert_eq!(nearest("berlin", ["Europe/Berlin", "Europe/Bern"]), Some("Europe/Berlin"));
        assert_eq!(nearest("x", []), None);
    }
}
