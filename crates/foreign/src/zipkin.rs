//! Zipkin: v1 with its annotations and v2 with its tags, each as JSON and in its binary form.
//!
//! A client and a server may share one span id (a span of v2 says `shared`). Both are kept under that id, with their
//! kinds: who looks at trees knows from the kinds which one is the parent of which.
//!
//! What must stay true: what is JSON and not a list, and what is not JSON at all, is an error of the whole; everything
//! else is the matter of one span.

mod names;
mod status;
mod v1;
mod v1_json;
mod v1_thrift;
mod v2;
mod v2_json;
mod v2_proto;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use trackway_otlpjson::Fail;
use trackway_otlpjson::scan::Reader;

pub use v1_json::v1_json;
pub use v1_thrift::v1_thrift;
pub(crate) use v1_thrift::v1_thrift_list;
pub use v2_json::v2_json;
pub use v2_proto::v2_proto;

use crate::attributes::Value;
use crate::otlp::Request;
use crate::{Error, MAX_JSON_DEPTH, Options, Translated};

/// The attribute that says of a span that it came without a time.
const NO_TIME: &str = "otel.zipkin.absentField.startTime";
/// Nanoseconds of a microsecond.
const MICRO: u64 = 1000;

/// One side of a call.
#[derive(Clone, Debug, Default, PartialEq)]
struct Endpoint<'a> {
    service: Cow<'a, str>,
    ipv4: Cow<'a, str>,
    ipv6: Cow<'a, str>,
    /// 0 for none.
    port: u16,
}

impl Endpoint<'_> {
    /// Reads the four-byte and sixteen-byte forms; others are none.
    fn set_address(&mut self, bytes: &[u8]) {
        if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
            self.ipv4 = Ipv4Addr::from(bytes).to_string().into();
        } else if let Ok(bytes) = <[u8; 16]>::try_from(bytes) {
            self.ipv6 = Ipv6Addr::from(bytes).to_canonical().to_string().into();
        }
    }
}

/// An endpoint in JSON, which v1 and v2 write alike.
fn json_endpoint<'a>(reader: &mut Reader<'a>) -> Result<Endpoint<'a>, Fail> {
    let mut endpoint = Endpoint::default();
    let names = |key: &[u8]| match key {
        b"serviceName" => 1,
        b"ipv4" => 2,
        b"ipv6" => 3,
        b"port" => 4,
        _ => 0,
    };
    reader.object(names, |reader, field| {
        match field {
            1 => endpoint.service = reader.text("a name")?,
            2 => endpoint.ipv4 = address(reader.text("an address")?),
            3 => endpoint.ipv6 = address(reader.text("an address")?),
            _ => endpoint.port = u16::try_from(json_integer(reader)?).unwrap_or(0),
        }
        Ok(())
    })?;
    Ok(endpoint)
}

/// An address as it is written as a rule; what is none stays as it came.
fn address(text: Cow<'_, str>) -> Cow<'_, str> {
    match text.parse::<IpAddr>() {
        Ok(address) => {
            let written = address.to_canonical().to_string();
            if written == text { text } else { written.into() }
        }
        Err(_) => text,
    }
}

/// A whole number, which some senders put into quotes or give a fraction.
fn json_integer(reader: &mut Reader<'_>) -> Result<i64, Fail> {
    let at = reader.at();
    let text = reader.number_text("a whole number")?;
    if let Ok(value) = text.parse() {
        return Ok(value);
    }
    // Times beyond 2^53 microseconds are no times.
    let value = text.parse::<f64>().ok().filter(|value| value.abs() < 9e15);
    let value = value.and_then(|value| format!("{:.0}", value.trunc()).parse().ok());
    value.ok_or_else(|| Fail::value(at, format!("{text:?} is no whole number")))
}

/// A number of microseconds as nanoseconds; negative ones are 0.
fn nanos(micros: i64) -> u64 {
    u64::try_from(micros).unwrap_or(0).saturating_mul(MICRO)
}

/// A trace id in hexadecimal, up to 32 digits.
fn trace_id(text: &str) -> Result<u128, String> {
    if text.is_empty() {
        return Err("valid traceId required".to_owned());
    }
    hex(text, 32)
}

/// A span id in hexadecimal, up to 16 digits.
fn span_id(text: &str) -> Result<u64, String> {
    let id = hex(text, 16)?;
    u64::try_from(id).map_err(|_| format!("strconv.ParseUint: parsing {text:?}: value out of range"))
}

/// Complains in the words of Tempo, which senders' tests may know.
fn hex(text: &str, digits: usize) -> Result<u128, String> {
    let shown: String = text.chars().take(64).collect();
    if text.len() > digits {
        return Err(format!("strconv.ParseUint: parsing {shown:?}: value out of range"));
    }
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = if is_hex { u128::from_str_radix(text, 16).ok() } else { None };
    id.ok_or_else(|| format!("strconv.ParseUint: parsing {shown:?}: invalid syntax"))
}

/// A tag as it is, or as the number or boolean that it looks like.
fn value(text: Cow<'_, str>, parse: bool) -> Value<'_> {
    if !parse {
        return Value::Text(text);
    }
    match text.as_ref() {
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix('-').unwrap_or(&text);
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = match digits.split_once('.') {
        None if all_digits(digits) => text.parse().map(Value::Int).ok(),
        Some((whole, rest)) if all_digits(whole) && all_digits(rest) => text.parse().map(Value::Double).ok(),
        _ => None,
    };
    parsed.unwrap_or(Value::Text(text))
}

/// Reads a list of spans in JSON; `span` takes one and may refuse it.
fn json_spans(
    body: &[u8],
    options: &Options,
    mut span: impl FnMut(&mut Reader<'_>, &mut Request) -> Result<(), OneSpan>,
) -> Result<Translated, Error> {
    // The lossy reading goes byte by byte, so it is kept for those who need it.
    let text = str::from_utf8(body).map_or_else(|_| String::from_utf8_lossy(body), Cow::Borrowed);
    let mut reader = Reader::new(&text, MAX_JSON_DEPTH);
    let mut request = Request::new(options);
    let mut failed = None;
    let read = is_whole(&mut reader).and_then(|()| {
        reader.array(|reader, index| {
            if reader.null()? {
                return Ok(());
            }
            let mark = reader.mark();
            let refuse = match span(reader, &mut request) {
                Ok(()) => return Ok(()),
                Err(OneSpan::Refused(reason)) => reason,
                Err(OneSpan::Json(fail)) if fail.is_syntax() => return Err(fail),
                Err(OneSpan::Json(fail)) => fail.reason(&format!("[{index}]")),
                Err(OneSpan::Whole(error)) => {
                    failed = Some(error);
                    return Err(Fail::syntax(reader.at(), ""));
                }
            };
            reader.rewind(mark);
            reader.skip()?;
            request.refuse(refuse).map_err(|error| {
                failed = Some(error);
                Fail::syntax(reader.at(), "")
            })
        })
    });
    request.checked(Ok::<_, Error>(()))?;
    match (read.and_then(|()| reader.finish()), failed) {
        (_, Some(error)) => Err(error),
        (Err(fail), None) => Err(Error::Json(whole(&fail.into_error(&text).to_string()))),
        (Ok(()), None) => request.finish(),
    }
}

/// Of a text that is no list, first that it breaks off.
fn is_whole(reader: &mut Reader<'_>) -> Result<(), Fail> {
    if reader.peek()? != b'[' {
        let mark = reader.mark();
        reader.skip()?;
        reader.rewind(mark);
    }
    Ok(())
}

/// The end of the text too early is told in Tempo's words.
fn whole(complaint: &str) -> String {
    const END: &str = "unexpected end of JSON input";
    if complaint.contains(END) { END.to_owned() } else { complaint.to_owned() }
}

/// Why a span was not taken.
#[derive(Debug)]
enum OneSpan {
    /// For what it says.
    Refused(String),
    /// For how it is written.
    Json(Fail),
    /// Because no more can be taken at all.
    Whole(Error),
}

impl From<Fail> for OneSpan {
    fn from(fail: Fail) -> Self {
        Self::Json(fail)
    }
}

impl From<String> for OneSpan {
    fn from(reason: String) -> Self {
        Self::Refused(reason)
    }
}

impl From<Error> for OneSpan {
    fn from(error: Error) -> Self {
        Self::Whole(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        assert_eq!(trace_id("1"), Ok(1));
        assert_eq!(
            trace_id("463ac35c9f6413ad48485a3953bb6124"),
            Ok(0x463a_c35c_9f64_13ad_4848_5a39_53bb_6124)
        );
        assert_eq!(trace_id(""), Err("valid traceId required".to_owned()));
        let refused = "strconv.ParseUint: parsing \"qqqqqqqqqqqqqqqq\": invalid syntax";
        assert_eq!(trace_id("qqqqqqqqqqqqqqqq"), Err(refused.to_owned()));
        assert!(trace_id("+1").is_err());
        assert!(trace_id(&"1".repeat(33)).is_err());
        assert_eq!(span_id("fFfFfFfFfFfFfFfF"), Ok(u64::MAX));
        assert!(span_id("10000000000000000").is_err());
    }

    #[test]
    fn what_tags_look_like() {
        let text = |text: &'static str| Value::Text(text.into());
        for (written, parsed) in [
            ("", text("")),
            ("12", Value::Int(12)),
            ("-12", Value::Int(-12)),
            ("--1", text("--1")),
            ("99999999999999999999", text("99999999999999999999")),
            ("1.50", Value::Double(1.5)),
            ("-0.5", Value::Double(-0.5)),
            ("1.", text("1.")),
            (".5", text(".5")),
            ("1e5", text("1e5")),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("True", text("True")),
            ("NaN", text("NaN")),
        ] {
            assert_eq!(value(written.into(), true), parsed, "{written:?}");
            assert_eq!(value(written.into(), false), text(written));
        }
    }
}
