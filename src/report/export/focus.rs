//! FOCUS, the FinOps Open Cost and Usage Specification: one row a charge, in the columns that cost tools of any cloud read.
//!
//! A row is one completion as OpenRouter charged it; a completion on the caller's own provider key has a second one, of what
//! the provider charged. So `BilledCost` sums to what `cost_usd` sums to. docs/export.md tells where each column comes from.

use std::borrow::Cow;

use chrono::{DateTime, Months, SecondsFormat, Utc};
use chrono::{Datelike as _, TimeZone as _};

use super::Counts;
use crate::domain::call::{Call, CallState};
use crate::domain::money::Money;
use crate::domain::time::Timestamp;
use crate::report::output::defused;

/// The version of the specification.
pub const VERSION: &str = "1.2";

/// Who sells and bills completions.
const OPENROUTER: &str = "OpenRouter";

/// Milliseconds in a second: FOCUS tells instants to the second.
const SECOND_MS: i64 = 1_000;

/// A charge: a completion, and what one party billed for it.
struct Charge<'a> {
    call: &'a Call,
    /// `None`: OpenRouter; else the provider, on the caller's own key there.
    provider: Option<&'a str>,
    cost: Money,
}

/// What stands in a cell; empty is NULL.
type Cell<'a> = Option<Cow<'a, str>>;

/// A column.
pub(super) struct Column {
    pub(super) name: &'static str,
    /// Whether it holds words of others, which a spreadsheet might run.
    is_text: bool,
    get: for<'a, 'b> fn(&'b Charge<'a>) -> Cell<'a>,
}

macro_rules! columns {
    ($($name:literal $kind:ident = |$charge:ident| $value:expr;)*) => {
        /// The columns: those of FOCUS, then our own.
        pub(super) const COLUMNS: &[Column] = &[$(Column {
            name: $name,
            is_text: is_text!($kind),
            get: |$charge| $value,
        },)*];
    };
}

macro_rules! is_text {
    (text) => {
        true
    };
    (plain) => {
        false
    };
}

columns! {
    "BilledCost" plain = |charge| Some(amount(charge.cost));
    "BillingAccountId" text = |charge| Some(charge.issuer());
    "BillingAccountName" plain = |_charge| None;
    "BillingCurrency" plain = |_charge| Some("USD".into());
    "BillingPeriodEnd" plain = |charge| month(charge, 1);
    "BillingPeriodStart" plain = |charge| month(charge, 0);
    "ChargeCategory" plain = |_charge| Some("Usage".into());
    "ChargeClass" plain = |_charge| None;
    "ChargeDescription" text = |charge| Some(charge.description());
    "ChargeFrequency" plain = |_charge| Some("Usage-Based".into());
    "ChargePeriodEnd" plain = |charge| Some(instant(second(charge.call, SECOND_MS)));
    "ChargePeriodStart" plain = |charge| Some(instant(second(charge.call, 0)));
    "ConsumedQuantity" plain = |charge| Some(quantity(charge.call).0);
    "ConsumedUnit" plain = |charge| Some(quantity(charge.call).1.into());
    "ContractedCost" plain = |charge| Some(amount(charge.cost));
    "EffectiveCost" plain = |charge| Some(amount(charge.cost));
    "InvoiceIssuerName" text = |charge| Some(charge.issuer());
    "ListCost" plain = |charge| Some(amount(charge.cost));
    "PricingQuantity" plain = |charge| Some(quantity(charge.call).0);
    "PricingUnit" plain = |charge| Some(quantity(charge.call).1.into());
    "ProviderName" text = |charge| Some(charge.issuer());
    "PublisherName" text = |charge| Some(publisher(charge.call));
    "ServiceCategory" plain = |_charge| Some("AI and Machine Learning".into());
    "ServiceName" text = |charge| Some(format!("{} API", charge.issuer()).into());
    "ServiceSubcategory" plain = |_charge| Some("Generative AI".into());
    "SkuId" text = |charge| model(charge.call).map(Cow::from);
    "SkuMeter" text = |charge| charge.call.endpoint.as_deref().map(Cow::from);
    "SubAccountId" text = |charge| charge.call.key.as_ref().map(|key| key.name.as_str().into());
    "SubAccountName" text = |charge| charge.call.key.as_ref().map(|key| key.name.as_str().into());
    "Tags" text = |charge| tags(charge.call);
    "x_App" text = |charge| charge.call.attribution.app.as_deref().map(Cow::from);
    "x_CacheDiscount" plain = |charge| charge.call.facts.cache_discount.map(amount);
    "x_CachedTokens" plain = |charge| number(charge.call.facts.native_tokens_cached);
    "x_CacheWriteTokens" plain = |charge| number(charge.call.facts.cache_write_tokens);
    "x_CallId" plain = |charge| Some(charge.call.call_id.to_string().into());
    "x_CompletionTokens" plain = |charge| number(charge.call.facts.native_tokens_completion);
    "x_CreatedAt" plain = |charge| Some(charge.call.created_at().to_iso().into());
    "x_Endpoint" text = |charge| charge.call.endpoint.as_deref().map(Cow::from);
    "x_GenerationId" plain = |charge| charge.call.generation_id.as_ref().map(|id| id.as_str().into());
    "x_IsByok" plain = |charge| charge.call.facts.is_byok.map(|byok| byok.to_string().into());
    "x_Model" text = |charge| charge.call.model().map(Cow::from);
    "x_PromptTokens" plain = |charge| number(charge.call.facts.native_tokens_prompt);
    "x_Provider" text = |charge| charge.call.facts.provider.as_deref().map(Cow::from);
    "x_ReasoningTokens" plain = |charge| number(charge.call.facts.native_tokens_reasoning);
    "x_RequestedModel" text = |charge| charge.call.requested_model.as_deref().map(Cow::from);
    "x_Session" text = |charge| charge.call.attribution.session.as_deref().map(Cow::from);
    "x_State" plain = |charge| Some(charge.call.state.as_str().into());
    "x_User" text = |charge| charge.call.attribution.user.as_deref().map(Cow::from);
}

/// Tells `out` the charges of `call`, or counts why there is none.
pub(super) fn write<E>(
    call: &Call,
    counts: &mut Counts,
    mut out: impl FnMut(Vec<Cow<'_, str>>) -> Result<(), E>,
) -> Result<(), E> {
    if call.state == CallState::Failed {
        counts.failed += 1;
        return Ok(());
    }
    let (Some(charged), Some(_)) = (call.charged(), call.cost()) else {
        counts.unknown += 1;
        return Ok(());
    };
    let mut tell = |charge: &Charge<'_>| {
        let shown = |column: &Column| match (column.get)(charge) {
            None => Cow::from(""),
            Some(text) if column.is_text => defused(&text).into(),
            // Ours, and free of what a spreadsheet would run: owned, as the charge goes.
            Some(text) => text.into_owned().into(),
        };
        out(COLUMNS.iter().map(shown).collect())
    };
    tell(&Charge { call, provider: None, cost: charged })?;
    if let Some(cost) = call.upstream() {
        let provider = call.facts.provider.as_deref().unwrap_or("provider of the own key");
        tell(&Charge { call, provider: Some(provider), cost })?;
    }
    Ok(())
}

impl<'a> Charge<'a> {
    fn issuer(&self) -> Cow<'a, str> {
        self.provider.unwrap_or(OPENROUTER).into()
    }

    fn description(&self) -> Cow<'a, str> {
        let what = self.call.model().or(self.call.requested_model.as_deref()).unwrap_or("a completion");
        match self.provider {
            None => format!("{what} through OpenRouter").into(),
            Some(provider) => format!("{what} at {provider}, on a key of one's own").into(),
        }
    }
}

fn amount<'a>(amount: Money) -> Cow<'a, str> {
    amount.to_decimal().into()
}

fn number<'a>(number: Option<i64>) -> Cell<'a> {
    number.map(|number| number.to_string().into())
}

/// The model that answered, else the one asked for.
fn model(call: &Call) -> Option<&str> {
    call.model().or(call.requested_model.as_deref())
}

/// Who made the model: what stands before the slash of its ID.
fn publisher(call: &Call) -> Cow<'_, str> {
    let author = model(call).and_then(|model| model.split_once('/')).map(|(author, _)| author);
    author.filter(|author| !author.is_empty()).unwrap_or(OPENROUTER).into()
}

/// Tokens, or the request itself where none were counted.
fn quantity(call: &Call) -> (Cow<'static, str>, &'static str) {
    let facts = &call.facts;
    match (facts.native_tokens_prompt, facts.native_tokens_completion) {
        (None, None) => ("1".into(), "Requests"),
        (prompt, completion) => {
            let tokens = prompt.unwrap_or(0).saturating_add(completion.unwrap_or(0));
            (tokens.to_string().into(), "Tokens")
        }
    }
}

fn tags(call: &Call) -> Cell<'_> {
    let tags = &call.attribution.tags;
    (!tags.is_empty()).then(|| serde_json::to_string(tags).unwrap_or_default().into())
}

/// The second of the call, and so much after its beginning.
fn second(call: &Call, after_ms: i64) -> DateTime<Utc> {
    let at = call.created_at().millis();
    Timestamp(at - at.rem_euclid(SECOND_MS)).plus_millis(after_ms).to_utc()
}

/// The first instant of the call's month in UTC, or of a later one.
fn month<'a>(charge: &Charge<'a>, later: u32) -> Cell<'a> {
    let at = charge.call.created_at().to_utc();
    let first = Utc.with_ymd_and_hms(at.year(), at.month(), 1, 0, 0, 0).single()?;
    first.checked_add_months(Months::new(later)).map(instant)
}

fn instant<'a>(at: DateTime<Utc>) -> Cow<'a, str> {
    at.to_rfc3339_opts(SecondsFormat::Secs, true).into()
}
