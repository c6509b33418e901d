//! An independent Parquet reader: pyarrow finds in a block that was written here the schema and the rows that it finds in
//! the block that Tempo wrote from the same spans.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};

use support::golden::start_like;
use support::{python, skipped};

/// The data files of the blocks of a tenant.
fn data_files(tenant: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(tenant).unwrap().map(|entry| entry.unwrap().path().join("data.parquet"));
    entries.filter(|path| path.exists()).collect()
}

/// Pushes what was recorded, and has it written to one block with the recording's dedicated columns.
fn written(folder: &Path, format: &str, version: &str) -> PathBuf {
    let server = start_like(folder, format, version, "");
    for frame in trackway_golden::shop_frames(format).unwrap() {
        assert_eq!(server.push("application/x-protobuf", &frame).status, 200);
    }
    let odd = trackway_golden::odd_json(format).unwrap();
    assert_eq!(server.push("application/json", &odd).status, 200);
    server.flush();
    server.stop();
    let mut files = data_files(&folder.join("blocks/single-tenant"));
    assert_eq!(files.len(), 1, "one block was expected: {files:?}");
    files.remove(0)
}

fn compare(name: &str, format: &str, version: &str) {
    let interpreter = match python::with("pyarrow", &["pyarrow"]) {
        Ok(interpreter) => interpreter,
        Err(why) => return skipped(&format!("pyarrow::{name}"), &why),
    };
    let folder = tempfile::tempdir().unwrap();
    let ours = written(folder.path(), format, version);
    let theirs = data_files(&trackway_golden::folder(format).join("single-tenant")).remove(0);
    let said = python::script(&interpreter, "rows.py", &[theirs.to_str().unwrap(), ours.to_str().unwrap()]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["traces"], 271);
    assert_eq!(said["spans"], 5123);
}

#[test]
fn pyarrow_reads_the_schema_and_rows_that_tempo_wrote() {
    compare("pyarrow_reads_the_schema_and_rows_that_tempo_wrote", "v4", "vParquet4");
}
