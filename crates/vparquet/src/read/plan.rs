//! Which leaves a load decodes: where the columns of a batch stand in a block, and which of them need their levels.

use parquet::file::statistics::Statistics;
use trackway_spans::{AttrNeed, Columns, Level, Needs};

use super::{ReadError, RowGroup};

/// How deep the owners of a level's attributes are: repetition and definition level. The same in all formats.
pub(super) struct Depth {
    pub(super) rep: u8,
    pub(super) def: u8,
}

pub(super) fn depth(level: Level) -> Depth {
    match level {
        Level::Resource => Depth { rep: 1, def: 1 },
        Level::Scope => Depth { rep: 2, def: 2 },
        Level::Span => Depth { rep: 3, def: 3 },
        Level::Event | Level::Link => Depth { rep: 4, def: 4 },
    }
}

/// What is decoded in any case.
pub(super) struct Plan {
    pub(super) first: Vec<(usize, bool)>,
    pub(super) spine: usize,
}

impl Plan {
    pub(super) fn new(group: &RowGroup, needs: &Needs) -> Result<Self, ReadError> {
        let file = &group.file;
        let layout = file.layout;
        let spine = file.leaf(&layout.path(Level::Span, "StatusCode"));
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
        for (set, names) in TRACE_LEAVES {
            if columns.has(*set) {
                names.iter().for_each(|name| add((*name).to_owned(), false));
            }
        }
        for (set, level, names) in COLUMN_LEAVES {
            if columns.has(*set) {
                names.iter().for_each(|name| add(layout.path(*level, name), false));
            }
        }
        match &layout.stats {
            Some(stats) if columns.has(Columns::TRACE_STATS) => {
                add(stats.service.to_owned(), true);
                [stats.spans, stats.errors].iter().for_each(|path| add((*path).to_owned(), false));
            }
            Some(_) => {}
            None if columns.has(Columns::TRACE_STATS) => {
                add(layout.path(Level::Resource, "ServiceName"), false)
            }
            None => {}
        }
        if columns.has(Columns::EVENTS) {
            add(layout.path(Level::Event, layout.event_time), true);
            if layout.event_time_absolute {
                add(layout.path(Level::Span, "StartTimeUnixNano"), false);
            }
        }
        if columns.has(Columns::LINKS) {
            match layout.links_message {
                Some(links) => add(layout.path(Level::Span, links), false),
                None => {
                    add(layout.path(Level::Link, "TraceID"), true);
                    add(layout.path(Level::Link, "SpanID"), false);
                }
            }
        }
        for level in Level::ALL {
            let need = &needs.attrs[level as usize];
            if *need == AttrNeed::None {
                continue;
            }
            add(layout.path(level, layout.attrs.key), true);
            for (key, column) in layout.fixed(level) {
                if need.wants(key.as_bytes()) {
                    add(layout.path(level, column), true);
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
        let of_level = |level: Level| value_leaves(group, level, &needs.attrs[level as usize]);
        let values = levels.flat_map(of_level).map(|(leaf, _)| leaf);
        self.first.iter().map(|(leaf, _)| *leaf).chain(values)
    }
}

/// The leaves of the values of a level's attributes, and whether their levels are needed.
pub(super) fn value_leaves<'g>(
    group: &'g RowGroup,
    level: Level,
    need: &AttrNeed,
) -> impl Iterator<Item = (usize, bool)> + use<'g> {
    let layout = group.file.layout;
    let json = match need {
        AttrNeed::None => false,
        AttrNeed::Keys(keys) => keys.iter().any(|key| group.may_be_json(level, key)),
        AttrNeed::All => true,
    };
    let entries = move |leaf: usize| group.file.metadata.row_group(group.index).column(leaf).num_values();
    layout.attrs.values().filter(move |(name, _)| json || !layout.attrs.json.contains(name)).filter_map(
        move |(name, levels)| {
            let leaf = group.file.leaf(&layout.path(level, name))?;
            // Of most types a level has no attribute at all, and hardly any is an array.
            let worth_reading = match group.file.metadata.row_group(group.index).column(leaf).statistics() {
                Some(Statistics::Boolean(known)) if name == layout.attrs.is_array => {
                    known.max_opt().is_none_or(|max| *max)
                }
                Some(known) => {
                    known.null_count_opt().is_none_or(|nulls| i64::try_from(nulls) != Ok(entries(leaf)))
                }
                None => true,
            };
            worth_reading.then_some((leaf, levels))
        },
    )
}

/// Columns about traces with the leaves behind them.
const TRACE_LEAVES: &[(Columns, &[&str])] = &[
    (Columns::TRACE_TIMES, &["StartTimeUnixNano", "EndTimeUnixNano"]),
    (Columns::TRACE_ROOT, &["RootServiceName", "RootSpanName"]),
];

/// Columns with the leaves behind them whose levels are not needed: set, level, names.
const COLUMN_LEAVES: &[(Columns, Level, &[&str])] = &[
    (Columns::SERVICE, Level::Resource, &["ServiceName"]),
    (Columns::SCOPE_NAME, Level::Scope, &["Name"]),
    (Columns::SCOPE_VERSION, Level::Scope, &["Version"]),
    (Columns::ID, Level::Span, &["SpanID"]),
    (Columns::PARENT, Level::Span, &["ParentSpanID"]),
    (Columns::NAME, Level::Span, &["Name"]),
    (Columns::KIND, Level::Span, &["Kind"]),
    (Columns::STATUS, Level::Span, &["StatusCode"]),
    (Columns::STATUS_MESSAGE, Level::Span, &["StatusMessage"]),
    (Columns::START, Level::Span, &["StartTimeUnixNano"]),
    (Columns::DURATION, Level::Span, &["DurationNano"]),
    (Columns::NESTED_SET, Level::Span, &["ParentID", "NestedSetLeft", "NestedSetRight"]),
    (Columns::EVENT_NAME, Level::Event, &["Name"]),
    (
        Columns::REST,
        Level::Span,
        &["TraceState", "DroppedAttributesCount", "DroppedEventsCount", "DroppedLinksCount"],
    ),
    (Columns::REST, Level::Event, &["DroppedAttributesCount"]),
    (Columns::REST, Level::Link, &["TraceState", "DroppedAttributesCount"]),
    (Columns::REST, Level::Resource, &["DroppedAttributesCount"]),
    (Columns::REST, Level::Scope, &["DroppedAttributesCount"]),
];
