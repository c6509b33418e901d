//! Blocks as questions and merges see them: without what is hidden.

use std::collections::BTreeMap;
use std::sync::Arc;

use trackway_common::{TenantId, TraceId};
use trackway_engine::whole_trace_needs;
use trackway_spans::{Columns, Needs};
use trackway_vparquet::meta::BlockMeta;
use uuid::Uuid;

use super::{Hidden, Redaction, Removal};
use crate::blocks::{BlockStore, StoreError};
use crate::reader::BlockReader;

impl BlockReader {
    /// Changes whenever another set of spans is hidden of a tenant: what was computed before must not be answered then.
    pub fn redactions_version(&self, tenant: &TenantId) -> u64 {
        self.store().redactions().version(tenant)
    }

    /// Changes whenever that of any tenant does.
    pub fn redactions_changes(&self) -> u64 {
        self.store().redactions().changes()
    }

    /// What is hidden of a tenant.
    pub fn hidden(&self, tenant: &TenantId) -> Option<Arc<Hidden>> {
        self.store().redactions().hidden(tenant)
    }

    /// What is hidden of a tenant, if a row group has rows of it.
    pub(crate) async fn hides(
        &self,
        tenant: &TenantId,
        meta: &BlockMeta,
        row_group: usize,
    ) -> Result<Option<Arc<Hidden>>, StoreError> {
        let Some(hidden) = self.hidden(tenant) else { return Ok(None) };
        let (key, looked_at) =
            ((meta.block_id, row_group, hidden.version()), &self.store().redactions().looked_at);
        let touched = match looked_at.get(&key) {
            Some(touched) => touched,
            None => {
                let ids = self.trace_ids(tenant, meta, row_group).await?;
                let touched = hidden.touches(ids.iter().copied());
                looked_at.insert(key, touched);
                touched
            }
        };
        Ok(touched.then_some(hidden))
    }

    /// What a block has of redactions: for each that finds something what it removes. A block that has nothing needs not be
    /// written anew.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read or is damaged.
    pub async fn redacted_in(
        &self,
        tenant: &TenantId,
        meta: &Arc<BlockMeta>,
        redactions: &[Arc<Redaction>],
    ) -> Result<BTreeMap<Uuid, Removal>, StoreError> {
        let mut found: BTreeMap<Uuid, Removal> = BTreeMap::new();
        let row_groups = self.open(tenant, meta).await?.row_groups();
        let mut needs = Needs::default();
        needs.add(Columns::ID);
        for row_group in 0..row_groups {
            let Some(hidden) = self.hides(tenant, meta, row_group).await? else { continue };
            let ids = self.trace_ids(tenant, meta, row_group).await?;
            let is_named = |(_, id): &(u32, &TraceId)| hidden.touches([**id]);
            let rows: Vec<u32> = (0..).zip(ids.iter()).filter(is_named).map(|(row, _)| row).collect();
            let loaded = self.load_all(tenant, meta, row_group, Some(rows), &needs).await?;
            for redaction in redactions {
                let mut of_trace: BTreeMap<u32, u64> = BTreeMap::new();
                let batch = &loaded.batch;
                for (trace, span) in batch.spans.trace.iter().zip(batch.spans.id.iter()) {
                    let which = redaction.targets.get(&batch.traces.id(*trace as usize));
                    if which.is_some_and(|which| which.has(*span)) {
                        *of_trace.entry(*trace).or_default() += 1;
                    }
                }
                if !of_trace.is_empty() {
                    let removal = found.entry(redaction.id).or_default();
                    removal.traces += of_trace.len() as u64;
                    removal.spans += of_trace.values().sum::<u64>();
                }
            }
        }
        Ok(found)
    }
}

/// What reading takes where something is hidden: what tells spans and whole traces apart.
pub(crate) fn with_whole_traces(needs: &Needs) -> Needs {
    let mut needs = needs.clone();
    needs.merge(&whole_trace_needs());
    needs
}

impl BlockStore {
    /// What `meta.compacted.json` says of a block that was replaced. `None` when it is gone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn replaced_meta(
        &self,
        tenant: &TenantId,
        block: Uuid,
    ) -> Result<Option<Arc<BlockMeta>>, StoreError> {
        let path = self.path(tenant, block, "meta.compacted.json");
        let json = match self.get(&path).await {
            Ok(json) => json,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let damaged = |error: serde_json::Error| StoreError::Damaged {
            path: path.to_string(),
            problem: error.to_string(),
        };
        serde_json::from_slice(&json).map(|meta| Some(Arc::new(meta))).map_err(damaged)
    }

    /// What can be said of a data file that has no `meta.json`. `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn unfinished_meta(
        &self,
        tenant: &TenantId,
        block: Uuid,
    ) -> Result<Option<Arc<BlockMeta>>, StoreError> {
        let path = self.path(tenant, block, "data.parquet");
        let Some(size) = self.size(&path).await? else { return Ok(None) };
        let json = serde_json::json!({
            "format": "vParquet4", "blockID": block, "size": size,
            "startTime": "1970-01-01T00:00:00Z", "endTime": "1970-01-01T00:00:00Z",
        });
        let damaged = |error: serde_json::Error| StoreError::Damaged {
            path: path.to_string(),
            problem: error.to_string(),
        };
        serde_json::from_value(json).map(|meta| Some(Arc::new(meta))).map_err(damaged)
    }
}
