//! Looks for unusual spend, writes what is new of it, and the mail that tells it, in one transaction.
//!
//! The rule is `domain/spike.rs`. What was told of a spender for a day is not told again: not after a restart, and not when
//! costs that come in later make the hour dearer.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use chrono_tz::Tz;
use serde_json::{Map, Value, json};

use super::render::{RenderError, Rendered, plain};
use super::written::{Illustrated, Written};
use crate::clock::Clock;
use crate::domain::forecast::HOUR_MS;
use crate::domain::ids::short_hash;
use crate::domain::money::Total;
use crate::domain::spike::{self, Finding, JUDGED_HOURS, Rule, SpikeKind, WEEKS};
use crate::domain::time::{DAY_MS, Timestamp};
use crate::domain::window::WindowKind;
use crate::report::format::{self, NBSP};
use crate::report::words;
use crate::store::forecasts::{Hours, Whose, ledger_hours};
use crate::store::rollups::{self, Dimension, TotalsQuery};
use crate::store::spikes::{Spender, Spike};
use crate::store::{self, Store, StoreError};
use crate::webhook::{Event, Told};

/// Names of each kind that are looked at, those with the dearest hours first.
const NAMES: usize = 20;

/// Characters of a name in a mail.
const NAME: usize = 80;

/// Why nothing could be found.
#[derive(Debug, thiserror::Error)]
pub enum SpikeError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The template.
    #[error(transparent)]
    Render(#[from] RenderError),
}

/// Looks for unusual spend.
#[derive(Clone, Debug)]
pub struct Lookout {
    /// The ledger, and where findings and messages go.
    pub store: Store,
    /// What is called unusual.
    pub rule: Rule,
    /// Who is written to; may be nobody.
    pub notify: Vec<String>,
    /// The zone of days and of the mail's times.
    pub zone: Tz,
    /// Where the pages are, without a slash at the end.
    pub dashboard_url: String,
    /// The right-hand side of Message-IDs: the sender's domain.
    pub domain: String,
    /// The channels there are to send by.
    pub channels: Arc<[String]>,
    /// The time.
    pub clock: Clock,
}

impl Lookout {
    /// Looks at the last whole hours; returns how many findings are new. With some, messages may wait in the outbox.
    pub async fn look(&self) -> Result<usize, SpikeError> {
        let now = self.clock.now();
        let until = Timestamp(now.millis() - now.millis().rem_euclid(HOUR_MS));
        let mut spikes = Vec::new();
        let all = self.hours(Whose::default(), until).await?;
        let Some(known_since) = all.iter().map(|hour| hour.0).min() else { return Ok(0) };
        let mut judge = |spender: Spender, name: &str, hours: &Hours| {
            let findings = spike::findings(hours, until, known_since, self.rule);
            // That everything together is new tells nobody anything.
            let findings = findings.into_iter().filter(|f| spender != Spender::All || f.kind == SpikeKind::Spike);
            spikes.extend(findings.map(|finding| self.spike(spender, name, finding, now)));
        };
        judge(Spender::All, "", &all);
        for (spender, name) in self.suspects(until).await? {
            let whose = match spender {
                Spender::All => Whose::default(),
                Spender::App => Whose { app: Some(&name), ..Whose::default() },
                Spender::Key => Whose { key: Some(&name), ..Whose::default() },
                Spender::Model => Whose { model: Some(&name), ..Whose::default() },
            };
            judge(spender, &name, &self.hours(whose, until).await?);
        }
        let explained = |all: &Spike| {
            let half = |one: &Spike| one.spender != Spender::All && one.cost.picos() * 2 >= all.cost.picos();
            spikes.iter().any(|one| one.since == all.since && half(one))
        };
        // All calls together are told for what no name explains: many new ones, or each a little dearer.
        let told = spikes.iter().filter(|spike| spike.spender != Spender::All || !explained(spike));
        let told: Vec<Spike> = told.cloned().collect();
        if told.is_empty() { Ok(0) } else { self.tell(told, now).await }
    }

    async fn hours(&self, whose: Whose<'_>, until: Timestamp) -> Result<Hours, StoreError> {
        ledger_hours(&self.store, whose, until.plus_millis(-(WEEKS + 1) * 7 * DAY_MS), until).await
    }

    /// Those whose last hours, or whose last day, cost enough to be worth a word.
    async fn suspects(&self, until: Timestamp) -> Result<Vec<(Spender, String)>, StoreError> {
        let hour = |back: i64| (until.plus_millis(-(back + 1) * HOUR_MS), until.plus_millis(-back * HOUR_MS));
        let judged = i64::try_from(JUDGED_HOURS).unwrap_or(0);
        let mut spans: Vec<_> = (0..judged).map(hour).collect();
        spans.push((until.plus_millis(-DAY_MS), until));
        let mut suspects = Vec::new();
        for (dimension, spender) in
            [(Dimension::App, Spender::App), (Dimension::Key, Spender::Key), (Dimension::Model, Spender::Model)]
        {
            let query = TotalsQuery { spans: spans.clone(), by: vec![dimension], ..TotalsQuery::default() };
            let mut dearest: BTreeMap<String, Total> = BTreeMap::new();
            for row in rollups::totals(&self.store, &query).await? {
                let name = row.keys.into_iter().next().flatten().unwrap_or_default();
                let most = dearest.entry(name).or_default();
                *most = row.sums.cost.max(*most);
            }
            let mut names: Vec<(String, Total)> =
                dearest.into_iter().filter(|(_, cost)| *cost >= Total::from(self.rule.least)).collect();
            names.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
            suspects.extend(names.into_iter().take(NAMES).map(|(name, _)| (spender, name)));
        }
        Ok(suspects)
    }

    fn spike(&self, spender: Spender, name: &str, finding: Finding, now: Timestamp) -> Spike {
        let day = WindowKind::Day.window_at(self.zone, finding.since).start;
        let identity = format!("{}|{}|{}|{name}", day.millis(), finding.kind.as_str(), spender.as_str());
        Spike {
            spike_id: short_hash(&identity),
            day,
            kind: finding.kind,
            spender,
            name: name.to_owned(),
            since: finding.since,
            until: finding.until,
            found_at: now,
            cost: finding.cost,
            usual: finding.usual,
            recipients: i64::try_from(self.notify.len()).unwrap_or(i64::MAX),
        }
    }

    async fn tell(&self, spikes: Vec<Spike>, now: Timestamp) -> Result<usize, SpikeError> {
        let mut tx = self.store.write().await?;
        let mut new = Vec::new();
        for spike in spikes {
            if store::spikes::insert(&mut tx, &spike).await? {
                new.push(spike);
            }
        }
        if new.is_empty() {
            tx.rollback().await?;
            return Ok(0);
        }
        for recipient in &self.notify {
            let illustrated = self.message(recipient, &new, now)?;
            store::outbox::create_message(&mut tx, &illustrated.message, &[]).await?;
        }
        tx.commit().await?;
        tracing::info!(found = new.len(), recipients = self.notify.len(), "found unusual spend");
        Ok(new.len())
    }

    fn message(&self, recipient: &str, spikes: &[Spike], now: Timestamp) -> Result<Illustrated, SpikeError> {
        let mut ids: Vec<&str> = spikes.iter().map(|spike| spike.spike_id.as_str()).collect();
        ids.sort_unstable();
        let written = Written { at: now, domain: &self.domain, channels: &self.channels };
        Ok(written.message("spike", &ids.join("|"), recipient, self.render(spikes, now)?)?)
    }

    fn render(&self, spikes: &[Spike], now: Timestamp) -> Result<Rendered, SpikeError> {
        let lines: Vec<Line> = spikes.iter().map(|spike| Line::new(spike, now, self.zone)).collect();
        let subject = plain(&subject(&lines));
        let alerts_url = format!("{}/alerts", self.dashboard_url);
        let page = Page { subject: &subject, lines: &lines, zone: self.zone.name(), alerts_url: &alerts_url };
        let event = Event {
            kind: "spend.unusual".to_owned(),
            timestamp: now.to_iso(),
            data: Told {
                title: subject.clone(),
                summary: lines.iter().map(|line| plain(&line.sentence())).collect(),
                link: alerts_url.clone(),
                more: Map::from_iter([("findings".to_owned(), spikes.iter().map(finding).collect())]),
            },
        };
        Ok(Rendered {
            text: plain(&text(&lines, self.zone, &alerts_url)),
            html: page.render().map_err(RenderError::from)?,
            pictures: Vec::new(),
            event,
            subject,
        })
    }
}

fn finding(spike: &Spike) -> Value {
    json!({
        "kind": spike.kind.as_str(),
        "by": spike.spender.as_str(),
        "name": spike.name,
        "since": spike.since.to_iso(),
        "until": spike.until.to_iso(),
        "cost_usd": spike.cost.to_decimal(),
        "usual_usd": spike.usual.to_decimal(),
    })
}

/// What is told of one finding, here and on the pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// `app support-bot`, `all calls together`.
    pub who: String,
    /// `$12.40`.
    pub cost: String,
    /// `on Wed 18 Nov, 14:00–15:00`.
    pub when: String,
    /// `usually $1.10 at this hour of the week`, `it spent nothing before Tue 17 Nov 09:00`.
    pub usual: String,
    /// Whether it is a new spender.
    pub is_new: bool,
}

impl Line {
    /// The words for a finding, as of `now`, in a zone.
    pub fn new(spike: &Spike, now: Timestamp, zone: Tz) -> Self {
        let name = match (spike.spender, spike.name.char_indices().nth(NAME)) {
            (_, Some((cut, _))) => format!("{}…", &spike.name[..cut]),
            (_, None) if spike.name.is_empty() => "without a name".to_owned(),
            (_, None) => spike.name.clone(),
        };
        let who = match spike.spender {
            Spender::All => "all calls together".to_owned(),
            Spender::App => format!("app {name}"),
            Spender::Key => format!("key {name}"),
            Spender::Model => format!("model {name}"),
        };
        let (when, usual) = match spike.kind {
            SpikeKind::Spike => (
                format!(
                    "on {}, {}–{}",
                    format::date(spike.since, now, zone),
                    format::minute(spike.since, zone),
                    format::minute(spike.until, zone)
                ),
                format!("usually {} at this hour of the week", format::usd(spike.usual)),
            ),
            SpikeKind::SlowBurn => (
                format!("in the 24{NBSP}hours to {}", format::date_time(spike.until, now, zone)),
                format!("it spent nothing before {}", format::date_time(spike.since, now, zone)),
            ),
        };
        Self { who, cost: format::usd(spike.cost), when, usual, is_new: spike.kind == SpikeKind::SlowBurn }
    }

    /// All of it in one sentence.
    fn sentence(&self) -> String {
        format!("{}: {} {}; {}.", self.who, self.cost, self.when, self.usual)
    }
}

fn subject(lines: &[Line]) -> String {
    match lines {
        [line] if line.is_new => format!("New steady spend: {}, {} {}", line.who, line.cost, line.when),
        [line] => format!("Unusual spend: {}, {} {}, {}", line.who, line.cost, line.when, line.usual),
        lines => {
            let mut named: Vec<String> =
                lines.iter().take(2).map(|line| format!("{} {}", line.who, line.cost)).collect();
            if lines.len() > 2 {
                named.push(format!("{} more", lines.len() - 2));
            }
            format!("Unusual spend: {}", words::listed(&named))
        }
    }
}

fn text(lines: &[Line], zone: Tz, alerts_url: &str) -> String {
    let told: Vec<String> =
        lines.iter().map(|line| format!("{}\n  {} {}\n  {}\n", line.who, line.cost, line.when, line.usual)).collect();
    format!(
        "Spend that is unusual, whatever the budgets say ({}).\n\n{}\nAll alerts  {alerts_url}\n\n-- \n\
         Each of these is told once a day at most, to those in [spikes] notify.\n",
        zone.name(),
        told.join("\n")
    )
}

#[derive(Template)]
#[template(path = "spikes.html")]
struct Page<'a> {
    subject: &'a str,
    lines: &'a [Line],
    zone: &'static str,
    alerts_url: &'a str,
}
