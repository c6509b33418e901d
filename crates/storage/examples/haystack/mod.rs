//! Blocks in an S3 bucket of this process, in which every trace has an order of its own, and what a question of them
//! reads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

use std::sync::Arc;

use http::Method;
use trackway_common::{Secret, TenantId, TraceId};
use trackway_engine::{SearchPlan, Wholeness};
use trackway_peers::{ACCESS_KEY, S3Server, SECRET_KEY};
use trackway_spans::wire::{put_bytes, put_fixed64, put_message};
use trackway_spans::{BatchBuilder, Limits, Value, anyvalue, append_request, trace_ids_of};
use trackway_storage::stores::{BucketFacts, S3Config, StoreConfig, open};
use trackway_storage::{BlockReader, BlockStore, CpuPool, Upload};
use trackway_vparquet::meta::BlockMeta;
use trackway_vparquet::{BlockWriter, WriteOptions};
use uuid::Uuid;

/// Spans that are frozen together.
const CHUNK_SPANS: u64 = 8_000;

/// How much there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) blocks: u64,
    /// Of each block.
    pub(crate) spans: u64,
    pub(crate) spans_of_trace: u64,
}

/// The blocks.
pub(crate) struct Haystack {
    server: S3Server,
    reader: BlockReader,
    metas: Vec<BlockMeta>,
    tenant: TenantId,
    /// Bytes of all data files.
    pub(crate) bytes: u64,
}

/// What a question read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) traces: usize,
    pub(crate) requests: usize,
    pub(crate) bytes: u64,
}

fn mixed(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// The order of a trace of a block.
pub(crate) fn order(block: u64, trace: u64) -> String {
    let number = mixed(block << 32 | trace);
    format!("ord-{number:016x}{:016x}", mixed(number))
}

/// The number of the same order.
pub(crate) fn number(block: u64, trace: u64) -> i64 {
    (mixed(block << 40 | trace) >> 20).cast_signed()
}

/// Its id.
pub(crate) fn trace_id(block: u64, trace: u64) -> TraceId {
    TraceId(u128::from(mixed(block << 36 | trace)) << 64 | u128::from(mixed(trace)))
}

fn put_attr(out: &mut Vec<u8>, field: u32, key: &str, value: Value<'_>) {
    put_message(out, field, |out| {
        put_bytes(out, 1, key.as_bytes());
        put_message(out, 2, |out| anyvalue::put(out, value));
    });
}

fn put_span(out: &mut Vec<u8>, size: Size, block: u64, span: u64) {
    let trace = span / size.spans_of_trace;
    let dice = mixed(mixed(block) ^ span);
    put_message(out, 2, |out| {
        put_bytes(out, 1, &trace_id(block, trace).to_bytes());
        put_bytes(out, 2, &dice.to_be_bytes());
        put_bytes(out, 4, &mixed(dice).to_be_bytes());
        put_bytes(out, 5, format!("operation {}", dice % 40).as_bytes());
        let start = 1_795_336_140_000_000_000 + (block * size.spans + span) * 90_000 + dice % 80_000;
        put_fixed64(out, 7, start);
        put_fixed64(out, 8, start + dice % 5_000_000);
        put_attr(out, 9, "app.order.id", Value::String(order(block, trace).as_bytes()));
        put_attr(out, 9, "app.order.number", Value::Int(number(block, trace)));
        put_attr(out, 9, "http.route", Value::String(format!("/v1/things/{}", dice % 23).as_bytes()));
        put_attr(out, 9, "http.response.status_code", Value::Int(200 + (dice % 5).cast_signed()));
        put_attr(out, 9, "peer.port", Value::Int((30_000 + dice % 400).cast_signed()));
        put_attr(out, 9, "user.id", Value::String(format!("user-{}", dice % 300).as_bytes()));
    });
}

impl Haystack {
    pub(crate) async fn new(size: Size) -> Self {
        let server = S3Server::start(&["tempo-traces"]);
        let config = S3Config {
            section: "storage.trace.s3".to_owned(),
            bucket: "tempo-traces".to_owned(),
            endpoint: server.endpoint.clone(),
            access_key: ACCESS_KEY.to_owned(),
            secret_key: Secret::new(SECRET_KEY),
            insecure: true,
            ..S3Config::default()
        };
        let opened = open(&StoreConfig::S3(Box::new(config)), &|_| None).await.unwrap();
        let store = BlockStore::opened(&opened, BucketFacts { conditional_put: true });
        let (tenant, folder) = (TenantId::single(), tempfile::tempdir().unwrap());
        let mut metas = Vec::new();
        for block in 0..size.blocks {
            let path = folder.path().join("data.parquet");
            let batches = (0..size.spans).step_by(CHUNK_SPANS as usize).map(|first| {
                let mut request = Vec::new();
                put_message(&mut request, 1, |out| {
                    put_message(out, 1, |out| put_attr(out, 1, "service.name", Value::String(b"shop")));
                    put_message(out, 2, |out| {
                        let last = size.spans.min(first + CHUNK_SPANS);
                        (first..last).for_each(|span| put_span(out, size, block, span));
                    });
                });
                let mut builder = BatchBuilder::new();
                append_request(&mut builder, &request, Limits::default(), &[]).unwrap();
                Arc::new(builder.finish())
            });
            let batches: Vec<_> = batches.collect();
            let file = std::fs::File::create(&path).unwrap();
            let written = BlockWriter::write(&batches, &WriteOptions::default(), file).unwrap();
            let options = WriteOptions::default();
            let meta =
                written.meta(Uuid::from_u128(u128::from(block) + 1), tenant.as_str(), options.dedicated, 1);
            let upload = Upload {
                meta: &meta,
                meta_json: serde_json::to_vec(&meta).unwrap(),
                data: &path,
                bloom: written.bloom,
                index: written.index,
            };
            store.put_block(&tenant, upload).await.unwrap();
            metas.push(meta);
        }
        let reader =
            BlockReader::new(store, CpuPool::new(2).unwrap(), trackway_common::MemoryPool::unlimited());
        let bytes = metas.iter().map(|meta| meta.size).sum();
        server.seen();
        Self { server, reader, metas, tenant, bytes }
    }

    /// Bytes of all filters.
    pub(crate) fn filter_bytes(&self) -> u64 {
        self.metas.iter().map(|meta| meta.filter_bytes).sum()
    }

    /// Asks all blocks, as a search does.
    pub(crate) async fn ask(&self, query: &str) -> Asked {
        let plan = SearchPlan::new(&trackway_traceql::parse(query).unwrap(), None).unwrap();
        let mut traces = 0;
        for meta in &self.metas {
            traces += self.ask_block(&plan, meta).await;
        }
        let seen = self.server.seen();
        let data =
            seen.iter().filter(|(method, path, _)| *method == Method::GET && path.contains("data.parquet"));
        let ranges: Vec<u64> = data.map(|(.., headers)| length(headers["range"].to_str().unwrap())).collect();
        Asked { traces, requests: seen.len(), bytes: ranges.iter().sum() }
    }

    async fn ask_block(&self, plan: &SearchPlan, meta: &BlockMeta) -> usize {
        let (reader, tenant) = (&self.reader, &self.tenant);
        let file = reader.open(tenant, meta).await.unwrap();
        let mut traces = 0;
        for row_group in 0..file.row_groups() {
            if !reader.may_match(tenant, meta, row_group, plan.prunes()).await.unwrap().0 {
                continue;
            }
            let rows = match trace_ids_of(plan.prunes()) {
                Some(ids) => Some(reader.rows_of(tenant, meta, row_group, ids).await.unwrap().0),
                None => None,
            };
            if rows.as_ref().is_some_and(Vec::is_empty) {
                continue;
            }
            let loaded = reader.load(tenant, meta, row_group, rows, plan.scan_needs()).await.unwrap();
            let found = plan.scan(&loaded.batch, Wholeness::Whole(None)).unwrap();
            traces += found.iter().filter(|found| plan.accepts(found.found)).count();
        }
        traces
    }
}

/// Bytes of a range header: `bytes=FIRST-LAST`.
fn length(range: &str) -> u64 {
    let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    last.parse::<u64>().unwrap() - first.parse::<u64>().unwrap() + 1
}
