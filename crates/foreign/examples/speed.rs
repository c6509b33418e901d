//! What the translations cost a span, beside what OTLP costs: `cargo run --release -p trackway-foreign --example speed`.

#![allow(clippy::print_stdout, reason = "the numbers are for a person")]
#![allow(clippy::disallowed_methods, reason = "measures real time")]

use std::error::Error;
use std::fmt::Write;
use std::time::Instant;

use trackway_foreign::{Options, Protocol, Translated, jaeger, zipkin};
use trackway_spans::wire::{put_bytes, put_message, put_number};
use trackway_spans::{BatchBuilder, Limits, append_request};

/// A translation of a body.
type Translate<'a> = &'a dyn Fn() -> Result<Translated, trackway_foreign::Error>;

const SPANS: u64 = 20_000;
const ROUNDS: u32 = 10;
const TAGS: [(&str, &str); 10] = [
    ("span.kind", "server"),
    ("http.method", "GET"),
    ("http.url", "https://shop.example.com/api/products/17?page=2"),
    ("http.route", "/api/products/{id}"),
    ("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"),
    ("net.peer.name", "shop.example.com"),
    ("network.protocol.version", "1.1"),
    ("thread.name", "worker-12"),
    ("component", "http"),
    ("customer.region", "europe-west"),
];

/// Time this thread has spent on a processor, where the system tells; else time that has passed.
fn seconds(start: Instant) -> f64 {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat");
    let nanos = spent.ok().and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanos.map_or_else(|| start.elapsed().as_secs_f64(), |nanos| nanos / 1e9)
}

/// The least time of some rounds, in nanoseconds a span.
fn nanos_a_span(mut work: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let (origin, mut best) = (Instant::now(), f64::INFINITY);
    for _ in 0..ROUNDS {
        let before = seconds(origin);
        work()?;
        best = best.min(seconds(origin) - before);
    }
    Ok(best * 1e9 / 20_000.0)
}

fn post_spans() -> Vec<u8> {
    let time = |out: &mut Vec<u8>, number, seconds, nanos| {
        put_message(out, number, |out| {
            put_number(out, 1, seconds);
            put_number(out, 2, nanos);
        });
    };
    let mut out = Vec::new();
    put_message(&mut out, 1, |out| {
        for span in 1..=SPANS {
            put_message(out, 1, |out| {
                put_bytes(out, 1, &u128::from(span / 50 + 1).to_be_bytes());
                put_bytes(out, 2, &span.to_be_bytes());
                put_bytes(out, 3, b"GET /api/products/{id}");
                time(out, 6, 1_700_000_000, span * 1000);
                time(out, 7, 0, 5_000_000);
                for (key, value) in TAGS {
                    put_message(out, 8, |out| {
                        put_bytes(out, 1, key.as_bytes());
                        put_bytes(out, 3, value.as_bytes());
                    });
                }
            });
        }
        put_message(out, 2, |out| put_bytes(out, 1, b"shop"));
    });
    out
}

fn field(out: &mut Vec<u8>, kind: u8, number: i16) {
    out.push(kind);
    out.extend(number.to_be_bytes());
}

fn text(out: &mut Vec<u8>, number: i16, text: &str) -> Result<(), Box<dyn Error>> {
    field(out, 11, number);
    out.extend(u32::try_from(text.len())?.to_be_bytes());
    out.extend(text.as_bytes());
    Ok(())
}

fn thrift() -> Result<Vec<u8>, Box<dyn Error>> {
    let mut out = Vec::new();
    field(&mut out, 12, 1);
    text(&mut out, 1, "shop")?;
    out.push(0);
    field(&mut out, 15, 2);
    out.push(12);
    out.extend(u32::try_from(SPANS)?.to_be_bytes());
    for span in 1..=SPANS {
        let numbers = [(1, span / 50 + 1), (2, 0), (3, span), (8, 1_700_000_000_000_000 + span), (9, 5000)];
        for (number, value) in numbers {
            field(&mut out, 10, number);
            out.extend(value.to_be_bytes());
        }
        text(&mut out, 5, "GET /api/products/{id}")?;
        field(&mut out, 15, 10);
        out.push(12);
        out.extend(u32::try_from(TAGS.len())?.to_be_bytes());
        for (key, value) in TAGS {
            text(&mut out, 1, key)?;
            field(&mut out, 8, 2);
            out.extend([0; 4]);
            text(&mut out, 3, value)?;
            out.push(0);
        }
        out.push(0);
    }
    out.push(0);
    Ok(out)
}

fn zipkin_json() -> Result<Vec<u8>, Box<dyn Error>> {
    let mut out = String::from("[");
    for span in 1..=SPANS {
        let (comma, trace, time) =
            (if span > 1 { "," } else { "" }, span / 50 + 1, 1_700_000_000_000_000 + span);
        write!(
            out,
            r#"{comma}{{"traceId":"{trace:032x}","id":"{span:016x}","kind":"SERVER","name":"get /api","timestamp":{time},"duration":5000,"localEndpoint":{{"serviceName":"shop","ipv4":"10.0.0.1"}},"tags":{{"#
        )?;
        for (place, (key, value)) in TAGS.iter().enumerate() {
            write!(out, r#"{}"{key}":"{value}""#, if place > 0 { "," } else { "" })?;
        }
        out.push_str("}}");
    }
    out.push(']');
    Ok(out.into_bytes())
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options { max_output: usize::MAX, parse_string_tags: false, now: 1 };
    let (proto, thrift, json) = (post_spans(), thrift()?, zipkin_json()?);
    let translate: [(&str, Translate<'_>); 3] = [
        ("Jaeger protobuf", &|| jaeger::post_spans(&proto, &options)),
        ("Jaeger Thrift", &|| jaeger::http_body(&thrift, Protocol::Binary, &options)),
        ("Zipkin v2 JSON", &|| zipkin::v2_json(&json, &options)),
    ];
    for (what, translate) in translate {
        let otlp = translate()?.protobuf;
        let columns = nanos_a_span(|| {
            append_request(&mut BatchBuilder::new(), &otlp, Limits::default(), &[])?;
            Ok(())
        })?;
        let alone = nanos_a_span(|| {
            translate()?;
            Ok(())
        })?;
        println!(
            "{what:16} {alone:6.0} ns a span to translate; {columns:6.0} ns from OTLP into columns; {:.2}x",
            (alone + columns) / columns
        );
    }
    Ok(())
}
