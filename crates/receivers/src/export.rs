//! What is the same for every protocol: handing a batch over, and telling the sender what became of it.

use ::http::{HeaderMap, header};
use bytes::Bytes;
use trackway_common::ErrorKind;
use trackway_distributor::{PushError, PushRequest, PushResponse};
use trackway_otlpjson::Converted;
use trackway_proto::collector::{ExportTracePartialSuccess, ExportTraceServiceResponse};

use crate::counts::Counts;
use crate::route::Door;
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
    /// Whether there were some and none of them can be used.
    pub(crate) none_left: bool,
}

impl Batch {
    /// A batch that came as protobuf.
    pub(crate) fn protobuf(body: Bytes) -> Self {
        Self { body, ..Self::default() }
    }

    /// A batch that came as JSON.
    pub(crate) fn json(converted: Converted) -> Self {
        let Converted { protobuf, spans, refused_spans, refused } = converted;
        let reasons = refused.into_iter().map(|refused| (refused.span, refused.reason)).collect();
        let none_left = refused_spans > 0 && refused_spans == spans;
        Self { body: protobuf.into(), refused: refused_spans, reasons, none_left }
    }
}

/// How OTLP came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// gRPC.
    Grpc,
    /// HTTP.
    Http,
}

impl Transport {
    /// As it is told in the log.
    fn protocol(self) -> &'static str {
        match self {
            Self::Grpc => "OTLP gRPC",
            Self::Http => "OTLP HTTP",
        }
    }

    /// As the Collector names it.
    fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }
}

/// Hands a batch over and waits until it is kept.
pub(crate) async fn push(
    door: &Door,
    headers: &HeaderMap,
    transport: Transport,
    batch: Batch,
) -> Result<ExportTraceServiceResponse, PushError> {
    let Batch { body, refused: lost, reasons, none_left } = batch;
    let tenant = tenant(headers, door.config.multitenancy)?;
    if lost > 0 {
        Counts::lost(&*door.push, &tenant, count(lost), reasons.iter().map(|(_, reason)| reason.as_str()));
    }
    let counted = |accepted, refused| door.config.counts.spans("otlp", transport.name(), accepted, refused);
    if none_left {
        counted(0, count(lost));
        // As Tempo answers for each of them.
        let reason = reasons.into_iter().next().map_or_else(String::new, |(_, reason)| reason);
        return Err(PushError::new(ErrorKind::Invalid, reason));
    }
    let sender = headers.get(header::USER_AGENT).and_then(|name| str::from_utf8(name.as_bytes()).ok());
    let sender = sender.map(str::to_owned);
    let request = PushRequest { tenant, body: body.clone(), protocol: transport.protocol(), sender };
    match door.push.push(request).await {
        Ok(response) => {
            counted(u64::from(response.accepted), count(lost + response.refused.len()));
            let partial = partial(response, lost, reasons);
            Ok(ExportTraceServiceResponse { partial_success: Some(partial) })
        }
        Err(error) => {
            let spans = trackway_spans::peek_request(&body).unwrap_or_default();
            counted(0, count(lost) + u64::from(spans));
            Err(error)
        }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
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
