//! A connection that breaks after the server has committed and before it could say so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use tallyd::clock::{Clock, Entropy};
use tallyd::ledger::Verdict;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::telling::told;
use super::{chat, rows, simulator};
use crate::store::engines::on_a_postgres_of_its_own;
use crate::support::caller::Caller;
use crate::support::installation::{Installation, KEY};
use crate::support::running::Running;
use crate::support::{beside, until};

/// The message that asks for a commit: a simple query.
const COMMIT: &[u8] = b"COMMIT\0";

/// What the ledger's writer says in each of its transactions, and nobody else: the name of its numbers.
const WRITER: &[u8] = b" transactions";

/// Stands before a PostgreSQL server and loses answers to the writer's commits.
struct Proxy {
    address: SocketAddr,
    /// How many answers are still to be lost.
    losing: Arc<AtomicU32>,
}

impl Proxy {
    async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let losing = Arc::new(AtomicU32::new(0));
        let (server, lose) = (server.to_owned(), Arc::clone(&losing));
        beside(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                beside(pass(client, server, Arc::clone(&lose)));
            }
        });
        Self { address, losing }
    }

    /// Loses the answers to the next commits.
    fn lose(&self, answers: u32) {
        self.losing.store(answers, Ordering::SeqCst);
    }

    /// Waits until it has lost them.
    async fn has_lost(&self) {
        until("lost answers", async || (self.losing.load(Ordering::SeqCst) == 0).then_some(())).await;
    }
}

/// Passes bytes both ways, until a commit whose answer is to be lost.
async fn pass(mut client: TcpStream, mut server: TcpStream, losing: Arc<AtomicU32>) {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut is_writers = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(read @ 1..) = read else { return };
                is_writers |= asked[..read].windows(WRITER.len()).any(|window| window == WRITER);
                let commits = asked[..read].ends_with(COMMIT) && std::mem::take(&mut is_writers);
                if server.write_all(&asked[..read]).await.is_err() {
                    return;
                }
                let take = |left: u32| left.checked_sub(1);
                if commits && losing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
                    // Its answer means that the commit is done.
                    let _ = server.read(&mut answered).await;
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(read @ 1..) = read else { return };
                if client.write_all(&answered[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Budgets of everything, and one that refuses all calls of an application. Readings come too late to disturb.
const TABLES: &str = "[settle]\nrate_per_second = 1\nconcurrency = 1\n\
     [[budgets]]\nname = \"all\"\nwindow = \"total\"\nlimit_usd = \"1000\"\n\
     [[budgets]]\nname = \"none\"\nwindow = \"total\"\nlimit_usd = \"0\"\nscope = { app = \"stopped\" }\nwhen_exceeded = \"block\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_counted_twice_or_forgotten() {
    on_a_postgres_of_its_own("lost_commit", async |url| {
        let (clock, entropy) = (Clock::system(), Entropy::seeded(9));
        let (base, name) = url.rsplit_once('/').unwrap();
        let (who, place) = base.rsplit_once('@').unwrap();
        let place = if place.contains(':') { place.to_owned() } else { format!("{place}:5432") };
        let proxy = Proxy::start(&place).await;
        let simulator = simulator(&clock).await;
        let through = format!("{who}@{}/{name}?sslmode=disable", proxy.address);
        let at = Installation::on(&through, simulator.base_url(), TABLES);
        let running = Running::start(&at, &clock).await;
        let caller = Caller::new(running.address());

        // A call without an ID, one with an ID, a call that is refused, an ID that is told.
        proxy.lose(1);
        chat(&caller, "a", "no_id=1;no_body_id=1").await;
        rows(&at, 1).await;
        proxy.has_lost().await;
        proxy.lose(2);
        chat(&caller, "a", "").await;
        rows(&at, 2).await;
        proxy.has_lost().await;
        proxy.lose(1);
        let body = json!({ "model": "openai/gpt-4o-mini", "messages": [] });
        let headers = [("authorization", &*format!("Bearer {KEY}")), ("x-tally-app", "stopped")];
        let reply = caller.post("/api/v1/chat/completions", &headers, body.to_string()).await;
        assert_eq!(reply.status, 402, "{}", reply.text());
        proxy.has_lost().await;
        until("a refusal", async || (at.number("SELECT COUNT(*) FROM refusals").await > 0).then_some(())).await;
        until("an empty journal", async || running.journal().is_empty().then_some(())).await;
        proxy.lose(1);
        let answer = running.ledger().submit(told(&clock, &entropy, "gen-told"), Duration::from_mins(1)).await;
        assert_eq!(answer.unwrap(), [Verdict::Recorded]);
        proxy.has_lost().await;
        rows(&at, 3).await;

        until("an empty journal", async || running.journal().is_empty().then_some(())).await;
        assert_eq!(at.number("SELECT SUM(refused) FROM refusals").await, 1);
        assert_eq!(at.number("SELECT SUM(completions) FROM spend_by_bucket").await, 3);
        at.verify().await;
        running.stop().await;
        at.verify().await;
    })
    .await;
}
