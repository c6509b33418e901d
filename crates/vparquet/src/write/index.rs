//! The file `index`: the last trace id of every row group, which spares Tempo a look at each when it is told to use it.

use trackway_common::TraceId;

use crate::json::base64;

/// The contents of the file.
pub(super) fn file(last_ids: impl Iterator<Item = TraceId>) -> Vec<u8> {
    let ids: Vec<String> = last_ids.map(|id| base64(&id.to_bytes())).collect();
    serde_json::json!({ "rowGroups": ids }).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_as_tempos() {
        let written = file([TraceId(u128::MAX), TraceId(0x0102), TraceId(0xfb << 120)].into_iter());
        let expected = r#"{"rowGroups":["/////////////////////w==","AAAAAAAAAAAAAAAAAAABAg==","+wAAAAAAAAAAAAAAAAAAAA=="]}"#;
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }
}
