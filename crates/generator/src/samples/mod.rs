//! The log of samples of one tenant, `<metrics_generator.storage.path>/<tenant>/wal`: what waits for receivers, and what
//! a restart takes up.
//!
//! ```text
//! segment  magic "TRKWYMET" · version u32
//! record   length u32 · CRC-32 of what follows u32 · codec u8 · samples u32 · payload, see `record.rs`
//! ```
//!
//! What must stay true: a record is whole or not there; what a segment's records need to be understood stands in that
//! segment; segments go when every receiver has them, or when they are too old or too many, the oldest first, and then
//! it is counted what a receiver did not get.

mod read;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use self::read::count_samples;
pub(crate) use self::read::{ReadRecord, Reader};

const MAGIC: [u8; 8] = *b"TRKWYMET";
const VERSION: u32 = 1;
const HEADER: u64 = 12;
const FRAME: u64 = 13;
/// The largest record: far above what the memory for series allows.
const RECORD_MAX: u64 = 1 << 30;
/// Segments of tenants with few series end early, so that what was sent can go.
const SMALL_SEGMENT: u64 = 64 << 10;
/// So many records are in a segment at least, if it is not full before.
const RECORDS_PER_SEGMENT: u64 = 64;

/// How payloads are packed (`wal_compression`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// As they are.
    #[default]
    None,
    /// snappy.
    Snappy,
    /// Zstandard.
    Zstd,
}

/// A place behind a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    number: u64,
    bytes: u64,
    samples: u64,
    /// When its last samples were taken, Unix milliseconds.
    newest_ms: i64,
}

/// Somebody who reads the log to its end.
#[derive(Debug)]
pub(crate) struct Follower {
    /// Up to where everything is with the receiver; the segment and the samples of it.
    done: Mutex<(u64, u64)>,
    at: Mutex<Position>,
    /// Samples that went before the receiver had them.
    pub(crate) lost: AtomicU64,
}

#[derive(Debug)]
struct State {
    segments: VecDeque<Segment>,
    file: Option<File>,
    followers: Vec<Arc<Follower>>,
    last_record: u64,
    /// Whether the newest segment ends in half a record.
    is_torn: bool,
}

impl Follower {
    /// Whether its receiver has everything up to here.
    pub(crate) fn is_at(&self, end: Position) -> bool {
        *self.at.lock() >= end
    }
}

/// The log of one tenant. Shared by reference: one writes, others read.
#[derive(Debug)]
pub(crate) struct SampleLog {
    folder: PathBuf,
    codec: Codec,
    segment_bytes: u64,
    state: Mutex<State>,
    /// `None` when the log is closed, and those who follow it leave.
    end: Mutex<Option<watch::Sender<Position>>>,
}

/// Writes a small file in one step: whoever is killed meanwhile leaves the old text or the new one.
///
/// # Errors
/// When the disk fails.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, text)?;
    std::fs::rename(&temporary, path)
}

fn path_of(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("{segment:08}"))
}

impl SampleLog {
    /// Opens the log; what is written next begins a new segment. `last` is shown the payloads of the newest segment that
    /// has a whole record, in order.
    ///
    /// # Errors
    /// When the folder cannot be made or read. Damaged segments are left out with a warning.
    pub(crate) fn open(
        folder: &Path,
        codec: Codec,
        segment_bytes: u64,
        mut last: impl FnMut(&[u8]),
    ) -> io::Result<Arc<Self>> {
        std::fs::create_dir_all(folder)?;
        let mut segments = VecDeque::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok()) else {
                continue;
            };
            segments.push_back(Segment {
                number,
                bytes: entry.metadata()?.len(),
                samples: 0,
                newest_ms: i64::MAX,
            });
        }
        segments.make_contiguous().sort_by_key(|segment| segment.number);
        for segment in &mut segments {
            segment.samples = count_samples(&path_of(folder, segment.number)).unwrap_or_default();
            segment.newest_ms = modified_ms(&path_of(folder, segment.number)).unwrap_or_default();
        }
        for segment in segments.iter().rev() {
            let mut found = false;
            let mut reader = Reader::new(folder, Position { segment: segment.number, offset: 0 });
            while let Ok(Some(read)) = reader.next(u64::MAX) {
                found = true;
                last(&read.payload);
            }
            if found {
                break;
            }
        }
        let end = segments
            .back()
            .map_or(Position::default(), |last| Position { segment: last.number, offset: last.bytes });
        let state = State { segments, file: None, followers: Vec::new(), last_record: 0, is_torn: false };
        Ok(Arc::new(Self {
            folder: folder.to_owned(),
            codec,
            segment_bytes,
            state: Mutex::new(state),
            end: Mutex::new(Some(watch::Sender::new(end))),
        }))
    }

    /// The number of the segment that the next record goes to; a new one when the last is full. Its payload may lean on
    /// what this segment has.
    ///
    /// # Errors
    /// When a file cannot be made.
    pub(crate) fn prepare(&self) -> io::Result<u64> {
        let mut state = self.state.lock();
        let enough = (state.last_record * RECORDS_PER_SEGMENT).max(SMALL_SEGMENT).min(self.segment_bytes);
        if let (Some(_), Some(segment)) = (&state.file, state.segments.back())
            && segment.bytes < enough
            && !state.is_torn
        {
            return Ok(segment.number);
        }
        let (full, number) =
            (state.file.take(), state.segments.back().map_or(1, |segment| segment.number + 1));
        // Those who read do not wait for the disk.
        drop(state);
        if let Some(full) = full {
            full.sync_data()?;
        }
        let path = path_of(&self.folder, number);
        let mut file = File::options().append(true).create(true).open(&path)?;
        // What an attempt before this one left.
        file.set_len(0)?;
        file.write_all(&MAGIC)?;
        file.write_all(&VERSION.to_le_bytes())?;
        File::open(&self.folder)?.sync_all()?;
        let mut state = self.state.lock();
        (state.file, state.is_torn) = (Some(file), false);
        state.segments.push_back(Segment { number, bytes: HEADER, samples: 0, newest_ms: i64::MIN });
        Ok(number)
    }

    /// Appends a record to the segment that [`Self::prepare`] named, and tells those who follow.
    ///
    /// # Errors
    /// When it cannot be written; nothing of it is there then.
    pub(crate) fn append(&self, payload: &[u8], samples: usize, time_ms: i64) -> io::Result<()> {
        let packed = pack(self.codec, payload)?;
        let mut state = self.state.lock();
        let State { segments, file, last_record, is_torn, .. } = &mut *state;
        let (Some(out), Some(segment)) = (file.as_mut(), segments.back_mut()) else {
            return Err(io::Error::other("no segment is open"));
        };
        let frame = frame(&packed, self.codec, samples)?;
        let written = out.write_all(&frame);
        if let Err(error) = written {
            // Half a record is cut off; where that fails too, the next one begins a new segment.
            *is_torn = out.set_len(segment.bytes).is_err();
            return Err(error);
        }
        segment.bytes += frame.len() as u64;
        segment.samples += samples as u64;
        segment.newest_ms = time_ms;
        *last_record = frame.len() as u64;
        let end = Position { segment: segment.number, offset: segment.bytes };
        drop(state);
        if let Some(told) = &*self.end.lock() {
            told.send_replace(end);
        }
        Ok(())
    }

    /// Makes what was appended survive a power loss.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let file = self.state.lock().file.as_ref().map(File::try_clone).transpose()?;
        file.map_or(Ok(()), |file| file.sync_data())
    }

    /// Where the log ends, and news of it; none is to come when it is closed.
    pub(crate) fn end(&self) -> watch::Receiver<Position> {
        let nothing = || watch::channel(Position::default()).1;
        self.end.lock().as_ref().map_or_else(nothing, watch::Sender::subscribe)
    }

    /// Nothing is appended any more: those who follow it leave when they have read it.
    pub(crate) fn close(&self) {
        *self.end.lock() = None;
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.state.lock().segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Follows the log from a position; what is behind it stays until it is [done](Self::done).
    pub(crate) fn follow(&self, from: Position) -> Arc<Follower> {
        let follower = Arc::new(Follower {
            done: Mutex::new((from.segment, 0)),
            at: Mutex::new(from),
            lost: AtomicU64::new(0),
        });
        self.state.lock().followers.push(Arc::clone(&follower));
        follower
    }

    /// Follows it no more.
    pub(crate) fn leave(&self, follower: &Arc<Follower>) {
        self.state.lock().followers.retain(|known| !Arc::ptr_eq(known, follower));
    }

    /// Says that the samples of the record before `at` are with the receiver, and all before it.
    pub(crate) fn done(&self, follower: &Follower, at: Position, samples: u64) {
        let segment = at.segment;
        *follower.at.lock() = at;
        let mut done = follower.done.lock();
        *done = if done.0 == segment { (segment, done.1 + samples) } else { (segment, samples) };
    }

    /// Lets go of segments that all followers have, and of those whose samples are older than `before_ms`. The newest
    /// stays.
    pub(crate) fn trim(&self, before_ms: i64) {
        let mut state = self.state.lock();
        while state.segments.len() > 1 {
            let Some(oldest) = state.segments.front().copied() else { return };
            let is_read = state.followers.iter().all(|follower| follower.done.lock().0 > oldest.number);
            if !is_read && oldest.newest_ms >= before_ms {
                return;
            }
            self.drop_oldest(&mut state);
        }
    }

    /// Lets go of the oldest segment, wanted or not; `false` when there is only the newest.
    pub(crate) fn give_up_oldest(&self) -> bool {
        let mut state = self.state.lock();
        let has_more = state.segments.len() > 1;
        if has_more {
            self.drop_oldest(&mut state);
        }
        has_more
    }

    fn drop_oldest(&self, state: &mut State) {
        let Some(oldest) = state.segments.pop_front() else { return };
        for follower in &state.followers {
            let (segment, samples) = *follower.done.lock();
            let lost = match segment.cmp(&oldest.number) {
                std::cmp::Ordering::Less => oldest.samples,
                std::cmp::Ordering::Equal => oldest.samples.saturating_sub(samples),
                std::cmp::Ordering::Greater => 0,
            };
            follower.lost.fetch_add(lost, Ordering::Relaxed);
        }
        let path = path_of(&self.folder, oldest.number);
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "a segment of samples cannot be deleted; it is not read again");
        }
    }

    /// The oldest segment that is there.
    pub(crate) fn first_segment(&self) -> u64 {
        self.state.lock().segments.front().map_or(0, |segment| segment.number)
    }

    /// Reads from the beginning of the segment of a position, so that what its records lean on is known.
    pub(crate) fn reader(&self, from: Position) -> Reader {
        Reader::new(&self.folder, Position { segment: from.segment, offset: 0 })
    }

    /// Where it lies.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

fn frame(packed: &[u8], codec: Codec, samples: usize) -> io::Result<Vec<u8>> {
    let too_large = |_| io::Error::other("a collection is too large for the log of samples");
    let mut body = Vec::with_capacity(packed.len() + 5);
    body.push(match codec {
        Codec::None => 0,
        Codec::Snappy => 1,
        Codec::Zstd => 2,
    });
    body.extend_from_slice(&u32::try_from(samples).map_err(too_large)?.to_le_bytes());
    body.extend_from_slice(packed);
    let mut out = Vec::with_capacity(body.len() + 8);
    out.extend_from_slice(&u32::try_from(body.len()).map_err(too_large)?.to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    out.extend_from_slice(&body);
    Ok(out)
}

fn pack(codec: Codec, payload: &[u8]) -> io::Result<std::borrow::Cow<'_, [u8]>> {
    Ok(match codec {
        Codec::None => payload.into(),
        Codec::Snappy => snap::raw::Encoder::new().compress_vec(payload).map_err(io::Error::other)?.into(),
        Codec::Zstd => zstd::bulk::compress(payload, 1)?.into(),
    })
}

fn modified_ms(path: &Path) -> Option<i64> {
    let since = std::fs::metadata(path).ok()?.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(log: &SampleLog, payload: &[u8]) -> u64 {
        let segment = log.prepare().unwrap();
        log.append(payload, 10, 1).unwrap();
        segment
    }

    fn last_of(folder: &Path) -> (Arc<SampleLog>, Vec<Vec<u8>>) {
        let mut last = Vec::new();
        let log =
            SampleLog::open(folder, Codec::None, 1 << 20, |payload| last.push(payload.to_vec())).unwrap();
        (log, last)
    }

    #[test]
    fn the_last_whole_record_is_found_whatever_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        for codec in [Codec::Snappy, Codec::Zstd, Codec::None] {
            let log = SampleLog::open(folder.path(), codec, 1 << 20, |_| {}).unwrap();
            write(&log, b"one");
            write(&log, b"two");
        }
        let (log, last) = last_of(folder.path());
        assert_eq!(last, [b"one", b"two"]);
        drop(log);
        let path = path_of(folder.path(), 3);
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (_, last) = last_of(folder.path());
            // Without a whole record of the newest segment those of the one before count.
            let expected: &[&[u8]] = if cut >= 12 + 16 { &[b"one"] } else { &[b"one", b"two"] };
            assert_eq!(last, expected, "{cut}");
        }
        for at in 12..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            std::fs::write(&path, &flipped).unwrap();
            let (_, last) = last_of(folder.path());
            assert!(last.iter().all(|payload| payload == b"one" || payload == b"two"));
        }
    }

    #[test]
    fn segments_stay_for_those_who_follow_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let log = SampleLog::open(folder.path(), Codec::None, 1000, |_| {}).unwrap();
        let follower = log.follow(Position::default());
        let payload = vec![7; 1000];
        for segment in 1..=5 {
            assert_eq!(write(&log, &payload), segment);
        }
        log.trim(0);
        assert_eq!(log.first_segment(), 1);
        log.done(&follower, Position { segment: 2, offset: 50 }, 4);
        assert!(!follower.is_at(Position { segment: 2, offset: 51 }));
        log.trim(0);
        assert_eq!((log.first_segment(), follower.lost.load(Ordering::Relaxed)), (2, 0));
        assert!(log.give_up_oldest() && log.give_up_oldest());
        assert_eq!((log.first_segment(), follower.lost.load(Ordering::Relaxed)), (4, 6 + 10));
        log.trim(2);
        assert_eq!((log.first_segment(), log.give_up_oldest()), (5, false));
        let mut reader = log.reader(Position { segment: 5, offset: 0 });
        let read = reader.next(u64::MAX).unwrap().unwrap();
        assert!(read.is_first && read.payload == payload && read.samples == 10);
        assert!(reader.next(u64::MAX).unwrap().is_none());
        log.leave(&follower);
    }
}
