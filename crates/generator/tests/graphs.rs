//! Service graphs: which requests between services are counted, from which spans, in whatever order and requests they come.

#![allow(clippy::too_many_lines, reason = "tables are long")]

#[allow(unreachable_pub)]
mod support;

use std::time::Duration;

use support::otlp::{CLIENT, CONSUMER, INTERNAL, PRODUCER, Resource, SERVER, Span, service, span};
use support::{START, World, map, service_graphs, settings, sum};
use trackway_overrides::{FilterPolicy, Generator, PolicyAttribute, PolicyMatch, PolicyValue};

const TOTAL: &str = "traces_service_graph_request_total";
const FAILED: &str = "traces_service_graph_request_failed_total";

fn with(change: impl FnOnce(&mut Generator)) -> Generator {
    let mut all = settings(service_graphs());
    change(&mut all);
    all
}

/// What one service sends.
type Part = (Resource, Vec<Span>);

fn all_of(parts: &[Part]) -> Vec<u8> {
    parts.iter().flat_map(|(resource, spans)| resource.sends(spans)).collect()
}

/// How two halves come to the generator.
#[derive(Clone, Copy, Debug)]
enum Way {
    OneRequest,
    TwoRequests,
    /// Killed in between, without a collection: the log is read again.
    Killed,
    /// Killed after a collection that had the first half.
    Collected,
    /// Stopped in order.
    Stopped,
}

const WAYS: [Way; 5] = [Way::OneRequest, Way::TwoRequests, Way::Killed, Way::Collected, Way::Stopped];

/// Sends the two parts.
fn bring(world: &mut World, way: Way, parts: [&Part; 2]) {
    let [first, second] = parts.map(std::slice::from_ref).map(all_of);
    match way {
        Way::OneRequest => return world.takes(&[first, second].concat()),
        Way::TwoRequests => world.takes(&first),
        Way::Killed => {
            world.takes(&first);
            world.restart();
        }
        Way::Collected => {
            // Something else came long before, so that the collection is due now.
            world.work();
            world.clock.advance(Duration::from_secs(14));
            world.takes(&first);
            world.passes(Duration::from_secs(1));
            world.restart();
        }
        Way::Stopped => {
            world.takes(&first);
            world.restart_in_order();
        }
    }
    world.takes(&second);
}

#[test]
fn halves_find_each_other_in_any_order_and_way() {
    let web = (service("web"), vec![span("call", CLIENT, 2, 1).at(-300, 0)]);
    let cart = (service("cart"), vec![span("serve", SERVER, 3, 2).at(-250, -50)]);
    let shop = (service("shop"), vec![span("publish", PRODUCER, 4, 1).at(-1000, -900)]);
    let worker = (service("worker"), vec![span("consume", CONSUMER, 5, 4).at(-200, 0)]);
    let direct = (r#"client="web",server="cart""#, 0.2, 0.3, [&web, &cart]);
    let messages =
        (r#"client="shop",connection_type="messaging_system",server="worker""#, 0.2, 0.1, [&shop, &worker]);
    for (labels, server_seconds, client_seconds, [client, server]) in [direct, messages] {
        for way in WAYS {
            for parts in [[client, server], [server, client]] {
                let what = format!("{way:?} {labels} {}", parts[0].1[0].name.escape_ascii());
                let mut world = World::new(with(|all| all.service_graphs.messaging_latency = true));
                bring(&mut world, way, parts);
                assert_eq!(world.of(TOTAL), map([(labels, 1.0)]), "{what}");
                assert_eq!(world.of(FAILED), map([]), "{what}");
                let seconds = |side: &str| world.of(&format!("traces_service_graph_request_{side}_sum"));
                assert!((seconds("server_seconds")[labels] - server_seconds).abs() < 1e-9, "{what}");
                assert!((seconds("client_seconds")[labels] - client_seconds).abs() < 1e-9, "{what}");
                let messaging = seconds("messaging_system_seconds");
                match labels.contains("messaging") {
                    // From the end of the producer to the start of the consumer.
                    true => assert!((messaging[labels] - 0.7).abs() < 1e-9, "{what}"),
                    false => assert_eq!(messaging, map([]), "{what}"),
                }
                // Nobody waits any more, and nothing comes of them.
                world.passes(Duration::from_secs(60));
                assert_eq!(world.of(TOTAL), map([(labels, 1.0)]), "{what}");
                assert_eq!(world.of_tenant("processor_service_graphs_expired_edges"), 0.0, "{what}");
            }
        }
    }
}

#[test]
fn messages_that_arrive_before_they_were_sent_have_no_latency() {
    let world = World::new(with(|all| all.service_graphs.messaging_latency = true));
    world.takes(&service("shop").sends(&[span("publish", PRODUCER, 2, 1).at(-100, 0)]));
    world.takes(&service("worker").sends(&[span("consume", CONSUMER, 3, 2).at(-50, 0)]));
    assert_eq!(sum(&world.of(TOTAL)), 1.0);
    assert_eq!(world.of("traces_service_graph_request_messaging_system_seconds_count"), map([]));
}

/// Requests, time that passes after them, and the edges that are counted then.
struct Case {
    name: &'static str,
    settings: Generator,
    requests: Vec<Vec<Part>>,
    total: Vec<(&'static str, f64)>,
    failed: Vec<(&'static str, f64)>,
    expired: f64,
}

fn check(cases: Vec<Case>) {
    for case in cases {
        let world = World::new(case.settings);
        for request in &case.requests {
            world.takes(&all_of(request));
        }
        world.passes(Duration::from_secs(11));
        let expected =
            |edges: &[(&str, f64)]| edges.iter().map(|(edge, n)| ((*edge).to_owned(), *n)).collect();
        assert_eq!(world.of(TOTAL), expected(&case.total), "{}", case.name);
        assert_eq!(world.of(FAILED), expected(&case.failed), "{}", case.name);
        let expired = world.of_tenant("processor_service_graphs_expired_edges");
        assert_eq!(expired, case.expired, "{}", case.name);
    }
}

#[test]
fn databases_are_called_by_the_best_name_there_is() {
    let client = || span("SELECT", CLIENT, 2, 1);
    let all = [
        ("peer.service", "peer"),
        ("server.address", "address"),
        ("network.peer.address", "10.0.0.1"),
        ("network.peer.port", "5432"),
        ("db.namespace", "orders-ns"),
        ("db.name", "orders"),
        ("db.system", "postgresql"),
    ];
    let without = |left_out: &[&str]| {
        let kept = all.iter().filter(|(key, _)| !left_out.contains(key));
        kept.fold(client(), |span, (key, value)| span.with(key, *value))
    };
    let of_resource = (service("shop").with("db.system", "mysql"), vec![client()]);
    let of_both = (
        service("shop").with("server.address", "of-resource").with("db.system", "mysql"),
        vec![client().with("server.address", "of-span")],
    );
    let number = client().with("db.name", 7_i64);
    let empty_name = client().with("db.name", "");
    let mut cases = vec![
        ("peer.service goes before all", vec![], "peer"),
        ("server.address", vec!["peer.service"], "address"),
        ("address and port", vec!["peer.service", "server.address"], "10.0.0.1:5432"),
        ("address", vec!["peer.service", "server.address", "network.peer.port"], "10.0.0.1"),
        (
            "a port alone is no name",
            vec!["peer.service", "server.address", "network.peer.address"],
            "orders-ns",
        ),
        (
            "db.name",
            vec![
                "peer.service",
                "server.address",
                "network.peer.address",
                "network.peer.port",
                "db.namespace",
            ],
            "orders",
        ),
        (
            "db.system",
            vec!["peer.service", "server.address", "network.peer.address", "db.namespace", "db.name"],
            "postgresql",
        ),
    ]
    .into_iter()
    .map(|(name, left_out, server)| (name, (service("shop"), vec![without(&left_out)]), server))
    .collect::<Vec<_>>();
    cases.push(("the resource's", of_resource, "mysql"));
    cases.push(("the resource's goes before the span's", of_both, "of-resource"));
    cases.push(("a number", (service("shop"), vec![number]), "7"));
    for (name, part, server) in cases {
        let world = World::new(settings(service_graphs()));
        world.takes(&all_of(&[part]));
        let edge = format!(r#"client="shop",connection_type="database",server="{server}""#);
        // At once: nobody is waited for.
        assert_eq!(world.of(TOTAL), map([(edge.as_str(), 1.0)]), "{name}");
        let seconds = world.of("traces_service_graph_request_server_seconds_sum");
        assert!((seconds[&edge] - 0.1).abs() < 1e-9, "the server took as long as the client: {name}");
    }
    // One whose name is empty is none, and it is not known who is called.
    let world = World::new(settings(service_graphs()));
    world.takes(&all_of(&[(service("shop"), vec![empty_name])]));
    world.passes(Duration::from_secs(11));
    assert_eq!(world.of(TOTAL), map([]));
    // Other attributes than Tempo's.
    let world =
        World::new(with(|all| all.service_graphs.database_name_attributes = vec!["my.db".to_owned()]));
    world.takes(&all_of(&[(
        service("shop"),
        vec![client().with("my.db", "x"), client().with("db.name", "y")],
    )]));
    assert_eq!(world.of(TOTAL), map([(r#"client="shop",connection_type="database",server="x""#, 1.0)]));
}

#[test]
fn halves_that_stay_alone_make_virtual_nodes_where_they_can() {
    let plain = || settings(service_graphs());
    let labelled = || with(|all| all.service_graphs.virtual_node_label = true);
    let one = |service_name: &str, span: Span| vec![vec![(service(service_name), vec![span])]];
    let case = |name, settings, requests, total: &[(&'static str, f64)], expired| Case {
        name,
        settings,
        requests,
        total: total.to_vec(),
        failed: Vec::new(),
        expired,
    };
    check(vec![
        case(
            "a root server is called by a user",
            plain(),
            one("web", span("GET", SERVER, 1, 0)),
            &[(r#"client="user",connection_type="virtual_node",server="web""#, 1.0)],
            0.0,
        ),
        case(
            "and a root consumer",
            plain(),
            one("worker", span("consume", CONSUMER, 1, 0)),
            &[(r#"client="user",connection_type="virtual_node",server="worker""#, 1.0)],
            0.0,
        ),
        case(
            "or by whom it names",
            labelled(),
            one("web", span("GET", SERVER, 1, 0).with("peer.service", "mobile")),
            &[(r#"client="mobile",connection_type="virtual_node",server="web",virtual_node="client""#, 1.0)],
            0.0,
        ),
        case(
            "but a server that has a parent is not, whatever it names",
            plain(),
            one("web", span("GET", SERVER, 2, 1).with("peer.service", "mobile")),
            &[],
            1.0,
        ),
        case(
            "a client calls whom it names",
            labelled(),
            one("web", span("call", CLIENT, 2, 1).with("peer.service", "bank")),
            &[(r#"client="web",connection_type="virtual_node",server="bank",virtual_node="server""#, 1.0)],
            0.0,
        ),
        case(
            "also a number",
            plain(),
            one("web", span("call", CLIENT, 2, 1).with("peer.service", 12_i64)),
            &[(r#"client="web",connection_type="virtual_node",server="12""#, 1.0)],
            0.0,
        ),
        case(
            "not whom its resource names",
            plain(),
            vec![vec![(service("web").with("peer.service", "bank"), vec![span("call", CLIENT, 2, 1)])]],
            &[],
            1.0,
        ),
        case("and nobody when it names nobody", plain(), one("web", span("call", CLIENT, 2, 1)), &[], 1.0),
        case(
            "nor with an empty name",
            plain(),
            one("web", span("call", CLIENT, 2, 1).with("peer.service", "")),
            &[],
            1.0,
        ),
        case(
            "the first attribute that is there counts",
            with(|all| all.service_graphs.peer_attributes = vec!["b".to_owned(), "a".to_owned()]),
            one("web", span("call", CLIENT, 2, 1).with("a", "1").with("b", "2")),
            &[(r#"client="web",connection_type="virtual_node",server="2""#, 1.0)],
            0.0,
        ),
        case(
            "a producer's topic",
            with(|all| all.service_graphs.peer_attributes = vec!["messaging.destination.name".to_owned()]),
            one("shop", span("publish", PRODUCER, 2, 1).with("messaging.destination.name", "orders")),
            &[(r#"client="shop",connection_type="virtual_node",server="orders""#, 1.0)],
            0.0,
        ),
        case(
            "whoever answers is called by its own name",
            plain(),
            vec![
                vec![(service("web"), vec![span("call", CLIENT, 2, 1).with("peer.service", "alias")])],
                vec![(service("bank"), vec![span("serve", SERVER, 3, 2)])],
            ],
            &[(r#"client="web",server="bank""#, 1.0)],
            0.0,
        ),
        case(
            "spans of another trace are other spans",
            plain(),
            vec![
                vec![(service("web"), vec![span("call", CLIENT, 2, 1)])],
                vec![(service("bank"), vec![span("serve", SERVER, 3, 2).trace(2)])],
            ],
            &[],
            2.0,
        ),
        case(
            "no service, no node; and what happens inside of one is none of ours",
            plain(),
            vec![vec![
                (Resource::default(), vec![span("call", CLIENT, 2, 1), span("GET", SERVER, 3, 0)]),
                (service(""), vec![span("call", CLIENT, 4, 1), span("serve", SERVER, 7, 6)]),
                (service("web"), vec![span("inside", INTERNAL, 5, 0), span("odd", 0, 6, 0)]),
            ]],
            &[],
            2.0,
        ),
        case(
            "two roots in one trace are two requests",
            plain(),
            vec![vec![(service("web"), vec![span("GET", SERVER, 1, 0), span("GET", SERVER, 2, 0)])]],
            &[(r#"client="user",connection_type="virtual_node",server="web""#, 2.0)],
            0.0,
        ),
        case(
            "a service that calls itself",
            plain(),
            vec![vec![(service("web"), vec![span("call", CLIENT, 2, 1), span("serve", SERVER, 3, 2)])]],
            &[(r#"client="web",server="web""#, 1.0)],
            0.0,
        ),
    ]);
}

#[test]
fn a_request_failed_when_one_side_says_so() {
    let [client, server] = [span("call", CLIENT, 2, 1), span("serve", SERVER, 3, 2)];
    for (client, server, failed) in [
        (client.clone(), server.clone(), 0.0),
        (client.clone().failed(), server.clone(), 1.0),
        (client.clone(), server.clone().failed(), 1.0),
        (client.clone().failed(), server.clone().failed(), 1.0),
        (client.status(1), server.status(1), 0.0),
    ] {
        let world = World::new(settings(service_graphs()));
        world.takes(&all_of(&[(service("web"), vec![client]), (service("cart"), vec![server])]));
        assert_eq!((sum(&world.of(TOTAL)), sum(&world.of(FAILED))), (1.0, failed));
    }
    let world = World::new(settings(service_graphs()));
    world.takes(&service("web").sends(&[
        span("GET", SERVER, 1, 0).failed(),
        span("ask", CLIENT, 2, 1).with("db.name", "orders").failed(),
        span("call", CLIENT, 3, 1).with("peer.service", "bank").failed(),
    ]));
    world.passes(Duration::from_secs(10));
    assert_eq!(world.of(FAILED), world.of(TOTAL));
    assert_eq!(world.of(FAILED).len(), 3);
}

#[test]
fn halves_wait_as_long_as_they_may_and_no_longer() {
    for (wait, pause, found) in [(10, 9, true), (10, 10, false), (3, 2, true), (3, 3, false), (60, 59, true)]
    {
        let world = World::new(with(|all| {
            all.service_graphs.wait = Duration::from_secs(wait);
            all.slack = Duration::from_secs(3600);
        }));
        world.takes(&service("web").sends(&[span("call", CLIENT, 2, 1)]));
        world.passes(Duration::from_secs(pause));
        world.takes(&service("cart").sends(&[span("serve", SERVER, 3, 2)]));
        assert_eq!(sum(&world.of(TOTAL)), f64::from(u8::from(found)), "{wait} {pause}");
        let expired = world.of_tenant("processor_service_graphs_expired_edges");
        assert_eq!(expired, f64::from(u8::from(!found)), "{wait} {pause}");
    }
}

/// A reader that is behind goes by when requests came, not by when it read them.
#[test]
fn whoever_reads_late_finds_the_same_edges() {
    let world = World::new(with(|all| all.slack = Duration::from_secs(3600)));
    for (trace, pause) in [(1, 8), (2, 12)] {
        world.arrives(&service("web").sends(&[span("call", CLIENT, 2, 1).trace(trace)]));
        world.clock.advance(Duration::from_secs(pause));
        world.arrives(&service("cart").sends(&[span("serve", SERVER, 3, 2).trace(trace)]));
        world.clock.advance(Duration::from_mins(5));
    }
    world.work();
    assert_eq!(world.of(TOTAL), map([(r#"client="web",server="cart""#, 1.0)]));
    // The client of the second, and in the end its server.
    world.passes(Duration::from_secs(10));
    assert_eq!(world.of_tenant("processor_service_graphs_expired_edges"), 2.0);
}

#[test]
fn no_more_halves_wait_than_may() {
    let world = World::new(with(|all| all.service_graphs.max_items = 3));
    let clients: Vec<_> = (10..15).map(|id| span("call", CLIENT, id, 1)).collect();
    world.takes(&service("web").sends(&clients));
    assert_eq!(world.of_tenant("processor_service_graphs_dropped_spans"), 2.0);
    assert_eq!(world.of_tenant("processor_service_graphs_edges"), 3.0);
    let servers: Vec<_> = (10..15).map(|id| span("serve", SERVER, id + 10, id)).collect();
    world.takes(&service("cart").sends(&servers));
    // Those that waited are found; of the servers of the others two may wait now.
    assert_eq!(world.of(TOTAL), map([(r#"client="web",server="cart""#, 3.0)]));
    assert_eq!(world.of_tenant("processor_service_graphs_edges"), 5.0);
    world.passes(Duration::from_secs(11));
    assert_eq!(world.of_tenant("processor_service_graphs_expired_edges"), 2.0);
    // There is room again.
    world.takes(&service("web").sends(&clients[..3]));
    assert_eq!(world.of_tenant("processor_service_graphs_dropped_spans"), 2.0);
}

#[test]
fn dimensions_are_of_either_side_or_of_each() {
    let dimensions = |prefixes| {
        with(|all| {
            let keys = ["cloud.region", "http.method", "service.namespace"];
            all.service_graphs.dimensions = keys.map(str::to_owned).to_vec();
            all.service_graphs.prefixes = prefixes;
        })
    };
    let web = service("web").with("cloud.region", "eu").with("service.namespace", "front");
    let cart = service("cart").with("cloud.region", "us").with("service.namespace", "back");
    let call = span("call", CLIENT, 2, 1).with("http.method", "GET").with("cloud.region", "of the span");
    let serve = span("serve", SERVER, 3, 2);
    let root = span("GET", SERVER, 1, 0).with("http.method", 7_i64);
    let parts = [(web.clone(), vec![call]), (cart, vec![serve]), (web, vec![root])];
    let both = r#"client="web",client_cloud_region="eu",client_http_method="GET",client_service_namespace="front",server="cart",server_cloud_region="us",server_service_namespace="back""#;
    let alone = r#"client="user",connection_type="virtual_node",server="web",server_cloud_region="eu",server_http_method="7",server_service_namespace="front""#;
    let world = World::new(dimensions(true));
    world.takes(&all_of(&parts));
    world.passes(Duration::from_secs(10));
    assert_eq!(world.of(TOTAL), map([(both, 1.0), (alone, 1.0)]));
    // Without a prefix the half that came last counts.
    let both = r#"client="web",cloud_region="us",http_method="GET",server="cart",service_namespace="back""#;
    let alone = r#"client="user",cloud_region="eu",connection_type="virtual_node",http_method="7",server="web",service_namespace="front""#;
    let world = World::new(dimensions(false));
    world.takes(&all_of(&parts));
    world.passes(Duration::from_secs(10));
    assert_eq!(world.of(TOTAL), map([(both, 1.0), (alone, 1.0)]));
}

/// What waits knows its dimensions by their names: other ones do not get its values.
#[test]
fn halves_that_wait_keep_their_dimensions_when_settings_change() {
    let with_dimensions = |keys: &[&str]| {
        with(|all| {
            all.service_graphs.dimensions = keys.iter().map(|key| (*key).to_owned()).collect();
            all.service_graphs.prefixes = true;
        })
    };
    for restarts in [false, true] {
        let mut world = World::new(with_dimensions(&["a", "b"]));
        world.work();
        world.clock.advance(Duration::from_secs(14));
        world.takes(&service("web").sends(&[span("call", CLIENT, 2, 1).with("a", "1").with("b", "2")]));
        world.passes(Duration::from_secs(1));
        world.set(with_dimensions(&["b", "c"]));
        if restarts {
            world.passes(Duration::from_secs(1));
            world.restart();
        }
        world.takes(&service("cart").sends(&[span("serve", SERVER, 3, 2).with("c", "3").with("a", "4")]));
        let edge = r#"client="web",client_b="2",server="cart",server_c="3""#;
        assert_eq!(world.of(TOTAL), map([(edge, 1.0)]), "restarts: {restarts}");
    }
}

#[test]
fn no_dimension_takes_the_place_of_who_talks_to_whom() {
    let world = World::new(with(|all| {
        all.service_graphs.dimensions =
            ["client", "server", "connection_type", "__name__", "le"].map(str::to_owned).to_vec();
    }));
    let odd = |span: Span| {
        let keys = ["client", "server", "connection_type", "__name__", "le"];
        keys.iter().fold(span, |span, key| span.with(key, "x"))
    };
    world.takes(&all_of(&[
        (service("web"), vec![odd(span("call", CLIENT, 2, 1))]),
        (service("cart"), vec![odd(span("serve", SERVER, 3, 2))]),
    ]));
    let series = world.of(TOTAL);
    assert_eq!(series.len(), 1);
    let edge = series.keys().next().unwrap();
    assert!(edge.contains(r#"client="web""#) && edge.contains(r#"server="cart""#), "{edge}");
    let buckets = world.of("traces_service_graph_request_server_seconds_bucket");
    assert_eq!(buckets.len(), 9, "{buckets:?}");
}

fn attribute(key: &str, value: &str) -> PolicyAttribute {
    PolicyAttribute { key: key.to_owned(), value: PolicyValue::Text(value.to_owned()) }
}

fn excludes(key: &str, value: &str) -> Vec<FilterPolicy> {
    let exclude = PolicyMatch { regex: false, attributes: vec![attribute(key, value)] };
    vec![FilterPolicy { exclude: Some(exclude), ..FilterPolicy::default() }]
}

#[test]
fn what_a_filter_leaves_out_is_no_half_and_nobody_waits_for_it() {
    let web = (service("web"), vec![span("call", CLIENT, 2, 1).with("peer.service", "cart")]);
    let cart = (service("cart"), vec![span("serve", SERVER, 3, 2)]);
    for left_out in ["web", "cart"] {
        for (parts, way) in
            [[&web, &cart], [&cart, &web]].into_iter().flat_map(|parts| WAYS.map(|way| (parts, way)))
        {
            let mut world = World::new(with(|all| {
                all.service_graphs.filter_policies = excludes("resource.service.name", left_out);
            }));
            bring(&mut world, way, parts);
            // The client does not make a virtual node of the server that is there but left out.
            world.passes(Duration::from_secs(11));
            assert_eq!(world.of(TOTAL), map([]), "without {left_out}, {way:?}");
            assert_eq!(world.of_tenant("processor_service_graphs_expired_edges"), 0.0, "{way:?}");
            if matches!(way, Way::OneRequest | Way::TwoRequests) {
                assert_eq!(world.discarded("service_graphs_filtered"), 1.0);
                assert_eq!(world.of_tenant("processor_service_graphs_dropped_edges_total"), 1.0);
            }
        }
    }
    // Others are let in, also under the same span.
    let world = World::new(with(|all| all.service_graphs.filter_policies = excludes("name", "health")));
    world.takes(&all_of(&[
        (
            service("web"),
            vec![span("health", SERVER, 1, 0), span("GET", SERVER, 2, 0), span("call", CLIENT, 3, 2)],
        ),
        (service("cart"), vec![span("serve", SERVER, 4, 3)]),
    ]));
    world.passes(Duration::from_secs(11));
    assert_eq!(
        world.of(TOTAL),
        map([
            (r#"client="web",server="cart""#, 1.0),
            (r#"client="user",connection_type="virtual_node",server="web""#, 1.0),
        ])
    );
    // No more are remembered than may wait.
    let world = World::new(with(|all| {
        all.service_graphs.max_items = 2;
        all.service_graphs.filter_policies = excludes("name", "call");
    }));
    world.takes(&service("web").sends(&[10, 11, 12].map(|id| span("call", CLIENT, id, 1))));
    assert_eq!(world.of_tenant("processor_service_graphs_dropped_span_side_cache_overflow_total"), 1.0);
}

#[test]
fn a_request_stands_for_as_many_as_were_sampled_away() {
    let by_key = || with(|all| all.service_graphs.multiplier_key = "share".to_owned());
    let by_state = || with(|all| all.service_graphs.tracestate_multiplier = true);
    let call = || span("ask", CLIENT, 2, 1).with("db.name", "orders");
    for (name, settings, resource, span, weight) in [
        ("the span's share", by_key(), service("web"), call().with("share", 0.25), 4.0),
        ("the resource's", by_key(), service("web").with("share", 0.5), call(), 2.0),
        (
            "the span's before the resource's",
            by_key(),
            service("web").with("share", 0.5),
            call().with("share", 0.1),
            10.0,
        ),
        ("no number", by_key(), service("web"), call().with("share", "0.5"), 1.0),
        ("nothing", by_key(), service("web"), call().with("share", 0.0), 1.0),
        ("less than nothing", by_key(), service("web"), call().with("share", -0.5), 1.0),
        ("not a number", by_key(), service("web"), call().with("share", f64::NAN), 1.0),
        (
            "so little that it is more than any number",
            by_key(),
            service("web"),
            call().with("share", 5e-324),
            1.0,
        ),
        ("of everything", by_key(), service("web"), call().with("share", f64::INFINITY), 1.0),
        (
            "not asked for",
            settings(service_graphs()),
            service("web"),
            call().with("share", 0.25).state("ot=th:8"),
            1.0,
        ),
        ("the trace state", by_state(), service("web"), call().state("x=y,ot=th:c"), 4.0),
        ("no trace state", by_state(), service("web"), call().with("share", 0.5), 1.0),
    ] {
        let world = World::new(settings);
        world.takes(&resource.sends(&[span]));
        assert_eq!(sum(&world.of(TOTAL)), weight, "{name}");
        assert_eq!(sum(&world.of("traces_service_graph_request_client_seconds_count")), weight, "{name}");
    }
}

#[test]
fn a_late_half_does_not_hold_back_the_others() {
    // Seen twice, a half keeps the time at which it came first.
    let world = World::new(with(|all| all.slack = Duration::from_secs(3600)));
    let call = service("web").sends(&[span("call", CLIENT, 2, 1).with("peer.service", "bank")]);
    world.takes(&call);
    world.passes(Duration::from_secs(6));
    world.takes(&service("web").sends(&[span("call", CLIENT, 3, 1).with("peer.service", "post")]));
    // The same span in another request.
    world.takes(
        &service("web").sends(&[span("call", CLIENT, 2, 1).with("peer.service", "bank").with("a", "b")]),
    );
    world.passes(Duration::from_secs(4));
    assert_eq!(world.of(TOTAL), map([(r#"client="web",connection_type="virtual_node",server="bank""#, 1.0)]));
    world.passes(Duration::from_secs(6));
    assert_eq!(sum(&world.of(TOTAL)), 2.0);
}

#[test]
fn exemplars_name_the_trace() {
    let world = World::new(settings(service_graphs()));
    world.takes(&service("web").sends(&[span("ask", CLIENT, 2, 1).with("db.name", "orders").trace(0xabc)]));
    let tenant = trackway_common::TenantId::new(support::TENANT).unwrap();
    let page = world.generator().generated(&tenant, trackway_generator::Format::OpenMetrics).unwrap();
    assert!(
        page.contains(&format!(r#"# {{traceID="{:032x}"}} 0.1 {}"#, 0xabc, START / 1_000_000_000)),
        "{page}"
    );
    assert!(page.ends_with("# EOF\n"));
}
