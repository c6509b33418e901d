//! An answer that goes on: its lines as they come, on a connection of its own.

use std::io::{Error, ErrorKind};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;

use crate::http::{Answer, Ask, HttpClient, HttpError, line, not_http, read_body, read_head, send};

/// The longest line that is read.
const LONGEST: usize = 16 << 20;

/// The lines of an answer.
#[derive(Debug)]
pub struct Lines {
    stream: BufReader<TcpStream>,
    place: String,
    is_chunked: bool,
    /// Bytes of the present chunk that are still to come.
    left: u64,
    is_over: bool,
    /// What came of the next line.
    begun: Vec<u8>,
}

/// What there is to a request for lines.
#[derive(Debug)]
pub enum Streamed {
    /// They come.
    Lines(Lines),
    /// Another answer than 200, whole.
    Refused(Answer),
}

impl HttpClient {
    /// Gets a path whose answer goes on. The connection is not used for anything else.
    ///
    /// # Errors
    /// [`HttpError`] if there is no answer.
    pub async fn stream(&mut self, target: &str, accept: &str) -> Result<Streamed, HttpError> {
        let place = self.endpoint().authority();
        let mut stream = self.open().await?;
        let headers = [("Accept", accept)];
        let head = self.head(&Ask { method: "GET", target, headers: &headers, body: None });
        let talk = async {
            send(&mut stream, &head, &[]).await?;
            let mut answer = read_head(&mut stream).await?.0;
            if answer.status != 200 {
                read_body(&mut stream, &mut answer).await?;
            }
            Ok::<_, Error>(answer)
        };
        let answer = match tokio::time::timeout(self.patience(), talk).await {
            Ok(answer) => answer.map_err(|error| HttpError::Broken(place.clone(), error))?,
            Err(_) => return Err(HttpError::TooSlow(place, self.patience())),
        };
        if answer.status != 200 {
            return Ok(Streamed::Refused(answer));
        }
        let is_chunked =
            answer.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        Ok(Streamed::Lines(Lines { stream, place, is_chunked, left: 0, is_over: false, begun: Vec::new() }))
    }
}

impl Lines {
    /// The next line without its end; `None` when the answer has ended properly.
    ///
    /// # Errors
    /// [`HttpError::Broken`] if the connection ended before the answer did.
    pub async fn next(&mut self) -> Result<Option<String>, HttpError> {
        let text = self.read().await;
        text.map_err(|error| HttpError::Broken(self.place.clone(), error))
    }

    async fn read(&mut self) -> Result<Option<String>, Error> {
        loop {
            if self.is_over {
                let rest = std::mem::take(&mut self.begun);
                return Ok((!rest.is_empty()).then(|| String::from_utf8_lossy(&rest).into_owned()));
            }
            if self.is_chunked && self.left == 0 {
                self.next_chunk().await?;
                continue;
            }
            let most = if self.is_chunked { self.left } else { u64::MAX };
            let before = self.begun.len();
            let read = (&mut self.stream).take(most).read_until(b'\n', &mut self.begun).await?;
            if read == 0 {
                if self.is_chunked {
                    return Err(Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"));
                }
                self.is_over = true;
                continue;
            }
            if self.is_chunked {
                self.left -= (self.begun.len() - before) as u64;
                if self.left == 0 {
                    line(&mut self.stream).await?;
                }
            }
            if self.begun.last() == Some(&b'\n') {
                self.begun.pop();
                let text = String::from_utf8_lossy(&self.begun).into_owned();
                self.begun.clear();
                return Ok(Some(text));
            }
            if self.begun.len() > LONGEST {
                return Err(not_http("a line of the answer is too long"));
            }
        }
    }

    async fn next_chunk(&mut self) -> Result<(), Error> {
        let text = line(&mut self.stream).await?;
        let size = text.split(';').next().unwrap_or_default().trim();
        self.left = u64::from_str_radix(size, 16).map_err(|_| not_http("a chunk has no size"))?;
        self.is_over = self.left == 0;
        Ok(())
    }
}
