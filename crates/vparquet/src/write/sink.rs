//! A sink that knows how much went into it and how it ended.

use std::io::Write;

/// Counts what goes to a sink, and remembers the last eight bytes: a Parquet file ends with the length of its footer and
/// four magic bytes.
pub(super) struct Counted<W> {
    sink: W,
    bytes: u64,
    last: [u8; 8],
}

impl<W> Counted<W> {
    pub(super) fn new(sink: W) -> Self {
        Self { sink, bytes: 0, last: [0; 8] }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the footer, without its length and the magic bytes, as Tempo counts them.
    pub(super) fn footer_size(&self) -> u32 {
        let [a, b, c, d, ..] = self.last;
        u32::from_le_bytes([a, b, c, d])
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.sink.write(bytes)?;
        self.bytes += written as u64;
        let kept = &bytes[written.saturating_sub(8)..written];
        self.last.rotate_left(kept.len());
        self.last[8 - kept.len()..].copy_from_slice(kept);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_remembered_however_it_comes() {
        for pieces in [
            &[&b"0123456789"[..], b"\x05\0\0\0", b"PAR1"][..],
            &[b"abcd\x05\0\0\0PAR1"],
            &[b"\x05", b"\0\0\0PAR1"],
        ] {
            let mut sink = Counted::new(Vec::new());
            pieces.iter().for_each(|piece| sink.write_all(piece).unwrap());
            assert_eq!((sink.footer_size(), sink.bytes()), (5, pieces.concat().len() as u64));
        }
    }
}
