//! A check of LMDB's own structure, page by page, before LMDB maps the file and trusts it.
//!
//! LMDB's pages carry no checksums, and LMDB follows a damaged page number out of the map. Here the file is
//! read as a file: whatever it holds gives a report or an error. What is checked is what LMDB takes for
//! granted: every page within the file, reached once, in use or free but not both, its nodes inside it and in
//! order. The records in the leaves are not looked into: they have checksums of their own.
//!
//! It reads LMDB's data format 1, as 64-bit machines write it in their own byte order (the structs of
//! `mdb.c`).

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use byteorder::{ByteOrder, NativeEndian};

use crate::storage::error::{Place, StoreError};

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the page check reads the file layout of 64-bit machines");

/// What the file holds, where it is sound.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PageReport {
    /// Size of a page, in bytes.
    pub(crate) page_bytes: u64,
    /// How many pages the file has, or may have: those at the end may never have been written.
    pub(crate) pages: u64,
    /// How many of them are in use.
    pub(crate) pages_used: u64,
    /// How many are listed as free.
    pub(crate) pages_free: u64,
    /// Number of the last transaction.
    pub(crate) transaction: u64,
    /// How many records there are.
    pub(crate) records: u64,
}

impl PageReport {
    /// What a map must hold, in bytes.
    pub(crate) fn extent_bytes(&self) -> u64 {
        self.pages.saturating_mul(self.page_bytes)
    }
}

/// Checks the data file.
pub(crate) fn check(path: &Path) -> Result<PageReport, StoreError> {
    Checker::on(path, Checker::run)
}

/// Where the two meta pages are in the data file, in bytes: first the one that LMDB goes by less. Checks nothing but
/// these.
pub(crate) fn meta_pages(path: &Path) -> Result<[Range<u64>; 2], StoreError> {
    Checker::on(path, |checker| {
        let Meta { page_bytes, transaction, .. } = checker.read_newest_meta()?;
        let pages = [0..page_bytes, page_bytes..2 * page_bytes];
        let [even, odd] = pages;
        Ok(if transaction % 2 == 0 { [odd, even] } else { [even, odd] })
    })
}

enum Fault {
    Io(io::Error),
    Damage(Place, &'static str),
}

fn damage<T>(page: u64, reason: &'static str) -> Result<T, Fault> {
    Err(Fault::Damage(Place::Page(page), reason))
}

const MAGIC: u32 = 0xBEEF_C0DE;
const DATA_VERSION: u32 = 1;
const PAGE_HEADER_BYTES: usize = 16;
const NODE_HEADER_BYTES: usize = 8;
const META_BYTES: usize = 136;
/// LMDB's smallest page, for a file whose real page size is not known yet, and its largest.
const PAGE_BYTES_MIN: u64 = 512;
const PAGE_BYTES_MAX: u64 = 32_768;
/// LMDB's `CURSOR_STACK`: it follows no tree deeper than this.
const DEPTH_MAX: u16 = 32;
/// LMDB's `P_INVALID`: the root of an empty tree.
const NO_PAGE: u64 = u64::MAX;

const P_BRANCH: u16 = 0x01;
const P_LEAF: u16 = 0x02;
const P_OVERFLOW: u16 = 0x04;
const P_META: u16 = 0x08;
const F_BIGDATA: u16 = 0x01;
const MDB_INTEGERKEY: u16 = 0x08;
const MDB_NOSUBDIR: u16 = 0x4000;

#[derive(Clone, Copy, Default)]
struct Tree {
    flags: u16,
    depth: u16,
    entries: u64,
    root: u64,
}

#[derive(Clone, Copy, Default)]
struct Meta {
    page_bytes: u64,
    free: Tree,
    main: Tree,
    last_page: u64,
    transaction: u64,
}

/// Which of the two trees a page belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    /// The numbers of free pages, by the transaction that freed them.
    Free,
    /// The records.
    Main,
}

/// The keys that a page may hold: from `low` on, and below `high`.
#[derive(Clone, Copy)]
struct Bounds<'a> {
    low: Option<&'a [u8]>,
    high: Option<&'a [u8]>,
}

/// A node of a page: where its parts are.
struct Node<'a> {
    key: &'a [u8],
    content: Content<'a>,
}

enum Content<'a> {
    /// Of a branch page: the page of all keys from this one on.
    Child(u64),
    /// Of a leaf: the value itself.
    Inline(&'a [u8]),
    /// Of a leaf: the first page and the size of a value on pages of its own.
    Overflow(u64, usize),
}

struct Checker {
    file: File,
    file_bytes: u64,
    meta: Meta,
    /// Which pages have been reached, in use or free.
    seen: Vec<bool>,
}

impl Checker {
    /// Looks at the data file in some way.
    fn on<T>(path: &Path, look: impl FnOnce(&mut Checker) -> Result<T, Fault>) -> Result<T, StoreError> {
        let io = |error: io::Error| StoreError::io("read", path, &error);
        let file = File::open(path).map_err(io)?;
        let file_bytes = file.metadata().map_err(io)?.len();
        let mut checker = Checker { file, file_bytes, meta: Meta::default(), seen: Vec::new() };
        look(&mut checker).map_err(|fault| match fault {
            Fault::Io(error) => io(error),
            Fault::Damage(place, reason) => {
                let store = path.parent().unwrap_or(path).to_owned();
                StoreError::Damaged { path: store, place, reason: reason.to_owned() }
            }
        })
    }

    fn run(&mut self) -> Result<PageReport, Fault> {
        self.meta = self.read_newest_meta()?;
        let Meta { page_bytes, free, main, last_page, transaction } = self.meta;
        // Pages at the end that were never written are all listed as free, and every listed number takes 8
        // bytes of the file: this bounds what a damaged number can make us allocate.
        if last_page < 1 || last_page >= self.file_bytes / page_bytes + self.file_bytes / 8 {
            return Err(Fault::Damage(Place::File, "it is shorter than it says"));
        }
        self.seen = vec![false; usize::try_from(last_page + 1).expect("64-bit machines only")];
        self.seen[..2].fill(true);
        let mut report = PageReport {
            page_bytes,
            pages: last_page + 1,
            transaction,
            pages_used: 2,
            ..PageReport::default()
        };
        self.walk_tree(Which::Main, &main, &mut report)?;
        report.records = main.entries;
        self.walk_tree(Which::Free, &free, &mut report)?;
        Ok(report)
    }

    /// LMDB writes its two meta pages in turn and trusts the one with the later transaction.
    fn read_newest_meta(&self) -> Result<Meta, Fault> {
        let first = self.read_meta(0, 0)?;
        let second = self.read_meta(1, first.page_bytes)?;
        if first.page_bytes != second.page_bytes {
            return damage(1, "the two meta pages have different page sizes");
        }
        let (even, odd) = (first.transaction, second.transaction);
        // Transaction n writes page n % 2, and a failed one puts the number before it back.
        let fresh = even == 0 && odd == 0;
        if !fresh && (even % 2 != 0 || odd % 2 != 1 || even.abs_diff(odd) != 1) {
            return damage(0, "the transactions of the two meta pages do not follow each other");
        }
        Ok(if even < odd { second } else { first })
    }

    fn read_meta(&self, number: u64, offset: u64) -> Result<Meta, Fault> {
        let mut page = [0; PAGE_HEADER_BYTES + META_BYTES];
        if offset + page.len() as u64 > self.file_bytes {
            return Err(Fault::Damage(Place::File, "it is too short to be a store"));
        }
        self.file.read_exact_at(&mut page, offset).map_err(Fault::Io)?;
        let meta = &page[PAGE_HEADER_BYTES..];
        if u32_at(meta, 0) != MAGIC {
            return damage(number, "it does not begin an LMDB file");
        }
        if u32_at(meta, 4) != DATA_VERSION {
            return damage(number, "it is of another version of LMDB");
        }
        if u64_at(&page, 0) != number || u16_at(&page, 10) != P_META {
            return damage(number, "it is not a meta page");
        }
        let page_bytes = u64::from(u32_at(meta, 24));
        if !page_bytes.is_power_of_two() || !(PAGE_BYTES_MIN..=PAGE_BYTES_MAX).contains(&page_bytes) {
            return damage(number, "it has an impossible page size");
        }
        let (free, main) = (tree_at(meta, 24), tree_at(meta, 72));
        if free.flags & !MDB_NOSUBDIR != MDB_INTEGERKEY || main.flags != 0 {
            return damage(number, "it has flags that no store of ours has");
        }
        Ok(Meta { page_bytes, free, main, last_page: u64_at(meta, 120), transaction: u64_at(meta, 128) })
    }

    fn walk_tree(&mut self, which: Which, tree: &Tree, report: &mut PageReport) -> Result<(), Fault> {
        let mut entries = 0;
        if tree.root == NO_PAGE {
            if tree.depth != 0 {
                return Err(Fault::Damage(Place::File, "a tree has a depth but no root"));
            }
        } else if tree.depth == 0 || tree.depth > DEPTH_MAX {
            return Err(Fault::Damage(Place::File, "a tree has an impossible depth"));
        } else {
            let all = Bounds { low: None, high: None };
            self.walk_page(which, tree.root, tree.depth, all, &mut entries, report)?;
        }
        if entries != tree.entries {
            return Err(Fault::Damage(Place::File, "a tree has more or fewer entries than it says"));
        }
        Ok(())
    }

    /// Checks a page and what is below it; `height` is 1 for a leaf.
    fn walk_page(
        &mut self,
        which: Which,
        number: u64,
        height: u16,
        bounds: Bounds<'_>,
        entries: &mut u64,
        report: &mut PageReport,
    ) -> Result<(), Fault> {
        self.reach(number, 1)?;
        report.pages_used += 1;
        let page = self.read_page(number)?;
        let leaf = height == 1;
        if u64_at(&page, 0) != number || u16_at(&page, 10) != if leaf { P_LEAF } else { P_BRANCH } {
            return damage(number, "it is not the page that its place calls for");
        }
        let nodes = read_nodes(which, number, &page, leaf)?;
        check_keys(which, number, &nodes, leaf, bounds)?;
        for (i, node) in nodes.iter().enumerate() {
            match node.content {
                Content::Child(child) => {
                    let low = if i == 0 { bounds.low } else { Some(node.key) };
                    let high = nodes.get(i + 1).map(|next| next.key).or(bounds.high);
                    self.walk_page(which, child, height - 1, Bounds { low, high }, entries, report)?;
                }
                Content::Inline(value) => {
                    *entries += 1;
                    self.on_value(which, number, node.key, value, report)?;
                }
                Content::Overflow(first, value_bytes) => {
                    *entries += 1;
                    let value = self.read_overflow(first, value_bytes, report)?;
                    self.on_value(which, number, node.key, &value, report)?;
                }
            }
        }
        Ok(())
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
        let page_bytes = usize::try_from(self.meta.page_bytes).expect("bounded by PAGE_BYTES_MAX");
        self.read_at(number, 0, page_bytes)
    }

    fn read_at(&self, number: u64, offset: u64, len: usize) -> Result<Vec<u8>, Fault> {
        // No overflow: `reach` has bounded the number by what the file can describe.
        let start = number * self.meta.page_bytes + offset;
        if start + len as u64 > self.file_bytes {
            return damage(number, "the file ends before it does");
        }
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, start).map_err(Fault::Io)?;
        Ok(bytes)
    }

    fn read_overflow(&mut self, first: u64, len: usize, report: &mut PageReport) -> Result<Vec<u8>, Fault> {
        self.reach(first, 1)?;
        let header = self.read_at(first, 0, PAGE_HEADER_BYTES)?;
        let pages = u64::from(u32_at(&header, 12));
        if u64_at(&header, 0) != first || u16_at(&header, 10) != P_OVERFLOW || pages == 0 {
            return damage(first, "it is not the page that its place calls for");
        }
        // A value that became smaller keeps the pages that it has.
        if pages * self.meta.page_bytes < (PAGE_HEADER_BYTES + len) as u64 {
            return damage(first, "its value is longer than its pages");
        }
        self.reach(first + 1, pages - 1)?;
        // LMDB writes all of them, and may read all of them.
        if (first + pages) * self.meta.page_bytes > self.file_bytes {
            return damage(first, "the file ends before it does");
        }
        report.pages_used += pages;
        self.read_at(first, PAGE_HEADER_BYTES as u64, len)
    }

    fn on_value(
        &mut self,
        which: Which,
        number: u64,
        key: &[u8],
        value: &[u8],
        report: &mut PageReport,
    ) -> Result<(), Fault> {
        match which {
            Which::Main => Ok(()),
            Which::Free => self.walk_free_list(number, u64_at(key, 0), value, report),
        }
    }

    /// The pages that a transaction freed: how many, then their numbers, descending.
    fn walk_free_list(
        &mut self,
        number: u64,
        transaction: u64,
        value: &[u8],
        report: &mut PageReport,
    ) -> Result<(), Fault> {
        // LMDB counts from 1, and never takes a list of transaction 0 out again: its pages would be used twice.
        if transaction == 0 || transaction > self.meta.transaction {
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
        report.pages_free += count as u64;
        Ok(())
    }
}

/// Takes a page apart. Its nodes must fill its end without gap or overlap, because LMDB moves them by their
/// sizes.
fn read_nodes(which: Which, number: u64, page: &[u8], leaf: bool) -> Result<Vec<Node<'_>>, Fault> {
    let (lower, upper) = (usize::from(u16_at(page, 12)), usize::from(u16_at(page, 14)));
    if lower < PAGE_HEADER_BYTES || lower % 2 != 0 || lower > upper || upper > page.len() {
        return damage(number, "its free space is nowhere");
    }
    let (pointers, _) = page[PAGE_HEADER_BYTES..lower].as_chunks::<2>();
    // LMDB asserts two for a branch of the main tree, and tolerates one in that of the free pages (ITS#8336).
    let nodes_min = if leaf || which == Which::Free { 1 } else { 2 };
    if pointers.len() < nodes_min {
        return damage(number, "it has too few nodes");
    }
    let mut nodes = Vec::with_capacity(pointers.len());
    let mut spans = Vec::with_capacity(pointers.len());
    for pointer in pointers {
        let start = usize::from(u16::from_ne_bytes(*pointer));
        let Some((node, len)) = page.get(start..).and_then(|bytes| read_node(bytes, leaf)) else {
            return damage(number, "a node lies outside it");
        };
        if len > node_bytes_max(page.len()) {
            return damage(number, "a node is larger than LMDB makes them");
        }
        spans.push((start, start + len.next_multiple_of(2)));
        nodes.push(node);
    }
    spans.sort_unstable();
    let end = spans.iter().try_fold(upper, |at, (start, end)| (at == *start).then_some(*end));
    if end != Some(page.len()) {
        return damage(number, "its nodes overlap or leave gaps");
    }
    Ok(nodes)
}

/// LMDB's `me_nodemax`: two nodes fit into every page.
fn node_bytes_max(page_bytes: usize) -> usize {
    (((page_bytes - PAGE_HEADER_BYTES) / 2) & !1) - 2
}

/// A node and its length; `None` where it does not fit into the bytes, or is of no kind that we write.
fn read_node(bytes: &[u8], leaf: bool) -> Option<(Node<'_>, usize)> {
    let (header, body) = bytes.split_at_checked(NODE_HEADER_BYTES)?;
    let flags = u16_at(header, 4);
    let (key, data) = body.split_at_checked(usize::from(u16_at(header, 6)))?;
    let low = u32_at(header, 0);
    let (content, data_len) = if leaf {
        let len = usize::try_from(low).expect("64-bit machines only");
        match flags {
            0 => (Content::Inline(data.get(..len)?), len),
            F_BIGDATA => (Content::Overflow(u64_at(data.get(..8)?, 0), len), 8),
            _ => return None,
        }
    } else {
        (Content::Child(u64::from(low) | u64::from(flags) << 32), 0)
    };
    Some((Node { key, content }, NODE_HEADER_BYTES + key.len() + data_len))
}

/// The keys ascend and stay within what the page above says. LMDB never looks at the first key of a branch.
fn check_keys(
    which: Which,
    number: u64,
    nodes: &[Node<'_>],
    leaf: bool,
    bounds: Bounds<'_>,
) -> Result<(), Fault> {
    let mut before: Option<&[u8]> = None;
    for node in &nodes[usize::from(!leaf)..] {
        let key = node.key;
        let len_ok = match which {
            Which::Free => key.len() == 8,
            Which::Main => (1..=KEY_BYTES_MAX).contains(&key.len()),
        };
        if !len_ok {
            return damage(number, "a key has an impossible length");
        }
        let ascends = before.is_none_or(|before| is_less(which, before, key));
        // A branch repeats no key that the page above has, so both are strict there.
        let low_ok = bounds.low.is_none_or(|low| is_less(which, low, key) || (leaf && low == key));
        let high_ok = bounds.high.is_none_or(|high| is_less(which, key, high));
        if !ascends || !low_ok || !high_ok {
            return damage(number, "its keys are out of order");
        }
        before = Some(key);
    }
    Ok(())
}

/// LMDB's `MDB_MAXKEYSIZE`.
const KEY_BYTES_MAX: usize = 511;

fn is_less(which: Which, a: &[u8], b: &[u8]) -> bool {
    match which {
        Which::Main => a < b,
        Which::Free => u64_at(a, 0) < u64_at(b, 0),
    }
}

fn tree_at(bytes: &[u8], offset: usize) -> Tree {
    Tree {
        flags: u16_at(bytes, offset + 4),
        depth: u16_at(bytes, offset + 6),
        entries: u64_at(bytes, offset + 32),
        root: u64_at(bytes, offset + 40),
    }
}

// The callers of these three have checked that the bytes are there.

fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    NativeEndian::read_u16(&bytes[offset..])
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    NativeEndian::read_u32(&bytes[offset..])
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    NativeEndian::read_u64(&bytes[offset..])
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::sync::Arc;

    use raft_core::{HardState, LogIndex, Payload, Term, Write};

    use super::*;
    use crate::storage::contents::Contents;
    use crate::storage::data_file::Access;
    use crate::storage::files::{DATA_FILE, JOURNAL_FILE};
    use crate::storage::reading::read;
    use crate::storage::testing::{TestDir, append, entry, member, snapshot, write};
    use crate::storage::{MAP_BYTES_MIN, Store};

    /// A store with branch pages, a free list and values on pages of their own.
    fn busy_store(dir: &TestDir) -> Contents {
        let initial = (HardState { current_term: Term(1), voted_for: None }, snapshot(1, 1));
        let long = vec![("name".to_owned(), "v".repeat(4000)); 3];
        let mut store = Store::create(dir.path(), MAP_BYTES_MIN, &member(), &long, Some(initial)).unwrap();
        for round in 0..10 {
            let first = 2 + round * 60;
            store.write(&[append(1, first..=first + 59, 1)]).unwrap();
            store.checkpoint().unwrap();
        }
        store.write(&[Write { snapshot: Some(Arc::new(snapshot(200, 1))), ..write(1) }]).unwrap();
        store.checkpoint().unwrap();
        store.write(&[Write { truncate_from: Some(LogIndex(590)), ..write(1) }]).unwrap();
        store.checkpoint().unwrap();
        drop(store);
        read(dir.path(), Access::Read).unwrap().contents
    }

    fn contents(dir: &TestDir) -> Result<Contents, StoreError> {
        read(dir.path(), Access::Read).map(|reading| reading.contents)
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
            // The headers are looked at byte by byte, the rest here and there.
            if in_page > 160 && position % 41 != 0 {
                continue;
            }
            let mut byte = [0];
            file.read_exact_at(&mut byte, position).unwrap();
            file.write_all_at(&[byte[0] ^ 1 << (position / 3 % 8)], position).unwrap();
            match contents(&dir) {
                Err(_) => refused += 1,
                Ok(contents) if contents == sound => harmless += 1,
                // LMDB's number of the last transaction has no checksum, and nothing else says that there was
                // one.
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
        // What a disk that became full in the middle of a transaction leaves behind.
        whole.extend_from_slice(&[0x5a; 4096 + 100]);
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(contents(&dir).unwrap(), sound);
    }

    /// A generator of Marsaglia's (2003, xorshift64), for a test that is the same each time.
    fn next_random(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn whatever_lmdb_makes_of_a_long_run_of_writes_is_sound_and_loses_no_page() {
        let dir = TestDir::new();
        let initial = (HardState { current_term: Term(1), voted_for: None }, snapshot(1, 1));
        let mut store = Store::create(dir.path(), MAP_BYTES_MIN, &member(), &[], Some(initial)).unwrap();
        let (mut base, mut last, mut seed) = (1, 1, 0x5eed);
        for round in 0..400 {
            let mut next = write(1);
            let span = last - base;
            match next_random(&mut seed) % 8 {
                0 if span > 0 => {
                    let from = last + 1 - next_random(&mut seed) % span.min(300);
                    next.truncate_from = Some(LogIndex(from));
                    last = from - 1;
                }
                1 if span > 0 => {
                    base += 1 + next_random(&mut seed) % span;
                    next.snapshot = Some(Arc::new(snapshot(base, 1)));
                }
                // Now and then a great many, so that whole branches come and go.
                kind => {
                    let count = 1 + next_random(&mut seed) % if kind == 2 { 3000 } else { 20 };
                    let large = 1 + next_random(&mut seed) % 60;
                    for index in last + 1..=last + count {
                        let mut entry = entry(index, 1);
                        if index % large == 0 {
                            let bytes = usize::try_from(next_random(&mut seed) % 4097).unwrap();
                            entry.payload = Payload::Command(Arc::from(vec![7; bytes]));
                        }
                        next.entries.push(entry);
                    }
                    last += count;
                }
            }
            if last - base > 20_000 {
                next = Write { snapshot: Some(Arc::new(snapshot(last, 1))), ..next };
                // The snapshot goes before the entries of its own write.
                let entries = std::mem::take(&mut next.entries);
                store.write(&[Write { entries, truncate_from: next.truncate_from, ..write(1) }]).unwrap();
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
            // As it was when the data file was made: what is written is written there.
            std::fs::write(&journal_path, &journal).unwrap();
            let Ok(mut store) = Store::open(dir.path()) else { continue };
            let last = store.recovered().entries.last().unwrap().index.0;
            store.write(&[append(1, last + 1..=last + 100, 1)]).unwrap();
            store.checkpoint().unwrap();
            store.write(&[Write { snapshot: Some(Arc::new(snapshot(last, 1))), ..write(1) }]).unwrap();
            store.checkpoint().unwrap();
            drop(store);
            assert_eq!(contents(&dir).unwrap().recovered.entries.len(), 100, "byte {position}");
            written += 1;
        }
        assert!(written > 10, "{written}");
    }
}
