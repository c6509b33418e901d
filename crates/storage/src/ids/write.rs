//! Writes indexes: one at a time, by [`super::plan`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use object_store::PutPayload;
use trackway_common::TenantId;
use trackway_vparquet::meta::BlockMeta;
use uuid::Uuid;

use super::IdIndex;
use super::format::{self, ENTRIES_MAX, Entry, Fingerprint, Head};
use super::plan::{Step, There, plan};
use crate::blocks::{BlockStore, StoreError};
use crate::entry::BlockEntry;
use crate::reader::BlockReader;

/// Buckets of an index that are read at once when it goes into another one: 1.5 MiB.
const BUCKETS_AT_ONCE: usize = 256;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Indexed {
    /// Entries of the index that was written; none when nothing was to be written.
    pub entries: usize,
    /// Blocks that it covers.
    pub blocks: usize,
    /// Indexes that were deleted.
    pub deleted: usize,
}

/// An index that is being put together.
#[derive(Default)]
struct Draft {
    blocks: Vec<Uuid>,
    numbers: HashMap<Uuid, u16>,
    entries: Vec<Entry>,
}

impl Draft {
    fn number(&mut self, block: Uuid) -> Option<u16> {
        if let Some(number) = self.numbers.get(&block) {
            return Some(*number);
        }
        let number = u16::try_from(self.blocks.len()).ok()?;
        self.blocks.push(block);
        self.numbers.insert(block, number);
        Some(number)
    }
}

impl BlockReader {
    /// Takes one step towards indexes of trace ids that cover nearly all of a tenant's blocks: writes one and deletes those
    /// whose place it takes. `None` when there is nothing to do.
    ///
    /// # Errors
    /// [`StoreError`]; the next call tries again.
    pub async fn index_traces(
        &self,
        tenant: &TenantId,
        blocks: &[BlockEntry],
        id: Uuid,
        now: Timestamp,
    ) -> Result<Option<Indexed>, StoreError> {
        let store = self.store();
        let known = store.id_indexes();
        let metas: HashMap<Uuid, &Arc<BlockMeta>> =
            blocks.iter().map(|entry| (entry.meta.block_id, &entry.meta)).collect();
        let there = store.indexes_there(tenant).await?;
        let unreadable = known.unreadable(tenant, |block| metas.contains_key(block));
        let readable = blocks.iter().filter(|entry| !unreadable.contains(&entry.meta.block_id));
        let traces = |entry: &BlockEntry| usize::try_from(entry.meta.total_objects).unwrap_or(usize::MAX);
        let live: Vec<(Uuid, usize)> =
            readable.map(|entry| (entry.meta.block_id, traces(entry).max(1))).collect();
        let mut step = plan(&live, &there, now).unwrap_or_default();
        step.deleted.extend(known.damaged(tenant));
        if step == Step::default() {
            return Ok(None);
        }
        let mut draft = Draft::default();
        let live: HashSet<Uuid> = live.iter().map(|(block, _)| *block).collect();
        for index in &step.merged {
            if !self.take_index(tenant, *index, &live, &mut draft).await? {
                // It is known now that it is of no use: the next step goes without it.
                return Ok(Some(Indexed::default()));
            }
        }
        for meta in step.blocks.iter().filter_map(|block| metas.get(block)) {
            self.take_block(tenant, meta, &mut draft).await?;
        }
        self.write_index(tenant, draft, &step, id, now).await.map(Some)
    }

    /// Writes one index anew that covers blocks which are gone, so that nothing of them stays. `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError`]; the next call tries again.
    pub async fn drop_gone_traces(
        &self,
        tenant: &TenantId,
        blocks: &[BlockEntry],
        id: Uuid,
        now: Timestamp,
    ) -> Result<Option<Indexed>, StoreError> {
        let live: HashSet<Uuid> = blocks.iter().map(|entry| entry.meta.block_id).collect();
        let there = self.store().indexes_there(tenant).await?;
        let Some(stale) = there.iter().find(|index| index.blocks.iter().any(|block| !live.contains(block)))
        else {
            return Ok(None);
        };
        let (mut draft, step) = (Draft::default(), Step { merged: vec![stale.id], ..Step::default() });
        if !self.take_index(tenant, stale.id, &live, &mut draft).await? {
            return Ok(Some(Indexed::default()));
        }
        self.write_index(tenant, draft, &step, id, now).await.map(Some)
    }

    /// Takes over the entries of an index that are of blocks that are there.
    async fn take_index(
        &self,
        tenant: &TenantId,
        id: Uuid,
        live: &HashSet<Uuid>,
        draft: &mut Draft,
    ) -> Result<bool, StoreError> {
        let store = self.store();
        let index = store.id_indexes().usable(tenant).into_iter().find(|index| index.id == id);
        let Some(index) = index else { return Ok(false) };
        let taken = match store.id_index_head(tenant, &index).await {
            Ok(head) => store.entries_of(tenant, &index, &head, live, draft).await,
            Err(error) => Err(error),
        };
        match taken {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_found() => {
                store.id_indexes().change(tenant, None, &[id]);
                Ok(false)
            }
            Err(error @ StoreError::Damaged { .. }) => {
                store.id_indexes().failed(tenant, id, &error);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the traces of a block. One that cannot be read, or is larger than it says, is left out.
    async fn take_block(
        &self,
        tenant: &TenantId,
        meta: &BlockMeta,
        draft: &mut Draft,
    ) -> Result<(), StoreError> {
        let block = meta.block_id;
        let before = draft.entries.len();
        let Some(number) = draft.number(block) else { return Ok(()) };
        let read = self.read_rows(tenant, meta, number, &mut draft.entries).await;
        let problem = match read {
            Ok(true) => return Ok(()),
            Ok(false) => Some("it has more traces than it says, or than an index takes".to_owned()),
            Err(StoreError::Damaged { problem, .. }) => Some(problem),
            // Merged or deleted meanwhile, or never whole, which the looks at the store tell.
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        if let Some(problem) = problem {
            // No warning: it costs a few requests, and that a block is damaged is told by who merges it or is asked for it.
            tracing::info!(
                %tenant, %block, problem, "no index of trace ids covers this block; its bloom filter is asked"
            );
        }
        draft.entries.truncate(before);
        // It was the last one that got a number.
        draft.blocks.pop();
        draft.numbers.remove(&block);
        self.store().id_indexes().cannot_read(tenant, block);
        Ok(())
    }

    async fn read_rows(
        &self,
        tenant: &TenantId,
        meta: &BlockMeta,
        number: u16,
        entries: &mut Vec<Entry>,
    ) -> Result<bool, StoreError> {
        let file = self.open(tenant, meta).await?;
        let mut row = 0_u32;
        for row_group in 0..file.row_groups() {
            if entries.len() + file.rows(row_group) > ENTRIES_MAX {
                return Ok(false);
            }
            for trace in self.trace_ids(tenant, meta, row_group).await?.iter() {
                entries.push(Entry::new(Fingerprint::of(*trace), number, row));
                row += 1;
            }
        }
        Ok(true)
    }

    /// Writes an index, and then deletes those that are of no use any more.
    async fn write_index(
        &self,
        tenant: &TenantId,
        draft: Draft,
        step: &Step,
        id: Uuid,
        now: Timestamp,
    ) -> Result<Indexed, StoreError> {
        let store = self.store();
        let gone: Vec<Uuid> = step.merged.iter().chain(&step.deleted).copied().collect();
        let (blocks, entries) = (draft.blocks.len(), draft.entries.len());
        let mut add = None;
        if blocks > 0 {
            let path = store.id_index_path(tenant, id);
            let encode = move || format::encode(&draft.blocks, draft.entries);
            let encoded = self.cpu().run(encode).await;
            let parts =
                encoded.ok_or_else(|| store.damaged_index(tenant, id, "it cannot be put together"))?;
            let size = parts.iter().map(|part| part.len() as u64).sum();
            let payload: PutPayload = parts.into_iter().map(Bytes::from).collect();
            store.put_payload(&path, payload).await?;
            add = Some(IdIndex { id, size, written: now });
        }
        store.id_indexes().change(tenant, add, &gone);
        for index in &gone {
            store.delete(&store.id_index_path(tenant, *index)).await?;
        }
        Ok(Indexed { entries, blocks, deleted: gone.len() })
    }
}

impl BlockStore {
    /// The indexes of a tenant with the blocks that they cover. Of those that cannot be read nothing is known.
    async fn indexes_there(&self, tenant: &TenantId) -> Result<Vec<There>, StoreError> {
        let mut there = Vec::new();
        for index in self.id_indexes().usable(tenant) {
            match self.id_index_head(tenant, &index).await {
                Ok(head) => {
                    let blocks = head.blocks.clone();
                    there.push(There {
                        id: index.id,
                        blocks,
                        entries: head.entries(),
                        written: index.written,
                    });
                }
                Err(error) if error.is_not_found() => self.id_indexes().change(tenant, None, &[index.id]),
                Err(error @ StoreError::Damaged { .. }) => {
                    self.id_indexes().failed(tenant, index.id, &error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(there)
    }

    /// The blocks that each index of a tenant covers, of those that can be read.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn id_index_blocks(&self, tenant: &TenantId) -> Result<Vec<Vec<Uuid>>, StoreError> {
        self.list_id_indexes(tenant).await?;
        Ok(self.indexes_there(tenant).await?.into_iter().map(|index| index.blocks).collect())
    }

    async fn entries_of(
        &self,
        tenant: &TenantId,
        index: &IdIndex,
        head: &Head,
        live: &HashSet<Uuid>,
        draft: &mut Draft,
    ) -> Result<(), StoreError> {
        let numbers: Vec<Option<u16>> = head
            .blocks
            .iter()
            .map(|block| if live.contains(block) { draft.number(*block) } else { None })
            .collect();
        for start in (0..head.buckets()).step_by(BUCKETS_AT_ONCE) {
            let buckets = start..(start + BUCKETS_AT_ONCE).min(head.buckets());
            let ranges: Vec<_> = buckets.clone().map(|bucket| head.range(bucket)).collect();
            let parts = self.id_index_ranges(tenant, index.id, &ranges).await?;
            for (bucket, bytes) in buckets.zip(parts) {
                if !head.is_bucket(bucket, &bytes) {
                    return Err(self.damaged_index(tenant, index.id, "the checksum of a bucket is wrong"));
                }
                draft.entries.extend(format::entries(&bytes).filter_map(|entry| {
                    let number = (*numbers.get(usize::from(entry.block()))?)?;
                    Some(Entry::new(entry.fingerprint(), number, entry.row()))
                }));
            }
        }
        Ok(())
    }
}
