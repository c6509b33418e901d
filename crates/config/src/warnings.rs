//! What `-config.verify` prints: settings that work and are probably not meant.

use crate::check::Findings;
use crate::config::Config;
use crate::problem::Problem;
use crate::sections::{Backend, DedicatedColumn, LimiterType};

impl Config {
    /// What is probably not meant, in Tempo's sense and in Trackway's; empty if nothing is.
    pub fn warnings(&self) -> Vec<Problem> {
        let mut found = Findings::new(self);
        self.warn_ignored(&mut found);
        self.warn_blocks(&mut found);
        self.warn_columns(&mut found);
        self.warn_queries(&mut found);
        self.warn_generator(&mut found);
        self.warn_user_overrides(&mut found);
        self.warn_connections(&mut found);
        found.problems
    }

    /// What is probably not meant by the metrics-generator's settings: those of [`Self::warnings`] that are said at every
    /// start, since they may be why metrics are missing.
    pub fn generator_warnings(&self) -> Vec<Problem> {
        let mut found = Findings::new(self);
        self.warn_generator(&mut found);
        found.problems
    }

    fn warn_connections(&self, found: &mut Findings<'_>) {
        for connections in self.connections() {
            if let Some(message) = connections.cut_idle_timeout() {
                found.add(&format!("{}.idle_timeout", connections.key), message);
            }
        }
    }

    fn warn_generator(&self, found: &mut Findings<'_>) {
        let storage = &self.metrics_generator.storage;
        let right = "metrics_generator.storage.remote_write_flush_deadline";
        if let Some(deadline) = storage.wal.remote_write_flush_deadline {
            let key = "metrics_generator.storage.wal.remote_write_flush_deadline";
            let used = if self.is_set(right) {
                format!("it is ignored, {right} counts ({})", self.remote_write_flush_deadline())
            } else {
                "it is used all the same".to_owned()
            };
            found.add(key, format!("{key} ({deadline}) is a level too deep, use {right}; {used}"));
        }
        let misplaced = "metrics_generator.storage.local_blocks";
        if self.ignored.iter().any(|key| key == misplaced) {
            let message = format!(
                "{misplaced} is no key of Tempo's and is ignored; remove it, recent spans are answered for anyway"
            );
            found.add(misplaced, message);
        }
        for processor in ["service_graphs", "span_metrics", "host_info"] {
            let key = format!("metrics_generator.processor.{processor}");
            let below = format!("{key}.");
            if self.is_set(&key)
                && !self.origins().any(|set| set.starts_with(&below))
                && !self.ignored.iter().any(|set| set.starts_with(&below))
            {
                let message = format!(
                    "{key} is empty, which means its defaults; metrics_generator.processors of the overrides turns it on"
                );
                found.add(&key, message);
            }
        }
        for (place, endpoint) in storage.remote_write.iter().enumerate() {
            let key = |name: &str| format!("metrics_generator.storage.remote_write[{place}].{name}");
            if !endpoint.send_exemplars {
                let key = key("send_exemplars");
                found.add(&key, format!("{key} is false; exemplars are sent all the same, as in Tempo"));
            }
            if endpoint.send_native_histograms {
                let key = key("send_native_histograms");
                let way =
                    "overrides.defaults.metrics_generator.generate_native_histograms decides, as in Tempo";
                found.add(&key, format!("{key} has no effect; {way}"));
            }
        }
        let limits = &self.overrides.defaults.metrics_generator;
        let (name, limit, needed) = match self.metrics_generator.limiter_type {
            LimiterType::Series => ("max_active_entities", limits.max_active_entities, LimiterType::Entity),
            LimiterType::Entity => ("max_active_series", limits.max_active_series, LimiterType::Series),
        };
        if limit > 0 {
            let key = format!("overrides.defaults.metrics_generator.{name}");
            let way = format!("it needs metrics_generator.limiter_type: {}", needed.as_str());
            found.add(&key, format!("{key} is {limit} and limits nothing; {way}"));
        }
        let wanted = !limits.processors.is_empty();
        if wanted && storage.remote_write.is_empty() {
            let key = "metrics_generator.storage.remote_write";
            let message = format!(
                "{key} is empty, and overrides.defaults.metrics_generator.processors is not; metrics are made and sent \
                 nowhere"
            );
            found.add(key, message);
        }
    }

    /// Tenants' own settings in the folder of blocks: Tempo takes every folder there for a tenant.
    fn warn_user_overrides(&self, found: &mut Findings<'_>) {
        let (own, trace) = (&self.overrides.user_configurable_overrides, &self.storage.trace);
        let client = &own.client;
        let same = match (client.backend.as_str(), trace.backend) {
            ("", Backend::Local) => false,
            ("", _) => true,
            ("local", Backend::Local) => client.local.path == trace.local.path,
            ("s3", Backend::S3) => {
                (&client.s3.bucket, &client.s3.prefix) == (&trace.s3.bucket, &trace.s3.prefix)
            }
            ("gcs", Backend::Gcs) => {
                (&client.gcs.bucket_name, &client.gcs.prefix) == (&trace.gcs.bucket_name, &trace.gcs.prefix)
            }
            ("azure", Backend::Azure) => {
                let (own, of_blocks) = (&client.azure, &trace.azure);
                (&own.container_name, &own.prefix) == (&of_blocks.container_name, &of_blocks.prefix)
            }
            _ => false,
        };
        if own.enabled && same {
            let key = "overrides.user_configurable_overrides.client";
            let message = format!(
                "{key} is where blocks are, and Tempo takes its folder \"overrides\" for a tenant; set a prefix"
            );
            found.add(key, message);
        }
    }

    fn warn_ignored(&self, found: &mut Findings<'_>) {
        if !self.ignored.is_empty() {
            let keys = self.ignored.join(", ");
            found.add("", format!("accepted, but without meaning here: {keys}"));
        }
        let without_effect = self.without_effect();
        if !without_effect.is_empty() {
            let keys = without_effect.join(", ");
            found.add("", format!("known, but without effect in this version: {keys}"));
        }
        for receiver in &self.unsupported_receivers {
            let key = format!("distributor.receivers.{receiver}");
            found.add(&key, format!("{key} is not supported yet; otlp, jaeger, zipkin and kafka are served"));
        }
        for key in ["log_received_traces", "log_discarded_traces"] {
            let full = format!("distributor.{key}");
            if self.ignored.contains(&full) {
                let new = key.replace("traces", "spans");
                let message = format!("{full} is deprecated; use distributor.{new}.enabled");
                found.add(&full, message);
            }
        }
        if !self.storage.trace.cache.is_empty() {
            let message = "storage.trace.cache is deprecated; use cache.caches".to_owned();
            found.add("storage.trace.cache", message);
        }
        if !self.flat_overrides.is_empty() {
            let keys = self.flat_overrides.join(", ");
            let message =
                format!("the flat spelling of overrides is deprecated; use overrides.defaults for {keys}");
            found.add("overrides.defaults", message);
        }
        if self.auth_enabled.is_some() {
            let message = "auth_enabled is deprecated; use multitenancy_enabled".to_owned();
            found.add("auth_enabled", message);
        }
        if self.storage.trace.s3.native_aws_auth_enabled {
            let key = "storage.trace.s3.native_aws_auth_enabled";
            found.add(key, format!("{key} is deprecated; AWS' usual sources are always tried"));
        }
    }

    fn warn_blocks(&self, found: &mut Findings<'_>) {
        let trace = &self.storage.trace;
        let timeout = self.flushing().complete_block_timeout;
        if timeout < trace.blocklist_poll {
            let message = format!(
                "ingester.complete_block_timeout ({timeout}) is shorter than storage.trace.blocklist_poll ({}); \
                 other processes may miss fresh blocks for a while",
                trace.blocklist_poll
            );
            found.add("ingester.complete_block_timeout", message);
        }
        let compaction = self.compaction();
        if compaction.block_retention.is_zero() {
            let message = "compaction.block_retention is 0; data is kept for ever".to_owned();
            found.add("compactor.compaction.block_retention", message);
        }
        if compaction.retention_concurrency == 0 {
            let message = "compaction.retention_concurrency is 0; 10 is used".to_owned();
            found.add("compactor.compaction.retention_concurrency", message);
        }
        if trace.blocklist_poll_concurrency == 0 {
            let message = "storage.trace.blocklist_poll_concurrency is 0; 50 is used".to_owned();
            found.add("storage.trace.blocklist_poll_concurrency", message);
        }
        let prune = self.backend_scheduler.work.prune_age;
        if prune < trace.blocklist_poll {
            let message = format!(
                "backend_scheduler.work.prune_age ({prune}) is shorter than storage.trace.blocklist_poll ({})",
                trace.blocklist_poll
            );
            found.add("backend_scheduler.work.prune_age", message);
        }
        if trace.backend == Backend::Local && self.target != "all" {
            let message = format!(
                "storage.trace.backend is local and target is {}; the processes find each other's blocks only on a \
                 shared folder",
                self.target
            );
            found.add("storage.trace.backend", message);
        }
        if !matches!(trace.block.version.as_str(), "" | "vParquet4" | "vParquet5") {
            let version = &trace.block.version;
            let read = if version == "vParquet3" { "is read but not" } else { "is neither read nor" };
            let message = format!(
                "storage.trace.block.version is {version}, which {read} written; vParquet4 is written"
            );
            found.add("storage.trace.block.version", message);
        }
        let user = &self.overrides.user_configurable_overrides;
        let same = match user.client.backend.as_str() {
            "s3" => {
                let (a, b) = (&user.client.s3, &trace.s3);
                trace.backend == Backend::S3 && (&a.bucket, &a.prefix) == (&b.bucket, &b.prefix)
            }
            "gcs" => {
                let (a, b) = (&user.client.gcs, &trace.gcs);
                trace.backend == Backend::Gcs && (&a.bucket_name, &a.prefix) == (&b.bucket_name, &b.prefix)
            }
            "azure" => {
                let (a, b) = (&user.client.azure, &trace.azure);
                trace.backend == Backend::Azure
                    && (&a.container_name, &a.prefix) == (&b.container_name, &b.prefix)
            }
            "local" => trace.backend == Backend::Local && user.client.local.path == trace.local.path,
            _ => false,
        };
        if user.enabled && same {
            let message =
                "overrides.user_configurable_overrides and storage.trace share a place; give one a prefix";
            found.add("overrides.user_configurable_overrides.client", message.to_owned());
        }
    }

    fn warn_columns(&self, found: &mut Findings<'_>) {
        let columns = self.storage.trace.block.parquet_dedicated_columns.as_deref();
        let lists: [(&str, &[DedicatedColumn]); 2] = [
            ("storage.trace.block.parquet_dedicated_columns", columns.unwrap_or(&[])),
            (
                "overrides.defaults.storage.parquet_dedicated_columns",
                &self.overrides.defaults.storage.parquet_dedicated_columns,
            ),
        ];
        for (key, list) in lists {
            for scope in ["resource", "span", "event"] {
                for (kind, most) in [("string", 20), ("int", 5)] {
                    let count =
                        list.iter().filter(|column| column.scope == scope && column.r#type == kind).count();
                    if count > most {
                        let message = format!(
                            "{key} has {count} {kind} columns of scope {scope}; only the first {most} are kept"
                        );
                        found.add(key, message);
                    }
                }
            }
        }
    }

    fn warn_queries(&self, found: &mut Findings<'_>) {
        let by_id = &self.query_frontend.trace_by_id;
        if by_id.concurrent_shards > by_id.query_shards {
            let key = "query_frontend.trace_by_id.concurrent_shards";
            let message = format!(
                "{key} ({}) is more than query_frontend.trace_by_id.query_shards ({})",
                by_id.concurrent_shards, by_id.query_shards
            );
            found.add(key, message);
        }
        if self.query_frontend.mcp_server.enabled {
            let key = "query_frontend.mcp_server.enabled";
            let message = format!("{key} is true; language models that connect see the traces");
            found.add(key, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_timeout_that_http1_does_not_keep_is_named() {
        for (http, warned) in [
            ("", false),
            ("idle_timeout: 2m", false),
            ("idle_timeout: 3m", true),
            ("idle_timeout: 3m, read_header_timeout: 3m", false),
            ("idle_timeout: 30s, read_header_timeout: 10s", true),
            ("idle_timeout: 3m, keep_alives_enabled: false", false),
        ] {
            let yaml = format!("distributor: {{receivers: {{otlp: {{protocols: {{http: {{{http}}}}}}}}}}}");
            let warnings = Config::from_yaml("tempo.yaml", &yaml).map(|config| config.warnings());
            let key = "distributor.receivers.otlp.protocols.http.idle_timeout";
            let found = warnings.map(|all| all.into_iter().any(|warning| warning.key == key));
            assert_eq!(found, Ok(warned), "{http}");
        }
    }
}
