//! Looks at the store again and again: which blocks are there, and what is to be tidied up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use trackway_common::Clock;
use trackway_compactor::Compactor;
use trackway_config::Config;
use trackway_storage::{BlockStore, Catalog, PollOptions, Polled};

use crate::poll_metrics::PollMetrics;

/// The list of blocks, kept fresh.
#[derive(Clone, Debug)]
pub(crate) struct BlockList {
    catalog: Arc<Catalog>,
    store: BlockStore,
    options: PollOptions,
    period: Duration,
    clock: Arc<dyn Clock>,
    metrics: Arc<PollMetrics>,
}

impl BlockList {
    pub(crate) fn new(
        config: &Config,
        catalog: &Arc<Catalog>,
        store: &BlockStore,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let trace = &config.storage.trace;
        Self {
            catalog: Arc::clone(catalog),
            store: store.clone(),
            options: PollOptions {
                blocks_at_once: trace.blocklist_poll_concurrency as usize,
                tenants_at_once: trace.blocklist_poll_tenant_concurrency as usize,
            },
            period: trace.blocklist_poll.as_std().max(Duration::from_secs(1)),
            clock: Arc::clone(clock),
            metrics: Arc::new(PollMetrics::new(store.clone(), !config.trackway.read_only)),
        }
    }

    /// What the looks cost and found.
    pub(crate) fn metrics(&self) -> Arc<PollMetrics> {
        Arc::clone(&self.metrics)
    }

    /// Looks once.
    pub(crate) async fn look(&self) -> anyhow::Result<Polled> {
        let started = self.clock.monotonic();
        let polled = self.catalog.poll(&self.store, self.options).await;
        self.metrics.looked(self.clock.monotonic().saturating_sub(started), polled.as_ref().ok());
        let polled = polled?;
        let mut formats: BTreeMap<&str, usize> = BTreeMap::new();
        for block in &polled.unreadable {
            match &block.format {
                // There may be thousands.
                Some(format) => *formats.entry(format).or_default() += 1,
                None => tracing::warn!(problem = block.problem, "block cannot be read and is left out"),
            }
        }
        for (format, count) in formats {
            tracing::warn!(
                format,
                count,
                "blocks of this format are not read by this version and are left out"
            );
        }
        for (tenant, error) in &polled.failed {
            tracing::warn!(%tenant, error, "the tenant's blocks cannot be listed; what is known is searched");
        }
        Ok(polled)
    }

    /// Looks again and again, and lets the compactor tidy up, if there is one.
    pub(crate) async fn run(self, compactor: Option<Work>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.period) => {}
            }
            let polled = match self.look().await {
                Ok(polled) => polled,
                Err(error) => {
                    tracing::warn!(%error, "the store cannot be listed; what is known is searched");
                    continue;
                }
            };
            if let Some(work) = compactor.as_ref().filter(|work| work.may_begin()) {
                work.tidy(&polled).await;
            }
        }
    }
}

/// The compactor, and when it may begin.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    compactor: Arc<Compactor>,
    clock: Arc<dyn Clock>,
    begins: jiff::Timestamp,
}

/// How often a compactor that waits looks whether its time has come.
const WAIT: Duration = Duration::from_secs(60);

impl Work {
    /// Asks the compactor when it may begin, which is written down in the store.
    pub(crate) async fn new(compactor: Arc<Compactor>, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let begins = compactor.may_start_at().await?;
        Ok(Self { compactor, clock, begins })
    }

    pub(crate) fn compactor(&self) -> Arc<Compactor> {
        Arc::clone(&self.compactor)
    }

    fn may_begin(&self) -> bool {
        i128::from(self.clock.now()) >= self.begins.as_nanosecond()
    }

    async fn tidy(&self, polled: &Polled) {
        for (tenant, looked) in &polled.looked {
            self.compactor.tidy(tenant, looked).await;
        }
    }

    /// Merges blocks until it is told to stop. `polled` is the first look at the store.
    pub(crate) async fn run(self, polled: Polled, stop: CancellationToken) {
        while !self.may_begin() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.compactor.redacts_in(WAIT)) => {}
                () = self.compactor.store().redactions().wake.notified() => {}
            }
            // Somebody asked for that.
            self.compactor.redact().await;
        }
        self.tidy(&polled).await;
        drop(polled);
        self.compactor.run(stop).await;
    }
}
