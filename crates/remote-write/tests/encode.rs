//! What the encoder writes, read by messages that `prost` derives from the published definitions.
//!
//! Where those have `double`, these have `fixed64`: the same bytes, but every bit counts, of NaN and of -0 too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use trackway_remote_write::{
    Counts, Encoder, Exemplar, Full, MAX_BYTES, MetricKind, NativeHistogram, Protocol, Request, ResetHint,
    Sample, Series,
};

/// `prometheus.WriteRequest` and what `io.prometheus.write.v2.Request` shares with it.
mod v1 {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct WriteRequest {
        #[prost(message, repeated, tag = "1")]
        pub(crate) timeseries: Vec<TimeSeries>,
        #[prost(bytes, repeated, tag = "3")]
        pub(crate) metadata: Vec<Vec<u8>>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct TimeSeries {
        #[prost(message, repeated, tag = "1")]
        pub(crate) labels: Vec<Label>,
        #[prost(message, repeated, tag = "2")]
        pub(crate) samples: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub(crate) exemplars: Vec<Exemplar>,
        #[prost(message, repeated, tag = "4")]
        pub(crate) histograms: Vec<Histogram>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Label {
        #[prost(string, tag = "1")]
        pub(crate) name: String,
        #[prost(string, tag = "2")]
        pub(crate) value: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Sample {
        #[prost(fixed64, tag = "1")]
        pub(crate) value: u64,
        #[prost(int64, tag = "2")]
        pub(crate) timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Exemplar {
        #[prost(message, repeated, tag = "1")]
        pub(crate) labels: Vec<Label>,
        #[prost(fixed64, tag = "2")]
        pub(crate) value: u64,
        #[prost(int64, tag = "3")]
        pub(crate) timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Histogram {
        #[prost(oneof = "Count", tags = "1, 2")]
        pub(crate) count: Option<Count>,
        #[prost(fixed64, tag = "3")]
        pub(crate) sum: u64,
        #[prost(sint32, tag = "4")]
        pub(crate) schema: i32,
        #[prost(fixed64, tag = "5")]
        pub(crate) zero_threshold: u64,
        #[prost(oneof = "ZeroCount", tags = "6, 7")]
        pub(crate) zero_count: Option<ZeroCount>,
        #[prost(message, repeated, tag = "8")]
        pub(crate) negative_spans: Vec<Span>,
        #[prost(sint64, repeated, tag = "9")]
        pub(crate) negative_deltas: Vec<i64>,
        #[prost(fixed64, repeated, tag = "10")]
        pub(crate) negative_counts: Vec<u64>,
        #[prost(message, repeated, tag = "11")]
        pub(crate) positive_spans: Vec<Span>,
        #[prost(sint64, repeated, tag = "12")]
        pub(crate) positive_deltas: Vec<i64>,
        #[prost(fixed64, repeated, tag = "13")]
        pub(crate) positive_counts: Vec<u64>,
        #[prost(int32, tag = "14")]
        pub(crate) reset_hint: i32,
        #[prost(int64, tag = "15")]
        pub(crate) timestamp: i64,
    }

    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub(crate) enum Count {
        #[prost(uint64, tag = "1")]
        Int(u64),
        #[prost(fixed64, tag = "2")]
        Float(u64),
    }

    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub(crate) enum ZeroCount {
        #[prost(uint64, tag = "6")]
        Int(u64),
        #[prost(fixed64, tag = "7")]
        Float(u64),
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(crate) struct Span {
        #[prost(sint32, tag = "1")]
        pub(crate) offset: i32,
        #[prost(uint32, tag = "2")]
        pub(crate) length: u32,
    }
}

/// `io.prometheus.write.v2.Request`.
mod v2 {
    use super::v1::{Histogram, Sample};

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Request {
        #[prost(string, repeated, tag = "4")]
        pub(crate) symbols: Vec<String>,
        #[prost(message, repeated, tag = "5")]
        pub(crate) timeseries: Vec<TimeSeries>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct TimeSeries {
        #[prost(uint32, repeated, tag = "1")]
        pub(crate) labels_refs: Vec<u32>,
        #[prost(message, repeated, tag = "2")]
        pub(crate) samples: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub(crate) histograms: Vec<Histogram>,
        #[prost(message, repeated, tag = "4")]
        pub(crate) exemplars: Vec<Exemplar>,
        #[prost(message, optional, tag = "5")]
        pub(crate) metadata: Option<Metadata>,
        #[prost(int64, tag = "6")]
        pub(crate) created_timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Exemplar {
        #[prost(uint32, repeated, tag = "1")]
        pub(crate) labels_refs: Vec<u32>,
        #[prost(fixed64, tag = "2")]
        pub(crate) value: u64,
        #[prost(int64, tag = "3")]
        pub(crate) timestamp: i64,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(crate) struct Metadata {
        #[prost(int32, tag = "1")]
        pub(crate) kind: i32,
        #[prost(uint32, tag = "3")]
        pub(crate) help_ref: u32,
        #[prost(uint32, tag = "4")]
        pub(crate) unit_ref: u32,
    }
}

type Pairs = Vec<(String, String)>;

/// A series that owns what it says.
#[derive(Clone, Debug)]
struct Owned {
    labels: Pairs,
    kind: MetricKind,
    samples: Vec<Sample>,
    exemplars: Vec<(Pairs, f64, i64)>,
    histograms: Vec<NativeHistogram>,
}

fn borrowed(pairs: &Pairs) -> Vec<(&str, &str)> {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn add(encoder: &mut Encoder, owned: &Owned) -> Result<(), Full> {
    let labels = borrowed(&owned.labels);
    let of_exemplars: Vec<_> = owned.exemplars.iter().map(|(labels, ..)| borrowed(labels)).collect();
    let exemplars: Vec<Exemplar<'_>> = owned
        .exemplars
        .iter()
        .zip(&of_exemplars)
        .map(|((_, value, timestamp_ms), labels)| Exemplar {
            labels,
            value: *value,
            timestamp_ms: *timestamp_ms,
        })
        .collect();
    let (samples, histograms) = (owned.samples.as_slice(), owned.histograms.as_slice());
    let before = encoder.bytes();
    encoder.add(&Series { labels: &labels, kind: owned.kind, samples, exemplars: &exemplars, histograms })?;
    assert!(encoder.bytes() >= before);
    Ok(())
}

fn unpacked(request: &Request) -> Vec<u8> {
    snap::raw::Decoder::new().decompress_vec(&request.body).expect("snappy's block format")
}

/// The same series in the form of 1.0: what has samples first, then what has histograms.
fn expected(owned: &Owned) -> Vec<(MetricKind, v1::TimeSeries)> {
    let labels = |pairs: &Pairs| -> Vec<v1::Label> {
        pairs.iter().map(|(name, value)| v1::Label { name: name.clone(), value: value.clone() }).collect()
    };
    let exemplars = owned.exemplars.iter().map(|(pairs, value, timestamp)| v1::Exemplar {
        labels: labels(pairs),
        value: value.to_bits(),
        timestamp: *timestamp,
    });
    let mut plain = v1::TimeSeries {
        labels: labels(&owned.labels),
        samples: owned
            .samples
            .iter()
            .map(|sample| v1::Sample { value: sample.value.to_bits(), timestamp: sample.timestamp_ms })
            .collect(),
        exemplars: exemplars.collect(),
        histograms: Vec::new(),
    };
    let mut native = v1::TimeSeries { labels: labels(&owned.labels), ..v1::TimeSeries::default() };
    native.histograms = owned.histograms.iter().map(histogram).collect();
    if plain.samples.is_empty() && !native.histograms.is_empty() {
        native.exemplars = std::mem::take(&mut plain.exemplars);
    }
    let says = |one: &v1::TimeSeries| {
        !(one.samples.is_empty() && one.exemplars.is_empty() && one.histograms.is_empty())
    };
    [plain, native].into_iter().filter(says).map(|one| (owned.kind, one)).collect()
}

fn histogram(of: &NativeHistogram) -> v1::Histogram {
    let mut out = v1::Histogram {
        sum: of.sum.to_bits(),
        schema: of.schema,
        zero_threshold: of.zero_threshold.to_bits(),
        positive_spans: of
            .positive_spans
            .iter()
            .map(|(offset, length)| v1::Span { offset: *offset, length: *length })
            .collect(),
        reset_hint: match of.reset_hint {
            ResetHint::Unknown => 0,
            ResetHint::Yes => 1,
            ResetHint::No => 2,
            ResetHint::Gauge => 3,
        },
        timestamp: of.timestamp_ms,
        ..v1::Histogram::default()
    };
    match &of.counts {
        Counts::Integers { count, zero, deltas } => {
            out.count = Some(v1::Count::Int(*count));
            out.zero_count = Some(v1::ZeroCount::Int(*zero));
            out.positive_deltas = deltas.clone();
        }
        Counts::Floats { count, zero, counts } => {
            out.count = Some(v1::Count::Float(count.to_bits()));
            out.zero_count = Some(v1::ZeroCount::Float(zero.to_bits()));
            out.positive_counts = counts.iter().map(|count| count.to_bits()).collect();
        }
    }
    out
}

/// A request of 2.0 in the form of 1.0, with the kinds; checks what 2.0 asks for on the way.
fn read_v2(bytes: &[u8]) -> Vec<(MetricKind, v1::TimeSeries)> {
    let request = v2::Request::decode(bytes).expect("a request of 2.0");
    assert_eq!(request.symbols.first().map(String::as_str), Some(""));
    assert_eq!(request.symbols.iter().collect::<HashSet<_>>().len(), request.symbols.len(), "each once");
    let labels = |refs: &[u32]| -> Vec<v1::Label> {
        assert_eq!(refs.len() % 2, 0);
        let text = |number: u32| request.symbols[number as usize].clone();
        refs.chunks(2).map(|pair| v1::Label { name: text(pair[0]), value: text(pair[1]) }).collect()
    };
    let one = |series: &v2::TimeSeries| {
        let metadata = series.metadata.expect("metadata");
        assert_eq!((metadata.help_ref, metadata.unit_ref, series.created_timestamp), (0, 0, 0));
        let kind = match metadata.kind {
            1 => MetricKind::Counter,
            2 => MetricKind::Gauge,
            3 => MetricKind::Histogram,
            other => panic!("kind {other}"),
        };
        let exemplars = series.exemplars.iter().map(|one| v1::Exemplar {
            labels: labels(&one.labels_refs),
            value: one.value,
            timestamp: one.timestamp,
        });
        assert!(series.samples.is_empty() || series.histograms.is_empty(), "not both");
        let read = v1::TimeSeries {
            labels: labels(&series.labels_refs),
            samples: series.samples.clone(),
            exemplars: exemplars.collect(),
            histograms: series.histograms.clone(),
        };
        (kind, read)
    };
    request.timeseries.iter().map(one).collect()
}

fn check(all: &[Owned]) {
    let want: Vec<_> = all.iter().flat_map(expected).collect();
    for protocol in [Protocol::V1, Protocol::V2] {
        let mut encoder = Encoder::new(protocol);
        // Twice: the second request has to know nothing of the first.
        for turn in 0..2 {
            assert!(encoder.is_empty());
            all.iter().for_each(|one| add(&mut encoder, one).expect("room"));
            let counts = (encoder.samples(), encoder.exemplars(), encoder.histograms());
            let request = encoder.finish();
            assert_eq!(request.protocol, protocol);
            assert_eq!(counts, (request.samples, request.exemplars, request.histograms));
            assert_eq!(request.samples, all.iter().map(|one| one.samples.len()).sum::<usize>());
            assert_eq!(request.exemplars, all.iter().map(|one| one.exemplars.len()).sum::<usize>());
            assert_eq!(request.histograms, all.iter().map(|one| one.histograms.len()).sum::<usize>());
            let bytes = unpacked(&request);
            match protocol {
                Protocol::V1 => {
                    let naive = v1::WriteRequest {
                        timeseries: want.iter().map(|(_, one)| one.clone()).collect(),
                        metadata: Vec::new(),
                    };
                    assert!(bytes == naive.encode_to_vec(), "turn {turn}: other bytes than prost's");
                }
                Protocol::V2 => assert_eq!(read_v2(&bytes), want, "turn {turn}"),
            }
        }
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-c_]{1,3}",
        2 => "\\PC{0,12}",
        1 => "[xyz]{120,140}",
        1 => "[xyz]{16300,16500}",
    ]
}

fn number() -> impl Strategy<Value = f64> {
    // Those that are written otherwise than others: defaults, and the bits of a series' end.
    prop_oneof![
        any::<f64>(),
        Just(0.0),
        Just(-0.0),
        Just(f64::from_bits(0x7ff0_0000_0000_0002)),
        Just(f64::INFINITY)
    ]
}

fn pairs() -> impl Strategy<Value = Pairs> {
    vec((text(), text()), 0..6)
}

fn native() -> impl Strategy<Value = NativeHistogram> {
    let whole = (any::<u64>(), any::<u64>(), vec(any::<i64>(), 0..40))
        .prop_map(|(count, zero, deltas)| Counts::Integers { count, zero, deltas });
    let weighted = (number(), number(), vec(number(), 0..40))
        .prop_map(|(count, zero, counts)| Counts::Floats { count, zero, counts });
    let hint = prop_oneof![
        Just(ResetHint::Unknown),
        Just(ResetHint::Yes),
        Just(ResetHint::No),
        Just(ResetHint::Gauge)
    ];
    let spans = vec((any::<i32>(), any::<u32>()), 0..5);
    (any::<i64>(), number(), -4..=8i32, number(), prop_oneof![whole, weighted], spans, hint).prop_map(
        |(timestamp_ms, sum, schema, zero_threshold, counts, positive_spans, reset_hint)| NativeHistogram {
            timestamp_ms,
            sum,
            schema,
            zero_threshold,
            counts,
            positive_spans,
            reset_hint,
        },
    )
}

fn series() -> impl Strategy<Value = Owned> {
    let kind = prop_oneof![Just(MetricKind::Counter), Just(MetricKind::Gauge), Just(MetricKind::Histogram)];
    let sample = (any::<i64>(), number()).prop_map(|(timestamp_ms, value)| Sample { timestamp_ms, value });
    let exemplars = vec((pairs(), number(), any::<i64>()), 0..3);
    (pairs(), kind, vec(sample, 0..4), exemplars, vec(native(), 0..3)).prop_map(
        |(labels, kind, samples, exemplars, histograms)| Owned {
            labels,
            kind,
            samples,
            exemplars,
            histograms,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_series_come_back(all in vec(series(), 0..12)) {
        check(&all);
    }
}

fn plain(labels: &[(&str, &str)], samples: usize) -> Owned {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Owned {
        labels: labels.iter().map(pair).collect(),
        kind: MetricKind::Counter,
        samples: vec![Sample { timestamp_ms: 5, value: 1.5 }; samples],
        exemplars: Vec::new(),
        histograms: Vec::new(),
    }
}

#[test]
fn bytes_as_the_specification_has_them() {
    let one = plain(&[("__name__", "m")], 1);
    let mut encoder = Encoder::new(Protocol::V1);
    add(&mut encoder, &one).unwrap();
    let want = b"\x0a\x1c\x0a\x0d\x0a\x08__name__\x12\x01m\x12\x0b\x09\0\0\0\0\0\0\xf8\x3f\x10\x05";
    assert_eq!(unpacked(&encoder.finish()), want);
    let mut encoder = Encoder::new(Protocol::V2);
    add(&mut encoder, &one).unwrap();
    let want =
        b"\x22\0\x22\x08__name__\x22\x01m\x2a\x15\x0a\x02\x01\x02\x12\x0b\x09\0\0\0\0\0\0\xf8\x3f\x10\x05\
                 \x2a\x02\x08\x01";
    assert_eq!(unpacked(&encoder.finish()), want);
}

#[test]
fn an_empty_request_has_the_empty_symbol_and_a_series_without_anything_is_left_out() {
    for (protocol, want) in [(Protocol::V1, &b""[..]), (Protocol::V2, &b"\x22\0"[..])] {
        let mut encoder = Encoder::new(protocol);
        add(&mut encoder, &plain(&[("a", "b")], 0)).unwrap();
        assert!(encoder.is_empty());
        assert_eq!(unpacked(&encoder.finish()), want);
    }
}

#[test]
fn cleared_is_as_new() {
    for protocol in [Protocol::V1, Protocol::V2] {
        let mut encoder = Encoder::new(protocol);
        add(&mut encoder, &plain(&[("a", "b")], 3)).unwrap();
        assert_eq!((encoder.samples(), encoder.is_empty()), (3, false));
        encoder.clear();
        assert_eq!(encoder.finish(), Encoder::new(protocol).finish());
    }
}

#[test]
fn what_does_not_fit_is_refused_and_the_rest_is_whole() {
    let megabyte = "x".repeat(1 << 20);
    for protocol in [Protocol::V1, Protocol::V2] {
        let mut encoder = Encoder::new(protocol);
        let mut added = 0;
        loop {
            let value = format!("{added}{megabyte}");
            if add(&mut encoder, &plain(&[("__name__", &value)], 1)).is_err() {
                break;
            }
            added += 1;
        }
        assert!(added >= 15, "{added}");
        let bytes = unpacked(&encoder.finish());
        assert!(bytes.len() <= MAX_BYTES);
        let found = match protocol {
            Protocol::V1 => v1::WriteRequest::decode(&*bytes).unwrap().timeseries.len(),
            Protocol::V2 => read_v2(&bytes).len(),
        };
        assert_eq!(found, added);
        let huge = "x".repeat(MAX_BYTES);
        assert_eq!(add(&mut encoder, &plain(&[("__name__", &huge)], 1)), Err(Full));
        assert!(encoder.is_empty());
    }
}

/// Prints how long 100,000 series of eight labels take: `cargo test --release --test encode -- --ignored --nocapture`.
#[test]
#[ignore = "it measures, and says something in release only"]
#[allow(clippy::disallowed_methods, clippy::print_stdout)] // it measures
fn speed() {
    let names: Vec<[String; 8]> = (0..100_000)
        .map(|n: u32| {
            [
                "traces_spanmetrics_latency_bucket".to_owned(),
                format!("service-{}", n % 97),
                format!("GET /api/v1/things/{}", n % 1009),
                "SPAN_KIND_SERVER".to_owned(),
                "STATUS_CODE_UNSET".to_owned(),
                format!("{}.{}", n % 13, n % 7),
                format!("pod-{}", n % 331),
                "trackway".to_owned(),
            ]
        })
        .collect();
    let keys = ["__name__", "service", "span_name", "span_kind", "status_code", "le", "pod", "source"];
    for protocol in [Protocol::V1, Protocol::V2] {
        let mut encoder = Encoder::new(protocol);
        for at_once in [100_000, 2000, 2000] {
            let began = std::time::Instant::now();
            let (mut packed, mut raw) = (0, 0);
            for batch in names.chunks(at_once) {
                for values in batch {
                    let labels: [(&str, &str); 8] = std::array::from_fn(|n| (keys[n], values[n].as_str()));
                    let samples = [Sample { timestamp_ms: 1_700_000_000_000, value: 42.0 }];
                    let kind = MetricKind::Histogram;
                    let one =
                        Series { labels: &labels, kind, samples: &samples, exemplars: &[], histograms: &[] };
                    encoder.add(&one).unwrap();
                }
                raw += encoder.bytes();
                packed += encoder.finish().body.len();
            }
            let took = began.elapsed();
            println!("{protocol}: {at_once} series at once: {took:?}, {raw} bytes, {packed} packed");
        }
    }
}
