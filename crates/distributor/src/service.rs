//! The distributor's service: one [`Push`] over one ingester.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use trackway_common::{Clock, ErrorKind, Kinded, TenantId};
use trackway_forward::Forwarders;
use trackway_ingester::{IngestError, Ingester};
use trackway_spans::{Appended, BatchBuilder, Limits, Refusal, append_request, peek_request, span_lines};

use crate::push::{Push, PushError, PushRequest, PushResponse};
use crate::rate::{OverRate, Rates, local_rate};
use crate::seen::Seen;

/// Which spans are logged (`log_received_spans`, `log_discarded_spans`).
#[derive(Clone, Copy, Debug, Default)]
pub struct LogSpans {
    /// Whether any are.
    pub enabled: bool,
    /// With all their attributes.
    pub include_all_attributes: bool,
    /// Only those with status error.
    pub filter_by_status_error: bool,
}

/// Settings of the distributor.
#[derive(Clone, Debug)]
pub struct DistributorConfig {
    /// `distributor.log_received_spans`
    pub log_received_spans: LogSpans,
    /// `distributor.log_discarded_spans`
    pub log_discarded_spans: LogSpans,
    /// When to come back after being told that there is too much; `distributor.retry_after_on_resource_exhausted`.
    pub retry_after: Option<Duration>,
}

/// Distributors that share a tenant's global rate: this process is the only one.
const DISTRIBUTORS: u64 = 1;

/// Where a limit is set, for messages.
const WHERE: &str =
    "in overrides.defaults, or in the tenant's entry of the file overrides.per_tenant_override_config";

/// When to come back where the configuration does not say.
const COME_BACK: Duration = Duration::from_secs(1);

/// Takes batches in.
#[derive(Debug)]
pub struct Distributor {
    ingester: Arc<Ingester>,
    config: DistributorConfig,
    seen: Seen,
    rates: Rates,
    clock: Arc<dyn Clock>,
    forwarders: Option<Arc<Forwarders>>,
}

impl Distributor {
    /// Hands batches to `ingester`.
    pub fn new(ingester: Arc<Ingester>, config: DistributorConfig, clock: Arc<dyn Clock>) -> Self {
        Self { ingester, config, seen: Seen::default(), rates: Rates::default(), clock, forwarders: None }
    }

    /// Copies what was accepted to these.
    #[must_use]
    pub fn with_forwarders(self, forwarders: Option<Arc<Forwarders>>) -> Self {
        Self { forwarders, ..self }
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
        let global = if limits.rate_is_global { limits.rate_limit_bytes } else { 0 };
        let limit = format!("(local: {local} bytes/s, global: {global} bytes/s, burst: {burst} bytes)");
        Err(match over {
            OverRate::Now => PushError {
                kind: ErrorKind::Exhausted,
                message: format!(
                    "RATE_LIMITED: ingestion rate limit {limit} exceeded while adding {bytes} bytes for user {tenant}. \
                     consider increasing the limit or reducing ingestion rate. the setting is \
                     ingestion.rate_limit_bytes {WHERE}"
                ),
                retry_after: self.retry_after(tenant),
            },
            // It is too large at any time: sent again it would be refused again.
            OverRate::Always => PushError::new(
                ErrorKind::TooLarge,
                format!(
                    "RATE_LIMITED: batch size ({bytes} bytes) exceeds ingestion limit {limit} while adding {bytes} bytes \
                     for user {tenant}. consider reducing the batch size or increasing the limit. the setting is \
                     ingestion.burst_size_bytes {WHERE}"
                ),
            ),
        })
    }

    /// When a tenant's senders are told to come back.
    fn retry_after(&self, tenant: &TenantId) -> Option<Duration> {
        let told = self.ingester.overrides().for_tenant(tenant).retry_info_enabled;
        self.config.retry_after.filter(|_| told)
    }

    async fn take(&self, request: PushRequest) -> Result<PushResponse, PushError> {
        self.limit_rate(&request)?;
        let appended = self.ingester.push(request.tenant.clone(), request.body.clone()).await;
        let appended = appended.map_err(|error| self.refusal(&error, &request.tenant))?;
        self.announce(&request);
        self.log_spans(&request, &appended);
        if let Some(forwarders) = self.forwarders.as_ref().filter(|_| appended.spans > 0 && !appended.known) {
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
        let refused = appended.refused.iter().map(|refused| (refused.ordinal, told(refused.reason)));
        Ok(PushResponse { accepted: appended.spans, refused: refused.collect() })
    }

    fn refusal(&self, error: &IngestError, tenant: &TenantId) -> PushError {
        let kind = error.kind();
        let retry_after = match error {
            // It passes in any case, and without a time to come back senders throw the spans away.
            IngestError::Memory { .. } => Some(self.config.retry_after.unwrap_or(COME_BACK)),
            _ if matches!(kind, ErrorKind::Exhausted | ErrorKind::Unavailable) => self.retry_after(tenant),
            _ => None,
        };
        PushError { kind, message: error.to_string(), retry_after }
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

    /// Logs spans when the configuration asks for it. They are read once more for it: it is off as a rule.
    fn log_spans(&self, request: &PushRequest, appended: &Appended) {
        let received = self.config.log_received_spans;
        if received.enabled {
            let mut builder = BatchBuilder::new();
            let unlimited = Limits { max_attribute_bytes: 0 };
            if append_request(&mut builder, &request.body, unlimited, &[]).is_ok() {
                let batch = builder.finish();
                let only_errors = received.filter_by_status_error;
                for line in span_lines(&batch, received.include_all_attributes, only_errors) {
                    tracing::info!(tenant = %request.tenant, "received {line}");
                }
            }
        }
        if self.config.log_discarded_spans.enabled {
            for refused in &appended.refused {
                tracing::info!(
                    tenant = %request.tenant, ordinal = refused.ordinal, reason = %refused.reason, "discarded"
                );
            }
        }
    }
}

impl Push for Distributor {
    fn push(&self, request: PushRequest) -> BoxFuture<'_, Result<PushResponse, PushError>> {
        Box::pin(self.take(request))
    }
}
