//! Asks a running server the recorded questions of a real Grafana Tempo and compares what it says with the recording.
//!
//! The recordings live under `tests/golden/<format>` of the checkout. A question passes when the status is the same
//! and the content means the same: sets are compared as sets, numbers to 1e-6, and what the protocol leaves open
//! (order, which spans of a long spanset are shown, exemplars, counters of inspected bytes) is not compared. Where
//! the right answer is knowingly not the recorded one, [`check`] holds the exception.

mod canon;
mod check;
mod compare;
mod data;
pub mod http;
mod question;
mod report;

pub use check::{Endpoints, Verdict, check, judge_answer};
pub use data::{answers, answers_moved, copy_blocks, folder, odd_json, shop_frames, t0};
pub use question::{Port, Question, load, parameter};
pub use report::{Failure, Report, run};
