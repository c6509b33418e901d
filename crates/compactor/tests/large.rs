//! A block whose row groups are too large for a merge in bounded memory is refused by name, and nothing of it is decoded.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use trackway_common::{MemoryPool, TenantId};
use trackway_compactor::{INPUT_SPANS_MAX, MergeError, merge};
use trackway_spans::wire::{put_bytes, put_fixed64, put_message, put_number};
use trackway_spans::{BatchBuilder, Limits, append_request};
use trackway_storage::{BlockReader, BlockStore, CpuPool, Upload};
use trackway_vparquet::meta::BlockMeta;
use trackway_vparquet::{BlockWriter, WriteOptions};
use uuid::Uuid;

const START: u64 = 1_800_000_000_000_000_000;

/// A block of one trace with so many spans.
async fn put_trace(store: &BlockStore, folder: &Path, number: u128, spans: u64) -> Arc<BlockMeta> {
    let mut request = Vec::new();
    put_message(&mut request, 1, |out| {
        put_message(out, 2, |out| {
            for id in 1..=spans {
                put_message(out, 2, |out| {
                    put_bytes(out, 1, &number.to_be_bytes());
                    put_bytes(out, 2, &id.to_be_bytes());
                    put_bytes(out, 5, b"x");
                    put_number(out, 6, 2);
                    put_fixed64(out, 7, START);
                    put_fixed64(out, 8, START);
                });
            }
        });
    });
    let mut builder = BatchBuilder::new();
    append_request(&mut builder, &request, Limits::default(), &[]).unwrap();
    let path = folder.join("one.parquet");
    let file = std::fs::File::create(&path).unwrap();
    let written = BlockWriter::write(&[builder.finish()], &WriteOptions::default(), file).unwrap();
    let meta = written.meta(Uuid::from_u128(number), "t", Vec::new(), 1);
    let (bloom, index) = (written.bloom, written.index);
    let meta_json = serde_json::to_vec(&meta).unwrap();
    let upload = Upload { meta: &meta, meta_json, data: &path, bloom, index };
    store.put_block(&TenantId::new("t").unwrap(), upload).await.unwrap();
    Arc::new(meta)
}

#[tokio::test]
async fn a_trace_that_is_too_large_is_refused_and_to_blame() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlockStore::new(Arc::new(object_store::memory::InMemory::new()), "");
    let small = put_trace(&store, folder.path(), 1, 100).await;
    let large = put_trace(&store, folder.path(), 2, 101).await;
    let reader = BlockReader::new(store, CpuPool::new(1).unwrap(), MemoryPool::unlimited());
    let (tenant, inputs) = (TenantId::new("t").unwrap(), [small, Arc::clone(&large)]);
    let (options, out) = (WriteOptions::default(), folder.path().join("merged.parquet"));
    let error = merge(&reader, &tenant, &inputs, (&options, 100), &out).await.unwrap_err();
    assert!(matches!(error, MergeError::TooLarge { spans: 101, .. }), "{error}");
    assert_eq!(error.poison(), Some(large.block_id));
    assert!(error.to_string().contains(&large.block_id.to_string()), "{error}");
    let merged = merge(&reader, &tenant, &inputs, (&options, INPUT_SPANS_MAX), &out).await.unwrap();
    assert_eq!((merged.written.traces, merged.written.spans), (2, 201));
}
