//! A folder with a `tallyd.toml`, the data of the daemon that runs on it, and what people may ask of that data.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tallyd::clock::Clock;
use tallyd::config::{Config, Flags, Sources};
use tallyd::domain::table::Cell;
use tallyd::store::console::{self, SqlLimits};
use tempfile::TempDir;
use tokio::process::Command;

/// The configured OpenRouter key.
pub const KEY: &str = "sk-or-v1-configured-default-0001";

/// `[settle]` of a daemon that is not to hold a test up.
pub const QUICK: &str = "[settle]\nconcurrency = 64\nrate_per_second = 1000\n";

/// Where a daemon runs.
pub struct Installation {
    folder: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None`: a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Installation {
    /// On SQLite. `base_url` is OpenRouter's; `tables` is what else stands in the file, from its first table on.
    pub fn new(base_url: &str, tables: &str) -> Self {
        Self::on("sqlite:data/tallyd.db", base_url, tables)
    }

    /// On any database.
    pub fn on(database_url: &str, base_url: &str, tables: &str) -> Self {
        let at = Self { folder: tempfile::tempdir().unwrap() };
        at.configure(&format!(
            "listen = \"127.0.0.1:0\"\ndatabase_url = \"{database_url}\"\njournal_dir = \"data/journal\"\n\
             [openrouter]\nbase_url = \"{base_url}\"\napi_key = \"{KEY}\"\n{tables}"
        ));
        at
    }

    /// Replaces `tallyd.toml`.
    pub fn configure(&self, text: &str) {
        std::fs::write(self.config_file(), text).unwrap();
    }

    /// The folder of everything.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of what the daemon keeps.
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// What the daemon's processes told on both outputs.
    pub fn log(&self) -> PathBuf {
        self.folder().join("log")
    }

    pub fn config_file(&self) -> PathBuf {
        self.folder().join("tallyd.toml")
    }

    /// The configuration as the daemon reads it.
    pub fn config(&self) -> Config {
        let flags = Flags { config: Some(self.config_file()), ..Flags::default() };
        Config::load(&Sources { flags, ..Sources::bare(self.folder()) }).unwrap().config
    }

    /// The program, with nothing of this process's surroundings but the folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tallyd"));
        command.args(arguments).arg("--config").arg(self.config_file());
        command.env_clear().env("HOME", self.folder()).current_dir(self.folder());
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs a command of the program to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).output().await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Fails unless `tallyd verify` finds all sums in agreement with the rows.
    pub async fn verify(&self) {
        let ended = self.run(&["verify"]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.out.contains("all sums agree"), "{ended:?}");
    }

    /// What `tallyd sql` answers.
    pub async fn sql(&self, query: &str) -> Vec<Vec<Cell>> {
        let url = self.config().database.url();
        let table = console::run(&url, query, &SqlLimits::default(), &Clock::system()).await;
        let table = table.unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(table.cut, None, "{query}");
        table.rows
    }

    /// The one number that `query` answers.
    pub async fn number(&self, query: &str) -> i128 {
        match self.sql(query).await.as_slice() {
            [row] => number(&row[0]),
            rows => panic!("{query}: {rows:?}"),
        }
    }

    /// Rows whose record is still to be read.
    pub async fn pending(&self) -> i128 {
        self.number("SELECT COUNT(*) FROM usage WHERE state = 'pending'").await
    }
}

/// A cell's whole number; NULL is none.
pub fn number(cell: &Cell) -> i128 {
    match cell {
        Cell::Integer(number) => (*number).into(),
        Cell::Decimal(text) => text.parse().unwrap(),
        other => panic!("{other:?} is no whole number"),
    }
}

/// A cell's text; `None` for NULL.
pub fn text(cell: &Cell) -> Option<&str> {
    match cell {
        Cell::Text(text) => Some(text),
        Cell::Null => None,
        other => panic!("{other:?} is no text"),
    }
}
