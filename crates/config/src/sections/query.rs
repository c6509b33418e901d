//! `query_frontend:` and `querier:`, what questions may cost.

use crate::bytesize::ByteSize;
use crate::duration::GoDuration;
use crate::ignored;
use crate::sections::{hours, mins, secs};
use crate::table::Shape::{Any, Block, Bool, Dur, Int, List, Num, Str};

section! {
    /// `query_frontend:`.
    QueryFrontend {
        max_outstanding_per_tenant: u32 = 2000, "Most waiting jobs of a tenant; more are refused.";
        max_batch_size: u32 = 7, "Most jobs handed to a querier at once.";
        max_retries: u32 = 2, "How often a failed job is tried again.";
        log_query_request_headers: String = String::new(), "Request headers added to the query log, comma-separated.";
        multi_tenant_queries_enabled: bool = true, "Let one question be about several tenants (`a|b`).";
        query_end_cutoff: GoDuration = GoDuration::ZERO, "How far before now a metrics query ends. Tempo needs 30s, because it does not see at once what it has acknowledged.";
        max_query_expression_size_bytes: ByteSize = ByteSize::new(131_072), "Longest TraceQL text.";
        max_grpc_streaming_packet_size: ByteSize = ByteSize::new(2_097_152), "Largest packet of a streamed answer.";
        api_timeout: GoDuration = GoDuration::ZERO, "Longest time for any question; 0 is no limit.";
        url_deny_list: Vec<String> = Vec::new(), "Regular expressions of URLs that are refused.";
        search: FrontendSearch = FrontendSearch::default(), "Searches.";
        trace_by_id: FrontendTraceById = FrontendTraceById::default(), "Traces by id.";
        metrics: FrontendMetrics = FrontendMetrics::default(), "TraceQL metrics.";
        mcp_server: McpServer = McpServer::default(), "The server for language models at `/api/mcp`.";
    }
    ignored &[
        ("response_consumers", Int),
        ("allowed_headers", List),
        ("skip_ast_transformations", List),
        ("rf1_after", Str),
        ("querier_forget_delay", Dur),
        (
            "weights",
            Block(&[
                ("request_with_weights", Bool),
                ("retry_with_weights", Bool),
                ("max_traceql_conditions", Int),
                ("max_regex_conditions", Int),
            ]),
        ),
    ]
}

section! {
    /// `query_frontend.search:`.
    FrontendSearch {
        concurrent_jobs: u32 = 1000, "Most jobs of one search at the same time.";
        target_bytes_per_job: ByteSize = ByteSize::new(104_857_600), "Data of one job.";
        default_result_limit: u32 = 20, "Traces in an answer when the question does not say.";
        max_result_limit: u32 = 262_144, "Most traces in an answer; 0 is no limit.";
        max_duration: GoDuration = hours(168), "Longest time range; 0 is no limit.";
        query_backend_after: GoDuration = mins(15), "Accepted; a question always sees both recent and stored data.";
        default_spans_per_span_set: u32 = 3, "Spans of a trace in an answer when the question does not say.";
        max_spans_per_span_set: u32 = 100, "Most spans of a trace in an answer; 0 is no limit.";
        duration_slo: GoDuration = GoDuration::ZERO, "Searches at most this slow count as within the objective; 0 is off.";
        throughput_bytes_slo: f64 = 0.0, "Searches at least this fast, in bytes per second, count as within the objective; 0 is off.";
        metadata_slo: Slo = Slo::default(), "The same for tags and their values.";
    }
    ignored &[
        ("timeout", Dur),
        ("query_ingesters_until", Dur),
        ("ingester_shards", Int),
        ("most_recent_shards", Int),
    ]
}

section! {
    /// Objectives of a kind of question.
    Slo {
        duration_slo: GoDuration = GoDuration::ZERO, "At most this slow is within the objective; 0 is off.";
        throughput_bytes_slo: f64 = 0.0, "At least this fast, in bytes per second, is within the objective; 0 is off.";
    }
    ignored &[]
}

section! {
    /// `query_frontend.trace_by_id:`.
    FrontendTraceById {
        query_shards: u32 = 50, "Into how many jobs the blocks are divided.";
        concurrent_shards: u32 = 0, "How many of them run at the same time; 0 is all.";
        duration_slo: GoDuration = GoDuration::ZERO, "At most this slow is within the objective; 0 is off.";
        throughput_bytes_slo: f64 = 0.0, "At least this fast, in bytes per second, is within the objective; 0 is off.";
    }
    ignored &[("external_enabled", Bool)]
}

section! {
    /// `query_frontend.metrics:`.
    FrontendMetrics {
        concurrent_jobs: u32 = 1000, "Most jobs of one question at the same time.";
        target_bytes_per_job: ByteSize = ByteSize::new(104_857_600), "Data of one job.";
        max_duration: GoDuration = hours(24), "Longest time range; 0 is no limit.";
        query_backend_after: GoDuration = mins(15), "Accepted; a question always sees both recent and stored data.";
        interval: GoDuration = mins(5), "Time range of one job.";
        max_exemplars: u32 = 100, "Most exemplars in an answer; 0 is none.";
        max_response_series: u32 = 0, "Most series in an answer; 0 is no limit.";
        max_intervals: u32 = 10_000, "Most points of a series; 0 is no limit.";
        duration_slo: GoDuration = GoDuration::ZERO, "At most this slow is within the objective; 0 is off.";
        throughput_bytes_slo: f64 = 0.0, "At least this fast, in bytes per second, is within the objective; 0 is off.";
    }
    ignored &[("streaming_shards", Int)]
}

section! {
    /// `query_frontend.mcp_server:`.
    McpServer {
        enabled: bool = false, "Whether to serve it.";
    }
    ignored &[]
}

section! {
    /// `querier:`.
    Querier {
        max_concurrent_queries: u32 = 20, "Most jobs of one querier at the same time.";
        search: QuerierSearch = QuerierSearch::default(), "Searches and metrics.";
        trace_by_id: QuerierTraceById = QuerierTraceById::default(), "Traces by id.";
        frontend_worker: FrontendWorker = FrontendWorker::default(), "Where jobs come from.";
    }
    ignored &[
        ("metrics", Block(&[("concurrent_blocks", Int), ("time_overlap_cutoff", Num)])),
        (
            "partition_ring",
            Block(&[
                ("minimize_requests", Bool),
                ("hedging_delay", Dur),
                ("minimize_requests_hedging_delay", Dur),
                ("preferred_zone", Str),
            ]),
        ),
        ("shuffle_sharding_ingesters_enabled", Bool),
        ("shuffle_sharding_ingesters_lookback_period", Dur),
        ("query_relevant_ingesters", Bool),
        ("secondary_ingester_ring", Str),
        ("query_live_store", Bool),
    ]
}

section! {
    /// `querier.search:`.
    QuerierSearch {
        query_timeout: GoDuration = secs(30), "Longest time for one job.";
    }
    ignored &[
        ("prefer_self", Int),
        ("external_backend", Str),
        ("external_endpoints", List),
        ("external_hedge_requests_at", Dur),
        ("external_hedge_requests_up_to", Int),
        ("google_cloud_run", Any),
    ]
}

section! {
    /// `querier.trace_by_id:`.
    QuerierTraceById {
        query_timeout: GoDuration = secs(10), "Longest time for one job.";
    }
    ignored &[("external", Block(&[("endpoint", Str), ("timeout", Dur)]))]
}

section! {
    /// `querier.frontend_worker:`.
    FrontendWorker {
        frontend_address: String = String::new(), "Host and port of the query-frontend's gRPC API.";
        dns_lookup_duration: GoDuration = secs(10), "How often its name is looked up again.";
        parallelism: u32 = 2, "Streams to each query-frontend.";
    }
    ignored &[
        ("match_max_concurrent", Bool),
        ("id", Str),
        ("grpc_client_config", Block(ignored::GRPC_CLIENT)),
    ]
}
