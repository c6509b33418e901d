//! `compactor:` (Tempo 2.x), `backend_scheduler:` and `backend_worker:` (Tempo 3.x): merging and expiry of blocks.
//!
//! All three hold the same settings; [`crate::Config::compaction`] is what counts.

use crate::bytesize::ByteSize;
use crate::duration::GoDuration;
use crate::ignored;
use crate::sections::{hours, mins, secs};
use crate::table::Shape::{Any, Block, Bool, Dur, Int, Str};

section! {
    /// `compactor:`.
    Compactor {
        disabled: bool = false, "Do not merge or expire blocks.";
        compaction: Compaction = Compaction::default(), "How.";
    }
    ignored &[
        ("ring", Block(ignored::RING)),
        ("override_ring_key", Str),
    ]
}

section! {
    /// `compaction:` of any of the three.
    Compaction {
        block_retention: GoDuration = hours(336), "How long data is kept; 0 is for ever.";
        compacted_block_retention: GoDuration = hours(1), "How long a merged block's inputs are kept.";
        compaction_window: GoDuration = hours(1), "Blocks that end in the same window are merged.";
        max_compaction_objects: u64 = 6_000_000, "Most traces of a merged block.";
        max_block_bytes: ByteSize = ByteSize::gib(100), "Largest merged block.";
        retention_concurrency: u32 = 10, "Tenants whose blocks are expired at the same time.";
        max_time_per_tenant: GoDuration = mins(5), "Longest work on one tenant in a row.";
        compaction_cycle: GoDuration = secs(30), "Time between rounds.";
    }
    ignored &[
        ("iterator_buffer_size", Int),
        ("v2_in_buffer_bytes", Int),
        ("v2_out_buffer_bytes", Int),
        ("v2_prefetch_traces_count", Int),
        ("chunk_size_bytes", Int),
        ("flush_size_bytes", Int),
    ]
}

section! {
    /// `backend_worker:`.
    BackendWorker {
        backend_scheduler_addr: String = String::new(), "Accepted; Trackway's compactors find their work in the catalogue.";
        compaction: Compaction = Compaction::default(), "How.";
        finish_on_shutdown_timeout: GoDuration = secs(30), "How long a job may take to finish at shutdown.";
    }
    ignored &[
        ("backoff", Block(ignored::BACKOFF)),
        ("override_ring_key", Str),
        ("ring", Block(ignored::RING)),
    ]
}

section! {
    /// `backend_scheduler:`.
    BackendScheduler {
        provider: Provider = Provider::default(), "Kinds of work.";
        work: SchedulerWork = SchedulerWork::default(), "Bookkeeping of jobs.";
    }
    ignored &[
        ("maintenance_interval", Dur),
        ("backend_flush_interval", Dur),
        ("job_timeout", Dur),
        ("local_work_path", Str),
        ("tenant_measurement_interval", Dur),
    ]
}

section! {
    /// `backend_scheduler.work:`.
    SchedulerWork {
        prune_age: GoDuration = hours(1), "When a finished job is forgotten.";
        dead_job_timeout: GoDuration = hours(24), "When an unfinished job is given up.";
    }
    ignored &[]
}

section! {
    /// `backend_scheduler.provider:`.
    Provider {
        compaction: ProviderCompaction = ProviderCompaction::default(), "Merging.";
    }
    ignored &[
        ("retention", Block(&[("interval", Dur)])),
        (
            "redaction",
            Block(&[
                ("enabled", Bool),
                ("poll_interval", Dur),
                ("rescan_delay", Dur),
                ("max_rescan_generations", Int),
                ("priority", Any),
            ]),
        ),
    ]
}

section! {
    /// `backend_scheduler.provider.compaction:`.
    ProviderCompaction {
        compaction: Compaction = Compaction::default(), "How.";
        min_input_blocks: u32 = 2, "Fewest blocks merged at once.";
        max_input_blocks: u32 = 4, "Most blocks merged at once.";
        max_compaction_level: u32 = 0, "Blocks merged so often are left alone; 0 is no limit.";
    }
    ignored &[
        ("measure_interval", Dur),
        ("max_jobs_per_tenant", Int),
        ("min_cycle_interval", Dur),
    ]
}
