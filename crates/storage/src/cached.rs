//! Reading blocks through caches that others may write to.
//!
//! What must stay true: what a cache says is checked as far as it can be (lengths, a footer that parses, a filter that is
//! one), and what turns out to be nonsense is fetched from the store and put in its place. Names and ranges are Tempo's,
//! so that both can share a cache: see [`trackway_cache::keys`].

use std::ops::Range;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use object_store::path::Path;
use trackway_cache::{Caches, Role, keys};
use trackway_common::TenantId;
use trackway_vparquet::meta::BlockMeta;
use trackway_vparquet::{BlockFile, Read, bloom};
use uuid::Uuid;

use crate::blocks::StoreError;
use crate::cpu::CpuPool;
use crate::reader::{BlockReader, coalesced};

const DATA: &str = "data.parquet";
/// What follows the footer: its length and the magic number.
const TRAILER_BYTES: u64 = 8;
/// Longest end of a file that is put together of cached sections.
const TAIL_BYTES_MAX: u64 = 64 << 20;
/// Longest range of a row group that is cached.
const RANGE_BYTES_MAX: u64 = 8 << 20;

/// The caches, as far as blocks are concerned.
#[derive(Clone, Debug)]
pub(crate) struct BlockCache {
    pub(crate) caches: Caches,
    cpu: CpuPool,
}

impl BlockCache {
    pub(crate) fn new(caches: Caches, cpu: CpuPool) -> Self {
        Self { caches, cpu }
    }

    /// Whether what was read may have come from a cache.
    pub(crate) fn is_used(&self) -> bool {
        Role::ALL.into_iter().any(|role| self.caches.is_remembered(role))
    }

    /// An entry of this length; another length is nonsense.
    async fn get(&self, role: Role, key: &str, length: u64) -> Option<Bytes> {
        if !self.caches.is_remembered(role) {
            return None;
        }
        let found = self.caches.get(role, key).await?;
        if found.len() as u64 == length {
            return Some(found);
        }
        self.caches.reject(role, &[key.to_owned()]).await;
        None
    }

    fn put(&self, role: Role, key: &str, bytes: &[u8]) {
        if self.caches.is_remembered(role) && !bytes.is_empty() {
            // Copied, so that a small entry does not keep a large buffer.
            self.caches.put(role, key, Bytes::copy_from_slice(bytes));
        }
    }

    /// Opens a data file from the cached sections of its end, when all of them are there and make sense.
    pub(crate) async fn open(&self, tenant: &TenantId, meta: &BlockMeta) -> Option<Arc<BlockFile>> {
        let footer = footer_range(meta)?;
        let key = |range: &Range<u64>| keys::range(tenant, meta.block_id, DATA, range);
        let footer_key = key(&footer);
        let found = self.get(Role::ParquetFooter, &footer_key, u64::from(meta.footer_size)).await?;
        let end = with_trailer(&found);
        let (size, parsed) = (meta.size, end.clone());
        let sections = self.cpu.run(move || BlockFile::sections(&parsed, size)).await;
        let Some(Ok(sections)) = sections else {
            self.caches.reject(Role::ParquetFooter, &[footer_key]).await;
            return None;
        };
        let mut parts = vec![(footer.start, end)];
        let mut used = vec![(Role::ParquetFooter, footer_key)];
        for (role, range) in
            [(Role::ParquetColumnIdx, sections.column_index), (Role::ParquetOffsetIdx, sections.offset_index)]
        {
            if !range.is_empty() {
                let key = key(&range);
                parts.push((range.start, self.get(role, &key, range.end - range.start).await?));
                used.push((role, key));
            }
        }
        let tail = joined(parts, size)?;
        let dedicated = meta.dedicated_columns.clone();
        match self.cpu.run(move || BlockFile::open(&tail, size, &dedicated)).await {
            Some(Ok(Read::Ready(file))) => Some(file),
            _ => {
                for (role, key) in used {
                    self.caches.reject(role, &[key]).await;
                }
                None
            }
        }
    }

    /// Keeps the sections of the end of a data file that was opened.
    pub(crate) fn keep_tail(&self, tenant: &TenantId, meta: &BlockMeta, tail: &Bytes) {
        let roles = [Role::ParquetFooter, Role::ParquetColumnIdx, Role::ParquetOffsetIdx];
        if !roles.into_iter().any(|role| self.caches.is_remembered(role)) {
            return;
        }
        let Some(footer) = footer_range(meta) else { return };
        let Ok(sections) = BlockFile::sections(tail, meta.size) else { return };
        let start = meta.size.saturating_sub(tail.len() as u64);
        for (role, range) in roles.into_iter().zip([footer, sections.column_index, sections.offset_index]) {
            if let Some(section) = within(tail, start, &range) {
                self.put(role, &keys::range(tenant, meta.block_id, DATA, &range), section);
            }
        }
    }

    /// A shard of a bloom filter.
    pub(crate) async fn bloom(&self, tenant: &TenantId, meta: &BlockMeta, name: &str) -> Option<Bytes> {
        if !self.caches.is_remembered(Role::Bloom) {
            return None;
        }
        let key = keys::object(tenant, meta.block_id, name);
        let found = self.caches.get(Role::Bloom, &key).await?;
        if bloom::is_whole(&found) {
            return Some(found);
        }
        self.caches.reject(Role::Bloom, &[key]).await;
        None
    }

    /// Keeps a shard of a bloom filter.
    pub(crate) fn keep_bloom(&self, tenant: &TenantId, meta: &BlockMeta, name: &str, filter: &Bytes) {
        self.put(Role::Bloom, &keys::object(tenant, meta.block_id, name), filter);
    }
}

impl BlockReader {
    /// The keys under which caches may have anything of a block, by role. Left out are the 32 bytes of filters over values:
    /// no value can be read from them.
    ///
    /// # Errors
    /// [`StoreError`] when the block cannot be read.
    pub async fn cache_keys(
        &self,
        tenant: &TenantId,
        meta: &BlockMeta,
    ) -> Result<Vec<(Role, Vec<String>)>, StoreError> {
        let of = |range: &Range<u64>| keys::range(tenant, meta.block_id, DATA, range);
        let file = self.open(tenant, meta).await?;
        let pages = file.all_ranges().iter().map(of).collect();
        let shards = if meta.bloom_shards == 0 { 10 } else { meta.bloom_shards };
        let bloom = |shard| keys::object(tenant, meta.block_id, &format!("bloom-{shard}"));
        let mut all = vec![
            (Role::ParquetPage, pages),
            (Role::Bloom, (0..shards).map(bloom).collect()),
            (Role::TraceIdIndex, vec![keys::object(tenant, meta.block_id, "index")]),
        ];
        if let Some(footer) = footer_range(meta) {
            all.push((Role::ParquetFooter, vec![of(&footer)]));
        }
        if let Some(sections) = file.own_sections() {
            all.push((Role::ParquetColumnIdx, vec![of(&sections.column_index)]));
            all.push((Role::ParquetOffsetIdx, vec![of(&sections.offset_index)]));
        }
        Ok(all)
    }

    /// Lets go of whatever is kept of a block that is gone from the store, here and in caches outside; `keys` are what
    /// [`Self::cache_keys`] said before. Every cache of blocks hears of it here.
    pub async fn forget_block(&self, block: Uuid, keys: Vec<(Role, Vec<String>)>) {
        self.forget_kept(block);
        for (role, keys) in keys {
            self.forgets.remove(role, &keys).await;
        }
        if let Err(error) = self.forgets.clear_local().await {
            tracing::warn!(%block, error, "the cache on disk cannot be emptied of a block that was redacted");
        }
    }

    /// Fetches ranges of a data file, those that are not cached, with their offsets, along with what lies in gaps of so many
    /// bytes at the most. When caches are not to be trusted, all come from the store and take the place of what is cached.
    pub(crate) async fn fetch_parts(
        &self,
        (tenant, meta): (&TenantId, &BlockMeta),
        path: &Path,
        (ranges, gap): (Vec<Range<u64>>, u64),
        trusting: bool,
    ) -> Result<Vec<(u64, Bytes)>, StoreError> {
        let caches = &self.cache.caches;
        let role = Role::ParquetPage;
        let is_small = |range: &Range<u64>| (1..=RANGE_BYTES_MAX).contains(&(range.end - range.start));
        let (small, mut missing): (Vec<_>, Vec<_>) =
            ranges.into_iter().partition(|range| caches.is_remembered(role) && is_small(range));
        let names: Vec<String> =
            small.iter().map(|range| keys::range(tenant, meta.block_id, DATA, range)).collect();
        let found = if trusting { caches.get_many(role, &names).await } else { vec![None; names.len()] };
        let (mut parts, mut to_keep) = (Vec::new(), Vec::new());
        for ((range, name), found) in small.into_iter().zip(names).zip(found) {
            match found {
                Some(bytes) if bytes.len() as u64 == range.end - range.start => {
                    parts.push((range.start, bytes))
                }
                _ => {
                    missing.push(range.clone());
                    to_keep.push((range, name));
                }
            }
        }
        let missing = coalesced(missing, gap);
        let fetched = if missing.is_empty() { Vec::new() } else { self.fetch(path, meta, &missing).await? };
        let fetched: Vec<(u64, Bytes)> =
            missing.into_iter().zip(fetched).map(|(range, bytes)| (range.start, bytes)).collect();
        for (range, name) in to_keep {
            let section = fetched.iter().find_map(|(start, bytes)| within(bytes, *start, &range));
            if let Some(section) = section {
                self.cache.put(role, &name, section);
            }
        }
        parts.extend(fetched);
        Ok(parts)
    }
}

/// Where the footer lies, without what follows it. Old blocks do not say how long it is.
fn footer_range(meta: &BlockMeta) -> Option<Range<u64>> {
    let end = meta.size.checked_sub(TRAILER_BYTES)?;
    let start = end.checked_sub(u64::from(meta.footer_size))?;
    (start < end).then_some(start..end)
}

/// A footer and what follows it in the file.
fn with_trailer(footer: &Bytes) -> Bytes {
    let mut end = BytesMut::with_capacity(footer.len() + 8);
    end.extend_from_slice(footer);
    // The length came out of a 32-bit number.
    end.put_u32_le(u32::try_from(footer.len()).unwrap_or(u32::MAX));
    end.extend_from_slice(b"PAR1");
    end.freeze()
}

/// The end of a file, from the first of these parts on; nobody looks at what is between them.
fn joined(mut parts: Vec<(u64, Bytes)>, size: u64) -> Option<Bytes> {
    parts.sort_unstable_by_key(|(start, _)| *start);
    let first = parts.first()?.0;
    let length = size.checked_sub(first).filter(|length| *length <= TAIL_BYTES_MAX)?;
    let mut tail = vec![0; usize::try_from(length).ok()?];
    for (start, bytes) in parts {
        let at = usize::try_from(start - first).ok()?;
        tail.get_mut(at..at.checked_add(bytes.len())?)?.copy_from_slice(&bytes);
    }
    Some(tail.into())
}

/// The part of `bytes`, which start at `start`, that is `range`; `None` when it is not all there.
fn within<'a>(bytes: &'a Bytes, start: u64, range: &Range<u64>) -> Option<&'a [u8]> {
    let from = usize::try_from(range.start.checked_sub(start)?).ok()?;
    let to = usize::try_from(range.end.checked_sub(start)?).ok()?;
    bytes.get(from..to)
}
