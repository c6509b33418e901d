//! What lies in a tenant's folder, by one flat listing: which blocks are there and in which state, and which commits.
//!
//! A listing may be older than what else is known. Whoever draws a conclusion from something that is *not* in it must ask
//! for that object first ([`BlockStore::has`]).

use std::collections::BTreeMap;

use futures::TryStreamExt;
use jiff::Timestamp;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use trackway_common::TenantId;
use uuid::Uuid;

use crate::blocks::OWN_SETTINGS_FILE;
use crate::blocks::{BlockStore, StoreError};
use crate::entry::BlockEntry;
use crate::ids::{self, IdIndex};
use crate::redact::{self, Named};

/// Marks a block that compactors leave alone, for Tempo's too.
pub(crate) const NO_COMPACT: &str = "nocompact.flg";
/// The folder of what Tempo does not know, in a tenant's folder.
const OWN_FOLDER: &str = "trackway";
/// The object that says since when Trackway knows a store.
const SEED: &str = "trackway_seed.json";
/// The folder of commits in that folder.
const COMMITS: &str = "commits";
/// The name of a commit is its sequence with so many digits, so that they are listed in order.
const SEQUENCE_DIGITS: usize = 20;

/// What lies in a tenant's folder.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Folders of blocks, whole or not.
    pub blocks: BTreeMap<Uuid, BlockFiles>,
    /// Sequences of commits, ascending.
    pub commits: Vec<u64>,
    /// Indexes of trace ids.
    pub ids: Vec<IdIndex>,
    /// Redactions.
    pub redactions: Vec<Named>,
    /// Whether the tenant's index is there, and when it was written.
    pub index: Option<Timestamp>,
}

/// What lies in the folder of a block.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlockFiles {
    /// `meta.json`: it is a block.
    pub meta: bool,
    /// `meta.compacted.json`: it was one.
    pub compacted: bool,
    /// `nocompact.flg`: it is not to be merged.
    pub no_compact: bool,
    /// When the newest of its files was written.
    pub newest: Option<Timestamp>,
}

impl BlockStore {
    pub(crate) fn own_folder(&self, tenant: &TenantId) -> Path {
        self.tenant_path(tenant).join(OWN_FOLDER)
    }

    /// Path of a commit.
    pub(crate) fn commit_path(&self, tenant: &TenantId, sequence: u64) -> Path {
        self.own_folder(tenant).join(COMMITS).join(format!("{sequence:0SEQUENCE_DIGITS$}.json"))
    }

    /// Lists everything that belongs to a tenant.
    ///
    /// # Errors
    /// [`StoreError::Store`].
    pub async fn list_tenant(&self, tenant: &TenantId) -> Result<Listing, StoreError> {
        let folder = self.tenant_path(tenant);
        let failed = |source| StoreError::Store { action: "list", path: folder.to_string(), source };
        let mut listing = Listing::default();
        let mut objects = self.object_store().list(Some(&folder));
        while let Some(object) = objects.try_next().await.map_err(failed)? {
            let written = Timestamp::from_second(object.last_modified.timestamp()).ok();
            let Some(parts) = object.location.prefix_match(&folder) else { continue };
            let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
            match &parts.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                [OWN_FOLDER, COMMITS, name] => {
                    listing
                        .commits
                        .extend(name.strip_suffix(".json").and_then(|name| name.parse::<u64>().ok()));
                }
                [OWN_FOLDER, ids::FOLDER, name] => {
                    listing.ids.extend(name.parse().ok().map(|id| IdIndex::listed(id, &object)));
                }
                [OWN_FOLDER, redact::FOLDER, name] => listing.redactions.extend(Named::parse(name)),
                ["index.json.gz" | "index.pb.zst"] => listing.index = written,
                // What a tenant that is called like a block has set for itself.
                [_, OWN_SETTINGS_FILE] => {}
                [block, file] => {
                    let Ok(block) = block.parse() else { continue };
                    let files: &mut BlockFiles = listing.blocks.entry(block).or_default();
                    files.meta |= *file == "meta.json";
                    files.compacted |= *file == "meta.compacted.json";
                    files.no_compact |= *file == NO_COMPACT;
                    files.newest = files.newest.max(written);
                }
                _ => {}
            }
        }
        listing.commits.sort_unstable();
        Ok(listing)
    }

    /// Whether an object is there, asked for by its name and not by a listing.
    ///
    /// # Errors
    /// [`StoreError::Store`].
    pub async fn has(&self, path: &Path) -> Result<bool, StoreError> {
        self.size(path).await.map(|size| size.is_some())
    }

    /// How many bytes an object has; `None` when it is not there.
    ///
    /// # Errors
    /// [`StoreError::Store`].
    pub async fn size(&self, path: &Path) -> Result<Option<u64>, StoreError> {
        match self.object_store().head(path).await {
            Ok(object) => Ok(Some(object.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(StoreError::Store { action: "look at", path: path.to_string(), source }),
        }
    }

    /// Keeps a block from being merged, by Tempo too.
    ///
    /// # Errors
    /// [`StoreError::Store`].
    pub async fn mark_no_compact(&self, tenant: &TenantId, block: Uuid) -> Result<(), StoreError> {
        self.put(&self.path(tenant, block, NO_COMPACT), bytes::Bytes::new()).await
    }

    /// Turns a block into what was one: Tempo's readers do not look at it any more, and its files stay until they are
    /// deleted. That it is gone already is no error. A block that a commit added may have no `meta.json` yet; whoever wants
    /// the mark all the same says what would stand there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn mark_compacted(
        &self,
        tenant: &TenantId,
        block: Uuid,
        otherwise: Option<&BlockEntry>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let path = self.path(tenant, block, "meta.json");
        let json = match self.get(&path).await {
            Ok(json) => json,
            Err(error) if error.is_not_found() => match otherwise {
                Some(entry) => entry.meta_json().into(),
                None => return Ok(()),
            },
            Err(error) => return Err(error),
        };
        let damaged = |error: serde_json::Error| StoreError::Damaged {
            path: path.to_string(),
            problem: error.to_string(),
        };
        let mut meta: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&json).map_err(damaged)?;
        meta.insert("compactedTime".to_owned(), now.to_string().into());
        let marked = serde_json::to_vec(&meta).map_err(damaged)?;
        self.put(&self.path(tenant, block, "meta.compacted.json"), marked.into()).await?;
        self.delete(&path).await
    }

    /// When Trackway first saw this store: `now`, unless it has been here before. It is written down in an object of its own,
    /// which is no folder, so that Tempo does not take it for a tenant.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn first_seen(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Seed {
            first_seen: Timestamp,
        }
        let path = self.root().clone().join(SEED);
        match self.get(&path).await {
            Ok(json) => {
                let damaged = |error: serde_json::Error| StoreError::Damaged {
                    path: path.to_string(),
                    problem: error.to_string(),
                };
                serde_json::from_slice(&json).map(|seed: Seed| seed.first_seen).map_err(damaged)
            }
            Err(error) if error.is_not_found() => {
                let json = serde_json::to_vec(&Seed { first_seen: now }).unwrap_or_default();
                self.put(&path, json.into()).await?;
                Ok(now)
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes an object. That it is gone already is no error.
    ///
    /// # Errors
    /// [`StoreError::Store`].
    pub async fn delete(&self, path: &Path) -> Result<(), StoreError> {
        match self.object_store().delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(StoreError::Store { action: "delete", path: path.to_string(), source }),
        }
    }

    /// Deletes everything that belongs to a tenant without blocks: its old commits, its indexes of trace ids, and its index,
    /// last of all, so that what was interrupted is found again. Returns whether it did: not when one of the first is younger
    /// than `oldest`, since somebody else may need it.
    ///
    /// # Errors
    /// [`StoreError::Store`].
    pub async fn delete_tenant(&self, tenant: &TenantId, oldest: Timestamp) -> Result<bool, StoreError> {
        let own = self.own_folder(tenant);
        let failed = |source| StoreError::Store { action: "list", path: own.to_string(), source };
        let objects: Vec<_> = self.object_store().list(Some(&own)).try_collect().await.map_err(failed)?;
        if objects.iter().any(|object| object.last_modified.timestamp() >= oldest.as_second()) {
            return Ok(false);
        }
        for object in objects {
            self.delete(&object.location).await?;
        }
        for file in ["index.json.gz", "index.pb.zst"] {
            self.delete(&self.tenant_path(tenant).join(file)).await?;
        }
        self.id_indexes().forget(tenant);
        self.redactions().forget(tenant);
        Ok(true)
    }
}
