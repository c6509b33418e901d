//! Segments: chunks of any number of tenants in one file on the local disk, written when memory runs short, read with
//! pread.
//!
//! ```text
//! file   = magic, version, then chunks
//! chunk  = header length u32, body length u64, CRC-32 of header and body u32, header, body
//! header = log id, tenant, spans, bytes, received, sequences, trace ids
//! body   = the span batch as Arrow IPC
//! ```
//! A file is complete before anything refers to it: it is written under another name, synced, then renamed.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trackway_common::{TenantId, TraceId};
use trackway_spans::{IpcError, SpanBatch, read_ipc, write_ipc};
use uuid::Uuid;

use crate::chunk::{Chunk, ChunkParts};

const MAGIC: &[u8; 8] = b"TWSEGMT\0";
const VERSION: u32 = 1;
const PREFIX: usize = 16;
/// A header larger than this is damage: 8,192 spans cannot have more traces and requests.
const HEADER_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// A segment that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The disk.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: String,
        /// What it said.
        source: std::io::Error,
    },
    /// A file that is not what it should be.
    #[error("{path}: {problem}")]
    Damaged {
        /// Which file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// A chunk that cannot be understood.
    #[error("{path}: {source}")]
    Batch {
        /// Which file.
        path: String,
        /// What is wrong.
        source: IpcError,
    },
}

/// An opened segment.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    file: File,
}

/// A chunk's place in a segment.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) file: Arc<SegmentFile>,
    offset: u64,
    length: u64,
}

impl Stored {
    pub(crate) fn read(&self) -> Result<SpanBatch, SegmentError> {
        let path = || self.file.path.display().to_string();
        let mut body = vec![0; usize::try_from(self.length).unwrap_or(usize::MAX)];
        self.file
            .file
            .read_exact_at(&mut body, self.offset)
            .map_err(|source| SegmentError::Io { path: path(), source })?;
        read_ipc(&body).map_err(|source| SegmentError::Batch { path: path(), source })
    }
}

/// Writes chunks that are in memory to a new segment, durably, and returns where each of them is.
pub(crate) fn write(
    path: &Path,
    log: Uuid,
    chunks: &[(TenantId, Arc<Chunk>)],
) -> Result<Vec<Stored>, SegmentError> {
    let failed = |source| SegmentError::Io { path: path.display().to_string(), source };
    let temporary = path.with_extension("tmp");
    let written = write_file(&temporary, path, log, chunks);
    let places = match written {
        Ok(places) => places,
        Err(error) => {
            // Whatever was written is of no use; that it may stay behind is not worth a second error.
            let _ = std::fs::remove_file(&temporary);
            return Err(error);
        }
    };
    std::fs::rename(&temporary, path).map_err(failed)?;
    if let Some(folder) = path.parent() {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    }
    let file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let file = Arc::new(SegmentFile { path: path.to_owned(), bytes, file });
    let stored = |(offset, length)| Stored { file: Arc::clone(&file), offset, length };
    Ok(places.into_iter().map(stored).collect())
}

fn write_file(
    temporary: &Path,
    path: &Path,
    log: Uuid,
    chunks: &[(TenantId, Arc<Chunk>)],
) -> Result<Vec<(u64, u64)>, SegmentError> {
    let failed = |source| SegmentError::Io { path: temporary.display().to_string(), source };
    let mut out = BufWriter::with_capacity(1 << 20, File::create(temporary).map_err(failed)?);
    out.write_all(MAGIC).map_err(failed)?;
    out.write_all(&VERSION.to_le_bytes()).map_err(failed)?;
    let mut offset = (MAGIC.len() + 4) as u64;
    let mut places = Vec::new();
    let mut body = Vec::new();
    for (tenant, chunk) in chunks {
        let header = encode_header(log, tenant, chunk);
        body.clear();
        let batch = chunk.load()?;
        write_ipc(&batch, &mut body)
            .map_err(|source| SegmentError::Batch { path: path.display().to_string(), source })?;
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&header);
        checksum.update(&body);
        let mut prefix = [0; PREFIX];
        prefix[..4].copy_from_slice(&(header.len() as u32).to_le_bytes());
        prefix[4..12].copy_from_slice(&(body.len() as u64).to_le_bytes());
        prefix[12..].copy_from_slice(&checksum.finalize().to_le_bytes());
        for part in [&prefix[..], &header, &body] {
            out.write_all(part).map_err(failed)?;
        }
        places.push((offset + (PREFIX + header.len()) as u64, body.len() as u64));
        offset += (PREFIX + header.len() + body.len()) as u64;
    }
    let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    Ok(places)
}

fn encode_header(log: Uuid, tenant: &TenantId, chunk: &Chunk) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend_from_slice(log.as_bytes());
    header.extend_from_slice(&(tenant.as_str().len() as u32).to_le_bytes());
    header.extend_from_slice(tenant.as_str().as_bytes());
    for number in [chunk.spans as u64, chunk.bytes as u64, chunk.received] {
        header.extend_from_slice(&number.to_le_bytes());
    }
    header.extend_from_slice(&(chunk.sequences.len() as u32).to_le_bytes());
    header.extend(chunk.sequences.iter().flat_map(|sequence| sequence.to_le_bytes()));
    header.extend_from_slice(&(chunk.ids.len() as u32).to_le_bytes());
    header.extend(chunk.ids.iter().flat_map(|id| id.to_bytes()));
    header
}

fn decode_header(bytes: &[u8]) -> Option<(Uuid, TenantId, ChunkParts)> {
    let mut rest = bytes;
    let mut take = |length: usize| {
        let (part, after) = rest.split_at_checked(length)?;
        rest = after;
        Some(part)
    };
    let log = Uuid::from_slice(take(16)?).ok()?;
    let length = |bytes: &[u8]| Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize);
    let tenant_length = length(take(4)?)?;
    let tenant = TenantId::new(std::str::from_utf8(take(tenant_length)?).ok()?).ok()?;
    let mut number = || Some(u64::from_le_bytes(take(8)?.try_into().ok()?));
    let (spans, size, received) = (number()?, number()?, number()?);
    let count = length(take(4)?)?;
    let (sequences, _) = take(count.checked_mul(8)?)?.as_chunks::<8>();
    let sequences = sequences.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    let count = length(take(4)?)?;
    let ids = take(count.checked_mul(16)?)?.chunks_exact(16).filter_map(TraceId::from_bytes).collect();
    let parts = ChunkParts {
        spans: usize::try_from(spans).ok()?,
        bytes: usize::try_from(size).ok()?,
        sequences,
        received,
        ids,
    };
    Some((log, tenant, parts))
}

/// A chunk found in a segment at start.
pub(crate) type Found = (Uuid, TenantId, ChunkParts, Stored);

/// Reads what is in a segment, and checks it. A chunk that is damaged is left out, with all that stands behind it when
/// its length cannot be trusted; the second value says what is wrong.
pub(crate) fn open(path: &Path) -> Result<(Vec<Found>, Option<String>), SegmentError> {
    let failed = |source| SegmentError::Io { path: path.display().to_string(), source };
    let file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let file = Arc::new(SegmentFile { path: path.to_owned(), bytes, file });
    let mut reader = &file.file;
    let mut start = [0; 12];
    reader.read_exact(&mut start).map_err(failed)?;
    if &start[..8] != MAGIC || start[8..] != VERSION.to_le_bytes() {
        let problem = "not a segment of this version; an older or newer Trackway can read it".to_owned();
        return Err(SegmentError::Damaged { path: path.display().to_string(), problem });
    }
    let (mut found, mut offset) = (Vec::new(), 12);
    let mut problem = None;
    while offset < bytes {
        match read_chunk(&file, offset) {
            Ok(Ok((chunk, next))) => {
                found.push(chunk);
                offset = next;
            }
            Ok(Err(next)) => {
                problem = Some(format!("the chunk at byte {offset} is damaged"));
                offset = next;
            }
            Err(_) => {
                problem = Some(format!("it ends in the middle of the chunk at byte {offset}"));
                break;
            }
        }
    }
    Ok((found, problem))
}

/// One chunk, or where the next one begins when this one is damaged.
fn read_chunk(file: &Arc<SegmentFile>, offset: u64) -> std::io::Result<Result<(Found, u64), u64>> {
    let mut prefix = [0; PREFIX];
    file.file.read_exact_at(&mut prefix, offset)?;
    let number = |range: std::ops::Range<usize>| {
        prefix[range].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let (header_length, length, checksum) = (number(0..4), number(4..12), number(12..16));
    let body_offset = offset + PREFIX as u64 + header_length;
    let end = body_offset.saturating_add(length);
    if header_length > u64::from(HEADER_BYTES_MAX) || end > file.bytes {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let mut bytes = vec![0; (header_length + length) as usize];
    file.file.read_exact_at(&mut bytes, offset + PREFIX as u64)?;
    let (header, _) = bytes.split_at(header_length as usize);
    let whole = u64::from(crc32fast::hash(&bytes)) == checksum;
    Ok(match decode_header(header) {
        Some((log, tenant, parts)) if whole => {
            let stored = Stored { file: Arc::clone(file), offset: body_offset, length };
            Ok(((log, tenant, parts, stored), end))
        }
        _ => Err(end),
    })
}
