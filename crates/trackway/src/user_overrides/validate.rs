//! What is refused of what tenants set for themselves, with Tempo's text where Tempo has the rule.

use std::collections::BTreeMap;

use serde_json::Value;
use trackway_config::{GoDuration, is_label_name, processors};

use super::document::UserLimits;

impl UserLimits {
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
        self.validate_intrinsic()
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
        let is_bad = |name: &&str| !name.is_empty() && !is_label_name(name);
        if let Some(name) = text("trace_id_label_name").filter(is_bad) {
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

    /// The rest of the rules of processors are the configuration's ([`trackway_config::own_generator`]).
    fn validate_intrinsic(&self) -> Result<(), String> {
        let known = ["service", "span_name", "span_kind", "status_code", "status_message"];
        let intrinsic = ["metrics_generator", "processor", "span_metrics", "intrinsic_dimensions"];
        let intrinsic = self.at(&intrinsic).and_then(Value::as_object);
        if let Some(name) = intrinsic.and_then(|names| names.keys().find(|name| !known.contains(&&***name))) {
            return Err(format!(
                "intrinsic dimension \"{name}\" is not supported, valid values: [{}]",
                known.join(" ")
            ));
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
