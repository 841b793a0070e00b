//! The rules of the house, as tests: who may use whom, how long a file or a function may be, what the pure floors
//! must not touch. Each failure says why the rule is there.

// A test may unwrap: what fails there is the test.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file without its tests: what a person reads in one sitting.
const FILE_LINES_MAX: usize = 520;
/// Lines of a function: what fits one screen.
const FUNCTION_LINES_MAX: usize = 70;

/// Each module of the program and the floor it stands on. A new module must be given one.
const FLOORS: &[(&str, u8)] = &[
    ("main", 5),
    ("cli", 5),
    ("commands", 5),
    ("server", 4),
    ("http", 3),
    ("peer", 3),
    ("storage", 3),
    ("node", 2),
    ("codec", 2),
    ("identity", 2),
    ("settings", 2),
    ("address", 2),
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

#[test]
fn the_pure_floors_touch_no_clock_no_socket_no_thread_and_no_hash_map() {
    const IMPURE: &[&str] = &[
        "std::net",
        "std::thread",
        "std::fs",
        "std::time",
        "Instant::",
        "SystemTime",
        "HashMap",
        "HashSet",
        "std::process",
        "std::io::",
        "mio::",
        "getrandom",
    ];
    let pure = [
        "raft-core/src",
        "src/node",
        "src/codec.rs",
        "src/storage/contents",
        "src/storage/record",
        "src/peer",
        "src/http",
        "src/identity.rs",
        "src/histogram.rs",
    ];
    let mut wrong = Vec::new();
    for source in pure.iter().flat_map(|root| sources(root)) {
        for (line, text) in source.code() {
            for word in IMPURE.iter().filter(|word| text.contains(**word)) {
                wrong.push(format!("{}:{line}: {word}", source.path.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "the same inputs must give the same outputs, byte for byte, or no simulation can \
        replay a failure:\n{}",
        wrong.join("\n")
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
    for source in ["raft-core/src", "src"].iter().flat_map(|root| sources(root)) {
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

#[test]
fn every_module_says_what_it_is() {
    let silent: Vec<_> = ["raft-core/src", "src"]
        .iter()
        .flat_map(|root| sources(root))
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
    for source in ["raft-core/src", "src"].iter().flat_map(|root| sources(root)) {
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
    /// Compiled for tests alone.
    is_test: bool,
}

impl Source {
    /// The module right under `src` that this file belongs to.
    fn module(&self) -> String {
        let relative = self.path.strip_prefix("src").unwrap_or(&self.path);
        let first = relative.components().next().expect("a file has a name");
        first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
    }

    /// The lines before the file's tests, numbered from 1; none in a file that is a test itself.
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

    /// Each function with the line it begins on and how many lines it has, by its indentation.
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

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// Whether the module that this file belongs to, or one further up, is declared for tests alone.
fn is_declared_as_test(file: &Path) -> bool {
    let Some(name) = file.file_stem().map(|stem| stem.to_string_lossy()) else { return false };
    let declared = format!("#[cfg(test)]\nmod {name};");
    let parents = ["mod.rs", "lib.rs"].map(|parent| file.with_file_name(parent));
    parents.iter().any(|parent| fs::read_to_string(parent).is_ok_and(|text| text.contains(&declared)))
        || file.parent().is_some_and(|directory| is_declared_as_test(&directory.with_extension("rs")))
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
