//! The reply's body: every frame passes at once and untouched; the one that ends it waits for the outcome's sync.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::Inner;
use super::upstream::UpstreamBody;
use crate::capture::in_flight::InFlight;
use crate::capture::job::JobLook;
use crate::capture::recorder::Written;
use crate::domain::observation::Ending;

/// A body that goes to the client.
pub enum ReplyBody {
    /// One of our own.
    Own(Option<Bytes>),
    /// Upstream's, of a call that makes no row.
    Passing(FlushedFirst<UpstreamBody>),
    /// Upstream's, watched.
    Watched(Box<FlushedFirst<Watched>>),
}

impl ReplyBody {
    /// The body of a call that makes no row.
    pub(super) fn passing(body: UpstreamBody) -> Self {
        Self::Passing(FlushedFirst::new(body))
    }

    /// The body of a call that makes one.
    pub(super) fn watched(body: Watched) -> Self {
        Self::Watched(Box::new(FlushedFirst::new(body)))
    }
}

/// A body whose error is told only once what came before it has had its chance to go out.
pub struct FlushedFirst<B> {
    body: B,
    broken: Option<hyper::Error>,
    flushed: bool,
}

impl<B> FlushedFirst<B> {
    fn new(body: B) -> Self {
        Self { body, broken: None, flushed: false }
    }
}

impl<B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Body for FlushedFirst<B> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        if this.broken.is_none() {
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Err(error)) => this.broken = Some(error),
                frame => return Poll::Ready(frame),
            }
        }
        if !this.flushed {
            // hyper closes on an error without writing what it holds, and writes what it holds when nothing is ready.
            this.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(this.broken.take().map(Err))
    }

    fn is_end_stream(&self) -> bool {
        self.broken.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a reply is watched for.
#[expect(clippy::large_enum_variant, reason = "calls are the rule: a box would cost each of them an allocation")]
pub(super) enum Watching {
    /// A call's row.
    Call(InFlight),
    /// What a job tells of an earlier call.
    Job(JobLook),
}

impl Watching {
    fn bytes(&mut self, bytes: &[u8]) -> bool {
        match self {
            Self::Call(call) => call.bytes(bytes),
            Self::Job(look) => look.bytes(bytes),
        }
    }

    fn is_stream(&self) -> bool {
        match self {
            Self::Call(call) => call.is_stream(),
            Self::Job(_) => false,
        }
    }

    /// Whether the end waits until what it told is on disk.
    fn holds_its_end(&mut self) -> bool {
        match self {
            Self::Call(call) => call.holds_its_end(),
            Self::Job(_) => true,
        }
    }

    fn end(self, ending: Ending) -> Written {
        match self {
            Self::Call(call) => call.end(ending, None),
            Self::Job(look) => look.end(ending == Ending::Complete),
        }
    }
}

/// The body of a call that makes a row, or of a look at a job.
pub struct Watched {
    /// `None` once it has gone on in a task of its own.
    upstream: Option<UpstreamBody>,
    stage: Stage,
    /// What came together with the head, and goes out with it.
    first: Option<Result<Frame<Bytes>, hyper::Error>>,
    gateway: Arc<Inner>,
}

enum Stage {
    /// The end has not been seen.
    Flowing(Watching),
    /// The frame with the end (`None`: the end of the body itself) waits for the outcome's sync.
    Holding(Option<Result<Frame<Bytes>, hyper::Error>>, Written),
    /// The outcome is written; whatever else comes passes.
    Ended,
}

impl Watched {
    /// A body whose head has come. A reply that came whole with its head leaves whole, after its outcome's sync: one
    /// record and one write where head and body would be two.
    pub(super) async fn begin(upstream: UpstreamBody, watching: Watching, gateway: Arc<Inner>) -> Self {
        let stream = watching.is_stream();
        let mut watched = Self { upstream: Some(upstream), stage: Stage::Flowing(watching), first: None, gateway };
        if !stream {
            watched.take_first().await;
        }
        if let Stage::Flowing(Watching::Call(call)) = &mut watched.stage {
            call.say_head();
        }
        watched
    }

    /// Takes what came together with the head.
    async fn take_first(&mut self) {
        let first = poll_fn(|context| match self.poll_upstream(context) {
            Poll::Ready(frame) => Poll::Ready(frame),
            // Its end has been seen.
            Poll::Pending if !matches!(self.stage, Stage::Flowing(_)) => Poll::Pending,
            Poll::Pending => Poll::Ready(None),
        });
        self.first = first.await;
    }

    /// The next frame, once it may go on.
    fn poll_upstream(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Stage::Holding(frame, written) = &mut self.stage {
            ready!(Pin::new(written).poll(context));
            let frame = frame.take();
            self.stage = Stage::Ended;
            return Poll::Ready(frame);
        }
        let Some(upstream) = &mut self.upstream else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *upstream).poll_frame(context));
        let Stage::Flowing(call) = &mut self.stage else { return Poll::Ready(frame) };
        let Seen::End(ending) = look(call, frame.as_ref(), upstream.is_end_stream()) else { return Poll::Ready(frame) };
        let holds = call.holds_its_end();
        let Stage::Flowing(call) = std::mem::replace(&mut self.stage, Stage::Ended) else { return Poll::Ready(frame) };
        let mut written = call.end(ending);
        if !holds || Pin::new(&mut written).poll(context).is_ready() {
            return Poll::Ready(frame);
        }
        self.stage = Stage::Holding(frame, written);
        Poll::Pending
    }
}

/// What a frame means for a call.
enum Seen {
    More,
    End(Ending),
}

fn look(call: &mut Watching, frame: Option<&Result<Frame<Bytes>, hyper::Error>>, body_over: bool) -> Seen {
    match frame {
        None => Seen::End(Ending::Complete),
        Some(Err(_)) => Seen::End(Ending::Cut),
        Some(Ok(frame)) => match frame.data_ref() {
            // Trailers are the last thing of a body.
            None => Seen::End(Ending::Complete),
            Some(data) if call.bytes(data) || body_over => Seen::End(Ending::Complete),
            Some(_) => Seen::More,
        },
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        match this.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => this.poll_upstream(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.stage, Stage::Ended)
            && self.first.is_none()
            && self.upstream.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let upstream = self.upstream.as_ref().map_or_else(SizeHint::default, Body::size_hint);
        let ((Some(Ok(held)), _) | (None, Stage::Holding(Some(Ok(held)), _))) = (&self.first, &self.stage) else {
            return upstream;
        };
        let held = held.data_ref().map_or(0, |data| data.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(upstream.lower() + held);
        if let Some(upper) = upstream.upper() {
            hint.set_upper(upper + held);
        }
        hint
    }
}

impl Drop for Watched {
    /// The client left before the end: a stream is closed upstream, since that stops its billing; anything else is billed
    /// in full and goes on without the client.
    fn drop(&mut self) {
        let Stage::Flowing(Watching::Call(call)) = std::mem::replace(&mut self.stage, Stage::Ended) else { return };
        let Some(upstream) = self.upstream.take() else { return };
        if call.is_stream() {
            drop(upstream);
            // Nobody is left to wait for the sync.
            drop(call.end(Ending::ClientLeft, None));
        } else {
            self.gateway.drain_body(upstream, call);
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Passing(body) => Pin::new(body).poll_frame(context),
            Self::Watched(body) => Pin::new(&mut **body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Passing(body) => body.is_end_stream(),
            Self::Watched(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Passing(body) => body.size_hint(),
            Self::Watched(body) => body.size_hint(),
        }
    }
}
