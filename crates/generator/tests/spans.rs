//! Span metrics: which spans are counted, under which labels, how often and in which buckets.

#![allow(
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "tables are long, and helpers of a test may stop it"
)]

#[allow(unreachable_pub)]
mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use support::otlp::{CLIENT, INTERNAL, Resource, SERVER, Span, service, span};
use support::{World, map, settings, span_metrics, sum};
use trackway_overrides::{
    FilterPolicy, Generator, Intrinsic, Mapping, PolicyAttribute, PolicyMatch, PolicyValue, Processors,
};

const CALLS: &str = "traces_spanmetrics_calls_total";
const SIZE: &str = "traces_spanmetrics_size_total";

fn with(change: impl FnOnce(&mut Generator)) -> Generator {
    let mut all = settings(span_metrics());
    change(&mut all);
    all
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}

/// The only series of calls.
fn labels_of(world: &World) -> String {
    let calls = world.of(CALLS);
    assert_eq!(calls.len(), 1, "{calls:?}");
    calls.into_keys().next().unwrap()
}

#[test]
fn spans_are_counted_by_service_name_kind_and_status() {
    let world = World::new(settings(span_metrics()));
    let spans = [
        span("GET /", SERVER, 1, 0),
        span("GET /", SERVER, 2, 0).status(1),
        span("GET /", SERVER, 3, 0).failed().message("no labels of its own"),
        span("GET /", CLIENT, 4, 0),
        span("GET /", SERVER, 5, 0),
        span("odd \"name\"\\\n", INTERNAL, 6, 0),
        span("", 0, 7, 0),
        span("later versions", 9, 8, 0).status(7),
    ];
    world.takes(&service("web").sends(&spans));
    world.takes(&Resource::default().sends(&[span("alone", 4, 9, 0), span("alone", 5, 10, 0)]));
    let expected = map([
        (
            r#"service="web",span_kind="SPAN_KIND_SERVER",span_name="GET /",status_code="STATUS_CODE_UNSET""#,
            2.0,
        ),
        (r#"service="web",span_kind="SPAN_KIND_SERVER",span_name="GET /",status_code="STATUS_CODE_OK""#, 1.0),
        (
            r#"service="web",span_kind="SPAN_KIND_SERVER",span_name="GET /",status_code="STATUS_CODE_ERROR""#,
            1.0,
        ),
        (
            r#"service="web",span_kind="SPAN_KIND_CLIENT",span_name="GET /",status_code="STATUS_CODE_UNSET""#,
            1.0,
        ),
        (
            r#"service="web",span_kind="SPAN_KIND_INTERNAL",span_name="odd \"name\"\\\n",status_code="STATUS_CODE_UNSET""#,
            1.0,
        ),
        (r#"service="web",span_kind="SPAN_KIND_UNSPECIFIED",status_code="STATUS_CODE_UNSET""#, 1.0),
        (
            r#"service="web",span_kind="SPAN_KIND_UNKNOWN",span_name="later versions",status_code="STATUS_CODE_UNKNOWN""#,
            1.0,
        ),
        (r#"span_kind="SPAN_KIND_PRODUCER",span_name="alone",status_code="STATUS_CODE_UNSET""#, 1.0),
        (r#"span_kind="SPAN_KIND_CONSUMER",span_name="alone",status_code="STATUS_CODE_UNSET""#, 1.0),
    ]);
    assert_eq!(world.of(CALLS), expected);
    assert_eq!(world.of("traces_spanmetrics_latency_count"), expected);
    let first =
        r#"service="web",span_kind="SPAN_KIND_SERVER",span_name="GET /",status_code="STATUS_CODE_UNSET""#;
    let bytes = spans[0].bytes().len() + spans[4].bytes().len();
    assert_eq!(world.of(SIZE)[first], f64::from(u32::try_from(bytes).unwrap()));
    let bytes: usize = spans.iter().map(|span| span.bytes().len()).sum();
    assert!(world.of_tenant("bytes_received_total") > f64::from(u32::try_from(bytes).unwrap()));
    assert_eq!(world.of_tenant("spans_received_total"), 10.0);
}

#[test]
fn what_the_ingester_refused_is_not_counted() {
    let world = World::new(settings(span_metrics()));
    let mut bad = span("bad", SERVER, 3, 0);
    bad.trace = vec![1; 8];
    let spans = [span("a", SERVER, 1, 0), span("b", SERVER, 2, 0), bad, span("c", SERVER, 4, 0)];
    world.log.append(support::TENANT, world.now(), &[1], &service("web").sends(&spans));
    world.work();
    let names: Vec<_> = world.of(CALLS).into_keys().collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.iter().all(|labels| labels.contains(r#""a""#) || labels.contains(r#""c""#)), "{names:?}");
}

/// Buckets as Prometheus has them: up to the bound and with it.
#[test]
fn durations_are_in_the_bucket_of_their_bound() {
    const MS: u64 = 1_000_000;
    for (nanoseconds, bound) in [
        (0, "0.002"),
        (2 * MS, "0.002"),
        (2 * MS + 1, "0.004"),
        (4 * MS, "0.004"),
        (1024 * MS, "1.024"),
        (1024 * MS + 1, "2.048"),
        (16_384 * MS, "16.384"),
        (16_384 * MS + 1, "+Inf"),
        (86_400_000 * MS, "+Inf"),
    ] {
        let world = World::new(settings(span_metrics()));
        world.takes(&service("web").sends(&[span("x", SERVER, 1, 0).takes(nanoseconds)]));
        let buckets = world.of("traces_spanmetrics_latency_bucket");
        assert_eq!(buckets.len(), 15);
        let first = buckets.iter().filter(|(_, count)| **count > 0.0).map(|(labels, _)| {
            let le =
                labels.split(',').find_map(|label| label.strip_prefix("le=\"")?.strip_suffix('"')).unwrap();
            (le.parse::<f64>().unwrap_or(f64::INFINITY), le.to_owned())
        });
        let first = first.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        assert_eq!(first.1, bound, "{nanoseconds}");
        let total = sum(&world.of("traces_spanmetrics_latency_sum"));
        assert!((total - nanoseconds as f64 / 1e9).abs() < 1e-9);
    }
    // One that ends before it starts took no time.
    let world = World::new(settings(span_metrics()));
    world.takes(&service("web").sends(&[span("x", SERVER, 1, 0).at(500, 0)]));
    assert_eq!(sum(&world.of("traces_spanmetrics_latency_sum")), 0.0);
    assert_eq!(sum(&world.of("traces_spanmetrics_latency_bucket")), 15.0);
}

#[test]
fn labels_are_those_that_are_asked_for() {
    let off = Intrinsic {
        service: false,
        span_name: false,
        span_kind: false,
        status_code: false,
        status_message: false,
    };
    let none = move || with(|all| all.span_metrics.intrinsic = off);
    let dimensions = move |keys: Vec<String>| {
        with(|all| {
            all.span_metrics.intrinsic = off;
            all.span_metrics.dimensions = keys;
        })
    };
    let mappings = move |mappings: &[(&str, &[&str], &str)]| {
        with(|all| {
            all.span_metrics.intrinsic = off;
            let mapping = |(name, labels, join): &(&str, &[&str], &str)| Mapping {
                name: (*name).to_owned(),
                source_labels: labels.iter().map(|label| (*label).to_owned()).collect(),
                join: (*join).to_owned(),
            };
            all.span_metrics.mappings = mappings.iter().map(mapping).collect();
        })
    };
    let web = || service("web").with("k8s.pod", "pod-1").with("both", "resource");
    let get = || {
        let get = span("GET", SERVER, 1, 0).with("http.method", "GET").with("both", "span");
        get.with("http.status_code", 200_i64).with("ratio", 0.5).with("cached", true).with("empty", "")
    };
    let long = "ä".repeat(2000);
    let cases: Vec<(&str, Generator, Resource, Span, String)> = vec![
        ("none at all", none(), web(), get(), String::new()),
        (
            "some of those that are built in",
            with(|all| all.span_metrics.intrinsic = Intrinsic { span_name: true, status_message: true, ..off }),
            web(),
            get().message("it broke"),
            r#"span_name="GET",status_message="it broke""#.to_owned(),
        ),
        (
            "of the span, of the resource, missing and empty",
            dimensions(texts(["http.method", "k8s.pod", "missing", "empty"])),
            web(),
            get(),
            r#"http_method="GET",k8s_pod="pod-1""#.to_owned(),
        ),
        ("the resource goes before the span", dimensions(texts(["both"])), web(), get(), r#"both="resource""#.to_owned()),
        (
            "what is no text",
            dimensions(texts(["http.status_code", "ratio", "cached"])),
            web(),
            get(),
            r#"cached="true",http_status_code="200",ratio="0.5""#.to_owned(),
        ),
        (
            "names that are taken",
            dimensions(texts(["service", "span.name", "span-kind", "status_code", "status message", "__name__"])),
            Resource::default().with("service", "1").with("span.name", "2").with("span-kind", "3"),
            span("x", SERVER, 1, 0).with("status_code", "4").with("status message", "5").with("__name__", "6"),
            r#"____name__="6",__service="1",__span_kind="3",__span_name="2",__status_code="4",__status_message="5""#
                .to_owned(),
        ),
        (
            "who it is stays who it is",
            with(|all| {
                all.span_metrics.intrinsic = off;
                all.span_metrics.target_info = true;
                all.span_metrics.dimensions = texts(["job", "instance"]);
            }),
            service("web").with("service.instance.id", "i-1").with("job", "1"),
            span("x", SERVER, 1, 0).with("instance", "2"),
            r#"__instance="2",__job="1",instance="i-1",job="web""#.to_owned(),
        ),
        (
            "names that become the same: the last counts",
            dimensions(texts(["a.b", "a-b"])),
            web(),
            span("x", SERVER, 1, 0).with("a.b", "1").with("a-b", "2"),
            r#"a_b="2""#.to_owned(),
        ),
        (
            "a digit does not come first",
            dimensions(texts(["4xx"])),
            web(),
            span("x", SERVER, 1, 0).with("4xx", "1"),
            r#"_4xx="1""#.to_owned(),
        ),
        (
            "of equal attributes the first",
            dimensions(texts(["a"])),
            web(),
            span("x", SERVER, 1, 0).with("a", "1").with("a", "2"),
            r#"a="1""#.to_owned(),
        ),
        (
            "put together, without what is missing",
            mappings(&[
                ("where", &["k8s.pod", "missing", "http.method", "empty"], "/"),
                ("glued", &["http.method", "k8s.pod"], ""),
                ("service", &["k8s.pod"], "/"),
                ("nothing", &["missing"], "/"),
            ]),
            web(),
            get(),
            r#"__service="pod-1",glued="GETpod-1",where="pod-1/GET""#.to_owned(),
        ),
        (
            "what was cut within a character",
            dimensions(texts(["long", "other"])),
            web().with("long", &format!("x{long}")),
            span("x", SERVER, 1, 0).with("other", "1"),
            format!(r#"long="x{}",other="1""#, "ä".repeat(1023)),
        ),
        (
            "the label of a bucket's bound is no dimension's",
            dimensions(texts(["le"])),
            web(),
            span("x", SERVER, 1, 0).with("le", "1"),
            r#"le="1""#.to_owned(),
        ),
    ];
    for (name, settings, resource, span, expected) in cases {
        let world = World::new(settings);
        world.takes(&resource.sends(std::slice::from_ref(&span)));
        assert_eq!(labels_of(&world), expected, "{name}");
        world.takes(&resource.sends(&[span.clone(), span]));
        assert_eq!(world.of(CALLS)[&expected], 3.0, "{name}: the same again");
        assert_eq!(world.of("traces_spanmetrics_latency_bucket").len(), 15, "{name}");
        assert_eq!(world.discarded("invalid_utf8"), 0.0, "{name}");
    }
}

#[test]
fn long_names_and_values_are_cut() {
    let settings = with(|all| all.span_metrics.dimensions = texts(["a.long.name", "value"]));
    let world = World::with(settings, |config| {
        config.registry.max_label_name_length = 11;
        config.registry.max_label_value_length = 5;
    });
    let long = span("GET /users", SERVER, 1, 0).with("a.long.name", "1").with("value", "größe");
    world.takes(&service("a-service").sends(&[long]));
    let expected = r#"a_long_name="1",service="a-ser",span_kind="SPAN_",span_name="GET /",status_code="STATU",value="größ""#;
    // `größ` has six bytes: the character that does not fit goes.
    assert_eq!(labels_of(&world), expected.replace("größ", "grö"));
    let world = World::with(with(|_| {}), |config| {
        config.registry.external_labels =
            [("cluster", "eu"), ("service", "not this"), ("__metrics_gen_instance", "host")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
        config.registry.inject_tenant_id_as = "tenant".to_owned();
    });
    world.takes(&service("web").sends(&[span("x", SERVER, 1, 0)]));
    let expected = r#"__metrics_gen_instance="host",cluster="eu",service="web",span_kind="SPAN_KIND_SERVER",span_name="x",status_code="STATUS_CODE_UNSET",tenant="shop""#;
    assert_eq!(labels_of(&world), expected);
}

#[test]
fn resources_tell_what_they_are() {
    let info = |change: fn(&mut Generator)| {
        with(|all| {
            all.span_metrics.target_info = true;
            change(all);
        })
    };
    let web = || service("web").with("k8s.pod.name", "pod-1").with("cloud.region", "eu");
    let full = || web().with("service.namespace", "shop").with("service.instance.id", "i-1");
    const REST: &str = r#"span_kind="SPAN_KIND_SERVER",span_name="x",status_code="STATUS_CODE_UNSET""#;
    let cases: Vec<(&str, Generator, Resource, &str, Option<&str>)> = vec![
        ("not asked for", with(|_| {}), full(), r#"service="web","#, None),
        (
            "all there is",
            info(|_| {}),
            full(),
            r#"instance="i-1",job="shop/web",service="web","#,
            Some(r#"cloud_region="eu",instance="i-1",job="shop/web",k8s_pod_name="pod-1""#),
        ),
        (
            "without a namespace",
            info(|_| {}),
            web(),
            r#"job="web",service="web","#,
            Some(r#"cloud_region="eu",job="web",k8s_pod_name="pod-1""#),
        ),
        (
            "without a label for the instance",
            info(|all| all.span_metrics.instance_label = false),
            full(),
            r#"job="shop/web",service="web","#,
            Some(r#"cloud_region="eu",job="shop/web",k8s_pod_name="pod-1""#),
        ),
        (
            "without what is left out",
            info(|all| all.span_metrics.target_info_excluded = vec!["cloud.region".to_owned()]),
            full(),
            r#"instance="i-1",job="shop/web",service="web","#,
            Some(r#"instance="i-1",job="shop/web",k8s_pod_name="pod-1""#),
        ),
        ("nothing besides who it is", info(|_| {}), service("web"), r#"job="web",service="web","#, None),
        ("nobody", info(|_| {}), Resource::default().with("cloud.region", "eu"), "", None),
        (
            "only an instance",
            info(|_| {}),
            Resource::default().with("service.instance.id", "i-1").with("a", 1_i64),
            r#"instance="i-1","#,
            Some(r#"a="1",instance="i-1""#),
        ),
        (
            "names that are taken, and those that a receiver would not take",
            info(|_| {}),
            service("web")
                .with("job", "1")
                .with("span.name", "6")
                .with("instance", "2")
                .with("__name__", "3")
                .with("a.b", "4")
                .with("a/b", "5"),
            r#"job="web",service="web","#,
            Some(r#"____name__="3",__instance="2",__job="1",__span_name="6",a_b="5",job="web""#),
        ),
    ];
    for (name, settings, resource, labels, expected) in cases {
        let world = World::new(settings);
        world.takes(&resource.sends(&[span("x", SERVER, 1, 0), span("x", SERVER, 2, 0)]));
        assert_eq!(world.of(CALLS), map([(&*format!("{labels}{REST}"), 2.0)]), "{name}");
        let expected: BTreeMap<String, f64> =
            expected.map(|labels| (labels.to_owned(), 1.0)).into_iter().collect();
        assert_eq!(world.of("traces_target_info"), expected, "{name}");
    }
    // Of a resource whose spans do not count nothing is told.
    let world = World::new(info(|all| {
        all.span_metrics.filter_policies =
            vec![policy(None, None, Some(&[("name", PolicyValue::Text("x".to_owned()))]), false)];
    }));
    world.takes(&full().sends(&[span("x", SERVER, 1, 0)]));
    assert_eq!(world.of("traces_target_info"), map([]));
    world.takes(&full().sends(&[span("x", SERVER, 1, 0), span("y", SERVER, 2, 0)]));
    assert_eq!(world.of("traces_target_info").len(), 1);
}

#[test]
fn hosts_are_told_by_their_best_name() {
    let hosts = Processors { host_info: true, ..Processors::default() };
    let world = World::new(settings(hosts));
    for (resource, host) in [
        (service("a").with("host.id", "h-1"), Some(("h-1", "host.id"))),
        (service("b").with("host.id", "h-2").with("k8s.node.name", "n-2"), Some(("n-2", "k8s.node.name"))),
        (service("c").with("k8s.node.name", "").with("host.id", "h-3"), Some(("h-3", "host.id"))),
        (service("d"), None),
    ] {
        let before = world.of("traces_host_info");
        world.takes(&resource.sends(&[span("x", SERVER, 1, 0)]));
        let mut expected = before;
        if let Some((id, source)) = host {
            expected.insert(format!(r#"grafana_host_id="{id}",host_source="{source}""#), 1.0);
        }
        assert_eq!(world.of("traces_host_info"), expected);
    }
    assert_eq!(world.series().len(), 3, "nothing else is made");
}

#[test]
fn parts_can_be_had_alone() {
    for (processors, kept) in [
        (Processors { calls: true, ..Processors::default() }, &["calls_total"][..]),
        (
            Processors { latency: true, ..Processors::default() },
            &["latency_bucket", "latency_count", "latency_sum"],
        ),
        (Processors { size: true, ..Processors::default() }, &["size_total"]),
        (Processors { calls: true, size: true, ..Processors::default() }, &["calls_total", "size_total"]),
    ] {
        let world = World::new(settings(processors));
        world.takes(&service("web").sends(&[span("x", SERVER, 1, 0)]));
        let mut names: Vec<String> =
            world.series().into_keys().map(|key| key.split('{').next().unwrap().to_owned()).collect();
        names.dedup();
        let expected: Vec<String> = kept.iter().map(|name| format!("traces_spanmetrics_{name}")).collect();
        assert_eq!(names, expected);
    }
}

type Conditions<'c> = Option<&'c [(&'c str, PolicyValue)]>;

fn policy(
    include: Conditions<'_>,
    any: Conditions<'_>,
    exclude: Conditions<'_>,
    regex: bool,
) -> FilterPolicy {
    let conditions = |of: Conditions<'_>| {
        of.map(|attributes| PolicyMatch {
            regex,
            attributes: attributes
                .iter()
                .map(|(key, value)| PolicyAttribute { key: (*key).to_owned(), value: value.clone() })
                .collect(),
        })
    };
    FilterPolicy { include: conditions(include), include_any: conditions(any), exclude: conditions(exclude) }
}

#[test]
fn filters_choose_spans() {
    let spans = || {
        [
            span("GET /", SERVER, 1, 0).with("http.status_code", 200_i64),
            span("GET /health", SERVER, 2, 0).with("ok", true),
            span("call", CLIENT, 3, 0).failed().with("ratio", 2.0),
            span("inside", INTERNAL, 4, 0),
        ]
    };
    let text = |text: &str| PolicyValue::Text(text.to_owned());
    let server = [("kind", text("SPAN_KIND_SERVER"))];
    let short = [("kind", text("server"))];
    let health = [("name", text("GET /health"))];
    let both = [("kind", text("SPAN_KIND_SERVER")), ("name", text("GET /"))];
    let errors = [("status", text("error"))];
    let get = [("name", text("^GET"))];
    let number = [("span.http.status_code", PolicyValue::Int(200))];
    let float = [("span.ratio", PolicyValue::Int(2))];
    let truth = [("span.ok", PolicyValue::Bool(true))];
    let web = [("resource.service.name", text("web"))];
    let of_span = [("span.service.name", text("web"))];
    let regex = [("kind", text("CLIENT|SERVER")), ("resource.service.name", text("w.b"))];
    let cases: Vec<(&str, Vec<FilterPolicy>, &[&str])> = vec![
        ("none", vec![], &["GET /", "GET /health", "call", "inside"]),
        ("include", vec![policy(Some(&server), None, None, false)], &["GET /", "GET /health"]),
        ("TraceQL's names", vec![policy(Some(&short), None, None, false)], &["GET /", "GET /health"]),
        ("all conditions have to hold", vec![policy(Some(&both), None, None, false)], &["GET /"]),
        ("exclude", vec![policy(None, None, Some(&health), false)], &["GET /", "call", "inside"]),
        (
            "exclude only what matches wholly",
            vec![policy(None, None, Some(&both), false)],
            &["GET /health", "call", "inside"],
        ),
        ("exclude goes first", vec![policy(Some(&server), None, Some(&health), false)], &["GET /"]),
        (
            "any",
            vec![policy(None, Some(&errors), None, false), policy(None, Some(&health), None, false)],
            &["GET /health", "call"],
        ),
        ("include and any", vec![policy(Some(&both), Some(&errors), None, false)], &["GET /", "call"]),
        (
            "all includes have to hold",
            vec![policy(Some(&server), None, None, false), policy(Some(&get), None, None, true)],
            &["GET /", "GET /health"],
        ),
        ("expressions", vec![policy(Some(&regex), None, None, true)], &["GET /", "GET /health", "call"]),
        ("numbers", vec![policy(Some(&number), None, None, false)], &["GET /"]),
        ("whole numbers written otherwise", vec![policy(Some(&float), None, None, false)], &["call"]),
        ("truths", vec![policy(Some(&truth), None, None, false)], &["GET /health"]),
        ("the resource", vec![policy(None, None, Some(&web), false)], &[]),
        (
            "is not the span",
            vec![policy(None, None, Some(&of_span), false)],
            &["GET /", "GET /health", "call", "inside"],
        ),
    ];
    for (name, policies, kept) in cases {
        let world = World::new(with(|all| {
            all.span_metrics.filter_policies = policies;
            let name_only =
                Intrinsic { service: false, span_kind: false, status_code: false, ..Intrinsic::default() };
            all.span_metrics.intrinsic = name_only;
        }));
        world.takes(&service("web").sends(&spans()));
        let expected = kept.iter().map(|name| (format!(r#"span_name="{name}""#), 1.0)).collect();
        assert_eq!(world.of(CALLS), expected, "{name}");
        assert_eq!(world.discarded("span_metrics_filtered"), 4.0 - sum(&world.of(CALLS)), "{name}");
        assert_eq!(world.of_tenant("spans_received_total"), 4.0);
    }
}

#[test]
fn a_policy_that_cannot_be_used_leaves_the_other_processors_alone() {
    let bad = [("name", PolicyValue::Text("(".to_owned()))];
    let both = Processors { service_graphs: true, ..span_metrics() };
    let world = World::new(Generator {
        span_metrics: trackway_overrides::SpanMetrics {
            filter_policies: vec![policy(Some(&bad), None, None, true)],
            ..Default::default()
        },
        ..settings(both)
    });
    world.takes(&service("web").sends(&[span("ask", CLIENT, 1, 0).with("db.name", "orders")]));
    assert_eq!(world.of(CALLS), map([]));
    assert_eq!(sum(&world.of("traces_service_graph_request_total")), 1.0);
    assert_eq!(world.of_tenant("active_processors_update_failed_total"), 1.0);
    let active = |processor: &str| {
        let labels = format!("tenant=\"shop\",processor=\"{processor}\"");
        world.own(&format!("tempo_metrics_generator_active_processors{{{labels}}}"))
    };
    assert_eq!((active("span-metrics"), active("service-graphs"), active("host-info")), (0.0, 1.0, 0.0));
}

#[test]
fn spans_stand_for_those_that_were_sampled_away() {
    let settings = with(|all| {
        all.span_metrics.multiplier_key = "share".to_owned();
        all.span_metrics.tracestate_multiplier = true;
    });
    for (span, weight) in [
        (span("x", SERVER, 1, 0), 1.0),
        (span("x", SERVER, 1, 0).with("share", 0.25), 4.0),
        (span("x", SERVER, 1, 0).state("ot=th:8"), 2.0),
        (span("x", SERVER, 1, 0).state("ot=th:8").with("share", 0.25), 2.0),
        (span("x", SERVER, 1, 0).state("ot=th:z").with("share", 0.25), 4.0),
        (span("x", SERVER, 1, 0).with("share", 1e-320), 1.0),
    ] {
        let world = World::new(settings.clone());
        let bytes = f64::from(u32::try_from(span.bytes().len()).unwrap());
        world.takes(&service("web").sends(&[span]));
        assert_eq!(sum(&world.of(CALLS)), weight);
        assert_eq!(sum(&world.of("traces_spanmetrics_latency_count")), weight);
        assert!((sum(&world.of("traces_spanmetrics_latency_sum")) - weight * 0.1).abs() < 1e-9);
        assert_eq!(sum(&world.of(SIZE)), bytes, "sizes are not multiplied");
    }
}

#[test]
fn late_and_early_spans_are_counted_when_they_come_or_by_reason_not_at_all() {
    for (end_ms, counts) in [
        (0, true),
        (-30_000, true),
        (-30_001, false),
        (30_000, true),
        (30_001, false),
        (-1_800_000_000_000, false),
        (i64::MAX / 2_000_000, false),
    ] {
        let world = World::new(with(|all| all.processors.service_graphs = true));
        world.takes(
            &service("web").sends(&[span("x", CLIENT, 1, 0).at(end_ms - 1, end_ms).with("db.name", "d")]),
        );
        let counted = f64::from(u8::from(counts));
        assert_eq!(sum(&world.of(CALLS)), counted, "{end_ms}");
        assert_eq!(sum(&world.of("traces_service_graph_request_total")), counted, "{end_ms}");
        assert_eq!(world.discarded("outside_metrics_ingestion_slack"), 1.0 - counted, "{end_ms}");
        assert_eq!(world.of_tenant("spans_received_total"), 1.0);
    }
    // When it started does not matter; when it came in does, not when it is read.
    let world = World::new(settings(span_metrics()));
    world.arrives(&service("web").sends(&[span("x", SERVER, 1, 0).at(-7_200_000, 0)]));
    world.passes(Duration::from_mins(5));
    assert_eq!(sum(&world.of(CALLS)), 1.0);
    world.passes(Duration::from_secs(15));
    world.takes(&service("web").sends(&[span("x", SERVER, 2, 0).at(315_000 - 20_000, 315_000 - 20_000)]));
    assert_eq!(sum(&world.of(CALLS)), 2.0, "counted now, beside what was collected before");
}

#[test]
fn what_is_no_utf8_is_not_counted_and_the_rest_is() {
    let world = World::new(with(|all| {
        all.span_metrics.dimensions = texts(["d"]);
        all.span_metrics.target_info = true;
        all.processors.service_graphs = true;
    }));
    let mut name = span("", SERVER, 1, 0);
    name.name = vec![b'a', 0xff, b'b'];
    let dimension = span("x", SERVER, 2, 0).with("d", &[0xc0_u8, b'a'][..]);
    let unasked = span("unasked", SERVER, 3, 0).with("other", &[0xff_u8][..]);
    world.takes(&service("web").sends(&[name, dimension, unasked]));
    assert_eq!(
        labels_of(&world),
        r#"job="web",service="web",span_kind="SPAN_KIND_SERVER",span_name="unasked",status_code="STATUS_CODE_UNSET""#
    );
    assert_eq!(world.discarded("invalid_utf8"), 2.0);
    world.takes(
        &Resource::default()
            .with("service.name", &[0xff_u8, b'a'][..])
            .sends(&[span("y", CLIENT, 4, 0).with("db.name", "d")]),
    );
    assert_eq!(world.of(CALLS).len(), 1);
    assert_eq!(world.discarded("invalid_utf8"), 4.0, "as a span and as an edge");
    // Which a collection and a restart survive.
    world.passes(Duration::from_secs(20));
    assert_eq!(world.of_tenant("registry_collections_failed_total"), 0.0);
}
