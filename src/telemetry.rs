//! Logs and metrics: how the daemon tells of itself.
//!
//! A log line never holds a key, a prompt, a completion or a mail address, and metrics never a label of a
//! caller's making: label values are words of this program, and names of budgets.

use std::io::IsTerminal as _;
use std::panic::PanicHookInfo;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::{Log, LogFormat};
use crate::domain::call::CallState;
use crate::domain::money::{Money, Total};
use crate::domain::observation::{Outcome, Reading};
use crate::domain::time::Timestamp;

/// What [`Metrics::text`] is served as.
pub const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper ends of the buckets for the time of an import's transactions, in seconds; they are to take 0.02.
const IMPORT_BUCKETS: [f64; 12] = [0.005, 0.01, 0.015, 0.0175, 0.02, 0.0225, 0.025, 0.03, 0.05, 0.1, 0.5, 2.0];

/// Upper ends of the buckets for the time of calls, in seconds.
const CALL_BUCKETS: [f64; 13] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 600.0];

/// Upper ends of the buckets for the time until a call is admitted, in seconds.
const ADMISSION_BUCKETS: [f64; 9] = [0.000_05, 0.000_2, 0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0];

/// Budgets told one by one; of more, those that are nearest to their limits.
pub const BUDGETS_TOLD: usize = 100;

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.level` is no filter.
    #[error("log.level is no filter: {0}; write error, warn, info, debug or trace")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    /// A logger is there already: this is called once in a process.
    #[error("logging has begun already: {0}")]
    Begun(#[from] tracing_subscriber::util::TryInitError),
}

/// Begins logging to standard error, for the whole process; panics are logged by their place alone.
pub fn init(log: &Log) -> Result<(), TelemetryError> {
    let terminal = std::io::stderr().is_terminal();
    let form = match (log.format, terminal) {
        (LogFormat::Json, _) | (LogFormat::Auto, false) => Form::Json,
        (LogFormat::Human | LogFormat::Auto, colours) => Form::Human { colours },
    };
    subscriber(&log.level, form, std::io::stderr)?.try_init()?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// The form of a line.
#[derive(Clone, Copy)]
enum Form {
    Human { colours: bool },
    Json,
}

fn subscriber<W>(level: &str, form: Form, writer: W) -> Result<impl Subscriber + Send + Sync, TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(level)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match form {
        Form::Json => lines.json().flatten_event(true).boxed(),
        Form::Human { colours } => lines.with_ansi(colours).boxed(),
    };
    Ok(tracing_subscriber::registry().with(filter).with(lines.with_filter(filter_fn(is_discreet))))
}

/// Whether a line may be written at all: the finer lines of libraries can hold headers and statements with what is in
/// them, so whatever `log.level` says they stay away.
fn is_discreet(metadata: &Metadata<'_>) -> bool {
    let ours = metadata.target().starts_with(env!("CARGO_PKG_NAME"));
    ours || *metadata.level() <= Level::INFO
}

/// A panic's message can quote the text it stumbled over, so only its place is told.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    tracing::error!(
        place,
        thread = std::thread::current().name(),
        "panic: a defect of tallyd; please report the place"
    );
}

/// The daemon's counters and gauges. Clones count into the same ones.
#[derive(Clone, Debug)]
pub struct Metrics {
    recorded: Family<StateLabel, Counter>,
    refused: Family<CauseLabel, Counter>,
    readings: Family<OutcomeLabel, Counter>,
    spent: Counter<f64, AtomicU64>,
    corrected: Counter<f64, AtomicU64>,
    first_byte: Histogram,
    duration: Histogram,
    admission: Histogram,
    budgets: Gauge,
    of_budgets: OfBudgets,
    /// One telling of the budgets at a time.
    telling: Arc<Mutex<()>>,
    /// Calls admitted and not yet over.
    pub calls_in_flight: Gauge,
    /// Bytes of journal records not yet in the ledger.
    pub journal_size: Gauge,
    /// Journal segments on disk.
    pub journal_segments: Gauge,
    /// Replies whose end was let go before their record was synced.
    pub journal_unsynced: Counter,
    /// Calls that passed without a record: the journal was full.
    pub calls_uncounted: Counter,
    /// Observations that the journal did not take: each is a gap in the ledger.
    pub observations_lost: Counter,
    drain_lag: Gauge<f64, AtomicU64>,
    import_transactions: Histogram,
    /// Rows whose generation record is due to be read.
    pub settle_due: Gauge,
    settle_lag: Gauge<f64, AtomicU64>,
    used_elsewhere: Gauge<f64, AtomicU64>,
    balance: Gauge<f64, AtomicU64>,
    catalogue_age: Gauge<f64, AtomicU64>,
    /// Mails in the outbox that are neither sent nor given up.
    pub outbox_waiting: Gauge,
    /// Mails and webhook messages that were accepted.
    pub mails_sent: Counter,
    /// Mails and webhook messages given up.
    pub mails_failed: Counter,
    registry: Arc<Registry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabel {
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BudgetLabel {
    budget: String,
}

type OfBudget = Family<BudgetLabel, Gauge<f64, AtomicU64>>;

/// What is told of each budget.
#[derive(Clone, Debug)]
struct OfBudgets {
    spend: OfBudget,
    reserved: OfBudget,
    limit: OfBudget,
    remaining: OfBudget,
    reset: OfBudget,
}

/// Where a budget stands, to be told.
#[derive(Clone, Debug)]
pub struct BudgetTold {
    /// Its name, which its owner chose.
    pub name: String,
    /// What was spent in its window; of a budget of each value, by its dearest.
    pub spent: Total,
    /// What is held back.
    pub reserved: Total,
    /// The limit of its window.
    pub limit: Money,
    /// When its window ends; `None` where it does not, or rolls.
    pub resets_at: Option<Timestamp>,
}

impl Metrics {
    /// Registers every family with `registry`, under the prefix it was made with.
    pub fn new(mut registry: Registry) -> Self {
        let call_times = || Histogram::new(CALL_BUCKETS);
        let (first_byte, duration, admission) = (call_times(), call_times(), Histogram::new(ADMISSION_BUCKETS));
        let times = [
            ("call_first_byte", "Time from a call's sending to the first byte of its reply", &first_byte),
            ("call_duration", "Time from a call's sending to its end", &duration),
            ("call_admission", "Time in which it was decided whether a call may go", &admission),
        ];
        for (name, help, histogram) in times {
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        }
        let import_transactions = Histogram::new(IMPORT_BUCKETS);
        let help = "Time of an import's transactions, between which live traffic is written";
        registry.register_with_unit("import_transaction", help, Unit::Seconds, import_transactions.clone());
        registry.register("build", "The running version", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
        let to = &mut registry;
        Self {
            recorded: add(to, "completions_recorded", "Rows of the ledger that entered a state"),
            refused: add(to, "calls_refused", "Calls that tallyd itself refused"),
            spent: add_in(to, usd(), "spend", "Costs that became known since the start"),
            corrected: add_in(to, usd(), "spend_corrected", "What of them was taken back by later records"),
            first_byte,
            duration,
            admission,
            budgets: add(to, "budgets", "Budgets in force"),
            of_budgets: OfBudgets {
                spend: add_in(to, usd(), "budget_spend", "What was spent in the budget's window"),
                reserved: add_in(to, usd(), "budget_reserved", "What is held back for calls of unknown cost"),
                limit: add_in(to, usd(), "budget_limit", "The limit of the budget's window"),
                remaining: add_in(to, usd(), "budget_remaining", "What of the limit is neither spent nor held back"),
                reset: add_in(
                    to,
                    Unit::Seconds,
                    "budget_reset_timestamp",
                    "When the budget's window ends, in Unix time",
                ),
            },
            telling: Arc::default(),
            readings: add(to, "settle_readings", "Readings of generation records"),
            calls_in_flight: add(to, "calls_in_flight", "Calls admitted and not yet over"),
            journal_size: add_in(to, Unit::Bytes, "journal_size", "Journal records not yet in the ledger"),
            journal_segments: add(to, "journal_segments", "Journal segments on disk"),
            journal_unsynced: add(to, "journal_unsynced", "Replies let go before their record was synced"),
            calls_uncounted: add(to, "calls_uncounted", "Calls passed without a record: the journal was full"),
            observations_lost: add(to, "observations_lost", "Observations the journal did not take"),
            drain_lag: add_in(to, Unit::Seconds, "ledger_drain_lag", "Age of the oldest record not in the ledger"),
            import_transactions,
            settle_due: add(to, "settle_due", "Rows whose generation record is due to be read"),
            settle_lag: add_in(to, Unit::Seconds, "settle_lag", "How long the longest-due row has waited"),
            used_elsewhere: add_in(
                to,
                usd(),
                "used_elsewhere_today",
                "What OpenRouter counted for the configured keys this UTC day that nothing here explains",
            ),
            balance: add_in(to, usd(), "account_balance", "Credits left, as last told; NaN while not known"),
            catalogue_age: add_in(to, Unit::Seconds, "catalogue_age", "Age of the list of models; NaN without one"),
            outbox_waiting: add(to, "outbox_waiting", "Mails and webhook messages neither sent nor given up"),
            mails_sent: add(to, "mails_sent", "Mails and webhook messages that were accepted"),
            mails_failed: add(to, "mails_failed", "Mails and webhook messages given up"),
            registry: Arc::new(registry),
        }
    }

    /// Notes that `rows` rows of the ledger entered `state`.
    pub fn recorded(&self, state: CallState, rows: u64) {
        self.recorded.get_or_create(&StateLabel { state: state.as_str() }).inc_by(rows);
    }

    /// Notes a call that tallyd itself refused; `cause` is the error type its caller saw.
    pub fn refused(&self, cause: &'static str) {
        self.refused.get_or_create(&CauseLabel { cause }).inc();
    }

    /// Notes that a call is over.
    pub fn call_over(&self, outcome: &Outcome) {
        let seconds = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0)).as_secs_f64();
        self.duration.observe(seconds(outcome.duration_ms));
        if let Some(first_byte) = outcome.first_byte_ms {
            self.first_byte.observe(seconds(first_byte));
        }
    }

    /// Notes how long it took to decide whether a call may go.
    pub fn call_admitted(&self, took: Duration) {
        self.admission.observe(took.as_secs_f64());
    }

    /// Notes costs that became known, and what of earlier ones was taken back.
    pub fn spent(&self, more: Total, less: Total) {
        for (counter, amount) in [(&self.spent, more), (&self.corrected, less)] {
            if amount > Total::ZERO {
                counter.inc_by(printed(amount));
            }
        }
    }

    /// Notes what reading a generation record gave.
    pub fn read(&self, reading: &Reading) {
        let outcome = match reading {
            Reading::Record(_) => "record",
            Reading::NotYet => "not_yet",
            Reading::Failed { .. } => "failed",
            Reading::KeyNotHeld => "key_not_held",
        };
        self.readings.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Notes how long a transaction of an import took.
    pub fn imported(&self, took: Duration) {
        self.import_transactions.observe(took.as_secs_f64());
    }

    /// Notes the age of the oldest journal record not yet in the ledger.
    pub fn set_drain_lag(&self, lag: Duration) {
        self.drain_lag.set(lag.as_secs_f64());
    }

    /// Notes how long the longest-due generation record has waited to be read.
    pub fn set_settle_lag(&self, lag: Duration) {
        self.settle_lag.set(lag.as_secs_f64());
    }

    /// Notes what the configured keys used today that nothing here explains.
    pub fn set_used_elsewhere(&self, used: Total) {
        self.used_elsewhere.set(printed(used));
    }

    /// Notes the account's balance.
    pub fn set_balance(&self, left: Option<Money>) {
        self.balance.set(left.map_or(f64::NAN, |left| printed(left.into())));
    }

    /// Notes how old the list of models is.
    pub fn set_catalogue_age(&self, age: Option<Duration>) {
        self.catalogue_age.set(age.map_or(f64::NAN, |age| age.as_secs_f64()));
    }

    /// All of them with where budgets stand, see [`Metrics::text`]. Each is told under its name, [`BUDGETS_TOLD`] of them.
    pub fn text_with(&self, mut budgets: Vec<BudgetTold>) -> String {
        let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        self.budgets.set(i64::try_from(budgets.len()).unwrap_or(i64::MAX));
        let share = |told: &BudgetTold| told.spent.basis_points_of(told.limit).unwrap_or(i64::MAX);
        budgets.sort_by(|a, b| (share(b), &a.name).cmp(&(share(a), &b.name)));
        let OfBudgets { spend, reserved, limit, remaining, reset } = &self.of_budgets;
        for family in [spend, reserved, limit, remaining, reset] {
            family.clear();
        }
        for told in budgets.into_iter().take(BUDGETS_TOLD) {
            let label = BudgetLabel { budget: told.name };
            spend.get_or_create(&label).set(printed(told.spent));
            reserved.get_or_create(&label).set(printed(told.reserved));
            limit.get_or_create(&label).set(printed(told.limit.into()));
            remaining.get_or_create(&label).set(printed(Total::from(told.limit) - told.spent - told.reserved));
            if let Some(at) = told.resets_at {
                reset
                    .get_or_create(&label)
                    .set(Duration::from_millis(u64::try_from(at.millis()).unwrap_or(0)).as_secs_f64());
            }
        }
        self.text()
    }

    /// All of them in the `OpenMetrics` text format, see [`METRICS_CONTENT_TYPE`].
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail; a family that cannot be encoded would end the text early.
        if text::encode(&mut text, &self.registry).is_err() {
            tracing::error!("the metrics could not be written whole");
        }
        text
    }
}

/// An amount as the text format has it: a float, made of the exact text when it is printed and not before.
fn printed(amount: Total) -> f64 {
    amount.to_decimal().parse().unwrap_or(f64::NAN)
}

fn usd() -> Unit {
    Unit::Other("usd".to_owned())
}

fn add<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn add_in<M: Metric + Clone + Default>(registry: &mut Registry, unit: Unit, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register_with_unit(name, help, unit, metric.clone());
    metric
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is written under `level` while `work` runs.
    fn written(level: &str, form: Form, work: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(level, form, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, work);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_has_its_fields_at_the_top() {
        let line = written("info", Form::Json, || tracing::info!(lag_s = 3, "behind"));
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&line["message"], &line["lag_s"], &line["level"]), (&"behind".into(), &3.into(), &"INFO".into()));
    }

    #[test]
    fn libraries_stay_discreet_whatever_the_level() {
        let told = written("trace", Form::Human { colours: false }, || {
            tracing::trace!("ours");
            tracing::debug!(target: "hyper::proto", "authorization: hush");
            tracing::warn!(target: "hyper::proto", "theirs");
        });
        assert!(told.contains("ours") && told.contains("theirs"), "{told}");
        assert!(!told.contains("hush"), "{told}");
    }

    #[test]
    fn every_family_is_told_with_its_unit_and_bounded_labels() {
        let metrics = Metrics::new(Registry::with_prefix("tallyd"));
        metrics.recorded(CallState::Settled, 2);
        metrics.refused("budget_exceeded");
        metrics.read(&Reading::NotYet);
        metrics.journal_size.set(5);
        metrics.set_drain_lag(Duration::from_millis(1500));
        metrics.spent(Total::from(Money::parse("1.5").unwrap()), Total::ZERO);
        metrics.call_admitted(Duration::from_micros(20));
        let budgets = (0..150).map(|number| BudgetTold {
            name: format!("b{number}"),
            spent: Money::from_usd(number).unwrap().into(),
            reserved: Money::parse("0.5").unwrap().into(),
            limit: Money::from_usd(200).unwrap(),
            resets_at: Some(Timestamp(1_795_125_600_000)),
        });
        let budgets: Vec<BudgetTold> = budgets.collect();
        metrics.text_with(budgets.clone());
        let text = metrics.text_with(budgets);
        assert_eq!(text.matches("tallyd_budget_limit_usd{").count(), BUDGETS_TOLD);
        assert!(!text.contains("{budget=\"b0\"}"), "those that are farthest from their limits are left out");
        for line in [
            concat!("tallyd_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "tallyd_completions_recorded_total{state=\"settled\"} 2",
            "tallyd_calls_refused_total{cause=\"budget_exceeded\"} 1",
            "tallyd_settle_readings_total{outcome=\"not_yet\"} 1",
            "tallyd_journal_size_bytes 5",
            "tallyd_ledger_drain_lag_seconds 1.5",
            "tallyd_calls_in_flight 0",
            "tallyd_spend_usd_total 1.5",
            "tallyd_budgets 150",
            "tallyd_budget_spend_usd{budget=\"b149\"} 149.0",
            "tallyd_budget_remaining_usd{budget=\"b149\"} 50.5",
            "tallyd_budget_reset_timestamp_seconds{budget=\"b149\"} 1795125600.0",
            "tallyd_call_admission_seconds_count 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is missing from\n{text}");
        }
    }
}
