//! `ticketd status`: what the running node knows about itself and the cluster, as text or as JSON.
//!
//! The node sends JSON. Numbers reach 2^64-1 and must never be converted to floating point: serde_json keeps
//! them exact.

use std::fmt::Write;

use serde_json::Value;

use super::Failure;
use super::admin::contacts::running_node;
use super::output::say;
use crate::cli::Flags;

/// Asks the node that runs on the store, and prints its answer.
///
/// # Errors
/// [`Failure`] if no node runs there or it does not answer.
pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let node = running_node(flags.path())?;
    let json = node.status()?;
    if flags.json {
        return say(&json);
    }
    let text = serde_json::from_str::<Value>(&json)
        .ok()
        .and_then(|status| table(&status, node.pid))
        .ok_or_else(|| node.not_understood())?;
    say(text.trim_end())
}

/// The status as text; `None` if a field is missing. Fields that newer versions add are ignored.
fn table(status: &Value, pid: u32) -> Option<String> {
    let leader = present(status, "leader")?.and_then(Value::as_u64);
    let leader = leader.map_or_else(|| "none known".to_owned(), |leader| format!("node {leader}"));
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<12}{value}");
    };
    line("node", format!("{} (process {pid}, ticketd {})", number(status, "id")?, text(status, "version")?));
    line("cluster", text(status, "cluster")?.to_owned());
    let leased = status.get("holds_lease").and_then(Value::as_bool) == Some(true);
    let lease = if leased { ", with a lease" } else { "" };
    line("role", format!("{} in term {}{lease}", text(status, "role")?, number(status, "term")?));
    line("leader", leader);
    line(
        "log",
        format!(
            "committed up to {}, applied up to {}, last entry {}",
            number(status, "commit_index")?,
            number(status, "applied_index")?,
            number(status, "last_log_index")?
        ),
    );
    if let Some(next_id) = next_id(status)? {
        line("next ID", next_id);
    }
    line("reserved", reserved(status)?);
    line("peers", text(status, "peer_address")?.to_owned());
    line("clients", text(status, "client_address")?.to_owned());
    if let Some(disk) = disk_wait(status) {
        line("disk", disk);
    }
    line("up for", duration(status.get("uptime_seconds")?.as_u64()?));
    if status.get("write_failed")?.as_bool()? {
        let what = "FAILED: a write failed, or what was written is lost; this node takes no further part, \
                    see its log";
        line("disk", what.to_owned());
    }
    out.push('\n');
    let rows: Option<Vec<[String; 7]>> = status.get("members")?.as_array()?.iter().map(member_row).collect();
    push_rows(&mut out, rows?);
    Some(out)
}

/// How long the oldest write has waited for the disk; `None` if none waits, or if the node's version does not
/// report it.
fn disk_wait(status: &Value) -> Option<String> {
    let ms = status.get("disk_waits_ms")?.as_u64()?;
    Some(format!("slow: the oldest write has waited {}.{:03} s", ms / 1_000, ms % 1_000))
}

/// On a leader, the ID that it gives next, and how many it has at hand. Outer `None`: a field is missing.
fn next_id(status: &Value) -> Option<Option<String>> {
    let Some(window) = present(status, "window")? else { return Some(None) };
    let (next, left) = (number(window, "next_id")?, number(window, "left")?);
    Some(Some(format!("{next} ({left} left in the window)")))
}

/// Up to where IDs are reserved. It counts what is in the log and not known to be committed: of all the
/// numbers of a node, this is the one below which a cluster in its place must not begin.
fn reserved(status: &Value) -> Option<String> {
    // A node of an earlier version reports only what it knows to be committed.
    let in_log = number(status, "next_unreserved_in_log").or_else(|| number(status, "next_unreserved"))?;
    Some(format!("IDs below {in_log}, by this node's log"))
}

const HEADINGS: [&str; 7] = ["ID", "PEERS", "CLIENTS", "SUFFRAGE", "MATCH", "LINK", "HEARD"];

fn member_row(member: &Value) -> Option<[String; 7]> {
    let heard = present(member, "last_heard_ms")?.and_then(Value::as_u64);
    let heard = heard.map_or_else(|| "-".to_owned(), |heard| format!("{heard} ms ago"));
    Some([
        number(member, "id")?,
        text(member, "peer_address")?.to_owned(),
        text(member, "client_address")?.to_owned(),
        text(member, "suffrage")?.to_owned(),
        number(member, "match_index").unwrap_or_else(|| "-".to_owned()),
        text(member, "link")?.to_owned(),
        heard,
    ])
}

fn push_rows(out: &mut String, rows: Vec<[String; 7]>) {
    let rows: Vec<[String; 7]> = std::iter::once(HEADINGS.map(str::to_owned)).chain(rows).collect();
    for row in &rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            format!("{cell:<width$}")
        });
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
}

fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60 % 60, seconds / 3600 % 24, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {} s", seconds % 60),
        3600..86_400 => format!("{hours} h {minutes} min"),
        86_400.. => format!("{days} d {hours} h"),
    }
}

/// The field of this name, which must be there; the inner `Option` is `None` if it is null.
fn present<'a>(value: &'a Value, name: &str) -> Option<Option<&'a Value>> {
    let value = value.get(name)?;
    Some((!value.is_null()).then_some(value))
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

fn number(value: &Value, name: &str) -> Option<String> {
    value.get(name)?.as_u64().map(|number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: &str = r#"{"id":1,"incarnation":"01","cluster":"ff","version":"9.9.9","role":"leader",
        "term":4,"leader":1,"commit_index":12,"applied_index":11,"last_log_index":13,
        "next_unreserved":18446744073709551615,
        "window":{"next_id":18446744073709551601,"left":14},"write_failed":false,"peer_address":"h1:9000",
        "client_address":"h1:8000","uptime_seconds":3700,"of_a_later_version":[],"members":[
        {"id":1,"incarnation":"01","suffrage":"voter","peer_address":"h1:9000","client_address":"h1:8000",
         "match_index":13,"link":"self","last_heard_ms":null},
        {"id":20,"incarnation":"02","suffrage":"learner","peer_address":"h20.example:9000",
         "client_address":"h20.example:8000","match_index":null,"link":"down","last_heard_ms":5}]}"#;

    #[test]
    fn a_leaders_status_is_told_with_every_number_exact_and_its_members_in_columns() {
        let text = table(&serde_json::from_str(LEADER).unwrap(), 77).unwrap();
        let expected = "\
node        1 (process 77, ticketd 9.9.9)
cluster     ff
role        leader in term 4
leader      node 1
log         committed up to 12, applied up to 11, last entry 13
next ID     18446744073709551601 (14 left in the window)
reserved    IDs below 18446744073709551615, by this node's log
peers       h1:9000
clients     h1:8000
up for      1 h 1 min

ID  PEERS             CLIENTS           SUFFRAGE  MATCH  LINK  HEARD
1   h1:9000           h1:8000           voter     13     self  -
20  h20.example:9000  h20.example:8000  learner   -      down  5 ms ago
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_follower_without_a_leader_and_with_a_failed_disk_says_both() {
        let mut status: Value = serde_json::from_str(LEADER).unwrap();
        status["leader"] = Value::Null;
        status["window"] = Value::Null;
        status["write_failed"] = Value::Bool(true);
        let text = table(&status, 77).unwrap();
        assert!(text.contains("leader      none known\n"), "{text}");
        assert!(text.contains("a write failed"), "{text}");
    }

    #[test]
    fn what_is_told_as_reserved_is_what_the_whole_log_reserves() {
        let mut status: Value = serde_json::from_str(LEADER).unwrap();
        status["window"] = Value::Null;
        status["next_unreserved"] = 5.into();
        for (in_log, below) in [(5.into(), 5), (1075.into(), 1075), (Value::Null, 5)] {
            status["next_unreserved_in_log"] = in_log;
            let text = table(&status, 77).unwrap();
            assert!(text.contains(&format!("reserved    IDs below {below}, by this node's log\n")), "{text}");
            assert!(!text.contains("next ID"), "it does not lead: {text}");
        }
    }

    #[test]
    fn a_write_that_waits_for_the_disk_is_told_where_there_is_one_and_the_node_says_so() {
        let mut status: Value = serde_json::from_str(LEADER).unwrap();
        let disk = |status: &Value| table(status, 77).unwrap().lines().any(|line| line.starts_with("disk"));
        assert!(!disk(&status), "a node of an older version does not say");
        status["disk_waits_ms"] = Value::Null;
        assert!(!disk(&status));
        status["disk_waits_ms"] = 2_045.into();
        let text = table(&status, 77).unwrap();
        assert!(text.contains("\ndisk        slow: the oldest write has waited 2.045 s\n"), "{text}");
    }

    #[test]
    fn a_status_that_lacks_something_is_not_half_told() {
        let whole: Value = serde_json::from_str(LEADER).unwrap();
        for name in ["id", "role", "term", "leader", "window", "members", "commit_index", "next_unreserved"] {
            let mut status = whole.clone();
            status.as_object_mut().unwrap().remove(name);
            assert_eq!(table(&status, 77), None, "{name}");
        }
    }

    #[test]
    fn durations_are_told_in_their_two_largest_units() {
        let told = [0, 59, 60, 3599, 3600, 86_399, 86_400, 1_000_000].map(duration);
        assert_eq!(
            told,
            ["0 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "23 h 59 min", "1 d 0 h", "11 d 13 h"]
        );
    }
}
