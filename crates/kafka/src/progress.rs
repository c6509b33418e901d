//! How far each partition has come: what was taken from it, what of that is durable, and up to where may be committed.
//!
//! What must stay true: an offset is committed only when every record before it is done with, which is durable or refused
//! for good; records of an assignment that is over never move what a later one commits.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Records on their way, of all partitions; up to one fetch more are there for a moment.
pub(crate) const IN_FLIGHT_RECORDS: usize = 1024;
/// Their bytes.
pub(crate) const IN_FLIGHT_BYTES: usize = 32 << 20;
/// Records that are done with and not committed: from here on, they are committed at once. Far fewer than the requests that
/// are remembered for knowing repeated ones again.
pub(crate) const UNCOMMITTED_RECORDS: usize = 8192;

/// Topic and partition.
pub(crate) type Place = (Arc<str>, i32);

/// Where a partition may be committed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) place: Place,
    /// The next record to read.
    pub(crate) offset: i64,
    /// The leader's epoch of the record before it.
    pub(crate) leader_epoch: Option<i32>,
}

/// All partitions of a member.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    partitions: HashMap<Place, Partition>,
    assignments: u64,
    records: usize,
    bytes: usize,
    uncommitted: usize,
}

#[derive(Debug)]
struct Partition {
    /// Which assignment it is of.
    assignment: u64,
    /// Ends what is tried again and again.
    stop: CancellationToken,
    /// Taken and not all done with, by offset.
    taken: VecDeque<Taken>,
    /// Where it begins, if that is to be committed before anything is done.
    start: Option<i64>,
    done: Option<(i64, Option<i32>)>,
    committed: Option<i64>,
    /// How many of them were told to come back later.
    pushed_back: usize,
    /// Tickets that are out.
    tickets: usize,
}

#[derive(Debug)]
struct Taken {
    offset: i64,
    leader_epoch: Option<i32>,
    is_done: bool,
}

/// A record on its way. Dropped without [`Ticket::done`], it was given up, and is read again by whoever comes next.
#[derive(Debug)]
pub(crate) struct Ticket {
    progress: Arc<Progress>,
    place: Place,
    assignment: u64,
    offset: i64,
    bytes: usize,
    pushed_back: bool,
    /// Cancelled when the partition is taken away.
    pub(crate) stop: CancellationToken,
}

impl Progress {
    /// Notes where a partition begins of which nothing was read and nothing is committed; that is committed then.
    pub(crate) fn start(&self, place: Place, offset: i64) {
        let mut state = self.state.lock();
        let State { partitions, assignments, .. } = &mut *state;
        of_place(partitions, assignments, &place).start = Some(offset);
    }

    /// Notes a record that was read.
    pub(crate) fn take(
        self: &Arc<Self>,
        place: Place,
        offset: i64,
        leader_epoch: Option<i32>,
        bytes: usize,
    ) -> Ticket {
        let mut state = self.state.lock();
        let State { partitions, assignments, records, bytes: held, .. } = &mut *state;
        let partition = of_place(partitions, assignments, &place);
        // Read again after a jump back: what was taken before is not waited for any more.
        if partition.taken.back().is_some_and(|last| last.offset >= offset) {
            partition.stop.cancel();
            *assignments += 1;
            *partition = Partition::new(*assignments);
        }
        partition.taken.push_back(Taken { offset, leader_epoch, is_done: false });
        partition.tickets += 1;
        *records += 1;
        *held += bytes;
        let (assignment, stop) = (partition.assignment, partition.stop.clone());
        Ticket { progress: Arc::clone(self), place, assignment, offset, bytes, pushed_back: false, stop }
    }

    /// Whether more may be read.
    pub(crate) fn has_room(&self) -> bool {
        let state = self.state.lock();
        state.records < IN_FLIGHT_RECORDS && state.bytes < IN_FLIGHT_BYTES
    }

    /// Whether so much is done with that it should be committed now.
    pub(crate) fn has_much_to_commit(&self) -> bool {
        self.state.lock().uncommitted >= UNCOMMITTED_RECORDS
    }

    /// Waits until a record is done with or given up.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Partitions with records that were told to come back later: nothing more is read from them until those are in.
    pub(crate) fn pushed_back(&self) -> HashSet<Place> {
        let state = self.state.lock();
        let held = state.partitions.iter().filter(|(_, partition)| partition.pushed_back > 0);
        held.map(|(place, _)| place.clone()).collect()
    }

    /// What may be committed and is not.
    pub(crate) fn to_commit(&self) -> Vec<Position> {
        let mut state = self.state.lock();
        state.uncommitted = 0;
        let positions = state.partitions.iter().filter_map(|(place, partition)| {
            let (offset, leader_epoch) = match partition.done {
                Some((last, leader_epoch)) => (last + 1, leader_epoch),
                None => (partition.start?, None),
            };
            (partition.committed != Some(offset)).then(|| Position {
                place: place.clone(),
                offset,
                leader_epoch,
            })
        });
        positions.collect()
    }

    /// Notes what was committed.
    pub(crate) fn committed(&self, positions: &[Position]) {
        let mut state = self.state.lock();
        for position in positions {
            if let Some(partition) = state.partitions.get_mut(&position.place) {
                partition.committed = Some(position.offset);
            }
        }
    }

    /// Up to where each partition is done with.
    pub(crate) fn done(&self) -> Vec<(Place, i64)> {
        let state = self.state.lock();
        let done = state.partitions.iter().filter_map(|(place, partition)| Some((place, partition.done?.0)));
        done.map(|(place, last)| (place.clone(), last + 1)).collect()
    }

    /// Lets go of partitions: what is tried again and again is given up, the rest goes on.
    pub(crate) fn let_go(&self, places: &[Place]) {
        let state = self.state.lock();
        for place in places {
            if let Some(partition) = state.partitions.get(place) {
                partition.stop.cancel();
            }
        }
    }

    /// Whether nothing of these partitions is on its way.
    pub(crate) fn is_idle(&self, places: &[Place]) -> bool {
        let state = self.state.lock();
        places.iter().all(|place| state.partitions.get(place).is_none_or(|partition| partition.tickets == 0))
    }

    /// Forgets partitions.
    pub(crate) fn forget(&self, places: &[Place]) {
        let mut state = self.state.lock();
        for place in places {
            if let Some(partition) = state.partitions.remove(place) {
                partition.stop.cancel();
            }
        }
    }
}

impl Partition {
    fn new(assignment: u64) -> Self {
        Self {
            assignment,
            stop: CancellationToken::new(),
            taken: VecDeque::new(),
            start: None,
            done: None,
            committed: None,
            pushed_back: 0,
            tickets: 0,
        }
    }

    /// Marks a record, and moves on over all that are done with.
    fn mark(&mut self, offset: i64) -> usize {
        if let Ok(at) = self.taken.binary_search_by_key(&offset, |taken| taken.offset) {
            self.taken[at].is_done = true;
        }
        let mut moved = 0;
        while let Some(Taken { is_done: true, offset, leader_epoch }) = self.taken.front() {
            self.done = Some((*offset, *leader_epoch));
            self.taken.pop_front();
            moved += 1;
        }
        moved
    }
}

impl Ticket {
    /// The record is durable, or refused for good.
    pub(crate) fn done(self) {
        let mut state = self.progress.state.lock();
        let state = &mut *state;
        if let Some(partition) = of_ticket(&mut state.partitions, &self) {
            state.uncommitted += partition.mark(self.offset);
        }
    }

    /// The record was told to come back later, or is not any more.
    pub(crate) fn push_back(&mut self, pushed_back: bool) {
        if self.pushed_back == pushed_back {
            return;
        }
        self.pushed_back = pushed_back;
        let mut state = self.progress.state.lock();
        if let Some(partition) = of_ticket(&mut state.partitions, self) {
            partition.pushed_back = match pushed_back {
                true => partition.pushed_back + 1,
                false => partition.pushed_back.saturating_sub(1),
            };
        }
    }
}

/// A partition, which begins with this if it is not there yet.
fn of_place<'a>(
    partitions: &'a mut HashMap<Place, Partition>,
    assignments: &mut u64,
    place: &Place,
) -> &'a mut Partition {
    partitions.entry(place.clone()).or_insert_with(|| {
        *assignments += 1;
        Partition::new(*assignments)
    })
}

/// The partition of a ticket, unless it was assigned anew since.
fn of_ticket<'a>(
    partitions: &'a mut HashMap<Place, Partition>,
    ticket: &Ticket,
) -> Option<&'a mut Partition> {
    partitions.get_mut(&ticket.place).filter(|partition| partition.assignment == ticket.assignment)
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.push_back(false);
        let mut state = self.progress.state.lock();
        state.records = state.records.saturating_sub(1);
        state.bytes = state.bytes.saturating_sub(self.bytes);
        if let Some(partition) = of_ticket(&mut state.partitions, self) {
            partition.tickets = partition.tickets.saturating_sub(1);
        }
        drop(state);
        self.progress.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(partition: i32) -> Place {
        ("spans".into(), partition)
    }

    fn offsets(progress: &Progress) -> Vec<i64> {
        progress.to_commit().iter().map(|position| position.offset).collect()
    }

    #[test]
    fn only_what_has_no_gap_before_it_is_committed() {
        let progress = Arc::new(Progress::default());
        // Offsets have gaps of their own: transactions and compaction leave them.
        let mut tickets: Vec<_> =
            [3, 4, 8, 9].map(|offset| progress.take(place(0), offset, Some(7), 10)).into();
        assert!(offsets(&progress).is_empty());
        tickets.remove(1).done();
        assert!(offsets(&progress).is_empty(), "3 is on its way");
        tickets.remove(0).done();
        let position = Position { place: place(0), offset: 5, leader_epoch: Some(7) };
        assert_eq!(progress.to_commit(), std::slice::from_ref(&position));
        progress.committed(&[position]);
        assert!(offsets(&progress).is_empty());
        drop(tickets.remove(0)); // 8 is given up
        tickets.remove(0).done();
        assert!(offsets(&progress).is_empty(), "8 was given up");
        assert!(progress.is_idle(&[place(0)]));
    }

    #[test]
    fn an_assignment_that_is_over_moves_nothing() {
        let progress = Arc::new(Progress::default());
        let old = progress.take(place(0), 5, None, 1);
        progress.forget(&[place(0)]);
        assert!(old.stop.is_cancelled());
        let new = progress.take(place(0), 2, None, 1);
        old.done();
        assert!(offsets(&progress).is_empty());
        assert!(!progress.is_idle(&[place(0)]));
        // The same after a jump back within one assignment.
        let again = progress.take(place(0), 2, None, 1);
        new.done();
        assert!(offsets(&progress).is_empty());
        again.done();
        assert_eq!(offsets(&progress), [3]);
    }

    #[test]
    fn the_start_is_committed_until_something_is_done() {
        let progress = Arc::new(Progress::default());
        progress.start(place(0), 5);
        let first = progress.take(place(0), 5, None, 1);
        let start = Position { place: place(0), offset: 5, leader_epoch: None };
        assert_eq!(progress.to_commit(), std::slice::from_ref(&start));
        progress.committed(&[start]);
        assert!(offsets(&progress).is_empty());
        assert!(progress.done().is_empty());
        first.done();
        assert_eq!(offsets(&progress), [6]);
    }

    #[test]
    fn what_is_on_its_way_is_bounded() {
        let progress = Arc::new(Progress::default());
        let large = progress.take(place(0), 0, None, IN_FLIGHT_BYTES);
        assert!(!progress.has_room());
        drop(large);
        assert!(progress.has_room());
        let many: Vec<_> =
            (1..).take(IN_FLIGHT_RECORDS).map(|offset| progress.take(place(0), offset, None, 0)).collect();
        assert!(!progress.has_room());
        drop(many);
        let mut slow = progress.take(place(1), 0, None, 0);
        slow.push_back(true);
        slow.push_back(true);
        assert_eq!(progress.pushed_back(), HashSet::from([place(1)]));
        drop(slow);
        assert!(progress.pushed_back().is_empty());
    }
}
