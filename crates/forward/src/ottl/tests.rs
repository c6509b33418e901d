//! Conditions over one span, as the Collector's documents write and judge them.

use trackway_proto::common::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
};
use trackway_proto::resource::Resource;
use trackway_proto::trace::{Span, Status, span::Event};

use super::{About, Condition, MAX_DEPTH, MAX_LENGTH, Subject};

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any(value)) }
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Value::StringValue(value.to_owned()))
}

fn met(condition: &str, about: About) -> bool {
    let resource = Resource { attributes: vec![text("service.name", "shop")], ..Resource::default() };
    let scope = InstrumentationScope {
        name: "lib".to_owned(),
        version: "1.2".to_owned(),
        ..InstrumentationScope::default()
    };
    let nested = KeyValueList { values: vec![text("inner", "deep")] };
    let list = ArrayValue { values: vec![any(Value::StringValue("a".to_owned())), any(Value::IntValue(2))] };
    let event = Event {
        name: "exception".to_owned(),
        time_unix_nano: 5,
        attributes: vec![text("exception.type", "IO")],
        ..Event::default()
    };
    let span = Span {
        trace_id: vec![1; 16].into(),
        span_id: vec![2; 8].into(),
        trace_state: "a=1, b=2".to_owned(),
        name: "GET /health".to_owned(),
        kind: 2,
        start_time_unix_nano: 1_000,
        end_time_unix_nano: 3_500,
        attributes: vec![
            text("http.route", "/health"),
            pair("code", Value::IntValue(200)),
            pair("ratio", Value::DoubleValue(0.5)),
            pair("flag", Value::BoolValue(true)),
            pair("map", Value::KvlistValue(nested)),
            pair("list", Value::ArrayValue(list)),
            text("number", "17"),
        ],
        events: vec![event.clone()],
        status: Some(Status { code: 2, message: "broken".to_owned() }),
        ..Span::default()
    };
    let event = (about == About::SpanEvent).then_some((0, &event));
    let subject = Subject { resource: &resource, scope: &scope, span: &span, event };
    Condition::parse(condition, about).unwrap_or_else(|error| panic!("{condition}: {error}")).is_met(&subject)
}

#[test]
fn spans_are_judged() {
    for (condition, wanted) in [
        ("true", true),
        ("not true", false),
        ("name == \"GET /health\"", true),
        ("span.name != \"GET /health\"", false),
        ("attributes[\"http.route\"] == \"/health\"", true),
        ("span.attributes[\"http.route\"] == \"/other\"", false),
        ("resource.attributes[\"service.name\"] == \"shop\" and instrumentation_scope.name == \"lib\"", true),
        ("scope.version == \"1.2\"", true),
        ("kind == SPAN_KIND_SERVER", true),
        ("kind == 2", true),
        ("kind.string == \"Server\" and kind.deprecated_string == \"SPAN_KIND_SERVER\"", true),
        ("kind == SPAN_KIND_CLIENT or status.code == STATUS_CODE_ERROR", true),
        ("status == STATUS_CODE_OK", false),
        ("status.message == \"broken\"", true),
        // and binds more tightly than or.
        ("true or false and false", true),
        ("(true or false) and false", false),
        ("not (kind == 3) and not false", true),
        // What is missing is nil, and nil is equal to nothing else.
        ("attributes[\"none\"] == nil", true),
        ("attributes[\"none\"] != nil", false),
        ("attributes[\"code\"] != nil", true),
        ("attributes[\"none\"] == \"\"", false),
        ("attributes[\"none\"] < 5", false),
        // Numbers compare as such; different kinds are never equal and have no order.
        ("attributes[\"code\"] == 200.0", true),
        ("attributes[\"code\"] >= 200 and attributes[\"code\"] < 300", true),
        ("attributes[\"code\"] == \"200\"", false),
        ("attributes[\"code\"] != \"200\"", true),
        ("attributes[\"code\"] < \"300\"", false),
        ("attributes[\"ratio\"] > 0.25", true),
        ("attributes[\"ratio\"] == 5e-1", true),
        ("attributes[\"flag\"] == true", true),
        ("attributes[\"map\"][\"inner\"] == \"deep\"", true),
        ("attributes[\"list\"][1] == 2", true),
        ("attributes[\"list\"][7] == nil", true),
        ("attributes[\"list\"] == [\"a\", 2]", true),
        ("trace_state[\"b\"] == \"2\"", true),
        ("trace_id == TraceID(0x01010101010101010101010101010101)", true),
        ("span_id.string == \"0202020202020202\"", true),
        ("span_id == 0x0202020202020202", true),
        ("parent_span_id == SpanID(0x0000000000000000) and IsRootSpan()", true),
        ("end_time_unix_nano - start_time_unix_nano > 2000", true),
        ("(end_time_unix_nano - start_time_unix_nano) / 1000 == 2", true),
        ("attributes[\"code\"] * 2 + 1 == 401", true),
        ("attributes[\"code\"] == -200", false),
        ("attributes[\"code\"] / 0 == 1 or true", false), // an error: not met
        ("IsMatch(name, \"^GET /h\")", true),
        ("IsMatch(attributes[\"code\"], \"^2..$\")", true),
        ("IsMatch(attributes[\"none\"], \".*\")", false),
        ("not IsMatch(name, \"POST\")", true),
        ("HasPrefix(name, \"GET\") and HasSuffix(name, \"health\")", true),
        ("HasPrefix(attributes[\"none\"], \"a\")", false),
        ("IsString(name) and IsInt(attributes[\"code\"]) and IsDouble(attributes[\"ratio\"])", true),
        (
            "IsBool(attributes[\"flag\"]) and IsMap(attributes[\"map\"]) and IsList(attributes[\"list\"])",
            true,
        ),
        ("ContainsValue(attributes[\"list\"], \"a\")", true),
        ("Concat([name, attributes[\"code\"]], \"-\") == \"GET /health-200\"", true),
        ("ConvertCase(name, \"lower\") == \"get /health\"", true),
        ("ToUpperCase(Substring(name, 5, 6)) == \"HEALTH\"", true),
        ("Int(attributes[\"number\"]) == 17 and Double(\"1.5\") == 1.5 and String(7) == \"7\"", true),
        ("Int(name) == nil", true),
        ("Len(name) == 11 and Len(attributes) == 7", true),
        ("Trim(\" x \") == \"x\"", true),
        ("\"a\\\"b\" == \"a\\\"b\"", true),
    ] {
        assert_eq!(met(condition, About::Span), wanted, "{condition}");
    }
}

#[test]
fn events_are_judged() {
    for (condition, wanted) in [
        ("name == \"exception\"", true),
        ("spanevent.attributes[\"exception.type\"] == \"IO\"", true),
        ("span.name == \"GET /health\" and event_index == 0 and time_unix_nano == 5", true),
        ("resource.attributes[\"service.name\"] == \"other\"", false),
    ] {
        assert_eq!(met(condition, About::SpanEvent), wanted, "{condition}");
    }
}

#[test]
fn what_is_not_here_is_refused_by_name() {
    let deep = format!("{}true{}", "(".repeat(MAX_DEPTH + 1), ")".repeat(MAX_DEPTH + 1));
    let long = format!("name == \"{}\"", "x".repeat(MAX_LENGTH));
    for (condition, at, wanted) in [
        ("", 0, "a value is missing"),
        ("name", 4, "a comparison is missing"),
        ("name ==", 7, "a value is missing"),
        ("name = \"a\"", 5, "'=' has no meaning here"),
        ("name == \"a", 8, "a text has no end"),
        ("name == \"a\" kind == 1", 12, "kind is not expected; combine conditions with and, or"),
        ("(name == \"a\"", 12, ") is missing"),
        ("nme == \"a\"", 0, "nme is not known; there are trace_id, "),
        ("cache[\"a\"] == 1", 0, "cache is not known"),
        ("attributes[1] == 1", 0, "attributes has names in brackets"),
        ("name[\"a\"] == 1", 0, "name has no parts in brackets"),
        ("SHA256(name) == \"a\"", 0, "the function SHA256 is not here; there are IsMatch, HasPrefix, "),
        ("IsMatch(name)", 0, "IsMatch takes 2 arguments, not 1"),
        ("IsMatch(name, \"(\")", 0, "the pattern \"(\" of IsMatch"),
        ("IsMatch(name, name)", 0, "the pattern of IsMatch is no text"),
        ("Len(name)", 9, "a comparison is missing"),
        ("TraceID(0x01) == trace_id", 0, "TraceID takes 16 bytes, not 1"),
        ("name == 0x1", 8, "two hexadecimal digits"),
        ("kind == 99999999999999999999", 8, "no number that fits"),
        (&deep, MAX_DEPTH + 1, "more than 64 levels"),
        (&long, MAX_LENGTH, "longer than 16384 bytes"),
    ] {
        let error = Condition::parse(condition, About::Span).unwrap_err();
        assert!(error.message.contains(wanted) && error.at == at, "{condition:.80}: {error:?}");
    }
    assert!(
        Condition::parse("kind == 1", About::SpanEvent)
            .unwrap_err()
            .message
            .contains("span. and what a span has")
    );
}
