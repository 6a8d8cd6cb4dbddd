//! What a text is looked through for: a tree of named places.

/// A place in the JSON text: which value to keep there and which members to look into.
pub(in crate::capture) struct Node {
    /// The member's name; [`EACH`] for the elements of an array.
    pub(in crate::capture) name: &'static str,
    /// Where to keep the value: a scalar as its own text, an object or array as a mark that it was there.
    pub(in crate::capture) field: Option<u8>,
    /// Keep an object or array as its whole text too.
    pub(in crate::capture) whole: bool,
    /// Keep nothing of the value but a mark that it was there and not empty: for what may not be kept.
    pub(in crate::capture) seen: bool,
    /// What to look into.
    pub(in crate::capture) members: &'static [Node],
}

/// The name of the node that stands for every element of an array.
pub(in crate::capture) const EACH: &str = "[]";

impl Node {
    /// A value to keep.
    pub(in crate::capture) const fn value(name: &'static str, field: u8) -> Self {
        Self { name, field: Some(field), whole: false, seen: false, members: &[] }
    }

    /// A value to keep as it stands, whatever it is.
    pub(in crate::capture) const fn whole(name: &'static str, field: u8) -> Self {
        Self { name, field: Some(field), whole: true, seen: false, members: &[] }
    }

    /// Members to look into.
    pub(in crate::capture) const fn members(name: &'static str, members: &'static [Node]) -> Self {
        Self { name, field: None, whole: false, seen: false, members }
    }

    /// A value to keep (or to mark) and members to look into.
    pub(in crate::capture) const fn marked(name: &'static str, field: u8, members: &'static [Node]) -> Self {
        Self { name, field: Some(field), whole: false, seen: false, members }
    }

    /// A value of which nothing is kept but that it was there, and neither null, false nor empty.
    pub(in crate::capture) const fn seen(name: &'static str, field: u8) -> Self {
        Self::seen_or(name, field, &[])
    }

    /// The same where a text or number stands, and members to look into where an object or array does.
    pub(in crate::capture) const fn seen_or(name: &'static str, field: u8, members: &'static [Node]) -> Self {
        Self { name, field: Some(field), whole: false, seen: true, members }
    }

    pub(super) fn member(&self, name: &[u8]) -> Option<&'static Node> {
        self.members.iter().find(|node| node.name.as_bytes() == name)
    }
}
