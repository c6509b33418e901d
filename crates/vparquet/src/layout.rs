//! Where the leaves of each format are: the one place in which vParquet3, vParquet4 and vParquet5 differ for a reader.
//!
//! What must stay true, and makes one reader enough: in all three a resource, a scope, a span and an event or link have
//! the same repetition and definition levels, and a value of an attribute is one definition level deeper than its key.

use trackway_spans::Level;

use crate::meta::{DedicatedColumn, Format};

/// How the values of a level's attributes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// A leaf a type. What has no type of its own is JSON.
    Typed,
    /// One leaf with messages of `AnyValue`.
    Messages,
    /// Not in leaves of their own: as parts of the messages of links.
    InLinks,
}

/// The leaves of an attribute, below the prefix of its level.
#[derive(Debug)]
pub(crate) struct AttrLeaves {
    pub(crate) key: &'static str,
    pub(crate) is_array: &'static str,
    pub(crate) text: &'static str,
    pub(crate) int: &'static str,
    pub(crate) float: &'static str,
    pub(crate) bool: &'static str,
    /// JSON of an `AnyValue`; an empty text is none.
    pub(crate) json: &'static [&'static str],
}

impl AttrLeaves {
    /// All that hold values, and whether their levels are needed.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&'static str, bool)> {
        let typed = [self.text, self.int, self.float, self.bool];
        let leveled = typed.into_iter().chain(self.json.iter().copied());
        std::iter::once((self.is_array, false)).chain(leveled.map(|name| (name, true)))
    }
}

/// The leaves of the services of a trace.
#[derive(Debug)]
pub(crate) struct StatsLeaves {
    pub(crate) service: &'static str,
    pub(crate) spans: &'static str,
    pub(crate) errors: &'static str,
}

/// An attribute with a column of its own in every block of a format: its key, and the column's name.
pub(crate) type Fixed = (&'static str, &'static str);

/// Where the leaves of a format are.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) format: Format,
    /// What the paths of a level's leaves begin with, by [`Level`].
    prefixes: [&'static str; 5],
    pub(crate) attrs: AttrLeaves,
    /// `None` where a block does not say it and it is counted from the spans.
    pub(crate) stats: Option<StatsLeaves>,
    /// When an event was.
    pub(crate) event_time: &'static str,
    /// Whether that is a time, and not the distance from the span's start.
    pub(crate) event_time_absolute: bool,
    /// The leaf of a span with all of its links as one message; links have leaves of their own otherwise.
    pub(crate) links_message: Option<&'static str>,
    resource_columns: &'static [Fixed],
    span_columns: &'static [Fixed],
    /// Text columns for dedicated attributes a level, and integer columns.
    dedicated_max: [usize; 2],
    dedicated_levels: &'static [Level],
}

impl Layout {
    /// The layout of a format.
    pub(crate) fn of(format: Format) -> &'static Self {
        match format {
            Format::VParquet3 => &V3,
            Format::VParquet4 => &V4,
            Format::VParquet5 => &V5,
        }
    }

    /// The layout of a file with these leaves.
    pub(crate) fn of_file(has: impl Fn(&str) -> bool) -> &'static Self {
        let has_span_leaf = |layout: &Self, name: &str| has(&layout.path(Level::Span, name));
        if has_span_leaf(&V5, "StatusCode") {
            &V5
        } else if has_span_leaf(&V3, "Links") {
            &V3
        } else {
            &V4
        }
    }

    /// What the paths of a level's leaves begin with.
    pub(crate) fn prefix(&self, level: Level) -> &'static str {
        self.prefixes[level as usize]
    }

    /// The path of a leaf of a level.
    pub(crate) fn path(&self, level: Level, name: &str) -> String {
        format!("{}.{name}", self.prefix(level))
    }

    /// How the values of a level's attributes are stored.
    pub(crate) fn values(&self, level: Level) -> Values {
        match (level, self.links_message) {
            (Level::Event, Some(_)) => Values::Messages,
            (Level::Link, Some(_)) => Values::InLinks,
            _ => Values::Typed,
        }
    }

    /// Text attributes of a level that have a column in every block, besides `service.name`.
    pub(crate) fn fixed_texts(&self, level: Level) -> &'static [Fixed] {
        match level {
            Level::Resource => self.resource_columns,
            Level::Span => self.span_columns,
            _ => &[],
        }
    }

    /// Integer attributes of a level that have a column in every block.
    pub(crate) fn fixed_ints(&self, level: Level) -> &'static [Fixed] {
        if level == Level::Span && !self.span_columns.is_empty() { &[SPAN_INT_COLUMN] } else { &[] }
    }

    /// All attributes of a level that have a column in every block, besides `service.name`.
    pub(crate) fn fixed(&self, level: Level) -> impl Iterator<Item = Fixed> {
        self.fixed_texts(level).iter().chain(self.fixed_ints(level)).copied()
    }

    /// How many columns for dedicated attributes of a type a level has.
    pub(crate) fn dedicated_max(&self, level: Level, kind: ColumnType) -> usize {
        if self.dedicated_levels.contains(&level) { self.dedicated_max[kind as usize] } else { 0 }
    }

    /// Whether the columns that a block does not need are left out of its schema, and a column takes several values.
    pub(crate) fn is_dynamic(&self) -> bool {
        self.format == Format::VParquet5
    }

    /// Level, key and path of the column of each dedicated attribute of a list in `meta.json`.
    pub(crate) fn dedicated_paths(&self, columns: &[DedicatedColumn]) -> Vec<(Level, Vec<u8>, String)> {
        let mut taken = [[0; 2]; 5];
        let mut paths = Vec::new();
        for column in columns {
            let (Some(level), Some(kind)) = (column.level(), column.column_type()) else { continue };
            let taken = &mut taken[level as usize][kind as usize];
            if *taken < self.dedicated_max(level, kind) {
                *taken += 1;
                let path = self.path(level, &format!("DedicatedAttributes.{}", kind.column(*taken)));
                paths.push((level, column.name.clone().into_bytes(), path));
            }
        }
        paths
    }
}

/// The type of a dedicated column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ColumnType {
    /// `string`
    Text = 0,
    /// `int`
    Int = 1,
}

impl ColumnType {
    /// The name of the column with this number, counted from 1.
    pub(crate) fn column(self, number: usize) -> String {
        match self {
            Self::Text => format!("String{number:02}"),
            Self::Int => format!("Int{number:02}"),
        }
    }
}

/// Resource attributes that have a column of their own until vParquet4.
const RESOURCE_COLUMNS: [Fixed; 8] = [
    ("cluster", "Cluster"),
    ("namespace", "Namespace"),
    ("pod", "Pod"),
    ("container", "Container"),
    ("k8s.cluster.name", "K8sClusterName"),
    ("k8s.namespace.name", "K8sNamespaceName"),
    ("k8s.pod.name", "K8sPodName"),
    ("k8s.container.name", "K8sContainerName"),
];

/// Span attributes that have a column of their own until vParquet4.
const SPAN_COLUMNS: [Fixed; 2] = [("http.method", "HttpMethod"), ("http.url", "HttpUrl")];

/// The span attribute that has an integer column of its own until vParquet4.
const SPAN_INT_COLUMN: Fixed = ("http.status_code", "HttpStatusCode");

const LIST_PREFIXES: [&str; 5] = [
    "rs.list.element.Resource",
    "rs.list.element.ss.list.element.Scope",
    "rs.list.element.ss.list.element.Spans.list.element",
    "rs.list.element.ss.list.element.Spans.list.element.Events.list.element",
    "rs.list.element.ss.list.element.Spans.list.element.Links.list.element",
];

static V3: Layout = Layout {
    format: Format::VParquet3,
    prefixes: LIST_PREFIXES,
    attrs: AttrLeaves {
        key: "Attrs.list.element.Key",
        is_array: "Attrs.list.element.IsArray", // not there: arrays are JSON
        text: "Attrs.list.element.Value",
        int: "Attrs.list.element.ValueInt",
        float: "Attrs.list.element.ValueDouble",
        bool: "Attrs.list.element.ValueBool",
        json: &["Attrs.list.element.ValueKVList", "Attrs.list.element.ValueArray"],
    },
    stats: None,
    event_time: "TimeUnixNano",
    event_time_absolute: true,
    links_message: Some("Links"),
    resource_columns: &RESOURCE_COLUMNS,
    span_columns: &SPAN_COLUMNS,
    dedicated_max: [10, 0],
    dedicated_levels: &[Level::Resource, Level::Span],
};

static V4: Layout = Layout {
    format: Format::VParquet4,
    prefixes: LIST_PREFIXES,
    attrs: AttrLeaves {
        key: "Attrs.list.element.Key",
        is_array: "Attrs.list.element.IsArray",
        text: "Attrs.list.element.Value.list.element",
        int: "Attrs.list.element.ValueInt.list.element",
        float: "Attrs.list.element.ValueDouble.list.element",
        bool: "Attrs.list.element.ValueBool.list.element",
        json: &["Attrs.list.element.ValueUnsupported"],
    },
    stats: Some(StatsLeaves {
        service: "ServiceStats.key_value.key",
        spans: "ServiceStats.key_value.value.SpanCount",
        errors: "ServiceStats.key_value.value.ErrorCount",
    }),
    event_time: "TimeSinceStartNano",
    event_time_absolute: false,
    links_message: None,
    resource_columns: &RESOURCE_COLUMNS,
    span_columns: &SPAN_COLUMNS,
    dedicated_max: [10, 0],
    dedicated_levels: &[Level::Resource, Level::Span],
};

static V5: Layout = Layout {
    format: Format::VParquet5,
    prefixes: ["rs.Resource", "rs.ss.Scope", "rs.ss.Spans", "rs.ss.Spans.Events", "rs.ss.Spans.Links"],
    attrs: AttrLeaves {
        key: "Attrs.Key",
        is_array: "Attrs.IsArray",
        text: "Attrs.Value",
        int: "Attrs.ValueInt",
        float: "Attrs.ValueDouble",
        bool: "Attrs.ValueBool",
        json: &["Attrs.ValueUnsupported"],
    },
    stats: Some(StatsLeaves {
        service: "ServiceStats.ServiceName",
        spans: "ServiceStats.SpanCount",
        errors: "ServiceStats.ErrorCount",
    }),
    event_time: "TimeSinceStartNano",
    event_time_absolute: false,
    links_message: None,
    resource_columns: &[],
    span_columns: &[],
    dedicated_max: [20, 5],
    dedicated_levels: &[Level::Resource, Level::Span, Level::Event],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dedicated_columns_are_numbered_by_level_and_type() {
        let column = |scope: &str, kind: &str, name: &str| DedicatedColumn {
            scope: scope.to_owned(),
            name: name.to_owned(),
            kind: kind.to_owned(),
            options: Vec::new(),
        };
        let list = [
            column("span", "string", "a"),
            column("span", "int", "b"),
            column("event", "string", "c"),
            column("resource", "string", "d"),
            column("span", "string", "e"),
            column("link", "string", "f"),
            column("span", "bool", "g"),
        ];
        let paths = |format: Format| -> Vec<String> {
            let paths = Layout::of(format).dedicated_paths(&list);
            paths.into_iter().map(|(_, key, path)| format!("{} {path}", key.escape_ascii())).collect()
        };
        assert_eq!(
            paths(Format::VParquet5),
            [
                "a rs.ss.Spans.DedicatedAttributes.String01",
                "b rs.ss.Spans.DedicatedAttributes.Int01",
                "c rs.ss.Spans.Events.DedicatedAttributes.String01",
                "d rs.Resource.DedicatedAttributes.String01",
                "e rs.ss.Spans.DedicatedAttributes.String02",
            ]
        );
        let span = "rs.list.element.ss.list.element.Spans.list.element.DedicatedAttributes";
        assert_eq!(
            paths(Format::VParquet4),
            [
                format!("a {span}.String01"),
                "d rs.list.element.Resource.DedicatedAttributes.String01".to_owned(),
                format!("e {span}.String02"),
            ]
        );
        let many: Vec<_> = (0..30).map(|n| column("span", "string", &n.to_string())).collect();
        assert_eq!(Layout::of(Format::VParquet4).dedicated_paths(&many).len(), 10);
        assert_eq!(Layout::of(Format::VParquet5).dedicated_paths(&many).len(), 20);
    }
}
