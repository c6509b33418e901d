//! `storage:`, where blocks lie and how they are written.

use std::collections::BTreeMap;

use trackway_common::Secret;

use crate::bytesize::ByteSize;
use crate::duration::GoDuration;
use crate::ignored;
use crate::sections::caches::{CacheBackground, Memcached, Redis};
use crate::sections::{hours, mins, secs};
use crate::table::Shape::{Block, Dur, Inline, Int, Str};

section! {
    /// `storage:`.
    Storage {
        trace: TraceStorage = TraceStorage::default(), "Of traces.";
    }
    ignored &[]
}

choice! {
    /// Where blocks lie.
    Backend {
        Local = "local", "A folder.";
        S3 = "s3", "Amazon S3, or what speaks like it.";
        Gcs = "gcs", "Google Cloud Storage.";
        Azure = "azure", "Azure Blob Storage.";
        Hdfs = "hdfs", "Hadoop's file system, in builds that have it.";
    }
}

section! {
    /// `storage.trace:`.
    TraceStorage {
        backend: Backend = Backend::Local, "Where blocks lie. Trackway's default is a folder.";
        local: LocalStore = LocalStore::default(), "The folder.";
        s3: S3 = S3::default(), "Amazon S3, or what speaks like it.";
        gcs: Gcs = Gcs::default(), "Google Cloud Storage.";
        azure: Azure = Azure::default(), "Azure Blob Storage.";
        hdfs: Hdfs = Hdfs::default(), "Hadoop's file system.";
        wal: Wal = Wal::default(), "The log of what is not yet in blocks.";
        block: BlockFormat = BlockFormat::default(), "How blocks are written.";
        blocklist_poll: GoDuration = mins(5), "How often to look for blocks that others wrote.";
        blocklist_poll_concurrency: u32 = 50, "Most blocks looked at at the same time.";
        blocklist_poll_tenant_concurrency: u32 = 1, "Most tenants looked at at the same time.";
        blocklist_poll_fallback: bool = true, "No effect: blocks are always listed, and the index is only written, for Tempo's readers.";
        blocklist_poll_tenant_index_builders: u32 = 2, "No effect: the process that writes blocks writes the index.";
        blocklist_poll_stale_tenant_index: GoDuration = GoDuration::ZERO, "No effect: the index is not read, so it cannot be stale.";
        blocklist_poll_jitter_ms: u64 = 0, "No effect: only blocks that are not known yet are looked at.";
        blocklist_poll_tolerate_consecutive_errors: u32 = 1, "No effect: what is known of a tenant stays, however often it cannot be listed.";
        blocklist_poll_tolerate_tenant_failures: u32 = 1, "No effect: the other tenants are looked at, however many fail.";
        empty_tenant_deletion_enabled: bool = false, "Delete the index of tenants without blocks.";
        empty_tenant_deletion_age: GoDuration = hours(12), "How old such an index must be.";
        search: TraceSearch = TraceSearch::default(), "How 2.x reads blocks in a search.";
        cache: String = String::new(), "`memcached` or `redis`: a cache for bloom filters and trace id indexes. Deprecated, use `cache.caches`.";
        background_cache: CacheBackground = CacheBackground::default(), "As `cache.background`, for `cache`. Deprecated.";
        memcached: Memcached = Memcached::default(), "As `cache.caches[].memcached`, for `cache: memcached`. Deprecated.";
        redis: Redis = Redis::default(), "As `cache.caches[].redis`, for `cache: redis`. Deprecated.";
    }
    ignored &[
        ("pool", Block(&[("max_workers", Int), ("queue_depth", Int)])),
        ("cache_min_compaction_level", Int),
        ("cache_max_block_age", Dur),
    ]
}

section! {
    /// `storage.trace.search:`.
    TraceSearch {
        cache_control: CacheControl = CacheControl::default(), "What else the cache of `storage.trace.cache` holds. Deprecated.";
    }
    ignored ignored::SEARCH
}

section! {
    /// `storage.trace.search.cache_control:`.
    CacheControl {
        footer: bool = false, "Footers.";
        column_index: bool = false, "Column indexes.";
        offset_index: bool = false, "Offset indexes.";
    }
    ignored &[]
}

section! {
    /// `local:`.
    LocalStore {
        path: String = String::new(), "The folder; empty is `blocks` in `trackway.data_path`.";
    }
    ignored &[]
}

section! {
    /// `storage.trace.wal:`.
    Wal {
        path: String = String::new(), "The log's folder; empty is `wal` in `trackway.data_path`.";
        ingestion_time_range_slack: GoDuration = mins(2), "How far off the present a span may be; the traces of others go to a block of their own; 0 is any.";
    }
    ignored &[
        ("completedfilepath", Str),
        ("blocksfilepath", Str),
        ("v2_encoding", Str),
        ("search_encoding", Str),
        ("version", Str),
    ]
}

section! {
    /// `storage.trace.block:`.
    BlockFormat {
        version: String = "vParquet4".to_owned(), "Format of new blocks: `vParquet4` or `vParquet5`.";
        bloom_filter_false_positive: f64 = 0.01, "Share of blocks looked into in vain for a trace id.";
        bloom_filter_shard_size_bytes: ByteSize = ByteSize::new(102_400), "Size of one bloom filter file.";
        parquet_row_group_size_bytes: ByteSize = ByteSize::new(100_000_000), "Data of one row group.";
        parquet_dedicated_columns: Option<Vec<DedicatedColumn>> = None, "Attributes with a column of their own, which lists of tags leave out, as in Tempo; `[]` for none. Without it, Trackway chooses by size, at most once a day a tenant, and leaves nothing out.";
        create_with_no_compact_flag: bool = false, "Keep new blocks from being merged.";
    }
    ignored &[
        ("search_encoding", Str),
        ("search_page_size_bytes", Int),
        ("", Inline(ignored::V2_BLOCK)),
    ]
}

section! {
    /// One of `parquet_dedicated_columns`.
    DedicatedColumn {
        scope: String = String::new(), "`resource`, `span` or `event`.";
        name: String = String::new(), "The attribute.";
        r#type: String = "string".to_owned(), "`string` or `int`.";
        options: Vec<String> = Vec::new(), "`array` and `blob`.";
    }
    ignored &[]
}

section! {
    /// `s3:`.
    S3 {
        bucket: String = String::new(), "The bucket.";
        prefix: String = String::new(), "Path inside the bucket.";
        endpoint: String = String::new(), "Host and port, such as `s3.eu-central-1.amazonaws.com`.";
        region: String = String::new(), "Region; empty takes it from the endpoint's name or asks AWS, and is `us-east-1` elsewhere.";
        access_key: String = String::new(), "Access key; empty takes AWS' usual sources.";
        secret_key: Secret = Secret::default(), "Secret key.";
        session_token: Secret = Secret::default(), "Session token.";
        insecure: bool = false, "Plain HTTP.";
        part_size: ByteSize = ByteSize::new(0), "Part of a multipart upload, at least 5MiB; 0 chooses.";
        hedge_requests_at: GoDuration = GoDuration::ZERO, "When a second request is sent for a slow one; 0 is never.";
        hedge_requests_up_to: u32 = 2, "Most requests for one answer.";
        retry_max_attempts: u32 = 10, "Most attempts.";
        retry_backoff_initial: GoDuration = GoDuration::from_millis(200), "First wait between attempts.";
        retry_backoff_max: GoDuration = secs(1), "Longest wait between attempts.";
        signature_v2: bool = false, "Sign requests the old way; refused.";
        forcepathstyle: bool = false, "Bucket in the path instead of in the host name.";
        enable_dual_stack: bool = false, "Use AWS' addresses with IPv6.";
        bucket_lookup_type: u32 = 0, "0 automatic, 1 host name, 2 path.";
        tags: BTreeMap<String, String> = BTreeMap::new(), "Tags of new objects.";
        storage_class: String = String::new(), "Storage class of new objects.";
        metadata: BTreeMap<String, String> = BTreeMap::new(), "Metadata of new objects.";
        native_aws_auth_enabled: bool = false, "Deprecated; AWS' usual sources are always tried.";
        list_blocks_concurrency: u32 = 3, "Most concurrent listings.";
        disable_multipart_upload: bool = false, "Upload in one piece.";
        sse: Sse = Sse::default(), "Encryption by the server.";
        tls_cert_path: String = String::new(), "Client certificate, PEM.";
        tls_key_path: String = String::new(), "Its private key, PEM.";
        tls_ca_path: String = String::new(), "Authorities instead of the system's, PEM.";
        tls_server_name: String = String::new(), "Name expected in the server's certificate.";
        tls_insecure_skip_verify: bool = false, "Do not check the server's certificate.";
        tls_cipher_suites: String = String::new(), "Cipher suites of TLS 1.2 in Go's names, with commas between them; empty is all that are safe.";
        tls_min_version: String = "VersionTLS12".to_owned(), "Oldest TLS version: `VersionTLS12` or `VersionTLS13`; older ones are never spoken.";
    }
    ignored &[]
}

section! {
    /// `s3.sse:`.
    Sse {
        r#type: String = String::new(), "`SSE-S3`, `SSE-KMS` or `SSE-C`.";
        kms_key_id: String = String::new(), "Key of `SSE-KMS`.";
        kms_encryption_context: String = String::new(), "Context of `SSE-KMS`, JSON; refused.";
        encryption_key: Secret = Secret::default(), "Key of `SSE-C`, 32 bytes.";
    }
    ignored &[]
}

section! {
    /// `gcs:`.
    Gcs {
        bucket_name: String = String::new(), "The bucket.";
        prefix: String = String::new(), "Path inside the bucket.";
        chunk_buffer_size: ByteSize = ByteSize::new(10_485_760), "Part of an upload.";
        endpoint: String = String::new(), "Another address than Google's, with `https://` or `http://`.";
        hedge_requests_at: GoDuration = GoDuration::ZERO, "When a second request is sent for a slow one; 0 is never.";
        hedge_requests_up_to: u32 = 2, "Most requests for one answer.";
        insecure: bool = false, "No authentication, and TLS unchecked.";
        object_cache_control: String = String::new(), "Cache-Control of new objects.";
        object_metadata: BTreeMap<String, String> = BTreeMap::new(), "Metadata of new objects.";
        list_blocks_concurrency: u32 = 3, "Most concurrent listings.";
        max_retries: u32 = 3, "Most repeated attempts.";
    }
    ignored &[]
}

section! {
    /// `azure:`.
    Azure {
        storage_account_name: String = String::new(), "The storage account.";
        storage_account_key: Secret = Secret::default(), "Its key; empty takes `AZURE_STORAGE_KEY` or what the environment has of a login.";
        use_managed_identity: bool = false, "Authenticate as the machine.";
        use_federated_token: bool = false, "Authenticate as the workload.";
        user_assigned_id: String = String::new(), "Which of the machine's identities.";
        container_name: String = String::new(), "The container.";
        prefix: String = String::new(), "Path inside the container.";
        endpoint_suffix: String = "blob.core.windows.net".to_owned(), "Domain of the account; what does not begin with `blob.` is host and port of an emulator.";
        max_buffers: u32 = 4, "Parts uploaded at the same time.";
        buffer_size: ByteSize = ByteSize::mib(3), "Part of an upload.";
        hedge_requests_at: GoDuration = GoDuration::ZERO, "When a second request is sent for a slow one; 0 is never.";
        hedge_requests_up_to: u32 = 2, "Most requests for one answer.";
    }
    ignored &[("use_v2_sdk", crate::table::Shape::Bool)]
}

section! {
    /// `hdfs:`, which Tempo does not have.
    Hdfs {
        endpoint: String = String::new(), "`hdfs://host:port` or `hdfs://nameservice`.";
        prefix: String = String::new(), "Folder that everything lies in.";
        user: String = String::new(), "Our name; empty takes `HADOOP_USER_NAME`, or the process's user.";
        kerberos_principal: String = String::new(), "Kerberos principal.";
        kerberos_keytab: String = String::new(), "Its keytab, a file.";
        options: BTreeMap<String, String> = BTreeMap::new(), "Hadoop's own client settings, over those in `HADOOP_CONF_DIR`.";
    }
    ignored &[]
}
