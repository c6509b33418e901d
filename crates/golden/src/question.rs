//! The recorded questions with their answers, and the file that holds them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;
use serde_json::Value;

/// Which of the server's ports a question goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Port {
    /// The HTTP API.
    #[default]
    Api,
    /// OTLP over HTTP.
    Otlp,
    /// The Zipkin receiver.
    Zipkin,
}

/// A question, and what Tempo answered.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// The kind of question, which decides how answers are compared.
    pub group: String,
    /// Path and query.
    pub path: String,
    /// The method.
    pub method: String,
    /// The headers to send.
    pub headers: Vec<(String, String)>,
    /// The body to send.
    pub body: Option<Vec<u8>>,
    /// Where to ask.
    pub port: Port,
    /// The query in the path, where there is one.
    pub traceql: Option<String>,
    /// The recorded status.
    pub status: u16,
    /// The recorded content type, empty for none.
    pub content_type: String,
    /// The recorded body, when it is JSON.
    pub json: Option<Value>,
    /// The recorded body, when it is text.
    pub text: Option<String>,
    /// The recorded body, when it is neither.
    pub body_out: Option<Vec<u8>>,
}

impl Question {
    /// The question in one line: the query, or method, path and the beginning of the body.
    pub fn label(&self) -> String {
        if let Some(query) = &self.traceql {
            return query.clone();
        }
        let path = percent_decode(&self.path, false);
        let body = self.body.as_deref().and_then(|body| str::from_utf8(body).ok()).unwrap_or_default();
        format!("{} {path} {}", self.method, body.chars().take(120).collect::<String>())
    }
}

/// A recorded line with all unix times within an hour of the first `t0` moved to the second: numbers of 10 digits
/// (seconds), 13 (milliseconds) and 19 (nanoseconds), wherever they stand.
fn shift(line: &str, (from, to): (u64, u64)) -> String {
    if from == to {
        return line.to_owned();
    }
    let moved = |digits: &str| {
        let unit = match digits.len() {
            10 => 1,
            13 => 1_000,
            19 => 1_000_000_000,
            _ => return None,
        };
        let time = digits.parse::<u64>().ok().filter(|time| (time / unit).abs_diff(from) < 3600)?;
        (time + to * unit).checked_sub(from * unit)
    };
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, digits) = rest.split_at(start);
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let (digits, after) = digits.split_at(end);
        out.push_str(before);
        out.push_str(&moved(digits).map_or_else(|| digits.to_owned(), |time| time.to_string()));
        rest = after;
    }
    out + rest
}

/// Reads `answers.jsonl`, or `answers.jsonl.gz` by its ending.
pub fn load(path: &Path) -> io::Result<Vec<Question>> {
    load_shifted(path, (0, 0))
}

/// The same, as if it had been recorded around the second unix second instead of the first.
pub(crate) fn load_shifted(path: &Path, t0: (u64, u64)) -> io::Result<Vec<Question>> {
    let file = BufReader::new(File::open(path)?);
    let text: Box<dyn Read> = match path.extension() {
        Some(ending) if ending == "gz" => Box::new(GzDecoder::new(file)),
        _ => Box::new(file),
    };
    let mut questions = Vec::new();
    for (number, line) in BufReader::new(text).lines().enumerate() {
        let line = line?;
        if !line.trim().is_empty() {
            let question = parse(&shift(&line, t0))
                .map_err(|why| invalid(&format!("{} line {}: {why}", path.display(), number + 1)))?;
            questions.push(question);
        }
    }
    Ok(questions)
}

fn parse(line: &str) -> Result<Question, String> {
    let mut record: Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
    let text = |name: &str| record.get(name).and_then(Value::as_str).map(str::to_owned);
    let needed = |name: &str| text(name).ok_or_else(|| format!("no {name}"));
    let bytes = |name: &str| match text(name) {
        Some(coded) => base64(&coded).map(Some).ok_or_else(|| format!("{name} is not base64")),
        None => Ok(None),
    };
    let port = match text("port").as_deref() {
        None | Some("api") => Port::Api,
        Some("otlp") => Port::Otlp,
        Some("zipkin") => Port::Zipkin,
        Some(other) => return Err(format!("port {other:?}")),
    };
    let mut headers = Vec::new();
    for (name, value) in record.get("headers").and_then(Value::as_object).into_iter().flatten() {
        headers.push((name.clone(), value.as_str().ok_or("a header is not a string")?.to_owned()));
    }
    let status = record.get("status").and_then(Value::as_u64).and_then(|s| u16::try_from(s).ok());
    Ok(Question {
        group: needed("group")?,
        path: needed("path")?,
        method: text("method").unwrap_or_else(|| "GET".to_owned()),
        headers,
        body: bytes("body_b64")?.or_else(|| text("body").map(String::into_bytes)),
        port,
        traceql: text("traceql"),
        status: status.ok_or("no status")?,
        content_type: text("content_type").unwrap_or_default(),
        text: text("text"),
        body_out: bytes("body_out_b64")?,
        json: record.get_mut("json").map(Value::take),
    })
}

/// The first value of a parameter of the query, blank ones not counted.
pub fn parameter(path: &str, name: &str) -> Option<String> {
    let query = path.split_once('?')?.1.split('#').next()?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(key, value)| percent_decode(key, true) == name && !value.is_empty())
        .map(|(_, v)| percent_decode(v, true))
}

fn percent_decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = |i: usize| bytes.get(i).and_then(|&b| (b as char).to_digit(16));
        match (byte, hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) if plus_is_space => decoded.push(b' '),
            _ => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Decodes standard base64 with padding; nothing when it is anything else.
fn base64(text: &str) -> Option<Vec<u8>> {
    let coded = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - coded.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(coded.len() * 3 / 4);
    let (mut held, mut bits) = (0u32, 0);
    for letter in coded.bytes() {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = held << 6 | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    Some(bytes)
}

pub(crate) fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_moved_and_other_numbers_are_not() {
        let line = r#"{"path":"/x?start=1795336020&n=1795336","t":"1795336140500000000","ms":1795336140000,"id":"1795336140ab","f":12.5}"#;
        let moved = r#"{"path":"/x?start=1795336380&n=1795336","t":"1795336500500000000","ms":1795336500000,"id":"1795336500ab","f":12.5}"#;
        assert_eq!(shift(line, (1_795_336_140, 1_795_336_500)), moved);
        assert_eq!(shift(line, (1_795_336_140, 1_795_336_140)), line);
        assert_eq!(shift(line, (1_700_000_000, 1_700_000_360)), line);
    }

    #[test]
    fn base64_of_all_lengths() {
        assert_eq!(base64("").unwrap(), b"");
        assert_eq!(base64("Zg==").unwrap(), b"f");
        assert_eq!(base64("Zm8=").unwrap(), b"fo");
        assert_eq!(base64("Zm9vYmFy").unwrap(), b"foobar");
        assert_eq!(base64("+/8A").unwrap(), [0xfb, 0xff, 0x00]);
        for wrong in ["Zg", "Z===", "Zm9*", "Zg=a"] {
            assert_eq!(base64(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn parameters_of_a_path() {
        let path = "/api/search?q=%7B+.a%20%3D+%22%26%22+%7D&limit=&limit=7&limit=8";
        assert_eq!(parameter(path, "q").as_deref(), Some("{ .a = \"&\" }"));
        assert_eq!(parameter(path, "limit").as_deref(), Some("7"));
        assert_eq!(parameter(path, "spss"), None);
        assert_eq!(parameter("/api/search", "q"), None);
    }

    #[test]
    fn lines() {
        let line = r#"{"group":"push","path":"/v1/traces?a=%20b+","method":"POST","port":"otlp","status":200,
            "headers":{"a":"b"},"body_b64":"Zm8=","body_out_b64":"Zg==","content_type":"t"}"#;
        let question = parse(line).unwrap();
        assert_eq!((question.port, question.status, question.method.as_str()), (Port::Otlp, 200, "POST"));
        assert_eq!(question.headers, [("a".to_owned(), "b".to_owned())]);
        assert_eq!(
            (question.body.as_deref(), question.body_out.as_deref()),
            (Some(b"fo".as_slice()), Some(b"f".as_slice()))
        );
        assert_eq!(question.label(), "POST /v1/traces?a= b+ fo");
        for wrong in
            ["{", "{}", r#"{"group":"g","path":"/","status":1,"port":"x"}"#, r#"{"group":"g","path":"/"}"#]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
