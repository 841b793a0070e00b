//! The disk under a node's store: it fails on request, and forgets what was not synced when the power fails.
//!
//! `disk.c`, preloaded into the real program, records what was written to each of the two files of a store
//! and not yet synced; this module goes back from there. A disk reads and writes sectors, and the system may
//! bring a page to it at any time. So after a power cut, each sector of a file holds what it held at the last
//! sync of that file, or anything written to it since, independently of all others. That covers writes that
//! are lost, torn, partly kept or reordered. It does not cover sectors that are torn themselves, or a sync
//! that lies.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::OnceLock;

use crate::harness::command;
use crate::harness::node::Node;
use crate::harness::random::Random;

/// The unit that a disk writes as a whole or not at all.
const SECTOR_BYTES: usize = 512;

/// The pages of LMDB and of the system.
const PAGE_SECTORS: usize = 8;

/// The length of a record of an unsynced write, without the data that follows.
const RECORD_BYTES: usize = 40;

pub(crate) const EIO: i32 = 5;
pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EROFS: i32 = 30;

/// A call that a fault affects, as `disk.c` names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Call {
    /// Opening a file for writing.
    Open,
    /// Reading a part of the data file other than through a map.
    Read,
    Write,
    /// A write that writes half of what it is given.
    ShortWrite,
    Sync,
    /// A sync that fails, with the process stopped before it learns of the failure.
    UnheardSync,
}

impl Call {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Call::Open => "open",
            Call::Read => "read",
            Call::Write => "write",
            Call::ShortWrite => "short",
            Call::Sync => "sync",
            Call::UnheardSync => "unheard",
        }
    }
}

/// The disk under one store.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    store: PathBuf,
    /// Which calls faults affect, as `disk.c` names them.
    fault_at: &'static str,
}

/// How `disk.c` names the files of a store.
const DATA: &str = "data";
const JOURNAL: &str = "journal";
/// And of the directory that holds their names.
const NAMES: &str = "names";

/// Which unsynced writes have reached the disk when the power is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    Nothing,
    Everything,
    /// What was written up to some moment, in order.
    UntilSome,
    /// The first write to each sector, and not the later ones.
    First,
    /// Whole pages, in any order.
    Pages,
    /// Torn pages.
    Sectors,
}

impl Left {
    fn any(random: &mut Random) -> Left {
        const LEFT: [Left; 8] = [
            Left::Nothing,
            Left::Everything,
            Left::UntilSome,
            Left::First,
            Left::Pages,
            Left::Pages,
            Left::Sectors,
            Left::Sectors,
        ];
        LEFT[usize::try_from(random.below(LEFT.len() as u64)).expect("below a usize")]
    }
}

/// The effect of a power cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Cut {
    /// How many sectors had been written since they were last synced.
    pub(crate) unsynced: usize,
    /// How many of them do not hold what was last written.
    pub(crate) lost: usize,
}

impl Disk {
    /// From now on, all processes that this one starts have their stores on such disks. Must come before the
    /// first of them.
    pub(crate) fn install() {
        static BUILT: OnceLock<()> = OnceLock::new();
        BUILT.get_or_init(|| {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chaos/disk.c");
            let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
            let new = directory.join(format!("disk-{}.so", process::id()));
            let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
            let mut command = Command::new(compiler);
            command.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]);
            let status = command.arg(&new).arg(&source).status().expect("a C compiler is installed");
            assert!(status.success(), "{} does not compile: {status}", source.display());
            // Another test process may be using the existing library.
            let library = directory.join("disk.so");
            fs::rename(new, &library).expect("the build directory can be written to");
            command::preload(library);
        });
    }

    /// The disk of a node.
    pub(crate) fn of(node: &Node) -> Disk {
        Disk::at(node.store())
    }

    /// The disk of the store at this path.
    pub(crate) fn at(store: &Path) -> Disk {
        Disk { store: store.to_owned(), fault_at: "any" }
    }

    /// The same disk, with faults that affect calls on the data file only, and count only these. Its calls
    /// are those of a checkpoint: writes of pages, their sync, and the write of the meta page, which syncs by
    /// itself. Before the first, when the store is opened, each meta page is written and synced.
    pub(crate) fn of_data_file(&self) -> Disk {
        Disk { fault_at: DATA, ..self.clone() }
    }

    /// The same disk, with faults that affect calls on the journal only, and count only these: a write and a
    /// sync for each transaction, and before the first, when the store is opened, a write and a sync of its
    /// last transaction.
    pub(crate) fn of_journal(&self) -> Disk {
        Disk { fault_at: JOURNAL, ..self.clone() }
    }

    /// The same disk, with faults that affect syncs of the directory only, and count only these.
    pub(crate) fn of_names(&self) -> Disk {
        Disk { fault_at: NAMES, ..self.clone() }
    }

    /// The next `skip` calls succeed, and all later ones fail with this error number.
    pub(crate) fn fail(&self, call: Call, errno: i32, skip: u64) {
        remove(&self.beside("struck"));
        self.set_fault(call, errno, skip, 0);
    }

    /// Whether a call has failed since [`Disk::fail`].
    pub(crate) fn has_failed(&self) -> bool {
        self.beside("struck").exists()
    }

    /// Each sync takes this long.
    pub(crate) fn slow(&self, milliseconds: i32) {
        self.set_fault(Call::Sync, 0, 0, milliseconds);
    }

    /// No sync ends until the disk is healed.
    pub(crate) fn stall(&self) {
        self.stall_at(Call::Sync, 0);
    }

    /// The next `skip` calls succeed, and the one after them hangs until the disk is healed.
    pub(crate) fn stall_at(&self, call: Call, skip: u64) {
        remove(&self.beside("stalled"));
        self.set_fault(call, 0, skip, -1);
    }

    /// The next `skip` syncs succeed; the one after them fails, and the process is stopped before it learns
    /// of that, like a process that is killed at that moment.
    pub(crate) fn fail_unheard(&self, errno: i32, skip: u64) {
        remove(&self.beside("stalled"));
        self.set_fault(Call::UnheardSync, errno, skip, 0);
    }

    /// Whether a call hangs, or has hung since [`Disk::stall_at`] or [`Disk::fail_unheard`].
    pub(crate) fn has_stalled(&self) -> bool {
        self.beside("stalled").exists()
    }

    /// Everything works again, except what has already failed.
    pub(crate) fn heal(&self) {
        remove(&self.beside("fault"));
    }

    fn set_fault(&self, call: Call, errno: i32, skip: u64, delay_ms: i32) {
        let new = self.beside("fault.new");
        let fault = format!("{} {} {errno} {skip} {delay_ms}\n", call.name(), self.fault_at);
        let write = fs::write(&new, fault);
        write.and_then(|()| fs::rename(&new, self.beside("fault"))).expect("the test's own directory");
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.store.clone().into_os_string();
        path.push(".");
        path.push(suffix);
        path.into()
    }

    /// Goes back to a state that the disk may have after the power was cut. No process may have the store
    /// open.
    pub(crate) fn cut_power(&self, random: &mut Random) -> Cut {
        let left = [Left::any(random), Left::any(random)];
        self.go_back(left, random)
    }

    /// As [`Disk::cut_power`], with a chosen outcome.
    pub(crate) fn cut_power_leaving(&self, left: Left, random: &mut Random) -> Cut {
        self.go_back([left, left], random)
    }

    fn go_back(&self, left: [Left; 2], random: &mut Random) -> Cut {
        let data = self.store.join("data.mdb");
        let new_data = self.store.join("data.mdb.new");
        let journal = self.store.join("data.journal");
        // Before the data file has its name, that of the journal may not be synced either.
        if !data.exists() && random.below(2) == 0 {
            remove(&journal);
        }
        // A name that was not synced may be lost.
        if self.beside("renamed").exists() && data.exists() && random.below(2) == 0 {
            fs::rename(&data, &new_data).expect("the test's own directory");
        }
        let data = if data.exists() { data } else { new_data };
        let mut cut = Cut::default();
        for ((file, name), left) in [(data, DATA), (journal, JOURNAL)].into_iter().zip(left) {
            let unsynced = self.beside(&format!("{name}.unsynced"));
            if file.exists() {
                let records = fs::read(&unsynced).unwrap_or_default();
                let now = fs::read(&file).expect("the test's own file");
                let (image, done) = History::of(now, &Record::parse(&records)).choose(left, random);
                fs::write(&file, image).expect("the test's own file");
                cut.unsynced += done.unsynced;
                cut.lost += done.lost;
            }
            remove(&unsynced);
            remove(&self.beside(&format!("{name}.failed")));
        }
        for suffix in ["renamed", "stalled", "struck"] {
            remove(&self.beside(suffix));
        }
        cut
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{}: {error}", path.display()),
        Ok(()) | Err(_) => (),
    }
}

/// A record of something that was not synced.
enum Record<'a> {
    Write {
        offset: usize,
        old: &'a [u8],
        new: &'a [u8],
        /// The length of the file before it.
        file_bytes: usize,
    },
    /// The last write is durable, whatever else is not.
    WriteSynced,
    Synced,
    SyncFailed,
}

impl Record<'_> {
    /// An incomplete record at the end announces a write that has not begun.
    fn parse(mut bytes: &[u8]) -> Vec<Record<'_>> {
        let mut records = Vec::new();
        while let Some((head, rest)) = bytes.split_at_checked(RECORD_BYTES) {
            let word = |at: usize| {
                let word = head[8 * at..][..8].try_into().expect("eight bytes");
                usize::try_from(u64::from_ne_bytes(word)).expect("64-bit machines only")
            };
            let Some((old, rest)) = rest.split_at_checked(word(2)) else { break };
            let Some((new, rest)) = rest.split_at_checked(word(3)) else { break };
            records.push(match u8::try_from(word(0)) {
                Ok(b'W') => Record::Write { offset: word(1), old, new, file_bytes: word(4) },
                Ok(b'D') => Record::WriteSynced,
                Ok(b'S') => Record::Synced,
                Ok(b'X') => Record::SyncFailed,
                kind => panic!("there is a record of kind {kind:?}"),
            });
            bytes = rest;
        }
        records
    }
}

/// What one sector may hold after a power cut.
struct Sector {
    /// Each with the number of the write that left it so; the first is what it held at the last sync.
    versions: Vec<(usize, Vec<u8>)>,
    /// Whether it was written after the last sync, failed or not: after a failed sync, the system considers
    /// it clean.
    dirty: bool,
}

/// What a file may hold after a power cut.
struct History {
    now: Vec<u8>,
    sectors: BTreeMap<usize, Sector>,
    durable_bytes: usize,
    writes: usize,
}

impl History {
    fn of(now: Vec<u8>, records: &[Record<'_>]) -> History {
        let mut file = now.clone();
        for record in records.iter().rev() {
            if let Record::Write { offset, old, new: _, file_bytes } = record {
                put(&mut file, *offset, old);
                file.truncate(*file_bytes);
            }
        }
        let mut history = History { now, sectors: BTreeMap::new(), durable_bytes: file.len(), writes: 0 };
        let mut last = 0..0;
        for record in records {
            match record {
                Record::Write { offset, old: _, new, file_bytes: _ } => {
                    last = offset / SECTOR_BYTES..(offset + new.len()).div_ceil(SECTOR_BYTES);
                    let before = last.clone().map(|number| sector(&file, number)).collect::<Vec<_>>();
                    put(&mut file, *offset, new);
                    history.on_write(last.clone().zip(before), &file);
                }
                Record::WriteSynced => history.on_sync(last.clone(), file.len()),
                Record::Synced => history.on_sync(0..usize::MAX, file.len()),
                Record::SyncFailed => history.sectors.values_mut().for_each(|sector| sector.dirty = false),
            }
        }
        // The last write may have been announced, and stopped half-way.
        history.now = file;
        history
    }

    fn on_write(&mut self, before: impl Iterator<Item = (usize, Vec<u8>)>, file: &[u8]) {
        self.writes += 1;
        for (number, before) in before {
            let entry = self.sectors.entry(number);
            let known = entry.or_insert_with(|| Sector { versions: vec![(0, before)], dirty: true });
            known.versions.push((self.writes, sector(file, number)));
            known.dirty = true;
        }
    }

    fn on_sync(&mut self, numbers: std::ops::Range<usize>, file_bytes: usize) {
        self.durable_bytes = file_bytes;
        for sector in self.sectors.range_mut(numbers).map(|(_, sector)| sector).filter(|sector| sector.dirty)
        {
            sector.versions.drain(..sector.versions.len() - 1);
            sector.dirty = false;
        }
    }

    /// One of the files that may be there now.
    fn choose(&self, left: Left, random: &mut Random) -> (Vec<u8>, Cut) {
        let mut image = self.now.clone();
        let mut length = self.durable_bytes;
        let mut cut = Cut::default();
        let until = random.below(self.writes as u64 + 1);
        let mut of_page = (usize::MAX, 0);
        for (&number, Sector { versions, dirty: _ }) in
            self.sectors.iter().filter(|(_, sector)| sector.versions.len() > 1)
        {
            let newest = versions.len() - 1;
            let any = |number: u64| usize::try_from(number % versions.len() as u64).expect("below a usize");
            let chosen = match left {
                Left::Nothing => 0,
                Left::Everything => newest,
                Left::UntilSome => {
                    versions.iter().rposition(|(write, _)| *write as u64 <= until).unwrap_or(0)
                }
                Left::First => 1,
                Left::Pages => {
                    if of_page.0 != number / PAGE_SECTORS {
                        of_page = (number / PAGE_SECTORS, random.next_u64() >> 8);
                    }
                    any(of_page.1)
                }
                Left::Sectors => any(random.next_u64() >> 8),
            };
            let (start, end) = (number * SECTOR_BYTES, (number + 1) * SECTOR_BYTES);
            put(&mut image, start, &versions[chosen].1);
            if chosen > 0 {
                length = length.max(end.min(self.now.len()));
            }
            cut.unsynced += 1;
            cut.lost += usize::from(chosen < newest);
        }
        image.truncate(length);
        (image, cut)
    }
}

/// A sector of a file; zeros beyond its end.
fn sector(file: &[u8], number: usize) -> Vec<u8> {
    let start = (number * SECTOR_BYTES).min(file.len());
    let end = (start + SECTOR_BYTES).min(file.len());
    let mut bytes = file[start..end].to_vec();
    bytes.resize(SECTOR_BYTES, 0);
    bytes
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if file.len() < offset + bytes.len() {
        file.resize(offset + bytes.len(), 0);
    }
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}
