//! The file `index`: the last trace id of every row group, which spares Tempo a look at each when it is told to use it.

use trackway_common::TraceId;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The contents of the file.
pub(super) fn file(last_ids: impl Iterator<Item = TraceId>) -> Vec<u8> {
    let ids: Vec<String> = last_ids.map(base64).collect();
    serde_json::json!({ "rowGroups": ids }).to_string().into_bytes()
}

/// 128 bits are 21 digits and two bits more.
fn base64(id: TraceId) -> String {
    let digit = |value: u128| char::from(BASE64[(value & 63) as usize]);
    let mut text: String = (0..21).map(|place| digit(id.0 >> (122 - 6 * place))).collect();
    text.push(digit(id.0 << 4));
    text.push_str("==");
    text
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
