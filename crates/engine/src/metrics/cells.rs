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
        by_sorting(of_row, lane_of_row.0, add)
    }
}

fn in_table<T: Blank>(
    (of_row, groups): (&[u32], usize),
    (lane_of_row, lanes): (&[u32], usize),
    mut add: impl FnMut(&mut T, usize),
) -> Vec<(u32, Lanes<T>)> {
    let mut values = vec![T::BLANK; groups * lanes];
    for (row, (group, lane)) in of_row.iter().zip(lane_of_row).enumerate() {
        add(&mut values[*group as usize * lanes + *lane as usize], row);
    }
    let of_group = |values: &[T]| {
        let known = (0..).zip(values).filter(|(_, value)| !value.is_blank());
        Lanes(known.map(|(lane, value)| (lane, value.clone())).collect())
    };
    (0..).zip(values.chunks(lanes)).map(|(group, values)| (group, of_group(values))).collect()
}

fn by_sorting<T: Blank>(
    (of_row, groups): (&[u32], usize),
    lane_of_row: &[u32],
    mut add: impl FnMut(&mut T, usize),
) -> Vec<(u32, Lanes<T>)> {
    let (mut rows, ends) = rows_by_group(of_row, groups);
    let mut start = 0;
    let mut found = Vec::with_capacity(groups);
    for (group, end) in (0..).zip(ends) {
        let rows = &mut rows[start..end];
        start = end;
        rows.sort_unstable_by_key(|row| lane_of_row[*row as usize]);
        let mut values: Vec<(u32, T)> = Vec::new();
        for row in rows {
            let lane = lane_of_row[*row as usize];
            if values.last().is_none_or(|last| last.0 != lane) {
                values.push((lane, T::BLANK));
            }
            if let Some(last) = values.last_mut() {
                add(&mut last.1, *row as usize);
            }
        }
        found.push((group, Lanes(values)));
    }
    found
}

/// The rows in the order of their groups, and where each group ends.
fn rows_by_group(of_row: &[u32], groups: usize) -> (Vec<u32>, Vec<usize>) {
    // First how many rows a group has, then where the next one of its rows goes, which in the end is where it ends.
    let mut places = vec![0; groups];
    for group in of_row {
        places[*group as usize] += 1;
    }
    let mut start = 0;
    for place in &mut places {
        start += std::mem::replace(place, start);
    }
    let mut rows = vec![0; of_row.len()];
    for (row, group) in of_row.iter().enumerate() {
        let place = &mut places[*group as usize];
        rows[*place] = row as u32;
        *place += 1;
    }
    (rows, places)
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
        assert_eq!(by_sorting((&groups, 3), &lanes, count), expected);
    }
}
