//! `tallyd check --stream`: sends one stream through and tells whether something on the way holds it back.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::{Ending, Outcome, Surroundings};
use crate::config::Config;
use crate::tls::client_config;

/// Longest the whole stream may take.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Most bytes read of it.
const MAX_BYTES: usize = 4 << 20;

/// Most tokens asked for: enough chunks to judge by, a few thousandths of a cent.
const MAX_TOKENS: u32 = 96;

/// Chunks below which nothing can be told.
const FEW: usize = 6;

/// A wait below which a burst may be the model's own speed.
const SHORT_WAIT: Duration = Duration::from_millis(250);

/// What arrived at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Arrival {
    /// Since the request was sent.
    at: Duration,
    /// Chunks that came together, comments left out.
    chunks: usize,
}

/// What the spacing of the chunks says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// They came one after the other.
    Flows,
    /// Most came at once, after a wait.
    Held {
        /// How many of them.
        together: usize,
        /// After how long.
        after: Duration,
    },
    /// They came at once, but so early that the model may have made them so fast.
    TooQuick,
    /// There were too few.
    TooFew,
}

fn judge(arrivals: &[Arrival]) -> Verdict {
    let chunks: usize = arrivals.iter().map(|arrival| arrival.chunks).sum();
    let Some(largest) = arrivals.iter().max_by_key(|arrival| arrival.chunks) else { return Verdict::TooFew };
    if chunks < FEW {
        return Verdict::TooFew;
    }
    let (Some(first), Some(last)) = (arrivals.first(), arrivals.last()) else { return Verdict::TooFew };
    let spread = last.at.saturating_sub(first.at);
    // A burst may be cut into several reads, which lie next to each other.
    let burst = largest.chunks * 5 > chunks * 3 || spread * 20 < last.at;
    if !burst {
        return Verdict::Flows;
    }
    if last.at < SHORT_WAIT {
        return Verdict::TooQuick;
    }
    let (together, after) = if spread * 20 < last.at { (chunks, first.at) } else { (largest.chunks, largest.at) };
    Verdict::Held { together, after }
}

/// Counts events as they come: lines that begin with `data:`.
#[derive(Debug, Default)]
struct Counter {
    line: Vec<u8>,
    ended: bool,
}

impl Counter {
    /// Chunks that end in these bytes.
    fn push(&mut self, bytes: &[u8]) -> usize {
        let mut chunks = 0;
        for byte in bytes {
            if *byte != b'\n' {
                // The beginning tells what a line is.
                if self.line.len() < 16 {
                    self.line.push(*byte);
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            if let Some(data) = line.strip_prefix(b"data:") {
                let done = data.trim_ascii().starts_with(b"[DONE]");
                self.ended |= done;
                chunks += usize::from(!done && data.trim_ascii().starts_with(b"{"));
            }
        }
        chunks
    }
}

/// The address of chat completions below what the user named.
fn address(config: &Config, url: &str) -> String {
    if url.is_empty() {
        let mut listen = config.listen;
        if listen.ip().is_unspecified() {
            listen.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        return format!("http://{listen}/api/v1/chat/completions");
    }
    let url = url.trim_end_matches('/');
    if url.ends_with("/chat/completions") {
        url.to_owned()
    } else if url.ends_with("/v1") {
        format!("{url}/chat/completions")
    } else {
        format!("{url}/api/v1/chat/completions")
    }
}

/// Whether a key may travel there: not readable over a network.
fn is_safe(url: &reqwest::Url) -> bool {
    url.scheme() == "https"
        || url.host_str().is_some_and(|host| {
            host == "localhost"
                || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        })
}

/// Sends a stream to `url` (empty: the configured daemon) with the configured key, and says what came of it.
pub(super) async fn run(surroundings: &Surroundings, config: &Config, url: &str, model: &str) -> Outcome {
    let clock = &surroundings.clock;
    let address = address(config, url);
    let parsed = reqwest::Url::parse(&address)
        .with_context(|| format!("{address} is no URL; write one such as http://127.0.0.1:7117/api/v1"))?;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "stream  {address}: {model}, at most {MAX_TOKENS} tokens. With a real key this costs money, with most models less than $0.001; name another with --model"
    )?;
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(client_config()?)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .build()?;
    let body = json!({
        "model": model, "stream": true, "max_tokens": MAX_TOKENS, "temperature": 0,
        "messages": [{ "role": "user", "content": "Count from 1 to 40 in words, separated by commas." }],
    });
    let mut request = client.post(parsed.clone()).header("content-type", "application/json").body(body.to_string());
    if let Some(key) = config.openrouter.api_key() {
        anyhow::ensure!(
            is_safe(&parsed),
            "{address} is http beyond this machine: the key would travel readable; use https"
        );
        request = request.bearer_auth(key.expose_secret());
    }
    let sent = clock.elapsed();
    let mut response = request.send().await.with_context(|| {
        format!("nothing answers at {address}; is the daemon running (`tallyd serve`), or is the URL another?")
    })?;
    let status = response.status();
    if !status.is_success() {
        writeln!(out, "WRONG  stream: it was answered {status}; {}", what_to_do(status.as_u16()))?;
        return Ok(Ending::Found);
    }
    let hints = hints(response.headers());
    let (mut counter, mut arrivals, mut read) = (Counter::default(), Vec::new(), 0);
    while let Some(bytes) = response.chunk().await.context("the stream broke off")? {
        read += bytes.len();
        anyhow::ensure!(
            read <= MAX_BYTES,
            "the stream is longer than {MAX_BYTES} bytes; this is no answer to the question"
        );
        let chunks = counter.push(&bytes);
        if chunks > 0 {
            arrivals.push(Arrival { at: clock.elapsed().saturating_sub(sent), chunks });
        }
    }
    let good = tell(&mut out, &arrivals, counter.ended, &hints)?;
    Ok(if good { Ending::Done } else { Ending::Found })
}

fn tell(out: &mut impl std::io::Write, arrivals: &[Arrival], ended: bool, hints: &str) -> std::io::Result<bool> {
    let chunks: usize = arrivals.iter().map(|arrival| arrival.chunks).sum();
    let first = arrivals.first().map_or(Duration::ZERO, |arrival| arrival.at);
    let last = arrivals.last().map_or(Duration::ZERO, |arrival| arrival.at);
    let ms = |time: Duration| time.as_millis();
    writeln!(
        out,
        "        {chunks} chunks in {} arrivals; the first after {} ms, the last after {} ms",
        arrivals.len(),
        ms(first),
        ms(last)
    )?;
    let verdict = judge(arrivals);
    match verdict {
        Verdict::Flows => {
            writeln!(out, "ok     stream: chunks arrive as they are made; nothing on the way holds them back")?;
        }
        Verdict::Held { together, after } => writeln!(
            out,
            "WRONG  stream: {together} of {chunks} chunks came at once, after {} ms: something between here and the model \
             gathers them{hints}. Turn off its buffering for this path (nginx: proxy_buffering off; and no gzip of \
             text/event-stream), then check the hops one by one: `tallyd check --stream URL` with the URL of each",
            ms(after)
        )?,
        Verdict::TooQuick => writeln!(
            out,
            "note   stream: all came within {} ms, too quickly to tell; ask a slower model with --model",
            ms(last)
        )?,
        Verdict::TooFew => {
            writeln!(out, "note   stream: {chunks} chunks are too few to tell; ask another model with --model")?;
        }
    }
    if !ended {
        writeln!(out, "WRONG  stream: it ended without [DONE]: something cut it")?;
    }
    Ok(ended && !matches!(verdict, Verdict::Held { .. }))
}

/// What the head says of those on the way.
fn hints(headers: &reqwest::header::HeaderMap) -> String {
    let named = ["via", "server", "x-cache", "content-encoding", "content-length"];
    let told: Vec<String> = named
        .into_iter()
        .filter_map(|name| {
            let value = headers.get(name)?.to_str().ok()?;
            Some(format!("{name}: {}", value.chars().filter(|c| !c.is_control()).take(80).collect::<String>()))
        })
        .collect();
    if told.is_empty() { String::new() } else { format!(" (the reply’s head says {})", told.join(", ")) }
}

fn what_to_do(status: u16) -> &'static str {
    match status {
        401 => "set OPENROUTER_API_KEY or [openrouter] api_key",
        402 => "the key has no credit, or a budget blocks it; name a free model with --model",
        403 => "the key or a guard forbids it",
        400 | 404 => "name another model with --model, or another URL",
        429 => "too many calls; wait, or name another model with --model",
        _ => "try again later, or name another model with --model",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(pairs: &[(u64, usize)]) -> Vec<Arrival> {
        pairs.iter().map(|(ms, chunks)| Arrival { at: Duration::from_millis(*ms), chunks: *chunks }).collect()
    }

    #[test]
    fn spacing_tells_who_holds_back() {
        let flowing: Vec<(u64, usize)> = (0..30).map(|n| (400 + n * 15, 1)).collect();
        assert_eq!(judge(&arrivals(&flowing)), Verdict::Flows);
        assert_eq!(judge(&arrivals(&[(300, 3), (350, 4), (400, 3), (450, 5)])), Verdict::Flows);
        let held = Verdict::Held { together: 31, after: Duration::from_secs(2) };
        assert_eq!(judge(&arrivals(&[(2_000, 20), (2_003, 11)])), held);
        let late = Verdict::Held { together: 28, after: Duration::from_millis(1_500) };
        assert_eq!(judge(&arrivals(&[(300, 1), (1_500, 28), (1_510, 1)])), late);
        assert_eq!(judge(&arrivals(&[(90, 30)])), Verdict::TooQuick);
        assert_eq!(judge(&arrivals(&[(900, 5)])), Verdict::TooFew);
        assert_eq!(judge(&[]), Verdict::TooFew);
    }

    #[test]
    fn events_are_counted_however_they_are_split() {
        let stream = b": OPENROUTER PROCESSING\n\ndata: {\"a\":1}\r\n\r\ndata: {\"b\":2}\n\ndata: [DONE]\n\n";
        for size in [1, 7, stream.len()] {
            let mut counter = Counter::default();
            let chunks: usize = stream.chunks(size).map(|piece| counter.push(piece)).sum();
            assert_eq!((chunks, counter.ended), (2, true), "{size}");
        }
    }
}
