//! `ticketd leave`: a member leaves its cluster and its store is destroyed; with `--id`, another member is
//! removed and no store is touched.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use raft_core::NodeId;
use rustix::process::{Pid, Signal};

use super::admin::client::{AskError, AskProblem, ask, removed};
use super::admin::contacts::{Contacts, RunningNode};
use super::output::say;
use super::patience::Patience;
use super::{Failure, WHO_IS_UP};
use crate::advice::path_flag;
use crate::cli::Flags;
use crate::peer::{AdminRequest, RefusedReason};
use crate::storage::{self, Destroyed, Sighting, StoreError};

/// How long the cluster is asked. A removal waits for a leader, and for a leader that is being removed to
/// hand over first.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a removed node may take to learn of its removal before it is told to stop: several elections.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long it may then take to stop: the longest that it waits for its clients, and some disk time.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// How often to check whether it has stopped.
const TICK: Duration = Duration::from_millis(20);

/// Removes this node, or the one that `--id` names.
///
/// # Errors
/// [`Failure`], which says how far the removal got.
pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let path = flags.path();
    // Seen before anything is asked, so that the node that is removed is the one whose store this is.
    let seen = Sighting::at(path);
    let contacts = Contacts::of(path)?;
    let (cluster, me) = contacts.identity()?;
    match flags.id {
        Some(other) if other != me.id => {
            let request = AdminRequest::Remove { cluster, id: other, incarnation: None };
            remove(path, &contacts, other, &request, Absent::IsAnError)?;
            say(&format!("node {other} is no longer a member of the cluster"))
        }
        Some(_) | None => {
            // Once the node has left, there is no way back.
            storage::expect_destroyable(path).map_err(|error| Failure::runtime(not_destroyable(&error)))?;
            let seen = seen?;
            let incarnation = Some(me.incarnation);
            let request = AdminRequest::Remove { cluster, id: me.id, incarnation };
            remove(path, &contacts, me.id, &request, Absent::IsDone)?;
            let (id, shown) = (me.id, path.display());
            let destroyed = end_and_destroy(path, &contacts, &seen).map_err(|why| {
                Failure::runtime(format!(
                    "node {id} has left its cluster; its store at {shown} remains: {why}; then \
                     'ticketd drop {}' destroys it",
                    path_flag(path)
                ))
            })?;
            say(&match destroyed {
                Destroyed::Now => {
                    format!("node {id} has left its cluster, and its store at {shown} is destroyed")
                }
                Destroyed::NotThere => {
                    format!("node {id} has left its cluster, and its store is no longer at {shown}")
                }
            })
        }
    }
}

/// What remains to be done once the cluster has removed the node. Until then, half a minute may pass. If the
/// node was meanwhile removed from elsewhere, its store dropped, and a new node joined in its place, then the
/// process and the store that are there now are those of a member.
fn end_and_destroy(path: &Path, contacts: &Contacts, seen: &Sighting) -> Result<Destroyed, Failure> {
    if let Contacts::Running(node) = contacts {
        wait_until_stopped(path, node.pid, seen)?;
    }
    Ok(seen.destroy()?)
}

/// What it means if there is no such member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Absent {
    /// An earlier attempt already removed it.
    IsDone,
    /// The operator must have meant another member.
    IsAnError,
}

fn remove(
    path: &Path,
    contacts: &Contacts,
    id: NodeId,
    request: &AdminRequest,
    absent: Absent,
) -> Result<(), Failure> {
    if contacts.addresses().is_empty() {
        return Err(Failure::runtime(match absent {
            Absent::IsDone => last_member(path, id, absent),
            Absent::IsAnError => no_member(id),
        }));
    }
    let error = match ask_cluster(contacts, request) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    match error.problem {
        // An earlier request may have been carried out and its answer lost: then this is the answer to it.
        AskProblem::Refused(RefusedReason::NoSuchMember)
            if absent == Absent::IsDone || error.may_have_happened =>
        {
            Ok(())
        }
        AskProblem::Refused(RefusedReason::NoSuchMember) => Err(Failure::runtime(no_member(id))),
        AskProblem::Refused(RefusedReason::LastVoter) => Err(Failure::runtime(last_member(path, id, absent))),
        AskProblem::Refused(RefusedReason::NoQuorumLeft) => Err(Failure::runtime(no_quorum_left(id))),
        AskProblem::Refused(
            RefusedReason::IdTaken
            | RefusedReason::TransferFailed
            | RefusedReason::NoOtherVoter
            | RefusedReason::NotAVoter
            | RefusedReason::TooManyMembers
            | RefusedReason::OtherCluster,
        )
        | AskProblem::Interrupted
        | AskProblem::Incompatible { .. } => Err(Failure::runtime(error.to_string())),
        AskProblem::GaveUp { .. } => Err(Failure::runtime(match absent {
            Absent::IsDone => format!("{error}; {WHO_IS_UP}; {}", by_another_member(path, id)),
            Absent::IsAnError => format!("{error}; {WHO_IS_UP}"),
        })),
    }
}

/// What helps if the others have a leader, and only this node does not hear it.
fn by_another_member(path: &Path, id: NodeId) -> String {
    format!(
        "if the other members have a leader, 'ticketd leave --id {id}' at one of them removes this node, and \
         'ticketd drop {}' here destroys its store",
        path_flag(path)
    )
}

/// Asks through the node that runs on the store. If that node ends before the answer is there, most likely
/// because it has been removed, asks the other members that its store names.
fn ask_cluster(contacts: &Contacts, request: &AdminRequest) -> Result<(), AskError> {
    let Contacts::Running(RunningNode { path, .. }) = contacts else {
        return ask(contacts.addresses(), request, removed, &Patience::lasting(PATIENCE));
    };
    let has_ended = || matches!(storage::running(path), Ok(None));
    let error =
        match ask(contacts.addresses(), request, removed, &Patience::lasting_unless(PATIENCE, &has_ended)) {
            Err(error) if has_ended() && matches!(error.problem, AskProblem::GaveUp { .. }) => error,
            outcome => return outcome,
        };
    match Contacts::of(path) {
        Ok(now) if !now.addresses().is_empty() => {
            let later = ask(now.addresses(), request, removed, &Patience::lasting(PATIENCE));
            later.map_err(|later| {
                let may_have_happened = later.may_have_happened || error.may_have_happened;
                AskError { may_have_happened, ..later }
            })
        }
        // The first error says more.
        Ok(_) | Err(_) => Err(error),
    }
}

/// Another path, or other rights, are no remedy here.
fn not_destroyable(error: &StoreError) -> String {
    let (StoreError::Denied { action, path, reason } | StoreError::ReadOnly { action, path, reason }) = error
    else {
        return format!("{error}; nothing has changed");
    };
    let remedy = if matches!(error, StoreError::ReadOnly { .. }) {
        "make its file system writable first"
    } else {
        "give the command as the user that the node runs as"
    };
    format!("cannot {action} {}: {reason}: {remedy}; nothing has changed", path.display())
}

fn no_member(id: NodeId) -> String {
    format!("node {id} is not a member of the cluster: 'ticketd status' shows who is")
}

fn no_quorum_left(id: NodeId) -> String {
    format!(
        "without node {id}, too few of the voters that are left are up to agree on anything: start those \
         that are down, or remove them first ('ticketd leave --id N'); 'ticketd status' shows who is up"
    )
}

/// `path` is where the command was given: the store there need not be that of the node that is to leave.
fn last_member(path: &Path, id: NodeId, absent: Absent) -> String {
    let drop = match absent {
        Absent::IsDone => format!("'ticketd drop {}'", path_flag(path)),
        Absent::IsAnError => "'ticketd drop' where it runs".to_owned(),
    };
    format!(
        "node {id} is the last voter of its cluster and cannot leave it: to give the cluster up, stop that \
         node and destroy its store with {drop}"
    )
}

/// A removed node stops by itself when it hears of its removal; one that does not hear of it is told to stop.
fn wait_until_stopped(path: &Path, pid: u32, seen: &Sighting) -> Result<(), Failure> {
    if stopped_within(path, FAREWELL, seen)? {
        return Ok(());
    }
    // The node may have been restarted since it was asked.
    let running = storage::running(path)?;
    let pid = running.as_ref().map_or(pid, |running| running.pid);
    if running.is_some() {
        if !storage::is_open_in(path, pid) {
            return Err(Failure::runtime(format!(
                "its process cannot be found from here, as if it ran in a container, where its id is {pid}: \
                 stop it there"
            )));
        }
        log::info!("process {pid} still runs, telling it to stop");
        if let Some(process) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            rustix::process::kill_process(process, Signal::TERM).map_err(|error| {
                Failure::runtime(format!("its process {pid} cannot be told to stop ({error}): stop it"))
            })?;
        }
    }
    if stopped_within(path, STOP_PATIENCE, seen)? {
        return Ok(());
    }
    Err(Failure::runtime(format!("its process {pid} does not stop: stop it")))
}

/// Whether no process holds the store, or the store is no longer there.
fn stopped_within(path: &Path, patience: Duration, seen: &Sighting) -> Result<bool, Failure> {
    let begun = Instant::now();
    loop {
        if !seen.is_there()? || storage::running(path)?.is_none() {
            return Ok(true);
        }
        if begun.elapsed() >= patience {
            return Ok(false);
        }
        thread::sleep(TICK);
    }
}

#[cfg(test)]
mod tests {
    use raft_core::{Incarnation, LogIndex, Peer};

    use std::fs::{self, File};
    use std::process::Command;

    use super::*;
    use crate::commands::testing::{bytes, member};
    use crate::identity::ClusterId;
    use crate::peer::{AdminResponse, RetryReason};
    use crate::storage::TestDir;

    const NO_SUCH_MEMBER: AdminResponse = AdminResponse::Refused(RefusedReason::NoSuchMember);

    const CLUSTER: ClusterId = ClusterId(1);

    fn request(id: NodeId) -> AdminRequest {
        AdminRequest::Remove { cluster: CLUSTER, id, incarnation: None }
    }

    /// A stopped node 1 whose cluster has these other members.
    fn stopped(others: Vec<String>) -> Contacts {
        let me = Peer { id: NodeId::new(1).unwrap(), incarnation: Incarnation(1) };
        Contacts::Stopped { cluster: CLUSTER, me, others }
    }

    /// The result of removing another node when a member gives these answers in turn.
    fn remove_another(answers: Vec<Vec<u8>>) -> Result<(), Failure> {
        let (address, thread) = member(answers);
        let id = NodeId::new(3).unwrap();
        let outcome =
            remove(Path::new("store"), &stopped(vec![address]), id, &request(id), Absent::IsAnError);
        thread.join().unwrap();
        outcome
    }

    #[test]
    fn another_that_is_no_member_when_the_request_is_repeated_has_been_removed() {
        for first in [Vec::new(), bytes(AdminResponse::Retry(RetryReason::Unknown))] {
            assert_eq!(remove_another(vec![first, bytes(NO_SUCH_MEMBER)]), Ok(()));
        }
    }

    #[test]
    fn another_that_is_no_member_when_it_is_asked_for_first_is_an_error() {
        for answers in [
            vec![bytes(NO_SUCH_MEMBER)],
            vec![bytes(AdminResponse::Retry(RetryReason::NoLeader)), bytes(NO_SUCH_MEMBER)],
        ] {
            let failure = remove_another(answers).unwrap_err();
            assert!(failure.to_string().contains("node 3 is not a member"), "{failure}");
        }
    }

    /// Its ports may belong to another program by now: what a node of another cluster says about members does
    /// not apply to ours.
    #[test]
    fn a_node_of_another_cluster_or_another_program_where_a_member_listened_is_passed_over() {
        let removed = bytes(AdminResponse::Removed { at: LogIndex(9) });
        let other_cluster = bytes(AdminResponse::Refused(RefusedReason::OtherCluster));
        for stranger_says in [other_cluster, b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()] {
            let (stranger, strange) = member(vec![stranger_says]);
            let (own, thread) = member(vec![removed.clone()]);
            let id = NodeId::new(1).unwrap();
            let outcome =
                remove(Path::new("store"), &stopped(vec![stranger, own]), id, &request(id), Absent::IsDone);
            assert_eq!(outcome, Ok(()));
            strange.join().unwrap();
            thread.join().unwrap();
        }
    }

    /// As where the node runs in a container: its process has another id here, and the id that its lock names
    /// is that of another process.
    #[test]
    fn a_process_that_does_not_hold_the_store_is_not_told_to_stop_whatever_the_lock_says() {
        let directory = TestDir::new();
        let path = directory.path();
        fs::write(path.join("data.mdb"), "").unwrap();
        let mut innocent = Command::new("sleep").arg("60").spawn().unwrap();
        fs::write(path.join("lock"), format!("pid {}\n", innocent.id())).unwrap();
        let holder = File::open(path.join("lock")).unwrap();
        holder.lock().unwrap();
        let seen = Sighting::at(path).unwrap();
        let failure = wait_until_stopped(path, innocent.id(), &seen).unwrap_err();
        assert!(failure.to_string().contains("stop it there"), "{failure}");
        assert_eq!(innocent.try_wait().unwrap(), None);
        assert!(storage::is_open_in(path, std::process::id()));
        innocent.kill().unwrap();
        innocent.wait().unwrap();
    }

    #[test]
    fn a_node_that_knows_no_other_member_is_the_last_and_is_told_of_drop() {
        let id = NodeId::new(4).unwrap();
        let contacts = stopped(Vec::new());
        let failure = remove(Path::new("store"), &contacts, id, &request(id), Absent::IsDone).unwrap_err();
        assert!(failure.to_string().contains("ticketd drop"), "{failure}");
        // Any other node that is meant is not the last voter.
        let other = NodeId::new(7).unwrap();
        let failure =
            remove(Path::new("store"), &contacts, other, &request(other), Absent::IsAnError).unwrap_err();
        assert!(failure.to_string().contains("node 7 is not a member"), "{failure}");
    }
}
