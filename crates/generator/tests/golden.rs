//! The recorded odd input: which edges it has, read from the input by hand and not from an answer.

#[allow(unreachable_pub)]
mod support;

use std::time::Duration;

use support::{World, map, service_graphs, settings};
use trackway_golden::{odd_json, t0};

#[test]
fn the_odd_input_has_the_edges_that_stand_in_it() {
    let Ok(json) = odd_json("v4") else {
        println!("skipped: the_odd_input_has_the_edges_that_stand_in_it (no tests/golden/v4/odd.json)");
        return;
    };
    let request =
        trackway_otlpjson::to_protobuf(&json, &trackway_otlpjson::Limits::default()).unwrap().protobuf;
    let mut all = settings(service_graphs());
    all.service_graphs.virtual_node_label = true;
    // Its first span starts at t0, its last ones end two seconds later, but for one.
    let world = World::at((t0("v4") + 5) * 1_000_000_000, all);
    world.takes(&request);
    world.passes(Duration::from_secs(11));
    let total = map([
        // Server spans without a parent: `types root`, `kind 2` and the consumer `kind 5`, `결제 요청`, `GET /order`.
        (r#"client="user",connection_type="virtual_node",server="types",virtual_node="client""#, 1.0),
        (r#"client="user",connection_type="virtual_node",server="kinds",virtual_node="client""#, 2.0),
        (r#"client="user",connection_type="virtual_node",server="한국어 서비스",virtual_node="client""#, 1.0),
        (r#"client="user",connection_type="virtual_node",server="gateway",virtual_node="client""#, 1.0),
        // `rpc call` and `rpc serve`, which failed; then `SELECT`, which has db.system alone.
        (r#"client="gateway",server="orders""#, 1.0),
        (r#"client="orders",connection_type="database",server="postgresql""#, 1.0),
        // `publish` and `consume`; `call out` has peer.service, and server.address, which names databases only.
        (r#"client="shop",connection_type="messaging_system",server="worker""#, 1.0),
        (r#"client="shop",connection_type="virtual_node",server="bank",virtual_node="server""#, 1.0),
    ]);
    assert_eq!(world.of("traces_service_graph_request_total"), total);
    let failed = map([
        (r#"client="user",connection_type="virtual_node",server="gateway",virtual_node="client""#, 1.0),
        (r#"client="gateway",server="orders""#, 1.0),
    ]);
    assert_eq!(world.of("traces_service_graph_request_failed_total"), failed);
    let seconds = |side: &str, edge: &str| {
        let sums = world.of(&format!("traces_service_graph_request_{side}_seconds_sum"));
        let edge = total.keys().find(|labels| labels.starts_with(edge)).unwrap();
        (sums[edge] * 1e6).round() / 1e6
    };
    assert_eq!(
        (seconds("client", r#"client="gateway""#), seconds("server", r#"client="gateway""#)),
        (0.06, 0.05)
    );
    assert_eq!(
        (seconds("client", r#"client="orders""#), seconds("server", r#"client="orders""#)),
        (0.03, 0.03)
    );
    // Halves that name nobody: twelve clients and twelve producers `leaf 2` and `leaf 3`, `kind 3` and `kind 4`; all
    // servers and consumers `leaf 1` and `leaf 4` answer one span, and are one half.
    assert_eq!(world.of_tenant("processor_service_graphs_expired_edges"), 12.0 + 12.0 + 2.0 + 1.0);
    // `long` ends in the future.
    assert_eq!(world.discarded("outside_metrics_ingestion_slack"), 1.0);
}
