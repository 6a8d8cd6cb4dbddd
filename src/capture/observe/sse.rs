//! Server-sent events, as far as the observer needs them: where data lines begin and end.
//!
//! Takes any split, CR, LF and CRLF, comments and lines without end; keeps no line. Data go straight
//! into a [`Tap`], so that an event of any length costs the same memory.

use crate::capture::tap::{Kept, Tap};

/// The data of an event that ends a stream of the chat kind.
const DONE: &[u8] = b"[DONE]";

/// Longest field name of interest (`data`), plus one to tell a longer one.
const NAME: usize = 5;

/// How much of an event's data is looked at to know [`DONE`], white space around it included.
const PROBE: usize = 16;

/// What a data line brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A whole JSON value: look at what was kept.
    Json,
    /// `[DONE]`.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the start of a line; `after_cr` when a line feed there still belongs to the last line's end.
    Start { after_cr: bool },
    /// In the name before the colon.
    Name,
    /// After `data:`, where one space does not count.
    Space,
    /// At the first byte of a data line.
    First,
    /// In a data line.
    Data,
    /// In a comment or another field.
    Other,
}

/// Finds events.
pub(super) struct Events {
    state: State,
    name: [u8; NAME],
    name_len: usize,
    probe: [u8; PROBE],
    probe_len: usize,
    /// The event has had a data line.
    has_data: bool,
    /// What the event's JSON says was told already.
    told: bool,
}

impl Events {
    /// At the start of a stream.
    pub(super) fn new() -> Self {
        Self {
            state: State::Start { after_cr: false },
            name: [0; NAME],
            name_len: 0,
            probe: [0; PROBE],
            probe_len: 0,
            has_data: false,
            told: false,
        }
    }

    /// Reads until a data line has brought something or the bytes end. Returns how many bytes were read.
    pub(super) fn push(&mut self, bytes: &[u8], tap: &mut Tap, kept: &mut Kept) -> (usize, Option<Line>) {
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            let line_end = byte == b'\n' || byte == b'\r';
            match self.state {
                State::Start { after_cr: true } if byte == b'\n' => {
                    self.state = State::Start { after_cr: false };
                    at += 1;
                }
                State::Start { .. } if line_end => {
                    self.end_event(tap, kept);
                    self.state = State::Start { after_cr: byte == b'\r' };
                    at += 1;
                }
                State::Start { .. } => {
                    self.name_len = 0;
                    self.state = State::Name;
                }
                State::Name if byte == b':' => {
                    let data = &self.name[..self.name_len] == b"data";
                    self.state = if data { State::Space } else { State::Other };
                    if data {
                        self.begin_data(tap, kept);
                    }
                    at += 1;
                }
                State::Name if !line_end => {
                    if self.name_len < NAME {
                        self.name[self.name_len] = byte;
                        self.name_len += 1;
                    }
                    at += 1;
                }
                State::Space => {
                    self.state = State::First;
                    at += usize::from(byte == b' ');
                }
                // No JSON begins with a colon: somebody on the way made a data line of a comment.
                State::First => self.state = if byte == b':' && tap.is_blank() { State::Other } else { State::Data },
                State::Data if !line_end => {
                    let run = &bytes[at..];
                    let run = &run[..run.iter().position(|&b| b == b'\n' || b == b'\r').unwrap_or(run.len())];
                    self.look(run);
                    tap.push(run, kept);
                    at += run.len();
                }
                State::Other if !line_end => {
                    let rest = &bytes[at..];
                    at += rest.iter().position(|&b| b == b'\n' || b == b'\r').unwrap_or(rest.len());
                }
                State::Name | State::Data | State::Other => {
                    let was_data = self.state == State::Data;
                    self.state = State::Start { after_cr: byte == b'\r' };
                    at += 1;
                    if was_data && let Some(line) = self.end_line(tap) {
                        return (at, Some(line));
                    }
                }
            }
        }
        (at, None)
    }

    /// The stream ended: what its last line, not ended itself, brought.
    pub(super) fn finish(&mut self, tap: &mut Tap) -> Option<Line> {
        if self.state == State::Data { self.end_line(tap) } else { None }
    }

    /// The stream's first bytes are no text, but the beginning of a name that nobody knows.
    pub(super) fn begin_unknown(&mut self) {
        self.name_len = NAME;
        self.state = State::Name;
    }

    fn begin_data(&mut self, tap: &mut Tap, kept: &mut Kept) {
        if self.has_data {
            // Lines of one event are joined by a line feed.
            tap.push(b"\n", kept);
        }
        self.has_data = true;
    }

    fn look(&mut self, run: &[u8]) {
        let room = (PROBE - self.probe_len).min(run.len());
        self.probe[self.probe_len..self.probe_len + room].copy_from_slice(&run[..room]);
        self.probe_len += room;
    }

    /// A client that reads line by line knows an event's JSON when its line ends, so that is when it counts here.
    fn end_line(&mut self, tap: &Tap) -> Option<Line> {
        if self.told {
            return None;
        }
        if self.probe[..self.probe_len].trim_ascii() == DONE {
            self.told = true;
            return Some(Line::Done);
        }
        self.told = tap.is_done();
        self.told.then_some(Line::Json)
    }

    fn end_event(&mut self, tap: &mut Tap, kept: &mut Kept) {
        if self.has_data {
            tap.reset();
            kept.clear();
            self.probe_len = 0;
            self.has_data = false;
            self.told = false;
        }
    }
}
