//! `distributor:`, where spans come in.

use crate::duration::GoDuration;
use crate::ignored;
use crate::sections::{Receivers, mins, secs};
use crate::table::Shape::{Block, Bool, Dur, Str};

section! {
    /// `distributor:`.
    Distributor {
        receivers: Receivers = Receivers::default(), "Which protocols are served, and where.";
        log_received_spans: LogSpans = LogSpans::default(), "Log every span that comes in.";
        log_discarded_spans: LogSpans = LogSpans::default(), "Log every span that is refused.";
        metric_received_spans: MetricSpans = MetricSpans::default(), "Count spans by service and name.";
        max_attribute_bytes: u64 = 2048, "Longest attribute key or value, in bytes; longer ones are cut; 0 is no limit.";
        retry_after_on_resource_exhausted: GoDuration = secs(5), "When a sender that was refused may try again; 0 says nothing.";
        usage: Usage = Usage::default(), "Cost attribution.";
        artificial_delay: GoDuration = GoDuration::ZERO, "Least time that an answer to a sender takes.";
        forwarders: Vec<Forwarder> = Vec::new(), "Servers that get copies of tenants' spans; tenants name them in `overrides.defaults.forwarders`.";
    }
    ignored &[
        ("ring", Block(ignored::RING)),
        ("override_ring_key", Str),
        ("extend_writes", Bool),
        ("log_received_traces", Bool),
        ("log_discarded_traces", Bool),
        ("ingester_write_path_enabled", Bool),
        ("kafka_write_path_enabled", Bool),
        ("kafka_config", Block(ignored::KAFKA)),
        ("trace_push_timeout", Dur),
    ]
}

section! {
    /// An entry of `distributor.forwarders:`.
    Forwarder {
        name: String = String::new(), "What tenants name it by.";
        backend: String = String::new(), "How it sends: `otlpgrpc`.";
        otlpgrpc: ForwarderOtlpGrpc = ForwarderOtlpGrpc::default(), "OTLP over gRPC.";
        filter: ForwarderFilter = ForwarderFilter::default(), "What it drops.";
    }
    ignored &[]
}

section! {
    /// `otlpgrpc:` of a forwarder.
    ForwarderOtlpGrpc {
        endpoints: Vec<String> = Vec::new(), "Where to, `host:port`; each of them gets everything.";
        tls: ForwarderTls = ForwarderTls::default(), "TLS to the endpoints.";
    }
    ignored &[]
}

section! {
    /// `tls:` of a forwarder.
    ForwarderTls {
        insecure: bool = false, "No TLS.";
        cert_file: String = String::new(), "Authorities of the endpoints, PEM.";
    }
    ignored &[]
}

section! {
    /// `filter:` of a forwarder.
    ForwarderFilter {
        traces: ForwarderTraces = ForwarderTraces::default(), "Of traces.";
    }
    ignored &[]
}

section! {
    /// `filter.traces:` of a forwarder: conditions in OTTL, as of a Collector's filter processor.
    ForwarderTraces {
        span: Vec<String> = Vec::new(), "Spans that meet one of these are not forwarded.";
        spanevent: Vec<String> = Vec::new(), "Events that meet one of these are not forwarded.";
    }
    ignored &[]
}

section! {
    /// `log_received_spans:` and `log_discarded_spans:`.
    LogSpans {
        enabled: bool = false, "Whether to log them.";
        include_all_attributes: bool = false, "With all their attributes.";
        filter_by_status_error: bool = false, "Only those whose status is an error.";
    }
    ignored &[]
}

section! {
    /// `metric_received_spans:`.
    MetricSpans {
        enabled: bool = false, "Whether to count them.";
        root_only: bool = false, "Only root spans.";
    }
    ignored &[]
}

section! {
    /// `distributor.usage:`.
    Usage {
        cost_attribution: UsageCostAttribution = UsageCostAttribution::default(), "Bytes by attribute, at `/usage_metrics`.";
    }
    ignored &[]
}

section! {
    /// `distributor.usage.cost_attribution:`.
    UsageCostAttribution {
        enabled: bool = false, "Whether to count.";
        max_cardinality: u64 = 10_000, "Most series of a tenant.";
        stale_duration: GoDuration = mins(15), "When an idle series is forgotten.";
    }
    ignored &[]
}
