//! Commits: which blocks took the place of which, in the order in which that was decided.
//!
//! A commit is one object, `<tenant>/trackway/commits/<sequence>.json`, made with create-if-absent: whoever creates a
//! sequence decides what it says. It takes effect in that moment, and everything else is tidying up that can be done again
//! by anybody: writing the new block's `meta.json`, marking its inputs for Tempo's readers, deleting them later.
//!
//! What must stay true:
//! - A merged block has no `meta.json` before its commit stands. So what has one is a block, for Tempo too.
//! - Commits are read after the listing that they are applied to. So a listing that is too old shows inputs that a commit
//!   takes away again, and a listing that already misses the inputs is followed by the commit that has the block that took
//!   their place.
//! - A commit is forgotten only long after the last trace of its inputs is gone ([`FORGOTTEN_AFTER`]).

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use object_store::{PutMode, PutOptions};
use serde::{Deserialize, Serialize};
use trackway_common::TenantId;
use uuid::Uuid;

use crate::blocks::{BlockStore, StoreError};
use crate::entry::BlockEntry;
use crate::listing::Listing;

/// How old a commit must be to be forgotten, at least: no listing is that far behind.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// The format of a commit.
const VERSION: u32 = 1;

/// A block that takes the place of others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Commit {
    version: u32,
    /// Tells this commit from another one with the same sequence, when a writer does not know whether its own stands.
    nonce: Uuid,
    /// When it was made.
    time: Timestamp,
    /// The new block, as its `meta.json` will say it.
    add: BlockEntry,
    /// The blocks whose place it takes.
    covers: Vec<Uuid>,
}

impl Commit {
    /// `add` takes the place of `covers`.
    pub fn new(nonce: Uuid, time: Timestamp, add: BlockEntry, covers: Vec<Uuid>) -> Self {
        Self { version: VERSION, nonce, time, add, covers }
    }

    /// Nothing takes the place of `covers`: `empty` is named and never there. A merge over any of them is refused then, also
    /// one that began before.
    pub fn removal(nonce: Uuid, time: Timestamp, empty: BlockEntry, mut covers: Vec<Uuid>) -> Self {
        covers.push(empty.meta.block_id);
        Self::new(nonce, time, empty, covers)
    }

    /// Whether nothing takes the place of what it covers.
    pub(crate) fn is_removal(&self) -> bool {
        self.covers.contains(&self.add.meta.block_id)
    }

    /// The new block.
    pub fn added(&self) -> &BlockEntry {
        &self.add
    }
}

/// What is known of a tenant's commits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The sequence of the next one; `None` before the first look.
    next: Option<u64>,
    /// Those that are not forgotten.
    commits: BTreeMap<u64, Commit>,
    /// Every block that another one took the place of, by the commits that are not forgotten.
    covered: HashMap<Uuid, u64>,
}

impl Known {
    pub(crate) fn covers(&self, block: Uuid) -> bool {
        self.covered.contains_key(&block)
    }

    /// Whether a commit added it.
    fn has_added(&self, block: Uuid) -> bool {
        self.commits.values().any(|commit| commit.add.meta.block_id == block)
    }

    /// How many commits there were.
    pub(crate) fn next(&self) -> Option<u64> {
        self.next
    }

    /// Blocks that must not be looked at any more.
    pub(crate) fn covered(&self) -> impl Iterator<Item = Uuid> {
        self.covered.keys().copied()
    }

    /// The blocks that commits added and did not cover again.
    pub(crate) fn added(&self) -> impl Iterator<Item = &BlockEntry> {
        let added = self.commits.values().map(|commit| &commit.add);
        added.filter(|entry| !self.covers(entry.meta.block_id))
    }

    fn learn(&mut self, sequence: u64, commit: Commit) {
        self.covered.extend(commit.covers.iter().map(|block| (*block, sequence)));
        self.commits.insert(sequence, commit);
        self.next = self.next.max(Some(sequence + 1));
    }

    /// Commits of which something is left to be done, by a listing.
    pub(crate) fn unfinished(&self, listing: &Listing) -> Vec<Commit> {
        let has_meta = |block: &Uuid| listing.blocks.get(block).is_some_and(|files| files.meta);
        // A block that has expired is not to get its `meta.json` again.
        let needs_meta = |block: &Uuid| {
            listing.blocks.get(block).is_some_and(|files| !files.meta && !files.compacted)
                && !self.covers(*block)
        };
        let is_open =
            |commit: &&Commit| commit.covers.iter().any(has_meta) || needs_meta(&commit.add.meta.block_id);
        self.commits.values().filter(is_open).cloned().collect()
    }

    /// Commits that can be forgotten, by a listing: old ones, of whose inputs nothing is left. The last one stays, so that
    /// its number is not given again.
    pub(crate) fn forgettable(&self, listing: &Listing, now: Timestamp) -> Vec<u64> {
        let last = self.commits.keys().next_back();
        let is_old = |commit: &Commit| now.duration_since(commit.time) > FORGOTTEN_AFTER;
        let is_gone = |block: &Uuid| !listing.blocks.contains_key(block);
        let added = |commit: &Commit| listing.blocks.get(&commit.add.meta.block_id);
        let is_done = |commit: &Commit| {
            self.covers(commit.add.meta.block_id)
                || added(commit).is_none_or(|files| files.meta || files.compacted)
        };
        let old = self.commits.iter().take_while(|(sequence, commit)| {
            Some(*sequence) != last && is_old(commit) && commit.covers.iter().all(is_gone) && is_done(commit)
        });
        old.map(|(sequence, _)| *sequence).collect()
    }

    pub(crate) fn forget(&mut self, sequence: u64) {
        self.commits.remove(&sequence);
        self.covered.retain(|_, by| *by != sequence);
    }
}

/// What came of trying to create a commit.
enum Created {
    /// It stands.
    Yes,
    /// Another one does.
    Taken(Commit),
}

impl BlockStore {
    /// Whether a block that a listing does not show is there all the same: it has its `meta.json`, or a commit added it and it
    /// was neither marked nor deleted since. Of what no commit added, data alone is what was left of it.
    pub(crate) async fn is_there(
        &self,
        tenant: &TenantId,
        known: &Known,
        block: Uuid,
    ) -> Result<bool, StoreError> {
        if self.has(&self.path(tenant, block, "meta.json")).await? {
            return Ok(true);
        }
        Ok(known.has_added(block)
            && !self.has(&self.path(tenant, block, "meta.compacted.json")).await?
            && self.has(&self.path(tenant, block, "data.parquet")).await?)
    }

    /// Reads the commits that came since, those in the listing and those behind them.
    ///
    /// # Errors
    /// [`StoreError`]; what was read stays known.
    pub(crate) async fn read_commits(
        &self,
        tenant: &TenantId,
        known: &mut Known,
        listed: &[u64],
    ) -> Result<(), StoreError> {
        // Sequences have no gaps, but what stands before the first one in a listing was forgotten.
        let next = match (known.next, listed.first()) {
            (Some(next), Some(first)) => next.max(*first),
            (next, first) => next.or(first.copied()).unwrap_or(0),
        };
        if self.read_on(tenant, known, next).await? {
            return Ok(());
        }
        // Since then some were made and forgotten, or all of them were, with the tenant.
        let there = self.list_tenant(tenant).await?.commits;
        let first = there.iter().find(|sequence| **sequence >= next).or(there.first());
        if self.read_on(tenant, known, first.copied().unwrap_or(0)).await? {
            return Ok(());
        }
        let path = self.commit_path(tenant, next).to_string();
        Err(StoreError::Damaged { path, problem: "the commits that are listed are not there".to_owned() })
    }

    /// Reads commits from one on. Returns whether they end where the last one is: that one is never forgotten.
    async fn read_on(&self, tenant: &TenantId, known: &mut Known, from: u64) -> Result<bool, StoreError> {
        let mut next = from;
        while let Some(commit) = self.read_commit(tenant, next).await? {
            known.learn(next, commit);
            next += 1;
        }
        let is_end = next > from
            || match next.checked_sub(1) {
                Some(last) => self.has(&self.commit_path(tenant, last)).await?,
                None => true,
            };
        if is_end {
            known.next = Some(next);
            // When all were forgotten with the tenant, their numbers are given again.
            drop(known.commits.split_off(&next));
        }
        Ok(is_end)
    }

    async fn read_commit(&self, tenant: &TenantId, sequence: u64) -> Result<Option<Commit>, StoreError> {
        let path = self.commit_path(tenant, sequence);
        let json = match self.get(&path).await {
            Ok(json) => json,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let damaged = |problem: String| StoreError::Damaged { path: path.to_string(), problem };
        let commit: Commit = serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
        if commit.version != VERSION {
            return Err(damaged(format!("a commit of version {}, which is not known here", commit.version)));
        }
        Ok(Some(commit))
    }

    /// Makes a commit. Nothing that it covers may be covered already.
    ///
    /// # Errors
    /// [`CommitError`].
    pub(crate) async fn commit(
        &self,
        tenant: &TenantId,
        known: &mut Known,
        commit: &Commit,
    ) -> Result<(), CommitError> {
        self.read_commits(tenant, known, &[]).await.map_err(CommitError::Store)?;
        loop {
            let taken = commit.covers.iter().find(|block| known.covers(**block));
            if let Some(block) = taken {
                return Err(CommitError::Conflict(*block));
            }
            let sequence = known.next.unwrap_or(0);
            match self.create_commit(tenant, sequence, commit).await? {
                Created::Yes => {
                    known.learn(sequence, commit.clone());
                    return Ok(());
                }
                Created::Taken(other) => known.learn(sequence, other),
            }
        }
    }

    async fn create_commit(
        &self,
        tenant: &TenantId,
        sequence: u64,
        commit: &Commit,
    ) -> Result<Created, CommitError> {
        let path = self.commit_path(tenant, sequence);
        let json = serde_json::to_vec(commit).map_err(|error| {
            CommitError::Store(StoreError::Damaged { path: path.to_string(), problem: error.to_string() })
        })?;
        let mode = if self.is_conditional() { PutMode::Create } else { PutMode::Overwrite };
        let options = PutOptions { mode, ..PutOptions::default() };
        let put = self.object_store().put_opts(&path, json.into(), options).await;
        let error = match put {
            Ok(_) => return Ok(Created::Yes),
            Err(error) => error,
        };
        // Whatever the store said, what stands there now decides.
        match self.read_commit(tenant, sequence).await {
            Ok(Some(other)) if other.nonce == commit.nonce => Ok(Created::Yes),
            Ok(Some(other)) => Ok(Created::Taken(other)),
            Ok(None) | Err(_) => Err(CommitError::Unknown(StoreError::Store {
                action: "write",
                path: path.to_string(),
                source: error,
            })),
        }
    }

    /// Does what a commit leaves to be done, as often as one likes. `is_live` says whether the block that it added is one
    /// still: it may have been merged again, or have expired.
    ///
    /// # Errors
    /// [`StoreError`]; the rest can be done later.
    pub async fn finish_commit(
        &self,
        tenant: &TenantId,
        commit: &Commit,
        is_live: bool,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if is_live {
            let path = self.path(tenant, commit.add.meta.block_id, "meta.json");
            self.put(&path, commit.add.meta_json().into()).await?;
        }
        for block in &commit.covers {
            self.mark_compacted(tenant, *block, None, now).await?;
        }
        Ok(())
    }
}

/// A commit that was not made, or perhaps was.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another block took the place of this one before.
    #[error("block {0} was replaced by somebody else")]
    Conflict(Uuid),
    /// It was not made.
    #[error(transparent)]
    Store(StoreError),
    /// The store did not say whether it was made; the next look at the store will.
    #[error("whether the commit stands is not known yet: {0}")]
    Unknown(StoreError),
}

/// Blocks of a listing and of commits, as a reader must see them.
pub(crate) fn live(listing: &Listing, known: &Known) -> HashSet<Uuid> {
    let listed = listing.blocks.iter().filter(|(_, files)| files.meta).map(|(block, _)| *block);
    listed.filter(|block| !known.covers(*block)).collect()
}
