//! What a process has written and not synced is read by the next one. Nobody may be told of it before it is durable:
//! where the power goes then, it was never there.
//!
//! Nothing here waits for a time to pass. The disk says when it stands still, and which of the two things that LMDB
//! syncs is not: the pages are, the meta page that makes them valid is not.

use rustix::process::Signal;

use crate::disk::{Call, Disk, EIO, Left};
use crate::harness::cluster::{Cluster, STEADY};
use crate::harness::http::Client;
use crate::harness::node::Node;
use crate::harness::wait;
use crate::{cluster, random};

/// The syncs of a transaction before that of its meta page: one, of its pages.
const SYNCS_BEFORE_META: u64 = 1;

/// In which moment the process is killed, the meta page being written.
#[derive(Clone, Copy)]
enum Killed {
    /// Before the meta page is synced. A sync at the next start would bring it to the disk.
    BeforeTheSync,
    /// When that sync has failed, before LMDB has heard of it and taken the page back. The system takes the page for
    /// clean: no later sync brings it to the disk, only what is written anew.
    AsTheSyncFails,
}

impl Killed {
    /// Lets the next transaction of this node come so far.
    fn prepare(self, disk: &Disk) {
        match self {
            Killed::BeforeTheSync => disk.stall_at(Call::Sync, SYNCS_BEFORE_META),
            Killed::AsTheSyncFails => disk.fail_unheard(EIO, SYNCS_BEFORE_META),
        }
    }
}

/// Leader and followers of a cluster at rest, whose leader stays.
fn at_rest(cluster: &mut Cluster) -> (u64, u64, u64) {
    cluster.take();
    let leader = cluster.leader();
    let status = cluster.node(leader).await_status("it leads", |status| status.leads());
    for node in cluster.nodes() {
        node.await_status("it has all", |of| of.applied_index >= status.commit_index);
    }
    let followers: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    (leader, followers[0], followers[1])
}

/// Kills a node that stands still, and starts it again on a disk that works.
fn kill_and_restart(node: &mut Node) {
    let disk = Disk::of(node);
    wait::until_true("the disk stands still", || disk.has_stalled());
    node.kill();
    disk.heal();
    node.restart();
}

/// The leader has an entry, and so has one follower, which was killed before it was durable and has it from reading
/// its store alone. The other has nothing durable. So the client's ID rests on the first follower.
fn a_follower_acknowledges_what_it_has_read_back(killed: Killed) {
    let mut random = random(8);
    let mut cluster = cluster(&[&["--window", "0", "--request_timeout", "60000"], &STEADY[..]].concat());
    let (leader, reader, stalled) = at_rest(&mut cluster);
    let term = cluster.node(leader).await_status("it leads", |status| status.leads()).term;
    Disk::of(cluster.node(stalled)).stall();
    killed.prepare(&Disk::of(cluster.node(reader)));
    let mut client = Client::connect(&cluster.node(leader).clients, wait::DEADLINE).expect("it listens");
    client.send("POST", "/").expect("it listens");
    kill_and_restart(cluster.node(reader));
    let answer = client.receive().expect("an answer");
    let id = *answer.ids().unwrap_or_else(|| panic!("{answer:?}")).start();
    // In another term the follower would have written something of its own accord, and made all durable with it.
    let now = cluster.node(leader).await_status("it still leads", |status| status.leads()).term;
    assert_eq!(now, term, "nothing was tested");

    // The power goes, and the leader's disk with it. What was answered is durable with it and one other.
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
    a_follower_acknowledges_what_it_has_read_back(Killed::BeforeTheSync);
}

#[test]
fn what_a_follower_reads_back_after_a_sync_that_failed_is_durable_before_it_is_acknowledged() {
    a_follower_acknowledges_what_it_has_read_back(Killed::AsTheSyncFails);
}

/// A voter repeats a vote that it has read without writing anything.
fn a_voter_reads_its_vote_back(killed: Killed) {
    let mut random = random(9);
    let mut cluster = cluster(&[&["--window", "0"], &STEADY[..]].concat());
    let (leader, voter, candidate) = at_rest(&mut cluster);
    killed.prepare(&Disk::of(cluster.node(voter)));
    cluster.node(leader).command(&["transfer", "--id", &candidate.to_string()]).succeeded();
    wait::until_true("the vote is written", || Disk::of(cluster.node(voter)).has_stalled());
    // Nobody is there any more who could make it write.
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
    a_voter_reads_its_vote_back(Killed::BeforeTheSync);
}

#[test]
fn a_vote_that_is_read_back_after_a_sync_that_failed_is_durable_before_the_node_speaks() {
    a_voter_reads_its_vote_back(Killed::AsTheSyncFails);
}
