//! The queries in `data/`: every valid one parses, prints and parses again to the same tree; every invalid one fails
//! with exactly the recorded text. `recorded_*` are what a real Tempo was asked, `client_valid` is what Grafana, its
//! apps and Kiali send.
// Helpers of tests are tests; the lint does not see that in this directory.
#![allow(clippy::unwrap_used, clippy::panic)]

use trackway_traceql::{
    Error, ErrorKind, MAX_QUERY_BYTES, parse, parse_field, parse_lenient, parse_unchecked,
};

fn check_valid(queries: &str) {
    for text in queries.lines() {
        let query = parse(text).unwrap_or_else(|error| panic!("{text}\n{error}"));
        let printed = query.to_string();
        let again = parse(&printed).unwrap_or_else(|error| panic!("{text}\n{printed}\n{error}"));
        assert_eq!(query, again, "{text}\n{printed}");
    }
}

fn check_invalid(lines: &str) {
    let mut wrong = Vec::new();
    for line in lines.lines() {
        let (text, expected) = line.split_once('\t').unwrap();
        let found = parse(text).map_or_else(|error| error.to_string(), |query| format!("parsed: {query}"));
        if found != expected {
            wrong.push(format!("{text}\n  expected {expected}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn recorded_valid() {
    check_valid(include_str!("data/recorded_valid.txt"));
}

#[test]
fn client_valid() {
    check_valid(include_str!("data/client_valid.txt"));
}

#[test]
fn own_valid() {
    check_valid(include_str!("data/own_valid.txt"));
}

#[test]
fn recorded_invalid() {
    check_invalid(include_str!("data/recorded_invalid.txt"));
}

#[test]
fn own_invalid() {
    check_invalid(include_str!("data/own_invalid.txt"));
}

/// Same tree as the fully parenthesized text on the right.
#[test]
fn precedence() {
    for (text, explicit) in [
        ("{ .a || .b && .c }", "{ (.a || .b) && .c }"),
        ("{ .a && .b = .c }", "{ .a && (.b = .c) }"),
        ("{ .a + .b * .c }", "{ .a + (.b * .c) }"),
        ("{ .a ^ .b ^ .c }", "{ .a ^ (.b ^ .c) }"),
        ("{ -.a ^ 2 + 1 }", "{ (-(.a ^ 2)) + 1 }"),
        ("{ -.a * .b }", "{ -(.a * .b) }"),
        ("{ -.a + .b }", "{ (-.a) + .b }"),
        ("{ !.a = .b }", "{ (!.a) = .b }"),
        ("{ .a = !.b && .c }", "{ (.a = (!.b)) && .c }"),
        ("{ .c - -.a + .b }", "{ (.c - (-.a)) + .b }"),
        ("{ .a } && { .b } >> { .c }", "{ .a } && ({ .b } >> { .c })"),
        ("{ .a } ~ { .b } >> { .c }", "({ .a } ~ { .b }) >> { .c }"),
        ("{ .a } || { .b } && { .c }", "({ .a } || { .b }) && { .c }"),
        ("avg(.a) > count() + 1 * 2", "avg(.a) > (count() + (1 * 2))"),
    ] {
        assert_eq!(parse_unchecked(text).unwrap(), parse_unchecked(explicit).unwrap(), "{text}");
    }
}

#[test]
fn lines_and_characters_are_counted() {
    let error = parse("{\n  .ünï = \"한\" ! }").unwrap_err();
    assert_eq!(error.to_string(), "parse error at line 2, col 14: syntax error: unexpected !");
    assert_eq!(error.kind(), ErrorKind::Syntax);
    assert_eq!(parse(&" ".repeat(MAX_QUERY_BYTES + 1)), Err(Error::TooLong));
}

#[test]
fn names_of_tags() {
    for name in [
        ".service.name",
        "span.http.route",
        "name",
        "kind",
        "statusMessage",
        "trace:rootName",
        "event:name",
        "span.\"with space\"",
        "trace:id",
        "span.메시지",
        "duration",
        "span:duration",
        "instrumentation:version",
    ] {
        assert_eq!(parse_field(name).unwrap().as_written(), name);
    }
    for (name, expected) in [
        (
            "http.route",
            "failed to parse identifier http.route: parse error at line 1, col 2: unknown identifier: http",
        ),
        (
            "bogus:thing",
            "failed to parse identifier bogus:thing: parse error at line 1, col 2: unknown identifier: bogus",
        ),
        ("", "failed to parse identifier : parse error at line 1, col 2: syntax error: unexpected }"),
    ] {
        assert_eq!(parse_field(name).unwrap_err().to_string(), expected);
    }
    for name in [".a} | {.b", "1", ".a = 1", "span.", "{", "nil"] {
        assert!(parse_field(name).is_err(), "{name}");
    }
}

#[test]
fn half_typed_filters() {
    for (text, groups) in [
        ("", &[][..]),
        ("garbage ???", &[]),
        ("{", &[]),
        ("{ }", &[]),
        ("{ bad", &[]),
        ("{ .a = }", &[]),
        ("{ .a }", &[]),
        ("{ true }", &[]),
        ("{ .a = && status=error }", &["status = error"]),
        ("{ status = error }", &["status = error"]),
        (
            "{ resource.service.name = \"a\" && status = error }",
            &["(resource.service.name = `a`) && (status = error)"],
        ),
        ("{ .a = 1 && .b =", &[".a = 1"]),
        ("{ .a = 1 && .b = \"open", &[".a = 1"]),
        ("{ .a = 1 && name = }", &[".a = 1"]),
        ("{ .a = 1 && duration = \"x\" }", &[".a = 1"]),
        ("{ .a = 1 && parent.b = 2 }", &[".a = 1"]),
        ("{ .a = 1 || .b = 2 }", &[".a = 1", ".b = 2"]),
        ("{ .a = 1 || .b = }", &[]),
        ("{ (.a = ) && .b = 1 }", &[".b = 1"]),
        ("{ (.a = && .b = ) && .c = 1 }", &[".c = 1"]),
        ("{ ((.a = ) && .b = 1) || .c = 2 }", &[".b = 1", ".c = 2"]),
        ("{ (.a = 1 && (.b = )) && .c = 2 }", &["(.a = 1) && (.c = 2)"]),
        ("{ (.a = 1 || .b = 2) && .c = 3 }", &["(.a = 1) && (.c = 3)", "(.b = 2) && (.c = 3)"]),
        ("{ !(.a = 1 || .b = 2) }", &["!((.a = 1) || (.b = 2))"]),
        ("{ 200 = .s && .m = }", &["200 = .s"]),
        ("{ .a + .b = 3 && .c = }", &["(.a + .b) = 3"]),
        ("{ (.a + 1) * 2 = 3 }", &["((.a + 1) * 2) = 3"]),
        ("{ .a = 1 } >> { .b = 2 }", &[".a = 1", ".b = 2"]),
        ("{ .a = 1 } >> { .b = }", &[]),
        ("{ .a = 1 && .b = } | rate() by (.q)", &[".a = 1"]),
        ("{ .a = 1 } | { .b = 2 }", &[".a = 1"]),
        ("{ .a = nil && .b = }", &[".a = nil"]),
        ("{ (.a = 1", &[".a = 1"]),
        ("{ (.a = 1 && .b = 2", &["(.a = 1) && (.b = 2)"]),
    ] {
        let found: Vec<_> = parse_lenient(text).groups.iter().map(ToString::to_string).collect();
        assert_eq!(found, groups, "{text}");
    }
}
