//! The catalogue: which blocks exist. One ordered log of commits a tenant, kept in this process.
//!
//! What must stay true: a block that names its inputs replaces them in one step, and a second block over any of the same
//! inputs is refused; so a reader sees the inputs or the output, never both and never neither.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use trackway_common::TenantId;
use trackway_vparquet::meta::{BlockMeta, Format};
use uuid::Uuid;

use crate::blocks::{BlockStore, StoreError};

/// Records of an ingester's log whose spans are in a block: `trackwayLog` in `meta.json`, which Tempo ignores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRanges {
    /// Which log.
    pub log: Uuid,
    /// First and last sequence of each run, ascending.
    pub ranges: Vec<(u64, u64)>,
}

impl LogRanges {
    /// From any sequences.
    pub fn new(log: Uuid, mut sequences: Vec<u64>) -> Self {
        sequences.sort_unstable();
        sequences.dedup();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for sequence in sequences {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == sequence => *last = sequence,
                _ => ranges.push((sequence, sequence)),
            }
        }
        Self { log, ranges }
    }

    /// Whether a record of the log is among them.
    pub fn contains(&self, sequence: u64) -> bool {
        let at = self.ranges.partition_point(|(_, last)| *last < sequence);
        self.ranges.get(at).is_some_and(|(first, _)| *first <= sequence)
    }
}

/// A block that exists.
#[derive(Clone, Debug)]
pub struct BlockEntry {
    /// What it says about itself.
    pub meta: Arc<BlockMeta>,
    /// The records that it was made of, when this process or one before it in the same folder made it.
    pub log: Option<LogRanges>,
}

/// A block that lies in the store and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableBlock {
    /// Which one.
    pub id: Uuid,
    /// What is wrong with it, and where it lies.
    pub problem: String,
    /// Its format, when that is what is wrong.
    pub format: Option<String>,
    /// Its first and last second, when it says so.
    pub range: Option<(Timestamp, Timestamp)>,
}

impl UnreadableBlock {
    /// Whether something between two times (Unix nanoseconds, `None` for all time) may be in it.
    pub fn may_overlap(&self, range: Option<(u64, u64)>) -> bool {
        let (Some((first, last)), Some((start, end))) = (self.range, range) else { return true };
        // Times in `meta.json` may be cut to whole seconds.
        first.as_nanosecond() <= i128::from(end) && last.as_nanosecond() + 1_000_000_000 >= i128::from(start)
    }
}

/// A commit that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// A block that is to be replaced is not there: somebody else replaced it.
    #[error("block {0} is not in the catalogue any more")]
    Conflict(Uuid),
}

/// Decides which blocks exist.
pub trait BlockCatalog: Send + Sync + std::fmt::Debug {
    /// Adds blocks and takes others away, in one step.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] when one of `remove` is not there; nothing happens then.
    fn commit(&self, tenant: &TenantId, add: Vec<BlockEntry>, remove: &[Uuid]) -> Result<u64, CatalogError>;

    /// Announces a block that is about to be written: a look at the store does not add it, only its own commit does.
    fn announce(&self, block: Uuid);

    /// The blocks of a tenant now.
    fn blocks(&self, tenant: &TenantId) -> Arc<Vec<BlockEntry>>;

    /// The blocks of a tenant that the last look at the store found and could not read.
    fn unreadable(&self, tenant: &TenantId) -> Arc<Vec<UnreadableBlock>>;

    /// The tenants that have blocks.
    fn tenants(&self) -> Vec<TenantId>;
}

/// A catalogue in memory, filled from what lies in the store.
#[derive(Debug, Default)]
pub struct Catalog {
    tenants: RwLock<BTreeMap<TenantId, TenantBlocks>>,
    announced: RwLock<HashSet<Uuid>>,
}

#[derive(Debug, Default)]
struct TenantBlocks {
    sequence: u64,
    blocks: Arc<Vec<BlockEntry>>,
    removed: HashSet<Uuid>,
    unreadable: Arc<Vec<UnreadableBlock>>,
}

impl BlockCatalog for Catalog {
    fn commit(&self, tenant: &TenantId, add: Vec<BlockEntry>, remove: &[Uuid]) -> Result<u64, CatalogError> {
        let mut tenants = self.tenants.write();
        let state = tenants.entry(tenant.clone()).or_default();
        let known: HashSet<Uuid> = state.blocks.iter().map(|entry| entry.meta.block_id).collect();
        if let Some(gone) = remove.iter().find(|id| !known.contains(id)) {
            return Err(CatalogError::Conflict(*gone));
        }
        let kept = state.blocks.iter().filter(|entry| !remove.contains(&entry.meta.block_id)).cloned();
        let new = add.into_iter().filter(|entry| !known.contains(&entry.meta.block_id));
        state.blocks = Arc::new(kept.chain(new).collect());
        state.removed.extend(remove);
        state.sequence += 1;
        Ok(state.sequence)
    }

    fn announce(&self, block: Uuid) {
        self.announced.write().insert(block);
    }

    fn blocks(&self, tenant: &TenantId) -> Arc<Vec<BlockEntry>> {
        self.tenants.read().get(tenant).map(|state| Arc::clone(&state.blocks)).unwrap_or_default()
    }

    fn unreadable(&self, tenant: &TenantId) -> Arc<Vec<UnreadableBlock>> {
        self.tenants.read().get(tenant).map(|state| Arc::clone(&state.unreadable)).unwrap_or_default()
    }

    fn tenants(&self) -> Vec<TenantId> {
        self.tenants.read().keys().cloned().collect()
    }
}

/// What a look at the store found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// Blocks found that were not known.
    pub added: usize,
    /// Blocks that cannot be read, as far as the look before did not find the same.
    pub unreadable: Vec<UnreadableBlock>,
}

impl Catalog {
    /// Looks into the store for blocks that are not known yet. Blocks that others removed there disappear here.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be listed.
    pub async fn poll(&self, store: &BlockStore) -> Result<Polled, StoreError> {
        let mut polled = Polled::default();
        let mut tenants = store.tenants().await?;
        // Also those whose folder is gone.
        tenants.extend(self.tenants());
        tenants.sort();
        tenants.dedup();
        for tenant in tenants {
            self.poll_tenant(store, &tenant, &mut polled).await?;
        }
        Ok(polled)
    }

    async fn poll_tenant(
        &self,
        store: &BlockStore,
        tenant: &TenantId,
        polled: &mut Polled,
    ) -> Result<(), StoreError> {
        let before: HashMap<Uuid, BlockEntry> = {
            let blocks = self.blocks(tenant);
            blocks.iter().map(|entry| (entry.meta.block_id, entry.clone())).collect()
        };
        let listed = store.blocks(tenant).await?;
        let (mut found, mut unreadable) = (Vec::new(), Vec::new());
        for id in &listed {
            if before.contains_key(id) {
                continue;
            }
            match store.meta(tenant, *id).await {
                Ok((meta, json)) if Format::readable(&meta.format).is_some() => {
                    found.push(BlockEntry { meta: Arc::new(meta), log: log_ranges(&json) });
                }
                Ok((meta, _)) => unreadable.push(UnreadableBlock {
                    id: *id,
                    problem: format!("{tenant}/{id}: blocks in {} are not read by this version", meta.format),
                    range: Some((meta.start_time, meta.end_time)),
                    format: Some(meta.format),
                }),
                Err(error) if error.is_not_found() => {}
                Err(error) => unreadable.push(UnreadableBlock {
                    id: *id,
                    problem: error.to_string(),
                    format: None,
                    range: None,
                }),
            }
        }
        let gone: Vec<Uuid> = before.keys().filter(|id| !listed.contains(id)).copied().collect();
        {
            let mut tenants = self.tenants.write();
            let state = tenants.entry(tenant.clone()).or_default();
            let announced = self.announced.read();
            let ours = |id: &Uuid| state.removed.contains(id) || announced.contains(id);
            found.retain(|entry| !ours(&entry.meta.block_id));
            unreadable.retain(|block| !ours(&block.id));
            polled
                .unreadable
                .extend(unreadable.iter().filter(|block| !state.unreadable.contains(block)).cloned());
            state.unreadable = Arc::new(unreadable);
        }
        polled.added += found.len();
        // A block that was committed while the listing ran is in neither list: `gone` holds only what was known before.
        let _ = self.commit(tenant, found, &gone);
        Ok(())
    }
}

fn log_ranges(json: &[u8]) -> Option<LogRanges> {
    #[derive(Deserialize)]
    struct Extra {
        #[serde(rename = "trackwayLog")]
        log: Option<LogRanges>,
    }
    serde_json::from_slice::<Extra>(json).ok()?.log
}

impl BlockEntry {
    /// `meta.json` of the block, with what Trackway adds to it.
    pub fn meta_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Whole<'a> {
            #[serde(flatten)]
            meta: &'a BlockMeta,
            #[serde(rename = "trackwayLog", skip_serializing_if = "Option::is_none")]
            log: Option<&'a LogRanges>,
        }
        serde_json::to_vec(&Whole { meta: &self.meta, log: self.log.as_ref() }).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_become_runs() {
        let log = LogRanges::new(Uuid::nil(), vec![7, 3, 4, 5, 9, 4]);
        assert_eq!(log.ranges, [(3, 5), (7, 7), (9, 9)]);
        let held: Vec<u64> = (0..12).filter(|sequence| log.contains(*sequence)).collect();
        assert_eq!(held, [3, 4, 5, 7, 9]);
    }

    #[test]
    fn a_block_replaces_its_inputs_once() {
        let catalog = Catalog::default();
        let tenant = TenantId::single();
        let entry = |id: u128| {
            let json = format!(
                r#"{{"format":"vParquet4","blockID":"{}","startTime":"2026-01-01T00:00:00Z","endTime":"2026-01-01T00:00:00Z"}}"#,
                Uuid::from_u128(id)
            );
            BlockEntry { meta: Arc::new(serde_json::from_str(&json).unwrap()), log: None }
        };
        catalog.commit(&tenant, vec![entry(1), entry(2)], &[]).unwrap();
        catalog.commit(&tenant, vec![entry(3)], &[Uuid::from_u128(1), Uuid::from_u128(2)]).unwrap();
        let again = catalog.commit(&tenant, vec![entry(4)], &[Uuid::from_u128(2)]);
        assert_eq!(again, Err(CatalogError::Conflict(Uuid::from_u128(2))));
        let ids: Vec<Uuid> = catalog.blocks(&tenant).iter().map(|entry| entry.meta.block_id).collect();
        assert_eq!(ids, [Uuid::from_u128(3)]);
    }
}
