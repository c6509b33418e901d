//! On which server a key lies. The rule is Tempo's, so that a memcached that both use is one cache and not two: servers
//! in natural order and a jump hash over xxHash64 of the key, or, when the hash is not to be consistent, servers in the
//! order of their names and CRC-32 of the key modulo their number.

use std::cmp::Ordering;

use xxhash_rust::xxh64::xxh64;

/// Puts servers into the order that placement counts them in.
pub(super) fn sort(servers: &mut [String], consistent: bool) {
    servers.sort_unstable();
    if consistent {
        servers.sort_by(|a, b| natural(a, b));
    }
}

/// The number of the server of a key, below `servers`; `None` when there is none.
pub(super) fn place(key: &str, servers: usize, consistent: bool) -> Option<usize> {
    match servers {
        0 => None,
        1 => Some(0),
        _ if consistent => Some(jump(xxh64(key.as_bytes(), 0), servers)),
        _ => Some(crc32fast::hash(key.as_bytes()) as usize % servers),
    }
}

/// Lamping and Veach's jump consistent hash.
fn jump(mut key: u64, buckets: usize) -> usize {
    let (mut bucket, mut next) = (0usize, 0f64);
    while next < buckets as f64 {
        bucket = next as usize; // whole, not negative and below `buckets`
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let step = (1u64 << 31) as f64 / ((key >> 33) + 1) as f64;
        next = ((bucket as f64 + 1.0) * step).floor();
    }
    bucket
}

/// Compares text with runs of digits compared as numbers, so that `memcached-2` comes before `memcached-10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (runs(a), runs(b));
    loop {
        let (Some(a), Some(b)) = (left.next(), right.next()) else {
            return left.count().cmp(&right.count());
        };
        let order = match (a.parse::<i64>(), b.parse::<i64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            _ => a.cmp(b),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Runs of digits and of other characters.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let is_digit = rest.chars().next()?.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != is_digit).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        rest = after;
        Some(run)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors that several other implementations are tested with.
    #[test]
    fn jump_matches_the_published_vectors() {
        for (key, buckets, expected) in
            [(1, 1, 0), (42, 57, 43), (0xdead_10cc, 1, 0), (0xdead_10cc, 666, 361), (256, 1024, 520)]
        {
            assert_eq!(jump(key, buckets), expected, "{key} {buckets}");
        }
    }

    #[test]
    fn a_new_server_takes_keys_and_moves_no_others() {
        for key in 0..2000u64 {
            let key = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            for servers in 1..12 {
                let (before, after) = (jump(key, servers), jump(key, servers + 1));
                assert!(after == before || after == servers, "{key} {servers}");
            }
        }
    }

    #[test]
    fn xxhash64_and_crc32_are_the_known_functions() {
        assert_eq!(xxh64(b"", 0), 0xef46_db37_51d8_e999);
        assert_eq!(xxh64(b"a", 0), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(xxh64(b"as", 0), 0x1c33_0fb2_d66b_e179);
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn servers_are_counted_in_natural_order() {
        let names = |list: &[usize]| -> Vec<String> {
            list.iter().map(|n| format!("memcached-{n}.memcached.tracing.svc.cluster.local.:11211")).collect()
        };
        let mut servers = names(&[10, 1, 6, 3, 25]);
        sort(&mut servers, true);
        assert_eq!(servers, names(&[1, 3, 6, 10, 25]));
        sort(&mut servers, false);
        assert_eq!(servers, names(&[1, 10, 25, 3, 6]));
        let mut addresses: Vec<String> =
            ["10.0.0.10:11211", "10.0.0.9:11211", "10.0.0.9:1"].map(str::to_owned).to_vec();
        sort(&mut addresses, true);
        assert_eq!(addresses, ["10.0.0.9:1", "10.0.0.9:11211", "10.0.0.10:11211"]);
    }

    #[test]
    fn there_may_be_no_server() {
        assert_eq!(place("k", 0, true), None);
        assert_eq!(place("k", 1, true), Some(0));
        assert_eq!(place("123456789", 7, false), Some(0xcbf4_3926 % 7));
    }
}
