//! A gateway with its journal, an upstream whose every byte a test writes, and a client as plain as that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use futures_util::future::BoxFuture;
use prometheus_client::registry::Registry;
use secrecy::SecretString;
use tallyd::budget::{Denied, Exceeded, Reservation, Wish};
use tallyd::capture::keys::Keyring;
use tallyd::capture::recorder::Recorder;
use tallyd::clock::{Clock, Entropy};
use tallyd::config::{self, OnLedgerFailure};
use tallyd::domain::ids::CallId;
use tallyd::domain::observation::{Head, Observation, Outcome, Refused, Sent};
use tallyd::domain::scope::AdmissionSubject;
use tallyd::domain::time::Timestamp;
use tallyd::journal::{Journal, JournalOptions, Reader};
use tallyd::keys::TallyKeys;
use tallyd::shutdown::{Signals, Tasks};
use tallyd::store::{Store, StoreOptions};
use tallyd::telemetry::Metrics;
use tallyd::web::gateway::{Admission, Gateway, GatewaySetup};
use tallyd::web::guard::Guard;
use tallyd::web::serve::Site;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Long enough for any step here; only a step that never comes takes it.
const PATIENCE: Duration = Duration::from_mins(1);

/// The key that the gateway has of its own.
pub(super) const OWN_KEY: &str = "sk-or-v1-configured";

/// Waits for a step, but not for ever.
pub(super) async fn within<F: Future>(what: &str, step: F) -> F::Output {
    Clock::system().timeout(PATIENCE, step).await.unwrap_or_else(|| panic!("{what} never came"))
}

/// What a test may set.
pub(super) struct Plan {
    pub(super) settings: config::Gateway,
    pub(super) on_ledger_failure: OnLedgerFailure,
    /// What the budgets say of it.
    pub(super) of_budgets: Option<OnLedgerFailure>,
    pub(super) open: bool,
    pub(super) keys: Vec<(String, SecretString)>,
    pub(super) journal_limit: u64,
    pub(super) refuse: Option<Exceeded>,
    pub(super) upstream: Option<String>,
    pub(super) clock: Clock,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            settings: config::Gateway {
                request_buffer: 64 << 10,
                request_buffer_total: 256 << 10,
                observe_limit: 1 << 20,
                observe_memory: 64 << 20,
                connection_buffer: 32 << 10,
                drain_timeout: Duration::from_secs(20),
                drain_calls: 8,
                own_keys: true,
                max_connections: 512,
            },
            on_ledger_failure: OnLedgerFailure::Forward,
            of_budgets: None,
            open: true,
            keys: vec![("default".to_owned(), OWN_KEY.into())],
            journal_limit: 64 << 20,
            refuse: None,
            upstream: None,
            clock: Clock::system(),
        }
    }
}

/// What a budget was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) app: Option<String>,
    pub(super) model: Option<String>,
    pub(super) models: Vec<String>,
    pub(super) opaque: bool,
    pub(super) models_unread: bool,
}

/// Stands for the budgets.
struct Asked {
    seen: Arc<Mutex<Vec<Candidate>>>,
    refuse: Option<Exceeded>,
    on_ledger_failure: Option<OnLedgerFailure>,
}

impl Admission for Asked {
    fn admit(&self, wish: &Wish<'_>, _: Timestamp) -> Result<Option<Reservation>, Denied> {
        let subject = &wish.subject;
        self.seen.lock().unwrap().push(Candidate {
            app: subject.app.map(str::to_owned),
            model: subject.model.map(str::to_owned),
            models: subject.models.to_vec(),
            opaque: subject.opaque_body,
            models_unread: subject.models_unread,
        });
        self.refuse.clone().map_or(Ok(None), |refused| Err(Denied::Exceeded(Box::new(refused))))
    }

    fn draw<'a>(&'a self, _: &'a Wish<'a>, _: OnLedgerFailure) -> BoxFuture<'a, Result<Option<Reservation>, Denied>> {
        Box::pin(async { Err(Denied::CutOff) })
    }

    fn on_ledger_failure(&self, _: &AdmissionSubject<'_>) -> Option<OnLedgerFailure> {
        self.on_ledger_failure
    }
}

/// The whole house.
pub(super) struct House {
    pub(super) address: String,
    pub(super) upstream: Upstream,
    pub(super) journal: Journal,
    pub(super) keyring: Arc<Keyring>,
    pub(super) tally_keys: Arc<TallyKeys>,
    pub(super) recorder: Recorder,
    pub(super) metrics: Metrics,
    pub(super) candidates: Arc<Mutex<Vec<Candidate>>>,
    reader: Reader,
    tasks: Tasks,
    _folder: TempDir,
}

/// Everything that was recorded of one call.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) sent: Vec<Sent>,
    pub(super) heads: Vec<Head>,
    pub(super) outcomes: Vec<Outcome>,
}

impl Row {
    pub(super) fn sent(&self) -> &Sent {
        &self.sent[0]
    }

    pub(super) fn outcome(&self) -> &Outcome {
        &self.outcomes[0]
    }
}

impl House {
    pub(super) async fn new() -> Self {
        Self::with(Plan::default()).await
    }

    pub(super) async fn with(plan: Plan) -> Self {
        let (clock, entropy, tasks) = (plan.clock, Entropy::seeded(7), Tasks::new());
        let folder = tempfile::tempdir().unwrap();
        let options = JournalOptions {
            dir: folder.path().to_owned(),
            segment_bytes: 8 << 20,
            limit_bytes: plan.journal_limit,
            reserve_bytes: 1 << 20,
            memory_bytes: 16 << 20,
            sync_timeout: Duration::from_secs(5),
        };
        // A disk keeps real time, whatever clock a test steps.
        let started = Journal::open(options, &entropy).unwrap().start(Clock::system(), None).unwrap();
        // It ends with the journal, after everything else.
        let sinks = Tasks::new();
        sinks.spawn_call("journal watch", started.watch.run());
        let upstream = Upstream::new().await;
        let base_url = plan.upstream.unwrap_or_else(|| format!("http://{}/api/v1", upstream.address));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let keyring = Arc::new(Keyring::new(plan.keys.clone()));
        let candidates: Arc<Mutex<Vec<Candidate>>> = Arc::default();
        let (seen, refuse) = (Arc::clone(&candidates), plan.refuse);
        let settings = plan.settings.clone();
        let url = format!("sqlite:{}", folder.path().join("keys.db").display());
        let store = Store::open(&StoreOptions::new(url)).await.unwrap();
        let upstreams = plan.keys.iter().map(|(name, _)| name.clone()).collect();
        let tally_keys = TallyKeys::open(store, upstreams, chrono_tz::UTC, clock.clone(), entropy.clone()).await;
        let tally_keys = Arc::new(tally_keys.unwrap());
        let metrics = Metrics::new(Registry::with_prefix("tallyd"));
        let recorder = Recorder::new(started.journal.clone(), metrics.clone());
        let gateway = Gateway::new(GatewaySetup {
            openrouter: config::OpenRouter {
                management_key: None,
                base_url: base_url.parse().unwrap(),
                keys: plan.keys.into_iter().collect::<BTreeMap<_, _>>(),
                connect_timeout: Duration::from_secs(5),
            },
            settings: plan.settings,
            on_ledger_failure: plan.on_ledger_failure,
            open: plan.open,
            tally_keys: Arc::clone(&tally_keys),
            guard: Arc::new(Guard::new(address, vec!["tally.example".to_owned()], None)),
            keyring: Arc::clone(&keyring),
            recorder: recorder.clone(),
            admission: Arc::new(Asked { seen, refuse, on_ledger_failure: plan.of_budgets }),
            clock: clock.clone(),
            entropy,
            tasks: tasks.clone(),
        })
        .unwrap();
        let pages = Router::new().route("/", get(|| async { "a page" }));
        Site { gateway, pages }.serve(listener, &settings, clock, &tasks);
        Self {
            address: address.to_string(),
            upstream,
            journal: started.journal,
            keyring,
            tally_keys,
            recorder,
            metrics,
            candidates,
            reader: started.reader,
            tasks,
            _folder: folder,
        }
    }

    /// A new connection.
    pub(super) async fn client(&self) -> Client {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, unread: Vec::new() }
    }

    /// A POST of JSON to a path, and the request as upstream has it.
    pub(super) async fn post(&mut self, path: &str, headers: &str, body: &str) -> (Client, Exchange) {
        let mut client = self.client().await;
        client.post(path, headers, body).await;
        let exchange = self.upstream.accept().await;
        (client, exchange)
    }

    /// A chat completion that asks for a stream.
    pub(super) async fn chat(&mut self) -> (Client, Exchange) {
        self.post("/api/v1/chat/completions", "", r#"{"model":"openai/gpt-4o-mini","stream":true}"#).await
    }

    /// The next observation, once it is on disk.
    pub(super) async fn observation(&mut self) -> Observation {
        let batch = within("an observation", self.reader.next_batch(1, 1 << 20)).await.unwrap();
        Observation::decode(&batch.records[0]).unwrap()
    }

    /// Ends the daemon as a signal does, and gives all rows in the order of sending, and all refusals. Each row has been
    /// found to have one outcome.
    pub(super) async fn finish(mut self) -> (Vec<Row>, Vec<Refused>) {
        self.tasks.stop();
        drop(self.upstream);
        let (_signal, mut signals) = Signals::by_hand();
        let clock = Clock::system();
        within("the end", self.tasks.finish(&clock, &mut signals)).await;
        assert!(within("the last sync", self.journal.close()).await);
        let mut rows: BTreeMap<CallId, Row> = BTreeMap::new();
        let mut refusals = Vec::new();
        while let Some(batch) = within("the journal's end", self.reader.next_batch(100, 1 << 20)).await {
            for record in &batch.records {
                match Observation::decode(record).unwrap() {
                    Observation::Sent(sent) => rows.entry(sent.call_id).or_default().sent.push(*sent),
                    Observation::Head(head) => rows.entry(head.call_id).or_default().heads.push(head),
                    Observation::Outcome(outcome) => rows.entry(outcome.call_id).or_default().outcomes.push(*outcome),
                    // A disk that is slow today; what is tested here holds all the same.
                    Observation::NotSynced { .. } | Observation::Job(_) => {}
                    Observation::Refused(refused) => refusals.push(*refused),
                }
            }
        }
        for row in rows.values() {
            assert_eq!((row.sent.len(), row.outcomes.len()), (1, 1), "{row:?}");
            assert!(row.heads.len() <= 1);
        }
        let mut rows: Vec<Row> = rows.into_values().collect();
        rows.sort_by_key(|row| row.sent[0].call_id);
        (rows, refusals)
    }

    /// Asks the daemon to end, as a signal does; what is under way goes on.
    pub(super) fn stop(&self) {
        self.tasks.stop();
    }

    /// The one row.
    pub(super) async fn only_row(self) -> Row {
        let (mut rows, _) = self.finish().await;
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.remove(0)
    }
}

/// The upstream; the test answers.
pub(super) struct Upstream {
    pub(super) address: String,
    listener: TcpListener,
}

/// One request as upstream has it, and the way to answer it.
pub(super) struct Exchange {
    pub(super) line: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) chunked: bool,
    connection: Client,
}

impl Upstream {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { address: listener.local_addr().unwrap().to_string(), listener }
    }

    /// The next connection's first request.
    pub(super) async fn accept(&mut self) -> Exchange {
        let mut exchange = self.accept_head().await;
        exchange.read_body().await;
        exchange
    }

    /// The next connection's first request, its body unread.
    pub(super) async fn accept_head(&mut self) -> Exchange {
        let (stream, _) = within("a connection upstream", self.listener.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Exchange::read_head(Client { stream, unread: Vec::new() }).await
    }

    /// Whether nobody has connected.
    pub(super) fn is_idle(&mut self) -> bool {
        futures_util::FutureExt::now_or_never(self.listener.accept()).is_none()
    }
}

impl Exchange {
    async fn read_head(mut connection: Client) -> Self {
        let head = connection.read_head().await;
        Self { line: head.line, headers: head.headers, body: Vec::new(), chunked: false, connection }
    }

    /// The next request on the same connection.
    pub(super) async fn next(self) -> Self {
        let mut exchange = Self::read_head(self.connection).await;
        exchange.read_body().await;
        exchange
    }

    pub(super) async fn read_body(&mut self) {
        let length = self.header("content-length").map(|length| length.parse().unwrap());
        self.chunked = self.header("transfer-encoding") == Some("chunked");
        if self.chunked {
            while let Some(chunk) = self.connection.read_chunk().await {
                self.body.extend(chunk);
            }
            self.connection.read_until(b"\r\n").await;
        } else {
            self.body = self.connection.read_exact(length.unwrap_or(0)).await;
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Writes bytes of the reply.
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.connection.send(bytes).await;
    }

    /// Writes one chunk of a chunked reply.
    pub(super) async fn chunk(&mut self, data: impl AsRef<[u8]>) {
        let data = data.as_ref();
        let framed = [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
        self.send(framed).await;
    }

    /// Begins a chunked stream of events.
    pub(super) async fn begin_stream(&mut self, id: &str) {
        self.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-generation-id: {id}\r\ntransfer-encoding: chunked\r\n\r\n"
        ))
        .await;
    }

    /// Answers with JSON of a known length.
    pub(super) async fn json(&mut self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        self.send(format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        ))
        .await;
    }

    /// Waits until the gateway has closed the connection.
    pub(super) async fn closed(&mut self) {
        self.connection.closed().await;
    }
}

/// A connection as plain as it can be.
pub(super) struct Client {
    pub(super) stream: TcpStream,
    unread: Vec<u8>,
}

/// The head of a message.
#[derive(Debug)]
pub(super) struct MessageHead {
    pub(super) line: String,
    pub(super) headers: Vec<(String, String)>,
}

impl MessageHead {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A whole reply.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) head: MessageHead,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn status(&self) -> u16 {
        self.head.line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Client {
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    pub(super) async fn post(&mut self, path: &str, headers: &str, body: &str) {
        let length = body.len();
        self.send(format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        ))
        .await;
    }

    async fn more(&mut self) -> usize {
        let mut buffer = vec![0; 64 << 10];
        let read = within("bytes", self.stream.read(&mut buffer)).await.unwrap_or(0);
        self.unread.extend_from_slice(&buffer[..read]);
        read
    }

    /// Reads up to and with a mark.
    pub(super) async fn read_until(&mut self, mark: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.unread.windows(mark.len()).position(|window| window == mark) {
                let rest = self.unread.split_off(at + mark.len());
                return std::mem::replace(&mut self.unread, rest);
            }
            assert_ne!(self.more().await, 0, "the connection ended in {:?}", String::from_utf8_lossy(&self.unread));
        }
    }

    pub(super) async fn read_exact(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            assert_ne!(self.more().await, 0, "the connection ended in {:?}", String::from_utf8_lossy(&self.unread));
        }
        let rest = self.unread.split_off(length);
        std::mem::replace(&mut self.unread, rest)
    }

    pub(super) async fn read_head(&mut self) -> MessageHead {
        let head = String::from_utf8(self.read_until(b"\r\n\r\n").await).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let line = lines.next().unwrap().to_owned();
        let headers = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        MessageHead { line, headers }
    }

    /// One chunk of a chunked body; `None` for the last, with its trailers still unread.
    pub(super) async fn read_chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.read_until(b"\r\n").await;
        let length = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
        if length == 0 {
            return None;
        }
        let data = self.read_exact(length).await;
        self.read_exact(2).await;
        Some(data)
    }

    /// A whole reply, by its own framing.
    pub(super) async fn reply(&mut self) -> Reply {
        let head = self.read_head().await;
        let mut body = Vec::new();
        if head.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.read_chunk().await {
                body.extend(chunk);
            }
            self.read_until(b"\r\n").await;
        } else if let Some(length) = head.header("content-length") {
            body = self.read_exact(length.parse().unwrap()).await;
        } else {
            while self.more().await > 0 {}
            body.append(&mut self.unread);
        }
        Reply { head, body }
    }

    /// Everything until the connection ends; whether that was in the middle of a chunked body shows in the bytes.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await > 0 {}
        std::mem::take(&mut self.unread)
    }

    /// Waits until the other side has closed.
    pub(super) async fn closed(&mut self) {
        while self.more().await > 0 {}
    }
}
