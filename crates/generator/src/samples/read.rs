//! Reads records of the log of samples, one segment after the other.
//!
//! What must stay true: a record is given only if its checksum matches; behind damage nothing of the segment is given.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::{FRAME, HEADER, MAGIC, Position, RECORD_MAX, VERSION, path_of};

/// A record that was read.
#[derive(Debug)]
pub(crate) struct ReadRecord {
    pub(crate) payload: Vec<u8>,
    pub(crate) samples: u64,
    /// Behind it.
    pub(crate) position: Position,
    /// Whether it is the first that is read of its segment.
    pub(crate) is_first: bool,
}

/// Reads records in order.
#[derive(Debug)]
pub(crate) struct Reader {
    folder: PathBuf,
    at: Position,
    file: Option<File>,
}

impl Reader {
    pub(super) fn new(folder: &Path, at: Position) -> Self {
        Self { folder: folder.to_owned(), at, file: None }
    }

    /// Goes on with the first record of a segment.
    pub(crate) fn go_to(&mut self, segment: u64) {
        self.at = Position { segment, offset: 0 };
        self.file = None;
    }

    pub(crate) fn segment(&self) -> u64 {
        self.at.segment
    }

    /// The next record of this segment before `end` bytes; `None` at its end, and where it is damaged.
    ///
    /// # Errors
    /// When the segment is gone, or cannot be read.
    pub(crate) fn next(&mut self, end: u64) -> io::Result<Option<ReadRecord>> {
        let is_first = self.at.offset == 0;
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(path_of(&self.folder, self.at.segment))?),
        };
        if is_first {
            let mut header = [0; HEADER as usize];
            if read_at(file, 0, &mut header)?.is_none() || header[..8] != MAGIC {
                return Ok(None);
            }
            if header[8..] != VERSION.to_le_bytes() {
                return Err(io::Error::other("a newer version wrote this segment"));
            }
            self.at.offset = HEADER;
        }
        if self.at.offset + FRAME > end {
            return Ok(None);
        }
        let mut head = [0; FRAME as usize];
        if read_at(file, self.at.offset, &mut head)?.is_none() {
            return Ok(None);
        }
        let [a, b, c, d, e, f, g, h, codec, s, t, u, v] = head;
        let (length, crc) = (u64::from(u32::from_le_bytes([a, b, c, d])), u32::from_le_bytes([e, f, g, h]));
        if !(5..=RECORD_MAX).contains(&length) {
            return Ok(None);
        }
        let mut packed = vec![0; usize::try_from(length - 5).unwrap_or(0)];
        if read_at(file, self.at.offset + FRAME, &mut packed)?.is_none() {
            return Ok(None);
        }
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&head[8..]);
        hasher.update(&packed);
        if hasher.finalize() != crc {
            return Ok(None);
        }
        self.at.offset += 8 + length;
        Ok(Some(ReadRecord {
            payload: unpack(codec, packed)?,
            samples: u64::from(u32::from_le_bytes([s, t, u, v])),
            position: self.at,
            is_first,
        }))
    }
}

fn unpack(codec: u8, packed: Vec<u8>) -> io::Result<Vec<u8>> {
    match codec {
        0 => Ok(packed),
        1 => snap::raw::Decoder::new().decompress_vec(&packed).map_err(io::Error::other),
        2 => {
            let mut out = Vec::new();
            zstd::stream::read::Decoder::new(&packed[..])?.take(RECORD_MAX).read_to_end(&mut out)?;
            Ok(out)
        }
        other => Err(io::Error::other(format!("codec {other} is not known"))),
    }
}

/// Fills the buffer from a place in the file; `None` when the file ends before.
fn read_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<Option<()>> {
    use std::os::unix::fs::FileExt;
    match file.read_exact_at(buffer, offset) {
        Ok(()) => Ok(Some(())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Samples in a segment, by the heads of its records alone.
pub(super) fn count_samples(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let (mut at, mut samples) = (HEADER, 0);
    while at + FRAME <= length {
        file.seek(SeekFrom::Start(at))?;
        let mut head = [0; FRAME as usize];
        file.read_exact(&mut head)?;
        let [a, b, c, d, _, _, _, _, _, e, f, g, h] = head;
        samples += u64::from(u32::from_le_bytes([e, f, g, h]));
        at += 8 + u64::from(u32::from_le_bytes([a, b, c, d]));
    }
    Ok(samples)
}
