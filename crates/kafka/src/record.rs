//! One record on its way: whose it is, what it says, and handing it over until it is kept.
//!
//! What must stay true: a record is its own request, byte by byte the same each time it is read, because that is how one
//! that is read again after a crash is known and not stored twice.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use krafka::consumer::ConsumerRecord;
use tokio::sync::Mutex;
use trackway_common::{ErrorKind, MemoryUser, Reservation, TenantError, TenantId};
use trackway_distributor::{Push, PushError, PushRequest, PushResponse};
use trackway_foreign::{Error, Options, RecordEncoding, Translated, with_headers};
use trackway_receivers::Seldom;
use trackway_spans::peek_request;

use crate::config::{KafkaConfig, TenantOf};
use crate::metrics::Passed;
use crate::progress::Ticket;

/// Largest payload, and largest request that may come of one. Brokers take no more than 1 MB unless they are told to, and
/// Tempo's distributors write up to 16 MB.
pub const RECORD_BYTES_MAX: usize = 32 << 20;
/// What a payload may take beside its own bytes while it is translated.
const ROOM: usize = 3;
/// From here on, translation is moved off the threads that serve connections: some milliseconds.
const LARGE: usize = 64 << 10;
/// Queues of records that wait; tenants share them.
const TURNS: usize = 64;
/// How long is waited for memory before it is told that nobody gives any back.
const WAIT: Duration = Duration::from_secs(5);
/// The header that names the tenant.
const TENANT_HEADER: &str = "X-Scope-OrgID";
/// Receiver and transport, as the Collector names both.
const KAFKA: &str = "kafka";

/// What all records of a consumer share.
pub(crate) struct Door {
    pub(crate) config: KafkaConfig,
    push: Arc<dyn Push>,
    /// Where records wait that were told to come back later: one of a tenant is tried at a time, in their order.
    turns: Vec<Mutex<()>>,
    bad: Seldom,
    partly: Seldom,
    slow: Seldom,
}

/// Why a record is passed over for good.
struct Bad {
    why: Passed,
    message: String,
    /// Spans in it, as far as anybody can say.
    spans: usize,
}

impl Bad {
    fn new(why: Passed, message: impl Into<String>) -> Self {
        Self { why, message: message.into(), spans: 1 }
    }
}

impl Door {
    pub(crate) fn new(config: KafkaConfig, push: Arc<dyn Push>) -> Self {
        let (bad, partly, slow) = Default::default();
        Self { config, push, turns: (0..TURNS).map(|_| Mutex::default()).collect(), bad, partly, slow }
    }

    /// Sees a record through. When its partition is taken away meanwhile, it is given up.
    pub(crate) async fn take(self: Arc<Self>, record: ConsumerRecord, mut ticket: Ticket) {
        let (metrics, counts) = (&self.config.metrics, &self.config.counts);
        let bytes = record.value.as_ref().map_or(0, Bytes::len);
        match self.try_take(&record, &mut ticket).await {
            Some(Ok(())) => metrics.record(&record.topic, record.partition, bytes, None),
            Some(Err(bad)) => {
                metrics.record(&record.topic, record.partition, bytes, Some(bad.why));
                counts.spans(KAFKA, KAFKA, 0, bad.spans as u64);
                if self.bad.due() {
                    let ConsumerRecord { topic, partition, offset, .. } = &record;
                    tracing::warn!(
                        %topic, partition, offset,
                        "a record is passed over, others go on: {}; trackway_kafka_discarded_records_total counts them",
                        bad.message
                    );
                }
            }
            None => return,
        }
        ticket.done();
    }

    /// `None` when it was given up.
    async fn try_take(&self, record: &ConsumerRecord, ticket: &mut Ticket) -> Option<Result<(), Bad>> {
        // A key without a value says that something is deleted; no sender of spans means that.
        let Some(payload) = record.value.clone().filter(|payload| !payload.is_empty()) else {
            return Some(Ok(()));
        };
        let tenant = match self.tenant(record) {
            Ok(tenant) => tenant,
            Err(bad) => return Some(Err(bad)),
        };
        if payload.len() > RECORD_BYTES_MAX {
            let message = format!("{} bytes; at most {RECORD_BYTES_MAX} are taken", payload.len());
            return Some(Err(Bad::new(Passed::TooLarge, message)));
        }
        let _room = self.memory(payload.len(), ticket).await?;
        match self.translate(payload, self.headers(record)).await {
            Ok(payload) => self.hand_over(payload, tenant, ticket).await,
            Err(bad) => Some(Err(bad)),
        }
    }

    fn tenant(&self, record: &ConsumerRecord) -> Result<TenantId, Bad> {
        if !self.config.multitenancy {
            return Ok(TenantId::single());
        }
        let name = match self.config.tenant {
            TenantOf::Key => record.key.as_ref(),
            TenantOf::Header => {
                let header = record.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(TENANT_HEADER));
                header.and_then(|(_, value)| value.as_ref())
            }
        };
        let found = name.ok_or(TenantError::Missing);
        let tenant = found.and_then(|name| TenantId::new(&String::from_utf8_lossy(name)));
        tenant.map_err(|error| {
            let place = match self.config.tenant {
                TenantOf::Key => "its key",
                TenantOf::Header => "its header X-Scope-OrgID",
            };
            Bad::new(Passed::Tenant, format!("{error}; the tenant is expected in {place}"))
        })
    }

    /// Those headers of a record that are wanted, by the names that the configuration gives them.
    fn headers(&self, record: &ConsumerRecord) -> Vec<(String, String)> {
        let value = |name: &String| {
            let (_, value) = record.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name))?;
            Some((name.clone(), String::from_utf8_lossy(value.as_ref()?).into_owned()))
        };
        self.config.headers.iter().filter_map(value).collect()
    }

    /// Waits for memory as long as it takes: there is no sender to tell.
    async fn memory(&self, payload: usize, ticket: &mut Ticket) -> Option<Reservation> {
        let needed = match self.config.encoding {
            RecordEncoding::OtlpProto => payload,
            _ => payload.saturating_mul(ROOM),
        };
        loop {
            tokio::select! {
                () = ticket.stop.cancelled() => return None,
                reserved = self.config.memory.wait(MemoryUser::Requests, needed, WAIT) => match reserved {
                    Ok(room) => {
                        ticket.push_back(false);
                        return Some(room);
                    }
                    Err(over) => self.wait_told(ticket, &over.to_string()),
                },
            }
        }
    }

    fn wait_told(&self, ticket: &mut Ticket, why: &str) {
        ticket.push_back(true);
        self.config.metrics.retried();
        if self.slow.due() {
            tracing::warn!("{}: records wait, none is lost: {why}", self.config.setting);
        }
    }

    async fn translate(&self, payload: Bytes, headers: Vec<(String, String)>) -> Result<Payload, Bad> {
        let (encoding, clock) = (self.config.encoding, &self.config.clock);
        if encoding == RecordEncoding::OtlpProto && headers.is_empty() {
            return Ok(Payload { body: payload, refused: 0, reason: None });
        }
        let options = Options { max_output: RECORD_BYTES_MAX, parse_string_tags: false, now: clock.now() };
        let is_large = payload.len() >= LARGE;
        let translate = move || translate(encoding, &payload, &options, &headers);
        if !is_large {
            return translate();
        }
        let done = tokio::task::spawn_blocking(translate).await;
        done.unwrap_or_else(|error| Err(Bad::new(Passed::Malformed, error.to_string())))
    }

    /// Hands a request over until it is kept or refused for good.
    async fn hand_over(
        &self,
        payload: Payload,
        tenant: TenantId,
        ticket: &mut Ticket,
    ) -> Option<Result<(), Bad>> {
        let config = &self.config;
        let (mut wait, mut turn) = (config.backoff.initial, None);
        loop {
            let request = PushRequest {
                tenant: tenant.clone(),
                body: payload.body.clone(),
                protocol: "Kafka",
                sender: None,
            };
            match self.push.push(request).await {
                Ok(response) => {
                    self.count(&payload, &response);
                    return Some(Ok(()));
                }
                Err(error) if is_passing(error.kind) => {
                    self.wait_told(ticket, &error.message);
                    // The limit's own time to come back is for senders that do not know of each other. Here, whoever
                    // has waited longest is next.
                    let again = async {
                        match turn {
                            None => turn = Some(self.turn(&tenant).lock().await),
                            Some(_) => {
                                tokio::time::sleep(wait).await;
                                wait = config.backoff.after(wait);
                            }
                        }
                    };
                    tokio::select! {
                        () = ticket.stop.cancelled() => return None,
                        () = again => {}
                    }
                }
                Err(PushError { kind, message, .. }) => {
                    let why = if kind == ErrorKind::TooLarge { Passed::TooLarge } else { Passed::Refused };
                    let spans = payload.spans().max(1);
                    return Some(Err(Bad { why, message, spans }));
                }
            }
        }
    }

    fn turn(&self, tenant: &TenantId) -> &Mutex<()> {
        let mut hasher = DefaultHasher::new();
        tenant.hash(&mut hasher);
        let place = hasher.finish() % self.turns.len() as u64;
        // Smaller than the number of them.
        &self.turns[place as usize]
    }

    fn count(&self, payload: &Payload, response: &PushResponse) {
        let refused = payload.refused + response.refused.len();
        self.config.counts.spans(KAFKA, KAFKA, u64::from(response.accepted), refused as u64);
        let reason = payload.reason.as_ref().or(response.refused.first().map(|(_, reason)| reason));
        if let Some(reason) = reason
            && self.partly.due()
        {
            let met = refused as u64 + u64::from(response.accepted);
            tracing::warn!("{refused} of {met} spans by Kafka refused: {reason}");
        }
    }
}

/// Whether a request that was refused so is to be sent again: whatever is not the fault of the request itself. A record is
/// never passed over because we could not keep it.
fn is_passing(kind: ErrorKind) -> bool {
    !matches!(kind, ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::TooLarge | ErrorKind::Unsupported)
}

/// What becomes of a payload.
struct Payload {
    /// The request.
    body: Bytes,
    /// Spans that are not in it, and why the first of them is not.
    refused: usize,
    reason: Option<String>,
}

impl Payload {
    /// How many spans it has, as far as it can be walked.
    fn spans(&self) -> usize {
        peek_request(&self.body).map_or(0, |spans| spans as usize) + self.refused
    }
}

fn translate(
    encoding: RecordEncoding,
    payload: &[u8],
    options: &Options,
    headers: &[(String, String)],
) -> Result<Payload, Bad> {
    let Translated { protobuf, refused, reasons, .. } =
        encoding.translate(payload, options).map_err(|error| {
            let why = if matches!(error, Error::TooLarge(_)) { Passed::TooLarge } else { Passed::Malformed };
            Bad::new(why, format!("not {}: {error}", encoding.name()))
        })?;
    let body = match headers {
        [] => protobuf,
        headers => with_headers(&protobuf, headers)
            .map_err(|error| Bad::new(Passed::Malformed, error.to_string()))?,
    };
    let reason = reasons.into_iter().next().map(|(_, reason)| reason);
    Ok(Payload { body: body.into(), refused, reason })
}
