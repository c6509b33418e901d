//! `meta.json`: what a block says about itself, with Tempo's names.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use trackway_spans::Level;
use uuid::Uuid;

use crate::layout::{ColumnType, Layout};

/// A format of blocks. Those that are not here (`v2`, `vParquet2`) are neither read nor written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// Of Tempo 2.2 to 2.5. Read, not written.
    VParquet3,
    /// Tempo's default since 2.6.
    #[default]
    VParquet4,
    /// Since Tempo 2.9.
    VParquet5,
}

impl Format {
    /// Formats that are read.
    pub const READ: [Self; 3] = [Self::VParquet3, Self::VParquet4, Self::VParquet5];
    /// Formats that are written.
    pub const WRITTEN: [Self; 2] = [Self::VParquet4, Self::VParquet5];

    /// The name in `meta.json` and in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::VParquet3 => "vParquet3",
            Self::VParquet4 => "vParquet4",
            Self::VParquet5 => "vParquet5",
        }
    }

    /// The format that `meta.json` names, when it is read.
    pub fn readable(name: &str) -> Option<Self> {
        Self::READ.into_iter().find(|format| format.name() == name)
    }

    /// The format that the configuration names, when it is written.
    pub fn writable(name: &str) -> Option<Self> {
        Self::WRITTEN.into_iter().find(|format| format.name() == name)
    }
}

/// The contents of `meta.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockMeta {
    /// The name of a [`Format`], or of one that is not read.
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
    /// Bytes of the bloom filters over values of attributes within `data.parquet`. Tempo ignores it.
    #[serde(rename = "trackwayFilterBytes", default, skip_serializing_if = "is_none")]
    pub filter_bytes: u64,
    /// Blocks that this one was made of. Tempo ignores it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covers: Vec<Uuid>,
    /// When its data went into another block; only in `meta.compacted.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compacted_time: Option<Timestamp>,
}

fn is_none(bytes: &u64) -> bool {
    *bytes == 0
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
    /// An attribute without options. Levels other than resource, span and event have no columns: none is made for them.
    pub fn new(level: Level, kind: ColumnType, name: &str) -> Self {
        let scope = match level {
            Level::Resource => "resource",
            Level::Scope => "instrumentation",
            Level::Span => "span",
            Level::Event => "event",
            Level::Link => "link",
        };
        let kind = match kind {
            ColumnType::Text => string(),
            ColumnType::Int => "int".to_owned(),
        };
        Self { scope: scope.to_owned(), name: name.to_owned(), kind, options: Vec::new() }
    }

    /// A text attribute.
    pub fn text(level: Level, name: &str) -> Self {
        Self::new(level, ColumnType::Text, name)
    }

    /// The level it belongs to; `None` for one that no format has columns for.
    pub fn level(&self) -> Option<Level> {
        match self.scope.as_str() {
            "span" => Some(Level::Span),
            "resource" => Some(Level::Resource),
            "event" => Some(Level::Event),
            _ => None,
        }
    }

    /// The type; `None` for one that no format has columns for.
    pub fn column_type(&self) -> Option<ColumnType> {
        match self.kind.as_str() {
            "string" => Some(ColumnType::Text),
            "int" => Some(ColumnType::Int),
            _ => None,
        }
    }

    /// Whether its values are long and rarely the same: they are stored without a dictionary.
    pub(crate) fn is_blob(&self) -> bool {
        self.options.iter().any(|option| option == "blob")
    }
}

/// Whether blocks of a format have a column for this attribute anyway.
pub(crate) fn is_fixed(format: Format, level: Level, name: &str) -> bool {
    let mut fixed = Layout::of(format).fixed(level);
    level == Level::Resource && name == "service.name" || fixed.any(|(key, _)| key == name)
}

/// What a format can do of a configured list: the first so many of each scope and type, each attribute once, without
/// those that have a column anyway. Options are vParquet5's.
pub fn usable(columns: &[DedicatedColumn], format: Format) -> Vec<DedicatedColumn> {
    let layout = Layout::of(format);
    let mut taken = [[0; 2]; 5];
    let mut usable: Vec<DedicatedColumn> = Vec::new();
    for column in columns {
        let (Some(level), Some(kind)) = (column.level(), column.column_type()) else { continue };
        let known = usable.iter().any(|other| other.scope == column.scope && other.name == column.name);
        let taken = &mut taken[level as usize][kind as usize];
        if !known && !is_fixed(format, level, &column.name) && *taken < layout.dedicated_max(level, kind) {
            *taken += 1;
            let options = if layout.is_dynamic() { column.options.clone() } else { Vec::new() };
            usable.push(DedicatedColumn { options, ..column.clone() });
        }
    }
    usable
}

/// What a format can do of Tempo's default list.
pub fn default_dedicated_columns(format: Format) -> Vec<DedicatedColumn> {
    use ColumnType::{Int, Text};
    let resource = ["k8s.cluster.name", "k8s.namespace.name", "k8s.pod.name", "k8s.container.name"];
    let span = [
        ("http.request.method", Text),
        ("http.response.status_code", Int),
        ("url.path", Text),
        ("url.route", Text),
        ("server.address", Text),
        ("server.port", Int),
        ("http.method", Text),
        ("http.url", Text),
        ("http.route", Text),
        ("http.status_code", Int),
    ];
    let resource = resource.into_iter().map(|name| DedicatedColumn::text(Level::Resource, name));
    let span = span.into_iter().map(|(name, kind)| DedicatedColumn::new(Level::Span, kind, name));
    usable(&resource.chain(span).collect::<Vec<_>>(), format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tempos_meta_comes_back_as_it_was() {
        for (block, format) in [
            ("v3/single-tenant/33d01134-b273-4827-9c29-bf9aff39f5b8", Format::VParquet3),
            ("v4/single-tenant/728a1849-365c-4c4b-beef-cd37283c2b4d", Format::VParquet4),
            ("v5/single-tenant/db944627-7979-4599-937b-8f4d9e7bdd30", Format::VParquet5),
        ] {
            let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");
            let recorded = std::fs::read_to_string(format!("{golden}/{block}/meta.json")).unwrap();
            let meta: BlockMeta = serde_json::from_str(&recorded).unwrap();
            assert_eq!(serde_json::to_string(&meta).unwrap(), recorded);
            assert_eq!(Format::readable(&meta.format), Some(format));
            assert_eq!(meta.dedicated_columns, default_dedicated_columns(format));
        }
        assert_eq!(["v2", "vParquet2", "vParquet6", ""].map(Format::readable), [None; 4]);
        assert_eq!(Format::writable("vParquet3"), None);
    }

    #[test]
    fn what_a_format_cannot_do_is_left_out() {
        let mut columns = default_dedicated_columns(Format::VParquet4);
        let blob =
            DedicatedColumn { options: vec!["blob".into()], ..DedicatedColumn::text(Level::Span, "q") };
        let more = [
            DedicatedColumn::new(Level::Span, ColumnType::Int, "n"),
            DedicatedColumn::text(Level::Span, "http.method"),
            DedicatedColumn::text(Level::Resource, "k8s.pod.name"),
            DedicatedColumn::text(Level::Event, "exception.type"),
            blob.clone(),
        ];
        columns.extend(more.clone());
        // Neither has columns for these, or has one already.
        columns.push(DedicatedColumn::text(Level::Resource, "service.name"));
        columns.push(DedicatedColumn::text(Level::Scope, "x"));
        columns.push(DedicatedColumn::new(Level::Span, ColumnType::Text, "n"));
        columns.push(DedicatedColumn { kind: "float".into(), ..DedicatedColumn::text(Level::Span, "f") });
        let default = default_dedicated_columns(Format::VParquet4);
        let five = [&default[..], &more[..]].concat();
        assert_eq!(usable(&columns, Format::VParquet5), five);
        let text_n = DedicatedColumn::text(Level::Span, "n");
        let blob = DedicatedColumn { options: Vec::new(), ..blob };
        assert_eq!(usable(&columns, Format::VParquet4), [&default[..], &[blob, text_n]].concat());
        for (format, most) in [(Format::VParquet4, 10), (Format::VParquet5, 20)] {
            let many = |level| (0..30).map(move |n| DedicatedColumn::text(level, &n.to_string()));
            let many: Vec<_> = many(Level::Span).chain(many(Level::Resource)).collect();
            assert_eq!(usable(&many, format).len(), 2 * most);
        }
    }
}
