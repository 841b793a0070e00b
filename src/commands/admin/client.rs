//! Sends an operator's request to the members of a cluster until an answer settles it.
//!
//! It tries all members that it was given, follows redirects to the leader, waits while the cluster has no
//! leader, and reports what it waits for. It blocks: a command has nothing else to do. It must never look at
//! a store. A request that may have been carried out without an answer is sent again; every request of
//! [`AdminRequest`] is safe to repeat.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use raft_core::{LogIndex, NodeId};

use super::backoff::{ANSWER_TIMEOUT, Backoff};
use super::cluster_view::{ClusterView, Leader};
use super::exchange::{Trouble, exchange};
use super::reach::{LookUp, addresses_of, look_up};
use crate::commands::patience::{Impatience, Patience};
use crate::commands::random::random_u64;
use crate::identity::ClusterId;
use crate::peer::{AdminRequest, AdminResponse, RefusedReason, RetryReason};

/// How many redirects are followed in a row. Two nodes that each believe that the other leads must not be
/// asked in a tight loop.
const REDIRECTS_MAX: u32 = 3;
/// How often trouble with the same address is logged.
const NARRATION_INTERVAL: Duration = Duration::from_secs(10);

/// What an answer means for the request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict<T> {
    /// It settles the request.
    Settled(T),
    /// Only the leader can settle it, which is this node.
    LedBy {
        /// Its id.
        id: NodeId,
        /// Its address for operators.
        peer_address: String,
    },
    /// Only the leader can settle it, and none is known.
    NoLeader,
    /// It answers another question.
    Unasked,
    /// This version does not understand it.
    NotUnderstood,
}

/// An answer to a request to join: the cluster, and the index of the membership with the new member.
pub(crate) fn joined(answer: AdminResponse) -> Verdict<(ClusterId, LogIndex)> {
    let AdminResponse::Joined { cluster, joined_at } = answer else { return Verdict::Unasked };
    Verdict::Settled((cluster, joined_at))
}

/// An answer to a request to remove a member.
pub(crate) fn removed(answer: AdminResponse) -> Verdict<()> {
    let AdminResponse::Removed { at: _ } = answer else { return Verdict::Unasked };
    Verdict::Settled(())
}

/// An answer to a request to transfer leadership: who leads now.
pub(crate) fn transferred(answer: AdminResponse) -> Verdict<NodeId> {
    let AdminResponse::Transferred { leader } = answer else { return Verdict::Unasked };
    Verdict::Settled(leader)
}

/// An answer to a request for the status, whoever gives it: JSON.
pub(crate) fn status(answer: AdminResponse) -> Verdict<String> {
    let AdminResponse::Status(json) = answer else { return Verdict::Unasked };
    Verdict::Settled(json)
}

/// An answer to a request for the leader's status.
pub(crate) fn status_of_leader(answer: AdminResponse) -> Verdict<ClusterView> {
    let AdminResponse::Status(json) = answer else { return Verdict::Unasked };
    let Some(view) = ClusterView::parse(&json) else { return Verdict::NotUnderstood };
    match &view.leader {
        Leader::Itself => Verdict::Settled(view),
        Leader::Other { id, peer_address } => Verdict::LedBy { id: *id, peer_address: peer_address.clone() },
        Leader::Unknown => Verdict::NoLeader,
    }
}

/// Why no answer settled the request, and what that leaves open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AskError {
    /// The reason.
    pub(crate) problem: AskProblem,
    /// Whether the request was sent to a member that never said that it had no effect.
    pub(crate) may_have_happened: bool,
}

/// Why no answer settled the request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum AskProblem {
    /// A signal arrived.
    Interrupted,
    /// No member settled it in time.
    GaveUp {
        /// The trouble that the last attempt ran into.
        trouble: String,
    },
    /// The cluster refuses, for a reason that will not pass.
    Refused(RefusedReason),
    /// The two programs do not understand each other.
    Incompatible {
        /// The address that was asked.
        address: String,
        /// The reason.
        reason: String,
    },
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)?;
        match (&self.problem, self.may_have_happened) {
            (AskProblem::Refused(_) | AskProblem::Incompatible { .. }, _) => Ok(()),
            (AskProblem::Interrupted | AskProblem::GaveUp { .. }, true) => {
                f.write_str(", and it may or may not have done it: run the command again")
            }
            (AskProblem::Interrupted | AskProblem::GaveUp { .. }, false) => {
                f.write_str(", and nothing has changed: try again later")
            }
        }
    }
}

impl fmt::Display for AskProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskProblem::Interrupted => f.write_str("stopped before the cluster answered"),
            AskProblem::GaveUp { trouble } => write!(f, "the cluster did not answer in time ({trouble})"),
            AskProblem::Refused(reason) => write!(f, "the cluster refuses: {reason}"),
            AskProblem::Incompatible { address, reason } => write!(f, "{address} {reason}"),
        }
    }
}

/// Asks until an answer settles the request; `judge` says which one does.
///
/// # Errors
/// [`AskError`] if the cluster refuses or patience runs out.
pub(crate) fn ask<T>(
    members: &[String],
    request: &AdminRequest,
    judge: fn(AdminResponse) -> Verdict<T>,
    patience: &Patience<'_>,
) -> Result<T, AskError> {
    Asking::new(request, judge, patience).settle(members)
}

/// One request in progress.
struct Asking<'a, T> {
    request: &'a AdminRequest,
    judge: fn(AdminResponse) -> Verdict<T>,
    patience: &'a Patience<'a>,
    look_up: LookUp<'a>,
    may_have_happened: bool,
    narrator: Narrator,
}

impl<'a, T> Asking<'a, T> {
    fn new(
        request: &'a AdminRequest,
        judge: fn(AdminResponse) -> Verdict<T>,
        patience: &'a Patience<'a>,
    ) -> Asking<'a, T> {
        let narrator = Narrator::default();
        Asking { request, judge, patience, look_up: &look_up, may_have_happened: false, narrator }
    }

    /// Asks one member after the other, again and again.
    fn settle(mut self, members: &[String]) -> Result<T, AskError> {
        // Without random numbers the pauses are still pauses.
        let mut backoff = Backoff::new(self.request, random_u64().unwrap_or_default());
        loop {
            let mut incompatible = None;
            let mut compatible = 0;
            for member in members {
                self.patience.check().map_err(|impatience| self.ended(impatience))?;
                // Looking the name up may take all the time that there is.
                if self.narrator.trouble.is_empty() {
                    self.narrator.trouble = format!("no answer from {member}");
                }
                let addresses = match addresses_of(member, self.look_up, self.patience) {
                    Ok(addresses) => addresses,
                    Err(error) => {
                        self.on_trouble(member, Trouble::Unreachable(error.to_string()))?;
                        compatible += 1;
                        continue;
                    }
                };
                let answer_timeout = backoff.answer_timeout(members.len().max(addresses.len()));
                for address in &addresses {
                    match self.follow(address, answer_timeout) {
                        Ok(Some(settled)) => return Ok(settled),
                        Ok(None) => compatible += 1,
                        // Another program may listen there by now: that is an error only if no other member
                        // can be asked.
                        Err(error @ AskError { problem: AskProblem::Incompatible { .. }, .. }) => {
                            incompatible = Some((address.clone(), error));
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            if let Some((address, error)) = incompatible {
                if compatible == 0 {
                    return Err(error);
                }
                self.narrator.tell(&address, error.problem.to_string());
            }
            self.patience.sleep(backoff.next_pause()).map_err(|impatience| self.ended(impatience))?;
        }
    }

    /// Asks one member, which has this long to answer, and those that it redirects to, which have as long as
    /// any. `None` if nothing is settled.
    fn follow(&mut self, member: &str, mut answer_timeout: Duration) -> Result<Option<T>, AskError> {
        let mut address = member.to_owned();
        for _ in 0..=REDIRECTS_MAX {
            self.patience.check().map_err(|impatience| self.ended(impatience))?;
            let next = match exchange(&address, self.request, self.patience, answer_timeout) {
                Ok(response) => self.on_response(&address, response)?,
                Err(trouble) => return self.on_trouble(&address, trouble).map(|()| None),
            };
            match next {
                Next::Settled(settled) => return Ok(Some(settled)),
                Next::Ask(leader) => (address, answer_timeout) = (leader, ANSWER_TIMEOUT),
                Next::Wait => return Ok(None),
            }
        }
        Ok(None)
    }

    fn on_response(&mut self, address: &str, response: AdminResponse) -> Result<Next<T>, AskError> {
        Ok(match response {
            answer @ (AdminResponse::Joined { .. }
            | AdminResponse::Removed { .. }
            | AdminResponse::Transferred { .. }
            | AdminResponse::Status(_)) => self.on_answer(address, answer)?,
            AdminResponse::Redirect { leader, peer_address } => self.led_by(address, leader, peer_address),
            AdminResponse::Retry(reason) => {
                self.may_have_happened |= reason == RetryReason::Unknown;
                self.wait_for(address, &reason)
            }
            // A node of another cluster listens at the address of a former member. Other addresses may still
            // be right.
            AdminResponse::Refused(reason @ RefusedReason::OtherCluster) => self.wait_for(address, &reason),
            AdminResponse::Refused(reason) => return Err(self.failed(AskProblem::Refused(reason))),
        })
    }

    fn on_answer(&mut self, address: &str, answer: AdminResponse) -> Result<Next<T>, AskError> {
        let strange = match (self.judge)(answer) {
            Verdict::Settled(settled) => return Ok(Next::Settled(settled)),
            Verdict::LedBy { id, peer_address } => return Ok(self.led_by(address, id, peer_address)),
            Verdict::NoLeader => return Ok(self.wait_for(address, &RetryReason::NoLeader)),
            Verdict::Unasked => {
                // Such a member has not said that the request had no effect.
                self.may_have_happened = true;
                "answers something else than what it was asked"
            }
            Verdict::NotUnderstood => "gives a status that is not understood",
        };
        Err(self.failed(AskProblem::Incompatible {
            address: address.to_owned(),
            reason: format!("{strange}: use the version of ticketd that it runs"),
        }))
    }

    /// The member at this address cannot settle the request at present, for this reason.
    fn wait_for(&mut self, address: &str, reason: &dyn fmt::Display) -> Next<T> {
        self.narrator.tell(address, format!("{address}: {reason}"));
        Next::Wait
    }

    fn led_by(&mut self, address: &str, leader: NodeId, peer_address: String) -> Next<T> {
        log::debug!("{address} says that node {leader} at {peer_address} leads");
        self.narrator.trouble = format!("node {leader} at {peer_address} was said to lead");
        Next::Ask(peer_address)
    }

    fn on_trouble(&mut self, address: &str, trouble: Trouble) -> Result<(), AskError> {
        match trouble {
            Trouble::Unreachable(reason) => {
                self.narrator.tell(address, format!("cannot reach {address}: {reason}"));
                Ok(())
            }
            Trouble::NoAnswer(reason) => {
                self.may_have_happened = true;
                self.narrator.tell(address, format!("no answer from {address}: {reason}"));
                Ok(())
            }
            Trouble::Foreign(reason) => {
                Err(self.failed(AskProblem::Incompatible { address: address.to_owned(), reason }))
            }
            Trouble::Unreadable(reason) => {
                self.may_have_happened = true;
                Err(self.failed(AskProblem::Incompatible { address: address.to_owned(), reason }))
            }
            Trouble::Impatient(impatience) => {
                self.may_have_happened = true;
                Err(self.ended(impatience))
            }
        }
    }

    fn ended(&self, impatience: Impatience) -> AskError {
        self.failed(match impatience {
            Impatience::Interrupted => AskProblem::Interrupted,
            Impatience::Elapsed => AskProblem::GaveUp { trouble: self.narrator.trouble.clone() },
        })
    }

    fn failed(&self, problem: AskProblem) -> AskError {
        AskError { problem, may_have_happened: self.may_have_happened }
    }
}

/// What follows from the response of one member.
enum Next<T> {
    Settled(T),
    /// The member at this address is to be asked.
    Ask(String),
    /// The next member is to be asked, or all of them again after a while.
    Wait,
}

/// Reports trouble with an address once, and again after a while if there still is some.
#[derive(Default)]
struct Narrator {
    /// The current trouble, whether reported or not.
    trouble: String,
    /// When trouble was last reported for each address, within the last [`NARRATION_INTERVAL`]: no more
    /// addresses than could be asked in that time.
    told: BTreeMap<String, Instant>,
}

impl Narrator {
    fn tell(&mut self, address: &str, trouble: String) {
        if self.is_due(address, Instant::now()) {
            log::info!("waiting for the cluster: {trouble}");
        }
        self.trouble = trouble;
    }

    /// Whether no trouble was reported for the address lately; if so, notes that it is reported now.
    fn is_due(&mut self, address: &str, now: Instant) -> bool {
        self.told.retain(|_, at| now.duration_since(*at) < NARRATION_INTERVAL);
        let is_due = !self.told.contains_key(address);
        if is_due {
            self.told.insert(address.to_owned(), now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;
    use crate::commands::testing::{bytes, member};
    use crate::peer::{self, Frame, Refuse};
    use crate::server::StopRequests;

    const CLUSTER: ClusterId = ClusterId(1);

    fn redirect(address: &str) -> Vec<u8> {
        bytes(AdminResponse::Redirect { leader: NodeId::new(2).unwrap(), peer_address: address.to_owned() })
    }

    fn ask_for_transfer(members: &[String], patience: &Patience<'_>) -> Result<NodeId, AskError> {
        ask(members, &AdminRequest::Transfer { cluster: CLUSTER, to: None }, transferred, patience)
    }

    /// Longer than any of these tests takes, unless it hangs.
    fn long() -> Patience<'static> {
        Patience::lasting(Duration::from_secs(60))
    }

    #[test]
    fn a_redirect_is_followed_to_the_leader() {
        let next = NodeId::new(3).unwrap();
        let (leader, leads) = member(vec![bytes(AdminResponse::Transferred { leader: next })]);
        let (follower, follows) = member(vec![redirect(&leader)]);
        assert_eq!(ask_for_transfer(&[follower], &long()), Ok(next));
        leads.join().unwrap();
        follows.join().unwrap();
    }

    #[test]
    fn the_leaders_status_is_asked_for_where_another_member_says_that_it_is() {
        let status = |id: u64, role: &str, leader: &str, at: &str| {
            let members = format!(r#"[{{"id":2,"peer_address":"{at}"}}]"#);
            format!(r#"{{"id":{id},"cluster":"1e","role":"{role}","leader":{leader},"members":{members}}}"#)
        };
        let answer = |json: &str| bytes(AdminResponse::Status(json.to_owned()));
        let wanted = status(2, "leader", "2", "h:1");
        let (leader, leads) = member(vec![answer(&wanted)]);
        let candidate = status(1, "candidate", "null", &leader);
        let (other, follows) = member(vec![answer(&candidate), answer(&status(1, "follower", "2", &leader))]);
        let ask_leader = |member| ask(&[member], &AdminRequest::Status, status_of_leader, &long());
        assert_eq!(ask_leader(other), Ok(ClusterView::parse(&wanted).unwrap()));
        leads.join().unwrap();
        follows.join().unwrap();

        let (strange, thread) = member(vec![answer("{}")]);
        let error = ask_leader(strange).unwrap_err();
        assert!(matches!(error.problem, AskProblem::Incompatible { .. }), "{error:?}");
        thread.join().unwrap();
    }

    #[test]
    fn a_member_that_is_away_is_passed_over_and_one_without_a_leader_is_asked_again() {
        let away = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().to_string()
        };
        let (there, thread) = member(vec![
            bytes(AdminResponse::Retry(RetryReason::NoLeader)),
            bytes(AdminResponse::Retry(RetryReason::Busy)),
            bytes(AdminResponse::Transferred { leader: NodeId::new(3).unwrap() }),
        ]);
        assert_eq!(ask_for_transfer(&[away, there], &long()), Ok(NodeId::new(3).unwrap()));
        thread.join().unwrap();
    }

    /// The kernel takes connections for a host that is about to join as well, but nobody answers there.
    #[test]
    fn an_address_where_nobody_answers_is_passed_over_long_before_an_answer_is_given_up() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let joins_too = silent.local_addr().unwrap().to_string();
        let (there, thread) = member(vec![bytes(AdminResponse::Removed { at: LogIndex(9) })]);
        let id = NodeId::new(3).unwrap();
        let request = AdminRequest::Remove { cluster: CLUSTER, id, incarnation: None };
        let patience = Patience::lasting(ANSWER_TIMEOUT);
        assert_eq!(ask(&[joins_too, there], &request, removed, &patience), Ok(()));
        thread.join().unwrap();
    }

    /// As where a host joins through the one name of all pods of a service, and finds itself behind it.
    #[test]
    fn each_address_of_a_name_is_asked_and_not_only_the_first_that_accepts_a_connection() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let (there, thread) = member(vec![bytes(AdminResponse::Removed { at: LogIndex(9) })]);
        let addresses = [silent.local_addr().unwrap(), there.parse().unwrap()];
        let id = NodeId::new(3).unwrap();
        let request = AdminRequest::Remove { cluster: CLUSTER, id, incarnation: None };
        let patience = Patience::lasting(ANSWER_TIMEOUT);
        let look_up = |_: &str, _: &Patience<'_>| Ok(addresses.to_vec());
        let asking = Asking::new(&request, removed, &patience);
        let asking = Asking { look_up: &look_up, ..asking };
        assert_eq!(asking.settle(&["all.example:9000".to_owned()]), Ok(()));
        thread.join().unwrap();
    }

    /// As where the first name server is down.
    #[test]
    fn a_look_up_that_takes_all_the_time_is_told_as_no_answer_from_the_member() {
        let request = AdminRequest::Transfer { cluster: CLUSTER, to: None };
        let patience = Patience::lasting(Duration::from_millis(20));
        let look_up = |_: &str, _: &Patience<'_>| {
            thread::sleep(Duration::from_millis(20));
            Ok(vec!["127.0.0.1:9".parse().unwrap()])
        };
        let asking = Asking::new(&request, transferred, &patience);
        let asking = Asking { look_up: &look_up, ..asking };
        let error = asking.settle(&["slow.example:9000".to_owned()]).unwrap_err();
        let trouble = "no answer from slow.example:9000".to_owned();
        assert_eq!(error.problem, AskProblem::GaveUp { trouble });
        assert!(!error.may_have_happened);
    }

    #[test]
    fn trouble_with_several_addresses_is_told_once_for_each_and_again_when_it_lasts() {
        let mut narrator = Narrator::default();
        let begun = Instant::now();
        let told: Vec<bool> =
            ["a:1", "b:1", "a:1", "b:1"].map(|address| narrator.is_due(address, begun)).into();
        assert_eq!(told, [true, true, false, false]);
        let soon = begun + NARRATION_INTERVAL - Duration::from_millis(1);
        assert!(!narrator.is_due("a:1", soon));
        assert!(narrator.is_due("a:1", begun + NARRATION_INTERVAL));
        assert_eq!(narrator.told.len(), 1, "what is long ago is forgotten");
    }

    #[test]
    fn an_answer_to_another_question_is_an_error_that_names_who_gave_it() {
        let (address, thread) = member(vec![bytes(AdminResponse::Removed { at: LogIndex(9) })]);
        let error = ask_for_transfer(std::slice::from_ref(&address), &long()).unwrap_err();
        assert!(matches!(&error.problem, AskProblem::Incompatible { .. }), "{error:?}");
        assert!(error.to_string().starts_with(&format!("{address} answers something else")), "{error}");
        assert!(error.may_have_happened);
        thread.join().unwrap();
    }

    #[test]
    fn a_refusal_ends_it() {
        let (address, thread) = member(vec![bytes(AdminResponse::Refused(RefusedReason::IdTaken))]);
        let error = ask_for_transfer(&[address], &long()).unwrap_err();
        assert_eq!(error.problem, AskProblem::Refused(RefusedReason::IdTaken));
        assert!(!error.may_have_happened);
        thread.join().unwrap();
    }

    #[test]
    fn whoever_answers_in_another_language_or_version_is_named() {
        let mut refuse = Vec::new();
        peer::encode(&Frame::Refuse(Refuse::Version { ours: 77 }), &mut refuse);
        let mut damaged = bytes(AdminResponse::Transferred { leader: NodeId::new(3).unwrap() });
        *damaged.last_mut().unwrap() ^= 1;
        for (answer, wanted, may_have_happened) in [
            (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "not its HTTP port", false),
            (refuse, "version 77", false),
            (damaged, "cannot be read", true),
        ] {
            let (address, thread) = member(vec![answer]);
            let error = ask_for_transfer(std::slice::from_ref(&address), &long()).unwrap_err();
            let said = error.to_string();
            assert!(said.contains(wanted) && said.contains(&address), "{said}");
            assert_eq!(error.may_have_happened, may_have_happened, "{said}");
            thread.join().unwrap();
        }
    }

    #[test]
    fn patience_that_ends_tells_whether_the_request_may_have_been_carried_out() {
        let away = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().to_string()
        };
        let brief = Patience::lasting(Duration::from_millis(1));
        let error = ask_for_transfer(std::slice::from_ref(&away), &brief).unwrap_err();
        assert!(matches!(error.problem, AskProblem::GaveUp { .. }) && !error.may_have_happened, "{error:?}");

        // A member that takes the request and closes the connection may have carried it out.
        let (closes, thread) = member(vec![Vec::new()]);
        let (read_end, mut write_end) = UnixStream::pair().unwrap();
        let stop = StopRequests::on(read_end).unwrap();
        let stopper = thread::spawn(move || {
            thread.join().unwrap();
            write_end.write_all(b"x").unwrap();
        });
        let error = ask_for_transfer(&[closes], &Patience::until_stopped(&stop)).unwrap_err();
        assert_eq!(error, AskError { problem: AskProblem::Interrupted, may_have_happened: true });
        stopper.join().unwrap();
    }

    #[test]
    fn two_nodes_that_each_name_the_other_are_not_asked_in_a_tight_loop() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        // It names itself: one round asks it once, and once more for each redirect that is followed; then
        // there is a pause.
        let asked = usize::try_from(REDIRECTS_MAX).unwrap() + 1;
        let own = address.clone();
        let thread = thread::spawn(move || {
            for _ in 0..asked {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 4096]).unwrap();
                stream.write_all(&redirect(&own)).unwrap();
            }
        });
        let request = AdminRequest::Transfer { cluster: CLUSTER, to: None };
        let patience = long();
        let mut asking = Asking::new(&request, transferred, &patience);
        assert_eq!(asking.follow(&address, ANSWER_TIMEOUT), Ok(None));
        thread.join().unwrap();
    }
}
