//! Fills in what is about whole traces, once all spans of them stand in one batch.

use trackway_spans::{NestedSet, ServiceStats, SpanBatch, nested_sets, shapes_of};

/// Computes start, end, root, service counts and nested sets of every trace of a batch in which spans are grouped by
/// trace and ordered by start and id, as [`trackway_spans::merge_traces`] leaves them.
pub fn complete_traces(batch: &mut SpanBatch) {
    let traces = batch.traces.len();
    let (mut start, mut end) = (vec![0; traces], vec![0; traces]);
    let (mut root_service, mut root_name) = (vec![0; traces], vec![0; traces]);
    let mut sets = vec![NestedSet::default(); batch.len()];
    let mut stats: Vec<(u32, u32, u32, u32)> = Vec::new();
    let rows: Vec<u32> = (0..batch.len() as u32).collect();
    for rows in rows.chunk_by(|a, b| batch.spans.trace[*a as usize] == batch.spans.trace[*b as usize]) {
        let Some(first) = rows.first() else { continue };
        let trace = batch.spans.trace[*first as usize];
        let shape = shapes_of(batch, rows);
        start[trace as usize] = shape.start;
        end[trace as usize] = shape.end;
        if let Some(root) = shape.root {
            root_service[trace as usize] = batch.resources.service[batch.resource_of(root as usize)];
            root_name[trace as usize] = batch.spans.name[root as usize];
        }
        stats.extend(
            shape.services.into_iter().map(|(service, spans, errors)| (trace, service, spans, errors)),
        );
        for (row, set) in rows.iter().zip(nested_sets(batch, rows)) {
            sets[*row as usize] = set;
        }
    }
    stats.sort_unstable();
    batch.traces.start = start.into();
    batch.traces.end = end.into();
    batch.traces.root_service = root_service.into();
    batch.traces.root_name = root_name.into();
    batch.traces.stats = ServiceStats {
        trace: stats.iter().map(|row| row.0).collect(),
        service: stats.iter().map(|row| row.1).collect(),
        spans: stats.iter().map(|row| row.2).collect(),
        errors: stats.iter().map(|row| row.3).collect(),
    };
    batch.spans.nested_left = sets.iter().map(|set| set.left).collect();
    batch.spans.nested_right = sets.iter().map(|set| set.right).collect();
    batch.spans.nested_parent = sets.iter().map(|set| set.parent).collect();
}
