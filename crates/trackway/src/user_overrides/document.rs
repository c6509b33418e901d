//! What a tenant may set for itself, as the JSON that Tempo keeps of it.
//!
//! What must stay true: what was sent comes back. A key that is not known
//! is refused when somebody sends it, and kept when it lies in the store already: another version wrote it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use trackway_config::GoDuration;

/// Longest text of a refusal that quotes what was sent.
const QUOTED_MAX: usize = 100;

/// A tenant's own settings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UserLimits(Value);

/// What a key takes.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Block(Keys),
    Names,
    Text,
    /// A text, a number, or true or false.
    Plain,
    Flag,
    /// Text as Go writes durations, or nanoseconds.
    Time,
    Whole,
    Number,
    Buckets,
    /// Names with true or false.
    Flags,
    /// Names with texts.
    Texts,
    /// Objects, each with these keys.
    Blocks(Keys),
}

type Keys = &'static [(&'static str, Kind)];

const MAPPING: Keys = &[("name", Kind::Text), ("source_labels", Kind::Names), ("join", Kind::Text)];
const ATTRIBUTE: Keys = &[("key", Kind::Text), ("value", Kind::Plain)];
const MATCH: Keys = &[("match_type", Kind::Text), ("attributes", Kind::Blocks(ATTRIBUTE))];
const POLICY: Keys =
    &[("include", Kind::Block(MATCH)), ("include_any", Kind::Block(MATCH)), ("exclude", Kind::Block(MATCH))];
const SERVICE_GRAPHS: Keys = &[
    ("dimensions", Kind::Names),
    ("enable_client_server_prefix", Kind::Flag),
    ("enable_messaging_system_latency_histogram", Kind::Flag),
    ("enable_virtual_node_label", Kind::Flag),
    ("peer_attributes", Kind::Names),
    ("filter_policies", Kind::Blocks(POLICY)),
    ("histogram_buckets", Kind::Buckets),
    ("span_multiplier_key", Kind::Text),
    ("enable_tracestate_span_multiplier", Kind::Flag),
];
const SPAN_METRICS: Keys = &[
    ("dimensions", Kind::Names),
    ("intrinsic_dimensions", Kind::Flags),
    ("dimension_mappings", Kind::Blocks(MAPPING)),
    ("enable_target_info", Kind::Flag),
    ("filter_policies", Kind::Blocks(POLICY)),
    ("histogram_buckets", Kind::Buckets),
    ("target_info_excluded_dimensions", Kind::Names),
    ("enable_instance_label", Kind::Flag),
    ("span_multiplier_key", Kind::Text),
    ("enable_tracestate_span_multiplier", Kind::Flag),
];
const HOST_INFO: Keys = &[("host_identifiers", Kind::Names), ("metric_name", Kind::Text)];
const PROCESSOR: Keys = &[
    ("service_graphs", Kind::Block(SERVICE_GRAPHS)),
    ("span_metrics", Kind::Block(SPAN_METRICS)),
    ("host_info", Kind::Block(HOST_INFO)),
];
const GENERATOR: Keys = &[
    ("processors", Kind::Names),
    ("disable_collection", Kind::Flag),
    ("collection_interval", Kind::Time),
    ("trace_id_label_name", Kind::Text),
    ("ingestion_time_range_slack", Kind::Time),
    ("generate_native_histograms", Kind::Text),
    ("native_histogram_max_bucket_number", Kind::Whole),
    ("native_histogram_bucket_factor", Kind::Number),
    ("native_histogram_min_reset_duration", Kind::Time),
    ("span_name_sanitization", Kind::Text),
    ("processor", Kind::Block(PROCESSOR)),
];
const LIMITS: Keys = &[
    ("forwarders", Kind::Names),
    ("cost_attribution", Kind::Block(&[("dimensions", Kind::Texts)])),
    ("metrics_generator", Kind::Block(GENERATOR)),
];

/// Where Tempo prints a block even if nothing is in it.
const SHOWN_EMPTY: [&[&str]; 4] = [
    &["cost_attribution"],
    &["metrics_generator", "processor", "service_graphs"],
    &["metrics_generator", "processor", "span_metrics"],
    &["metrics_generator", "processor", "host_info"],
];

impl UserLimits {
    /// Reads what a tenant sends.
    ///
    /// # Errors
    /// What is wrong with it: a key that is not known, or a value of the wrong kind.
    pub(crate) fn sent(text: &[u8]) -> Result<Self, String> {
        Ok(Self(whole(checked(&parse(text)?, LIMITS, "", false)?)))
    }

    /// Reads what lies in the store.
    ///
    /// # Errors
    /// If that is no such document.
    pub(crate) fn stored(text: &[u8]) -> Result<Self, String> {
        Ok(Self(whole(checked(&parse(text)?, LIMITS, "", true)?)))
    }

    /// This one with a JSON merge patch (RFC 7396) over it; `None` for no document yet.
    ///
    /// # Errors
    /// As [`Self::sent`], of the patch.
    pub(crate) fn patched(current: Option<&Self>, patch: &[u8]) -> Result<Self, String> {
        let patch = parse(patch)?;
        // What is null is to be removed, and is of no kind.
        checked(&patch, LIMITS, "", false)?;
        let mut document = current.map_or(Value::Null, |current| current.0.clone());
        merge(&mut document, &patch);
        Ok(Self(whole(checked(&document, LIMITS, "", true)?)))
    }

    /// As it is stored and answered.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        self.0.to_string().into_bytes()
    }

    /// As it is shown to people.
    pub(crate) fn to_yaml(&self) -> String {
        let mut out = String::new();
        yaml(&self.0, 0, &mut out);
        out
    }

    /// Attributes whose values bytes are counted by, and the labels they become.
    pub(crate) fn cost_dimensions(&self) -> Option<BTreeMap<String, String>> {
        let dimensions = self.at(&["cost_attribution", "dimensions"])?.as_object()?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Some(dimensions.iter().map(|(from, to)| (from.clone(), text(to))).collect())
    }

    /// Forwarders that it names; `None` where it says nothing of them.
    pub(crate) fn forwarders(&self) -> Option<Vec<String>> {
        self.at(&["forwarders"])?;
        Some(self.texts(&["forwarders"]).map(str::to_owned).collect())
    }

    /// What it says of the metrics-generator.
    pub(crate) fn generator(&self) -> &Value {
        self.at(&["metrics_generator"]).unwrap_or(&Value::Null)
    }

    pub(super) fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.0, |value, key| value.get(key))
    }

    pub(super) fn texts(&self, path: &[&str]) -> impl Iterator<Item = &str> {
        let values = self.at(path).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        values.iter().filter_map(Value::as_str)
    }

    /// What counts: this over what the configuration says of the tenant (as JSON of the same shape). Processors are added
    /// to the others if `adds`, as in Tempo 2.x.
    pub(crate) fn over(&self, runtime: Value, adds: bool) -> Value {
        let mut all = runtime;
        let path = ["metrics_generator", "processors"];
        let mut names: Vec<String> = self.texts(&path).map(str::to_owned).collect();
        let has_names = self.at(&path).is_some();
        if adds && has_names {
            let others = Self(all.clone());
            names.extend(others.texts(&path).map(str::to_owned));
        }
        overlay(&mut all, &self.0, LIMITS);
        if has_names {
            names.sort();
            names.dedup();
            all["metrics_generator"]["processors"] = json!(names);
        }
        whole(all)
    }
}

fn parse(text: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(text).map_err(|error| format!("the body is no JSON: {error}"))
}

/// The object with what is null left out and durations as Go writes them.
fn checked(value: &Value, keys: Keys, path: &str, lenient: bool) -> Result<Value, String> {
    let Value::Object(entries) = value else {
        let place = if path.is_empty() { "the body" } else { path };
        return Err(wrong(place, value, "an object"));
    };
    let mut out = Map::new();
    for (key, value) in entries {
        let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if value.is_null() {
            continue;
        }
        let value = match keys.iter().find(|(name, _)| name == key) {
            Some((_, kind)) => of_kind(value, *kind, &full, lenient)?,
            None if lenient => value.clone(),
            None => {
                let names: Vec<&str> = keys.iter().map(|(name, _)| *name).collect();
                return Err(format!("unknown field \"{full}\"; known are {}", names.join(", ")));
            }
        };
        out.insert(key.clone(), value);
    }
    Ok(Value::Object(out))
}

fn of_kind(value: &Value, kind: Kind, path: &str, lenient: bool) -> Result<Value, String> {
    let all = |is: fn(&Value) -> bool| value.as_array().is_some_and(|values| values.iter().all(is));
    let each = |is: fn(&Value) -> bool| value.as_object().is_some_and(|values| values.values().all(is));
    let (fits, what) = match kind {
        Kind::Block(keys) => return checked(value, keys, path, lenient),
        Kind::Blocks(keys) => {
            let Value::Array(values) = value else { return Err(wrong(path, value, "a list of objects")) };
            let values = values.iter().enumerate();
            let values = values.map(|(at, value)| checked(value, keys, &format!("{path}[{at}]"), lenient));
            return Ok(Value::Array(values.collect::<Result<_, _>>()?));
        }
        Kind::Time => {
            let parsed = match value {
                Value::String(text) => text.parse::<GoDuration>().ok(),
                Value::Number(nanos) => nanos.as_i64().map(GoDuration::from_nanos),
                _ => None,
            };
            let parsed = parsed.ok_or_else(|| wrong(path, value, "a duration such as \"30s\""))?;
            return Ok(Value::String(parsed.to_string()));
        }
        Kind::Names => (all(Value::is_string), "a list of texts"),
        Kind::Buckets => (all(Value::is_number), "a list of numbers"),
        Kind::Text => (value.is_string(), "a text"),
        Kind::Plain => {
            let is_plain = value.is_string() || value.is_number() || value.is_boolean();
            (is_plain, "a text, a number, or true or false")
        }
        Kind::Flag => (value.is_boolean(), "true or false"),
        Kind::Whole => (value.as_u64().is_some_and(|number| u32::try_from(number).is_ok()), "a whole number"),
        Kind::Number => (value.is_number(), "a number"),
        Kind::Flags => (each(Value::is_boolean), "an object of true and false"),
        Kind::Texts => (each(Value::is_string), "an object of texts"),
    };
    if fits { Ok(value.clone()) } else { Err(wrong(path, value, what)) }
}

fn wrong(path: &str, value: &Value, what: &str) -> String {
    let shown: String = value.to_string().chars().take(QUOTED_MAX).collect();
    format!("{path} is {shown}; expected {what}")
}

/// With the blocks that are always shown.
fn whole(mut document: Value) -> Value {
    for path in SHOWN_EMPTY {
        let mut place = &mut document;
        for key in path {
            let Value::Object(block) = place else { break };
            place = block.entry(*key).or_insert_with(|| json!({}));
        }
    }
    document
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Puts what `own` sets over `all`, setting by setting.
fn overlay(all: &mut Value, own: &Value, keys: Keys) {
    let (Value::Object(all), Value::Object(own)) = (all, own) else { return };
    for (key, value) in own {
        match keys.iter().find(|(name, _)| name == key) {
            Some((_, Kind::Block(keys))) => {
                overlay(all.entry(key.clone()).or_insert_with(|| json!({})), value, keys);
            }
            _ => drop(all.insert(key.clone(), value.clone())),
        }
    }
}

/// Appends block-style YAML; texts are quoted as in JSON, which YAML reads too.
fn yaml(value: &Value, indent: usize, out: &mut String) {
    let Value::Object(entries) = value else { return };
    for (key, value) in entries {
        let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        let key = if plain { key.clone() } else { Value::String(key.clone()).to_string() };
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push_str(&format!("{:indent$}{key}:\n", ""));
                yaml(value, indent + 2, out);
            }
            other => out.push_str(&format!("{:indent$}{key}: {other}\n", "")),
        }
    }
}

#[cfg(test)]
mod tests {
    use trackway_config::own_generator;
    use trackway_config::sections::MetricsGenerator;

    use super::*;

    fn sent(text: &str) -> Result<UserLimits, String> {
        let limits = UserLimits::sent(text.as_bytes())?;
        limits.validate(&["known".to_owned()])?;
        own_generator(limits.generator(), &MetricsGenerator::default())?;
        Ok(limits)
    }

    #[test]
    fn what_is_refused_is_named() {
        for (text, part) in [
            ("[]", "the body is []; expected an object"),
            ("{", "the body is no JSON"),
            (r#"{"forwarder": []}"#, "unknown field \"forwarder\"; known are forwarders, cost_attribution"),
            (r#"{"forwarders": "a"}"#, "forwarders is \"a\"; expected a list of texts"),
            (r#"{"forwarders": ["known", "b"]}"#, "forwarder \"b\" is not a known forwarder, contact your"),
            (r#"{"metrics_generator": {"collection_interval": "soon"}}"#, "expected a duration"),
            (
                r#"{"metrics_generator": {"collection_interval": "1s"}}"#,
                "metrics_generator.collection_interval \"1s\" is outside acceptable range of 15s to 5m",
            ),
            (
                r#"{"metrics_generator": {"ingestion_time_range_slack": "13h"}}"#,
                "metrics_generator.ingestion_time_range_slack \"13h0m0s\" is outside acceptable range of 0s to 12h",
            ),
            (
                r#"{"metrics_generator": {"processors": ["span-span"]}}"#,
                "metrics_generator.processor \"span-span\" is not a known processor, valid values: [service-graphs",
            ),
            (r#"{"metrics_generator": {"trace_id_label_name": "a.b"}}"#, "not a valid Prometheus label name"),
            (
                r#"{"metrics_generator": {"generate_native_histograms": "x"}}"#,
                "valid values: classic, native, both",
            ),
            (r#"{"metrics_generator": {"native_histogram_bucket_factor": 1}}"#, "must be greater than 1"),
            (
                r#"{"metrics_generator": {"native_histogram_max_bucket_number": -1}}"#,
                "expected a whole number",
            ),
            (r#"{"metrics_generator": {"span_name_sanitization": "x"}}"#, "is not valid, valid values"),
            (
                r#"{"metrics_generator": {"processor": {"span_metrics": {"histogram_buckets": [1, 2, 2]}}}}"#,
                "metrics_generator.processor.span_metrics.histogram_buckets must be strictly increasing: bucket[2]=2 is \
                 <= bucket[1]=2",
            ),
            (
                r#"{"metrics_generator": {"processor": {"span_metrics": {"intrinsic_dimensions": {"x": true}}}}}"#,
                "intrinsic dimension \"x\" is not supported",
            ),
            (
                r#"{"metrics_generator": {"processor": {"span_metrics": {"dimension_mappings": [{"name": "a"}]}}}}"#,
                "source_labels cannot be empty for mapping with name \"a\"",
            ),
            (
                r#"{"metrics_generator": {"processor": {"span_metrics": {"filter_policies": [{}]}}}}"#,
                "at least an include, include_any or exclude",
            ),
            (
                r#"{"metrics_generator": {"processor": {"span_metrics": {"filter_policies": [{"include": {"match_type": "x"}}]}}}}"#,
                "invalid match type \"x\"",
            ),
            (
                r#"{"metrics_generator": {"processor": {"span_metrics": {"filter_policies": [{"include": {"match_type": "regex", "attributes": [{"key": "name", "value": "("}]}}]}}}}"#,
                "metrics_generator.processor.span_metrics.filter_policies[0].include.attributes[0].value is \"(\", which is no \
                 regular expression",
            ),
            (
                r#"{"metrics_generator": {"processor": {"span_metrics": {"filter_policies": [{"include": {"match_type": "strict", "attributes": [{"key": "name", "value": []}]}}]}}}}"#,
                "attributes[0].value is []; expected a text, a number, or true or false",
            ),
            (
                r#"{"metrics_generator": {"processor": {"span_metrics": {"dimensions": ["a.b", "a_b"]}}}}"#,
                "and both would be the label a_b; keep one",
            ),
            (
                r#"{"metrics_generator": {"processor": {"host_info": {"host_identifiers": []}}}}"#,
                "at least one value",
            ),
            (
                r#"{"cost_attribution": {"dimensions": {"a.b": "", "span.a_b": ""}}}"#,
                "cost_attribution.dimensions has duplicate label name: 'a_b', both 'a.b' and 'span.a_b' map to it",
            ),
            (r#"{"cost_attribution": {"dimensions": {"a": "__name"}}}"#, "invalid label name: '__name'"),
        ] {
            match sent(text) {
                Err(why) => assert!(why.contains(part), "{text}: {why}"),
                Ok(_) => panic!("{text} is taken"),
            }
        }
    }

    #[test]
    fn what_is_sent_comes_back_and_is_patched() {
        let all = json!({
            "forwarders": ["known"],
            "cost_attribution": {"dimensions": {"service.name": "service", "span.team": ""}},
            "metrics_generator": {
                "processors": ["service-graphs"], "disable_collection": false, "collection_interval": "30s",
                "trace_id_label_name": "trace", "ingestion_time_range_slack": "30s",
                "generate_native_histograms": "both", "native_histogram_max_bucket_number": 100,
                "native_histogram_bucket_factor": 1.1, "native_histogram_min_reset_duration": "15m0s",
                "span_name_sanitization": "dry_run",
                "processor": {
                    "service_graphs": {"dimensions": ["a"], "histogram_buckets": [0.1, 1, 2]},
                    "span_metrics": {
                        "intrinsic_dimensions": {"span_name": false},
                        "dimension_mappings": [{"name": "a", "source_labels": ["b"], "join": "/"}],
                        "filter_policies": [{"include": {"match_type": "strict", "attributes": [
                            {"key": "kind", "value": "SPAN_KIND_SERVER"}, {"key": "span.code", "value": 200}]}}],
                    },
                    "host_info": {"host_identifiers": ["host.id"], "metric_name": "hosts"},
                },
            },
        });
        let limits = sent(&all.to_string()).unwrap();
        assert_eq!(limits.0, all);
        assert_eq!(UserLimits::stored(&limits.to_json()).unwrap(), limits);
        let patch =
            br#"{"forwarders": null, "metrics_generator": {"collection_interval": 60000000000, "processor": null}}"#;
        let patched = UserLimits::patched(Some(&limits), patch).unwrap();
        assert_eq!(patched.at(&["metrics_generator", "collection_interval"]), Some(&json!("1m0s")));
        assert_eq!(patched.at(&["metrics_generator", "processor", "host_info"]), Some(&json!({})));
        assert_eq!(patched.at(&["forwarders"]), None);
        assert_eq!(patched.cost_dimensions().unwrap()["service.name"], "service");
        assert!(UserLimits::patched(None, br#"{"x": 1}"#).unwrap_err().contains("unknown field \"x\""));
        // What another version wrote stays.
        let foreign = UserLimits::stored(br#"{"new": {"deep": 1}}"#).unwrap();
        let patched = UserLimits::patched(Some(&foreign), br#"{"forwarders": []}"#).unwrap();
        assert_eq!(patched.at(&["new", "deep"]), Some(&json!(1)));
        assert!(UserLimits::stored(br#"{"forwarders": 1}"#).is_err());
        let empty = sent("{}").unwrap();
        let blocks = json!({"service_graphs": {}, "span_metrics": {}, "host_info": {}});
        assert_eq!(empty.0, json!({"cost_attribution": {}, "metrics_generator": {"processor": blocks}}));
    }

    #[test]
    fn own_settings_go_over_those_of_the_operator() {
        let own =
            sent(r#"{"forwarders": [], "metrics_generator": {"processors": ["span-metrics"]}}"#).unwrap();
        let runtime = json!({
            "forwarders": ["known"],
            "metrics_generator": {"processors": ["service-graphs"], "disable_collection": true},
        });
        let merged = |adds| own.over(runtime.clone(), adds);
        assert_eq!(merged(false)["forwarders"], json!([]));
        assert_eq!(merged(false)["metrics_generator"]["processors"], json!(["span-metrics"]));
        assert_eq!(
            merged(true)["metrics_generator"]["processors"],
            json!(["service-graphs", "span-metrics"])
        );
        assert_eq!(merged(true)["metrics_generator"]["disable_collection"], true);
        assert!(own.to_yaml().contains("metrics_generator:\n  processor:\n    host_info: {}\n"));
        // None is none, and nothing more than the operator's where they are added.
        let none = sent(r#"{"metrics_generator": {"processors": []}}"#).unwrap();
        let of_operator = |adds| none.over(runtime.clone(), adds)["metrics_generator"]["processors"].clone();
        assert_eq!((of_operator(false), of_operator(true)), (json!([]), json!(["service-graphs"])));
    }
}
