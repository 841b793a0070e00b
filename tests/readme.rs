//! Documents against the program: the table of flags in `README.rst` against the help, with the same flags,
//! short names, values and defaults; `docs/operations.rst` against the log; and the files and folders that
//! any of them names against the tree.

mod harness;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use harness::command;

const README: &str = include_str!("../README.rst");
const OPERATIONS: &str = include_str!("../docs/operations.rst");

/// In lines that say that what never fails has failed. An operator can do nothing about that.
const UNEXPLAINED: &str = "could not wake the loop";

/// Where the table has less room than the help: its words for a default, and the help's.
const SHORTER: [(&str, &str); 3] = [
    ("", "this node, or the member most up to date"),
    ("--host", "that of --host"),
    ("open files", "what the limit of open files permits, 16384 at most"),
];

/// What is said of a flag besides what it means.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Flag {
    /// Empty if it has none.
    short: String,
    /// Empty if it takes none.
    value: String,
    default: String,
}

/// Takes apart the names of a flag, such as `-I, --id N`, and returns the long one and the others.
fn named(names: &str, default: &str) -> (String, Flag) {
    let (short, long) = names.split_once(", ").unwrap_or(("", names));
    let (long, value) = match long.split_once([' ', '[']) {
        Some((long, value)) => (long, value.trim_matches([' ', '=', ']'])),
        None => (long, ""),
    };
    assert!(long.starts_with("--"), "{names}");
    let flag = Flag { short: short.to_owned(), value: value.to_owned(), default: default.to_owned() };
    (long.to_owned(), flag)
}

/// The rows of the table. A row that continues another has nothing in its first column.
fn in_readme() -> BTreeMap<String, Flag> {
    let (_, section) = README.split_once("\nFlags\n-----\n").expect("the section of the flags");
    let ruler = section.lines().find(|line| line.starts_with("===")).expect("a table");
    let second = ruler.find(" =").expect("a second column") + 1;
    let third = second + ruler[second..].find(" =").expect("a third column") + 1;
    let rows = section.split(ruler).nth(2).expect("rows").lines();
    let cell = |text: &str| text.trim().replace("``", "");
    rows.filter(|row| row.starts_with('`'))
        .map(|row| named(&cell(&row[..second]), &cell(row.get(second..third).unwrap_or(&row[second..]))))
        .collect()
}

/// The options that the help lists. Their text begins after two spaces, or on the next line.
fn in_help() -> BTreeMap<String, Flag> {
    let help = command::run(&["--help"]).succeeded();
    let (_, options) = help.split_once("\nOptions:\n").expect("a list of options");
    let (options, _) = options.split_once("\n\n").expect("more after the list");
    // The text, which may name another flag, is indented further.
    let is_first = |line: &str| line.starts_with("  -") || line.starts_with("      --");
    let mut paragraphs: Vec<String> = Vec::new();
    for line in options.lines() {
        match paragraphs.last_mut() {
            Some(paragraph) if !is_first(line) => {
                paragraph.push_str(if paragraph.contains("  ") { " " } else { "  " });
                paragraph.push_str(line.trim());
            }
            Some(_) | None => paragraphs.push(line.trim().to_owned()),
        }
    }
    let flag = |paragraph: &String| {
        let (names, text) = paragraph.split_once("  ").expect("names, then a text");
        let default =
            text.split_once("[default: ").map_or("", |(_, rest)| rest.split(']').next().unwrap_or(rest));
        named(&names.replace(['<', '>'], ""), default)
    };
    paragraphs.iter().map(flag).collect()
}

/// What the table says of a flag of which the help says this.
fn as_in_readme(long: &str, help: &Flag) -> Flag {
    let shorter = SHORTER.iter().find(|(_, full)| *full == help.default).map(|(short, _)| *short);
    let is_switch = help.value.is_empty() && !["--help", "--version"].contains(&long);
    let default = if is_switch { "off" } else { shorter.unwrap_or(&help.default) };
    // That it can be switched off is said in words.
    let value = help.value.strip_suffix("|off").filter(|value| *value != "on").unwrap_or(&help.value);
    Flag { default: default.to_owned(), value: value.to_owned(), ..help.clone() }
}

#[test]
fn the_table_of_flags_lists_every_flag_with_its_short_name_its_value_and_its_default() {
    let (table, help) = (in_readme(), in_help());
    assert!(table.len() > 25 && table["--raft_port"].default == "9000", "{table:?}");
    let listed: Vec<&String> = table.keys().collect();
    assert_eq!(listed, help.keys().collect::<Vec<_>>(), "the flags of README.rst, and those of --help");
    for (long, flag) in &help {
        assert_eq!(table[long], as_in_readme(long, flag), "{long}: README.rst, and --help");
    }
}

#[test]
fn every_command_that_the_help_lists_is_described() {
    let help = command::run(&["--help"]).succeeded();
    let (_, commands) = help.split_once("\nCommands:\n").unwrap();
    let (commands, _) = commands.split_once("\n\n").unwrap();
    let names = commands.lines().filter(|line| !line.starts_with("   "));
    let names: Vec<&str> = names.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains(&"start") && names.contains(&"verify"), "{names:?}");
    let (_, section) = README.split_once("\nCommands\n--------\n").unwrap();
    let (section, _) = section.split_once("\nFlags\n").unwrap();
    for name in names.into_iter().filter(|name| *name != "help") {
        let begins = |line: &str| {
            line.strip_prefix(&format!("``ticketd {name}")).is_some_and(|rest| rest.starts_with([' ', '`']))
        };
        assert!(section.lines().any(begins), "ticketd {name}");
    }
}

/// Of each line that this source logs at `WARN` or `ERROR`, the first words, three at least, that are always
/// the same. Lines whose words are made elsewhere are left out.
fn lines_for_attention(source: &str) -> Vec<String> {
    let calls = ["log::warn!(", "log::error!("].into_iter().flat_map(|call| source.split(call).skip(1));
    let formats = calls.filter_map(|call| call.trim_start().strip_prefix('"')?.split('"').next());
    let fixed = formats.filter_map(|format| {
        let line: String = format.split("\\\n").map(str::trim_start).collect();
        let between = line.split(['{', '}']).step_by(2);
        let mut words = between.map(|words| words.trim_matches(|c: char| !c.is_alphanumeric()).to_owned());
        words.find(|words| words.split(' ').count() >= 3)
    });
    fixed.collect()
}

fn sources(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("the sources are there");
    let paths = entries.map(|entry| entry.expect("a directory can be read to its end").path());
    let read = |path: PathBuf| {
        if path.is_dir() {
            sources(&path)
        } else {
            vec![fs::read_to_string(&path).expect("a source is text")]
        }
    };
    paths.flat_map(read).collect()
}

#[test]
fn every_line_of_the_log_that_needs_attention_is_explained() {
    let explained = OPERATIONS.split_whitespace().collect::<Vec<_>>().join(" ");
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let lines: Vec<String> = sources.iter().flat_map(|source| lines_for_attention(source)).collect();
    assert!(lines.len() > 10, "{lines:?}");
    for line in lines.iter().filter(|line| !line.contains(UNEXPLAINED)) {
        assert!(explained.contains(line.as_str()), "docs/operations.rst, What the log says: {line}");
    }
}

/// Every file and folder of the program, relative to its root; not what was built or measured.
fn tree() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut waiting) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).expect("the program can be read") {
            let path = entry.expect("it can be listed").path();
            let name = path.file_name().unwrap_or_default();
            if path.is_dir() && name != "target" && name != ".git" {
                waiting.push(path.clone());
            }
            found.push(path.strip_prefix(root).expect("it is below").to_owned());
        }
    }
    found
}

#[test]
fn every_source_and_folder_that_a_document_names_is_there() {
    let tree = tree();
    let is_document = |path: &&PathBuf| {
        let parent = path.parent().unwrap_or(Path::new(""));
        path.extension().is_some_and(|end| end == "rst")
            && !path.ends_with("CHANGELOG.rst")
            && (parent == Path::new("") || parent == Path::new("docs"))
    };
    let (mut named, mut missing) = (0, Vec::new());
    for document in tree.iter().filter(is_document) {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).unwrap();
        // What is between double backquotes: every second piece.
        for literal in text.split("``").skip(1).step_by(2) {
            let is_source = [".rs", ".py", ".c", ".sh"].iter().any(|end| literal.ends_with(end));
            let is_folder =
                literal.ends_with('/') && !literal.starts_with(['/', '.']) && !literal.contains(':');
            let is_made = literal.contains("target/") || literal.contains("artifacts/");
            let is_one = !literal.contains([' ', '*', '{', '<', '$']);
            if is_one && (is_source || is_folder) && !is_made {
                named += 1;
                if !tree.iter().any(|path| path.ends_with(literal.trim_end_matches('/'))) {
                    missing.push(format!("{}: {literal}", document.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(named > 100, "only {named} names were found");
}
