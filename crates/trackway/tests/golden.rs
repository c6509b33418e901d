//! The recordings of a real Tempo: the same questions, asked of the blocks that Tempo wrote, and of the same spans pushed
//! into an empty server, right after the push, after a flush, and after a restart.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::Server;
use support::golden::{
    ARITHMETIC, QUERY_SETTINGS, ask, ask_these, asks_of_pushed, asks_of_v5, asks_only, copy_a_block, metas,
    push_recorded, start_like, start_with,
};
use trackway_golden::Question;

#[test]
fn tempos_own_blocks_give_tempos_answers() {
    let folder = tempfile::tempdir().unwrap();
    trackway_golden::copy_blocks("v4", &folder.path().join("blocks")).unwrap();
    let server = start(folder.path(), "v4");
    let right = ask(&server, "Tempo's block", "v4", asks_only);
    assert!(right >= 220, "only {right} questions were answered");
    ask(&server, "pushes", "v4", |question| question.group == "push");
    server.stop();
}

#[test]
fn blocks_with_other_dedicated_columns_give_tempos_answers() {
    let folder = tempfile::tempdir().unwrap();
    trackway_golden::copy_blocks("v4-dedicated", &folder.path().join("blocks")).unwrap();
    let server = start(folder.path(), "v4-dedicated");
    // A span's integer in a column for texts is shown by Tempo as the text "nil".
    ask(&server, "Tempo's block", "v4-dedicated", |question| {
        asks_only(question)
            && !question.traceql.as_deref().is_some_and(|text| text.contains("select(resource.dup"))
    });
    server.stop();
}

#[test]
fn tempos_own_vparquet5_blocks_give_tempos_answers() {
    for format in ["v5", "v5-dedicated"] {
        let folder = tempfile::tempdir().unwrap();
        trackway_golden::copy_blocks(format, &folder.path().join("blocks")).unwrap();
        let server = start(folder.path(), format);
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
    let server = start(folder.path(), "v3");
    let questions = trackway_golden::answers_moved("v4", "v3").unwrap();
    let right = ask_these(&server, "vParquet3", &questions, asks_of_v3);
    assert!(right >= 290, "only {right} questions were answered");
    server.stop();
}

/// A server that has the dedicated columns of a recording, which it writes in the same format.
fn start(folder: &std::path::Path, recording: &str) -> Server {
    let version = if recording.starts_with("v5") { "vParquet5" } else { "vParquet4" };
    start_like(folder, recording, version, QUERY_SETTINGS)
}

#[test]
fn pushed_spans_give_tempos_answers_from_vparquet5_blocks() {
    for format in ["v5", "v5-dedicated"] {
        let folder = tempfile::tempdir().unwrap();
        let wanted = |question: &Question| asks_of_v5(question) && asks_of_pushed(question);
        let server = start(folder.path(), format);
        push_recorded(&server, format);
        let live = ask(&server, "right after the push", format, wanted);
        server.flush();
        assert_eq!(ask(&server, "after a flush", format, wanted), live);
        server.stop();
        let server = start(folder.path(), format);
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

#[test]
fn pushed_spans_give_tempos_answers_before_and_after_a_flush_and_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "v4");
    push_recorded(&server, "v4");
    let live = ask(&server, "right after the push", "v4", asks_of_pushed);
    push_recorded(&server, "v4"); // a sender that repeats itself doubles nothing
    assert_eq!(ask(&server, "after a repeated push", "v4", asks_of_pushed), live);
    server.flush();
    assert_eq!(ask(&server, "after a flush", "v4", asks_of_pushed), live);
    server.stop();
    let server = start(folder.path(), "v4");
    assert_eq!(ask(&server, "after a restart", "v4", asks_of_pushed), live);
    server.stop();
}

#[test]
fn the_log_alone_gives_the_same_answers_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "v4");
    push_recorded(&server, "v4");
    server.kill();
    let server = start(folder.path(), "v4");
    ask(&server, "after a kill", "v4", asks_of_pushed);
    server.stop();
}

/// Without a configured list the columns choose themselves. They hide nothing, in live spans no more than in stored ones,
/// and change no other answer.
#[test]
fn columns_that_chose_themselves_hide_nothing_and_change_no_answer() {
    let is_list = |question: &Question| question.path.contains("/search/tag");
    for version in ["vParquet4", "vParquet5"] {
        let folder = tempfile::tempdir().unwrap();
        let start = || start_with(folder.path(), &format!("block: {{version: {version}}}"), QUERY_SETTINGS);
        let server = start();
        push_recorded(&server, "v4");
        let questions = trackway_golden::answers("v4").unwrap();
        let lists: Vec<&str> = questions
            .iter()
            .filter(|question| is_list(question) && question.status == 200)
            .map(|question| &*question.path)
            .collect();
        assert!(lists.len() > 30, "{}", lists.len());
        // Which of too many are in a list is nobody's promise, and neither is what was read for it.
        let answers = |server: &Server| -> Vec<(String, serde_json::Value)> {
            let answer = |path: &&str| {
                let mut answer = server.json(path);
                answer.as_object_mut().unwrap().remove("metrics");
                sort(&mut answer);
                ((*path).to_owned(), answer)
            };
            lists.iter().filter(|path| !path.contains("limit=")).map(answer).collect()
        };
        let live = answers(&server);
        let names = |(path, answer): &(String, serde_json::Value)| {
            path.contains("/v2/search/tags") && answer.to_string().contains("\"http.request.method\"")
        };
        assert!(live.iter().any(names), "{live:?}");
        server.flush();
        let wanted =
            |question: &Question| asks_of_pushed(question) && asks_of_v5(question) && !is_list(question);
        let right = ask(&server, "after a flush", "v4", wanted);
        assert!(right >= 200, "only {right} questions were answered");
        assert_same(&answers(&server), &live);
        server.stop();
        let chosen: Vec<_> = metas(&folder.path().join("blocks/single-tenant"))
            .iter()
            .map(|meta| (meta["format"].clone(), meta["dedicatedColumns"].clone()))
            .collect();
        assert!(chosen.iter().all(|(format, columns)| format == version && *columns == chosen[0].1));
        assert!(chosen[0].1.as_array().is_some_and(|columns| columns.len() > 5), "{chosen:?}");
        let server = start();
        assert_same(&answers(&server), &live);
        // The choice of the first block stands.
        let request = trackway_golden::shop_frames("v5").unwrap().remove(0);
        assert_eq!(server.push("application/x-protobuf", &request).status, 200);
        server.flush();
        server.stop();
        for meta in metas(&folder.path().join("blocks/single-tenant")) {
            assert_eq!(meta["dedicatedColumns"], chosen[0].1);
        }
    }
}

fn assert_same(found: &[(String, serde_json::Value)], expected: &[(String, serde_json::Value)]) {
    for ((path, found), (_, expected)) in found.iter().zip(expected) {
        assert_eq!(found, expected, "{path}");
    }
}

/// Lists in one order.
fn sort(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Array(all) => {
            all.iter_mut().for_each(sort);
            all.sort_by_key(ToString::to_string);
        }
        serde_json::Value::Object(all) => all.values_mut().for_each(sort),
        _ => {}
    }
}

/// A question for series that Tempo refuses is refused in Tempo's words; nothing needs to be computed for that.
#[test]
fn refused_questions_for_series_are_refused_in_tempos_words() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "v4");
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
    for factor in [0, 0, 0] {
        copy_a_block(folder.path(), factor);
    }
    let server = start(folder.path(), "v4");
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
    let server = start(folder.path(), "v4");
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
