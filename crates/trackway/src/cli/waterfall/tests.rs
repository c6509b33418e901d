//! Tests of the drawing: fixed spans, exact lines.

use super::*;

const MS: u64 = 1_000_000;
const START: u64 = 1_777_644_000_123 * MS;
const PLAIN: Look = Look { colour: false, width: 80, fit: true };

fn span(id: &str, parent: &str, service: &str, name: &str, from: u64, to: u64) -> Span {
    Span {
        id: id.into(),
        parent: parent.into(),
        service: service.into(),
        name: name.into(),
        start: START + from * MS,
        end: START + to * MS,
        ..Span::default()
    }
}

fn shop() -> Vec<Span> {
    vec![
        span("a", "", "frontend", "POST /checkout", 0, 1000),
        span("b", "a", "checkout", "PlaceOrder", 100, 900),
        Span {
            is_error: true,
            notes: vec!["card declined".into(), "exception CardError: insufficient funds".into()],
            ..span("c", "b", "payment", "Charge 注文", 500, 750)
        },
        span("d", "b", "db", "INSERT orders", 750, 752),
        span("e", "a", "a-service-with-a-very-long-name", "send", 950, 1000),
        span("f", "gone", "email", "SMTP", 980, 1000),
    ]
}

#[test]
fn a_waterfall() {
    let (drawn, shown) = draw("5f1c", &shop(), 500, PLAIN);
    let want = "\
trace 5f1c
2026-05-01 14:00:00.123 UTC, 1.00 s, 6 spans, 6 services, 1 error

SERVICE               SPAN               0             500 ms  1.00 s   DURATION
frontend              POST /checkout     ████████████████████████████     1.00 s
checkout              ├ PlaceOrder         ████████████████████████       800 ms
payment               │ ├ Charge 注文                  ███████          ! 250 ms
                      │ │   ! card declined
                      │ │   ! exception CardError: insufficient funds
db                    │ └ INSERT orders                       ▏          2.00 ms
a-service-with-a-ve…  └ send                                       ██    50.0 ms

a span whose parent is missing (not sent, or not yet received):
email                 SMTP                                          █    20.0 ms
";
    assert_eq!(drawn, want);
    assert_eq!(shown, 6);
}

#[test]
fn errors_are_red_and_marked() {
    let (drawn, _) = draw("5f1c", &shop(), 500, Look { colour: true, ..PLAIN });
    assert!(drawn.contains("\x1b[31mCharge 注文\x1b[0m"), "{drawn:?}");
}

#[test]
fn a_span_without_length_and_a_narrow_terminal() {
    let (drawn, _) = draw("1", &[span("a", "", "", "", 0, 0)], 500, Look { width: 60, ..PLAIN });
    assert!(drawn.contains("0 ns"), "{drawn}");
}

#[test]
fn ten_thousand_spans_are_gathered() {
    let mut spans = vec![span("0", "", "s", "root", 0, 10_000)];
    spans.extend((1..10_000).map(|id| span(&id.to_string(), "0", "s", "step", id, id + 1)));
    let (drawn, shown) = draw("1", &spans, 500, PLAIN);
    assert_eq!(shown, 101);
    assert!(drawn.contains("└ … 9,899 more spans\n"), "{drawn}");
    let (all, shown) = draw("1", &spans, usize::MAX, PLAIN);
    assert_eq!((shown, all.lines().count()), (10_000, 10_004));
}
