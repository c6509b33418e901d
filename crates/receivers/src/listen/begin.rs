//! The first bytes of a connection, which say whether it is HTTP/2.
//!
//! What must stay true: they are there in time or the connection ends; whoever sends nothing, or the first letter only,
//! does not hold it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What HTTP/2 begins with.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection of which some bytes were read already; they are read again.
#[derive(Debug)]
pub(super) struct Begun<I> {
    inner: I,
    first: [u8; PREFACE.len()],
    /// Where the bytes begin that were not read again, and where they end.
    from: usize,
    to: usize,
}

/// Reads as much as tells HTTP/1.1 from HTTP/2; `None` when that does not come in time.
pub(super) async fn begin<I: AsyncRead + Unpin>(mut inner: I, time: Duration) -> Option<Begun<I>> {
    let (mut first, mut to) = ([0; PREFACE.len()], 0);
    let told = async {
        while to < first.len() && PREFACE.starts_with(&first[..to]) {
            match inner.read(&mut first[to..]).await {
                Ok(0) | Err(_) => return false,
                Ok(read) => to += read,
            }
        }
        true
    };
    let told = tokio::time::timeout(time, told).await.unwrap_or(false);
    told.then_some(Begun { inner, first, from: 0, to })
}

impl<I: AsyncRead + Unpin> AsyncRead for Begun<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.from == self.to {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let length = buf.remaining().min(self.to - self.from);
        buf.put_slice(&self.first[self.from..self.from + length]);
        self.from += length;
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Begun<I> {
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
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// What is read of a connection on which this is sent, piece by piece; `None` when it is closed.
    async fn sent(pieces: &[&[u8]], ends: bool) -> Option<Vec<u8>> {
        let (mut client, server) = tokio::io::duplex(1024);
        for piece in pieces {
            client.write_all(piece).await.unwrap();
        }
        let begun = begin(server, Duration::from_millis(50));
        let client = if ends {
            drop(client);
            None
        } else {
            Some(client)
        };
        let mut begun = begun.await?;
        drop(client);
        let mut all = Vec::new();
        begun.read_to_end(&mut all).await.unwrap();
        Some(all)
    }

    #[tokio::test]
    async fn a_connection_that_does_not_begin_is_closed() {
        let get = b"GET / HTTP/1.1\r\n".as_slice();
        assert_eq!(sent(&[get], false).await.as_deref(), Some(get));
        assert_eq!(sent(&[b"P", b"OST /"], false).await.as_deref(), Some(&b"POST /"[..]));
        let h2 = [PREFACE.as_slice(), b"frames"].concat();
        assert_eq!(sent(&[&h2[..3], &h2[3..]], false).await, Some(h2));
        for (pieces, ends) in [(&[][..], false), (&[&b"PRI *"[..]], false), (&[], true), (&[b"P"], true)] {
            assert_eq!(sent(pieces, ends).await, None, "{pieces:?}");
        }
    }
}
