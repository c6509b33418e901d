//! The configuration reference, docs/configuration.md, written from the tables that also read the file.

use crate::flags;
use crate::sections::Settings;
use crate::table::{Ignored, Item, Kind, Section, Setting, Shape, ignored_names};
use crate::yaml::short;

/// Blocks that are documented once and repeated elsewhere.
const REPEATED: &[(&str, &str)] = &[
    ("overrides.user_configurable_overrides.client.s3", "storage.trace.s3"),
    ("overrides.user_configurable_overrides.client.gcs", "storage.trace.gcs"),
    ("overrides.user_configurable_overrides.client.azure", "storage.trace.azure"),
    ("backend_worker.compaction", "compactor.compaction"),
    ("backend_scheduler.provider.compaction.compaction", "compactor.compaction"),
    ("server.grpc_tls_config", "server.http_tls_config"),
    ("distributor.log_discarded_spans", "distributor.log_received_spans"),
    ("distributor.receivers.otlp.protocols.http.tls", "distributor.receivers.otlp.protocols.grpc.tls"),
    (
        "distributor.receivers.jaeger.protocols.grpc.keepalive",
        "distributor.receivers.otlp.protocols.grpc.keepalive",
    ),
    ("distributor.receivers.jaeger.protocols.grpc.tls", "distributor.receivers.otlp.protocols.grpc.tls"),
    (
        "distributor.receivers.jaeger.protocols.thrift_http.tls",
        "distributor.receivers.otlp.protocols.grpc.tls",
    ),
    (
        "distributor.receivers.jaeger.protocols.thrift_http.cors",
        "distributor.receivers.otlp.protocols.http.cors",
    ),
    ("distributor.receivers.zipkin.tls", "distributor.receivers.otlp.protocols.grpc.tls"),
    ("distributor.receivers.zipkin.cors", "distributor.receivers.otlp.protocols.http.cors"),
    ("distributor.receivers.zipkin.protocols.http.tls", "distributor.receivers.otlp.protocols.grpc.tls"),
    ("distributor.receivers.zipkin.protocols.http.cors", "distributor.receivers.otlp.protocols.http.cors"),
    (
        "metrics_generator.processor.service_graphs.filter_policies",
        "metrics_generator.processor.span_metrics.filter_policies",
    ),
    (
        "metrics_generator.processor.span_metrics.filter_policies.include_any",
        "metrics_generator.processor.span_metrics.filter_policies.include",
    ),
    (
        "metrics_generator.processor.span_metrics.filter_policies.exclude",
        "metrics_generator.processor.span_metrics.filter_policies.include",
    ),
    (
        "overrides.defaults.metrics_generator.processor.service_graphs.filter_policies",
        "metrics_generator.processor.span_metrics.filter_policies",
    ),
    (
        "overrides.defaults.metrics_generator.processor.span_metrics.filter_policies",
        "metrics_generator.processor.span_metrics.filter_policies",
    ),
    (
        "overrides.defaults.metrics_generator.processor.span_metrics.dimension_mappings",
        "metrics_generator.processor.span_metrics.dimension_mappings",
    ),
    ("overrides.defaults.storage.parquet_dedicated_columns", "storage.trace.block.parquet_dedicated_columns"),
];

const INTRODUCTION: &str = "# Configuration

This page is generated from the code. Trackway reads Tempo's configuration file (`-config.file=tempo.yaml`), 2.x or \
3.x, and Tempo's flags. A key that neither Tempo nor Trackway knows is an error that names its line.

- Durations are written `300ms`, `30s`, `1h30m`, `14d`.
- Bytes are written as a number, or with a unit: `256MB` (powers of 1000), `1GiB` (powers of 1024).
- An empty block (`grpc:`) means the block with its defaults; an empty value means the default.
- With `-config.expand-env`, `${VAR}` and `${VAR:-default}` are replaced before the file is read.
- Every setting can also be given as a flag: `-server.http-listen-port=80` is `server.http_listen_port: 80`.
- What only Trackway has stands under `trackway:`.
";

/// The whole page.
pub fn reference_markdown() -> String {
    let mut out = INTRODUCTION.to_owned();
    if let Kind::Section(root) = Settings::kind() {
        block("", &root, &mut out);
        out.push_str("\n## Flags\n\nBesides one for every setting:\n\n| flag | meaning |\n|---|---|\n");
        for (flag, meaning) in flags::documented() {
            out.push_str(&format!("| `-{flag}` | {meaning} |\n"));
        }
        out.push_str(
            "\n## Accepted and ignored\n\nTempo's keys that mean nothing to Trackway. They are checked for their \
             type and named in one warning at start.\n\n",
        );
        ignored("", &root, &mut out);
    }
    out
}

fn block(path: &str, section: &Section, out: &mut String) {
    let heading = if path.is_empty() { "Top level".to_owned() } else { format!("`{path}`") };
    out.push_str(&format!("\n## {heading}\n\n| key | type | default | meaning |\n|---|---|---|---|\n"));
    for key in &section.used {
        let default = match (key.default)() {
            Item::Map(_) => String::new(),
            item => short(&item),
        };
        let repeated = REPEATED.iter().find(|(from, _)| *from == join(path, key.name));
        let doc = match repeated {
            Some((_, to)) => format!("{} Same keys as `{to}`.", key.doc),
            None => key.doc.to_owned(),
        };
        out.push_str(&format!(
            "| `{}` | {} | {default} | {} |\n",
            key.name,
            type_name(&(key.kind)()),
            doc.replace('|', "\\|")
        ));
    }
    for key in &section.used {
        let path = join(path, key.name);
        if REPEATED.iter().any(|(from, _)| *from == path) {
            continue;
        }
        if let Some(inner) = inner_section(&(key.kind)()) {
            block(&path, &inner, out);
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn inner_section(kind: &Kind) -> Option<Section> {
    match kind {
        Kind::Section(section) => Some(section.clone()),
        Kind::List(of) | Kind::Map(of) => inner_section(&of()),
        Kind::Scalar(_) | Kind::Any => None,
    }
}

fn type_name(kind: &Kind) -> String {
    match kind {
        Kind::Scalar(name) => (*name).to_owned(),
        Kind::List(of) => format!("list of {}", type_name(&of())),
        Kind::Map(of) => format!("mapping to {}", type_name(&of())),
        Kind::Any => "anything".to_owned(),
        Kind::Section(_) => "block".to_owned(),
    }
}

fn ignored(path: &str, section: &Section, out: &mut String) {
    let names = ignored_keys(section.ignored);
    if !names.is_empty() {
        let place = if path.is_empty() { "top level".to_owned() } else { format!("`{path}`") };
        out.push_str(&format!("- {place}: {}\n", names.join(", ")));
    }
    for key in &section.used {
        let path = join(path, key.name);
        if REPEATED.iter().any(|(from, _)| *from == path) {
            continue;
        }
        if let Some(inner) = inner_section(&(key.kind)()) {
            ignored(&path, &inner, out);
        }
    }
}

fn ignored_keys(table: &'static [Ignored]) -> Vec<String> {
    table
        .iter()
        .flat_map(|(name, shape)| match shape {
            Shape::Inline(inner) => ignored_keys(inner),
            Shape::Block(inner) => {
                let names: Vec<String> = ignored_names(inner).into_iter().map(str::to_owned).collect();
                vec![format!("`{name}` ({})", names.join(", "))]
            }
            _ => vec![format!("`{name}`")],
        })
        .collect()
}
