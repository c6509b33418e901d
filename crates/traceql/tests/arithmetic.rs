//! Arithmetic between metrics queries: what is read how, and what stays as Tempo has it.
// Helpers of tests are tests; the lint does not see that in this directory.
#![allow(clippy::unwrap_used, clippy::panic)]

use trackway_traceql::ast::{MetricsExpr, SecondStage};
use trackway_traceql::{Error, ErrorKind, MAX_ARITHMETIC_QUERIES, MAX_QUERY_BYTES, parse, parse_metrics};

const RATE: &str = "({ } | rate())";

/// Puts a query in for each `q`.
fn with_queries(text: &str) -> String {
    text.replace('q', RATE)
}

#[test]
fn precedence() {
    for (text, printed) in [
        ("q/q", "q / q"),
        ("q + q * 2", "q + (q * 2)"),
        ("(q + q) * 2", "(q + q) * 2"),
        ("100 * (q - q) / q", "(100 * (q - q)) / q"),
        ("q - q - 1", "(q - q) - 1"),
        ("q ^ 2 ^ 3", "q ^ (2 ^ 3)"),
        ("-q ^ 2", "-(q ^ 2)"),
        ("-q * 2", "(-q) * 2"),
        ("q ^ -2", "q ^ (-2)"),
        ("- -q % 5", "(-(-q)) % 5"),
        ("((q)) + (1.5)", "q + 1.5"),
        ("q / 500ms", "q / 500ms"),
        ("((q) / q)", "q / q"),
        ("q / q | topk(3) | > 5", "q / q | topk(3) > 5"),
        ("q * 100 > 5", "q * 100 > 5"),
        ("q * 2 with(exemplars=false)", "q * 2 with (exemplars=false)"),
    ] {
        let query = parse_metrics(&with_queries(text)).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(query.to_string(), with_queries(printed), "{text}");
        assert!(query.is_metrics());
        assert_eq!(parse_metrics(&query.to_string()), Ok(query), "{text}");
    }
}

#[test]
fn whole_queries_on_both_sides() {
    let text = "({ status = error } && { .a } | rate() by (resource.service.name) | topk(5)) \
                / (({ .b } >> { .c }) | { .d } | avg_over_time(duration) by (resource.service.name) > 1) * 100 \
                | bottomk(3) with (exemplars=5)";
    let query = parse_metrics(text).unwrap();
    let stages = |at: usize| query.expr.queries()[at].metrics.as_ref().unwrap().second_stages.len();
    assert_eq!((query.expr.queries().len(), stages(0), stages(1)), (2, 1, 1));
    assert_eq!(query.second_stages, [SecondStage::BottomK(3)]);
    assert_eq!(query.all_hints().len(), 1);
    assert!(matches!(query.expr, MetricsExpr::Binary { .. }));
}

#[test]
fn what_is_no_arithmetic_stays_as_it_is() {
    for text in [
        "{ } | rate() by (.a) | topk(3) with (exemplars=1)",
        "{ .a = 1 }",
        "({ .a } | count() > 1) && ({ .b })",
        "({ .a }) >> ({ .b }) | rate()",
    ] {
        let query = parse(text).unwrap();
        assert_eq!(parse_metrics(text), Ok(query.into()), "{text}");
    }
    for text in [
        "",
        "({ } | rate())",
        "(({ } | rate()))",
        "({ } | rate()) | topk(3)",
        "({ } | rate()) > 1",
        "({ } | rate()) && ({ } | rate())",
        "({ .a }) / ({ } | rate()",
        "({ } | count()) / ({ } | count())",
        "({ } | rate() / ({ } | rate())",
        "{ } | rate() / 2",
        "{ } | rate() / ({ } | rate())",
        "1 + 2",
        "-1",
        "1 + ({ } | rate(",
        "{ name > 1 } | rate()",
        "({ } | count()) > ({ } | count())",
    ] {
        assert_eq!(parse_metrics(text).unwrap_err(), parse(text).unwrap_err(), "{text}");
    }
    assert_eq!(parse_metrics(&" ".repeat(MAX_QUERY_BYTES + 1)), Err(Error::TooLong));
}

#[test]
fn what_is_wrong_with_arithmetic() {
    for (text, expected) in [
        ("({}|rate()) /", "parse error at line 1, col 14: syntax error: unexpected $end"),
        ("({}|rate()) / ({}|rat())", "parse error at line 1, col 16: syntax error: unexpected {"),
        (
            "({}|rate()) / ({}|rate()",
            "parse error at line 1, col 25: syntax error: unexpected $end, expecting )",
        ),
        (
            "({}|rate()) + 1 1",
            "parse error at line 1, col 17: syntax error: unexpected INTEGER, expecting with",
        ),
        (
            "({}|rate()) + ({}|rate() with(a=1))",
            "parse error at line 1, col 26: syntax error: unexpected with, expecting )",
        ),
        ("({}|rate()) + \"a\"", "parse error at line 1, col 15: syntax error: unexpected STRING"),
        (
            "({}|rate()) + 1 | rate()",
            "parse error at line 1, col 19: syntax error: unexpected rate, expecting topk or bottomk",
        ),
        ("({}|rate()) + 1 | topk(0)", "limit must be greater than 0"),
        ("({}|rate()) + ({ name > 1 }|rate())", "binary operations must operate on the same type: name > 1"),
        ("({}|compare({})) + 1", "`compare()` cannot be used in arithmetic"),
    ] {
        assert_eq!(parse_metrics(text).unwrap_err().to_string(), expected, "{text}");
    }
}

#[test]
fn limits() {
    let many = |queries: usize| parse_metrics(&vec![RATE; queries].join(" + "));
    assert_eq!(many(MAX_ARITHMETIC_QUERIES).unwrap().expr.queries().len(), MAX_ARITHMETIC_QUERIES);
    let error = many(MAX_ARITHMETIC_QUERIES + 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.to_string(), "arithmetic with more than 16 metrics queries");
    assert!(many(5000).unwrap_err().to_string().contains("nested deeper"));
}
