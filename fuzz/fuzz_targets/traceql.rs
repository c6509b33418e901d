//! Arbitrary text as TraceQL: nothing panics, and a query that is understood prints to a text that parses to it again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trackway_traceql::{
    check, compile_regex, parse, parse_field, parse_lenient, parse_metrics, parse_metrics_unchecked, parse_unchecked,
};

fuzz_target!(|text: &str| {
    if let Ok(query) = parse_unchecked(text) {
        let printed = query.to_string();
        let again =
            parse_unchecked(&printed).unwrap_or_else(|error| panic!("{text:?} prints {printed:?}: {error}"));
        assert_eq!(query, again, "{text:?} prints {printed:?}");
        // The checks must agree, too.
        assert_eq!(check(&query).is_ok(), parse(&printed).is_ok(), "{text:?} prints {printed:?}");
    }
    if let Ok(query) = parse_metrics_unchecked(text) {
        let printed = query.to_string();
        assert_eq!(parse_metrics_unchecked(&printed).as_ref(), Ok(&query), "{text:?} prints {printed:?}");
        assert_eq!(parse_metrics(text).is_ok(), parse_metrics(&printed).is_ok(), "{text:?} prints {printed:?}");
    }
    // The name of a field need not print to itself, but reading it must end well.
    let _ = parse_field(text);
    let _ = parse_lenient(text);
    let _ = compile_regex(text);
});
