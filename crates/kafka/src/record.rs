//! One record on its way: whose it is, what it says, and handing it over until it is kept.
//!
//! What must stay true: a record is its own request, byte by byte the same each time it is read, because that is how one
//! that is read again after a crash is known and not stored twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use krafka::consumer::ConsumerRecord;
use parking_lot::Mutex;
use trackway_common::{Clock, ErrorKind, MemoryUser, OverBudget, Reservation, Seldom, TenantError, TenantId};
use trackway_distributor::{Push, PushError, PushRequest, PushResponse};
use trackway_foreign::{Error, Options, RecordEncoding, Translated, with_headers};
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
/// Tenants whose records wait; when there are more, those that wait no longer are forgotten.
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
    turns: Mutex<HashMap<TenantId, Arc<tokio::sync::Mutex<()>>>>,
    bad: Seldom,
    partly: Seldom,
    slow: Seldom,
}

/// Why a record is passed over for good.
pub(crate) struct Bad {
    why: Passed,
    message: String,
    /// Spans in it, as far as anybody can say.
    spans: usize,
}

impl Bad {
    pub(crate) fn new(why: Passed, message: impl Into<String>) -> Self {
        Self { why, message: message.into(), spans: 1 }
    }
}

impl Door {
    pub(crate) fn new(config: KafkaConfig, push: Arc<dyn Push>) -> Self {
        let (bad, partly, slow) = Default::default();
        Self { config, push, turns: Mutex::default(), bad, partly, slow }
    }

    /// Sees a record through. When its partition is taken away meanwhile, it is given up.
    pub(crate) async fn take(self: Arc<Self>, record: ConsumerRecord, ticket: Ticket) {
        let bytes = record.value.as_ref().map_or(0, Bytes::len);
        let mut handled = Handled { door: &self, record: &record, ticket: Some(ticket) };
        let Some(ticket) = handled.ticket.as_mut() else { return };
        match self.try_take(&record, ticket).await {
            Some(Ok(())) => self.config.metrics.record(&record.topic, record.partition, bytes, None),
            Some(Err(bad)) => {
                self.pass_over(&record.topic, record.partition, record.offset, bytes, &bad);
            }
            None => return,
        }
        handled.done();
    }

    /// Counts and tells that a record is passed over.
    pub(crate) fn pass_over(&self, topic: &str, partition: i32, offset: i64, bytes: usize, bad: &Bad) {
        self.config.metrics.record(topic, partition, bytes, Some(bad.why));
        self.config.counts.spans(KAFKA, KAFKA, 0, bad.spans as u64);
        if self.bad.due() {
            tracing::warn!(
                %topic, partition, offset,
                "a record is passed over, others go on: {}; trackway_kafka_discarded_records_total counts them",
                bad.message
            );
        }
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
        let _room = match self.memory(payload.len(), ticket).await? {
            Ok(room) => room,
            Err(bad) => return Some(Err(bad)),
        };
        let now = written_at(record.timestamp, &*self.config.clock);
        match self.translate(payload, self.headers(record), now).await {
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

    /// Waits for memory as long as it takes: there is no sender to tell. What would never fit is passed over.
    async fn memory(&self, payload: usize, ticket: &mut Ticket) -> Option<Result<Reservation, Bad>> {
        let needed = match self.config.encoding {
            RecordEncoding::OtlpProto => payload,
            _ => payload.saturating_mul(ROOM),
        };
        let mut wait = self.config.backoff.initial;
        loop {
            let over = tokio::select! {
                () = ticket.stop.cancelled() => return None,
                reserved = self.config.memory.wait(MemoryUser::Requests, needed, WAIT) => match reserved {
                    Ok(room) => {
                        ticket.push_back(false);
                        return Some(Ok(room));
                    }
                    Err(over) => over,
                },
            };
            if over.is_final() {
                return Some(Err(never_fits(payload, over)));
            }
            self.wait_told(ticket, &over.to_string());
            tokio::select! {
                () = ticket.stop.cancelled() => return None,
                () = tokio::time::sleep(wait) => wait = self.config.backoff.after(wait),
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

    async fn translate(
        &self,
        payload: Bytes,
        headers: Vec<(String, String)>,
        now: u64,
    ) -> Result<Payload, Bad> {
        let encoding = self.config.encoding;
        if encoding == RecordEncoding::OtlpProto && headers.is_empty() {
            return Ok(Payload { body: payload, refused: 0, reason: None });
        }
        let options = Options { max_output: RECORD_BYTES_MAX, parse_string_tags: false, now };
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
                Err(error) if !error.never && is_passing(error.kind) => {
                    self.wait_told(ticket, &error.message);
                    // The limit's own time to come back is for senders that do not know of each other. Here, whoever
                    // has waited longest is next.
                    let again = async {
                        match turn {
                            None => turn = Some(self.turn(&tenant).lock_owned().await),
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

    /// The queue of a tenant. There are never many more of them than [`TURNS`] and tenants of records that wait.
    fn turn(&self, tenant: &TenantId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock();
        if turns.len() >= TURNS {
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        Arc::clone(turns.entry(tenant.clone()).or_default())
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

/// Sees to it that a record whose handling panics is passed over: what follows it could never be committed otherwise, and
/// a record that is read again would panic again.
struct Handled<'a> {
    door: &'a Door,
    record: &'a ConsumerRecord,
    ticket: Option<Ticket>,
}

impl Handled<'_> {
    fn done(mut self) {
        if let Some(ticket) = self.ticket.take() {
            ticket.done();
        }
    }
}

impl Drop for Handled<'_> {
    fn drop(&mut self) {
        // Without a panic it was given up, or the process ends.
        if let Some(ticket) = self.ticket.take().filter(|_| std::thread::panicking()) {
            let ConsumerRecord { topic, partition, offset, .. } = self.record;
            let bad = Bad::new(Passed::Internal, "handling it panicked, which is a mistake of Trackway's");
            self.door.pass_over(topic, *partition, *offset, 0, &bad);
            ticket.done();
        }
    }
}

/// What a record keeps in memory.
pub(crate) fn size(record: &ConsumerRecord) -> usize {
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers = record.headers.iter().map(|(name, value)| name.len() + length(value));
    length(&record.key) + length(&record.value) + headers.sum::<usize>()
}

/// The record without what it was read with: the client's are slices of whole batches, which a small record that waits
/// would keep in memory.
pub(crate) fn alone(mut record: ConsumerRecord) -> ConsumerRecord {
    let headers = record.headers.iter_mut().map(|(_, value)| value);
    for bytes in [&mut record.key, &mut record.value].into_iter().chain(headers).flatten() {
        *bytes = Bytes::copy_from_slice(bytes);
    }
    record
}

/// When a record was written, in nanoseconds: the same each time it is read. Records of ancient clients have no time.
fn written_at(millis: i64, clock: &dyn Clock) -> u64 {
    match u64::try_from(millis) {
        Ok(millis) if millis > 0 => millis.saturating_mul(1_000_000),
        _ => clock.now(),
    }
}

fn never_fits(payload: usize, over: OverBudget) -> Bad {
    let OverBudget { wanted, limit, .. } = over;
    Bad::new(
        Passed::TooLarge,
        format!(
            "{payload} bytes, which need {wanted} bytes of memory; that is more than requests may ever have of \
             trackway.memory.limit ({limit} bytes), raise it"
        ),
    )
}

/// Whether a request that was refused so is to be sent again: whatever is not the fault of the request itself. A record is
/// never passed over because we could not keep it. (Spans beyond a tenant's `max_traces_per_user` or `max_bytes_per_trace`
/// are not refused so: they are in the answer of a request that was taken, which does not tell which of them would pass,
/// and are counted and left out as those of any other sender.)
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
