//! What questions for series are read as.

use super::*;

/// A whole minute, and half a second.
const NOW: u64 = 1_795_336_200 * SECOND + SECOND / 2;

fn judged(text: &str, is_instant: bool, config: &ApiConfig) -> std::result::Result<MetricsRequest, String> {
    let query = QueryString::parse(Some(text));
    let input = if is_instant { instant(&query) } else { range(&query) };
    input.and_then(|input| input.judge(NOW, config)).map_err(|error| error.text)
}

fn asked(text: &str) -> std::result::Result<MetricsRequest, String> {
    judged(&format!("q={{}}|rate()&{text}"), false, &ApiConfig::default())
}

#[test]
fn times_in_all_forms() {
    for (text, start) in [
        ("start=1795330000", 1_795_330_000 * SECOND),
        ("start=1795330000.1234", 1_795_330_000_123 * 1_000_000),
        ("start=1795330000000000010", 1_795_330_000_000_000_010),
        ("start=2026-11-22T08:00:00.5Z", 1_795_334_400 * SECOND + SECOND / 2),
        ("start=2026-11-22T10:00:00%2B02:00", 1_795_334_400 * SECOND),
        ("", NOW - 3600 * SECOND),
        ("since=3h", NOW - 3 * 3600 * SECOND),
        ("since=1d", NOW - DAY),
        ("since=2h&end=1795330000", 1_795_322_800 * SECOND),
        // What has not happened yet does not count.
        ("end=1795339999", NOW - 3600 * SECOND),
    ] {
        let request = judged(&format!("q={{}}|rate()&{text}"), true, &ApiConfig::default());
        assert_eq!(request.unwrap().time.start, start, "{text}");
    }
    for (text, error) in [
        ("start=x", "could not parse 'start' parameter: strconv.ParseInt: parsing \"x\": invalid syntax"),
        ("end=1.x", "could not parse 'end' parameter: strconv.ParseInt: parsing \"1.x\": invalid syntax"),
        ("since=x", "could not parse 'since' parameter: not a valid duration string: \"x\""),
        ("since=1dx", "could not parse 'since' parameter: not a valid duration string: \"1dx\""),
        ("start=5&end=5", "end must be greater than start"),
        ("start=-5&end=-1", "end must be greater than start"),
    ] {
        assert_eq!(asked(text).unwrap_err(), error, "{text}");
    }
}

#[test]
fn steps() {
    for (range, step) in [
        (300 * SECOND, SECOND),
        (3_600 * SECOND, 15 * SECOND),
        (6 * 3_600 * SECOND, 75 * SECOND - 15 * SECOND),
        (DAY, 5 * MINUTE),
        (7 * DAY, 40 * MINUTE),
        (20 * DAY, 120 * MINUTE),
        (100 * SECOND, SECOND),
        (30 * SECOND, 2 * SHORT),
        (SECOND, SHORT),
    ] {
        assert_eq!(automatic_step(range), step, "{range}");
    }
    let step = |text: &str| {
        asked(&format!("start=1795330000&end=1795333600&step={text}"))
            .map(|request| request.time.step.unwrap_or_default())
    };
    for (text, nanos) in [
        ("", 15 * SECOND),
        ("30s", 30 * SECOND),
        ("60", MINUTE),
        ("0.5", SECOND / 2),
        ("1m30s", 90 * SECOND),
        ("1d", DAY),
    ] {
        assert_eq!(step(text), Ok(nanos), "{text}");
    }
    for (text, error) in [
        ("5q", "cannot parse \"5q\" to a valid duration"),
        ("nan", "cannot parse \"nan\" to a valid duration"),
        ("1e30", "cannot parse \"1e30\" to a valid duration. It overflows int64"),
        ("0", "step of 0s is too small, minimum step for given range is 360ms"),
        ("-5", "step of 0s is too small, minimum step for given range is 360ms"),
        ("359ms", "step of 359ms is too small, minimum step for given range is 360ms"),
    ] {
        assert_eq!(step(text).unwrap_err(), error, "{text}");
    }
    let endless = ApiConfig { max_intervals: 0, ..ApiConfig::default() };
    assert_eq!(judged("q={}|rate()&step=0", false, &endless).unwrap_err(), "step must be greater than 0");
    assert!(judged("q={}|rate()&step=1ms", false, &endless).is_ok());
}

#[test]
fn what_is_still_to_come_is_cut_off() {
    let usual = ApiConfig { query_end_cutoff: Duration::from_secs(30), ..ApiConfig::default() };
    let end = |text: &str| judged(&format!("q={{}}|rate()&{text}"), false, &usual).unwrap().time.end / SECOND;
    // NOW is 200.5; what is older than 30 s is complete.
    assert_eq!(end("since=5m&step=10s"), 1_795_336_170);
    assert_eq!(end("since=5m&step=60s"), 1_795_336_140);
    assert_eq!(end("start=1795336000&end=1795336161&step=10s"), 1_795_336_170);
    assert_eq!(end("start=1795336000&end=1795336160&step=10s"), 1_795_336_160);
    // Without a whole interval that is complete, all of it is asked for.
    assert_eq!(end("since=1h&step=3600s") % 3600, 0);
    assert!(end("since=1h&step=3600s") > NOW / SECOND);
    assert_eq!(end("since=10s&step=1s"), 1_795_336_201);
    let off = ApiConfig::default();
    let later = judged("q={}|rate()&start=1795336000&end=1795336400&step=10s", false, &off).unwrap();
    assert_eq!((later.time.end / SECOND, later.time.count()), (1_795_336_400, 41));
    let instant = |text: &str, config: &ApiConfig| {
        judged(&format!("q={{}}|rate()&{text}"), true, config).unwrap().time.end
    };
    assert_eq!(instant("since=5m", &usual), NOW - 30 * SECOND);
    assert_eq!(instant("start=1795336000&end=1795336200", &usual), 1_795_336_170 * SECOND);
    assert_eq!(instant("start=1795336000&end=1795336201", &usual), 1_795_336_170 * SECOND);
    assert_eq!(instant("since=10s", &usual), NOW);
    assert_eq!(instant("since=5m", &off), NOW);
}

#[test]
fn limits() {
    let text = "metrics query time range exceeds the maximum allowed duration of 24h0m0s";
    assert_eq!(asked("start=1795200000&end=1795286401").unwrap_err(), text);
    // Longer by what the steps add, but not longer than what was asked for.
    assert!(asked("start=1795200001&end=1795286401&step=7m").is_ok());
    let numbers = |text: &str, config: &ApiConfig| {
        let request = judged(&format!("q={{}}|rate()&{text}"), false, config).unwrap();
        (request.exemplars, request.max_series)
    };
    let usual = ApiConfig::default();
    let limited = ApiConfig { max_exemplars: 0, max_response_series: 50, ..usual.clone() };
    assert_eq!(numbers("", &usual), (100, 0));
    assert_eq!(numbers("exemplars=7&maxSeries=9", &usual), (7, 9));
    assert_eq!(numbers("exemplars=x&maxSeries=x", &usual), (100, 0));
    assert_eq!(numbers("exemplars=101", &usual), (100, 0));
    assert_eq!(numbers("exemplars=7&maxSeries=51", &limited), (0, 50));
    assert_eq!(numbers("maxSeries=9", &limited), (0, 9));
    assert_eq!(judged("q={}|rate()&exemplars=7", true, &usual).unwrap().exemplars, 0);
}

#[test]
fn queries() {
    let both = |text: &str| {
        let usual = ApiConfig::default();
        [false, true].map(|is_instant| judged(text, is_instant, &usual).map(|asked| asked.query))
    };
    let error = |text: &str| both(text).map(std::result::Result::unwrap_err);
    assert_eq!(both("q={}|rate()&query=x"), [(); 2].map(|()| Ok("{}|rate()".to_owned())));
    assert_eq!(both("query={}|rate()"), [(); 2].map(|()| Ok("{}|rate()".to_owned())));
    assert_eq!(error("q={}"), ["not a metrics query"; 2]);
    let empty = "parse error : syntax error: unexpected $end";
    assert_eq!(error(""), [empty.to_owned(), format!("compiling query: {empty}")]);
    assert_eq!(error("q={}|rate()|topk(0)"), ["compiling query: limit must be greater than 0"; 2]);
    // Arithmetic, which Tempo does not have, and what only looks like it, which it has an error for.
    let arithmetic = "({}|rate())/({}|rate())*100|topk(3)";
    assert_eq!(both(&format!("q={arithmetic}")), [(); 2].map(|()| Ok(arithmetic.to_owned())));
    let operand = "parse error at line 1, col 13: syntax error: unexpected $end";
    assert_eq!(error("q=({}|rate())/"), [operand.to_owned(), format!("compiling query: {operand}")]);
    let alone = "parse error at line 1, col 5: syntax error: unexpected rate";
    assert_eq!(error("q=({}|rate())"), [alone.to_owned(), format!("compiling query: {alone}")]);
    let long = format!("q={}", "x".repeat(131_073));
    assert!(error(&long)[0].starts_with("TraceQL expression exceeds the configured maximum size"));
}
