//! Which leaves a load decodes: where the columns of a batch stand in a block, and which of them need their levels.

use trackway_spans::{AttrNeed, Columns, Level, Needs};

use super::{ReadError, RowGroup};
use crate::schema::{RESOURCE_COLUMNS, SPAN_COLUMNS, SPAN_INT_COLUMN, path};

/// Where the leaves of a level are, and how deep.
pub(super) struct LevelInfo {
    pub(super) prefix: &'static str,
    /// Repetition and definition level of the owner.
    pub(super) rep: u8,
    pub(super) def: u8,
}

pub(super) fn info(level: Level) -> LevelInfo {
    match level {
        Level::Resource => LevelInfo { prefix: path::RESOURCE, rep: 1, def: 1 },
        Level::Scope => LevelInfo { prefix: path::SCOPE, rep: 2, def: 2 },
        Level::Span => LevelInfo { prefix: path::SPAN, rep: 3, def: 3 },
        Level::Event => LevelInfo { prefix: path::EVENT, rep: 4, def: 4 },
        Level::Link => LevelInfo { prefix: path::LINK, rep: 4, def: 4 },
    }
}

/// Leaves of an attribute's value, and whether their levels are needed.
const VALUE_LEAVES: [(&str, bool); 6] = [
    ("IsArray", false),
    ("Value.list.element", true),
    ("ValueInt.list.element", true),
    ("ValueDouble.list.element", true),
    ("ValueBool.list.element", true),
    ("ValueUnsupported", true),
];

/// What is decoded in any case.
pub(super) struct Plan {
    pub(super) first: Vec<(usize, bool)>,
    pub(super) spine: usize,
}

impl Plan {
    pub(super) fn new(group: &RowGroup, needs: &Needs) -> Result<Self, ReadError> {
        let file = &group.file;
        let spine = file.leaf(&format!("{}.StatusCode", path::SPAN));
        let spine = spine.ok_or_else(|| group.structure("no span columns"))?;
        let mut first = vec![(spine, true)];
        let mut add = |path: String, levels: bool| {
            if let Some(leaf) = file.leaf(&path)
                && leaf != spine
            {
                first.push((leaf, levels));
            }
        };
        if group.ids.is_none() {
            add("TraceID".to_owned(), false);
        }
        let columns = needs.columns;
        for (set, prefix, names, levels) in COLUMN_LEAVES {
            if columns.has(*set) {
                names.iter().for_each(|name| add(format!("{prefix}{name}"), *levels));
            }
        }
        for level in Level::ALL {
            let need = &needs.attrs[level as usize];
            if *need == AttrNeed::None {
                continue;
            }
            let prefix = info(level).prefix;
            add(format!("{prefix}.Attrs.list.element.Key"), true);
            for (column, key) in well_known(level) {
                if need.wants(key.as_bytes()) {
                    add(format!("{prefix}.{column}"), true);
                }
            }
            for (_, key, column) in file.dedicated.iter().filter(|(of, ..)| *of == level) {
                if need.wants(key) {
                    add(column.clone(), true);
                }
            }
        }
        Ok(Self { first, spine })
    }

    /// All leaves that may be decoded, values of attributes included.
    pub(super) fn all(&self, group: &RowGroup, needs: &Needs) -> impl Iterator<Item = usize> {
        let levels = Level::ALL.into_iter().filter(|level| needs.attrs[*level as usize] != AttrNeed::None);
        let values = levels.flat_map(|level| value_leaves(group, level)).map(|(leaf, _)| leaf);
        self.first.iter().map(|(leaf, _)| *leaf).chain(values)
    }
}

/// The leaves of the values of a level's attributes, and whether their levels are needed.
pub(super) fn value_leaves(group: &RowGroup, level: Level) -> impl Iterator<Item = (usize, bool)> {
    let prefix = info(level).prefix;
    VALUE_LEAVES.iter().filter_map(move |(name, levels)| {
        let leaf = group.file.leaf(&format!("{prefix}.Attrs.list.element.{name}"))?;
        Some((leaf, *levels))
    })
}

/// Columns with the leaves behind them: set, prefix, names, whether levels are needed.
const COLUMN_LEAVES: &[(Columns, &str, &[&str], bool)] = &[
    (Columns::TRACE_TIMES, "", &["StartTimeUnixNano", "EndTimeUnixNano"], false),
    (Columns::TRACE_ROOT, "", &["RootServiceName", "RootSpanName"], false),
    (Columns::TRACE_STATS, "ServiceStats.key_value.", &["key"], true),
    (Columns::TRACE_STATS, "ServiceStats.key_value.value.", &["SpanCount", "ErrorCount"], false),
    (Columns::SERVICE, "rs.list.element.Resource.", &["ServiceName"], false),
    (Columns::SCOPE_NAME, "rs.list.element.ss.list.element.Scope.", &["Name"], false),
    (Columns::SCOPE_VERSION, "rs.list.element.ss.list.element.Scope.", &["Version"], false),
    (Columns::ID, SPAN_DOT, &["SpanID"], false),
    (Columns::PARENT, SPAN_DOT, &["ParentSpanID"], false),
    (Columns::NAME, SPAN_DOT, &["Name"], false),
    (Columns::KIND, SPAN_DOT, &["Kind"], false),
    (Columns::STATUS, SPAN_DOT, &["StatusCode"], false),
    (Columns::STATUS_MESSAGE, SPAN_DOT, &["StatusMessage"], false),
    (Columns::START, SPAN_DOT, &["StartTimeUnixNano"], false),
    (Columns::DURATION, SPAN_DOT, &["DurationNano"], false),
    (Columns::NESTED_SET, SPAN_DOT, &["ParentID", "NestedSetLeft", "NestedSetRight"], false),
    (Columns::EVENTS, SPAN_DOT, &["Events.list.element.TimeSinceStartNano"], true),
    (Columns::EVENT_NAME, SPAN_DOT, &["Events.list.element.Name"], false),
    (Columns::LINKS, SPAN_DOT, &["Links.list.element.TraceID"], true),
    (Columns::LINKS, SPAN_DOT, &["Links.list.element.SpanID"], false),
    (
        Columns::REST,
        SPAN_DOT,
        &[
            "TraceState",
            "DroppedAttributesCount",
            "DroppedEventsCount",
            "DroppedLinksCount",
            "Events.list.element.DroppedAttributesCount",
            "Links.list.element.TraceState",
            "Links.list.element.DroppedAttributesCount",
        ],
        false,
    ),
    (Columns::REST, "rs.list.element.Resource.", &["DroppedAttributesCount"], false),
    (Columns::REST, "rs.list.element.ss.list.element.Scope.", &["DroppedAttributesCount"], false),
];

const SPAN_DOT: &str = "rs.list.element.ss.list.element.Spans.list.element.";

/// Text columns that a level has in every block, with their keys.
pub(super) fn well_known(level: Level) -> impl Iterator<Item = (&'static str, &'static str)> {
    let texts: &[(&str, &str)] = match level {
        Level::Resource => &RESOURCE_COLUMNS,
        Level::Span => &SPAN_COLUMNS,
        _ => &[],
    };
    let ints = (level == Level::Span).then_some(SPAN_INT_COLUMN);
    texts.iter().copied().chain(ints).map(|(key, column)| (column, key))
}
