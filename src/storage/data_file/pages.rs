//! A check of LMDB's own structure, page by page, before LMDB maps the file or changes it, and trusts it.
//!
//! LMDB's pages carry no checksums, and LMDB follows a damaged page number out of the map. Here the file is
//! read with ordinary reads: whatever it holds gives a report or an error. What is checked is what LMDB takes
//! for granted: every page that is reached is within the file, is reached once, and is not in use and free at
//! once; its nodes are inside it and in order. The records in the leaves are not examined: they have
//! checksums of their own.
//!
//! This module uses the file alone; `layout` knows what is where in a page. It must never know what the
//! records are.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::layout::{
    Content, DEPTH_MAX, META_PAGE_BYTES, Meta, NO_PAGE, Node, PAGE_HEADER_BYTES, Tree, TreeId, TreePageKind,
    overflow_pages, read_nodes, u64_at,
};
use crate::storage::error::{Place, StoreError};

/// What a sound file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PageReport {
    /// The size of a page, in bytes.
    pub(crate) page_bytes: u64,
    /// How many pages the file has, counting pages at the end that may never have been written.
    pub(crate) pages: u64,
    /// How many of them are in use.
    pub(crate) pages_used: u64,
    /// How many are listed as free.
    pub(crate) pages_free: u64,
    /// How many records there are.
    pub(crate) records: u64,
}

impl PageReport {
    /// How many bytes a map must hold.
    pub(crate) fn extent_bytes(&self) -> u64 {
        self.pages.saturating_mul(self.page_bytes)
    }
}

/// Checks the data file.
pub(crate) fn check(path: &Path) -> Result<PageReport, StoreError> {
    check_open(&open(path)?, path)
}

/// Checks the data file, which is open already: a node may not get another descriptor.
pub(crate) fn check_open(file: &File, path: &Path) -> Result<PageReport, StoreError> {
    Checker::on(file, path, Checker::run)
}

fn open(path: &Path) -> Result<File, StoreError> {
    File::open(path).map_err(|error| StoreError::io("read", path, &error))
}

/// Where the two meta pages are in the data file, in bytes; the one that LMDB trusts comes last. Checks only
/// these two pages.
pub(crate) fn meta_pages(path: &Path) -> Result<[Range<u64>; 2], StoreError> {
    Checker::on(&open(path)?, path, |checker| {
        let Meta { page_bytes, txn_id, .. } = checker.read_newest_meta()?;
        let pages = [0..page_bytes, page_bytes..2 * page_bytes];
        let [even, odd] = pages;
        Ok(if txn_id % 2 == 0 { [odd, even] } else { [even, odd] })
    })
}

enum Fault {
    Io(io::Error),
    Damage(Place, &'static str),
}

fn damage<T>(page: u64, reason: &'static str) -> Result<T, Fault> {
    Err(Fault::Damage(Place::Page(page), reason))
}

/// A page of a tree, and its place in the tree.
#[derive(Clone, Copy)]
struct Position {
    tree_id: TreeId,
    number: u64,
    /// 1 for a leaf.
    height: u16,
}

impl Position {
    fn kind(self) -> TreePageKind {
        if self.height == 1 { TreePageKind::Leaf } else { TreePageKind::Branch }
    }
}

/// The keys that a page may hold: from `low` on, and below `high`.
#[derive(Clone, Copy)]
struct Bounds<'a> {
    low: Option<&'a [u8]>,
    high: Option<&'a [u8]>,
}

struct Checker<'f> {
    file: &'f File,
    file_bytes: u64,
    meta: Meta,
    /// Which pages have been reached, whether in use or free.
    seen: Vec<bool>,
    report: PageReport,
}

impl<'f> Checker<'f> {
    /// Runs `check` on the data file.
    fn on<T>(
        file: &'f File,
        path: &Path,
        check: impl FnOnce(&mut Checker<'f>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let io = |error: io::Error| StoreError::io("read", path, &error);
        let file_bytes = file.metadata().map_err(io)?.len();
        let (meta, report) = (Meta::default(), PageReport::default());
        let mut checker = Checker { file, file_bytes, meta, seen: Vec::new(), report };
        check(&mut checker).map_err(|fault| match fault {
            Fault::Io(error) => io(error),
            Fault::Damage(place, reason) => {
                let store = path.parent().unwrap_or(path).to_owned();
                StoreError::Damaged { path: store, place, reason: reason.to_owned() }
            }
        })
    }

    fn run(&mut self) -> Result<PageReport, Fault> {
        self.meta = self.read_newest_meta()?;
        let Meta { page_bytes, free, main, last_page, txn_id: _ } = self.meta;
        // Pages at the end that were never written are all listed as free, and every listed number takes 8
        // bytes of the file. This bounds how much a damaged number can make us allocate.
        if last_page < 1 || last_page >= self.file_bytes / page_bytes + self.file_bytes / 8 {
            return Err(Fault::Damage(Place::DataFile, "it is shorter than it says"));
        }
        self.seen = vec![false; usize::try_from(last_page + 1).expect("64-bit machines only")];
        self.seen[..2].fill(true);
        let (pages, records) = (last_page + 1, main.entries);
        self.report = PageReport { page_bytes, pages, pages_used: 2, pages_free: 0, records };
        self.walk_tree(TreeId::Records, &main)?;
        self.walk_tree(TreeId::Free, &free)?;
        Ok(self.report)
    }

    /// LMDB writes its two meta pages in turn and trusts the one with the later transaction.
    fn read_newest_meta(&self) -> Result<Meta, Fault> {
        let first = self.read_meta(0, 0)?;
        let second = self.read_meta(1, first.page_bytes)?;
        if first.page_bytes != second.page_bytes {
            return damage(1, "the two meta pages have different page sizes");
        }
        let (even, odd) = (first.txn_id, second.txn_id);
        // Transaction n writes page n % 2; if it fails, LMDB restores the number that was there before.
        let fresh = even == 0 && odd == 0;
        if !fresh && (even % 2 != 0 || odd % 2 != 1 || even.abs_diff(odd) != 1) {
            return damage(0, "the transactions of the two meta pages do not follow each other");
        }
        Ok(if even < odd { second } else { first })
    }

    fn read_meta(&self, number: u64, offset: u64) -> Result<Meta, Fault> {
        let mut page = [0; META_PAGE_BYTES];
        if offset + page.len() as u64 > self.file_bytes {
            return Err(Fault::Damage(Place::DataFile, "it is too short to be a store"));
        }
        self.file.read_exact_at(&mut page, offset).map_err(Fault::Io)?;
        Meta::read(number, &page).or_else(|reason| damage(number, reason))
    }

    fn walk_tree(&mut self, tree_id: TreeId, tree: &Tree) -> Result<(), Fault> {
        let mut entries = 0;
        if tree.root == NO_PAGE {
            if tree.depth != 0 {
                return Err(Fault::Damage(Place::DataFile, "a tree has a depth but no root"));
            }
        } else if tree.depth == 0 || tree.depth > DEPTH_MAX {
            return Err(Fault::Damage(Place::DataFile, "a tree has an impossible depth"));
        } else {
            let root = Position { tree_id, number: tree.root, height: tree.depth };
            entries = self.walk_page(root, Bounds { low: None, high: None })?;
        }
        if entries != tree.entries {
            return Err(Fault::Damage(Place::DataFile, "a tree has more or fewer entries than it says"));
        }
        Ok(())
    }

    /// Checks a page and those below it, and counts the entries there.
    fn walk_page(&mut self, at: Position, bounds: Bounds<'_>) -> Result<u64, Fault> {
        let number = at.number;
        self.reach(number, 1)?;
        self.report.pages_used += 1;
        let page = self.read_page(number)?;
        if !at.kind().is_of(&page, number) {
            return damage(number, "it is not the page that its place calls for");
        }
        let nodes = read_nodes(at.tree_id, at.kind(), &page).or_else(|reason| damage(number, reason))?;
        check_keys(at, &nodes, bounds)?;
        let mut entries = 0;
        for (i, node) in nodes.iter().enumerate() {
            entries += match node.content {
                Content::Child(child) => {
                    let low = if i == 0 { bounds.low } else { Some(node.key) };
                    let high = nodes.get(i + 1).map(|next| next.key).or(bounds.high);
                    let below = Position { number: child, height: at.height - 1, ..at };
                    self.walk_page(below, Bounds { low, high })?
                }
                Content::Inline(value) => {
                    self.on_value(at, node.key, value)?;
                    1
                }
                Content::Overflow(first, value_bytes) => {
                    let value = self.read_overflow(first, value_bytes)?;
                    self.on_value(at, node.key, &value)?;
                    1
                }
            };
        }
        Ok(entries)
    }

    /// Marks pages as reached.
    fn reach(&mut self, first: u64, count: u64) -> Result<(), Fault> {
        let Some(end) = first.checked_add(count).filter(|end| *end <= self.seen.len() as u64) else {
            return damage(first, "it lies beyond the end");
        };
        for number in first..end {
            let seen = &mut self.seen[usize::try_from(number).expect("64-bit machines only")];
            if std::mem::replace(seen, true) {
                return damage(number, "it is used twice, or used and free");
            }
        }
        Ok(())
    }

    fn read_page(&self, number: u64) -> Result<Vec<u8>, Fault> {
        let page_bytes = usize::try_from(self.meta.page_bytes).expect("a page is small");
        self.read_at(number, 0, page_bytes)
    }

    fn read_at(&self, number: u64, offset: u64, len: usize) -> Result<Vec<u8>, Fault> {
        // No overflow: `reach` has limited the number to what the file can describe.
        let start = number * self.meta.page_bytes + offset;
        if start + len as u64 > self.file_bytes {
            return damage(number, "the file ends before it does");
        }
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, start).map_err(Fault::Io)?;
        Ok(bytes)
    }

    fn read_overflow(&mut self, first: u64, len: usize) -> Result<Vec<u8>, Fault> {
        self.reach(first, 1)?;
        let header = self.read_at(first, 0, PAGE_HEADER_BYTES)?;
        let Some(pages) = overflow_pages(&header, first) else {
            return damage(first, "it is not the page that its place calls for");
        };
        // A value that has shrunk keeps its pages.
        if pages * self.meta.page_bytes < (PAGE_HEADER_BYTES + len) as u64 {
            return damage(first, "its value is longer than its pages");
        }
        self.reach(first + 1, pages - 1)?;
        // LMDB writes all of them, and may read all of them.
        if (first + pages) * self.meta.page_bytes > self.file_bytes {
            return damage(first, "the file ends before it does");
        }
        self.report.pages_used += pages;
        self.read_at(first, PAGE_HEADER_BYTES as u64, len)
    }

    fn on_value(&mut self, at: Position, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        match at.tree_id {
            TreeId::Records => Ok(()),
            TreeId::Free => self.walk_free_list(at.number, u64_at(key, 0), value),
        }
    }

    /// Checks a list of pages that an LMDB transaction freed: their count, then their numbers, descending.
    fn walk_free_list(&mut self, number: u64, txn_id: u64, value: &[u8]) -> Result<(), Fault> {
        // LMDB counts from 1, and never removes a list of transaction 0: its pages would be used twice.
        if txn_id == 0 || txn_id > self.meta.txn_id {
            return damage(number, "it lists pages freed by a transaction that never was");
        }
        let (numbers, rest) = value.as_chunks::<8>();
        let Some((count, numbers)) = numbers.split_first().filter(|_| rest.is_empty()) else {
            return damage(number, "a list of free pages has an impossible length");
        };
        let count = usize::try_from(u64::from_ne_bytes(*count)).expect("64-bit machines only");
        let Some(free) = numbers.get(..count) else {
            return damage(number, "a list of free pages is longer than its record");
        };
        let mut above = u64::MAX;
        for page in free.iter().map(|bytes| u64::from_ne_bytes(*bytes)) {
            if page >= above {
                return damage(number, "a list of free pages is out of order");
            }
            above = page;
            self.reach(page, 1)?;
        }
        self.report.pages_free += count as u64;
        Ok(())
    }
}

/// Checks that the keys ascend and stay within the bounds that the page above sets. LMDB never looks at the
/// first key of a branch.
fn check_keys(at: Position, nodes: &[Node<'_>], bounds: Bounds<'_>) -> Result<(), Fault> {
    let Position { tree_id, number, .. } = at;
    let mut before: Option<&[u8]> = None;
    let checked = match at.kind() {
        TreePageKind::Branch => &nodes[1..],
        TreePageKind::Leaf => nodes,
    };
    for key in checked.iter().map(|node| node.key) {
        if !tree_id.has_keys_of(key.len()) {
            return damage(number, "a key has an impossible length");
        }
        let ascends = before.is_none_or(|before| tree_id.is_less(before, key));
        // A branch does not repeat a key of the page above, so both bounds are strict there.
        let may_equal_low = at.kind() == TreePageKind::Leaf;
        let low_ok = bounds.low.is_none_or(|low| tree_id.is_less(low, key) || (may_equal_low && low == key));
        let high_ok = bounds.high.is_none_or(|high| tree_id.is_less(key, high));
        if !ascends || !low_ok || !high_ok {
            return damage(number, "its keys are out of order");
        }
        before = Some(key);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::sync::Arc;

    use raft_core::{LogIndex, Payload, SplitMix64, Write};

    use super::*;
    use crate::storage::Store;
    use crate::storage::contents::Contents;
    use crate::storage::data_file::Access;
    use crate::storage::files::{DATA_FILE, JOURNAL_FILE, LOCK_FILE};
    use crate::storage::reading::{Readable, read};
    use crate::storage::testing::{TestDir, append, create, entry, nothing, snapshot};

    /// A store with branch pages, a free list and values on pages of their own.
    fn busy_store(dir: &TestDir) -> Contents {
        let long = vec![("name".to_owned(), "v".repeat(4000)); 3];
        let mut store = create(dir.path(), &long);
        for round in 0..10 {
            let first = 2 + round * 60;
            store.write(&[append(1, first..=first + 59, 1)]).unwrap();
            store.checkpoint().unwrap();
        }
        store.write(&[Write { snapshot: Some(Arc::new(snapshot(200, 1))), ..nothing(1) }]).unwrap();
        store.checkpoint().unwrap();
        store.write(&[Write { truncate_from: Some(LogIndex(590)), ..nothing(1) }]).unwrap();
        store.checkpoint().unwrap();
        drop(store);
        read(dir.path(), Access::Read, Readable::Complete).unwrap().contents
    }

    fn contents(dir: &TestDir) -> Result<Contents, StoreError> {
        read(dir.path(), Access::Read, Readable::Complete).map(|reading| reading.contents)
    }

    #[test]
    fn a_sound_file_is_in_use_or_free_to_its_last_page() {
        let dir = TestDir::new();
        busy_store(&dir);
        let report = check(&dir.path().join(DATA_FILE)).unwrap();
        assert_eq!(report.pages_used + report.pages_free, report.pages, "{report:?}");
        assert!(report.pages_free > 0, "{report:?}");
        assert_eq!(report.records, 7 + 389, "{report:?}");
    }

    #[test]
    fn a_file_with_a_bit_flipped_is_refused_or_read_as_it_was() {
        let dir = TestDir::new();
        let sound = busy_store(&dir);
        let path = dir.path().join(DATA_FILE);
        let page_bytes = check(&path).unwrap().page_bytes;
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let (mut refused, mut harmless) = (0, 0);
        for position in 0..file.metadata().unwrap().len() {
            let in_page = position % page_bytes;
            // The headers are tested byte by byte, the rest in samples.
            if in_page > 160 && position % 41 != 0 {
                continue;
            }
            let mut byte = [0];
            file.read_exact_at(&mut byte, position).unwrap();
            file.write_all_at(&[byte[0] ^ 1 << (position / 3 % 8)], position).unwrap();
            match contents(&dir) {
                Err(_) => refused += 1,
                Ok(contents) if contents == sound => harmless += 1,
                // LMDB's number of the last transaction has no checksum, and nothing else shows that there
                // was such a transaction.
                Ok(_) => assert!(position < 2 * page_bytes && in_page / 8 == 18, "byte {position}"),
            }
            file.write_all_at(&byte, position).unwrap();
        }
        assert!(refused > 1000 && harmless > 1000, "{refused} refused, {harmless} harmless");
        assert_eq!(contents(&dir).unwrap(), sound);
    }

    #[test]
    fn a_file_that_is_cut_short_is_refused_or_read_as_it_was() {
        let dir = TestDir::new();
        let sound = busy_store(&dir);
        let path = dir.path().join(DATA_FILE);
        let whole = std::fs::read(&path).unwrap();
        for len in (0..whole.len()).step_by(509) {
            std::fs::write(&path, &whole[..len]).unwrap();
            // Free pages at the end need not be there.
            assert!(contents(&dir).map_or_else(|_| true, |contents| contents == sound), "{len} bytes");
        }
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let error = contents(&dir).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }

    #[test]
    fn a_file_with_a_torn_tail_that_no_transaction_needs_is_read() {
        let dir = TestDir::new();
        let sound = busy_store(&dir);
        let path = dir.path().join(DATA_FILE);
        let mut whole = std::fs::read(&path).unwrap();
        // What a disk that filled up in the middle of a transaction leaves behind.
        whole.extend_from_slice(&[0x5a; 4096 + 100]);
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(contents(&dir).unwrap(), sound);
    }

    #[test]
    fn whatever_lmdb_makes_of_a_long_run_of_writes_is_sound_and_loses_no_page() {
        let dir = TestDir::new();
        let mut store = create(dir.path(), &[]);
        let (mut base, mut last, mut rng) = (1, 1, SplitMix64::new(0x5eed));
        for round in 0..400 {
            let mut next = nothing(1);
            let span = last - base;
            match rng.below(8) {
                0 if span > 0 => {
                    let from = last + 1 - rng.below(span.min(300));
                    next.truncate_from = Some(LogIndex(from));
                    last = from - 1;
                }
                1 if span > 0 => {
                    base += 1 + rng.below(span);
                    next.snapshot = Some(Arc::new(snapshot(base, 1)));
                }
                // Occasionally a great many entries, so that whole branches come and go.
                kind => {
                    let count = 1 + rng.below(if kind == 2 { 3000 } else { 20 });
                    let large = 1 + rng.below(60);
                    for index in last + 1..=last + count {
                        let mut entry = entry(index, 1);
                        if index % large == 0 {
                            let bytes = usize::try_from(rng.below(4097)).unwrap();
                            entry.payload = Payload::Command(Arc::from(vec![7; bytes]));
                        }
                        next.entries.push(entry);
                    }
                    last += count;
                }
            }
            if last - base > 20_000 {
                next = Write { snapshot: Some(Arc::new(snapshot(last, 1))), ..next };
                // The snapshot is written before the entries of the same write.
                let entries = std::mem::take(&mut next.entries);
                store.write(&[Write { entries, truncate_from: next.truncate_from, ..nothing(1) }]).unwrap();
                next.truncate_from = None;
                base = last;
            }
            store.write(&[next]).unwrap();
            store.checkpoint().unwrap();
            let report = check(&dir.path().join(DATA_FILE)).unwrap_or_else(|e| panic!("round {round}: {e}"));
            assert_eq!(report.pages_used + report.pages_free, report.pages, "round {round}: {report:?}");
            assert_eq!(report.records, 7 + (last - base), "round {round}");
        }
    }

    #[test]
    fn what_is_no_store_at_all_is_said_to_be_none() {
        let dir = TestDir::new();
        let path = dir.path().join(DATA_FILE);
        // It was a lock of ours.
        std::fs::write(dir.path().join(LOCK_FILE), "").unwrap();
        for bytes in [vec![], vec![0; 100], vec![0; 8192], vec![0xff; 8192]] {
            std::fs::write(&path, &bytes).unwrap();
            let error = Store::open(dir.path()).unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{} bytes: {error}", bytes.len());
        }
    }

    #[test]
    fn a_store_with_harmless_damage_can_be_written_to() {
        let dir = TestDir::new();
        busy_store(&dir);
        let path = dir.path().join(DATA_FILE);
        let whole = std::fs::read(&path).unwrap();
        let journal_path = dir.path().join(JOURNAL_FILE);
        let journal = std::fs::read(&journal_path).unwrap();
        let mut written = 0;
        for position in (0..whole.len()).step_by(997) {
            let mut damaged = whole.clone();
            damaged[position] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            // As it was when the data file was created: the transactions are written again.
            std::fs::write(&journal_path, &journal).unwrap();
            let Ok(mut store) = Store::open(dir.path()) else { continue };
            let last = store.recovered().entries.last().unwrap().index.0;
            store.write(&[append(1, last + 1..=last + 100, 1)]).unwrap();
            store.checkpoint().unwrap();
            store.write(&[Write { snapshot: Some(Arc::new(snapshot(last, 1))), ..nothing(1) }]).unwrap();
            store.checkpoint().unwrap();
            drop(store);
            assert_eq!(contents(&dir).unwrap().recovered.entries.len(), 100, "byte {position}");
            written += 1;
        }
        assert!(written > 10, "{written}");
    }
}
