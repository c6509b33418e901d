//! Names of entries. Those of blocks are Tempo's, so that both can share a memcached while one changes over to the other:
//! a block never changes, and what a key stands for is the same bytes for both. Answers are not, and have a prefix of
//! their own that no tenant's name can give.

use std::fmt::Display;
use std::ops::Range;

/// What the keys of cached answers begin with. A new form of answers gets a new number.
pub const ANSWER_PREFIX: &str = "tw1:";

/// The key of a whole object of a block: `<tenant>:<block>:<name>`.
pub fn object(tenant: impl Display, block: impl Display, name: &str) -> String {
    format!("{tenant}:{block}:{name}")
}

/// The key of a range of an object of a block: `<tenant>:<block>:<name>:<offset>:<length>`.
pub fn range(tenant: impl Display, block: impl Display, name: &str, range: &Range<u64>) -> String {
    let length = range.end.saturating_sub(range.start);
    format!("{tenant}:{block}:{name}:{}:{length}", range.start)
}

/// The key of an answer, for what tells it from others.
pub fn answer(question: impl Display) -> String {
    format!("{ANSWER_PREFIX}{question}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_are_tempos() {
        let block = "b18beca6-4d7f-4464-9f72-f343e688a4a0";
        assert_eq!(super::object("t", block, "bloom-3"), format!("t:{block}:bloom-3"));
        assert_eq!(
            super::range("t", block, "data.parquet", &(100..150)),
            format!("t:{block}:data.parquet:100:50")
        );
        assert_eq!(super::answer("x"), "tw1:x");
    }
}
