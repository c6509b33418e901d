//! What a question has read so far, and what it had to leave out.

use parking_lot::Mutex;
use trackway_storage::StoreError;

use crate::service::{Completeness, Metrics};

/// Reasons that are told in an answer; the log has all of them.
const REASONS_MAX: usize = 5;

/// Counts of one question, shared by its parts.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    metrics: Metrics,
    skipped: usize,
    reasons: Vec<String>,
    cut: Option<String>,
}

impl State {
    fn skipped(&mut self, reason: &str) {
        self.skipped += 1;
        if self.reasons.len() < REASONS_MAX {
            self.reasons.push(reason.to_owned());
        }
    }
}

impl Tally {
    /// Changes the counts.
    pub(crate) fn count(&self, change: impl FnOnce(&mut Metrics)) {
        change(&mut self.state.lock().metrics);
    }

    /// Something could not be read.
    pub(crate) fn skip(&self, error: &StoreError) {
        tracing::warn!(%error, "part of the data cannot be read; the answer is partial");
        self.state.lock().skipped(&error.to_string());
    }

    /// A limit cut the answer short.
    pub(crate) fn cut(&self, reason: &str) {
        self.state.lock().cut = Some(reason.to_owned());
    }

    /// A block could not be read when the store was looked through, and the log says so since then.
    pub(crate) fn miss(&self, problem: &str) {
        let mut state = self.state.lock();
        state.metrics.total_blocks += 1;
        state.metrics.total_jobs += 1;
        state.skipped(problem);
    }

    pub(crate) fn metrics(&self) -> Metrics {
        self.state.lock().metrics
    }

    pub(crate) fn completeness(&self) -> Completeness {
        let state = self.state.lock();
        let unread = (state.skipped > 0)
            .then(|| format!("{} parts could not be read: {}", state.skipped, state.reasons.join("; ")));
        match (unread, state.cut.clone()) {
            (None, None) => Completeness::Complete,
            (Some(one), None) | (None, Some(one)) => Completeness::Partial(one),
            (Some(unread), Some(cut)) => Completeness::Partial(format!("{cut} {unread}")),
        }
    }
}
