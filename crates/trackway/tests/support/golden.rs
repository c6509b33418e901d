//! Asks a server the recorded questions.

use std::path::Path;

use trackway_golden::{Endpoints, Question, Verdict, check};

use super::{Ports, Server, config};

/// Everything is asked at once and kept for ever: the recordings grow old.
pub const QUERY_SETTINGS: &str = "compactor: {compaction: {block_retention: 0s}}\nquery_frontend: {query_end_cutoff: 0s, search: {query_backend_after: 0s}, metrics: {query_backend_after: 0s}}";

/// `{ .nothing = nil }` finds all spans without the attribute here. Tempo passes over those that have no generic
/// attributes at all, an artefact of its storage (and over one more, by the order of a block). Tempo estimates what it is
/// asked to sample; here every span is counted all the same. It refuses arithmetic between metrics queries.
const BETTER_THAN_TEMPO: [&str; 4] =
    ["{ .nothing = nil }", "{ } | rate() with (sample=true)", "{ } | rate() with (sample=0.5)", ARITHMETIC];

pub const ARITHMETIC: &str = "({ status = error } | count_over_time() by (resource.service.name)) / \
     ({ } | count_over_time() by (resource.service.name)) * 100";

/// What of a recording's configuration shows in its answers, as YAML of `storage.trace`: Tempo leaves attributes with
/// columns of their own out of its lists, and so does this when they are configured.
pub fn columns(recording: &str, version: &str) -> String {
    let meta = metas(&trackway_golden::folder(recording).join("single-tenant")).remove(0);
    let columns = meta["dedicatedColumns"].as_array().unwrap().iter().map(|column| {
        let text = |key: &str, default: &str| column[key].as_str().unwrap_or(default).to_owned();
        let options = column["o"].as_array().map_or_else(|| "[]".to_owned(), |all| format!("{all:?}"));
        let options = options.replace("String(", "").replace(')', "");
        let (scope, name, kind) = (text("s", "span"), text("n", ""), text("t", "string"));
        format!("{{scope: {scope}, name: {name}, type: {kind}, options: {options}}}")
    });
    let columns: Vec<String> = columns.collect();
    format!("block: {{version: {version}, parquet_dedicated_columns: [{}]}}", columns.join(", "))
}

/// Starts a server with the dedicated columns of a recording, and waits until it is ready.
pub fn start_like(folder: &Path, recording: &str, version: &str, more: &str) -> Server {
    start_with(folder, &columns(recording, version), more)
}

/// Starts a server with this in `storage.trace`, and waits until it is ready.
pub fn start_with(folder: &Path, trace: &str, more: &str) -> Server {
    let ports = Ports::free();
    let text = config(folder, ports, more);
    let file = folder.join("tempo.yaml");
    std::fs::write(&file, text.replace("backend: local,", &format!("backend: local, {trace},"))).unwrap();
    let mut server = Server::spawn_file(folder, &file, ports);
    server.until_ready();
    server
}

pub fn ask(server: &Server, what: &str, format: &str, wanted: impl Fn(&Question) -> bool) -> usize {
    ask_these(server, what, &trackway_golden::answers(format).unwrap(), wanted)
}

pub fn ask_these(
    server: &Server,
    what: &str,
    questions: &[Question],
    wanted: impl Fn(&Question) -> bool,
) -> usize {
    let at = Endpoints { api: server.api.clone(), otlp: server.otlp_http.clone(), zipkin: None };
    let (mut right, mut wrong) = (0, Vec::new());
    for question in questions.iter().filter(|question| wanted(question)) {
        if question.traceql.as_deref().is_some_and(|text| BETTER_THAN_TEMPO.contains(&text)) {
            continue;
        }
        match check(question, &at) {
            Verdict::Pass => right += 1,
            Verdict::Skipped(_) => {}
            Verdict::Fail(problem) => {
                wrong.push(format!("[{}] {}: {problem}", question.group, question.label()))
            }
        }
    }
    assert!(wrong.is_empty(), "{what}: {} wrong, {right} right\n{}", wrong.len(), wrong.join("\n"));
    right
}

/// Of what was pushed here the siblings are numbered by start and id, so that the numbers do not depend on the order in
/// which requests happened to arrive. Tempo numbers them as they came, and in one recorded trace that is another order.
pub fn asks_of_pushed(question: &Question) -> bool {
    asks_only(question) && question.traceql.as_deref() != Some("{ nestedSetRight < 5 }")
}

pub fn asks_only(question: &Question) -> bool {
    !matches!(question.group.as_str(), "push" | "zipkin")
}

/// Sends what was recorded.
pub fn push_recorded(server: &Server, format: &str) {
    for frame in trackway_golden::shop_frames(format).unwrap() {
        assert_eq!(server.push("application/x-protobuf", &frame).status, 200);
    }
    let odd = trackway_golden::odd_json(format).unwrap();
    let answer = server.push("application/json", &odd);
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
}

/// In vParquet5 Tempo's old search for tags, which compares texts, finds an integer that has a dedicated column; asked of
/// any other place it does not, and neither does this. A span's integer in a column for texts is shown as the text "nil".
/// With a filter, names that have a column in every vParquet4 block are listed whatever the filter, as Tempo does there;
/// in vParquet5 they are names like others for it.
pub fn asks_of_v5(question: &Question) -> bool {
    let old_search = question.path.contains("&tags=http.response.status_code");
    let nil = question.traceql.as_deref().is_some_and(|text| text.contains("select(resource.dup"));
    let names = question.group == "tags" && question.path.contains("/tags?q=");
    asks_only(question) && !old_search && !nil && !names
}

/// The contents of all `meta.json` of a tenant.
pub fn metas(tenant: &Path) -> Vec<serde_json::Value> {
    let blocks = std::fs::read_dir(tenant).unwrap().map(|entry| entry.unwrap().path().join("meta.json"));
    let texts = blocks.filter(|file| file.exists()).map(|file| std::fs::read_to_string(file).unwrap());
    texts.map(|text| serde_json::from_str(&text).unwrap()).collect()
}

/// Puts a copy of the first block beside it, with another id and this replication factor, and returns the number of
/// blocks.
pub fn copy_a_block(folder: &Path, replication_factor: u32) -> usize {
    let tenant = folder.join("blocks/single-tenant");
    let mut blocks: Vec<std::path::PathBuf> = std::fs::read_dir(&tenant)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("meta.json").exists())
        .collect();
    blocks.sort();
    let original = blocks.last().unwrap();
    let id = original.file_name().unwrap().to_str().unwrap();
    let other = format!("{:08x}{}", blocks.len(), &id[8..]);
    let to = tenant.join(&other);
    std::fs::create_dir(&to).unwrap();
    for file in std::fs::read_dir(original).unwrap().map(|entry| entry.unwrap().path()) {
        std::fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
    let text = std::fs::read_to_string(to.join("meta.json")).unwrap();
    let mut meta: serde_json::Value = serde_json::from_str(&text).unwrap();
    meta["blockID"] = other.into();
    meta["replicationFactor"] = replication_factor.into();
    std::fs::write(to.join("meta.json"), meta.to_string()).unwrap();
    blocks.len() + 1
}
