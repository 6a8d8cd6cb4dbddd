//! Filters as chips, which can be taken away one by one, and the form that adds one: the same on every page that has them.

use crate::report::filters::{self, FORM, Filters};

/// A filter as it is shown.
pub(super) struct Chip {
    pub(super) name: &'static str,
    /// `None`: rows that name none.
    pub(super) value: Option<String>,
    /// The page without it.
    pub(super) remove: String,
}

/// The chips; `link` is the page with other filters.
pub(super) fn of(filters: &Filters, link: impl Fn(&Filters) -> String) -> Vec<Chip> {
    filters
        .iter()
        .map(|(field, value)| Chip {
            name: filters::words(field),
            value: Some(value.to_owned()).filter(|value| !value.is_empty()),
            remove: link(&filters.without(field)),
        })
        .collect()
}

/// Whether the pairs come from the form, and are to be written otherwise.
pub(super) fn adds(pairs: &[(String, String)]) -> bool {
    pairs.iter().any(|(name, _)| [FORM.0, FORM.1].contains(&name.as_str()))
}
