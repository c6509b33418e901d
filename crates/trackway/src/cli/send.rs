//! Sends spans, and waits when the server says that it is busy.

use std::time::Duration;

use anyhow::{Result, bail};
use trackway_loadgen::{HttpError, OtlpHttpClient, SendError};

use super::secure::{TlsArgs, explain};

/// The first and the longest pause between two attempts when the server names none.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause that a server is granted.
const LONGEST_WISH: Duration = Duration::from_secs(60);
/// Over all attempts for one request.
const PATIENCE: Duration = Duration::from_secs(120);

/// What became of everything that was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) traces: u64,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    /// What the server last said about refused spans.
    pub(super) complaint: String,
}

/// Sends, counts and waits.
#[derive(Debug)]
pub(super) struct Sender {
    client: OtlpHttpClient,
    pub(super) tally: Tally,
}

impl Sender {
    /// Connects.
    pub(super) async fn connect(endpoint: &str, tls: &TlsArgs) -> Result<Self> {
        let connected = OtlpHttpClient::connect_with(endpoint, &tls.config()).await;
        let client = connected.map_err(|error| match error {
            SendError::Http(error) => explain(error),
            other => other.into(),
        })?;
        Ok(Self { client, tally: Tally::default() })
    }

    /// The client's address of the server.
    pub(super) fn endpoint(&self) -> &trackway_loadgen::Endpoint {
        self.client.endpoint()
    }

    /// Sends some traces in one request; whether all of their spans were taken. `waiting` is told of every pause.
    pub(super) async fn send(&mut self, request: &[u8], traces: u64, waiting: &dyn Fn(&str)) -> Result<bool> {
        let (mut pause, mut waited) = (FIRST_PAUSE, Duration::ZERO);
        loop {
            let error = match self.client.send(request).await {
                Ok(outcome) => {
                    self.tally.traces += traces;
                    self.tally.accepted += outcome.accepted;
                    self.tally.refused += outcome.rejected;
                    if !outcome.message.is_empty() {
                        self.tally.complaint = outcome.message;
                    }
                    return Ok(outcome.rejected == 0);
                }
                Err(error) => error,
            };
            // That is said with a status that asks to come back, but no waiting helps.
            if matches!(&error, SendError::Busy { message, .. } if message.contains("no org id")) {
                let place = self.endpoint().authority();
                bail!(
                    "{place} keeps tenants apart, and the demo names none; send it to a server without multitenancy"
                );
            }
            // Once something was sent, a server that is gone may only be starting anew.
            let gone = matches!(error, SendError::Http(HttpError::NobodyThere(_))) && self.tally.traces > 0;
            if !gone && !error.is_retryable() {
                return Err(error.into());
            }
            let next = pause_before_next(&error, pause);
            if waited + next > PATIENCE {
                bail!("{error}; given up after {} s", waited.as_secs());
            }
            waiting(&format!("{error}; trying again in {:.1} s", next.as_secs_f64()));
            tokio::time::sleep(next).await;
            waited += next;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// As long as the server asks for, if it does, but never less than our own pause: a server that says `0` is still busy.
fn pause_before_next(error: &SendError, own: Duration) -> Duration {
    match error {
        SendError::Busy { retry_after: Some(wish), .. } => (*wish).min(LONGEST_WISH).max(own),
        _ => own,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn a_server_that_names_a_pause_gets_it() {
        let busy = |seconds: Option<u64>| SendError::Busy {
            status: 429,
            message: String::new(),
            retry_after: seconds.map(Duration::from_secs),
        };
        assert_eq!(pause_before_next(&busy(Some(3)), FIRST_PAUSE), Duration::from_secs(3));
        assert_eq!(pause_before_next(&busy(Some(0)), FIRST_PAUSE), FIRST_PAUSE);
        assert_eq!(pause_before_next(&busy(None), FIRST_PAUSE), FIRST_PAUSE);
        assert_eq!(pause_before_next(&busy(Some(86_400)), FIRST_PAUSE), LONGEST_WISH);
    }

    /// A server that answers one request after another as it is told.
    async fn server(answers: &'static [&'static str]) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in answers {
                let mut request = [0; 4096];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        address
    }

    #[tokio::test(flavor = "current_thread")]
    async fn busy_answers_are_tried_again_and_refusals_are_not() {
        const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nfull";
        const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        const WRONG: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nno";
        let mut sender =
            Sender::connect(&server(&[BUSY, FINE, WRONG]).await, &TlsArgs::default()).await.unwrap();
        let told = std::cell::RefCell::new(Vec::new());
        let waiting = |text: &str| told.borrow_mut().push(text.to_owned());
        assert!(sender.send(&[], 2, &waiting).await.unwrap());
        assert_eq!(*told.borrow(), ["the server is busy (503): full; trying again in 0.2 s"]);
        assert_eq!(sender.tally, Tally { traces: 2, ..Tally::default() });
        let error = sender.send(&[], 1, &waiting).await.unwrap_err();
        assert_eq!(error.to_string(), "the server refused the spans (400): no");
        const NOBODY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\n\r\nno org id";
        let mut sender = Sender::connect(&server(&[NOBODY]).await, &TlsArgs::default()).await.unwrap();
        assert!(sender.send(&[], 1, &waiting).await.unwrap_err().to_string().contains("keeps tenants apart"));
    }
}
