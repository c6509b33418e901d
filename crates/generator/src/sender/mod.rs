//! Brings one tenant's samples from their log to one receiver.
//!
//! What must stay true: records go in order, each until the receiver has it or will never take it, or the log has given it
//! up; a receiver that is away costs memory for one record and no more. Where it stands is on disk, so that a restart goes
//! on there; what was sent after that was last written is sent twice, and the receiver knows it.

mod place;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use trackway_common::{Clock, Seldom, TenantId};
use trackway_overrides::Overrides;
use trackway_remote_write::{Client, Endpoint, Protocol, Relabel, Request, SendError};

use crate::batch::{Known, Requests};
use crate::samples::{Follower, Position, ReadRecord, SampleLog, replace};
use crate::tenant::millis;

pub(crate) use self::place::where_it_stood;
use self::place::{OwnedStyle, Place, Read, read, sent_path, text_of};

/// The header that names the tenant.
const ORG_ID: HeaderName = HeaderName::from_static("x-scope-orgid");
/// Requests to one receiver at a time, of all tenants together.
pub(crate) const REQUESTS_MAX: usize = 100;
/// How often it is tried again while the process stops.
const LAST_PAUSES: u64 = 5;
/// The longest pause after which it is tried again while the process stops.
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that a receiver can ask for.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// A receiver, opened.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) client: Client,
    pub(crate) relabel: Arc<Relabel>,
    /// Requests to it, of all tenants.
    pub(crate) requests: Arc<Semaphore>,
}

/// Counts of one tenant and receiver, by the names of Prometheus's metrics.
#[derive(Debug, Default)]
pub(crate) struct SendNumbers {
    pub(crate) samples: AtomicU64,
    pub(crate) histograms: AtomicU64,
    pub(crate) exemplars: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) retried: AtomicU64,
    /// Too old for `sample_age_limit`.
    pub(crate) too_old: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) shards: AtomicU64,
    pub(crate) pending: AtomicU64,
    /// Milliseconds since the Unix epoch.
    pub(crate) sent_up_to: AtomicI64,
    /// Whether the receiver takes nothing at the moment.
    pub(crate) is_away: AtomicBool,
}

/// What a sender is made of.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) tenant: TenantId,
    pub(crate) log: Arc<SampleLog>,
    pub(crate) follower: Arc<Follower>,
    pub(crate) receiver: Receiver,
    pub(crate) overrides: Arc<Overrides>,
    pub(crate) external: Arc<BTreeMap<String, String>>,
    /// Whether the tenant is named in a header.
    pub(crate) names_tenant: bool,
    pub(crate) numbers: Arc<SendNumbers>,
    pub(crate) clock: Arc<dyn Clock>,
    /// When it was last said that samples are refused.
    pub(crate) refused: Seldom,
    /// Pauses while the process stops.
    pub(crate) last_pauses: AtomicU64,
}

/// How sending ended.
enum End {
    /// The receiver has it, or never will.
    Done,
    /// The log gave the record up.
    GivenUp,
    /// The process stops.
    Stopped,
    /// The receiver takes another protocol.
    Other,
}

/// When a sender stops.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    /// Send what is there, as long as the receiver takes it.
    pub(crate) drain: CancellationToken,
    /// Now.
    pub(crate) abandon: CancellationToken,
}

impl Sender {
    /// Sends until it shall stop; then what is left, unless the receiver is away.
    pub(crate) async fn run(self, from: Position, stop: Stop) {
        let mut end = self.log.end();
        let old = *end.borrow();
        let mut place = Place { reader: self.log.reader(from), known: Known::default(), sent: from, old };
        let mut protocol = None;
        loop {
            let until = *end.borrow_and_update();
            if place.sent >= until {
                if stop.drain.is_cancelled() {
                    break;
                }
                tokio::select! {
                    changed = end.changed() => if changed.is_err() { break },
                    () = stop.drain.cancelled() => {}
                }
                continue;
            }
            if protocol.is_none() {
                protocol = self.negotiate(&stop).await;
            }
            let Some(known) = protocol else { break };
            match self.step(place, until, known, &stop).await {
                (left, Ok(End::Done | End::GivenUp)) => place = left,
                (left, Ok(End::Other)) => (place, protocol) = (left, None),
                // What is not sent stays for the next start.
                (_, Ok(End::Stopped)) => return,
                (left, Err(error)) => {
                    place = left;
                    tracing::warn!(tenant = %self.tenant, %error, "log of samples cannot be read; tried again");
                    if !self.pause(self.receiver.endpoint.queue.max_backoff, &stop).await {
                        break;
                    }
                }
            }
        }
        self.log.leave(&self.follower);
    }

    /// Sends the next record; or goes to the next segment.
    async fn step(
        &self,
        mut place: Place,
        until: Position,
        protocol: Protocol,
        stop: &Stop,
    ) -> (Place, io::Result<End>) {
        let first = self.log.first_segment();
        if place.reader.segment() < first {
            place.known.clear();
            place.reader.go_to(first);
        }
        let style = self.style(protocol);
        let read = tokio::task::spawn_blocking(move || {
            let read = read(&mut place, until, &style);
            (place, read)
        });
        let Ok((mut place, read)) = read.await else {
            // Only a panic, or the end of the process.
            if !stop.drain.is_cancelled() {
                tracing::error!(tenant = %self.tenant, "samples cannot be made into requests; they wait for the next start");
            }
            return (Place::lost(&self.log), Ok(End::Stopped));
        };
        let (record, requests) = match read {
            Ok(Read::Record(record, requests)) => (record, requests),
            Ok(Read::Other) => return (place, Ok(End::Done)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Given up while we looked.
                place.known.clear();
                place.reader.go_to(self.log.first_segment().max(place.reader.segment() + 1));
                return (place, Ok(End::GivenUp));
            }
            Err(error) => return (place, Err(error)),
        };
        let is_old = record.position <= place.old;
        let end = self.send_all(&requests, (record.position.segment, is_old), stop).await;
        match end {
            End::Done => self.settle(&mut place, &record, &requests).await,
            End::GivenUp => place.known.forget(requests.gone),
            // Read again, by whoever comes next.
            End::Other => {
                place.known.clear();
                place.reader.go_to(record.position.segment);
                place.old = place.old.max(record.position);
            }
            End::Stopped => {}
        }
        (place, Ok(end))
    }

    /// A record is done with.
    async fn settle(&self, place: &mut Place, record: &ReadRecord, requests: &Requests) {
        place.known.forget(requests.gone.iter().copied());
        place.sent = record.position;
        self.numbers.sent_up_to.store(requests.time_ms, Ordering::Relaxed);
        let (path, text) = (sent_path(&self.log, &self.receiver.endpoint), text_of(record.position));
        let written = tokio::task::spawn_blocking(move || replace(&path, &text)).await;
        // Lost, it is sent once more; a disk that fails says so where samples are written.
        if let Ok(Err(error)) = written {
            tracing::debug!(tenant = %self.tenant, %error, "where a receiver stands cannot be written");
        }
        // After the file, which is not to come back when the tenant goes.
        self.log.done(&self.follower, record.position, record.samples);
    }

    fn style(&self, protocol: Protocol) -> OwnedStyle {
        let limits = self.overrides.for_tenant(&self.tenant);
        let age = self.receiver.endpoint.queue.sample_age_limit;
        let oldest = if age.is_zero() {
            i64::MIN
        } else {
            millis(self.clock.now()).saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
        };
        OwnedStyle {
            receiver: self.receiver.clone(),
            protocol,
            external: Arc::clone(&self.external),
            trace_label: limits.generator.trace_id_label.clone(),
            oldest_ms: oldest,
            numbers: Arc::clone(&self.numbers),
        }
    }

    /// Which protocol the receiver takes; `None` when the process stops before it says.
    async fn negotiate(&self, stop: &Stop) -> Option<Protocol> {
        let mut backoff = self.receiver.endpoint.queue.min_backoff;
        loop {
            let headers = self.headers();
            let answer = tokio::select! {
                answer = self.receiver.client.negotiate(&headers) => answer,
                () = stop.abandon.cancelled() => return None,
            };
            match answer {
                Ok(protocol) => {
                    self.is_back();
                    return Some(protocol);
                }
                Err(error) => {
                    if !self.wait(error, &mut backoff, stop).await {
                        return None;
                    }
                }
            }
        }
    }

    /// Sends a record's requests; of the record which segment it is in, and whether it may have been sent before.
    async fn send_all(&self, requests: &Requests, of: (u64, bool), stop: &Stop) -> End {
        self.numbers.shards.store(requests.shards.len() as u64, Ordering::Relaxed);
        let all = requests.shards.iter().flatten();
        let pending = all.map(|request| (request.samples + request.histograms) as u64).sum();
        self.numbers.pending.store(pending, Ordering::Relaxed);
        let shards = requests.shards.iter().map(|shard| self.send_shard(shard, of, stop));
        let ends = futures::future::join_all(shards).await;
        self.numbers.pending.store(0, Ordering::Relaxed);
        ends.into_iter().find(|end| !matches!(end, End::Done)).unwrap_or(End::Done)
    }

    async fn send_shard(&self, shard: &[Request], (segment, is_old): (u64, bool), stop: &Stop) -> End {
        for request in shard {
            let mut may_be_there = is_old;
            let mut backoff = self.receiver.endpoint.queue.min_backoff;
            loop {
                if stop.abandon.is_cancelled() {
                    return End::Stopped;
                }
                if self.log.first_segment() > segment {
                    return End::GivenUp;
                }
                let headers = self.headers();
                // A semaphore that is never closed always gives.
                let turn = self.receiver.requests.acquire().await;
                let sent = tokio::select! {
                    sent = self.receiver.client.send(request, &headers) => sent,
                    () = stop.abandon.cancelled() => return End::Stopped,
                };
                drop(turn);
                match sent {
                    Ok(_) => {
                        self.count(request);
                        self.is_back();
                        break;
                    }
                    Err(SendError::Unsupported) => return End::Other,
                    // It was taken the first time, and the answer was lost.
                    Err(error) if may_be_there && error.says_known() => {
                        tracing::debug!(tenant = %self.tenant, %error, "receiver has these samples already");
                        self.count(request);
                        self.is_back();
                        break;
                    }
                    // A login that is wrong is mended by somebody; until then samples wait.
                    Err(SendError::Rejected { status: 401 | 403 | 407, message }) => {
                        let error = SendError::Retry { after: None, status: None, message };
                        self.numbers.retried.fetch_add(all_of(request), Ordering::Relaxed);
                        if !self.wait(error, &mut backoff, stop).await {
                            return End::Stopped;
                        }
                    }
                    Err(SendError::Rejected { status, message }) => {
                        self.refuse(request, status, &message);
                        break;
                    }
                    Err(error) => {
                        let is_put_off = matches!(&error, SendError::Retry { status: Some(429), .. });
                        may_be_there |= !is_put_off;
                        self.numbers.retried.fetch_add(all_of(request), Ordering::Relaxed);
                        if !self.wait(error, &mut backoff, stop).await {
                            return End::Stopped;
                        }
                    }
                }
            }
        }
        End::Done
    }

    /// A request that the receiver will never take.
    fn refuse(&self, request: &Request, status: u16, message: &str) {
        self.numbers.failed.fetch_add(all_of(request), Ordering::Relaxed);
        if self.refused.due() {
            tracing::warn!(
                tenant = %self.tenant, receiver = self.receiver.endpoint.name, status, samples = request.samples,
                "receiver refuses samples for good, they are dropped: {message}"
            );
        }
    }

    fn count(&self, request: &Request) {
        let add = |number: &AtomicU64, by: usize| number.fetch_add(by as u64, Ordering::Relaxed);
        add(&self.numbers.samples, request.samples);
        add(&self.numbers.histograms, request.histograms);
        add(&self.numbers.exemplars, request.exemplars);
        add(&self.numbers.bytes, request.body.len());
    }

    /// Pauses after a failure; `false` when the process stops, whose last samples wait in the log for the next start.
    async fn wait(&self, error: SendError, backoff: &mut Duration, stop: &Stop) -> bool {
        if !self.numbers.is_away.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                tenant = %self.tenant, receiver = self.receiver.endpoint.name, %error,
                "receiver does not take samples; they wait in the log"
            );
        }
        let asked = match error {
            SendError::Retry { after, .. } => after,
            _ => None,
        };
        let pause = asked.unwrap_or_default().max(*backoff).min(PAUSE_MAX);
        *backoff = backoff.saturating_mul(2).min(self.receiver.endpoint.queue.max_backoff);
        self.pause(pause, stop).await
    }

    /// `false` when the process stops.
    async fn pause(&self, pause: Duration, stop: &Stop) -> bool {
        // While the process stops, a receiver has a little patience and no more.
        let ended = if stop.drain.is_cancelled() { &stop.abandon } else { &stop.drain };
        let is_last = || self.last_pauses.fetch_add(1, Ordering::Relaxed) >= LAST_PAUSES;
        if ended.is_cancelled() || (stop.drain.is_cancelled() && (pause > LAST_PAUSE || is_last())) {
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            () = ended.cancelled() => pause <= LAST_PAUSE,
        }
    }

    fn is_back(&self) {
        if self.numbers.is_away.swap(false, Ordering::Relaxed) {
            tracing::info!(tenant = %self.tenant, receiver = self.receiver.endpoint.name, "receiver takes samples again");
        }
    }

    /// The tenant's headers.
    fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let limits = self.overrides.for_tenant(&self.tenant);
        let mut headers = Vec::new();
        let is_set =
            |name: &str| self.receiver.endpoint.headers.keys().any(|known| known.eq_ignore_ascii_case(name));
        if self.names_tenant
            && !is_set(ORG_ID.as_str())
            && let Ok(tenant) = HeaderValue::from_str(self.tenant.as_str())
        {
            headers.push((ORG_ID, tenant));
        }
        for (name, value) in &limits.generator.remote_write_headers {
            // What is no header was refused with the file that it stands in.
            if let (Ok(name), Ok(mut value)) =
                (HeaderName::try_from(name.as_str()), HeaderValue::from_str(value.expose()))
            {
                value.set_sensitive(true);
                headers.retain(|(known, _)| *known != name);
                headers.push((name, value));
            }
        }
        headers
    }
}

/// Samples and native histograms.
fn all_of(request: &Request) -> u64 {
    (request.samples + request.histograms) as u64
}
