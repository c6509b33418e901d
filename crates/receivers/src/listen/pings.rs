//! Clients that ask too often whether we live (`keepalive.enforcement_policy`): their HTTP/2 frames are counted as they
//! are read.
//!
//! What must stay true: bytes are handed on as they came; what is not HTTP/2 is not looked at.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::begin::PREFACE;
use super::life::Activity;

/// Length of what is before each frame.
const HEADER: usize = 9;
const TYPE_HEADERS: u8 = 1;
const TYPE_PING: u8 = 6;
const FLAG_ACK: u8 = 1;
/// So many pings too early are forgiven, as in grpc-go.
const FORGIVEN: u32 = 2;
/// Least time between pings of a client without a call, where that is not permitted; as in grpc-go.
const WITHOUT_STREAM: Duration = Duration::from_secs(2 * 60 * 60);

/// How often clients may ask whether we live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingPolicy {
    /// Least time between two pings (`min_time`).
    pub min_time: Duration,
    /// Whether they may without a call (`permit_without_stream`).
    pub permit_without_stream: bool,
}

/// Where in the stream of frames we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// So many bytes of the preface were seen.
    Preface(usize),
    /// Of the header of a frame, so many bytes.
    Header([u8; HEADER], usize),
    /// In a frame, so many bytes before its end.
    Payload(usize),
    /// It is not HTTP/2.
    Elsewhere,
}

/// Reads on, and fails when there were too many pings.
#[derive(Debug)]
pub(super) struct PingGuard<I> {
    inner: I,
    counter: Counter,
}

#[derive(Debug)]
struct Counter {
    at: At,
    policy: PingPolicy,
    activity: Arc<Activity>,
    last: Option<Instant>,
    strikes: u32,
}

impl<I> PingGuard<I> {
    pub(super) fn new(inner: I, policy: PingPolicy, activity: Arc<Activity>) -> Self {
        Self { inner, counter: Counter { at: At::Preface(0), policy, activity, last: None, strikes: 0 } }
    }
}

impl Counter {
    /// Looks at bytes; false when there were too many pings.
    fn see(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            match &mut self.at {
                At::Elsewhere => return true,
                At::Preface(seen) => {
                    let take = bytes.len().min(PREFACE.len() - *seen);
                    if bytes[..take] != PREFACE[*seen..*seen + take] {
                        self.at = At::Elsewhere;
                        return true;
                    }
                    *seen += take;
                    bytes = &bytes[take..];
                    if *seen == PREFACE.len() {
                        self.at = At::Header([0; HEADER], 0);
                    }
                }
                At::Header(header, seen) => {
                    let take = bytes.len().min(HEADER - *seen);
                    header[*seen..*seen + take].copy_from_slice(&bytes[..take]);
                    *seen += take;
                    bytes = &bytes[take..];
                    if *seen == HEADER {
                        let header = *header;
                        let length = usize::from(header[0]) << 16 | usize::from(header[1]) << 8;
                        let length = length | usize::from(header[2]);
                        self.at = if length == 0 { At::Header([0; HEADER], 0) } else { At::Payload(length) };
                        if !self.frame(header[3], header[4]) {
                            return false;
                        }
                    }
                }
                At::Payload(left) => {
                    let take = bytes.len().min(*left);
                    *left -= take;
                    bytes = &bytes[take..];
                    if *left == 0 {
                        self.at = At::Header([0; HEADER], 0);
                    }
                }
            }
        }
        true
    }

    fn frame(&mut self, kind: u8, flags: u8) -> bool {
        if kind == TYPE_HEADERS {
            (self.strikes, self.last) = (0, None);
        }
        if kind != TYPE_PING || flags & FLAG_ACK != 0 {
            return true;
        }
        let now = Instant::now();
        let least = if self.policy.permit_without_stream || self.activity.is_busy() {
            self.policy.min_time
        } else {
            WITHOUT_STREAM
        };
        let early = self.last.is_some_and(|last| now.duration_since(last) < least);
        self.last = Some(now);
        self.strikes = if early { self.strikes + 1 } else { self.strikes };
        self.strikes <= FORGIVEN
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for PingGuard<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = read
            && !self.counter.see(&buf.filled()[before..])
        {
            let text = "too many pings (keepalive.enforcement_policy)";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, text)));
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for PingGuard<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![0, (payload >> 8) as u8, payload as u8, kind, flags, 0, 0, 0, 0];
        frame.resize(HEADER + payload, TYPE_PING);
        frame
    }

    /// How many of these frames are read before the connection is cut.
    fn read(policy: PingPolicy, frames: &[Vec<u8>], piece: usize) -> usize {
        let mut counter = PingGuard::new((), policy, Arc::default()).counter;
        assert!(counter.see(PREFACE));
        let all = |frame: &Vec<u8>| frame.chunks(piece).all(|bytes| counter.see(bytes));
        frames.iter().map(all).take_while(|fine| *fine).count()
    }

    #[test]
    fn those_who_ask_too_often_are_cut_off() {
        let (ping, ack, data) = (frame(6, 0, 8), frame(6, 1, 8), frame(0, 0, 5000));
        let strict = PingPolicy { min_time: Duration::from_secs(60), permit_without_stream: true };
        let lenient = PingPolicy { min_time: Duration::ZERO, permit_without_stream: true };
        let idle = PingPolicy { permit_without_stream: false, ..lenient };
        let pings = vec![ping.clone(); 10];
        for piece in [1, 7, 9, 10_000] {
            assert_eq!(read(strict, &pings, piece), 3);
            assert_eq!(read(idle, &pings, piece), 3);
            assert_eq!(read(lenient, &pings, piece), 10);
            assert_eq!(read(strict, &vec![ack.clone(); 10], piece), 10);
            assert_eq!(read(strict, &vec![data.clone(); 10], piece), 10);
            // A call begins the count anew.
            let calls: Vec<_> = (0..10).flat_map(|_| [ping.clone(), frame(1, 4, 20)]).collect();
            assert_eq!(read(strict, &calls, piece), 20);
        }
        let mut other = PingGuard::new((), strict, Arc::default()).counter;
        assert!(other.see(b"POST /v1/traces HTTP/1.1\r\n") && other.at == At::Elsewhere);
    }
}
