//! Marks on a row (`usage.flags`): what was odd about a call, in words that documents explain.

/// A label was malformed and dropped.
pub const ATTRIBUTION_MALFORMED: &str = "attribution_malformed";
/// The request's body was larger than `gateway.request_buffer` or not JSON: attributed by key and headers only.
pub const REQUEST_NOT_READ: &str = "request_not_read";
/// The reply's coding, size or form could not be read; the rest comes from settling.
pub const REPLY_NOT_READ: &str = "reply_not_read";
/// The reply ended without its end (`[DONE]`, `Content-Length`): cut by the provider or the network.
pub const CUT: &str = "cut";
/// The client went away before the end.
pub const CLIENT_LEFT: &str = "client_left";
/// The daemon stopped while the call was under way; its outcome was not seen.
pub const INTERRUPTED: &str = "interrupted";
/// The generation record carries another ID than the one asked for.
pub const ID_DIFFERS: &str = "id_differs";
/// Upstream gave the ID of another call; the row has none of its own and can not be settled.
pub const ID_REPEATED: &str = "id_repeated";
/// The reply's cost and the record's differ.
pub const COST_DIFFERS: &str = "cost_differs";
/// The reply came from OpenRouter's response cache.
pub const RESPONSE_CACHE_HIT: &str = "response_cache_hit";
/// The outcome reached the client before the disk had confirmed it (`journal.sync_timeout`).
pub const NOT_SYNCED: &str = "not_synced";
/// The record showed no tokens and no cost three times and was believed.
pub const ZERO_RECORD: &str = "zero_record";
/// The request's body has a literal `extra_body`, which OpenRouter ignores: a client's option went out as text.
pub const EXTRA_BODY: &str = "extra_body";
/// A stream came to its end without a piece of an answer.
pub const NO_CONTENT: &str = "no_content";
/// A stream told nothing for more than 30 s between two events; comments and pings do not count.
pub const STALLED: &str = "stalled";
/// Another model answered than the one asked for.
pub const FALLBACK_MODEL: &str = "fallback_model";
/// A provider was tried and failed before the one that answered.
pub const FALLBACK_PROVIDER: &str = "fallback_provider";
/// Nothing came, and nothing was charged: zero-completion insurance.
pub const ZERO_COMPLETION: &str = "zero_completion";
/// What the request asked of providers did not decide who served.
pub const ROUTING_NO_EFFECT: &str = "routing_no_effect";
/// The reply's amount is below zero, beyond $9.2 million or no number, and was not taken.
pub const COST_NOT_READ: &str = "cost_not_read";
/// The reply or the record counted tokens that no call can have; they were not taken.
pub const TOKENS_NOT_READ: &str = "tokens_not_read";
