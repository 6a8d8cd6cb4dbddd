//! Reads the plain text of a reply, as a stream of events or as one JSON body.

use std::io;

use super::sse::{Events, Line};
use super::wire::{REPLY, Reading, generation_id, is_keep_alive};
use crate::capture::tap::{Kept, Tap};
use crate::domain::flags;

/// The form of a reply's body, by its `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Server-sent events.
    Events,
    /// One JSON text.
    Json,
    /// Something else (audio, HTML of an edge): nothing to read.
    Other,
}

impl Form {
    /// The form that a `Content-Type` names; a missing one is taken for JSON, which is told from garbage anyway.
    pub fn of(content_type: Option<&[u8]>) -> Self {
        let Some(content_type) = content_type else { return Self::Json };
        let essence = content_type.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
        if essence.eq_ignore_ascii_case(b"text/event-stream") {
            return Self::Events;
        }
        let json = essence.len() >= 4 && essence[essence.len() - 4..].eq_ignore_ascii_case(b"json");
        if json { Self::Json } else { Self::Other }
    }
}

/// What may stand before the first byte of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads text and remembers what it said.
pub(super) struct Scanner {
    form: Form,
    /// How much of a byte order mark has been read; `None` after the text's first bytes.
    mark: Option<usize>,
    events: Events,
    tap: Tap,
    kept: Kept,
    pub(super) reading: Reading,
    /// The text has shown the end of the reply.
    pub(super) ended: bool,
    /// Events seen that tell something: neither comments nor pings.
    pub(super) chunks: u64,
    /// How much more decoded text is looked at; `None` without bound, for text that came as it is.
    left: Option<u64>,
}

impl Scanner {
    pub(super) fn new(form: Form, left: Option<u64>) -> Self {
        Self {
            form,
            mark: Some(0),
            events: Events::new(),
            tap: Tap::new(&REPLY),
            kept: Kept::default(),
            reading: Reading::default(),
            ended: false,
            chunks: 0,
            left,
        }
    }

    /// Reads on; what follows the end is not looked at.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        bytes = &bytes[self.pass_mark(bytes)..];
        match self.form {
            Form::Json => self.tap.push(bytes, &mut self.kept),
            Form::Events => {
                while !self.ended && !bytes.is_empty() {
                    let (read, line) = self.events.push(bytes, &mut self.tap, &mut self.kept);
                    bytes = &bytes[read..];
                    self.line(line);
                }
            }
            Form::Other => {}
        }
    }

    /// Reads over a byte order mark at the start. Returns how many bytes were read.
    fn pass_mark(&mut self, bytes: &[u8]) -> usize {
        let Some(read) = self.mark else { return 0 };
        let rest = &BYTE_ORDER_MARK[read..];
        let same = rest.iter().zip(bytes).take_while(|(mark, byte)| mark == byte).count();
        if same < rest.len() && same == bytes.len() {
            self.mark = Some(read + same);
            return same;
        }
        self.mark = None;
        if same < rest.len() && read + same > 0 {
            // It was none after all.
            match self.form {
                Form::Events => self.events.begin_unknown(),
                Form::Json => self.tap.push(&BYTE_ORDER_MARK[..1], &mut self.kept),
                Form::Other => {}
            }
        }
        same
    }

    fn line(&mut self, line: Option<Line>) {
        match line {
            Some(Line::Done) => {
                self.chunks += 1;
                self.ended = true;
            }
            Some(Line::Json) => {
                self.chunks += u64::from(!is_keep_alive(&self.kept));
                self.ended = self.reading.take(&self.kept);
            }
            None => {}
        }
    }

    /// Whether the text so far names a generation.
    pub(super) fn names_generation(&self) -> bool {
        self.reading.generation_id.is_some() || generation_id(&self.kept).is_some()
    }

    /// The form it reads.
    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// The text is over: as a whole, or because it was cut or is not wanted any more.
    pub(super) fn finish(&mut self, whole: bool) {
        match self.form {
            Form::Events if !self.ended => {
                let line = self.events.finish(&mut self.tap);
                self.line(line);
            }
            Form::Json => {
                if whole && !self.tap.is_done() && !self.tap.is_blank() {
                    self.reading.flag(flags::REPLY_NOT_READ);
                }
                // Of a body that was cut or is damaged, the values that came whole before that still count.
                self.reading.take(&self.kept);
                self.kept.clear();
            }
            Form::Events | Form::Other => {}
        }
    }
}

/// A decoder writes its output here.
impl io::Write for Scanner {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(left) = &mut self.left {
            let room = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
            *left -= room as u64;
            if room < bytes.len() {
                // Up to the bound it is read, in whatever pieces it came.
                self.push(&bytes[..room]);
                return Err(io::Error::other("more decoded text than is looked at"));
            }
        }
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
