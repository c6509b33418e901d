//! The recorded inputs and blocks, found in the checkout that this crate was built in.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;
use serde_json::Value;

use crate::question::{Question, invalid, load, load_shifted};

/// The folder of a format's recording: `v4`, `v4-dedicated`, `v5`, `v5-dedicated` or `v3`.
pub fn folder(format: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(format)
}

/// The questions recorded for a format; `v3` has none.
pub fn answers(format: &str) -> io::Result<Vec<Question>> {
    load(&folder(format).join("answers.jsonl.gz"))
}

/// The questions recorded for `format`, as if they had been asked of the recording `of`, which must have the same input:
/// only its times are others. Bodies that are not text are left as they are.
pub fn answers_moved(format: &str, of: &str) -> io::Result<Vec<Question>> {
    load_shifted(&folder(format).join("answers.jsonl.gz"), (t0(format), t0(of)))
}

/// Copies the block that Tempo wrote, with its tenant index, so that `to` is a local block store (it then holds the
/// folder `single-tenant`).
pub fn copy_blocks(format: &str, to: &Path) -> io::Result<()> {
    copy_folder(&folder(format).join("single-tenant"), &to.join("single-tenant"))
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            // Not `fs::copy`, which would carry over a checkout's read-only permission.
            fs::write(target, fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

/// The recorded input: OTLP `ExportTraceServiceRequest` messages in protobuf.
pub fn shop_frames(format: &str) -> io::Result<Vec<Vec<u8>>> {
    let file = File::open(folder(format).join("shop.frames.gz"))?;
    let mut bytes = Vec::new();
    GzDecoder::new(BufReader::new(file)).read_to_end(&mut bytes)?;
    let mut frames = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let (frame, after) =
            after.split_at_checked(length).ok_or_else(|| invalid("a frame is longer than its file"))?;
        frames.push(frame.to_vec());
        rest = after;
    }
    if rest.is_empty() { Ok(frames) } else { Err(invalid("the frames end inside a length")) }
}

/// The rest of the input: one request in OTLP/JSON with the shapes that servers get wrong.
pub fn odd_json(format: &str) -> io::Result<Vec<u8>> {
    fs::read(folder(format).join("odd.json"))
}

/// The unix second around which the data is built: it spans t0 − 70 to t0 + 92. Zero when there is no recording.
pub fn t0(format: &str) -> u64 {
    let recording = fs::read(folder(format).join("recording.json")).unwrap_or_default();
    let recording: Value = serde_json::from_slice(&recording).unwrap_or_default();
    recording.get("t0").and_then(Value::as_u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_there() {
        for format in ["v3", "v4", "v4-dedicated", "v5", "v5-dedicated"] {
            assert!(t0(format) > 1_700_000_000, "{format}");
            assert!(!shop_frames(format).unwrap().is_empty(), "{format}");
            let odd: Value = serde_json::from_slice(&odd_json(format).unwrap()).unwrap();
            assert!(odd.get("resourceSpans").is_some(), "{format}");
            if format != "v3" {
                assert_eq!(answers(format).unwrap().len(), 327, "{format}");
            }
        }
        assert_eq!(t0("v0"), 0);
        assert!(answers("v3").is_err());
    }

    #[test]
    fn blocks_are_copied() {
        let to = std::env::temp_dir().join(format!("trackway-golden-{}", std::process::id()));
        copy_blocks("v4", &to).unwrap();
        let copied = |name: &str| {
            let tenant = fs::read_dir(to.join("single-tenant")).unwrap();
            tenant.flatten().filter(|e| e.path().join(name).is_file()).count()
        };
        assert_eq!((copied("data.parquet"), copied("meta.json")), (1, 1));
        assert!(to.join("single-tenant/index.pb.zst").is_file());
        fs::remove_dir_all(&to).unwrap();
    }
}
