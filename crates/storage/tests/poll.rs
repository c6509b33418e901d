//! What looking at a bucket costs: of 500 blocks, the first time and when nothing changed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)] // this measures real time

use std::path::Path;
use std::time::{Duration, Instant};

use http::Method;
use trackway_common::{Secret, TenantId};
use trackway_peers::{ACCESS_KEY, Fault, S3Server, SECRET_KEY};
use trackway_storage::stores::{BucketFacts, S3Config, StoreConfig, open};
use trackway_storage::{BlockCatalog, BlockStore, Catalog, PollOptions};
use uuid::Uuid;

const BLOCKS: u128 = 500;
/// Tempo's defaults.
const OPTIONS: PollOptions = PollOptions { blocks_at_once: 50, tenants_at_once: 1 };
/// What issue 4 allows.
const COLD: Duration = Duration::from_secs(2);
const REQUESTS_WHEN_NOTHING_CHANGED: usize = 5;
/// What a bucket nearby takes for a read.
const ROUND_TRIP: Duration = Duration::from_millis(20);
/// Other tests and builds run at the same time: the best of so many counts.
const TRIES: usize = 3;

/// Copies of the block that Tempo wrote, each with its own id, and Tempo's index of the one block that it knew.
fn fill(tenant: &Path, blocks: std::ops::Range<u128>) {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/v4/single-tenant");
    let block = "728a1849-365c-4c4b-beef-cd37283c2b4d";
    let meta = std::fs::read_to_string(format!("{golden}/{block}/meta.json")).unwrap();
    for id in blocks {
        let id = Uuid::from_u128(id + 1).to_string();
        let folder = tenant.join(&id);
        std::fs::create_dir_all(&folder).unwrap();
        for file in ["data.parquet", "bloom-0", "index"] {
            std::fs::write(folder.join(file), "nobody reads this").unwrap();
        }
        std::fs::write(folder.join("meta.json"), meta.replace(block, &id)).unwrap();
    }
    for index in ["index.json.gz", "index.pb.zst"] {
        std::fs::copy(format!("{golden}/{index}"), tenant.join(index)).unwrap();
    }
}

async fn store(server: &S3Server) -> BlockStore {
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
    BlockStore::opened(&opened, BucketFacts { conditional_put: true })
}

/// Looks, and says how many blocks were new, how long it took and how many requests it were.
async fn look(catalog: &Catalog, store: &BlockStore, server: &S3Server) -> (usize, Duration, usize) {
    server.seen();
    let started = Instant::now();
    let polled = catalog.poll(store, OPTIONS).await.unwrap();
    let took = started.elapsed();
    assert_eq!((polled.unreadable.len(), polled.failed.len()), (0, 0));
    (polled.added, took, server.seen().len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_blocks_are_known_soon_and_cost_little_after_that() {
    let server = S3Server::start(&["tempo-traces"]);
    let (folder, tenant) = (server.bucket("tempo-traces").join("single-tenant"), TenantId::single());
    fill(&folder, 0..BLOCKS);
    let store = store(&server).await;
    server.fault(Fault { times: u32::MAX, answer: None, ..Fault::late(Method::GET, ROUND_TRIP) });
    let mut best = Duration::MAX;
    let mut catalog = Catalog::default();
    for _ in 0..TRIES {
        catalog = Catalog::default();
        let (added, took, requests) = look(&catalog, &store, &server).await;
        println!("the first look: {requests} requests, {} ms", took.as_millis());
        assert_eq!(added, BLOCKS as usize);
        assert_eq!(catalog.blocks(&tenant).len(), BLOCKS as usize);
        assert!(requests <= BLOCKS as usize + REQUESTS_WHEN_NOTHING_CHANGED, "{requests}");
        best = best.min(took);
        if best <= COLD {
            break;
        }
    }
    assert!(best <= COLD, "{best:?}");
    let (added, took, requests) = look(&catalog, &store, &server).await;
    println!("nothing changed: {requests} requests, {} ms", took.as_millis());
    assert_eq!(added, 0);
    assert!(requests <= REQUESTS_WHEN_NOTHING_CHANGED, "{requests}");
    // Of what came since, each block is asked once more.
    fill(&folder, BLOCKS..BLOCKS + 3);
    let (added, _, requests) = look(&catalog, &store, &server).await;
    assert_eq!(added, 3);
    assert!(requests <= REQUESTS_WHEN_NOTHING_CHANGED + 3, "{requests}");
}

/// The index is for Tempo's readers: whatever stands in it, the blocks that are there are the blocks that are known.
#[tokio::test]
async fn an_index_that_is_damaged_or_stale_costs_no_block() {
    let server = S3Server::start(&["tempo-traces"]);
    let folder = server.bucket("tempo-traces").join("single-tenant");
    fill(&folder, 0..4);
    let store = store(&server).await;
    for index in [&b""[..], b"\x1f\x8b damaged", b"{}"] {
        std::fs::write(folder.join("index.json.gz"), index).unwrap();
        std::fs::write(folder.join("index.pb.zst"), index).unwrap();
        assert_eq!(look(&Catalog::default(), &store, &server).await.0, 4);
    }
}
