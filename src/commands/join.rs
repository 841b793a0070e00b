//! `ticketd join`: creates a store and asks the cluster to take it in.
//!
//! The store is created first, because the cluster will know the node by the incarnation in it: when a join
//! that was killed half-way is given again, it finds its store and asks for the same node once more. If the
//! cluster refuses, the store is destroyed, so that nothing has changed. With `--force`, a store that is in
//! the way must be destroyed before that, but only once the leader has been asked whether it would take in a
//! new node with this id.

use std::path::Path;
use std::time::{Duration, Instant};

use raft_core::{HardState, Incarnation, NodeId, Peer};

use super::Failure;
use super::admin::client::{AskError, AskProblem, ask, joined, status_of_leader};
use super::admin::cluster_view::ClusterView;
use super::admin::reach::{LookUp, look_up};
use super::new_store::{InTheWay, destroy_in_the_way, expect_apart, required_id};
use super::patience::Patience;
use super::random::random_u128;
use super::serving::launch::{Checked, Launch, refuse_running};
use super::serving::listen;
use super::serving::serve::{after_serving, get_ready};
use crate::address::HostPort;
use crate::advice::path_flag;
use crate::cli::Flags;
use crate::codec::MEMBERS_MAX;
use crate::identity::{ClusterId, Identity, Standing};
use crate::peer::{AdminRequest, RefusedReason};
use crate::settings::Settings;
use crate::storage::{NewStore, Store, StoreError};

/// How long a member's name may lead nowhere, counted from the first attempt. Name servers fail for moments,
/// and a name may exist only once its node does; but a name that nobody knows for this long is a mistake.
const NAME_PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two attempts.
const NAME_PAUSE: Duration = Duration::from_secs(1);

/// Joins the cluster of `members`, and serves.
///
/// # Errors
/// [`Failure`]. If the cluster has refused or was never asked, no store is left of this join; if it may have
/// accepted, the store stays, and the join can be given again.
pub(super) fn run(flags: &Flags, members: &[HostPort]) -> Result<(), Failure> {
    let id = required_id(flags, "ticketd join HOST:PORT --id 2")?;
    let mut settings = Settings::default().with(&flags.serving.changes())?;
    expect_apart(flags)?;
    let launch = Launch::prepare(flags)?;
    refuse_running(flags.path())?;
    let bound = listen::bind(&mut settings)?;
    let members = other_members(members, &settings)?;
    let members: Vec<String> = members.iter().map(ToString::to_string).collect();
    let patience = Patience::until_stopped(&launch.stop);
    await_one_to_resolve(id, &members, &look_up, &patience, NAME_PATIENCE)?;
    bound.admit_members()?;

    if flags.force && flags.path().exists() {
        expect_to_be_admitted(&members, id, &patience)?;
    }
    let in_the_way = destroy_in_the_way(flags, &launch, |_| Ok(()))?;
    let mut joining = make_or_resume(flags.path(), id, &settings, &launch, in_the_way)?;
    if let Standing::Member { cluster, .. } = joining.store.identity().standing {
        expect_members_of(cluster, &members, id, &patience)?;
    }
    let me = joining.store.identity().me;
    let request = AdminRequest::Join {
        peer: me,
        peer_address: settings.peer_address().to_string(),
        client_address: settings.client_address().to_string(),
    };
    log::debug!("asking {} to take in node {id}", members.join(", "));
    let (cluster, joined_at) = match ask(&members, &request, joined, &patience) {
        Ok(joined) => joined,
        Err(error) => return Err(joining.undo(flags, id, &error)),
    };
    let identity = Identity { me, standing: Standing::Member { cluster, joined_at } };
    joining.store.set_identity(&identity).map_err(|error| unrecorded(error, flags, id))?;
    log::info!("node {id} is a learner of cluster {cluster}, and will vote when it has caught up");
    let ready = get_ready(joining.store, bound, &settings, launch)
        .map_err(|failure| taken_in(&failure, flags.path(), id))?;
    after_serving(ready.serve()?, flags.path(), id)
}

/// The store does not hold that the cluster has taken the node in: the same join asks for it once more.
fn unrecorded(error: StoreError, flags: &Flags, id: NodeId) -> Failure {
    // `--force` would destroy the store that the cluster knows.
    let unforced = if flags.force { " without --force" } else { "" };
    Failure::from(error)
        .adding(&format!("the cluster has taken node {id} in: run the same command again{unforced}"))
}

/// Otherwise the operator would take the node for one that the cluster does not count.
fn taken_in(failure: &Failure, path: &Path, id: NodeId) -> Failure {
    failure.adding(&format!("the cluster has taken node {id} in: go on with 'ticketd {}'", path_flag(path)))
}

/// Checks that the cluster has a leader, and that it would take in a new node with this id as things stand.
/// Waits for a leader as long as a join does.
fn expect_to_be_admitted(members: &[String], id: NodeId, patience: &Patience<'_>) -> Result<(), Failure> {
    let problem = match ask(members, &AdminRequest::Status, status_of_leader, patience) {
        Ok(ClusterView { members, .. }) => {
            if members.contains(&id) {
                return Err(Failure::runtime(format!(
                    "the id {id} belongs to another node of the cluster, or to the one whose store --force \
                     is to destroy: choose another --id, or remove that node with 'ticketd leave --id {id}' \
                     at a member; nothing has changed"
                )));
            }
            if members.len() < MEMBERS_MAX {
                return Ok(());
            }
            AskProblem::Refused(RefusedReason::TooManyMembers)
        }
        Err(error) => error.problem,
    };
    Err(Failure::runtime(refusal(id, &problem, InTheWay::Nothing)))
}

/// Checks that these are members of the cluster that has taken this node in already. To another one, it would
/// be a new node.
fn expect_members_of(
    ours: ClusterId,
    members: &[String],
    id: NodeId,
    patience: &Patience<'_>,
) -> Result<(), Failure> {
    match ask(members, &AdminRequest::Status, status_of_leader, patience) {
        Ok(ClusterView { cluster, .. }) if cluster == ours => Ok(()),
        Ok(ClusterView { cluster: theirs, .. }) => Err(Failure::runtime(format!(
            "the cluster {ours} has taken this node in, and {} belongs to the cluster {theirs}: name members \
             of the former; or remove node {id} there with 'ticketd leave --id {id}' at a member, and start \
             over here with --force",
            members.join(", ")
        ))),
        Err(error) => Err(Failure::runtime(refusal(id, &error.problem, InTheWay::Nothing))),
    }
}

/// A store that, as far as it knows, the cluster has not taken in yet.
struct Joining {
    store: Store,
    /// Whether an earlier join may have asked the cluster to take this store in.
    resumed: bool,
    in_the_way: InTheWay,
}

impl Joining {
    /// Destroys the store, unless the cluster may know it.
    fn undo(self, flags: &Flags, id: NodeId, error: &AskError) -> Failure {
        let known = match error.problem {
            // A refusal is final, whatever became of the request at earlier leaders: what they appended, and
            // the leader that refuses does not have, is never committed.
            AskProblem::Refused(_) => false,
            AskProblem::Interrupted | AskProblem::GaveUp { .. } | AskProblem::Incompatible { .. } => {
                error.may_have_happened || self.resumed
            }
        };
        let path = self.store.path().to_owned();
        if known {
            let path_flag = path_flag(&path);
            // `--force` would destroy the store that the cluster may know.
            let unforced = if flags.force { " without --force" } else { "" };
            return Failure::runtime(format!(
                "{}; the cluster may yet take the node in: run the same command again{unforced}; or \
                 'ticketd drop {path_flag}' here and 'ticketd leave --id {id}' at a member",
                error.problem
            ));
        }
        match self.store.destroy() {
            Ok(()) if self.resumed => Failure::runtime(format!(
                "{}; the store of the unfinished join is destroyed",
                refusal(id, &error.problem, self.in_the_way)
            )),
            Ok(()) => Failure::runtime(refusal(id, &error.problem, self.in_the_way)),
            Err(left) => {
                Failure::runtime(format!("{}; its store could not be destroyed: {left}", error.problem))
            }
        }
    }
}

fn make_or_resume(
    path: &Path,
    id: NodeId,
    settings: &Settings,
    launch: &Launch,
    in_the_way: InTheWay,
) -> Result<Joining, Failure> {
    let me = Peer { id, incarnation: Incarnation(random_u128()?) };
    let identity = Identity { me, standing: Standing::Joining };
    let new = NewStore {
        identity: &identity,
        settings: &settings.to_pairs(),
        map_bytes: settings.db_size_bytes(),
        hard_state: HardState::default(),
        snapshot: None,
    };
    match Store::create(path, &new) {
        Ok(store) => Ok(Joining { store, resumed: false, in_the_way }),
        Err(exists @ StoreError::Exists { .. }) => resume(path, id, settings, launch, exists),
        Err(error) => Err(error.into()),
    }
}

fn resume(
    path: &Path,
    id: NodeId,
    settings: &Settings,
    launch: &Launch,
    exists: StoreError,
) -> Result<Joining, Failure> {
    let stopped =
        || Failure::runtime("stopped before it was taken in: run the same command again".to_owned());
    if launch.check(path)? == Checked::StoppedMeanwhile {
        return Err(stopped());
    }
    let mut store = Store::open(path)?;
    let Identity { me, standing } = *store.identity();
    match standing {
        // The node was taken in, and stopped before it heard from the cluster: it may have to tell it a new
        // address.
        Standing::Member { .. } if me.id == id && store.knows_nobody() => (),
        Standing::Member { .. } if me.id == id => {
            return Err(Failure::runtime(format!(
                "node {id} belongs to a cluster already, with the store at {}: start it with 'ticketd \
                 {path_flag}'; if it has been removed since, 'ticketd drop {path_flag}' or --force destroys \
                 the store",
                path.display(),
                path_flag = path_flag(path)
            )));
        }
        Standing::Member { .. } => return Err(exists.into()),
        Standing::Joining if me.id != id => {
            return Err(Failure::runtime(format!(
                "{} holds an unfinished join of node {}: go on with --id {}, or start over with --force",
                path.display(),
                me.id,
                me.id
            )));
        }
        Standing::Joining => (),
    }
    let stored = Settings::from_pairs(store.settings())?;
    if launch.sit_out_promises(&stored, settings).is_err() {
        return Err(stopped());
    }
    // All settings are those of the command that is given now, and the size is one of them.
    store.resize(settings.db_size_bytes())?;
    store.set_settings(&settings.to_pairs())?;
    log::info!("resuming the join that the store at {} was made for", path.display());
    Ok(Joining { store, resumed: true, in_the_way: InTheWay::Nothing })
}

/// The members other than this node, each once. An operator may give the same list on every host of a
/// cluster, so it may name this node too.
fn other_members<'a>(members: &'a [HostPort], settings: &Settings) -> Result<Vec<&'a HostPort>, Failure> {
    let own = settings.peer_address();
    let mut others: Vec<&HostPort> = Vec::new();
    for member in members {
        if *member != own && !others.contains(&member) {
            others.push(member);
        }
    }
    if others.is_empty() {
        return Err(Failure::usage(format!(
            "{own} is this node's own address: name a member of the cluster"
        )));
    }
    Ok(others)
}

/// Waits until the host of one of the members resolves: [`ask`] then waits for the others as well.
fn await_one_to_resolve(
    id: NodeId,
    members: &[String],
    look_up: LookUp<'_>,
    patience: &Patience<'_>,
    name_patience: Duration,
) -> Result<(), Failure> {
    let Some(mut problem) = unresolved(members, look_up, patience) else { return Ok(()) };
    log::info!("waiting for the cluster: {problem}");
    let until = Instant::now() + name_patience;
    loop {
        if patience.sleep(NAME_PAUSE.min(name_patience)).is_err() {
            return Err(Failure::runtime(refusal(id, &AskProblem::Interrupted, InTheWay::Nothing)));
        }
        problem = match unresolved(members, look_up, patience) {
            Some(problem) => problem,
            None => return Ok(()),
        };
        if Instant::now() >= until {
            return Err(Failure::runtime(format!(
                "{problem}: name a member by an address, or by a name that this machine knows"
            )));
        }
    }
}

/// Why no member can be reached, if the host of none resolves.
fn unresolved(members: &[String], look_up: LookUp<'_>, patience: &Patience<'_>) -> Option<String> {
    let mut problem = None;
    for member in members {
        match look_up(member, patience) {
            Ok(addresses) if addresses.is_empty() => {
                problem = Some(format!("the host of {member} has no address"))
            }
            Ok(_) => return None,
            Err(error) => problem = Some(format!("the host of {member} does not resolve ({error})")),
        }
    }
    problem
}

/// The error line when the cluster does not take a node in: what is wrong and what to do.
fn refusal(id: NodeId, problem: &AskProblem, in_the_way: InTheWay) -> String {
    let line = match problem {
        AskProblem::Refused(RefusedReason::IdTaken) => format!(
            "the id {id} belongs to another node of the cluster: choose another --id, or remove that node \
             with 'ticketd leave --id {id}' at a member"
        ),
        AskProblem::Refused(RefusedReason::TooManyMembers) => {
            format!("{problem}: remove one with 'ticketd leave --id N' first")
        }
        AskProblem::Interrupted if in_the_way == InTheWay::Nothing => {
            format!("{problem}; nothing has changed: run the command again to join")
        }
        AskProblem::Interrupted => format!("{problem}: run the command again to join"),
        AskProblem::Refused(
            RefusedReason::NoSuchMember
            | RefusedReason::LastVoter
            | RefusedReason::TransferFailed
            | RefusedReason::NoQuorumLeft
            | RefusedReason::OtherCluster
            | RefusedReason::NoOtherVoter
            | RefusedReason::NotAVoter,
        )
        | AskProblem::GaveUp { .. }
        | AskProblem::Incompatible { .. } => problem.to_string(),
    };
    match in_the_way {
        InTheWay::Nothing => line,
        InTheWay::Destroyed => format!("{line}; the store that was in the way is destroyed"),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{self, Write};
    use std::net::SocketAddr;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::server::StopRequests;

    fn parsed(members: &[&str]) -> Vec<HostPort> {
        members.iter().map(|member| member.parse().unwrap()).collect()
    }

    #[test]
    fn a_node_cannot_join_through_itself() {
        let failure = other_members(&parsed(&["127.0.0.1:9000"]), &Settings::default()).unwrap_err();
        assert!(failure.to_string().contains("own address"), "{failure}");
        let all_hosts = parsed(&["127.0.0.1:9001", "127.0.0.1:9000", "127.0.0.1:9001"]);
        assert_eq!(other_members(&all_hosts, &Settings::default()).unwrap(), [&all_hosts[0]]);
    }

    /// Name servers of which each answer but the first so many is an address.
    fn failing(times: usize) -> impl Fn(&str, &Patience<'_>) -> io::Result<Vec<SocketAddr>> {
        let left = Cell::new(times);
        move |_, _| match left.get() {
            0 => Ok(vec![SocketAddr::from(([127, 0, 0, 1], 9001))]),
            more => {
                left.set(more - 1);
                Err(io::Error::other("no server answers"))
            }
        }
    }

    fn await_names(times: usize, name_patience: Duration, patience: &Patience<'_>) -> Result<(), Failure> {
        let (id, members) = (NodeId::new(2).unwrap(), ["a:9001".to_owned(), "b:9001".to_owned()]);
        await_one_to_resolve(id, &members, &failing(times), patience, name_patience)
    }

    #[test]
    fn a_name_that_fails_to_resolve_for_a_moment_is_waited_for() {
        let patience = Patience::lasting(Duration::from_secs(60));
        for times in [0, 1, 3] {
            assert_eq!(await_names(times, Duration::from_secs(60), &patience), Ok(()), "{times}");
        }
    }

    #[test]
    fn a_name_that_never_resolves_is_an_error_after_another_attempt() {
        let (short, patience) = (Duration::from_millis(1), Patience::lasting(Duration::from_secs(60)));
        let failure = await_names(usize::MAX, short, &patience).unwrap_err().to_string();
        assert!(failure.contains("the host of b:9001 does not resolve (no server answers): "), "{failure}");
        // However long the first attempt has taken.
        assert_eq!(await_names(2, short, &patience), Ok(()));
    }

    #[test]
    fn a_join_that_waits_for_a_name_can_be_stopped() {
        let (stops, mut stop) = UnixStream::pair().unwrap();
        let requests = StopRequests::on(stops).unwrap();
        stop.write_all(b"x").unwrap();
        let patience = Patience::until_stopped(&requests);
        let failure = await_names(usize::MAX, Duration::from_secs(60), &patience).unwrap_err();
        assert!(failure.to_string().contains("nothing has changed"), "{failure}");
    }

    #[test]
    fn a_join_whose_outcome_cannot_be_stored_is_given_again_but_does_not_destroy_its_store() {
        let error = StoreError::NotFound { path: "store".into() };
        for (line, hint) in [("", "same command again"), (" --force", "same command again without --force")] {
            let line = format!("ticketd join a:1 --id 3{line}");
            let flags = crate::cli::parse(line.split(' ')).unwrap().flags;
            let said = unrecorded(error.clone(), &flags, NodeId::new(3).unwrap()).to_string();
            assert!(said.ends_with(&format!("; the cluster has taken node 3 in: run the {hint}")), "{said}");
        }
    }

    #[test]
    fn a_taken_id_is_told_how_to_be_freed() {
        let taken = AskProblem::Refused(RefusedReason::IdTaken);
        let said = refusal(NodeId::new(3).unwrap(), &taken, InTheWay::Nothing);
        assert!(said.contains("ticketd leave --id 3"), "{said}");
    }

    #[test]
    fn nothing_is_said_to_be_as_it_was_where_a_store_was_destroyed() {
        let said = |in_the_way| refusal(NodeId::new(3).unwrap(), &AskProblem::Interrupted, in_the_way);
        assert!(said(InTheWay::Nothing).contains("nothing has changed"));
        let destroyed = said(InTheWay::Destroyed);
        assert!(
            !destroyed.contains("nothing has changed") && destroyed.contains("is destroyed"),
            "{destroyed}"
        );
    }
}
