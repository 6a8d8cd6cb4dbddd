//! What honest people ask: answers, parameters, places of mistakes, and the command.

use serde_json::json;
use tallyd::store::console::VIEWS;
use tokio::io::AsyncWriteExt as _;

use super::{Console, asked_of_both_engines};

asked_of_both_engines! {
    "";
    answers_have_their_types
    every_view_can_be_counted
    parameters_are_bound_and_never_pasted
    mistakes_are_told_with_their_place
    the_command_asks_the_same
    a_role_that_reads_the_views_alone_will_do
}

async fn answers_have_their_types(console: &Console) {
    console.fill().await;
    let reply = console
        .ask("SELECT 9007199254740993 AS big, 1 AS one, NULL AS none, 'ü' AS text, 1 AS one FROM usage LIMIT 1")
        .await;
    let answer = reply.json();
    assert_eq!(answer["columns"], json!(["big", "one", "none", "text", "one"]));
    let row = json!({ "big": "9007199254740993", "one": 1, "none": null, "text": "ü", "one_2": 1 });
    assert_eq!(answer["rows"], json!([row]));
    assert_eq!(reply.headers["cache-control"], "no-store");
    let linked = console.caller.get("/tally/v1/sql?q=SELECT+%3Ax+AS+x&p.x=a%26b").await;
    assert_eq!(linked.json()["rows"], json!([{ "x": "a&b" }]));
    let csv = console.caller.get("/tally/v1/sql.csv?q=SELECT+%27%3D1%27+AS+x").await;
    assert_eq!(csv.text(), "x\r\n'=1\r\n");
    assert!(csv.headers["content-disposition"].to_str().unwrap().contains("tallyd-query.csv"));
    assert_eq!(console.rows("SELECT app FROM usage WHERE app = 'nobody'", json!({})).await, json!([]));
    assert_eq!(console.rows("VALUES (1)", json!({})).await.as_array().unwrap().len(), 1);
    if console.is_sqlite {
        assert_eq!(console.rows("SELECT 9e999 AS x", json!({})).await, json!([{ "x": "Infinity" }]));
    } else {
        let row = console.rows("SELECT 0.10 AS n, 'Infinity'::float8 AS f, now() > '2020-01-01' AS t", json!({})).await;
        assert_eq!(row, json!([{ "n": "0.10", "f": "Infinity", "t": true }]));
    }
}

/// Of a table of which no column is asked for, SQLite's fence learns nothing but its name.
async fn every_view_can_be_counted(console: &Console) {
    console.fill().await;
    for view in VIEWS {
        for query in [
            format!("SELECT COUNT(*) AS n FROM {view}"),
            format!("SELECT 1 AS n FROM {view} LIMIT 1"),
            format!("SELECT EXISTS (SELECT 1 FROM {view}) AS n"),
            format!("SELECT COUNT(*) AS n FROM {view} AS a CROSS JOIN {view} AS b"),
        ] {
            let reply = console.ask(&query).await;
            assert_eq!(reply.status, 200, "{query}: {}", reply.text());
        }
    }
}

async fn parameters_are_bound_and_never_pasted(console: &Console) {
    console.fill().await;
    let query = "SELECT COUNT(*) AS n FROM usage WHERE app = :app AND created_ms > :since_ms";
    let rows = console.rows(query, json!({ "app": "growth-bot", ":since_ms": 1, "unused": 1 })).await;
    assert_eq!(rows, json!([{ "n": 5 }]));
    for value in
        ["' OR '1' = '1", "'; DELETE FROM calls; --", "\\' OR 1=1 --", "growth-bot'/*", "$1", ":app", "\u{2019}"]
    {
        let rows = console.rows(query, json!({ "app": value, "since_ms": 1 })).await;
        assert_eq!(rows, json!([{ "n": 0 }]), "{value}");
        let rows = console.rows("SELECT CAST(:x AS TEXT) AS x", json!({ "x": value })).await;
        assert_eq!(rows, json!([{ "x": value }]));
    }
    assert_eq!(console.rows(query, json!({ "app": null, "since_ms": 1 })).await, json!([{ "n": 0 }]));
    let limited = console.rows("SELECT call_id FROM usage LIMIT :n", json!({ "n": 2 })).await;
    assert_eq!(limited.as_array().unwrap().len(), 2);
    let twice = console.rows(
        "SELECT COUNT(*) AS n FROM usage WHERE created_ms > :a AND created_ms + :b > :a",
        json!({ "a": 0, "b": 1 }),
    );
    assert_eq!(twice.await, json!([{ "n": 5 }]));
    let reply = console.ask_with(query, json!({ "app": "x" })).await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.json()["error"]["message"], "give a value for :since_ms");
    assert_eq!(console.rows("SELECT COUNT(*) AS n FROM usage", json!({})).await, json!([{ "n": 5 }]));
}

async fn mistakes_are_told_with_their_place(console: &Console) {
    for (query, words, line, column) in [
        ("SELECT app,\n       nonsense\nFROM usage", "nonsense", 2, 8),
        ("SELECT 1 +\n\n  FROM usage", "", 3, 3),
        ("SELECT 'ü', :a, :a,\n  pg_sleep(9)", "pg_sleep", 2, 3),
    ] {
        let reply = console.ask_with(query, json!({ "a": 1 })).await;
        assert_eq!(reply.status, 400, "{query}");
        let error = reply.json()["error"].clone();
        assert!(error["message"].as_str().unwrap().contains(words), "{error}");
        assert_eq!((&error["line"], &error["column"]), (&json!(line), &json!(column)), "{error}");
        assert!(error["message"].as_str().unwrap().ends_with(&format!("(line {line}, column {column})")));
    }
    let placed = console.ask_with("SELECT :aa, :bb, nonsense FROM usage", json!({ "aa": 1, "bb": 2 })).await;
    assert_eq!(placed.json()["error"]["column"], 18, "{}", placed.text());
}

async fn the_command_asks_the_same(console: &Console) {
    console.fill().await;
    let at = &console.at;
    let ended = at.run(&["sql", "SELECT COUNT(*) AS n, 9007199254740993 AS big FROM usage"]).await;
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (Some(0), " n               big \n 5  9007199254740993 \n"),
        "{ended:?}"
    );
    let ended = at.run(&["sql", "--format", "json", "SELECT COUNT(*) AS n, 9007199254740993 AS big FROM usage"]).await;
    let rows: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(rows, json!([{ "n": 5, "big": "9007199254740993" }]));
    let file = at.folder().join("query.sql");
    std::fs::write(&file, "SELECT :a AS a, :b AS b;\n-- the end\n").unwrap();
    let file = file.to_str().unwrap();
    let ended = at.run(&["sql", "--format", "csv", "--file", file, "-p", "a=x=y", "--parameter", "b=é"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "a,b\r\nx=y,é\r\n"), "{ended:?}");
    let ended = at.run(&["sql", "--file", file, "-p", "a=1"]).await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("add --parameter b=…"), "{}", ended.err);
    for arguments in [&["sql", "--file", file, "SELECT 1"][..], &["sql"], &["sql", "SELECT 1", "-p", "a"]] {
        assert_eq!(at.run(arguments).await.code, Some(2), "{arguments:?}");
    }
    let ended = at.run(&["sql", "SELECT nonsense\nFROM usage"]).await;
    assert!(ended.code == Some(1) && ended.err.contains("(line 1, column 8)"), "{ended:?}");
    let ended = at.run(&["sql", "--file", "/nowhere.sql"]).await;
    assert!(ended.code == Some(1) && ended.err.contains("/nowhere.sql can not be read"), "{ended:?}");
    let mut asking = at.command(&["sql", "-"]);
    asking.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut asking = asking.spawn().unwrap();
    asking.stdin.take().unwrap().write_all(b"SELECT 'from there' AS words").await.unwrap();
    let output = asking.wait_with_output().await.unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("from there"));
}

/// `sql.reader_url`: a user of its own, who may read the views; one who may read more is not taken.
async fn a_role_that_reads_the_views_alone_will_do(console: &Console) {
    if console.is_sqlite {
        return;
    }
    let url = console.at.config().database.url();
    let (_, name) = url.rsplit_once('/').unwrap();
    let user = format!("{name}_reader");
    let mut admin = crate::store::engines::connect(&url).await;
    let views = tallyd::store::console::VIEWS.join(", ");
    let made = format!(
        "CREATE ROLE \"{user}\" LOGIN; GRANT USAGE ON SCHEMA public TO \"{user}\"; GRANT SELECT ON {views} TO \"{user}\""
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(made)).execute(&mut admin).await.unwrap();
    let (scheme, host) = url.split_once("://").unwrap();
    let host = host.split_once('@').map_or(host, |(_, host)| host);
    let text = std::fs::read_to_string(console.at.folder().join("tallyd.toml")).unwrap();
    let with = |reader: &str| console.at.configure(&format!("{text}\n[sql]\nreader_url = \"{reader}\"\n"));
    with(&format!("{scheme}://{user}@{host}"));
    let ended = console.at.run(&["sql", "SELECT COUNT(*) AS n FROM usage"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let refused = console.at.run(&["sql", "SELECT COUNT(*) AS n FROM calls"]).await;
    assert!(refused.code == Some(1) && refused.err.contains("permission denied"), "{refused:?}");
    with(&url);
    let ended = console.at.run(&["sql", "SELECT COUNT(*) AS n FROM usage"]).await;
    assert!(ended.code == Some(1) && ended.err.contains("may read tallyd's tables"), "{ended:?}");
    console.at.configure(&text);
    let gone = format!("DROP OWNED BY \"{user}\"; DROP ROLE \"{user}\"");
    sqlx::raw_sql(sqlx::AssertSqlSafe(gone)).execute(&mut admin).await.unwrap();
    sqlx::Connection::close(admin).await.unwrap();
}
