//! The architecture rules as tests: which module may use which, how long a file or a function may be, what
//! the pure floors must not touch. Each failure message gives the reason for the rule.

// A test may unwrap: what fails there is the test.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file without its tests: what can be read in one sitting.
const FILE_LINES_MAX: usize = 520;
/// Lines of a function: what fits one screen.
const FUNCTION_LINES_MAX: usize = 70;

/// Columns of a line: `max_width` in `rustfmt.toml`.
const COLUMNS_MAX: usize = 110;
/// The directories that hold our Rust code.
const SOURCES: &[&str] =
    &["src", "raft-core", "sim", "model", "fuzz/src", "fuzz/fuzz_targets", "tests", "bench"];
/// The directories that hold our documents.
const DOCUMENTS: &[&str] = &["", "docs", "tests/clients"];

/// Each module of the program and its floor. A new module must be given one.
const FLOORS: &[(&str, u8)] = &[
    ("main", 5),
    ("cli", 5),
    ("commands", 5),
    ("logging", 5),
    ("server", 4),
    ("http", 3),
    ("peer", 3),
    ("storage", 3),
    ("log_writer", 3),
    ("procfs", 3),
    ("node", 2),
    ("codec", 2),
    ("identity", 2),
    ("settings", 2),
    ("redirect_status", 2),
    ("address", 2),
    ("advice", 2),
    ("histogram", 2),
    ("lib", 0),
];

#[test]
fn a_module_uses_only_the_floors_below_its_own() {
    let floors: BTreeMap<_, _> = FLOORS.iter().copied().collect();
    let mut wrong = Vec::new();
    for source in sources("src") {
        let from = source.module();
        let Some(floor) = floors.get(from.as_str()) else {
            panic!("src/{from} stands on no floor: give it one in FLOORS, and in docs/architecture.rst");
        };
        for (line, used) in source.uses() {
            let allowed = used == from
                || floors
                    .get(used.as_str())
                    .is_some_and(|below| below < floor || (below == floor && matches!(floor, 2 | 5)));
            if floors.contains_key(used.as_str()) && !allowed && *floor != 0 {
                wrong.push(format!("{}:{line}: {from} (floor {floor}) uses {used}", source.path.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "a thing uses only the floors below it, so that each can be read and tested \
        without the ones above:\n{}",
        wrong.join("\n")
    );
}

/// Each module of the store and its floor within the store: see `src/storage/mod.rs`.
const STORE_FLOORS: &[(&str, u8)] = &[
    ("verify", 6),
    ("thread", 6),
    ("store", 5),
    ("reading", 4),
    ("contents", 3),
    ("directory", 3),
    ("journal", 2),
    ("data_file", 2),
    ("lock", 1),
    ("watch", 1),
    ("files", 1),
    ("error", 1),
    ("record", 0),
    ("mod", u8::MAX),
];

#[test]
fn inside_the_store_a_module_uses_only_those_below_its_own() {
    let floors: BTreeMap<_, _> = STORE_FLOORS.iter().copied().collect();
    let mut wrong = Vec::new();
    for source in sources("src/storage").iter().filter(|source| !source.is_test) {
        let from = source.module_below("src/storage");
        let Some(floor) = floors.get(from.as_str()) else {
            panic!("{from} stands nowhere in the store: give it a place in STORE_FLOORS, and in its mod.rs");
        };
        for path in source.used_paths() {
            let [root, used, ..] = &path[..] else { continue };
            let is_free = |below: &u8| below < floor || (below == floor && *floor == 1);
            if root == "storage"
                && *used != from
                && floors.get(used.as_str()).is_some_and(|below| !is_free(below))
            {
                wrong.push(format!("{}: {from} uses {used}", source.path.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "what decides, what the two places on the disk are, and what carries out must stay apart:\n{}",
        wrong.join("\n")
    );
}

/// In `raft-core`, the parts of the one state machine are `impl` blocks of one type, which knows them all.
#[test]
fn no_two_modules_of_one_folder_use_each_other() {
    let sources: Vec<_> = sources("src").into_iter().filter(|source| !source.is_test).collect();
    let modules: BTreeSet<_> = sources.iter().map(Source::module_path).collect();
    // Of two modules side by side, which uses which: the folder, the one, and the other.
    let mut uses: BTreeMap<Vec<String>, BTreeSet<(String, String)>> = BTreeMap::new();
    for source in &sources {
        let from = source.module_path();
        for used in source.used_paths() {
            let known = (0..=used.len()).rev().find(|length| modules.contains(&used[..*length]));
            let used = &used[..known.unwrap_or(0)];
            let shared = from.iter().zip(used).take_while(|(from, used)| from == used).count();
            if let (Some(from), Some(to)) = (from.get(shared), used.get(shared)) {
                uses.entry(used[..shared].to_vec()).or_default().insert((from.clone(), to.clone()));
            }
        }
    }
    assert!(uses.values().map(BTreeSet::len).sum::<usize>() > 100, "the modules use each other: {uses:?}");
    let mut cycles = Vec::new();
    for (folder, mut uses) in uses {
        // What uses nothing that is left, or is used by nothing that is left, is in no cycle.
        loop {
            let users: BTreeSet<_> = uses.iter().map(|(user, _)| user.clone()).collect();
            let used: BTreeSet<_> = uses.iter().map(|(_, used)| used.clone()).collect();
            let before = uses.len();
            uses.retain(|(from, to)| used.contains(from) && users.contains(to));
            if uses.len() == before {
                break;
            }
        }
        cycles.extend(uses.iter().map(|(from, to)| format!("{}: {from} uses {to}", folder.join("::"))));
    }
    assert!(
        cycles.is_empty(),
        "modules that use each other can only be read, tested and changed together; what both need belongs \
         below them, and what joins them above:\n{}",
        cycles.join("\n")
    );
}

#[test]
fn what_says_that_it_is_pure_touches_no_clock_no_socket_no_thread_and_no_hash_map() {
    const IMPURE: &[&str] = &[
        "std::net",
        "std::thread",
        "std::fs",
        "std::time",
        "std::env",
        "std::os",
        "Instant::",
        "SystemTime",
        "HashMap",
        "HashSet",
        "std::process",
        "std::io::",
        "mio::",
        "lmdb::",
        "rustix::",
        "getrandom",
    ];
    let mut wrong = Vec::new();
    for source in program().filter(Source::is_pure) {
        for (line, text) in source.code() {
            for word in IMPURE.iter().filter(|word| text.contains(**word)) {
                if !imports_addresses_alone(text) {
                    wrong.push(format!("{}:{line}: {word}", source.path.display()));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "its header says that it is pure: the same inputs must give the same outputs, byte for byte, or no \
        simulation can replay a failure:\n{}",
        wrong.join("\n")
    );
}

/// An address is a plain value; using one touches nothing.
fn imports_addresses_alone(text: &str) -> bool {
    const ADDRESSES: [&str; 3] = ["IpAddr", "Ipv4Addr", "Ipv6Addr"];
    let names = text.strip_prefix("use std::net::").map(|rest| rest.split(|c: char| !c.is_alphanumeric()));
    names.is_some_and(|mut names| names.all(|name| name.is_empty() || ADDRESSES.contains(&name)))
}

#[test]
fn what_must_be_pure_says_so() {
    let floors: BTreeMap<_, _> = FLOORS.iter().copied().collect();
    let roots = ["raft-core/src", "src/http", "src/peer", "src/storage/contents", "src/storage/record"];
    let must = |source: &Source| {
        floors.get(source.module().as_str()) == Some(&2)
            || roots.iter().any(|root| source.path.starts_with(root))
    };
    let silent: Vec<_> = program()
        .filter(|source| must(source) && !source.is_pure())
        .map(|source| source.path.display().to_string())
        .collect();
    assert!(
        silent.is_empty(),
        "docs/architecture.rst promises that these are pure, and their headers, and those of the modules \
         that they belong to, do not say so: {silent:?}"
    );
}

#[test]
fn the_core_is_no_std_forbids_unsafe_code_and_depends_on_nothing() {
    let root = fs::read_to_string(path("raft-core/src/lib.rs")).unwrap();
    assert!(root.contains("#![no_std]") && root.contains("#![forbid(unsafe_code)]"));
    let manifest = fs::read_to_string(path("raft-core/Cargo.toml")).unwrap();
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or("").split('[').next().unwrap_or("");
    assert_eq!(
        dependencies.trim(),
        "",
        "the compiler keeps clocks and sockets out only while nothing brings them"
    );
}

#[test]
fn files_are_read_in_one_sitting_and_functions_in_one_screen() {
    let mut long = Vec::new();
    for source in program() {
        let lines = source.code().len();
        if lines > FILE_LINES_MAX {
            long.push(format!("{}: {lines} lines, {FILE_LINES_MAX} at most", source.path.display()));
        }
        for (name, line, length) in source.functions() {
            if length > FUNCTION_LINES_MAX {
                long.push(format!(
                    "{}:{line}: fn {name} has {length} lines, {FUNCTION_LINES_MAX} at most",
                    source.path.display()
                ));
            }
        }
    }
    assert!(long.is_empty(), "split by concept:\n{}", long.join("\n"));
}

/// The formatter leaves comments alone, and strings, and whatever expression has a string that is too wide.
#[test]
fn comments_and_strings_are_as_wide_as_code_may_be() {
    let mut wide = Vec::new();
    for directory in SOURCES {
        for source in sources(directory) {
            let lines = source.text.lines().enumerate();
            for (at, _) in lines.filter(|(_, line)| line.chars().count() > COLUMNS_MAX) {
                wide.push(format!("{}:{}", source.path.display(), at + 1));
            }
        }
    }
    assert!(wide.is_empty(), "wrap at {COLUMNS_MAX} columns, as rustfmt.toml has it:\n{}", wide.join("\n"));
}

/// A table is as wide as what it holds, and a line of the log that is quoted is not broken.
#[test]
fn the_text_of_documents_is_as_wide_as_code_may_be() {
    let is_of_table = |line: &str| {
        let line = line.trim_start();
        line.starts_with(['|', '+']) || (line.starts_with("==") && line.contains(' '))
    };
    let mut wide = Vec::new();
    for document in DOCUMENTS.iter().flat_map(|directory| documents(directory)) {
        let text = fs::read_to_string(&document).unwrap();
        let prose = text.split("\n\n").filter(|block| !block.lines().any(is_of_table));
        let lines =
            prose.flat_map(str::lines).filter(|line| !(line.starts_with("``") && line.ends_with("``")));
        for line in lines.filter(|line| line.chars().count() > COLUMNS_MAX) {
            wide.push(format!("{}: {line}", document.display()));
        }
    }
    assert!(wide.is_empty(), "wrap at {COLUMNS_MAX} columns:\n{}", wide.join("\n"));
}

#[test]
fn every_module_says_what_it_is() {
    let silent: Vec<_> = program()
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| source.path.display().to_string())
        .collect();
    assert!(
        silent.is_empty(),
        "a module opens with what it is, what it may use and what it must never know: \
        {silent:?}"
    );
}

#[test]
fn nothing_unfinished_is_handed_in() {
    let mut found = Vec::new();
    for source in program() {
        for (line, text) in source.code() {
            let unfinished = ["TODO", "FIXME", "XXX", "todo!", "unimplemented!", ".unwrap()", "for now"];
            for word in unfinished.iter().filter(|word| text.contains(**word)) {
                found.push(format!("{}:{line}: {word}", source.path.display()));
            }
        }
    }
    assert!(found.is_empty(), "finish it, or open an issue:\n{}", found.join("\n"));
}

struct Source {
    path: PathBuf,
    text: String,
    /// Whether the file is compiled for tests only.
    is_test: bool,
}

impl Source {
    /// The module directly under `src` that this file belongs to.
    fn module(&self) -> String {
        self.module_below("src")
    }

    /// The module directly under this directory that this file belongs to.
    fn module_below(&self, directory: &str) -> String {
        let relative = self.path.strip_prefix(directory).unwrap_or(&self.path);
        let first = relative.components().next().expect("a file has a name");
        first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
    }

    /// The names of the modules that lead from the root of the crate to this file's own.
    fn module_path(&self) -> Vec<String> {
        let below_root = self.path.with_extension("");
        let names = below_root.components().skip(1).map(|name| name.as_os_str().to_string_lossy());
        names.filter(|name| !["mod", "lib"].contains(&name.as_ref())).map(Into::into).collect()
    }

    /// The paths from the root of the crate that the code names by `crate` or `super`.
    fn used_paths(&self) -> Vec<Vec<String>> {
        let lines = self.code().into_iter().map(|(_, line)| line.trim_start());
        let code = lines.filter(|line| !line.starts_with("//")).collect::<Vec<_>>().join("\n");
        let mut paths = Vec::new();
        for (at, word) in code.match_indices("crate::").chain(code.match_indices("super::")) {
            // A `super` that follows another has been read with it.
            if !code[..at].ends_with("super::") {
                let base = if word == "crate::" { Vec::new() } else { self.module_path() };
                read_paths(&mut &code[at..], &base, &mut paths);
            }
        }
        paths
    }

    /// The lines before the file's tests, numbered from 1; none if the whole file is a test.
    fn code(&self) -> Vec<(usize, &str)> {
        if self.is_test {
            return Vec::new();
        }
        let lines = self.text.lines().enumerate().map(|(at, line)| (at + 1, line));
        let tests = self.text.lines().position(|line| line.starts_with("mod tests {"));
        lines.take(tests.unwrap_or(usize::MAX)).collect()
    }

    /// The modules of the program that this file names in `use crate::...` or in a path.
    fn uses(&self) -> Vec<(usize, String)> {
        let mut uses = Vec::new();
        for (line, text) in self.code() {
            for part in text.split("crate::").skip(1).chain(text.split("ticketd::").skip(1)) {
                if text.trim_start().starts_with("//") {
                    continue;
                }
                let name: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                uses.push((line, name));
            }
        }
        uses
    }

    /// Whether the header of the file, or of a module that it belongs to, says that it is pure.
    fn is_pure(&self) -> bool {
        let of_module = |directory: &Path| {
            let headers =
                [directory.join("mod.rs"), directory.join("lib.rs"), directory.with_extension("rs")];
            headers
                .iter()
                .any(|file| fs::read_to_string(path("").join(file)).is_ok_and(|text| says_pure(&text)))
        };
        let directories = self.path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
        says_pure(&self.text) || directories.into_iter().any(of_module)
    }

    /// Each function with its first line and its number of lines, found by indentation.
    fn functions(&self) -> Vec<(String, usize, usize)> {
        let code = self.code();
        let mut functions = Vec::new();
        for (at, (line, text)) in code.iter().enumerate() {
            let trimmed = text.trim_start();
            let head = trimmed.split('(').next().unwrap_or("");
            let Some(name) = head.split("fn ").nth(1).filter(|_| !trimmed.starts_with("//")) else {
                continue;
            };
            let indent = text.len() - trimmed.len();
            let end = format!("{}}}", " ".repeat(indent));
            let length = code[at..].iter().position(|(_, text)| {
                *text == end || text.ends_with(';') && text.len() - text.trim_start().len() == indent
            });
            functions.push((name.to_owned(), *line, length.unwrap_or(0) + 1));
        }
        functions
    }
}

/// Reads one path of a `use`, or all those of a group in braces, and adds what it leads to from `base`.
fn read_paths(code: &mut &str, base: &[String], paths: &mut Vec<Vec<String>>) {
    let mut path = base.to_vec();
    loop {
        *code = code.trim_start();
        if let Some(mut group) = code.strip_prefix('{') {
            while !group.trim_start().starts_with('}') && !group.trim().is_empty() {
                read_paths(&mut group, &path, paths);
                group = group.trim_start().trim_start_matches(',');
            }
            *code = group.trim_start().trim_start_matches('}');
            return;
        }
        let length = code.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(code.len());
        let (name, rest) = code.split_at(length);
        match name {
            "crate" | "self" => {}
            "super" => drop(path.pop()),
            name => path.push(name.to_owned()),
        }
        let Some(next) = rest.strip_prefix("::") else {
            // What follows may rename it.
            *code = rest.trim_start_matches(|c| !matches!(c, ',' | '}'));
            return paths.push(path);
        };
        *code = next;
    }
}

/// Whether the header of a file contains the word, outside drawings.
fn says_pure(text: &str) -> bool {
    let header = text.lines().map_while(|line| line.strip_prefix("//!"));
    let prose = header.collect::<Vec<_>>().join("\n");
    let prose = prose.split("```").step_by(2);
    prose
        .flat_map(|prose| prose.split(|c: char| !c.is_alphanumeric()))
        .any(|word| word.eq_ignore_ascii_case("pure"))
}

/// Every Rust source of the program, in a fixed order.
fn program() -> impl Iterator<Item = Source> {
    ["raft-core/src", "src"].into_iter().flat_map(sources)
}

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// Whether the module of this file, or a parent module, is declared for tests only.
fn is_declared_as_test(file: &Path) -> bool {
    let Some(name) = file.file_stem().map(|stem| stem.to_string_lossy()) else { return false };
    let declared = format!("#[cfg(test)]\nmod {name};");
    let of_directory = file.parent().map(|directory| directory.with_extension("rs"));
    let parents = ["mod.rs", "lib.rs"].map(|parent| file.with_file_name(parent)).into_iter();
    parents
        .chain(of_directory.clone())
        .any(|parent| fs::read_to_string(parent).is_ok_and(|text| text.contains(&declared)))
        || of_directory.is_some_and(|parent| is_declared_as_test(&parent))
}

/// Every document in this directory, which is relative to the project.
fn documents(directory: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(path(directory)).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "rst")).collect();
    assert!(!found.is_empty(), "no documents in {directory:?}");
    found
}

/// Every Rust source below `root`, which is relative to the project, in a fixed order.
fn sources(root: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut waiting = vec![path(root)];
    while let Some(next) = waiting.pop() {
        if next.is_dir() {
            let children = fs::read_dir(&next).unwrap().map(|entry| entry.unwrap().path());
            waiting.extend(children);
        } else if next.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&next).unwrap();
            let relative = next.strip_prefix(path("")).unwrap().to_owned();
            let is_test = is_declared_as_test(&next);
            found.push(Source { path: relative, text, is_test });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no sources below {root}");
    found
}
