//! What the log costs: CPU per MB and per span of 390 bytes, for requests of 1,000 spans, from several senders.
//! `cargo run --release -p trackway-wal --example wal_speed [folder] [MB] [os]`
#![allow(clippy::print_stdout, reason = "it is for reading")]

use std::error::Error;
use std::ops::ControlFlow;
use std::sync::Arc;

use trackway_common::{Clock, SystemClock, SystemRandom, TenantId};
use trackway_wal::{
    LocalLog, LocalStorage, Log, LogConfig, NewRecord, Sequence, SyncMode, replay, request_hash,
};

const SPAN: usize = 390;
const SPANS: usize = 1000;
const SENDERS: usize = 16;
/// A release after so many requests, of all but so many.
const RELEASE_EVERY: u64 = 200;
const KEPT: u64 = 500;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "/tmp/wal-speed".into());
    let megabytes: usize = arguments.next().unwrap_or_else(|| "2000".into()).parse()?;
    let sync = if arguments.next().as_deref() == Some("os") { SyncMode::Os } else { SyncMode::Always };
    let clock = SystemClock::default();
    let config = LogConfig { max_bytes: u64::MAX, sync, ..LogConfig::new(folder) };
    let folder = config.folder.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    let log = Arc::new(LocalLog::open(config, Arc::new(LocalStorage), &SystemRandom)?);
    let requests = megabytes * 1_000_000 / (SPAN * SPANS);

    let (began, cpu) = (clock.monotonic(), cpu_micros()?);
    runtime.block_on(async {
        let mut senders = tokio::task::JoinSet::new();
        for sender in 0..SENDERS {
            let log = Arc::clone(&log);
            senders.spawn(async move {
                let tenant = TenantId::single();
                let byte = |at: usize| u8::try_from((at * 31 + sender) % 251).unwrap_or_default();
                let body = bytes::Bytes::from((0..SPAN * SPANS).map(byte).collect::<Vec<_>>());
                for _ in 0..requests / SENDERS {
                    let hash = request_hash(&tenant, &body);
                    let (tenant, body) = (tenant.clone(), body.clone());
                    let at = log
                        .append(NewRecord { tenant, received: 0, hash, refused: Vec::new(), body })
                        .await?;
                    if at.0 % RELEASE_EVERY == 0 {
                        // As an ingester does whose heads hold the newest requests only.
                        let (log, up_to) = (Arc::clone(&log), Sequence(at.0.saturating_sub(KEPT)));
                        let released = tokio::task::spawn_blocking(move || log.release(up_to)).await;
                        released.unwrap_or(Err(trackway_wal::LogError::Closed))?;
                    }
                }
                Ok::<_, trackway_wal::LogError>(())
            });
        }
        senders.join_all().await.into_iter().collect::<Result<(), _>>()
    })?;
    let stored = requests / SENDERS * SENDERS;
    report("append", stored, (clock.monotonic() - began).as_secs_f64(), since(cpu)?);

    let durable = *log.durable().borrow();
    let (began, cpu) = (clock.monotonic(), cpu_micros()?);
    let after = log.low_water();
    let seen = replay(&LocalStorage, &folder, after, |_| ControlFlow::Continue(()))?;
    report("replay", seen.records as usize, (clock.monotonic() - began).as_secs_f64(), since(cpu)?);
    log.release(durable)?;
    Ok(())
}

fn report(what: &str, requests: usize, seconds: f64, cpu: [f64; 2]) {
    let spans = (requests * SPANS) as f64;
    let megabytes = spans * SPAN as f64 / 1e6;
    println!(
        "{what}: {megabytes:.0} MB in {seconds:.2} s ({:.0} MB/s), CPU {:.1} user + {:.1} system µs/MB, {:.3} µs/span",
        megabytes / seconds,
        cpu[0] / megabytes,
        cpu[1] / megabytes,
        (cpu[0] + cpu[1]) / spans
    );
}

/// The CPU time of this process so far, user and system (Linux, in ticks of 10 ms: let it run for a while).
fn cpu_micros() -> Result<[f64; 2], Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    Ok([fields[11].parse::<f64>()? * 10_000.0, fields[12].parse::<f64>()? * 10_000.0])
}

fn since(before: [f64; 2]) -> Result<[f64; 2], Box<dyn Error>> {
    let now = cpu_micros()?;
    Ok([now[0] - before[0], now[1] - before[1]])
}
