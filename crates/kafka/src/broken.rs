//! Batches of records that cannot be taken apart: a wrong checksum, an unknown codec, more than may come of one.
//!
//! What must stay true: they cost nobody else a record, and no partition stands still for them. The client does not tell
//! where such a batch ends, only that an offset is in one; so one offset after the other is passed over.

use std::collections::HashMap;
use std::time::Duration;

use krafka::KrafkaError;
use krafka::consumer::Consumer;
use tokio::time::sleep;

use crate::metrics::Passed;
use crate::progress::{Place, Progress};
use crate::record::{Bad, Door};

/// So often the same batch is fetched before it is believed: it may have been spoilt on the way.
const TRIES: u32 = 3;
/// The wait between.
const AGAIN: Duration = Duration::from_millis(250);
/// How the client begins when it tells of such a batch; topic and partition follow. Its version is pinned.
const TOLD: &str = "undecodable record batch at ";
/// Here it tells why.
const WHY: &str = "Underlying error: ";

/// Where each partition was found to be broken last, and how often. Never more of them than partitions.
#[derive(Debug, Default)]
pub(crate) struct Broken {
    last: HashMap<Place, (i64, u32)>,
}

impl Broken {
    /// Passes over a record of a batch that cannot be taken apart, when it was tried often enough. False when the error is
    /// about something else.
    pub(crate) async fn pass_over(
        &mut self,
        error: &KrafkaError,
        consumer: &Consumer,
        progress: &std::sync::Arc<Progress>,
        door: &Door,
    ) -> bool {
        let KrafkaError::Protocol { message, .. } = error else { return false };
        let places = consumer.assignment().await.into_iter();
        let mut places = places.flat_map(|(topic, partitions)| {
            partitions.into_iter().map(move |partition| (topic.clone(), partition))
        });
        let Some((topic, partition)) = places.find(|(topic, partition)| is_about(message, topic, *partition))
        else {
            return false;
        };
        let Some(offset) = consumer.fetch_position(&topic, partition).await else { return false };
        let place: Place = (topic.as_str().into(), partition);
        if !self.is_believed(&place, offset) {
            sleep(AGAIN).await;
            return true;
        }
        // Fails only when the partition has gone to somebody else, who will find the same.
        if consumer.seek(&topic, partition, offset + 1).await.is_ok() {
            let why = message.split_once(WHY).map_or(message.as_str(), |(_, why)| why);
            let bad = Bad::new(Passed::Malformed, format!("its batch cannot be taken apart: {why}"));
            door.pass_over(&topic, partition, offset, 0, &bad);
            progress.take(place, offset, None, 0).done();
        }
        true
    }

    /// Whether it was tried often enough. What follows right after is in the same batch, most likely.
    fn is_believed(&mut self, place: &Place, offset: i64) -> bool {
        let (last, tries) = self.last.entry(place.clone()).or_default();
        match *tries {
            TRIES if offset == *last + 1 => {}
            tried if offset == *last => *tries = (tried + 1).min(TRIES),
            _ => *tries = 1,
        }
        *last = offset;
        *tries == TRIES
    }
}

fn is_about(message: &str, topic: &str, partition: i32) -> bool {
    let rest = message.strip_prefix(TOLD).and_then(|rest| rest.strip_prefix(topic));
    rest.is_some_and(|rest| rest.starts_with(&format!("-{partition} offset ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_tried_before_it_is_believed() {
        let (mut broken, place): (_, Place) = (Broken::default(), ("spans".into(), 0));
        let other: Place = ("spans".into(), 1);
        for (place, offset, believed) in [
            (&place, 7, false),
            (&other, 7, false),
            (&place, 7, false),
            (&place, 7, true),
            (&place, 8, true),
            (&other, 8, false),
            (&place, 9, true),
            (&place, 11, false),
            (&place, 0, false),
            (&place, 0, false),
            (&place, 0, true),
        ] {
            assert_eq!(broken.is_believed(place, offset), believed, "{place:?} {offset}");
        }
    }

    #[test]
    fn its_partition_is_known() {
        let message = "undecodable record batch at a-1-2 offset 7; the partition";
        assert!(is_about(message, "a-1", 2));
        for (topic, partition) in [("a", 1), ("a", 2), ("a-1", 20), ("a-1-2", 2)] {
            assert!(!is_about(message, topic, partition), "{topic} {partition}");
        }
        assert!(!is_about("something else at a-1-2 offset 7", "a-1", 2));
    }
}
