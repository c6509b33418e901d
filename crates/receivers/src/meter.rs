//! Reserves memory for a request before its body is read, and while it is.
//!
//! What must stay true: bytes of a body that the budget has no room for are refused, not held.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::HeaderMap;
use ::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use parking_lot::Mutex;
use trackway_common::{ErrorKind, MemoryPool, MemoryUser, OverBudget, Reservation};
use trackway_distributor::PushError;

/// How long a sender is kept waiting for memory before it is told to come back.
const WAIT: Duration = Duration::from_secs(5);
/// When it is told to come back.
const COME_BACK: Duration = Duration::from_secs(1);
/// What is reserved for a body of which nobody knows how long it will be.
const FIRST_BYTES: usize = 16 << 10;
/// OTLP shrinks to a fifth or less; JSON becomes protobuf of about its own length.
const GROWTH: usize = 5;

/// The memory of one request. It is given back when this and the body are gone.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    held: Arc<Mutex<Reservation>>,
    /// Whether what is read becomes something larger.
    grows: bool,
    /// Largest body, decompressed.
    limit: usize,
}

/// The error for a sender for whom there is no memory now.
pub(crate) fn exhausted(over: &OverBudget) -> PushError {
    let retry_after = (!over.is_final()).then_some(COME_BACK);
    PushError { kind: ErrorKind::Exhausted, message: over.to_string(), retry_after }
}

impl Meter {
    /// Reserves what the headers announce, waiting for it for a while.
    pub(crate) async fn new(
        memory: &MemoryPool,
        headers: &HeaderMap,
        becomes_other: bool,
        limit: usize,
    ) -> Result<Self, PushError> {
        let is_set = |name: &str| {
            headers.get(name).is_some_and(|value| !matches!(value.as_bytes(), b"" | b"identity"))
        };
        let grows = becomes_other || is_set(CONTENT_ENCODING.as_str()) || is_set("grpc-encoding");
        let announced =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let first = needed(announced.unwrap_or(FIRST_BYTES), grows, limit);
        let held = memory.wait(MemoryUser::Requests, first, WAIT).await.map_err(|over| exhausted(&over))?;
        Ok(Self { held: Arc::new(Mutex::new(held)), grows, limit })
    }

    /// The body, which fails with [`OverBudget`] when it grows over the budget; `E` makes the error of it.
    pub(crate) fn body<E>(&self, body: Incoming, error: fn(OverBudget) -> E) -> Metered<E> {
        Metered { body, meter: self.clone(), seen: 0, error }
    }
}

/// What a body of so many bytes takes.
fn needed(bytes: usize, grows: bool, limit: usize) -> usize {
    let bytes = bytes.min(limit);
    if grows { bytes + bytes.saturating_mul(GROWTH).min(limit) } else { bytes }
}

/// A body that is read within the budget.
#[derive(Debug)]
pub(crate) struct Metered<E> {
    body: Incoming,
    meter: Meter,
    seen: usize,
    error: fn(OverBudget) -> E,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl<E: Into<BoxError>> Body for Metered<E> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.seen += data.len();
            let needed = needed(self.seen, self.meter.grows, self.meter.limit);
            if let Err(over) = self.meter.held.lock().grow_to(needed) {
                return Poll::Ready(Some(Err((self.error)(over).into())));
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
