//! The client of OpenRouter's own endpoints, against an answer written byte by byte.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::SecretString;
use tallyd::clock::Clock;
use tallyd::domain::facts::GenerationRecord;
use tallyd::domain::money::Money;
use tallyd::domain::time::Timestamp;
use tallyd::openrouter::{Client, ReadError, Timeouts};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const KEY: &str = "sk-or-v1-canary-of-the-key";

/// Answers every connection with these bytes and closes it; keeps what it was asked.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    #[expect(clippy::disallowed_methods, reason = "what a test spawns ends with its runtime")]
    async fn answering(answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let questions = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut question = Vec::new();
                while !question.ends_with(b"\r\n\r\n") && stream.read_buf(&mut question).await.unwrap_or(0) > 0 {}
                questions.lock().unwrap().push(String::from_utf8(question).unwrap());
                // The client may have gone away on purpose.
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { port, asked }
    }

    fn client(&self) -> Client {
        let timeouts = Timeouts { connect: Duration::from_secs(5), reading: Duration::from_secs(20) };
        let base = format!("http://127.0.0.1:{}/api/v1", self.port).parse().unwrap();
        Client::new(&base, timeouts, Clock::manual(Timestamp::parse("1994-11-06T08:49:07Z").unwrap())).unwrap()
    }
}

async fn reading(answer: impl Into<Vec<u8>>) -> (Result<GenerationRecord, ReadError>, Vec<String>) {
    let server = Server::answering(answer.into()).await;
    let id = "gen-1789000001-A1b2C3d4E5f6G7h8I9j0".parse().unwrap();
    let answer = server.client().generation(&id, &SecretString::from(KEY)).await;
    let asked = server.asked.lock().unwrap().clone();
    (answer, asked)
}

fn with_body(head: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

#[tokio::test]
async fn one_plain_question_is_asked_with_the_key_and_nothing_else() {
    let body = include_bytes!("../fixtures/payloads/generation_settled.json");
    let (answer, asked) = reading(with_body("200 OK", body)).await;
    assert_eq!(answer.unwrap().facts.settled_cost, Some(Money::from_picos(83_160_000)));
    assert_eq!(asked.len(), 1);
    let question = asked[0].to_ascii_lowercase();
    assert!(asked[0].starts_with("GET /api/v1/generation?id=gen-1789000001-A1b2C3d4E5f6G7h8I9j0 HTTP/1.1\r\n"));
    assert!(question.contains(&format!("\r\nauthorization: bearer {KEY}\r\n")), "{question}");
    assert!(question.contains(concat!("\r\nuser-agent: tallyd/", env!("CARGO_PKG_VERSION"), "\r\n")), "{question}");
    assert!(!question.contains("accept-encoding"), "an answer is bounded as it comes, so none may be compressed");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_key_goes_nowhere() {
    let trap = Server::answering(with_body("200 OK", b"{}")).await;
    let head = format!("302 Found\r\nLocation: http://127.0.0.1:{}/elsewhere", trap.port);
    let (answer, asked) = reading(with_body(&head, b"")).await;
    let error = answer.unwrap_err().to_string();
    assert!(error.contains("HTTP 302") && error.contains("openrouter.base_url"), "{error}");
    assert_eq!((asked.len(), trap.asked.lock().unwrap().len()), (1, 0));
}

#[tokio::test]
async fn an_endless_answer_is_cut_at_its_bound() {
    let mut body = b"{\"data\":{\"total_cost\":1,\"x\":\"".to_vec();
    body.resize(8 << 20, b'x');
    let (answer, _) = reading(with_body("200 OK", &body)).await;
    let Err(ReadError::Garbled { reason }) = answer else { panic!("{answer:?}") };
    assert!(reason.contains("longer than"), "{reason}");
    // The same without a length, and as the body of an error.
    let mut endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400000\r\n".to_vec();
    endless.resize(4 << 20, b'x');
    assert!(matches!(reading(endless).await.0, Err(ReadError::Garbled { .. })));
    assert_eq!(reading(with_body("404 Not Found", &body)).await.0, Err(ReadError::NotYet));
}

#[tokio::test]
async fn broken_answers_are_to_be_asked_for_again() {
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"data\":{\"total_cost\":1}}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"dat",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 1000 Beyond\r\n\r\n",
    ] {
        let (read, _) = reading(answer).await;
        let Err(ReadError::Temporary { reason, retry_after: None }) = read else { panic!("{answer}: {read:?}") };
        assert!(reason.contains("connection to OpenRouter broke"), "{answer}: {reason}");
    }
}

#[tokio::test]
async fn answers_that_are_no_record_are_garbled() {
    for answer in [
        with_body("200 OK\r\nContent-Type: text/html", b"<html>maintenance</html>"),
        with_body("200 OK\r\nContent-Encoding: gzip", b"\x1f\x8b\x08\x00"),
        with_body("200 OK", br#"{"error":{"code":502,"message":"CANARY"}}"#),
        with_body("204 No Content", b""),
    ] {
        let (answer, _) = reading(answer).await;
        assert!(matches!(answer, Err(ReadError::Garbled { .. })), "{answer:?}");
        assert!(!answer.unwrap_err().to_string().contains("CANARY"));
    }
}

#[tokio::test]
async fn statuses_say_what_to_do() {
    let minute = Some(Duration::from_mins(1));
    let half = Some(Duration::from_secs(30));
    for (head, expected) in [
        ("404 Not Found", ReadError::NotYet),
        ("401 Unauthorized", ReadError::Refused { status: 401 }),
        ("403 Forbidden", ReadError::Refused { status: 403 }),
        ("429 Too Many Requests", ReadError::RateLimited { retry_after: None }),
        ("429 Too Many Requests\r\nRetry-After: 60", ReadError::RateLimited { retry_after: minute }),
        (
            "429 Too Many Requests\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT",
            ReadError::RateLimited { retry_after: half },
        ),
        ("429 Too Many Requests\r\nRetry-After: soon", ReadError::RateLimited { retry_after: None }),
        (
            "503 Service Unavailable\r\nRetry-After: 30",
            ReadError::Temporary { reason: "OpenRouter answers HTTP 503".to_owned(), retry_after: half },
        ),
        (
            "529 Overloaded",
            ReadError::Temporary { reason: "OpenRouter answers HTTP 529".to_owned(), retry_after: None },
        ),
    ] {
        let (answer, _) = reading(with_body(head, br#"{"error":{"code":1,"message":"CANARY"}}"#)).await;
        assert_eq!(answer, Err(expected), "{head}");
    }
}

#[tokio::test]
async fn nothing_said_of_a_failure_carries_the_key_or_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let client = Server { port, asked: Arc::default() }.client();
    let error = client.generation(&"gen-1".parse().unwrap(), &SecretString::from(KEY)).await.unwrap_err();
    assert_eq!(error.to_string(), "no connection to OpenRouter");
    let error = client.generation(&"gen-1".parse().unwrap(), &SecretString::from("two\nlines")).await.unwrap_err();
    assert_eq!(error.to_string(), "the key holds characters that no header can carry");
    assert!(!format!("{client:?}").contains(KEY));
    assert_eq!(client.server_time().await, None);
}

#[tokio::test]
async fn a_key_tells_of_itself_and_the_server_of_its_time() {
    let head = "200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT";
    let server = Server::answering(with_body(head, include_bytes!("../fixtures/payloads/key.json"))).await;
    let info = server.client().key_info(&SecretString::from(KEY)).await.unwrap();
    assert_eq!(info.limit, Money::from_usd(50));
    assert!(server.asked.lock().unwrap()[0].starts_with("GET /api/v1/key HTTP/1.1\r\n"));
    assert_eq!(server.client().server_time().await, Timestamp::parse("1994-11-06T08:49:37Z"));
    assert!(!server.asked.lock().unwrap()[1].contains(KEY), "the time is asked for without a key");
}
