//! Puts decoded leaves together into a [`SpanBatch`].
//!
//! One leaf of the span level, the spine, tells by its levels which span belongs to which scope, resource and trace;
//! the other required leaves of the level then need no levels at all, since their values come in the same order.

use std::sync::Arc;

use arrow_buffer::ArrowNativeType;
use trackway_spans::{Column, Columns, Interner, Level, Needs, SpanBatch, StrId};

use super::plan::{Plan, depth, value_leaves};
use super::{Read, ReadError, RowGroup};
use crate::decode::ByteValues;
use crate::layout::{Layout, StatsLeaves};
use crate::leaf::{Leaf, Values};

/// Returns early with the ranges that are missing.
macro_rules! ready {
    ($read:expr) => {
        match $read? {
            Read::Ready(value) => value,
            Read::NeedsRanges(ranges) => return Ok(Read::NeedsRanges(ranges)),
        }
    };
}
pub(super) use ready;

pub(super) fn load(group: &mut RowGroup, needs: &Needs) -> Result<Read<SpanBatch>, ReadError> {
    let plan = Plan::new(group, needs)?;
    if group.at_once {
        let missing = group.missing(plan.all(group, needs));
        if !missing.is_empty() {
            return Ok(Read::NeedsRanges(missing));
        }
    }
    ready!(group.decode(&plan.first));
    // Values are read only for levels that have any of the keys.
    let mut second = Vec::new();
    let mut strings = Interner::new();
    let mut found = Vec::new();
    for level in Level::ALL {
        let hits = hits(group, needs, level, &mut strings);
        if hits.as_ref().is_some_and(|hits| !hits.is_empty()) {
            second.extend(value_leaves(group, level, &needs.attrs[level as usize]));
        }
        found.push(hits);
    }
    ready!(group.decode(&second));
    let mut assembly = Assembly { group, strings, batch: SpanBatch::default() };
    assembly.spine(&plan)?;
    assembly.traces(needs.columns);
    assembly.owners(needs.columns);
    assembly.spans(needs.columns);
    assembly.children(needs.columns)?;
    assembly.finish_traces(needs.columns);
    for (level, hits) in Level::ALL.into_iter().zip(found) {
        let table = assembly.attributes(level, hits.unwrap_or_default(), needs)?;
        assembly.batch.attrs[level as usize] = table;
    }
    let Assembly { strings, mut batch, .. } = assembly;
    batch.strings = strings.finish();
    Ok(Read::Ready(batch))
}

/// An attribute that is needed: its place among all attributes of the level, its owner, its key.
#[derive(Clone, Copy)]
pub(super) struct Hit {
    pub(super) attribute: u32,
    pub(super) owner: u32,
    pub(super) key: StrId,
}

/// The attributes of a level that are needed; `None` when the level has no such column.
fn hits(group: &RowGroup, needs: &Needs, level: Level, strings: &mut Interner) -> Option<Vec<Hit>> {
    let need = &needs.attrs[level as usize];
    let info = depth(level);
    let leaf = group.file.leaf(&group.file.layout.path(level, group.file.layout.attrs.key))?;
    let leaf = group.decoded(leaf)?;
    let (ids, dictionary) = leaf.bytes()?;
    let wanted: Vec<Option<StrId>> =
        dictionary.iter().map(|key| need.wants(key).then(|| strings.intern(key))).collect();
    if wanted.iter().all(Option::is_none) {
        return Some(Vec::new());
    }
    // Growing copies, and takes twice the memory: where all are wanted, their number is known.
    let all = wanted.iter().all(Option::is_some);
    let mut hits = Vec::with_capacity(if all { ids.len() } else { 0 });
    let (mut owner, mut attribute) = (u32::MAX, 0);
    for (rep, def) in leaf.rep.iter().zip(&leaf.def) {
        if *rep <= info.rep && *def >= info.def {
            owner = owner.wrapping_add(1);
        }
        if *def > info.def {
            if let Some(key) = ids.get(attribute as usize).and_then(|id| wanted[*id as usize]) {
                hits.push(Hit { attribute, owner, key });
            }
            attribute += 1;
        }
    }
    Some(hits)
}

/// Translates ids of a leaf's dictionary into ids of the batch, each entry once. No search for equal strings of other
/// columns: with many different values it would take longer than everything else.
pub(super) struct Translate<'a> {
    pub(super) ids: &'a [u32],
    pub(super) dictionary: &'a ByteValues,
    known: Vec<Option<StrId>>,
}

impl<'a> Translate<'a> {
    pub(super) fn new(leaf: &'a Leaf) -> Option<Self> {
        let (ids, dictionary) = leaf.bytes()?;
        Some(Self { ids, dictionary, known: vec![None; dictionary.len()] })
    }

    pub(super) fn get(&mut self, strings: &mut Interner, value: usize) -> StrId {
        let Some(id) = self.ids.get(value) else { return 0 };
        let id = *id as usize;
        *self.known[id].get_or_insert_with(|| strings.add(self.dictionary.get(id)))
    }
}

pub(super) struct Assembly<'g> {
    pub(super) group: &'g mut RowGroup,
    pub(super) strings: Interner,
    pub(super) batch: SpanBatch,
}

impl Assembly<'_> {
    pub(super) fn layout(&self) -> &'static Layout {
        self.group.file.layout
    }

    pub(super) fn leaf(&self, path: &str) -> Option<Arc<Leaf>> {
        self.group.file.leaf(path).and_then(|leaf| self.group.decoded(leaf)).cloned()
    }

    /// Builds the indices from spans to scopes to resources, and from spans to traces.
    fn spine(&mut self, plan: &Plan) -> Result<(), ReadError> {
        let leaf = self.group.decoded(plan.spine).cloned();
        let leaf = leaf.ok_or_else(|| self.group.structure("no span columns"))?;
        let (mut trace, mut resource, mut scope) = (u32::MAX, u32::MAX, u32::MAX);
        let mut scope_resource = Vec::new();
        // One more than there can be: every entry writes, and only a span moves on. Branches would be guessed wrong.
        let mut traces = vec![0; leaf.def.len() + 1];
        let mut scopes = vec![0; leaf.def.len() + 1];
        let mut span = 0;
        for (rep, def) in leaf.rep.iter().zip(&leaf.def) {
            trace = trace.wrapping_add(u32::from(*rep == 0));
            resource = resource.wrapping_add(u32::from(*rep <= 1 && *def >= 1));
            if *rep <= 2 && *def >= 2 {
                scope = scope.wrapping_add(1);
                scope_resource.push(resource);
            }
            (traces[span], scopes[span]) = (trace, scope);
            span += usize::from(*def >= 3);
        }
        traces.truncate(span);
        scopes.truncate(span);
        // What stands before the first trace, resource or scope belongs to none.
        if [&traces, &scopes, &scope_resource].iter().any(|owners| owners.contains(&u32::MAX)) {
            return Err(self.group.structure("spans outside of any trace, resource or scope"));
        }
        let resources = resource.wrapping_add(1);
        if trace.wrapping_add(1) as usize != self.group.rows() {
            return Err(self.group.structure("the number of rows differs from the footer's"));
        }
        self.batch.spans.trace = traces.into();
        self.batch.spans.scope = scopes.into();
        self.batch.scopes.resource = scope_resource.into();
        self.batch.resources.service = vec![0; resources as usize].into();
        if leaf.ints().len() == span {
            self.batch.spans.status = leaf.ints().iter().map(|status| small(*status)).collect();
            Ok(())
        } else {
            Err(self.group.structure("fewer status codes than spans"))
        }
    }

    /// A required column of numbers, which must have `rows` of them; missing columns are zeros.
    pub(super) fn numbers<T: ArrowNativeType + Default>(
        &self,
        path: &str,
        rows: usize,
        convert: impl Fn(i64) -> T,
    ) -> Column<T> {
        match self.leaf(path) {
            Some(leaf) if leaf.ints().len() == rows => leaf.ints().iter().map(|v| convert(*v)).collect(),
            _ => vec![T::default(); rows].into(),
        }
    }

    /// The same for what is kept as it was decoded: nothing is copied.
    fn times(&mut self, path: &str, rows: usize) -> Column<u64> {
        let leaf = self.group.file.leaf(path).and_then(|leaf| self.group.leaves.remove(&leaf));
        match leaf.and_then(Arc::into_inner) {
            Some(Leaf { values: Values::Ints(values), .. }) if values.len() == rows => {
                values.into_iter().map(i64::cast_unsigned).collect::<Vec<u64>>().into()
            }
            _ => vec![0; rows].into(),
        }
    }

    fn counts(&self, path: &str, rows: usize) -> Column<u32> {
        match self.leaf(path) {
            Some(leaf) if leaf.ints().len() == rows && leaf.ints().iter().any(|count| *count != 0) => {
                leaf.ints().iter().map(|count| *count as u32).collect()
            }
            _ => Vec::new().into(),
        }
    }

    /// A required column of strings.
    pub(super) fn texts(&mut self, path: &str, rows: usize) -> Column<StrId> {
        let leaf = self.leaf(path);
        let Some((ids, dictionary)) = leaf.as_deref().and_then(Leaf::bytes) else {
            return vec![0; rows].into();
        };
        // All of a dictionary at once, unless only a few of its entries are asked for.
        let mut texts: Vec<StrId> = if dictionary.len() <= rows {
            let all: Vec<StrId> = dictionary.iter().map(|text| self.strings.intern(text)).collect();
            ids.iter().take(rows).map(|id| all[*id as usize]).collect()
        } else {
            ids.iter().take(rows).map(|id| self.strings.intern(dictionary.get(*id as usize))).collect()
        };
        texts.resize(rows, 0);
        texts.into()
    }

    /// A required column of span ids.
    fn ids(&self, path: &str, rows: usize) -> Column<u64> {
        let leaf = self.leaf(path);
        let Some((ids, dictionary)) = leaf.as_deref().and_then(Leaf::bytes) else {
            return vec![0; rows].into();
        };
        let id = |bytes: &[u8]| match <[u8; 8]>::try_from(bytes) {
            Ok(bytes) => u64::from_be_bytes(bytes),
            Err(_) => bytes.iter().fold(0, |id, byte| id << 8 | u64::from(*byte)),
        };
        (0..rows).map(|row| ids.get(row).map_or(0, |at| id(dictionary.get(*at as usize)))).collect()
    }

    fn traces(&mut self, columns: Columns) {
        let rows = self.group.rows();
        let leaf = self.leaf("TraceID");
        let id = |row: usize| {
            if let Some(ids) = &self.group.ids {
                let row = self
                    .group
                    .rows
                    .as_ref()
                    .map_or(Some(row), |rows| rows.get(row).map(|row| *row as usize))?;
                return ids.get(row).copied();
            }
            let (ids, dictionary) = leaf.as_deref().and_then(Leaf::bytes)?;
            let bytes = dictionary.get(*ids.get(row)? as usize);
            trackway_common::TraceId::from_bytes(bytes)
        };
        let ids: Vec<u128> = (0..rows).map(|row| id(row).unwrap_or_default().0).collect();
        self.batch.traces.id_high = ids.iter().map(|id| (id >> 64) as u64).collect();
        self.batch.traces.id_low = ids.iter().map(|id| *id as u64).collect();
        if columns.has(Columns::TRACE_TIMES) {
            self.batch.traces.start = self.times("StartTimeUnixNano", rows);
            self.batch.traces.end = self.times("EndTimeUnixNano", rows);
        }
        if columns.has(Columns::TRACE_ROOT) {
            self.batch.traces.root_service = self.texts("RootServiceName", rows);
            self.batch.traces.root_name = self.texts("RootSpanName", rows);
        }
    }

    /// What is said of traces and stands behind their spans, or is counted from them.
    fn finish_traces(&mut self, columns: Columns) {
        match &self.layout().stats {
            Some(stats) if columns.has(Columns::TRACE_STATS) => self.stats(stats),
            None if columns.has(Columns::TRACE_STATS) => self.count_stats(),
            _ => {}
        }
    }

    fn stats(&mut self, leaves: &StatsLeaves) {
        let Some(keys) = self.leaf(leaves.service) else { return };
        let mut trace = u32::MAX;
        let mut traces = Vec::new();
        for (rep, def) in keys.rep.iter().zip(&keys.def) {
            trace = trace.wrapping_add(u32::from(*rep == 0));
            if *def >= 1 {
                traces.push(trace);
            }
        }
        let rows = traces.len();
        self.batch.traces.stats.trace = traces.into();
        self.batch.traces.stats.service = self.texts(leaves.service, rows);
        let count = |value: i64| value as u32;
        self.batch.traces.stats.spans = self.numbers(leaves.spans, rows, count);
        self.batch.traces.stats.errors = self.numbers(leaves.errors, rows, count);
    }

    fn owners(&mut self, columns: Columns) {
        let (resources, scopes) = (self.batch.resources.service.len(), self.batch.scopes.resource.len());
        let layout = self.layout();
        let resource = |name: &str| layout.path(Level::Resource, name);
        let scope = |name: &str| layout.path(Level::Scope, name);
        let dropped = "DroppedAttributesCount";
        self.batch.resources.dropped_attributes = self.counts(&resource(dropped), resources);
        self.batch.scopes.dropped_attributes = self.counts(&scope(dropped), scopes);
        let (service, name, version) = (resource("ServiceName"), scope("Name"), scope("Version"));
        if columns.has(Columns::SERVICE) {
            self.batch.resources.service = self.texts(&service, resources);
        }
        self.batch.scopes.name = self.texts(&name, scopes);
        self.batch.scopes.version = self.texts(&version, scopes);
    }

    fn spans(&mut self, columns: Columns) {
        let rows = self.batch.len();
        let layout = self.layout();
        let span = |name: &str| layout.path(Level::Span, name);
        if columns.has(Columns::ID) {
            self.batch.spans.id = self.ids(&span("SpanID"), rows);
        }
        if columns.has(Columns::PARENT) {
            self.batch.spans.parent = self.ids(&span("ParentSpanID"), rows);
        }
        if columns.has(Columns::NAME) {
            self.batch.spans.name = self.texts(&span("Name"), rows);
        }
        if columns.has(Columns::KIND) {
            self.batch.spans.kind = self.numbers(&span("Kind"), rows, small);
        }
        if columns.has(Columns::STATUS_MESSAGE) {
            self.batch.spans.status_message = self.texts(&span("StatusMessage"), rows);
        }
        if columns.has(Columns::START) {
            self.batch.spans.start = self.times(&span("StartTimeUnixNano"), rows);
        }
        if columns.has(Columns::DURATION) {
            self.batch.spans.duration = self.times(&span("DurationNano"), rows);
        }
        if columns.has(Columns::NESTED_SET) {
            let number = |value: i64| value as i32;
            self.batch.spans.nested_left = self.numbers(&span("NestedSetLeft"), rows, number);
            self.batch.spans.nested_right = self.numbers(&span("NestedSetRight"), rows, number);
            self.batch.spans.nested_parent = self.numbers(&span("ParentID"), rows, number);
        }
        if columns.has(Columns::REST) {
            self.batch.spans.trace_state = self.texts(&span("TraceState"), rows);
            self.batch.spans.dropped_attributes = self.counts(&span("DroppedAttributesCount"), rows);
            self.batch.spans.dropped_events = self.counts(&span("DroppedEventsCount"), rows);
            self.batch.spans.dropped_links = self.counts(&span("DroppedLinksCount"), rows);
        }
    }

    /// The span of each event or link, by the levels of one of its leaves.
    fn child_owners(&self, leaf: &str) -> Column<u32> {
        let Some(leaf) = self.leaf(leaf) else { return Vec::new().into() };
        let (mut span, mut owners) = (u32::MAX, Vec::new());
        for (rep, def) in leaf.rep.iter().zip(&leaf.def) {
            if *rep <= 3 && *def >= 3 {
                span = span.wrapping_add(1);
            }
            if *def >= 4 {
                owners.push(span);
            }
        }
        owners.into()
    }

    fn children(&mut self, columns: Columns) -> Result<(), ReadError> {
        let layout = self.layout();
        if columns.has(Columns::EVENTS) {
            let event = |name: &str| layout.path(Level::Event, name);
            let time = event(layout.event_time);
            self.batch.events.span = self.child_owners(&time);
            let rows = self.batch.events.span.len();
            self.batch.events.since_start = self.times(&time, rows);
            if layout.event_time_absolute {
                self.since_start();
            }
            self.batch.events.name = self.texts(&event("Name"), rows);
            self.batch.events.dropped_attributes = self.counts(&event("DroppedAttributesCount"), rows);
        }
        if columns.has(Columns::LINKS) {
            let link = |name: &str| layout.path(Level::Link, name);
            let trace_id = link("TraceID");
            self.batch.links.span = self.child_owners(&trace_id);
            let rows = self.batch.links.span.len();
            self.batch.links.trace_id = self.texts(&trace_id, rows);
            self.batch.links.span_id = self.texts(&link("SpanID"), rows);
            self.batch.links.trace_state = self.texts(&link("TraceState"), rows);
            self.batch.links.dropped_attributes = self.counts(&link("DroppedAttributesCount"), rows);
            if let Some(links) = layout.links_message {
                self.links_of_messages(&layout.path(Level::Span, links))?;
            }
        }
        let spans = self.batch.len() as u32;
        let stray = |owners: &Column<u32>| owners.iter().any(|span| *span >= spans);
        if stray(&self.batch.events.span) || stray(&self.batch.links.span) {
            return Err(self.group.structure("events or links of more spans than there are"));
        }
        Ok(())
    }
}

fn small(value: i64) -> u8 {
    u8::try_from(value).unwrap_or(0)
}
