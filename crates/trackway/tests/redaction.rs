//! Redaction: whatever is pushed, flushed, merged, restarted and killed, no answer shows what was redacted from the moment
//! on that it was; all else is as if it had never been; and when a report says done, no object of the bucket has any of it.
//!
//! `TRACKWAY_REDACTION_SEED` repeats a run, `TRACKWAY_REDACTION_STEPS` says how long one is (60).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods)] // how long a run is, the environment says

mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use support::dice::Dice;
use support::requests::{day, now, of_service, span_at};
use support::{Ports, Server, run};
use trackway_common::{MemoryPool, TenantId};
use trackway_golden::http;
use trackway_loadgen::percent_encode;
use trackway_spans::Needs;
use trackway_storage::{BlockCatalog, BlockReader, BlockStore, Catalog, CpuPool, PollOptions};

const PATH: &str = "/api/trackway/v1/redactions";
const MILLI: u64 = 1_000_000;
const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
const SERVICES: [&str; 3] = ["shop", "cart", "bank"];

fn steps() -> u64 {
    std::env::var("TRACKWAY_REDACTION_STEPS").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// Merges two blocks at once, again and again, and keeps for long what was merged.
fn start(folder: &Path, ports: Ports, more: &str) -> Server {
    let more = format!(
        "query_frontend: {{query_end_cutoff: 0s, search: {{query_backend_after: 0s}}, metrics: {{query_backend_after: 0s}}}}\n\
         compactor: {{compaction: {{block_retention: 0s, compacted_block_retention: 10h, compaction_cycle: 300ms, \
         compaction_window: 876000h}}}}\n\
         backend_scheduler: {{provider: {{compaction: {{max_input_blocks: 2}}}}}}\n{more}"
    );
    let text = support::config(folder, ports, &more)
        .replace("backend: local,", "backend: local, blocklist_poll: 1s,");
    let file = folder.join("tempo.yaml");
    std::fs::write(&file, text).unwrap();
    let mut server = Server::spawn_file(folder, &file, ports);
    server.until_ready();
    server
}

const AT_ONCE: &str = "trackway: {compaction: {start_after: 0s}}";

fn post(server: &Server, body: &Value) -> (u16, Value) {
    let headers = [("content-type".to_owned(), "application/json".to_owned())];
    let body = body.to_string();
    let answer =
        http::request(&server.api, "POST", PATH, &headers, Some(body.as_bytes())).expect("an answer");
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    (answer.status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// A span that was pushed.
#[derive(Clone, Debug)]
struct Sent {
    trace: u128,
    id: u64,
    is_root: bool,
    parent: Option<u64>,
    service: &'static str,
    user: &'static str,
    /// In no other span.
    mark: String,
    start: u64,
    length: u64,
}

/// Everything that was pushed and is not redacted, and what is.
struct Model {
    dice: Dice,
    base: u64,
    spans: Vec<Sent>,
    gone: Vec<Sent>,
    traces: Vec<u128>,
    /// Ids of traces that are not to be sent any more.
    closed: BTreeSet<u128>,
    next: u64,
}

impl Model {
    fn new(dice: Dice) -> Self {
        let base = now() - 600_000 * MILLI;
        let (spans, gone, traces, closed) = Default::default();
        Self { dice, base, spans, gone, traces, closed, next: 1 }
    }

    fn trace(&mut self) -> u128 {
        if self.traces.is_empty() || self.dice.once_in(3) {
            let id = u128::from(self.dice.next() | 1 << 63) << 64 | u128::from(self.dice.next());
            self.traces.push(id);
            return id;
        }
        *self.dice.pick(&self.traces)
    }

    /// A request with some spans, which counts from now on.
    fn push(&mut self, server: &Server) {
        let service = *self.dice.pick(&SERVICES);
        let mut spans = Vec::new();
        for _ in 0..1 + self.dice.below(6) {
            let trace = self.trace();
            if self.closed.contains(&trace) {
                continue;
            }
            let known: Vec<&Sent> =
                self.spans.iter().chain(&self.gone).filter(|sent| sent.trace == trace).collect();
            let is_root = known.is_empty();
            let parent_id = known.first().map(|first| first.id);
            let parent = parent_id.map_or(Vec::new(), |id| id.to_be_bytes().to_vec());
            let sent = Sent {
                trace,
                id: self.dice.next() | 1,
                is_root,
                parent: parent_id,
                service,
                user: USERS[self.dice.below(USERS.len() as u64) as usize],
                mark: format!("mark-{:016x}-{}", self.dice.next(), self.next),
                start: self.base + self.next * MILLI,
                length: MILLI,
            };
            self.next += 1;
            let attributes = [("mark", sent.mark.clone()), ("user", sent.user.to_owned())];
            let name = if is_root { format!("root-of-{}", sent.mark) } else { "work".to_owned() };
            spans.push(span_at(sent.start, trace, &sent.id.to_be_bytes(), &parent, &name, &attributes));
            self.spans.push(sent);
        }
        if !spans.is_empty() {
            let answer = server.push("application/x-protobuf", &of_service(service, &spans));
            assert_eq!(answer.status, 200);
        }
    }

    fn take(&mut self, is_gone: impl Fn(&Sent) -> bool) -> u64 {
        let (gone, kept) = std::mem::take(&mut self.spans).into_iter().partition(|sent| is_gone(sent));
        self.spans = kept;
        let gone: Vec<Sent> = gone;
        let count = gone.len() as u64;
        self.gone.extend(gone);
        count
    }

    /// Redacts something; its id.
    fn redact(&mut self, server: &Server) -> Option<(String, u64)> {
        if self.spans.is_empty() {
            return None;
        }
        let one = self.dice.pick(&self.spans).clone();
        let (body, spans) = match self.dice.below(4) {
            0 => {
                let other = self.dice.pick(&self.spans).clone();
                self.closed.extend([one.trace, other.trace]);
                let ids: BTreeSet<u128> = [one.trace, other.trace].into();
                let hex: Vec<String> = ids.iter().map(|id| format!("{id:032x}")).collect();
                (json!({ "traceIds": hex }), self.take(|sent| ids.contains(&sent.trace)))
            }
            1 => {
                let query = format!("{{ span.mark = \"{}\" }}", one.mark);
                (json!({ "query": query }), self.take(|sent| sent.mark == one.mark))
            }
            2 => {
                let query =
                    format!("{{ span.user = \"{}\" && .service.name = \"{}\" }}", one.user, one.service);
                let is_it = |sent: &Sent| sent.user == one.user && sent.service == one.service;
                (json!({ "query": query }), self.take(is_it))
            }
            _ => {
                // All spans of a trace, by a query: none is left of it, and more may come.
                let query = format!("{{ trace:id = \"{:032x}\" }}", one.trace);
                (json!({ "query": query }), self.take(|sent| sent.trace == one.trace))
            }
        };
        let mut dry = body.clone();
        dry["dryRun"] = true.into();
        let (status, shown) = post(server, &dry);
        assert_eq!((status, shown["spans"].as_u64()), (200, Some(spans)), "{body}: {shown}");
        let (status, answer) = post(server, &body);
        assert_eq!((status, answer["spans"].as_u64()), (202, Some(spans)), "{body}: {answer}");
        Some((answer["id"].as_str().unwrap().to_owned(), spans))
    }

    fn by_trace(&self) -> HashMap<u128, Vec<&Sent>> {
        let mut all: HashMap<u128, Vec<&Sent>> = HashMap::new();
        self.spans.iter().for_each(|sent| all.entry(sent.trace).or_default().push(sent));
        all
    }

    /// Every answer shows what is left, and nothing else.
    fn check(&self, server: &Server) {
        let (start, end) = day();
        let range = format!("start={start}&end={end}");
        let by_trace = self.by_trace();
        self.check_traces(server, &by_trace);
        let everything = percent_encode("{} | select(span.mark, span.user, name)");
        let series = |query: &str| {
            format!("/api/metrics/query_range?q={}&{range}&step=3600s&exemplars=1000", percent_encode(query))
        };
        let marks: BTreeSet<String> = self.spans.iter().map(|sent| sent.mark.clone()).collect();
        let mut texts = Vec::new();
        for path in [
            format!("/api/search?q={everything}&limit=100000&spss=100&{range}"),
            format!("/api/v2/search/tag/span.mark/values?{range}&limit=0"),
            format!("/api/search/tag/mark/values?{range}"),
            format!("/api/v2/search/tag/name/values?{range}&limit=0"),
            format!("/api/v2/search/tag/rootName/values?{range}&limit=0"),
            format!("/api/v2/search/tag/span.user/values?{range}"),
            format!("/api/v2/search/tag/resource.service.name/values?{range}"),
            format!(
                "/api/v2/search/tag/span.mark/values?{range}&limit=0&q={}",
                percent_encode("{ name = \"work\" }")
            ),
            series("{} | count_over_time() by (span.mark)"),
            series("{} | count_over_time() by (rootName)"),
            series("{} | rate() with (exemplars=true)"),
            series("{ traceDuration < 1h } | quantile_over_time(duration, .5) by (span.user)"),
        ] {
            let answer = server.get(&path);
            let text = String::from_utf8(answer.body.clone()).unwrap();
            assert_eq!(answer.status, 200, "{path}: {text}");
            assert!(answer.header("x-trackway-completeness").is_none(), "{path} is not complete");
            texts.push((path, text));
        }
        for (path, text) in &texts {
            for gone in &self.gone {
                assert!(!text.contains(&gone.mark), "{path} shows {gone:?}");
                let trace = format!("{:x}", gone.trace);
                if !by_trace.contains_key(&gone.trace) {
                    assert!(!text.contains(&trace), "{path} shows trace {gone:?}");
                }
            }
        }
        let list = |path: &str| -> BTreeSet<String> {
            let values = server.json(path)["tagValues"].take();
            let values = values.as_array().cloned().unwrap_or_default();
            values.iter().map(|value| value["value"].as_str().unwrap().to_owned()).collect()
        };
        let listed = list(&texts[1].0);
        let missing: Vec<&Sent> = self.spans.iter().filter(|sent| !listed.contains(&sent.mark)).collect();
        assert!(missing.is_empty(), "not listed: {missing:?}");
        assert_eq!(listed, marks);
        let users: BTreeSet<String> = self.spans.iter().map(|sent| sent.user.to_owned()).collect();
        assert_eq!(list(&texts[5].0), users);
        let services: BTreeSet<String> = self.spans.iter().map(|sent| sent.service.to_owned()).collect();
        assert_eq!(list(&texts[6].0), services);
        let query = percent_encode("{} | count_over_time()");
        let count = server.json(&format!("/api/metrics/query?q={query}&{range}"));
        let counted = count["series"]
            .as_array()
            .and_then(|all| all.first())
            .map_or(0.0, |one| one["value"].as_f64().unwrap_or(0.0));
        assert_eq!(counted, self.spans.len() as f64, "{count}");
    }

    fn check_traces(&self, server: &Server, by_trace: &HashMap<u128, Vec<&Sent>>) {
        let mut expected: HashMap<u128, Vec<u64>> = HashMap::new();
        for (trace, spans) in by_trace {
            let mut ids: Vec<u64> = spans.iter().map(|sent| sent.id).collect();
            ids.sort_unstable();
            expected.insert(*trace, ids);
        }
        assert_eq!(server.all_traces(), expected);
        for found in server.search("{}") {
            let trace = u128::from_str_radix(found["traceID"].as_str().unwrap(), 16).unwrap();
            let spans = &by_trace[&trace];
            let start = spans.iter().map(|sent| sent.start).min().unwrap();
            let end = spans.iter().map(|sent| sent.start + sent.length).max().unwrap();
            assert_eq!(found["startTimeUnixNano"].as_str(), Some(start.to_string().as_str()), "{found}");
            assert_eq!(found["durationMs"].as_u64().unwrap_or(0), (end - start) / MILLI, "{found}");
            if let Some(root) = spans.iter().find(|sent| sent.is_root) {
                assert_eq!(found["rootTraceName"], format!("root-of-{}", root.mark), "{found}");
                assert_eq!(found["rootServiceName"], root.service, "{found}");
            }
            let mut stats: BTreeMap<&str, u64> = BTreeMap::new();
            spans.iter().for_each(|sent| *stats.entry(sent.service).or_default() += 1);
            for (service, count) in stats {
                assert_eq!(found["serviceStats"][service]["spanCount"].as_u64(), Some(count), "{found}");
            }
        }
        let gone: BTreeSet<u128> = self.gone.iter().map(|sent| sent.trace).collect();
        for trace in gone {
            assert_eq!(server.trace(trace), expected.get(&trace).cloned(), "{trace:032x}");
            for path in ["/api/traces", "/api/trackway/v1/traces"] {
                let answer = server.get(&format!("{path}/{trace:032x}"));
                let status = if expected.contains_key(&trace) { 200 } else { 404 };
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                assert_eq!(answer.status, status, "{path}/{trace:032x}: {text}");
                assert!(!self.gone.iter().any(|sent| text.contains(&sent.mark)), "{path}: {text}");
            }
        }
    }

    /// No object has anything of what is gone.
    fn check_objects(&self, folder: &Path) {
        let kept: BTreeSet<u128> = self.spans.iter().map(|sent| sent.trace).collect();
        let parents: BTreeSet<u64> = self.spans.iter().filter_map(|sent| sent.parent).collect();
        let mut needles: Vec<Vec<u8>> = Vec::new();
        for gone in &self.gone {
            needles.push(gone.mark.clone().into_bytes());
            // A span that stays says who its parent was.
            if !parents.contains(&gone.id) {
                needles.push(gone.id.to_be_bytes().to_vec());
                needles.push(format!("{:016x}", gone.id).into_bytes());
            }
            if !kept.contains(&gone.trace) {
                needles.push(gone.trace.to_be_bytes().to_vec());
                needles.push(format!("{:x}", gone.trace).into_bytes());
            }
        }
        let needles: BTreeSet<Vec<u8>> = needles.into_iter().collect();
        let blocks = folder.join("blocks");
        for file in files(&blocks) {
            // Merges go on.
            let Ok(bytes) = std::fs::read(&file) else { continue };
            assert_none(&bytes, &needles, &file.display().to_string());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(decode_all(&blocks, &needles));
    }
}

fn assert_none(bytes: &[u8], needles: &BTreeSet<Vec<u8>>, place: &str) {
    // Of all lengths that there are.
    let lengths: BTreeSet<usize> = needles.iter().map(Vec::len).collect();
    for length in lengths {
        for window in bytes.windows(length) {
            assert!(!needles.contains(window), "{place} has {:?}", String::from_utf8_lossy(window));
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path);
        }
    }
    all
}

/// Decodes every column of every block that is there: pages are compressed.
async fn decode_all(blocks: &Path, needles: &BTreeSet<Vec<u8>>) {
    let store = BlockStore::local(blocks).unwrap();
    let reader = BlockReader::new(store.clone(), CpuPool::new(1).unwrap(), MemoryPool::unlimited());
    let catalog = Catalog::default();
    catalog.poll(&store, PollOptions { blocks_at_once: 4, tenants_at_once: 1 }).await.unwrap();
    let tenant = TenantId::single();
    let live: Vec<_> = catalog.blocks(&tenant).iter().map(|entry| Arc::clone(&entry.meta)).collect();
    let listing = store.list_tenant(&tenant).await.unwrap();
    let mut metas = live.clone();
    for block in listing.blocks.keys().filter(|block| !live.iter().any(|meta| meta.block_id == **block)) {
        // What was a block may stay as long as there was nothing of it in there.
        let meta = store.replaced_meta(&tenant, *block).await.unwrap();
        metas.extend(match meta {
            Some(meta) => Some(meta),
            None => store.unfinished_meta(&tenant, *block).await.unwrap(),
        });
    }
    for meta in metas {
        let groups = reader.open(&tenant, &meta).await.unwrap().row_groups();
        for group in 0..groups {
            let loaded = reader.load(&tenant, &meta, group, None, &Needs::everything()).await.unwrap();
            let batch = &loaded.batch;
            let mut bytes: Vec<u8> =
                batch.traces.ids().flat_map(|id| [&id.to_bytes()[..], b"|"].concat()).collect();
            batch.spans.id.iter().for_each(|id| {
                bytes.extend(id.to_be_bytes());
                bytes.push(b'|');
            });
            for text in 0..batch.strings.len() {
                bytes.extend(batch.strings.get(text as u32));
                bytes.push(b'|');
            }
            let place = format!("block {}", meta.block_id);
            let rest: BTreeSet<Vec<u8>> =
                needles.iter().filter(|needle| needle.len() >= 8).cloned().collect();
            assert_none(&bytes, &rest, &place);
        }
    }
}

fn until_done(server: &mut Server, ids: &[(String, u64)]) {
    for (id, spans) in ids {
        let path = format!("{PATH}/{id}");
        let mut waits = String::new();
        server.wait("the redaction", |server| {
            let shown = server.json(&path);
            if let Some(text) = shown["waits"].as_str().filter(|text| *text != waits) {
                println!("{text}");
                waits = text.to_owned();
            }
            shown["state"] == "done"
        });
        let report = server.json(&path);
        let removed: u64 =
            report["blocks"].as_array().unwrap().iter().map(|block| block["spans"].as_u64().unwrap()).sum();
        assert!(removed >= *spans, "{spans} spans were redacted: {report}");
        assert!(report.get("unreadBlocks").is_none(), "{report}");
    }
}

#[test]
fn nothing_redacted_is_answered_or_stays_in_the_bucket() {
    let dice = Dice::printed("TRACKWAY_REDACTION_SEED");
    let (folder, ports) = (tempfile::tempdir().unwrap(), Ports::free());
    let mut model = Model::new(dice);
    let mut server = start(folder.path(), ports, AT_ONCE);
    let mut redactions: Vec<(String, u64)> = Vec::new();
    for step in 0..steps() {
        match model.dice.below(20) {
            0..=9 => model.push(&server),
            10..=13 => server.flush(),
            14..=16 => {
                redactions.extend(model.redact(&server));
                model.check(&server);
            }
            17 => {
                server.stop();
                server = start(folder.path(), ports, AT_ONCE);
                model.check(&server);
            }
            18 => {
                server.kill();
                server = start(folder.path(), ports, AT_ONCE);
                model.check(&server);
            }
            _ if model.dice.once_in(3) => {
                until_done(&mut server, &redactions);
                model.check_objects(folder.path());
                // From here on the trace is like any other.
                model.closed.clear();
            }
            _ => model.check(&server),
        }
        println!("step {step}: {} spans, {} redacted", model.spans.len(), model.gone.len());
    }
    redactions.extend(model.redact(&server));
    model.check(&server);
    until_done(&mut server, &redactions);
    model.check(&server);
    model.check_objects(folder.path());
    server.kill();
    let server = start(folder.path(), ports, AT_ONCE);
    model.check(&server);
    model.check_objects(folder.path());
    server.stop();
}

#[test]
fn the_command_shows_removes_and_reports() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), Ports::free(), AT_ONCE);
    let mut model = Model::new(Dice::new(7));
    while model.spans.len() < 20 {
        model.push(&server);
    }
    let api = format!("http://{}", server.api);
    let one = model.spans[0].clone();
    let hex = format!("{:032x}", one.trace);
    let (code, said) = run(&["redact", &hex, "--api", &api, "--dry-run"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("would remove") && said.contains(&format!("{hex}  all spans")), "{said}");
    model.check(&server);
    let (code, said) = run(&["redact", &hex, "--api", &api]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("give --yes"), "{said}");
    model.check(&server);
    let spans = model.take(|sent| sent.trace == one.trace);
    let (code, said) = run(&["redact", &hex, "--api", &api, "--yes", "--wait"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains(&format!("{spans} span")) && said.contains("done: nothing of it is left"),
        "{said}"
    );
    model.check(&server);
    model.check_objects(folder.path());
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    assert!(metrics.contains("trackway_redactions_pending 0\n"), "{metrics}");
    assert!(metrics.contains(&format!("trackway_redacted_spans_total {spans}\n")), "{metrics}");
    for (args, says) in [
        (vec!["redact", &hex], "nothing to redact: no such trace is stored"),
        (vec!["redact", "--query", "{ span.user = \"eve\" }"], "nothing to redact: no span matches"),
        (vec!["redact", "--query", "{ span.user = "], "^"),
        (vec!["redact", "--query", "{} | rate()"], "not one for metrics"),
    ] {
        let (code, said) = run(&[&args[..], &["--api", &api, "--yes"]].concat());
        assert_eq!(code, Some(1), "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
    }
    server.stop();
}

#[test]
fn without_a_compactor_it_hides_and_says_what_it_waits_for() {
    let (folder, ports) = (tempfile::tempdir().unwrap(), Ports::free());
    let mut model = Model::new(Dice::new(8));
    let server = start(folder.path(), ports, AT_ONCE);
    while model.spans.len() < 20 {
        model.push(&server);
    }
    server.flush();
    server.stop();
    let text = std::fs::read_to_string(folder.path().join("tempo.yaml")).unwrap();
    std::fs::write(
        folder.path().join("tempo.yaml"),
        text.replace("compactor: {", "compactor: {disabled: true, "),
    )
    .unwrap();
    let mut server = Server::spawn_file(folder.path(), &folder.path().join("tempo.yaml"), ports);
    server.until_ready();
    let (id, _) = model.redact(&server).unwrap();
    model.check(&server);
    let shown = server.json(&format!("{PATH}/{id}"));
    assert_eq!(shown["state"], "pending");
    assert!(shown["waits"].as_str().is_some_and(|why| why.contains("compactor.disabled")), "{shown}");
    // Another site's page must not do that, and a typing error must not widen what is removed.
    let headers = [("sec-fetch-site".to_owned(), "cross-site".to_owned())];
    let body = b"{\"query\": \"{}\"}";
    let answer = http::request(&server.api, "POST", PATH, &headers, Some(body)).unwrap();
    assert_eq!(answer.status, 403);
    assert_eq!(post(&server, &json!({ "query": "{}", "star": 5 })).0, 400);
    assert_eq!(server.get(&format!("{PATH}/unknown")).status, 404);
    server.stop();
    // In its first day on a bucket that it did not make, it removes all the same: somebody asked for it.
    std::fs::remove_file(folder.path().join("blocks/trackway_seed.json")).unwrap();
    let mut server = start(folder.path(), ports, "");
    model.check(&server);
    until_done(&mut server, &[(id, 0)]);
    model.check_objects(folder.path());
    server.stop();
}

/// A block of which nothing is left names no records any more, and another tenant keeps them in the log.
#[test]
fn a_replay_brings_nothing_back() {
    let (folder, ports) = (tempfile::tempdir().unwrap(), Ports::free());
    let more = format!("multitenancy_enabled: true\n{AT_ONCE}");
    let mut server = start(folder.path(), ports, &more);
    let of = |tenant: &str| vec![("x-scope-orgid".to_owned(), tenant.to_owned())];
    let push = |server: &Server, tenant: &str, trace: u128| {
        let headers =
            [of(tenant), vec![("content-type".to_owned(), "application/x-protobuf".to_owned())]].concat();
        let span = span_at(now() - 1_000 * MILLI, trace, &7_u64.to_be_bytes(), b"", "only", &[]);
        let body = of_service("shop", &[span]);
        let answer = http::request(&server.otlp_http, "POST", "/v1/traces", &headers, Some(&body)).unwrap();
        assert_eq!(answer.status, 200);
    };
    let status = |server: &Server, tenant: &str, trace: u128| {
        let path = format!("/api/traces/{trace:032x}");
        http::request(&server.api, "GET", &path, &of(tenant), None).unwrap().status
    };
    push(&server, "quiet", 1);
    push(&server, "redacting", 2);
    let body = json!({ "traceIds": ["2", "3"] }).to_string();
    let answer = http::request(&server.api, "POST", PATH, &of("redacting"), Some(body.as_bytes())).unwrap();
    let made: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer.status, 202, "{made}");
    assert_eq!(made["unknownTraceIds"], json!([format!("{:032x}", 3)]));
    assert_eq!(status(&server, "redacting", 2), 404);
    let path = format!("{PATH}/{}", made["id"].as_str().unwrap());
    let shown = |server: &Server| -> Value {
        let answer = http::request(&server.api, "GET", &path, &of("redacting"), None).unwrap();
        serde_json::from_slice(&answer.body).unwrap()
    };
    server.wait("the redaction", |server| shown(server)["state"] == "done");
    let report = shown(&server);
    assert_eq!(report["blocks"][0]["spans"], 1, "{report}");
    assert!(report["blocks"][0].get("into").is_none(), "nothing was left: {report}");
    // Another tenant does not see it.
    assert_eq!(http::request(&server.api, "GET", &path, &of("quiet"), None).unwrap().status, 404);
    server.kill();
    let server = start(folder.path(), ports, &more);
    assert!(server.lines().iter().any(|line| line.contains("replayed the log")), "{:?}", server.lines());
    assert_eq!((status(&server, "redacting", 2), status(&server, "quiet", 1)), (404, 200));
    // Now that it is done, the trace is like any other.
    push(&server, "redacting", 2);
    assert_eq!(status(&server, "redacting", 2), 200);
    server.stop();
}
