//! The observer: whatever the bytes and however they are cut, the same is learnt, and within bounds.
//!
//! The last byte of an input says how it is coded, so that a payload as it stands is an input.

#![no_main]

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tallyd::capture::allowance::Allowance;
use tallyd::capture::observe::{ObserveLimits, Observed, Observer};
use tallyd::domain::flags;
use tallyd_fuzz::{pieces, within};

const FORMS: [&str; 2] = ["text/event-stream", "application/json"];
const CODINGS: [&str; 5] = ["identity", "gzip", "deflate", "br", "zstd"];

/// What is looked at of a compressed reply, in bytes.
const DECODED: u64 = 256 << 10;

/// The most that one observer may have: what is kept of a text, growing by halves, and its decoder.
const PLAIN: usize = 256 << 10;
const CODED: usize = 20 << 20;

fn observe<'a>(form: &'static str, coding: &'static str, parts: impl IntoIterator<Item = &'a [u8]>) -> Observed {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(form));
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    let limits = ObserveLimits { decoded: DECODED, memory: Allowance::new(32 << 20) };
    within(if coding == "identity" { PLAIN } else { CODED }, || {
        let mut observer = Observer::new(&headers, &limits);
        let mut ended = false;
        for part in parts {
            let now = observer.push(part);
            assert!(now || !ended, "an end was taken back");
            ended = now;
        }
        let named = observer.names_generation();
        let observed = observer.finish(true);
        // Half an event may name one that its client never sees.
        assert!(!named || observed.reading.generation_id.is_some() || form == FORMS[0], "an ID was lost");
        observed
    })
}

fn is_unread(observed: &Observed) -> bool {
    observed.reading.flags.contains(&flags::REPLY_NOT_READ)
}

fuzz_target!(|input: &[u8]| {
    let Some((mode, body)) = input.split_last() else { return };
    let coding = CODINGS[usize::from(*mode) % CODINGS.len()];
    for form in FORMS {
        let whole = observe(form, coding, [body]);
        let cut = observe(form, coding, pieces(body));
        let single = observe(form, coding, body.chunks(1));
        if let Some(cost) = whole.reading.facts.inline_cost {
            assert!(cost.picos() >= 0, "a negative cost was believed");
        }
        // How much of a damaged coding is read before the damage shows is up to its decoder.
        if coding == "identity" || ![&whole, &cut, &single].into_iter().any(is_unread) {
            assert_eq!(whole, cut);
            assert_eq!(whole, single);
        }
    }
});
