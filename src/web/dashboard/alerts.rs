//! `/alerts`: what budgets have told, and the mails that told it.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, X_FRAME_OPTIONS};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono_tz::Tz;
use serde::Deserialize;

use super::DashboardState;
use super::completions::Badge;
use super::frame::{Frame, Page};
use super::query::{link, segment};
use super::respond::{PageError, html};
use crate::alert::post::Resent;
use crate::alert::spikes::Line;
use crate::domain::recipient;
use crate::domain::time::Timestamp;
use crate::report::{format, words};
use crate::store::alerts::{self, MailState, PastAlert};
use crate::store::outbox::{self, Message, MessageState, Picture};
use crate::store::snoozes::{self, Snooze};
use crate::store::spikes::{self, Spike};

/// Findings that are shown: the last ones.
const SPIKES: u32 = 20;

/// Rows a page of either table has.
const ROWS: u32 = 50;

/// A mail's HTML is somebody's mail, not a page: no script, nothing loaded, its own styles and pictures alone, and only
/// this site may frame it. `sandbox` takes from it whatever a page could do.
const MAIL_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox";

/// A crossing.
#[derive(Clone, Debug)]
pub(super) struct AlertLine {
    pub(super) at: String,
    pub(super) at_iso: String,
    pub(super) budget: String,
    pub(super) link: String,
    pub(super) threshold: String,
    pub(super) kind: &'static str,
    pub(super) window: String,
    pub(super) spent: String,
    pub(super) limit: String,
    pub(super) mail: Badge,
}

/// Spend that was unusual.
struct SpikeLine {
    found: String,
    found_iso: String,
    line: Line,
    mail: Badge,
}

struct MailLine {
    created: String,
    created_iso: String,
    link: String,
    recipient: String,
    subject: String,
    badge: Badge,
    attempts: String,
    next: String,
    error: String,
    /// Where it is sent again; `None` where it was not given up.
    resend: Option<String>,
}

/// A budget that tells nobody for a while.
struct SnoozeLine {
    budget: String,
    link: String,
    since: String,
    until: String,
    end: String,
}

/// What the URL says: where each table goes on.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    alerts: Option<String>,
    mails: Option<String>,
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct AlertsPage {
    frame: Frame,
    summary: String,
    alerts: Vec<AlertLine>,
    spikes: Vec<SpikeLine>,
    snoozes: Vec<SnoozeLine>,
    mails: Vec<MailLine>,
    uncomposed: i64,
    older_alerts: Option<String>,
    older_mails: Option<String>,
    first: bool,
    has_mail_server: bool,
}

#[derive(Template)]
#[template(path = "mail.html")]
struct MailPage {
    frame: Frame,
    subject: String,
    facts: Vec<(&'static str, String)>,
    badge: Badge,
    text: String,
    /// Where the HTML part is; `None` for a webhook.
    html_link: Option<String>,
    /// What a webhook is told, laid out.
    payload: Option<String>,
    resend: Option<String>,
}

/// The page.
pub(super) async fn page(
    State(state): State<DashboardState>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let (now, zone, store) = (state.clock.now(), state.zone, &state.store);
    let place = |text: &Option<String>| text.as_deref().and_then(outbox::read_place);
    let (alerts_before, mails_before) = (place(&asked.alerts), place(&asked.mails));
    let by = |place: &Option<(Timestamp, String)>| place.as_ref().map(|(at, id)| (*at, id.clone()));
    let (alerts_at, mails_at) = (by(&alerts_before), by(&mails_before));
    let (mut told, mut mails, counts, unusual, snoozed) = tokio::try_join!(
        alerts::history(store, None, alerts_at.as_ref().map(|(at, id)| (*at, id.as_str())), ROWS + 1),
        outbox::page(store, mails_at.as_ref().map(|(at, id)| (*at, id.as_str())), ROWS + 1),
        outbox::counts(store),
        spikes::history(store, SPIKES),
        snoozes::list(store, now, ROWS),
    )
    .map_err(state.unreadable())?;
    let cut = |len: usize| len > usize::try_from(ROWS).unwrap_or(usize::MAX);
    let (more_alerts, more_mails) = (cut(told.len()), cut(mails.len()));
    told.truncate(usize::try_from(ROWS).unwrap_or(usize::MAX));
    mails.truncate(usize::try_from(ROWS).unwrap_or(usize::MAX));
    let older_alerts = told.last().filter(|_| more_alerts).map(|past| {
        link("/alerts", [("alerts", outbox::write_place(past.alert.crossed_at, &past.alert.alert_id).as_str())])
    });
    let older_mails = mails
        .last()
        .filter(|_| more_mails)
        .map(|mail| link("/alerts", [("mails", outbox::write_place(mail.created_at, &mail.message_id).as_str())]));
    let open = counts.uncomposed + counts.queued + counts.waiting;
    html(&AlertsPage {
        frame: Frame::new(&state, "Alerts", Page::Alerts),
        summary: match (open, counts.failed) {
            (0, 0) => "all mail is delivered".to_owned(),
            (open, 0) => format!("{} on the way", words::counted(open, "mail", "mails")),
            (open, failed) => {
                format!("{} on the way, {} given up", words::counted(open, "mail", "mails"), format::count(failed))
            }
        },
        alerts: told.iter().map(|past| line(past, now, zone)).collect(),
        spikes: unusual.iter().map(|spike| spike_line(spike, now, zone)).collect(),
        snoozes: snoozed.iter().map(|snooze| snooze_line(snooze, now, zone)).collect(),
        mails: mails.iter().map(|mail| mail_line(mail, now, zone)).collect(),
        uncomposed: counts.uncomposed,
        older_alerts,
        older_mails,
        first: alerts_before.is_none() && mails_before.is_none(),
        has_mail_server: state.has_mail_server,
    })
}

/// A crossing's row.
pub(super) fn line(past: &PastAlert, now: Timestamp, zone: Tz) -> AlertLine {
    let alert = &past.alert;
    AlertLine {
        at: format::date_time(alert.crossed_at, now, zone),
        at_iso: alert.crossed_at.to_iso(),
        budget: match &*alert.value {
            "" => alert.budget.to_string(),
            value => format!("{} ({value})", alert.budget),
        },
        link: format!("/budgets/{}", segment(alert.budget.as_str())),
        threshold: words::threshold(alert.threshold),
        kind: match alert.kind.as_str() {
            "found" => "found passed",
            "forecast" => "expected",
            _ => "reached",
        },
        window: window(alert.window_start, alert.window_end, now, zone),
        spent: format::usd(alert.spent),
        limit: format::usd(alert.limit),
        mail: mail_badge(past, now, zone),
    }
}

fn spike_line(spike: &Spike, now: Timestamp, zone: Tz) -> SpikeLine {
    SpikeLine {
        found: format::date_time(spike.found_at, now, zone),
        found_iso: spike.found_at.to_iso(),
        line: Line::new(spike, now, zone),
        mail: match spike.recipients {
            0 => Badge { class: "calm", word: "not mailed".to_owned() },
            more => Badge { class: "ok", word: format!("to {}", words::counted(more, "address", "addresses")) },
        },
    }
}

fn window(start: Timestamp, end: Option<Timestamp>, now: Timestamp, zone: Tz) -> String {
    match end {
        Some(end) => format!("{} – {}", format::date_time(start, now, zone), format::date_time(end, now, zone)),
        None => "no end".to_owned(),
    }
}

fn mail_badge(past: &PastAlert, now: Timestamp, zone: Tz) -> Badge {
    let at = past.sent_at.map(|at| format!(", {}", format::moment(at, now, zone))).unwrap_or_default();
    let (class, word) = match past.mail_state {
        MailState::Queued => ("pending", "queued".to_owned()),
        MailState::Sent => ("ok", format!("sent{at}")),
        MailState::Partly => ("warning", format!("sent to some{at}")),
        MailState::Failed => ("failed", "given up".to_owned()),
        MailState::NotMailed if past.snoozed => ("calm", "snoozed, not mailed".to_owned()),
        MailState::NotMailed => ("calm", "not mailed".to_owned()),
    };
    Badge { class, word }
}

fn message_badge(message: &Message, now: Timestamp, zone: Tz) -> Badge {
    let (class, word) = match message.state {
        MessageState::Queued => ("pending", "queued".to_owned()),
        MessageState::Waiting if recipient::webhook(&message.recipient).is_some() => {
            ("warning", "no such webhook".to_owned())
        }
        MessageState::Waiting => ("warning", "no mail server".to_owned()),
        MessageState::Sent => (
            "ok",
            message.sent_at.map_or_else(|| "sent".to_owned(), |at| format!("sent, {}", format::moment(at, now, zone))),
        ),
        MessageState::Failed => ("failed", "given up".to_owned()),
    };
    Badge { class, word }
}

fn mail_line(message: &Message, now: Timestamp, zone: Tz) -> MailLine {
    MailLine {
        created: format::date_time(message.created_at, now, zone),
        created_iso: message.created_at.to_iso(),
        link: format!("/alerts/mails/{}", segment(&message.message_id)),
        recipient: message.recipient.clone(),
        subject: message.subject.clone(),
        badge: message_badge(message, now, zone),
        attempts: format::count(message.attempts),
        next: if message.state == MessageState::Queued {
            format::moment(message.next_attempt, now, zone)
        } else {
            String::new()
        },
        error: message.last_error.clone().unwrap_or_default(),
        resend: resend_link(message),
    }
}

/// Where a message that was given up is sent again.
fn resend_link(message: &Message) -> Option<String> {
    let path = || format!("/alerts/mails/{}/resend", segment(&message.message_id));
    (message.state == MessageState::Failed).then(path)
}

fn snooze_line(snooze: &Snooze, now: Timestamp, zone: Tz) -> SnoozeLine {
    let name = segment(snooze.budget.as_str());
    SnoozeLine {
        budget: snooze.budget.to_string(),
        link: format!("/budgets/{name}"),
        since: format::date_time(snooze.since, now, zone),
        until: format::date_time(snooze.until, now, zone),
        end: format!("/alerts/snoozes/{name}/end"),
    }
}

/// One mail, as text, with its HTML part in a frame of its own.
pub(super) async fn mail(State(state): State<DashboardState>, Path(id): Path<String>) -> Result<Response, PageError> {
    let message = find(&state, &id).await?;
    let (now, zone) = (state.clock.now(), state.zone);
    let mut facts = vec![
        ("To", message.recipient.clone()),
        ("Made", format!("{} {}", format::date_time(message.created_at, now, zone), zone.name())),
        ("Tries", format::count(message.attempts)),
        ("Message-ID", message.message_id.clone()),
    ];
    if message.state == MessageState::Queued {
        facts.push(("Next try", format!("{} {}", format::moment(message.next_attempt, now, zone), zone.name())));
    }
    if let Some(error) = &message.last_error {
        facts.push(("The last try said", error.clone()));
    }
    html(&MailPage {
        frame: Frame::new(&state, "Mail", Page::Alerts),
        badge: message_badge(&message, now, zone),
        resend: resend_link(&message),
        html_link: (!message.html_body.is_empty()).then(|| format!("/alerts/mails/{}/html", segment(&id))),
        payload: message.payload.as_deref().map(laid_out),
        subject: message.subject,
        facts,
        text: match &*message.text_body {
            "" => "What it said is kept no longer (retention.messages).".to_owned(),
            _ => message.text_body,
        },
    })
}

/// JSON as people read it; as it is where it is none.
fn laid_out(json: &str) -> String {
    let value = serde_json::from_str::<serde_json::Value>(json).ok();
    value.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_else(|| json.to_owned())
}

/// Sends again a message that was given up.
pub(super) async fn resend(State(state): State<DashboardState>, Path(id): Path<String>) -> Result<Response, PageError> {
    match state.post.resend(&state.store, &state.clock, &id).await.map_err(state.unreadable())? {
        Resent::Unknown => Err(no_mail(&state)),
        // One that is on its way already is as it was wanted.
        Resent::Queued | Resent::NotGivenUp(_) | Resent::Forgotten => {
            Ok(Redirect::to(&format!("/alerts/mails/{}", segment(&id))).into_response())
        }
    }
}

/// Lets a snoozed budget tell again.
pub(super) async fn end_snooze(
    State(state): State<DashboardState>,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    let Ok(budget) = name.parse() else {
        return Err(PageError::NotFound(Box::new(state), "There is no budget of this name."));
    };
    let mut tx = state.store.write().await.map_err(state.unreadable())?;
    snoozes::end(&mut tx, &budget, state.clock.now()).await.map_err(state.unreadable())?;
    tx.commit().await.map_err(state.unreadable())?;
    state.post.wakes.pages.notify_waiters();
    Ok(Redirect::to("/alerts").into_response())
}

/// The HTML part alone, under a policy of its own.
pub(super) async fn mail_html(
    State(state): State<DashboardState>,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let message = find(&state, &id).await?;
    let pictures = outbox::pictures(&state.store, &id).await.map_err(state.unreadable())?;
    Ok(mail_part(with_pictures(message.html_body, &pictures)))
}

/// A mail's HTML part as a page of its own, under [`MAIL_POLICY`].
pub(super) fn mail_part(html: String) -> Response {
    let headers =
        [(CONTENT_SECURITY_POLICY, MAIL_POLICY), (X_FRAME_OPTIONS, "SAMEORIGIN"), (CACHE_CONTROL, "no-store")];
    (headers, Html(html)).into_response()
}

/// The HTML part with its pictures in it: a browser knows no Content-IDs.
fn with_pictures(mut html: String, pictures: &[Picture]) -> String {
    for picture in pictures {
        let data = format!("data:image/png;base64,{}", STANDARD.encode(&picture.png));
        html = html.replace(&format!("cid:{}", picture.content_id), &data);
    }
    html
}

async fn find(state: &DashboardState, id: &str) -> Result<Message, PageError> {
    let message = outbox::find(&state.store, id).await.map_err(state.unreadable())?;
    message.ok_or_else(|| no_mail(state))
}

fn no_mail(state: &DashboardState) -> PageError {
    PageError::NotFound(Box::new(state.clone()), "There is no mail with this Message-ID.")
}
