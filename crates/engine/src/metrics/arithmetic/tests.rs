//! What comes of series that meet.

use super::*;
use trackway_traceql::parse_metrics;

const RATE: &str = "({ } | rate())";

fn text(value: &str) -> AttributeValue {
    AttributeValue::String(value.to_owned())
}

/// A series with a sample each second.
fn series(labels: &[(&str, &str)], samples: &[f64]) -> Series {
    Series {
        labels: labels.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect(),
        samples: samples.iter().enumerate().map(|(at, value)| (at as u64 * 1000, *value)).collect(),
        exemplars: Vec::new(),
    }
}

fn total(samples: &[f64]) -> Vec<Series> {
    vec![series(&[(NAME, "rate")], samples)]
}

fn time() -> Intervals {
    Intervals::range(0, 10_000_000_000, 1_000_000_000)
}

/// Puts answers into a text of operators and `q`s.
fn run(question: &str, answers: Vec<Vec<Series>>) -> Vec<Series> {
    let query = parse_metrics(&question.replace('q', RATE)).unwrap();
    assert_eq!(query.expr.queries().len(), answers.len());
    combine(&query, answers, &time(), 0).series
}

fn values(question: &str, answers: Vec<Vec<Series>>) -> Vec<(u64, f64)> {
    let mut series = run(question, answers);
    assert!(series.len() < 2);
    series.pop().map(|series| series.samples).unwrap_or_default()
}

#[test]
fn numbers_apply_to_every_sample() {
    for (question, result) in [
        ("q + 1", [3.0, 5.0]),
        ("q - 1", [1.0, 3.0]),
        ("q * 100", [200.0, 400.0]),
        ("100 * q", [200.0, 400.0]),
        ("q / 2", [1.0, 2.0]),
        ("8 / q", [4.0, 2.0]),
        ("(q + 5) % 4", [3.0, 1.0]),
        ("q ^ 2", [4.0, 16.0]),
        ("2 ^ q", [4.0, 16.0]),
        ("-q", [-2.0, -4.0]),
        ("-q ^ 2", [-4.0, -16.0]),
        ("1 + q * 2", [5.0, 9.0]),
        ("(1 + q) * 2", [6.0, 10.0]),
        ("10 - q - 1", [7.0, 5.0]),
        ("q / 500ms", [4.0, 8.0]),
        ("q * (1 + 2)", [6.0, 12.0]),
    ] {
        assert_eq!(
            values(question, vec![total(&[2.0, 4.0])]),
            [(0, result[0]), (1000, result[1])],
            "{question}"
        );
    }
}

#[test]
fn what_is_no_number_is_no_sample() {
    let (of, by) = (total(&[1.0, 0.0, 6.0]), total(&[0.0, 0.0, 3.0]));
    assert_eq!(values("q / q", vec![of.clone(), by.clone()]), [(2000, 2.0)]);
    assert_eq!(values("q % q", vec![of.clone(), by]), [(2000, 0.0)]);
    for question in
        ["q / 0", "q / (1 / 0)", "q ^ 0 / 0", "q * 1e300 * 1e300 * 1e300 - 1 / 0", "(0 - 1) ^ 0.5 + q"]
    {
        assert_eq!(run(question, vec![of.clone()]), [], "{question}");
    }
    // There is one zero.
    assert!(values("-q", vec![of])[1].1.is_sign_positive());
}

#[test]
fn series_meet_by_labels() {
    let left = vec![
        series(&[("a", "1"), ("b", "x")], &[1.0, 2.0]),
        series(&[("a", "2"), ("b", "x")], &[3.0]),
        series(&[("a", "3"), ("b", "x")], &[5.0]),
    ];
    let right = vec![
        series(&[("b", "x"), ("a", "2")], &[10.0, 20.0]),
        series(&[("b", "x"), ("a", "1")], &[1.0]),
        series(&[("b", "x"), ("a", "4")], &[1.0]),
        series(&[("a", "3")], &[1.0]),
    ];
    assert_eq!(
        run("q + q", vec![left, right]),
        [series(&[("a", "1"), ("b", "x")], &[2.0]), series(&[("a", "2"), ("b", "x")], &[13.0])]
    );
}

#[test]
fn own_labels_of_aggregates_count() {
    let of = |p: f64, value| Series {
        labels: vec![("p".to_owned(), AttributeValue::Float(p))],
        ..series(&[], &[value])
    };
    let both = run("q / q", vec![vec![of(0.5, 4.0), of(0.9, 9.0)], vec![of(0.9, 3.0)]]);
    assert_eq!(both, [of(0.9, 3.0)]);
    // A lone quantile has a label; it does not meet everything.
    assert_eq!(run("q / q", vec![vec![of(0.5, 4.0)], vec![series(&[("a", "1")], &[1.0])]]), []);
}

#[test]
fn a_side_without_labels_meets_all() {
    let grouped = || vec![series(&[("a", "2")], &[2.0, 6.0]), series(&[("a", "1")], &[1.0, 3.0])];
    let shares = [series(&[("a", "1")], &[0.25, 0.5]), series(&[("a", "2")], &[0.5, 1.0])];
    assert_eq!(run("q / q", vec![grouped(), total(&[4.0, 6.0])]), shares);
    assert_eq!(run("1 / (q / q)", vec![total(&[4.0, 6.0]), grouped()]), shares);
    // Both without labels, and one without anything.
    assert_eq!(
        run("q / q", vec![total(&[4.0]), total(&[8.0])]),
        [series(&[(NAME, "({ } | rate()) / ({ } | rate())")], &[0.5])]
    );
    assert_eq!(run("q / q", vec![grouped(), Vec::new()]), []);
    assert_eq!(run("q / q", vec![Vec::new(), total(&[1.0])]), []);
}

#[test]
fn samples_meet_by_time() {
    let at = |samples: &[(u64, f64)]| vec![Series { samples: samples.to_vec(), ..total(&[]).remove(0) }];
    let left = at(&[(1000, 1.0), (3000, 3.0), (4000, 4.0), (6000, 6.0)]);
    let right = at(&[(0, 1.0), (2000, 1.0), (3000, 1.0), (5000, 1.0), (6000, 1.0), (7000, 1.0)]);
    assert_eq!(values("q + q", vec![left, right]), [(3000, 4.0), (6000, 7.0)]);
}

#[test]
fn stages_and_limits_come_last() {
    let parts: Vec<Series> =
        [3.0, 1.0, 2.0].iter().zip(["a", "b", "c"]).map(|(n, a)| series(&[("a", a)], &[*n])).collect();
    let count = |question: &str, max_series| {
        let query = parse_metrics(&question.replace('q', RATE)).unwrap();
        let finished = combine(&query, vec![parts.clone(), total(&[2.0])], &time(), max_series);
        (finished.series.len(), finished.truncated.is_some())
    };
    assert_eq!(count("q / q", 0), (3, false));
    assert_eq!(count("q / q", 2), (2, true));
    assert_eq!(count("q / q | topk(2)", 2), (2, false));
    assert_eq!(count("q / q | > 0.5", 0), (2, false));
    assert_eq!(count("q / q > 1 | bottomk(1)", 0), (1, false));
    // A lone query keeps its name.
    let alone = parse_metrics("{ } | rate()").unwrap();
    assert_eq!(combine(&alone, vec![total(&[1.0])], &time(), 0).series, total(&[1.0]));
}

#[test]
fn exemplars_are_of_the_left_side() {
    let with_exemplar = |mut series: Series| {
        let labels = std::iter::once(("trace:id".to_owned(), text("7"))).chain(series.labels.iter().cloned());
        series.exemplars = vec![Exemplar { labels: labels.collect(), value: 99.0, time_ms: 1500 }];
        series
    };
    let grouped = || vec![with_exemplar(series(&[("a", "1")], &[0.0, 1.0, 4.0]))];
    let all = || vec![with_exemplar(total(&[1.0, 1.0, 8.0]).remove(0))];
    let shown = run("q / q * 100", vec![grouped(), all()]).remove(0).exemplars;
    let labels = vec![("trace:id".to_owned(), text("7")), ("a".to_owned(), text("1"))];
    assert_eq!(shown, [Exemplar { labels, value: 50.0, time_ms: 1500 }]);
    assert_eq!(run("q / q", vec![all(), grouped()])[0].exemplars, []);
    let named = run("q / 2", vec![all()]).remove(0);
    assert_eq!((named.exemplars[0].value, &named.exemplars[0].labels[1]), (4.0, &named.labels[0]));
}
