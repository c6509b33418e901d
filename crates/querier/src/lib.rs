//! Answers questions over live and stored spans.

pub mod service;
