//! The distributor's service: one [`Push`] over one ingester.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::BoxFuture;
use trackway_common::{Clock, ErrorKind, Kinded, TenantId};
use trackway_forward::Forwarders;
use trackway_ingester::{IngestError, Ingester};
use trackway_spans::{Appended, Refusal, peek_request};
use trackway_tail::Tails;

use crate::log::{LogSpans, SpanLog, Why};
use crate::push::{Push, PushError, PushRequest, PushResponse};
use crate::rate::{OverRate, Rates, local_rate};
use crate::received::{MetricSpans, ReceivedSpans};
use crate::seen::Seen;
use crate::usage::{Usage, UsageConfig};

/// Settings of the distributor.
#[derive(Clone, Debug)]
pub struct DistributorConfig {
    /// `distributor.log_received_spans`
    pub log_received_spans: LogSpans,
    /// `distributor.log_discarded_spans`
    pub log_discarded_spans: LogSpans,
    /// `distributor.metric_received_spans`
    pub metric_received_spans: MetricSpans,
    /// `distributor.usage.cost_attribution`, if it is enabled.
    pub usage: Option<UsageConfig>,
    /// When to come back after being told that there is too much; `distributor.retry_after_on_resource_exhausted`.
    pub retry_after: Option<Duration>,
}

/// Distributors that share a tenant's global rate: this process is the only one.
const DISTRIBUTORS: u64 = 1;

/// Where a limit is set, for messages.
const WHERE: &str =
    "in overrides.defaults, or in the tenant's entry of the file overrides.per_tenant_override_config";

/// Spans that were refused of which the reason is told.
const REASONS_TOLD: usize = 8;

/// When to come back where the configuration does not say.
const COME_BACK: Duration = Duration::from_secs(1);

/// Takes batches in.
#[derive(Debug)]
pub struct Distributor {
    ingester: Arc<Ingester>,
    metric_spans: MetricSpans,
    retry_after: Option<Duration>,
    seen: Seen,
    rates: Rates,
    received_log: SpanLog,
    discarded_log: SpanLog,
    received_spans: ReceivedSpans,
    usage: Option<Usage>,
    tails: Arc<Tails>,
    clock: Arc<dyn Clock>,
    forwarders: Option<Arc<Forwarders>>,
}

impl Distributor {
    /// Hands batches to `ingester`, and shows them to `tails`.
    pub fn new(
        ingester: Arc<Ingester>,
        config: DistributorConfig,
        tails: Arc<Tails>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            ingester,
            metric_spans: config.metric_received_spans,
            retry_after: config.retry_after,
            seen: Seen::default(),
            rates: Rates::default(),
            received_log: SpanLog::new("received", config.log_received_spans),
            discarded_log: SpanLog::new("discarded", config.log_discarded_spans),
            received_spans: ReceivedSpans::default(),
            usage: config.usage.map(Usage::new),
            tails,
            clock,
            forwarders: None,
        }
    }

    /// Copies what was accepted to these.
    #[must_use]
    pub fn with_forwarders(self, forwarders: Option<Arc<Forwarders>>) -> Self {
        Self { forwarders, ..self }
    }

    /// Appends metrics in Prometheus's text format.
    pub fn write_metrics(&self, out: &mut String) {
        if self.metric_spans.enabled {
            self.received_spans.write(out);
        }
    }

    /// Bytes by attribute, in Prometheus's text format; `None` if they are not counted.
    pub fn usage_metrics(&self) -> Option<String> {
        let mut out = String::new();
        self.usage.as_ref()?.write(&mut out, self.clock.monotonic());
        Some(out)
    }

    /// Refuses a request that is more than its tenant may send now.
    fn limit_rate(&self, request: &PushRequest) -> Result<(), PushError> {
        let (tenant, bytes) = (&request.tenant, request.body.len() as u64);
        let limits = self.ingester.overrides().for_tenant(tenant);
        let (local, burst) = (local_rate(&limits, DISTRIBUTORS), limits.burst_size_bytes);
        let Err(over) = self.rates.take(tenant, (local, burst), bytes, self.clock.monotonic()) else {
            return Ok(());
        };
        let spans = peek_request(&request.body).map_err(IngestError::from);
        let spans = spans.map_err(|error| self.refusal(&error, tenant))?;
        self.ingester.metrics.discarded(tenant, "rate_limited", u64::from(spans));
        self.discarded_log.log(tenant, &request.body, Why::All("RATE_LIMITED"), self.clock.monotonic());
        let global = if limits.rate_is_global { limits.rate_limit_bytes } else { 0 };
        let limit = format!("(local: {local} bytes/s, global: {global} bytes/s, burst: {burst} bytes)");
        let (what, setting) = match over {
            OverRate::Now => (
                format!(
                    "ingestion rate limit {limit} exceeded while adding {bytes} bytes for user {tenant}. consider \
                     increasing the limit or reducing ingestion rate"
                ),
                "ingestion.rate_limit_bytes",
            ),
            OverRate::Always => (
                format!(
                    "batch size ({bytes} bytes) exceeds ingestion limit {limit} while adding {bytes} bytes for user \
                     {tenant}. consider reducing the batch size or increasing the limit"
                ),
                "ingestion.burst_size_bytes",
            ),
        };
        let message = format!("RATE_LIMITED: {what}. the setting is {setting} {WHERE}");
        let retry_after = self.retry_after(tenant);
        let never = over == OverRate::Always;
        Err(PushError { retry_after, never, ..PushError::new(ErrorKind::Exhausted, message) })
    }

    /// When a tenant's senders are told to come back.
    fn retry_after(&self, tenant: &TenantId) -> Option<Duration> {
        let told = self.ingester.overrides().for_tenant(tenant).retry_info_enabled;
        self.retry_after.filter(|_| told)
    }

    async fn take(&self, request: PushRequest) -> Result<PushResponse, PushError> {
        self.limit_rate(&request)?;
        let appended = self.ingester.push(request.tenant.clone(), request.body.clone()).await;
        if appended.as_ref().map_or(true, |appended| appended.again) {
            self.rates.give_back(&request.tenant, request.body.len() as u64);
        }
        let appended = appended.map_err(|error| self.refusal(&error, &request.tenant))?;
        self.announce(&request);
        self.watch(&request, &appended);
        if let Some(forwarders) = self.forwarders.as_ref().filter(|_| appended.spans > 0 && !appended.again) {
            let refused = appended.refused.iter().map(|refused| refused.ordinal);
            forwarders.forward(&request.tenant, &request.body, refused);
        }
        let is_limited = appended.refused.iter().any(|refused| refused.reason.is_limit());
        if let (0, false, Some(first)) = (appended.spans, is_limited, appended.refused.first()) {
            return Err(PushError::new(ErrorKind::Invalid, first.reason.to_string()));
        }
        let tenant = &request.tenant;
        let told = |reason: Refusal| match reason.is_limit() {
            true => format!("{reason} of tenant {tenant} {WHERE}"),
            false => reason.to_string(),
        };
        // A request may have half a million of them, and a sender reads a few.
        let refused = appended.refused.iter().enumerate().map(|(place, refused)| {
            let text = if place < REASONS_TOLD { told(refused.reason) } else { String::new() };
            (refused.ordinal, text)
        });
        Ok(PushResponse { accepted: appended.spans, refused: refused.collect() })
    }

    fn refusal(&self, error: &IngestError, tenant: &TenantId) -> PushError {
        let kind = error.kind();
        let retry_after = match error {
            // It passes in any case, and without a time to come back senders throw the spans away.
            IngestError::Memory { .. } => Some(self.retry_after.unwrap_or(COME_BACK)),
            _ if matches!(kind, ErrorKind::Exhausted | ErrorKind::Unavailable) => self.retry_after(tenant),
            _ => None,
        };
        PushError { retry_after, ..PushError::new(kind, error.to_string()) }
    }

    fn announce(&self, request: &PushRequest) {
        for service in self.seen.new_in(&request.tenant, &request.body) {
            let single = request.tenant == TenantId::single();
            tracing::info!(
                tenant = (!single).then_some(request.tenant.as_str()),
                "receiving from service={} namespace={} ({}, {})",
                service.name,
                service.namespace,
                request.protocol,
                if service.sdk.is_empty() {
                    request.sender.as_deref().unwrap_or("unknown sender")
                } else {
                    &service.sdk
                },
            );
        }
    }

    /// What is counted, logged and shown of a request that was taken in. Nothing of it is done unless it is asked for.
    fn watch(&self, request: &PushRequest, appended: &Appended) {
        let (tenant, body, now) = (&request.tenant, &request.body, || self.clock.monotonic());
        if self.received_log.is_on() {
            self.received_log.log(tenant, body, Why::None, now());
        }
        if self.discarded_log.is_on() && !appended.refused.is_empty() {
            let reasons =
                appended.refused.iter().map(|refused| (refused.ordinal, push_error(refused.reason)));
            self.discarded_log.log(tenant, body, Why::Each(&reasons.collect()), now());
        }
        let nothing_kept =
            appended.spans == 0 && appended.refused.iter().all(|refused| refused.reason.is_limit());
        if appended.again || nothing_kept {
            return;
        }
        if self.metric_spans.enabled {
            self.received_spans.observe(tenant, body, self.metric_spans.root_only);
        }
        if let Some(usage) = &self.usage {
            let limits = self.ingester.overrides().for_tenant(tenant);
            usage.observe(tenant, (&limits.cost_dimensions, limits.cost_max_cardinality), body, now());
        }
        if self.tails.count() > 0 {
            let limit = self.ingester.overrides().for_tenant(tenant).max_attribute_bytes;
            let refused = || appended.refused.iter().map(|refused| refused.ordinal).collect();
            self.tails.offer(tenant, body, limit, refused);
        }
    }
}

/// A refusal as Tempo names it in its log.
fn push_error(reason: Refusal) -> String {
    match reason {
        Refusal::LiveTraces { .. } => "MAX_LIVE_TRACES".to_owned(),
        other => other.label().to_ascii_uppercase(),
    }
}

impl Push for Distributor {
    fn push(&self, request: PushRequest) -> BoxFuture<'_, Result<PushResponse, PushError>> {
        Box::pin(async move {
            let began = self.clock.monotonic();
            let taken = self.take(request).await;
            let metrics = &self.ingester.metrics;
            metrics.pushes.record(self.clock.monotonic().saturating_sub(began));
            if taken
                .as_ref()
                .is_err_and(|error| matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Internal))
            {
                metrics.failed_pushes.fetch_add(1, Ordering::Relaxed);
            }
            taken
        })
    }

    fn discarded(&self, tenant: &TenantId, reason: &'static str, spans: u64) {
        self.ingester.metrics.discarded(tenant, reason, spans);
    }
}
