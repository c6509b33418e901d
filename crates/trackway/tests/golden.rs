//! The recordings of a real Tempo: the same questions, asked of the blocks that Tempo wrote, and of the same spans pushed
//! into an empty server, right after the push, after a flush, and after a restart.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::Server;
use trackway_golden::{Endpoints, Question, Verdict, check};

const QUERY_SETTINGS: &str = "query_frontend: {query_end_cutoff: 0s, search: {query_backend_after: 0s}, metrics: {query_backend_after: 0s}}";

/// `{ .nothing = nil }` finds all spans without the attribute here. Tempo passes over those that have no generic
/// attributes at all, an artefact of its storage (and over one more, by the order of a block). Tempo estimates what it is
/// asked to sample; here every span is counted all the same. It refuses arithmetic between metrics queries.
const BETTER_THAN_TEMPO: [&str; 4] =
    ["{ .nothing = nil }", "{ } | rate() with (sample=true)", "{ } | rate() with (sample=0.5)", ARITHMETIC];

const ARITHMETIC: &str = "({ status = error } | count_over_time() by (resource.service.name)) / \
     ({ } | count_over_time() by (resource.service.name)) * 100";

fn ask(server: &Server, what: &str, format: &str, wanted: impl Fn(&Question) -> bool) -> usize {
    ask_these(server, what, &trackway_golden::answers(format).unwrap(), wanted)
}

fn ask_these(
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
fn asks_of_pushed(question: &Question) -> bool {
    asks_only(question) && question.traceql.as_deref() != Some("{ nestedSetRight < 5 }")
}

fn asks_only(question: &Question) -> bool {
    !matches!(question.group.as_str(), "push" | "zipkin")
}

fn push_recorded(server: &Server, format: &str) {
    for frame in trackway_golden::shop_frames(format).unwrap() {
        assert_eq!(server.push("application/x-protobuf", &frame).status, 200);
    }
    let odd = trackway_golden::odd_json(format).unwrap();
    let answer = server.push("application/json", &odd);
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
}

#[test]
fn tempos_own_blocks_give_tempos_answers() {
    let folder = tempfile::tempdir().unwrap();
    trackway_golden::copy_blocks("v4", &folder.path().join("blocks")).unwrap();
    let server = Server::start(folder.path(), QUERY_SETTINGS);
    let right = ask(&server, "Tempo's block", "v4", asks_only);
    assert!(right >= 220, "only {right} questions were answered");
    ask(&server, "pushes", "v4", |question| question.group == "push");
    server.stop();
}

#[test]
fn blocks_with_other_dedicated_columns_give_tempos_answers() {
    let folder = tempfile::tempdir().unwrap();
    trackway_golden::copy_blocks("v4-dedicated", &folder.path().join("blocks")).unwrap();
    let server = Server::start(folder.path(), QUERY_SETTINGS);
    // A span's integer in a column for texts is shown by Tempo as the text "nil".
    ask(&server, "Tempo's block", "v4-dedicated", |question| {
        asks_only(question)
            && !question.traceql.as_deref().is_some_and(|text| text.contains("select(resource.dup"))
    });
    server.stop();
}

/// In vParquet5 Tempo's old search for tags, which compares texts, finds an integer that has a dedicated column; asked of
/// any other place it does not, and neither does this. A span's integer in a column for texts is shown as the text "nil".
/// With a filter, names that have a column in every vParquet4 block are listed whatever the filter, as Tempo does there;
/// in vParquet5 they are names like others for it.
fn asks_of_v5(question: &Question) -> bool {
    let old_search = question.path.contains("&tags=http.response.status_code");
    let nil = question.traceql.as_deref().is_some_and(|text| text.contains("select(resource.dup"));
    let names = question.group == "tags" && question.path.contains("/tags?q=");
    asks_only(question) && !old_search && !nil && !names
}

#[test]
fn tempos_own_vparquet5_blocks_give_tempos_answers() {
    for format in ["v5", "v5-dedicated"] {
        let folder = tempfile::tempdir().unwrap();
        trackway_golden::copy_blocks(format, &folder.path().join("blocks")).unwrap();
        let server = Server::start(folder.path(), QUERY_SETTINGS);
        let right = ask(&server, format, format, asks_of_v5);
        assert!(right >= 290, "only {right} questions were answered");
        server.stop();
    }
}

/// What vParquet3 does not store: attributes of scopes, and values that are bytes.
fn asks_of_v3(question: &Question) -> bool {
    let traces = ["000000000000000000000000000065", "000000000000000000000000000066"];
    let lost = question.group == "trace" && traces.iter().any(|id| question.path.contains(id));
    asks_only(question) && !lost && !question.path.starts_with("/api/v2/search/tags?start=")
}

/// Of the same input there is a recorded block in vParquet3, but no answers: it is asked what vParquet4 was.
#[test]
fn tempos_vparquet3_block_gives_the_answers_of_vparquet4() {
    let folder = tempfile::tempdir().unwrap();
    trackway_golden::copy_blocks("v3", &folder.path().join("blocks")).unwrap();
    let server = Server::start(folder.path(), QUERY_SETTINGS);
    let questions = trackway_golden::answers_moved("v4", "v3").unwrap();
    let right = ask_these(&server, "vParquet3", &questions, asks_of_v3);
    assert!(right >= 290, "only {right} questions were answered");
    server.stop();
}

/// A server that writes vParquet5, with the dedicated columns of a recording.
fn start_v5(folder: &std::path::Path, format: &str) -> Server {
    let block = match format {
        "v5" => "block: {version: vParquet5}",
        _ => {
            "block: {version: vParquet5, parquet_dedicated_columns: [{scope: span, name: http.request.method}, \
             {scope: span, name: http.route}, {scope: span, name: db.query.text, options: [blob]}, \
             {scope: resource, name: k8s.pod.name}, {scope: span, name: dup, options: [array]}, \
             {scope: span, name: http.response.status_code, type: int}, {scope: event, name: exception.type}]}"
        }
    };
    let ports = support::Ports::free();
    let text = support::config(folder, ports, QUERY_SETTINGS);
    let file = folder.join("tempo.yaml");
    std::fs::write(&file, text.replace("backend: local,", &format!("backend: local, {block},"))).unwrap();
    let mut server = Server::spawn_file(folder, &file, ports);
    server.until_ready();
    server
}

#[test]
fn pushed_spans_give_tempos_answers_from_vparquet5_blocks() {
    for format in ["v5", "v5-dedicated"] {
        let folder = tempfile::tempdir().unwrap();
        let wanted = |question: &Question| asks_of_v5(question) && asks_of_pushed(question);
        let server = start_v5(folder.path(), format);
        push_recorded(&server, format);
        let live = ask(&server, "right after the push", format, wanted);
        server.flush();
        assert_eq!(ask(&server, "after a flush", format, wanted), live);
        server.stop();
        let server = start_v5(folder.path(), format);
        assert_eq!(ask(&server, "after a restart", format, wanted), live);
        server.stop();
        let metas = metas(&folder.path().join("blocks/single-tenant"));
        assert!(!metas.is_empty());
        for meta in metas {
            assert_eq!(meta["format"], "vParquet5");
            let dedicated = meta["dedicatedColumns"].as_array().unwrap();
            assert_eq!(dedicated.len(), if format == "v5" { 14 } else { 7 });
        }
    }
}

/// The contents of all `meta.json` of a tenant.
fn metas(tenant: &std::path::Path) -> Vec<serde_json::Value> {
    let blocks = std::fs::read_dir(tenant).unwrap().map(|entry| entry.unwrap().path().join("meta.json"));
    let texts = blocks.filter(|file| file.exists()).map(|file| std::fs::read_to_string(file).unwrap());
    texts.map(|text| serde_json::from_str(&text).unwrap()).collect()
}

#[test]
fn pushed_spans_give_tempos_answers_before_and_after_a_flush_and_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), QUERY_SETTINGS);
    push_recorded(&server, "v4");
    let live = ask(&server, "right after the push", "v4", asks_of_pushed);
    push_recorded(&server, "v4"); // a sender that repeats itself doubles nothing
    assert_eq!(ask(&server, "after a repeated push", "v4", asks_of_pushed), live);
    server.flush();
    assert_eq!(ask(&server, "after a flush", "v4", asks_of_pushed), live);
    server.stop();
    let server = Server::start(folder.path(), QUERY_SETTINGS);
    assert_eq!(ask(&server, "after a restart", "v4", asks_of_pushed), live);
    server.stop();
}

#[test]
fn the_log_alone_gives_the_same_answers_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), QUERY_SETTINGS);
    push_recorded(&server, "v4");
    server.kill();
    let server = Server::start(folder.path(), QUERY_SETTINGS);
    ask(&server, "after a kill", "v4", asks_of_pushed);
    server.stop();
}

/// A question for series that Tempo refuses is refused in Tempo's words; nothing needs to be computed for that.
#[test]
fn refused_questions_for_series_are_refused_in_tempos_words() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), QUERY_SETTINGS);
    let questions = trackway_golden::answers("v4").unwrap();
    let groups = ["metrics", "instant", "metrics-params", "bad-metrics"];
    let refused: Vec<&Question> = questions
        .iter()
        .filter(|question| groups.contains(&question.group.as_str()) && question.status == 400)
        .filter(|question| !is_arithmetic(question))
        .collect();
    assert!(refused.len() >= 11, "{}", refused.len());
    for question in refused {
        let answer = server.get(&question.path);
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!((answer.status, Some(&*text)), (400, question.text.as_deref()), "{}", question.label());
    }
    server.stop();
}

/// A replicated Tempo 2.x leaves a bucket with three blocks of the same spans, and its metrics with a fourth that is theirs
/// alone (`replicationFactor` 1). Every span counts once.
#[test]
fn copies_of_a_block_change_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    trackway_golden::copy_blocks("v4", &folder.path().join("blocks")).unwrap();
    let tenant = folder.path().join("blocks/single-tenant");
    let is_block = |path: &std::path::PathBuf| path.join("meta.json").exists();
    let original =
        std::fs::read_dir(&tenant).unwrap().map(|entry| entry.unwrap().path()).find(is_block).unwrap();
    let id = original.file_name().unwrap().to_str().unwrap().to_owned();
    for (copy, factor) in [(1, 0), (2, 0), (3, 0)] {
        let other = format!("0000000{copy}{}", &id[8..]);
        let to = tenant.join(&other);
        std::fs::create_dir(&to).unwrap();
        for file in std::fs::read_dir(&original).unwrap().map(|entry| entry.unwrap().path()) {
            std::fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
        }
        let text = std::fs::read_to_string(to.join("meta.json")).unwrap();
        let mut meta: serde_json::Value = serde_json::from_str(&text).unwrap();
        meta["blockID"] = other.into();
        meta["replicationFactor"] = factor.into();
        std::fs::write(to.join("meta.json"), meta.to_string()).unwrap();
    }
    let server = Server::start(folder.path(), QUERY_SETTINGS);
    let right = ask(&server, "four copies of Tempo's block", "v4", asks_of_pushed);
    assert!(right >= 290, "only {right} questions were answered");
    server.stop();
}

fn is_arithmetic(question: &Question) -> bool {
    question.traceql.as_deref() == Some(ARITHMETIC)
}

/// What Tempo refuses and this does not: the answer is what the two parts, asked alone, come to.
#[test]
fn arithmetic_is_what_its_parts_come_to() {
    let folder = tempfile::tempdir().unwrap();
    trackway_golden::copy_blocks("v4", &folder.path().join("blocks")).unwrap();
    let server = Server::start(folder.path(), QUERY_SETTINGS);
    let questions = trackway_golden::answers("v4").unwrap();
    let mut asked = 0;
    for question in questions.iter().filter(|question| is_arithmetic(question)) {
        let (path, rest) = question.path.split_once("%28").unwrap();
        let (errors, rest) = rest.split_once("%29+%2F+%28").unwrap();
        let (all, range) = rest.split_once("%29+%2A+100").unwrap();
        let [errors, all] = [errors, all].map(|part| series(&server, &format!("{path}{part}{range}")));
        let mut expected = Vec::new();
        for (labels, samples) in &errors {
            let Some((_, others)) = all.iter().find(|(other, _)| other == labels) else { continue };
            let shares = samples.iter().filter_map(|(time, errors)| {
                let all = others.iter().find(|(other, _)| other == time)?.1;
                (all != 0.0).then(|| (time.clone(), errors / all * 100.0))
            });
            expected.push((labels.clone(), shares.collect::<Vec<_>>()));
        }
        let shares = series(&server, &question.path);
        assert_eq!(shares.len(), expected.len(), "{}", question.path);
        for ((labels, samples), (of, expected)) in shares.iter().zip(&expected) {
            assert_eq!((labels, samples.len()), (of, expected.len()));
            for (share, expected) in samples.iter().zip(expected) {
                // The last digit may be lost where the test reads JSON.
                assert!(
                    share.0 == expected.0 && (share.1 - expected.1).abs() < 1e-9,
                    "{share:?} {expected:?}"
                );
            }
        }
        assert!(shares.iter().flat_map(|(_, samples)| samples).any(|(_, share)| *share > 0.0));
        asked += 1;
    }
    assert_eq!(asked, 2, "over a range and at an instant");
    server.stop();
}

/// Labels as text, and samples with their times; an instant has none.
type Found = (String, Vec<(String, f64)>);

fn series(server: &Server, path: &str) -> Vec<Found> {
    let answer = server.json(path);
    let sample = |sample: &serde_json::Value| {
        let time = sample["timestampMs"].as_str().unwrap_or_default();
        (time.to_owned(), sample["value"].as_f64().unwrap_or_default())
    };
    let series = answer["series"].as_array().unwrap().iter().map(|series| {
        let samples = series["samples"].as_array();
        let samples = samples.map_or_else(|| vec![sample(series)], |all| all.iter().map(sample).collect());
        (series["labels"].to_string(), samples)
    });
    series.collect()
}

/// What is asked must be what is counted: a report of nothing would pass.
#[test]
fn the_recordings_are_there() {
    let questions = trackway_golden::answers("v4").unwrap();
    assert!(questions.len() > 300);
}
