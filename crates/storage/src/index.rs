//! The tenant index in both forms that Tempo reads: gzipped JSON and zstd-compressed protobuf.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use trackway_common::TenantId;
use trackway_spans::wire::{put_bytes, put_bytes_unless_empty, put_message, put_number_unless_zero};
use trackway_vparquet::meta::BlockMeta;

/// How it went with the indexes that this process wrote.
#[derive(Debug, Default)]
pub struct IndexWrites(Mutex<BTreeMap<TenantId, IndexWrite>>);

/// How it went with a tenant's index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexWrite {
    /// How often it could not be written.
    pub errors: u64,
    /// Since when it does not say what it should; `None` while it does.
    pub behind_since: Option<Timestamp>,
}

impl IndexWrites {
    pub(crate) fn note(&self, tenant: &TenantId, now: Timestamp, written: bool) {
        let mut tenants = self.0.lock();
        let write = tenants.entry(tenant.clone()).or_default();
        if written {
            write.behind_since = None;
        } else {
            write.errors += 1;
            write.behind_since.get_or_insert(now);
        }
    }

    /// By tenant; those that are not there were not written yet.
    pub fn by_tenant(&self) -> BTreeMap<TenantId, IndexWrite> {
        self.0.lock().clone()
    }
}

/// `index.json.gz` and `index.pb.zst`.
pub(crate) fn encode(now: Timestamp, metas: &[Arc<BlockMeta>]) -> (Vec<u8>, Vec<u8>) {
    (json(now, metas), proto(now, metas))
}

fn json(now: Timestamp, metas: &[Arc<BlockMeta>]) -> Vec<u8> {
    let metas: Vec<&BlockMeta> = metas.iter().map(AsRef::as_ref).collect();
    let index = serde_json::json!({ "created_at": now.to_string(), "meta": metas, "compacted": [] });
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    // Writing to memory cannot fail.
    let _ = out.write_all(index.to_string().as_bytes());
    out.finish().unwrap_or_default()
}

fn proto(now: Timestamp, metas: &[Arc<BlockMeta>]) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, 1, |out| put_timestamp(out, now));
    for meta in metas {
        put_message(&mut out, 2, |out| put_meta(out, meta));
    }
    zstd::bulk::compress(&out, 3).unwrap_or_default()
}

fn put_timestamp(out: &mut Vec<u8>, time: Timestamp) {
    put_number_unless_zero(out, 1, time.as_second().cast_unsigned());
    put_number_unless_zero(out, 2, u64::from(time.subsec_nanosecond().unsigned_abs()));
}

fn put_meta(out: &mut Vec<u8>, meta: &BlockMeta) {
    put_bytes_unless_empty(out, 1, meta.format.as_bytes());
    put_bytes(out, 2, meta.block_id.as_bytes());
    put_bytes_unless_empty(out, 5, meta.tenant_id.as_bytes());
    put_message(out, 6, |out| put_timestamp(out, meta.start_time));
    put_message(out, 7, |out| put_timestamp(out, meta.end_time));
    put_number_unless_zero(out, 8, meta.total_objects);
    put_number_unless_zero(out, 9, meta.size);
    put_number_unless_zero(out, 10, u64::from(meta.compaction_level));
    put_number_unless_zero(out, 12, u64::from(meta.index_page_size));
    put_number_unless_zero(out, 13, u64::from(meta.total_records));
    put_number_unless_zero(out, 15, u64::from(meta.bloom_shards));
    put_number_unless_zero(out, 16, u64::from(meta.footer_size));
    let dedicated = serde_json::to_vec(&meta.dedicated_columns).unwrap_or_default();
    if !meta.dedicated_columns.is_empty() {
        put_bytes(out, 17, &dedicated);
    }
    put_number_unless_zero(out, 18, u64::from(meta.replication_factor));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The index that a real Tempo wrote for its block, field by field.
    #[test]
    fn the_protobuf_form_equals_tempos() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/v4/single-tenant");
        let recorded = std::fs::read(format!("{folder}/index.pb.zst")).unwrap();
        let recorded = zstd::bulk::decompress(&recorded, 1 << 20).unwrap();
        let meta = std::fs::read(format!("{folder}/728a1849-365c-4c4b-beef-cd37283c2b4d/meta.json")).unwrap();
        let meta: BlockMeta = serde_json::from_slice(&meta).unwrap();
        let ours = proto("2026-11-22T08:30:01.566877945Z".parse().unwrap(), &[Arc::new(meta)]);
        let ours = zstd::bulk::decompress(&ours, 1 << 20).unwrap();
        assert_eq!(ours, recorded);
    }
}
