//! Who a call was made for: app, user, session, tags, and the key that paid.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::KeyFingerprint;

/// Longest app, user, session, tag name or tag value kept, in bytes; OpenRouter allows 512 for a metadata value.
pub const MAX_LABEL: usize = 512;

/// Most tags kept on one call; OpenRouter allows 16 metadata pairs.
pub const MAX_TAGS: usize = 32;

/// Where an attribution came from, weakest first: the gateway's wins, others fill gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attributor {
    /// Nobody yet.
    #[default]
    None,
    /// OpenRouter Broadcast.
    Broadcast,
    /// OpenRouter's log export.
    Export,
    /// The generation record.
    Record,
    /// Whoever told us the ID.
    Told,
    /// The gateway: key labels, headers, body.
    Gateway,
}

impl Attributor {
    const fn letter(self) -> char {
        match self {
            Self::None => '-',
            Self::Broadcast => 'b',
            Self::Export => 'e',
            Self::Record => 'g',
            Self::Told => 't',
            Self::Gateway => 'w',
        }
    }

    const fn from_letter(letter: u8) -> Self {
        match letter {
            b'b' => Self::Broadcast,
            b'e' => Self::Export,
            b'g' => Self::Record,
            b't' => Self::Told,
            b'w' => Self::Gateway,
            _ => Self::None,
        }
    }
}

/// The key a call was made with: its configured name, if it has one, and what stands for its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRef {
    /// Name of the configured key (`default` for `openrouter.api_key`), else `…` and the last four characters.
    pub name: String,
    /// What stands for the key's text; `None` when only a name was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<KeyFingerprint>,
}

/// App, user, session and tags of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attribution {
    /// The application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// The end user of the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The session, run or conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Free labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl Attribution {
    /// A label as it is kept: control characters become spaces, ends trimmed, cut at [`MAX_LABEL`] bytes; `None` if nothing is left.
    pub fn label(text: &str) -> Option<String> {
        let mut label: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if label.len() > MAX_LABEL {
            let mut cut = MAX_LABEL;
            while !label.is_char_boundary(cut) {
                cut -= 1;
            }
            label.truncate(cut);
        }
        let trimmed = label.trim();
        (!trimmed.is_empty()).then(|| trimmed.to_owned())
    }

    /// These labels under stronger ones: field by field, tags by name. Where there are too many tags, weaker ones go.
    #[must_use]
    pub fn under(mut self, stronger: &Self) -> Self {
        for (mine, theirs) in
            [(&mut self.app, &stronger.app), (&mut self.user, &stronger.user), (&mut self.session, &stronger.session)]
        {
            if theirs.is_some() {
                mine.clone_from(theirs);
            }
        }
        if !stronger.tags.is_empty() {
            let mine = std::mem::replace(&mut self.tags, stronger.tags.clone());
            for (name, value) in mine {
                if self.tags.len() < MAX_TAGS {
                    self.tags.entry(name).or_insert(value);
                }
            }
        }
        self
    }
}

/// Who named the app, user and session, and each tag (in the order of the tags' names).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributionProvenance {
    labels: [Attributor; 3],
    tags: BTreeMap<String, Attributor>,
}

impl AttributionProvenance {
    /// Four parts of letters: app, user, session, then one letter a tag.
    pub fn to_text(&self) -> String {
        self.labels.iter().chain(self.tags.values()).map(|by| by.letter()).collect()
    }

    /// Reads [`AttributionProvenance::to_text`] beside the attribution it belongs to.
    pub fn from_text(text: &str, attribution: &Attribution) -> Self {
        let mut letters = text.bytes().map(Attributor::from_letter);
        let mut labels = [Attributor::None; 3];
        for label in &mut labels {
            *label = letters.next().unwrap_or_default();
        }
        let tags = attribution.tags.keys().map(|name| (name.clone(), letters.next().unwrap_or_default())).collect();
        Self { labels, tags }
    }

    /// Merges what `by` says into `mine`; a stronger attributor replaces, a weaker one fills gaps.
    pub(super) fn merge(&mut self, mine: &mut Attribution, theirs: &Attribution, by: Attributor) {
        let labels =
            [(&mut mine.app, &theirs.app), (&mut mine.user, &theirs.user), (&mut mine.session, &theirs.session)];
        for (slot, (current, told)) in self.labels.iter_mut().zip(labels) {
            if told.is_some() && by >= *slot {
                current.clone_from(told);
                *slot = by;
            }
        }
        for (name, value) in &theirs.tags {
            self.tag(mine, name, value, by);
        }
    }

    /// Merges another row's attribution with its own provenance.
    pub(super) fn absorb(&mut self, mine: &mut Attribution, theirs: &Attribution, provenance: &Self) {
        let labels =
            [(&mut mine.app, &theirs.app), (&mut mine.user, &theirs.user), (&mut mine.session, &theirs.session)];
        for ((slot, by), (current, told)) in self.labels.iter_mut().zip(provenance.labels).zip(labels) {
            if told.is_some() && (current.is_none() || by > *slot) {
                current.clone_from(told);
                *slot = by;
            }
        }
        for (name, value) in &theirs.tags {
            self.tag(mine, name, value, provenance.tags.get(name).copied().unwrap_or_default());
        }
    }

    fn tag(&mut self, mine: &mut Attribution, name: &str, value: &str, by: Attributor) {
        let known = self.tags.get(name).copied();
        if known.is_none() && mine.tags.len() >= MAX_TAGS {
            return;
        }
        if known.is_none_or(|slot| by >= slot) {
            mine.tags.insert(name.to_owned(), value.to_owned());
            self.tags.insert(name.to_owned(), by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(app: Option<&str>, tags: &[(&str, &str)]) -> Attribution {
        let tags = tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Attribution { app: app.map(str::to_owned), tags, ..Attribution::default() }
    }

    #[test]
    fn stronger_labels_win_field_by_field_and_tag_by_name() {
        let mut weak = labels(Some("mine"), &[("team", "mine"), ("step", "2")]);
        weak.user = Some("lena".to_owned());
        let both = weak.clone().under(&labels(Some("bot"), &[("team", "growth")]));
        assert_eq!((both.app.as_deref(), both.user.as_deref()), (Some("bot"), Some("lena")));
        assert_eq!(both.tags, labels(None, &[("step", "2"), ("team", "growth")]).tags);
        assert_eq!(weak.clone().under(&Attribution::default()), weak);
        let many: Vec<String> = (0..MAX_TAGS).map(|n| format!("a{n:02}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "x")).collect();
        let both = labels(None, &many).under(&labels(None, &[("z", "kept")]));
        assert_eq!((both.tags.len(), both.tags["z"].as_str()), (MAX_TAGS, "kept"));
    }
}
