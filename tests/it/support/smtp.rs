//! A mail server that speaks real SMTP, with STARTTLS, TLS and AUTH, and does what a test's script says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// When the server's TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    Never,
    Upgraded,
    Implicit,
}

/// What the server asks of those who come.
#[derive(Clone, Debug)]
pub struct Options {
    pub tls: Tls,
    /// The mechanism offered, the user and the password; `None`: nobody has to log in.
    pub login: Option<(&'static str, &'static str, &'static str)>,
}

/// What the server does with a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Takes it.
    Accept,
    /// Says this to RCPT TO.
    AtRecipient(&'static str),
    /// Says this to the mail's end.
    AtEnd(&'static str),
    /// Takes it and says nothing until [`Server::release`], then that it has.
    Hang,
    /// Says nothing to DATA until [`Server::release`], then goes on.
    HangAtData,
    /// Takes it, and closes the connection without saying so.
    Close,
}

/// A mail whose end the server has seen.
#[derive(Clone, Debug)]
pub struct Received {
    pub from: String,
    pub to: String,
    /// Headers and body, dots unstuffed, lines ended by `\r\n`.
    pub data: String,
    pub encrypted: bool,
    /// Who logged in.
    pub user: Option<String>,
    /// Whether the server said that it took it.
    pub accepted: bool,
}

impl Received {
    /// A header's value, unfolded.
    pub fn header(&self, name: &str) -> Option<String> {
        let head = self.data.split_once("\r\n\r\n")?.0.replace("\r\n ", " ");
        let prefix = format!("{name}: ");
        head.lines().find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
    }
}

type Script = dyn Fn(&str, usize) -> Answer + Send + Sync;

struct State {
    options: Options,
    acceptor: TlsAcceptor,
    script: Mutex<Arc<Script>>,
    tries: Mutex<BTreeMap<String, usize>>,
    received: Mutex<Vec<Received>>,
    open: watch::Sender<usize>,
    released: CancellationToken,
}

/// A running server; it closes when it is dropped.
pub struct Server {
    address: SocketAddr,
    authority: String,
    state: Arc<State>,
    stop: CancellationToken,
    listening: Option<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Server {
    /// A server on a free port of the loopback that takes every mail.
    pub async fn start(options: Options) -> Self {
        let (authority, acceptor) = certificates();
        let state = Arc::new(State {
            options,
            acceptor,
            script: Mutex::new(Arc::new(|_: &str, _: usize| Answer::Accept)),
            tries: Mutex::default(),
            received: Mutex::default(),
            open: watch::Sender::new(0),
            released: CancellationToken::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = Self { address, authority, state, stop: CancellationToken::new(), listening: None };
        server.listen(listener);
        server
    }

    /// A server that neither encrypts nor asks who comes.
    pub async fn plain() -> Self {
        Self::start(Options { tls: Tls::Never, login: None }).await
    }

    /// Decides by recipient and number of the try (from 1) what becomes of a mail.
    pub fn script(&self, script: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) {
        *self.state.script.lock().unwrap() = Arc::new(script);
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The PEM certificate of the authority that signed the server's own.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Every mail whose end was seen, in order.
    pub fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }

    /// How often a mail to this recipient was begun.
    pub fn tries(&self, recipient: &str) -> usize {
        self.state.tries.lock().unwrap().get(recipient).copied().unwrap_or_default()
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        *self.state.open.borrow()
    }

    /// Lets conversations that hang go on.
    pub fn release(&self) {
        self.state.released.cancel();
    }

    /// Stops listening and breaks every connection.
    pub async fn leave(&mut self) {
        self.stop.cancel();
        if let Some(listening) = self.listening.take() {
            listening.await.unwrap();
        }
        self.state.open.subscribe().wait_for(|open| *open == 0).await.unwrap();
    }

    /// Listens again where it did.
    pub async fn come_back(&mut self) {
        self.listen(TcpListener::bind(self.address).await.unwrap());
    }

    #[expect(clippy::disallowed_methods, reason = "what a test spawns ends with its runtime")]
    fn listen(&mut self, listener: TcpListener) {
        self.stop = CancellationToken::new();
        let (state, stop) = (Arc::clone(&self.state), self.stop.clone());
        self.listening = Some(tokio::spawn(async move {
            while let Some(Ok((stream, _))) = stop.run_until_cancelled(listener.accept()).await {
                let (state, stop) = (Arc::clone(&state), stop.clone());
                state.open.send_modify(|open| *open += 1);
                tokio::spawn(async move {
                    stop.run_until_cancelled(serve(stream, &state)).await;
                    state.open.send_modify(|open| *open -= 1);
                });
            }
        }));
    }
}

/// An authority of its own, and a server certificate for `localhost` that it signed.
fn certificates() -> (String, TlsAcceptor) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (pem, TlsAcceptor::from(Arc::new(config)))
}

/// How a conversation ended.
enum End<S> {
    Over,
    StartTls(S),
}

async fn serve(stream: TcpStream, state: &State) {
    if state.options.tls == Tls::Implicit {
        if let Ok(stream) = state.acceptor.accept(stream).await {
            let _ = Conversation::new(stream, state, true).run(true).await;
        }
        return;
    }
    if let Ok(End::StartTls(stream)) = Conversation::new(stream, state, false).run(true).await
        && let Ok(stream) = state.acceptor.accept(stream).await
    {
        let _ = Conversation::new(stream, state, true).run(false).await;
    }
}

struct Conversation<'a, S> {
    stream: BufReader<S>,
    state: &'a State,
    encrypted: bool,
    user: Option<String>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Conversation<'a, S> {
    fn new(stream: S, state: &'a State, encrypted: bool) -> Self {
        Self { stream: BufReader::new(stream), state, encrypted, user: None }
    }

    async fn say(&mut self, text: &str) -> std::io::Result<()> {
        self.stream.write_all(format!("{text}\r\n").as_bytes()).await?;
        self.stream.flush().await
    }

    /// The next line; `None` when the client is gone.
    async fn line(&mut self) -> std::io::Result<Option<String>> {
        let mut line = String::new();
        let length = self.stream.read_line(&mut line).await?;
        Ok((length > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
    }

    async fn run(mut self, greets: bool) -> std::io::Result<End<S>> {
        if greets {
            self.say("220 mail.test ESMTP").await?;
        }
        let (mut from, mut to) = (String::new(), String::new());
        let mut answer = Answer::Accept;
        while let Some(line) = self.line().await? {
            let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match verb.to_ascii_uppercase().as_str() {
                "EHLO" => self.greet().await?,
                "STARTTLS" => {
                    self.say("220 go ahead").await?;
                    assert!(self.stream.buffer().is_empty(), "the client spoke before TLS began");
                    return Ok(End::StartTls(self.stream.into_inner()));
                }
                "AUTH" => self.log_in(rest).await?,
                "MAIL" if self.state.options.login.is_some() && self.user.is_none() => {
                    self.say("530 5.7.0 Authentication required").await?;
                }
                "MAIL" => {
                    from = address(rest);
                    self.say("250 2.1.0 ok").await?;
                }
                "RCPT" => {
                    to = address(rest);
                    answer = self.next_answer(&to);
                    match answer {
                        Answer::AtRecipient(text) => self.say(text).await?,
                        _ => self.say("250 2.1.5 ok").await?,
                    }
                }
                "DATA" => {
                    if answer == Answer::HangAtData && !self.released().await? {
                        return Ok(End::Over);
                    }
                    self.say("354 go ahead").await?;
                    let data = self.data().await?;
                    if !self.end_of_mail(&from, &to, data, answer).await? {
                        return Ok(End::Over);
                    }
                }
                "NOOP" => self.say("250 ok").await?,
                "QUIT" => {
                    self.say("221 bye").await?;
                    return Ok(End::Over);
                }
                _ => self.say("502 5.5.1 unknown").await?,
            }
        }
        Ok(End::Over)
    }

    async fn greet(&mut self) -> std::io::Result<()> {
        let mut lines = vec!["mail.test".to_owned(), "8BITMIME".to_owned(), "SMTPUTF8".to_owned()];
        if self.state.options.tls == Tls::Upgraded && !self.encrypted {
            lines.push("STARTTLS".to_owned());
        } else if let Some((mechanism, _, _)) = self.state.options.login {
            lines.push(format!("AUTH {mechanism}"));
        }
        let last = lines.pop().unwrap();
        for line in lines {
            self.say(&format!("250-{line}")).await?;
        }
        self.say(&format!("250 {last}")).await
    }

    async fn log_in(&mut self, rest: &str) -> std::io::Result<()> {
        let decode = |text: &str| String::from_utf8(STANDARD.decode(text).unwrap()).unwrap();
        let (user, password) = if let Some(both) = rest.strip_prefix("PLAIN ") {
            let both = decode(both);
            let mut parts = both.split('\0').skip(1).map(str::to_owned);
            (parts.next().unwrap(), parts.next().unwrap())
        } else {
            let mut told = Vec::new();
            for prompt in ["Username:", "Password:"] {
                self.say(&format!("334 {}", STANDARD.encode(prompt))).await?;
                told.push(decode(&self.line().await?.unwrap()));
            }
            (told.remove(0), told.remove(0))
        };
        match self.state.options.login {
            Some((_, known, secret)) if (known, secret) == (user.as_str(), password.as_str()) => {
                self.user = Some(user);
                self.say("235 2.7.0 welcome").await
            }
            _ => self.say(&format!("535 5.7.8 {user}@example.com: authentication failed")).await,
        }
    }

    fn next_answer(&self, to: &str) -> Answer {
        let mut tries = self.state.tries.lock().unwrap();
        let number = tries.entry(to.to_owned()).or_default();
        *number += 1;
        let script = Arc::clone(&self.state.script.lock().unwrap());
        script(to, *number)
    }

    async fn data(&mut self) -> std::io::Result<String> {
        let mut data = String::new();
        while let Some(line) = self.line().await? {
            if line == "." {
                break;
            }
            data.push_str(line.strip_prefix('.').unwrap_or(&line));
            data.push_str("\r\n");
        }
        Ok(data)
    }

    /// Whether the conversation goes on.
    async fn end_of_mail(&mut self, from: &str, to: &str, data: String, answer: Answer) -> std::io::Result<bool> {
        let mail = Received {
            from: from.to_owned(),
            to: to.to_owned(),
            data,
            encrypted: self.encrypted,
            user: self.user.clone(),
            accepted: matches!(answer, Answer::Accept | Answer::Hang | Answer::HangAtData),
        };
        if let Answer::AtEnd(text) = answer {
            self.say(text).await?;
            return Ok(true);
        }
        self.state.received.lock().unwrap().push(mail);
        match answer {
            Answer::Close => return Ok(false),
            Answer::Hang if !self.released().await? => return Ok(false),
            _ => {}
        }
        self.say("250 2.0.0 taken").await?;
        Ok(true)
    }

    /// Says nothing until the server is released; `false` when the client hangs up before, or speaks unasked.
    async fn released(&mut self) -> std::io::Result<bool> {
        let released = self.state.released.clone();
        tokio::select! {
            () = released.cancelled() => Ok(true),
            _ = self.line() => Ok(false),
        }
    }
}

/// The address between angle brackets.
fn address(text: &str) -> String {
    let (_, after) = text.split_once('<').unwrap();
    after.split_once('>').unwrap().0.to_owned()
}
