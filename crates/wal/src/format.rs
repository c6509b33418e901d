//! The bytes on disk. All numbers are little-endian; both checksums are CRC-32 (IEEE 802.3, as in zlib; `crc32fast`).
//!
//! ```text
//! file    magic "TRKWYWAL" · version u16 · 0 u16 · epoch u64 · nonce u64 · CRC of these 28 bytes u32
//! record  magic F5 'T' 'W' 'R' · version u16 · codec u8 · tenant length u8 · total length u32 · refused count u32
//!         · sequence u64 · received u64 · nonce u64 · request hash u128 · payload CRC u32 · header CRC u32
//!         then the payload: tenant, refused ordinals (u32 each), body
//! ```
//!
//! What must stay true: every version keeps the two headers' magic, version, total length and checksum where they
//! are, so that an older reader knows a newer record for what it is. The header checksum also covers the record's
//! offset in its file, and each record carries the nonce of its writer: bytes that a sender put into a span, a copied
//! log file say, are never taken for a record when the reader looks for the next one after a damaged one.

use bytes::Bytes;
use trackway_common::TenantId;

use crate::{Epoch, LogError, MAX_RECORD_BYTES, NewRecord, Sequence};

/// The newest version of the format that this code reads, and the one that it writes.
pub const FORMAT_VERSION: u16 = 1;

/// The bytes of a file's header.
pub(crate) const FILE_HEADER: usize = 32;
/// The bytes of a record before its payload.
pub(crate) const RECORD_HEADER: usize = 64;
/// The first bytes of a record.
pub(crate) const RECORD_MAGIC: [u8; 4] = [0xf5, b'T', b'W', b'R'];

const FILE_MAGIC: [u8; 8] = *b"TRKWYWAL";
/// The body is what the sender sent.
const CODEC_RAW: u8 = 0;
/// Up to this size a body is copied behind its header, so that small records take one piece of a write and not two.
const INLINE_BODY: usize = 4096;

const SEQUENCE_AT: usize = 16;
const HEADER_CRC_AT: usize = 60;

/// What a file's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileHeader {
    Valid { nonce: u64 },
    Newer(u16),
    Damaged,
}

impl FileHeader {
    pub(crate) fn encode(epoch: Epoch, nonce: u64) -> [u8; FILE_HEADER] {
        let mut out = [0; FILE_HEADER];
        out[..8].copy_from_slice(&FILE_MAGIC);
        out[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[12..20].copy_from_slice(&epoch.0.to_le_bytes());
        out[20..28].copy_from_slice(&nonce.to_le_bytes());
        let crc = crc32fast::hash(&out[..28]);
        out[28..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Self {
        if bytes.len() < FILE_HEADER || bytes[..8] != FILE_MAGIC {
            return Self::Damaged;
        }
        if crc32fast::hash(&bytes[..28]) != u32::from_le_bytes(take(bytes, 28)) {
            return Self::Damaged;
        }
        match u16::from_le_bytes(take(bytes, 8)) {
            FORMAT_VERSION => Self::Valid { nonce: u64::from_le_bytes(take(bytes, 20)) },
            newer => Self::Newer(newer),
        }
    }
}

/// A record's header, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordHeader {
    pub(crate) sequence: Sequence,
    pub(crate) received: u64,
    pub(crate) nonce: u64,
    pub(crate) hash: u128,
    /// Header and payload.
    pub(crate) total: usize,
    pub(crate) tenant: usize,
    pub(crate) refused: usize,
    payload_crc: u32,
}

/// What stands where a record's header should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Parsed {
    Valid(RecordHeader),
    Newer(u16),
    Invalid,
}

impl RecordHeader {
    /// Reads a header that stands at `offset` of a file written with `nonce` (`None`: not known, any will do).
    pub(crate) fn decode(bytes: &[u8], offset: u64, nonce: Option<u64>) -> Parsed {
        if bytes.len() < RECORD_HEADER || bytes[..4] != RECORD_MAGIC {
            return Parsed::Invalid;
        }
        if header_crc(bytes, offset) != u32::from_le_bytes(take(bytes, HEADER_CRC_AT)) {
            return Parsed::Invalid;
        }
        let version = u16::from_le_bytes(take(bytes, 4));
        if version > FORMAT_VERSION {
            return Parsed::Newer(version);
        }
        if bytes[6] != CODEC_RAW {
            return Parsed::Newer(FORMAT_VERSION.saturating_add(u16::from(bytes[6])));
        }
        let header = Self {
            sequence: Sequence(u64::from_le_bytes(take(bytes, SEQUENCE_AT))),
            received: u64::from_le_bytes(take(bytes, 24)),
            nonce: u64::from_le_bytes(take(bytes, 32)),
            hash: u128::from_le_bytes(take(bytes, 40)),
            total: u32::from_le_bytes(take(bytes, 8)) as usize,
            tenant: usize::from(bytes[7]),
            refused: u32::from_le_bytes(take(bytes, 12)) as usize,
            payload_crc: u32::from_le_bytes(take(bytes, 56)),
        };
        let least = RECORD_HEADER + header.tenant + header.refused.saturating_mul(4);
        let fits = least <= header.total && header.total as u64 <= MAX_RECORD_BYTES;
        let ours = nonce.is_none_or(|nonce| nonce == header.nonce);
        if fits && ours && version == FORMAT_VERSION { Parsed::Valid(header) } else { Parsed::Invalid }
    }

    /// Whether the payload is what was written.
    pub(crate) fn matches(&self, payload: &[u8]) -> bool {
        crc32fast::hash(payload) == self.payload_crc
    }
}

/// A record that is ready but for its place: made on the sender's thread, so that the writer's has little to do.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Header, tenant, refused ordinals, and a small body.
    head: Vec<u8>,
    /// A large body, or nothing.
    body: Bytes,
}

impl Draft {
    pub(crate) fn new(record: NewRecord, nonce: u64) -> Result<Self, LogError> {
        let NewRecord { tenant, received, hash, refused, body } = record;
        let tenant = tenant.as_str().as_bytes();
        let bytes = (RECORD_HEADER + tenant.len() + body.len()) as u64 + refused.len() as u64 * 4;
        let too_large = LogError::TooLarge { bytes, max: MAX_RECORD_BYTES };
        if bytes > MAX_RECORD_BYTES {
            return Err(too_large);
        }
        let (Ok(total), Ok(count), Ok(tenant_length)) =
            (u32::try_from(bytes), u32::try_from(refused.len()), u8::try_from(tenant.len()))
        else {
            return Err(too_large); // a tenant's name has at most 150 bytes: cannot be
        };
        let inline = if body.len() <= INLINE_BODY { body.len() } else { 0 };
        let mut head = Vec::with_capacity(RECORD_HEADER + tenant.len() + refused.len() * 4 + inline);
        head.extend_from_slice(&RECORD_MAGIC);
        head.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        head.extend_from_slice(&[CODEC_RAW, tenant_length]);
        head.extend_from_slice(&total.to_le_bytes());
        head.extend_from_slice(&count.to_le_bytes());
        head.extend_from_slice(&0_u64.to_le_bytes()); // the sequence, see `seal`
        head.extend_from_slice(&received.to_le_bytes());
        head.extend_from_slice(&nonce.to_le_bytes());
        head.extend_from_slice(&hash.to_le_bytes());
        head.extend_from_slice(&[0; 8]); // the checksums
        head.extend_from_slice(tenant);
        for ordinal in &refused {
            head.extend_from_slice(&ordinal.to_le_bytes());
        }
        let body = if body.len() <= INLINE_BODY {
            head.extend_from_slice(&body);
            Bytes::new()
        } else {
            body
        };
        let mut crc = crc32fast::Hasher::new();
        crc.update(&head[RECORD_HEADER..]);
        crc.update(&body);
        head[56..HEADER_CRC_AT].copy_from_slice(&crc.finalize().to_le_bytes());
        Ok(Self { head, body })
    }

    /// Gives the record its place.
    pub(crate) fn seal(&mut self, sequence: Sequence, offset: u64) {
        self.head[SEQUENCE_AT..SEQUENCE_AT + 8].copy_from_slice(&sequence.0.to_le_bytes());
        let crc = header_crc(&self.head, offset);
        self.head[HEADER_CRC_AT..RECORD_HEADER].copy_from_slice(&crc.to_le_bytes());
    }

    /// All bytes of the record.
    pub(crate) fn len(&self) -> u64 {
        (self.head.len() + self.body.len()) as u64
    }

    /// What is to be written, in order; the second may be empty.
    pub(crate) fn pieces(&self) -> [&[u8]; 2] {
        [&self.head, &self.body]
    }
}

/// The hash by which a sender's retry is known again.
pub fn request_hash(tenant: &TenantId, body: &[u8]) -> u128 {
    // The tenant is the seed, so that one pass over the body is enough and two tenants never share a hash.
    xxhash_rust::xxh3::xxh3_128_with_seed(body, xxhash_rust::xxh3::xxh3_64(tenant.as_str().as_bytes()))
}

fn header_crc(header: &[u8], offset: u64) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header[..HEADER_CRC_AT]);
    crc.update(&offset.to_le_bytes());
    crc.finalize()
}

/// The `N` bytes at `at`, zeros if they are not there.
pub(crate) fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..at + N).and_then(|found| found.try_into().ok()).unwrap_or([0; N])
}
