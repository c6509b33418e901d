//! A look at the spans of a request without reading them: what limits are judged by before anything is kept.

use trackway_common::TraceId;

use crate::cursor::AppendError;
use crate::wire::Reader;

/// A span as it stands in a request.
#[derive(Clone, Copy, Debug)]
pub struct PeekedSpan<'r> {
    /// Place in the request, counted over all spans from 0: the ordinal of [`crate::Refused`].
    pub ordinal: u32,
    /// The span's own bytes, without its resource and scope.
    pub message: &'r [u8],
}

impl PeekedSpan<'_> {
    /// Its trace; `None` when that cannot be told, and [`crate::append_request`] will refuse the span.
    pub fn trace_id(&self) -> Option<TraceId> {
        let mut id: &[u8] = b"";
        let mut reader = Reader::new(self.message);
        while let Some((number, field)) = reader.next_field().ok()? {
            if number == 1 {
                id = field.bytes(1).ok()?;
            }
        }
        let id = <[u8; 16]>::try_from(id).ok()?;
        Some(TraceId(u128::from_be_bytes(id))).filter(|id| id.0 != 0)
    }
}

/// Shows each span of a request to `each`, in order.
///
/// # Errors
/// [`AppendError`] as [`crate::peek_request`]; spans before the damage were shown.
pub fn peek_spans<'r>(request: &'r [u8], mut each: impl FnMut(PeekedSpan<'r>)) -> Result<(), AppendError> {
    let mut ordinal = 0;
    let mut requests = Reader::new(request);
    while let Some((number, field)) = requests.next_field()? {
        if number != 1 {
            continue;
        }
        let mut resource_spans = Reader::new(field.bytes(1)?);
        while let Some((number, field)) = resource_spans.next_field()? {
            if number != 2 {
                continue;
            }
            let mut scope_spans = Reader::new(field.bytes(2)?);
            while let Some((number, field)) = scope_spans.next_field()? {
                if number == 2 {
                    each(PeekedSpan { ordinal, message: field.bytes(2)? });
                    ordinal += 1;
                }
            }
        }
    }
    Ok(())
}
