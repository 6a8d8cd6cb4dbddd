//! The observer: learns from a copy of a reply what it says of its cost, and when it has ended.
//!
//! It is given each frame as it passes and never touches it. It keeps no text of the reply but the few
//! values named in [`wire`], each bounded; whatever it cannot read, the reply passes all the same, and
//! [`Reading::flags`] says so.

mod coding;
mod scanner;
mod sse;
mod wire;

use std::sync::Arc;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

pub use self::coding::READABLE;
pub use self::scanner::Form;
pub use self::wire::Reading;

use self::coding::{Coded, Coding, Starting};
use self::scanner::Scanner;
use super::allowance::Allowance;
use crate::domain::flags;

/// How much of a compressed reply's text is looked at.
#[derive(Clone, Debug)]
pub struct ObserveLimits {
    /// Of one compressed reply, this many decoded bytes (`gateway.observe_limit`); what a bomb unpacks to is cut there.
    pub decoded: u64,
    /// What the decoders of all replies may take together.
    pub memory: Arc<Allowance>,
}

/// Watches one reply.
pub struct Observer {
    form: Form,
    copy: Copied,
}

enum Copied {
    Plain(Box<Scanner>),
    Starting(Box<Starting>),
    Coded(Box<Coded>),
    /// Cannot be read (further).
    Blind(Box<Scanner>),
}

impl Observer {
    /// An observer for a reply with these headers.
    pub fn new(headers: &HeaderMap, limits: &ObserveLimits) -> Self {
        let form = Form::of(headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes));
        let mut codings = headers.get_all(CONTENT_ENCODING).iter();
        let coding = codings.next().map_or(Some(Coding::Identity), |name| Coding::of(name.as_bytes()));
        let coding = if codings.next().is_some() { None } else { coding };
        let copy = match coding {
            // Text that came as it is costs no more to read than to send; only what decoding makes of it is bounded.
            Some(Coding::Identity) => Copied::Plain(Box::new(Scanner::new(form, None))),
            Some(coding) if form != Form::Other => {
                let scanner = Scanner::new(form, Some(limits.decoded));
                Copied::Starting(Box::new(Starting::new(coding, scanner, &limits.memory)))
            }
            _ => Copied::blind(Scanner::new(form, None)),
        };
        Self { form, copy }
    }

    /// The form of the reply's body.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Looks at a copy of the body's next bytes. Returns whether they, or those before, showed the reply's end.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        match &mut self.copy {
            Copied::Plain(scanner) => scanner.push(bytes),
            Copied::Blind(_) => {}
            Copied::Starting(starting) => match starting.push(bytes) {
                None => {}
                Some(Ok(coded)) => self.copy = Copied::Coded(Box::new(coded)),
                Some(Err(scanner)) => self.copy = Copied::blind(scanner),
            },
            Copied::Coded(coded) => {
                if coded.push(bytes).is_err() {
                    let scanner = coded.take_scanner();
                    self.copy = Copied::blind(scanner);
                }
            }
        }
        self.scanner().is_some_and(|scanner| scanner.ended)
    }

    /// Events seen so far that tell something: comments and pings only keep a connection open. They are not counted on
    /// where the copy cannot be read.
    pub fn chunks(&mut self) -> u64 {
        self.scanner().map_or(0, |scanner| scanner.chunks)
    }

    /// The body is over, `whole` unless it was cut or is not wanted any more: reads what only the end makes clear.
    pub fn finish(mut self, whole: bool) -> Observed {
        let readable = !matches!(self.copy, Copied::Blind(_));
        let mut scanner = match self.copy {
            Copied::Plain(scanner) | Copied::Blind(scanner) => scanner,
            Copied::Starting(ref mut starting) => Box::new(starting.take_scanner()),
            Copied::Coded(ref mut coded) => Box::new(coded.take_scanner()),
        };
        scanner.finish(whole);
        let open_ended = self.form == Form::Events && readable && !scanner.ended;
        Observed { open_ended, reading: scanner.reading }
    }

    /// Whether the body so far names a generation.
    pub fn names_generation(&mut self) -> bool {
        self.scanner().is_some_and(|scanner| scanner.names_generation())
    }

    fn scanner(&mut self) -> Option<&mut Scanner> {
        match &mut self.copy {
            Copied::Plain(scanner) | Copied::Blind(scanner) => Some(scanner),
            Copied::Coded(coded) => Some(coded.scanner()),
            Copied::Starting(_) => None,
        }
    }
}

/// What came of watching a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// What the reply said.
    pub reading: Reading,
    /// It was a stream that could be read and showed no end: if its body is over, it was cut.
    pub open_ended: bool,
}

impl Copied {
    fn blind(mut scanner: Scanner) -> Self {
        if !scanner.ended && scanner.form() != Form::Other {
            scanner.reading.flag(flags::REPLY_NOT_READ);
        }
        Self::Blind(Box::new(scanner))
    }
}

#[cfg(test)]
mod tests;
