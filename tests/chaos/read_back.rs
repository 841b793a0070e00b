//! What a process has written and not synced is read by the next process. No other node or client may rely on
//! it before it is durable: if the power fails then, it was never there.
//!
//! Nothing here waits for a time to pass. The disk tells when it hangs, and what is not synced: the journal,
//! or the second of the two things that LMDB syncs in a checkpoint, which is the meta page that makes the
//! pages valid.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::disk::{Call, Disk, EIO, Left};
use crate::harness::cluster::{Cluster, STEADY};
use crate::harness::http::Client;
use crate::harness::node::Node;
use crate::harness::wait;
use crate::{cluster, random};

/// The syncs of a transaction before that of its meta page: one, of its pages.
const SYNCS_BEFORE_META: u64 = 1;

/// Where the transaction that is read back goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Journal,
    /// To the data file, with everything in the journal, which is full: a checkpoint.
    DataFile,
}

/// When the process is killed, after everything has been written.
#[derive(Clone, Copy)]
enum Killed {
    /// Before the sync. A sync at the next start would bring the data to the disk.
    BeforeTheSync,
    /// When the sync has failed, before the process learns of it, and LMDB has restored its old meta page.
    /// The system considers the pages clean: no later sync brings them to the disk, only writing them again.
    AsTheSyncFails,
}

impl Killed {
    /// Prepares the disk so that the next transaction of this node, if it goes there, gets this far.
    fn prepare(self, place: Where, disk: &Disk) {
        let (disk, skip) = match place {
            Where::Journal => (disk.of_journal(), 0),
            Where::DataFile => (disk.of_data_file(), SYNCS_BEFORE_META),
        };
        match self {
            Killed::BeforeTheSync => disk.stall_at(Call::Sync, skip),
            Killed::AsTheSyncFails => disk.fail_unheard(EIO, skip),
        }
    }
}

/// A transaction takes one block, or more if it is large.
const BLOCK_BYTES: usize = 4096;

/// Of the journal. See docs/storage-format.rst, also for the layout of a sector.
const SECTOR_BYTES: usize = 512;

/// The offset of the transaction's number in a sector.
const NUMBER_OFFSET: usize = 11;

/// The offset of the sector's part of the transaction.
const PAYLOAD_OFFSET: usize = 27;

fn read_journal(store: &Path) -> Vec<u8> {
    fs::read(store.join("data.journal")).expect("the test's own store")
}

/// How many blocks are left in the journal of a store that has never been through a checkpoint.
fn blocks_left(store: &Path) -> usize {
    let journal = read_journal(store);
    let is_blank = |block: &&[u8]| block[NUMBER_OFFSET..][..8] == [0; 8];
    journal.chunks(BLOCK_BYTES).filter(is_blank).count()
}

/// Whether a store has this log entry in its journal.
fn has_entry(store: &Path, index: u64) -> bool {
    let written = [&[1, 6][..], &index.to_be_bytes()].concat();
    let journal = read_journal(store);
    let payload: Vec<u8> =
        journal.chunks(SECTOR_BYTES).flat_map(|sector| &sector[PAYLOAD_OFFSET..]).copied().collect();
    payload.windows(written.len()).any(|bytes| bytes == written)
}

/// Makes a cluster at rest continue until the next transaction of this node, a follower, is a checkpoint.
fn fill_journal(cluster: &mut Cluster, id: u64) {
    let leader = cluster.leader();
    loop {
        let left = blocks_left(cluster.node(id).store());
        if left == 0 {
            return;
        }
        // A follower has one transaction for each entry that arrives alone, and fewer if entries arrive
        // together.
        for _ in 0..(left / 2).max(1) {
            cluster.take();
        }
        let last = cluster.node(leader).await_status("it leads", |status| status.leads()).commit_index;
        wait::until_true("it is written", || has_entry(cluster.node(id).store(), last));
    }
}

/// Makes a cluster at rest continue until the next transaction of this node goes there.
fn bring_to(place: Where, cluster: &mut Cluster, id: u64) {
    match place {
        Where::Journal => assert!(blocks_left(cluster.node(id).store()) > 0, "a checkpoint comes next"),
        Where::DataFile => fill_journal(cluster, id),
    }
}

/// The leader and the followers of a cluster at rest, whose leader stays.
fn at_rest(cluster: &mut Cluster) -> (u64, u64, u64) {
    cluster.take();
    let leader = cluster.leader();
    let status = cluster.node(leader).await_status("it leads", |status| status.leads());
    for node in cluster.nodes() {
        node.await_status("it has all", |of| of.applied_index >= status.commit_index);
    }
    let followers = cluster.others(leader);
    (leader, followers[0], followers[1])
}

/// Kills a node that hangs, and starts it again on a working disk.
fn kill_and_restart(node: &mut Node) {
    let disk = Disk::of(node);
    wait::until_true("the disk stands still", || disk.has_stalled());
    node.kill();
    disk.heal();
    node.restart();
}

/// The leader has an entry, and so has one follower, which was killed before it was durable and has it only
/// from reading its store. The other follower has nothing durable. So the client's ID rests on the first
/// follower.
fn a_follower_acknowledges_what_it_has_read_back(killed: Killed, place: Where) {
    let mut random = random(8);
    let mut cluster = cluster(&[&["--window", "0", "--request_timeout", "60000"], &STEADY[..]].concat());
    let (leader, reader, stalled) = at_rest(&mut cluster);
    bring_to(place, &mut cluster, reader);
    let term = cluster.node(leader).await_status("it leads", |status| status.leads()).term;
    Disk::of(cluster.node(stalled)).stall();
    killed.prepare(place, &Disk::of(cluster.node(reader)));
    let mut client =
        Client::connect(&cluster.node(leader).client_address, wait::DEADLINE).expect("it listens");
    client.send("POST", "/").expect("it listens");
    kill_and_restart(cluster.node(reader));
    let answer = client.receive().expect("an answer");
    let id = *answer.ids().unwrap_or_else(|| panic!("{answer:?}")).start();
    // In another term the follower would have written something of its own, and made everything durable with
    // it.
    let now = cluster.node(leader).await_status("it still leads", |status| status.leads()).term;
    assert_eq!(now, term, "nothing was tested");

    // The power fails, and the leader's disk is lost. What was answered must be durable on it and on one
    // other node.
    cluster.nodes().for_each(|node| node.signal(Signal::KILL));
    cluster.nodes().for_each(Node::kill);
    for id in [reader, stalled] {
        let disk = Disk::of(cluster.node(id));
        disk.cut_power_leaving(Left::Nothing, &mut random);
        disk.heal();
        cluster.node(id).respawn(&["--election_timeout", "1000"]);
    }
    [reader, stalled].into_iter().for_each(|id| cluster.node(id).await_listening());
    let next = cluster.take();
    assert!(next > id, "{id} was handed out before the power went, and {next} after it");
}

#[test]
fn what_a_follower_reads_back_after_a_kill_before_a_sync_is_durable_before_it_is_acknowledged() {
    a_follower_acknowledges_what_it_has_read_back(Killed::BeforeTheSync, Where::Journal);
}

#[test]
fn what_a_follower_reads_back_after_a_sync_that_failed_is_durable_before_it_is_acknowledged() {
    a_follower_acknowledges_what_it_has_read_back(Killed::AsTheSyncFails, Where::Journal);
}

#[test]
fn a_checkpoint_that_a_follower_reads_back_after_a_kill_is_durable_before_it_is_acknowledged() {
    a_follower_acknowledges_what_it_has_read_back(Killed::BeforeTheSync, Where::DataFile);
}

#[test]
fn a_checkpoint_that_a_follower_reads_back_after_a_failed_sync_is_durable_before_it_is_acknowledged() {
    a_follower_acknowledges_what_it_has_read_back(Killed::AsTheSyncFails, Where::DataFile);
}

/// A voter repeats a vote that it has read, without writing anything.
fn a_voter_reads_its_vote_back(killed: Killed, place: Where) {
    let mut random = random(9);
    let mut cluster = cluster(&[&["--window", "0"], &STEADY[..]].concat());
    let (leader, voter, candidate) = at_rest(&mut cluster);
    bring_to(place, &mut cluster, voter);
    killed.prepare(place, &Disk::of(cluster.node(voter)));
    cluster.node(leader).command(&["transfer", "--id", &candidate.to_string()]).succeeded();
    wait::until_true("the vote is written", || Disk::of(cluster.node(voter)).has_stalled());
    // No node is left that could make it write.
    [leader, candidate].into_iter().for_each(|id| cluster.node(id).kill());
    let node = cluster.node(voter);
    kill_and_restart(node);
    node.kill();
    let read = node.findings();
    let vote = format!("vote for node {candidate} ");
    assert!(read.iter().any(|line| line.contains(&vote)), "nothing was tested: {read:#?}");
    Disk::of(node).cut_power_leaving(Left::Nothing, &mut random);
    assert_eq!(node.findings(), read);
}

#[test]
fn a_vote_that_is_read_back_after_a_kill_before_a_sync_is_durable_before_the_node_speaks() {
    a_voter_reads_its_vote_back(Killed::BeforeTheSync, Where::Journal);
}

#[test]
fn a_vote_that_is_read_back_after_a_sync_that_failed_is_durable_before_the_node_speaks() {
    a_voter_reads_its_vote_back(Killed::AsTheSyncFails, Where::Journal);
}

#[test]
fn a_checkpoint_with_a_vote_that_is_read_back_after_a_kill_is_durable_before_the_node_speaks() {
    a_voter_reads_its_vote_back(Killed::BeforeTheSync, Where::DataFile);
}

#[test]
fn a_checkpoint_with_a_vote_that_is_read_back_after_a_failed_sync_is_durable_before_the_node_speaks() {
    a_voter_reads_its_vote_back(Killed::AsTheSyncFails, Where::DataFile);
}
