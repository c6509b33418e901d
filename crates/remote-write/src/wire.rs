//! The parts of messages that both protocols have in common, written without a value in between.
//!
//! What must stay true: fields are in the order of their numbers, and what proto3 leaves out is left out. A `oneof` has
//! no default: it is always written.

use prost::encoding::{WireType, double, encode_key, encode_varint, encoded_len_varint};
use prost::encoding::{int32, int64, sint32, uint32, uint64};

use crate::series::{Counts, NativeHistogram, Sample};

/// Writes a message or packed values with their length before them.
pub(crate) fn nested(out: &mut Vec<u8>, tag: u32, write: impl FnOnce(&mut Vec<u8>)) {
    encode_key(tag, WireType::LengthDelimited, out);
    let at = out.len();
    // Most are shorter than 128 bytes and fit behind one byte; the others move.
    out.push(0);
    write(out);
    let length = out.len() - at - 1;
    let more = encoded_len_varint(length as u64) - 1;
    if more > 0 {
        out.resize(out.len() + more, 0);
        out.copy_within(at + 1..at + 1 + length, at + 1 + more);
    }
    if let Some(mut place) = out.get_mut(at..=at + more) {
        encode_varint(length as u64, &mut place);
    }
}

/// Writes a text, even an empty one.
pub(crate) fn text(out: &mut Vec<u8>, tag: u32, text: &str) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn text_field(out: &mut Vec<u8>, tag: u32, value: &str) {
    if !value.is_empty() {
        text(out, tag, value);
    }
}

pub(crate) fn double_field(out: &mut Vec<u8>, tag: u32, value: f64) {
    // By its bits: -0 is not the default.
    if value.to_bits() != 0 {
        double::encode(tag, &value, out);
    }
}

pub(crate) fn int64_field(out: &mut Vec<u8>, tag: u32, value: i64) {
    if value != 0 {
        int64::encode(tag, &value, out);
    }
}

pub(crate) fn enum_field(out: &mut Vec<u8>, tag: u32, value: i32) {
    if value != 0 {
        int32::encode(tag, &value, out);
    }
}

pub(crate) fn sample(out: &mut Vec<u8>, tag: u32, sample: &Sample) {
    nested(out, tag, |out| {
        double_field(out, 1, sample.value);
        int64_field(out, 2, sample.timestamp_ms);
    });
}

pub(crate) fn histogram(out: &mut Vec<u8>, tag: u32, histogram: &NativeHistogram) {
    nested(out, tag, |out| {
        match &histogram.counts {
            Counts::Integers { count, .. } => uint64::encode(1, count, out),
            Counts::Floats { count, .. } => double::encode(2, count, out),
        }
        double_field(out, 3, histogram.sum);
        if histogram.schema != 0 {
            sint32::encode(4, &histogram.schema, out);
        }
        double_field(out, 5, histogram.zero_threshold);
        match &histogram.counts {
            Counts::Integers { zero, .. } => uint64::encode(6, zero, out),
            Counts::Floats { zero, .. } => double::encode(7, zero, out),
        }
        for (offset, length) in &histogram.positive_spans {
            nested(out, 11, |out| {
                if *offset != 0 {
                    sint32::encode(1, offset, out);
                }
                if *length != 0 {
                    uint32::encode(2, length, out);
                }
            });
        }
        match &histogram.counts {
            Counts::Integers { deltas, .. } => prost::encoding::sint64::encode_packed(12, deltas, out),
            Counts::Floats { counts, .. } => double::encode_packed(13, counts, out),
        }
        enum_field(out, 14, histogram.reset_hint.number());
        int64_field(out, 15, histogram.timestamp_ms);
    });
}
