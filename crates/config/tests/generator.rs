//! What is made of spans and where it is sent: each thing that cannot be meant names its key, its value and the way out.

use trackway_config::Config;

/// What the checks say of a file.
fn said(text: &str) -> Vec<String> {
    match Config::from_yaml("f", text) {
        Ok(config) => config.validate().iter().map(|problem| problem.message.clone()).collect(),
        Err(error) => error.problems.iter().map(|problem| problem.message.clone()).collect(),
    }
}

#[test]
fn what_is_made_of_spans_is_checked() {
    let generator = "metrics_generator: ";
    let tenants = "overrides: {defaults: {metrics_generator: ";
    let policy = |policy: &str| format!("{{processor: {{span_metrics: {{filter_policies: [{policy}]}}}}}}");
    let attribute = |kind: &str, attribute: &str| {
        policy(&format!("{{include: {{match_type: {kind}, attributes: [{{{attribute}}}]}}}}"))
    };
    for (block, want) in [
        (
            "{processor: {span_metrics: {histogram_buckets: [1, 3, 2]}}}".to_owned(),
            "processor.span_metrics.histogram_buckets must be strictly increasing: bucket[2]=2 is <= bucket[1]=3",
        ),
        (
            "{processor: {service_graphs: {histogram_buckets: []}}}".to_owned(),
            "processor.service_graphs.histogram_buckets is empty; name upper bounds in seconds, or leave it out",
        ),
        (
            "{processor: {span_metrics: {dimensions: [http.method, http_method]}}}".to_owned(),
            "processor.span_metrics.dimensions has \"http_method\" and ",
        ),
        (
            "{processor: {span_metrics: {dimensions: [service], dimension_mappings: [{name: service, source_labels: [a]}]}}}"
                .to_owned(),
            "and both would be the label __service; keep one",
        ),
        (
            "{processor: {span_metrics: {dimension_mappings: [{name: a}]}}}".to_owned(),
            "source_labels cannot be empty for mapping with name \"a\"",
        ),
        (
            "{processor: {span_metrics: {intrinsic_dimensions: {span_nam: true}}}}".to_owned(),
            "unknown key \"span_nam\" in ",
        ),
        (
            "{processor: {host_info: {host_identifiers: []}}}".to_owned(),
            "processor.host_info.host_identifiers is empty; at least one value must be provided",
        ),
        (
            "{processor: {host_info: {metric_name: 'a b'}}}".to_owned(),
            "processor.host_info.metric_name is \"a b\"; metric_name is invalid",
        ),
        (policy("{}"), "filter_policies[0]: invalid filter policy; policies must have at least an include"),
        (policy("{include: {match_type: glob}}"), "[0].include: invalid match type \"glob\", valid values: strict, regex"),
        (policy("{exclude: {match_type: strict}}"), "[0].exclude.attributes is empty; name an attribute"),
        (attribute("strict", "key: event.x, value: a"), "[0].key: invalid attribute \"event.x\"; use resource.…"),
        (attribute("strict", "key: .x, value: a"), "[0].key: invalid attribute \".x\""),
        (
            attribute("strict", "key: kind, value: server"),
            "[0].value is \"server\", which is no kind; use one of SPAN_KIND_UNSPECIFIED, ",
        ),
        (attribute("strict", "key: status, value: 2"), "[0].value is 2, for status; expected a text, in quotes: \"2\""),
        (attribute("regex", "key: span.x, value: 4.."), "no problem"),
        (attribute("regex", "key: span.x, value: 400"), "[0].value is 400, for span.x; expected a text"),
        (attribute("regex", "key: name, value: 'a('"), "[0].value is \"a(\", which is no regular expression: unclosed group"),
        (attribute("strict", "key: span.x, value: 400"), "no problem"),
    ] {
        for (above, place) in
            [(generator, "metrics_generator."), (tenants, "overrides.defaults.metrics_generator.")]
        {
            let text = format!("{above}{block}{}\n", if above == tenants { "}}" } else { "" });
            let found = said(&text);
            if want == "no problem" {
                assert_eq!(found, [""; 0], "{text}");
            } else {
                let is_there = |found: &String| found.contains(want) && found.contains(place);
                assert!(found.len() == 1 && is_there(&found[0]), "{text}: {want}\nnot in {found:#?}");
            }
        }
    }
}

#[test]
fn settings_of_the_generator_name_key_value_and_the_way_out() {
    for (text, want) in [
        (
            "metrics_generator: {processor: {service_graphs: {wait: 0s}}}",
            "service_graphs.wait is 0s; use 1ms to 1h0m0s",
        ),
        (
            "metrics_generator: {processor: {service_graphs: {max_items: 0}}}",
            "max_items is 0; no call would be seen",
        ),
        (
            "metrics_generator: {processor: {span_metrics: {subprocessors: {calls: false}}}}",
            "span_metrics.subprocessors has \"calls\"; use latency, count or size",
        ),
        (
            "metrics_generator: {processor: {span_metrics: {histogram_override: exponential}}}",
            "histogram_override is \"exponential\"; expected one of classic, native, both",
        ),
        (
            "metrics_generator: {limiter_type: tenant}",
            "limiter_type is \"tenant\"; expected one of series, entity",
        ),
        (
            "metrics_generator: {registry: {collection_interval: 10ms}}",
            "collection_interval is 10ms; use 1s to 1h0m0s",
        ),
        (
            "metrics_generator: {registry: {collection_interval: 1m, stale_duration: 30s}}",
            "stale_duration is 30s, shorter than metrics_generator.registry.collection_interval (1m0s); series would end",
        ),
        (
            "metrics_generator: {registry: {external_labels: {a.b: x}}}",
            "external_labels has \"a.b\", which is not a valid Prometheus label name",
        ),
        (
            "metrics_generator: {registry: {external_labels: {tenant: x}, inject_tenant_id_as: tenant}}",
            "inject_tenant_id_as is \"tenant\", which metrics_generator.registry.external_labels has too",
        ),
        (
            "metrics_generator: {metrics_ingestion_time_range_slack: 8d}",
            "slack is 192h0m0s; use 0s to 168h0m0s",
        ),
        (
            "metrics_generator: {storage: {wal: {wal_compression: lz4}}}",
            "wal_compression is \"lz4\"; use one of",
        ),
        (
            "trackway: {generator: {max_bytes: 1000}}",
            "trackway.generator.max_bytes is 1000; use at least 1MiB",
        ),
        (
            "overrides: {defaults: {metrics_generator: {processors: {span-metric: {}}}}}",
            "overrides.defaults.metrics_generator.processors is \"span-metric\"; did you mean span-metrics?",
        ),
        (
            "overrides: {defaults: {metrics_generator: {native_histogram_bucket_factor: 1}}}",
            "native_histogram_bucket_factor is 1; it must be greater than 1, such as 1.1",
        ),
        (
            "overrides: {metrics_generator_trace_id_label_name: trace.id}",
            "trace_id_label_name \"trace.id\" is not a valid Prometheus label name",
        ),
        (
            "overrides: {metrics_generator_processor_span_metrics_histogram_buckets: [a]}",
            "overrides.metrics_generator_processor_span_metrics_histogram_buckets[0] is \"a\"; expected a number",
        ),
        (
            "overrides: {metrics_generator_remote_write_headers: {'a b': c}}",
            "remote_write_headers has \"a b\", which is no name of a header",
        ),
        (
            "{metrics_generator: {processor: {span_metrics: {dimensions: [team]}}}, overrides: {defaults: \
             {metrics_generator: {processor: {span_metrics: {dimension_mappings: [{name: team, source_labels: [a]}]}}}}}}",
            "dimension_mappings has \"team\" and overrides.defaults.metrics_generator.processor.span_metrics.dimensions has",
        ),
    ] {
        let found = said(text);
        assert!(found.len() == 1 && found[0].contains(want), "{text}: {want}\nnot in {found:#?}");
    }
}

/// What the checks say of one endpoint: one problem with this in it, or none.
fn endpoints(cases: &[(String, String)]) {
    for (endpoint, want) in cases {
        let text = format!("metrics_generator: {{storage: {{remote_write: [{{{endpoint}}}]}}}}");
        let found = said(&text);
        if want.is_empty() {
            assert_eq!(found, [""; 0], "{text}");
            continue;
        }
        assert!(found.len() == 1 && found[0].contains(want), "{text}: {want}\nnot in {found:#?}");
        assert!(!found[0].contains("hidden"));
    }
}

#[test]
fn where_metrics_are_sent_and_who_logs_in_is_checked() {
    let at = "metrics_generator.storage.remote_write[0]";
    let url = "url: 'http://a/w'";
    endpoints(&[
        (url.to_owned(), String::new()),
        ("url: 'https://[::1]:9090'".to_owned(), String::new()),
        (
            String::new(),
            ".url is empty; name the receiver, such as http://prometheus:9090/api/v1/write".to_owned(),
        ),
        ("url: 'a:9090/w'".to_owned(), ".url is \"a:9090/w\"; write http:// or https://, a host".to_owned()),
        ("url: 'http://a:x/w'".to_owned(), ".url is \"http://a:x/w\"; write http://".to_owned()),
        (
            "url: 'http://me:hidden@a/w'".to_owned(),
            ".url has a login in it; write that to basic_auth".to_owned(),
        ),
        (format!("{url}, remote_timeout: 0s"), ".remote_timeout is 0s; use a time such as 30s".to_owned()),
        (
            format!("{url}, headers: {{User-Agent: x}}"),
            ".headers has User-Agent, which is set for every request".to_owned(),
        ),
        (
            format!("{url}, headers: {{Authorization: x}}"),
            ".headers has Authorization; write it to basic_auth or".to_owned(),
        ),
        (format!("{url}, headers: {{X-Scope-OrgID: x}}"), String::new()),
        (
            format!("{url}, protobuf_message: v3"),
            ".protobuf_message is \"v3\"; use one of prometheus.WriteRequest".to_owned(),
        ),
        (
            format!("{url}, oauth2: {{client_id: x}}"),
            ".oauth2 is not supported; send to a proxy or sidecar that".to_owned(),
        ),
        (format!("{url}, azuread: {{cloud: x}}"), ".azuread is not supported".to_owned()),
        (format!("{url}, google_iam: {{}}"), ".google_iam is not supported".to_owned()),
        (
            format!("{url}, proxy_url: 'http://p'"),
            ".proxy_url is not supported; name the proxy in url".to_owned(),
        ),
        (
            format!("{url}, proxy_from_environment: true"),
            ".proxy_from_environment is not supported".to_owned(),
        ),
        (format!("{url}, proxy_from_environment: false"), String::new()),
        (
            format!("{url}, basic_auth: {{username: a}}, sigv4: {{region: x, access_key: a, secret_key: b}}"),
            " has basic_auth and sigv4; keep one way to log in".to_owned(),
        ),
        (
            format!("{url}, basic_auth: {{username: a, password: b, password_file: c}}"),
            format!(".basic_auth.password and {at}.basic_auth.password_file are both set; keep one"),
        ),
        (
            format!("{url}, authorization: {{}}"),
            ".authorization has no credentials; set credentials or".to_owned(),
        ),
        (
            format!("{url}, authorization: {{type: Basic, credentials: x}}"),
            ".authorization.type is Basic; use basic_auth instead".to_owned(),
        ),
        (format!("{url}, bearer_token: a, bearer_token_file: b"), ".bearer_token and ".to_owned()),
        (
            format!("{url}, sigv4: {{region: x, access_key: a}}"),
            ".sigv4.secret_key is empty; write it, or send".to_owned(),
        ),
    ]);
    let twice = "metrics_generator: {storage: {remote_write: [{url: 'http://a', name: x}, {url: 'http://b', name: x}]}}";
    assert!(
        said(twice)[0]
            .ends_with("[1].name is \"x\", as metrics_generator.storage.remote_write[0].name is; rename one")
    );
}

#[test]
fn how_metrics_are_sent_is_checked() {
    let at = "metrics_generator.storage.remote_write[0]";
    let url = "url: 'http://a/w'";
    endpoints(&[
        (
            format!("{url}, tls_config: {{ca: PEM}}"),
            ".tls_config.ca is not supported; write it to a file".to_owned(),
        ),
        (
            format!("{url}, tls_config: {{cert_file: a}}"),
            ".tls_config.key_file is empty; a client".to_owned(),
        ),
        (
            format!("{url}, tls_config: {{min_version: '1.2'}}"),
            ".tls_config.min_version is \"1.2\"; use TLS13".to_owned(),
        ),
        (
            format!("{url}, queue_config: {{capacity: 0}}"),
            ".queue_config.capacity is 0; use more, such as 10000".to_owned(),
        ),
        (
            format!("{url}, queue_config: {{max_shards: 2, min_shards: 3}}"),
            ".queue_config.min_shards is 3, more than".to_owned(),
        ),
        (
            format!("{url}, queue_config: {{min_backoff: 6s}}"),
            ".queue_config.min_backoff is 6s, longer than".to_owned(),
        ),
        (
            format!("{url}, write_relabel_configs: [{{}}]"),
            "[0].target_label is empty; the action replace needs it".to_owned(),
        ),
        (
            format!("{url}, write_relabel_configs: [{{action: drop, regex: '('}}]"),
            "[0].regex is \"(\", which is no regular expression: unclosed group".to_owned(),
        ),
        (
            format!("{url}, write_relabel_configs: [{{action: hashmod, target_label: a}}]"),
            "[0].modulus is 0; the action hashmod needs a divisor".to_owned(),
        ),
        (
            format!("{url}, write_relabel_configs: [{{action: dorp}}]"),
            "[0].action is \"dorp\"; did you mean drop?".to_owned(),
        ),
        (format!("{url}, retry: 1"), format!("unknown key \"retry\" in {at}")),
    ]);
}

#[test]
fn what_is_probably_not_meant_is_said() {
    let tenants = |limits: &str| format!("overrides: {{defaults: {{metrics_generator: {{{limits}}}}}}}\n");
    let endpoint = |more: &str| {
        format!("metrics_generator: {{storage: {{remote_write: [{{url: 'http://a'{more}}}]}}}}\n")
    };
    for (text, want) in [
        (tenants("processors: [span-metrics]"), "metrics are made and sent nowhere"),
        (tenants("processors: [span-metrics]") + &endpoint(", send_exemplars: true"), ""),
        (tenants("max_active_series: 5"), ""),
        (
            tenants("max_active_entities: 5"),
            "max_active_entities is 5 and limits nothing; it needs metrics_generator.limiter_type: entity",
        ),
        (
            tenants("max_active_series: 5") + "metrics_generator: {limiter_type: entity}",
            "max_active_series is 5 and limits nothing; it needs metrics_generator.limiter_type: series",
        ),
        (endpoint(", send_exemplars: false"), "[0].send_exemplars is false; exemplars are sent all the same"),
        (endpoint(", send_native_histograms: true"), "[0].send_native_histograms has no effect; overrides"),
        ("metrics_generator: {processor: {host_info: }}".to_owned(), "processor.host_info is empty"),
        ("metrics_generator: {processor: {service_graphs: {workers: 3}}}".to_owned(), ""),
    ] {
        let config = Config::from_yaml("f", &text).unwrap();
        let said: Vec<String> = config.generator_warnings().iter().map(ToString::to_string).collect();
        let fits = if want.is_empty() { said.is_empty() } else { said.len() == 1 && said[0].contains(want) };
        assert!(fits, "{text}: {said:#?}");
    }
}
