//! `[retention]`: how long is kept what nobody needs for ever.

use std::time::Duration;

use super::reader::{Read, Reader};

/// A day.
const DAY: Duration = Duration::from_hours(24);

/// The settings of `[retention]`.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// What mails and webhook messages said, after they were made.
    pub messages: Duration,
    /// Changes of budgets, but for those that tell how each stands.
    pub audit_trail: Duration,
}

impl Retention {
    pub(super) fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let century = 36_500 * DAY;
        Ok(Self {
            // A message is tried for five days; what is kept of it must outlast that.
            messages: reader.duration("retention.messages", 7 * DAY..=century)?,
            // Windows look back to the definition that held in them.
            audit_trail: reader.duration("retention.audit_trail", 400 * DAY..=century)?,
        })
    }
}
