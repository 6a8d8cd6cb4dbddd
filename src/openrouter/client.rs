//! The HTTP client: one GET, one bounded answer, no redirects, no retries of its own.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{RequestBuilder, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};

use crate::clock::Clock;
use crate::domain::facts::GenerationRecord;
use crate::domain::ids::GenerationId;
use crate::domain::time::Timestamp;

use super::analytics::{self, Found, Question};
use super::error::{ReadError, http_date, retry_after};
use super::key::KeyInfo;
use super::models::{self, Listing};
use super::{credits, generation, key};
use crate::domain::catalogue::Listed;
use crate::domain::comparison::Balance;

/// Longest answer read, in bytes; a generation record is about 2 KB.
const MAX_BODY: usize = 256 * 1024;

/// Longest page of the list of models read, in bytes; the whole list is about 2 MB.
const MAX_LISTING: usize = 16 << 20;

/// Most pages of the list of models; without limits asked for, all of it comes in one.
const MAX_PAGES: usize = 50;

/// How long an idle connection is kept for the next reading.
const IDLE: Duration = Duration::from_mins(1);

/// How long a connection may take to open and a whole answer to come.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Opening a connection (`openrouter.connect_timeout`).
    pub connect: Duration,
    /// One reading from question to end, the connection included (`settle.timeout`).
    pub reading: Duration,
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The TLS library refuses our settings.
    #[error("TLS could not be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The HTTP library refuses our settings.
    #[error("the HTTP client could not be set up: {0}")]
    Http(#[from] reqwest::Error),
}

/// Asks OpenRouter's own endpoints. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    reading: Duration,
    clock: Clock,
}

impl Client {
    /// A client for `base_url`, which ends in `/api/v1`. Proxies of the environment are not used, as the gateway
    /// uses none: keys go to `base_url` and nowhere else.
    pub fn new(base_url: &Url, timeouts: Timeouts, clock: Clock) -> Result<Self, ClientError> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(crate::tls::client_config()?)
            .user_agent(concat!("tallyd/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .connect_timeout(timeouts.connect)
            .pool_idle_timeout(IDLE)
            .build()?;
        let base = base_url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { http, base, reading: timeouts.reading, clock })
    }

    /// Reads the record of one generation with the key that made it.
    pub async fn generation(&self, id: &GenerationId, key: &SecretString) -> Result<GenerationRecord, ReadError> {
        // An ID holds letters, digits, `-` and `_` only: nothing in it needs escaping.
        let body = self.get(&format!("generation?id={id}"), key).await?;
        generation::decode(&body, id)
    }

    /// Asks what a key says of itself.
    pub async fn key_info(&self, key: &SecretString) -> Result<KeyInfo, ReadError> {
        let request = self.http.get(format!("{}/key", self.base));
        let (body, answered_at) = self.in_time(self.answer(request, Some(key), MAX_BODY)).await?;
        Ok(KeyInfo { answered_at, ..key::decode(&body)? })
    }

    /// Asks what the account holds. Only a management key is told the truth: others are refused, or told zeros.
    pub async fn credits(&self, key: &SecretString) -> Result<Balance, ReadError> {
        credits::decode(&self.get("credits", key).await?, self.clock.now())
    }

    /// Reads the list of models, every page of it. It is public: no key is sent.
    pub async fn models(&self) -> Result<Vec<Listed>, ReadError> {
        let mut url = format!("{}/models", self.base);
        let mut models = Vec::new();
        for _ in 0..MAX_PAGES {
            let body = self.in_time(self.ask(self.http.get(&url), None, MAX_LISTING)).await?;
            let Listing { listed, next } = models::decode(&body)?;
            models.extend(listed);
            if models.len() > models::MAX_MODELS {
                return Err(ReadError::garbled(format!("OpenRouter lists more than {} models", models::MAX_MODELS)));
            }
            let Some(next) = next else { return Ok(models) };
            url = self.page(&next)?;
        }
        Err(ReadError::garbled(format!("OpenRouter's list of models has more than {MAX_PAGES} pages")))
    }

    /// The next page of the list: its query is taken and nothing else, so that a link leads nowhere but to the list.
    fn page(&self, next: &str) -> Result<String, ReadError> {
        match next.split_once('?') {
            Some((path, query)) if path.ends_with("/models") => Ok(format!("{}/models?{query}", self.base)),
            _ => Err(ReadError::garbled("OpenRouter's list of models goes on somewhere else than in the list")),
        }
    }

    /// Asks which generations there were; see [`analytics::Question`].
    pub async fn generations(&self, question: &Question, key: &SecretString) -> Result<Found, ReadError> {
        let request = self.http.post(format!("{}/analytics/query", self.base));
        let request = request.header(CONTENT_TYPE, "application/json").body(question.body());
        let answer = self.ask(request, Some(key), analytics::MAX_BODY);
        analytics::decode(&self.in_time(answer).await?)
    }

    /// What time it is at OpenRouter, to the second, from the head of any answer; `None` if none came or told it.
    pub async fn server_time(&self) -> Option<Timestamp> {
        let question = self.http.head(format!("{}/models", self.base)).send();
        let answer = self.clock.timeout(self.reading, question).await?.ok()?;
        http_date(answer.headers().get(DATE)?.to_str().ok()?)
    }

    /// The body of a 200.
    async fn get(&self, path: &str, key: &SecretString) -> Result<Bytes, ReadError> {
        let request = self.http.get(format!("{}/{path}", self.base));
        self.in_time(self.ask(request, Some(key), MAX_BODY)).await
    }

    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, ReadError>>) -> Result<T, ReadError> {
        self.clock.timeout(self.reading, answer).await.unwrap_or_else(|| {
            Err(ReadError::temporary(format!("OpenRouter did not answer within {} s", self.reading.as_secs())))
        })
    }

    async fn ask(
        &self,
        request: RequestBuilder,
        key: Option<&SecretString>,
        max_body: usize,
    ) -> Result<Bytes, ReadError> {
        Ok(self.answer(request, key, max_body).await?.0)
    }

    /// The body of a 200, and the time at OpenRouter, to the second, if it told.
    async fn answer(
        &self,
        mut request: RequestBuilder,
        key: Option<&SecretString>,
        max_body: usize,
    ) -> Result<(Bytes, Option<Timestamp>), ReadError> {
        if let Some(key) = key {
            let mut bearer = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))
                .map_err(|_| ReadError::temporary("the key holds characters that no header can carry"))?;
            bearer.set_sensitive(true);
            request = request.header(AUTHORIZATION, bearer);
        }
        let mut response = request.send().await.map_err(|error| broken(&error))?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        // An error's body is read too, so that its connection serves the next reading; what it says is not kept.
        let body = bounded(&mut response, max_body).await;
        if !status.is_success() {
            return Err(self.refusal(status, &headers));
        }
        let told = headers.get(DATE).and_then(|date| http_date(date.to_str().ok()?));
        Ok((body?, told))
    }

    fn refusal(&self, status: StatusCode, headers: &HeaderMap) -> ReadError {
        let wait = headers.get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, self.clock.now()));
        match status.as_u16() {
            404 => ReadError::NotYet,
            status @ (401 | 403) => ReadError::Refused { status },
            429 => ReadError::RateLimited { retry_after: wait },
            status @ 300..=399 => ReadError::Temporary {
                reason: format!("OpenRouter redirects (HTTP {status}), which is not followed; see openrouter.base_url"),
                retry_after: wait,
            },
            402 => ReadError::Temporary {
                reason: "OpenRouter says the account is out of credit (HTTP 402)".to_owned(),
                retry_after: wait,
            },
            status => ReadError::Temporary { reason: format!("OpenRouter answers HTTP {status}"), retry_after: wait },
        }
    }
}

async fn bounded(response: &mut reqwest::Response, max_body: usize) -> Result<Bytes, ReadError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
        if body.len() + chunk.len() > max_body {
            return Err(ReadError::garbled(format!("OpenRouter's answer is longer than {max_body} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// What broke, in words; the error's own text is not used, because it names the URL and with it the ID.
fn broken(error: &reqwest::Error) -> ReadError {
    ReadError::temporary(if error.is_connect() {
        "no connection to OpenRouter"
    } else if error.is_timeout() {
        "the connection to OpenRouter timed out"
    } else {
        "the connection to OpenRouter broke"
    })
}
