//! `[spikes]`: when spend is called unusual, without any budget.

use super::budgets::parse_recipient;
use super::reader::{Read, Reader};
use crate::domain::budget::parse_limit;
use crate::domain::spike::{Rule, Sensitivity};

/// The settings of `[spikes]`.
#[derive(Clone, Debug)]
pub struct Spikes {
    /// Whether anything is looked for.
    pub watch: bool,
    /// What is called unusual.
    pub rule: Rule,
    /// Who is told, as in a budget's `notify`; nobody: what is found is only shown.
    pub notify: Vec<String>,
}

impl Spikes {
    pub(super) fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let words = [("low", Sensitivity::Low), ("normal", Sensitivity::Normal), ("high", Sensitivity::High)];
        let webhooks = reader.webhooks();
        let mut notify = reader.list("spikes.notify", |text| parse_recipient(text, &webhooks))?;
        notify.sort();
        notify.dedup();
        Ok(Self {
            watch: reader.boolean("spikes.watch")?,
            rule: Rule {
                sensitivity: reader.choice("spikes.sensitivity", &words)?,
                least: reader.parsed("spikes.min_usd", parse_limit)?,
            },
            notify,
        })
    }
}
