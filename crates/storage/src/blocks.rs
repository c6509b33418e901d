//! Blocks as objects: `<prefix>/<tenant>/<block>/{data.parquet,bloom-N,index,meta.json}`, written in that order, so that
//! a block is visible only when it is whole.

use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart, coalesce_ranges};
use trackway_common::{OverBudget, TenantId};
use trackway_vparquet::meta::BlockMeta;
use uuid::Uuid;

use crate::entry::BlockEntry;
use crate::ids::IdIndexes;
use crate::index::IndexWrites;
use crate::redact::Redactions;
use crate::stores::{self, BucketFacts, OpenStore, PART_BYTES, PARTS_AT_ONCE};

/// A store that did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store itself refused or failed.
    #[error("{action} {path}: {source}")]
    Store {
        /// What was tried.
        action: &'static str,
        /// On which object.
        path: String,
        /// What it said.
        source: object_store::Error,
    },
    /// A file beside the store.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: String,
        /// What is wrong.
        source: std::io::Error,
    },
    /// There is no memory for it now.
    #[error("{0}")]
    Memory(#[from] OverBudget),
    /// An object that cannot be understood.
    #[error("{path}: {problem}")]
    Damaged {
        /// Which one.
        path: String,
        /// What is wrong.
        problem: String,
    },
}

impl StoreError {
    /// Whether the object is simply not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Store { source: object_store::Error::NotFound { .. }, .. })
    }
}

/// The files of a new block.
#[derive(Debug)]
pub struct Upload<'a> {
    /// What the block says about itself.
    pub meta: &'a BlockMeta,
    /// `meta.json`, which may say more than Tempo knows.
    pub meta_json: Vec<u8>,
    /// A local file with `data.parquet`.
    pub data: &'a FilePath,
    /// `bloom-0`, …
    pub bloom: Vec<Vec<u8>>,
    /// `index`.
    pub index: Vec<u8>,
}

/// The folder in which tenants' own settings lie, where they are kept in the same bucket.
const OWN_SETTINGS: &str = "overrides";
/// What a tenant's own settings are in, in a folder of its name.
pub(crate) const OWN_SETTINGS_FILE: &str = "overrides.json";

/// Blocks of all tenants in an object store.
#[derive(Clone, Debug)]
pub struct BlockStore {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    part_bytes: usize,
    parts_at_once: usize,
    facts: BucketFacts,
    index_writes: Arc<IndexWrites>,
    id_indexes: Arc<IdIndexes>,
    redactions: Arc<Redactions>,
    /// Whether each request goes over a network.
    is_remote: bool,
}

/// Most bytes between two ranges of a remote object that are read with them rather than asking twice.
const GAP_MAX: u64 = 1024 * 1024;
/// However little is wanted, so many bytes are cheaper than a request.
const GAP_MIN: u64 = 16 * 1024;

impl BlockStore {
    /// Blocks below `prefix` of a store.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self {
            store,
            prefix: Path::from(prefix),
            part_bytes: PART_BYTES,
            parts_at_once: PARTS_AT_ONCE,
            facts: BucketFacts::default(),
            index_writes: Arc::default(),
            id_indexes: Arc::default(),
            redactions: Arc::default(),
            is_remote: true,
        }
    }

    /// Blocks in a store that was opened and looked at.
    pub fn opened(opened: &OpenStore, facts: BucketFacts) -> Self {
        let store = Self::new(Arc::clone(&opened.store), &opened.prefix);
        let (part_bytes, parts_at_once) = (opened.part_bytes, opened.parts_at_once);
        Self { part_bytes, parts_at_once, is_remote: true, facts, ..store }
    }

    /// The same, when this is known about the store.
    #[must_use]
    pub fn knowing(self, facts: BucketFacts) -> Self {
        Self { facts, ..self }
    }

    /// How it went with the tenants' indexes that were written.
    pub fn index_writes(&self) -> &IndexWrites {
        &self.index_writes
    }

    /// What is known about the store.
    pub fn facts(&self) -> BucketFacts {
        self.facts
    }

    /// Blocks in a local folder, which is made when it is not there. Files and folders are synced before a block counts
    /// as written.
    ///
    /// # Errors
    /// [`StoreError::File`] when the folder cannot be made.
    pub fn local(folder: &FilePath) -> Result<Self, StoreError> {
        let failed = |source| StoreError::File { path: folder.display().to_string(), source };
        let store = stores::local(folder).map_err(failed)?;
        let store = Self::new(store, "").knowing(BucketFacts { conditional_put: true });
        Ok(Self { is_remote: false, ..store })
    }

    /// Whether a request costs more than the bytes that it brings.
    pub(crate) fn is_remote(&self) -> bool {
        self.is_remote
    }

    pub(crate) fn id_indexes_shared(&self) -> Arc<IdIndexes> {
        Arc::clone(&self.id_indexes)
    }

    pub(crate) fn id_indexes(&self) -> &IdIndexes {
        &self.id_indexes
    }

    /// What is hidden, and what was removed.
    pub fn redactions(&self) -> &Redactions {
        &self.redactions
    }

    pub(crate) fn root(&self) -> &Path {
        &self.prefix
    }

    pub(crate) fn object_store(&self) -> &dyn ObjectStore {
        &*self.store
    }

    /// Whether the store refuses to create what is there already.
    pub(crate) fn is_conditional(&self) -> bool {
        self.facts.conditional_put
    }

    pub(crate) fn tenant_path(&self, tenant: &TenantId) -> Path {
        self.prefix.clone().join(tenant.as_str())
    }

    /// Path of a file of a block.
    pub fn path(&self, tenant: &TenantId, block: Uuid, file: &str) -> Path {
        self.tenant_path(tenant).join(block.to_string()).join(file.to_owned())
    }

    /// Writes a block. When this returns, it is whole and durable.
    ///
    /// # Errors
    /// [`StoreError`]; nothing that was written is visible as a block then.
    pub async fn put_block(&self, tenant: &TenantId, upload: Upload<'_>) -> Result<(), StoreError> {
        let id = upload.meta.block_id;
        self.put_data(tenant, &upload).await?;
        let meta = self.path(tenant, id, "meta.json");
        match self.put(&meta, upload.meta_json.into()).await {
            // The answer may be lost: the block is there then, and others may have seen it.
            Err(_) if self.has(&meta).await.unwrap_or(false) => Ok(()),
            put => put,
        }
    }

    /// Writes what becomes a block by a `meta.json` or a commit.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put_data(&self, tenant: &TenantId, upload: &Upload<'_>) -> Result<(), StoreError> {
        let id = upload.meta.block_id;
        self.put_file(&self.path(tenant, id, "data.parquet"), upload.data).await?;
        for (shard, bloom) in upload.bloom.iter().enumerate() {
            self.put(&self.path(tenant, id, &format!("bloom-{shard}")), bloom.clone().into()).await?;
        }
        self.put(&self.path(tenant, id, "index"), upload.index.clone().into()).await
    }

    /// Deletes what is there of a block, `meta.json` first: without it, the rest is not a block. The mark of one that was
    /// merged goes last: while it is there, the rest is known to be on its way out.
    ///
    /// # Errors
    /// [`StoreError::Store`]; that something is gone already is none.
    pub async fn delete_block(&self, tenant: &TenantId, block: Uuid) -> Result<(), StoreError> {
        let failed = |source| StoreError::Store { action: "delete", path: block.to_string(), source };
        let folder = self.tenant_path(tenant).join(block.to_string());
        let rest = self.store.list(Some(&folder)).map_ok(|file| file.location);
        let rest: Vec<Path> = rest.try_collect().await.map_err(failed)?;
        let [first, last] = ["meta.json", "meta.compacted.json"].map(|file| self.path(tenant, block, file));
        let between = rest.into_iter().filter(|file| *file != first && *file != last);
        for file in std::iter::once(first.clone()).chain(between).chain([last.clone()]) {
            self.delete(&file).await?;
        }
        Ok(())
    }

    async fn put_file(&self, to: &Path, from: &FilePath) -> Result<(), StoreError> {
        let failed = |source| StoreError::Store { action: "write", path: to.to_string(), source };
        let unreadable = |source| StoreError::File { path: from.display().to_string(), source };
        let mut file = tokio::fs::File::open(from).await.map_err(unreadable)?;
        let upload = self.store.put_multipart(to).await.map_err(failed)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, self.part_bytes);
        loop {
            let mut part = vec![0; self.part_bytes];
            let length = read_full(&mut file, &mut part).await.map_err(unreadable)?;
            if length == 0 {
                break;
            }
            part.truncate(length);
            upload.wait_for_capacity(self.parts_at_once).await.map_err(failed)?;
            upload.put(part.into());
        }
        upload.finish().await.map(|_| ()).map_err(failed)
    }

    /// Writes an object.
    ///
    /// # Errors
    /// [`StoreError::Store`].
    pub async fn put(&self, path: &Path, bytes: Bytes) -> Result<(), StoreError> {
        self.put_payload(path, bytes.into()).await
    }

    /// Writes an object of several parts.
    pub(crate) async fn put_payload(&self, path: &Path, payload: PutPayload) -> Result<(), StoreError> {
        let done = self.store.put(path, payload).await;
        done.map(|_| ()).map_err(|source| StoreError::Store {
            action: "write",
            path: path.to_string(),
            source,
        })
    }

    /// Reads an object.
    ///
    /// # Errors
    /// [`StoreError::Store`].
    pub async fn get(&self, path: &Path) -> Result<Bytes, StoreError> {
        let failed = |source| StoreError::Store { action: "read", path: path.to_string(), source };
        self.store.get(path).await.map_err(failed)?.bytes().await.map_err(failed)
    }

    /// Reads ranges of an object, in the order asked for.
    ///
    /// # Errors
    /// [`StoreError::Store`].
    pub async fn get_ranges(
        &self,
        path: &Path,
        ranges: &[std::ops::Range<u64>],
    ) -> Result<Vec<Bytes>, StoreError> {
        let failed = |source| StoreError::Store { action: "read", path: path.to_string(), source };
        if !self.is_remote {
            return self.store.get_ranges(path, ranges).await.map_err(failed);
        }
        // Whoever wants little does not read much for it.
        let wanted: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        let fetch = |range| self.store.get_range(path, range);
        coalesce_ranges(ranges, fetch, wanted.clamp(GAP_MIN, GAP_MAX)).await.map_err(failed)
    }

    /// The tenants that have a folder.
    ///
    /// # Errors
    /// [`StoreError::Store`].
    pub async fn tenants(&self) -> Result<Vec<TenantId>, StoreError> {
        let failed = |source| StoreError::Store { action: "list", path: self.prefix.to_string(), source };
        let prefix = (!self.prefix.as_ref().is_empty()).then_some(&self.prefix);
        let listed = self.store.list_with_delimiter(prefix).await.map_err(failed)?;
        let names = listed.common_prefixes.iter().filter_map(|path| path.filename());
        let mut tenants: Vec<TenantId> = names.filter_map(|name| TenantId::new(name).ok()).collect();
        if let Some(place) = tenants.iter().position(|tenant| tenant.as_str() == OWN_SETTINGS)
            && !self.has_blocks(&tenants[place]).await?
        {
            tenants.remove(place);
        }
        Ok(tenants)
    }

    /// Whether a folder at the top is a tenant's and not what tenants set for themselves.
    async fn has_blocks(&self, tenant: &TenantId) -> Result<bool, StoreError> {
        let folder = self.tenant_path(tenant);
        let failed = |source| StoreError::Store { action: "list", path: folder.to_string(), source };
        let listed = self.store.list_with_delimiter(Some(&folder)).await.map_err(failed)?;
        for folder in &listed.common_prefixes {
            if folder.filename().is_none_or(|name| Uuid::parse_str(name).is_err()) {
                continue;
            }
            // A tenant may be called like a block.
            let files = self.store.list_with_delimiter(Some(folder)).await.map_err(failed)?;
            let mut names = files.objects.iter().filter_map(|file| file.location.filename());
            if names.any(|name| name != OWN_SETTINGS_FILE) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the `meta.json` of a block.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it cannot be understood.
    pub async fn meta(&self, tenant: &TenantId, block: Uuid) -> Result<BlockEntry, StoreError> {
        let path = self.path(tenant, block, "meta.json");
        let json = self.get(&path).await?;
        let damaged = |error: serde_json::Error| StoreError::Damaged {
            path: path.to_string(),
            problem: error.to_string(),
        };
        serde_json::from_slice(&json).map_err(damaged)
    }

    /// Writes both forms of the tenant's index, for Tempo's readers.
    ///
    /// # Errors
    /// [`StoreError::Store`].
    pub async fn put_tenant_index(
        &self,
        tenant: &TenantId,
        now: jiff::Timestamp,
        metas: &[Arc<BlockMeta>],
    ) -> Result<(), StoreError> {
        let folder = self.tenant_path(tenant);
        let (json, proto) = crate::index::encode(now, metas);
        let mut written = self.put(&folder.clone().join("index.json.gz"), json.into()).await;
        if written.is_ok() {
            written = self.put(&folder.join("index.pb.zst"), proto.into()).await;
        }
        self.index_writes.note(tenant, now, written.is_ok());
        written
    }
}

async fn read_full(file: &mut tokio::fs::File, buffer: &mut [u8]) -> std::io::Result<usize> {
    use tokio::io::AsyncReadExt;
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]).await? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}
