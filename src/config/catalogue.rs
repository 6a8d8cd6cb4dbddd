//! `[catalogue]`: how OpenRouter's list of models is read.

use std::time::Duration;

use super::reader::{Read, Reader};

/// The settings of `[catalogue]`.
#[derive(Clone, Debug)]
pub struct Catalogue {
    /// Whether it is read at all.
    pub enabled: bool,
    /// How often.
    pub refresh: Duration,
}

impl Catalogue {
    pub(super) fn read(reader: &mut Reader<'_>) -> Read<Self> {
        Ok(Self {
            enabled: reader.boolean("catalogue.enabled")?,
            // OpenRouter's own cache of the list lasts five minutes: asking more often tells nothing new.
            refresh: reader.duration("catalogue.refresh", Duration::from_mins(10)..=Duration::from_hours(24 * 7))?,
        })
    }
}
