//! The distributor's service: one [`Push`] over one ingester.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use trackway_common::{ErrorKind, Kinded, TenantId};
use trackway_ingester::{IngestError, Ingester};
use trackway_spans::{Appended, BatchBuilder, Limits, append_request, span_lines};

use crate::push::{Push, PushError, PushRequest, PushResponse};
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

/// When to come back where the configuration does not say.
const COME_BACK: Duration = Duration::from_secs(1);

/// Takes batches in.
#[derive(Debug)]
pub struct Distributor {
    ingester: Arc<Ingester>,
    config: DistributorConfig,
    seen: Seen,
}

impl Distributor {
    /// Hands batches to `ingester`.
    pub fn new(ingester: Arc<Ingester>, config: DistributorConfig) -> Self {
        Self { ingester, config, seen: Seen::default() }
    }

    async fn take(&self, request: PushRequest) -> Result<PushResponse, PushError> {
        let appended = self.ingester.push(request.tenant.clone(), request.body.clone()).await;
        let appended = appended.map_err(|error| self.refusal(&error))?;
        self.announce(&request);
        self.log_spans(&request, &appended);
        if appended.spans == 0 && !appended.refused.is_empty() {
            let reason = appended.refused[0].reason.to_string();
            return Err(PushError::new(ErrorKind::Invalid, reason));
        }
        let refused = appended.refused.iter().map(|refused| (refused.ordinal, refused.reason.to_string()));
        Ok(PushResponse { accepted: appended.spans, refused: refused.collect() })
    }

    fn refusal(&self, error: &IngestError) -> PushError {
        let kind = error.kind();
        let retry_after = match error {
            // It passes in any case, and without a time to come back senders throw the spans away.
            IngestError::Memory { .. } => Some(self.config.retry_after.unwrap_or(COME_BACK)),
            _ if matches!(kind, ErrorKind::Exhausted | ErrorKind::Unavailable) => self.config.retry_after,
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
