//! What clients really send: the texts that Grafana's search builder, its Traces Drilldown application and Kiali make, asked
//! of recorded spans. Each must be answered, with the shape that the client reads without looking twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::Value;
use support::Server;

/// The time of the recordings, in seconds.
const RANGE: &str = "start=1795330000&end=1795340000";
const SIGNALS: [&str; 5] =
    ["nestedSetParent<0", "true", "kind=server", "kind=consumer", "span.db.system.name!=\"\""];

fn server(folder: &std::path::Path) -> Server {
    trackway_golden::copy_blocks("v4", &folder.join("blocks")).unwrap();
    Server::start(folder, "")
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn traces(server: &Server, query: &str, more: &str) -> Vec<Value> {
    let answer = server.json(&format!("/api/search?{RANGE}&{more}&q={}", encoded(query)));
    answer["traces"].as_array().unwrap_or_else(|| panic!("{query}: {answer}")).clone()
}

fn series(server: &Server, query: &str, step: &str) -> Vec<Value> {
    let path = format!("/api/metrics/query_range?{RANGE}&step={step}&q={}", encoded(query));
    let answer = server.json(&path);
    answer["series"].as_array().unwrap_or_else(|| panic!("{query}: {answer}")).clone()
}

fn keys(span: &Value) -> Vec<&str> {
    let attributes = span["attributes"].as_array();
    attributes.map(|all| all.iter().filter_map(|of| of["key"].as_str()).collect()).unwrap_or_default()
}

#[test]
fn the_search_builders_texts_find_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    let found = [
        "{}",
        "{resource.service.name=\"frontend\"}",
        "{resource.service.name=~\"frontend|cart\"}",
        "{(resource.service.name=\"frontend\" || resource.service.name=\"cart\")}",
        "{(resource.service.name!=\"frontend\" && resource.service.name!=\"cart\")}",
        "{resource.service.name=\"frontend\" && duration>1ms && traceDuration>1ms}",
        "{status=error}",
        "{kind=server && status=error} // errors\n",
        "{ /* all */ } | count() > 2",
        "{ } >> { status = error }",
        "{ status = error } with(most_recent=true)",
        "{ name != nil } | by(resource.service.name) | count() > 1",
        "{ } | avg(duration) > 1ms | max(duration) > 1ms | min(duration) >= 0 | sum(duration) > 1ms",
    ];
    for query in found {
        assert!(!traces(&server, query, "limit=20").is_empty(), "{query}");
    }
    let nothing =
        ["{span.db.name=\"x\" || span.db.system=\"x\" || span.peer.service=\"x\"}", "{span.\"a b\"=`x`}"];
    for query in nothing {
        assert!(traces(&server, query, "limit=20").is_empty(), "{query}");
    }
    for operator in
        [">>", ">", "<<", "<", "~", "&>>", "&>", "&<<", "&<", "&~", "!>>", "!>", "!<<", "!<", "!~"]
    {
        traces(&server, &format!("{{ }} {operator} {{ status = error }}"), "limit=20");
    }
    server.stop();
}

#[test]
fn drilldowns_texts_are_answered_in_the_shape_that_it_reads() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    for signal in SIGNALS {
        let s = format!("{signal} && true");
        for query in [
            format!("{{{s}}} | rate()  with(sample=true)"),
            format!("{{{s} && status=error}} | rate()  with(sample=true)"),
            format!("{{{s}}} | histogram_over_time(duration) with(sample=true)"),
            format!("{{{s} && resource.service.name != nil}} | rate() by(resource.service.name)"),
            format!("{{{s}}} | quantile_over_time(duration, 0.9) by(resource.service.name)"),
        ] {
            series(&server, &query, "60s");
        }
        let structure = format!(
            "({{{s} && status = error}} &>> {{ status = error }}) || ({{{s} && status = error}}) | select(status, \
             resource.service.name, name, nestedSetParent, nestedSetLeft, nestedSetRight)"
        );
        for trace in traces(&server, &structure, "limit=200&spss=20") {
            let sets = trace["spanSets"].as_array().unwrap();
            assert_eq!(sets.len(), 1, "{structure}: {trace}");
            for span in sets[0]["spans"].as_array().unwrap() {
                for key in ["nestedSetParent", "nestedSetLeft", "nestedSetRight", "service.name", "status"] {
                    assert!(keys(span).contains(&key), "{structure}: {span}");
                }
            }
        }
        let exceptions = format!(
            "{{{s} && status = error}} | select(resource.service.name, event.exception.message,\
             event.exception.stacktrace,event.exception.type) with(most_recent=true)"
        );
        traces(&server, &exceptions, "limit=400&spss=10");
    }
    assert!(!traces(&server, "{nestedSetParent<0 && true && status = error}", "limit=200").is_empty());
    let compared = series(&server, "{true && true} | compare({status = error}, 10)", "10000s");
    let metas: Vec<&str> = compared
        .iter()
        .flat_map(|of| of["labels"].as_array().unwrap())
        .filter(|label| label["key"] == "__meta_type")
        .filter_map(|label| label["value"]["stringValue"].as_str())
        .collect();
    for kind in ["baseline", "selection", "baseline_total", "selection_total"] {
        assert!(metas.contains(&kind), "{kind}: {metas:?}");
    }
    assert!(!series(&server, "{} | rate()", "60s").is_empty());
    server.stop();
}

#[test]
fn kialis_text_shows_something_of_every_span() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    let query = "{ .service.name = \"frontend\"  } && {  }| select(status, .service_name, .node_id, .component, \
                 .upstream_cluster, .http.method, .response_flags, resource.hostname)";
    let found = traces(&server, query, "spss=10&limit=100");
    assert!(!found.is_empty());
    for trace in found {
        // It reads the first span's attributes without asking whether there are any.
        let spans = trace["spanSet"]["spans"].as_array().unwrap_or_else(|| panic!("{trace}"));
        assert!(spans.iter().all(|span| !keys(span).is_empty()), "{trace}");
        assert!(spans.iter().any(|span| keys(span).contains(&"service.name")), "{trace}");
    }
    server.stop();
}
