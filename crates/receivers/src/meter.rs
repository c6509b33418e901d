//! Reserves memory for a request before its body is read, and while it is; and gives up a body that does not come.
//!
//! What must stay true: bytes that the budget has no room for are refused, not held, also those that come out of a
//! decompression; a sender that announces much and sends nothing holds little, and not for long.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::HeaderMap;
use ::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};
use trackway_common::{ErrorKind, MemoryPool, MemoryUser, OverBudget, Reservation};
use trackway_distributor::PushError;

/// How long a sender is kept waiting for memory before it is told to come back.
const WAIT: Duration = Duration::from_secs(5);
/// When it is told to come back.
const COME_BACK: Duration = Duration::from_secs(1);
/// What is reserved for a body before any of it comes, whatever it announces.
const FIRST_BYTES: usize = 16 << 10;
/// How long a body may take to arrive.
const BODY: Duration = Duration::from_secs(60);
/// How long nothing of it may come.
const STALLED: Duration = Duration::from_secs(10);
/// OTLP shrinks to a fifth or less; JSON becomes protobuf of about its own length.
const GROWTH: usize = 5;

/// The memory of one request. It is given back when this and the body are gone.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    held: Arc<Mutex<Reservation>>,
    memory: MemoryPool,
    announced: usize,
    /// Whether what is read becomes something larger.
    grows: bool,
    /// Largest body, decompressed.
    limit: usize,
}

/// The error for a sender for whom there is no memory now.
pub(crate) fn exhausted(over: &OverBudget) -> PushError {
    let retry_after = (!over.is_final()).then_some(COME_BACK);
    PushError {
        retry_after,
        never: over.is_final(),
        ..PushError::new(ErrorKind::Exhausted, over.to_string())
    }
}

/// Why a body is given up.
#[derive(Clone, Debug)]
pub(crate) enum Broken {
    Over(OverBudget),
    /// It does not come, or too slowly.
    Slow,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Over(over) => over.fmt(f),
            Self::Slow => write!(
                f,
                "the body took longer than {BODY:?}, or nothing of it came for {STALLED:?}; send it again, in smaller parts \
                 if the connection is slow"
            ),
        }
    }
}

impl std::error::Error for Broken {}

impl From<Broken> for PushError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Over(over) => exhausted(&over),
            Broken::Slow => Self::new(ErrorKind::Deadline, broken.to_string()),
        }
    }
}

impl Meter {
    /// Reserves what the beginning of a body takes, waiting for it for a while.
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
        let announced = announced.unwrap_or(FIRST_BYTES);
        let first = needed(announced.min(FIRST_BYTES), grows, limit);
        let held = memory.wait(MemoryUser::Requests, first, WAIT).await.map_err(|over| exhausted(&over))?;
        Ok(Self { held: Arc::new(Mutex::new(held)), memory: memory.clone(), announced, grows, limit })
    }

    /// The body, which fails when it grows over the budget or does not come; `E` makes the error of it.
    pub(crate) fn body<E>(&self, body: Incoming, error: fn(Broken) -> E) -> Metered<E> {
        let ends = Instant::now() + BODY;
        Metered { body, meter: self.clone(), seen: 0, error, ends, quiet: None, waiting: None }
    }

    /// Reserves what is missing to so many bytes.
    ///
    /// # Errors
    /// When there is no memory for it now.
    pub(crate) fn cover(&self, bytes: usize) -> Result<(), PushError> {
        self.held.lock().grow_to(bytes).map_err(|over| exhausted(&over))
    }
}

impl Meter {
    /// Reserves what a body of which so much has come takes, in large steps up to what it announced; if that is not to be
    /// had, what waits for the least.
    fn grow(&self, seen: usize) -> Option<More> {
        let needed = needed(seen, self.grows, self.limit);
        let mut held = self.held.lock();
        let has = held.bytes();
        if needed <= has {
            return None;
        }
        let all = self::needed(self.announced, self.grows, self.limit);
        if held.grow_to(needed.max(all.min(has.saturating_mul(2)))).is_ok() || held.grow_to(needed).is_ok() {
            return None;
        }
        let memory = self.memory.clone();
        Some(Box::pin(async move { memory.wait(MemoryUser::Requests, needed - has, WAIT).await }))
    }
}

/// Memory that is waited for.
type More = Pin<Box<dyn Future<Output = Result<Reservation, OverBudget>> + Send>>;

/// What a body of so many bytes takes.
fn needed(bytes: usize, grows: bool, limit: usize) -> usize {
    let bytes = bytes.min(limit);
    if grows { bytes + bytes.saturating_mul(GROWTH).min(limit) } else { bytes }
}

/// A body that is read within the budget.
pub(crate) struct Metered<E> {
    body: Incoming,
    meter: Meter,
    seen: usize,
    error: fn(Broken) -> E,
    ends: Instant,
    /// Since the body was waited for.
    quiet: Option<Pin<Box<Sleep>>>,
    /// What has come and has no memory yet.
    waiting: Option<(More, Frame<Bytes>)>,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl<E: Into<BoxError>> Metered<E> {
    /// Whether it has been waited for for too long.
    fn poll_quiet(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let until = (Instant::now() + STALLED).min(self.ends);
        self.quiet.get_or_insert_with(|| Box::pin(sleep_until(until))).as_mut().poll(context)
    }
}

impl<E: Into<BoxError>> Body for Metered<E> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.waiting.is_none() {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
                return self.poll_quiet(context).map(|()| Some(Err((self.error)(Broken::Slow).into())));
            };
            self.quiet = None;
            let Some(Ok(frame)) = frame else {
                return Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)));
            };
            self.seen += frame.data_ref().map_or(0, Bytes::len);
            let Some(more) = self.meter.grow(self.seen) else { return Poll::Ready(Some(Ok(frame))) };
            self.waiting = Some((more, frame));
        }
        let Some((more, _)) = &mut self.waiting else { return Poll::Ready(None) };
        let more = std::task::ready!(more.as_mut().poll(context));
        let frame = self.waiting.take().map(|(_, frame)| frame);
        Poll::Ready(match more {
            Ok(more) => {
                self.meter.held.lock().join(more);
                frame.map(Ok)
            }
            Err(over) => Some(Err((self.error)(Broken::Over(over)).into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
