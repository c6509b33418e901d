//! Where a sender stands in the log of samples, in memory and on disk, and the next record from there.
//!
//! What must stay true: what cannot be read of where it stood is sent twice rather than not at all; labels of a segment's
//! entities are known before the first record that is to be sent.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use trackway_remote_write::{Endpoint, Protocol};
use xxhash_rust::xxh3::xxh3_64;

use super::{Receiver, SendNumbers, all_of};
use crate::batch::{Known, Requests, Style, requests};
use crate::samples::{Position, ReadRecord, Reader, SampleLog, replace};

/// The file that says up to where a receiver has everything.
pub(super) fn sent_path(log: &SampleLog, endpoint: &Endpoint) -> PathBuf {
    // By its name alone: what waits goes to the right place when an address is mended.
    let id = xxh3_64(endpoint.name.as_bytes());
    log.folder().join(format!("sent-{id:016x}"))
}

/// Where a sender goes on: where it stood, or behind what there is when it is new. That is written down at once, so that
/// after a restart it is not new again, and nothing that waited for it is passed over.
pub(crate) fn where_it_stood(log: &SampleLog, endpoint: &Endpoint, end: Position) -> Position {
    let path = sent_path(log, endpoint);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(_) => Some(String::new()),
    };
    let is_new = text.is_none();
    let read = text.as_deref().and_then(|text| text.split_once(' ')).and_then(|(segment, offset)| {
        Some(Position { segment: segment.parse().ok()?, offset: offset.trim().parse().ok()? })
    });
    if let Some(known) = read.filter(|position| *position <= end) {
        return known;
    }
    // What cannot be read says nothing: rather twice than not at all.
    let end = if is_new { end } else { Position { segment: log.first_segment(), offset: 0 } };
    if let Err(error) = replace(&path, &text_of(end)) {
        tracing::warn!(path = %path.display(), %error, "where a receiver stands cannot be written");
    }
    end
}

/// What stands in that file.
pub(super) fn text_of(position: Position) -> String {
    format!("{} {}\n", position.segment, position.offset)
}

/// Where a sender is in the log.
pub(super) struct Place {
    pub(super) reader: Reader,
    pub(super) known: Known,
    pub(super) sent: Position,
    /// What lay in the log at the start: some of it may have been sent, without a note of it.
    pub(super) old: Position,
}

impl Place {
    /// For a sender that does not go on.
    pub(super) fn lost(log: &SampleLog) -> Self {
        let nowhere = Position::default();
        Self { reader: log.reader(nowhere), known: Known::default(), sent: nowhere, old: nowhere }
    }
}

/// [`Style`], for another thread.
pub(super) struct OwnedStyle {
    pub(super) receiver: Receiver,
    pub(super) protocol: Protocol,
    pub(super) external: Arc<BTreeMap<String, String>>,
    pub(super) trace_label: String,
    /// Samples from before are dropped, Unix milliseconds.
    pub(super) oldest_ms: i64,
    pub(super) numbers: Arc<SendNumbers>,
}

/// What the next record is.
pub(super) enum Read {
    Record(ReadRecord, Requests),
    /// Nothing to send: it was sent, or the segment is at its end.
    Other,
}

/// Reads the next record and makes requests of it. Blocks on I/O, and computes.
pub(super) fn read(place: &mut Place, until: Position, style: &OwnedStyle) -> io::Result<Read> {
    let segment = place.reader.segment();
    let end = if segment == until.segment { until.offset } else { u64::MAX };
    let Some(record) = place.reader.next(end)? else {
        if segment < until.segment {
            place.known.clear();
            place.reader.go_to(segment + 1);
        } else {
            // Damaged: what is behind it is not read in this segment.
            place.sent = until;
        }
        return Ok(Read::Other);
    };
    if record.is_first {
        place.known.clear();
    }
    if record.position <= place.sent {
        place.known.pass(&record.payload);
        return Ok(Read::Other);
    }
    let of = Style {
        endpoint: &style.receiver.endpoint,
        relabel: &style.receiver.relabel,
        protocol: style.protocol,
        external: &style.external,
        trace_label: &style.trace_label,
    };
    let Some(mut requests) = requests(&record.payload, record.samples, &mut place.known, of) else {
        return Err(io::Error::other("a newer version wrote this record"));
    };
    if requests.time_ms < style.oldest_ms {
        let dropped = requests.shards.drain(..).flatten().map(|request| all_of(&request)).sum();
        style.numbers.too_old.fetch_add(dropped, Ordering::Relaxed);
    }
    Ok(Read::Record(record, requests))
}
