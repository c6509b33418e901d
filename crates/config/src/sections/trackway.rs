//! `trackway:`, everything that Tempo does not have. Nothing of Trackway's own may stand anywhere else in the file.

use crate::bytesize::ByteSize;
use crate::duration::GoDuration;
use crate::sections::hours;

section! {
    /// `trackway:`.
    Trackway {
        data_path: String = "./trackway-data".to_owned(), "Folder for everything that has no path of its own.";
        listen: Option<String> = None, "Address that overrides every listen address, such as `0.0.0.0`; the ports stay.";
        read_only: bool = false, "Answer questions only; take nothing in and write nothing.";
        wal: TrackwayWal = TrackwayWal::default(), "The log.";
        memory: Memory = Memory::default(), "Memory.";
        head: Head = Head::default(), "Data not yet on disk in columns.";
        segments: Segments = Segments::default(), "Data on disk in columns, not yet in blocks.";
        block: TrackwayBlock = TrackwayBlock::default(), "Blocks.";
        query: TrackwayQuery = TrackwayQuery::default(), "Questions.";
        cache: LocalCache = LocalCache::default(), "What is kept of blocks in memory and on disk.";
        generator: TrackwayGenerator = TrackwayGenerator::default(), "The metrics-generator.";
        compaction: TrackwayCompaction = TrackwayCompaction::default(), "Merging and expiry of blocks.";
    }
    ignored &[]
}

choice! {
    /// Whether there is a cache in the process.
    CacheUse {
        Auto = "auto", "When blocks lie in an object store.";
        Yes = "true", "Always.";
        No = "false", "Never.";
    }
}

section! {
    /// `trackway.cache:`.
    LocalCache {
        enabled: CacheUse = CacheUse::Auto, "`auto` is when blocks lie in an object store: the operating system caches local files already.";
        memory_bytes: Option<ByteSize> = None, "Bytes kept in memory; empty is an eighth of the memory budget, at most 256 MiB.";
        disk_bytes: Option<ByteSize> = None, "Bytes kept on disk; empty is 2 GiB, at most a tenth of the free space; 0 is none.";
        disk_path: String = String::new(), "Folder for them, which no other process may use; empty is `cache` in the folder of the log.";
    }
    ignored &[]
}

section! {
    /// `trackway.generator:`.
    TrackwayGenerator {
        max_bytes: ByteSize = ByteSize::mib(64), "Memory that series and open edges of all tenants may take.";
        wal_max_bytes: ByteSize = ByteSize::gib(2), "Disk that waiting samples of all tenants may take; beyond, the oldest go.";
    }
    ignored &[]
}

section! {
    /// `trackway.compaction:`.
    TrackwayCompaction {
        start_after: GoDuration = hours(24), "How long after the first start on a bucket that has blocks already nothing is merged or deleted.";
    }
    ignored &[]
}

choice! {
    /// When a record of the log counts as written.
    WalSync {
        Always = "always", "When the disk has it: survives power loss.";
        Os = "os", "When the operating system has it: survives a crash of the process only.";
    }
}

section! {
    /// `trackway.wal:`.
    TrackwayWal {
        sync: WalSync = WalSync::Always, "When a sender gets its OK: when the disk has the spans, or when the operating system has them.";
        max_bytes: ByteSize = ByteSize::gib(1), "Largest log; at half of it spans move on early, beyond it senders are told to come back.";
    }
    ignored &[]
}

section! {
    /// `trackway.memory:`.
    Memory {
        limit: Option<ByteSize> = None, "Most memory that data may take; empty is a share of what the machine or the container has.";
    }
    ignored &[]
}

section! {
    /// `trackway.head:`.
    Head {
        max_bytes: ByteSize = ByteSize::mib(48), "Largest head; beyond it, a segment is written.";
    }
    ignored &[]
}

section! {
    /// `trackway.segments:`.
    Segments {
        max_bytes: ByteSize = ByteSize::gib(1), "Most data in segments; beyond it, blocks are cut early.";
        max_count: u32 = 64, "Most segments; beyond it, blocks are cut early.";
    }
    ignored &[]
}

section! {
    /// `trackway.block:`.
    TrackwayBlock {
        max_spans: u64 = 200_000, "Most spans of a freshly cut block.";
    }
    ignored &[]
}

section! {
    /// `trackway.query:`.
    TrackwayQuery {
        threads: u32 = 0, "Threads that work on questions; 0 is one for each core.";
        max_bytes: ByteSize = ByteSize::gib(64), "Most bytes that one question may read of blocks; 0 is no limit.";
        max_concurrent_per_tenant: u32 = 16, "Questions of a tenant that are worked on at once; others wait.";
    }
    ignored &[]
}
