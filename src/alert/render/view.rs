//! The HTML part: strings ready for the template, which decides nothing but where they stand.

use askama::Template;
use sha2::{Digest as _, Sha256};

use super::{picture, plain, words};
use crate::alert::facts::{Change, DearCall, Dimension, Driver, Drivers, Letter, Section};
use crate::domain::money::Total;
use crate::domain::time::{DAY_MS, Timestamp};
use crate::report::burn::Course;
use crate::report::format;
use crate::store::outbox::Picture;

/// Longest name shown whole, in characters.
const MAX_NAME: usize = 72;

/// Where a budget's bar turns from calm to a warning, in basis points of the limit.
const WARNS_FROM: i64 = 8_000;

/// Sections that have a picture; those after them have their bars.
const PICTURED: usize = 5;

/// The longest span whose edges are told by the hour, in milliseconds.
const TOLD_BY_HOUR_MS: i64 = 2 * DAY_MS;

/// Where it is full.
const FULL: i64 = 10_000;

#[derive(Template)]
#[template(path = "alert.html")]
pub(super) struct Page<'a> {
    subject: &'a str,
    /// What a list of mails shows beside the subject.
    preview: String,
    sections: Vec<SectionView>,
    alerts_url: String,
}

struct SectionView {
    budget: String,
    window: String,
    scope: String,
    tone: Tone,
    headline: String,
    spent: String,
    limit: String,
    heading: Option<String>,
    notes: Vec<String>,
    bars: Vec<Bar>,
    burn: Option<Burn>,
    compared: String,
    drivers: Vec<DriversView>,
    dearest: Option<Dearest>,
    next: String,
    budget_url: String,
    snooze: Option<SnoozeLink>,
    small_print: String,
}

/// How loud a thing is; each has a mark of its own, so that colour never speaks alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::alert) enum Tone {
    Calm,
    Warn,
    Bad,
    /// The bar of the time that has gone, which is no state.
    Gone,
}

struct Bar {
    label: &'static str,
    share: String,
    /// Percent of the rail, 0 to 100.
    width: i64,
    fill: Tone,
}

/// The picture of the course, and what stands around it as text.
struct Burn {
    light: String,
    dark: String,
    width: u32,
    /// What it shows, for those who do not see it.
    about: String,
    /// The amount at its upper edge.
    top: String,
    limit: String,
    since: String,
    until: String,
    /// Whether it shows an even pace, and a forecast.
    even: bool,
    forecast: bool,
}

struct SnoozeLink {
    url: String,
    label: String,
}

/// A table of drivers.
pub(in crate::alert) struct DriversView {
    pub(in crate::alert) title: &'static str,
    pub(in crate::alert) rows: Vec<RowView>,
}

/// A row of it.
pub(in crate::alert) struct RowView {
    pub(in crate::alert) name: String,
    pub(in crate::alert) spent: String,
    /// `None` where there is nothing to compare with.
    pub(in crate::alert) rise: Option<String>,
    pub(in crate::alert) change: String,
    pub(in crate::alert) bold: bool,
    pub(in crate::alert) dim: bool,
    last: bool,
}

struct Dearest {
    title: String,
    share: String,
    calls: Vec<CallView>,
}

struct CallView {
    model: String,
    url: String,
    when: String,
    user: Option<String>,
    tokens: Option<String>,
    cost: String,
}

impl<'a> Page<'a> {
    /// The page; what it shows as `cid:…` is added to `pictures`.
    pub(super) fn new(letter: &Letter, subject: &'a str, pictures: &mut Vec<Picture>) -> Self {
        let mut burn = |place: usize, section: &Section| {
            section.course.as_ref().filter(|_| place < PICTURED).and_then(|course| Burn::new(section, course, pictures))
        };
        let sections = letter.sections.iter().enumerate();
        Self {
            subject,
            preview: letter.sections.first().map(preview).unwrap_or_default(),
            sections: sections
                .map(|(place, section)| SectionView::new(section, letter, burn(place, section)))
                .collect(),
            alerts_url: format!("{}/alerts", letter.dashboard_url),
        }
    }
}

/// What the mail says in one breath.
fn preview(section: &Section) -> String {
    let heading = words::heading(section).unwrap_or_else(|| words::headline(section));
    let largest = section.drivers.iter().find(|drivers| drivers.by == Dimension::Model).and_then(|by| by.rows.first());
    match largest.filter(|driver| driver.cost.rise() > Total::ZERO) {
        Some(driver) => plain(&format!("{heading} Largest rise: {}.", name(driver))),
        None => plain(&heading),
    }
}

impl SectionView {
    fn new(section: &Section, letter: &Letter, burn: Option<Burn>) -> Self {
        let budget = &section.budget;
        let share = section.spent.basis_points_of(budget.limit);
        // What is only expected is a warning, however little is spent.
        let tone = match Tone::of(share.unwrap_or(FULL)) {
            Tone::Calm if words::is_forecast(section) => Tone::Warn,
            tone => tone,
        };
        let mut bars = vec![Bar {
            label: "Spent",
            share: share.map_or_else(|| format::usd(section.spent), format::share),
            width: percent(share.unwrap_or(FULL)),
            fill: tone,
        }];
        if let Some((label, gone)) = words::gone(section) {
            bars.push(Bar { label, share: format::share(gone), width: percent(gone), fill: Tone::Gone });
        }
        Self {
            budget: words::whose(section),
            window: format!(
                "{}, {}",
                words::window_title(budget.window, &section.window, budget.zone),
                budget.zone.name()
            ),
            scope: budget.scope.to_string(),
            tone,
            headline: words::headline(section),
            spent: format::usd(section.spent),
            limit: format::usd(budget.limit),
            heading: words::heading(section),
            notes: words::notes(section),
            bars,
            burn,
            compared: words::compared(section, letter.composed_at),
            drivers: section
                .drivers
                .iter()
                .map(|drivers| DriversView::new(drivers, section.before.is_some(), budget.name.as_str()))
                .collect(),
            dearest: Dearest::new(section, &letter.dashboard_url),
            next: words::next(section).join(" "),
            budget_url: budget_url(section, &letter.dashboard_url),
            snooze: section.snooze.as_ref().map(|snooze| SnoozeLink {
                url: format!("{}{}", letter.dashboard_url, snooze.path),
                label: words::snooze(section, snooze),
            }),
            small_print: words::small_print(section, letter.composed_at),
        }
    }
}

impl Burn {
    fn new(section: &Section, course: &Course, pictures: &mut Vec<Picture>) -> Option<Self> {
        let (light, dark) =
            (picture::draw(section, course, &picture::LIGHT)?, picture::draw(section, course, &picture::DARK)?);
        let [light, dark] = [light, dark].map(|png| {
            // Named by what it shows, so that one that is drawn again is the same.
            let content_id = format!("burn.{}@tallyd", content_hash(&png));
            pictures.push(Picture { content_id: content_id.clone(), png });
            content_id
        });
        let (budget, (since, until)) = (&section.budget, course.drawn);
        let is_short = until.millis() - since.millis() <= TOLD_BY_HOUR_MS;
        let edge = |at: Timestamp| {
            if is_short { when(section, at) } else { words::date(section, at) }
        };
        Some(Self {
            light,
            dark,
            width: picture::WIDTH,
            about: plain(&words::course(section, course)),
            top: picture::axis(section, course).ticks.last().map(|(_, label)| label.clone()).unwrap_or_default(),
            limit: format::usd(budget.limit),
            since: edge(since),
            until: edge(if is_short { until } else { until.plus_millis(-1) }),
            even: !budget.window.is_rolling() && section.window.end.is_some(),
            forecast: words::outlook_of(section).is_some(),
        })
    }
}

/// 32 hex digits of the bytes' hash.
fn content_hash(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(32);
    for byte in &Sha256::digest(bytes)[..16] {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// Spend as a share of the limit; `None` under a limit of zero.
pub(super) fn percent_of(section: &Section) -> Option<String> {
    section.spent.basis_points_of(section.budget.limit).map(format::share)
}

/// Budget names need no escaping in a URL.
pub(super) fn budget_url(section: &Section, dashboard_url: &str) -> String {
    format!("{dashboard_url}/budgets/{}", section.budget.name)
}

impl Tone {
    pub(in crate::alert) fn of(share: i64) -> Self {
        match share {
            FULL.. => Self::Bad,
            WARNS_FROM.. => Self::Warn,
            _ => Self::Calm,
        }
    }

    pub(in crate::alert) fn class(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Gone => "gone",
        }
    }

    /// The colour in light; the style sheet has the dark one.
    pub(in crate::alert) fn colour(self) -> &'static str {
        match self {
            Self::Calm => "#3c4a55",
            Self::Warn => "#8a5600",
            Self::Bad => "#b0271c",
            Self::Gone => "#84888e",
        }
    }

    pub(in crate::alert) fn mark(self) -> &'static str {
        match self {
            Self::Calm | Self::Gone => "●",
            Self::Warn => "▲",
            Self::Bad => "■",
        }
    }
}

/// Whole percent of a bar, never empty for something and never full for less.
pub(in crate::alert) fn percent(basis_points: i64) -> i64 {
    match basis_points {
        ..=0 => 0,
        FULL.. => 100,
        some => ((some + 50) / 100).clamp(1, 99),
    }
}

impl DriversView {
    /// The table; `all` names its last row.
    pub(in crate::alert) fn new(drivers: &Drivers, compared: bool, all: &str) -> Self {
        let mut rows: Vec<RowView> =
            drivers.rows.iter().map(|driver| RowView::new(name(driver), &driver.cost, compared)).collect();
        if drivers.others.names > 0 {
            let row = RowView::new(others(drivers), &drivers.others.cost, compared);
            rows.push(RowView { dim: true, ..row });
        }
        let row = RowView::new(all.to_owned(), &drivers.all, compared);
        rows.push(RowView { bold: true, last: true, ..row });
        Self { title: title(drivers.by), rows }
    }
}

impl RowView {
    fn new(name: String, cost: &Change, compared: bool) -> Self {
        let after = format::usd(cost.after);
        Self {
            name,
            spent: if compared { format!("{} → {after}", format::usd(cost.before)) } else { after },
            rise: compared.then(|| format::usd_change(cost.rise())),
            change: format::change(cost.before, cost.after),
            bold: false,
            dim: false,
            last: false,
        }
    }

    /// The line below it.
    pub(in crate::alert) fn rule(&self) -> &'static str {
        if self.last { "" } else { "border-bottom:1px solid #e5e5e1;" }
    }
}

/// What a table of drivers is headed.
pub(in crate::alert) fn title(by: Dimension) -> &'static str {
    match by {
        Dimension::Model => "What drives it",
        Dimension::App => "By app",
        Dimension::Key => "By key",
    }
}

/// A driver's name, bounded.
pub(in crate::alert) fn name(driver: &Driver) -> String {
    driver.name.as_deref().map_or_else(|| "(none named)".to_owned(), bounded)
}

/// `3 other models`.
pub(in crate::alert) fn others(drivers: &Drivers) -> String {
    let what = match drivers.by {
        Dimension::Model => "model",
        Dimension::App => "app",
        Dimension::Key => "key",
    };
    match drivers.others.names {
        1 => format!("1 other {what}"),
        more => format!("{more} other {what}s"),
    }
}

/// At most [`MAX_NAME`] characters of a name that somebody else chose.
fn bounded(name: &str) -> String {
    match name.char_indices().nth(MAX_NAME) {
        Some((cut, _)) => format!("{}…", &name[..cut]),
        None => name.to_owned(),
    }
}

impl Dearest {
    fn new(section: &Section, dashboard_url: &str) -> Option<Self> {
        let (title, share) = dearest_title(section)?;
        let calls = section.dearest.iter().map(|call| CallView {
            model: model(call),
            url: format!("{dashboard_url}/completions/{}", call.call_id),
            when: when(section, call.created_at),
            user: end_user(call),
            tokens: tokens(call).map(|(prompt, completion)| format!("{prompt} tokens in, {completion} out")),
            cost: format::call_usd(call.cost),
        });
        Some(Self { title, share, calls: calls.collect() })
    }
}

/// `The five dearest calls` and `$1.74 together, 0.7 % of the spend`; `None` where there are none.
pub(super) fn dearest_title(section: &Section) -> Option<(String, String)> {
    let title = match section.dearest.len() {
        0 => return None,
        1 => "The dearest call".to_owned(),
        2 => "The two dearest calls".to_owned(),
        3 => "The three dearest calls".to_owned(),
        4 => "The four dearest calls".to_owned(),
        5 => "The five dearest calls".to_owned(),
        more => format!("The {more} dearest calls"),
    };
    let sum: Total = section.dearest.iter().map(|call| Total::from(call.cost)).sum();
    let of = format::share_of(sum, section.now.spent).map(|share| format!(", {share} of the spend"));
    Some((title, format!("{} together{}", format::usd(sum), of.unwrap_or_default())))
}

/// The model, bounded.
pub(super) fn model(call: &DearCall) -> String {
    call.model.as_deref().map_or_else(|| "unknown model".to_owned(), bounded)
}

/// The end user, bounded.
pub(super) fn end_user(call: &DearCall) -> Option<String> {
    call.end_user.as_deref().map(bounded)
}

/// When a call was made, in the budget's zone.
pub(super) fn when(section: &Section, at: Timestamp) -> String {
    format::date_time(at, section.crossed_at, section.budget.zone)
}

/// Prompt and completion tokens, where both are known.
pub(super) fn tokens(call: &DearCall) -> Option<(String, String)> {
    Some((format::count(call.tokens_in?), format::count(call.tokens_out?)))
}
