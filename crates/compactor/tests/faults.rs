//! Blocks are written, merged, expired and deleted by several processes on a store that fails in all ways that stores fail,
//! and processes die: nothing that was kept is lost, nothing is there twice, and in the end all is tidy.
//!
//! `TRACKWAY_FAULT_CASES` is the number of cases, `TRACKWAY_FAULT_SEED` the seed of the first one. A failure names its seed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "seeds come from the environment")]

mod support;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use jiff::Timestamp;
use support::faulty::Faults;
use support::{Dice, HOUR, ONE_BY_ONE, SECOND, Scene};
use trackway_storage::{BlockCatalog, CpuPool};
use trackway_vparquet::meta::BlockMeta;
use uuid::Uuid;

/// Cases that are tried by default.
const CASES: u64 = 30;
/// Calls of the store that a case makes before its faults end.
const TURNS: u64 = 400;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn nothing_is_lost_or_doubled_and_all_is_tidy_in_the_end() {
    let first = number("TRACKWAY_FAULT_SEED").unwrap_or(1);
    let cases = number("TRACKWAY_FAULT_CASES").unwrap_or(CASES);
    let cpu = CpuPool::new(1).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut failed = Vec::new();
    for seed in first..first + cases {
        let run = AssertUnwindSafe(|| runtime.block_on(case(seed, cpu.clone())));
        if std::panic::catch_unwind(run).is_err() {
            eprintln!("failed: TRACKWAY_FAULT_SEED={seed} TRACKWAY_FAULT_CASES=1");
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "seeds that fail: {failed:?}");
}

async fn case(seed: u64, cpu: CpuPool) {
    let mut dice = Dice::new(seed);
    let mut scene = Scene::new(seed, cpu, |config| {
        config.retention = Duration::from_secs(3600 * dice.pick(&[0, 0, 8, 30]));
        config.compacted_retention = Duration::from_secs(3600 * dice.pick(&[0, 1]));
        config.max_inputs = dice.pick(&[2, 3, 4]);
        config.deletes_empty_tenants = dice.below(2) == 0;
    });
    let rate = dice.pick(&[0, 20, 60, 150]);
    scene.store.set_faults(Faults {
        before: rate,
        after: dice.pick(&[0, rate]),
        torn: dice.pick(&[0, rate]),
        stale: dice.pick(&[0, 100, 300]),
    });
    for _ in 0..1 + dice.below(3) {
        let process = scene.born();
        scene.processes.push(process);
    }
    let mut turns = 0;
    while turns < TURNS {
        turns += step(&mut scene, &mut dice).await;
    }
    scene.store.set_faults(Faults::default());
    finish(&mut scene).await;
}

/// One thing that happens; how many calls of the store it made.
async fn step(scene: &mut Scene, dice: &mut Dice) -> u64 {
    let at = dice.below(scene.processes.len() as u64) as usize;
    match dice.below(100) {
        0 => scene.crash(at).await,
        1..4 => scene.advance(dice.below(30 * 60) * SECOND),
        // An upload that takes a day, or a listing that is so old, is not to be had.
        4 if scene.processes.iter().all(|process| process.work.is_empty()) => {
            scene.advance(dice.pick(&[1, 2, 9, 27]) * HOUR);
        }
        5..20 => start(scene, at, dice),
        _ => return go_on(scene, at, 1 + dice.below(12), dice).await,
    }
    1
}

fn start(scene: &mut Scene, at: usize, dice: &mut Dice) {
    let kind = dice.pick(&["publish", "publish", "look", "round"]);
    if scene.processes[at].is_at(kind) {
        return;
    }
    let work = match kind {
        "publish" => {
            let (tenant, spans) = scene.send(dice);
            scene.publish(&scene.processes[at], tenant, spans)
        }
        "look" => Scene::look(&scene.processes[at]),
        _ => Scene::round(&scene.processes[at]),
    };
    scene.processes[at].work.push((kind, work));
}

/// Goes on with something that a process is at.
async fn go_on(scene: &mut Scene, at: usize, turns: u64, dice: &mut Dice) -> u64 {
    if scene.processes[at].work.is_empty() {
        return 0;
    }
    let which = dice.below(scene.processes[at].work.len() as u64) as usize;
    for turn in 1..=turns {
        let done = scene.processes[at].work[which].1.turn().await.is_some();
        scene.check_process(at);
        if done {
            drop(scene.processes[at].work.remove(which));
        }
        if done || dice.below(6) == 0 {
            scene.check_reader().await;
        }
        if done {
            return turn;
        }
    }
    turns
}

/// Lets everybody finish, without faults, until nothing changes any more, and looks at what is left.
async fn finish(scene: &mut Scene) {
    for at in 0..scene.processes.len() {
        while !scene.processes[at].work.is_empty() {
            for which in (0..scene.processes[at].work.len()).rev() {
                if scene.processes[at].work[which].1.turn().await.is_some() {
                    drop(scene.processes[at].work.remove(which));
                    scene.check_process(at);
                    scene.check_reader().await;
                }
            }
        }
    }
    // What was left behind has to grow old first.
    for hours in [0, 4, 4, 25, 25, 1, 1] {
        scene.advance(hours * HOUR);
        for at in 0..scene.processes.len() {
            let process = &scene.processes[at];
            let polled = process.catalog.poll(process.compactor.store(), ONE_BY_ONE).await.unwrap();
            assert!(polled.failed.is_empty() && polled.unreadable.is_empty(), "{polled:?}");
            for (tenant, looked) in &polled.looked {
                process.compactor.tidy(tenant, looked).await;
            }
            process.compactor.round().await;
            scene.check_process(at);
            scene.check_reader().await;
        }
    }
    let before = scene.store.changes();
    let process = &scene.processes[0];
    let polled = process.catalog.poll(process.compactor.store(), ONE_BY_ONE).await.unwrap();
    for (tenant, looked) in &polled.looked {
        process.compactor.tidy(tenant, looked).await;
        assert!(looked.unfinished.is_empty(), "{:?}", looked.unfinished);
    }
    process.compactor.round().await;
    assert_eq!(scene.store.changes(), before, "it does not come to rest");
    check_tidy(scene).await;
}

async fn check_tidy(scene: &Scene) {
    let reader = scene.reader().await;
    let now = Timestamp::from_nanosecond(i128::from(scene.clock())).unwrap();
    for tenant in &scene.tenants {
        let blocks = reader.blocks(tenant);
        let metas: Vec<&BlockMeta> = blocks.iter().map(|entry| &*entry.meta).collect();
        let due = trackway_compactor::jobs(&metas, |_| false, now, &scene.config);
        assert!(due.is_empty(), "not merged: {due:?}");
        if !scene.config.retention.is_zero() {
            let oldest = now - jiff::SignedDuration::try_from(scene.config.retention).unwrap();
            assert!(metas.iter().all(|meta| meta.end_time >= oldest), "not expired: {metas:?}");
        }
        let listing = scene.calm().list_tenant(tenant).await.unwrap();
        let live: BTreeSet<_> = metas.iter().map(|meta| meta.block_id).collect();
        let there: BTreeSet<_> = listing.blocks.keys().copied().collect();
        assert_eq!(there, live, "folders, and blocks");
        for (block, files) in &listing.blocks {
            assert!(files.meta && !files.compacted && !files.no_compact, "{block}: {files:?}");
        }
        assert!(listing.commits.len() <= 1, "commits: {:?}", listing.commits);
        let covered = scene.calm().id_index_blocks(tenant).await.unwrap();
        assert_eq!(covered.len(), listing.ids.len(), "indexes of trace ids that cannot be read");
        assert!(covered.len() <= 4, "indexes: {covered:?}");
        let is_of_use =
            |blocks: &Vec<Uuid>| blocks.iter().filter(|id| live.contains(id)).count() * 2 >= blocks.len();
        assert!(covered.iter().all(is_of_use), "indexes: {covered:?}, blocks: {live:?}");
        let uncovered =
            live.iter().filter(|id| !covered.iter().flatten().any(|covered| covered == *id)).count();
        assert!(uncovered < 4, "not covered: {uncovered} of {}", live.len());
        for process in &scene.processes {
            let known = process.catalog.blocks(tenant);
            let known: BTreeSet<_> = known.iter().map(|entry| entry.meta.block_id).collect();
            assert_eq!(known, live, "process {} does not know", process.number);
        }
    }
}
