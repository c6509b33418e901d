//! `overrides:`, limits of tenants: the defaults here, and each tenant's own in a second file.
//!
//! Tempo's older flat spelling is moved to these keys before reading, see [`crate::legacy`].

use std::collections::BTreeMap;

use crate::bytesize::ByteSize;
use crate::duration::GoDuration;
use crate::sections::{Azure, DedicatedColumn, Gcs, GeneratorLimits, LocalStore, S3, mins, secs};

section! {
    /// `overrides:`.
    Overrides {
        defaults: Limits = Limits::default(), "Limits of every tenant without its own.";
        per_tenant_override_config: String = String::new(), "File with the limits of single tenants.";
        per_tenant_override_period: GoDuration = secs(10), "How often that file is read again.";
        enable_legacy_overrides: bool = false, "Accepted; the flat spelling is always understood.";
        user_configurable_overrides: UserOverrides = UserOverrides::default(), "Limits that tenants set through the API.";
    }
    ignored &[]
}

section! {
    /// `overrides.user_configurable_overrides:`.
    UserOverrides {
        enabled: bool = false, "Whether they may.";
        poll_interval: GoDuration = mins(1), "How often changes of other processes are looked for.";
        client: UserOverridesClient = UserOverridesClient::default(), "Where they are kept.";
        api: UserOverridesApi = UserOverridesApi::default(), "The API.";
    }
    ignored &[]
}

section! {
    /// `overrides.user_configurable_overrides.client:`.
    UserOverridesClient {
        backend: String = String::new(), "`local`, `s3`, `gcs` or `azure`; empty is the storage's bucket, or `trackway.data_path`.";
        confirm_versioning: bool = true, "Accepted; a change is always made on the version that it names, which needs no versioning of the bucket.";
        local: LocalStore = LocalStore::default(), "The folder.";
        s3: S3 = S3::default(), "Amazon S3, or what speaks like it.";
        gcs: Gcs = Gcs::default(), "Google Cloud Storage.";
        azure: Azure = Azure::default(), "Azure Blob Storage.";
    }
    ignored &[]
}

section! {
    /// `overrides.user_configurable_overrides.api:`.
    UserOverridesApi {
        check_for_conflicting_runtime_overrides: bool = false, "Refuse what the file of tenants also sets.";
    }
    ignored &[]
}

section! {
    /// A tenant's limits.
    Limits {
        ingestion: IngestionLimits = IngestionLimits::default(), "Taking spans in.";
        read: ReadLimits = ReadLimits::default(), "Questions.";
        compaction: CompactionLimits = CompactionLimits::default(), "Merging and expiry.";
        metrics_generator: GeneratorLimits = GeneratorLimits::default(), "Metrics from spans.";
        forwarders: Vec<String> = Vec::new(), "Names of forwarders that get a copy of the tenant's spans.";
        global: GlobalLimits = GlobalLimits::default(), "Everywhere.";
        storage: StorageLimits = StorageLimits::default(), "Blocks.";
        cost_attribution: CostAttribution = CostAttribution::default(), "Bytes by attribute.";
    }
    ignored &[]
}

choice! {
    /// What a tenant's rate limit counts for.
    RateStrategy {
        Local = "local", "For each distributor.";
        Global = "global", "For all distributors together.";
    }
}

section! {
    /// `ingestion:` of a tenant.
    IngestionLimits {
        rate_strategy: RateStrategy = RateStrategy::Local, "Whether the rate is for each distributor or for all together.";
        rate_limit_bytes: ByteSize = ByteSize::new(30_000_000), "Bytes per second.";
        burst_size_bytes: ByteSize = ByteSize::new(30_000_000), "Bytes in one burst; also the largest batch.";
        max_traces_per_user: u64 = 10_000, "Most traces being received on one ingester; 0 is no limit.";
        max_global_traces_per_user: u64 = 0, "Most traces being received on all ingesters; 0 is no limit.";
        tenant_shard_size: u32 = 0, "On how many ingesters the tenant lives; 0 is all.";
        max_attribute_bytes: u64 = 0, "Longest attribute key or value, in bytes; 0 is `distributor.max_attribute_bytes`.";
        artificial_delay: Option<GoDuration> = None, "Least time that an answer to a sender takes.";
        retry_info_enabled: bool = true, "Tell senders when to try again.";
    }
    ignored &[]
}

section! {
    /// `read:` of a tenant.
    ReadLimits {
        max_bytes_per_tag_values_query: ByteSize = ByteSize::new(1_000_000), "Largest answer with tag values.";
        max_blocks_per_tag_values_query: u32 = 0, "Most blocks looked at for tag values; 0 is no limit.";
        max_condition_groups_per_tag_query: u32 = 100, "Most alternatives in the filter of a tag query; 0 is no limit.";
        max_search_duration: GoDuration = GoDuration::ZERO, "Longest time range of a search; 0 is `query_frontend.search.max_duration`.";
        max_metrics_duration: GoDuration = GoDuration::ZERO, "Longest time range of metrics; 0 is `query_frontend.metrics.max_duration`.";
        unsafe_query_hints: bool = false, "Allow hints that change how a query runs.";
        left_pad_trace_ids: bool = false, "Print trace ids with their leading zeros.";
        metrics_spanonly_fetch: Option<bool> = None, "Accepted; Trackway reads only what decides.";
    }
    ignored &[]
}

section! {
    /// `compaction:` of a tenant.
    CompactionLimits {
        block_retention: GoDuration = GoDuration::ZERO, "How long data is kept; 0 is the process' setting.";
        compaction_window: GoDuration = GoDuration::ZERO, "Blocks that end in the same window are merged; 0 is the process' setting.";
        compaction_disabled: bool = false, "Do not merge the tenant's blocks.";
    }
    ignored &[]
}

section! {
    /// `global:` of a tenant.
    GlobalLimits {
        max_bytes_per_trace: ByteSize = ByteSize::new(5_000_000), "Largest trace; 0 is no limit.";
    }
    ignored &[]
}

section! {
    /// `storage:` of a tenant.
    StorageLimits {
        parquet_dedicated_columns: Vec<DedicatedColumn> = Vec::new(), "Attributes with a column of their own; none means `storage.trace.block`'s.";
    }
    ignored &[]
}

section! {
    /// `cost_attribution:` of a tenant.
    CostAttribution {
        max_cardinality: u64 = 0, "Most series; 0 is `distributor.usage.cost_attribution.max_cardinality`.";
        dimensions: BTreeMap<String, String> = BTreeMap::new(), "Attributes and the labels they become.";
    }
    ignored &[]
}
