//! Who may call: keys, the rules against the browser, budgets, and a ledger that cannot be written.

use secrecy::{ExposeSecret as _, SecretString};
use tallyd::budget::Exceeded;
use tallyd::config::{self, OnLedgerFailure};
use tallyd::domain::ids::KeyFingerprint;
use tallyd::domain::money::{Money, Total};
use tallyd::keys::Wanted;

use super::house::{Candidate, House, OWN_KEY, Plan};

const CHAT: &str = "/api/v1/chat/completions";

#[tokio::test]
async fn a_callers_own_key_passes_untouched_and_is_held_to_settle_with() {
    let mut house = House::new().await;
    let (mut client, mut upstream) = house.post(CHAT, "authorization: bearer   sk-or-v1-mine\r\n", "{}").await;
    assert_eq!(upstream.header("authorization"), Some("bearer   sk-or-v1-mine"));
    upstream.json("200 OK", "", "{}").await;
    client.reply().await;
    let keyring = std::sync::Arc::clone(&house.keyring);
    let row = house.only_row().await;
    let key = &row.sent().key;
    assert_eq!(key.fingerprint, Some(KeyFingerprint::of("sk-or-v1-mine")));
    assert_eq!(keyring.secret(key).unwrap().expose_secret(), "sk-or-v1-mine");
}

#[tokio::test]
async fn a_key_that_upstream_does_not_take_is_not_held_until_it_does() {
    let mut house = House::new().await;
    let keyring = std::sync::Arc::clone(&house.keyring);
    let brought = || keyring.held().into_iter().filter(|(name, _, _)| name.is_none()).count();
    for (status, held) in [("401 Unauthorized", 0), ("403 Forbidden", 0), ("402 Payment Required", 1)] {
        let (mut client, mut upstream) = house.post(CHAT, "authorization: Bearer sk-or-v1-mine\r\n", "{}").await;
        upstream.json(status, "connection: close\r\n", "{}").await;
        client.reply().await;
        assert_eq!(brought(), held, "{status}");
    }
    // What anybody may read proves nothing.
    let mut client = house.client().await;
    client
        .send("GET /api/v1/models HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer sk-or-v1-invented\r\n\r\n")
        .await;
    house.upstream.accept().await.json("200 OK", "connection: close\r\n", "{}").await;
    client.reply().await;
    assert_eq!(brought(), 1);
    assert_eq!(house.finish().await.0.len(), 3);
}

#[tokio::test]
async fn a_tally_key_is_swapped_and_its_labels_are_the_strongest() {
    let keys = [("default", OWN_KEY), ("growth", "sk-or-v1-growth")];
    let keys = keys.map(|(name, key)| (name.to_owned(), SecretString::from(key.to_owned()))).to_vec();
    let mut house = House::with(Plan { keys, ..Plan::default() }).await;
    let tally_keys = std::sync::Arc::clone(&house.tally_keys);
    let wanted = Wanted {
        app: Some("growth-bot".to_owned()),
        tags: [("team".to_owned(), "growth".to_owned())].into(),
        key: Some("growth".to_owned()),
        ..Wanted::default()
    };
    let made = tally_keys.create(wanted, None).await.unwrap();
    let text = made.text.expose_secret().to_owned();
    // Every place where SDKs put a key, and beside one that would pay otherwise.
    for (path, headers) in [
        (CHAT, format!("authorization: Bearer {text}\r\n")),
        ("/api/v1/messages", format!("x-api-key: {text}\r\n")),
        ("/api/v1/messages", format!("authorization: Bearer {text}\r\nx-api-key: sk-or-v1-mine\r\n")),
    ] {
        let headers =
            format!("{headers}x-tally-app: mine\r\nx-tally-user: lena\r\nx-tally-tags: team=mine,env=prod\r\n");
        let (mut client, mut upstream) = house.post(path, &headers, "{}").await;
        assert_eq!(upstream.header("authorization"), Some("Bearer sk-or-v1-growth"), "{path}");
        assert_eq!(upstream.header("x-api-key"), None, "{path}");
        upstream.json("200 OK", "connection: close\r\n", "{}").await;
        client.reply().await;
    }
    // Beside an OpenRouter key that pays it goes nowhere.
    let headers = format!("authorization: Bearer sk-or-v1-mine\r\nx-api-key: {text}\r\n");
    let (mut client, mut upstream) = house.post(CHAT, &headers, "{}").await;
    assert_eq!(upstream.header("authorization"), Some("Bearer sk-or-v1-mine"));
    assert_eq!(upstream.header("x-api-key"), None);
    upstream.json("200 OK", "connection: close\r\n", "{}").await;
    client.reply().await;
    // Open mode is over, whatever a caller sends.
    let mut client = house.client().await;
    for headers in ["", "authorization: Bearer dummy\r\n", "authorization: Bearer tally-unknown\r\n"] {
        client.post(CHAT, headers, "{}").await;
        assert_eq!(client.reply().await.status(), 401, "{headers}");
    }
    tally_keys.revoke(&made.key.fingerprint.tail).await.unwrap();
    client.post("/api/v1/messages", &format!("x-api-key: {text}\r\n"), "{}").await;
    let reply = client.reply().await;
    assert_eq!((reply.status(), &reply.json()["error"]["type"]), (401, &"authentication_error".into()));
    assert!(reply.json()["error"]["message"].as_str().unwrap().contains("was revoked"));
    assert!(house.upstream.is_idle());
    let (rows, refusals) = house.finish().await;
    assert_eq!(rows.len(), 4);
    for row in &rows[..3] {
        let sent = row.sent();
        assert_eq!((sent.key.name.as_str(), sent.tally_key), ("growth", Some(made.key.id)));
        let labels = &sent.attribution;
        assert_eq!((labels.app.as_deref(), labels.user.as_deref()), (Some("growth-bot"), Some("lena")));
        assert_eq!(
            labels.tags.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>(),
            ["env=prod", "team=growth"]
        );
    }
    assert_eq!(rows[3].sent().tally_key, None);
    let causes: Vec<&str> = refusals.iter().map(|refused| refused.cause.as_str()).collect();
    assert_eq!(causes, ["authentication", "authentication", "authentication", "tally_key_revoked"]);
    assert_eq!((refusals[3].app.as_deref(), refusals[3].key_name.as_deref()), (Some("growth-bot"), Some("growth")));
}

#[tokio::test]
async fn a_callers_key_that_is_configured_is_that_key() {
    let mut house = House::new().await;
    let (mut client, mut upstream) = house.post(CHAT, &format!("authorization: Bearer {OWN_KEY}\r\n"), "{}").await;
    upstream.json("200 OK", "", "{}").await;
    client.reply().await;
    assert_eq!(house.only_row().await.sent().key.name, "default");
}

#[tokio::test]
async fn in_open_mode_no_key_or_any_other_is_swapped_for_the_configured_one() {
    let mut house = House::new().await;
    for headers in ["", "authorization: Bearer dummy\r\n", "x-api-key: dummy\r\n", "authorization: Basic eA==\r\n"] {
        let (mut client, mut upstream) = house.post("/api/v1/messages", headers, "{}").await;
        assert_eq!(upstream.header("authorization"), Some(format!("Bearer {OWN_KEY}").as_str()), "{headers}");
        assert_eq!(upstream.header("x-api-key"), None);
        upstream.json("200 OK", "connection: close\r\n", "{}").await;
        client.reply().await;
    }
    let (mut client, mut upstream) = house.post("/api/v1/messages", "x-api-key: sk-or-v1-mine\r\n", "{}").await;
    assert_eq!(upstream.header("x-api-key"), Some("sk-or-v1-mine"));
    assert_eq!(upstream.header("authorization"), None);
    upstream.json("200 OK", "connection: close\r\n", "{}").await;
    client.reply().await;
    let (rows, _) = house.finish().await;
    let mut names: Vec<&str> = rows.iter().map(|row| row.sent().key.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["default", "default", "default", "default", "…mine"]);
}

#[tokio::test]
async fn beyond_open_mode_a_caller_needs_a_key() {
    let mut plan = Plan { open: false, ..Plan::default() };
    plan.settings = config::Gateway { own_keys: false, ..plan.settings };
    let mut house = House::with(plan).await;
    let mut client = house.client().await;
    for headers in ["", "authorization: Bearer dummy\r\n", "authorization: Bearer sk-or-v1-mine\r\n"] {
        client.post(CHAT, headers, "{}").await;
        let reply = client.reply().await;
        assert_eq!((reply.status(), &reply.json()["error"]["code"]), (401, &401.into()), "{headers}");
    }
    assert!(house.upstream.is_idle());
    let (rows, refusals) = house.finish().await;
    assert!(rows.is_empty());
    assert_eq!(refusals.len(), 3);
    assert!(refusals.iter().all(|refused| refused.cause == "authentication"));
}

#[tokio::test]
async fn without_any_key_the_remedy_is_said() {
    let house = House::with(Plan { keys: Vec::new(), ..Plan::default() }).await;
    let mut client = house.client().await;
    client.post(CHAT, "", "{}").await;
    let reply = client.reply().await;
    assert_eq!(reply.status(), 401);
    assert!(reply.json()["error"]["message"].as_str().unwrap().contains("OPENROUTER_API_KEY"));
}

#[tokio::test]
async fn a_web_page_elsewhere_cannot_spend() {
    let mut house = House::new().await;
    for headers in [
        "origin: https://evil.example\r\n",
        "origin: null\r\n",
        "sec-fetch-site: cross-site\r\n",
        "sec-fetch-mode: navigate\r\n",
        "sec-fetch-dest: document\r\n",
    ] {
        let mut client = house.client().await;
        client.post("/api/v1/responses", headers, "{}").await;
        let reply = client.reply().await;
        assert_eq!((reply.status(), &reply.json()["error_type"]), (403, &"permission_denied".into()), "{headers}");
    }
    let mut client = house.client().await;
    client.send("POST /api/v1/responses HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 2\r\n\r\n{}").await;
    let reply = client.reply().await;
    assert_eq!(reply.status(), 403);
    assert!(reply.json()["error"]["message"].as_str().unwrap().contains("allowed_hosts"));
    assert!(house.upstream.is_idle());
    assert!(house.finish().await.0.is_empty());
}

#[tokio::test]
async fn whatever_is_refused_is_counted() {
    let house = House::new().await;
    let mut client = house.client().await;
    client.post(CHAT, "origin: https://evil.example\r\n", "{}").await;
    assert_eq!(client.reply().await.status(), 403);
    client.post(CHAT, "connection: upgrade\r\nupgrade: websocket\r\n", "{}").await;
    assert_eq!(client.reply().await.status(), 501);
    let mut client = house.client().await;
    let head =
        "POST /api/v1/messages HTTP/1.1\r\nhost: localhost\r\nx-tally-app: bot\r\ntransfer-encoding: chunked\r\n\r\n";
    client.send(format!("{head}no length\r\n")).await;
    assert_eq!(client.reply().await.status(), 400);
    // What buys nothing is refused too, and is no call.
    let mut client = house.client().await;
    client.send("GET /api/v1/models HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example\r\n\r\n").await;
    assert_eq!(client.reply().await.status(), 403);
    let counted = house.metrics.text();
    let (_, refusals) = house.finish().await;
    let told: Vec<(&str, &str, Option<&str>)> = refusals
        .iter()
        .map(|refused| (refused.cause.as_str(), refused.endpoint.as_str(), refused.app.as_deref()))
        .collect();
    let chat = "chat/completions";
    assert_eq!(
        told,
        [
            ("permission_denied", chat, None),
            ("not_implemented", chat, None),
            ("invalid_request", "messages", Some("bot"))
        ]
    );
    assert_eq!(refusals[2].key_name.as_deref(), Some("default"));
    for cause in ["permission_denied", "not_implemented", "invalid_request"] {
        let line = format!("tallyd_calls_refused_total{{cause=\"{cause}\"}} 1");
        assert!(counted.lines().any(|told| told == line), "{line} is missing from\n{counted}");
    }
}

#[tokio::test]
async fn upgrades_are_refused() {
    let mut house = House::new().await;
    let mut client = house.client().await;
    client.post(CHAT, "connection: upgrade\r\nupgrade: websocket\r\n", "{}").await;
    let reply = client.reply().await;
    assert_eq!((reply.status(), &reply.json()["error"]["code"]), (501, &501.into()));
    assert!(house.upstream.is_idle());
}

#[tokio::test]
async fn an_offer_of_http2_is_passed_over() {
    let mut house = House::new().await;
    let headers = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAA\r\n";
    let (mut client, mut upstream) = house.post(CHAT, headers, "{}").await;
    assert_eq!((upstream.header("upgrade"), upstream.header("http2-settings")), (None, None));
    upstream.json("200 OK", "", "{}").await;
    assert_eq!(client.reply().await.status(), 200);
    // The connection goes on as it was.
    client.post(CHAT, "", "{}").await;
    upstream.next().await.json("200 OK", "", "{}").await;
    assert_eq!(client.reply().await.status(), 200);
}

#[tokio::test]
async fn a_spent_budget_answers_402_in_every_skin() {
    let refusal = Exceeded {
        budget: "growth".to_owned(),
        value: Some("lena".to_owned()),
        limit: Money::parse("500").unwrap().into(),
        spent: Total::from(Money::parse("500.12").unwrap()),
        reserved: Total::from(Money::parse("0.25").unwrap()),
        estimate: Money::parse("0.0125").unwrap(),
        resets_at: None,
    };
    let mut house = House::with(Plan { refuse: Some(refusal), ..Plan::default() }).await;
    let mut client = house.client().await;
    let body = r#"{"models":["a/b","c/d"]}"#;
    client.post(CHAT, "x-title: Bot\r\n", body).await;
    let reply = client.reply().await;
    assert_eq!(reply.status(), 402);
    let error = &reply.json()["error"];
    assert_eq!(error["code"], 402);
    let metadata = serde_json::json!({
        "error_type": "budget_exceeded", "budget": "growth", "value": "lena", "limit_usd": "500.00", "spent_usd": "500.12",
        "reserved_usd": "0.25", "estimate_usd": "0.0125", "resets_at": null
    });
    assert_eq!(error["metadata"], metadata);
    client.post("/api/v1/presets/p/messages", "", "{}").await;
    let reply = client.reply().await;
    assert_eq!((reply.status(), &reply.json()["error"]["type"]), (402, &"billing_error".into()));
    client.post("/api/v1/responses", "", "not json").await;
    let reply = client.reply().await;
    assert_eq!((reply.status(), &reply.json()["error"]["code"]), (402, &"budget_exceeded".into()));
    assert!(house.upstream.is_idle());
    let candidates = house.candidates.lock().unwrap().clone();
    let candidate = |app: Option<&str>, model: Option<&str>, models: &[&str], opaque| Candidate {
        app: app.map(str::to_owned),
        model: model.map(str::to_owned),
        models: models.iter().map(|model| (*model).to_owned()).collect(),
        opaque,
        models_unread: false,
    };
    assert_eq!(
        candidates,
        [
            candidate(Some("Bot"), None, &["a/b", "c/d"], false),
            candidate(None, Some("@preset/p"), &[], false),
            candidate(None, None, &[], true),
        ]
    );
    let (rows, refusals) = house.finish().await;
    assert!(rows.is_empty());
    assert_eq!(refusals.len(), 3);
    assert_eq!((refusals[0].cause.as_str(), refusals[0].budget.as_deref()), ("budget_exceeded", Some("growth")));
    assert_eq!((refusals[0].app.as_deref(), refusals[0].key_name.as_deref()), (Some("Bot"), Some("default")));
}

#[tokio::test]
async fn a_ledger_that_cannot_be_written_refuses_new_calls_only_if_told_to() {
    use OnLedgerFailure::{Forward, Refuse};
    // What the journal is set to, and what the budgets of the call say instead.
    for (on_ledger_failure, of_budgets, status) in
        [(Refuse, None, 503), (Forward, None, 200), (Forward, Some(Refuse), 503), (Refuse, Some(Forward), 200)]
    {
        // The first call's records fill the journal, which nobody drains.
        let plan = Plan { on_ledger_failure, of_budgets, journal_limit: 1, ..Plan::default() };
        let mut house = House::with(plan).await;
        let (mut client, mut upstream) = house.post(CHAT, "", "{}").await;
        upstream.json("200 OK", "", "{}").await;
        assert_eq!(client.reply().await.status(), 200);
        client.post(CHAT, "", "{}").await;
        if status == 200 {
            upstream.next().await.json("200 OK", "", "{}").await;
        }
        let reply = client.reply().await;
        assert_eq!(reply.status(), status);
        if status == 503 {
            assert_eq!(reply.json()["error"]["metadata"]["error_type"], "ledger_unavailable");
            // Three records of the first call, and none of the second: the room is for calls under way.
            assert_eq!(house.recorder.lost(), 1);
        }
    }
}

#[tokio::test]
async fn with_a_full_journal_new_calls_pass_unrecorded_and_those_under_way_keep_their_room() {
    // The first call's record fills the journal, which nobody drains.
    let mut house = House::with(Plan { journal_limit: 1, ..Plan::default() }).await;
    let (mut first, mut held) = house.chat().await;
    let before = house.journal.health();
    assert!(!before.accepts_new_calls && before.records == 1, "{before:?}");
    for (turn, path) in [CHAT, "/api/v1/responses", "/api/v1/other"].into_iter().cycle().take(9).enumerate() {
        let (mut client, mut upstream) = house.post(path, "", r#"{"stream":true}"#).await;
        let id = format!("gen-1795098726-{turn}");
        upstream.begin_stream(&id).await;
        upstream.chunk("data: {}\n\n").await;
        upstream.chunk("data: [DONE]\n\n").await;
        upstream.send("0\r\n\r\n").await;
        let reply = client.reply().await;
        assert_eq!((reply.status(), reply.head.header("x-generation-id")), (200, Some(id.as_str())));
        assert_eq!(reply.body, b"data: {}\n\ndata: [DONE]\n\n");
    }
    let after = house.journal.health();
    assert_eq!((after.records, after.held_bytes), (before.records, before.held_bytes), "the reserve is untouched");
    assert_eq!((house.recorder.uncounted_calls(), house.recorder.lost()), (9, 0));
    let counted = house.metrics.text();
    assert!(counted.lines().any(|line| line == "tallyd_calls_uncounted_total 9"), "{counted}");
    assert!(counted.lines().any(|line| line == "tallyd_observations_lost_total 0"), "{counted}");
    assert!(counted.lines().any(|line| line == "tallyd_calls_in_flight 1"), "{counted}");
    held.json("200 OK", "x-generation-id: gen-1795098726-held\r\n", "{}").await;
    assert_eq!(first.reply().await.status(), 200);
    let row = house.only_row().await;
    assert!(row.outcome().generation_id.is_some(), "{row:?}");
}

#[tokio::test]
async fn a_list_of_fallbacks_that_is_too_long_to_read_may_name_any_model() {
    let mut house = House::new().await;
    let long = vec!["\"anthropic/claude-sonnet-4\""; 800].join(",");
    let body = format!("{{\"model\":\"openai/gpt-4o\",\"models\":[{long}]}}");
    let (mut client, mut upstream) = house.post(CHAT, "", &body).await;
    upstream.json("200 OK", "", "{}").await;
    client.reply().await;
    assert!(house.candidates.lock().unwrap()[0].models_unread);
    let row = house.only_row().await;
    assert_eq!(row.sent().flags, ["attribution_malformed"]);
}

#[tokio::test]
async fn no_spelling_of_a_path_slips_by_the_budgets() {
    let refusal = Exceeded {
        budget: "none".to_owned(),
        value: None,
        limit: Total::ZERO,
        spent: Total::ZERO,
        reserved: Total::ZERO,
        estimate: Money::ZERO,
        resets_at: None,
    };
    let mut house = House::with(Plan { refuse: Some(refusal), ..Plan::default() }).await;
    for path in [
        "/api/v1/chat/completions",
        "/api/V1/chat/completions",
        "/api/v1/chat/completions/",
        "/api/v1//chat/completions",
        "/api//v1/chat/completions",
        "/api/v1/chat%2Fcompletions",
        "/api/%76%31/CHAT/completions",
        "/api/v1/models/../chat/completions",
        "/api/v1/models/%2e%2e/chat/completions",
        "/api/v1/./chat/completions",
        "/api/v2/chat/completions",
        "/api/V1/Presets/x/chat/completions",
    ] {
        let mut client = house.client().await;
        client.post(path, "", "{}").await;
        assert_eq!(client.reply().await.status(), 402, "{path}");
    }
    // What does not begin with /api/ never leaves.
    for path in ["/API/v1/chat/completions", "//api/v1/chat/completions", "/api%2Fv1/chat/completions"] {
        let mut client = house.client().await;
        client.post(path, "", "{}").await;
        assert_eq!(client.reply().await.status(), 404, "{path}");
    }
    assert!(house.upstream.is_idle());
}

#[tokio::test]
async fn a_list_of_models_without_a_key_says_what_to_do() {
    for (open, keys) in [(false, Plan::default().keys), (true, Vec::new())] {
        let mut house = House::with(Plan { open, keys, ..Plan::default() }).await;
        let mut client = house.client().await;
        client.send("GET /api/v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        let reply = client.reply().await;
        assert_eq!(reply.status(), 401);
        let told = reply.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(told.contains("Authorization: Bearer"), "{told}");
        assert!(house.upstream.is_idle());
    }
}
