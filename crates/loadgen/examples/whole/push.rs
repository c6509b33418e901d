//! Sends the workload, as fast as the server takes it or at a given rate.
//!
//! What must stay true: every span is accounted for as accepted or rejected; a request that the server is too busy for
//! is sent again until it is taken.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::{Mutex, mpsc};
use trackway_common::{Clock, SystemClock};
use trackway_loadgen::{OtlpHttpClient, Request, SendError, Workload};

/// How many requests are made ahead: some 200 MB, so that at full blast the generator does not slow the sending.
const AHEAD: usize = 512;
const CONNECTIONS: usize = 4;
/// How often a request is sent before the run is given up.
const ATTEMPTS: usize = 1_000;

/// What became of the workload.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pushed {
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
    /// How often the server was too busy.
    pub(crate) busy: u64,
    pub(crate) seconds: f64,
}

struct Shared {
    queue: mpsc::Receiver<Request>,
    started: u64,
}

/// Sends everything over four connections; `rate` is in spans a second.
pub(crate) async fn push(endpoint: &str, workload: Workload, rate: Option<f64>) -> Result<Pushed> {
    let (make, queue) = mpsc::channel(AHEAD);
    let full = make.downgrade();
    let maker = std::thread::spawn(move || {
        for request in workload.requests() {
            if make.blocking_send(request).is_err() {
                return;
            }
        }
    });
    while !maker.is_finished() && full.upgrade().is_some_and(|queue| queue.capacity() > 0) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let shared = Arc::new(Mutex::new(Shared { queue, started: 0 }));
    let clock = SystemClock::default();
    let mut senders = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = OtlpHttpClient::connect(endpoint).await?;
        senders.push(tokio::spawn(sender(client, Arc::clone(&shared), rate, clock)));
    }
    let mut all = Pushed::default();
    for sender in senders {
        let part = sender.await??;
        all.accepted += part.accepted;
        all.rejected += part.rejected;
        all.busy += part.busy;
    }
    all.seconds = clock.monotonic().as_secs_f64();
    Ok(all)
}

async fn sender(
    mut client: OtlpHttpClient,
    shared: Arc<Mutex<Shared>>,
    rate: Option<f64>,
    clock: SystemClock,
) -> Result<Pushed> {
    let mut part = Pushed::default();
    loop {
        let (request, before) = {
            let mut shared = shared.lock().await;
            let Some(request) = shared.queue.recv().await else { return Ok(part) };
            let before = shared.started;
            shared.started += request.spans as u64;
            (request, before)
        };
        if let Some(rate) = rate {
            let due = Duration::from_secs_f64(before as f64 / rate);
            tokio::time::sleep(due.saturating_sub(clock.monotonic())).await;
        }
        for attempt in 0.. {
            match client.send(&request.bytes).await {
                Ok(outcome) => {
                    part.accepted += outcome.accepted;
                    part.rejected += outcome.rejected;
                    break;
                }
                Err(error) if error.is_retryable() && attempt < ATTEMPTS => {
                    part.busy += 1;
                    let wait = match &error {
                        SendError::Busy { retry_after: Some(wait), .. } => *wait,
                        _ => Duration::from_millis(50),
                    };
                    tokio::time::sleep(wait.min(Duration::from_secs(1))).await;
                }
                Err(error) => bail!(error),
            }
        }
    }
}
