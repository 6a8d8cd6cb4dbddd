//! A row of the view `usage` as it leaves the program: the API's JSON, and every form of an export, from one list of columns.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, KnownFormat, Object, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type,
};
use utoipa::{PartialSchema, ToSchema};

use super::manual::manual;
use crate::domain::call::{Call, CallState, CapturedBy};
use crate::domain::ids::{CallId, GenerationId};
use crate::domain::money::Money;
use crate::domain::time::Timestamp;

/// Parts flags where they stand in one text.
const FLAG_SEPARATOR: &str = ",";

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// Our own ID of a call.
    Id,
    /// A whole number.
    Integer,
    /// True or false.
    Boolean,
    /// US dollars.
    Usd,
    /// The same in whole pico-dollars.
    Picousd,
    /// An instant.
    Instant,
    /// Names and values: JSON text in a file of columns, an object in JSON.
    Pairs,
    /// JSON as it was asked, likewise.
    Json,
    /// A list: JSON text in a file of columns.
    List,
    /// Words: joined by commas in a file of columns, a list in JSON.
    Words,
}

/// What stands in a column.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// [`Kind::Text`].
    Text(&'a str),
    /// [`Kind::Id`].
    Id(CallId),
    /// [`Kind::Integer`].
    Integer(i64),
    /// [`Kind::Boolean`].
    Boolean(bool),
    /// [`Kind::Usd`].
    Usd(Money),
    /// [`Kind::Picousd`].
    Picousd(Money),
    /// [`Kind::Instant`].
    Instant(Timestamp),
    /// [`Kind::Pairs`].
    Pairs(&'a BTreeMap<String, String>),
    /// [`Kind::Json`].
    Json(&'a str),
    /// [`Kind::List`].
    List(&'a [String]),
    /// [`Kind::Words`].
    Words(&'a BTreeSet<String>),
}

/// A column of `usage`.
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it may be NULL: unknown, or not applying.
    pub nullable: bool,
    get: fn(&Call) -> Option<Value<'_>>,
}

impl Column {
    /// What stands in it for `call`; `None` is NULL.
    pub fn of<'a>(&self, call: &'a Call) -> Option<Value<'a>> {
        (self.get)(call)
    }
}

macro_rules! nullable {
    (always) => {
        false
    };
    (nullable) => {
        true
    };
}

macro_rules! columns {
    ($($name:ident: $kind:ident $null:ident = |$call:ident| $value:expr;)*) => {
        /// The columns, in the view's order.
        pub const COLUMNS: &[Column] = &[$(Column {
            name: stringify!($name),
            kind: Kind::$kind,
            nullable: nullable!($null),
            get: |$call| $value.map(Value::$kind),
        },)*];
    };
}

columns! {
    call_id: Id always = |call| Some(call.call_id);
    generation_id: Text nullable = |call| call.generation_id.as_ref().map(GenerationId::as_str);
    created_at: Instant always = |call| Some(call.created_at());
    created_ms: Integer always = |call| Some(call.created_at().millis());
    state: Text always = |call| Some(call.state.as_str());
    captured_by: Text always = |call| Some(call.captured_by.as_str());
    app: Text nullable = |call| call.attribution.app.as_deref();
    key_name: Text nullable = |call| call.key.as_ref().map(|key| key.name.as_str());
    end_user: Text nullable = |call| call.attribution.user.as_deref();
    session: Text nullable = |call| call.attribution.session.as_deref();
    tags: Pairs nullable = |call| Some(&call.attribution.tags).filter(|tags| !tags.is_empty());
    requested_model: Text nullable = |call| call.requested_model.as_deref();
    model: Text nullable = |call| call.model();
    provider: Text nullable = |call| call.facts.provider.as_deref();
    routing: Json nullable = |call| call.routing.as_deref();
    endpoint: Text nullable = |call| call.endpoint.as_deref();
    streamed: Boolean nullable = |call| call.facts.streamed;
    cancelled: Boolean nullable = |call| call.facts.cancelled;
    http_status: Integer nullable = |call| call.http_status.map(i64::from);
    error_type: Text nullable = |call| call.error.as_ref().and_then(|error| error.error_type.as_deref());
    finish_reason: Text nullable = |call| call.facts.finish_reason.as_deref();
    tokens_prompt: Integer nullable = |call| call.facts.tokens_prompt;
    tokens_completion: Integer nullable = |call| call.facts.tokens_completion;
    native_tokens_prompt: Integer nullable = |call| call.facts.native_tokens_prompt;
    native_tokens_completion: Integer nullable = |call| call.facts.native_tokens_completion;
    native_tokens_reasoning: Integer nullable = |call| call.facts.native_tokens_reasoning;
    native_tokens_cached: Integer nullable = |call| call.facts.native_tokens_cached;
    cache_write_tokens: Integer nullable = |call| call.facts.cache_write_tokens;
    inline_cost_usd: Usd nullable = |call| call.facts.inline_cost;
    settled_cost_usd: Usd nullable = |call| call.facts.settled_cost;
    upstream_cost_usd: Usd nullable = |call| call.upstream();
    charged_usd: Usd nullable = |call| call.charged();
    cost_usd: Usd nullable = |call| call.cost();
    cost_picousd: Picousd nullable = |call| call.cost();
    cache_discount_usd: Usd nullable = |call| call.facts.cache_discount;
    is_byok: Boolean nullable = |call| call.facts.is_byok;
    latency_ms: Integer nullable = |call| call.facts.latency_ms;
    generation_time_ms: Integer nullable = |call| call.facts.generation_time_ms;
    first_byte_ms: Integer nullable = |call| call.first_byte_ms;
    duration_ms: Integer nullable = |call| call.duration_ms;
    flags: Words always = |call| Some(&call.flags);
    recorded_at: Instant always = |call| Some(call.recorded_at);
    settled_at: Instant nullable = |call| call.settled_at;
    settled_ms: Integer nullable = |call| call.settled_at.map(Timestamp::millis);
    requested_models: List nullable = |call| Some(call.requested_models.as_slice()).filter(|named| !named.is_empty());
    variant: Text nullable = |call| Some(call.requested_model.as_deref()?.split_once(':')?.1);
    attempts: Integer nullable = |call| call.facts.attempts;
    failed_attempts: Integer nullable = |call| call.facts.failed_attempts;
    job_id: Text nullable = |call| call.facts.job_id.as_deref();
}

impl<'a> Value<'a> {
    /// As the view has it, in text: what stands in a file of columns.
    pub fn plain(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) | Self::Json(text) => text.into(),
            Self::Id(id) => id.to_string().into(),
            Self::Integer(number) => number.to_string().into(),
            Self::Boolean(truth) => if truth { "true" } else { "false" }.into(),
            Self::Usd(amount) => amount.to_decimal().into(),
            Self::Picousd(amount) => amount.picos().to_string().into(),
            Self::Instant(at) => at.to_iso().into(),
            // A map of texts has no key or value that JSON lacks.
            Self::Pairs(pairs) => serde_json::to_string(pairs).unwrap_or_default().into(),
            Self::List(list) => serde_json::to_string(list).unwrap_or_default().into(),
            Self::Words(words) => words.iter().map(String::as_str).collect::<Vec<_>>().join(FLAG_SEPARATOR).into(),
        }
    }

    /// Whether it is words of others, which a spreadsheet might run.
    pub const fn is_text(self) -> bool {
        matches!(self, Self::Text(_) | Self::Json(_) | Self::Pairs(_) | Self::List(_) | Self::Words(_))
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Integer(number) => serializer.serialize_i64(number),
            Self::Boolean(truth) => serializer.serialize_bool(truth),
            Self::Id(_) | Self::Usd(_) | Self::Picousd(_) | Self::Instant(_) => serializer.serialize_str(&self.plain()),
            Self::Pairs(pairs) => pairs.serialize(serializer),
            // Written by ourselves, as JSON; a row that somebody else changed is told as the text it is.
            Self::Json(text) => match serde_json::from_str::<&RawValue>(text) {
                Ok(json) => json.serialize(serializer),
                Err(_) => serializer.serialize_str(text),
            },
            Self::List(list) => list.serialize(serializer),
            Self::Words(words) => words.serialize(serializer),
        }
    }
}

/// A row as JSON: the columns of `usage` by their names. Amounts and instants are texts, `tags` and `routing` objects,
/// `flags` a list.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a>(pub &'a Call);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(COLUMNS.len()))?;
        for column in COLUMNS {
            map.serialize_entry(column.name, &column.of(self.0))?;
        }
        map.end()
    }
}

/// A completion as the API tells it, for its description alone: what is sent is [`Row`].
#[derive(Debug)]
pub struct Completion;

impl PartialSchema for Completion {
    fn schema() -> RefOr<Schema> {
        let view = manual().views.iter().find(|view| view.name == "usage");
        let mut object = ObjectBuilder::new().description(view.map(|view| view.about.as_str()));
        for column in COLUMNS {
            let told = view.and_then(|view| view.columns.iter().find(|told| told.name == column.name));
            let about = told.map(|told| match told.null.as_str() {
                "-" => told.means.clone(),
                null => format!("{}; null: {null}", told.means),
            });
            object = object.property(column.name, schema(column, about)).required(column.name);
        }
        RefOr::T(object.build().into())
    }
}

impl ToSchema for Completion {
    fn name() -> Cow<'static, str> {
        "Completion".into()
    }
}

fn schema(column: &Column, about: Option<String>) -> RefOr<Schema> {
    let of = |kind: Type| {
        let kind = if column.nullable { SchemaType::Array(vec![kind, Type::Null]) } else { SchemaType::Type(kind) };
        ObjectBuilder::new().schema_type(kind).description(about.clone())
    };
    let object = match column.kind {
        Kind::Text => match column.name {
            "state" => of(Type::String).enum_values(Some(states())),
            "captured_by" => of(Type::String).enum_values(Some(CapturedBy::ALL.map(CapturedBy::as_str))),
            _ => of(Type::String),
        },
        Kind::Id => of(Type::String),
        Kind::Integer => of(Type::Integer).format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64))),
        Kind::Boolean => of(Type::Boolean),
        Kind::Usd => of(Type::String).pattern(Some(USD_PATTERN)),
        Kind::Picousd => of(Type::String).pattern(Some("^-?[0-9]+$")),
        Kind::Instant => of(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))),
        Kind::Pairs => {
            let text: Object = ObjectBuilder::new().schema_type(Type::String).build();
            of(Type::Object).additional_properties(Some(AdditionalProperties::RefOr(RefOr::<Schema>::T(text.into()))))
        }
        Kind::Json => of(Type::Object).additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(true))),
        Kind::List => {
            let text = ObjectBuilder::new().schema_type(Type::String);
            let list = ArrayBuilder::new().items(text.build()).description(about);
            let kind = SchemaType::Array(vec![Type::Array, Type::Null]);
            return RefOr::T(list.schema_type(kind).build().into());
        }
        Kind::Words => {
            let text = ObjectBuilder::new().schema_type(Type::String);
            return RefOr::T(ArrayBuilder::new().items(text.build()).description(about).build().into());
        }
    };
    RefOr::T(object.build().into())
}

/// The form of an amount in dollars.
pub const USD_PATTERN: &str = r"^-?[0-9]+\.[0-9]{2,12}$";

/// The states that are shown.
pub fn states() -> [&'static str; 4] {
    [CallState::Pending, CallState::Settled, CallState::Unsettled, CallState::Failed].map(CallState::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_of_the_view_stands_here_in_its_order() {
        let view = manual().views.iter().find(|view| view.name == "usage").unwrap();
        let told: Vec<(&str, bool)> = view.columns.iter().map(|column| (column.name, column.null != "-")).collect();
        let here: Vec<(&str, bool)> = COLUMNS.iter().map(|column| (column.name, column.nullable)).collect();
        assert_eq!(here, told);
    }
}
