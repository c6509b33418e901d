//! How fast the conversions are: `cargo run --release -p trackway-otlpjson --example speed`.

#![allow(clippy::print_stdout, reason = "the numbers are for a person")]
#![allow(clippy::disallowed_methods, reason = "measures real time")]

use std::error::Error;
use std::fmt::Write;
use std::time::Instant;

use trackway_otlpjson::{Limits, LlmAnswer, Style, to_protobuf, write_llm_json, write_trace_json};

const SPANS: usize = 20_000;
const ROUNDS: u32 = 10;

/// Time this thread has spent on a processor, where the system tells; else time that has passed.
fn seconds(start: Instant) -> f64 {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat");
    let nanos = spent.ok().and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanos.map_or_else(|| start.elapsed().as_secs_f64(), |nanos| nanos / 1e9)
}

/// A request as an SDK would send it: ten attributes a span, an event on every fourth.
fn request() -> Result<String, std::fmt::Error> {
    let mut json = String::from(
        r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeSpans":[{"scope":{"name":"lib","version":"1.0"},"spans":["#,
    );
    for index in 0..SPANS {
        if index > 0 {
            json.push(',');
        }
        write!(
            json,
            r#"{{"traceId":"{:032x}","spanId":"{:016x}","parentSpanId":"{:016x}","name":"GET /api/products/{{id}}","kind":2,"startTimeUnixNano":"{}","endTimeUnixNano":"{}","attributes":["#,
            index / 50,
            index + 1,
            index / 2 + 1,
            1_795_336_140_000_000_000 + index * 1_000,
            1_795_336_140_000_500_000 + index * 1_000,
        )?;
        write!(
            json,
            r#"{{"key":"http.request.method","value":{{"stringValue":"GET"}}}},{{"key":"http.response.status_code","value":{{"intValue":"200"}}}},{{"key":"url.path","value":{{"stringValue":"/api/products/{index}"}}}},{{"key":"server.address","value":{{"stringValue":"shop.example.com"}}}},{{"key":"server.port","value":{{"intValue":8443}}}},{{"key":"user_agent.original","value":{{"stringValue":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"}}}},{{"key":"network.protocol.version","value":{{"stringValue":"1.1"}}}},{{"key":"cache.hit","value":{{"boolValue":true}}}},{{"key":"score","value":{{"doubleValue":0.25}}}},{{"key":"tags","value":{{"arrayValue":{{"values":[{{"stringValue":"a"}},{{"stringValue":"b"}}]}}}}}}],"#,
        )?;
        if index % 4 == 0 {
            json.push_str(r#""events":[{"timeUnixNano":"1795336140000000005","name":"exception","attributes":[{"key":"exception.message","value":{"stringValue":"it \"broke\"\nat line 5"}}]}],"#);
        }
        json.push_str(r#""status":{"code":1},"flags":257}"#);
    }
    json.push_str("]}]}]}");
    Ok(json)
}

fn measure(
    what: &str,
    bytes: usize,
    mut work: impl FnMut() -> Result<(), trackway_otlpjson::Error>,
) -> Result<(), trackway_otlpjson::Error> {
    let mut best = f64::INFINITY;
    let origin = Instant::now();
    for _ in 0..ROUNDS {
        let start = seconds(origin);
        work()?;
        best = best.min(seconds(origin) - start);
    }
    let per_span = best * 1e9 / SPANS as f64;
    println!("{what:<28} {:>7.0} MB of JSON a second, {per_span:>6.0} ns a span", bytes as f64 / best / 1e6);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let json = request()?;
    let limits = Limits::default();
    let proto = to_protobuf(json.as_bytes(), &limits)?.protobuf;
    println!("{SPANS} spans, {} bytes of JSON, {} of protobuf", json.len(), proto.len());
    measure("JSON to protobuf", json.len(), || to_protobuf(json.as_bytes(), &limits).map(|_| ()))?;
    let mut out = Vec::new();
    write_trace_json(&proto, Style::V2ResourceSpans, &mut out)?;
    measure("protobuf to JSON", out.len(), || {
        let mut out = Vec::with_capacity(json.len());
        write_trace_json(&proto, Style::V2ResourceSpans, &mut out)
    })?;
    out.clear();
    write_llm_json(&proto, LlmAnswer::default(), &mut out)?;
    measure("protobuf to the short form", out.len(), || {
        let mut out = Vec::with_capacity(json.len());
        write_llm_json(&proto, LlmAnswer::default(), &mut out)
    })?;
    Ok(())
}
