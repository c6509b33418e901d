//! Hostile input gives errors: no panic, no stack overflow, no minutes of work. The stacks here are those of the
//! server's threads.
// Helpers of tests are tests; the lint does not see that in this directory.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use trackway_traceql::ast::SeriesQuery;
use trackway_traceql::{
    MAX_LENIENT_GROUPS, MAX_QUERY_BYTES, parse, parse_field, parse_lenient, parse_metrics,
    parse_metrics_unchecked, parse_unchecked,
};

fn on_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap();
}

/// As many of `unit` as a query has room for, around a core.
fn around(open: &str, core: &str, close: &str) -> String {
    let times = (MAX_QUERY_BYTES - core.len() - 20) / (open.len() + close.len());
    format!("{}{core}{}", open.repeat(times), close.repeat(times))
}

fn use_everywhere(text: &str) -> bool {
    let _ = parse_field(text);
    let groups = parse_lenient(text).groups;
    assert!(groups.len() <= MAX_LENIENT_GROUPS);
    for group in &groups {
        let _ = group.to_string();
    }
    // Arithmetic takes all that is a query and more; what is not arithmetic has the same error.
    let series = parse_metrics_unchecked(text);
    if let Ok(query) = &series {
        let _ = (parse_metrics(text), query.clone() == *query, format!("{query:?}").len());
        let printed = query.to_string();
        assert!(printed.len() > MAX_QUERY_BYTES || parse_metrics_unchecked(&printed) == series);
    }
    match parse_unchecked(text) {
        Ok(query) => {
            assert_eq!(series, Ok(SeriesQuery::from(query.clone())));
            let _ = parse(text);
            let _ = (query.clone() == query, format!("{query:?}").len());
            let printed = query.to_string();
            assert!(printed.len() > MAX_QUERY_BYTES || parse_unchecked(&printed) == Ok(query));
            true
        }
        Err(error) => {
            let _ = error.to_string();
            if let Err(other) = &series {
                assert!(*other == error || text.contains("rate"), "{other}");
            }
            series.is_ok()
        }
    }
}

#[test]
fn deep_nesting_is_an_error() {
    on_small_stack(|| {
        for text in [
            format!("{{ {} }}", around("(", ".a", ")")),
            format!("{{ {} }}", around("-(", ".a", ")")),
            format!("{{ {} }}", around("!", ".a", "")),
            format!("{{ {} }}", around("1 + ", ".a", "")),
            format!("{{ {} }}", around("1 ^ ", ".a", "")),
            format!("{{ {} }}", around("(1 = ", ".a", ")")),
            format!("{{ {} }}", around(".a = 1 && .b = 2 || ", ".a", "")),
            format!("{{ {} }}", around("(.a = 1 && .b = 2 || ", ".a", ")")),
            around("{ } >> ", "{ }", ""),
            around("({ } >> ", "{ }", ")"),
            around("(", "{ }", ")"),
            around("(", "{ } | { }", ")"),
            around("({ } | ", "{ }", ")"),
            around("(", "count()", ") > 1"),
            around("count() + ", "1", " "),
            around("count() ^ ", "1", " "),
            around("(", "{ } | count()", ")"),
            around("({ } | { }) && ", "({ } | { })", ""),
            format!("{{ .a =~ \"{}\" }}", around("(", "a", ")")),
            around("(", "({ } | rate()) + 1", ")"),
            around("-", "({ } | rate())", ""),
            around("1 + ", "({ } | rate())", ""),
            around("2 ^ ", "({ } | rate())", ""),
            around("({ } | rate()) + (", "1", ")"),
            around("({ } | rate()) * ", "1", ""),
            around("({ } | rate() * ", "1", ")"),
            format!("1 + ({} | rate())", around("(", "{ }", ")")),
        ] {
            assert!(!use_everywhere(&text) || parse_metrics(&text).is_err(), "{}", &text[..40]);
        }
    });
}

/// The deepest that is still allowed must be safe to use, with both kinds of nesting at once.
#[test]
fn deepest_allowed_is_safe() {
    on_small_stack(|| {
        for n in 1..130 {
            let filter = format!("{{ {}.a = 1{} }}", "!(".repeat(n), ")".repeat(n));
            let right = format!("{{ {}.a{} }}", "1 = (".repeat(n), ")".repeat(n));
            for text in [
                filter.clone(),
                right.clone(),
                format!("{}{filter}{}", "({ } >> ".repeat(n), ")".repeat(n)),
                format!("{}{right}{}", "({ } >> (".repeat(n), "))".repeat(n)),
                format!("{}{right}{}", "(({ } | { }) && ".repeat(n), ")".repeat(n)),
                format!("{}{right} | {right}{}", "(({ } | { }) && (".repeat(n), "))".repeat(n)),
                format!("{}({right} | count()){} > 1", "(({ } | count()) + ".repeat(n), ")".repeat(n)),
                format!("{}avg(.a){} > 1", "(1 + ".repeat(n), ")".repeat(n)),
                format!("{}({right} | rate()){}", "-(1 + ".repeat(n), ")".repeat(n)),
                format!(
                    "{}({}{right}{} | rate()){}",
                    "1 + (".repeat(n),
                    "({ } >> (".repeat(n),
                    "))".repeat(n),
                    ")".repeat(n)
                ),
            ] {
                use_everywhere(&text);
            }
        }
        let ok = format!("{{ {}.a{} }}", "1 + (".repeat(90), ")".repeat(90));
        assert!(parse_unchecked(&ok).is_ok());
    });
}

/// Lists of thousands of alternatives are normal: clients write them.
#[test]
fn long_lists_are_fine() {
    on_small_stack(|| {
        for op in ["||", "&&"] {
            let list: Vec<_> = (0..5000).map(|i| format!("trace:id = \"{i}\"")).collect();
            let text = format!("{{ {} }}", list.join(&format!(" {op} ")));
            let query = parse(&text).unwrap();
            assert_eq!(parse_unchecked(&query.to_string()), Ok(query));
            let _ = parse_lenient(&text);
        }
        let text = format!("{{ {} }}", vec!["(.a = 1 || .b = 2)"; 5000].join(" && "));
        assert!(use_everywhere(&text));
        let pipeline = vec!["{ .a = 1 }"; 9000].join(" | ");
        assert!(use_everywhere(&pipeline));
    });
}

const SOUP: &[&str] = &[
    "{",
    "}",
    "(",
    ")",
    ",",
    "|",
    "&&",
    "||",
    "=",
    "!=",
    "=~",
    "!~",
    ">",
    "<",
    ">>",
    "<<",
    "~",
    "!>",
    "&>>",
    "&~",
    "!",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "&",
    ".a",
    ".",
    "span.",
    "span.b",
    "parent.",
    "parent.span.c",
    "span:",
    "trace:",
    "duration",
    "name",
    "id",
    "status",
    "error",
    "server",
    "nil",
    "true",
    "1",
    "1.5",
    "5ms",
    "\"x\"",
    "`y`",
    "\"",
    "`",
    "count",
    "count()",
    "avg(",
    "by(",
    "by",
    "select(",
    "coalesce()",
    "rate()",
    "| rate()",
    "({} | rate())",
    "({} | rate() by (.a))",
    "quantile_over_time(duration, .5)",
    "compare({",
    "topk(1)",
    "with(",
    "a",
    "/*",
    "//",
    "\n",
    "\\",
    "[",
    "'",
    "µ",
    "한",
    "\u{0}",
    "1e",
    "0x1",
    "9999999999999999999999",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_survived(text in "\\PC{0,60}") {
        use_everywhere(&text);
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        use_everywhere(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_tokens_are_survived(
        parts in proptest::collection::vec((proptest::sample::select(SOUP), any::<bool>()), 0..30),
    ) {
        let text: String = parts.iter().map(|(part, space)| format!("{part}{}", if *space { " " } else { "" })).collect();
        use_everywhere(&text);
        use_everywhere(&format!("{{ {text} }}"));
        use_everywhere(&format!("{{ }} | {text}"));
    }
}
