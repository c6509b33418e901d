//! Counts, sums and the like by group and lane: in one table where that is small, else by sorting.

use super::lanes::{Blank, Lanes};

/// Calls `add` for every row with what is known of its group and lane, and returns what is known then: groups and in
/// them lanes ascending. Lanes are below `lanes`, groups below `groups`, and each group has a row.
pub(crate) fn collect<T: Blank>(
    of_row: (&[u32], usize),
    lane_of_row: (&[u32], usize),
    add: impl FnMut(&mut T, usize),
) -> Vec<(u32, Lanes<T>)> {
    if of_row.1.saturating_mul(lane_of_row.1) <= 4 * of_row.0.len() + (1 << 12) {
        in_table(of_row, lane_of_row, add)
    } else {
        by_sorting(of_row, lane_of_row, add)
    }
}

fn in_table<T: Blank>(
    (of_row, groups): (&[u32], usize),
    (lane_of_row, lanes): (&[u32], usize),
    mut add: impl FnMut(&mut T, usize),
) -> Vec<(u32, Lanes<T>)> {
    // Lane by lane: rows next to each other are often of one trace, hence of one interval, and touch the same memory.
    let mut values = vec![T::BLANK; groups * lanes];
    for (row, (group, lane)) in of_row.iter().zip(lane_of_row).enumerate() {
        add(&mut values[*lane as usize * groups + *group as usize], row);
    }
    let of_group = |group: usize| {
        let values = (0..).zip(values.iter().skip(group).step_by(groups));
        let known = values.filter(|(_, value)| !value.is_blank());
        Lanes(known.map(|(lane, value)| (lane, value.clone())).collect())
    };
    (0..groups).map(|group| (group as u32, of_group(group))).collect()
}

fn by_sorting<T: Blank>(
    (of_row, groups): (&[u32], usize),
    (lane_of_row, lanes): (&[u32], usize),
    mut add: impl FnMut(&mut T, usize),
) -> Vec<(u32, Lanes<T>)> {
    let all: Vec<u32> = (0..of_row.len() as u32).collect();
    let (by_lane, _) = sorted(&all, lane_of_row, lanes);
    let (rows, ends) = sorted(&by_lane, of_row, groups);
    let mut start = 0;
    let mut found = Vec::with_capacity(groups);
    for (group, end) in (0..).zip(ends) {
        let mut values: Vec<(u32, T)> = Vec::new();
        for row in &rows[start..end] {
            let lane = lane_of_row[*row as usize];
            if values.last().is_none_or(|last| last.0 != lane) {
                values.push((lane, T::BLANK));
            }
            if let Some(last) = values.last_mut() {
                add(&mut last.1, *row as usize);
            }
        }
        start = end;
        found.push((group, Lanes(values)));
    }
    found
}

/// Rows in the order of their keys, those of one key in the order in which they came, and where each key ends.
fn sorted(rows: &[u32], key_of_row: &[u32], keys: usize) -> (Vec<u32>, Vec<usize>) {
    // First how many rows a key has, then where the next one of its rows goes, which in the end is where it ends.
    let mut places = vec![0; keys];
    for row in rows {
        places[key_of_row[*row as usize] as usize] += 1;
    }
    let mut start = 0;
    for place in &mut places {
        start += std::mem::replace(place, start);
    }
    let mut sorted = vec![0; rows.len()];
    for row in rows {
        let place = &mut places[key_of_row[*row as usize] as usize];
        sorted[*place] = *row;
        *place += 1;
    }
    (sorted, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorting_finds_what_the_table_finds() {
        let groups = [2, 0, 1, 1, 2, 0, 2];
        let lanes = [5, 1, 3, 3, 0, 1, 5];
        let count = |count: &mut u64, row| *count += 1 + 10 * row as u64;
        let expected = in_table((&groups, 3), (&lanes, 6), count);
        assert_eq!(expected[1], (1, Lanes(vec![(3, 52)])));
        assert_eq!(by_sorting((&groups, 3), (&lanes, 6), count), expected);
    }
}
