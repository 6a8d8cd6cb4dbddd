//! What was taken out of one text.

/// Room made at once for the values kept of one text, in bytes.
const USUAL_KEPT: usize = 256;

/// Most fields a tree of nodes may name.
const MAX_FIELDS: usize = 40;

/// The values kept of one text.
#[derive(Debug)]
pub(in crate::capture) struct Kept {
    pub(super) bytes: Vec<u8>,
    pub(super) spans: [Option<(u32, u32)>; MAX_FIELDS],
    /// A bit for each field whose value was there and too long to keep.
    pub(super) passed_over: u64,
}

impl Default for Kept {
    fn default() -> Self {
        Self { bytes: Vec::with_capacity(USUAL_KEPT), spans: [None; MAX_FIELDS], passed_over: 0 }
    }
}

impl Kept {
    /// Forgets everything, and keeps the memory for the next text.
    pub(in crate::capture) fn clear(&mut self) {
        self.bytes.clear();
        self.spans = [None; MAX_FIELDS];
        self.passed_over = 0;
    }

    /// Whether a value was there and is not kept, for its length.
    pub(in crate::capture) fn is_passed_over(&self, field: u8) -> bool {
        self.passed_over & (1 << field) != 0
    }

    /// The value's own JSON text (empty for a marked object or array); `None` when it was absent or null.
    pub(in crate::capture) fn raw(&self, field: u8) -> Option<&str> {
        let (from, until) = self.spans[usize::from(field)]?;
        let text = std::str::from_utf8(&self.bytes[from as usize..until as usize]).ok()?;
        (text != "null").then_some(text)
    }

    /// The value if it is a string.
    pub(in crate::capture) fn text(&self, field: u8) -> Option<std::borrow::Cow<'_, str>> {
        let raw = self.raw(field)?;
        let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
        if inner.contains('\\') {
            return serde_json::from_str::<String>(raw).ok().map(std::borrow::Cow::Owned);
        }
        Some(std::borrow::Cow::Borrowed(inner))
    }

    pub(super) fn set(&mut self, field: u8, from: usize) {
        self.passed_over &= !(1 << field);
        let span = (u32::try_from(from), u32::try_from(self.bytes.len()));
        if let (Ok(from), Ok(until)) = span {
            self.spans[usize::from(field)] = Some((from, until));
        }
    }
}
