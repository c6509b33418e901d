//! Merges blocks into one file, in memory that does not depend on how large they are.
//!
//! Inputs are read side by side in the order of trace ids. What all of them have up to some trace is written as a row group
//! on a thread of its own, while more is being read. The fragments of a trace are joined, and copies of a span that lie in
//! several inputs fall together.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

use futures::future::try_join_all;
use tokio::sync::mpsc;
use trackway_common::{TenantId, TraceId};
use trackway_spans::{SpanBatch, merge_places, merge_traces};
use trackway_storage::{BlockReader, StoreError};
use trackway_vparquet::meta::BlockMeta;
use trackway_vparquet::{BlockStream, Part, WriteError, WriteOptions, Written};
use uuid::Uuid;

use crate::cursor::{Cursor, Held};

/// Inputs that are read at once.
const READS_AT_ONCE: usize = 2;
/// Row groups that wait for being written.
const WAITING_MAX: usize = 1;

/// Spans of an input's row group at the most. Pieces are cut between traces, so in a larger one a single trace may be larger
/// than memory; no writer makes such row groups of traces of a usual size.
pub const INPUT_SPANS_MAX: usize = 1_000_000;

/// A merge that did not come to an end.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// An input that cannot be read.
    #[error("block {block}: {source}")]
    Input {
        /// Which one.
        block: Uuid,
        /// What is wrong with it.
        source: Box<StoreError>,
    },
    /// Traces that may be too large to be merged in memory.
    #[error("block {block}: it has a row group of {spans} spans, which is too large to compact")]
    TooLarge {
        /// Which one.
        block: Uuid,
        /// Spans of the row group.
        spans: usize,
    },
    /// The result cannot be written.
    #[error("{path}: {source}")]
    Output {
        /// Where to.
        path: String,
        /// What is wrong.
        source: WriteError,
    },
    /// The file for the result cannot be made.
    #[error("{path}: {source}")]
    File {
        /// Where to.
        path: String,
        /// What is wrong.
        source: std::io::Error,
    },
    /// The work was stopped, or failed in a way that the log tells.
    #[error("the merge was interrupted")]
    Interrupted,
}

impl MergeError {
    /// The input that is to blame, if it will be the next time, too.
    pub fn poison(&self) -> Option<Uuid> {
        match self {
            Self::TooLarge { block, .. } => Some(*block),
            Self::Input { block, source }
                if source.is_not_found() || matches!(**source, StoreError::Damaged { .. }) =>
            {
                Some(*block)
            }
            _ => None,
        }
    }
}

/// What was merged.
#[derive(Debug)]
pub struct Merged {
    /// The new file.
    pub written: Written,
    /// Traces that lay in several inputs.
    pub combined: u64,
    /// Copies of spans that were left out.
    pub copies: u64,
}

/// What becomes row groups.
struct RowGroup {
    parts: Vec<(Arc<SpanBatch>, Vec<bool>)>,
    joined: Option<SpanBatch>,
}

/// Merges blocks into a file. An input with a row group of more than `input_spans_max` spans ([`INPUT_SPANS_MAX`]) is
/// refused.
///
/// # Errors
/// [`MergeError`]; what lies in the file then is of no use.
pub async fn merge(
    reader: &BlockReader,
    tenant: &TenantId,
    inputs: &[Arc<BlockMeta>],
    (options, input_spans_max): (&WriteOptions, usize),
    path: &Path,
) -> Result<Merged, MergeError> {
    let traces = inputs.iter().map(|meta| meta.total_objects).sum();
    let (send, receive) = mpsc::channel(WAITING_MAX);
    let writer = {
        let (options, path) = (options.clone(), path.to_owned());
        tokio::task::spawn_blocking(move || write(&options, traces, &path, receive))
    };
    let opened = inputs.iter().map(|meta| Cursor::open(reader, tenant, meta, input_spans_max));
    let read = match try_join_all(opened).await {
        Ok(cursors) => read(reader, cursors, options.row_group_spans_max, send).await,
        Err(error) => {
            drop(send);
            Err(error)
        }
    };
    let written = writer.await.map_err(|_| MergeError::Interrupted)?;
    // When the writer fails, the reader only knows that nobody listens any more.
    match (read, written) {
        (Err(MergeError::Interrupted), Err(error)) | (Ok(_), Err(error)) | (Err(error), _) => Err(error),
        (Ok((combined, copies)), Ok(written)) => Ok(Merged { written, combined, copies }),
    }
}

async fn read(
    reader: &BlockReader,
    mut cursors: Vec<Cursor>,
    spans_max: usize,
    send: mpsc::Sender<RowGroup>,
) -> Result<(u64, u64), MergeError> {
    let (mut combined, mut copies) = (0, 0);
    loop {
        // Before the next row group is read, the one before the last must be written: two are in memory at the most.
        let turn = send.reserve().await.map_err(|_| MergeError::Interrupted)?;
        let bound = advance(&mut cursors, spans_max).await?;
        let Some(bound) = bound else { return Ok((combined, copies)) };
        let places: Vec<Vec<Held>> =
            cursors.iter().map(|cursor| cursor.held.iter().cloned().collect()).collect();
        let gathered = reader.cpu().run(move || gather(&places, bound)).await;
        let (row_group, of_several, left_out) = gathered.ok_or(MergeError::Interrupted)?;
        combined += of_several;
        copies += left_out;
        turn.send(row_group);
        cursors.iter_mut().for_each(|cursor| cursor.release(bound));
    }
}

/// Reads on until there is enough for a row group, and returns its last trace; `None` when there is nothing left. Of a
/// trace that takes several rows there may be more to come.
async fn advance(cursors: &mut [Cursor], spans_max: usize) -> Result<Option<TraceId>, MergeError> {
    loop {
        let open = cursors.iter().filter(|cursor| !cursor.is_done());
        // What an input has not shown yet is not known. None is less than all others.
        match open.map(|cursor| cursor.last).min() {
            Some(Some(bound)) => {
                let spans: usize = cursors.iter().map(|cursor| cursor.spans_due(bound)).sum();
                if spans >= spans_max {
                    return Ok(Some(bound));
                }
            }
            Some(None) => {}
            None => {
                let last =
                    cursors.iter().filter(|cursor| !cursor.held.is_empty()).filter_map(|cursor| cursor.last);
                return Ok(last.max());
            }
        }
        let mut behind: Vec<&mut Cursor> = cursors.iter_mut().filter(|cursor| !cursor.is_done()).collect();
        behind.sort_by_key(|cursor| cursor.last);
        try_join_all(behind.into_iter().take(READS_AT_ONCE).map(Cursor::advance)).await?;
    }
}

/// What is to be written of the traces up to one, how many of them lie in several pieces, and how many copies were left
/// out.
fn gather(places: &[Vec<Held>], bound: TraceId) -> (RowGroup, u64, u64) {
    let due = |held: &Held| held.batch.traces.ids().map(|id| held.is_due(id, bound)).collect::<Vec<bool>>();
    let due_in: Vec<Vec<Vec<bool>>> = places.iter().map(|place| place.iter().map(due).collect()).collect();
    let pieces = || places.iter().flatten().zip(due_in.iter().flatten());
    let due_ids = |(held, due): (&Held, &Vec<bool>)| {
        let ids = held.batch.traces.ids().zip(due).filter(|(_, due)| **due);
        ids.map(|(id, _)| id).collect::<Vec<TraceId>>()
    };
    let mut ids: Vec<TraceId> = pieces().flat_map(due_ids).collect();
    ids.sort_unstable();
    let pairs = ids.windows(2).filter(|pair| pair[0] == pair[1]);
    let mut several: Vec<TraceId> = pairs.map(|pair| pair[0]).collect();
    several.dedup();
    let is_alone = |id: TraceId| several.binary_search(&id).is_err();
    let mut parts = Vec::new();
    let mut spans_of_several = 0;
    for (held, due) in pieces() {
        let batch = &held.batch;
        let keep: Vec<bool> = batch.traces.ids().zip(due).map(|(id, due)| *due && is_alone(id)).collect();
        if !several.is_empty() {
            let joined: Vec<bool> =
                batch.traces.ids().zip(due).map(|(id, due)| *due && !is_alone(id)).collect();
            spans_of_several += batch.spans.trace.iter().filter(|trace| joined[**trace as usize]).count();
        }
        if keep.contains(&true) {
            parts.push((Arc::clone(batch), keep));
        }
    }
    let joined = (!several.is_empty()).then(|| join(places, &several, bound));
    let copies = spans_of_several - joined.as_ref().map_or(0, SpanBatch::len);
    (RowGroup { parts, joined }, several.len() as u64, copies as u64)
}

/// Joins traces (at least one) from all pieces in which they are due.
fn join(places: &[Vec<Held>], several: &[TraceId], bound: TraceId) -> SpanBatch {
    let joined = |ids: &[TraceId], left_out: &dyn Fn(&Held) -> bool| {
        let batches = |place: &Vec<Held>| {
            place.iter().filter(|held| !left_out(held)).map(|held| Arc::clone(&held.batch)).collect()
        };
        let places: Vec<Vec<Arc<SpanBatch>>> = places.iter().map(batches).collect();
        let places: Vec<Vec<&SpanBatch>> =
            places.iter().map(|place| place.iter().map(AsRef::as_ref).collect()).collect();
        let places: Vec<&[&SpanBatch]> = places.iter().map(AsRef::as_ref).collect();
        merge_places(&places, ids)
    };
    let (first, rest) = several.split_at(1);
    // Only the first one may be written in part: all below it are written whole, and nothing above it is.
    let is_written = |held: &Held| held.has(first[0]) && !held.is_due(first[0], bound);
    if !places.iter().flatten().any(is_written) {
        return joined(several, &|_| false);
    }
    let (first, rest) = (joined(first, &is_written), joined(rest, &|_| false));
    merge_traces(&[&first, &rest], several)
}

fn write(
    options: &WriteOptions,
    traces: u64,
    path: &Path,
    mut receive: mpsc::Receiver<RowGroup>,
) -> Result<Written, MergeError> {
    let file = |source| MergeError::File { path: path.display().to_string(), source };
    let output = |source| MergeError::Output { path: path.display().to_string(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(file)?;
    }
    let sink = BufWriter::with_capacity(1 << 20, File::create(path).map_err(file)?);
    let mut stream = BlockStream::new(options, traces, sink).map_err(output)?;
    while let Some(RowGroup { parts, joined }) = receive.blocking_recv() {
        let parts = parts.iter().map(|(batch, keep)| Part { batch, keep: Some(keep) });
        let parts: Vec<Part<'_>> = parts.chain(joined.as_ref().map(Part::whole)).collect();
        stream.add(&parts).map_err(output)?;
    }
    stream.finish().map_err(output)
}
