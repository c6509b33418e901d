//! Writes Thrift in both protocols, from values as a client's library has them.

#![allow(dead_code, unreachable_pub)]

/// A value.
#[derive(Clone, Debug)]
pub enum T {
    Bool(bool),
    I16(i16),
    I32(i32),
    I64(i64),
    F64(f64),
    Text(&'static str),
    Bytes(Vec<u8>),
    Struct(Vec<(i16, Self)>),
    List(Vec<Self>),
}

impl T {
    fn binary_type(&self) -> u8 {
        match self {
            Self::Bool(_) => 2,
            Self::I16(_) => 6,
            Self::I32(_) => 8,
            Self::I64(_) => 10,
            Self::F64(_) => 4,
            Self::Text(_) | Self::Bytes(_) => 11,
            Self::Struct(_) => 12,
            Self::List(_) => 15,
        }
    }

    /// `TBinaryProtocol`.
    pub fn binary(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bool(value) => out.push(u8::from(*value)),
            Self::I16(value) => out.extend(value.to_be_bytes()),
            Self::I32(value) => out.extend(value.to_be_bytes()),
            Self::I64(value) => out.extend(value.to_be_bytes()),
            Self::F64(value) => out.extend(value.to_be_bytes()),
            Self::Text(text) => Self::Bytes(text.as_bytes().to_vec()).binary(out),
            Self::Bytes(bytes) => {
                out.extend((bytes.len() as u32).to_be_bytes());
                out.extend(bytes);
            }
            Self::Struct(fields) => {
                for (number, value) in fields {
                    out.push(value.binary_type());
                    out.extend(number.to_be_bytes());
                    value.binary(out);
                }
                out.push(0);
            }
            Self::List(values) => {
                out.push(values.first().map_or(12, Self::binary_type));
                out.extend((values.len() as u32).to_be_bytes());
                values.iter().for_each(|value| value.binary(out));
            }
        }
    }

    fn compact_type(&self) -> u8 {
        match self {
            Self::Bool(true) => 1,
            Self::Bool(false) => 2,
            Self::I16(_) => 4,
            Self::I32(_) => 5,
            Self::I64(_) => 6,
            Self::F64(_) => 7,
            Self::Text(_) | Self::Bytes(_) => 8,
            Self::List(_) => 9,
            Self::Struct(_) => 12,
        }
    }

    /// `TCompactProtocol`.
    pub fn compact(&self, out: &mut Vec<u8>) {
        let zigzag = |value: i64| ((value << 1) ^ (value >> 63)) as u64;
        match self {
            Self::Bool(value) => out.push(if *value { 1 } else { 2 }),
            Self::I16(value) => varint(out, zigzag(i64::from(*value))),
            Self::I32(value) => varint(out, zigzag(i64::from(*value))),
            Self::I64(value) => varint(out, zigzag(*value)),
            Self::F64(value) => out.extend(value.to_le_bytes()),
            Self::Text(text) => Self::Bytes(text.as_bytes().to_vec()).compact(out),
            Self::Bytes(bytes) => {
                varint(out, bytes.len() as u64);
                out.extend(bytes);
            }
            Self::Struct(fields) => {
                let mut last = 0;
                for (number, value) in fields {
                    let step = number - last;
                    if (1..=15).contains(&step) {
                        out.push((step as u8) << 4 | value.compact_type());
                    } else {
                        out.push(value.compact_type());
                        varint(out, zigzag(i64::from(*number)));
                    }
                    if !matches!(value, Self::Bool(_)) {
                        value.compact(out);
                    }
                    last = *number;
                }
                out.push(0);
            }
            Self::List(values) => {
                let kind = values.first().map_or(12, Self::compact_type);
                if values.len() < 15 {
                    out.push((values.len() as u8) << 4 | kind);
                } else {
                    out.push(0xf0 | kind);
                    varint(out, values.len() as u64);
                }
                values.iter().for_each(|value| value.compact(out));
            }
        }
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A call without an answer, of the binary protocol.
pub fn binary_call(name: &str, argument: &T) -> Vec<u8> {
    let mut out = vec![0x80, 0x01, 0, 4];
    out.extend((name.len() as u32).to_be_bytes());
    out.extend(name.as_bytes());
    out.extend([0, 0, 0, 7]);
    T::Struct(vec![(1, argument.clone())]).binary(&mut out);
    out
}

/// The same of the compact protocol.
pub fn compact_call(name: &str, argument: &T) -> Vec<u8> {
    let mut out = vec![0x82, 4 << 5 | 1];
    varint(&mut out, 7);
    varint(&mut out, name.len() as u64);
    out.extend(name.as_bytes());
    T::Struct(vec![(1, argument.clone())]).compact(&mut out);
    out
}

/// A tag of Jaeger.
pub fn tag(key: &'static str, value: T) -> T {
    let (kind, field) = match value {
        T::Text(_) => (0, 3),
        T::F64(_) => (1, 4),
        T::Bool(_) => (2, 5),
        T::I64(_) => (3, 6),
        _ => (4, 7),
    };
    T::Struct(vec![(1, T::Text(key)), (2, T::I32(kind)), (field, value)])
}

/// A batch of Jaeger: a server's span, and below it a client's that failed.
pub fn batch(trace: i64, start_micros: i64) -> T {
    let process = T::Struct(vec![
        (1, T::Text("shop")),
        (2, T::List(vec![tag("hostname", T::Text("h1")), tag("jaeger.version", T::Text("Go-2.30.0"))])),
    ]);
    let server = T::Struct(vec![
        (1, T::I64(trace)),
        (2, T::I64(0)),
        (3, T::I64(0x11)),
        (4, T::I64(0)),
        (5, T::Text("GET /cart")),
        (7, T::I32(1)),
        (8, T::I64(start_micros)),
        (9, T::I64(5000)),
        (
            10,
            T::List(vec![
                tag("span.kind", T::Text("server")),
                tag("http.status_code", T::I64(200)),
                tag("ratio", T::F64(0.5)),
                tag("cached", T::Bool(true)),
                tag("raw", T::Bytes(vec![1, 2])),
            ]),
        ),
        (
            11,
            T::List(vec![T::Struct(vec![
                (1, T::I64(start_micros + 1)),
                (2, T::List(vec![tag("event", T::Text("looked up")), tag("key", T::Text("k"))])),
            ])]),
        ),
    ]);
    let follows = T::Struct(vec![(1, T::I32(1)), (2, T::I64(9)), (3, T::I64(8)), (4, T::I64(7))]);
    let client = T::Struct(vec![
        (1, T::I64(trace)),
        (2, T::I64(0)),
        (3, T::I64(-2)),
        (4, T::I64(0x11)),
        (5, T::Text("query")),
        (6, T::List(vec![follows])),
        (7, T::I32(1)),
        (8, T::I64(start_micros + 10)),
        (9, T::I64(1000)),
        (10, T::List(vec![tag("span.kind", T::Text("client")), tag("error", T::Bool(true))])),
    ]);
    T::Struct(vec![(1, process), (2, T::List(vec![server, client]))])
}

/// A list of Zipkin v1 spans: one that a client reports.
pub fn zipkin_v1(trace: i64, start_micros: i64) -> T {
    let host = T::Struct(vec![(1, T::I32(0x0a00_0001)), (2, T::I16(-25536)), (3, T::Text("front"))]);
    let annotation = |value, time| T::Struct(vec![(1, T::I64(time)), (2, T::Text(value)), (3, host.clone())]);
    let tag = |key, value: &[u8], kind| {
        T::Struct(vec![
            (1, T::Text(key)),
            (2, T::Bytes(value.to_vec())),
            (3, T::I32(kind)),
            (4, host.clone()),
        ])
    };
    T::List(vec![T::Struct(vec![
        (1, T::I64(trace)),
        (3, T::Text("get")),
        (4, T::I64(0x21)),
        (5, T::I64(0x20)),
        (6, T::List(vec![annotation("cs", start_micros), annotation("retry", start_micros + 5)])),
        (8, T::List(vec![tag("http.path", b"/a", 6), tag("tries", &[0, 0, 0, 2], 3), tag("ok", &[1], 0)])),
        (10, T::I64(start_micros)),
        (11, T::I64(1500)),
        (12, T::I64(5)),
    ])])
}
