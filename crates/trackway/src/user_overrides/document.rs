//! What a tenant may set for itself, as the JSON that Tempo keeps of it.
//!
//! What must stay true: what was sent comes back, whether it has an effect in this version or not. A key that is not known
//! is refused when somebody sends it, and kept when it lies in the store already: another version wrote it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use trackway_config::{GoDuration, processors};

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
const ATTRIBUTE: Keys = &[("key", Kind::Text), ("value", Kind::Text)];
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

    /// Keys that are set and do nothing in this version.
    pub(crate) fn without_effect(&self) -> Vec<String> {
        let mut keys = Vec::new();
        leaves(&self.0, "", &mut keys);
        keys.retain(|key| !key.starts_with("cost_attribution.") && key != "forwarders");
        keys
    }

    fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.0, |value, key| value.get(key))
    }

    fn texts(&self, path: &[&str]) -> impl Iterator<Item = &str> {
        let values = self.at(path).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        values.iter().filter_map(Value::as_str)
    }

    /// What counts: this over what the configuration says of the tenant (as JSON of the same shape). Processors are added
    /// to the others if `adds`, as in Tempo 2.x.
    pub(crate) fn over(&self, runtime: Value, adds: bool) -> Value {
        let mut all = runtime;
        let path = ["metrics_generator", "processors"];
        let mut names: Vec<String> = self.texts(&path).map(str::to_owned).collect();
        if adds && !names.is_empty() {
            let others = Self(all.clone());
            names.extend(others.texts(&path).map(str::to_owned));
        }
        overlay(&mut all, &self.0, LIMITS);
        if !names.is_empty() {
            names.sort();
            names.dedup();
            all["metrics_generator"]["processors"] = json!(names);
        }
        whole(all)
    }

    /// Checks what single keys cannot say.
    ///
    /// # Errors
    /// The first rule that is broken, with Tempo's text where Tempo has the rule.
    pub(crate) fn validate(&self, forwarders: &[String]) -> Result<(), String> {
        for name in self.texts(&["forwarders"]) {
            if !forwarders.iter().any(|known| known == name) {
                return Err(format!(
                    "forwarder \"{name}\" is not a known forwarder, contact your system administrator"
                ));
            }
        }
        if let Some(dimensions) = self.cost_dimensions() {
            check_dimensions(&dimensions)?;
        }
        self.validate_generator()?;
        self.validate_processor()
    }

    fn validate_generator(&self) -> Result<(), String> {
        let at = |key| self.at(&["metrics_generator", key]);
        for name in self.texts(&["metrics_generator", "processors"]) {
            if !processors().contains(&name) {
                return Err(format!(
                    "metrics_generator.processor \"{name}\" is not a known processor, valid values: [{}]",
                    processors().join(" ")
                ));
            }
        }
        let time = |key| at(key).and_then(Value::as_str).and_then(|text| text.parse::<GoDuration>().ok());
        for (key, least, most, range) in [
            ("collection_interval", GoDuration::from_secs(15), GoDuration::from_secs(300), "15s to 5m"),
            ("ingestion_time_range_slack", GoDuration::ZERO, GoDuration::from_secs(12 * 3600), "0s to 12h"),
        ] {
            if let Some(value) = time(key).filter(|value| *value < least || *value > most) {
                return Err(format!(
                    "metrics_generator.{key} \"{value}\" is outside acceptable range of {range}"
                ));
            }
        }
        let text = |key| at(key).and_then(Value::as_str);
        if let Some(name) = text("trace_id_label_name").filter(|name| label(name) != **name) {
            return Err(format!("trace_id_label_name \"{name}\" is not a valid Prometheus label name"));
        }
        let modes = ["classic", "native", "both"];
        if let Some(mode) = text("generate_native_histograms").filter(|mode| !modes.contains(mode)) {
            return Err(format!(
                "metrics_generator.generate_native_histograms \"{mode}\" is not a valid value, valid values: classic, \
                 native, both"
            ));
        }
        let modes = ["", "dry_run", "enabled"];
        if let Some(mode) = text("span_name_sanitization").filter(|mode| !modes.contains(mode)) {
            return Err(format!(
                "span_name_sanitization \"{mode}\" is not valid, valid values: [ dry_run enabled]"
            ));
        }
        let factor = at("native_histogram_bucket_factor").and_then(Value::as_f64);
        if factor.is_some_and(|factor| factor <= 1.0) {
            return Err("metrics_generator.native_histogram_bucket_factor must be greater than 1".to_owned());
        }
        Ok(())
    }

    fn validate_processor(&self) -> Result<(), String> {
        for name in ["service_graphs", "span_metrics"] {
            let block = ["metrics_generator", "processor", name];
            let at = |key| self.at(&block).and_then(|block| block.get(key));
            let field = |key| format!("metrics_generator.processor.{name}.{key}");
            if let Some(buckets) = at("histogram_buckets").and_then(Value::as_array) {
                increasing(buckets, &field("histogram_buckets"))?;
            }
            for policy in at("filter_policies").and_then(Value::as_array).into_iter().flatten() {
                check_policy(policy, &field("filter_policies"))?;
            }
        }
        let known = ["service", "span_name", "span_kind", "status_code", "status_message"];
        let intrinsic = ["metrics_generator", "processor", "span_metrics", "intrinsic_dimensions"];
        let intrinsic = self.at(&intrinsic).and_then(Value::as_object);
        if let Some(name) = intrinsic.and_then(|names| names.keys().find(|name| !known.contains(&&***name))) {
            return Err(format!(
                "intrinsic dimension \"{name}\" is not supported, valid values: [{}]",
                known.join(" ")
            ));
        }
        let mappings = ["metrics_generator", "processor", "span_metrics", "dimension_mappings"];
        for mapping in self.at(&mappings).and_then(Value::as_array).into_iter().flatten() {
            let name = mapping.get("name").and_then(Value::as_str).unwrap_or_default();
            if name.is_empty() {
                return Err("dimension_mappings: name cannot be empty".to_owned());
            }
            if mapping.get("source_labels").and_then(Value::as_array).is_none_or(Vec::is_empty) {
                return Err(format!(
                    "dimension_mappings: source_labels cannot be empty for mapping with name \"{name}\""
                ));
            }
        }
        let host = ["metrics_generator", "processor", "host_info", "host_identifiers"];
        if self.at(&host).and_then(Value::as_array).is_some_and(Vec::is_empty) {
            return Err("at least one value must be provided in host_identifiers".to_owned());
        }
        let metric = ["metrics_generator", "processor", "host_info", "metric_name"];
        if self.at(&metric).and_then(Value::as_str).is_some_and(str::is_empty) {
            return Err("metric_name is invalid".to_owned());
        }
        Ok(())
    }
}

/// Labels by which bytes are counted: each but once.
fn check_dimensions(dimensions: &BTreeMap<String, String>) -> Result<(), String> {
    let most = trackway_distributor::usage::DIMENSIONS_MAX;
    if dimensions.len() > most {
        return Err(format!(
            "cost_attribution.dimensions has {} entries, at most {most} are counted",
            dimensions.len()
        ));
    }
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (from, to) in dimensions {
        let name = trackway_distributor::usage::label_of(from, to);
        if name.is_empty() || name.starts_with("__") {
            return Err(format!("cost_attribution.dimensions config has invalid label name: '{name}'"));
        }
        if let Some(other) = seen.insert(name.clone(), from) {
            return Err(format!(
                "cost_attribution.dimensions has duplicate label name: '{name}', both '{other}' and '{from}' map to it"
            ));
        }
    }
    Ok(())
}

/// A name as Prometheus's labels take it.
fn label(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn increasing(buckets: &[Value], field: &str) -> Result<(), String> {
    let values: Vec<f64> = buckets.iter().filter_map(Value::as_f64).collect();
    for (place, pair) in values.windows(2).enumerate() {
        let &[before, after] = pair else { continue };
        if after <= before {
            let at = place + 1;
            return Err(format!(
                "{field} must be strictly increasing: bucket[{at}]={after} is <= bucket[{place}]={before}"
            ));
        }
    }
    Ok(())
}

fn check_policy(policy: &Value, field: &str) -> Result<(), String> {
    let parts: Vec<(&str, &Value)> = ["include", "include_any", "exclude"]
        .into_iter()
        .filter_map(|name| policy.get(name).map(|part| (name, part)))
        .collect();
    if parts.is_empty() {
        return Err(format!(
            "invalid filter policy; policies must have at least an include, include_any or exclude: {field}"
        ));
    }
    for (name, part) in parts {
        let kind = part.get("match_type").and_then(Value::as_str).unwrap_or_default();
        if !["strict", "regex"].contains(&kind) {
            return Err(format!(
                "{field}.{name}: invalid match type \"{kind}\", valid values: strict, regex"
            ));
        }
        for attribute in part.get("attributes").and_then(Value::as_array).into_iter().flatten() {
            let key = attribute.get("key").and_then(Value::as_str).unwrap_or_default();
            let scoped = ["resource.", "span.", "."].iter().any(|scope| key.starts_with(scope));
            if !scoped && !["kind", "name", "status"].contains(&key) {
                return Err(format!(
                    "{field}.{name}: invalid attribute \"{key}\"; use resource.…, span.…, kind, name or status"
                ));
            }
        }
    }
    Ok(())
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

fn leaves(value: &Value, path: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(value, &full, out);
            }
        }
        _ => out.push(path.to_owned()),
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
    use super::*;

    fn sent(text: &str) -> Result<UserLimits, String> {
        let limits = UserLimits::sent(text.as_bytes())?;
        limits.validate(&["known".to_owned()])?;
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
                            {"key": "kind", "value": "SPAN_KIND_SERVER"}]}}],
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
        assert_eq!(own.without_effect(), ["metrics_generator.processors"]);
    }
}
