//! The request's body: read ahead to see what it asks for, and sent on as the same bytes in the same framing.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::capture::allowance::{Allowance, Share};
use crate::capture::request::{Asked, RequestReader};

/// Frames shorter than this are joined, so that a body sent byte by byte takes no more memory than its bytes.
const JOIN_BELOW: usize = 4 * 1024;

/// Room made at once for frames that are joined, in bytes.
const JOIN_ROOM: usize = 16 * 1024;

/// A request's body on its way upstream.
#[derive(Debug)]
pub(super) struct RequestBody {
    /// What was read ahead.
    read: VecDeque<Bytes>,
    /// Trailers that were read ahead.
    trailers: Option<HeaderMap>,
    /// What was not; `None` when all was.
    rest: Option<Incoming>,
    /// How long the body is, if its sender said so.
    length: Option<u64>,
    /// The memory of what was read ahead, given back when the body is gone.
    _share: Option<Share>,
}

/// What reading ahead may take.
pub(super) struct ReadAhead<'a> {
    /// Of one body, in bytes.
    pub(super) limit: u64,
    /// Of all bodies together.
    pub(super) all: &'a Arc<Allowance>,
}

impl RequestBody {
    /// A body that streams on, unread.
    pub(super) fn unread(body: Incoming) -> Self {
        let length = body.size_hint().exact();
        Self { read: VecDeque::new(), trailers: None, rest: Some(body), length, _share: None }
    }

    /// Reads a body ahead. What it asks for is `None` when it could not be read whole or is not JSON; it is sent on all
    /// the same.
    pub(super) async fn read_ahead(
        mut body: Incoming,
        headers: &HeaderMap,
        bounds: &ReadAhead<'_>,
    ) -> Result<(Self, Option<Asked>), hyper::Error> {
        let length = body.size_hint().exact();
        let declared = headers.contains_key(CONTENT_LENGTH).then_some(length).flatten();
        if is_multipart(headers) || declared.is_some_and(|length| length > bounds.limit) {
            return Ok((Self::unread(body), None));
        }
        let Some(mut share) = bounds.all.take(declared.unwrap_or(0)) else { return Ok((Self::unread(body), None)) };
        let (mut reader, mut total) = (RequestReader::default(), 0_u64);
        let (mut read, mut joined, mut trailers) = (VecDeque::new(), BytesMut::new(), None);
        let mut overrun = false;
        while let Some(frame) = body.frame().await.transpose()? {
            match frame.into_data() {
                Ok(data) => {
                    total += data.len() as u64;
                    // The last frame is kept even if there is no room for it: it has been taken from the socket.
                    overrun = total > bounds.limit || (declared.is_none() && !share.grow(data.len() as u64));
                    reader.push(&data);
                    if data.len() >= JOIN_BELOW {
                        flush(&mut joined, &mut read);
                        read.push_back(data);
                    } else {
                        if joined.capacity() - joined.len() < data.len() {
                            flush(&mut joined, &mut read);
                            joined.reserve(JOIN_ROOM);
                        }
                        joined.extend_from_slice(&data);
                    }
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
            if overrun {
                break;
            }
        }
        flush(&mut joined, &mut read);
        let asked = if overrun { None } else { reader.finish() };
        Ok((Self { read, trailers, rest: overrun.then_some(body), length, _share: Some(share) }, asked))
    }
}

fn flush(joined: &mut BytesMut, read: &mut VecDeque<Bytes>) {
    if !joined.is_empty() {
        read.push_back(joined.split().freeze());
    }
}

fn is_multipart(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE) else { return false };
    content_type.as_bytes().get(..10).is_some_and(|head| head.eq_ignore_ascii_case(b"multipart/"))
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(data) = self.read.pop_front() {
            self.length = self.length.map(|length| length.saturating_sub(data.len() as u64));
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        };
        let frame = ready!(Pin::new(rest).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.length = self.length.map(|length| length.saturating_sub(data.len() as u64));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.trailers.is_none() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        // Only a length that the sender named: a body that came in chunks leaves in chunks.
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
