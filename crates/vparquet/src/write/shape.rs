//! The shape of one row group: its traces, their resources, scopes and spans in the order of the file, and what is said
//! of traces as a whole.
//!
//! Within a trace spans stand by resource, then scope, then start and id; resources and scopes have the order of
//! [`Owners`]. What a whole trace says (root, extent, services, nested sets) is computed here, where all of its spans
//! are together for the first time.

use std::ops::Range;

use trackway_spans::{NestedSet, TreeSpan, effective_duration, nested_sets_of};

use super::chunks::Chunk;
use super::order::{Order, SpanRef};
use super::owners::Owners;
use super::texts::{TextId, Texts};

const STATUS_ERROR: u8 = 2;

/// Entries of one nesting level: which thing each is, at which repetition level, and where the rows begin (one more at
/// the end).
#[derive(Default)]
pub(crate) struct Entries<T> {
    pub(crate) of: Vec<T>,
    pub(crate) rep: Vec<u8>,
    pub(crate) rows: Vec<u32>,
}

impl<T> Entries<T> {
    pub(crate) fn push(&mut self, of: T, rep: u8) {
        self.of.push(of);
        self.rep.push(rep);
    }

    /// Begins a row, or ends the last one.
    pub(crate) fn row(&mut self) {
        self.rows.push(self.rep.len() as u32);
    }
}

/// Columns about traces.
#[derive(Default)]
pub(crate) struct TraceColumns {
    pub(crate) ids: Vec<u128>,
    pub(crate) start: Vec<u64>,
    pub(crate) end: Vec<u64>,
    pub(crate) duration: Vec<u64>,
    pub(crate) root_service: Vec<TextId>,
    pub(crate) root_name: Vec<TextId>,
    /// Services, with their spans and errors.
    pub(crate) services: Entries<TextId>,
    pub(crate) service_spans: Vec<u32>,
    pub(crate) service_errors: Vec<u32>,
}

/// Columns about spans that take a whole trace to compute, or were read on the way.
#[derive(Default)]
pub(crate) struct SpanColumns {
    pub(crate) id: Vec<u64>,
    pub(crate) parent: Vec<u64>,
    pub(crate) start: Vec<u64>,
    pub(crate) duration: Vec<u64>,
    pub(crate) kind: Vec<u8>,
    pub(crate) status: Vec<u8>,
    pub(crate) left: Vec<i32>,
    pub(crate) right: Vec<i32>,
    pub(crate) nested_parent: Vec<i32>,
    pub(crate) children: Vec<i32>,
}

/// The shape of one row group.
#[derive(Default)]
pub(crate) struct Shape {
    pub(crate) traces: TraceColumns,
    /// Numbers in [`Owners`].
    pub(crate) resources: Entries<u32>,
    /// Numbers in [`Owners`].
    pub(crate) scopes: Entries<u32>,
    pub(crate) spans: Entries<SpanRef>,
    pub(crate) columns: SpanColumns,
}

/// A span of the trace that is being laid out.
#[derive(Clone, Copy)]
struct Laid {
    at: SpanRef,
    tree: TreeSpan,
    duration: u64,
    scope: u32,
    status: u8,
}

impl Shape {
    pub(crate) fn new(
        chunks: &[Chunk<'_>],
        order: &Order,
        traces: Range<usize>,
        owners: &Owners,
        texts: &Texts<'_>,
    ) -> Self {
        let mut shape = Self::default();
        let mut laid = Vec::new();
        for trace in traces {
            laid.clear();
            laid.extend(order.spans_of(trace).iter().map(|at| lay(chunks, *at, owners)));
            laid.sort_unstable_by_key(|span| (span.tree.start, span.tree.id, span.at.chunk, span.at.row));
            shape.begin_row();
            shape.traces.ids.push(order.traces[trace]);
            shape.trace(chunks, &laid, owners, texts);
        }
        shape.begin_row();
        shape
    }

    /// Begins a row, or ends the last one.
    fn begin_row(&mut self) {
        self.traces.services.row();
        self.resources.row();
        self.scopes.row();
        self.spans.row();
    }

    /// `laid` is ordered by start and id.
    fn trace(&mut self, chunks: &[Chunk<'_>], laid: &[Laid], owners: &Owners, texts: &Texts<'_>) {
        self.whole_trace(chunks, laid, owners, texts);
        let tree: Vec<TreeSpan> = laid.iter().map(|span| span.tree).collect();
        let sets = nested_sets_of(&tree);
        let mut by_scope: Vec<(u32, u32)> = laid.iter().map(|span| span.scope).zip(0..).collect();
        by_scope.sort_unstable();
        let first_service = self.traces.services.of.len();
        let mut last: Option<(u32, u32)> = None;
        for (scope, at) in by_scope {
            let (span, set) = (&laid[at as usize], sets[at as usize]);
            let resource = owners.scopes[scope as usize].resource;
            let rep = match last {
                None => 0,
                Some((other, _)) if other != resource => 1,
                Some((_, other)) if other != scope => 2,
                Some(_) => 3,
            };
            last = Some((resource, scope));
            if rep <= 1 {
                self.resources.push(resource, rep);
                self.service(owners.resources[resource as usize].service, first_service);
            }
            if rep <= 2 {
                self.scopes.push(scope, rep);
            }
            self.span(span, set, rep);
        }
    }

    /// What is said of the trace as a whole.
    fn whole_trace(&mut self, chunks: &[Chunk<'_>], laid: &[Laid], owners: &Owners, texts: &Texts<'_>) {
        let end = |span: &Laid| span.tree.start.saturating_add(effective_duration(span.duration));
        let start = laid.first().map_or(0, |span| span.tree.start);
        let end = laid.iter().map(end).max().unwrap_or(start);
        self.traces.start.push(start);
        self.traces.end.push(end);
        self.traces.duration.push(end - start);
        // As in `trackway_spans::root_span`: of those without a parent the one that starts last.
        let root = laid.iter().rfind(|span| span.tree.parent == 0);
        let name = |span: &Laid| {
            let chunk = span.at.chunk as usize;
            texts.number_of(chunk, chunks[chunk].batch.spans.name[span.at.row as usize])
        };
        self.traces.root_service.push(root.map_or(0, |span| owners.service_of(span.scope)));
        self.traces.root_name.push(root.map_or(0, name));
    }

    /// Begins to count the spans of a service, unless the last resource was of the same: resources come in the order of
    /// their services. `first` is where the services of the trace begin.
    fn service(&mut self, service: TextId, first: usize) {
        let services = &mut self.traces.services;
        if services.of[first..].last() != Some(&service) {
            let rep = u8::from(services.of.len() > first);
            services.push(service, rep);
            self.traces.service_spans.push(0);
            self.traces.service_errors.push(0);
        }
    }

    fn span(&mut self, span: &Laid, set: NestedSet, rep: u8) {
        if let Some(spans) = self.traces.service_spans.last_mut() {
            *spans += 1;
        }
        if let Some(errors) = self.traces.service_errors.last_mut() {
            *errors += u32::from(span.status == STATUS_ERROR);
        }
        self.spans.push(span.at, rep);
        let columns = &mut self.columns;
        columns.id.push(span.tree.id);
        columns.parent.push(span.tree.parent);
        columns.start.push(span.tree.start);
        columns.duration.push(span.duration);
        columns.kind.push(span.tree.kind);
        columns.status.push(span.status);
        columns.left.push(set.left);
        columns.right.push(set.right);
        columns.nested_parent.push(set.parent);
        columns.children.push(set.children);
    }
}

fn lay(chunks: &[Chunk<'_>], at: SpanRef, owners: &Owners) -> Laid {
    let (spans, row) = (&chunks[at.chunk as usize].batch.spans, at.row as usize);
    Laid {
        at,
        tree: TreeSpan {
            id: spans.id[row],
            parent: spans.parent[row],
            start: spans.start[row],
            kind: spans.kind[row],
        },
        duration: spans.duration[row],
        scope: owners.scope_of(at.chunk as usize, spans.scope[row]),
        status: spans.status[row],
    }
}
