//! People's own queries, through HTTP and the command, on both engines.

mod answers;
mod attacks;
mod manual;
mod page;

use serde_json::{Value, json};
use tallyd::clock::Clock;

use crate::support::caller::{Caller, Reply};
use crate::support::installation::Installation;
use crate::support::running::Running;

/// OpenRouter is not asked anything here.
pub(crate) const NOWHERE: &str = "http://127.0.0.1:9/api/v1";

/// A daemon that answers queries.
pub(crate) struct Console {
    pub(crate) at: Installation,
    pub(crate) running: Running,
    pub(crate) caller: Caller,
    pub(crate) is_sqlite: bool,
}

impl Console {
    pub(crate) async fn start(at: Installation, is_sqlite: bool) -> Self {
        let running = Running::start(&at, &Clock::system()).await;
        let caller = Caller::new(running.address());
        Self { at, running, caller, is_sqlite }
    }

    /// Asks over HTTP.
    pub(crate) async fn ask(&self, query: &str) -> Reply {
        self.ask_with(query, json!({})).await
    }

    pub(crate) async fn ask_with(&self, query: &str, parameters: Value) -> Reply {
        let body = json!({ "query": query, "parameters": parameters }).to_string();
        self.caller.post("/tally/v1/sql", &[("content-type", "application/json")], body).await
    }

    /// The rows that a good query answers.
    pub(crate) async fn rows(&self, query: &str, parameters: Value) -> Value {
        let reply = self.ask_with(query, parameters).await;
        assert_eq!(reply.status, 200, "{query}: {}", reply.text());
        reply.json()["rows"].clone()
    }

    /// Rows of `usage`, and things that no query may see.
    pub(crate) async fn fill(&self) {
        for place in 0..5 {
            let body =
                json!({ "id": format!("gen-178900000{place}-abcdefgh"), "app": "growth-bot", "tags": { "team": "a" } });
            let told = self.caller.post("/tally/v1/record", &[], body.to_string()).await;
            assert_eq!(told.status, 202, "{}", told.text());
        }
        let key = self.caller.post("/tally/v1/keys", &[("content-type", "application/json")], r#"{"app":"x"}"#).await;
        assert!(key.status.is_success(), "{}", key.text());
    }
}

/// Makes of each function two tests, one on each engine; `$tables` is what stands in the configuration.
macro_rules! asked_of_both_engines {
    ($tables:expr; $($name:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                use crate::sql::{Console, NOWHERE};
                let at = crate::support::installation::Installation::new(NOWHERE, $tables);
                let console = Console::start(at, true).await;
                super::$name(&console).await;
                console.running.stop().await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                use crate::sql::{Console, NOWHERE};
                let name = concat!("sql_", stringify!($name));
                crate::store::engines::on_a_postgres_of_its_own(name, async |url| {
                    let at = crate::support::installation::Installation::on(url, NOWHERE, $tables);
                    let console = Console::start(at, false).await;
                    super::$name(&console).await;
                    console.running.stop().await;
                })
                .await;
            })*
        }
    };
}

pub(crate) use asked_of_both_engines;
