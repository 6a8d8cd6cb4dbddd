//! Calls of every kind, one after the other: what they ask for, how the simulated OpenRouter answers, when their clients
//! leave.

use serde_json::json;

use super::installation::KEY;

/// A key under `[openrouter.keys]` as `second`.
pub const SECOND_KEY: &str = "sk-or-v1-configured-second-0002";

/// A key that callers bring.
pub const BROUGHT_KEY: &str = "sk-or-v1-brought-by-callers-0003";

/// What stands in `tallyd.toml` for [`SECOND_KEY`].
pub const SECOND: &str = "[openrouter.keys]\nsecond = \"sk-or-v1-configured-second-0002\"\n";

const MODELS: [&str; 5] = [
    "openai/gpt-4o-mini",
    "anthropic/claude-sonnet-4",
    "google/gemini-2.5-flash",
    "deepseek/deepseek-chat-v3.1",
    "openai/gpt-4.1",
];

/// How whole streams vary.
const STREAMS: [&str; 10] = [
    "",
    "coding=gzip",
    "eol=crlf;comments=3",
    "usage=empty;split=7",
    "coding=br;usage=none",
    "error_after=2",
    "inline_short=3",
    "byok=1;byok_fee=1",
    "lag_ms=3000;bad_reads=1",
    "coding=zstd;trailers=1",
];

/// How streams are cut by the provider.
const CUTS: [&str; 4] = ["cut_how=json", "cut_how=frame", "cut_how=clean", "cut_how=reset"];

/// How replies that are not streamed vary.
const WHOLES: [&str; 16] = [
    "",
    "coding=gzip",
    "framing=chunked;padding=3",
    "usage=none",
    "status=429",
    "embedded=choice",
    "split=40;cut=2",
    "byok=1",
    "zero_reads=1",
    "garbage_reads=1;lag_ms=1000",
    "status=502;error_billed=1",
    "notation=python",
    "old_record=1",
    "odd_record=1",
    "no_id=1",
    "cached=500;usage=null_cost",
];

/// One call.
pub struct Call {
    /// Which one.
    pub number: u64,
    /// Below `/api/v1/`.
    pub endpoint: &'static str,
    pub model: &'static str,
    pub streamed: bool,
    /// What the simulator is asked for.
    pub behaviour: String,
    /// The client leaves after so many pieces of the body.
    pub leaves_after: Option<usize>,
}

impl Call {
    /// The call of this number: every second is streamed, and half of the streams are cut.
    pub fn nth(number: u64) -> Self {
        let pick = |of: &[&'static str], by: u64| of[usize::try_from(by % of.len() as u64).unwrap()];
        let (streamed, turn) = (number % 2 == 1, number / 2);
        let mut endpoint =
            pick(&["chat/completions", "chat/completions", "responses", "messages", "completions"], turn / 3);
        let mut model = pick(&MODELS, turn);
        let mut leaves_after = None;
        let kind = if streamed {
            match turn % 4 {
                0 => {
                    leaves_after = Some(2);
                    "chunks=60;chunk_ms=20".to_owned()
                }
                1 => format!("chunks=8;cut=3;{}", pick(&CUTS, turn / 4)),
                _ => pick(&STREAMS, turn / 4).to_owned(),
            }
        } else if turn % 20 == 17 {
            (endpoint, model) = ("embeddings", "openai/text-embedding-3-small");
            String::new()
        } else if turn % 20 == 18 {
            leaves_after = Some(1);
            "split=50;split_ms=20".to_owned()
        } else {
            pick(&WHOLES, turn).to_owned()
        };
        let tokens = 100 + number % 150;
        let behaviour = format!("prompt_tokens=1000;completion_tokens={tokens};{kind}");
        Self { number, endpoint, model, streamed, behaviour, leaves_after }
    }

    /// Where it is posted to.
    pub fn path(&self) -> String {
        format!("/api/v1/{}", self.endpoint)
    }

    /// The application it is for.
    pub fn app(&self) -> String {
        format!("app-{}", self.number / 7 % 4)
    }

    /// The end user it is for.
    pub fn user(&self) -> String {
        format!("user-{}", self.number / 3 % 5)
    }

    /// Its tag `team`.
    pub fn team(&self) -> &'static str {
        if (self.number / 5).is_multiple_of(2) { "red" } else { "blue" }
    }

    /// The key it is made with, and the name the ledger has for that.
    pub fn key(&self) -> (&'static str, &'static str) {
        match self.number / 11 % 3 {
            0 => (KEY, "default"),
            1 => (SECOND_KEY, "second"),
            _ => (BROUGHT_KEY, "…0003"),
        }
    }

    /// Its session, by which the simulator's books tell which call a bill is for.
    pub fn session(&self) -> String {
        format!("call-{}", self.number)
    }

    /// The number of the call of that session.
    pub fn of_session(session: &str) -> Self {
        Self::nth(session.strip_prefix("call-").unwrap().parse().unwrap())
    }

    /// Its headers.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        vec![
            ("authorization", format!("Bearer {}", self.key().0)),
            ("content-type", "application/json".to_owned()),
            ("accept-encoding", "gzip, br, zstd".to_owned()),
            ("x-tally-app", self.app()),
            ("x-tally-user", self.user()),
            ("x-tally-tags", format!("team={}", self.team())),
            ("x-sim", self.behaviour.clone()),
        ]
    }

    /// Its body.
    pub fn body(&self) -> String {
        let mut body = json!({ "model": self.model, "session_id": self.session() });
        match self.endpoint {
            "embeddings" | "responses" => body["input"] = "How much was it?".into(),
            "completions" => body["prompt"] = "How much was it?".into(),
            _ => body["messages"] = json!([{ "role": "user", "content": "How much was it?" }]),
        }
        if self.streamed {
            body["stream"] = true.into();
        }
        body.to_string()
    }
}
