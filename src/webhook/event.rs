//! What a webhook is told: the envelope of Standard Webhooks around what is the same for every kind of event.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One event, as the generic form sends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What happened: `budget.alert`, `report`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When, as ISO 8601 in UTC with milliseconds.
    pub timestamp: String,
    /// What is told of it.
    pub data: Told,
}

/// What every event tells, and what is its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// It in one line: a mail's subject.
    pub title: String,
    /// It in a few sentences.
    pub summary: Vec<String>,
    /// The page that shows it.
    pub link: String,
    /// What is particular to the kind of event.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}
