//! Opening a database: files, pragmas, pools.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{self, Either};
use log::LevelFilter;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, PgPool, SqliteConnection, SqlitePool};

use super::rollups::DirectReaders;
use super::tx::Inner;
use super::{StoreError, Tx, fill, schema};

/// Page cache of the SQLite connection that writes, in KiB: holds the upper levels of every index of millions of rows.
const WRITE_CACHE_KIB: u32 = 8 * 1024;

/// Page cache of each SQLite connection that reads, in KiB.
const READ_CACHE_KIB: u32 = 2 * 1024;

/// Pages in SQLite's write-ahead log before it is moved into the file: 4 MiB, a large batch. What is moved is synced at once,
/// and the journal's syncs wait behind it on the same disk: 16 MiB held replies back for 10 ms.
const CHECKPOINT_PAGES: u32 = 1_024;

/// Size that SQLite's write-ahead log is cut back to after a long reader let it grow, in bytes.
const LOG_SIZE_LIMIT: u32 = 64 * 1024 * 1024;

/// Prepared statements kept by each connection; above the number of texts there are, with the sizes of those that write rows.
const STATEMENT_CACHE: usize = 256;

/// Rows that SQLite's thread may run ahead of the reader.
const ROW_BUFFER: usize = 512;

/// How long a reader's connection is kept unused: its page cache is memory an idle daemon need not hold.
const IDLE: Duration = Duration::from_secs(30);

/// How loudly a pool says that somebody waits for a connection: that a writer waits its turn for SQLite's one writing
/// connection is no news, and a database that is in trouble is told by the ledger.
const SLOW_ACQUIRE: LevelFilter = LevelFilter::Off;

/// How long a server that could not be reached is asked once more for its reason.
const ASK_WHY: Duration = Duration::from_secs(2);

/// Looks at a bounded sample of each index: milliseconds, whatever the size of the database.
const OPTIMISE: &str = "PRAGMA analysis_limit = 400; PRAGMA optimize";

/// Forgets what was counted of tables of few rows, and has the connection see that. A plan made for forty-eight rows reads
/// the whole table, and goes on doing so when they have become a million; a plan made for a table of unknown size takes the
/// index.
const FORGET_SMALL: &str = "DELETE FROM sqlite_stat1 WHERE tbl IN (
    SELECT tbl FROM sqlite_stat1 GROUP BY tbl HAVING MAX(CAST(stat AS INTEGER)) < 10000
); ANALYZE sqlite_schema";

/// Whether anything was ever counted.
const HAS_COUNTS: &str = "SELECT COUNT(*) FROM sqlite_schema WHERE name = 'sqlite_stat1'";

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// One file on this machine.
    Sqlite,
    /// A server.
    Postgres,
}

/// How to open a database.
#[derive(Clone)]
pub struct StoreOptions {
    /// `sqlite:/path/to/file` or `postgres://…`.
    pub url: String,
    /// Most connections that read at once.
    pub readers: u32,
    /// How long to wait for a lock or a free connection.
    pub busy_timeout: Duration,
}

impl StoreOptions {
    /// The usual options for `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), readers: 4, busy_timeout: Duration::from_secs(10) }
    }
}

impl std::fmt::Debug for StoreOptions {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreOptions")
            .field("readers", &self.readers)
            .field("busy_timeout", &self.busy_timeout)
            .finish_non_exhaustive()
    }
}

/// An open database; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) pools: Pools,
}

#[derive(Clone, Debug)]
pub(super) enum Pools {
    /// `write` is one connection, and `None` when the database was opened to be read only.
    Sqlite {
        write: Option<SqlitePool>,
        read: SqlitePool,
        direct: Arc<DirectReaders>,
    },
    Postgres(PgPool),
}

impl Store {
    /// Opens the database, made and brought up to date first if need be.
    pub async fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        match Location::parse(&options.url)? {
            Location::Sqlite(path) => {
                make_file(&path)?;
                // Looked at before it is opened to be written, which moves it to a write-ahead log: a file of somebody
                // else's stays as it is.
                let mut looking = looker(&path, options).connect().await?;
                schema::refuse_foreign_sqlite(&mut looking).await?;
                looking.close().await?;
                let write = SqlitePoolOptions::new()
                    .max_connections(1)
                    .idle_timeout(None)
                    .max_lifetime(None)
                    .test_before_acquire(false)
                    .acquire_timeout(options.busy_timeout)
                    .acquire_slow_level(SLOW_ACQUIRE)
                    .before_acquire(|connection, _| Box::pin(has_no_transaction(connection)))
                    .connect_with(sqlite(&path, options, WRITE_CACHE_KIB))
                    .await?;
                schema::migrate_sqlite(&write).await?;
                let (read, direct) = (readers(&path, options), direct_readers(&path, options));
                let store = Self { pools: Pools::Sqlite { write: Some(write), read, direct } };
                fill::run(&store).await?;
                Ok(store)
            }
            Location::Postgres(connect) => {
                let pool = postgres(*connect, options).await?;
                schema::migrate_postgres(&pool).await?;
                let store = Self { pools: Pools::Postgres(pool) };
                fill::run(&store).await?;
                Ok(store)
            }
        }
    }

    /// Opens the database to be read only; it must be there and of this version.
    pub async fn open_read_only(options: &StoreOptions) -> Result<Self, StoreError> {
        match Location::parse(&options.url)? {
            Location::Sqlite(path) => {
                if !path.exists() {
                    return Err(StoreError::Missing(path));
                }
                let read = readers(&path, options);
                schema::check_sqlite(&read).await?;
                let store = Self { pools: Pools::Sqlite { write: None, read, direct: direct_readers(&path, options) } };
                fill::refuse_unfilled(&store).await?;
                Ok(store)
            }
            Location::Postgres(connect) => {
                let connect = connect.options([("default_transaction_read_only", "on")]);
                let pool = postgres(connect, options).await?;
                schema::check_postgres(&pool).await?;
                let store = Self { pools: Pools::Postgres(pool) };
                fill::refuse_unfilled(&store).await?;
                Ok(store)
            }
        }
    }

    /// Which engine it is.
    pub fn engine(&self) -> Engine {
        match self.pools {
            Pools::Sqlite { .. } => Engine::Sqlite,
            Pools::Postgres(_) => Engine::Postgres,
        }
    }

    /// Whether other daemons may write in it, too.
    pub fn is_shared(&self) -> bool {
        self.engine() == Engine::Postgres
    }

    /// Begins a write transaction: alone on SQLite (`BEGIN IMMEDIATE`), one of many on PostgreSQL.
    pub async fn write(&self) -> Result<Tx, StoreError> {
        Ok(Tx(match &self.pools {
            Pools::Sqlite { write: Some(write), .. } => Inner::Sqlite(write.begin_with("BEGIN IMMEDIATE").await?),
            Pools::Sqlite { write: None, .. } => return Err(StoreError::ReadOnly),
            Pools::Postgres(pool) => Inner::Postgres(pool.begin().await?),
        }))
    }

    /// Begins a transaction that sees the database as it is now, whatever is written meanwhile; for reading.
    pub(super) async fn snapshot(&self) -> Result<Tx, StoreError> {
        Ok(Tx(match &self.pools {
            Pools::Sqlite { read, .. } => Inner::Sqlite(read.begin().await?),
            Pools::Postgres(pool) => {
                Inner::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
            }
        }))
    }

    /// Lets SQLite refresh what it knows of its tables, so that queries take the right index; PostgreSQL does so by
    /// itself.
    pub async fn optimise(&self) -> Result<(), StoreError> {
        if let Pools::Sqlite { write: Some(write), .. } = &self.pools {
            // In one transaction: nobody plans by what is forgotten at its end.
            let mut tx = write.begin_with("BEGIN IMMEDIATE").await?;
            sqlx::raw_sql(OPTIMISE).execute(&mut *tx).await?;
            let counted: i64 = sqlx::query_scalar(HAS_COUNTS).fetch_one(&mut *tx).await?;
            if counted > 0 {
                sqlx::raw_sql(FORGET_SMALL).execute(&mut *tx).await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// Closes every connection; SQLite moves its write-ahead log into the file.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { write, read, direct } => {
                direct.close();
                read.close().await;
                if let Some(write) = write {
                    write.close().await;
                }
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }
}

/// Where a database is.
#[derive(Debug)]
pub(super) enum Location {
    Sqlite(PathBuf),
    Postgres(Box<PgConnectOptions>),
}

impl Location {
    /// Reads `database_url`.
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        if let Some(rest) = url.strip_prefix("sqlite:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.contains('?') {
                return Err(StoreError::Url("a SQLite path takes no options after '?'".to_owned()));
            }
            if path.is_empty() || path == ":memory:" {
                return Err(StoreError::Url("SQLite needs a file".to_owned()));
            }
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            // The parser's own words may repeat parts of the URL, so they are not passed on.
            let connect = PgConnectOptions::from_str(url)
                .map_err(|_| StoreError::Url("it is no well-formed PostgreSQL URL".to_owned()))?;
            return Ok(Self::Postgres(Box::new(connect)));
        }
        Err(StoreError::Url("it begins with neither sqlite: nor postgres://".to_owned()))
    }
}

/// Makes folder and file, readable by their owner alone; SQLite gives its log the file's permissions.
fn make_file(path: &Path) -> Result<(), StoreError> {
    let unwritable = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::Unwritable { path, source }
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unwritable(folder))?;
    }
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(unwritable(path))
        .map(drop)
}

fn sqlite(path: &Path, options: &StoreOptions, cache_kib: u32) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(options.busy_timeout)
        .foreign_keys(false)
        // The journal's segment is deleted once its rows are committed, so a commit must be on the disk.
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", format!("-{cache_kib}"))
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
        .pragma("journal_size_limit", LOG_SIZE_LIMIT.to_string())
        .pragma("temp_store", "MEMORY")
        .journal_mode(SqliteJournalMode::Wal)
        .statement_cache_capacity(STATEMENT_CACHE)
        .row_buffer_size(ROW_BUFFER)
        .thread_name(|_| "tallyd-sqlite".to_owned())
        .disable_statement_logging()
}

/// Whether a connection can begin a transaction. When the disk is full or fails, SQLite ends a transaction by itself, which
/// the driver does not notice: it would refuse every one to come. Such a connection is closed, and another takes its place.
async fn has_no_transaction(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // What was asked of it before, such as the end of a transaction that was dropped, is done when it answers.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// A connection that changes nothing.
fn looker(path: &Path, options: &StoreOptions) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(options.busy_timeout)
        .thread_name(|_| "tallyd-sqlite".to_owned())
        .disable_statement_logging()
}

fn readers(path: &Path, options: &StoreOptions) -> SqlitePool {
    let connect = looker(path, options)
        .pragma("cache_size", format!("-{READ_CACHE_KIB}"))
        .pragma("temp_store", "MEMORY")
        .statement_cache_capacity(STATEMENT_CACHE)
        .row_buffer_size(ROW_BUFFER);
    SqlitePoolOptions::new()
        .max_connections(options.readers.max(1))
        .idle_timeout(IDLE)
        .test_before_acquire(false)
        .acquire_timeout(options.busy_timeout)
        .acquire_slow_level(SLOW_ACQUIRE)
        .connect_lazy_with(connect)
}

fn direct_readers(path: &Path, options: &StoreOptions) -> Arc<DirectReaders> {
    Arc::new(DirectReaders::new(path, options.readers, options.busy_timeout))
}

async fn postgres(connect: PgConnectOptions, options: &StoreOptions) -> Result<PgPool, StoreError> {
    let connect =
        connect.application_name("tallyd").statement_cache_capacity(STATEMENT_CACHE).disable_statement_logging();
    let pool = PgPoolOptions::new()
        // One for the writer, one for its turn to change budgets and one for the pages' small writes, beside the readers.
        .max_connections(options.readers.max(1) + 3)
        .idle_timeout(IDLE)
        .acquire_timeout(options.busy_timeout)
        .acquire_slow_level(SLOW_ACQUIRE)
        .connect_with(connect.clone())
        .await;
    match pool {
        Ok(pool) => Ok(pool),
        Err(sqlx::Error::PoolTimedOut) => Err(StoreError::Unreachable(why_unreachable(&connect).await)),
        Err(other) => Err(StoreError::Unreachable(other.to_string())),
    }
}

/// What a server says that the pool could not reach in time. The pool tries again and again and forgets why it failed, so
/// it is asked once more. The words are the system's or the server's, which name the user at most.
async fn why_unreachable(connect: &PgConnectOptions) -> String {
    // A pool is what ends this attempt in time.
    let timer = PgPoolOptions::new().acquire_timeout(ASK_WHY).acquire_slow_level(SLOW_ACQUIRE);
    let timer = timer.connect_lazy_with(connect.clone());
    let refused = async {
        match connect.connect().await {
            Ok(connection) => {
                // It is there after all, and was too slow before.
                drop(connection.close().await);
                None
            }
            Err(error) => Some(error.to_string()),
        }
    };
    // Not closed, but dropped: closing would wait for the attempt that has lost.
    let told = match future::select(std::pin::pin!(refused), std::pin::pin!(timer.acquire())).await {
        Either::Left((told, _)) => told,
        Either::Right((Err(error), _)) if !matches!(error, sqlx::Error::PoolTimedOut) => Some(error.to_string()),
        Either::Right(_) => None,
    };
    told.unwrap_or_else(|| "no answer in time".to_owned())
}
