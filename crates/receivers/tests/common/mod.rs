//! A receiver on a real port over a push that remembers.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use trackway_distributor::{Push, PushError, PushRequest, PushResponse};
use trackway_receivers::{Listen, OtlpConfig, serve};

/// What `push` does next.
type Outcome = Box<dyn Fn(&PushRequest) -> Result<PushResponse, PushError> + Send + Sync>;

/// Remembers what was pushed.
pub struct Memory {
    pub pushed: Mutex<Vec<PushRequest>>,
    pub outcome: Mutex<Outcome>,
}

impl Push for Memory {
    fn push(
        &self,
        request: PushRequest,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<PushResponse, PushError>> + Send + '_>> {
        Box::pin(async move {
            let outcome = (self.outcome.lock().unwrap())(&request);
            self.pushed.lock().unwrap().push(request);
            outcome
        })
    }
}

/// A running receiver.
pub struct Running {
    pub address: String,
    pub push: Arc<Memory>,
    pub shutdown: CancellationToken,
    pub task: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// Starts one.
pub async fn start(config: OtlpConfig) -> Running {
    start_with(Listen::default(), config).await
}

/// Starts one whose connections are served so.
pub async fn start_with(listen: Listen, config: OtlpConfig) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let outcome: Outcome = Box::new(|_| Ok(PushResponse { accepted: 1, refused: vec![] }));
    let push = Arc::new(Memory { pushed: Mutex::default(), outcome: Mutex::new(outcome) });
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(serve(listener, listen, config, push.clone(), shutdown.clone()));
    Running { address, push, shutdown, task }
}

impl Running {
    /// From now on pushes end so.
    pub fn answers(
        &self,
        outcome: impl Fn(&PushRequest) -> Result<PushResponse, PushError> + Send + Sync + 'static,
    ) {
        *self.push.outcome.lock().unwrap() = Box::new(outcome);
    }

    /// The last request that was pushed.
    pub fn last(&self) -> PushRequest {
        self.push.pushed.lock().unwrap().last().expect("something was pushed").clone()
    }

    /// One HTTP/1.1 request.
    pub async fn http(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(&[head.as_bytes(), b"\r\n", body].concat()).await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("headers");
        let head = String::from_utf8(all[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers =
            lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned()));
        Answer { status, headers: headers.collect(), body: all[end + 4..].to_vec() }
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header, empty for none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }
}
