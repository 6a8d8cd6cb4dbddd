//! An OpenRouter that answers as it is told: real HTTP on a real port, each answer written by the test.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Response};
use axum::routing::get;
use tallyd::clock::Clock;
use tokio::sync::watch;

/// One answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A status, headers and a body.
    Http(u16, Vec<(&'static str, String)>, String),
    /// None, until the test lets go.
    Hang,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self::Http(status, Vec::new(), format!(r#"{{"error":{{"code":{status},"message":"as told"}}}}"#))
    }

    pub fn slow_down(status: u16, retry_after: &str) -> Self {
        Self::Http(status, vec![("retry-after", retry_after.to_owned())], "{}".to_owned())
    }

    pub fn body(body: impl Into<String>) -> Self {
        Self::Http(200, Vec::new(), body.into())
    }

    /// A record with this cost and as many native tokens.
    pub fn record(cost: &str, tokens: u32) -> Self {
        Self::body(format!(
            r#"{{"data":{{"total_cost":{cost},"native_tokens_prompt":{tokens},"model":"openai/gpt-4o-mini"}}}}"#
        ))
    }
}

/// One question, as it came.
#[derive(Clone, Debug)]
pub struct Question {
    pub id: String,
    pub key: String,
    /// The test's clock when it came.
    pub at: Duration,
}

#[derive(Clone)]
pub struct Upstream {
    script: Arc<Mutex<HashMap<String, VecDeque<Answer>>>>,
    /// Every question so far.
    questions: watch::Sender<Vec<Question>>,
    /// Whether hanging answers may go on.
    let_go: watch::Sender<bool>,
    clock: Clock,
    pub port: u16,
}

impl Upstream {
    pub async fn start(clock: Clock) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self {
            script: Arc::default(),
            questions: watch::Sender::default(),
            let_go: watch::Sender::default(),
            clock,
            port: listener.local_addr().unwrap().port(),
        };
        let router = Router::new().route("/api/v1/generation", get(generation)).with_state(upstream.clone());
        super::spawn(async move { axum::serve(listener, router).await.unwrap() });
        upstream
    }

    pub fn base_url(&self) -> reqwest::Url {
        format!("http://127.0.0.1:{}/api/v1", self.port).parse().unwrap()
    }

    /// What is answered to questions for `id`, in order; the last answer repeats.
    pub fn script(&self, id: &str, answers: impl IntoIterator<Item = Answer>) {
        self.script.lock().unwrap().insert(id.to_owned(), answers.into_iter().collect());
    }

    pub fn questions(&self) -> Vec<Question> {
        self.questions.borrow().clone()
    }

    /// Waits until `count` questions have come.
    pub async fn asked(&self, count: usize) {
        let mut questions = self.questions.subscribe();
        super::soon(questions.wait_for(|questions| questions.len() >= count)).await.unwrap();
    }

    pub fn let_go(&self) {
        self.let_go.send_replace(true);
    }
}

async fn generation(
    State(upstream): State<Upstream>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response<Body> {
    let id = query["id"].clone();
    let key = headers["authorization"].to_str().unwrap().trim_start_matches("Bearer ").to_owned();
    let answer = {
        let mut script = upstream.script.lock().unwrap();
        match script.get_mut(&id) {
            None => Answer::status(404),
            Some(answers) if answers.len() > 1 => answers.pop_front().unwrap(),
            Some(answers) => answers[0].clone(),
        }
    };
    let at = upstream.clock.elapsed();
    upstream.questions.send_modify(|questions| questions.push(Question { id, key, at }));
    match answer {
        Answer::Http(status, headers, body) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Body::from(body)).unwrap()
        }
        Answer::Hang => {
            upstream.let_go.subscribe().wait_for(|go| *go).await.unwrap();
            Response::new(Body::from("{}"))
        }
    }
}
