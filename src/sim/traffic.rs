//! A plausible past: the calls of an invented company over some weeks, for the demo to fill a ledger with.
//!
//! The same seed gives the same calls. Spend follows the clock and the week; in the second week before the end Anthropic is
//! overloaded for an afternoon and calls fall back to another model; in the last week code review turns to a dearer one.

use super::KEY_PREFIX;
use super::apps::{APPS, App, STAND_IN};
use super::arrivals::Arrivals;
use super::bill::{Bill, Payer};
use super::catalogue::{self, ANTHROPIC, BEDROCK, MODELS, Model, Provider, Route};
use super::dice::Dice;
use super::endpoint::Endpoint;
use super::picos::{PICOS_PER_DOLLAR, Picos};
use super::truth::{Attempt, Outcome, Tokens};
use crate::domain::ids::GenerationId;
use crate::domain::time::{DAY_MS, Timestamp};

/// What the company spends on a weekday, and on a day of the weekend, in dollars.
const WEEKDAY_DOLLARS: f64 = 33.5;
const WEEKEND_DOLLARS: f64 = 12.8;

/// Draws that calibrate the tokens of a call to the spend of a day.
const CALIBRATION: u32 = 4096;

/// How far tokens may be scaled from what is typical.
const SCALE: (f64, f64) = (0.1, 10.0);

/// The afternoon on which Anthropic is overloaded: days before the end, hour, length.
const OUTAGE: (i64, i64, i64) = (9, 13, 2);

/// Sessions that one program holds open at a time.
const OPEN_SESSIONS: usize = 24;

const HOUR_MS: i64 = 60 * 60 * 1000;

/// The names of the keys that the company's programs use, each with a key of that name.
pub fn keys() -> impl Iterator<Item = (&'static str, String)> {
    APPS.iter().map(|app| (app.key_name, format!("{KEY_PREFIX}simulated-{}", app.key_name)))
}

/// How a call ended, as its caller saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With a reply that ended as this says.
    Replied(Outcome),
    /// With an error status and no generation.
    Refused {
        /// The status.
        status: u16,
        /// OpenRouter's word for it.
        error_type: &'static str,
    },
}

/// One call of the past.
#[derive(Clone, Debug)]
pub struct SimCall {
    /// When.
    pub created_at: Timestamp,
    /// Its generation; `None`: refused before there was one.
    pub id: Option<GenerationId>,
    /// The program.
    pub app: &'static str,
    /// The name of the key it used.
    pub key_name: &'static str,
    /// On whose behalf.
    pub user: Option<String>,
    /// In which conversation.
    pub session: Option<String>,
    /// Names and values, names in order.
    pub tags: &'static [(&'static str, &'static str)],
    /// Where it was asked for.
    pub endpoint: Endpoint,
    /// The model asked for.
    pub requested: &'static str,
    /// What was asked of providers, JSON.
    pub routing: Option<&'static str>,
    /// The model that answered, or was asked.
    pub model: &'static Model,
    /// The provider that answered, or was asked last.
    pub provider: &'static Provider,
    /// Tokens billed.
    pub tokens: Tokens,
    /// Charged in the end.
    pub cost: Picos,
    /// Charged by the provider to the caller's own account; `None`: not a key of the caller's own.
    pub upstream: Option<Picos>,
    /// What the reply said it cost; `None`: it broke before it could.
    pub inline_cost: Option<Picos>,
    /// Saved by the provider's cache.
    pub cache_discount: Option<Picos>,
    /// Whether it was streamed.
    pub streamed: bool,
    /// How it ended.
    pub ended: Ended,
    /// `stop`, `length`, `error`; `None`: cancelled or refused.
    pub finish_reason: Option<&'static str>,
    /// Time to the first token, as the record has it.
    pub latency_ms: u32,
    /// Time of the whole generation, as the record has it.
    pub generation_ms: u32,
    /// From the request to the reply's head, as measured at the caller's side.
    pub first_byte_ms: u32,
    /// From the request to the reply's end, measured so.
    pub duration_ms: u32,
    /// The tries at providers.
    pub attempts: Vec<Attempt>,
    /// From the reply's end to the record that settled it; `None`: it never came.
    pub settled_after_ms: Option<u32>,
}

/// The calls from `from` until before `until`, oldest first: `count` of them.
pub fn history(seed: u64, from: Timestamp, until: Timestamp, count: u32) -> impl Iterator<Item = SimCall> {
    let mut company = Company::new(seed);
    company.outage = outage(until);
    company.dear_from = until.plus_millis(-7 * DAY_MS);
    company.calibrate(from, until, count);
    Arrivals::new(from, until, count).map(move |(app, at)| company.call(app, at))
}

fn outage(until: Timestamp) -> (Timestamp, Timestamp) {
    let (days, hour, length) = OUTAGE;
    let midnight = until.millis() - until.millis().rem_euclid(DAY_MS) - days * DAY_MS;
    let start = Timestamp(midnight + hour * HOUR_MS);
    (start, start.plus_millis(length * HOUR_MS))
}

/// A conversation under way.
#[derive(Clone, Debug, Default)]
struct Session {
    number: u32,
    user: u32,
    left: u32,
}

/// The invented company: draws one call after the other.
#[derive(Debug)]
pub(super) struct Company {
    dice: Dice,
    scale: f64,
    sessions: Vec<[Session; OPEN_SESSIONS]>,
    next_session: u32,
    outage: (Timestamp, Timestamp),
    dear_from: Timestamp,
}

impl Company {
    pub(super) fn new(seed: u64) -> Self {
        let never = Timestamp(i64::MAX);
        Self {
            dice: Dice::new(seed),
            scale: 1.0,
            sessions: vec![std::array::from_fn(|_| Session::default()); APPS.len()],
            next_session: 0x8f_31c2,
            outage: (never, never),
            dear_from: never,
        }
    }

    /// The same company with calls so many times as large.
    pub(super) fn sized(self, scale: f64) -> Self {
        Self { scale, ..self }
    }

    /// Sizes calls so that `count` of them over that time cost what the company spends in it.
    fn calibrate(&mut self, from: Timestamp, until: Timestamp, count: u32) {
        let mut wanted = 0.0;
        let mut at = from;
        while at < until {
            let day = if super::apps::weekday(at) >= 5 { WEEKEND_DOLLARS } else { WEEKDAY_DOLLARS };
            #[expect(clippy::cast_precision_loss, reason = "at most a day in milliseconds")]
            let part = (until.millis() - at.millis()).min(DAY_MS) as f64 / DAY_MS as f64;
            wanted += day * part;
            at = at.plus_millis(DAY_MS);
        }
        let mut sample = Self::new(self.dice.clone().next());
        let drawn: Picos = (0..CALIBRATION)
            .map(|nth| {
                let app = sample.pick(|app| f64::from(app.share));
                sample.call(app, from.plus_millis(i64::from(nth))).cost
            })
            .sum();
        #[expect(clippy::cast_precision_loss, reason = "a rough size of tokens, not an amount that is kept")]
        let typical = drawn.0 as f64 / PICOS_PER_DOLLAR as f64 / f64::from(CALIBRATION);
        let scale = wanted / (typical * f64::from(count.max(1)));
        self.scale = if scale.is_finite() { scale.clamp(SCALE.0, SCALE.1) } else { 1.0 };
    }

    fn pick(&mut self, weight: impl Fn(&App) -> f64) -> &'static App {
        let all: f64 = APPS.iter().map(&weight).sum();
        let mut left = self.dice.fraction() * all;
        for app in APPS {
            left -= weight(app);
            if left < 0.0 {
                return app;
            }
        }
        &APPS[0]
    }

    /// The next call of whoever is busy at `at`.
    pub(super) fn call_now(&mut self, at: Timestamp) -> SimCall {
        let app = self.pick(|app| f64::from(app.share) * (0.2 + app.hours.busy(at)));
        self.call(app, at)
    }

    /// The next call of `app`.
    pub(super) fn call(&mut self, app: &'static App, at: Timestamp) -> SimCall {
        let (name, prompt, completion) = self.wanted(app, at);
        let asked = catalogue::find(name).unwrap_or(&MODELS[0]);
        let overloaded = at >= self.outage.0 && at < self.outage.1 && asked.routes[0].provider == &ANTHROPIC;
        let mut attempts = self.refusals(asked, overloaded);
        let given_up = !attempts.is_empty() && self.dice.one_in(if overloaded { 6 } else { 5 });
        let model = if attempts.is_empty() { asked } else { catalogue::find(STAND_IN).unwrap_or(asked) };
        let route = self.route(model);
        let tokens = self.tokens(app.endpoint, route, (prompt, completion));
        let (user, session) = self.whose(app);
        let tags = app.tags[usize::try_from(self.dice.below(app.tags.len() as u64)).unwrap_or(0)];
        let streamed = self.dice.below(100) < u64::from(app.streamed);
        let waited: u32 = attempts.iter().map(|attempt| attempt.latency_ms).sum();
        let mut call = SimCall {
            created_at: at,
            id: None,
            app: app.name,
            key_name: app.key_name,
            user,
            session,
            tags,
            endpoint: app.endpoint,
            requested: name,
            routing: app.routing,
            model,
            provider: route.provider,
            tokens,
            cost: Picos::ZERO,
            upstream: None,
            inline_cost: None,
            cache_discount: None,
            streamed,
            ended: Ended::Replied(Outcome::Complete),
            finish_reason: Some(if self.dice.one_in(40) { "length" } else { "stop" }),
            latency_ms: 0,
            generation_ms: 0,
            first_byte_ms: waited,
            duration_ms: waited,
            attempts: Vec::new(),
            settled_after_ms: None,
        };
        if given_up {
            let last = attempts.last().map_or((529, asked), |attempt| (attempt.status, attempt.model));
            refuse(&mut call, last.0);
            (call.model, call.provider) = (last.1, attempts.last().map_or(route.provider, |attempt| attempt.provider));
            call.attempts = attempts;
        } else if self.dice.one_in(3000) {
            refuse(&mut call, 502);
        } else {
            self.answer(&mut call, route, waited);
            let status = match call.ended {
                Ended::Replied(Outcome::Complete) => 200,
                Ended::Replied(Outcome::Cancelled) => 499,
                _ => 502,
            };
            attempts.push(Attempt { provider: route.provider, model, status, latency_ms: call.latency_ms - waited });
            call.attempts = attempts;
        }
        call
    }

    /// The model asked for, and the typical size of the call.
    fn wanted(&mut self, app: &'static App, at: Timestamp) -> (&'static str, u32, u32) {
        let dear = app.name == "code-review" && at >= self.dear_from;
        let weight = |model: &str, share: u32| if dear && model.ends_with("-pro") { share * 2 } else { share };
        let all: u32 = app.uses.iter().map(|used| weight(used.model, used.share)).sum();
        let mut left = u32::try_from(self.dice.below(u64::from(all))).unwrap_or(0);
        for used in app.uses {
            let share = weight(used.model, used.share);
            if left < share {
                return (used.model, used.prompt, used.completion);
            }
            left -= share;
        }
        (app.uses[0].model, app.uses[0].prompt, app.uses[0].completion)
    }

    /// Tries that were refused before one answered.
    fn refusals(&mut self, asked: &'static Model, overloaded: bool) -> Vec<Attempt> {
        let happens = if overloaded { !self.dice.one_in(5) } else { self.dice.one_in(900) };
        if !happens || asked.routes.len() < 2 {
            return Vec::new();
        }
        let second = asked.routes[1].provider;
        let status = if second == &BEDROCK { 429 } else { 503 };
        vec![
            Attempt {
                provider: asked.routes[0].provider,
                model: asked,
                status: 529,
                latency_ms: self.dice.between(190, 480),
            },
            Attempt { provider: second, model: asked, status, latency_ms: self.dice.between(120, 320) },
        ]
    }

    fn route(&mut self, model: &'static Model) -> &'static Route {
        let weight: u32 = model.routes.iter().map(|route| route.weight).sum();
        let mut left = u32::try_from(self.dice.below(u64::from(weight))).unwrap_or(0);
        for route in model.routes {
            if left < route.weight {
                return route;
            }
            left -= route.weight;
        }
        &model.routes[0]
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small positive counts; `as` holds them at the ends"
    )]
    fn tokens(&mut self, endpoint: Endpoint, route: &Route, (prompt, completion): (u32, u32)) -> Tokens {
        let prompt = (f64::from(prompt) * self.scale * self.dice.spread()).max(8.0) as u32;
        if endpoint == Endpoint::Embeddings {
            return Tokens { prompt, ..Tokens::default() };
        }
        let completion = (f64::from(completion) * self.scale * self.dice.spread()).max(1.0) as u32;
        let repeats = route.cache_read.is_some() && prompt >= 1024;
        let (cached, cache_write) = match self.dice.below(10) {
            0..4 if repeats => (prompt / 1024 * 1024 * 3 / 4, 0),
            4 if repeats && route.cache_write.is_some() => (0, prompt / 2),
            _ => (0, 0),
        };
        let reasoning = if route.latency_ms > 2000 { completion * 2 / 3 } else { 0 };
        Tokens { prompt, completion, cached, cache_write, reasoning }
    }

    /// On whose behalf, in which conversation.
    fn whose(&mut self, app: &'static App) -> (Option<String>, Option<String>) {
        let nth = APPS.iter().position(|other| std::ptr::eq(other, app)).unwrap_or(0);
        let slot = usize::try_from(self.dice.below(OPEN_SESSIONS as u64)).unwrap_or(0);
        let (user_prefix, users) = app.users;
        let (session_prefix, turns) = app.sessions;
        // A few users call much more often than the rest.
        let fraction = self.dice.fraction();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and `users`")]
        let drawn = (fraction * fraction * fraction * f64::from(users)) as u32;
        let length = self.dice.around(turns).max(1);
        let session = &mut self.sessions[nth][slot];
        if session.left == 0 {
            self.next_session = self.next_session.wrapping_add(0x2f);
            *session = Session { number: self.next_session & 0x00ff_ffff, user: drawn, left: length };
        }
        session.left -= 1;
        let user = if turns > 0 { session.user } else { drawn };
        (
            (users > 0).then(|| format!("{user_prefix}{}", 10_000 + user)),
            (turns > 0).then(|| format!("{session_prefix}{:06x}", session.number)),
        )
    }

    /// The reply of a call that got one.
    fn answer(&mut self, call: &mut SimCall, route: &'static Route, waited: u32) {
        let mut id = String::with_capacity(40);
        id.push_str(call.endpoint.id_prefix());
        id.push_str(&call.created_at.millis().div_euclid(1000).to_string());
        id.push('-');
        self.dice.push_tail(&mut id);
        call.id = id.parse().ok();
        let latency = self.dice.around(route.latency_ms).max(20);
        call.latency_ms = waited + latency;
        call.generation_ms =
            call.latency_ms + call.tokens.completion.saturating_mul(1000) / self.dice.around(route.speed).max(1);
        let settled = self.dice.around(5200) + 400;
        call.settled_after_ms = (!self.dice.one_in(9000)).then_some(settled);
        let full = Bill::of(route, call.tokens, Payer::OpenRouter);
        call.inline_cost = Some(full.charged);
        if call.streamed && self.dice.one_in(70) {
            // The client left somewhere on the way.
            call.ended = Ended::Replied(Outcome::Cancelled);
            call.finish_reason = None;
            call.inline_cost = None;
            let part = self.dice.fraction();
            let spent = f64::from(call.generation_ms - call.latency_ms) * part;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a part of a small positive number"
            )]
            let (spent, made) = (spent as u32, (f64::from(call.tokens.completion) * part) as u32);
            call.generation_ms = call.latency_ms + spent;
            if route.provider.cancels {
                call.tokens.completion = made.max(1);
                call.tokens.reasoning = call.tokens.reasoning.min(call.tokens.completion);
            }
        } else if self.dice.one_in(2500) {
            call.ended = Ended::Replied(Outcome::Failed);
            call.finish_reason = Some("error");
            call.inline_cost = None;
        } else if call.tokens.completion > 20 && self.dice.one_in(400) {
            // The reply counted some tokens fewer than the record did.
            let short = Tokens { completion: call.tokens.completion - 10, ..call.tokens };
            call.inline_cost = Some(Bill::of(route, short, Payer::OpenRouter).charged);
        }
        let bill = Bill::of(route, call.tokens, Payer::OpenRouter);
        call.cost = if call.ended == Ended::Replied(Outcome::Failed) { Picos::ZERO } else { bill.charged };
        call.cache_discount = bill.discount;
        call.first_byte_ms = if call.streamed { call.latency_ms + 30 } else { call.generation_ms + 30 };
        call.duration_ms = call.generation_ms + self.dice.between(35, 90);
    }
}

/// Turns a call into one that got an error status.
fn refuse(call: &mut SimCall, status: u16) {
    let error_type = match status {
        429 => "rate_limit_exceeded",
        502 => "provider_unavailable",
        _ => "provider_overloaded",
    };
    call.ended = Ended::Refused { status, error_type };
    call.finish_reason = None;
    call.tokens = Tokens::default();
    call.first_byte_ms = call.first_byte_ms.max(180);
    call.duration_ms = call.first_byte_ms + 2;
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    /// Thursday 19 November 2026, 14:32 UTC.
    const UNTIL: Timestamp = Timestamp(1_795_098_720_000);

    static MONTH: LazyLock<Vec<SimCall>> =
        LazyLock::new(|| history(1, UNTIL.plus_millis(-31 * DAY_MS), UNTIL, 60_000).collect());

    fn dollars(calls: &[SimCall], keep: impl Fn(&SimCall) -> bool) -> i128 {
        calls.iter().filter(|call| keep(call)).map(|call| call.cost).sum::<Picos>().0 / PICOS_PER_DOLLAR
    }

    #[test]
    fn a_month_has_the_asked_calls_in_order_and_about_the_spend_of_the_company() {
        let calls = &*MONTH;
        assert_eq!(calls.len(), 60_000);
        assert!(calls.is_sorted_by_key(|call| call.created_at));
        assert!(calls.last().unwrap().created_at < UNTIL);
        // From the first of November to the afternoon of the 19th.
        let november = Timestamp(1_793_491_200_000);
        let spent = dollars(calls, |call| call.created_at >= november);
        assert!((470..=590).contains(&spent), "${spent}");
        let of = |app: &str| dollars(calls, |call| call.app == app) * 100 / dollars(calls, |_| true);
        assert!((35..=60).contains(&of("support-bot")), "{} %", of("support-bot"));
        assert!((22..=42).contains(&of("code-review")), "{} %", of("code-review"));
        assert!((8..=24).contains(&of("batch-summaries")), "{} %", of("batch-summaries"));
    }

    #[test]
    fn the_same_seed_gives_the_same_past() {
        let ids = || {
            let calls = history(1, UNTIL.plus_millis(-DAY_MS), UNTIL, 500);
            calls.map(|call| (call.id, call.cost)).collect::<Vec<_>>()
        };
        assert_eq!(ids(), ids());
    }

    #[test]
    fn the_past_has_its_stories() {
        let calls = &*MONTH;
        let count = |keep: &dyn Fn(&SimCall) -> bool| calls.iter().filter(|call| keep(call)).count();
        let (from, until) = outage(UNTIL);
        let during = |call: &SimCall| call.created_at >= from && call.created_at < until;
        assert!(
            count(&|call| during(call) && call.model.id == STAND_IN && call.requested.starts_with("anthropic/")) > 3
        );
        assert!(count(&|call| matches!(call.ended, Ended::Refused { .. })) > 3);
        let cut = count(&|call| call.ended == Ended::Replied(Outcome::Cancelled));
        assert!((200..=1000).contains(&cut), "{cut}");
        assert!(count(&|call| call.inline_cost.is_some_and(|inline| inline != call.cost)) > 5);
        for call in calls {
            assert!(call.tags.is_sorted());
            assert_eq!(call.id.is_none(), matches!(call.ended, Ended::Refused { .. }));
            assert!(call.duration_ms >= call.first_byte_ms);
        }
    }

    #[test]
    fn odd_spans_neither_hang_nor_fall() {
        assert_eq!(history(1, UNTIL, UNTIL, 10).count(), 0);
        assert_eq!(history(1, UNTIL, UNTIL.plus_millis(1000), 10).count(), 10);
        assert_eq!(history(1, UNTIL.plus_millis(-DAY_MS), UNTIL, 0).count(), 0);
    }
}
