//! Whether a call may go: the browser's rules, the key that pays, the journal, the budgets.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::header::UPGRADE;
use http::{HeaderMap, HeaderValue, Method, StatusCode, request};
use secrecy::{ExposeSecret as _, SecretString};

use super::credentials::{Credential, credential};
use super::{Endpoint, Inner};
use crate::budget::{Denied, Exceeded, Reservation, Wish};
use crate::capture::keys::Candidate;
use crate::capture::request::Asked;
use crate::config::{DEFAULT_KEY_NAME, OnLedgerFailure};
use crate::domain::attribution::{Attribution, KeyRef};
use crate::domain::ids::CallId;
use crate::domain::observation::Refused;
use crate::domain::scope::AdmissionSubject;
use crate::domain::tally_key::TallyKey;
use crate::domain::time::Timestamp;
use crate::keys::KeyRefused;
use crate::web::guard::Surface;
use crate::web::skin::{OwnError, Skin};

/// Asks the budgets. Must not block.
pub trait Admission: Send + Sync {
    /// Whether a call may be sent, and what is held back for it; [`Denied::Lacking`]: to be asked again with
    /// [`Admission::draw`].
    fn admit(&self, wish: &Wish<'_>, now: Timestamp) -> Result<Option<Reservation>, Denied>;

    /// As [`Admission::admit`], waiting for what this daemon is given of a budget that others spend too.
    fn draw<'a>(
        &'a self,
        wish: &'a Wish<'a>,
        on_ledger_failure: OnLedgerFailure,
    ) -> BoxFuture<'a, Result<Option<Reservation>, Denied>>;

    /// What the budgets that may count a call say of a ledger that can not be written; `None`: nothing.
    fn on_ledger_failure(&self, call: &AdmissionSubject<'_>) -> Option<OnLedgerFailure>;
}

/// A call that may go.
pub(super) struct Admitted {
    pub(super) call_id: CallId,
    /// What is held back for it; `None` when nothing is.
    pub(super) reservation: Option<Reservation>,
    /// What becomes of it when the journal takes none.
    pub(super) on_ledger_failure: OnLedgerFailure,
}

/// Who pays for a call.
pub(super) struct Payer {
    /// What stands for the key.
    pub(super) key: KeyRef,
    /// The `Authorization` that replaces the caller's; `None` when the caller's own goes on as it is.
    swap: Option<HeaderValue>,
    /// The caller's own key, if OpenRouter has not taken it yet.
    candidate: Option<Candidate>,
    /// The tally key that the call came with.
    pub(super) tally: Option<Arc<TallyKey>>,
}

/// What a row keeps of who pays.
pub(super) struct Who {
    pub(super) key: KeyRef,
    pub(super) candidate: Option<Candidate>,
    pub(super) tally: Option<Arc<TallyKey>>,
}

impl Payer {
    fn own((key, candidate): (KeyRef, Option<Candidate>)) -> Self {
        Self { key, swap: None, candidate, tally: None }
    }

    fn swapped((key, secret): (KeyRef, SecretString), tally: Option<Arc<TallyKey>>) -> Option<Self> {
        let mut swap = HeaderValue::from_str(&format!("Bearer {}", secret.expose_secret())).ok()?;
        swap.set_sensitive(true);
        Some(Self { key, swap: Some(swap), candidate: None, tally })
    }

    /// What the row keeps, and the `Authorization` that goes upstream in place of the caller's.
    pub(super) fn part(self) -> (Who, Option<HeaderValue>) {
        (Who { key: self.key, candidate: self.candidate, tally: self.tally }, self.swap)
    }
}

impl Inner {
    /// Whether a call without a key of its own spends with the configured one.
    pub(super) fn is_open(&self) -> bool {
        self.open && !self.tally_keys.were_made()
    }

    /// Refuses what may not come in at all.
    pub(super) fn check(&self, parts: &request::Parts) -> Result<(), OwnError> {
        let surface = if self.is_open() { Surface::OpenApi } else { Surface::Api };
        self.guard
            .check(surface, &parts.method, &parts.uri, &parts.headers)
            .map_err(|denied| OwnError::new(StatusCode::FORBIDDEN, "permission_denied", denied.to_string()))?;
        // An offer to speak HTTP/2 over plain TCP, which Java's client makes by itself, may be passed over (RFC 9113, 3.1).
        let upgrades = parts.headers.get(UPGRADE).is_some_and(|to| !to.as_bytes().eq_ignore_ascii_case(b"h2c"));
        if upgrades || parts.method == Method::CONNECT {
            let message = "tallyd passes plain HTTP requests only: send this one without Upgrade";
            return Err(OwnError::new(StatusCode::NOT_IMPLEMENTED, "not_implemented", message));
        }
        Ok(())
    }

    /// Whether this is a browser's preflight, which carries no key and costs nothing; in open mode it goes on with ours.
    pub(super) fn is_free_preflight(&self, parts: &request::Parts) -> bool {
        !self.is_open() && parts.method == Method::OPTIONS && credential(&parts.headers, false) == Credential::None
    }

    /// Who pays.
    pub(super) fn payer(&self, headers: &HeaderMap, endpoint: &Endpoint) -> Result<Payer, OwnError> {
        let found = match credential(headers, endpoint.skin == Skin::Messages) {
            Credential::Tally(key) => return self.tally_payer(key, endpoint),
            Credential::OpenRouter(key) => match self.keyring.configured(key) {
                Some(key) => Ok(Payer::own((key, None))),
                None if self.settings.own_keys => Ok(Payer::own(self.keyring.bring(key))),
                None => Err(
                    "this tallyd takes no OpenRouter keys of callers (gateway.own_keys = false); use a key it knows",
                ),
            },
            Credential::None | Credential::Other if self.is_open() => {
                self.keyring.named(DEFAULT_KEY_NAME).and_then(|key| Payer::swapped(key, None)).ok_or(
                    "tallyd has no OpenRouter key: set OPENROUTER_API_KEY (or openrouter.api_key), or send your own as \
                     Authorization: Bearer",
                )
            }
            Credential::None | Credential::Other => Err(match (self.tally_keys.were_made(), self.settings.own_keys) {
                (false, _) => "no key that tallyd knows: send an OpenRouter key (sk-or-v1-…) as Authorization: Bearer",
                (true, true) => {
                    "no key that tallyd knows: send a tally key (tally-…) or an OpenRouter key (sk-or-v1-…) as \
                     Authorization: Bearer"
                }
                (true, false) => "no key that tallyd knows: send a tally key (tally-…) as Authorization: Bearer",
            }),
        };
        found.map_err(|message| {
            let error = OwnError::new(StatusCode::UNAUTHORIZED, "authentication", message);
            self.refuse(&error, endpoint, None, &Attribution::default(), None);
            error
        })
    }

    /// The OpenRouter key that a tally key stands for.
    fn tally_payer(&self, text: &str, endpoint: &Endpoint) -> Result<Payer, OwnError> {
        let (error_type, message, key) = match self.tally_keys.admit(text) {
            Ok(key) => {
                let named = self.keyring.named(&key.upstream);
                if let Some(payer) = named.and_then(|named| Payer::swapped(named, Some(Arc::clone(&key)))) {
                    return Ok(payer);
                }
                let message = format!(
                    "this tally key stands for the OpenRouter key {:?}, which is not configured any more: set it under \
                     [openrouter.keys], or make a tally key that names another",
                    key.upstream
                );
                ("authentication", message, Some(key))
            }
            Err(refused) => {
                let message = refused.message();
                match refused {
                    KeyRefused::Unknown => ("authentication", message, None),
                    KeyRefused::Expired(key) => ("tally_key_expired", message, Some(key)),
                    KeyRefused::Revoked(key) => ("tally_key_revoked", message, Some(key)),
                }
            }
        };
        let error = OwnError::new(StatusCode::UNAUTHORIZED, error_type, message);
        match key {
            Some(key) => {
                let paid_by = KeyRef { name: key.upstream.clone(), fingerprint: None };
                self.refuse(&error, endpoint, Some(&paid_by), &key.labels, None);
            }
            None => self.refuse(&error, endpoint, None, &Attribution::default(), None),
        }
        Err(error)
    }

    /// Asks journal and budgets.
    pub(super) async fn admit(
        &self,
        endpoint: &Endpoint,
        key: &KeyRef,
        attribution: &Attribution,
        asked: Option<&Asked>,
    ) -> Result<Admitted, OwnError> {
        let model = asked.and_then(|asked| asked.model.as_deref()).or(endpoint.preset.as_deref());
        let refuse = |error: OwnError| {
            self.refuse(&error, endpoint, Some(key), attribution, model);
            Err(error)
        };
        let subject = AdmissionSubject {
            app: attribution.app.as_deref(),
            key_name: Some(&key.name),
            end_user: attribution.user.as_deref(),
            session: attribution.session.as_deref(),
            model,
            models: asked.map_or(&[], |asked| &asked.models),
            models_unread: asked.is_some_and(|asked| asked.models_unread),
            tags: &attribution.tags,
            opaque_body: asked.is_none(),
        };
        let on_ledger_failure = self.admission.on_ledger_failure(&subject).unwrap_or(self.on_ledger_failure);
        if on_ledger_failure == OnLedgerFailure::Refuse && !self.recorder.accepts_new_calls() {
            let message = "tallyd cannot write its ledger, and is set to refuse calls then (on_ledger_failure = \"refuse\", \
                           of [journal] or of a budget)";
            return refuse(OwnError::new(StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable", message));
        }
        let (now, began) = (self.clock.now(), self.clock.elapsed());
        let call_id = self.entropy.call_id(now);
        let wish = Wish { call_id, subject, size: asked.map(|asked| asked.size).unwrap_or_default() };
        let admitted = match self.admission.admit(&wish, now) {
            Err(Denied::Lacking) => self.admission.draw(&wish, on_ledger_failure).await,
            admitted => admitted,
        };
        self.recorder.admitted(self.clock.elapsed().saturating_sub(began));
        match admitted {
            Ok(reservation) => Ok(Admitted { call_id, reservation, on_ledger_failure }),
            Err(Denied::Exceeded(exceeded)) => refuse(OwnError::from(*exceeded)),
            Err(Denied::Lacking | Denied::CutOff) => {
                let message = "tallyd cannot ask its database how much of a budget is left, and is set to refuse calls then \
                               (on_ledger_failure = \"refuse\", of [journal] or of a budget)";
                refuse(OwnError::new(StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable", message))
            }
        }
    }

    /// Whether a new call passes without a record: the journal keeps the room it has for the calls under way, and is set
    /// to let others pass.
    pub(super) fn passes_uncounted(&self, on_ledger_failure: OnLedgerFailure) -> bool {
        on_ledger_failure == OnLedgerFailure::Forward && !self.recorder.has_room_for_new_calls()
    }

    /// Counts a call that buys inference and is not let through.
    pub(super) fn refuse(
        &self,
        error: &OwnError,
        endpoint: &Endpoint,
        key: Option<&KeyRef>,
        attribution: &Attribution,
        model: Option<&str>,
    ) {
        if !endpoint.inference {
            return;
        }
        let refused = Refused {
            at: self.clock.now(),
            cause: error.error_type.to_owned(),
            budget: error.metadata.get("budget").and_then(|budget| budget.as_str()).map(str::to_owned),
            app: attribution.app.clone(),
            key_name: key.map(|key| key.name.clone()),
            requested_model: model.map(str::to_owned),
            endpoint: endpoint.name.clone(),
        };
        self.recorder.refused(error.error_type, refused);
    }
}

impl From<Exceeded> for OwnError {
    fn from(exceeded: Exceeded) -> Self {
        let Exceeded { budget, value, limit, spent, reserved, estimate, resets_at } = exceeded;
        let whose = value.as_ref().map_or_else(String::new, |value| format!(" of {value:?}"));
        let is_spent = spent >= limit;
        let (limit, spent) = (limit.to_decimal(), spent.to_decimal());
        let (reserved, estimate) = (reserved.to_decimal(), estimate.to_decimal());
        let until = resets_at.as_ref().map_or_else(String::new, |at| format!("; it resets at {at}"));
        let message = if is_spent {
            format!(
                "budget {budget:?}{whose} is spent: ${spent} of ${limit}{until}. Raise its limit, or set when_exceeded = \"alert\", \
                 to go on"
            )
        } else {
            format!(
                "budget {budget:?}{whose} has no room for this call, which may cost ${estimate}: of ${limit}, ${spent} are spent and \
                 ${reserved} held back for calls whose cost is not known yet{until}. Try again when they are done, ask for \
                 fewer max_tokens, raise its limit, or set when_exceeded = \"alert\", to go on"
            )
        };
        let mut error = Self::new(StatusCode::PAYMENT_REQUIRED, "budget_exceeded", message);
        error.metadata.insert("budget".to_owned(), budget.into());
        if let Some(value) = value {
            error.metadata.insert("value".to_owned(), value.into());
        }
        error.metadata.insert("limit_usd".to_owned(), limit.into());
        error.metadata.insert("spent_usd".to_owned(), spent.into());
        error.metadata.insert("reserved_usd".to_owned(), reserved.into());
        error.metadata.insert("estimate_usd".to_owned(), estimate.into());
        error.metadata.insert("resets_at".to_owned(), resets_at.into());
        error
    }
}
