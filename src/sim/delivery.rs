//! Reply bodies: whole or streamed, whole or cut, at whatever pace and in whatever pieces were asked for.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};

use super::behaviour::{Behaviour, Cut, Hang};
use super::encode::Encoder;
use super::exchange::Tape;
use super::meter::Meter;
use super::wire::events::{Events, Step, comment};
use crate::clock::Clock;

type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A reply's body.
#[derive(Debug)]
pub(super) enum Reply {
    /// All at once, its length known.
    Whole(Option<Bytes>),
    /// Bit by bit.
    Bits(Box<Delivery>),
}

impl Body for Reply {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Bits(delivery) => delivery.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Bits(delivery) => delivery.length.map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}

/// Where a reply's bytes come from.
#[derive(Debug)]
pub(super) enum Source {
    /// They are all there.
    Bytes(Bytes),
    /// A stream's events, billed by the meter as they go.
    Events(Box<Events>, Box<Meter>),
}

/// What happens between the bytes.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    pub(super) clock: Clock,
    /// Before the first content event.
    pub(super) first: Duration,
    /// Before each further one.
    pub(super) gap: Duration,
    /// Set when the connection is to end with a reset.
    pub(super) reset: Arc<AtomicBool>,
}

/// A body given out bit by bit.
pub(super) struct Delivery {
    source: Source,
    pace: Pace,
    behaviour: Arc<Behaviour>,
    encoder: Option<Encoder>,
    tape: Option<Tape>,
    length: Option<u64>,
    /// Encoded, not yet given out.
    queue: Bytes,
    wait: Option<Wait>,
    /// Whether the wait before the next content event is over.
    waited: bool,
    /// How far a stall has come: silence, a comment, silence.
    stall: u8,
    /// Whether what was given out had a chance to be flushed before what comes next.
    flushed: bool,
    /// Content events or pieces given out.
    given: u32,
    events: u32,
    scratch: String,
    ending: Ending,
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// More to come.
    NotYet,
    /// The source is dry; the coding's own end is out.
    Closed,
    /// Cut once the queue is out.
    Cut(Cut),
    /// Silent for ever once the queue is out.
    Hung,
    /// Over.
    Over,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("given", &self.given).field("ending", &self.ending).finish_non_exhaustive()
    }
}

impl Delivery {
    pub(super) fn new(
        source: Source,
        pace: Pace,
        behaviour: Arc<Behaviour>,
        encoder: Option<Encoder>,
        tape: Option<Tape>,
    ) -> Self {
        Self {
            source,
            pace,
            behaviour,
            encoder,
            tape,
            length: None,
            queue: Bytes::new(),
            wait: None,
            waited: false,
            stall: 0,
            flushed: true,
            given: 0,
            events: 0,
            scratch: String::new(),
            ending: Ending::NotYet,
        }
    }

    /// Announces the length, which must be what comes out.
    pub(super) fn with_length(mut self, length: u64) -> Self {
        self.length = Some(length);
        self
    }

    /// Whether trailers follow the body.
    pub(super) fn has_trailers(&self) -> bool {
        Behaviour::on(self.behaviour.trailers)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if let Some(wait) = &mut self.wait {
                std::task::ready!(wait.as_mut().poll(context));
                self.wait = None;
            }
            if !self.queue.is_empty() {
                if !self.flushed {
                    // The writer flushes when the body has nothing ready: so pieces stay pieces on the wire.
                    self.flushed = true;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                return Poll::Ready(Some(Ok(Frame::data(self.next_piece()))));
            }
            match self.ending {
                Ending::NotYet => {
                    if let Err(error) = self.refill() {
                        self.ending = Ending::Over;
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                Ending::Cut(how) => {
                    if !self.flushed {
                        self.flushed = true;
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    self.ending = Ending::Over;
                    if how == Cut::Clean {
                        return Poll::Ready(None);
                    }
                    if how == Cut::Reset {
                        self.pace.reset.store(true, Ordering::Relaxed);
                    }
                    return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
                }
                // Nobody will wake this: the connection's end drops it.
                Ending::Hung => return Poll::Pending,
                Ending::Closed => {
                    self.ending = Ending::Over;
                    if self.has_trailers() {
                        let mut trailers = HeaderMap::new();
                        trailers.insert(TRAILER, HeaderValue::from_static("at the end"));
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                }
                Ending::Over => return Poll::Ready(None),
            }
        }
    }

    fn next_piece(&mut self) -> Bytes {
        let piece = match self.behaviour.split {
            Some(size) if size < self.queue.len() => self.queue.split_to(size.max(1)),
            _ => std::mem::take(&mut self.queue),
        };
        if let Some(tape) = &self.tape {
            tape.record(&piece);
        }
        if self.behaviour.split.is_some() {
            self.flushed = false;
            if let Some(gap) = self.behaviour.split_ms {
                self.wait = Some(Box::pin(self.pace.clock.sleep(Duration::from_millis(gap))));
            }
            if matches!(self.source, Source::Bytes(_)) {
                self.given += 1;
                if self.behaviour.cut.is_some_and(|after| self.given >= after) && self.queue.has_remaining() {
                    self.queue = Bytes::new();
                    self.cut();
                }
            }
        }
        piece
    }

    fn cut(&mut self) {
        self.flushed = false;
        self.ending = Ending::Cut(self.behaviour.cut_how.unwrap_or(Cut::Json));
    }

    /// Puts the next bytes into the queue, or arms the wait before them.
    fn refill(&mut self) -> io::Result<()> {
        match &mut self.source {
            Source::Bytes(bytes) => {
                let plain = std::mem::take(bytes);
                // Cutting a body that is not split, or hanging in it, leaves its first half.
                let hung = self.behaviour.hang == Some(Hang::Body);
                let half = hung || (self.behaviour.cut.is_some() && self.behaviour.split.is_none());
                let coded = match self.encoder.take() {
                    Some(mut encoder) => {
                        let mut coded = encoder.write(&plain)?;
                        coded.extend(encoder.finish()?);
                        Bytes::from(coded)
                    }
                    None => plain,
                };
                self.queue = if half { coded.slice(..coded.len() / 2) } else { coded };
                self.ending = if hung { Ending::Hung } else { Ending::Closed };
                if half && !hung {
                    self.cut();
                }
                Ok(())
            }
            Source::Events(..) => self.next_event(),
        }
    }

    fn next_event(&mut self) -> io::Result<()> {
        let Source::Events(events, meter) = &mut self.source else { return Ok(()) };
        let step = events.step();
        if self.behaviour.hang == Some(Hang::Body) && self.events > 0 {
            self.ending = Ending::Hung;
            return Ok(());
        }
        let stalls = self.stall < 3 && self.behaviour.stall_after.is_some_and(|nth| step == Step::Content(nth));
        if let (true, Some(ms)) = (stalls, self.behaviour.stall_ms) {
            self.stall += 1;
            if self.stall == 2 {
                let comment = comment(meter.plan().endpoint).as_bytes();
                self.queue = match &mut self.encoder {
                    Some(encoder) => Bytes::from(encoder.write(comment)?),
                    None => Bytes::from_static(comment),
                };
            } else {
                self.wait = Some(Box::pin(self.pace.clock.sleep(Duration::from_millis(ms / 2))));
            }
            return Ok(());
        }
        if matches!(step, Step::Content(_) | Step::Error) && !self.waited {
            self.waited = true;
            let gap = if step == Step::Content(0) { self.pace.first } else { self.pace.gap };
            if !gap.is_zero() {
                self.wait = Some(Box::pin(self.pace.clock.sleep(gap)));
                return Ok(());
            }
        }
        self.waited = false;
        match step {
            Step::Epilogue(0) => meter.complete(),
            Step::Error => meter.fail(),
            _ => {}
        }
        let cut_here = matches!(step, Step::Content(_) | Step::Epilogue(_) | Step::Done | Step::End)
            && self.behaviour.cut.is_some_and(|after| self.given >= after);
        self.scratch.clear();
        if matches!(step, Step::Content(_)) && Behaviour::on(self.behaviour.stamped) {
            events.say(self.pace.clock.elapsed().as_micros().to_string());
        }
        events.write(meter.plan(), &mut self.scratch);
        if matches!(step, Step::Content(_)) {
            meter.sent();
            self.given += 1;
        }
        let mut event = self.scratch.as_bytes();
        if cut_here {
            // The line broke, the provider did not: it finishes, and all of it is billed.
            meter.complete();
            event = match self.behaviour.cut_how.unwrap_or(Cut::Json) {
                Cut::Json | Cut::Reset => &event[..event.len() / 2],
                Cut::Frame | Cut::Clean => &[],
            };
        }
        if !event.is_empty() {
            self.events += 1;
            self.queue = match &mut self.encoder {
                Some(encoder) => Bytes::from(encoder.write(event)?),
                None => Bytes::copy_from_slice(event),
            };
        }
        if cut_here {
            self.cut();
        } else if step == Step::End {
            if let Some(encoder) = self.encoder.take() {
                self.queue = Bytes::from(encoder.finish()?);
            }
            self.ending = Ending::Closed;
        }
        Ok(())
    }
}

/// The trailer that the fault `trailers` sends.
pub(super) const TRAILER: HeaderName = HeaderName::from_static("x-sim-trailer");
