//! Random queries, as texts.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::words;

type Text = BoxedStrategy<String>;

/// One of these.
fn one_of(texts: &[&str]) -> Text {
    select(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).boxed()
}

/// A search: pipelines, structure, groups and aggregates.
pub fn search_query() -> Text {
    let shown = vec(field(), 1..3).prop_map(|fields| format!("select({})", fields.join(", ")));
    let stage = prop_oneof![
        2 => scalar_filter(),
        3 => group_field().prop_map(|field| format!("by({field})")),
        1 => Just("coalesce()".to_owned()),
        1 => shown,
        1 => spanset(),
    ];
    let pipeline =
        (spanset(), vec(stage, 0..3)).prop_map(|(first, rest)| [vec![first], rest].concat().join(" | "));
    // Sides of an operation between pipelines must not split spansets.
    let side = (spanset(), prop::option::of(scalar_filter()))
        .prop_map(|(first, filter)| filter.map_or(first.clone(), |filter| format!("{first} | {filter}")));
    let pipelines =
        (side.clone(), spanset_operator(), side).prop_map(|(a, op, b)| format!("({a}) {op} ({b})"));
    prop_oneof![8 => pipeline, 1 => pipelines].boxed()
}

/// A metrics query, for a range or an instant.
pub fn metrics_query() -> Text {
    let counting = one_of(&["rate()", "count_over_time()"]);
    let over = (one_of(&["min", "max", "avg", "sum"]), number_field())
        .prop_map(|(what, of)| format!("{what}_over_time({of})"));
    let quantile = number_field().prop_map(|of| format!("quantile_over_time({of}, 0, .5, .9, 1)"));
    let histogram = number_field().prop_map(|of| format!("histogram_over_time({of})"));
    let aggregate = prop_oneof![3 => counting, 3 => over, 1 => quantile, 1 => histogram];
    let by = prop_oneof![
        1 => Just(String::new()),
        2 => vec(group_field_name(), 1..4).prop_map(|fields| format!(" by ({})", fields.join(", "))),
    ];
    let second = prop_oneof![
        one_of(&["> 0", ">= 1", "< 2", "!= 0", "= 1", "> 500ms"]),
        (1_u8..4).prop_map(|n| format!("| topk({n})")),
        (1_u8..4).prop_map(|n| format!("| bottomk({n})")),
    ];
    let second = prop_oneof![3 => Just(Vec::new()).boxed(), 1 => vec(second, 1..3).boxed()];
    let series = (spanset(), aggregate, by, second).prop_map(|(first, aggregate, by, second)| {
        format!("{first} | {aggregate}{by} {}", second.join(" ")).trim_end().to_owned()
    });
    let compare = (spanset(), filter(), 1_u8..20)
        .prop_map(|(first, selection, n)| format!("{first} | compare({{ {selection} }}, {n})"));
    prop_oneof![8 => series, 1 => compare].boxed()
}

/// An expression over spansets. Mostly one filter: the more operations there are, the less is found.
fn spanset() -> Text {
    let filter = prop_oneof![
        1 => Just("{ }".to_owned()),
        4 => filter().prop_map(|filter| format!("{{ {filter} }}")),
    ]
    .boxed();
    let operation = |side: Text| {
        let sides = (side.clone(), spanset_operator(), side);
        sides.prop_map(|(a, op, b)| format!("({a} {op} {b})")).boxed()
    };
    let once = operation(filter.clone());
    let twice = operation(prop_oneof![filter.clone(), once.clone()].boxed());
    prop_oneof![5 => filter, 4 => once, 1 => twice].boxed()
}

fn spanset_operator() -> Text {
    let structural =
        one_of(&[">", "<", ">>", "<<", "~", "!>", "!<", "!>>", "!<<", "!~", "&>", "&<", "&>>", "&<<", "&~"]);
    prop_oneof![1 => one_of(&["&&", "||"]), 2 => structural].boxed()
}

/// What stands in braces: comparisons with `&&`, `||` and `!` between them.
pub fn filter() -> Text {
    let larger = |inner: Text| {
        let both = (inner.clone(), one_of(&["&&", "||", "||"]), inner.clone());
        let not = inner.prop_map(|expr| format!("!({expr})"));
        prop_oneof![3 => both.prop_map(|(a, op, b)| format!("({a} {op} {b})")), 1 => not].boxed()
    };
    let two = larger(comparison());
    let three = larger(prop_oneof![comparison(), two.clone()].boxed());
    prop_oneof![5 => comparison(), 3 => two, 1 => three].boxed()
}

fn comparison() -> Text {
    let with = |left: Text, ops: &[&str], right: Text| {
        (left, one_of(ops), right).prop_map(|(left, op, right)| format!("{left} {op} {right}")).boxed()
    };
    let order = ["=", "!=", "<", "<=", ">", ">="];
    let equality = ["=", "!="];
    let literal = prop_oneof![2 => number(), 2 => text(), 1 => duration()].boxed();
    prop_oneof![
        5 => with(attribute_with(&["n"]), &order, number()),
        5 => with(prop_oneof![5 => attribute_with(&["t"]), 1 => service()].boxed(), &order, text()),
        3 => with(attribute_with(&["\"odd key\""]), &equality, one_of(&["true", "false"])),
        3 => with(attribute_with(&[words::ARRAY_KEY]), &order, text()),
        2 => with(attribute(), &order, literal),
        2 => with(number(), &order, attribute_with(&["n"])),
        3 => with(optional_attribute(), &equality, Just("nil".to_owned()).boxed()),
        3 => with(
            prop_oneof![attribute_with(&["t", words::ARRAY_KEY]), text_intrinsic()].boxed(),
            &["=~", "!~"],
            pattern(),
        ),
        2 => with(attribute(), &order, prop_oneof![scalar_attribute(), sum()].boxed()),
        2 => with(sum(), &order, number()),
        3 => with(text_intrinsic(), &order, text_of_intrinsic()),
        2 => with(one_of(&["kind", "span:kind"]), &equality, one_of(&KINDS)),
        2 => with(one_of(&["status", "span:status"]), &equality, one_of(&["ok", "error", "unset"])),
        2 => with(duration_intrinsic(), &order, duration()),
        1 => with(duration_intrinsic(), &order, duration_intrinsic()),
        2 => with(whole_intrinsic(), &order, (-1_i64..6).prop_map(|n| n.to_string()).boxed()),
        1 => with(id_intrinsic(), &equality, id()),
        1 => one_of(&["true", "false", "1 + 1 = 2", "2 < 1"]),
    ]
    .boxed()
}

const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];

/// An attribute with its scope, the service's name among them, which cannot be compared with nil.
fn attribute() -> Text {
    prop_oneof![12 => optional_attribute(), 1 => service()].boxed()
}

/// An attribute that a span may lack.
fn optional_attribute() -> Text {
    attribute_with(&["n", "t", "\"odd key\"", words::ARRAY_KEY])
}

fn attribute_with(keys: &[&str]) -> Text {
    (scope(), one_of(keys)).prop_map(|(scope, key)| scope + &key).boxed()
}

/// An attribute that is no array.
fn scalar_attribute() -> Text {
    attribute_with(&["n", "n", "t", "\"odd key\""])
}

fn scope() -> Text {
    let scopes = [".", "span.", "resource.", "event.", "link.", "instrumentation."];
    prop_oneof![3 => one_of(&scopes[..3]), 2 => one_of(&scopes)].boxed()
}

fn service() -> Text {
    Just("resource.service.name".to_owned()).boxed()
}

fn number() -> Text {
    one_of(&["-1", "0", "1", "2", "3", "0.5", "2.0", "-1.0", "3.5"])
}

fn text() -> Text {
    quoted(&[&words::TEXTS[..], &words::SERVICES[..]].concat())
}

fn quoted(texts: &[&str]) -> Text {
    let quoted: Vec<String> = texts.iter().map(|text| format!("\"{text}\"")).collect();
    select(quoted).boxed()
}

fn pattern() -> Text {
    quoted(&["x.*", ".*", "", "x|1", "[^x]", ".y?", "boom", "r.*t"])
}

fn duration() -> Text {
    one_of(&["0s", "1ns", "1024ns", "5ms", "1s", "3s", "-1us"])
}

/// Arithmetic that cannot fail: what is divided by is a literal.
fn sum() -> Text {
    (scalar_attribute(), one_of(&["+ 1", "- 1", "* 2", "/ 2", "% 2", "^ 2", "+ 0.5", "* -1"]))
        .prop_map(|(left, right)| format!("({left} {right})"))
        .boxed()
}

fn text_intrinsic() -> Text {
    one_of(&[
        "name",
        "span:name",
        "statusMessage",
        "rootName",
        "rootServiceName",
        "trace:rootName",
        "event:name",
        "instrumentation:name",
        "instrumentation:version",
    ])
}

fn text_of_intrinsic() -> Text {
    let words: [&[&str]; 5] =
        [&words::NAMES, &words::MESSAGES, &words::SERVICES, &words::EVENTS, &words::SCOPES];
    quoted(&words.concat())
}

fn duration_intrinsic() -> Text {
    one_of(&["duration", "span:duration", "traceDuration", "trace:duration", "event:timeSinceStart"])
}

fn whole_intrinsic() -> Text {
    one_of(&["nestedSetLeft", "nestedSetRight", "nestedSetParent", "span:childCount"])
}

fn id_intrinsic() -> Text {
    one_of(&["trace:id", "span:id", "span:parentID", "link:traceID", "link:spanID"])
}

fn id() -> Text {
    quoted(&[
        "",
        "1",
        "00000000000000000000000000000001",
        "0000000000000001",
        "0000000000000002",
        "b000000000000001",
        "a0000000000000001",
    ])
}

/// Something to group spans by: never an array.
fn group_field_name() -> Text {
    let intrinsics = one_of(&["name", "kind", "status", "rootName", "statusMessage", "event:name"]);
    prop_oneof![4 => scalar_attribute(), 3 => intrinsics, 1 => service()].boxed()
}

/// The same for `by()` in a search, which takes expressions too.
fn group_field() -> Text {
    prop_oneof![
        6 => group_field_name(),
        1 => one_of(&["duration", "nestedSetParent", "span:childCount", "duration > 1s", "kind = server"]),
        1 => sum(),
    ]
    .boxed()
}

/// Something with numbers.
fn number_field() -> Text {
    let intrinsics = one_of(&["duration", "traceDuration", "nestedSetLeft", "event:timeSinceStart"]);
    prop_oneof![2 => intrinsics, 3 => scalar_attribute()].boxed()
}

/// Any field that a search can show.
fn field() -> Text {
    let others = prop_oneof![one_of(&["kind", "status"]), text_intrinsic(), duration_intrinsic()];
    prop_oneof![3 => attribute(), 2 => others, 1 => whole_intrinsic()].boxed()
}

fn scalar_filter() -> Text {
    let count = (0_u8..4).prop_map(|n| ("count()".to_owned(), n.to_string()));
    let numbers = (one_of(&["min", "max", "avg", "sum"]), scalar_attribute(), number())
        .prop_map(|(what, of, limit)| (format!("{what}({of})"), limit));
    let durations = (one_of(&["min", "max", "avg", "sum"]), duration())
        .prop_map(|(what, limit)| (format!("{what}(duration)"), limit));
    let sides = prop_oneof![3 => count.boxed(), 2 => numbers.boxed(), 1 => durations.boxed()];
    (sides, one_of(&["=", "!=", "<", "<=", ">", ">", ">=", ">="]))
        .prop_map(|((left, right), op)| format!("{left} {op} {right}"))
        .boxed()
}
