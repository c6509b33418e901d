//! The checker against a server that repeats the recording: all is right, until one answer is changed.
#![allow(clippy::unwrap_used)] // also the helpers of a test may unwrap

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::{Value, json};
use trackway_golden::{Endpoints, Port, Question, Report, answers, run};

const FORMATS: [&str; 4] = ["v4", "v4-dedicated", "v5", "v5-dedicated"];

/// Asks the questions of a server that gives these answers in this order.
fn replay(questions: &[Question], answers: Vec<Question>) -> Report {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        for (number, answer) in answers.iter().enumerate() {
            reply(listener.accept().unwrap().0, answer, number).unwrap();
        }
    });
    let at =
        Endpoints { api: address.clone(), otlp: address.clone(), zipkin: Some(format!("http://{address}/")) };
    let report = run(questions, |_| true, &at);
    server.join().unwrap();
    report
}

fn reply(stream: TcpStream, answer: &Question, number: usize) -> io::Result<()> {
    let mut from = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            text => lines.push(text.to_owned()),
        }
    }
    let has = |header: String| lines.iter().any(|line| line.eq_ignore_ascii_case(&header));
    let mut asked = lines[0] == format!("{} {} HTTP/1.1", answer.method, answer.path);
    asked &= answer.headers.iter().all(|(name, value)| has(format!("{name}: {value}")));
    if let Some(expected) = &answer.body {
        let mut body = vec![0; expected.len()];
        from.read_exact(&mut body)?;
        asked &= &body == expected && has(format!("content-length: {}", body.len()));
    }
    let (status, body) = if asked { right_answer(answer) } else { (418, b"asked something else".to_vec()) };
    let mut out =
        format!("HTTP/1.1 {status} Replayed\r\ncontent-type: {}\r\n", answer.content_type).into_bytes();
    match number % 3 {
        0 => {
            write!(out, "content-length: {}\r\n\r\n", body.len())?;
            out.extend(body);
        }
        1 => {
            out.extend(b"Transfer-Encoding: Chunked\r\n\r\n");
            for part in body.chunks(1000) {
                write!(out, "{:X}\r\n", part.len())?;
                out.extend(part);
                out.extend(b"\r\n");
            }
            out.extend(b"0\r\n\r\n");
        }
        _ => {
            out.extend(b"\r\n");
            out.extend(body);
        }
    }
    from.get_mut().write_all(&out)
}

/// The recorded answer, except where the recording is knowingly wrong.
fn right_answer(answer: &Question) -> (u16, Vec<u8>) {
    let traces = |count: usize| json!({"traces": vec![json!({}); count]}).to_string().into_bytes();
    match answer.traceql.as_deref() {
        Some("{ .i ^ 2 = 1764 }" | "{ .i = 42.0 }" | "{ .f = 2 }") => return (200, traces(1)),
        Some("{ !(kind = server) && resource.service.name = \"kinds\" }") => return (200, traces(1)),
        Some("{ span:childCount = 0 && resource.service.name = \"trees\" }") => return (200, traces(5)),
        Some("{ .dup = \"resource-value\" }") => return (200, traces(0)),
        _ if answer.status == 500 => return (400, b"cannot be evaluated".to_vec()),
        _ => {}
    }
    let body = match (&answer.json, &answer.text, &answer.body_out) {
        (Some(json), ..) => json.to_string().into_bytes(),
        (_, Some(text), _) => text.clone().into_bytes(),
        (_, _, body) => body.clone().unwrap_or_default(),
    };
    (answer.status, body)
}

#[test]
fn the_recording_itself_is_right() {
    for format in FORMATS {
        let questions = answers(format).unwrap();
        let report = replay(&questions, questions.clone());
        assert!(report.failures.is_empty(), "{format}:\n{report}");
        assert_eq!((report.asked(), report.passed(), report.skipped), (327, 327, 0), "{format}");
        assert_eq!(report.groups.len(), 18, "{format}");
    }
}

/// Changes the first text or number that counts, going into the answer.
fn change(value: &mut Value) -> bool {
    match value {
        Value::String(text) => {
            text.push('7');
            true
        }
        Value::Number(_) => {
            *value = json!(123_456_789);
            true
        }
        Value::Array(list) => list.iter_mut().any(change),
        Value::Object(map) => {
            // Answers that say more than what is compared: see the head of the library.
            let compared =
                |name: &str| !matches!(name, "metrics" | "exemplars" | "spanSet" | "flags" | "promLabels");
            map.iter_mut().any(|(name, value)| compared(name) && change(value))
        }
        Value::Null | Value::Bool(_) => false,
    }
}

#[test]
fn a_changed_answer_is_wrong() {
    let questions = answers("v4").unwrap();
    // One question of each group whose content is compared, the first whose answer is not empty.
    for group in ["search", "metrics", "instant", "trace", "tags", "values", "values-v1", "values-q"] {
        let (mut question, mut answer) = (None, None);
        for candidate in questions.iter().filter(|q| q.group == group) {
            let mut changed = candidate.clone();
            if changed.json.as_mut().is_some_and(change) {
                (question, answer) = (Some(candidate.clone()), Some(changed));
                break;
            }
        }
        let report = replay(&[question.unwrap()], vec![answer.unwrap()]);
        assert_eq!((report.asked(), report.failures.len()), (1, 1), "{group}\n{report}");
    }
}

#[test]
fn a_changed_status_is_wrong() {
    let questions: Vec<_> = answers("v4").unwrap().into_iter().filter(|q| q.traceql.is_none()).collect();
    let mut changed = questions.clone();
    for answer in &mut changed {
        answer.status = if answer.status == 200 { 503 } else { 200 };
    }
    let report = replay(&questions, changed);
    assert_eq!((report.passed(), report.failures.len()), (0, questions.len()), "{report}");
}

#[test]
fn no_server_is_wrong_and_no_zipkin_is_skipped() {
    let questions = answers("v4").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let at = Endpoints { api: closed.clone(), otlp: closed, zipkin: None };
    let report = run(&questions, |q| q.port == Port::Zipkin || q.group == "tags-limit", &at);
    assert_eq!((report.asked(), report.failures.len(), report.skipped), (2, 2, 5));
    let text = report.to_string();
    assert!(text.starts_with("tags-limit         0 of 2\n"), "{text}");
    assert!(text.contains("\n[tags-limit] GET /api/search/tags?limit=3"), "{text}");
    assert!(text.ends_with("\n0 of 2 answers are right\n"), "{text}");
}
