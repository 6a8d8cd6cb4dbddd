//! Two daemons on one PostgreSQL database, any order of admissions, replies and crashes: what is admitted is what a naive
//! model says fits, and nothing else is refused.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tallyd::budget::keeper::Keeper;
use tallyd::budget::{Denied, Wish};
use tallyd::clock::{Clock, Entropy};
use tallyd::domain::attribution::{Attribution, KeyRef};
use tallyd::domain::budget::{Budget, BudgetSpec, Origin};
use tallyd::domain::catalogue::Catalogue;
use tallyd::domain::estimate::Size;
use tallyd::domain::facts::Facts;
use tallyd::domain::ids::CallId;
use tallyd::domain::money::Money;
use tallyd::domain::observation::{Ending, Head, Outcome, Sent};
use tallyd::domain::scope::AdmissionSubject;

use super::interleavings::{CENT, Life, runtime};
use crate::store::engines::{on_a_postgres_of_its_own, postgres_url};
use crate::support::beside;

/// What happens with one of the daemons.
#[derive(Clone, Debug)]
enum Step {
    /// So many calls for this app ask to be sent, one after another; some are let go before they are.
    Admit { daemon: usize, app: u8, calls: u8, sent: bool },
    /// A call ends with this cost, or without any.
    Reply { call: u8, cost: Option<i64> },
    /// A daemon dies and comes back.
    Crash { daemon: usize },
    /// It ends in order, and comes back.
    Restart { daemon: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_usize..2, 0_u8..2, 1_u8..6, prop::bool::weighted(0.9))
            .prop_map(|(daemon, app, calls, sent)| Step::Admit { daemon, app, calls, sent }),
        8 => (any::<u8>(), prop::option::weighted(0.8, 0..2 * CENT)).prop_map(|(call, cost)| Step::Reply { call, cost }),
        1 => (0_usize..2).prop_map(|daemon| Step::Crash { daemon }),
        1 => (0_usize..2).prop_map(|daemon| Step::Restart { daemon }),
    ]
}

/// Name, app, limit in cents; the last holds for each app.
const BUDGETS: [(&str, Option<&str>, i64); 3] = [("all", None, 60), ("of-0", Some("app-0"), 25), ("each", None, 40)];

fn defined() -> Vec<Budget> {
    let budget = |(name, app, cents): (&str, Option<&str>, i64)| {
        let limit = format!("0.{cents:02}");
        let mut spec =
            serde_json::json!({ "name": name, "window": "total", "limit_usd": limit, "when_exceeded": "block" });
        if let Some(app) = app {
            spec["scope"] = serde_json::json!({ "app": app });
        }
        if name == "each" {
            spec["each"] = "app".into();
        }
        serde_json::from_value::<BudgetSpec>(spec).unwrap().into_budget(Origin::File, chrono_tz::UTC).unwrap()
    };
    BUDGETS.into_iter().map(budget).collect()
}

/// What the model knows of a call.
#[derive(Debug)]
struct Known {
    id: CallId,
    daemon: usize,
    app: u8,
    estimate: i64,
    under_way: bool,
    cost: Option<i64>,
}

impl Known {
    /// What it takes of a limit: its cost, or while that may come its estimate.
    fn takes(&self) -> i128 {
        match self.cost {
            Some(cost) => cost.into(),
            None if self.under_way => self.estimate.into(),
            None => 0,
        }
    }
}

struct Daemon {
    life: Life,
    clock: Clock,
}

impl Daemon {
    async fn begin(folder: &Path, url: &str, daemon: usize, entropy: &Entropy) -> Self {
        let clock = Clock::system();
        let life = Life::of(&folder.join(daemon.to_string()), url, &clock, entropy, defined()).await;
        let keeper = Arc::new(Keeper {
            store: life.store.clone(),
            book: Arc::clone(&life.book),
            daemon: life.journal.id().to_string(),
            clock: clock.clone(),
        });
        keeper.begin().await.unwrap();
        beside(keeper.run(life.stop.clone()));
        Self { life, clock }
    }
}

struct Run<'a> {
    folder: &'a Path,
    url: &'a str,
    entropy: [Entropy; 2],
    calls: Vec<Known>,
}

impl Run<'_> {
    async fn all(&mut self, steps: &[Step]) {
        let mut daemons = Vec::new();
        for daemon in 0..2 {
            daemons.push(Some(Daemon::begin(self.folder, self.url, daemon, &self.entropy[daemon]).await));
        }
        for step in steps {
            match *step {
                Step::Admit { daemon, app, calls, sent } => {
                    for _ in 0..calls {
                        self.admit(daemons[daemon].as_ref().unwrap(), daemon, app, sent).await;
                    }
                }
                Step::Reply { call, cost } => {
                    let under_way: Vec<usize> =
                        (0..self.calls.len()).filter(|place| self.calls[*place].under_way).collect();
                    if under_way.is_empty() {
                        continue;
                    }
                    let place = under_way[usize::from(call) % under_way.len()];
                    let daemon = daemons[self.calls[place].daemon].as_ref().unwrap();
                    self.end(daemon, place, cost).await;
                }
                Step::Crash { daemon } | Step::Restart { daemon } => {
                    let life = daemons[daemon].take().unwrap().life;
                    if matches!(step, Step::Crash { .. }) {
                        life.stop.cancel();
                        life.crash().await;
                    } else {
                        life.end().await;
                    }
                    daemons[daemon] = Some(Daemon::begin(self.folder, self.url, daemon, &self.entropy[daemon]).await);
                    // Nobody will ever tell what its calls cost.
                    self.calls.iter_mut().filter(|call| call.daemon == daemon).for_each(|call| call.under_way = false);
                }
            }
        }
        for daemon in daemons.into_iter().flatten() {
            daemon.life.end().await;
        }
    }

    /// What is taken of a budget, of the account that this app's calls count in.
    fn taken(&self, budget: &str, app: u8) -> i128 {
        let counts = |call: &&Known| match budget {
            "all" => true,
            "of-0" => call.app == 0,
            _ => call.app == app,
        };
        self.calls.iter().filter(counts).map(Known::takes).sum()
    }

    fn fits(&self, app: u8, estimate: i64) -> bool {
        let asked = BUDGETS.iter().filter(|(_, of, _)| of.is_none() || app == 0);
        asked
            .into_iter()
            .all(|(name, _, cents)| self.taken(name, app) + i128::from(estimate) <= i128::from(cents * CENT))
    }

    async fn admit(&mut self, at: &Daemon, daemon: usize, app: u8, sent: bool) {
        let (name, tags) = (format!("app-{app}"), BTreeMap::new());
        let now = at.clock.now();
        let call_id = self.entropy[daemon].call_id(now);
        let subject = AdmissionSubject {
            app: Some(&name),
            key_name: Some("default"),
            end_user: None,
            session: None,
            model: Some("no/price"),
            models: &[],
            models_unread: false,
            tags: &tags,
            opaque_body: false,
        };
        let wish = Wish { call_id, subject, size: Size::default() };
        let catalogue = Catalogue::default();
        let admitted = match at.life.book.admit_from_share(&wish, &catalogue, now, at.clock.elapsed()) {
            Err(Denied::Lacking) => at.life.book.draw(&wish, &catalogue, &at.clock).await,
            admitted => admitted,
        };
        match admitted {
            Err(Denied::Exceeded(refused)) => {
                assert!(!self.fits(app, refused.estimate.picos()), "refused what fits: {refused:?}, {:#?}", self.calls);
            }
            Err(denied) => panic!("{denied:?}"),
            Ok(None) => panic!("every call here counts in a budget that blocks"),
            Ok(Some(reservation)) => {
                let estimate = reservation.estimate().picos();
                assert!(self.fits(app, estimate), "admitted what does not fit: {estimate}, {:#?}", self.calls);
                if !sent {
                    return;
                }
                let recorded = at.life.recorder.sent(Sent {
                    call_id,
                    at: now,
                    endpoint: "chat/completions".to_owned(),
                    key: KeyRef { name: "default".to_owned(), fingerprint: None },
                    tally_key: None,
                    attribution: Attribution { app: Some(name), ..Attribution::default() },
                    requested_model: Some("no/price".to_owned()),
                    models: Vec::new(),
                    routing: None,
                    streamed: Some(true),
                    flags: Vec::new(),
                    estimate: Some(reservation.estimate()),
                });
                assert!(recorded);
                reservation.keep();
                self.calls.push(Known { id: call_id, daemon, app, estimate, under_way: true, cost: None });
            }
        }
    }

    async fn end(&mut self, at: &Daemon, place: usize, cost: Option<i64>) {
        let call = &mut self.calls[place];
        (call.under_way, call.cost) = (false, cost);
        let now = at.clock.now();
        at.life.recorder.head(Head { call_id: call.id, at: now, generation_id: None, status: 200 });
        let facts = Facts { inline_cost: cost.map(Money::from_picos), ..Facts::default() };
        at.life
            .recorder
            .outcome(Outcome {
                call_id: call.id,
                at: now,
                head_at: None,
                ending: Ending::Complete,
                status: Some(200),
                generation_id: None,
                facts,
                error: None,
                first_byte_ms: None,
                duration_ms: 1,
                response_cache_hit: false,
                flags: Vec::new(),
            })
            .await;
        at.life.caught_up().await;
    }
}

#[test]
fn two_daemons_admit_what_a_naive_model_says() {
    if postgres_url("shares_modelled").is_none() {
        return;
    }
    let mut runner =
        TestRunner::new(Config { cases: 6, max_shrink_iters: 20, failure_persistence: None, ..Config::default() });
    runner
        .run(&prop::collection::vec(step(), 1..60), |steps| {
            let folder = tempfile::tempdir().unwrap();
            let run = async |url: &str| {
                let entropy = [Entropy::seeded(7), Entropy::seeded(8)];
                Run { folder: folder.path(), url, entropy, calls: Vec::new() }.all(&steps).await;
            };
            runtime().block_on(on_a_postgres_of_its_own("shares_modelled", run));
            Ok(())
        })
        .unwrap();
}
