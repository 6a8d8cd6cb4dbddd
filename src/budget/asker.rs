//! Who a call is for and what it asks, as far as budgets look: kept with what is held back for it.

use std::collections::BTreeMap;

use super::reserve::Hold;
use crate::domain::call::{Call, CallState};
use crate::domain::flags;
use crate::domain::ids::CallId;
use crate::domain::money::Money;
use crate::domain::scope::AdmissionSubject;

/// What budgets look at, owned.
#[derive(Clone, Debug, Default)]
pub struct Asker {
    app: Option<String>,
    key: Option<String>,
    user: Option<String>,
    session: Option<String>,
    model: Option<String>,
    models: Vec<String>,
    models_unread: bool,
    tags: BTreeMap<String, String>,
    opaque_body: bool,
}

impl Asker {
    pub(super) fn of(call: &AdmissionSubject<'_>) -> Self {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Self {
            app: text(call.app),
            key: text(call.key_name),
            user: text(call.end_user),
            session: text(call.session),
            model: text(call.model),
            models: call.models.to_vec(),
            models_unread: call.models_unread,
            tags: call.tags.clone(),
            opaque_body: call.opaque_body,
        }
    }

    /// What the row tells of it, to hold back what it held back before the daemon's end.
    fn of_row(call: &Call) -> Self {
        let labels = &call.attribution;
        Self {
            app: labels.app.clone(),
            key: call.key.as_ref().map(|key| key.name.clone()),
            user: labels.user.clone(),
            session: labels.session.clone(),
            model: call.requested_model.clone(),
            models: call.requested_models.clone(),
            // The row does not tell which of its labels could not be read: it may have been the models.
            models_unread: call.flags.contains(flags::ATTRIBUTION_MALFORMED),
            tags: labels.tags.clone(),
            opaque_body: call.flags.contains(flags::REQUEST_NOT_READ),
        }
    }

    pub(super) fn subject(&self) -> AdmissionSubject<'_> {
        AdmissionSubject {
            app: self.app.as_deref(),
            key_name: self.key.as_deref(),
            end_user: self.user.as_deref(),
            session: self.session.as_deref(),
            model: self.model.as_deref(),
            models: &self.models,
            models_unread: self.models_unread,
            tags: &self.tags,
            opaque_body: self.opaque_body,
        }
    }

    /// The key and model by which its cost is remembered.
    pub(super) fn pair(&self) -> Option<(&str, &str)> {
        Some((self.key.as_deref()?, self.model.as_deref().or_else(|| self.models.first().map(String::as_str))?))
    }
}

/// What a committed change of a row means for what is held back.
#[derive(Clone, Debug)]
pub struct CallChange {
    /// The call.
    pub call_id: CallId,
    /// What is held back for it from now on; `None`: nothing, as its cost counts, or never will.
    pub held: Option<Hold>,
    /// Its cost, if it became known just now.
    pub learnt: Option<Money>,
    pub(super) asker: Asker,
}

impl CallChange {
    /// The row was `before` and is `after`; `None` when that changes nothing here.
    pub fn of(before: Option<&Call>, after: Option<&Call>) -> Option<Self> {
        let held = after.and_then(hold);
        let known = |call: &Call| call.state != CallState::Failed && call.cost().is_some();
        let learnt = after.filter(|after| known(after) && !before.is_some_and(known)).and_then(Call::cost);
        // What admission holds back is not in the ledger yet, so a call that is new there may have to be let go.
        let held_before =
            before.map_or(after.is_some_and(|after| after.estimate.is_some()), |before| hold(before).is_some());
        if held.is_none() && learnt.is_none() && !held_before {
            return None;
        }
        let call = after.or(before)?;
        let mut asker = Asker::of_row(call);
        if held.is_none() && asker.model.is_none() {
            asker.model = call.model().map(str::to_owned);
        }
        Some(Self { call_id: call.call_id, held, learnt, asker })
    }

    /// What a row of the past is to be remembered for: what is held back for it, and what it cost.
    pub fn found(call: &Call) -> Option<Self> {
        Self::of(None, Some(call))
    }
}

/// What is to be held back for a row: its estimate, while its cost is still to become known.
fn hold(call: &Call) -> Option<Hold> {
    let waits = matches!(call.state, CallState::Open | CallState::Pending) && call.cost().is_none();
    let estimate = call.estimate.filter(|_| waits)?;
    Some(Hold { estimate, at: (call.state == CallState::Pending).then(|| call.created_at()) })
}
