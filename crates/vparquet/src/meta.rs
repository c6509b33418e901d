//! `meta.json`: what a block says about itself, with Tempo's names.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use trackway_spans::Level;
use uuid::Uuid;

use crate::schema::{DEDICATED_PER_SCOPE, RESOURCE_COLUMNS, SPAN_COLUMNS, path};

/// The only format that is written.
pub const FORMAT: &str = "vParquet4";

/// The contents of `meta.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockMeta {
    /// `vParquet4`
    pub format: String,
    /// The block's identifier and folder name.
    #[serde(rename = "blockID")]
    pub block_id: Uuid,
    /// Whose it is.
    #[serde(rename = "tenantID", default)]
    pub tenant_id: String,
    /// Earliest start of a span.
    pub start_time: Timestamp,
    /// Latest end of a span.
    pub end_time: Timestamp,
    /// Traces.
    #[serde(default)]
    pub total_objects: u64,
    /// Bytes of `data.parquet`.
    #[serde(default)]
    pub size: u64,
    /// 0 for a block that no compactor made.
    #[serde(default)]
    pub compaction_level: u32,
    /// Always 0 in vParquet.
    #[serde(default)]
    pub index_page_size: u32,
    /// Row groups.
    #[serde(default)]
    pub total_records: u32,
    /// Files `bloom-N`; 0 in old blocks means 10.
    #[serde(default)]
    pub bloom_shards: u32,
    /// Bytes of the Parquet footer.
    #[serde(default)]
    pub footer_size: u32,
    /// Attributes with a column of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dedicated_columns: Vec<DedicatedColumn>,
    /// 1, or 0 for a block that a Tempo 2.x shall find.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub replication_factor: u32,
    /// Blocks that this one was made of. Tempo ignores it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covers: Vec<Uuid>,
    /// When its data went into another block; only in `meta.compacted.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compacted_time: Option<Timestamp>,
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// An attribute with a column of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DedicatedColumn {
    /// `resource`, `span` (left out) or `event`.
    #[serde(rename = "s", default = "span", skip_serializing_if = "is_span")]
    pub scope: String,
    /// Key of the attribute.
    #[serde(rename = "n")]
    pub name: String,
    /// `string` (left out) or `int`.
    #[serde(rename = "t", default = "string", skip_serializing_if = "is_string")]
    pub kind: String,
    /// `array`, `blob`.
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

fn span() -> String {
    "span".to_owned()
}

fn is_span(scope: &str) -> bool {
    scope == "span"
}

fn string() -> String {
    "string".to_owned()
}

fn is_string(kind: &str) -> bool {
    kind == "string"
}

impl DedicatedColumn {
    /// A text attribute.
    pub fn text(level: Level, name: &str) -> Self {
        let scope = if level == Level::Resource { "resource" } else { "span" };
        Self { scope: scope.to_owned(), name: name.to_owned(), kind: string(), options: Vec::new() }
    }

    /// The level it belongs to; `None` for one that vParquet4 does not know.
    pub fn level(&self) -> Option<Level> {
        match self.scope.as_str() {
            "span" => Some(Level::Span),
            "resource" => Some(Level::Resource),
            _ => None,
        }
    }
}

/// What vParquet4 can do of a configured list: text columns of spans and resources, ten of each, without those that
/// have a column anyway.
pub fn usable_in_vparquet4(columns: &[DedicatedColumn]) -> Vec<DedicatedColumn> {
    let fixed = |column: &DedicatedColumn| match column.scope.as_str() {
        "resource" => {
            column.name == "service.name" || RESOURCE_COLUMNS.iter().any(|(key, _)| *key == column.name)
        }
        _ => column.name == "http.status_code" || SPAN_COLUMNS.iter().any(|(key, _)| *key == column.name),
    };
    let mut taken = [0; 5];
    let mut usable: Vec<DedicatedColumn> = Vec::new();
    for column in columns {
        let Some(level) = column.level() else { continue };
        let known = usable.iter().any(|other| other.scope == column.scope && other.name == column.name);
        if is_string(&column.kind) && !fixed(column) && !known && taken[level as usize] < DEDICATED_PER_SCOPE
        {
            taken[level as usize] += 1;
            usable.push(DedicatedColumn { options: Vec::new(), ..column.clone() });
        }
    }
    usable
}

/// Tempo's default list.
pub fn default_dedicated_columns() -> Vec<DedicatedColumn> {
    let spans = ["http.request.method", "url.path", "url.route", "server.address", "http.route"];
    spans.iter().map(|name| DedicatedColumn::text(Level::Span, name)).collect()
}

/// Level, key and path of the column of each dedicated attribute.
pub(crate) fn dedicated_paths(columns: &[DedicatedColumn]) -> Vec<(Level, Vec<u8>, String)> {
    let mut taken = [0; 5];
    let mut paths = Vec::new();
    for column in columns.iter().filter(|column| is_string(&column.kind)) {
        let Some(level) = column.level() else { continue };
        taken[level as usize] += 1;
        let prefix = if level == Level::Resource { path::RESOURCE } else { path::SPAN };
        let number = taken[level as usize];
        paths.push((
            level,
            column.name.clone().into_bytes(),
            format!("{prefix}.DedicatedAttributes.String{number:02}"),
        ));
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tempos_meta_comes_back_as_it_was() {
        let recorded = std::fs::read_to_string(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/golden/v4/single-tenant/728a1849-365c-4c4b-beef-cd37283c2b4d/meta.json"
        ))
        .unwrap();
        let meta: BlockMeta = serde_json::from_str(&recorded).unwrap();
        assert_eq!(serde_json::to_string(&meta).unwrap(), recorded);
        assert_eq!(meta.dedicated_columns, default_dedicated_columns());
    }

    #[test]
    fn what_vparquet4_cannot_do_is_left_out() {
        let mut columns = default_dedicated_columns();
        columns.push(DedicatedColumn { kind: "int".into(), ..DedicatedColumn::text(Level::Span, "n") });
        columns.push(DedicatedColumn::text(Level::Span, "http.method"));
        columns.push(DedicatedColumn::text(Level::Resource, "k8s.pod.name"));
        assert_eq!(usable_in_vparquet4(&columns), default_dedicated_columns());
    }
}
