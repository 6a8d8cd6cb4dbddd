//! The configuration through its one door: what is read, what beats what, and what a mistake is told.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tallyd::config::{
    Config, ConfigError, Database, EXAMPLE, Flags, Loaded, LogFormat, OnLedgerFailure, Sources, WebhookForm,
};
use tempfile::TempDir;

/// A folder with a configuration in it, and the surroundings in which it is read.
struct Place {
    folder: TempDir,
    sources: Sources,
}

impl Place {
    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut sources = Sources::bare(folder.path());
        let home = folder.path().join("home").display().to_string();
        sources.env.insert("HOME".to_owned(), home);
        "spire".clone_into(&mut sources.hostname);
        Self { folder, sources }
    }

    fn with_file(text: &str) -> Self {
        let place = Self::empty();
        place.write("tallyd.toml", text);
        place
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.sources.env.insert(name.to_owned(), value.to_owned());
        self
    }

    fn home(&self, below: &str) -> PathBuf {
        self.folder.path().join("home").join(below)
    }

    fn load(&self) -> Loaded {
        Config::load(&self.sources).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The one thing that is wrong.
    fn problem(&self) -> String {
        let error = Config::load(&self.sources).expect_err("this configuration must be refused");
        match &error {
            ConfigError::Invalid(problems) => assert_eq!(problems.len(), 1, "{error}"),
            other => panic!("{other}"),
        }
        error.to_string()
    }
}

fn exposed(secret: Option<&SecretString>) -> Option<&str> {
    secret.map(ExposeSecret::expose_secret)
}

const KEY: &str = "sk-or-v1-0123456789abcdef";

/// A budget without faults, to which one is then added.
fn budget(lines: &str) -> String {
    let mut text = "[[budgets]]\n".to_owned();
    for (field, line) in [("name", "name = \"b\""), ("window", "window = \"day\""), ("limit_usd", "limit_usd = 1")] {
        if !lines.contains(&format!("{field} =")) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text.push_str(lines);
    text
}

#[test]
fn the_defaults_are_those_of_the_example() {
    let place = Place::empty();
    let Loaded { config, origin, warnings, .. } = place.load();
    assert_eq!((origin, warnings), (None, Vec::new()));
    assert_eq!(config.listen.to_string(), "127.0.0.1:7117");
    assert!(!config.is_open_to_network());
    let database = place.home(".local/share/tallyd/tallyd.db");
    assert!(matches!(&config.database, Database::Sqlite(path) if *path == database), "{}", config.database);
    assert_eq!(config.journal_dir, place.home(".local/share/tallyd/tallyd.db.journal"));
    assert_eq!(config.time_zone.name(), "UTC");
    assert!(config.admin_token.is_none() && config.allowed_hosts.is_empty() && config.openrouter.keys.is_empty());
    assert_eq!(config.openrouter.base_url.as_str(), "https://openrouter.ai/api/v1");
    assert_eq!(config.gateway.request_buffer, 16 << 20);
    assert_eq!(config.gateway.request_buffer_total, 256 << 20);
    assert_eq!(config.gateway.drain_timeout, Duration::from_mins(10));
    assert!(config.gateway.own_keys);
    assert_eq!(config.journal.sync_timeout, Duration::from_secs(5));
    assert_eq!(config.journal.on_ledger_failure, OnLedgerFailure::Forward);
    assert_eq!((config.ledger.batch_rows, config.ledger.batch_wait), (4000, Duration::from_millis(25)));
    assert_eq!((config.settle.concurrency, config.settle.rate_per_second), (6, 20));
    assert_eq!(config.settle.give_up_after, Duration::from_hours(72));
    assert!(config.smtp.url.is_none());
    assert_eq!(config.smtp.from.email.to_string(), "tallyd@spire");
    assert_eq!(config.dashboard.url("127.0.0.1:7118".parse().unwrap()), "http://127.0.0.1:7118");
    assert_eq!(config.dashboard.url("0.0.0.0:7118".parse().unwrap()), "http://spire:7118");
    assert_eq!((config.log.level.as_str(), config.log.format), ("info", LogFormat::Auto));
    assert!(config.budgets.is_empty());
}

#[test]
fn the_example_is_itself_a_configuration_and_its_comments_too() {
    let place = Place::with_file(EXAMPLE);
    assert_eq!(place.load().warnings, Vec::<String>::new());

    let uncommented: Vec<&str> = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| !c.is_whitespace()) => rest,
            _ => line,
        })
        .collect();
    let place = Place::with_file(&uncommented.join("\n"))
        .env("OPENROUTER_GROWTH_KEY", "sk-or-v1-growth")
        .env("OPENROUTER_RESEARCH_KEY", "sk-or-v1-research")
        .env("OPS_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        .env("SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/T0/B0/secret");
    let Loaded { config, warnings, .. } = place.load();
    let keys: Vec<&str> = config.openrouter.keys.keys().map(String::as_str).collect();
    assert_eq!(keys, ["growth", "research"]);
    let names: Vec<&str> = config.budgets.iter().map(|budget| budget.name.as_str()).collect();
    assert_eq!(names, ["growth", "everything", "per-head", "invoice", "weekly"]);
    let growth = &config.budgets[0];
    assert_eq!(growth.zone.name(), "Europe/Berlin");
    assert_eq!(growth.limit.to_decimal(), "500.00");
    assert_eq!(growth.alert_at.len(), 5);
    assert_eq!(growth.notify, ["growth@example.com", "webhook:ops"]);
    assert_eq!(config.budgets[1].zone.name(), "UTC");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("growth, weekly, monthly wait in the outbox"), "{warnings:?}");
    let forms: Vec<_> = config.webhooks.iter().map(|(name, webhook)| (name.as_str(), webhook.form)).collect();
    assert_eq!(forms, [("ops", WebhookForm::Generic), ("team", WebhookForm::Slack)]);
    let reports: Vec<_> = config.reports.iter().map(|one| (one.name.as_str(), one.schedule.to_string())).collect();
    assert_eq!(reports, [("weekly", "0 8 * * mon".to_owned()), ("monthly", "0 8 1 * *".to_owned())]);
    assert_eq!(config.reports[0].schedule.zone().name(), "Europe/Berlin");
}

#[test]
fn a_webhook_is_read_and_its_address_and_secret_are_never_told() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    for (text, wanted) in [
        ("", &["tallyd.toml:1: webhooks.ops.url:", "https://"][..]),
        ("url = \"http://hooks.example.com/T0/hidden\"", &["tallyd.toml:2: webhooks.ops.url:", "use https"]),
        ("url = \"https://me:hidden@hooks.example.com\"", &["webhooks.ops.url:", "no place here"]),
        ("url = \"ftp://hidden\"", &["webhooks.ops.url:", "https://"]),
        ("url = \"https://hooks.example.com/hidden\"", &["webhooks.ops.secret:", "openssl rand -base64 32"]),
        (
            "url = \"https://hooks.example.com/hidden\"\nsecret = \"hidden\"",
            &["tallyd.toml:3: webhooks.ops.secret:", "whsec_"],
        ),
        ("url = \"https://hooks.example.com/hidden\"\nform = \"teams\"", &["webhooks.ops.form:", "\"discord\""]),
        ("url = \"https://hooks.example.com/hidden\"\nfrom = \"slack\"", &["webhooks.ops.from:", "webhooks.ops.form"]),
    ] {
        let error = Place::with_file(&format!("[webhooks.ops]\n{text}\n")).problem();
        assert!(wanted.iter().all(|part| error.contains(part)) && !error.contains("hidden"), "{text}: {error}");
    }
    let slack = format!("url = \"https://hooks.example.com\"\nform = \"slack\"\nsecret = \"{secret}\"");
    assert!(Place::with_file(&format!("[webhooks.ops]\n{slack}\n")).problem().contains("only the generic form"));
    let good = format!("[webhooks.ops]\nurl = \"http://127.0.0.1:9/hidden\"\nsecret = \"{secret}\"\n");
    let config = Place::with_file(&good).load().config;
    let shown = format!("{:?}", config.webhooks);
    assert!(!shown.contains("hidden") && !shown.contains("MfKQ"), "{shown}");
    let known =
        format!("{good}[[budgets]]\nname = \"b\"\nwindow = \"day\"\nlimit_usd = 1\nnotify = [\"webhook:WHO\"]\n");
    assert_eq!(Place::with_file(&known.replace("WHO", "ops")).load().warnings, Vec::<String>::new());
    // Who is to be told by a webhook that is not there would never hear anything.
    let problem = Place::with_file(&known.replace("WHO", "pager")).problem();
    let place = format!("tallyd.toml:{}: budgets[0].notify[0]:", known.lines().count());
    assert!(problem.contains(&place) && problem.contains("there is no [webhooks.pager]"), "{problem}");
    for (table, place) in [
        ("[[reports]]\nname = \"r\"\nschedule = \"0 8 * * *\"\nnotify = [\"webhook:pager\"]", "reports[0].notify[0]:"),
        ("[spikes]\nnotify = [\"webhook:pager\"]", "spikes.notify[0]:"),
    ] {
        let problem = Place::with_file(&format!("{good}{table}\n")).problem();
        assert!(problem.contains(place) && problem.contains("write it there first"), "{problem}");
    }
}

#[test]
fn what_is_wrong_with_a_report_is_told_with_its_place() {
    let report = |lines: &str| format!("[[reports]]\nname = \"weekly\"\nschedule = \"0 8 * * mon\"\n{lines}\n");
    let team = "notify = [\"team@example.com\"]";
    for (text, wanted) in [
        (
            "[[reports]]\nschedule = \"@daily\"".to_owned(),
            &["tallyd.toml:1: reports[0].name:", "name = \"weekly\""][..],
        ),
        ("[[reports]]\nname = \"r\"".to_owned(), &["tallyd.toml:1: reports[0].schedule:", "0 8 * * mon"]),
        (report(""), &["tallyd.toml:1: reports[0].notify:", "names nobody"]),
        (report("notify = [\"team\"]"), &["tallyd.toml:4: reports[0].notify[0]:", "name@example.com"]),
        (report("notify = [\"a@b.c\", \"a@b.c\"]"), &["tallyd.toml:4: reports[0].notify:", "twice"]),
        (report(&format!("{team}\ntime_zone = \"Berlin\"")), &["reports[0].time_zone:", "Europe/Berlin"]),
        (report(&format!("{team}\nnotfy = 1")), &["reports[0].notfy:", "nearest is reports[0].notify"]),
        (report(team) + &report(team), &["reports[1].name:", "taken by the report at tallyd.toml:1"]),
        ("reports = 5".to_owned(), &["tallyd.toml:1: reports:", "[[reports]]"]),
    ] {
        let error = Place::with_file(&text).problem();
        assert!(wanted.iter().all(|part| error.contains(part)), "{text}: {error}");
    }
    let daily = "[[reports]]\nname = \"r\"\nschedule = \"0 25 * * *\"\nnotify = [\"a@b.c\"]";
    assert!(Place::with_file(daily).problem().contains("hour: \"25\""));
}

#[test]
fn flags_beat_environment_beats_file_beats_defaults() {
    let file = "listen = \"127.0.0.1:1\"\n[settle]\nconcurrency = 1\nrate_per_second = 1\n[log]\nlevel = \"warn\"\n";
    let mut place = Place::with_file(file)
        .env("TALLYD_LISTEN", "127.0.0.1:2")
        .env("TALLYD_SETTLE__CONCURRENCY", "2")
        .env("TALLYD_LOG__LEVEL", "debug");
    place.sources.flags.log_level = Some("trace".to_owned());
    let Loaded { config, origin, .. } = place.load();
    assert_eq!(origin.as_deref(), Some(Path::new("tallyd.toml")));
    assert_eq!(config.settle.timeout, Duration::from_secs(15));
    assert_eq!(config.settle.rate_per_second, 1);
    assert_eq!(config.settle.concurrency, 2);
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.log.level, "trace");

    place.sources.flags.listen = Some("127.0.0.1:3".to_owned());
    place.sources.flags.database_url = Some(SecretString::from("sqlite:flag.db"));
    let config = place.load().config;
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.database.to_string(), format!("sqlite:{}", place.folder.path().join("flag.db").display()));
}

#[test]
fn every_variable_sets_what_it_names() {
    let place = Place::with_file("[openrouter]\napi_key = \"sk-or-v1-file\"\nbase_url = \"https://file/api/v1\"\n")
        .env("OPENROUTER_API_KEY", KEY)
        .env("OPENROUTER_BASE_URL", "http://127.0.0.1:9/api/v1/")
        .env("DATABASE_URL", "postgres://me:hush@db.example/tally")
        .env("SMTP_URL", "smtps://me:hush@mail.example")
        .env("TALLYD_ADMIN_TOKEN", "a-token-of-some-length")
        .env("TALLYD_TIME_ZONE", "Asia/Kathmandu")
        .env("TALLYD_ALLOWED_HOSTS", "tally.example, Tally.Internal")
        .env("TALLYD_GATEWAY__OWN_KEYS", "false")
        .env("TALLYD_OPENROUTER__KEYS__GROWTH", "sk-or-v1-growth")
        .env("TALLYD_SMTP__TIMEOUT", "");
    let Loaded { config, warnings, .. } = place.load();
    assert!(matches!(&warnings[..], [told] if told.contains("allowed_hosts")), "{warnings:?}");
    assert_eq!(exposed(config.openrouter.api_key()), Some(KEY));
    assert_eq!(exposed(config.openrouter.keys.get("growth")), Some("sk-or-v1-growth"));
    assert_eq!(config.openrouter.base_url.as_str(), "http://127.0.0.1:9/api/v1");
    assert!(
        matches!(&config.database, Database::Postgres(url) if url.expose() == "postgres://me:hush@db.example/tally")
    );
    assert_eq!(config.journal_dir, place.home(".local/share/tallyd/journal"));
    assert_eq!(config.smtp.url.unwrap().expose(), "smtps://me:hush@mail.example");
    assert_eq!(exposed(config.admin_token.as_ref()), Some("a-token-of-some-length"));
    assert_eq!(config.time_zone.name(), "Asia/Kathmandu");
    assert_eq!(config.allowed_hosts, ["tally.example", "tally.internal"]);
    assert!(!config.gateway.own_keys);
    assert_eq!(config.smtp.timeout, Duration::from_secs(30));

    // The longer name says exactly what it sets.
    let place = Place::empty().env("OPENROUTER_API_KEY", KEY).env("TALLYD_OPENROUTER__API_KEY", "sk-or-v1-long");
    assert_eq!(exposed(place.load().config.openrouter.api_key()), Some("sk-or-v1-long"));
}

#[test]
fn a_secret_is_a_string_a_file_or_a_variable() {
    let place = Place::with_file(
        "[openrouter]\napi_key = { file = \"secrets/main\" }\n[openrouter.keys]\n\
         growth = { env = \"GROWTH_KEY\" }\nresearch = { env = \"RESEARCH_KEY\" }\n",
    )
    .env("GROWTH_KEY", "sk-or-v1-growth");
    place.write("secrets/main", &format!("{KEY}\n"));
    let Loaded { config, warnings, .. } = place.load();
    assert_eq!(exposed(config.openrouter.api_key()), Some(KEY));
    assert_eq!(exposed(config.openrouter.keys.get("growth")), Some("sk-or-v1-growth"));
    assert!(!config.openrouter.keys.contains_key("research"));
    assert_eq!(
        warnings,
        ["tallyd.toml:5: openrouter.keys.research reads environment variable RESEARCH_KEY, which is not set"]
    );
}

#[test]
fn the_first_file_that_is_there_is_read_and_a_named_one_must_be() {
    let zone = |name: &str| format!("time_zone = \"{name}\"\n");
    let mut place = Place::empty();
    let read = |place: &Place| place.load().config.time_zone.name().to_owned();

    place.sources.system_file = Some(place.write("etc/tallyd.toml", &zone("Africa/Cairo")));
    assert_eq!(read(&place), "Africa/Cairo");
    place.write("home/.config/tallyd/tallyd.toml", &zone("Asia/Tokyo"));
    assert_eq!(read(&place), "Asia/Tokyo");
    place.write("xdg/tallyd/tallyd.toml", &zone("Asia/Seoul"));
    let config_home = place.folder.path().join("xdg").display().to_string();
    place = place.env("XDG_CONFIG_HOME", &config_home);
    assert_eq!(read(&place), "Asia/Seoul");
    place.write("tallyd.toml", &zone("Europe/Berlin"));
    assert_eq!(read(&place), "Europe/Berlin");
    place.write("other/named.toml", &format!("database_url = \"sqlite:here.db\"\n{}", zone("Europe/Paris")));
    place = place.env("TALLYD_CONFIG", "other/named.toml");
    assert_eq!(read(&place), "Europe/Paris");
    let beside_the_file = place.folder.path().join("other/here.db");
    assert_eq!(place.load().config.database.to_string(), format!("sqlite:{}", beside_the_file.display()));

    let told = |place: &Place| Config::load(&place.sources).unwrap_err().to_string();
    place = place.env("TALLYD_CONFIG", "gone.toml");
    assert_eq!(
        told(&place),
        "gone.toml: there is no such file; TALLYD_CONFIG names it: correct the path or leave it out"
    );
    place.sources.flags = Flags { config: Some(PathBuf::from("also-gone.toml")), ..Flags::default() };
    assert!(told(&place).contains("--config names it"), "{}", told(&place));
    place.sources.flags.config = Some(place.folder.path().to_owned());
    assert!(told(&place).contains("cannot be read"), "{}", told(&place));
}

#[test]
fn a_mistake_in_the_file_is_told_with_its_place_and_remedy() {
    let cases: &[(&str, &[&str])] = &[
        // Keys that do not exist.
        (
            "[gateway]\nrequest_bufer = \"1MiB\"",
            &["tallyd.toml:2: gateway.request_bufer:", "nearest is gateway.request_buffer"],
        ),
        ("[gatewya]\nown_keys = true", &["tallyd.toml:1: gatewya:", "nearest is gateway"]),
        ("[smtp]\nlisten = \"127.0.0.1:1\"", &["tallyd.toml:2: smtp.listen:", "nearest is listen"]),
        ("\n\nsettle = 5", &["tallyd.toml:3: settle:", "write [settle]"]),
        ("budgets = 5", &["tallyd.toml:1: budgets:", "[[budgets]]"]),
        ("budgets = [5]", &["tallyd.toml:1: budgets[0]:", "[[budgets]]"]),
        // What stands above all sections.
        ("listen = \"7117\"", &["tallyd.toml:1: listen:", "\"127.0.0.1:7117\""]),
        ("listen = \"localhost:80\"", &["listen:", "\"127.0.0.1:80\""]),
        (
            "listen = \"0.0.0.0:7117\"",
            &["tallyd.toml:1: listen:", "admin_token", "TALLYD_ADMIN_TOKEN", "127.0.0.1:7117"],
        ),
        ("admin_token = \"two words\"", &["admin_token:", "without spaces"]),
        ("admin_token = 5", &["admin_token:", "{ env = \"NAME\" }"]),
        ("admin_token = { env = \"A\", file = \"b\" }", &["admin_token:", "{ env = \"NAME\" }"]),
        ("admin_token = { file = \"gone\" }", &["tallyd.toml:1: admin_token:", "/gone cannot be read"]),
        ("allowed_hosts = [\"https://tally.example\"]", &["tallyd.toml:1: allowed_hosts[0]:", "without scheme"]),
        ("allowed_hosts = [\"tally.example:80\"]", &["allowed_hosts[0]:", "port"]),
        ("allowed_hosts = \"tally.example\"", &["allowed_hosts:", "[\"one\", \"two\"]"]),
        ("time_zone = \"Europe/Berln\"", &["tallyd.toml:1: time_zone:", "\"Europe/Berlin\""]),
        ("time_zone = { env = \"TZ\" }", &["time_zone:", "only secrets"]),
        ("database_url = \"/var/lib/tally.db\"", &["database_url:", "sqlite:/path/to/tallyd.db"]),
        ("database_url = \"mysql://me:hush@db/x\"", &["database_url:", "postgres://"]),
        ("database_url = \"sqlite::memory:\"", &["database_url:", "needs a file"]),
        ("database_url = \"sqlite:x.db?mode=rwc\"", &["database_url:", "leave out"]),
        ("database_url = \"postgres://me:hu/sh@db/x\"", &["database_url:", "percent-encode"]),
        // OpenRouter.
        (
            "[openrouter]\nbase_url = \"openrouter.ai\"",
            &["tallyd.toml:2: openrouter.base_url:", "https://openrouter.ai/api/v1"],
        ),
        (
            "[openrouter]\nbase_url = \"https://openrouter.ai/api\"",
            &["openrouter.base_url:", "does not end in /api/v1"],
        ),
        ("[openrouter]\nbase_url = \"ftp://openrouter.ai/api/v1\"", &["openrouter.base_url:", "http(s)"]),
        ("[openrouter]\nbase_url = \"https://me:hush@x/api/v1\"", &["openrouter.base_url:", "no place here"]),
        ("[openrouter]\nbase_url = \"http://localhost:7117/api/v1\"", &["openrouter.base_url:", "own listener"]),
        ("[openrouter]\nbase_url = \"http://[::1]:7117/api/v1\"", &["openrouter.base_url:", "own listener"]),
        ("[openrouter]\nbase_url = \"http://Spire:7117/api/v1\"", &["openrouter.base_url:", "own listener"]),
        (
            "listen = \"192.0.2.7:80\"\nadmin_token = \"a-token-of-some-length\"\n[openrouter]\nbase_url = \"http://192.0.2.7/api/v1\"",
            &["openrouter.base_url:", "own listener"],
        ),
        ("[openrouter]\napi_key = \"sk-hush\"", &["tallyd.toml:2: openrouter.api_key:", "must start with sk-or-v1-"]),
        ("[openrouter.keys]\nGrowth = \"sk-or-v1-hush\"", &["tallyd.toml:2: openrouter.keys.Growth:", "[a-z0-9]"]),
        ("[openrouter.keys]\ndefault = \"sk-or-v1-hush\"", &["openrouter.keys.default:", "choose another"]),
        (
            "[openrouter.keys]\na = \"sk-or-v1-hush\"\nb = \"sk-or-v1-hush\"",
            &["tallyd.toml:3: openrouter.keys.b:", "named \"a\""],
        ),
        // Numbers, durations, sizes, words.
        ("[settle]\nconcurrency = 0", &["tallyd.toml:2: settle.concurrency:", "from 1 to 256"]),
        ("[settle]\nconcurrency = \"6\"", &["settle.concurrency:", "whole number"]),
        ("[settle]\nrate_per_second = 0.5", &["settle.rate_per_second:", "whole number"]),
        ("[settle]\nconcurrency = 99999999999999999999", &["settle.concurrency:", "from 1 to 256"]),
        ("[settle]\ngive_up_after = 72", &["settle.give_up_after:", "ms, s, m, h or d"]),
        ("[settle]\ngive_up_after = \"365d\"", &["settle.give_up_after:", "\"30d\""]),
        ("[gateway]\nrequest_buffer = \"16MB\"", &["gateway.request_buffer:", "KiB, MiB or GiB"]),
        (
            "[gateway]\nrequest_buffer = \"512MiB\"",
            &["tallyd.toml:2: gateway.request_buffer:", "raise gateway.request_buffer_total"],
        ),
        ("[gateway]\nown_keys = \"yes\"", &["gateway.own_keys:", "true or false"]),
        ("[journal]\non_ledger_failure = \"panic\"", &["journal.on_ledger_failure:", "\"forward\" or \"refuse\""]),
        ("[journal]\nlimit = \"20MiB\"", &["tallyd.toml:2: journal.limit:", "two segments"]),
        ("[log]\nlevel = \"inof\"", &["log.level:", "\"inof\" is no level"]),
        ("[log]\nlevel = \"tallyd=loud\"", &["log.level:", "tallyd::settle=debug"]),
        ("[log]\nformat = \"xml\"", &["log.format:", "\"auto\" or \"human\" or \"json\""]),
        // Mail and pages.
        ("[smtp]\nurl = \"mail.example\"", &["tallyd.toml:2: smtp.url:", "smtps://"]),
        ("[smtp]\nurl = \"https://mail.example\"", &["smtp.url:", "smtps://"]),
        ("[smtp]\nurl = \"smtp://me:hush@mail.example\"", &["smtp.url:", "?tls=required"]),
        ("[smtp]\nurl = \"smtp://me:hush@mail.example?tls=opportunistic\"", &["smtp.url:", "?tls=required"]),
        ("[smtp]\nurl = \"smtp://mail.example?tls=always\"", &["smtp.url:", "tls=required"]),
        ("[smtp]\nurl = \"smtp://me@mail.example\"", &["smtp.url:", "no password"]),
        ("[smtp]\nfrom = \"tallyd\"", &["tallyd.toml:2: smtp.from:", "name@example.com"]),
        ("[dashboard]\nurl = \"tally.example\"", &["dashboard.url:", "https://tallyd.example.com"]),
        ("[dashboard]\nurl = \"https://tally.example/pages\"", &["dashboard.url:", "nothing behind it"]),
    ];
    for (file, wanted) in cases {
        check(file, wanted);
    }
}

#[test]
fn a_mistake_in_a_budget_is_told_with_its_place_and_remedy() {
    let cases: &[(&str, &[&str])] = &[
        ("name = \"Growth Bot\"", &["tallyd.toml:4: budgets[0].name:", "a-z"]),
        ("name = 5", &["budgets[0].name:", "quotation marks"]),
        ("window = \"fortnight\"", &["tallyd.toml:4: budgets[0].window:", "rolling 24h"]),
        ("time_zone = \"Berlin\"", &["tallyd.toml:5: budgets[0].time_zone:", "\"Europe/Berlin\""]),
        ("limit_usd = 500.10", &["budgets[0].limit_usd:", "\"500.10\""]),
        ("limit_usd = \"lots\"", &["budgets[0].limit_usd:", "\"500.00\""]),
        ("limit_usd = -1", &["budgets[0].limit_usd:", "0 to 9000000"]),
        ("limit_usd = \"9000000.01\"", &["budgets[0].limit_usd:", "0 to 9000000"]),
        ("limit_usd = true", &["budgets[0].limit_usd:", "\"500.00\""]),
        ("alert_at = [\"80\"]", &["tallyd.toml:5: budgets[0].alert_at[0]:", "\"80%\""]),
        ("alert_at = [\n\"80%\",\n\"x\"]", &["tallyd.toml:7: budgets[0].alert_at[1]:", "\"80%\""]),
        ("alert_at = [\"80%\", \"80.0%\"]", &["budgets[0].alert_at:", "twice"]),
        ("alert_at = \"80%\"", &["budgets[0].alert_at:", "[\"one\", \"two\"]"]),
        ("notify = [\"growth\"]", &["tallyd.toml:5: budgets[0].notify[0]:", "name@example.com"]),
        ("when_exceeded = \"stop\"", &["budgets[0].when_exceeded:", "\"block\""]),
        ("scope = { ap = \"x\" }", &["tallyd.toml:5: budgets[0].scope.ap:", "nearest is app", "tag.NAME"]),
        ("scope = { app = \"\" }", &["budgets[0].scope.app:", "\"*\""]),
        ("scope = \"growth\"", &["budgets[0].scope:", "{} for everything"]),
        ("scope = { tag = \"x\" }", &["budgets[0].scope.tag:", "tag.team"]),
        ("scope = { provider = \"x\" }\nwhen_exceeded = \"block\"", &["tallyd.toml:5: budgets[0].scope:", "model"]),
        ("warn_at = [\"80%\"]", &["tallyd.toml:5: budgets[0].warn_at:", "nearest is budgets[0].alert_at"]),
    ];
    for (lines, wanted) in cases {
        check(&budget(lines), wanted);
    }
    check("[[budgets]]\nname = \"b\"\nlimit_usd = 1", &["tallyd.toml:1: budgets[0].window:", "window = \"month\""]);
    let twice = format!("{}\n{}", budget(""), budget(""));
    check(&twice, &["tallyd.toml:6: budgets[1].name:", "taken by the budget at tallyd.toml:1"]);
}

/// One file, one problem, which says all that is wanted.
fn check(file: &str, wanted: &[&str]) {
    let told = Place::with_file(file).problem();
    for part in wanted {
        assert!(told.contains(part), "of\n{file}\nis told\n{told}\nwithout {part:?}");
    }
    assert!(!told.contains("hush"), "{told}");
}

#[test]
fn a_mistake_in_the_environment_or_a_flag_is_told_by_its_name() {
    for (name, value, wanted) in [
        ("TALLYD_SETTLE__CONCURENCY", "4", "the nearest is TALLYD_SETTLE__CONCURRENCY"),
        ("TALLYD_SETTLE__CONCURRENCY", "four", "write a whole number"),
        ("TALLYD_SETTLE__CONCURRENCY", "0", "from 1 to 256"),
        ("TALLYD_GATEWAY__OWN_KEYS", "no", "write true or false"),
        ("TALLYD_ALLOWED_HOSTS", "[\"a\"", "write one, two"),
        ("TALLYD_BUDGETS__NAME", "x", "unset the variable"),
        ("TALLYD_LISTEN", "nowhere", "127.0.0.1:7117"),
        ("TALLYD_TIME_ZONE", "Mars", "IANA"),
        ("OPENROUTER_API_KEY", "sk-hush", "must start with sk-or-v1-"),
        ("SMTP_URL", "smtp://me:hush@mail.example", "?tls=required"),
        ("DATABASE_URL", "hush", "postgres://"),
    ] {
        let told = Place::empty().env(name, value).problem();
        assert!(told.starts_with(&format!("environment variable {name}: ")), "{told}");
        assert!(told.contains(wanted) && !told.contains("hush"), "{told}");
    }
    let mut place = Place::empty();
    place.sources.flags.listen = Some("nowhere".to_owned());
    assert!(place.problem().starts_with("--listen: listen: "), "{}", place.problem());
}

#[test]
fn variables_nobody_reads_are_a_warning() {
    let place = Place::empty().env("TALLYD_LISTN", "127.0.0.1:1").env("OPENROUTER_SOMETHING", "x");
    let warnings = place.load().warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings.iter().any(|told| told.contains("TALLYD_LISTN") && told.contains("nearest is TALLYD_LISTEN")));
}

#[test]
fn the_management_key_is_read_from_its_variable_and_is_none_of_the_keys_that_make_calls() {
    let config = Place::empty().env("OPENROUTER_MANAGEMENT_KEY", "sk-or-v1-hush").load().config;
    assert!(config.openrouter.management_key.is_some() && config.openrouter.keys.is_empty());
    let told = Place::empty().env("OPENROUTER_MANAGEMENT_KEY", "hush").problem();
    assert!(told.contains("must start with sk-or-v1-") && !told.contains("hush"), "{told}");
}

#[test]
fn what_is_risky_and_not_wrong_is_a_warning() {
    for (file, wanted) in [
        ("admin_token = \"short\"", "fewer than 16"),
        ("[openrouter]\nbase_url = \"http://proxy.example/api/v1\"", "use https"),
        (&budget("notify = [\"me@example.com\"]\nalert_at = []"), "never mail"),
        (&budget("notify = [\"me@example.com\"]"), "wait in the outbox"),
        (
            "allowed_hosts = [\"tally.example\"]\n[openrouter]\napi_key = \"sk-or-v1-hush\"",
            "tally.example on a loopback listener, where a call without a key spends",
        ),
    ] {
        let warnings = Place::with_file(file).load().warnings;
        assert!(warnings.iter().any(|told| told.contains(wanted)), "{file}: {warnings:?}");
    }
}

#[test]
fn a_proxy_that_can_spend_nothing_is_no_risk() {
    for file in [
        "allowed_hosts = [\"tally.example\"]",
        "[openrouter]\napi_key = \"sk-or-v1-hush\"",
        "listen = \"0.0.0.0:7117\"\nadmin_token = \"0123456789abcdef\"\nallowed_hosts = [\"tally.example\"]\n\
         [openrouter]\napi_key = \"sk-or-v1-hush\"",
    ] {
        let warnings = Place::with_file(file).load().warnings;
        assert!(!warnings.iter().any(|told| told.contains("allowed_hosts")), "{file}: {warnings:?}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let place = Place::with_file("lisen = \"x\"\ntime_zone = \"Mars\"\n[settle]\nconcurrency = 0\n");
    let error = Config::load(&place.sources).unwrap_err();
    assert_eq!(error.problems().len(), 3, "{error}");
    assert_eq!(error.to_string().lines().count(), 3);
}

#[test]
fn all_that_is_wrong_with_a_budget_is_told_at_once() {
    let place = Place::with_file(
        "[[budgets]]\nname = \"No Name\"\nwindow = \"fortnight\"\nlimit_usd = 1.5\ntime_zone = \"Mars\"\nwarn_at = []\n\
         alert_at = [\"80\", \"90%\", 7]\nnotify = [\"growth\"]\nwhen_exceeded = \"stop\"\n\
         scope = { ap = \"x\", model = \"\", tag = { a = \"\", b = 1 } }\n",
    );
    let error = Config::load(&place.sources).unwrap_err();
    let mut told: Vec<&str> = error.problems().iter().map(|problem| problem.key.as_str()).collect();
    told.sort_unstable();
    let keys = [
        "alert_at[0]",
        "alert_at[2]",
        "limit_usd",
        "name",
        "notify[0]",
        "scope.ap",
        "scope.model",
        "scope.tag.a",
        "scope.tag.b",
        "time_zone",
        "warn_at",
        "when_exceeded",
        "window",
    ];
    assert_eq!(told, keys.map(|key| format!("budgets[0].{key}")), "{error}");
}

#[test]
fn a_file_that_is_not_toml_is_told_its_line_and_nothing_of_it_is_quoted() {
    let place = Place::with_file("listen = \"127.0.0.1:1\"\n[smtp]\nurl = smtp://me:hush@mail\n");
    let told = Config::load(&place.sources).unwrap_err().to_string();
    assert!(told.starts_with("tallyd.toml:3: this is not TOML: "), "{told}");
    assert!(!told.contains("hush"), "{told}");
}

#[test]
fn without_a_home_the_database_must_be_named() {
    let mut place = Place::empty();
    place.sources.env.clear();
    assert!(place.problem().contains("database_url: neither $XDG_DATA_HOME nor $HOME"), "{}", place.problem());
    place.sources.flags.database_url = Some(SecretString::from("postgres://db/tally"));
    assert!(place.problem().contains("journal_dir: neither"), "{}", place.problem());
    place.sources.flags.database_url = Some(SecretString::from("sqlite:///srv/tally%20one.db"));
    let config = place.load().config;
    assert_eq!(config.database.to_string(), "sqlite:/srv/tally one.db");
    assert_eq!(config.journal_dir, Path::new("/srv/tally one.db.journal"));
}

#[test]
fn no_secret_is_ever_printed() {
    let mut place = Place::with_file("[openrouter.keys]\na = \"sk-or-v1-hush-a\"\n")
        .env("OPENROUTER_API_KEY", "sk-or-v1-hush-b")
        .env("DATABASE_URL", "postgres://me:hush@db/tally?sslpassword=hush")
        .env("SMTP_URL", "smtps://me:hush@mail.example")
        .env("TALLYD_ADMIN_TOKEN", "hush-hush-hush-hush");
    place.sources.flags.database_url = Some(SecretString::from("postgres://me:hush@other/tally"));
    let loaded = place.load();
    let printed = format!("{loaded:?} {} {:?}", loaded.config.database, place.sources.flags);
    assert!(!printed.contains("hush"), "{printed}");
    assert!(printed.contains("postgres://me:***@other/tally"), "{printed}");
}
