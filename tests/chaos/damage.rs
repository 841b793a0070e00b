//! Stores that cannot be written, or that hold something other than what was written to them, at a restart.

use std::fs;

use crate::disk::{Call, Disk, EROFS};
use crate::harness::directory::contents;
use crate::harness::load::Load;
use crate::harness::node::Node;
use crate::harness::random::Random;
use crate::{SOME, cluster, random, rounds};

const SECTOR_BYTES: usize = 512;

#[test]
fn a_store_that_cannot_be_written_is_refused_and_left_as_it_was() {
    let mut cluster = cluster(&[]);
    let load = Load::on(cluster.client_addresses());
    load.await_more(SOME);
    let id = cluster.follower();
    let node = cluster.node(id);
    node.stop();
    let before = contents(node.store());
    Disk::of(node).fail(Call::Open, EROFS, 0);
    node.command(&[]).refused(&["Read-only", &node.path(), "make the file system writable", "--path"]);
    assert_eq!(contents(node.store()), before);
    Disk::of(node).heal();
    node.restart();
    load.await_more(SOME);
    load.finish().check();
}

/// Damages a file in a way that a disk may.
fn damage(file: &mut Vec<u8>, random: &mut Random) -> &'static str {
    let at = usize::try_from(random.below(file.len() as u64)).expect("below a usize");
    let start = at / SECTOR_BYTES * SECTOR_BYTES;
    let sector = start..(start + SECTOR_BYTES).min(file.len());
    match random.below(5) {
        0 => {
            file[at] ^= 1 << random.below(8);
            "a bit"
        }
        1 => {
            file[sector].fill(0);
            "a sector of zeros"
        }
        2 => {
            let noise = random.bytes(sector.len());
            file[sector].copy_from_slice(&noise);
            "a sector of noise"
        }
        3 => {
            file.truncate(at);
            "the end is missing"
        }
        _ => {
            let other = usize::try_from(random.below(file.len() as u64)).expect("below a usize");
            let other = other / SECTOR_BYTES * SECTOR_BYTES;
            let length = sector.len().min(file.len() - other);
            file.copy_within(other..other + length, start);
            "a sector that belongs elsewhere"
        }
    }
}

#[test]
fn a_damaged_store_is_refused_in_one_line_or_the_damage_does_not_matter() {
    let mut random = random(7);
    let mut cluster = cluster(&["--window", "0"]);
    let load = Load::on(cluster.client_addresses());
    // So that the data file has many records, and the journal some.
    load.await_more(20 * SOME);
    let mut refused = [0, 0];
    // With fewer rounds, all damage might fall where it does not matter.
    for round in 0..rounds(20).max(20) {
        load.await_more(SOME / 4);
        let id = cluster.follower();
        let node = cluster.node(id);
        node.kill();
        let which = usize::from(round % 2 == 0);
        let path = node.store().join(["data.mdb", "data.journal"][which]);
        let sound = fs::read(&path).expect("the test's own file");
        let mut file = sound.clone();
        let what = damage(&mut file, &mut random);
        fs::write(&path, &file).expect("the test's own file");
        if refuses(node) {
            refused[which] += 1;
            assert_eq!(fs::read(&path).expect("the test's own file"), file, "changed: {what}");
            // The node has taken part in nothing since, so the sound copy is still current.
            fs::write(&path, &sound).expect("the test's own file");
            node.restart();
        } else {
            let is_changed = file != sound;
            assert!(which == 0 || !is_changed, "{what} of the journal went unnoticed");
        }
    }
    load.await_more(SOME);
    load.finish().check();
    let [data, journal] = refused;
    eprintln!("{data} stores were refused whose data file was damaged, and {journal} whose journal was");
    assert!(data > 0 && journal > 0, "no damage was found: nothing was tested");
}

/// Restarts the node; returns whether it ended in an orderly way, with the reason.
fn refuses(node: &mut Node) -> bool {
    node.respawn(&[]);
    let ended = node.await_listening_or_end();
    if let Some(status) = ended {
        assert_eq!(status.code(), Some(3), "{}", node.log());
        let log = node.log();
        let said: Vec<&str> = log.lines().filter(|line| line.starts_with("ticketd: ")).collect();
        assert_eq!(said.len(), 1, "{log}");
        assert!(said[0].contains("damaged") && said[0].contains("join"), "{log}");
    }
    ended.is_some()
}
