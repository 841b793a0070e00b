//! What a monitoring system reads: the exact format, the numbers against what was done, and every name in the
//! documentation, that of the status included.

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use harness::cluster::{self, Cluster};
use harness::directory::Directory;
use harness::http;
use harness::node::Node;
use harness::wait;

/// A family of series.
#[derive(Debug)]
struct Family {
    kind: String,
    help: String,
    /// By name and labels, in the order of the page.
    samples: Vec<(String, String, f64)>,
}

/// A page in Prometheus' text format.
#[derive(Debug)]
struct Metrics(BTreeMap<String, Family>);

impl Metrics {
    #[track_caller]
    fn of(address: &str) -> Metrics {
        let response = http::ask(address, "GET", "/metrics").expect("a node that is awake answers");
        assert_eq!(response.status, 200);
        assert_eq!(response.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        Metrics(parse(&response.body))
    }

    /// The value of a series; `labels` as they are written.
    #[track_caller]
    fn value(&self, name: &str, labels: &str) -> f64 {
        self.find(name, labels).unwrap_or_else(|| panic!("no {name}{{{labels}}} in {self:?}"))
    }

    fn find(&self, name: &str, labels: &str) -> Option<f64> {
        let samples = self.0.values().flat_map(|family| &family.samples);
        samples.filter(|(n, l, _)| n == name && l == labels).map(|(_, _, value)| *value).next()
    }
}

/// Parses a page, and fails at anything that the format does not permit.
#[track_caller]
fn parse(page: &str) -> BTreeMap<String, Family> {
    assert!(page.ends_with('\n'), "the last line ends");
    let mut families = BTreeMap::new();
    let mut current: Option<String> = None;
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(head) = line.strip_prefix("# HELP ") {
            let (name, help) = head.split_once(' ').expect("a name and a text");
            let expected = format!("# TYPE {name} ");
            let kind = lines.next().and_then(|line| line.strip_prefix(&expected)).expect("TYPE follows HELP");
            let family = Family { kind: kind.to_owned(), help: help.to_owned(), samples: Vec::new() };
            assert!(families.insert(name.to_owned(), family).is_none(), "{name} has two heads");
            current = Some(name.to_owned());
            continue;
        }
        let name = current.as_ref().expect("a head before the first sample");
        let family = families.get_mut(name).expect("its head has been read");
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in {line:?}"));
        let (sample, labels) = match series.split_once('{') {
            Some((sample, labels)) => (sample, labels.strip_suffix('}').expect("labels end")),
            None => (series, ""),
        };
        check_labels(labels);
        let own = match family.kind.as_str() {
            "histogram" => ["_bucket", "_sum", "_count"].iter().any(|end| *sample == format!("{name}{end}")),
            "counter" | "gauge" => sample == name,
            other => panic!("{name} is a {other}"),
        };
        assert!(own, "{sample} stands below the head of {name}");
        let twice = family.samples.iter().any(|(s, l, _)| s == sample && l == labels);
        assert!(!twice, "{series} stands there twice");
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number in {line:?}"));
        assert!(value >= 0.0, "{line:?}");
        family.samples.push((sample.to_owned(), labels.to_owned(), value));
    }
    families
}

#[track_caller]
fn check_labels(labels: &str) {
    for pair in labels.split(',').filter(|_| !labels.is_empty()) {
        let (name, value) = pair.split_once('=').expect("a label and its value");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{pair:?}");
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).expect("quoted");
        assert!(!value.contains(['"', '\\']) && !value.is_empty(), "{pair:?}");
    }
}

/// What promtool checks in a page, and further conventions of Prometheus.
#[track_caller]
fn check_conventions(families: &BTreeMap<String, Family>) {
    for (name, family) in families {
        assert!(name.starts_with("ticketd_") || name.starts_with("process_"), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert!(family.help.ends_with('.') && family.help.len() > 5, "{name}: {}", family.help);
        assert_eq!(name.ends_with("_total"), family.kind == "counter", "{name} is a {}", family.kind);
        for word in ["milliseconds", "microseconds", "ms", "us", "kb", "mb", "counter", "gauge", "histogram"]
        {
            assert!(!name.split('_').any(|part| part == word), "{name} says {word}");
        }
        if family.kind == "histogram" {
            check_histogram(name, family);
        }
    }
}

#[track_caller]
fn check_histogram(name: &str, family: &Family) {
    let bounds: Vec<f64> = family
        .samples
        .iter()
        .filter_map(|(_, labels, _)| labels.strip_prefix("le=\"")?.strip_suffix('"'))
        .map(|bound| bound.replace("+Inf", "inf").parse().expect("a bound is a number"))
        .collect();
    assert!(bounds.is_sorted_by(|a, b| a < b) && bounds.last() == Some(&f64::INFINITY), "{name}: {bounds:?}");
    let values: Vec<f64> = family.samples.iter().map(|(_, _, value)| *value).collect();
    let (buckets, rest) = values.split_at(bounds.len());
    assert!(buckets.is_sorted(), "{name}: {buckets:?}");
    assert_eq!(rest.len(), 2, "{name} has a sum and a count");
    assert_eq!(buckets.last(), rest.last(), "{name}: the last bucket holds all values");
}

fn documented() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.rst");
    let text = fs::read_to_string(path).expect("docs/metrics.rst is there");
    text.split("``")
        .skip(1)
        .step_by(2)
        .map(|literal| literal.split('{').next().unwrap_or(literal))
        .filter(|literal| literal.starts_with("ticketd_") || literal.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_page_keeps_to_the_format_and_the_conventions_and_the_documentation_lists_it_all() {
    let cluster = Cluster::of(3);
    let leader = cluster.leader();
    cluster.take();
    let mut listed = BTreeSet::new();
    for node in cluster.awake() {
        let Metrics(families) = Metrics::of(&node.client_address);
        check_conventions(&families);
        listed.extend(families.into_keys());
        if node.id == leader {
            check_with_promtool(
                &http::ask(&node.client_address, "GET", "/metrics").expect("it answers").body,
            );
        }
    }
    assert_eq!(listed, documented(), "left: what nodes show; right: what docs/metrics.rst lists");
}

/// The verdict of Prometheus' own tool, if it is installed.
#[track_caller]
fn check_with_promtool(page: &str) {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        println!("promtool is not installed: its own check is left out");
        return;
    };
    promtool.stdin.take().expect("it is piped").write_all(page.as_bytes()).expect("promtool reads");
    let ended = promtool.wait_with_output().expect("promtool ends");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn the_numbers_are_those_of_what_was_done() {
    let mut cluster = Cluster::steady(3);
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let address = cluster.node(leader).client_address.clone();
    let before = Metrics::of(&address);
    let mut client = http::Client::connect(&address, wait::DEADLINE).expect("it listens");
    for _ in 0..10 {
        assert_eq!(client.ask("POST", "/").expect("an answer").status, 200);
    }
    assert_eq!(client.ask("POST", "/?n=90").expect("an answer").status, 200);
    assert_eq!(client.ask("POST", "/?n=0").expect("an answer").status, 400);
    assert_eq!(client.ask("GET", "/nowhere").expect("an answer").status, 404);
    assert_eq!(client.ask("GET", "/readyz?leader").expect("an answer").status, 200);
    let after = Metrics::of(&address);
    let grown =
        |name: &str, labels: &str| after.value(name, labels) - before.find(name, labels).unwrap_or_default();
    for (name, labels, expected) in [
        ("ticketd_ids_total", "", 100.0),
        ("ticketd_requests_total", "", 11.0),
        ("ticketd_answers_total", "kind=\"ids\"", 11.0),
        ("ticketd_http_responses_total", "handler=\"ids\",code=\"200\"", 11.0),
        ("ticketd_http_responses_total", "handler=\"protocol\",code=\"400\"", 1.0),
        ("ticketd_http_responses_total", "handler=\"protocol\",code=\"404\"", 1.0),
        // The page before, and the one that was requested.
        ("ticketd_http_responses_total", "handler=\"pages\",code=\"200\"", 2.0),
        ("ticketd_request_duration_seconds_count", "", 11.0),
        ("ticketd_round_requests_sum", "", 11.0),
        ("ticketd_http_connections_accepted_total", "", 2.0),
    ] {
        assert_eq!(grown(name, labels).round(), expected, "{name}{{{labels}}}");
    }
    assert!(grown("ticketd_request_duration_seconds_sum", "") > 0.0, "a quorum takes time");
    for (name, labels, expected) in [
        ("ticketd_role", "role=\"leader\"", 1.0),
        ("ticketd_role", "role=\"follower\"", 0.0),
        ("ticketd_leader_known", "", 1.0),
        ("ticketd_members", "", 3.0),
        ("ticketd_voters", "", 3.0),
        ("ticketd_storage_failures_total", "", 0.0),
    ] {
        assert_eq!(after.value(name, labels).round(), expected, "{name}{{{labels}}}");
    }
    let started = after.value("process_start_time_seconds", "");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    assert!(started <= now.as_secs_f64() && started > now.as_secs_f64() - 3_600.0, "{started}");
    assert!(after.value("process_resident_memory_bytes", "") > 1e6);
    assert!(after.value("ticketd_storage_sync_duration_seconds_count", "") >= 1.0);
    wait::until_true("the leader's links are up and nobody lags", || {
        let metrics = Metrics::of(&address);
        let mut others = (1..=3).filter(|id| *id != leader).map(|id| format!("member=\"{id}\""));
        let healthy = |member: String| {
            metrics.find("ticketd_link_up", &member) == Some(1.0)
                && metrics.find("ticketd_member_lag_entries", &member) == Some(0.0)
        };
        others.all(healthy)
    });
    let elsewhere = cluster.node(follower).client_address.clone();
    assert_eq!(http::ask(&elsewhere, "POST", "/").expect("an answer").status, 301);
    let metrics = Metrics::of(&elsewhere);
    assert!(metrics.value("ticketd_http_responses_total", "handler=\"ids\",code=\"301\"") >= 1.0);
    assert!(metrics.find("ticketd_member_lag_entries", "member=\"1\"").is_none(), "only a leader knows");
}

/// The names of all fields, those of objects within it included.
fn field_names(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                names.insert(name.clone());
                // Its names are those of flags.
                if name != "settings" {
                    field_names(value, names);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| field_names(value, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_field_of_the_status_is_described() {
    let directory = Directory::new();
    let node = Node::start(&directory, 1, &[]);
    wait::until("an ID", || cluster::take(&node.client_address));
    let status = http::ask(&node.client_address, "GET", "/status").expect("it answers").body;
    let mut names = BTreeSet::new();
    field_names(&serde_json::from_str(&status).expect("it is JSON"), &mut names);
    assert!(names.contains("term") && names.contains("left") && names.contains("last_heard_ms"), "{names:?}");
    let described = include_str!("../docs/http.rst");
    let missing: Vec<_> = names.iter().filter(|name| !described.contains(&format!("``{name}``"))).collect();
    assert!(missing.is_empty(), "docs/http.rst lacks {missing:?}");
}

#[test]
fn as_many_descriptors_are_open_as_the_system_has_for_the_process() {
    const IDLE: usize = 100;
    let mut cluster = Cluster::of(1);
    let (address, pid) = (cluster.node(1).client_address.clone(), cluster.node(1).pid());
    let _idle: Vec<TcpStream> =
        (0..IDLE).map(|_| TcpStream::connect(&address).expect("it listens")).collect();
    wait::until_true("what the page says is what there is", || {
        let shown = Metrics::of(&address).value("process_open_fds", "");
        let there = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count();
        // The connection that carried the page may be closed by now.
        there > IDLE && (there..=there + 1).any(|there| shown.to_string() == there.to_string())
    });
}

#[test]
fn a_dead_member_shows_and_a_change_of_leader_counts() {
    let mut cluster = Cluster::of(3);
    let leader = cluster.leader();
    cluster.node(leader).kill();
    let next = cluster.leader();
    let address = cluster.node(next).client_address.clone();
    wait::until_true("the link to the dead member is down, and it lags", || {
        let metrics = Metrics::of(&address);
        let member = format!("member=\"{leader}\"");
        metrics.find("ticketd_link_up", &member) == Some(0.0)
            && metrics.find("ticketd_member_lag_entries", &member) > Some(0.0)
    });
    assert!(Metrics::of(&address).value("ticketd_leader_changes_total", "") >= 2.0);
}
