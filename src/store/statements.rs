//! Every SQL text, by name: what the functions run and what a test prepares on both engines.

/// One SQL text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its file below `src/store/sql/`, without endings.
    pub name: &'static str,
    /// For SQLite.
    pub sqlite: &'static str,
    /// For PostgreSQL.
    pub postgres: &'static str,
}

macro_rules! text {
    ($name:literal) => {
        include_str!(concat!("sql/", $name, ".sql"))
    };
}

/// `both`: one text. `locked`, `skipping`: one text; PostgreSQL locks the rows read, or skips those
/// locked, which SQLite's single writer need not. `apart`: a text for each engine. `begun_apart`: a text for each engine
/// begins it, and one ends it for both.
macro_rules! statement {
    (both $name:literal) => {
        Statement { name: $name, sqlite: text!($name), postgres: text!($name) }
    };
    (locked $name:literal) => {
        Statement { name: $name, sqlite: text!($name), postgres: concat!(text!($name), "FOR UPDATE") }
    };
    (skipping $name:literal) => {
        Statement { name: $name, sqlite: text!($name), postgres: concat!(text!($name), "FOR UPDATE SKIP LOCKED") }
    };
    (apart $name:literal) => {
        Statement {
            name: $name,
            sqlite: include_str!(concat!("sql/", $name, ".sqlite.sql")),
            postgres: include_str!(concat!("sql/", $name, ".postgres.sql")),
        }
    };
    (begun_apart $name:literal) => {
        Statement {
            name: $name,
            sqlite: concat!(include_str!(concat!("sql/", $name, ".sqlite.sql")), text!($name)),
            postgres: concat!(include_str!(concat!("sql/", $name, ".postgres.sql")), text!($name)),
        }
    };
}

macro_rules! statements {
    ($($constant:ident = $how:ident $name:literal;)*) => {
        $(pub(super) const $constant: Statement = statement!($how $name);)*

        impl Statement {
            /// All of them.
            pub const ALL: &'static [Statement] = &[$($constant,)*];
        }
    };
}

statements! {
    ALERTS_HISTORY = both "alerts/history";
    ALERTS_INSERT = both "alerts/insert";
    ALERTS_RECIPIENTS = both "alerts/recipients";
    ALERTS_TOLD = both "alerts/told";
    ALERTS_TOLD_ALL = both "alerts/told_all";
    BUDGETS_ACCOUNTS = both "budgets/accounts";
    BUDGET_CHANGES_DEFINITION_AT = both "budget_changes/definition_at";
    BUDGET_CHANGES_FORGET = both "budget_changes/forget";
    BUDGET_CHANGES_LAST = both "budget_changes/last";
    BUDGET_CHANGES_PAGE = both "budget_changes/page";
    BUDGET_CHANGES_RECORD = both "budget_changes/record";
    BUDGET_TERMS_DELETE_OWN = both "budget_terms/delete_own";
    BUDGET_TERMS_OVERRIDE = both "budget_terms/override";
    BUDGET_TERMS_OWN = both "budget_terms/own";
    BUDGET_TERMS_PAUSE = both "budget_terms/pause";
    BUDGET_TERMS_ROLLED_OVER = both "budget_terms/rolled_over";
    BUDGET_TERMS_ROLL_OVER = both "budget_terms/roll_over";
    BUDGET_TERMS_SAVE_OWN = both "budget_terms/save_own";
    BUDGET_TERMS_TOPPED_UP = both "budget_terms/topped_up";
    BUDGET_TERMS_TOP_UP = both "budget_terms/top_up";
    BUDGET_TERMS_TRIM_ROLLOVERS = both "budget_terms/trim_rollovers";
    BUDGET_TERMS_UNROLL = both "budget_terms/unroll";
    BUDGETS_ABSENT = both "budgets/absent";
    BUDGETS_ADD_SPEND = apart "budgets/add_spend";
    BUDGETS_ARMS = both "budgets/arms";
    BUDGETS_ARMS_ALL = both "budgets/arms_all";
    BUDGETS_CLEAR_ACCOUNTS = both "budgets/clear_accounts";
    BUDGETS_CLEAR_ARMS = both "budgets/clear_arms";
    BUDGETS_CLEAR_SPEND = both "budgets/clear_spend";
    BUDGETS_COUNTERS = both "budgets/counters";
    BUDGETS_COURSE = both "budgets/course";
    BUDGETS_COURSE_OF = both "budgets/course_of";
    BUDGETS_DROP_ACCOUNTS = both "budgets/drop_accounts";
    BUDGETS_HOURS = both "budgets/hours";
    BUDGETS_LIST = both "budgets/list";
    BUDGETS_SAVE = both "budgets/save";
    BUDGETS_SAVE_ACCOUNTS = apart "budgets/save_accounts";
    BUDGETS_SET_ARM = both "budgets/set_arm";
    BUDGETS_SET_COUNTED_FROM = both "budgets/set_counted_from";
    BUDGETS_SET_STATUS = both "budgets/set_status";
    BUDGETS_SPENT = both "budgets/spent";
    BUDGETS_SPENT_BY_VALUE = both "budgets/spent_by_value";
    BUDGETS_SPENT_OF = both "budgets/spent_of";
    BUDGETS_STOOD = both "budgets/stood";
    CALLS_BOUNDARY = both "calls/boundary";
    CALLS_BOUNDS = both "calls/bounds";
    CALLS_DELETE = both "calls/delete";
    CALLS_DELETE_RECORDS = both "calls/delete_records";
    CALLS_FIND = both "calls/find";
    CALLS_FLAGGED = both "calls/flagged";
    CALLS_HELD = both "calls/held";
    CALLS_LOAD = locked "calls/load";
    CALLS_OF_JOBS = locked "calls/of_jobs";
    CALLS_PAGE = both "calls/page";
    CALLS_RECORD = both "calls/record";
    CALLS_SAVE_RECORDS = apart "calls/save_records";
    CALLS_SCAN = both "calls/scan";
    CALLS_UNSETTLED = both "calls/unsettled";
    CALLS_UNDER_WAY = both "calls/under_way";
    CALLS_UNKNOWN = both "calls/unknown";
    CALLS_UNNAMED = both "calls/unnamed";
    CALLS_UPSERT = begun_apart "calls/upsert";
    CATALOGUE_CLOSE_PRICES = both "catalogue/close_prices";
    CATALOGUE_CURRENT = both "catalogue/current";
    CATALOGUE_FETCHED = both "catalogue/fetched";
    CATALOGUE_MODELS = both "catalogue/models";
    CATALOGUE_NOTE = both "catalogue/note";
    CATALOGUE_OPEN_PRICES = both "catalogue/open_prices";
    CATALOGUE_PRICES = both "catalogue/prices";
    CATALOGUE_SAVE_MODELS = both "catalogue/save_models";
    COMPARISONS_BALANCE = both "comparisons/balance";
    COMPARISONS_CHARGED = both "comparisons/charged";
    COMPARISONS_SAVE = both "comparisons/save";
    COMPARISONS_SAVE_BALANCE = both "comparisons/save_balance";
    COMPARISONS_SINCE = both "comparisons/since";
    DRIVERS_DEAREST = both "drivers/dearest";
    DRIVERS_GROUPS = both "drivers/groups";
    EXPLORE_TAG_NAMES = both "explore/tag_names";
    FAILURES_ERRORS = both "failures/errors";
    FAILURES_FLAGGED = both "failures/flagged";
    FORECASTS_CLEAR = both "forecasts/clear";
    FORECASTS_LIST = both "forecasts/list";
    FORECASTS_SAVE = both "forecasts/save";
    GRANTS_ASKED_BACK = both "grants/asked_back";
    GRANTS_CLEAR = both "grants/clear";
    GRANTS_CLOCK = apart "grants/clock";
    GRANTS_DROP = both "grants/drop";
    GRANTS_OF = both "grants/of";
    GRANTS_SET = both "grants/set";
    GRANTS_SHRINK = both "grants/shrink";
    GRANTS_SPENT = both "grants/spent";
    NOTES_GET = both "notes/get";
    NOTES_HOLD = locked "notes/hold";
    NOTES_REMOVE = both "notes/remove";
    NOTES_SET = both "notes/set";
    OUTBOX_ATTACH = both "outbox/attach";
    OUTBOX_COMPOSABLE = both "outbox/composable";
    OUTBOX_COUNTS = both "outbox/counts";
    OUTBOX_CREATE = both "outbox/create";
    OUTBOX_DUE = skipping "outbox/due";
    OUTBOX_FAILED = both "outbox/failed";
    OUTBOX_FIND = both "outbox/find";
    OUTBOX_FORGET = both "outbox/forget";
    OUTBOX_FORGET_PICTURES = both "outbox/forget_pictures";
    OUTBOX_LEASE = both "outbox/lease";
    OUTBOX_NEXT = both "outbox/next";
    OUTBOX_PAGE = both "outbox/page";
    OUTBOX_PICTURE = both "outbox/picture";
    OUTBOX_PICTURES = both "outbox/pictures";
    OUTBOX_REQUEUE = both "outbox/requeue";
    OUTBOX_RETRY = both "outbox/retry";
    OUTBOX_SENT = both "outbox/sent";
    OUTBOX_SET_CHANNELS = both "outbox/set_channels";
    PROGRESS_GET = both "progress/get";
    PROGRESS_LAST = locked "progress/last";
    PROGRESS_SET = both "progress/set";
    REFUSALS_COUNT = both "refusals/count";
    REFUSALS_KEEP = both "refusals/keep";
    REFUSALS_RECENT = both "refusals/recent";
    REFUSALS_TRIM = both "refusals/trim";
    REPORTS_ABSENT = both "reports/absent";
    REPORTS_ATTACH = both "reports/attach";
    REPORTS_HISTORY = both "reports/history";
    REPORTS_LIST = both "reports/list";
    REPORTS_RUN = both "reports/run";
    REPORTS_SAVE = both "reports/save";
    ROLLUPS_ADD = apart "rollups/add";
    ROLLUPS_ADD_SERIES = apart "rollups/add_series";
    ROLLUPS_EXTENT = both "rollups/extent";
    ROLLUPS_FIND_SERIES = both "rollups/find_series";
    ROLLUPS_FIND_TIMINGS = locked "rollups/find_timings";
    ROLLUPS_RESERVE_TIMINGS = apart "rollups/reserve_timings";
    ROLLUPS_ROWS = both "rollups/rows";
    ROLLUPS_SAVE_TIMINGS = apart "rollups/save_timings";
    ROLLUPS_SERIES = both "rollups/series";
    ROLLUPS_SUMS = both "rollups/sums";
    ROLLUPS_TIMINGS = both "rollups/timings";
    SAVED_QUERIES_FIND = both "saved_queries/find";
    SAVED_QUERIES_LIST = both "saved_queries/list";
    SAVED_QUERIES_REMOVE = both "saved_queries/remove";
    SAVED_QUERIES_SAVE = both "saved_queries/save";
    SESSIONS_CALLS = both "sessions/calls";
    SESSIONS_LATER = both "sessions/later";
    SESSIONS_RECENT = both "sessions/recent";
    SESSIONS_SUMS = both "sessions/sums";
    SETTLEMENTS_BACKLOG = both "settlements/backlog";
    SETTLEMENTS_DUE_INLINE = skipping "settlements/due_inline";
    SETTLEMENTS_DUE_UNKNOWN = skipping "settlements/due_unknown";
    SETTLEMENTS_LEASE = both "settlements/lease";
    SETTLEMENTS_NEXT = both "settlements/next";
    SETTLEMENTS_PARK = both "settlements/park";
    SETTLEMENTS_PARKED_BEFORE = both "settlements/parked_before";
    SETTLEMENTS_RELEASE = both "settlements/release";
    SETTLEMENTS_UNPARK = both "settlements/unpark";
    SIGNING_FIND = both "signing/find";
    SIGNING_INSERT = both "signing/insert";
    SIZE_BYTES = apart "size/bytes";
    SNOOZES_ACTIVE = both "snoozes/active";
    SNOOZES_END = both "snoozes/end";
    SNOOZES_INSERT = both "snoozes/insert";
    SNOOZES_LIST = both "snoozes/list";
    SPIKES_HISTORY = both "spikes/history";
    SPIKES_INSERT = both "spikes/insert";
    TALLY_KEYS_HELD = both "tally_keys/held";
    TALLY_KEYS_INSERT = both "tally_keys/insert";
    TALLY_KEYS_NAMED = both "tally_keys/named";
    TALLY_KEYS_PAGE = both "tally_keys/page";
    TALLY_KEYS_REVOKE = both "tally_keys/revoke";
    TALLY_KEYS_SPEND = both "tally_keys/spend";
    TALLY_KEYS_USED = both "tally_keys/used";
    TURNS_OTHERS = both "turns/others";
    TURNS_TAKE = apart "turns/take";
    VERIFY_SUMS = both "verify/sums";
    VERIFY_TIMINGS = both "verify/timings";
    VIEWS_LIST = both "views/list";
    VIEWS_OTHERS = both "views/others";
    VIEWS_REMOVE = both "views/remove";
    VIEWS_RENAME = both "views/rename";
    VIEWS_SAVE = both "views/save";
}
