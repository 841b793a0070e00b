//! One frame of each kind, and its bytes: the examples of `docs/peer-protocol.rst`.
//!
//! The bytes were made independently of the code under test. They change only together with the protocol
//! version.

use std::num::NonZeroU64;
use std::sync::Arc;

use raft_core::{
    AppendEntries, AppendEntriesResponse, AppendOutcome, CampaignReason, Entry, Heartbeat, HeartbeatResponse,
    Incarnation, InstallSnapshot, InstallSnapshotResponse, LogIndex, Member, Membership, Message, NodeId,
    Payload, Peer, PreVote, PreVoteResponse, RequestVote, RequestVoteResponse, Round, Snapshot, Suffrage,
    Term, TimeoutNow,
};

use super::{AdminRequest, AdminResponse, Frame, Hello, Refuse, RefusedReason, RetryReason, Welcome};
use crate::identity::ClusterId;
use crate::node::{Bequest, Forward, ForwardOutcome, PeerMessage, SequenceNumber};

/// A frame and its bytes.
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) frame: Frame,
    /// In hexadecimal: header first, then field by field, separated by white space.
    pub(super) hex: &'static str,
}

impl Sample {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let digits: Vec<u32> = self.hex.chars().filter_map(|c| c.to_digit(16)).collect();
        digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
    }
}

/// Every kind of frame, and every kind of value within those that have several.
pub(super) fn samples() -> Vec<Sample> {
    let mut samples = handshake();
    samples.extend(admin_requests());
    samples.extend(admin_responses());
    samples.extend(elections());
    samples.extend(replication());
    samples.extend(forwarding());
    samples
}

pub(super) fn message_frame(message: impl Into<PeerMessage>) -> Frame {
    Frame::Message(message.into())
}

fn handshake() -> Vec<Sample> {
    vec![
        Sample { name: "ping", frame: Frame::Ping, hex: "00000000 d56f2b94 04" },
        Sample {
            name: "hello",
            frame: Frame::Hello(Hello {
                cluster: ClusterId(CLUSTER),
                from: peer(1),
                to: peer(2),
                commit_index: LogIndex(7),
                peer_address: peer_address(1),
                client_address: client_address(1),
            }),
            hex: "0000006a 0c4e7656 01 \
             0001 000102030405060708090a0b0c0d0e0f 0000000000000001 \
             11111111111111111111111111111111 0000000000000002 22222222222222222222222222222222 \
             0000000000000007 000e 3132372e302e302e313a39303031 000e 3132372e302e302e313a38303031",
        },
        Sample {
            name: "welcome",
            frame: Frame::Welcome(Welcome { commit_index: LogIndex(6) }),
            hex: "00000008 219c991d 02 \
             0000000000000006",
        },
        Sample {
            name: "refuse_version",
            frame: Frame::Refuse(Refuse::Version { ours: 1 }),
            hex: "00000003 45342a53 03 \
             01 0001",
        },
        Sample {
            name: "refuse_wrong_cluster",
            frame: Frame::Refuse(Refuse::WrongCluster),
            hex: "00000001 84fa2010 03 \
             02",
        },
        Sample {
            name: "refuse_not_me",
            frame: Frame::Refuse(Refuse::NotMe { me: peer(3) }),
            hex: "00000019 6c2b3c4b 03 \
             03 0000000000000003 33333333333333333333333333333333",
        },
        Sample {
            name: "refuse_removed",
            frame: Frame::Refuse(Refuse::Removed { commit_index: LogIndex(9) }),
            hex: "00000009 2c8d3add 03 \
             04 0000000000000009",
        },
    ]
}

fn admin_requests() -> Vec<Sample> {
    vec![
        Sample {
            name: "join",
            frame: Frame::AdminRequest(AdminRequest::Join {
                peer: peer(3),
                peer_address: peer_address(3),
                client_address: client_address(3),
            }),
            hex: "0000003b 076264f3 10 \
             0001 01 0000000000000003 33333333333333333333333333333333 000e \
             3132372e302e302e313a39303033 000e 3132372e302e302e313a38303033",
        },
        Sample {
            name: "remove_any_life",
            frame: Frame::AdminRequest(AdminRequest::Remove {
                cluster: ClusterId(CLUSTER),
                id: id(3),
                incarnation: None,
            }),
            hex: "0000001c 79094ab6 10 \
             0001 02 000102030405060708090a0b0c0d0e0f 0000000000000003 00",
        },
        Sample {
            name: "remove_one_life",
            frame: Frame::AdminRequest(AdminRequest::Remove {
                cluster: ClusterId(CLUSTER),
                id: id(3),
                incarnation: Some(peer(3).incarnation),
            }),
            hex: "0000002c fc4d4cf4 10 \
             0001 02 000102030405060708090a0b0c0d0e0f 0000000000000003 01 33333333333333333333333333333333",
        },
        Sample {
            name: "transfer_to_any",
            frame: Frame::AdminRequest(AdminRequest::Transfer { cluster: ClusterId(CLUSTER), to: None }),
            hex: "00000014 cfc4519d 10 \
             0001 03 000102030405060708090a0b0c0d0e0f 00",
        },
        Sample {
            name: "transfer_to_one",
            frame: Frame::AdminRequest(AdminRequest::Transfer {
                cluster: ClusterId(CLUSTER),
                to: Some(id(2)),
            }),
            hex: "0000001c 4c4cca8d 10 \
             0001 03 000102030405060708090a0b0c0d0e0f 01 0000000000000002",
        },
        Sample {
            name: "status_request",
            frame: Frame::AdminRequest(AdminRequest::Status),
            hex: "00000003 6f2b7ddb 10 \
             0001 04",
        },
    ]
}

fn admin_responses() -> Vec<Sample> {
    vec![
        Sample {
            name: "joined",
            frame: Frame::AdminResponse(AdminResponse::Joined {
                cluster: ClusterId(CLUSTER),
                joined_at: LogIndex(12),
            }),
            hex: "00000019 e15b8a9e 11 \
             01 000102030405060708090a0b0c0d0e0f 000000000000000c",
        },
        Sample {
            name: "removed",
            frame: Frame::AdminResponse(AdminResponse::Removed { at: LogIndex(13) }),
            hex: "00000009 7ba1d69b 11 \
             02 000000000000000d",
        },
        Sample {
            name: "transferred",
            frame: Frame::AdminResponse(AdminResponse::Transferred { leader: id(2) }),
            hex: "00000009 fc65df49 11 \
             03 0000000000000002",
        },
        Sample {
            name: "status_response",
            frame: Frame::AdminResponse(AdminResponse::Status("{\"id\":1}".to_owned())),
            hex: "0000000d 70184bff 11 \
             04 00000008 7b226964223a317d",
        },
        Sample {
            name: "redirect",
            frame: Frame::AdminResponse(AdminResponse::Redirect {
                leader: id(1),
                peer_address: peer_address(1),
            }),
            hex: "00000019 080f160a 11 \
             05 0000000000000001 000e 3132372e302e302e313a39303031",
        },
        Sample {
            name: "retry",
            frame: Frame::AdminResponse(AdminResponse::Retry(RetryReason::Busy)),
            hex: "00000002 5af1d6ff 11 \
             06 02",
        },
        Sample {
            name: "refused",
            frame: Frame::AdminResponse(AdminResponse::Refused(RefusedReason::LastVoter)),
            hex: "00000002 34edd728 11 \
             07 03",
        },
    ]
}

fn elections() -> Vec<Sample> {
    vec![
        Sample {
            name: "pre_vote",
            frame: message_frame(Message::PreVote(PreVote {
                next_term: Term(4),
                last_log_index: LogIndex(9),
                last_log_term: Term(3),
                reason: CampaignReason::LeaderLost,
            })),
            hex: "00000019 fca9a18c 20 \
             0000000000000004 0000000000000009 0000000000000003 00",
        },
        Sample {
            name: "pre_vote_response",
            frame: message_frame(Message::PreVoteResponse(PreVoteResponse {
                term: Term(3),
                next_term: Term(4),
                vote_granted: true,
            })),
            hex: "00000011 2d538f0d 21 \
             0000000000000003 0000000000000004 01",
        },
        Sample {
            name: "request_vote",
            frame: message_frame(Message::RequestVote(RequestVote {
                term: Term(4),
                last_log_index: LogIndex(9),
                last_log_term: Term(3),
                reason: CampaignReason::LeadershipTransfer,
            })),
            hex: "00000019 9ee4da75 22 \
             0000000000000004 0000000000000009 0000000000000003 01",
        },
        Sample {
            name: "request_vote_response",
            frame: message_frame(Message::RequestVoteResponse(RequestVoteResponse {
                term: Term(4),
                vote_granted: true,
            })),
            hex: "00000009 548b2537 23 \
             0000000000000004 01",
        },
    ]
}

fn replication() -> Vec<Sample> {
    vec![
        Sample {
            name: "append_entries",
            frame: message_frame(Message::AppendEntries(AppendEntries {
                term: Term(4),
                prev_log_index: LogIndex(9),
                prev_log_term: Term(3),
                entries: vec![
                    entry(10, Payload::Noop),
                    entry(11, Payload::Command(Arc::from(&b"take"[..]))),
                    entry(12, Payload::Membership(Arc::new(membership()))),
                ],
                leader_commit: LogIndex(8),
            })),
            hex: "000000cf f0925fff 24 \
             0000000000000004 0000000000000009 0000000000000003 0000000000000008 0003 \
             000000000000000a 0000000000000004 00 000000000000000b 0000000000000004 01 0004 \
             74616b65 000000000000000c 0000000000000004 02 0002 0000000000000001 \
             11111111111111111111111111111111 01 000e 3132372e302e302e313a39303031 000e \
             3132372e302e302e313a38303031 0000000000000002 22222222222222222222222222222222 00 \
             000e 3132372e302e302e313a39303032 000e 3132372e302e302e313a38303032",
        },
        Sample {
            name: "append_entries_matched",
            frame: message_frame(Message::AppendEntriesResponse(AppendEntriesResponse {
                term: Term(4),
                outcome: AppendOutcome::Matched { match_index: LogIndex(12) },
            })),
            hex: "00000011 defafacb 25 \
             0000000000000004 00 000000000000000c",
        },
        Sample {
            name: "append_entries_rejected",
            frame: message_frame(Message::AppendEntriesResponse(AppendEntriesResponse {
                term: Term(4),
                outcome: AppendOutcome::Rejected {
                    prev_log_index: LogIndex(9),
                    hint_index: LogIndex(5),
                    hint_term: Term(2),
                },
            })),
            hex: "00000021 f6a6ecec 25 \
             0000000000000004 01 0000000000000009 0000000000000005 0000000000000002",
        },
        Sample {
            name: "heartbeat",
            frame: message_frame(Message::Heartbeat(Heartbeat {
                term: Term(4),
                leader_commit: LogIndex(12),
                round: Round(100),
                election_timeout_us: 300_000,
                is_stuck: false,
            })),
            hex: "00000021 11389014 26 \
             0000000000000004 000000000000000c 0000000000000064 00000000000493e0 00",
        },
        Sample {
            name: "heartbeat_response",
            frame: message_frame(Message::HeartbeatResponse(HeartbeatResponse {
                term: Term(4),
                round: Round(100),
                awaits_disk: false,
                lease_us: None,
            })),
            hex: "00000012 49b5244e 27 \
             0000000000000004 0000000000000064 00 00",
        },
        Sample {
            name: "heartbeat_response_with_a_lease",
            frame: message_frame(Message::HeartbeatResponse(HeartbeatResponse {
                term: Term(4),
                round: Round(100),
                awaits_disk: true,
                lease_us: Some(300_000),
            })),
            hex: "0000001a 78f546c7 27 \
             0000000000000004 0000000000000064 01 01 00000000000493e0",
        },
        Sample {
            name: "install_snapshot",
            frame: message_frame(Message::InstallSnapshot(InstallSnapshot {
                term: Term(4),
                snapshot: Arc::new(snapshot()),
            })),
            hex: "00000093 428719f4 28 \
             0000000000000004 000000000000000c 0000000000000004 0002 0000000000000001 \
             11111111111111111111111111111111 01 000e 3132372e302e302e313a39303031 000e \
             3132372e302e302e313a38303031 0000000000000002 22222222222222222222222222222222 00 \
             000e 3132372e302e302e313a39303032 000e 3132372e302e302e313a38303032 0005 7374617465",
        },
        Sample {
            name: "install_snapshot_response",
            frame: message_frame(Message::InstallSnapshotResponse(InstallSnapshotResponse {
                term: Term(4),
                match_index: LogIndex(12),
            })),
            hex: "00000010 d2a05abd 29 \
             0000000000000004 000000000000000c",
        },
        Sample {
            name: "timeout_now",
            frame: message_frame(Message::TimeoutNow(TimeoutNow { term: Term(4) })),
            hex: "00000008 f6bbd88a 2a \
             0000000000000004",
        },
    ]
}

fn forwarding() -> Vec<Sample> {
    let sequence = SequenceNumber(0x0102_0304_0506_0708);
    let response = |outcome| Forward::TakeIdsResponse { sequence, outcome };
    vec![
        Sample {
            name: "take_ids",
            frame: message_frame(Forward::TakeIds {
                sequence,
                count: NonZeroU64::new(57).unwrap(),
                still_awaited: 2,
            }),
            hex: "00000011 345d8f35 30 \
             0102030405060708 0000000000000039 02",
        },
        Sample {
            name: "take_ids_response_ids",
            frame: message_frame(response(ForwardOutcome::Ids {
                first: 1001,
                count: NonZeroU64::new(57).unwrap(),
            })),
            hex: "00000019 caecf51f 31 \
             0102030405060708 01 00000000000003e9 0000000000000039",
        },
        Sample {
            name: "take_ids_response_not_leader",
            frame: message_frame(response(ForwardOutcome::NotLeader)),
            hex: "00000009 558fe7c8 31 \
             0102030405060708 02",
        },
        Sample {
            name: "take_ids_response_timed_out",
            frame: message_frame(response(ForwardOutcome::TimedOut)),
            hex: "00000009 2288d75e 31 \
             0102030405060708 03",
        },
        Sample {
            name: "take_ids_response_overloaded",
            frame: message_frame(response(ForwardOutcome::Overloaded)),
            hex: "00000009 bcec42fd 31 \
             0102030405060708 04",
        },
        Sample {
            name: "take_ids_response_exhausted",
            frame: message_frame(response(ForwardOutcome::Exhausted)),
            hex: "00000009 cbeb726b 31 \
             0102030405060708 05",
        },
        Sample {
            name: "bequest",
            frame: message_frame(Bequest {
                term: Term(4),
                last_log_index: LogIndex(12),
                first: 1501,
                count: NonZeroU64::new(500).unwrap(),
            }),
            hex: "00000020 68ba5138 32 \
             0000000000000004 000000000000000c 00000000000005dd 00000000000001f4",
        },
    ]
}

const CLUSTER: u128 = 0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f;

fn id(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

/// The incarnation repeats the digit of the id.
pub(super) fn peer(number: u64) -> Peer {
    let digits = 0x1111_1111_1111_1111_1111_1111_1111_1111;
    Peer { id: id(number), incarnation: Incarnation(u128::from(number) * digits) }
}

fn peer_address(number: u64) -> String {
    format!("127.0.0.1:900{number}")
}

fn client_address(number: u64) -> String {
    format!("127.0.0.1:800{number}")
}

fn entry(index: u64, payload: Payload) -> Entry {
    Entry { index: LogIndex(index), term: Term(4), payload }
}

fn membership() -> Membership {
    let member = |number, suffrage| Member {
        incarnation: peer(number).incarnation,
        suffrage,
        peer_address: peer_address(number),
        client_address: client_address(number),
    };
    Membership {
        members: [(id(1), member(1, Suffrage::Voter)), (id(2), member(2, Suffrage::Learner))].into(),
    }
}

fn snapshot() -> Snapshot {
    Snapshot {
        last_included_index: LogIndex(12),
        last_included_term: Term(4),
        membership: Arc::new(membership()),
        state: Arc::from(&b"state"[..]),
    }
}
