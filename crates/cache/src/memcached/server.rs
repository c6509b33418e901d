//! One memcached server: idle connections, a limit of those in use, and what is said over them.
//!
//! What must stay true: a connection over which anything went wrong, or was cut short, is never used again, so that no
//! reply is taken for the answer to another question.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use super::protocol::{self, ProtocolError, Replies, Reply};
use crate::breaker::Breaker;

/// Connections to one server that are used at once; what comes beyond waits, as part of its timeout.
const CONNECTIONS_MAX: usize = 64;
/// Keys in one line of a request. Several lines go out at once.
const KEYS_A_LINE: usize = 32;
/// Bytes of a reply that are read at once.
const READ_BYTES: usize = 64 << 10;
/// Most bytes of the replies to one request.
const REPLY_BYTES_MAX: usize = 256 << 20;

/// Why a server gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServerError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Protocol(#[from] ProtocolError),
    #[error("its replies are longer than {REPLY_BYTES_MAX} bytes")]
    TooLong,
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("it failed several times and is left alone for a while")]
    LeftAlone,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

struct Connection {
    stream: Box<dyn Stream>,
    replies: Replies,
}

/// How servers are reached.
#[derive(Clone)]
pub(super) struct Reach {
    pub(super) timeout: Duration,
    pub(super) idle_max: usize,
    pub(super) tls: Option<TlsConnector>,
}

/// A server.
pub(super) struct Server {
    pub(super) address: String,
    pub(super) breaker: Breaker,
    reach: Reach,
    idle: Mutex<Vec<Connection>>,
    in_use: Semaphore,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    pub(super) fn new(address: String, breaker: Breaker, reach: Reach) -> Arc<Self> {
        let (idle, in_use) = (Mutex::default(), Semaphore::new(CONNECTIONS_MAX));
        Arc::new(Self { address, breaker, reach, idle, in_use })
    }

    /// Values of keys, in their order.
    pub(super) async fn get(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, ServerError> {
        let mut request = Vec::new();
        let lines = keys.chunks(KEYS_A_LINE);
        let ends = lines.len();
        lines.for_each(|keys| protocol::get(&mut request, keys));
        self.talk(async |connection| {
            connection.stream.write_all(&request).await?;
            let mut values = vec![None; keys.len()];
            let mut ends = ends;
            while ends > 0 {
                match connection.reply().await? {
                    Reply::End => ends -= 1,
                    Reply::Value { key, value } => {
                        let asked = keys.iter().zip(&mut values).filter(|(asked, _)| asked.as_bytes() == key);
                        let mut slots: Vec<_> = asked.collect();
                        if slots.is_empty() {
                            return Err(unexpected("a value that was not asked for"));
                        }
                        slots.iter_mut().for_each(|(_, slot)| **slot = Some(value.clone()));
                    }
                    Reply::Done | Reply::Refused(_) => return Err(unexpected("a reply to another request")),
                }
            }
            Ok(values)
        })
        .await
    }

    /// Stores a value. The result is whether the server took it.
    pub(super) async fn set(&self, head: &str, value: &Bytes) -> Result<bool, ServerError> {
        self.talk(async |connection| {
            connection.stream.write_all(head.as_bytes()).await?;
            connection.stream.write_all(value).await?;
            connection.stream.write_all(b"\r\n").await?;
            match connection.reply().await? {
                Reply::Done => Ok(true),
                Reply::Refused(_) => Ok(false),
                Reply::End | Reply::Value { .. } => Err(unexpected("a reply to another request")),
            }
        })
        .await
    }

    /// Deletes keys.
    pub(super) async fn delete(&self, keys: &[&str]) -> Result<(), ServerError> {
        let mut request = Vec::new();
        keys.iter().for_each(|key| protocol::delete(&mut request, key));
        self.talk(async |connection| {
            connection.stream.write_all(&request).await?;
            for _ in keys {
                match connection.reply().await? {
                    Reply::Done | Reply::Refused(_) => {}
                    Reply::End | Reply::Value { .. } => return Err(unexpected("a reply to another request")),
                }
            }
            Ok(())
        })
        .await
    }

    /// Takes a connection, says something over it, and puts it back when all went well.
    async fn talk<T>(
        &self,
        say: impl AsyncFnOnce(&mut Connection) -> Result<T, ServerError>,
    ) -> Result<T, ServerError> {
        if !self.breaker.admits() {
            return Err(ServerError::LeftAlone);
        }
        let talk = async {
            // The semaphore is never closed.
            let _permit = self.in_use.acquire().await.map_err(|_| ServerError::LeftAlone)?;
            let idle = self.idle.lock().pop();
            let mut connection = match idle {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let result = say(&mut connection).await?;
            if connection.replies.buffer.is_empty() {
                let mut idle = self.idle.lock();
                if idle.len() < self.reach.idle_max {
                    idle.push(connection);
                }
            }
            Ok(result)
        };
        let result = match tokio::time::timeout(self.reach.timeout, talk).await {
            Ok(result) => result,
            Err(_) => Err(ServerError::Timeout(self.reach.timeout)),
        };
        match &result {
            Ok(_) => self.breaker.succeeded(),
            Err(error) => {
                // What lies idle was made before; a server that came back knows nothing of it.
                self.idle.lock().clear();
                if self.breaker.failed() {
                    tracing::warn!(server = self.address, %error, "memcached server is left alone for a while");
                }
            }
        }
        result
    }

    async fn connect(&self) -> Result<Connection, ServerError> {
        if self.address.contains('/') {
            let stream = UnixStream::connect(&self.address).await?;
            return Ok(Connection { stream: Box::new(stream), replies: Replies::default() });
        }
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &self.reach.tls {
            None => Box::new(stream),
            Some(tls) => {
                let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
                let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
                let name = rustls::pki_types::ServerName::try_from(host.to_owned());
                Box::new(tls.connect(name.map_err(std::io::Error::other)?, stream).await?)
            }
        };
        Ok(Connection { stream, replies: Replies::default() })
    }
}

fn unexpected(what: &str) -> ServerError {
    ServerError::Protocol(ProtocolError::Nonsense(what.to_owned()))
}

impl Connection {
    async fn reply(&mut self) -> Result<Reply, ServerError> {
        let mut read = 0;
        loop {
            if let Some(reply) = self.replies.next()? {
                return Ok(reply);
            }
            self.replies.buffer.reserve(READ_BYTES);
            match self.stream.read_buf(&mut self.replies.buffer).await? {
                0 => return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
                more => read += more,
            }
            if read > REPLY_BYTES_MAX {
                return Err(ServerError::TooLong);
            }
        }
    }
}
