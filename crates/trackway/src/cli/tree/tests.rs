//! Tests of the order of spans.

use super::*;

fn span(id: usize, parent: Option<usize>, start: u64) -> Span {
    Span {
        id: id.to_string(),
        parent: parent.map(|parent| parent.to_string()).unwrap_or_default(),
        start,
        end: start + 1,
        ..Span::default()
    }
}

fn show(rows: &[Row]) -> Vec<String> {
    rows.iter()
        .map(|row| match &row.what {
            What::Span(place) => format!("{}{place}", row.branch),
            What::Gathered { spans, errors } => format!("{}+{spans} !{errors}", row.branch),
            What::Orphans(spans) => format!("orphans {spans}"),
        })
        .collect()
}

/// Every span stands in the rows once.
fn total(rows: &[Row]) -> usize {
    rows.iter()
        .map(|row| match row.what {
            What::Span(_) => 1,
            What::Gathered { spans, .. } => spans,
            What::Orphans(_) => 0,
        })
        .sum()
}

#[test]
fn children_stand_below_their_parents_earliest_first() {
    let spans = [
        span(0, None, 0),
        span(1, Some(0), 9),
        span(2, Some(0), 5),
        span(3, Some(2), 6),
        span(4, Some(2), 7),
    ];
    assert_eq!(show(&rows(&spans, 100)), ["0", "├ 2", "│ ├ 3", "│ └ 4", "└ 1"]);
    assert_eq!(rows(&spans, 100)[2].rails, "│ │ ");
}

#[test]
fn orphans_and_circles_are_shown_apart() {
    let spans = [
        span(0, None, 0),
        span(1, Some(77), 3),
        span(2, Some(1), 4),
        span(3, Some(4), 6),
        span(4, Some(3), 5),
        span(5, Some(5), 1),
    ];
    assert_eq!(show(&rows(&spans, 100)), ["0", "orphans 5", "5", "1", "└ 2", "4", "└ 3"]);
}

#[test]
fn what_shares_an_id_hangs_below_the_server() {
    let server = Span { is_server: true, ..span(1, Some(0), 2) };
    let spans = [span(0, None, 0), span(1, Some(0), 1), server, span(3, Some(1), 3)];
    assert_eq!(show(&rows(&spans, 100)), ["0", "├ 1", "└ 2", "  └ 3"]);
}

#[test]
fn too_many_siblings_are_gathered_and_failed_ones_stay() {
    let mut spans: Vec<Span> = (0..10_000).map(|id| span(id, (id > 0).then_some(0), id as u64)).collect();
    spans[9_000].is_error = true;
    let rows = rows(&spans, 50);
    assert_eq!(rows.len(), 22);
    let shown = show(&rows);
    assert_eq!(shown[..3], ["0", "├ 1", "├ 2"]);
    assert_eq!(shown[20..], ["├ 9000", "└ +9979 !0"]);
    assert_eq!(total(&rows), 10_000);
}

#[test]
fn a_chain_of_ten_thousand_ends_somewhere() {
    let mut spans: Vec<Span> = (0..10_000).map(|id| span(id, id.checked_sub(1), id as u64)).collect();
    spans[9_999].is_error = true;
    let some = rows(&spans, 50);
    assert_eq!(some.len(), 51);
    assert_eq!(show(&some).last().unwrap(), "+9950 !1");
    assert_eq!(total(&some), 10_000);
    let all = rows(&spans, usize::MAX);
    assert_eq!(all.len(), 10_000);
    assert!(all.iter().all(|row| row.branch.chars().count() <= 2 * (DEEPEST + 1)));
}

#[test]
fn circles_among_many_lose_nothing() {
    let spans: Vec<Span> = (0..1_000).map(|id| span(id, Some((id + 1) % 1_000), id as u64)).collect();
    assert_eq!(total(&rows(&spans, usize::MAX)), 1_000);
    assert_eq!(total(&rows(&spans, 20)), 1_000);
}
