//! What a tenant sets of the metrics-generator through the API, typed; and what the operator set of it, in the same shape.

use serde_json::{Map, Value};

use crate::check::Findings;
use crate::duration::GoDuration;
use crate::name_set::NameSet;
use crate::node::{Entry, Node, NodeValue};
use crate::problem::Origin;
use crate::reader::Reader;
use crate::sections::{GeneratorLimits, HistogramForm, MetricsGenerator, ProcessorLimits};
use crate::table::{Item, Setting};

section! {
    /// `metrics_generator` of what a tenant set for itself; `None` where it set nothing.
    OwnGenerator {
        processors: Option<NameSet> = None, "What is made.";
        disable_collection: Option<bool> = None, "Make metrics but send none.";
        collection_interval: Option<GoDuration> = None, "How often metrics are sent.";
        trace_id_label_name: Option<String> = None, "Exemplars' label.";
        ingestion_time_range_slack: Option<GoDuration> = None, "Spans further off the present are left out.";
        generate_native_histograms: Option<HistogramForm> = None, "Which form histograms have.";
        native_histogram_max_bucket_number: Option<u32> = None, "Most buckets of a native histogram.";
        native_histogram_bucket_factor: Option<f64> = None, "Growth of a native histogram's buckets.";
        native_histogram_min_reset_duration: Option<GoDuration> = None, "Least time between resets of a native histogram.";
        span_name_sanitization: Option<String> = None, "Shorten span names.";
        processor: ProcessorLimits = ProcessorLimits::default(), "How it is made.";
    }
    ignored &[]
}

/// Reads `metrics_generator` of a tenant's document. Keys that are not known are passed over: whoever takes documents in
/// has refused them, and what another version stored stays.
///
/// # Errors
/// The first value that is not of its kind, or breaks a rule that the configuration has of the same key.
pub fn own_generator(block: &Value, process: &MetricsGenerator) -> Result<OwnGenerator, String> {
    let mut reader = Reader::default();
    reader.takes_unknown = true;
    let mut own = OwnGenerator::default();
    reader.within("metrics_generator", |reader| own.read(&node(block), reader));
    let mut found = Findings::of(|_| Origin::Default);
    found.generator_limits("metrics_generator", &own.as_limits(), process);
    match reader.problems.into_iter().chain(found.problems).next() {
        Some(problem) => Err(problem.message),
        None => Ok(own),
    }
}

impl OwnGenerator {
    /// As if the operator had set them, for what is checked of both. Without processors: whoever takes documents in knows
    /// them, and one that another version stored makes nothing here.
    fn as_limits(&self) -> GeneratorLimits {
        GeneratorLimits {
            collection_interval: self.collection_interval.unwrap_or_default(),
            trace_id_label_name: self.trace_id_label_name.clone().unwrap_or_default(),
            ingestion_time_range_slack: self.ingestion_time_range_slack.unwrap_or_default(),
            native_histogram_bucket_factor: self.native_histogram_bucket_factor.unwrap_or_default(),
            native_histogram_min_reset_duration: self.native_histogram_min_reset_duration.unwrap_or_default(),
            span_name_sanitization: self.span_name_sanitization.clone().unwrap_or_default(),
            processor: self.processor.clone(),
            ..GeneratorLimits::default()
        }
    }
}

/// What the operator set of `metrics_generator.processor` for a tenant, as the API has it.
pub fn processor_json(limits: &ProcessorLimits) -> Value {
    json(&limits.show())
}

fn node(value: &Value) -> Node {
    let scalar = |text: String, quoted| NodeValue::Scalar { text, quoted };
    let value = match value {
        Value::Null => NodeValue::Null,
        Value::Bool(is) => scalar(is.to_string(), false),
        Value::Number(number) => scalar(number.to_string(), false),
        Value::String(text) => scalar(text.clone(), true),
        Value::Array(items) => NodeValue::List(items.iter().map(node).collect()),
        Value::Object(entries) => {
            let entry = |(key, value): (&String, &Value)| Entry {
                key: key.clone(),
                origin: Origin::Default,
                written: None,
                node: node(value),
            };
            NodeValue::Map(entries.iter().map(entry).collect())
        }
    };
    Node { origin: Origin::Default, value }
}

fn json(item: &Item) -> Value {
    match item {
        Item::Absent | Item::Null => Value::Null,
        // Numbers and booleans are JSON already; anything else plain, such as a duration, is a text there.
        Item::Plain(text) => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())),
        Item::Text(text) => Value::String(text.clone()),
        Item::List(items) => Value::Array(items.iter().map(json).collect()),
        Item::Map(entries) => {
            // A block in which nothing is set is not there either.
            let is_set =
                |value: &Value| !value.is_null() && value.as_object().is_none_or(|block| !block.is_empty());
            let set = entries.iter().map(|(key, item)| (key.clone(), json(item)));
            Value::Object(set.filter(|(_, value)| is_set(value)).collect::<Map<_, _>>())
        }
    }
}
