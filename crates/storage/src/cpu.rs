//! CPU work on a pool of its own, so that decoding never holds up the threads that answer sockets.

use std::sync::Arc;

use tokio::sync::oneshot;

/// A bounded pool of threads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CpuPool {
    pool: Arc<rayon::ThreadPool>,
}

impl CpuPool {
    /// A pool of so many threads; 0 means one for each core.
    ///
    /// # Errors
    /// When the operating system refuses the threads.
    pub fn new(threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("cpu-{index}"))
            .build()?;
        Ok(Self { pool: Arc::new(pool) })
    }

    /// Runs `work` on the pool. `None` when it panicked; the panic is in the log by then.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (send, receive) = oneshot::channel();
        self.pool.spawn(move || {
            if let Ok(value) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
                // Nobody waits any more when the asker went away.
                let _ = send.send(value);
            }
        });
        receive.await.ok()
    }
}
