//! What somebody might ask who means no good: each is refused or cut off, with one message that says what to do.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;
use tallyd::clock::Clock;
use tallyd::store::console::MAX_QUERY;

use super::{Console, asked_of_both_engines};
use crate::support::{PATIENCE, beside, until};

const TABLES: &str = "[sql]\ntime_limit = \"2s\"\nrows = 1000\nbytes = \"64KiB\"\nmemory = \"64MiB\"\nconcurrency = 2\n\
    [[budgets]]\nname = \"all\"\nwindow = \"month\"\nlimit_usd = \"1.00\"\nnotify = [\"secret-address@example.com\"]\n";

/// The longest that an answer may take: the query's own second, a process's start, and a busy machine.
const SOON: Duration = Duration::from_secs(20);

asked_of_both_engines! {
    super::TABLES;
    statements_that_do_not_read_are_refused
    functions_are_refused_by_name
    nothing_but_the_views_is_read
    tricks_of_writing_are_seen_through
    bombs_are_cut_off_in_time
    what_is_too_long_or_no_text_is_refused
    what_is_cut_says_so
    hostile_queries_leave_room_for_others
}

/// The message with which a query is refused.
async fn refused(console: &Console, query: &str) -> String {
    let clock = Clock::system();
    let reply = console.ask(query).await;
    let took = clock.elapsed();
    let start: String = query.chars().take(200).collect();
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{start}: {}", reply.text());
    assert!(took < SOON, "{start} took {took:?}");
    let json = reply.json();
    let message = json["error"]["message"].as_str().unwrap().to_owned();
    for secret in ["secret-address", "panicked", "src/store", ".rs:"] {
        assert!(!message.contains(secret), "{start}: {message}");
    }
    assert!(message.len() > 10 && message.len() < 1_000, "{start}: {message}");
    message
}

/// Honest queries are answered, once what was asked before has ended.
async fn is_well(console: &Console) {
    let counted = until("an answer", async || {
        let reply = console.ask("SELECT COUNT(*) AS n FROM usage").await;
        (reply.status == 200).then(|| reply.json()["rows"][0]["n"].clone())
    });
    assert_eq!(counted.await, 5);
}

async fn statements_that_do_not_read_are_refused(console: &Console) {
    console.fill().await;
    for query in [
        "DELETE FROM calls",
        "INSERT INTO usage DEFAULT VALUES",
        "UPDATE calls SET app = 'x'",
        "REPLACE INTO calls DEFAULT VALUES",
        "MERGE INTO calls USING usage ON true WHEN MATCHED THEN DELETE",
        "TRUNCATE calls",
        "DROP TABLE calls",
        "ALTER TABLE calls RENAME TO gone",
        "CREATE TABLE x (a INTEGER)",
        "CREATE TEMP TABLE x AS SELECT 1",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ATTACH 'x.db' AS x",
        "DETACH main",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA writable_schema = 1",
        "VACUUM INTO '/tmp/x'",
        "REINDEX",
        "ANALYZE",
        "COPY usage TO '/tmp/x'",
        "COPY usage TO PROGRAM 'sh'",
        "COPY calls FROM '/etc/passwd'",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "RESET ROLE",
        "SET statement_timeout = 0",
        "SET LOCAL role = none",
        "SHOW ALL",
        "DO 'BEGIN END'",
        "CALL x()",
        "PREPARE x AS SELECT 1",
        "EXECUTE tallyd_query",
        "DEALLOCATE ALL",
        "DECLARE c CURSOR FOR SELECT 1",
        "LISTEN x",
        "NOTIFY x",
        "LOCK TABLE calls",
        "LOAD 'x'",
        "GRANT ALL ON calls TO PUBLIC",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT x",
        "EXPLAIN SELECT 1",
        "EXPLAIN ANALYZE DELETE FROM calls",
        "EXPLAIN QUERY PLAN SELECT * FROM calls",
        "TABLE usage",
        "HANDLER x",
        "(DELETE FROM calls)",
        "\u{feff}DELETE FROM calls",
    ] {
        let message = refused(console, query).await;
        assert!(message.contains("begins with SELECT"), "{query}: {message}");
    }
    for query in [
        "SELECT 1; DELETE FROM calls",
        "SELECT 1;;SELECT 2",
        "SELECT 1; COMMIT; SET ROLE NONE; SELECT * FROM calls",
        "SELECT 1 -- x\n; DELETE FROM calls",
    ] {
        let message = refused(console, query).await;
        assert!(message.contains("one statement"), "{query}: {message}");
    }
    for query in [
        "WITH gone AS (DELETE FROM calls RETURNING *) SELECT * FROM gone",
        "WITH x AS (INSERT INTO usage_tags DEFAULT VALUES RETURNING 1) SELECT * FROM x",
        "WITH x AS (SELECT 1) DELETE FROM calls",
        "SELECT 1 INTO stolen",
        "SELECT * INTO TEMP stolen FROM usage",
        "SELECT * FROM usage FOR UPDATE",
        "VALUES (1) RETURNING 1",
    ] {
        refused(console, query).await;
    }
    is_well(console).await;
}

async fn functions_are_refused_by_name(console: &Console) {
    console.fill().await;
    for call in [
        "load_extension('x')",
        "readfile('/etc/passwd')",
        "writefile('/tmp/x', 'x')",
        "edit('x')",
        "fts3_tokenizer('x')",
        "randomblob(1000000000)",
        "zeroblob(1000000000)",
        "printf('%1000000000d', 1)",
        "format('%1000000000s', 1)",
        "hex('x')",
        "unhex('00')",
        "quote('x')",
        "unistr('x')",
        "last_insert_rowid()",
        "changes()",
        "soundex('x')",
        "set_config('role', 'none', false)",
        "current_setting('role')",
        "query_to_xml('select 1', true, true, '')",
        "table_to_xml('calls', true, true, '')",
        "database_to_xml(true, true, '')",
        "cursor_to_xml('x', 1, true, true, '')",
        "xmlparse(document '<a/>')",
        "xpath('/', 'x')",
        "lo_import('/etc/passwd')",
        "lo_export(1, '/tmp/x')",
        "lo_get(1)",
        "dblink('x', 'y')",
        "nextval('x')",
        "setval('x', 1)",
        "txid_current()",
        "repeat('x', 1000000000)",
        "lpad('x', 1000000000)",
        "rpad('x', 1000000000)",
        "array_fill(1, ARRAY[1000000000])",
        "regexp_replace('x', 'x', 'y')",
        "regexp_matches('x', '(x+x+)+y')",
        "md5('x')",
        "version()",
        "has_table_privilege('calls', 'SELECT')",
        "to_regclass('calls')",
        "obj_description(1)",
        "inet_server_addr()",
        "gen_random_uuid()",
        "ts_stat('select 1')",
        "to_json(1)",
        "row_to_json(1)",
        "array_agg(1)",
        "operator(pg_catalog.+)",
    ] {
        let message = refused(console, &format!("SELECT {call}")).await;
        assert!(message.contains("not allowed here") || message.contains("can not be read"), "{call}: {message}");
    }
    for query in [
        "SELECT * FROM usage WHERE set_config('role', 'none', false) = 'none'",
        "SELECT COUNT(*) FILTER (WHERE set_config('role', 'none', false) = '') FROM usage",
        "SELECT * FROM usage ORDER BY set_config('role', 'none', false)",
        "SELECT (SELECT zeroblob(1)) FROM usage",
        "SELECT * FROM dblink('x', 'y') AS t(a int)",
        "SELECT * FROM fsdir('/')",
        "SELECT * FROM bytecode('SELECT 1')",
        "SELECT public.sum(1)",
        "SELECT char(65)",
    ] {
        refused(console, query).await;
    }
    is_well(console).await;
}

async fn nothing_but_the_views_is_read(console: &Console) {
    console.fill().await;
    for what in [
        "calls",
        "main.calls",
        "public.calls",
        "\"calls\"",
        "generation_records",
        "messages",
        "message_pictures",
        "alerts",
        "alert_recipients",
        "alert_mail",
        "tally_keys",
        "signing_keys",
        "budgets",
        "spend_buckets",
        "saved_queries",
        "tallyd_meta",
        "_sqlx_migrations",
        "sqlite_master",
        "sqlite_schema",
        "sqlite_temp_master",
        "sqlite_stat1",
        "\"sqlite_master\"",
        "main.sqlite_master",
        "pragma_table_info('calls')",
        "pragma_database_list",
        "dbstat",
        "pg_catalog.pg_class",
        "pg_class",
        "pg_roles",
        "pg_shadow",
        "pg_authid",
        "pg_stat_activity",
        "pg_settings",
        "pg_stats",
        "pg_largeobject",
        "\"pg_class\"",
        "information_schema.tables",
        "information_schema.columns",
        "INFORMATION_SCHEMA.TABLES",
    ] {
        for query in [
            format!("SELECT * FROM {what}"),
            format!("SELECT COUNT(*) FROM {what}"),
            format!("SELECT COUNT(*) FROM '{what}'"),
            format!("SELECT COUNT(*) FROM usage, '{what}' AS x"),
            format!("SELECT (SELECT 1 FROM {what} LIMIT 1) FROM usage"),
            format!("WITH x AS (SELECT 1 FROM {what}) SELECT * FROM x"),
            format!("SELECT 1 WHERE EXISTS (SELECT 1 FROM {what})"),
            format!("SELECT 1 FROM usage UNION ALL SELECT 1 FROM {what}"),
        ] {
            refused(console, &query).await;
        }
    }
    for query in [
        "SELECT key_sha256 FROM usage",
        "SELECT rowid FROM usage",
        "SELECT ctid FROM usage",
        "SELECT usage.key_sha256 FROM usage",
        "SELECT recipient FROM alert_history",
        "SELECT notify FROM budget_status",
        "WITH alert_mail AS (SELECT key_sha256 FROM calls) SELECT * FROM alert_mail",
        "WITH usage AS (SELECT * FROM calls) SELECT * FROM usage",
        "SELECT u.call_id FROM usage AS u JOIN calls ON calls.call_id = u.call_id",
        "SELECT 'calls'::regclass",
        "SELECT CAST('calls' AS regclass)",
        "SELECT CAST('<a/>' AS xml)",
    ] {
        refused(console, query).await;
    }
    if !console.is_sqlite {
        // What somebody let everybody read is not ours to show.
        let url = console.at.config().database.url();
        let mut admin = crate::store::engines::connect(&url).await;
        let made = "CREATE SCHEMA other; CREATE TABLE other.payroll (a TEXT); GRANT USAGE ON SCHEMA other TO PUBLIC; \
                    GRANT SELECT ON other.payroll TO PUBLIC";
        sqlx::raw_sql(made).execute(&mut admin).await.unwrap();
        sqlx::Connection::close(admin).await.unwrap();
        for query in ["SELECT * FROM other.payroll", "SELECT * FROM usage, other.\"payroll\""] {
            assert!(refused(console, query).await.contains("payroll can not be read"));
        }
    }
    is_well(console).await;
}

async fn tricks_of_writing_are_seen_through(console: &Console) {
    console.fill().await;
    for query in [
        "/**/DELETE FROM calls",
        "-- x\nDELETE FROM calls",
        "SELECT /* /* */ pg_sleep(9) /* */ */ 1",
        "SELECT 1 /* never ends",
        "SELECT pg_sleep/**/(9)",
        "SELECT pg_sleep--\n(9)",
        "SELECT \"pg_sleep\"(9)",
        "SELECT \"set_config\"('role', 'none', false)",
        "SELECT pg_catalog.pg_sleep(9)",
        "SELECT pg_catalog . set_config('role', 'none', false)",
        "SELECT SET_CONFIG('role', 'none', false)",
        "SELECT `load_extension`('x')",
        "SELECT [load_extension]('x')",
        "SELECT E'\\' , pg_sleep(9) --'",
        "SELECT e'\\' , set_config('role', 'none', false) --'",
        "SELECT U&'\\0061'",
        "SELECT U&\"pg_sl\\0065ep\"(9)",
        "SELECT X'00'",
        "SELECT B'1'",
        "SELECT N'x'",
        "SELECT $$ ' $$, pg_sleep(9), $$ ' $$",
        "SELECT $a$ x $a$",
        "SELECT $1",
        "SELECT ?",
        "SELECT @x",
        "SELECT @@version",
        "SELECT 'open",
        "SELECT \"open",
        "SELECT 'a' 'b' FROM calls",
        "SELECT 1 \\; DELETE FROM calls",
        "\\! sh",
        "\\copy calls to x",
        ".shell sh",
        ".load x",
        "SELECT :größe",
    ] {
        refused(console, query).await;
    }
    is_well(console).await;
}

async fn bombs_are_cut_off_in_time(console: &Console) {
    console.fill().await;
    let brackets = format!("SELECT {}1{}", "(".repeat(60_000), ")".repeat(60_000));
    let nots = format!("SELECT {} 1", "NOT ".repeat(60_000));
    let cases = format!("SELECT {}1{}", "CASE WHEN 1 = 1 THEN ".repeat(5_000), " END".repeat(5_000));
    let queries =
        format!("SELECT * FROM {}(SELECT 1 AS a) AS x{}", "(SELECT * FROM ".repeat(3_000), ") AS x".repeat(3_000));
    let json = format!("SELECT json_array_length('{}{}')", "[".repeat(50_000), "]".repeat(50_000));
    let long = "x".repeat(120_000);
    let likes = format!("SELECT COUNT(*) FROM usage WHERE '{long}' LIKE '{}y'", "%x".repeat(60_000));
    let columns = format!("SELECT {} 1 FROM usage AS u", "u.*, ".repeat(400));
    for query in [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n) SELECT MAX(i) FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT COUNT(*) FROM n a, n b, n c, n d",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n ORDER BY i DESC",
        "WITH RECURSIVE s(t) AS (SELECT 'xxxxxxxxxxxxxxxx' UNION ALL SELECT t || t FROM s) SELECT MAX(length(t)) FROM s",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n), w AS (SELECT i, SUM(i) OVER (ORDER BY i DESC) AS s FROM n) \
         SELECT MAX(s) FROM w",
        &*nots,
        &columns,
    ] {
        // Either the bound, or the engine's own patience with nesting.
        refused(console, query).await;
    }
    // Some are no bombs to this engine or that; all end.
    let unions = format!("SELECT 1 {}", "UNION ALL SELECT 1 ".repeat(10_000));
    let list = format!("SELECT COUNT(*) FROM usage WHERE created_ms IN ({}1)", "1, ".repeat(60_000));
    let find = format!("SELECT COUNT(*) FROM usage WHERE replace('{long}', '{}y', '') = ''", "x".repeat(60_000));
    let clock = Clock::system();
    for query in [unions, list, find, json, brackets, cases, queries, likes] {
        let began = clock.elapsed();
        let status = console.ask(&query).await.status;
        assert!(status == 200 || status == 400, "{status}: {}", query.get(..100).unwrap());
        assert!(clock.elapsed().saturating_sub(began) < SOON);
    }
    let own = if console.is_sqlite {
        vec![
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT group_concat(i) FROM n".to_owned(),
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT json_group_array(i) FROM n"
                .to_owned(),
            format!(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT DISTINCT i, '{long}' || i FROM n ORDER BY 2"
            ),
        ]
    } else {
        vec![
            "SELECT COUNT(*) FROM generate_series(1, 100000000000) AS a".to_owned(),
            "SELECT SUM(a) FROM generate_series(1, 1000000) AS a, generate_series(1, 1000000) AS b".to_owned(),
            "SELECT length(string_agg('xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', '')) FROM generate_series(1, 100000000) AS a"
                .to_owned(),
            format!("SELECT a, '{long}' FROM generate_series(1, 100000000) AS a ORDER BY 1 DESC"),
        ]
    };
    for query in own {
        let message = refused(console, &query).await;
        assert!(
            ["took longer", "memory", "grew beyond"].iter().any(|words| message.contains(words)),
            "{}: {message}",
            query.get(..100).unwrap()
        );
    }
    is_well(console).await;
}

async fn what_is_too_long_or_no_text_is_refused(console: &Console) {
    console.fill().await;
    let long = format!("SELECT '{}'", "x".repeat(MAX_QUERY));
    assert!(refused(console, &long).await.contains("longer than"));
    assert!(refused(console, &";".repeat(MAX_QUERY)).await.contains("empty"));
    assert_eq!(console.ask(&format!("SELECT 1{}", ";".repeat(20_000))).await.status, 200);
    assert!(refused(console, "SELECT 1\0").await.contains("NUL"));
    assert!(refused(console, "SELECT '\0'").await.contains("NUL"));
    let reply = console.ask_with("SELECT :a AS a", json!({ "a": "x\0" })).await;
    assert!(reply.status == 400 && reply.text().contains("NUL"), "{}", reply.text());
    let reply = console.ask_with("SELECT :a AS a", json!({ "a": "x".repeat(70_000) })).await;
    assert!(reply.status == 400 && reply.text().contains("longer than"), "{}", reply.text());
    let many: Vec<String> = (0..40).map(|at| format!(":p{at}")).collect();
    assert!(refused(console, &format!("SELECT {}", many.join(", "))).await.contains("parameters"));
    for (body, status) in [
        (b"{\"query\": \"SELECT '\xff\xfe'\"}".to_vec(), 400),
        (b"SELECT 1".to_vec(), 400),
        (b"{}".to_vec(), 400),
        (b"{\"query\": 1}".to_vec(), 400),
        (b"{\"query\": \"SELECT :a\", \"parameters\": {\"a\": [1]}}".to_vec(), 400),
        (b"{\"query\": \"SELECT 1\", \"unknown\": 1}".to_vec(), 400),
        (vec![b' '; 2 * 1024 * 1024], 413),
    ] {
        let reply = console.caller.post("/tally/v1/sql", &[], body).await;
        assert_eq!(reply.status, status, "{}", reply.text());
        assert!(reply.json()["error"]["message"].as_str().is_some_and(|message| message.len() > 10));
    }
    for path in
        ["/tally/v1/sql", "/tally/v1/sql?q=", "/tally/v1/sql?q=%FF", "/tally/v1/sql?x=1", "/tally/v1/sql.csv?q=DROP"]
    {
        assert_eq!(console.caller.get(path).await.status, 400, "{path}");
    }
    // Another site's page neither asks nor posts.
    for (method, headers) in [
        (Method::GET, [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]),
        (Method::POST, [("origin", "https://evil.example"), ("content-type", "text/plain")]),
    ] {
        let body = r#"{"query":"SELECT 1"}"#;
        let reply = console.caller.send(method, "/tally/v1/sql?q=SELECT+1", &headers, body).await.unwrap();
        assert_eq!(reply.status(), StatusCode::FORBIDDEN);
    }
    is_well(console).await;
}

async fn what_is_cut_says_so(console: &Console) {
    console.fill().await;
    let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT i";
    let answer = console.ask(&format!("{numbers} FROM n")).await.json();
    assert_eq!(answer["rows"].as_array().unwrap().len(), 1_000);
    assert!(answer["cut"].as_str().unwrap().contains("sql.rows"), "{}", answer["cut"]);
    let answer = console.ask(&format!("{numbers}, '{}' AS t FROM n", "x".repeat(1_000))).await.json();
    assert!((50..70).contains(&answer["rows"].as_array().unwrap().len()));
    assert!(answer["cut"].as_str().unwrap().contains("sql.bytes"), "{}", answer["cut"]);
    let answer = console.ask("SELECT call_id FROM usage").await.json();
    assert!(answer["cut"].is_null() && answer["took_ms"].is_u64());
    let body = json!({ "query": format!("{numbers} FROM n") }).to_string();
    let csv = console.caller.post("/tally/v1/sql.csv", &[], body).await;
    assert_eq!(csv.text().lines().count(), 1_001);
    assert!(csv.headers["x-tally-cut"].to_str().unwrap().contains("sql.rows"));
}

async fn hostile_queries_leave_room_for_others(console: &Console) {
    console.fill().await;
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n";
    let body = json!({ "query": endless }).to_string();
    let hostile: Vec<_> = (0..40)
        .map(|_| {
            let (caller, body) = (console.caller.clone(), body.clone());
            beside(async move { caller.post("/tally/v1/sql", &[], body).await })
        })
        .collect();
    // Pages and calls do not wait for any of them.
    assert_eq!(console.caller.get("/budgets").await.status, 200);
    let (mut late, mut busy) = (0, 0);
    for asked in hostile {
        let reply = asked.await.unwrap();
        match reply.status.as_u16() {
            400 => late += 1,
            429 => {
                assert_eq!(reply.headers["retry-after"], "1");
                busy += 1;
            }
            other => panic!("{other}: {}", reply.text()),
        }
    }
    assert!(late >= 2 && busy >= 20, "{late} ran and {busy} were told to come again");
    is_well(console).await;
}

/// With one turn and a minute for each query, only a query that ends with its asker lets the next one in.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_ends_when_its_asker_leaves() {
    async fn leave(console: &Console) {
        let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n";
        let body = json!({ "query": endless }).to_string();
        let caller = crate::support::caller::Caller::new(console.running.address());
        let asking = beside(async move { caller.post("/tally/v1/sql", &[], body).await.status });
        let clock = Clock::system();
        // Once it has the only turn, nobody else is answered.
        until("a query that runs", async || {
            let other = clock.timeout(Duration::from_secs(3), console.ask("SELECT 1 AS one")).await;
            other.is_none().then_some(())
        })
        .await;
        let clock = Clock::system();
        asking.abort();
        let _ = asking.await;
        let answered = console.ask("SELECT 1 AS one").await;
        assert_eq!(answered.status, 200, "{}", answered.text());
        assert!(clock.elapsed() < PATIENCE / 8, "it waited for the query of one who left");
    }
    const TABLES: &str = "[sql]\ntime_limit = \"5m\"\nconcurrency = 1\n";
    let at = crate::support::installation::Installation::new(super::NOWHERE, TABLES);
    let console = Console::start(at, true).await;
    leave(&console).await;
    console.running.stop().await;
    crate::store::engines::on_a_postgres_of_its_own("sql_leaving", async |url| {
        let at = crate::support::installation::Installation::on(url, super::NOWHERE, TABLES);
        let console = Console::start(at, false).await;
        leave(&console).await;
        // The server's part of it ends too.
        let mut admin = crate::store::engines::connect(url).await;
        until("the server to notice", async || {
            let count: i64 = sqlx::query_scalar(
                "SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'tallyd sql' AND datname = current_database()",
            )
            .fetch_one(&mut admin)
            .await
            .unwrap();
            (count == 0).then_some(())
        })
        .await;
        sqlx::Connection::close(admin).await.unwrap();
        console.running.stop().await;
    })
    .await;
}

/// On SQLite memory is bounded by itself: with time enough, a sort of millions of rows still ends.
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded() {
    let at = crate::support::installation::Installation::new(
        super::NOWHERE,
        "[sql]\ntime_limit = \"2m\"\nmemory = \"32MiB\"\n",
    );
    let console = Console::start(at, true).await;
    let query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n ORDER BY i DESC";
    let reply = console.ask(query).await;
    assert!(
        reply.status == 400 && reply.text().contains("more than 32 MiB of memory (sql.memory)"),
        "{}",
        reply.text()
    );
    assert_eq!(console.ask("SELECT 1 AS one").await.status, 200);
    console.running.stop().await;
}
