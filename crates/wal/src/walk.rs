//! Goes through one file of the log, record by record, and finds the next whole one behind a damaged one.
//!
//! What must stay true: memory is bounded by one record; nothing is ever reported as a record whose checksums do not
//! match; and a flipped bit costs the record that it lies in, no other.

use std::io;
use std::ops::Range;

use trackway_common::TenantId;

use crate::format::{FILE_HEADER, FileHeader, Parsed, RECORD_HEADER, RECORD_MAGIC, RecordHeader};
use crate::{RecordRef, StoredFile};

/// How much is read at once; also what stays in memory when no record is larger.
const CHUNK: usize = 1 << 20;

/// What comes next in a file.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    Record(RecordRef<'a>),
    /// These bytes are not what was written.
    Damaged(Range<u64>),
    /// The file ends in the middle of a record, or in zeros: what a crash leaves behind.
    Torn(Range<u64>),
    Newer(u16),
    End,
}

#[derive(Debug)]
pub(crate) struct Walk {
    window: Window,
    at: u64,
    /// Who wrote the file; not known if its header is damaged, then the first record says.
    nonce: Option<u64>,
    tenant: TenantId,
    refused: Vec<u32>,
}

impl Walk {
    /// Reads the first `end` bytes of a file.
    pub(crate) fn new(file: Box<dyn StoredFile>, end: u64) -> Self {
        let window = Window { file, end, bytes: Vec::new(), start: 0, filled: 0 };
        Self { window, at: 0, nonce: None, tenant: TenantId::single(), refused: Vec::new() }
    }

    /// Where the next thing starts.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Goes on at a place where an earlier walk of this file stood.
    pub(crate) fn seek(&mut self, at: u64) -> io::Result<()> {
        if let FileHeader::Valid { nonce } = FileHeader::decode(self.window.get(0, FILE_HEADER)?) {
            self.nonce = Some(nonce);
        }
        self.at = at;
        Ok(())
    }

    /// The file, to copy damaged ranges from.
    pub(crate) fn file(&self) -> &dyn StoredFile {
        &*self.window.file
    }

    /// The next thing in the file.
    pub(crate) fn next(&mut self) -> io::Result<Found<'_>> {
        let end = self.window.end;
        if self.at >= end {
            return Ok(Found::End);
        }
        if self.at == 0 {
            let header = FILE_HEADER as u64;
            let found = self.window.get(0, FILE_HEADER)?;
            if found.len() < FILE_HEADER {
                self.at = end;
                return Ok(Found::Torn(0..end));
            }
            self.at = header;
            match FileHeader::decode(found) {
                FileHeader::Valid { nonce } => self.nonce = Some(nonce),
                FileHeader::Newer(version) => return Ok(Found::Newer(version)),
                // All zeros: nothing of the file got to the disk.
                FileHeader::Damaged if self.window.is_zero(0)? => {
                    self.at = end;
                    return Ok(Found::Torn(0..end));
                }
                FileHeader::Damaged => return Ok(Found::Damaged(0..header)),
            }
            if self.at >= end {
                return Ok(Found::End);
            }
        }
        match self.header(self.at)? {
            Parsed::Valid(header) => self.record(&header),
            Parsed::Newer(version) => Ok(Found::Newer(version)),
            Parsed::Invalid => self.skip(),
        }
    }

    fn header(&mut self, at: u64) -> io::Result<Parsed> {
        let bytes = self.window.get(at, RECORD_HEADER)?;
        Ok(RecordHeader::decode(bytes, at, self.nonce))
    }

    fn record(&mut self, header: &RecordHeader) -> io::Result<Found<'_>> {
        let start = self.at;
        let next = start + header.total as u64;
        if next > self.window.end {
            self.at = self.window.end;
            return Ok(Found::Torn(start..self.at));
        }
        self.at = next;
        let record = self.window.get(start, header.total)?;
        if record.len() < header.total || !header.matches(&record[RECORD_HEADER..]) {
            return Ok(Found::Damaged(start..next));
        }
        self.nonce = Some(header.nonce);
        let (tenant, rest) = record[RECORD_HEADER..].split_at(header.tenant);
        if tenant != self.tenant.as_str().as_bytes() {
            match std::str::from_utf8(tenant).ok().and_then(|name| TenantId::new(name).ok()) {
                Some(tenant) => self.tenant = tenant,
                None => return Ok(Found::Damaged(start..next)),
            }
        }
        let (refused, body) = rest.split_at(header.refused * 4);
        self.refused.clear();
        self.refused.extend(refused.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)));
        Ok(Found::Record(RecordRef {
            sequence: header.sequence,
            tenant: &self.tenant,
            received: header.received,
            hash: header.hash,
            refused: &self.refused,
            body,
        }))
    }

    /// Looks for the next record behind what is no record.
    fn skip(&mut self) -> io::Result<Found<'_>> {
        let (start, end) = (self.at, self.window.end);
        let mut at = start + 1;
        while at + RECORD_HEADER as u64 <= end {
            let chunk = self.window.get(at, CHUNK)?;
            if chunk.len() < RECORD_HEADER {
                break; // the file is shorter than it said
            }
            let Some(found) = chunk.windows(RECORD_MAGIC.len()).position(|bytes| bytes == RECORD_MAGIC)
            else {
                at += (chunk.len() - (RECORD_MAGIC.len() - 1)) as u64;
                continue;
            };
            at += found as u64;
            if !matches!(self.header(at)?, Parsed::Invalid) {
                self.at = at;
                return Ok(Found::Damaged(start..at));
            }
            at += 1;
        }
        self.at = end;
        if end - start < RECORD_HEADER as u64 || self.window.is_zero(start)? {
            return Ok(Found::Torn(start..end));
        }
        Ok(Found::Damaged(start..end))
    }
}

/// A part of a file, in memory.
#[derive(Debug)]
struct Window {
    file: Box<dyn StoredFile>,
    /// Where the file ends, for the reader.
    end: u64,
    bytes: Vec<u8>,
    /// The offset of the first of `bytes` in the file.
    start: u64,
    /// How many of `bytes` are the file's.
    filled: usize,
}

impl Window {
    /// The bytes at an offset: as many as asked for, fewer only where the file ends.
    fn get(&mut self, at: u64, length: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
        let length = length.min(left);
        let inside = at.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        let inside = inside.filter(|skip| *skip <= self.filled);
        let skip = match inside {
            Some(skip) if skip + length <= self.filled => skip,
            _ => {
                self.fill(at, inside, length.max(CHUNK).min(left))?;
                0
            }
        };
        Ok(&self.bytes[skip..self.filled.min(skip + length)])
    }

    /// Moves the window to `at`, keeping what it has of that (from `inside` on), and fills it with `want` bytes.
    fn fill(&mut self, at: u64, inside: Option<usize>, want: usize) -> io::Result<()> {
        let kept = inside.map_or(0, |skip| {
            self.bytes.copy_within(skip..self.filled, 0);
            self.filled - skip
        });
        (self.start, self.filled) = (at, kept);
        let size = want.max(kept);
        if self.bytes.len() < size {
            self.bytes.resize(size, 0);
        } else if self.bytes.len() > 4 * CHUNK && size <= CHUNK {
            self.bytes.truncate(CHUNK); // one large record must not cost its memory for the rest of the replay
            self.bytes.shrink_to_fit();
        }
        while self.filled < want {
            let offset = at + self.filled as u64;
            match self.file.read_at(&mut self.bytes[self.filled..want], offset) {
                Ok(0) => break,
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether there is nothing but zeros from `at` to the end.
    fn is_zero(&mut self, mut at: u64) -> io::Result<bool> {
        while at < self.end {
            let chunk = self.get(at, CHUNK)?;
            if chunk.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            if chunk.is_empty() {
                break;
            }
            at += chunk.len() as u64;
        }
        Ok(true)
    }
}
