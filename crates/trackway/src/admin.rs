//! What the API shows and does besides answering questions.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use trackway_api::{Admin, ConfigMode, HomeInfo, OwnOverrides, StoredBlocks, TenantLimits, TenantOverrides};
use trackway_cache::Caches;
use trackway_common::{Clock, ErrorKind, MemoryPool, RequestCtx, TenantId};
use trackway_compactor::Compactor;
use trackway_config::{Config, YamlMode};
use trackway_distributor::Distributor;
use trackway_forward::Forwarders;
use trackway_generator::{Format, Generator};
use trackway_ingester::Ingester;
use trackway_kafka::KafkaMetrics;
use trackway_querier::service::QueryError;
use trackway_querier::{Querier, RedactionRequest};
use trackway_receivers::Counts;
use trackway_storage::stores::OpenStore;
use trackway_tail::{Tail, TailError, Tails};

use crate::memory;
use crate::overrides::TenantSettings;
use crate::poll_metrics::PollMetrics;
use crate::user_overrides::UserOverrides;

/// The process, for its API.
#[derive(Debug)]
pub(crate) struct Process {
    /// What tenants may do.
    pub(crate) tenants: Arc<TenantSettings>,
    /// What tenants set for themselves, if they may.
    pub(crate) own_overrides: Option<Arc<UserOverrides>>,
    /// Its configuration.
    pub(crate) config: Config,
    /// Its compactor, unless it only reads.
    pub(crate) compactor: Option<Arc<Compactor>>,
    /// What answers its questions.
    pub(crate) querier: Querier,
    /// What takes spans in.
    pub(crate) distributor: Arc<Distributor>,
    /// Who watches spans arrive.
    pub(crate) tails: Arc<Tails>,
    /// Its ingester.
    pub(crate) ingester: Arc<Ingester>,
    /// Whether it is ready.
    pub(crate) ready: AtomicBool,
    /// Stops it.
    pub(crate) stop: CancellationToken,
    /// The bucket of its blocks; `None` for a local folder.
    pub(crate) bucket: Option<OpenStore>,
    /// Its caches.
    pub(crate) caches: Caches,
    /// What it found when it looked at its blocks.
    pub(crate) polls: Arc<PollMetrics>,
    /// Its clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// Its memory budget.
    pub(crate) memory: MemoryPool,
    /// Where copies of spans go.
    pub(crate) forwarders: Option<Arc<Forwarders>>,
    /// What makes metrics of spans; `None` when it only reads.
    pub(crate) generator: Option<Arc<Generator>>,
    /// What was read from Kafka.
    pub(crate) kafka: Arc<KafkaMetrics>,
    /// What came in by each receiver.
    pub(crate) received: Arc<Counts>,
    /// Where it is reached, for the first page.
    pub(crate) addresses: Vec<(String, String)>,
}

impl Admin for Process {
    fn ready(&self) -> Result<(), String> {
        if self.stop.is_cancelled() {
            return Err("Application is stopping".to_owned());
        }
        if self.ready.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err("Some services are not Running".to_owned())
        }
    }

    fn services(&self) -> Vec<(String, String)> {
        let state = if self.stop.is_cancelled() { "Stopping" } else { "Running" };
        let parts = [
            "compactor",
            "distributor",
            "ingester",
            "metrics-generator",
            "overrides",
            "querier",
            "query-frontend",
            "server",
            "store",
        ];
        parts
            .iter()
            .filter(|part| **part != "compactor" || self.compactor.is_some())
            .filter(|part| **part != "metrics-generator" || self.generator.is_some())
            .map(|part| ((*part).to_owned(), state.to_owned()))
            .collect()
    }

    fn blocks(&self) -> Vec<StoredBlocks> {
        let of_tenant = |tenant: TenantId| {
            let blocks = self.ingester.blocks(&tenant);
            StoredBlocks {
                tenant: tenant.to_string(),
                blocks: blocks.len(),
                bytes: blocks.iter().map(|entry| entry.meta.size).sum(),
                filter_bytes: blocks.iter().map(|entry| entry.meta.filter_bytes).sum(),
            }
        };
        self.ingester.tenants().into_iter().map(of_tenant).collect()
    }

    fn config_yaml(&self, mode: ConfigMode) -> String {
        self.config.to_yaml(match mode {
            ConfigMode::Current => YamlMode::Full,
            ConfigMode::Diff => YamlMode::Diff,
            ConfigMode::Defaults => YamlMode::Defaults,
        })
    }

    fn runtime_config_yaml(&self, diff: bool) -> String {
        let own = self.own_overrides.as_ref().map(|own| own.all_yaml()).unwrap_or_default();
        self.tenants.runtime_yaml(diff) + &own
    }

    fn tenants_with_overrides(&self) -> Vec<TenantOverrides> {
        let by_name = |one: TenantOverrides| (one.name.clone(), one);
        let mut all: BTreeMap<String, TenantOverrides> =
            self.tenants.tenants().into_iter().map(by_name).collect();
        for tenant in self.own_overrides.iter().flat_map(|own| own.names()) {
            let name = tenant.to_string();
            let none = || TenantOverrides { name: name.clone(), runtime: false, user_configurable: true };
            all.entry(name.clone()).or_insert_with(none).user_configurable = true;
        }
        all.into_values().collect()
    }

    fn tenant_overrides(&self, tenant: &str) -> TenantLimits {
        let own = self.own_overrides.as_ref().zip(TenantId::new(tenant).ok());
        let user_configurable = own.map(|(own, tenant)| own.yaml(&tenant)).unwrap_or_default();
        TenantLimits { user_configurable, ..self.tenants.of_tenant(tenant) }
    }

    fn own_overrides(&self) -> Option<&dyn OwnOverrides> {
        self.own_overrides.as_deref().map(|own| own as &dyn OwnOverrides)
    }

    fn flush(&self, tenant: Option<TenantId>) -> BoxFuture<'_, Result<(), QueryError>> {
        Box::pin(async move {
            if let Some(tenant) = &tenant
                && !self.ingester.tenants().contains(tenant)
            {
                return Err(QueryError::new(ErrorKind::NotFound, format!("tenant {tenant} is not known")));
            }
            let flushed = self.ingester.flush(tenant.as_ref()).await;
            flushed.map(|_| ()).map_err(|error| QueryError::new(ErrorKind::Internal, error))
        })
    }

    fn redact(
        &self,
        ctx: RequestCtx,
        asked: RedactionRequest,
        dry_run: bool,
    ) -> BoxFuture<'_, Result<serde_json::Value, QueryError>> {
        Box::pin(self.redact_now(ctx, asked, dry_run))
    }

    fn redactions(&self, tenant: &TenantId, id: Option<&str>) -> Result<serde_json::Value, QueryError> {
        self.shown(tenant, id)
    }

    fn tail(&self, tenants: &[TenantId], query: &str) -> Result<Tail, TailError> {
        if self.config.trackway.read_only {
            return Err(TailError::ReadOnly);
        }
        self.tails.open(tenants, query)
    }

    fn usage_metrics(&self) -> Option<String> {
        self.distributor.usage_metrics()
    }

    fn generated_metrics(&self, tenant: &TenantId, accept: &str) -> Option<(&'static str, String)> {
        let format = Format::accepted(accept);
        let text = self.generator.as_ref()?.generated(tenant, format)?;
        Some((format.content_type(), text))
    }

    fn shutdown(&self) {
        self.stop.cancel();
    }

    fn metrics_text(&self) -> String {
        let mut text = String::new();
        self.ingester.metrics.write(&mut text);
        self.tenants.write_metrics(&mut text);
        if let Some(own) = &self.own_overrides {
            own.write_metrics(&mut text);
        }
        self.distributor.write_metrics(&mut text);
        self.received.write(&mut text);
        if let Some(forwarders) = &self.forwarders {
            forwarders.write_metrics(&mut text);
        }
        self.kafka.write(&mut text);
        if let Some(generator) = &self.generator {
            generator.write_metrics(&mut text);
        }
        if let Some(bucket) = &self.bucket {
            bucket.metrics.write(&mut text);
        }
        let now = Timestamp::from_nanosecond(i128::from(self.clock.now())).unwrap_or_default();
        self.polls.write(&mut text, now);
        memory::write_metrics(&self.memory, &mut text);
        self.caches.write_metrics(&mut text);
        self.write_redaction_metrics(&mut text);
        let live = self.ingester.live_traces();
        for name in ["tempo_ingester_live_traces", "tempo_live_store_live_traces"] {
            let _ = writeln!(text, "# HELP {name} Traces that are being received.\n# TYPE {name} gauge");
            for (tenant, traces) in &live {
                let _ = writeln!(text, "{name}{{tenant=\"{tenant}\"}} {traces}");
            }
        }
        let (spans, bytes) = self.ingester.live();
        if let Some(compactor) = &self.compactor {
            compactor.metrics.write(&mut text);
        }
        for (name, help, value) in [
            ("trackway_tails", "Tails that are open.", self.tails.count()),
            ("trackway_live_spans", "Spans that are not in a block yet.", spans),
            ("trackway_head_bytes", "Bytes of spans in memory.", bytes),
        ] {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
        }
        text
    }

    fn memory_page(&self) -> String {
        memory::page(&self.memory)
    }

    fn home(&self) -> HomeInfo {
        HomeInfo {
            title: crate::help::version(),
            facts: self.addresses.clone(),
            commands: vec![
                ("send a demo".to_owned(), "trackway demo".to_owned()),
                ("all errors".to_owned(), "trackway search '{ status = error }'".to_owned()),
            ],
        }
    }
}
