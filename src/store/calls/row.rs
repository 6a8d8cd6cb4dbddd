//! A call as a row of the table `calls`, and back.

use std::str::FromStr;

use serde::Serialize;

use crate::domain::attribution::{Attribution, AttributionProvenance, KeyRef};
use crate::domain::call::{Call, CallState, CapturedBy};
use crate::domain::facts::{Facts, Provenance};
use crate::domain::ids::KeyFingerprint;
use crate::domain::money::Money;
use crate::domain::observation::ErrorFacts;
use crate::domain::settling::Settling;
use crate::domain::time::Timestamp;

use crate::store::StoreError;
use crate::store::batch::{SqliteQuery, SqliteRow, storable};

macro_rules! row {
    (required { $($must:ident: $must_type:ty,)* } optional { $($may:ident: $may_type:ty,)* }) => {
        /// One row, column by column; NULLs are left out of a batch's JSON.
        #[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow)]
        pub(in crate::store) struct CallRow {
            $(pub(in crate::store) $must: $must_type,)*
            $(#[serde(skip_serializing_if = "Option::is_none")] pub(in crate::store) $may: Option<$may_type>,)*
        }

        impl SqliteRow for CallRow {
            fn bind(self, query: SqliteQuery<'_>) -> SqliteQuery<'_> {
                query$(.bind(self.$must))*$(.bind(self.$may))*
            }
        }
    };
}

row! {
    required {
        call_id: String,
        state: String,
        captured_by: String,
        recorded_ms: i64,
        seen_ms: i64,
        created_ms: i64,
        attribution_by: String,
        facts_by: String,
        flags: String,
        settle_step: i64,
        settle_attempts: i64,
        settle_failures: i64,
        settle_zero_readings: i64,
    }
    optional {
        generation_id: String,
        under_way_in: String,
        settled_ms: i64,
        key_name: String,
        key_sha256: String,
        key_tail: String,
        app: String,
        end_user: String,
        session: String,
        tags: String,
        requested_model: String,
        routing: String,
        endpoint: String,
        http_status: i64,
        error_code: String,
        error_type: String,
        error_message: String,
        model: String,
        openrouter_created_ms: i64,
        reply_model: String,
        permaslug: String,
        provider: String,
        finish_reason: String,
        streamed: bool,
        cancelled: bool,
        is_byok: bool,
        tokens_prompt: i64,
        tokens_completion: i64,
        native_tokens_prompt: i64,
        native_tokens_completion: i64,
        native_tokens_reasoning: i64,
        native_tokens_cached: i64,
        cache_write_tokens: i64,
        inline_picos: i64,
        inline_upstream_picos: i64,
        settled_picos: i64,
        settled_upstream_picos: i64,
        cache_discount_picos: i64,
        latency_ms: i64,
        generation_time_ms: i64,
        charged_picos: i64,
        upstream_picos: i64,
        cost_picos: i64,
        first_byte_ms: i64,
        duration_ms: i64,
        settle_due_ms: i64,
        settle_since_ms: i64,
        settle_reason: String,
        tally_key_id: String,
        requested_models: String,
        attempts: i64,
        failed_attempts: i64,
        job_id: String,
        estimate_picos: i64,
    }
}

/// Parts the flags in their column; no flag holds one.
const FLAG_SEPARATOR: char = ',';

impl CallRow {
    /// The row of `call`.
    pub(in crate::store) fn of(call: &Call) -> Result<Self, StoreError> {
        let Facts {
            created_at,
            reply_model,
            permaslug,
            provider,
            finish_reason,
            streamed,
            cancelled,
            is_byok,
            tokens_prompt,
            tokens_completion,
            native_tokens_prompt,
            native_tokens_completion,
            native_tokens_reasoning,
            native_tokens_cached,
            cache_write_tokens,
            inline_cost,
            inline_upstream_cost,
            settled_cost,
            settled_upstream_cost,
            cache_discount,
            latency_ms,
            generation_time_ms,
            attempts,
            failed_attempts,
            job_id,
        } = &call.facts;
        let key = call.key.as_ref();
        let fingerprint = key.and_then(|key| key.fingerprint.as_ref());
        let error = call.error.as_ref();
        Ok(Self {
            call_id: call.call_id.to_string(),
            state: call.state.as_str().to_owned(),
            captured_by: call.captured_by.as_str().to_owned(),
            recorded_ms: call.recorded_at.millis(),
            seen_ms: call.seen_at.millis(),
            created_ms: call.created_at().millis(),
            attribution_by: call.attribution_provenance.to_text(),
            facts_by: call.provenance.to_text(),
            flags: flags_to_text(call),
            settle_step: call.settling.step,
            settle_attempts: call.settling.attempts,
            settle_failures: call.settling.failures,
            settle_zero_readings: call.settling.zero_readings,
            generation_id: call.generation_id.as_ref().map(ToString::to_string),
            under_way_in: call.under_way_in.clone(),
            settled_ms: millis(call.settled_at),
            key_name: key.map(|key| storable(&key.name).into_owned()),
            key_sha256: fingerprint.map(|print| print.sha256.clone()),
            key_tail: fingerprint.map(|print| storable(&print.tail).into_owned()),
            app: text(call.attribution.app.as_ref()),
            end_user: text(call.attribution.user.as_ref()),
            session: text(call.attribution.session.as_ref()),
            tags: json(&call.attribution.tags, call.attribution.tags.is_empty())?,
            requested_model: text(call.requested_model.as_ref()),
            routing: text(call.routing.as_ref()),
            endpoint: text(call.endpoint.as_ref()),
            http_status: call.http_status.map(i64::from),
            error_code: text(error.and_then(|error| error.code.as_ref())),
            error_type: text(error.and_then(|error| error.error_type.as_ref())),
            error_message: text(error.and_then(|error| error.message.as_ref())),
            model: call.model().map(|model| storable(model).into_owned()),
            openrouter_created_ms: millis(*created_at),
            reply_model: text(reply_model.as_ref()),
            permaslug: text(permaslug.as_ref()),
            provider: text(provider.as_ref()),
            finish_reason: text(finish_reason.as_ref()),
            streamed: *streamed,
            cancelled: *cancelled,
            is_byok: *is_byok,
            tokens_prompt: *tokens_prompt,
            tokens_completion: *tokens_completion,
            native_tokens_prompt: *native_tokens_prompt,
            native_tokens_completion: *native_tokens_completion,
            native_tokens_reasoning: *native_tokens_reasoning,
            native_tokens_cached: *native_tokens_cached,
            cache_write_tokens: *cache_write_tokens,
            inline_picos: picos(*inline_cost),
            inline_upstream_picos: picos(*inline_upstream_cost),
            settled_picos: picos(*settled_cost),
            settled_upstream_picos: picos(*settled_upstream_cost),
            cache_discount_picos: picos(*cache_discount),
            latency_ms: *latency_ms,
            generation_time_ms: *generation_time_ms,
            charged_picos: picos(call.charged()),
            upstream_picos: picos(call.upstream()),
            cost_picos: picos(call.cost()),
            first_byte_ms: call.first_byte_ms,
            duration_ms: call.duration_ms,
            settle_due_ms: millis(call.settling.due),
            settle_since_ms: millis(call.settling.since),
            settle_reason: text(call.settling.reason.as_ref()),
            tally_key_id: call.tally_key.map(|id| id.to_string()),
            requested_models: json(&call.requested_models, call.requested_models.is_empty())?,
            attempts: *attempts,
            failed_attempts: *failed_attempts,
            job_id: text(job_id.as_ref()),
            estimate_picos: picos(call.estimate),
        })
    }

    /// The call that the row keeps.
    pub(in crate::store) fn into_call(self) -> Result<Call, StoreError> {
        let row = format!("calls {}", self.call_id);
        let attribution = Attribution {
            app: self.app,
            user: self.end_user,
            session: self.session,
            tags: match self.tags.as_deref() {
                None => std::collections::BTreeMap::new(),
                Some(tags) => serde_json::from_str(tags)
                    .map_err(|error| StoreError::unreadable(&row, &format!("tags: {error}")))?,
            },
        };
        let fingerprint = match (self.key_sha256, self.key_tail) {
            (Some(sha256), tail) => Some(KeyFingerprint { sha256, tail: tail.unwrap_or_default() }),
            (None, _) => None,
        };
        let error = ErrorFacts { code: self.error_code, error_type: self.error_type, message: self.error_message };
        // The column holds the outcome; where neither the reply nor the permaslug is it, it is the catalogue's ID.
        let catalogue_model = self
            .model
            .filter(|model| self.reply_model.is_none() && self.permaslug.as_ref().is_some_and(|slug| slug != model));
        Ok(Call {
            call_id: parsed(&row, "call_id", &self.call_id)?,
            generation_id: self.generation_id.map(|id| parsed(&row, "generation_id", &id)).transpose()?,
            state: CallState::parse(&self.state)
                .ok_or_else(|| StoreError::unreadable(&row, &format!("state {}", self.state)))?,
            captured_by: CapturedBy::parse(&self.captured_by)
                .ok_or_else(|| StoreError::unreadable(&row, &format!("captured_by {}", self.captured_by)))?,
            under_way_in: self.under_way_in,
            recorded_at: Timestamp(self.recorded_ms),
            seen_at: Timestamp(self.seen_ms),
            settled_at: self.settled_ms.map(Timestamp),
            key: self.key_name.map(|name| KeyRef { name, fingerprint }),
            tally_key: self.tally_key_id.map(|id| parsed(&row, "tally_key_id", &id)).transpose()?,
            attribution_provenance: AttributionProvenance::from_text(&self.attribution_by, &attribution),
            attribution,
            requested_model: self.requested_model,
            requested_models: match self.requested_models.as_deref() {
                None => Vec::new(),
                Some(models) => serde_json::from_str(models)
                    .map_err(|error| StoreError::unreadable(&row, &format!("requested_models: {error}")))?,
            },
            catalogue_model,
            routing: self.routing,
            endpoint: self.endpoint,
            http_status: self
                .http_status
                .map(u16::try_from)
                .transpose()
                .map_err(|error| StoreError::unreadable(&row, &format!("http_status: {error}")))?,
            error: (error != ErrorFacts::default()).then_some(error),
            facts: Facts {
                created_at: self.openrouter_created_ms.map(Timestamp),
                reply_model: self.reply_model,
                permaslug: self.permaslug,
                provider: self.provider,
                finish_reason: self.finish_reason,
                streamed: self.streamed,
                cancelled: self.cancelled,
                is_byok: self.is_byok,
                tokens_prompt: self.tokens_prompt,
                tokens_completion: self.tokens_completion,
                native_tokens_prompt: self.native_tokens_prompt,
                native_tokens_completion: self.native_tokens_completion,
                native_tokens_reasoning: self.native_tokens_reasoning,
                native_tokens_cached: self.native_tokens_cached,
                cache_write_tokens: self.cache_write_tokens,
                inline_cost: self.inline_picos.map(Money::from_picos),
                inline_upstream_cost: self.inline_upstream_picos.map(Money::from_picos),
                settled_cost: self.settled_picos.map(Money::from_picos),
                settled_upstream_cost: self.settled_upstream_picos.map(Money::from_picos),
                cache_discount: self.cache_discount_picos.map(Money::from_picos),
                latency_ms: self.latency_ms,
                generation_time_ms: self.generation_time_ms,
                attempts: self.attempts,
                failed_attempts: self.failed_attempts,
                job_id: self.job_id,
            },
            provenance: Provenance::from_text(&self.facts_by),
            first_byte_ms: self.first_byte_ms,
            duration_ms: self.duration_ms,
            flags: self.flags.split(FLAG_SEPARATOR).filter(|flag| !flag.is_empty()).map(str::to_owned).collect(),
            estimate: self.estimate_picos.map(Money::from_picos),
            settling: Settling {
                due: self.settle_due_ms.map(Timestamp),
                since: self.settle_since_ms.map(Timestamp),
                step: self.settle_step,
                attempts: self.settle_attempts,
                failures: self.settle_failures,
                zero_readings: self.settle_zero_readings,
                reason: self.settle_reason,
            },
            record_json: None,
        })
    }
}

/// The column's JSON text; NULL for what is empty.
fn json(value: &impl Serialize, empty: bool) -> Result<Option<String>, StoreError> {
    if empty { Ok(None) } else { serde_json::to_string(value).map(Some).map_err(StoreError::encoding) }
}

fn flags_to_text(call: &Call) -> String {
    let mut text = String::new();
    for flag in &call.flags {
        if !text.is_empty() {
            text.push(FLAG_SEPARATOR);
        }
        text.push_str(&storable(flag));
    }
    text
}

fn text(value: Option<&String>) -> Option<String> {
    value.map(|value| storable(value).into_owned())
}

fn millis(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::millis)
}

fn picos(amount: Option<Money>) -> Option<i64> {
    amount.map(Money::picos)
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(row: &str, column: &str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|error| StoreError::unreadable(row, &format!("{column}: {error}")))
}
