//! Any query that parses and passes the check is planned and runs over the spans of a recorded block, as a search and as
//! series: with an answer or a clear error, never with a panic.
#![no_main]

use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use trackway_engine::metrics::{Intervals, MetricsPlan, Partial};
use trackway_engine::{SearchPlan, Selection, Wholeness, complete_traces};
use trackway_spans::{Columns, Needs, SpanBatch, merge_traces};
use trackway_vparquet::meta::{Format, default_dedicated_columns};
use trackway_vparquet::{BlockFile, Bytes, Read, RowGroup};

static BLOCK: &[u8] =
    include_bytes!("../../tests/golden/v4/single-tenant/728a1849-365c-4c4b-beef-cd37283c2b4d/data.parquet");
const TRACES: usize = 60;

/// Some traces of the block, whole: the first ones, and the last, where the odd ones are.
fn batch() -> &'static SpanBatch {
    static BATCH: OnceLock<SpanBatch> = OnceLock::new();
    BATCH.get_or_init(|| {
        let file = Bytes::from_static(BLOCK);
        let Read::Ready(opened) =
            BlockFile::open(&file, file.len() as u64, &default_dedicated_columns(Format::VParquet4)).expect("a block")
        else {
            panic!("the whole file was given")
        };
        let mut group = RowGroup::new(&Arc::clone(&opened), 0);
        group.fetched().add(0, file);
        let mut needs = Needs::everything();
        needs.add(Columns::TRACE_TIMES);
        let Read::Ready(all) = group.load(&needs).expect("a row group") else {
            panic!("the whole file was given")
        };
        let ids: Vec<_> = all.traces.ids().collect();
        let wanted: Vec<_> =
            ids.iter().take(TRACES / 2).chain(ids.iter().rev().take(TRACES / 2)).copied().collect();
        let mut batch = merge_traces(&[&all], &wanted);
        complete_traces(&mut batch);
        batch
    })
}

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(query) = trackway_traceql::parse(text) else { return };
    let batch = batch();
    if let Ok(plan) = SearchPlan::new(&query, None) {
        let _ = plan.scan(batch, Wholeness::Fragments);
        let _ = plan.scan(batch, Wholeness::Whole(None));
        let _ = plan.judge(batch, None, 3);
    }
    let Some(pipeline) = &query.metrics else { return };
    let (Some(start), Some(end)) = (batch.spans.start.iter().min(), batch.spans.start.iter().max()) else {
        return;
    };
    let time = Intervals::range(start.saturating_sub(1), end + 1, 30_000_000_000);
    let (Ok(selection), Ok(plan)) = (Selection::new(&query), MetricsPlan::new(pipeline, time, 10)) else {
        return;
    };
    let Ok(selected) = selection.mask(batch, None) else { return };
    let mut partial = Partial::default();
    if plan.observe(batch, &selected, &mut partial).is_ok() {
        let _ = plan.finish(partial, 1_000);
    }
});
