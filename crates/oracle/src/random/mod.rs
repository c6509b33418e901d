//! Random traces and queries.
