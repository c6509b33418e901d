//! What tenants set for themselves through `/api/overrides`: versions, validation, isolation, and the bucket that Tempo can
//! take over and that can be taken over from it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::Server;
use trackway_golden::http;
use trackway_peers::{ACCESS_KEY, S3Server, SECRET_KEY};

/// What a server answered: status, body, version.
type Answer = (u16, String, String);

fn ask(server: &Server, tenant: &str, method: &str, path: &str, if_match: &str, body: &str) -> Answer {
    let headers = [("x-scope-orgid", tenant), ("if-match", if_match)];
    let headers = headers.iter().filter(|(_, value)| !value.is_empty());
    let headers: Vec<_> = headers.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let body = (!body.is_empty()).then_some(body.as_bytes());
    let path = format!("/api/overrides{path}");
    let answer = http::request(&server.api, method, &path, &headers, body).unwrap();
    let version = answer.header("etag").unwrap_or_default().to_owned();
    (answer.status, String::from_utf8(answer.body).unwrap(), version)
}

fn get(server: &Server, tenant: &str, path: &str) -> Value {
    let (status, body, _) = ask(server, tenant, "GET", path, "", "");
    assert_eq!(status, 200, "{tenant}{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

fn status_page(server: &Server, page: &str) -> Value {
    let headers = [("accept".to_owned(), "application/json".to_owned())];
    let answer = http::request(&server.api, "GET", &format!("/status/{page}"), &headers, None).unwrap();
    serde_json::from_slice(&answer.body).unwrap()
}

fn settings(client: &str, more: &str) -> String {
    format!(
        "multitenancy_enabled: true\noverrides: {{user_configurable_overrides: {{enabled: true, poll_interval: 100ms, \
         client: {{{client}}}{more}}}, defaults: {{metrics_generator: {{processors: [host-info], collection_interval: \
         20s, processor: {{span_metrics: {{dimensions: [team], histogram_buckets: [0.5, 1], filter_policies: [{{exclude: \
         {{match_type: strict, attributes: [{{key: span.code, value: 200}}]}}}}]}}}}}}}}}}"
    )
}

fn local(folder: &Path, more: &str) -> String {
    settings(&format!("backend: local, local: {{path: '{}'}}", folder.join("own").display()), more)
}

fn object(folder: &Path, tenant: &str) -> PathBuf {
    folder.join("own/overrides").join(tenant).join("overrides.json")
}

/// A server; the defaults above make metrics that are sent nowhere, which it says.
fn start(folder: &Path, settings: &str) -> Server {
    let mut server = Server::start(folder, settings);
    server.expect_warning("metrics_generator.storage.remote_write is empty");
    server
}

fn metric(server: &Server, line: &str) -> u64 {
    let text = String::from_utf8(server.get("/metrics").body).unwrap();
    let found = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
    found.map_or(0, |value| value.parse().unwrap())
}

/// From nothing to a document, changes of it, and back.
fn versions_are_kept(server: &Server) {
    assert_eq!(ask(server, "a", "GET", "", "", ""), (404, String::new(), String::new()));
    assert_eq!(ask(server, "a", "DELETE", "", "0", "").0, 404);
    for (method, body) in [("POST", "{}"), ("DELETE", "")] {
        let missing = (428, "must specify If-Match header\n".to_owned(), String::new());
        assert_eq!(ask(server, "a", method, "", "", body), missing);
    }
    let changed = |answer: Answer| assert_eq!((answer.0, &*answer.1), (412, "version does not match\n"));
    let first = r#"{"metrics_generator": {"collection_interval": "30s"}}"#;
    changed(ask(server, "a", "POST", "", "1", first));
    let (status, body, one) = ask(server, "a", "POST", "", "0", first);
    assert_eq!((status, &*body), (200, ""));
    assert!(!one.is_empty() && !one.contains('"'), "{one}");
    changed(ask(server, "a", "POST", "", "0", first));
    let blocks = json!({"service_graphs": {}, "span_metrics": {}, "host_info": {}});
    let want = json!({"cost_attribution": {},
        "metrics_generator": {"collection_interval": "30s", "processor": blocks}});
    let (status, body, shown) = ask(server, "a", "GET", "?scope=api", "", "");
    assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap(), &shown), (200, want, &one));
    // With the quotes that HTTP has around it, too.
    let quoted = format!("\"{one}\"");
    let second = r#"{"cost_attribution": {"dimensions": {"service.name": "service"}}}"#;
    let (status, _, two) = ask(server, "a", "POST", "", &quoted, second);
    assert!(status == 200 && two != one, "{status} {two}");
    changed(ask(server, "a", "POST", "", &one, first));
    changed(ask(server, "a", "DELETE", "", &one, ""));
    let patch = r#"{"metrics_generator": {"processors": ["service-graphs"], "processor": {"span_metrics": {"histogram_buckets": [2, 4]}}}, "cost_attribution": {"dimensions": {"team": ""}}}"#;
    changed(ask(server, "a", "PATCH", "", &one, patch));
    let (status, body, three) = ask(server, "a", "PATCH", "", "", patch);
    let patched: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &patched["cost_attribution"]["dimensions"]),
        (200, &json!({"service.name": "service", "team": ""}))
    );
    assert_eq!(patched, get(server, "a", ""));
    // What counts: processors are one's own instead of the operator's, other settings are the operator's.
    let merged = get(server, "a", "?scope=merged");
    assert_eq!(merged["metrics_generator"]["processors"], json!(["service-graphs"]));
    assert_eq!(merged["metrics_generator"]["collection_interval"], "20s");
    let policy =
        json!([{"exclude": {"match_type": "strict", "attributes": [{"key": "span.code", "value": 200}]}}]);
    let spans = json!({"dimensions": ["team"], "histogram_buckets": [2, 4], "filter_policies": policy});
    assert_eq!(merged["metrics_generator"]["processor"]["span_metrics"], spans);
    assert_eq!(
        ask(server, "a", "GET", "?scope=all", "", ""),
        (400, "unknown scope \"all\", valid options are api and merged\n".to_owned(), String::new())
    );
    // Others see nothing of it, and nobody is nobody.
    assert_eq!(ask(server, "b", "GET", "", "", "").0, 404);
    assert_eq!(ask(server, "b", "DELETE", "", &three, "").0, 404);
    assert_eq!(ask(server, "", "GET", "", "", "").0, 401);
    assert_eq!(ask(server, "a|b", "GET", "", "", "").0, 400);
    assert_eq!(ask(server, "a", "PUT", "", &three, "{}").0, 405);
    assert_eq!(ask(server, "a", "DELETE", "", &three, ""), (200, String::new(), String::new()));
    assert_eq!(ask(server, "a", "GET", "", "", "").0, 404);
    let (status, body, _) = ask(server, "a", "PATCH", "", "", r#"{"forwarders": []}"#);
    assert_eq!((status, &serde_json::from_str::<Value>(&body).unwrap()["forwarders"]), (200, &json!([])));
}

#[test]
fn versions_are_those_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &local(folder.path(), ""));
    versions_are_kept(&server);
    for (body, part) in [
        ("{", "the body is no JSON"),
        (r#"{"limits": 1}"#, "unknown field \"limits\""),
        (
            r#"{"metrics_generator": {"collection_interval": "1h"}}"#,
            "is outside acceptable range of 15s to 5m",
        ),
        (r#"{"forwarders": ["x"]}"#, "forwarder \"x\" is not a known forwarder"),
        // The operator has the dimension `team`.
        (
            r#"{"metrics_generator": {"processor": {"span_metrics": {"dimension_mappings": [{"name": "team", "source_labels": ["a"]}]}}}}"#,
            "both would be the label team; keep one",
        ),
    ] {
        for method in ["POST", "PATCH"] {
            let (status, why, _) = ask(&server, "bad", method, "", "0", body);
            assert!(status == 400 && why.contains(part), "{method} {body}: {status} {why}");
        }
    }
    assert_eq!(ask(&server, "bad", "POST", "", "0", &" ".repeat(2 << 20)).0, 400);
    assert!(!object(folder.path(), "bad").exists());
    server.stop();
    let server = start(folder.path(), &local(folder.path(), ""));
    assert_eq!(get(&server, "a", "")["forwarders"], json!([]));
    server.stop();
    // Where it is off, there is no such path.
    let server = Server::start(folder.path(), "");
    assert_eq!(ask(&server, "a", "GET", "", "", "").0, 404);
    server.stop();
}

#[test]
fn versions_are_those_of_a_bucket() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), S3Server::start(&["own-settings"]));
    let client = format!(
        "backend: s3, s3: {{bucket: own-settings, prefix: deep, endpoint: '{}', access_key: {ACCESS_KEY}, secret_key: \
         {SECRET_KEY}, insecure: true}}",
        bucket.endpoint
    );
    let server = start(folder.path(), &settings(&client, ""));
    versions_are_kept(&server);
    server.stop();
}

/// What Tempo wrote is read; what is broken changes nothing and is said.
#[test]
fn objects_of_others_are_looked_at_again_and_a_broken_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let write = |tenant: &str, text: &str| {
        let path = object(folder.path(), tenant);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let of_tempo = r#"{"forwarders":["old"],"cost_attribution":{},"metrics_generator":{"collection_interval":"15s","new_key":1,"processor":{"service_graphs":{},"span_metrics":{},"host_info":{}}}}"#;
    write("first", of_tempo);
    write("broken", "{");
    // Of this one only what is made of spans cannot be used.
    write(
        "half",
        r#"{"forwarders":["old"],"metrics_generator":{"processor":{"span_metrics":{"histogram_buckets":[2,1]}}}}"#,
    );
    let mut server = start(folder.path(), &local(folder.path(), ""));
    server.expect_warning("the tenant's own settings cannot be used");
    assert_eq!(get(&server, "first", "")["metrics_generator"]["new_key"], 1);
    let of = |server: &Server, tenant: &str| {
        let page = status_page(server, &format!("overrides/{tenant}"));
        page["user_configurable_overrides"].as_str().unwrap().to_owned()
    };
    assert!(of(&server, "first").contains("  collection_interval: \"15s\"\n"));
    assert_eq!(of(&server, "broken"), "");
    assert!(of(&server, "half").contains("forwarders: [\"old\"]"));
    assert_eq!(get(&server, "half", "")["forwarders"], json!(["old"]));
    let why = "metrics_generator.processor.span_metrics.histogram_buckets must be strictly increasing";
    assert!(server.lines().iter().any(|line| line.contains("tenant=half") && line.contains(why)));
    let all = status_page(&server, "overrides");
    let of_own = |name: &str| json!({"name": name, "has_runtime_overrides": false, "has_user_configurable_overrides": true});
    let own = json!([of_own("first"), of_own("half")]);
    assert_eq!(all["tenants"], own);
    let page = String::from_utf8(server.get("/status/runtime_config").body).unwrap();
    assert!(page.contains("user_configurable_overrides:\n  \"first\":\n"), "{page}");

    write("second", r#"{"cost_attribution": {"dimensions": {"team": ""}}}"#);
    server.wait("the new object", |server| of(server, "second").contains("team: \"\""));
    write("first", "not JSON");
    let failed = "tempo_overrides_user_configurable_overrides_reload_failed_total";
    let before = metric(&server, failed);
    server.wait("two looks at what is broken", |server| metric(server, failed) > before + 6);
    assert!(of(&server, "first").contains("15s"));
    let said = |server: &Server| {
        server.lines().iter().filter(|line| line.contains("cannot be used") && line.contains("first")).count()
    };
    assert_eq!(said(&server), 1);
    assert_eq!(ask(&server, "first", "GET", "", "", "").0, 500);
    assert!(
        metric(&server, "tempo_overrides_user_configurable_overrides_fetch_failed_total{tenant=\"first\"}")
            > 0
    );
    write("first", of_tempo);
    server.wait("that it can be used again", |server| {
        server.lines().iter().any(|line| line.contains("can be used again") && line.contains("first"))
    });
    fs::remove_file(object(folder.path(), "second")).unwrap();
    server.wait("that it is gone", |server| of(server, "second").is_empty());
    server.stop();
}

#[test]
fn what_the_operator_set_may_be_kept_from_tenants() {
    let folder = tempfile::tempdir().unwrap();
    let more = ", api: {check_for_conflicting_runtime_overrides: true}";
    let server = start(folder.path(), &local(folder.path(), more));
    let body = r#"{"metrics_generator": {"collection_interval": "30s"}}"#;
    let (status, why, _) = ask(&server, "a", "POST", "", "0", body);
    assert!(
        status == 400 && why.contains("tenant has conflicting overrides set in runtime config"),
        "{status} {why}"
    );
    let skip = "?skip-conflicting-overrides-check=";
    let (status, why, _) = ask(&server, "a", "POST", &format!("{skip}maybe"), "0", body);
    assert_eq!(
        (status, &*why),
        (400, "could not parse skip-conflicting-overrides-check, must be a boolean value\n")
    );
    let (status, why, version) = ask(&server, "a", "POST", &format!("{skip}true"), "0", body);
    assert_eq!(status, 200, "{why}");
    // Who has settings may change them.
    assert_eq!(ask(&server, "a", "POST", "", &version, body).0, 200);
    server.stop();
}
