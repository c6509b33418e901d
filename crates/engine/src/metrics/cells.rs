//! Counts, sums and the like by group and lane: in one dense table where that is small, else in a hash table.

use hashbrown::HashMap;

use super::lanes::{Blank, Lanes};

/// Calls `add` for every row with what is known of its group and lane, and returns what is known then: groups and in
/// them lanes ascending. Lanes are below `lanes`, groups below `groups`.
pub(crate) fn collect<T: Blank>(
    (of_row, groups): (&[u32], usize),
    (lane_of_row, lanes): (&[u32], usize),
    mut add: impl FnMut(&mut T, usize),
) -> Vec<(u32, Lanes<T>)> {
    let cells = groups.saturating_mul(lanes);
    let cell = |(group, lane): (&u32, &u32)| *group as usize * lanes + *lane as usize;
    let mut found = Vec::new();
    if cells <= 4 * of_row.len() + (1 << 12) {
        let mut values = vec![T::BLANK; cells];
        for (row, place) in of_row.iter().zip(lane_of_row).enumerate() {
            add(&mut values[cell(place)], row);
        }
        for (group, values) in values.chunks(lanes).enumerate() {
            let values = (0..).zip(values).filter(|(_, value)| !value.is_blank());
            found.push((group as u32, Lanes(values.map(|(lane, value)| (lane, value.clone())).collect())));
        }
    } else {
        let mut values: HashMap<usize, T> = HashMap::new();
        for (row, place) in of_row.iter().zip(lane_of_row).enumerate() {
            add(values.entry(cell(place)).or_insert(T::BLANK), row);
        }
        let mut values: Vec<(usize, T)> = values.into_iter().collect();
        values.sort_unstable_by_key(|value| value.0);
        for (cell, value) in values {
            let (group, lane) = ((cell / lanes) as u32, (cell % lanes) as u32);
            match found.last_mut() {
                Some((last, of_group)) if *last == group => of_group.0.push((lane, value)),
                _ => found.push((group, Lanes(vec![(lane, value)]))),
            }
        }
    }
    found
}
