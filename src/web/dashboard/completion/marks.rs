//! What the marks on a row say, for people.

use crate::domain::flags;

/// What a flag says, for people.
pub(super) fn meaning(flag: &str) -> &'static str {
    match flag {
        flags::ATTRIBUTION_MALFORMED => "A label was malformed and was dropped.",
        flags::REQUEST_NOT_READ => "The request was too large, or no JSON: attributed by key and headers only.",
        flags::REPLY_NOT_READ => "The reply’s coding, size or form could not be read; the rest comes from its record.",
        flags::CUT => "The reply ended without its end: cut by the provider or the network.",
        flags::CLIENT_LEFT => "The client went away before the end.",
        flags::INTERRUPTED => "tallyd stopped while the call was under way; its outcome was not seen.",
        flags::ID_DIFFERS => "The generation record carries another ID than the one asked for.",
        flags::ID_REPEATED => {
            "Upstream gave the ID of another call; this row has none of its own and can not be settled."
        }
        flags::COST_DIFFERS => "The reply’s cost and the record’s differ; the record’s counts.",
        flags::RESPONSE_CACHE_HIT => "The reply came from OpenRouter’s response cache.",
        flags::NOT_SYNCED => "The reply’s end reached the client before the disk had confirmed the record.",
        flags::ZERO_RECORD => "The record showed no tokens and no cost three times, and was believed.",
        flags::EXTRA_BODY => {
            "The body holds a literal extra_body, which OpenRouter ignores: write its fields at the top of the body."
        }
        flags::NO_CONTENT => {
            "The stream came to its end without a piece of an answer. Often reasoning used up max_tokens."
        }
        flags::STALLED => "The stream told nothing for more than 30 s between two chunks; comments do not count.",
        flags::FALLBACK_MODEL => "Another model answered than the one asked for first.",
        flags::FALLBACK_PROVIDER => "A provider was tried and failed before the one that served.",
        flags::ZERO_COMPLETION => "Nothing came, and nothing was charged: OpenRouter’s zero-completion insurance.",
        flags::ROUTING_NO_EFFECT => "A preference about providers took no effect; see “Asked of providers”.",
        flags::COST_NOT_READ => "The reply’s amount was no number, or out of range, and was not taken.",
        flags::TOKENS_NOT_READ => "The reply or the record counted tokens that no call can have; they were not taken.",
        _ => "A mark of another version.",
    }
}
