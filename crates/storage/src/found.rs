//! What a look at the store finds of a tenant, against what was known before.

use std::collections::HashSet;

use futures::StreamExt;
use trackway_common::TenantId;
use trackway_vparquet::meta::Format;
use uuid::Uuid;

use crate::blocks::{BlockStore, StoreError};
use crate::commits::{self, Commit, Known};
use crate::entry::{BlockEntry, UnreadableBlock};
use crate::listing::Listing;

/// What a look at the store found.
#[derive(Clone, Debug, Default)]
pub struct Polled {
    /// Blocks found that were not known.
    pub added: usize,
    /// Blocks that cannot be read, as far as the look before did not find the same.
    pub unreadable: Vec<UnreadableBlock>,
    /// Tenants that could not be looked at, with the reason; what was known of them stays.
    pub failed: Vec<(TenantId, String)>,
    /// What was found in the folders of the others.
    pub looked: Vec<(TenantId, Looked)>,
}

/// What lies in a tenant's folder, with what is to be done there.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// What lies there.
    pub listing: Listing,
    /// Commits of which something is left to be done, and whether the block that each added is one still.
    pub unfinished: Vec<(Commit, bool)>,
}

/// What is different from what was known before.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) blocks: Vec<BlockEntry>,
    pub(crate) unreadable: Vec<UnreadableBlock>,
    pub(crate) gone: Vec<Uuid>,
    /// Whether something was not there any more, and no commit says what took its place.
    pub(crate) missed: bool,
}

impl Found {
    pub(crate) async fn by(
        store: &BlockStore,
        tenant: &TenantId,
        before: &[BlockEntry],
        (listing, known): (&Listing, &Known),
        concurrency: usize,
    ) -> Result<Self, StoreError> {
        let before: HashSet<Uuid> = before.iter().map(|entry| entry.meta.block_id).collect();
        let listed = commits::live(listing, known);
        let mut found = Self::default();
        // The mark of one that is not covered by the commits that were read later says that it has expired.
        let is_marked = |id: &Uuid| listing.blocks.get(id).is_some_and(|files| files.compacted);
        let mut new: HashSet<Uuid> = listed.difference(&before).copied().collect();
        for entry in known.added().filter(|entry| !before.contains(&entry.meta.block_id)) {
            let id = entry.meta.block_id;
            // The commit says what its `meta.json` would, which may not be read now: its inputs are out of sight already.
            if new.remove(&id) || (!is_marked(&id) && store.is_there(tenant, known, id).await?) {
                found.blocks.push(entry.clone());
            } else if !is_marked(&id) {
                found.missed = true;
            }
        }
        found.read(store, tenant, new.into_iter().collect(), concurrency).await;
        for id in before.difference(&listed) {
            // A listing may be older than the block, and a block that a commit added may have no `meta.json` yet.
            if known.covers(*id) {
                found.gone.push(*id);
            } else if !store.is_there(tenant, known, *id).await? {
                found.gone.push(*id);
                found.missed = true;
            }
        }
        Ok(found)
    }

    /// Reads what these blocks say of themselves.
    async fn read(&mut self, store: &BlockStore, tenant: &TenantId, ids: Vec<Uuid>, concurrency: usize) {
        let metas = futures::stream::iter(ids).map(|id| async move { (id, store.meta(tenant, id).await) });
        let mut metas = metas.buffer_unordered(concurrency.max(1));
        while let Some((id, meta)) = metas.next().await {
            let unreadable = |problem: String| UnreadableBlock { id, problem, format: None, range: None };
            match meta {
                Ok(entry) if Format::readable(&entry.meta.format).is_some() => self.blocks.push(entry),
                Ok(entry) => self.unreadable.push(UnreadableBlock {
                    range: Some((entry.meta.start_time, entry.meta.end_time)),
                    format: Some(entry.meta.format.clone()),
                    ..unreadable(format!(
                        "{tenant}/{id}: blocks in {} are not read by this version",
                        entry.meta.format
                    ))
                }),
                Err(error) if error.is_not_found() => self.missed = true,
                Err(error) => self.unreadable.push(unreadable(error.to_string())),
            }
        }
    }
}
