//! What is the same for every protocol: handing a batch over, and telling the sender what became of it.

use ::http::{HeaderMap, header};
use bytes::Bytes;
use trackway_common::ErrorKind;
use trackway_distributor::{Push, PushError, PushRequest, PushResponse};
use trackway_otlpjson::Converted;
use trackway_proto::collector::{ExportTracePartialSuccess, ExportTraceServiceResponse};

use crate::tenant::tenant;

/// How many reasons a sender is told; they tend to be alike.
const REASONS_TOLD: usize = 3;

/// A batch in protobuf, and what its JSON form lost on the way.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The protobuf.
    pub(crate) body: Bytes,
    /// Spans that are not in it.
    pub(crate) refused: usize,
    /// Some of them with the reason, in order.
    pub(crate) reasons: Vec<(usize, String)>,
}

impl Batch {
    /// A batch that came as protobuf.
    pub(crate) fn protobuf(body: Bytes) -> Self {
        Self { body, ..Self::default() }
    }

    /// A batch that came as JSON.
    ///
    /// # Errors
    /// If none of its spans can be used, as Tempo answers for each of them.
    pub(crate) fn json(converted: Converted) -> Result<Self, PushError> {
        let Converted { protobuf, spans, refused_spans, refused } = converted;
        if refused_spans > 0 && refused_spans == spans {
            let reason = refused.into_iter().next().map_or_else(String::new, |refused| refused.reason);
            return Err(PushError::new(ErrorKind::Invalid, reason));
        }
        let reasons = refused.into_iter().map(|refused| (refused.span, refused.reason)).collect();
        Ok(Self { body: protobuf.into(), refused: refused_spans, reasons })
    }
}

/// Hands a batch over and waits until it is kept.
pub(crate) async fn push(
    push: &dyn Push,
    headers: &HeaderMap,
    multitenancy: bool,
    protocol: &'static str,
    batch: Batch,
) -> Result<ExportTraceServiceResponse, PushError> {
    let tenant = tenant(headers, multitenancy)?;
    let sender = headers.get(header::USER_AGENT).and_then(|name| str::from_utf8(name.as_bytes()).ok());
    let request = PushRequest { tenant, body: batch.body, protocol, sender: sender.map(str::to_owned) };
    let response = push.push(request).await?;
    Ok(ExportTraceServiceResponse { partial_success: Some(partial(response, batch.refused, batch.reasons)) })
}

/// What was refused, by both sides of the conversion. Places are those in what the sender sent.
fn partial(
    response: PushResponse,
    lost: usize,
    mut reasons: Vec<(usize, String)>,
) -> ExportTracePartialSuccess {
    let count = lost + response.refused.len();
    if count == 0 {
        return ExportTracePartialSuccess::default();
    }
    let gaps: Vec<usize> = reasons.iter().map(|(place, _)| *place).collect();
    let late = response.refused.into_iter().map(|(place, why)| (sent_place(place as usize, &gaps), why));
    reasons.extend(late);
    reasons.sort_by_key(|(place, _)| *place);
    let told: Vec<String> =
        reasons.iter().take(REASONS_TOLD).map(|(place, why)| format!("span {place}: {why}")).collect();
    let more = if reasons.len() > REASONS_TOLD || count > reasons.len() { "; …" } else { "" };
    ExportTracePartialSuccess {
        rejected_spans: i64::try_from(count).unwrap_or(i64::MAX),
        error_message: format!("{count} spans refused: {}{more}", told.join("; ")),
    }
}

/// Where a span stood in the JSON, from its place among those that are left. `gaps` is in order.
fn sent_place(mut place: usize, gaps: &[usize]) -> usize {
    for gap in gaps {
        if *gap <= place {
            place += 1;
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_sender() {
        assert_eq!([0, 1, 2].map(|place| sent_place(place, &[0, 2])), [1, 3, 4]);
        let response = PushResponse { accepted: 1, refused: vec![(1, "late".into())] };
        let told = partial(response, 2, vec![(0, "a".into()), (2, "b".into())]);
        assert_eq!(told.rejected_spans, 3);
        assert_eq!(told.error_message, "3 spans refused: span 0: a; span 2: b; span 3: late");
        let many = (0..5).map(|place| (place, "x".to_owned())).collect();
        let told = partial(PushResponse { accepted: 0, refused: many }, 0, vec![]);
        assert_eq!(told.error_message, "5 spans refused: span 0: x; span 1: x; span 2: x; …");
        assert_eq!(partial(PushResponse::default(), 0, vec![]), ExportTracePartialSuccess::default());
    }
}
