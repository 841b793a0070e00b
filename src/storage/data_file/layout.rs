//! LMDB's data format 1 as 64-bit machines write it, in native byte order: the layout of a page (the structs
//! of `mdb.c`).
//!
//! Pure: the bytes of a page in; its parts, or what is wrong with them, out. It must never know where the
//! page is, or which other pages there are.

use byteorder::{ByteOrder, NativeEndian};

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the page check reads the file layout of 64-bit machines");

const MAGIC: u32 = 0xBEEF_C0DE;
const DATA_VERSION: u32 = 1;
pub(super) const PAGE_HEADER_BYTES: usize = 16;
const NODE_HEADER_BYTES: usize = 8;
/// The part of a meta page that has a meaning: its header and the fields after it.
pub(super) const META_PAGE_BYTES: usize = PAGE_HEADER_BYTES + 136;
/// LMDB's smallest and largest page size.
const PAGE_BYTES_MIN: u64 = 512;
const PAGE_BYTES_MAX: u64 = 32_768;
/// LMDB's `CURSOR_STACK`: it follows no tree deeper than this.
pub(super) const DEPTH_MAX: u16 = 32;
/// LMDB's `MDB_MAXKEYSIZE`.
const KEY_BYTES_MAX: usize = 511;
/// LMDB's `P_INVALID`: the root of an empty tree.
pub(super) const NO_PAGE: u64 = u64::MAX;

const P_BRANCH: u16 = 0x01;
const P_LEAF: u16 = 0x02;
const P_OVERFLOW: u16 = 0x04;
const P_META: u16 = 0x08;
const F_BIGDATA: u16 = 0x01;
const MDB_INTEGERKEY: u16 = 0x08;
const MDB_NOSUBDIR: u16 = 0x4000;

/// The fields of a meta page.
#[derive(Clone, Copy, Default)]
pub(super) struct Meta {
    pub(super) page_bytes: u64,
    pub(super) free: Tree,
    pub(super) main: Tree,
    pub(super) last_page: u64,
    /// The number of the LMDB transaction that wrote it.
    pub(super) txn_id: u64,
}

/// What a meta page says about a tree.
#[derive(Clone, Copy, Default)]
pub(super) struct Tree {
    flags: u16,
    pub(super) depth: u16,
    pub(super) entries: u64,
    pub(super) root: u64,
}

impl Meta {
    /// Reads the front of the page with this number.
    pub(super) fn read(number: u64, page: &[u8; META_PAGE_BYTES]) -> Result<Meta, &'static str> {
        let meta = &page[PAGE_HEADER_BYTES..];
        if u32_at(meta, 0) != MAGIC {
            return Err("it does not begin an LMDB file");
        }
        if u32_at(meta, 4) != DATA_VERSION {
            return Err("it is of another version of LMDB");
        }
        if !is_page(page, number, P_META) {
            return Err("it is not a meta page");
        }
        let page_bytes = u64::from(u32_at(meta, 24));
        if !page_bytes.is_power_of_two() || !(PAGE_BYTES_MIN..=PAGE_BYTES_MAX).contains(&page_bytes) {
            return Err("it has an impossible page size");
        }
        let (free, main) = (Tree::read(&meta[24..]), Tree::read(&meta[72..]));
        if free.flags & !MDB_NOSUBDIR != MDB_INTEGERKEY || main.flags != 0 {
            return Err("it has flags that ticketd never sets");
        }
        Ok(Meta { page_bytes, free, main, last_page: u64_at(meta, 120), txn_id: u64_at(meta, 128) })
    }
}

impl Tree {
    fn read(bytes: &[u8]) -> Tree {
        Tree {
            flags: u16_at(bytes, 4),
            depth: u16_at(bytes, 6),
            entries: u64_at(bytes, 32),
            root: u64_at(bytes, 40),
        }
    }
}

/// One of the two trees of a data file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TreeId {
    /// The numbers of free pages, by the LMDB transaction that freed them.
    Free,
    /// The records.
    Records,
}

impl TreeId {
    /// Whether a key of this length can be in the tree.
    pub(super) fn has_keys_of(self, key_bytes: usize) -> bool {
        match self {
            TreeId::Free => key_bytes == 8,
            TreeId::Records => (1..=KEY_BYTES_MAX).contains(&key_bytes),
        }
    }

    /// Whether key `a` sorts before `b`. Both must have lengths that can be in the tree.
    pub(super) fn is_less(self, a: &[u8], b: &[u8]) -> bool {
        match self {
            TreeId::Records => a < b,
            TreeId::Free => u64_at(a, 0) < u64_at(b, 0),
        }
    }
}

/// The kind of a page of a tree.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TreePageKind {
    /// Has child pages.
    Branch,
    /// Holds values.
    Leaf,
}

impl TreePageKind {
    /// Whether `page` is a page of this kind and number.
    pub(super) fn is_of(self, page: &[u8], number: u64) -> bool {
        let flags = match self {
            TreePageKind::Branch => P_BRANCH,
            TreePageKind::Leaf => P_LEAF,
        };
        is_page(page, number, flags)
    }
}

/// How many pages the overflow value takes whose first page has this number and header; `None` if the header
/// is not that of an overflow page.
pub(super) fn overflow_pages(header: &[u8], number: u64) -> Option<u64> {
    let pages = u64::from(u32_at(header, 12));
    (is_page(header, number, P_OVERFLOW) && pages > 0).then_some(pages)
}

fn is_page(page: &[u8], number: u64, flags: u16) -> bool {
    u64_at(page, 0) == number && u16_at(page, 10) == flags
}

/// A node of a page, split into its parts.
pub(super) struct Node<'a> {
    pub(super) key: &'a [u8],
    pub(super) content: Content<'a>,
}

pub(super) enum Content<'a> {
    /// In a branch page: the page of all keys from this one on.
    Child(u64),
    /// In a leaf: the value itself.
    Inline(&'a [u8]),
    /// In a leaf: the first page and the size of a value that is on pages of its own.
    Overflow(u64, usize),
}

/// Splits a page of a tree into its nodes. The nodes must fill the end of the page without gap or overlap,
/// because LMDB moves them by their sizes.
pub(super) fn read_nodes(
    which: TreeId,
    kind: TreePageKind,
    page: &[u8],
) -> Result<Vec<Node<'_>>, &'static str> {
    let (lower, upper) = (usize::from(u16_at(page, 12)), usize::from(u16_at(page, 14)));
    if lower < PAGE_HEADER_BYTES || lower % 2 != 0 || lower > upper || upper > page.len() {
        return Err("its free space has impossible bounds");
    }
    let (pointers, _) = page[PAGE_HEADER_BYTES..lower].as_chunks::<2>();
    let nodes_min = match (which, kind) {
        // LMDB asserts two for a branch of the main tree, and tolerates one in the tree of free pages
        // (ITS#8336).
        (TreeId::Records, TreePageKind::Branch) => 2,
        (TreeId::Free, TreePageKind::Branch) | (TreeId::Free | TreeId::Records, TreePageKind::Leaf) => 1,
    };
    if pointers.len() < nodes_min {
        return Err("it has too few nodes");
    }
    let mut nodes = Vec::with_capacity(pointers.len());
    let mut spans = Vec::with_capacity(pointers.len());
    for pointer in pointers {
        let start = usize::from(u16::from_ne_bytes(*pointer));
        let Some((node, len)) = page.get(start..).and_then(|bytes| read_node(kind, bytes)) else {
            return Err("a node lies outside it");
        };
        if len > node_bytes_max(page.len()) {
            return Err("a node is larger than LMDB makes them");
        }
        spans.push((start, start + len.next_multiple_of(2)));
        nodes.push(node);
    }
    spans.sort_unstable();
    let end = spans.iter().try_fold(upper, |at, (start, end)| (at == *start).then_some(*end));
    if end != Some(page.len()) {
        return Err("its nodes overlap or leave gaps");
    }
    Ok(nodes)
}

/// LMDB's `me_nodemax`: two nodes fit into every page.
fn node_bytes_max(page_bytes: usize) -> usize {
    (((page_bytes - PAGE_HEADER_BYTES) / 2) & !1) - 2
}

/// Reads a node and its length; `None` if it does not fit into the bytes, or is of a kind that we never
/// write.
fn read_node(kind: TreePageKind, bytes: &[u8]) -> Option<(Node<'_>, usize)> {
    let (header, body) = bytes.split_at_checked(NODE_HEADER_BYTES)?;
    let flags = u16_at(header, 4);
    let (key, data) = body.split_at_checked(usize::from(u16_at(header, 6)))?;
    let low = u32_at(header, 0);
    let (content, data_len) = match kind {
        TreePageKind::Leaf => {
            let len = usize::try_from(low).expect("64-bit machines only");
            match flags {
                0 => (Content::Inline(data.get(..len)?), len),
                F_BIGDATA => (Content::Overflow(u64_at(data.get(..8)?, 0), len), 8),
                _ => return None,
            }
        }
        TreePageKind::Branch => (Content::Child(u64::from(low) | u64::from(flags) << 32), 0),
    };
    Some((Node { key, content }, NODE_HEADER_BYTES + key.len() + data_len))
}

// The callers of these three have checked that the bytes are there.

fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    NativeEndian::read_u16(&bytes[offset..])
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    NativeEndian::read_u32(&bytes[offset..])
}

pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    NativeEndian::read_u64(&bytes[offset..])
}
