//! What one mail tells, as plain facts: everything [`super::render`] needs, and nothing it would have to look up.

use crate::domain::alert::CrossingKind;
use crate::domain::budget::{Budget, Threshold};
use crate::domain::forecast::Outlook;
use crate::domain::ids::CallId;
use crate::domain::money::{Money, Total};
use crate::domain::time::Timestamp;
use crate::domain::window::Window;
use crate::report::burn::Course;

/// One mail: a section for each budget and window that has something to tell.
#[derive(Clone, Debug)]
pub struct Letter {
    /// At least one.
    pub sections: Vec<Section>,
    /// Where the pages are, without a slash at the end.
    pub dashboard_url: String,
    /// When the figures beside the crossing's own were taken.
    pub composed_at: Timestamp,
}

/// What one budget has to tell of one window.
#[derive(Clone, Debug)]
pub struct Section {
    /// The budget as it stood at the crossing.
    pub budget: Budget,
    /// Whose account it is, of a budget of each value: `user lena`; `None` for any other.
    pub value: Option<String>,
    /// The thresholds reached, by spend or by the forecast, lowest first; at least one.
    pub thresholds: Vec<Threshold>,
    /// How the crossing came about.
    pub kind: CrossingKind,
    /// When it was seen.
    pub crossed_at: Timestamp,
    /// The window it happened in.
    pub window: Window,
    /// The window's spend at the crossing.
    pub spent: Total,
    /// Where the window was heading when the mail was composed; `None` where that cannot be told.
    pub outlook: Option<Outlook>,
    /// The window's spend when the mail was composed.
    pub now: Standing,
    /// The span the drivers are compared with; `None` where nothing came before (a `total` window).
    pub before: Option<Span>,
    /// What the spend went to, a table a dimension.
    pub drivers: Vec<Drivers>,
    /// The dearest calls of the window, dearest first.
    pub dearest: Vec<DearCall>,
    /// How the window's spend grew; `None` where it could not be read in time.
    pub course: Option<Course>,
    /// The link that silences the budget; `None` where nothing ends.
    pub snooze: Option<Snooze>,
}

/// A link that silences a budget for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snooze {
    /// Until when.
    pub until: Timestamp,
    /// Path and query on the dashboard, with its signature.
    pub path: String,
}

/// What a window's spend is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// All known costs.
    pub spent: Total,
    /// The part that is the replies' own and not yet settled.
    pub inline: Total,
    /// Completions whose cost is unknown, and in no sum.
    pub unknown: i64,
}

/// A span of time, half open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first instant in it.
    pub since: Timestamp,
    /// The first instant after it.
    pub until: Timestamp,
}

/// One table of drivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drivers {
    /// What the names are.
    pub by: Dimension,
    /// The names with the largest rise, largest first.
    pub rows: Vec<Driver>,
    /// All other names together.
    pub others: Others,
    /// Everything, the names above included.
    pub all: Change,
}

/// What spend can be parted by in a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// The model.
    Model,
    /// The application.
    App,
    /// The key's name.
    Key,
}

impl Dimension {
    /// As data name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::App => "app",
            Self::Key => "key",
        }
    }
}

/// One name and what it cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// The name; `None` where calls named none.
    pub name: Option<String>,
    /// What it cost.
    pub cost: Change,
}

/// The names that have no row of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// How many.
    pub names: usize,
    /// What they cost together.
    pub cost: Change,
}

/// Spend in the span before, and in the window so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// In the span before; zero where there is none.
    pub before: Total,
    /// In the window.
    pub after: Total,
}

impl Change {
    /// How much more it is.
    pub fn rise(&self) -> Total {
        self.after - self.before
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.before += other.before;
        self.after += other.after;
    }
}

/// One dear call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DearCall {
    /// Ours.
    pub call_id: CallId,
    /// The model, if known.
    pub model: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// What it cost.
    pub cost: Money,
    /// Prompt tokens as OpenRouter counts them; `None` until known.
    pub tokens_in: Option<i64>,
    /// Completion tokens, likewise.
    pub tokens_out: Option<i64>,
    /// The end user it was made for, if one was named.
    pub end_user: Option<String>,
}
