//! The programs of an invented company: what they ask of which models, and when.

use crate::domain::time::{DAY_MS, Timestamp};

use super::endpoint::Endpoint;

const HOUR_MS: i64 = 60 * 60 * 1000;

/// When a program works, in UTC.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hours {
    /// Through the day, most at `peak`; weekends see this share of a weekday.
    Day { peak: f64, weekend: f64 },
    /// From one full hour to another, every night.
    Night { from: i64, until: i64 },
    /// Evenly.
    Always,
    /// Monday and Thursday nights.
    Evaluations,
}

/// One model as one program uses it.
#[derive(Debug)]
pub(super) struct Use {
    pub(super) model: &'static str,
    /// Of the program's calls, in thousandths.
    pub(super) share: u32,
    /// Typical tokens.
    pub(super) prompt: u32,
    pub(super) completion: u32,
}

/// One program.
#[derive(Debug)]
pub(super) struct App {
    pub(super) name: &'static str,
    pub(super) key_name: &'static str,
    pub(super) endpoint: Endpoint,
    /// Of all calls, in thousandths.
    pub(super) share: u32,
    pub(super) hours: Hours,
    pub(super) uses: &'static [Use],
    /// Of its calls, in hundredths.
    pub(super) streamed: u32,
    /// Prefix of its users' names, and how many there are; 0: it names none.
    pub(super) users: (&'static str, u32),
    /// Prefix of its sessions and their typical length in calls; 0: it has none.
    pub(super) sessions: (&'static str, u32),
    pub(super) tags: &'static [&'static [(&'static str, &'static str)]],
    /// What it asks of providers, JSON.
    pub(super) routing: Option<&'static str>,
}

const fn uses(model: &'static str, share: u32, prompt: u32, completion: u32) -> Use {
    Use { model, share, prompt, completion }
}

/// The model that stands in when the one asked for is overloaded.
pub(super) const STAND_IN: &str = "google/gemini-2.5-flash";

/// Every program.
pub(super) static APPS: &[App] = &[
    App {
        name: "support-bot",
        key_name: "support-bot-prod",
        endpoint: Endpoint::Chat,
        share: 560,
        hours: Hours::Day { peak: 14.0, weekend: 0.46 },
        uses: &[
            uses("openai/gpt-4o-mini", 400, 1900, 220),
            uses("google/gemini-2.5-flash", 250, 1750, 165),
            uses("anthropic/claude-3.5-haiku", 115, 1900, 210),
            uses("openai/gpt-4o", 125, 2100, 165),
            uses("meta-llama/llama-3.3-70b-instruct", 100, 2000, 325),
            uses("anthropic/claude-sonnet-4", 10, 4200, 380),
        ],
        streamed: 92,
        users: ("cust-", 24_000),
        sessions: ("chat-", 6),
        tags: &[
            &[("env", "prod"), ("team", "care")],
            &[("env", "prod"), ("team", "care")],
            &[("channel", "mail"), ("env", "prod"), ("team", "care")],
            &[("env", "staging"), ("team", "care")],
        ],
        routing: Some("{\"allow_fallbacks\":true,\"sort\":\"latency\"}"),
    },
    App {
        name: "code-review",
        key_name: "code-review",
        endpoint: Endpoint::Chat,
        share: 27,
        hours: Hours::Day { peak: 13.0, weekend: 0.04 },
        uses: &[
            uses("anthropic/claude-sonnet-4", 560, 9800, 780),
            uses("google/gemini-2.5-pro", 200, 7600, 1300),
            uses("deepseek/deepseek-chat-v3.1", 200, 5100, 600),
            uses("openai/gpt-4.1", 40, 6200, 420),
        ],
        streamed: 74,
        users: ("dev-", 14),
        sessions: ("pr-", 9),
        tags: &[
            &[("repo", "api"), ("team", "platform")],
            &[("repo", "web"), ("team", "platform")],
            &[("repo", "infra"), ("team", "platform")],
        ],
        routing: Some("{\"order\":[\"anthropic\",\"amazon-bedrock\"]}"),
    },
    App {
        name: "batch-summaries",
        key_name: "batch",
        endpoint: Endpoint::Chat,
        share: 150,
        hours: Hours::Night { from: 1, until: 5 },
        uses: &[
            uses("deepseek/deepseek-chat-v3.1", 560, 4200, 350),
            uses("google/gemini-2.5-flash", 230, 1750, 170),
            uses("mistralai/mistral-medium-3.1", 150, 4700, 300),
            uses("openai/gpt-4o-mini", 60, 2600, 240),
        ],
        streamed: 0,
        users: ("", 0),
        sessions: ("", 0),
        tags: &[&[("job", "nightly"), ("team", "data")]],
        routing: Some("{\"sort\":\"price\"}"),
    },
    App {
        name: "growth-bot",
        key_name: "growth",
        endpoint: Endpoint::Chat,
        share: 48,
        hours: Hours::Day { peak: 16.0, weekend: 0.3 },
        uses: &[
            uses("anthropic/claude-3.5-haiku", 480, 1400, 320),
            uses("openai/gpt-4.1-mini", 420, 1600, 280),
            uses("x-ai/grok-3-mini", 100, 1200, 300),
        ],
        streamed: 20,
        users: ("lead-", 3000),
        sessions: ("", 0),
        tags: &[&[("campaign", "autumn"), ("team", "growth")], &[("campaign", "winback"), ("team", "growth")]],
        routing: None,
    },
    App {
        name: "search-index",
        key_name: "search",
        endpoint: Endpoint::Embeddings,
        share: 200,
        hours: Hours::Always,
        uses: &[uses("openai/text-embedding-3-small", 1000, 1150, 0)],
        streamed: 0,
        users: ("", 0),
        sessions: ("", 0),
        tags: &[&[("team", "search")]],
        routing: None,
    },
    App {
        name: "nightly-evals",
        key_name: "evals",
        endpoint: Endpoint::Chat,
        share: 15,
        hours: Hours::Evaluations,
        uses: &[
            uses("meta-llama/llama-3.3-70b-instruct:free", 400, 900, 240),
            uses("meta-llama/llama-3.3-70b-instruct", 400, 900, 240),
            uses("openai/gpt-4o-mini", 200, 900, 240),
        ],
        streamed: 10,
        users: ("", 0),
        sessions: ("run-", 400),
        tags: &[&[("suite", "answers"), ("team", "evals")], &[("suite", "refusals"), ("team", "evals")]],
        routing: None,
    },
];

/// Days since Monday.
pub(super) const fn weekday(at: Timestamp) -> i64 {
    // 1 January 1970 was a Thursday.
    (at.millis().div_euclid(DAY_MS) + 3).rem_euclid(7)
}

impl Hours {
    /// How busy it is at `at`, in a unit of its own.
    #[expect(clippy::cast_precision_loss, reason = "a day has fewer milliseconds than an f64 has exact integers")]
    pub(super) fn busy(self, at: Timestamp) -> f64 {
        let hour = at.millis().rem_euclid(DAY_MS) as f64 / HOUR_MS as f64;
        let (day, full) = (weekday(at), at.millis().rem_euclid(DAY_MS) / HOUR_MS);
        let inside = |from: i64, until: i64| f64::from(u8::from(from <= full && full < until));
        match self {
            Self::Day { peak, weekend } => {
                // A bell around the peak, measured the short way round the clock, over a small base.
                let away = ((hour - peak + 36.0) % 24.0) - 12.0;
                let bell = 0.06 + (-away * away / 22.0).exp();
                if day >= 5 { bell * weekend } else { bell }
            }
            Self::Night { from, until } => inside(from, until),
            Self::Always => 1.0,
            Self::Evaluations => inside(21, 23) * f64::from(u8::from(day == 0 || day == 3)),
        }
    }
}
