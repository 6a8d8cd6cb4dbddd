//! `/keys`: tally keys, what they spend, and making and revoking them. A new key's text is in the answer that makes it alone:
//! no URL, no log and no other page has it.

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::DashboardState;
use super::completions::Badge;
use super::frame::{Frame, Page};
use super::query::{link, segment};
use super::respond::{PageError, html};
use crate::config::DEFAULT_KEY_NAME;
use crate::domain::tally_key::{KeyState, TallyKey, TallyKeyId};
use crate::domain::time::{DAY_MS, Timestamp};
use crate::keys::{KeysError, SPEND_DAYS, Wanted, parse_tags};
use crate::report::{format, words};
use crate::store::tally_keys::Spend;

/// Keys on one page.
const PAGE: u32 = 50;

/// How old a form may be: its key's ID is made with it, so that one form makes one key.
const FORM_LASTS_MS: i64 = DAY_MS;

/// Which page.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    before: Option<String>,
}

/// The form of a new key.
#[derive(Default, Deserialize)]
pub(super) struct Given {
    #[serde(default)]
    form: String,
    #[serde(default)]
    app: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    session: String,
    #[serde(default)]
    tags: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    expires: String,
}

struct KeyLine {
    tail: String,
    badge: Badge,
    labels: Vec<(&'static str, String)>,
    tags: Vec<String>,
    upstream: String,
    /// The key that it stands for is not configured any more.
    orphan: bool,
    created: String,
    expires: String,
    used: String,
    completions: String,
    cost: String,
    unknown: Option<String>,
    revoke: Option<String>,
}

struct Made {
    text: SecretString,
    tail: String,
    url: String,
}

impl Made {
    fn text(&self) -> &str {
        self.text.expose_secret()
    }
}

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    frame: Frame,
    summary: String,
    made: Option<Made>,
    problem: Option<String>,
    keys: Vec<KeyLine>,
    first: bool,
    older: Option<String>,
    /// Names of the OpenRouter keys, and whether each is chosen.
    upstreams: Vec<(String, bool)>,
    given: Given,
    open: bool,
    days: i64,
}

#[derive(Template)]
#[template(path = "key_revoke.html")]
struct RevokePage {
    frame: Frame,
    key: KeyLine,
    action: String,
}

/// The page.
pub(super) async fn page(
    State(state): State<DashboardState>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let given = fresh_form(&state);
    show(&state, asked.before.and_then(|id| id.parse().ok()), None, None, given).await
}

/// Makes a key, and shows its text in the answer.
pub(super) async fn create(
    State(state): State<DashboardState>,
    Form(given): Form<Given>,
) -> Result<Response, PageError> {
    let now = state.clock.now();
    let wanted = parse_tags(&given.tags).map(|tags| {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.trim().is_empty());
        Wanted {
            app: some(&given.app),
            user: some(&given.user),
            session: some(&given.session),
            tags,
            key: some(&given.key),
            expires: some(&given.expires),
        }
    });
    let form = given.form.parse::<TallyKeyId>().ok();
    let form = form.filter(|id| (now.millis() - id.made_at().millis()).abs() <= FORM_LASTS_MS);
    let made = match (wanted, form) {
        (Err(problem), _) => Err((StatusCode::BAD_REQUEST, problem)),
        (_, None) => Err((StatusCode::BAD_REQUEST, "This form is older than a day; send it once more.".to_owned())),
        (Ok(wanted), Some(id)) => match state.tally_keys.create(wanted, Some(id)).await {
            Ok(made) => Ok(made),
            Err(KeysError::Store(error)) => return Err(state.unreadable()(error)),
            Err(error @ KeysError::Invalid(_)) => Err((StatusCode::BAD_REQUEST, error.to_string())),
            Err(error) => Err((StatusCode::CONFLICT, error.to_string())),
        },
    };
    match made {
        Ok(made) => {
            let made = Made { tail: made.key.fingerprint.tail.clone(), text: made.text, url: state.url.clone() };
            show(&state, None, Some(made), None, fresh_form(&state)).await
        }
        Err((status, problem)) => {
            let given = Given { form: state.tally_keys.new_id().to_string(), ..given };
            let page = show(&state, None, None, Some(problem), given).await?;
            Ok((status, page).into_response())
        }
    }
}

/// Asks whether a key shall be revoked.
pub(super) async fn ask(State(state): State<DashboardState>, Path(id): Path<String>) -> Result<Response, PageError> {
    let key = find(&state, &id).await?;
    if key.revoked_at.is_some() {
        return Ok(Redirect::to("/keys").into_response());
    }
    let action = format!("/keys/{}/revoke", segment(&key.id.to_string()));
    let line = line(&state, &key, Spend::default(), state.clock.now());
    html(&RevokePage { frame: Frame::new(&state, "Revoke a key", Page::Keys), key: line, action })
}

/// Revokes it.
pub(super) async fn revoke(State(state): State<DashboardState>, Path(id): Path<String>) -> Result<Response, PageError> {
    let key = find(&state, &id).await?;
    match state.tally_keys.revoke(&key.id.to_string()).await {
        Ok(_) => Ok(Redirect::to("/keys").into_response()),
        Err(KeysError::Store(error)) => Err(state.unreadable()(error)),
        Err(_) => Err(no_such_key(&state)),
    }
}

async fn find(state: &DashboardState, id: &str) -> Result<TallyKey, PageError> {
    let Ok(id) = id.parse::<TallyKeyId>() else { return Err(no_such_key(state)) };
    match state.tally_keys.find(&id.to_string()).await {
        Ok(key) => Ok(key),
        Err(KeysError::Store(error)) => Err(state.unreadable()(error)),
        Err(_) => Err(no_such_key(state)),
    }
}

fn no_such_key(state: &DashboardState) -> PageError {
    PageError::NotFound(Box::new(state.clone()), "There is no tally key of this ID.")
}

fn fresh_form(state: &DashboardState) -> Given {
    Given { form: state.tally_keys.new_id().to_string(), key: DEFAULT_KEY_NAME.to_owned(), ..Given::default() }
}

async fn show(
    state: &DashboardState,
    before: Option<TallyKeyId>,
    made: Option<Made>,
    problem: Option<String>,
    given: Given,
) -> Result<Response, PageError> {
    let now = state.clock.now();
    let listing = state.tally_keys.list(before, PAGE).await.map_err(state.unreadable())?;
    let names = state.tally_keys.upstreams().iter();
    html(&KeysPage {
        frame: Frame::new(state, "Keys", Page::Keys),
        summary: match state.tally_keys.active() {
            0 => "none may be used".to_owned(),
            1 => "1 may be used".to_owned(),
            active => format!("{} may be used", format::count(i64::try_from(active).unwrap_or(i64::MAX))),
        },
        made,
        problem,
        keys: listing.keys.iter().map(|(key, spend)| line(state, key, *spend, now)).collect(),
        first: before.is_none(),
        older: listing.next.map(|id| link("/keys", [("before", id.to_string().as_str())])),
        upstreams: names.map(|name| (name.clone(), *name == given.key)).collect(),
        given,
        open: state.is_open(),
        days: SPEND_DAYS,
    })
}

fn line(state: &DashboardState, key: &TallyKey, spend: Spend, now: Timestamp) -> KeyLine {
    let zone = state.zone;
    let labels = [("app", &key.labels.app), ("user", &key.labels.user), ("session", &key.labels.session)];
    let key_state = key.state(now);
    let at = |at: Timestamp| format::date_time(at, now, zone);
    KeyLine {
        tail: key.fingerprint.to_string(),
        badge: Badge {
            class: match key_state {
                KeyState::Active => "ok",
                KeyState::Expired => "pending",
                KeyState::Revoked => "failed",
            },
            word: key_state.as_str().to_owned(),
        },
        labels: labels.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect(),
        tags: key.labels.tags.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        orphan: !state.tally_keys.upstreams().contains(&key.upstream),
        upstream: key.upstream.clone(),
        created: at(key.created_at),
        expires: match (key.revoked_at, key.expires_at) {
            (Some(revoked), _) => format!("revoked {}", at(revoked)),
            (None, Some(end)) if end <= now => format!("expired {}", at(end)),
            (None, Some(end)) => format!("expires {}", at(end)),
            (None, None) => "never expires".to_owned(),
        },
        used: key.last_used_at.map_or_else(|| "never".to_owned(), |used| format::moment(used, now, zone)),
        completions: format::count(spend.completions),
        cost: format::usd(spend.cost),
        unknown: (spend.unknown > 0)
            .then(|| format!("and {}", words::counted(spend.unknown, "unknown cost", "unknown costs"))),
        revoke: key.revoked_at.is_none().then(|| format!("/keys/{}/revoke", segment(&key.id.to_string()))),
    }
}
