//! Answers as messages, for gRPC and for clients that accept protobuf.

use trackway_common::span_id_hex;
use trackway_proto::common::{AnyValue, ArrayValue, KeyValue, any_value};
use trackway_proto::tempopb;
use trackway_querier::service::{
    AttributeValue, Completeness, Exemplar, Metrics, Series, SpanResult, SpansetResult, TraceAnswer,
    TraceResult,
};

use crate::json::{NO_ROOT, millis};
use crate::series_json::last;

/// A trace that matched.
pub(crate) fn trace(trace: TraceResult) -> tempopb::TraceSearchMetadata {
    let span_sets: Vec<_> = trace.spansets.into_iter().map(spanset).collect();
    let service = if trace.root_service.is_empty() { NO_ROOT.to_owned() } else { trace.root_service };
    tempopb::TraceSearchMetadata {
        trace_id: trace.id.short_hex(),
        root_service_name: service,
        root_trace_name: trace.root_name.unwrap_or_default(),
        start_time_unix_nano: trace.start,
        duration_ms: millis(trace.duration),
        span_set: span_sets.first().cloned(),
        span_sets,
        service_stats: trace
            .service_stats
            .into_iter()
            .map(|(service, span_count, error_count)| {
                (service, tempopb::ServiceStats { span_count, error_count })
            })
            .collect(),
    }
}

fn spanset(set: SpansetResult) -> tempopb::SpanSet {
    tempopb::SpanSet {
        spans: set.spans.into_iter().map(span).collect(),
        matched: set.matched,
        attributes: attributes(set.attributes),
    }
}

fn span(span: SpanResult) -> tempopb::Span {
    tempopb::Span {
        span_id: span_id_hex(span.id),
        name: span.name,
        start_time_unix_nano: span.start,
        duration_nanos: span.duration,
        attributes: attributes(span.attributes),
    }
}

fn attributes(attributes: Vec<(String, AttributeValue)>) -> Vec<KeyValue> {
    attributes.into_iter().map(|(key, any)| KeyValue { key, value: Some(value(any)) }).collect()
}

fn value(any: AttributeValue) -> AnyValue {
    use any_value::Value;
    AnyValue {
        value: Some(match any {
            AttributeValue::String(text) => Value::StringValue(text),
            AttributeValue::Int(number) => Value::IntValue(number),
            AttributeValue::Float(number) => Value::DoubleValue(number),
            AttributeValue::Bool(is) => Value::BoolValue(is),
            AttributeValue::Array(values) => {
                Value::ArrayValue(ArrayValue { values: values.into_iter().map(value).collect() })
            }
        }),
    }
}

/// A series of a range query.
pub(crate) fn time_series(series: Series) -> tempopb::TimeSeries {
    let sample = |(time, value)| tempopb::Sample { value, timestamp_ms: signed(time) };
    let exemplar = |one: Exemplar| tempopb::Exemplar {
        labels: attributes(one.labels),
        value: one.value,
        timestamp_ms: signed(one.time_ms),
    };
    tempopb::TimeSeries {
        labels: attributes(series.labels),
        samples: series.samples.into_iter().map(sample).collect(),
        exemplars: series.exemplars.into_iter().map(exemplar).collect(),
    }
}

/// A series of an instant query; none when it has no value.
pub(crate) fn instant_series(series: Series) -> Option<tempopb::InstantSeries> {
    let value = last(&series)?;
    Some(tempopb::InstantSeries { labels: attributes(series.labels), value })
}

fn signed(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// What a search or a question for series cost.
pub(crate) fn search_metrics(metrics: &Metrics) -> tempopb::SearchMetrics {
    tempopb::SearchMetrics {
        inspected_traces: u32::try_from(metrics.inspected_traces).unwrap_or(u32::MAX),
        inspected_bytes: metrics.inspected_bytes,
        total_blocks: metrics.total_blocks,
        completed_jobs: metrics.completed_jobs,
        total_jobs: metrics.total_jobs,
        total_block_bytes: metrics.total_block_bytes,
        inspected_spans: metrics.inspected_spans,
    }
}

/// What a question for names or values cost.
pub(crate) fn metadata_metrics(metrics: &Metrics) -> tempopb::MetadataMetrics {
    tempopb::MetadataMetrics {
        inspected_bytes: metrics.inspected_bytes,
        total_jobs: metrics.total_jobs,
        completed_jobs: metrics.completed_jobs,
        total_blocks: metrics.total_blocks,
        total_block_bytes: metrics.total_block_bytes,
    }
}

/// Values with their types.
pub(crate) fn tag_values(values: Vec<(&'static str, String)>) -> Vec<tempopb::TagValue> {
    values.into_iter().map(|(kind, value)| tempopb::TagValue { r#type: kind.to_owned(), value }).collect()
}

/// One trace. It is always there, even when it is empty: Grafana's plugin crashes without.
pub(crate) fn trace_by_id(answer: TraceAnswer) -> tempopb::TraceByIdResponse {
    let (status, message) = match answer.completeness {
        Completeness::Complete => (tempopb::PartialStatus::Complete, String::new()),
        Completeness::Partial(why) => (tempopb::PartialStatus::Partial, why),
    };
    tempopb::TraceByIdResponse {
        trace: Some(answer.trace.unwrap_or_default()),
        metrics: Some(tempopb::TraceByIdMetrics { inspected_bytes: answer.metrics.inspected_bytes }),
        status: status.into(),
        message,
    }
}
