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
    let questions = trackway_golden::answers(format).unwrap();
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

/// Where vParquet5 makes Tempo answer otherwise, by the beginning of the path, with the reason.
const OTHERWISE_IN_V5: [(&str, &str); 3] = [
    (
        "/api/search?start=@&tags=http.response.status_code",
        "the old search for tags compares texts; Tempo's finds an integer when it has a column of its own, and only then",
    ),
    (
        "/api/v2/search/tags?q=",
        "with a filter Tempo leaves out attributes with dedicated columns, among them k8s.pod.name, which are listed here",
    ),
    (
        "/api/v2/search/tag/span.http.response.status_code/values?q=",
        "the same for the values of an integer",
    ),
];

fn asks_of_v5(question: &Question) -> bool {
    let start = |pattern: &str| match pattern.split_once('@') {
        Some((before, after)) => question.path.starts_with(before) && question.path.contains(after.trim_start_matches('&')),
        None => question.path.starts_with(pattern),
    };
    asks_of_pushed(question) && !OTHERWISE_IN_V5.iter().any(|(pattern, _)| start(pattern))
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
